//! Pure planning: campaign and upstream outcomes in, ordered tasks out. The
//! same input always gives the same tasks.

use outshine_schemas::FORMAT_VERSION;
use outshine_schemas::campaign::{Estimator, ResolvedCampaign};
use outshine_schemas::digest::Digest;
use outshine_schemas::ids::{CampaignId, TaskId};
use outshine_schemas::outcome::{CommitRecord, FailureRecord, Source, StagePlan, chain};
use outshine_schemas::task::{Shard, Stage, Task};

/// Why a stage cannot be planned although all before it is complete.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PlanError {
    /// The model failed its calibration.
    #[error(
        "the model is not calibrated and will not fit: {}. Train on more simulations or for \
         longer, or set calibrate.required = false to fit all the same",
        .0.join("; ")
    )]
    Uncalibrated(Vec<String>),
    /// An upstream commit lacks a fact.
    #[error("the commit of stage {0} has no usable fact `{1}`: made by another version?")]
    MissingFact(Stage, &'static str),
}

/// What a stage that has ended has left.
#[derive(Clone, Debug)]
pub struct Ended {
    /// How it was cut.
    pub plan: StagePlan,
    /// Its commits, in order of shard.
    pub commits: Vec<CommitRecord>,
    /// Its tasks that failed, in order of shard; of most stages there are none,
    /// see [`Stage::may_lack`].
    pub failures: Vec<FailureRecord>,
}

/// The stages that have ended, of those that a stage needs.
pub type Upstream<'a> = &'a dyn Fn(Stage) -> Option<&'a Ended>;

/// Cuts `stage` into shards and fixes what it is made from.
///
/// # Errors
/// [`PlanError`].
pub fn stage(
    stage: Stage,
    campaign: &ResolvedCampaign,
    upstream: Upstream,
) -> Result<StagePlan, PlanError> {
    let spec = &campaign.campaign;
    let whole = || vec![Shard { start: 0, end: 1 }];
    let commits = |of: Stage| upstream(of).map_or(&[][..], |ended| &ended.commits);
    let fact = |of: Stage, name: &'static str| {
        let commit = commits(of).first();
        commit.and_then(|c| c.count(name)).ok_or(PlanError::MissingFact(of, name))
    };
    let shards = match stage {
        Stage::Field | Stage::Calibrate | Stage::Catalogue => whole(),
        // Nothing to learn from where nothing is learnt.
        Stage::Simulate if spec.estimator != Estimator::Train => Vec::new(),
        Stage::Simulate => Shard::cut(spec.simulate.count, spec.execution.simulations_per_task),
        // The first span: its length is that of all that follow.
        Stage::Train => vec![Shard { start: 0, end: spec.execution.epochs_per_task }],
        Stage::Fit => {
            check_calibration(campaign, commits(Stage::Calibrate))?;
            Shard::cut(fact(Stage::Field, "blocks")?, spec.execution.blocks_per_task)
        }
        Stage::Reduce => {
            Shard::cut(fact(Stage::Field, "galaxies")?, spec.execution.galaxies_per_task)
        }
    };
    let sources: Vec<Source> = stage
        .needs()
        .iter()
        .filter(|need| need.may_lack())
        .filter_map(|&need| Some(source(need, upstream(need)?)))
        .collect();
    let data = match stage {
        Stage::Field => {
            let tables = [&campaign.pixels, &campaign.sources, &campaign.redshifts];
            let digests = tables.into_iter().flatten();
            Digest::of_parts(digests.map(|d| d.as_str().as_bytes()))
        }
        _ => chain(stage.needs().iter().flat_map(|&need| results(need, commits(need)))),
    };
    let inputs = StagePlan::inputs_of(&data, &sources);
    Ok(StagePlan { version: FORMAT_VERSION, stage, inputs, data, sources, shards })
}

fn source(stage: Stage, ended: &Ended) -> Source {
    let missing = ended.failures.iter().map(|failure| failure.shard).collect();
    Source { stage, inputs: ended.plan.inputs.clone(), missing }
}

/// What later stages read of a complete stage: all of it, but of training the
/// last span only.
fn results(stage: Stage, commits: &[CommitRecord]) -> &[CommitRecord] {
    match stage {
        Stage::Train => &commits[commits.len().saturating_sub(1)..],
        _ => commits,
    }
}

fn check_calibration(
    campaign: &ResolvedCampaign,
    commits: &[CommitRecord],
) -> Result<(), PlanError> {
    let missing = PlanError::MissingFact(Stage::Calibrate, "passed");
    let facts = &commits.first().ok_or(missing)?.facts;
    let missing = PlanError::MissingFact(Stage::Calibrate, "passed");
    let passed = facts.get("passed").and_then(serde_json::Value::as_bool).ok_or(missing)?;
    if passed || !campaign.campaign.calibrate.required {
        return Ok(());
    }
    let reasons = facts.get("reasons").and_then(serde_json::Value::as_array);
    let words = reasons.into_iter().flatten().filter_map(|r| r.as_str().map(str::to_owned));
    Err(PlanError::Uncalibrated(words.collect()))
}

/// The tasks of a planned stage that can run now: all of them, but of training
/// the one span that follows what is `done` (in order).
#[must_use]
pub fn tasks(campaign: &ResolvedCampaign, plan: &StagePlan, done: &[CommitRecord]) -> Vec<Task> {
    let name = TaskOf::new(campaign, plan, done.last());
    shards(plan, done.last()).into_iter().map(|shard| name.task(shard)).collect()
}

/// The shards of [`tasks`]; `last`: the last commit of what is done.
#[must_use]
pub fn shards(plan: &StagePlan, last: Option<&CommitRecord>) -> Vec<Shard> {
    if plan.stage != Stage::Train {
        return plan.shards.clone();
    }
    let Some(&first) = plan.shards.first() else { return Vec::new() };
    match last {
        None => vec![first],
        Some(last) if finished(last) => Vec::new(),
        Some(last) => vec![Shard { start: last.shard.end, end: last.shard.end + first.len() }],
    }
}

/// What the tasks of a stage that can run now have in common. Made once for
/// many tasks: the digest of a campaign takes its time.
#[derive(Clone, Debug)]
pub struct TaskOf {
    campaign: CampaignId,
    digest: Digest,
    stage: Stage,
    inputs: Digest,
}

impl TaskOf {
    /// Of a planned stage; `last`: the last commit of what is done.
    #[must_use]
    pub fn new(campaign: &ResolvedCampaign, plan: &StagePlan, last: Option<&CommitRecord>) -> Self {
        let inputs = match last {
            Some(last) if plan.stage == Stage::Train => chain([last]),
            _ => plan.inputs.clone(),
        };
        Self { campaign: campaign.id(), digest: campaign.digest(), stage: plan.stage, inputs }
    }

    /// The task of a shard.
    #[must_use]
    pub fn task(&self, shard: Shard) -> Task {
        let (campaign, digest) = (self.campaign.clone(), self.digest.clone());
        Task::new(campaign, digest, self.stage, shard, self.inputs.clone())
    }

    /// Its id.
    #[must_use]
    pub fn id(&self, shard: Shard) -> TaskId {
        TaskId::derive(&self.digest, self.stage, shard, &self.inputs)
    }
}

/// Whether a training span says that training has ended.
#[must_use]
pub fn finished(span: &CommitRecord) -> bool {
    span.facts.get("finished").and_then(serde_json::Value::as_bool) == Some(true)
}

#[cfg(test)]
mod tests;
