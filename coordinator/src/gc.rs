//! Finds and removes what no commit needs: files that attempts left behind,
//! failure records of tasks that were done all the same, and indexes of commits of
//! another plan than the stage has.
//!
//! Only what can never count again is removed, so that a worker at work, or
//! one that wakes after days, is never robbed of its files: a task whose
//! commit record is sound stays committed, and its other attempts lose. Files
//! of a task that may still be committed are kept, however old.

use crate::survey::{Fault, READS_AT_A_TIME, SurveyError, survey};
use crate::verify::{committed_in, named_files, task_in};
use futures::{StreamExt, TryStreamExt, stream};
use outshine_schemas::campaign::ResolvedCampaign;
use outshine_schemas::ids::TaskId;
use outshine_schemas::outcome::{CommitRecord, FileRecord, StagePlan};
use outshine_schemas::task::Stage;
use outshine_store::layout::Layout;
use outshine_store::{Entry, Store};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

/// What can be removed and what is kept although no commit names it.
#[derive(Debug, Default)]
pub struct Rubbish {
    /// Objects that can go, in order of stage and path.
    pub removable: Vec<Entry>,
    /// Number of objects that can go once they are old enough.
    pub young: u64,
    /// Number of objects of tasks that may still be committed, or whose commit
    /// record is damaged.
    pub kept: u64,
}

impl Rubbish {
    /// Size of all that can go.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.removable.iter().map(|entry| entry.bytes).sum()
    }
}

/// Whether a task can still be committed.
enum Standing {
    /// Never again: it is committed, its files are there; or no plan has it.
    Over,
    /// It may be, or nobody can tell.
    Open,
}

/// Finds what can go: nothing that was written within `older_than`.
///
/// # Errors
/// [`SurveyError`] when the store is away or cannot be listed.
pub async fn find(
    store: &Store,
    campaign: &ResolvedCampaign,
    older_than: Duration,
) -> Result<Rubbish, SurveyError> {
    let layout = Layout::new(&campaign.id());
    let now = SystemTime::now();
    // Listed before the records are read: what is committed in between is
    // named by a record that the survey sees.
    let mut listed = BTreeMap::new();
    for stage in Stage::ALL {
        let mut entries = Vec::new();
        let folders = [
            layout.stage_data(stage),
            layout.failures(stage),
            layout.stage_losses(stage),
            layout.stage_indexes(stage),
        ];
        for folder in folders {
            entries.extend(store.list(&folder).await.map_err(SurveyError::at(&folder))?);
        }
        listed.insert(stage, entries);
    }
    let survey = survey(store, campaign).await?;
    let mut rubbish = Rubbish::default();
    for (stage, entries) in listed {
        let found = &survey.stages[&stage];
        let named = named_files(found);
        let sizes: BTreeMap<&str, u64> =
            entries.iter().map(|entry| (entry.path.as_str(), entry.bytes)).collect();
        let planned = found.planned.keys().map(TaskId::as_str).collect();
        let folder = layout.commits(stage);
        let records = found.records.iter();
        let records =
            records.filter_map(|(path, record)| Some((committed_in(&folder, path)?, record)));
        let records = records.collect();
        let plan = found.plan.as_ref().and_then(|plan| plan.as_ref().ok());
        let plan = plan.filter(|_| found.whole);
        let judge = Judge { layout: &layout, stage, plan, records, planned, sizes: &sizes };
        let open = |entry: &Entry| matches!(judge.standing(&entry.path), Standing::Open);
        let mut removable = Vec::new();
        let is_used = |path: &str| named.contains(path) || judge.is_index_in_use(path);
        for entry in entries.iter().filter(|entry| !is_used(&entry.path)) {
            // A time in the future is no age.
            let age = now.duration_since(entry.modified).unwrap_or_default();
            if open(entry) {
                rubbish.kept += 1;
            } else if age < older_than {
                rubbish.young += 1;
            } else {
                removable.push(entry.clone());
            }
        }
        rubbish.removable.extend(removable);
    }
    Ok(rubbish)
}

/// Removes what [`find`] found; `show` is told each object that is gone.
///
/// # Errors
/// [`SurveyError`] when the store refuses; calling it again goes on.
pub async fn remove(
    store: &Store,
    rubbish: &Rubbish,
    show: &mut dyn FnMut(&Entry),
) -> Result<(), SurveyError> {
    let mut deletes = stream::iter(&rubbish.removable)
        .map(|entry| async move {
            store.delete(&entry.path).await.map_err(SurveyError::at(&entry.path))?;
            Ok(entry)
        })
        .buffer_unordered(READS_AT_A_TIME);
    while let Some(entry) = deletes.try_next().await? {
        show(entry);
    }
    Ok(())
}

struct Judge<'a> {
    layout: &'a Layout,
    stage: Stage,
    /// The stage's plan, if `planned` is all there is.
    plan: Option<&'a StagePlan>,
    /// Commit records, sound or not, by task.
    records: BTreeMap<&'a str, &'a Result<CommitRecord, Fault>>,
    planned: BTreeSet<&'a str>,
    sizes: &'a BTreeMap<&'a str, u64>,
}

impl Judge<'_> {
    /// Whether an index is of the stage as planned now.
    fn is_index_in_use(&self, path: &str) -> bool {
        let folder = |plan: &StagePlan| self.layout.indexes_of(self.stage, &plan.inputs);
        self.plan.is_some_and(|plan| path.starts_with(&format!("{}/", folder(plan))))
    }

    fn standing(&self, path: &str) -> Standing {
        // Not one in use: it is of another plan, or nobody can tell.
        if self.layout.index_of(self.stage, path).is_some() && self.plan.is_some() {
            return Standing::Over;
        }
        let Some(id) = self.task_of(path) else { return Standing::Open };
        match self.records.get(id) {
            Some(Ok(record)) => {
                let whole =
                    |file: &FileRecord| self.sizes.get(file.path.as_str()) == Some(&file.bytes);
                if record.files.iter().all(whole) { Standing::Over } else { Standing::Open }
            }
            Some(Err(_)) => Standing::Open,
            None => {
                if self.plan.is_some() && !self.planned.contains(id) {
                    Standing::Over
                } else {
                    Standing::Open
                }
            }
        }
    }

    /// The task of an attempt's file or of the record of a failure or a loss;
    /// `None` for what is none of them.
    fn task_of<'a>(&self, path: &'a str) -> Option<&'a str> {
        let data = self.layout.stage_data(self.stage);
        if let Some(id) = task_in(&data, path) {
            // <task>/<attempt>/<file>
            let depth = path[data.len()..].matches('/').count();
            return (depth == 3).then_some(id);
        }
        let losses = self.layout.stage_losses(self.stage);
        if let Some(id) = task_in(&losses, path) {
            // <task>/<delivery>.json
            return (path[losses.len()..].matches('/').count() == 2).then_some(id);
        }
        let failures = self.layout.failures(self.stage);
        let id = task_in(&failures, path)?;
        (path == format!("{failures}/{id}.json")).then_some(id)
    }
}
