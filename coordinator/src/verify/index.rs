//! Holds an index of commit records against these.

use super::part;
use crate::survey::{Fault, StageSurvey, SurveyError, check_record};
use outshine_schemas::digest::Digest;
use outshine_schemas::outcome::{CommitIndex, CommitRecord};
use outshine_store::layout::Layout;
use outshine_store::{Store, index};

/// What is wrong with the index at `path`, of the stage that `found` is of.
/// `campaign`: the campaign's digest.
pub(super) async fn fault(
    store: &Store,
    layout: &Layout,
    campaign: &Digest,
    found: &StageSurvey,
    path: &str,
) -> Result<Option<Fault>, SurveyError> {
    let index = match index::read(store, path).await {
        Ok(index) => index,
        Err(error) => return Fault::of(path, error).map(Some),
    };
    if layout.index(index.stage, &index.inputs, index.group) != path {
        let reason = "stage, inputs and group are not those of its path";
        return Ok(Some(Fault::Damaged(reason.to_owned())));
    }
    let wrong = |record| {
        let what = disagreement(layout, campaign, &index, record, found)?;
        let part = part(record.stage, record.shard);
        Some(Fault::Damaged(format!("its record of {part} {what}")))
    };
    Ok(index.commits.iter().find_map(wrong))
}

/// What an index says by `record` that the commit records do not; one of these that
/// is damaged or gone is a finding of its own.
fn disagreement(
    layout: &Layout,
    campaign: &Digest,
    index: &CommitIndex,
    record: &CommitRecord,
    found: &StageSurvey,
) -> Option<String> {
    let place = (record.stage, &record.inputs, record.shard.group());
    if place != (index.stage, &index.inputs, index.group) {
        return Some("is not of its stage, inputs and group".to_owned());
    }
    let path = layout.commit(record.stage, record.shard, &record.task);
    match found.records.get(&path) {
        Some(Ok(own)) if own == record => None,
        Some(Ok(_)) => Some("is not the one in the store".to_owned()),
        Some(Err(_)) => None,
        None => match check_record(layout, index.stage, campaign, &path, record) {
            Err(Fault::Damaged(reason)) => Some(format!("is damaged: {reason}")),
            _ if found.planned.contains_key(&record.task) => None,
            _ => Some("is neither in the store nor in the plan".to_owned()),
        },
    }
}
