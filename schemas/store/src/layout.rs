//! Every path in the store, in one place. Pure text, relative to the store's root.
//!
//! ```text
//! campaigns/<campaign id>/
//!   campaign.json                             the campaign as first planned
//!   inputs/<sha256>.parquet                   the user's tables, by content
//!   plan/<stage>.json                         how a stage was cut
//!   plan/<stage>-<inputs>.json                the same, where it may be made from more or less
//!   commits/<stage>/<group>/<task id>.json    the proof that a task is done, by group of shards
//!   index/<stage>/<inputs>/<group>.json       the records of a complete group, once more
//!   data/<stage>/<task id>/<attempt>/<file>   what an attempt wrote; valid if a commit names it
//!   failures/<stage>/<task id>.json           why a task will not be tried again
//!   losses/<stage>/<task id>/<delivery>.json  a delivery of a task that was lost before
//! ```

use outshine_schemas::digest::Digest;
use outshine_schemas::ids::{CampaignId, TaskId};
use outshine_schemas::task::{Shard, Stage};

/// Where all campaigns are.
pub const CAMPAIGNS: &str = "campaigns";

/// The paths of one campaign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    root: String,
}

impl Layout {
    /// The paths of `campaign`.
    pub fn new(campaign: &CampaignId) -> Self {
        Self { root: format!("{CAMPAIGNS}/{campaign}") }
    }

    /// The campaign's folder.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The campaign as first planned.
    pub fn campaign(&self) -> String {
        format!("{}/campaign.json", self.root)
    }

    /// A user's table, by the digest of its file.
    pub fn input(&self, sha256: &Digest) -> String {
        format!("{}/inputs/{sha256}.parquet", self.root)
    }

    /// The folder of plans.
    pub fn plans(&self) -> String {
        format!("{}/plan", self.root)
    }

    /// The stage whose plan lies at `path`, if one does.
    pub fn plan_of(&self, path: &str) -> Option<Stage> {
        let name = path.strip_prefix(&self.plans())?.strip_prefix('/')?.strip_suffix(".json")?;
        let name = name.split_once('-').map_or(name, |(stage, _)| stage);
        Stage::ALL.into_iter().find(|stage| stage.name() == name)
    }

    /// How a stage was cut that is made from `inputs`. A campaign has one plan
    /// of each stage, but for those that go on without what failed: these have
    /// one for each set of what there was.
    pub fn plan(&self, stage: Stage, inputs: &Digest) -> String {
        if stage.needs().iter().any(|need| need.may_lack()) {
            format!("{}/{stage}-{}.json", self.plans(), inputs.short())
        } else {
            format!("{}/{stage}.json", self.plans())
        }
    }

    /// The folder of a stage's commit records.
    pub fn commits(&self, stage: Stage) -> String {
        format!("{}/commits/{stage}", self.root)
    }

    /// The folder of the commit records of a group of shards ([`Shard::group`]).
    pub fn commit_group(&self, stage: Stage, group: u64) -> String {
        format!("{}/{group:06}", self.commits(stage))
    }

    /// The commit record of a task.
    pub fn commit(&self, stage: Stage, shard: Shard, task: &TaskId) -> String {
        format!("{}/{task}.json", self.commit_group(stage, shard.group()))
    }

    /// The folder of all indexes of commit records.
    pub fn indexes(&self) -> String {
        format!("{}/index", self.root)
    }

    /// The folder of a stage's indexes of commit records.
    pub fn stage_indexes(&self, stage: Stage) -> String {
        format!("{}/{stage}", self.indexes())
    }

    /// The folder of the indexes of a stage that is made from `inputs`.
    pub fn indexes_of(&self, stage: Stage, inputs: &Digest) -> String {
        format!("{}/{}", self.stage_indexes(stage), inputs.short())
    }

    /// The group of a stage whose index lies at `path`, if one does.
    pub fn index_of(&self, stage: Stage, path: &str) -> Option<u64> {
        let rest = path.strip_prefix(&self.stage_indexes(stage))?.strip_prefix('/')?;
        let (_inputs, name) = rest.split_once('/')?;
        name.strip_suffix(".json")?.parse().ok()
    }

    /// The index of the commit records of a group.
    pub fn index(&self, stage: Stage, inputs: &Digest, group: u64) -> String {
        format!("{}/{group:06}.json", self.indexes_of(stage, inputs))
    }

    /// The folder of what the attempts at all tasks of a stage wrote.
    pub fn stage_data(&self, stage: Stage) -> String {
        format!("{}/data/{stage}", self.root)
    }

    /// The folder of what a task's attempts wrote.
    pub fn data(&self, stage: Stage, task: &TaskId) -> String {
        format!("{}/{task}", self.stage_data(stage))
    }

    /// A file that an attempt writes.
    pub fn attempt_file(&self, stage: Stage, task: &TaskId, attempt: &str, file: &str) -> String {
        format!("{}/{attempt}/{file}", self.data(stage, task))
    }

    /// The folder of a stage's failure records.
    pub fn failures(&self, stage: Stage) -> String {
        format!("{}/failures/{stage}", self.root)
    }

    /// The folder of the records of a stage's lost tasks.
    pub fn stage_losses(&self, stage: Stage) -> String {
        format!("{}/losses/{stage}", self.root)
    }

    /// The folder of the records of a lost task.
    pub fn losses(&self, stage: Stage, task: &TaskId) -> String {
        format!("{}/{task}", self.stage_losses(stage))
    }

    /// The record of a lost task's delivery. `delivery` must be a name that no other
    /// delivery ever has: a task may have several messages, each of which comes back.
    pub fn loss(&self, stage: Stage, task: &TaskId, delivery: &str) -> String {
        format!("{}/{delivery}.json", self.losses(stage, task))
    }

    /// The failure record of a task.
    pub fn failure(&self, stage: Stage, task: &TaskId) -> String {
        format!("{}/{task}.json", self.failures(stage))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_stable() {
        let digest = Digest::of(b"abc");
        let layout = Layout::new(&CampaignId::new("field", &digest));
        let shard = Shard { start: 0, end: 1 };
        let task = TaskId::derive(&digest, Stage::Fit, shard, &digest);
        let root = "campaigns/field-ba7816bf8f01cfea";
        assert_eq!(layout.root(), root);
        assert_eq!(layout.campaign(), format!("{root}/campaign.json"));
        assert_eq!(layout.plan(Stage::Train, &digest), format!("{root}/plan/train.json"));
        let reduce = format!("{root}/plan/reduce-ba7816bf8f01cfea.json");
        assert_eq!(layout.plan(Stage::Reduce, &digest), reduce);
        for stage in Stage::ALL {
            assert_eq!(layout.plan_of(&layout.plan(stage, &digest)), Some(stage));
        }
        assert_eq!(layout.plan_of(&layout.campaign()), None);
        assert_eq!(layout.input(&digest), format!("{root}/inputs/{digest}.parquet"));
        let commit = format!("{root}/commits/fit/000000/{task}.json");
        assert_eq!(layout.commit(Stage::Fit, shard, &task), commit);
        let later = Shard { start: 1000, end: 1001 };
        assert!(layout.commit(Stage::Fit, later, &task).contains("/fit/000001/"));
        let index = format!("{root}/index/fit/ba7816bf8f01cfea/000001.json");
        assert_eq!(layout.index(Stage::Fit, &digest, 1), index);
        assert_eq!(layout.index_of(Stage::Fit, &index), Some(1));
        assert_eq!(layout.index_of(Stage::Reduce, &index), None);
        assert_eq!(layout.index_of(Stage::Fit, &commit), None);
        assert_eq!(layout.failure(Stage::Fit, &task), format!("{root}/failures/fit/{task}.json"));
        let loss = format!("{root}/losses/fit/{task}/d1.json");
        assert_eq!(layout.loss(Stage::Fit, &task, "d1"), loss);
        assert_eq!(
            layout.attempt_file(Stage::Fit, &task, "a1", "samples.parquet"),
            format!("{root}/data/fit/{task}/a1/samples.parquet")
        );
    }
}
