//! Keeps the queue filled: publishes what is pending, with confirms, and never
//! more than a window of messages at a time, so that restarts of coordinators
//! do not multiply messages and a lost queue costs one window.

use outshine_broker::{BrokerError, TaskQueue};
use outshine_schemas::campaign::Execution;
use outshine_schemas::codec;
use outshine_schemas::ids::TaskId;
use outshine_schemas::task::{Stage, Task};
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
    published: BTreeMap<TaskId, Sent>,
    last_progress: Instant,
    /// Since when the queue is seen empty with nothing left to publish.
    empty_since: Option<Instant>,
    declared: bool,
}

/// What was published of a task.
#[derive(Clone, Copy, Default)]
struct Sent {
    /// How often, because it was new or had vanished.
    times: u32,
    /// Whether once more, because it took much longer than others.
    doubled: bool,
}

/// A task in hand counts as a straggler when the queue has been empty for this
/// many times what the slowest task of its stage took, and for this long.
const STRAGGLER: (u32, Duration) = (3, Duration::from_secs(30));

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
            empty_since: None,
            declared: false,
        }
    }

    /// Something was committed: nothing is stuck.
    pub fn progressed(&mut self) {
        self.last_progress = Instant::now();
    }

    /// A task is seen at work: nothing is stuck, and nothing late.
    pub fn at_work(&mut self) {
        self.last_progress = Instant::now();
        self.empty_since = None;
    }

    /// Tops the queue up from `pending`; returns how many messages were sent.
    /// `slowest`: what the slowest committed task of a stage took, if one is.
    ///
    /// # Errors
    /// [`DispatchError`]. After a broker error the call can be repeated.
    pub async fn top_up(
        &mut self,
        pending: &[&Task],
        slowest: &dyn Fn(Stage) -> Option<Duration>,
    ) -> Result<usize, DispatchError> {
        self.published.retain(|id, _| pending.iter().any(|t| t.id == *id));
        // From the start, so that whatever scales workers by its length finds it.
        if !self.declared {
            self.queue.declare(&self.name).await?;
            self.declared = true;
        }
        let mut fresh: Vec<&Task> =
            pending.iter().copied().filter(|t| !self.published.contains_key(&t.id)).collect();
        if !fresh.is_empty() {
            self.empty_since = None;
        }
        let stalled = self.last_progress.elapsed() >= self.stall;
        let late = self.stragglers(pending, slowest);
        if pending.is_empty() || (fresh.is_empty() && !stalled && late.is_none()) {
            return Ok(0);
        }
        let waiting = match self.queue.depth(&self.name).await {
            Ok(depth) => depth,
            Err(error) => {
                // The queue may be gone with its broker: declare it again.
                self.declared = false;
                return Err(error.into());
            }
        };
        let room = self.window.saturating_sub(waiting) as usize;
        if waiting > 0 {
            self.empty_since = None;
        } else if fresh.is_empty() {
            self.empty_since.get_or_insert_with(Instant::now);
            if stalled {
                tracing::warn!(
                    tasks = pending.len(),
                    "no progress and an empty queue: publishing again"
                );
                fresh = pending.to_vec();
                self.last_progress = Instant::now();
            } else if let Some(late) = late.filter(|late| !late.is_empty()) {
                tracing::info!(tasks = late.len(), "much slower than others: published twice");
                let late = &late[..late.len().min(room)];
                self.publish(late).await?;
                for task in late {
                    self.published.entry(task.id.clone()).or_default().doubled = true;
                }
                return Ok(late.len());
            }
        }
        fresh.truncate(room);
        for task in &fresh {
            let times = self.published.get(&task.id).map_or(0, |sent| sent.times);
            if times > self.max_republish {
                return Err(DispatchError::Vanishes {
                    task: task.id.clone(),
                    what: format!("{} {}", task.stage, task.shard),
                    times,
                });
            }
        }
        self.publish(&fresh).await?;
        for task in &fresh {
            self.published.entry(task.id.clone()).or_default().times += 1;
        }
        Ok(fresh.len())
    }

    /// Tasks in hand that take much longer than others of their stage, unless
    /// they were published twice already; `None` while that is not known: the
    /// queue must be looked at first where everything is published.
    fn stragglers<'a>(
        &self,
        pending: &[&'a Task],
        slowest: &dyn Fn(Stage) -> Option<Duration>,
    ) -> Option<Vec<&'a Task>> {
        let single = |task: &&&Task| self.published.get(&task.id).is_some_and(|s| !s.doubled);
        let Some(since) = self.empty_since else {
            // Whether it is empty is asked for once a task could be late.
            let usual = pending.iter().filter(single).filter_map(|task| slowest(task.stage)).min();
            let known = usual.is_some_and(|usual| self.last_progress.elapsed() >= usual);
            return known.then(Vec::new);
        };
        let (times, least) = STRAGGLER;
        let late = |task: &&&Task| {
            slowest(task.stage).is_some_and(|s| since.elapsed() >= (s * times).max(least))
        };
        let late: Vec<&Task> = pending.iter().filter(single).filter(late).copied().collect();
        (!late.is_empty()).then_some(late)
    }

    async fn publish(&self, tasks: &[&Task]) -> Result<(), DispatchError> {
        let mut messages = Vec::with_capacity(tasks.len());
        for task in tasks {
            messages.push(codec::encode(task)?.into());
        }
        Ok(self.queue.publish_all(&self.name, messages).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outshine_broker::MemoryQueue;
    use outshine_schemas::digest::Digest;
    use outshine_schemas::ids::CampaignId;
    use outshine_schemas::task::Shard;

    fn task(n: u64) -> Task {
        let digest = Digest::of(b"c");
        let shard = Shard { start: n, end: n + 1 };
        Task::new(CampaignId::new("c", &digest), digest.clone(), Stage::Fit, shard, digest)
    }

    const SLOWEST: Duration = Duration::from_secs(20);

    /// Looks every second for `seconds`; returns how many messages were sent.
    async fn look(dispatch: &mut Dispatch, pending: &[&Task], seconds: u64) -> usize {
        let mut sent = 0;
        for _ in 0..seconds {
            sent += dispatch.top_up(pending, &|_| Some(SLOWEST)).await.unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        sent
    }

    #[tokio::test(start_paused = true)]
    async fn stragglers_are_published_twice_and_no_more() {
        let queue: Arc<dyn TaskQueue> = Arc::new(MemoryQueue::new());
        let execution = Execution { stall_seconds: 100_000, ..Execution::default() };
        let mut dispatch = Dispatch::new(queue.clone(), "q", &execution);
        let tasks = [task(0), task(1), task(2)];
        let all: Vec<&Task> = tasks.iter().collect();
        assert_eq!(look(&mut dispatch, &all, 1).await, 3);
        // As long as a message waits, nothing is late.
        assert_eq!(look(&mut dispatch, &all, 500).await, 0);
        // All are taken; two are done with in time.
        let mut consumers = Vec::new();
        for _ in &tasks {
            let mut consumer = queue.consume("q").await.unwrap();
            let delivery = consumer.next().await.unwrap();
            consumers.push((consumer, delivery));
        }
        assert_eq!(look(&mut dispatch, &all, 30).await, 0);
        dispatch.progressed();
        assert_eq!(look(&mut dispatch, &all[2..], 25).await, 0, "three times the slowest is 60 s");
        assert_eq!(look(&mut dispatch, &all[2..], 2000).await, 1);
        assert_eq!(queue.depth("q").await.unwrap(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_at_work_in_this_process_is_not_late() {
        let queue: Arc<dyn TaskQueue> = Arc::new(MemoryQueue::new());
        let mut dispatch = Dispatch::new(queue.clone(), "q", &Execution::default());
        let one = task(0);
        assert_eq!(look(&mut dispatch, &[&one], 1).await, 1);
        let mut consumer = queue.consume("q").await.unwrap();
        let _held = consumer.next().await.unwrap();
        for _ in 0..2000 {
            dispatch.at_work();
            assert_eq!(look(&mut dispatch, &[&one], 1).await, 0);
        }
    }
}
