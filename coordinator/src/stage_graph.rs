//! Which stage is where. One struct per state, so that what a state knows is
//! what its type says. Pure: outcomes are told, tasks are asked.

use crate::plan::{self, PlanError};
use outshine_schemas::campaign::ResolvedCampaign;
use outshine_schemas::ids::TaskId;
use outshine_schemas::outcome::{CommitRecord, StagePlan};
use outshine_schemas::task::{Stage, Task};
use std::collections::BTreeMap;

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
    /// Tasks that can run and are not committed, by id.
    pub pending: BTreeMap<TaskId, Task>,
    /// Commits so far, in order of shard.
    pub done: Vec<CommitRecord>,
}

/// All tasks are committed.
#[derive(Debug)]
pub struct Complete {
    /// Its commits, in order of shard.
    pub commits: Vec<CommitRecord>,
}

/// Cannot go on.
#[derive(Debug)]
pub struct Failed {
    /// Why.
    pub reason: String,
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

    /// Commits of a complete stage; none otherwise.
    #[must_use]
    pub fn commits(&self, stage: Stage) -> &[CommitRecord] {
        match &self.states[&stage] {
            State::Complete(complete) => &complete.commits,
            _ => &[],
        }
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
        plan::stage(stage, &self.campaign, &|upstream| self.commits(upstream))
    }

    /// Starts a ready stage by its fixed plan, with the commits found already.
    pub fn start(&mut self, plan: StagePlan) {
        let stage = plan.stage;
        let running = Running { plan, pending: BTreeMap::new(), done: Vec::new() };
        self.states.insert(stage, State::Running(running));
        self.refresh(stage);
    }

    /// Takes in a commit. Of a stage that does not wait for it, nothing changes.
    pub fn commit(&mut self, record: CommitRecord) {
        let stage = record.stage;
        let Some(State::Running(running)) = self.states.get_mut(&stage) else { return };
        if running.pending.remove(&record.task).is_none() {
            return;
        }
        let at = running.done.partition_point(|r| r.shard < record.shard);
        running.done.insert(at, record);
        if running.pending.is_empty() {
            self.refresh(stage);
        }
    }

    /// A stage that cannot go on.
    pub fn fail(&mut self, stage: Stage, reason: String) {
        self.states.insert(stage, State::Failed(Failed { reason }));
    }

    /// Tasks that can run now and are not committed, earlier stages first, in
    /// order of shard.
    #[must_use]
    pub fn pending(&self) -> Vec<&Task> {
        let mut tasks: Vec<&Task> = self
            .states
            .values()
            .filter_map(|state| match state {
                State::Running(running) => Some(running.pending.values()),
                _ => None,
            })
            .flatten()
            .collect();
        tasks.sort_by_key(|task| (task.stage, task.shard));
        tasks
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
        let tasks = plan::tasks(&self.campaign, &running.plan, &running.done);
        let known: std::collections::BTreeSet<&TaskId> =
            running.done.iter().map(|r| &r.task).collect();
        running.pending = tasks
            .into_iter()
            .filter(|t| !known.contains(&t.id))
            .map(|t| (t.id.clone(), t))
            .collect();
        if running.pending.is_empty() {
            let commits = std::mem::take(&mut running.done);
            self.states.insert(stage, State::Complete(Complete { commits }));
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

    fn graph() -> StageGraph {
        let text = "name = \"a\"\nestimator = \"train\"\n[field]\npixels = \"p\"\n[simulate]\ncount = 10\n\
                    [execution]\nsimulations_per_task = 4\n";
        let campaign = Campaign::parse(text, "a.toml", Path::new("."), &[]).unwrap();
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
        let mut graph = graph();
        assert_eq!(graph.ready(), [Stage::Field, Stage::Simulate]);
        let mut order = Vec::new();
        for _ in 0..100 {
            for stage in graph.ready() {
                let plan = graph.plan(stage).unwrap();
                graph.start(plan);
            }
            // The last pending first: the order of commits must not matter.
            let Some(task) = graph.pending().last().map(|t| (*t).clone()) else { break };
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

    #[test]
    fn commits_of_other_tasks_change_nothing() {
        let mut graph = graph();
        let plan = graph.plan(Stage::Simulate).unwrap();
        graph.start(plan);
        let before = graph.pending().len();
        let mut foreign = done(graph.pending()[0]);
        foreign.task = TaskId::derive(
            &Digest::of(b"other"),
            Stage::Simulate,
            foreign.shard,
            &Digest::of(b"other"),
        );
        graph.commit(foreign);
        assert_eq!(graph.pending().len(), before);
    }
}
