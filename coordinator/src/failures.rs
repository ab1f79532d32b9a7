//! Tasks that will not be tried again: read from the store, and put back to
//! work on request.

use outshine_schemas::ids::{CampaignId, TaskId};
use outshine_schemas::outcome::FailureRecord;
use outshine_schemas::task::Stage;
use outshine_store::layout::Layout;
use outshine_store::{Store, StoreError};
use std::collections::BTreeSet;

/// The failures of a stage, in order of task id.
///
/// # Errors
/// When the store does not answer.
pub async fn list(
    store: &Store,
    campaign: &CampaignId,
    stage: Stage,
) -> Result<Vec<FailureRecord>, StoreError> {
    list_but(store, campaign, stage, &BTreeSet::new()).await
}

/// As [`list`], but for those of `known` tasks.
///
/// # Errors
/// When the store does not answer.
pub async fn list_but(
    store: &Store,
    campaign: &CampaignId,
    stage: Stage,
    known: &BTreeSet<TaskId>,
) -> Result<Vec<FailureRecord>, StoreError> {
    let layout = Layout::new(campaign);
    let known: BTreeSet<String> = known.iter().map(|task| layout.failure(stage, task)).collect();
    let mut records = Vec::new();
    for entry in store.list(&layout.failures(stage)).await? {
        let path = entry.path;
        if known.contains(&path) {
            continue;
        }
        let Some(bytes) = store.get_opt(&path).await? else { continue };
        match serde_json::from_slice(&bytes) {
            Ok(record) => records.push(record),
            Err(error) => tracing::warn!(%path, %error, "not a failure record"),
        }
    }
    Ok(records)
}

/// A failure in words.
#[must_use]
pub fn text(failure: &FailureRecord) -> String {
    format!(
        "task {} ({} {}) after {} attempt(s) on {}: {}",
        failure.task, failure.stage, failure.shard, failure.attempts, failure.worker, failure.error
    )
}

/// What a task logged before it failed, a line to a line of the log.
#[must_use]
pub fn log_text(failure: &FailureRecord) -> String {
    if failure.log.is_empty() {
        return "        nothing was logged\n".to_owned();
    }
    failure.log.iter().map(|line| format!("        {line}\n")).collect()
}

/// Forgets all failures and losses of a campaign, so that the next run tries
/// the tasks again; returns how many failures there were.
///
/// # Errors
/// When the store does not answer.
pub async fn forget(store: &Store, campaign: &CampaignId) -> Result<usize, StoreError> {
    let mut count = 0;
    let layout = Layout::new(campaign);
    for stage in Stage::ALL {
        // Losses first: a failure that is gone with its losses left fails again at once.
        for entry in store.list(&layout.stage_losses(stage)).await? {
            store.delete(&entry.path).await?;
        }
        for entry in store.list(&layout.failures(stage)).await? {
            store.delete(&entry.path).await?;
            count += 1;
        }
    }
    Ok(count)
}
