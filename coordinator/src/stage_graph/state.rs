//! Where a stage is. One struct per state, so that what a state knows is what its
//! type says.

use crate::plan::{Ended, TaskOf};
use outshine_schemas::ids::TaskId;
use outshine_schemas::outcome::{CommitRecord, FailureRecord, StagePlan};
use outshine_schemas::task::{Shard, Stage, Task};
use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

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
    /// Groups whose commits have an index, and when that was written.
    pub indexed: BTreeMap<u64, SystemTime>,
    /// Tasks of each group that have no commit in `done`.
    pub(super) open: BTreeMap<u64, usize>,
    /// Seconds that the slowest of `done` took; asked for at every look.
    pub(super) slowest: Option<f64>,
    /// What its pending tasks have in common.
    pub(super) of: TaskOf,
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

    /// The task of a shard.
    #[must_use]
    pub fn id(&self, shard: Shard) -> TaskId {
        self.of.id(shard)
    }

    /// What it has left.
    pub(super) fn end(self) -> Ended {
        let failures = self.failed.into_values().collect();
        Ended { plan: self.plan, commits: self.done, failures }
    }

    /// Whether nothing is waited for.
    pub(super) fn is_settled(&self) -> bool {
        self.pending.is_empty() && self.unread.is_empty()
    }

    /// Its pending tasks, in order of shard.
    pub fn tasks(&self) -> impl Iterator<Item = Task> {
        self.pending.iter().map(|&shard| self.of.task(shard))
    }

    pub(super) fn awaits(&self, shard: Shard, task: &TaskId) -> bool {
        let known = self.pending.contains(&shard)
            || self.unread.contains(&shard)
            || self.failed.contains_key(&shard);
        known && self.of.id(shard) == *task
    }
}

/// Whether the commits of a stage are indexed group by group: not those of one
/// task, nor the spans of training, which are no groups.
#[must_use]
pub fn has_indexes(plan: &StagePlan) -> bool {
    plan.stage != Stage::Train && plan.shards.len() > 1
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
            _ => {
                let ended = self.ended();
                let done = self.commits().len();
                let failed = ended.map_or(0, |ended| ended.failures.len());
                // Nobody knows how many spans training would have had.
                let plan = ended.map(|e| &e.plan).filter(|plan| plan.stage != Stage::Train);
                let planned = plan.map_or(0, |plan| plan.shards.len());
                TaskCounts { done, pending: planned.saturating_sub(done + failed), failed }
            }
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

    /// Its plan, once it has one.
    pub(super) fn plan(&self) -> Option<&StagePlan> {
        match self {
            Self::Running(running) => Some(&running.plan),
            _ => self.ended().map(|ended| &ended.plan),
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
