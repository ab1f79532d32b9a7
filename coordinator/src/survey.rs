//! What the store has of a campaign: its record, the plans, and every commit
//! record, each judged by itself and against what was planned. Reads records
//! only, no data, and writes nothing.

use crate::plan::{self, Ended};
use futures::{StreamExt, TryStreamExt, stream};
use outshine_schemas::campaign::ResolvedCampaign;
use outshine_schemas::digest::Digest;
use outshine_schemas::ids::TaskId;
use outshine_schemas::outcome::{CommitRecord, FailureRecord, Source, StagePlan};
use outshine_schemas::task::{Shard, Stage, Task};
use outshine_store::layout::Layout;
use outshine_store::{Store, StoreError, commit, parse_versioned};
use std::collections::{BTreeMap, BTreeSet};

/// How many objects are read at a time.
pub(crate) const READS_AT_A_TIME: usize = 16;

/// What is wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not there.
    Missing,
    /// Its content is not what it must be.
    Damaged(String),
    /// The store has it and does not hand it out; it may be whole.
    Unreadable(String),
}

impl Fault {
    /// The fault that a failed read shows.
    ///
    /// # Errors
    /// When the store as a whole is away, which says nothing of the object.
    pub fn of(path: &str, error: StoreError) -> Result<Self, SurveyError> {
        match error {
            StoreError::NotFound { .. } => Ok(Self::Missing),
            StoreError::Corrupt { reason, .. } | StoreError::BadPath { reason, .. } => {
                Ok(Self::Damaged(reason))
            }
            StoreError::Version { found, expected, .. } => {
                Ok(Self::Damaged(format!("format version {found} in a campaign of {expected}")))
            }
            StoreError::Unreachable { .. }
            | StoreError::NoStore { .. }
            | StoreError::BadUrl { .. } => {
                Err(SurveyError { path: path.to_owned(), source: error })
            }
            other => Ok(Self::Unreadable(other.to_string())),
        }
    }
}

/// The store did not answer.
#[derive(Debug, thiserror::Error)]
#[error("at `{path}`: {source}")]
pub struct SurveyError {
    /// What was asked for.
    pub path: String,
    /// The store's error.
    pub source: StoreError,
}

impl SurveyError {
    /// An error at `path`, for `map_err`.
    pub(crate) fn at(path: &str) -> impl FnOnce(StoreError) -> Self {
        move |source| Self { path: path.to_owned(), source }
    }
}

/// What the store has of one stage.
#[derive(Debug, Default)]
pub struct StageSurvey {
    /// Where its plan lies.
    pub plan_path: String,
    /// The stored plan, or what is wrong with it; `None`: there is none.
    pub plan: Option<Result<StagePlan, Fault>>,
    /// Every commit record by its path: sound, or what is wrong with it.
    pub records: BTreeMap<String, Result<CommitRecord, Fault>>,
    /// Tasks that are known to be planned; of training, those up to the first
    /// span that has no sound record.
    pub planned: BTreeMap<TaskId, Task>,
    /// Failures of planned tasks that later stages go on without.
    pub failures: Vec<FailureRecord>,
    /// Whether `planned` is all there is: a task outside it is of no plan.
    pub whole: bool,
}

impl StageSurvey {
    /// Sound records of planned tasks, in order of shard.
    #[must_use]
    pub fn commits(&self) -> Vec<CommitRecord> {
        let sound = self.records.values().flatten();
        let mut commits: Vec<_> =
            sound.filter(|r| self.planned.contains_key(&r.task)).cloned().collect();
        commits.sort_by_key(|record| record.shard);
        commits
    }
}

/// What the store has of a campaign.
#[derive(Debug)]
pub struct Survey {
    /// The campaign: as stored, or as given where the stored one is at fault.
    pub campaign: ResolvedCampaign,
    /// What is wrong with the stored campaign.
    pub fault: Option<Fault>,
    /// Stage by stage.
    pub stages: BTreeMap<Stage, StageSurvey>,
}

impl Survey {
    /// Whether the store has nothing of the campaign.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fault == Some(Fault::Missing)
            && self.stages.values().all(|s| s.plan.is_none() && s.records.is_empty())
    }

    /// Stages that were made from `stage`, as planned now.
    #[must_use]
    pub fn takers(&self, stage: Stage) -> Takers {
        let layout = Layout::new(&self.campaign.id());
        let path = self.stages.get(&stage).map(|survey| &survey.plan_path);
        let later = self.stages.iter().filter(|(later, _)| later.needs().contains(&stage));
        let lacks = |source: &Source| source.missing.iter().copied().collect();
        Takers(
            later
                .filter_map(|(_, survey)| match survey.plan.as_ref()? {
                    Ok(plan) => match plan.source(stage) {
                        // Made from it as it was planned before a retry.
                        Some(source) if Some(&layout.plan(stage, &source.inputs)) != path => None,
                        source => Some(source.map(lacks).unwrap_or_default()),
                    },
                    Err(_) => Some(BTreeSet::new()),
                })
                .collect(),
        )
    }
}

/// The stages that have a plan and were made from one stage: the shards of it that
/// each went on without.
#[derive(Debug)]
pub struct Takers(Vec<BTreeSet<Shard>>);

impl Takers {
    /// Whether there is one, so that the stage has ended once.
    #[must_use]
    pub fn has_any(&self) -> bool {
        !self.0.is_empty()
    }

    /// Whether one took what the task of a shard made.
    #[must_use]
    pub fn took(&self, shard: Shard) -> bool {
        self.0.iter().any(|missing| !missing.contains(&shard))
    }
}

/// Looks at everything but the data. `given` is the campaign as resolved from
/// its file.
///
/// # Errors
/// [`SurveyError`] when the store is away or cannot be listed.
pub async fn survey(store: &Store, given: &ResolvedCampaign) -> Result<Survey, SurveyError> {
    let layout = Layout::new(&given.id());
    let path = layout.campaign();
    let (campaign, fault) = match store.get(&path).await {
        Ok(bytes) => match serde_json::from_slice::<ResolvedCampaign>(&bytes) {
            Ok(stored) if stored.digest() == given.digest() => (stored, None),
            Ok(_) => {
                let reason = "its content is not that of its name".to_owned();
                (given.clone(), Some(Fault::Damaged(reason)))
            }
            Err(error) => (given.clone(), Some(Fault::Damaged(error.to_string()))),
        },
        Err(error) => (given.clone(), Some(Fault::of(&path, error)?)),
    };
    let mut survey = Survey { campaign, fault, stages: BTreeMap::new() };
    let mut complete: BTreeMap<Stage, Ended> = BTreeMap::new();
    for stage in Stage::ALL {
        let expected = stage
            .needs()
            .iter()
            .all(|need| complete.contains_key(need))
            .then(|| plan::stage(stage, &survey.campaign, &|s| complete.get(&s)).ok())
            .flatten();
        let path = plan_path(store, &layout, stage, expected.as_ref()).await?;
        let plan = read_plan(store, stage, &path).await?;
        let records = read_records(store, &layout, stage, &survey.campaign).await?;
        let known = expected.is_some() || matches!(plan, Some(Ok(_)));
        let mut judged = judge(&survey.campaign, plan, expected.clone(), records);
        judged.plan_path = path;
        let commits = judged.commits();
        if stage.may_lack() {
            judged.failures = failures(store, &survey.campaign, stage, &judged).await?;
        }
        let all = known && commits.len() + judged.failures.len() == judged.planned.len();
        let ended = stage != Stage::Train || commits.last().is_some_and(plan::finished);
        let used = match &judged.plan {
            Some(Ok(plan)) => Some(plan.clone()),
            _ => expected,
        };
        if let Some(plan) = used.filter(|_| all && ended) {
            let failures = judged.failures.clone();
            complete.insert(stage, Ended { plan, commits, failures });
        }
        survey.stages.insert(stage, judged);
    }
    Ok(survey)
}

/// Where the plan of a stage lies: that made from what there is, or, where that
/// is not known, the newest one.
async fn plan_path(
    store: &Store,
    layout: &Layout,
    stage: Stage,
    expected: Option<&StagePlan>,
) -> Result<String, SurveyError> {
    if let Some(plan) = expected {
        return Ok(layout.plan(stage, &plan.inputs));
    }
    let folder = layout.plans();
    let entries = store.list(&folder).await.map_err(SurveyError::at(&folder))?;
    let of_stage = entries.into_iter().filter(|entry| layout.plan_of(&entry.path) == Some(stage));
    let newest = of_stage.max_by_key(|entry| entry.modified).map(|entry| entry.path);
    Ok(newest.unwrap_or_else(|| layout.plan(stage, &Digest::of(b""))))
}

/// Failures of planned tasks that have no sound commit.
async fn failures(
    store: &Store,
    campaign: &ResolvedCampaign,
    stage: Stage,
    judged: &StageSurvey,
) -> Result<Vec<FailureRecord>, SurveyError> {
    let id = campaign.id();
    let all = crate::failures::list(store, &id, stage).await;
    let all = all.map_err(SurveyError::at(&Layout::new(&id).failures(stage)))?;
    let done: BTreeSet<TaskId> = judged.commits().into_iter().map(|record| record.task).collect();
    let waits = |f: &FailureRecord| judged.planned.contains_key(&f.task) && !done.contains(&f.task);
    let mut open: Vec<_> = all.into_iter().filter(waits).collect();
    open.sort_by_key(|failure| failure.shard);
    Ok(open)
}

async fn read_plan(
    store: &Store,
    stage: Stage,
    path: &str,
) -> Result<Option<Result<StagePlan, Fault>>, SurveyError> {
    let bytes = match store.get(path).await {
        Ok(bytes) => bytes,
        Err(error) => {
            let fault = Fault::of(path, error)?;
            return Ok((fault != Fault::Missing).then_some(Err(fault)));
        }
    };
    Ok(Some(match parse_versioned::<StagePlan>(path, &bytes) {
        Ok(plan) if plan.stage != stage => {
            Err(Fault::Damaged(format!("it is the plan of stage {}", plan.stage)))
        }
        Ok(plan) => Ok(plan),
        Err(error) => Err(Fault::of(path, error)?),
    }))
}

async fn read_records(
    store: &Store,
    layout: &Layout,
    stage: Stage,
    campaign: &ResolvedCampaign,
) -> Result<BTreeMap<String, Result<CommitRecord, Fault>>, SurveyError> {
    let folder = layout.commits(stage);
    let entries = store.list(&folder).await.map_err(SurveyError::at(&folder))?;
    let digest = &campaign.digest();
    let read: Vec<_> = stream::iter(entries)
        .map(|entry| async move {
            let judged = match commit::read_record(store, &entry.path).await {
                Ok(Some(record)) => {
                    check_record(layout, stage, digest, &entry.path, &record).map(|()| record)
                }
                Ok(None) => Err(Fault::Missing),
                Err(error) => Err(Fault::of(&entry.path, error)?),
            };
            Ok((entry.path, judged))
        })
        .buffer_unordered(READS_AT_A_TIME)
        .try_collect()
        .await?;
    Ok(read.into_iter().filter(|(_, judged)| *judged != Err(Fault::Missing)).collect())
}

/// Checks all of a record at `path` that follows from the rest of it.
pub(crate) fn check_record(
    layout: &Layout,
    stage: Stage,
    campaign: &Digest,
    path: &str,
    record: &CommitRecord,
) -> Result<(), Fault> {
    let damaged = |reason: &str| Err(Fault::Damaged(reason.to_owned()));
    let id = TaskId::derive(campaign, stage, record.shard, &record.inputs);
    if record.stage != stage || record.task != id || layout.commit(stage, record.shard, &id) != path
    {
        return damaged("stage, shard and inputs do not give its task's id");
    }
    if record.data_digest != CommitRecord::digest_of(&record.files, &record.facts) {
        return damaged("files and facts do not give its digest");
    }
    let folder = format!("{}/", layout.data(stage, &id));
    for file in &record.files {
        let below = file.path.strip_prefix(&folder).and_then(|rest| rest.split_once('/'));
        if below.is_none_or(|(attempt, name)| attempt.is_empty() || name != file.name) {
            return damaged(&format!("its file {} is not where its attempts write", file.name));
        }
    }
    Ok(())
}

/// Holds plan and records against each other and against what the stages
/// before give (`expected`, where these are complete).
fn judge(
    campaign: &ResolvedCampaign,
    plan: Option<Result<StagePlan, Fault>>,
    expected: Option<StagePlan>,
    records: BTreeMap<String, Result<CommitRecord, Fault>>,
) -> StageSurvey {
    let plan = plan.map(|plan| {
        plan.and_then(|plan| match check_plan(campaign, &plan, expected.as_ref(), &records) {
            Ok(()) => Ok(plan),
            Err(reason) => Err(Fault::Damaged(reason)),
        })
    });
    let sound = matches!(plan, Some(Ok(_)));
    let mut survey = StageSurvey { plan, records, ..StageSurvey::default() };
    // Without its plan, tasks are still those that would be planned now, if
    // nobody changed how the work is cut.
    let used = match &survey.plan {
        Some(Ok(plan)) => Some(plan.clone()),
        _ => expected,
    };
    let Some(plan) = used else { return survey };
    if plan.stage != Stage::Train {
        let tasks = plan::tasks(campaign, &plan, &[]);
        survey.planned = tasks.into_iter().map(|task| (task.id.clone(), task)).collect();
        survey.whole = sound;
        return survey;
    }
    let by_task: BTreeMap<&TaskId, &CommitRecord> =
        survey.records.values().flatten().map(|r| (&r.task, r)).collect();
    let mut chain: Vec<CommitRecord> = Vec::new();
    // Each round takes a record that is not in the chain yet: spans go forward.
    while let Some(task) = plan::tasks(campaign, &plan, &chain).into_iter().next() {
        let next = by_task.get(&task.id);
        survey.planned.insert(task.id.clone(), task);
        match next {
            Some(&record) => chain.push(record.clone()),
            None => break,
        }
    }
    let ended = chain.last().is_some_and(plan::finished);
    survey.whole = sound && (ended || chain.len() == survey.records.len());
    survey
}

fn check_plan(
    campaign: &ResolvedCampaign,
    plan: &StagePlan,
    expected: Option<&StagePlan>,
    records: &BTreeMap<String, Result<CommitRecord, Fault>>,
) -> Result<(), String> {
    let joined = plan.shards.windows(2).all(|pair| pair[0].end == pair[1].start);
    let from_zero = plan.shards.first().is_none_or(|first| first.start == 0);
    if !joined || !from_zero || plan.shards.iter().any(|s| s.end <= s.start) {
        return Err("its shards do not follow one another from 0".to_owned());
    }
    if plan.inputs != StagePlan::inputs_of(&plan.data, &plan.sources) {
        return Err("its inputs do not follow from the rest of it".to_owned());
    }
    let Some(expected) = expected else {
        // What is before it is damaged: its own commits know their inputs, but
        // for training, where each span has others.
        let mut sound = records.values().flatten().peekable();
        let none = sound.peek().is_some() && sound.all(|record| record.inputs != plan.inputs);
        if none && plan.stage != Stage::Train {
            return Err("no commit of the stage was made from its inputs".to_owned());
        }
        return Ok(());
    };
    if plan.inputs != expected.inputs || plan.sources != expected.sources {
        return Err("it was made from other inputs than the store has".to_owned());
    }
    let end = |plan: &StagePlan| plan.shards.last().map(|s: &Shard| s.end);
    // How a stage is cut may differ, what it covers may not. Of training, the
    // plan has the first span only: that must be the usual one, or done.
    let done = |task: &Task| records.values().flatten().any(|record| record.task == task.id);
    let covers = match plan.stage {
        Stage::Train => plan.shards.len() == 1 && plan::tasks(campaign, plan, &[]).iter().all(done),
        _ => end(plan) == end(expected),
    };
    if covers || plan.shards == expected.shards {
        return Ok(());
    }
    Err("its shards do not cover the stage".to_owned())
}
