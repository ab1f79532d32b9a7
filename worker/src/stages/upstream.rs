//! Finding what earlier stages made: through plans and commit records only.

use super::StageError;
use crate::runtime::Assignment;
use bytes::Bytes;
use outshine_schemas::digest::Digest;
use outshine_schemas::ids::TaskId;
use outshine_schemas::outcome::{CommitRecord, StagePlan, chain};
use outshine_schemas::task::{Shard, Stage};
use outshine_store::commit;
use outshine_store::layout::Layout;
use std::sync::Arc;

/// Where the campaign's objects lie.
pub fn layout(job: &Assignment) -> Layout {
    Layout::new(&job.task.campaign)
}

/// The plan of a stage that is made from `inputs`.
async fn plan(
    job: &Assignment,
    stage: Stage,
    inputs: &Digest,
) -> Result<Arc<StagePlan>, StageError> {
    job.plans.get(&job.store, &layout(job).plan(stage, inputs)).await
}

/// The plan that the task belongs to.
async fn own_plan(job: &Assignment) -> Result<Arc<StagePlan>, StageError> {
    plan(job, job.task.stage, &job.task.inputs).await
}

/// Refuses a task that belongs to another plan than the stored one, as a
/// message left over from other inputs would.
pub async fn check_inputs(job: &Assignment) -> Result<(), StageError> {
    let is_own = |plan: &StagePlan| plan.stage == Stage::Train || plan.inputs == job.task.inputs;
    let mut plan = own_plan(job).await?;
    if !is_own(&plan) {
        job.plans.forget().await;
        plan = own_plan(job).await?;
    }
    if is_own(&plan) {
        return Ok(());
    }
    Err(StageError::Permanent(format!(
        "the message asks for inputs {}, the plan of stage {} for {}: a message of another run",
        job.task.inputs.short(),
        job.task.stage,
        plan.inputs.short()
    )))
}

/// The plan of an earlier stage, and the shards that it lacks. A stage that
/// lacks none has one plan, whatever its inputs.
async fn source(
    job: &Assignment,
    stage: Stage,
) -> Result<(Arc<StagePlan>, Vec<Shard>), StageError> {
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

/// The commit of one shard of a planned stage, if it has one.
async fn committed(
    job: &Assignment,
    plan: &StagePlan,
    shard: Shard,
) -> Result<Option<CommitRecord>, StageError> {
    let id = TaskId::derive(&job.task.campaign_digest, plan.stage, shard, &plan.inputs);
    Ok(commit::read_commit(&job.store, &layout(job), plan.stage, shard, &id).await?)
}

/// The commits of all shards of a planned stage that overlap `range`, and all
/// shards that the stage lacks.
pub async fn take(
    job: &Assignment,
    stage: Stage,
    range: Option<Shard>,
) -> Result<Taken, StageError> {
    if let Ok(taken) = take_by(job, stage, range).await? {
        return Ok(taken);
    }
    // By plans that are read anew.
    job.plans.forget().await;
    take_by(job, stage, range)
        .await?
        .map_err(|shard| StageError::Permanent(format!("stage {stage} has no commit for {shard}")))
}

/// As [`take`]; where a commit is missing, its shard.
async fn take_by(
    job: &Assignment,
    stage: Stage,
    range: Option<Shard>,
) -> Result<Result<Taken, Shard>, StageError> {
    let (plan, missing) = source(job, stage).await?;
    let mut commits = Vec::new();
    let wanted = |shard: &&Shard| range.is_none_or(|range| range.overlaps(**shard));
    for &shard in plan.shards.iter().filter(wanted).filter(|shard| !missing.contains(shard)) {
        match committed(job, &plan, shard).await? {
            Some(record) => commits.push(record),
            None => return Ok(Err(shard)),
        }
    }
    Ok(Ok(Taken { commits, missing }))
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

/// The training span that ends at epoch `end`, or the finished one for `None`: of
/// those that follow from the plan of training, each from the one before it.
pub async fn span(job: &Assignment, end: Option<u64>) -> Result<CommitRecord, StageError> {
    let records = commit::list_commits(&job.store, &layout(job), Stage::Train).await?;
    if let Some(found) = span_of(job, &records, end).await? {
        return Ok(found);
    }
    // By a plan that is read anew.
    job.plans.forget().await;
    let found = span_of(job, &records, end).await?;
    found.ok_or_else(|| match end {
        Some(end) => StageError::Permanent(format!("no training span ends at epoch {end}")),
        None => StageError::Permanent("training has not finished".to_owned()),
    })
}

/// As [`span`], if it is among `records`.
async fn span_of(
    job: &Assignment,
    records: &[CommitRecord],
    end: Option<u64>,
) -> Result<Option<CommitRecord>, StageError> {
    let (plan, _) = source(job, Stage::Train).await?;
    let (mut inputs, mut epoch) = (plan.inputs.clone(), 0);
    for _ in records {
        let follows =
            |record: &&CommitRecord| record.inputs == inputs && record.shard.start == epoch;
        let Some(record) = records.iter().find(follows) else { break };
        let is_wanted = match end {
            Some(end) => record.shard.end == end,
            None => record.facts.get("finished") == Some(&serde_json::Value::Bool(true)),
        };
        if is_wanted {
            return Ok(Some(record.clone()));
        }
        (inputs, epoch) = (chain([record]), record.shard.end);
    }
    Ok(None)
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
    Ok(commit::read_file(&job.store, file).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::tests::{commit as commit_of, job, plan as plan_of, uncommit};
    use serde_json::json;

    /// A worker that outlives the mending of a stage goes on by its new plan.
    #[tokio::test]
    async fn a_stage_that_was_cut_anew_is_found() {
        let text = "name = \"a\"\n[field]\npixels = \"p\"\n";
        let own = job(text, Stage::Calibrate, Shard { start: 0, end: 1 }).await;
        let (stage, inputs) = (Stage::Train, Digest::of(b""));
        for size in [5, 2] {
            let shards = Shard::cut(10, size);
            plan_of(&own, stage, &inputs, shards.clone()).await;
            uncommit(&own, stage).await;
            for &shard in &shards {
                commit_of(&own, (stage, shard, &inputs), json!({}), Vec::new()).await;
            }
            let found = commits_over(&own, stage, None).await.unwrap();
            assert_eq!(found.iter().map(|c| c.shard).collect::<Vec<_>>(), shards);
        }
        let first = &own.store.list(&layout(&own).commits(stage)).await.unwrap()[0].path;
        own.store.delete(first).await.unwrap();
        let error = commits_over(&own, Stage::Train, None).await.unwrap_err().to_string();
        assert!(error.contains("stage train has no commit for "), "{error}");
    }

    /// Spans that follow from another plan of training are nobody's, whatever their epochs.
    #[tokio::test]
    async fn training_is_found_along_its_own_chain() {
        let text = "name = \"a\"\n[field]\npixels = \"p\"\n";
        let own = job(text, Stage::Calibrate, Shard { start: 0, end: 1 }).await;
        let (stage, inputs) = (Stage::Train, Digest::of(b"own"));
        plan_of(&own, stage, &inputs, vec![Shard { start: 0, end: 5 }]).await;
        let put = async |inputs: &Digest, start: u64, finished: bool, who: &str| {
            let shard = Shard { start, end: start + 5 };
            let facts = json!({ "finished": finished, "who": who });
            commit_of(&own, (stage, shard, inputs), facts, Vec::new()).await
        };
        // Another plan's training has finished, in every order of the listing.
        for name in [b"a", b"b", b"c", b"d"] {
            let first = put(&Digest::of(name), 0, false, "other").await;
            put(&chain([&first]), 5, true, "other").await;
        }
        let first = put(&inputs, 0, false, "own").await;
        let error = span(&own, None).await.unwrap_err().to_string();
        assert!(error.contains("training has not finished"), "{error}");
        assert_eq!(span(&own, Some(5)).await.unwrap(), first);
        let last = put(&chain([&first]), 5, true, "own").await;
        assert_eq!(span(&own, None).await.unwrap(), last);
        assert_eq!(span(&own, Some(10)).await.unwrap(), last);
    }
}
