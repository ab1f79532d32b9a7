//! Walks a campaign in the store and holds every object against what is
//! recorded of it; and puts damaged tasks back to work.

mod index;

use crate::survey::{Fault, READS_AT_A_TIME, StageSurvey, Survey, SurveyError, survey};
use futures::{StreamExt, TryStreamExt, stream};
use outshine_schemas::campaign::ResolvedCampaign;
use outshine_schemas::digest::Digest;
use outshine_schemas::ids::TaskId;
use outshine_schemas::outcome::{CommitRecord, FileRecord};
use outshine_schemas::task::{Shard, Stage};
use outshine_store::layout::Layout;
use outshine_store::{Store, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What was found of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Its content is not what is recorded: a flipped bit, a cut file.
    Damaged,
    /// It must be there and is not.
    Missing,
    /// The store has it and does not hand it out.
    Unreadable,
    /// A commit of a task that no plan has: left over from another plan.
    Stray,
    /// A file of an attempt that no commit names.
    Orphan,
    /// Why a task will not be tried again.
    Failed,
}

impl Kind {
    /// Whether it takes something from the campaign; else it is information.
    #[must_use]
    pub fn is_damage(self) -> bool {
        matches!(self, Self::Damaged | Self::Missing | Self::Unreadable)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Damaged => "DAMAGED",
            Self::Missing => "MISSING",
            Self::Unreadable => "UNREADABLE",
            Self::Stray => "stray",
            Self::Orphan => "orphan",
            Self::Failed => "failed",
        })
    }
}

/// One object and what was found of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// What was found.
    pub kind: Kind,
    /// Stage of the object, if it has one.
    pub stage: Option<Stage>,
    /// Its path in the store.
    pub path: String,
    /// What it means.
    pub meaning: String,
    /// What to remove so that the next run makes it again.
    mend: Vec<String>,
}

impl Finding {
    /// Whether the next run makes it good, once [`mend`] has been called.
    #[must_use]
    pub fn is_mended(&self) -> bool {
        matches!(self.kind, Kind::Damaged | Kind::Missing)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>10}  {}: {}", self.kind, self.path, self.meaning)
    }
}

/// What a walk found.
#[derive(Debug, Default)]
pub struct Report {
    /// All findings, in order of kind, stage and path: damage first.
    pub findings: Vec<Finding>,
    /// Number of data files and inputs read.
    pub files: u64,
    /// Their size.
    pub bytes: u64,
    /// Number of sound commit records.
    pub commits: u64,
    /// Number of planned tasks that have no commit record.
    pub waiting: u64,
    /// Whether the store has nothing of the campaign.
    pub empty: bool,
    /// All indexes of commit records.
    indexes: Vec<String>,
}

impl Report {
    /// The findings that are damage.
    pub fn damage(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.kind.is_damage())
    }

    /// The stages that damage was found in.
    #[must_use]
    pub fn stages(&self) -> BTreeSet<Stage> {
        self.damage().filter_map(|finding| finding.stage).collect()
    }

    /// What [`mend`] removes.
    #[must_use]
    pub fn mends(&self) -> BTreeSet<&str> {
        self.damage().flat_map(|finding| &finding.mend).map(String::as_str).collect()
    }
}

/// How far a walk is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// The stage whose files are being read.
    pub stage: Stage,
    /// Files of the stage read.
    pub files: u64,
    /// Files of the stage in all.
    pub of_files: u64,
    /// Bytes of the stage read.
    pub bytes: u64,
    /// Bytes of the stage in all.
    pub of_bytes: u64,
}

/// Reads every object of the campaign, a few at a time and none held whole,
/// and tells `show` after each.
///
/// # Errors
/// [`SurveyError`] when the store is away. An object that cannot be read is a
/// finding.
pub async fn verify(
    store: &Store,
    campaign: &ResolvedCampaign,
    show: &mut dyn FnMut(Progress),
) -> Result<Report, SurveyError> {
    let survey = survey(store, campaign).await?;
    let mut walk = Walk { store, layout: Layout::new(&campaign.id()), report: Report::default() };
    if survey.is_empty() {
        walk.report.empty = true;
        return Ok(walk.report);
    }
    walk.campaign(&survey).await?;
    let campaign_digest = survey.campaign.digest();
    for (&stage, found) in &survey.stages {
        walk.plan(&survey, stage, found);
        walk.records(&survey, stage, found);
        walk.indexes(stage, found, &campaign_digest).await?;
        walk.files(stage, found, show).await?;
        walk.leftovers(stage, found).await?;
    }
    let mut report = walk.report;
    report.findings.sort();
    Ok(report)
}

/// Removes what is damaged, so that the next run makes it again: records and
/// plans, and inputs, which a run copies anew. Data files stay, as files that
/// no commit names. Indexes of commit records go along, and are made anew. No run
/// may be at work on the campaign. Returns the number of objects that were removed,
/// indexes apart.
///
/// # Errors
/// When the store refuses; calling it again goes on.
pub async fn mend(store: &Store, report: &Report) -> Result<usize, StoreError> {
    let (mut removed, mends) = (0, report.mends());
    // First: a record that is gone must not be found in an index.
    for path in report.indexes.iter().filter(|_| !mends.is_empty()) {
        store.delete(path).await?;
    }
    for path in mends {
        if store.exists(path).await? {
            store.delete(path).await?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// What a shard is of, in words.
fn part(stage: Stage, shard: Shard) -> String {
    match stage {
        Stage::Field => "all pixels".to_owned(),
        Stage::Simulate => format!("simulations {shard}"),
        Stage::Train => format!("training epochs {shard}"),
        Stage::Calibrate => "the calibration".to_owned(),
        Stage::Fit => format!("blocks of pixels {shard}"),
        Stage::Reduce => format!("galaxies {shard}"),
        Stage::Catalogue => "the catalogue".to_owned(),
    }
}

/// The task id in the path of a commit record, `folder/<group>/<task>.json`.
pub(crate) fn committed_in<'a>(folder: &str, path: &'a str) -> Option<&'a str> {
    let rest = path.strip_prefix(folder)?.strip_prefix('/')?;
    rest.split_once('/')?.1.strip_suffix(".json")
}

/// The task id in a path such as `folder/<task>.json` or `folder/<task>/...`.
pub(crate) fn task_in<'a>(folder: &str, path: &'a str) -> Option<&'a str> {
    let rest = path.strip_prefix(folder)?.strip_prefix('/')?;
    let name = rest.split('/').next()?;
    Some(name.strip_suffix(".json").unwrap_or(name))
}

struct Walk<'a> {
    store: &'a Store,
    layout: Layout,
    report: Report,
}

impl Walk<'_> {
    /// Information: nothing that the campaign needs.
    fn note(&mut self, kind: Kind, stage: Stage, path: &str, meaning: String) {
        let (path, stage) = (path.to_owned(), Some(stage));
        self.report.findings.push(Finding { kind, stage, path, meaning, mend: Vec::new() });
    }

    /// An object at fault (`of`, in words) that the next run makes again once
    /// what is in `mend` is gone.
    fn fault(
        &mut self,
        fault: &Fault,
        stage: Option<Stage>,
        path: &str,
        of: &str,
        mend: Vec<String>,
    ) {
        let (kind, meaning, mend) = match fault {
            Fault::Missing => (Kind::Missing, format!("{of} is not in the store"), mend),
            Fault::Damaged(reason) => (Kind::Damaged, format!("{of}: {reason}"), mend),
            // It may be whole: nothing is thrown away for it.
            Fault::Unreadable(reason) => (Kind::Unreadable, format!("{of}: {reason}"), Vec::new()),
        };
        let path = path.to_owned();
        self.report.findings.push(Finding { kind, stage, path, meaning, mend });
    }

    async fn campaign(&mut self, survey: &Survey) -> Result<(), SurveyError> {
        let path = self.layout.campaign();
        if let Some(fault) = &survey.fault {
            self.fault(fault, None, &path, "the campaign's record", vec![path.clone()]);
        }
        let campaign = &survey.campaign;
        let tables = [
            ("field.pixels", &campaign.pixels),
            ("field.sources", &campaign.sources),
            ("field.redshifts.table", &campaign.redshifts),
        ];
        let tables = tables.into_iter().filter_map(|(key, digest)| Some((key, digest.as_ref()?)));
        let model = campaign.estimator.iter().flatten().map(|digest| ("estimator", digest));
        for (key, digest) in tables.chain(model) {
            let path = self.layout.input(digest);
            let fault = match self.store.measure(&path).await {
                Ok((bytes, found)) => {
                    self.report.files += 1;
                    self.report.bytes += bytes;
                    (found != *digest).then(|| Fault::Damaged(differs(&found, digest)))
                }
                Err(error) => Some(Fault::of(&path, error)?),
            };
            if let Some(fault) = fault {
                self.fault(&fault, None, &path, &format!("input `{key}`"), vec![path.clone()]);
            }
        }
        Ok(())
    }

    fn plan(&mut self, survey: &Survey, stage: Stage, found: &StageSurvey) {
        let path = found.plan_path.clone();
        let of = format!("the plan of stage {stage}");
        match &found.plan {
            Some(Err(fault)) => self.fault(fault, Some(stage), &path, &of, vec![path.clone()]),
            None if !found.commits().is_empty() || survey.takers(stage).has_any() => {
                self.fault(&Fault::Missing, Some(stage), &path, &of, Vec::new());
            }
            _ => {}
        }
    }

    fn records(&mut self, survey: &Survey, stage: Stage, found: &StageSurvey) {
        let folder = self.layout.commits(stage);
        let mut seen = BTreeSet::new();
        let planned: BTreeMap<&str, Shard> =
            found.planned.iter().map(|(id, task)| (id.as_str(), task.shard)).collect();
        for (path, record) in &found.records {
            let id = committed_in(&folder, path).unwrap_or_default();
            seen.insert(id);
            match record {
                Err(fault) => {
                    let part = planned.get(id).map(|&shard| part(stage, shard));
                    let part = part.unwrap_or_else(|| "a part that is not known".to_owned());
                    let of = format!("the commit record of {part} ({stage})");
                    let failure = format!("{}/{id}.json", self.layout.failures(stage));
                    self.fault(fault, Some(stage), path, &of, vec![path.clone(), failure]);
                }
                Ok(record) => {
                    self.report.commits += 1;
                    if !found.planned.contains_key(&record.task) {
                        let part = part(stage, record.shard);
                        let meaning = if found.whole {
                            format!("{part} ({stage}) of another plan: nobody reads it")
                        } else {
                            format!("{part} ({stage}): planned or not, what is before it is gone")
                        };
                        self.note(Kind::Stray, stage, path, meaning);
                    }
                }
            }
        }
        let takers = survey.takers(stage);
        let failures: BTreeSet<&TaskId> = found.failures.iter().map(|f| &f.task).collect();
        for (id, task) in found.planned.iter().filter(|(id, _)| !seen.contains(id.as_str())) {
            let failed = failures.contains(id);
            self.report.waiting += u64::from(!failed);
            if failed || !takers.took(task.shard) {
                continue;
            }
            let of = format!("the commit record of {} ({stage})", part(stage, task.shard));
            let path = self.layout.commit(stage, task.shard, id);
            self.fault(&Fault::Missing, Some(stage), &path, &of, Vec::new());
        }
    }

    /// Holds the indexes of commit records against these.
    async fn indexes(
        &mut self,
        stage: Stage,
        found: &StageSurvey,
        campaign: &Digest,
    ) -> Result<(), SurveyError> {
        let folder = self.layout.stage_indexes(stage);
        let entries = self.store.list(&folder).await.map_err(SurveyError::at(&folder))?;
        let (store, layout) = (self.store, &self.layout);
        let read: Vec<(String, Option<Fault>)> = stream::iter(entries)
            .map(|entry| async move {
                let fault = index::fault(store, layout, campaign, found, &entry.path).await?;
                Ok::<_, SurveyError>((entry.path, fault))
            })
            .buffered(READS_AT_A_TIME)
            .try_collect()
            .await?;
        for (path, fault) in read {
            if let Some(fault) = fault {
                let of = format!("an index of commit records ({stage})");
                self.fault(&fault, Some(stage), &path, &of, vec![path.clone()]);
            }
            self.report.indexes.push(path);
        }
        Ok(())
    }

    async fn files(
        &mut self,
        stage: Stage,
        found: &StageSurvey,
        show: &mut dyn FnMut(Progress),
    ) -> Result<(), SurveyError> {
        let files = || {
            let records = found.records.values().flatten();
            records.flat_map(|record| record.files.iter().map(move |file| (record, file)))
        };
        let (of_files, of_bytes) =
            files().fold((0, 0), |(n, bytes), (_, file)| (n + 1, bytes + file.bytes));
        let mut progress = Progress { stage, files: 0, of_files, bytes: 0, of_bytes };
        let store = self.store;
        let mut checks = stream::iter(files())
            .map(|(record, file)| async move { Ok((record, file, check_file(store, file).await?)) })
            .buffer_unordered(READS_AT_A_TIME);
        while let Some((record, file, fault)) = checks.try_next().await? {
            progress.files += 1;
            progress.bytes += file.bytes;
            if let Some(fault) = fault {
                self.file_at_fault(record, file, &fault);
            }
            show(progress);
        }
        self.report.files += progress.files;
        self.report.bytes += progress.bytes;
        Ok(())
    }

    fn file_at_fault(&mut self, record: &CommitRecord, file: &FileRecord, fault: &Fault) {
        let (stage, task) = (record.stage, &record.task);
        let of = format!("{} of {} ({stage}, task {task})", file.name, part(stage, record.shard));
        let commit = self.layout.commit(stage, record.shard, task);
        let mend = vec![commit, self.layout.failure(stage, task)];
        self.fault(fault, Some(stage), &file.path, &of, mend);
    }

    /// What no commit needs: files of other attempts, and failure records.
    async fn leftovers(&mut self, stage: Stage, found: &StageSurvey) -> Result<(), SurveyError> {
        let commits = self.layout.commits(stage);
        let by_task: BTreeMap<&str, _> = found
            .records
            .iter()
            .filter_map(|(path, record)| Some((committed_in(&commits, path)?, record)))
            .collect();
        let named = named_files(found);
        let folder = self.layout.stage_data(stage);
        for entry in self.store.list(&folder).await.map_err(SurveyError::at(&folder))? {
            if named.contains(entry.path.as_str()) {
                continue;
            }
            let meaning = match task_in(&folder, &entry.path).and_then(|id| by_task.get(id)) {
                // The damaged record may be the one that names it.
                Some(Err(_)) => continue,
                Some(Ok(_)) => "no commit names it: `outshine gc` removes it",
                None => "its attempt has not been committed, or not yet",
            };
            self.note(Kind::Orphan, stage, &entry.path, meaning.to_owned());
        }
        let folder = self.layout.failures(stage);
        for entry in self.store.list(&folder).await.map_err(SurveyError::at(&folder))? {
            let meaning = match task_in(&folder, &entry.path).and_then(|id| by_task.get(id)) {
                Some(_) => "its task was committed all the same: `outshine gc` removes it",
                None => "`outshine retry` puts its task back to work",
            };
            self.note(Kind::Failed, stage, &entry.path, meaning.to_owned());
        }
        Ok(())
    }
}

/// Paths of all files that a sound commit record names.
pub(crate) fn named_files(found: &StageSurvey) -> BTreeSet<&str> {
    found.records.values().flatten().flat_map(|r| &r.files).map(|f| f.path.as_str()).collect()
}

fn differs(found: &Digest, recorded: &Digest) -> String {
    format!("SHA-256 {found}, recorded was {recorded}")
}

async fn check_file(store: &Store, file: &FileRecord) -> Result<Option<Fault>, SurveyError> {
    Ok(match store.measure(&file.path).await {
        Ok((bytes, _)) if bytes != file.bytes => {
            Some(Fault::Damaged(format!("{bytes} bytes, recorded were {}", file.bytes)))
        }
        Ok((_, found)) if found != file.sha256 => {
            Some(Fault::Damaged(differs(&found, &file.sha256)))
        }
        Ok(_) => None,
        Err(error) => Some(Fault::of(&file.path, error)?),
    })
}
