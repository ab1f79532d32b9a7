//! Which stage is where. One struct per state, so that what a state knows is
//! what its type says. Pure: outcomes are told, tasks are asked.

use crate::failures;
use crate::plan::{self, Ended, PlanError, TaskOf};
use outshine_schemas::campaign::ResolvedCampaign;
use outshine_schemas::ids::TaskId;
use outshine_schemas::outcome::{CommitRecord, FailureRecord, StagePlan};
use outshine_schemas::task::{Shard, Stage, Task};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

/// Waits for earlier stages.
#[derive(Debug)]
pub struct Blocked;

/// All it needs is complete; not planned yet.
#[derive(Debug)]
pub struct Ready;

/// Planned; some tasks are not committed yet.
#[derive(Debug)]
pub struct Running {
    /// Its fixed plan.
    pub plan: StagePlan,
    /// Shards of tasks that can run and are not committed.
    pub pending: BTreeSet<Shard>,
    /// Shards of tasks whose commit was seen and has not been taken in.
    pub unread: BTreeSet<Shard>,
    /// Commits so far, in order of shard.
    pub done: Vec<CommitRecord>,
    /// Tasks that failed and that the stage goes on without.
    pub failed: BTreeMap<Shard, FailureRecord>,
    /// When the commits that were seen were written, by the store's clock.
    pub written: BTreeMap<Shard, SystemTime>,
    /// Seconds that the slowest of `done` took; asked for at every look.
    slowest: Option<f64>,
    /// What its pending tasks have in common.
    of: TaskOf,
}

impl Running {
    /// The tasks whose commits would change anything and were not seen.
    pub fn awaited(&self) -> impl Iterator<Item = (Shard, TaskId)> {
        let pending = self.pending.iter().map(|&shard| (shard, self.of.id(shard)));
        pending.chain(self.failures())
    }

    /// The tasks that failed.
    pub fn failures(&self) -> impl Iterator<Item = (Shard, TaskId)> {
        self.failed.iter().map(|(&shard, failure)| (shard, failure.task.clone()))
    }

    /// Those whose commits were seen and not taken in.
    pub fn unread(&self) -> impl Iterator<Item = (Shard, TaskId)> {
        self.unread.iter().map(|&shard| (shard, self.of.id(shard)))
    }

    /// What it has left.
    fn end(self) -> Ended {
        let failures = self.failed.into_values().collect();
        Ended { plan: self.plan, commits: self.done, failures }
    }

    /// Whether nothing is waited for.
    fn is_settled(&self) -> bool {
        self.pending.is_empty() && self.unread.is_empty()
    }

    /// Its pending tasks, in order of shard.
    pub fn tasks(&self) -> impl Iterator<Item = Task> {
        self.pending.iter().map(|&shard| self.of.task(shard))
    }

    fn awaits(&self, shard: Shard, task: &TaskId) -> bool {
        let known = self.pending.contains(&shard)
            || self.unread.contains(&shard)
            || self.failed.contains_key(&shard);
        known && self.of.id(shard) == *task
    }
}

/// All tasks are committed, or have failed and can be done without.
pub type Complete = Ended;

/// Cannot go on.
#[derive(Debug)]
pub struct Failed {
    /// Why.
    pub reason: String,
    /// What there was of it, if it ran.
    pub left: Option<Ended>,
}

/// Where a stage is.
#[derive(Debug)]
pub enum State {
    /// See [`Blocked`].
    Blocked(Blocked),
    /// See [`Ready`].
    Ready(Ready),
    /// See [`Running`].
    Running(Running),
    /// See [`Complete`].
    Complete(Complete),
    /// See [`Failed`].
    Failed(Failed),
}

/// Tasks of a stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskCounts {
    /// Committed.
    pub done: usize,
    /// Neither committed nor failed.
    pub pending: usize,
    /// Failed.
    pub failed: usize,
}

impl State {
    /// How many tasks of the stage are where.
    #[must_use]
    pub fn counts(&self) -> TaskCounts {
        match self {
            Self::Running(r) => TaskCounts {
                done: r.done.len() + r.unread.len(),
                pending: r.pending.len(),
                failed: r.failed.len(),
            },
            _ => TaskCounts {
                done: self.commits().len(),
                pending: 0,
                failed: self.ended().map_or(0, |ended| ended.failures.len()),
            },
        }
    }

    /// The commits that were taken in, in order of shard.
    #[must_use]
    pub fn commits(&self) -> &[CommitRecord] {
        match self {
            Self::Running(running) => &running.done,
            _ => self.ended().map_or(&[], |ended| &ended.commits),
        }
    }

    /// The tasks that failed, in order of shard.
    #[must_use]
    pub fn failures(&self) -> Vec<&FailureRecord> {
        match self {
            Self::Running(running) => running.failed.values().collect(),
            _ => self.ended().map_or_else(Vec::new, |ended| ended.failures.iter().collect()),
        }
    }

    fn ended(&self) -> Option<&Ended> {
        match self {
            Self::Complete(complete) => Some(complete),
            Self::Failed(failed) => failed.left.as_ref(),
            _ => None,
        }
    }
}

/// The stages of one campaign.
#[derive(Debug)]
pub struct StageGraph {
    campaign: ResolvedCampaign,
    states: BTreeMap<Stage, State>,
}

impl StageGraph {
    /// Nothing known yet.
    #[must_use]
    pub fn new(campaign: ResolvedCampaign) -> Self {
        let states = Stage::ALL.into_iter().map(|s| (s, State::Blocked(Blocked))).collect();
        let mut graph = Self { campaign, states };
        graph.unblock();
        graph
    }

    /// Where `stage` is.
    #[must_use]
    pub fn state(&self, stage: Stage) -> &State {
        &self.states[&stage]
    }

    /// All stages in order.
    pub fn states(&self) -> impl Iterator<Item = (Stage, &State)> {
        self.states.iter().map(|(&stage, state)| (stage, state))
    }

    /// What a complete stage has left.
    #[must_use]
    pub fn ended(&self, stage: Stage) -> Option<&Ended> {
        match &self.states[&stage] {
            State::Complete(complete) => Some(complete),
            _ => None,
        }
    }

    /// What the slowest committed task of a running stage took, if one is.
    #[must_use]
    pub fn slowest(&self, stage: Stage) -> Option<Duration> {
        let State::Running(running) = &self.states[&stage] else { return None };
        Duration::try_from_secs_f64(running.slowest?).ok()
    }

    /// Commits of a complete stage; none otherwise.
    #[must_use]
    pub fn commits(&self, stage: Stage) -> &[CommitRecord] {
        self.ended(stage).map_or(&[], |ended| &ended.commits)
    }

    /// Tasks that complete stages go on without.
    pub fn failures(&self) -> impl Iterator<Item = &FailureRecord> {
        Stage::ALL.into_iter().filter_map(|s| self.ended(s)).flat_map(|ended| &ended.failures)
    }

    /// Stages that can be planned now.
    #[must_use]
    pub fn ready(&self) -> Vec<Stage> {
        let ready =
            |(&stage, state): (&Stage, &State)| matches!(state, State::Ready(_)).then_some(stage);
        self.states.iter().filter_map(ready).collect()
    }

    /// The plan of a ready stage.
    ///
    /// # Errors
    /// [`PlanError`] where the outcomes before it forbid it.
    pub fn plan(&self, stage: Stage) -> Result<StagePlan, PlanError> {
        plan::stage(stage, &self.campaign, &|upstream| self.ended(upstream))
    }

    /// Starts a ready stage by its fixed plan, with the commits found already.
    pub fn start(&mut self, plan: StagePlan) {
        let stage = plan.stage;
        let of = TaskOf::new(&self.campaign, &plan, None);
        let running = Running {
            plan,
            pending: BTreeSet::new(),
            unread: BTreeSet::new(),
            done: Vec::new(),
            failed: BTreeMap::new(),
            written: BTreeMap::new(),
            slowest: None,
            of,
        };
        self.states.insert(stage, State::Running(running));
        self.refresh(stage);
    }

    /// Takes in a commit. Of a stage that does not wait for it, nothing changes.
    pub fn commit(&mut self, record: CommitRecord) {
        let stage = record.stage;
        let Some(State::Running(running)) = self.states.get_mut(&stage) else { return };
        if !running.awaits(record.shard, &record.task) {
            return;
        }
        running.pending.remove(&record.shard);
        running.unread.remove(&record.shard);
        running.failed.remove(&record.shard);
        running.slowest = Some(running.slowest.map_or(record.seconds, |s| s.max(record.seconds)));
        let at = running.done.partition_point(|r| r.shard < record.shard);
        running.done.insert(at, record);
        if running.is_settled() {
            self.refresh(stage);
        }
    }

    /// The commits of these shards of a running stage were seen, written at these
    /// times: their tasks are not pending any more, but the stage waits until they
    /// are taken in.
    pub fn see(&mut self, stage: Stage, commits: &[(Shard, SystemTime)]) {
        let Some(State::Running(running)) = self.states.get_mut(&stage) else { return };
        for &(shard, written) in commits {
            let failed = running.failed.remove(&shard).is_some();
            if running.pending.remove(&shard) || failed {
                running.unread.insert(shard);
                running.written.insert(shard, written);
            }
        }
    }

    /// A commit that was seen is not there any more: its task is pending again.
    /// Of one that was taken in, nothing changes.
    pub fn lose(&mut self, stage: Stage, shard: Shard) {
        if let Some(State::Running(running)) = self.states.get_mut(&stage)
            && running.unread.remove(&shard)
        {
            running.written.remove(&shard);
            running.pending.insert(shard);
        }
    }

    /// Whether commits wait to be taken in.
    #[must_use]
    pub fn has_unread(&self) -> bool {
        self.running().any(|(_, running)| !running.unread.is_empty())
    }

    /// Takes in the failure of a task that is waited for; of another, nothing
    /// changes. Returns whether it was.
    pub fn give_up(&mut self, failure: FailureRecord) -> bool {
        let stage = failure.stage;
        let limit = self.campaign.campaign.execution.max_failed_tasks;
        let Some(State::Running(running)) = self.states.get_mut(&stage) else { return false };
        let shard = failure.shard;
        if !running.pending.contains(&shard) || running.of.id(shard) != failure.task {
            return false;
        }
        let what = failures::text(&failure);
        if !stage.may_lack() {
            self.fail(stage, format!("failed: {what}"));
        } else if running.failed.len() as u64 >= limit {
            let reason = format!(
                "more than {limit} tasks failed (execution.max_failed_tasks), the last so: {what}"
            );
            self.fail(stage, reason);
        } else {
            running.pending.remove(&shard);
            running.failed.insert(shard, failure);
            if running.is_settled() {
                self.refresh(stage);
            }
        }
        true
    }

    /// A stage that cannot go on.
    pub fn fail(&mut self, stage: Stage, reason: String) {
        let left = match self.states.remove(&stage) {
            Some(State::Running(running)) => Some(running.end()),
            _ => None,
        };
        self.states.insert(stage, State::Failed(Failed { reason, left }));
    }

    /// Tasks that can run now and are not committed, earlier stages first, in
    /// order of shard.
    pub fn pending(&self) -> impl Iterator<Item = Task> {
        self.running().flat_map(|(_, running)| running.tasks())
    }

    /// The running stages.
    pub fn running(&self) -> impl Iterator<Item = (Stage, &Running)> {
        self.states().filter_map(|(stage, state)| match state {
            State::Running(running) => Some((stage, running)),
            _ => None,
        })
    }

    /// Whether a task can run and is not committed.
    #[must_use]
    pub fn is_pending(&self, task: &Task) -> bool {
        match &self.states[&task.stage] {
            State::Running(r) => r.pending.contains(&task.shard) && r.of.id(task.shard) == task.id,
            _ => false,
        }
    }

    /// The failed tasks of a running stage.
    #[must_use]
    pub fn failed(&self, stage: Stage) -> BTreeSet<TaskId> {
        match &self.states[&stage] {
            State::Running(r) => r.failed.values().map(|failure| failure.task.clone()).collect(),
            _ => BTreeSet::new(),
        }
    }

    /// Whether every stage up to `last` is complete.
    #[must_use]
    pub fn complete(&self, last: Stage) -> bool {
        self.states.range(..=last).all(|(_, s)| matches!(s, State::Complete(_)))
    }

    /// The first failed stage.
    #[must_use]
    pub fn failure(&self) -> Option<(Stage, &Failed)> {
        self.states().find_map(|(stage, state)| match state {
            State::Failed(failed) => Some((stage, failed)),
            _ => None,
        })
    }

    /// Finds the tasks that a running stage waits for; completes it if none.
    fn refresh(&mut self, stage: Stage) {
        let Some(State::Running(running)) = self.states.get_mut(&stage) else { return };
        let last = running.done.last();
        running.of = TaskOf::new(&self.campaign, &running.plan, last);
        let known: BTreeSet<Shard> = running.done.iter().map(|record| record.shard).collect();
        let open = |shard: &Shard| {
            let other = running.failed.contains_key(shard) || running.unread.contains(shard);
            !known.contains(shard) && !other
        };
        running.pending = plan::shards(&running.plan, last).into_iter().filter(open).collect();
        if running.is_settled() {
            if let Some(State::Running(running)) = self.states.remove(&stage) {
                self.states.insert(stage, State::Complete(running.end()));
            }
            self.unblock();
        }
    }

    fn unblock(&mut self) {
        for stage in Stage::ALL {
            let needs = stage.needs().iter();
            let met = needs.clone().all(|n| matches!(self.states[n], State::Complete(_)));
            if met && matches!(self.states[&stage], State::Blocked(_)) {
                self.states.insert(stage, State::Ready(Ready));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outshine_schemas::campaign::Campaign;
    use outshine_schemas::digest::Digest;
    use serde_json::json;
    use std::path::Path;

    /// A campaign of three simulation and three fit tasks.
    fn graph(max_failed: u64) -> StageGraph {
        let text = format!(
            "name = \"a\"\nestimator = \"train\"\n[field]\npixels = \"p\"\n[simulate]\ncount = 10\n\
             [execution]\nsimulations_per_task = 4\nblocks_per_task = 1\n\
             max_failed_tasks = {max_failed}\n"
        );
        let campaign = Campaign::parse(&text, "a.toml", Path::new("."), &[]).unwrap();
        StageGraph::new(ResolvedCampaign::new(campaign, Some(Digest::of(b"p")), None))
    }

    fn done(task: &Task) -> CommitRecord {
        let facts = match task.stage {
            Stage::Field => json!({"blocks": 3, "galaxies": 2}),
            Stage::Train => json!({"finished": task.shard.start > 0}),
            Stage::Calibrate => json!({"passed": true}),
            _ => json!({}),
        };
        let facts = facts.as_object().unwrap().clone();
        CommitRecord {
            version: 1,
            task: task.id.clone(),
            stage: task.stage,
            shard: task.shard,
            inputs: task.inputs.clone(),
            data_digest: CommitRecord::digest_of(&[], &facts),
            files: Vec::new(),
            facts,
            code_version: String::new(),
            seconds: 0.0,
            worker: String::new(),
        }
    }

    #[test]
    fn a_campaign_runs_to_its_end_stage_by_stage() {
        let mut graph = graph(0);
        assert_eq!(graph.ready(), [Stage::Field, Stage::Simulate]);
        let mut order = Vec::new();
        for _ in 0..100 {
            for stage in graph.ready() {
                let plan = graph.plan(stage).unwrap();
                graph.start(plan);
            }
            // The last pending first: the order of commits must not matter.
            let Some(task) = graph.pending().last() else { break };
            order.push(task.stage);
            graph.commit(done(&task));
            graph.commit(done(&task));
        }
        assert!(graph.complete(Stage::Catalogue));
        assert_eq!(graph.commits(Stage::Simulate).len(), 3);
        assert!(graph.commits(Stage::Simulate).is_sorted_by_key(|r| r.shard));
        assert_eq!(graph.commits(Stage::Train).len(), 2);
        let last = order.iter().rposition(|s| *s == Stage::Calibrate).unwrap();
        assert!(order[..last].iter().all(|s| *s < Stage::Fit), "{order:?}");
    }

    fn failure(task: &Task) -> FailureRecord {
        FailureRecord {
            version: 1,
            task: task.id.clone(),
            stage: task.stage,
            shard: task.shard,
            inputs: task.inputs.clone(),
            error: "broken".to_owned(),
            attempts: 1,
            worker: String::new(),
            log: Vec::new(),
        }
    }

    /// Runs until fit tasks wait, and returns them.
    fn fitting(graph: &mut StageGraph) -> Vec<Task> {
        for _ in 0..100 {
            for stage in graph.ready() {
                let plan = graph.plan(stage).unwrap();
                graph.start(plan);
            }
            let task = graph.pending().next().unwrap();
            if task.stage == Stage::Fit {
                return graph.pending().collect();
            }
            graph.commit(done(&task));
        }
        panic!("no fit task in 100 steps");
    }

    fn awaited(graph: &StageGraph) -> Vec<TaskId> {
        graph.running().flat_map(|(_, running)| running.awaited()).map(|(_, id)| id).collect()
    }

    #[test]
    fn later_stages_go_on_without_what_failed() {
        let mut graph = graph(1);
        let tasks = fitting(&mut graph);
        assert_eq!(tasks.len(), 3);
        assert!(graph.give_up(failure(&tasks[0])));
        assert!(!graph.give_up(failure(&tasks[0])), "it is not waited for any more");
        graph.commit(done(&tasks[1]));
        graph.commit(done(&tasks[2]));
        let ended = graph.ended(Stage::Fit).unwrap();
        assert_eq!((ended.commits.len(), ended.failures.len()), (2, 1));
        let plan = graph.plan(Stage::Reduce).unwrap();
        assert_eq!(plan.source(Stage::Fit).unwrap().missing, [tasks[0].shard]);
        assert_eq!(graph.failures().count(), 1);
    }

    #[test]
    fn another_attempt_may_still_do_what_failed() {
        let mut graph = graph(1);
        let tasks = fitting(&mut graph);
        assert!(graph.give_up(failure(&tasks[0])));
        assert!(awaited(&graph).contains(&tasks[0].id));
        tasks.iter().for_each(|task| graph.commit(done(task)));
        let ended = graph.ended(Stage::Fit).unwrap();
        assert_eq!((ended.commits.len(), ended.failures.len()), (3, 0));
    }

    #[test]
    fn a_commit_that_was_seen_is_waited_for_until_it_is_taken_in() {
        let mut graph = graph(1);
        let tasks = fitting(&mut graph);
        let at = SystemTime::UNIX_EPOCH;
        let seen: Vec<_> = tasks.iter().map(|task| (task.shard, at)).collect();
        graph.see(Stage::Fit, &seen);
        assert_eq!((graph.pending().count(), graph.has_unread()), (0, true));
        assert!(graph.ended(Stage::Fit).is_none() && awaited(&graph).is_empty());
        graph.lose(Stage::Fit, tasks[0].shard);
        assert_eq!(graph.pending().collect::<Vec<_>>(), tasks[..1]);
        tasks.iter().for_each(|task| graph.commit(done(task)));
        assert_eq!(graph.commits(Stage::Fit).len(), 3);
    }

    #[test]
    fn too_many_failures_and_those_of_early_stages_stop_the_campaign() {
        let mut graph = graph(1);
        let tasks = fitting(&mut graph);
        assert!(graph.give_up(failure(&tasks[0])) && graph.failure().is_none());
        assert!(graph.give_up(failure(&tasks[1])));
        let (stage, failed) = graph.failure().unwrap();
        assert_eq!(stage, Stage::Fit);
        let counts = graph.state(stage).counts();
        assert_eq!(counts, TaskCounts { done: 0, pending: 0, failed: 1 }, "it keeps what it knew");
        assert!(failed.reason.contains("execution.max_failed_tasks"), "{}", failed.reason);

        let mut graph = self::graph(1);
        let plan = graph.plan(Stage::Field).unwrap();
        graph.start(plan);
        let field = graph.pending().next().unwrap();
        assert!(graph.give_up(failure(&field)));
        assert!(graph.failure().unwrap().1.reason.contains("broken"));
    }

    #[test]
    fn commits_of_other_tasks_change_nothing() {
        let mut graph = graph(0);
        let plan = graph.plan(Stage::Simulate).unwrap();
        graph.start(plan);
        let before = graph.pending().count();
        let mut foreign = done(&graph.pending().next().unwrap());
        foreign.task = TaskId::derive(
            &Digest::of(b"other"),
            Stage::Simulate,
            foreign.shard,
            &Digest::of(b"other"),
        );
        graph.commit(foreign);
        assert_eq!(graph.pending().count(), before);
    }
}
