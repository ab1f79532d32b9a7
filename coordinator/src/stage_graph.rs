//! Which stage is where. Pure: outcomes are told, tasks are asked.

mod state;

pub use state::{Blocked, Complete, Failed, Ready, Running, State, TaskCounts, has_indexes};

use crate::failures;
use crate::plan::{self, Ended, PlanError, TaskOf};
use outshine_schemas::FORMAT_VERSION;
use outshine_schemas::campaign::ResolvedCampaign;
use outshine_schemas::outcome::{CommitIndex, CommitRecord, FailureRecord, StagePlan};
use outshine_schemas::task::{Shard, Stage, Task};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

/// The stages of one campaign.
#[derive(Debug)]
pub struct StageGraph {
    campaign: ResolvedCampaign,
    states: BTreeMap<Stage, State>,
    /// Complete groups without an index.
    unindexed: Vec<(Stage, u64)>,
}

impl StageGraph {
    /// Nothing known yet.
    #[must_use]
    pub fn new(campaign: ResolvedCampaign) -> Self {
        let states = Stage::ALL.into_iter().map(|s| (s, State::Blocked(Blocked))).collect();
        let mut graph = Self { campaign, states, unindexed: Vec::new() };
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

    /// How many tasks a running stage waits for.
    #[must_use]
    pub fn left(&self, stage: Stage) -> usize {
        self.running_at(stage).map_or(0, |running| running.pending.len())
    }

    /// What the slowest committed task of a running stage took, if one is.
    #[must_use]
    pub fn slowest(&self, stage: Stage) -> Option<Duration> {
        Duration::try_from_secs_f64(self.running_at(stage)?.slowest?).ok()
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
        let mut open = BTreeMap::new();
        for shard in plan.shards.iter().filter(|_| has_indexes(&plan)) {
            *open.entry(shard.group()).or_default() += 1;
        }
        let running = Running {
            plan,
            pending: BTreeSet::new(),
            unread: BTreeSet::new(),
            done: Vec::new(),
            failed: BTreeMap::new(),
            written: BTreeMap::new(),
            indexed: BTreeMap::new(),
            open,
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
        let group = record.shard.group();
        if let Some(open) = running.open.get_mut(&group) {
            *open -= 1;
            if *open == 0 && !running.indexed.contains_key(&group) {
                self.unindexed.push((stage, group));
            }
        }
        running.slowest = Some(running.slowest.map_or(record.seconds, |s| s.max(record.seconds)));
        let at = running.done.partition_point(|r| r.shard < record.shard);
        running.done.insert(at, record);
        if running.is_settled() {
            self.refresh(stage);
        }
    }

    /// The commits of these shards of a running stage were seen, written at these
    /// times: their tasks are not pending any more, but the stage waits until they
    /// are taken in. Of those that were seen before, only the time is new.
    pub fn see(&mut self, stage: Stage, commits: &[(Shard, SystemTime)]) {
        let Some(State::Running(running)) = self.states.get_mut(&stage) else { return };
        for &(shard, written) in commits {
            let failed = running.failed.remove(&shard).is_some();
            if running.pending.remove(&shard) || failed {
                running.unread.insert(shard);
            }
            if running.unread.contains(&shard) {
                running.written.insert(shard, written);
            }
        }
    }

    /// The groups of a running stage that have an index, and when it was written:
    /// as if the commits of all their tasks had been seen, but for when these were
    /// written. Of a group that was told before, nothing changes.
    pub fn see_indexes(&mut self, stage: Stage, mut indexed: BTreeMap<u64, SystemTime>) {
        let Some(State::Running(running)) = self.states.get_mut(&stage) else { return };
        indexed.retain(|group, _| !running.indexed.contains_key(group));
        let is_in = |shard: &Shard| indexed.contains_key(&shard.group());
        let pending = std::mem::take(&mut running.pending);
        let (seen, pending) = pending.into_iter().partition(is_in);
        running.pending = pending;
        let failed = running.failed.keys().copied().filter(is_in);
        let seen: BTreeSet<Shard> = failed.chain(seen).collect();
        running.failed.retain(|shard, _| !seen.contains(shard));
        running.unread.extend(seen);
        running.indexed.extend(indexed);
    }

    /// Groups whose tasks are all committed and that have no index yet.
    #[must_use]
    pub fn unindexed(&self) -> &[(Stage, u64)] {
        &self.unindexed
    }

    /// The last of [`StageGraph::unindexed`] has one, or wants none.
    pub fn pop_unindexed(&mut self) {
        self.unindexed.pop();
    }

    /// The index of a group whose tasks are all committed.
    #[must_use]
    pub fn index(&self, stage: Stage, group: u64) -> Option<CommitIndex> {
        let state = &self.states[&stage];
        let plan = state.plan()?;
        let first = Shard::GROUP * group * plan.shards.first()?.len();
        let commits = state.commits();
        let start = commits.partition_point(|record| record.shard.start < first);
        let is_in = |record: &&CommitRecord| record.shard.group() == group;
        let members = commits[start..].iter().take_while(is_in);
        let mut members: Vec<CommitRecord> = members.cloned().collect();
        // A last shard of another length counts its groups otherwise.
        let last = commits.last().filter(is_in);
        if let Some(last) = last.filter(|last| members.last().is_none_or(|m| m.shard != last.shard))
        {
            members.push(last.clone());
        }
        let version = FORMAT_VERSION;
        let inputs = plan.inputs.clone();
        Some(CommitIndex { version, stage, inputs, group, commits: members })
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

    /// A stage, if it is running.
    #[must_use]
    pub fn running_at(&self, stage: Stage) -> Option<&Running> {
        match &self.states[&stage] {
            State::Running(running) => Some(running),
            _ => None,
        }
    }

    /// Whether a task can run and is not committed.
    #[must_use]
    pub fn is_pending(&self, task: &Task) -> bool {
        let is_pending =
            |r: &Running| r.pending.contains(&task.shard) && r.id(task.shard) == task.id;
        self.running_at(task.stage).is_some_and(is_pending)
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
mod tests;
