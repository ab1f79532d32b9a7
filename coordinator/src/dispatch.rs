//! Keeps the queue filled: publishes what is pending, with confirms, and never
//! more than a window of messages at a time, so that restarts of coordinators
//! do not multiply messages and a lost queue costs one window.

use outshine_broker::{BrokerError, TaskQueue};
use outshine_schemas::campaign::Execution;
use outshine_schemas::codec;
use outshine_schemas::ids::TaskId;
use outshine_schemas::task::Task;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Why dispatch gave up.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    /// The broker.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// A message cannot be written.
    #[error(transparent)]
    Codec(#[from] codec::CodecError),
    /// A task vanished again and again.
    #[error(
        "task {task} ({what}) was published {times} times and never finished: it may kill its \
         workers; look at the worker logs and at the broker's dead letters"
    )]
    Vanishes {
        /// The task.
        task: TaskId,
        /// Stage and shard.
        what: String,
        /// Number of publications.
        times: u32,
    },
}

/// What this coordinator has published, and when.
pub struct Dispatch {
    queue: Arc<dyn TaskQueue>,
    name: String,
    window: u64,
    stall: Duration,
    max_republish: u32,
    published: BTreeMap<TaskId, u32>,
    last_progress: Instant,
    declared: bool,
}

impl Dispatch {
    /// Publishes to the queue `name`.
    #[must_use]
    pub fn new(queue: Arc<dyn TaskQueue>, name: &str, execution: &Execution) -> Self {
        Self {
            queue,
            name: name.to_owned(),
            window: execution.queue_window,
            stall: Duration::from_secs(execution.stall_seconds),
            max_republish: execution.max_republish,
            published: BTreeMap::new(),
            last_progress: Instant::now(),
            declared: false,
        }
    }

    /// Something was committed: nothing is stuck.
    pub fn progressed(&mut self) {
        self.last_progress = Instant::now();
    }

    /// Tops the queue up from `pending`; returns how many messages were sent.
    ///
    /// # Errors
    /// [`DispatchError`]. After a broker error the call can be repeated.
    pub async fn top_up(&mut self, pending: &[&Task]) -> Result<usize, DispatchError> {
        self.published.retain(|id, _| pending.iter().any(|t| t.id == *id));
        // From the start, so that whatever scales workers by its length finds it.
        if !self.declared {
            self.queue.declare(&self.name).await?;
            self.declared = true;
        }
        let mut fresh: Vec<&Task> =
            pending.iter().copied().filter(|t| !self.published.contains_key(&t.id)).collect();
        let stalled = self.last_progress.elapsed() >= self.stall;
        if fresh.is_empty() && !stalled {
            return Ok(0);
        }
        let waiting = match self.queue.depth(&self.name).await {
            Ok(depth) => depth,
            Err(BrokerError::UnknownQueue { .. }) => {
                tracing::warn!(queue = %self.name, "the broker came back without the queue");
                self.queue.declare(&self.name).await?;
                // Its messages are gone with it.
                self.published.clear();
                fresh = pending.to_vec();
                0
            }
            Err(error) => {
                self.declared = false;
                return Err(error.into());
            }
        };
        if stalled && waiting == 0 && !pending.is_empty() {
            tracing::warn!(
                tasks = pending.len(),
                "no progress and an empty queue: publishing again"
            );
            fresh = pending.to_vec();
            self.last_progress = Instant::now();
        }
        let room = self.window.saturating_sub(waiting) as usize;
        fresh.truncate(room);
        let mut messages = Vec::with_capacity(fresh.len());
        for task in &fresh {
            let times = self.published.get(&task.id).copied().unwrap_or(0);
            if times > self.max_republish {
                return Err(DispatchError::Vanishes {
                    task: task.id.clone(),
                    what: format!("{} {}", task.stage, task.shard),
                    times,
                });
            }
            messages.push(codec::encode(task)?.into());
        }
        self.queue.publish_all(&self.name, messages).await?;
        for task in &fresh {
            *self.published.entry(task.id.clone()).or_insert(0) += 1;
        }
        Ok(fresh.len())
    }
}
