//! One message, from bytes to a verdict. Nothing here settles: see `slot`.

use super::board::Board;
use super::kernel::{Assignment, Kernel};
use super::plans::Plans;
use crate::stages::{RetryClass, StageError};
use outshine_observe::names;
use outshine_schemas::campaign::ResolvedCampaign;
use outshine_schemas::codec::{self, CodecError};
use outshine_schemas::outcome::{FailureRecord, LossRecord};
use outshine_schemas::task::Task;
use outshine_schemas::{CODE_VERSION, FORMAT_VERSION, SCIENCE_VERSION};
use outshine_store::commit::{self, Draft, NewFile};
use outshine_store::layout::{CAMPAIGNS, Layout};
use outshine_store::{PutNew, Store};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};
use tokio::time::Instant;

/// Between two looks at whether another slot has done the same task.
const SECOND_LOOK: Duration = Duration::from_millis(200);

/// A message that came back this often may have killed its workers.
const SUSPECT: u32 = 2;

/// How a message ended.
#[derive(Debug)]
pub enum Verdict {
    /// The outcome is committed, by this attempt or another.
    Done,
    /// It may work later.
    Retry(String),
    /// It will not work; the error is kept in the store.
    Failed(String),
    /// Nothing will work until somebody mends the store.
    Stop(String),
    /// Not a message that this software understands.
    Unreadable(CodecError),
}

impl Verdict {
    /// As metrics name it.
    fn name(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Retry(_) => "retried",
            Self::Failed(_) => "failed",
            Self::Stop(_) => "stopped",
            Self::Unreadable(_) => "unreadable",
        }
    }
}

/// Counts a verdict among those of a stage.
fn counted(stage: &'static str, verdict: Verdict) -> Verdict {
    let labels = [("stage", stage), ("outcome", verdict.name())];
    metrics::counter!(names::WORKER_TASKS, &labels).increment(1);
    verdict
}

/// Tells the log what the span of a delivery is about.
fn name_in_logs(task: &Task, attempt: &str) {
    let span = tracing::Span::current();
    span.record("campaign", task.campaign.as_str());
    span.record("stage", task.stage.name());
    span.record("task", task.id.as_str());
    span.record("attempt_id", attempt);
}

/// The right to work in this process.
enum Room {
    /// Beside other tasks.
    Shared { _guard: OwnedRwLockReadGuard<()> },
    /// With nothing else at work, so that no other task dies along.
    Alone { _guard: OwnedRwLockWriteGuard<()> },
}

impl Room {
    async fn enter(room: &Arc<RwLock<()>>, alone: bool) -> Self {
        if alone {
            Self::Alone { _guard: room.clone().write_owned().await }
        } else {
            Self::Shared { _guard: room.clone().read_owned().await }
        }
    }
}

/// The campaign that a worker works for: one copy for all of its slots.
#[derive(Clone, Default)]
pub struct Loaded(Arc<Mutex<Option<Arc<ResolvedCampaign>>>>);

/// Makes names that nothing else ever has: of deliveries and attempts.
pub type NewId = Arc<dyn Fn() -> String + Send + Sync>;

/// Names by chance.
#[must_use]
pub fn random_ids() -> NewId {
    Arc::new(|| uuid::Uuid::new_v4().to_string())
}

/// Which try of a task it is.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// Its delivery: the same for all tries of one.
    pub delivery: &'a str,
    /// How often its message came back before.
    pub redeliveries: u32,
    /// Its number, from 1, as far as the worker knows.
    pub number: u32,
    /// Whether a store that does not answer makes the task fail.
    pub last: bool,
}

impl Attempt<'_> {
    /// Whether the task may have killed its workers.
    fn is_suspect(self) -> bool {
        self.redeliveries >= SUSPECT
    }
}

/// Does tasks one after another.
pub struct Executor {
    /// Where tasks are committed.
    pub store: Store,
    /// Its name in commit records.
    pub worker: String,
    /// Names its attempts.
    pub new_id: NewId,
    /// Threads that a task may use.
    pub threads: usize,
    /// Where running tasks tell how far they are.
    pub board: Board,
    /// What does them.
    pub kernel: Arc<dyn Kernel>,
    /// The campaign they belong to.
    pub loaded: Loaded,
    /// Its plans.
    pub plans: Plans,
    /// Held by the tasks at work in the process: shared, but by a suspect alone.
    pub room: Arc<RwLock<()>>,
}

impl Executor {
    /// Does what `payload` asks.
    pub async fn execute(&mut self, payload: &[u8], what: Attempt<'_>) -> Verdict {
        let task = match codec::decode(payload) {
            Ok(task) => task,
            Err(error) => return counted("unknown", Verdict::Unreadable(error)),
        };
        let attempt = (self.new_id)();
        name_in_logs(&task, &attempt);
        let _room = Room::enter(&self.room, what.is_suspect()).await;
        // Another slot may be at it: this message, a second one, waits for the
        // outcome. The watchdog bounds the wait.
        while !self.board.begin(&task.id) {
            tokio::time::sleep(SECOND_LOOK).await;
        }
        let verdict = match self.attempt(&task, &attempt, what).await {
            Ok(()) => Verdict::Done,
            Err(error) => self.judge(&task, &error, what).await,
        };
        self.board.clear(&task.id);
        counted(task.stage.name(), verdict)
    }

    async fn attempt(
        &mut self,
        task: &Task,
        attempt: &str,
        what: Attempt<'_>,
    ) -> Result<(), StageError> {
        let path = Layout::new(&task.campaign).commit(task.stage, task.shard, &task.id);
        if self.store.exists(&path).await? {
            tracing::debug!("committed already");
            return Ok(());
        }
        let campaign = self.load(task).await?;
        if what.is_suspect() {
            let limit = campaign.campaign.execution.max_losses;
            self.note_loss(task, what.delivery, limit).await?;
        }
        let started = Instant::now();
        tracing::info!(shard = %task.shard, "start");
        let assignment = Assignment {
            store: self.store.clone(),
            task: task.clone(),
            campaign,
            threads: self.threads,
            board: self.board.clone(),
            plans: self.plans.clone(),
        };
        let outcome = self.kernel.run(assignment).await?;
        let draft = Draft {
            task: task.id.clone(),
            stage: task.stage,
            shard: task.shard,
            inputs: task.inputs.clone(),
            facts: outcome.facts,
            code_version: CODE_VERSION.to_owned(),
            seconds: started.elapsed().as_secs_f64(),
            worker: self.worker.clone(),
        };
        let files = outcome.files.into_iter();
        let files = files.map(|(name, bytes, rows)| NewFile { name, bytes, rows }).collect();
        let layout = Layout::new(&task.campaign);
        let kept = commit::publish_attempt(&self.store, &layout, attempt, draft, files).await?;
        let kept = kept.record();
        metrics::histogram!(names::WORKER_SECONDS, "stage" => task.stage.name())
            .record(started.elapsed().as_secs_f64());
        tracing::info!(seconds = kept.seconds, winner = %kept.worker, "committed");
        if what.is_suspect() {
            self.forget_losses(task).await;
        }
        Ok(())
    }

    /// Writes down that a task which was lost before is tried once more; gives
    /// it up where that was written for `limit` deliveries before. A delivery is
    /// one loss at most, however often it is tried.
    async fn note_loss(&self, task: &Task, delivery: &str, limit: u32) -> Result<(), StageError> {
        let layout = Layout::new(&task.campaign);
        let own = layout.loss(task.stage, &task.id, delivery);
        let mut workers = Vec::new();
        for entry in self.store.list(&layout.losses(task.stage, &task.id)).await? {
            if entry.path == own {
                continue;
            }
            let record: Option<LossRecord> = self.store.get_json(&entry.path).await?;
            workers.extend(record.map(|record| record.worker));
        }
        if workers.len() >= limit as usize {
            return Err(StageError::Permanent(format!(
                "it was lost {} times while its worker did nothing else, and may kill its workers \
                 (too little memory?); see the logs of {}",
                workers.len(),
                workers.join(", ")
            )));
        }
        let record = LossRecord {
            version: FORMAT_VERSION,
            task: task.id.clone(),
            worker: self.worker.clone(),
        };
        tracing::warn!("lost before: tried alone");
        Ok(self.store.put_json(&own, &record).await?)
    }

    /// Removes what [`Executor::note_loss`] wrote of a task that is done. What
    /// stays is rubbish, not an error.
    async fn forget_losses(&self, task: &Task) {
        let folder = Layout::new(&task.campaign).losses(task.stage, &task.id);
        for entry in self.store.list(&folder).await.unwrap_or_default() {
            if let Err(error) = self.store.delete(&entry.path).await {
                tracing::debug!(path = %entry.path, %error, "the record of a lost task stays");
            }
        }
    }

    async fn load(&self, task: &Task) -> Result<Arc<ResolvedCampaign>, StageError> {
        let mut loaded = self.loaded.0.lock().await;
        if let Some(campaign) = loaded.as_ref().filter(|c| c.id() == task.campaign) {
            return Ok(campaign.clone());
        }
        let path = Layout::new(&task.campaign).campaign();
        let bytes = self.store.get(&path).await?;
        let campaign: ResolvedCampaign = serde_json::from_slice(&bytes)
            .map_err(|e| StageError::Permanent(format!("{path}: not a campaign: {e}")))?;
        if campaign.version != FORMAT_VERSION || campaign.science_version != SCIENCE_VERSION {
            return Err(StageError::Permanent(format!(
                "{path}: made by format {} and science {}, this worker has {FORMAT_VERSION} and \
                 {SCIENCE_VERSION}: run a worker of the coordinator's version",
                campaign.version, campaign.science_version
            )));
        }
        if campaign.digest() != task.campaign_digest {
            return Err(StageError::Permanent(format!(
                "{path}: does not match the message: the stored campaign was changed"
            )));
        }
        let campaign = Arc::new(campaign);
        *loaded = Some(campaign.clone());
        Ok(campaign)
    }

    /// Whether the store answers at all.
    pub async fn store_answers(&self) -> bool {
        let loaded = self.loaded.0.lock().await.clone();
        let path = loaded.map_or(CAMPAIGNS.to_owned(), |c| Layout::new(&c.id()).campaign());
        self.store.exists(&path).await.is_ok()
    }

    async fn judge(&self, task: &Task, error: &StageError, what: Attempt<'_>) -> Verdict {
        let mut report = error.report();
        let layout = Layout::new(&task.campaign);
        match error.class() {
            RetryClass::Stop => return Verdict::Stop(report),
            RetryClass::Retry if !what.last => return Verdict::Retry(report),
            RetryClass::Retry => report = format!("{report}; the rest of the store answers"),
            RetryClass::Permanent => {}
        }
        let record = FailureRecord {
            version: FORMAT_VERSION,
            task: task.id.clone(),
            stage: task.stage,
            shard: task.shard,
            inputs: task.inputs.clone(),
            error: report.clone(),
            attempts: what.number,
            worker: self.worker.clone(),
            log: outshine_observe::lines::of_task(),
        };
        let path = layout.failure(task.stage, &task.id);
        match self.store.put_json_new(&path, &record).await {
            Ok(PutNew::Created | PutNew::AlreadyExists) => Verdict::Failed(report),
            // Without the record nobody would learn of it: keep the message.
            Err(e) => Verdict::Retry(format!("{report}; and this could not be recorded: {e}")),
        }
    }
}
