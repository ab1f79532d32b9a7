//! Finding what earlier stages made: through plans and commit records only.

use super::StageError;
use crate::runtime::Assignment;
use bytes::Bytes;
use outshine_schemas::digest::Digest;
use outshine_schemas::ids::TaskId;
use outshine_schemas::outcome::{CommitRecord, StagePlan};
use outshine_schemas::task::{Shard, Stage};
use outshine_store::commit;
use outshine_store::layout::Layout;

/// Where the campaign's objects lie.
pub fn layout(job: &Assignment) -> Layout {
    Layout::new(&job.task.campaign)
}

/// The plan of a stage that is made from `inputs`.
async fn plan(job: &Assignment, stage: Stage, inputs: &Digest) -> Result<StagePlan, StageError> {
    let path = layout(job).plan(stage, inputs);
    let bytes = job.store.get(&path).await?;
    serde_json::from_slice(&bytes)
        .map_err(|e| StageError::Permanent(format!("{path}: not a plan: {e}")))
}

/// The plan that the task belongs to.
async fn own_plan(job: &Assignment) -> Result<StagePlan, StageError> {
    plan(job, job.task.stage, &job.task.inputs).await
}

/// Refuses a task that belongs to another plan than the stored one, as a
/// message left over from other inputs would.
pub async fn check_inputs(job: &Assignment) -> Result<(), StageError> {
    let plan = own_plan(job).await?;
    if job.task.stage != Stage::Train && plan.inputs != job.task.inputs {
        return Err(StageError::Permanent(format!(
            "the message asks for inputs {}, the plan of stage {} for {}: a message of another run",
            job.task.inputs.short(),
            job.task.stage,
            plan.inputs.short()
        )));
    }
    Ok(())
}

/// The plan of an earlier stage, and the shards that it lacks. A stage that
/// lacks none has one plan, whatever its inputs.
async fn source(job: &Assignment, stage: Stage) -> Result<(StagePlan, Vec<Shard>), StageError> {
    if !stage.may_lack() {
        return Ok((plan(job, stage, &job.task.inputs).await?, Vec::new()));
    }
    let own = own_plan(job).await?;
    let source = own.source(stage).ok_or_else(|| {
        StageError::Permanent(format!("the plan of stage {} knows no stage {stage}", own.stage))
    })?;
    Ok((plan(job, stage, &source.inputs).await?, source.missing.clone()))
}

/// What a stage takes from an earlier one.
pub struct Taken {
    /// Commits, in order of shard.
    pub commits: Vec<CommitRecord>,
    /// Shards whose tasks have failed, and that the stage goes on without.
    pub missing: Vec<Shard>,
}

/// The commit of one shard of a planned stage.
pub async fn committed(
    job: &Assignment,
    plan: &StagePlan,
    shard: Shard,
) -> Result<CommitRecord, StageError> {
    let id = TaskId::derive(&job.task.campaign_digest, plan.stage, shard, &plan.inputs);
    let record = commit::read_commit(&job.store, &layout(job), plan.stage, shard, &id).await?;
    record.ok_or_else(|| {
        StageError::Permanent(format!("stage {} has no commit for {shard} ({id})", plan.stage))
    })
}

/// The commits of all shards of a planned stage that overlap `range`, and all
/// shards that the stage lacks.
pub async fn take(
    job: &Assignment,
    stage: Stage,
    range: Option<Shard>,
) -> Result<Taken, StageError> {
    let (plan, missing) = source(job, stage).await?;
    let mut commits = Vec::new();
    for &shard in plan.shards.iter().filter(|shard| !missing.contains(shard)) {
        if range.is_none_or(|range| range.overlaps(shard)) {
            commits.push(committed(job, &plan, shard).await?);
        }
    }
    Ok(Taken { commits, missing })
}

/// The commits that [`take`] finds, of a stage that lacks none or whose lacks
/// leave nothing to do.
pub async fn commits_over(
    job: &Assignment,
    stage: Stage,
    range: Option<Shard>,
) -> Result<Vec<CommitRecord>, StageError> {
    Ok(take(job, stage, range).await?.commits)
}

/// The training span that ends at epoch `end`, or the finished one for `None`.
pub async fn span(job: &Assignment, end: Option<u64>) -> Result<CommitRecord, StageError> {
    let records = commit::list_commits(&job.store, &layout(job), Stage::Train).await?;
    let wanted = |record: &CommitRecord| match end {
        Some(end) => record.shard.end == end,
        None => record.facts.get("finished") == Some(&serde_json::Value::Bool(true)),
    };
    let found = records.into_iter().find(wanted);
    found.ok_or_else(|| match end {
        Some(end) => StageError::Permanent(format!("no training span ends at epoch {end}")),
        None => StageError::Permanent("training has not finished".to_owned()),
    })
}

/// A file of a committed task, its checksum verified.
pub async fn file(
    job: &Assignment,
    record: &CommitRecord,
    name: &str,
) -> Result<Bytes, StageError> {
    let file = record
        .file(name)
        .ok_or_else(|| StageError::Permanent(format!("task {} has no file {name}", record.task)))?;
    Ok(job.store.get_verified(&file.path, &file.sha256, file.bytes).await?)
}
