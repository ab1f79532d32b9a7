//! One message, from bytes to a verdict. Nothing here settles: see `slot`.

use super::board::Board;
use super::kernel::{Assignment, Kernel};
use crate::stages::{RetryClass, StageError};
use outshine_observe::names;
use outshine_schemas::campaign::ResolvedCampaign;
use outshine_schemas::codec::{self, CodecError};
use outshine_schemas::outcome::FailureRecord;
use outshine_schemas::task::Task;
use outshine_schemas::{CODE_VERSION, FORMAT_VERSION, SCIENCE_VERSION};
use outshine_store::commit::{self, Draft, NewFile};
use outshine_store::layout::Layout;
use outshine_store::{PutNew, Store};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Between two looks at whether another slot has done the same task.
const SECOND_LOOK: Duration = Duration::from_millis(200);

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

/// The campaign that a worker works for: one copy for all of its slots.
#[derive(Clone, Default)]
pub struct Loaded(Arc<Mutex<Option<Arc<ResolvedCampaign>>>>);

/// Does tasks one after another.
pub struct Executor {
    /// Where tasks are committed.
    pub store: Store,
    /// Its name in commit records.
    pub worker: String,
    /// Threads that a task may use.
    pub threads: usize,
    /// Where running tasks tell how far they are.
    pub board: Board,
    /// What does them.
    pub kernel: Arc<dyn Kernel>,
    /// The campaign they belong to.
    pub loaded: Loaded,
}

impl Executor {
    /// Does what `payload` asks; `redeliveries` is how often the message came
    /// back before.
    pub async fn execute(&mut self, payload: &[u8], redeliveries: u32) -> Verdict {
        let task = match codec::decode(payload) {
            Ok(task) => task,
            Err(error) => return counted("unknown", Verdict::Unreadable(error)),
        };
        // Another slot may be at it: this message, a second one, waits for the
        // outcome. The watchdog bounds the wait.
        while !self.board.begin(&task.id) {
            tokio::time::sleep(SECOND_LOOK).await;
        }
        let verdict = match self.attempt(&task).await {
            Ok(()) => Verdict::Done,
            Err(error) => self.judge(&task, &error, redeliveries + 1).await,
        };
        self.board.clear(&task.id);
        counted(task.stage.name(), verdict)
    }

    async fn attempt(&mut self, task: &Task) -> Result<(), StageError> {
        let path = Layout::new(&task.campaign).commit(task.stage, &task.id);
        if self.store.exists(&path).await? {
            tracing::debug!(task = %task.id, stage = %task.stage, "committed already");
            return Ok(());
        }
        let campaign = self.load(task).await?;
        let started = Instant::now();
        tracing::info!(task = %task.id, stage = %task.stage, shard = %task.shard, "start");
        let assignment = Assignment {
            store: self.store.clone(),
            task: task.clone(),
            campaign,
            threads: self.threads,
            board: self.board.clone(),
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
        let attempt = uuid::Uuid::new_v4().to_string();
        let layout = Layout::new(&task.campaign);
        let kept = commit::publish_attempt(&self.store, &layout, &attempt, draft, files).await?;
        let kept = kept.record();
        metrics::histogram!(names::WORKER_SECONDS, "stage" => task.stage.name())
            .record(started.elapsed().as_secs_f64());
        tracing::info!(
            task = %task.id, stage = %task.stage, seconds = kept.seconds, winner = %kept.worker,
            "committed"
        );
        Ok(())
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

    async fn judge(&self, task: &Task, error: &StageError, attempts: u32) -> Verdict {
        let report = error.report();
        if error.class() == RetryClass::Stop {
            return Verdict::Stop(report);
        }
        let loaded = self.loaded.0.lock().await.clone();
        // Without its campaign, nothing of the task was tried: the store is at fault.
        let loaded = loaded.filter(|c| c.id() == task.campaign);
        let limit = loaded.map_or(u32::MAX, |c| c.campaign.execution.max_attempts);
        if error.class() == RetryClass::Retry && attempts < limit {
            return Verdict::Retry(report);
        }
        let record = FailureRecord {
            version: FORMAT_VERSION,
            task: task.id.clone(),
            stage: task.stage,
            shard: task.shard,
            error: report.clone(),
            attempts,
            worker: self.worker.clone(),
        };
        let path = Layout::new(&task.campaign).failure(task.stage, &task.id);
        let bytes = match serde_json::to_vec_pretty(&record) {
            Ok(bytes) => bytes,
            Err(e) => return Verdict::Retry(format!("{report}; and its record is no JSON: {e}")),
        };
        match self.store.put_new(&path, bytes.into()).await {
            Ok(PutNew::Created | PutNew::AlreadyExists) => Verdict::Failed(report),
            // Without the record nobody would learn of it: keep the message.
            Err(e) => Verdict::Retry(format!("{report}; and this could not be recorded: {e}")),
        }
    }
}
