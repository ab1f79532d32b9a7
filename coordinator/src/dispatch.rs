//! Keeps the queue filled: publishes what is pending, with confirms, and never
//! more than a window of messages at a time, so that restarts of coordinators
//! do not multiply messages and a lost queue costs one window.

use crate::stage_graph::StageGraph;
use outshine_broker::{BrokerError, Priority, TaskQueue};
use outshine_schemas::campaign::Execution;
use outshine_schemas::codec;
use outshine_schemas::ids::TaskId;
use outshine_schemas::task::{Shard, Stage, Task};
use std::collections::{BTreeMap, BTreeSet};
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
    published: BTreeMap<(Stage, Shard), Sent>,
    last_progress: Instant,
    /// Since when the queue is seen empty with nothing left to publish.
    empty_since: Option<Instant>,
    declared: bool,
}

/// What was published of a task.
struct Sent {
    task: Task,
    /// How often, because it was new or had vanished.
    times: u32,
    /// Whether once more, because it took much longer than others.
    doubled: bool,
}

/// A stage that has so many tasks left to publish is near its end.
const NEAR_END: usize = 32;

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

    /// The tasks that were published and have not ended.
    #[must_use]
    pub fn published(&self) -> Vec<Task> {
        self.published.values().map(|sent| sent.task.clone()).collect()
    }

    /// Tops the queue up from the tasks that are `pending`, in order; returns how
    /// many messages were sent. `graph` knows which tasks still wait, and what
    /// others of a stage took.
    ///
    /// # Errors
    /// [`DispatchError`]. After a broker error the call can be repeated.
    pub async fn top_up(
        &mut self,
        pending: &mut (dyn Iterator<Item = Task> + Send),
        graph: &StageGraph,
    ) -> Result<usize, DispatchError> {
        self.published.retain(|_, sent| graph.is_pending(&sent.task));
        // From the start, so that whatever scales workers by its length finds it.
        if !self.declared {
            self.queue.declare(&self.name).await?;
            self.declared = true;
        }
        let new = |task: &Task| !self.published.contains_key(&(task.stage, task.shard));
        let mut fresh: Vec<Task> = pending.filter(new).take(self.window as usize).collect();
        if !fresh.is_empty() {
            self.empty_since = None;
        }
        let stalled = self.last_progress.elapsed() >= self.stall;
        let late = self.stragglers(graph);
        let none = fresh.is_empty() && self.published.is_empty();
        if none || (fresh.is_empty() && !stalled && late.is_none()) {
            return Ok(0);
        }
        let waiting = match self.queue.depth(&self.name).await {
            Ok(depth) => depth,
            Err(BrokerError::UnknownQueue { .. }) => {
                tracing::warn!(queue = %self.name, "the broker came back without the queue");
                self.queue.declare(&self.name).await?;
                // Its messages are gone with it.
                let lost = std::mem::take(&mut self.published).into_values();
                fresh.splice(0..0, lost.map(|sent| sent.task));
                0
            }
            Err(error) => {
                self.declared = false;
                return Err(error.into());
            }
        };
        let room = self.window.saturating_sub(waiting) as usize;
        if waiting > 0 {
            self.empty_since = None;
        } else if stalled {
            let tasks = self.published();
            tracing::warn!(tasks = tasks.len(), "no progress and an empty queue: publishing again");
            fresh.splice(0..0, tasks);
            self.last_progress = Instant::now();
        } else if fresh.is_empty() {
            self.empty_since.get_or_insert_with(Instant::now);
            if let Some(mut late) = late.filter(|late| !late.is_empty()) {
                late.truncate(room);
                tracing::info!(tasks = late.len(), "much slower than others: published twice");
                self.publish(&late, Priority::High).await?;
                for task in &late {
                    self.sent(task).doubled = true;
                }
                return Ok(late.len());
            }
        }
        fresh.truncate(room);
        for task in &fresh {
            let times = self.published.get(&(task.stage, task.shard)).map_or(0, |sent| sent.times);
            if times > self.max_republish {
                return Err(DispatchError::Vanishes {
                    task: task.id.clone(),
                    what: format!("{} {}", task.stage, task.shard),
                    times,
                });
            }
        }
        // A stage waits for its last tasks, and others for the stage: on a queue that is
        // shared, these go before what is in the midst of its work.
        let mut left = self.left_after(&fresh, graph);
        let (last, others): (Vec<Task>, Vec<Task>) = fresh.iter().cloned().partition(|task| {
            let left = left.entry(task.stage).or_default();
            let is_last = *left <= NEAR_END;
            *left = left.saturating_sub(1);
            is_last
        });
        self.publish(&last, Priority::High).await?;
        self.publish(&others, Priority::Normal).await?;
        for task in &fresh {
            self.sent(task).times += 1;
        }
        Ok(fresh.len())
    }

    /// How many tasks of each stage of `fresh` are left but for those that wait on
    /// the queue or are in hand already.
    fn left_after(&self, fresh: &[Task], graph: &StageGraph) -> BTreeMap<Stage, usize> {
        let own: BTreeSet<(Stage, Shard)> = fresh.iter().map(|t| (t.stage, t.shard)).collect();
        let mut left: BTreeMap<Stage, usize> =
            own.iter().map(|&(stage, _)| (stage, graph.left(stage))).collect();
        for (stage, _) in self.published.keys().filter(|key| !own.contains(key)) {
            left.entry(*stage).and_modify(|left| *left = left.saturating_sub(1));
        }
        left
    }

    fn sent(&mut self, task: &Task) -> &mut Sent {
        let new = || Sent { task: task.clone(), times: 0, doubled: false };
        self.published.entry((task.stage, task.shard)).or_insert_with(new)
    }

    /// Tasks in hand that take much longer than others of their stage, unless
    /// they were published twice already; `None` while that is not known: the
    /// queue must be looked at first where everything is published.
    fn stragglers(&self, graph: &StageGraph) -> Option<Vec<Task>> {
        let single = || self.published.values().filter(|sent| !sent.doubled).map(|sent| &sent.task);
        let Some(since) = self.empty_since else {
            // Whether it is empty is asked for once a task could be late.
            let usual = single().filter_map(|task| graph.slowest(task.stage)).min();
            let known = usual.is_some_and(|usual| self.last_progress.elapsed() >= usual);
            return known.then(Vec::new);
        };
        let (times, least) = STRAGGLER;
        let late = |task: &&Task| {
            let slowest = graph.slowest(task.stage);
            slowest.is_some_and(|slowest| since.elapsed() >= (slowest * times).max(least))
        };
        let late: Vec<Task> = single().filter(late).cloned().collect();
        (!late.is_empty()).then_some(late)
    }

    async fn publish(&self, tasks: &[Task], priority: Priority) -> Result<(), DispatchError> {
        if tasks.is_empty() {
            return Ok(());
        }
        let mut messages = Vec::with_capacity(tasks.len());
        for task in tasks {
            messages.push(codec::encode(task)?.into());
        }
        Ok(self.queue.publish_all(&self.name, messages, priority).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outshine_broker::{Consumer, Delivery, MemoryQueue};
    use outshine_schemas::campaign::{Campaign, ResolvedCampaign};
    use outshine_schemas::digest::Digest;
    use outshine_schemas::outcome::CommitRecord;
    use std::path::Path;

    /// A graph that waits for three simulations; a fourth has taken 20 s.
    fn graph() -> StageGraph {
        graph_of(4)
    }

    /// A graph that waits for all but the first of so many simulations.
    fn graph_of(count: u64) -> StageGraph {
        let text = format!(
            "name = \"a\"\nestimator = \"train\"\n[field]\npixels = \"p\"\n\
             [simulate]\ncount = {count}\n[execution]\nsimulations_per_task = 1\n"
        );
        let campaign = Campaign::parse(&text, "a.toml", Path::new("."), &[]).unwrap();
        let campaign = ResolvedCampaign::new(campaign, Some(Digest::of(b"p")), None);
        let mut graph = StageGraph::new(campaign);
        graph.start(graph.plan(Stage::Simulate).unwrap());
        let first = graph.pending().next().unwrap();
        commit(&mut graph, &first);
        graph
    }

    fn commit(graph: &mut StageGraph, task: &Task) {
        graph.commit(CommitRecord {
            version: 1,
            task: task.id.clone(),
            stage: task.stage,
            shard: task.shard,
            inputs: task.inputs.clone(),
            files: Vec::new(),
            data_digest: Digest::of(b""),
            facts: serde_json::Map::new(),
            code_version: String::new(),
            seconds: 20.0,
            worker: String::new(),
        });
    }

    /// Looks every second for `seconds`; returns how many messages were sent.
    async fn look(dispatch: &mut Dispatch, graph: &StageGraph, seconds: u64) -> usize {
        let mut sent = 0;
        for _ in 0..seconds {
            sent += dispatch.top_up(&mut graph.pending(), graph).await.unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        sent
    }

    async fn take(queue: &dyn TaskQueue) -> (Box<dyn Consumer>, Delivery) {
        let mut consumer = queue.consume("q").await.unwrap();
        let delivery = consumer.next().await.unwrap();
        (consumer, delivery)
    }

    #[tokio::test(start_paused = true)]
    async fn stragglers_are_published_twice_and_no_more() {
        let queue: Arc<dyn TaskQueue> = Arc::new(MemoryQueue::new());
        let execution = Execution { stall_seconds: 100_000, ..Execution::default() };
        let mut dispatch = Dispatch::new(queue.clone(), "q", &execution);
        let mut graph = graph();
        assert_eq!(look(&mut dispatch, &graph, 1).await, 3);
        // As long as a message waits, nothing is late.
        assert_eq!(look(&mut dispatch, &graph, 500).await, 0);
        // All are taken; two are done with in time.
        let _held = [take(&*queue).await, take(&*queue).await, take(&*queue).await];
        assert_eq!(look(&mut dispatch, &graph, 30).await, 0);
        for task in graph.pending().take(2).collect::<Vec<_>>() {
            commit(&mut graph, &task);
        }
        dispatch.progressed();
        assert_eq!(look(&mut dispatch, &graph, 25).await, 0, "three times the slowest is 60 s");
        assert_eq!(look(&mut dispatch, &graph, 2000).await, 1);
        assert_eq!(queue.depth("q").await.unwrap(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_at_work_in_this_process_is_not_late() {
        let queue: Arc<dyn TaskQueue> = Arc::new(MemoryQueue::new());
        let mut dispatch = Dispatch::new(queue.clone(), "q", &Execution::default());
        let graph = graph();
        assert_eq!(look(&mut dispatch, &graph, 1).await, 3);
        let _held = [take(&*queue).await, take(&*queue).await, take(&*queue).await];
        for _ in 0..2000 {
            dispatch.at_work();
            assert_eq!(look(&mut dispatch, &graph, 1).await, 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_tasks_of_a_stage_go_before_another_campaign() {
        let queue: Arc<dyn TaskQueue> = Arc::new(MemoryQueue::new());
        queue.declare("q").await.unwrap();
        queue.publish("q", "of another campaign".into()).await.unwrap();
        let mut dispatch = Dispatch::new(queue.clone(), "q", &Execution::default());
        let graph = graph();
        assert_eq!(look(&mut dispatch, &graph, 1).await, 3);
        let (_consumer, delivery) = take(&*queue).await;
        assert!(codec::decode(&delivery.payload).is_ok(), "the other came first");
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_stage_longer_than_the_window_the_last_tasks_go_first() {
        let queue: Arc<dyn TaskQueue> = Arc::new(MemoryQueue::new());
        let execution = Execution { queue_window: 64, ..Execution::default() };
        let mut dispatch = Dispatch::new(queue.clone(), "q", &execution);
        let mut graph = graph_of(101);
        let tasks: Vec<Task> = graph.pending().collect();
        assert_eq!((tasks.len(), look(&mut dispatch, &graph, 1).await), (100, 64));
        // Ten done, and thirty in hand: room for the last 36.
        let mut held = Vec::new();
        for task in &tasks[..40] {
            let (consumer, delivery) = take(&*queue).await;
            let taken = codec::decode(&delivery.payload).unwrap();
            assert_eq!(taken.shard, task.shard, "none of the first window goes first");
            held.push((consumer, delivery));
        }
        for task in &tasks[..10] {
            commit(&mut graph, task);
            let (_consumer, delivery) = held.remove(0);
            let _settled = delivery.ack().await;
        }
        assert_eq!(look(&mut dispatch, &graph, 1).await, 36);
        let mut order = Vec::new();
        for _ in 0..60 {
            let (consumer, delivery) = take(&*queue).await;
            order.push(codec::decode(&delivery.payload).unwrap().shard);
            held.push((consumer, delivery));
        }
        let shards: Vec<Shard> = tasks.iter().map(|task| task.shard).collect();
        assert_eq!(order, [&shards[68..], &shards[40..68]].concat());
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_that_is_gone_is_made_and_filled_again() {
        let queue: Arc<dyn TaskQueue> = Arc::new(MemoryQueue::new());
        let execution = Execution { queue_window: 2, ..Execution::default() };
        let mut dispatch = Dispatch::new(queue.clone(), "q", &execution);
        let graph = graph();
        assert_eq!(look(&mut dispatch, &graph, 1).await, 2);
        queue.delete("q").await.unwrap();
        // The third task is still to be published, so the loss is noticed at once.
        assert_eq!(look(&mut dispatch, &graph, 1).await, 2);
        assert_eq!(queue.depth("q").await.unwrap(), 2);
        let taken = [take(&*queue).await, take(&*queue).await];
        assert_eq!(look(&mut dispatch, &graph, 1).await, 1);
        drop(taken);
    }

    #[tokio::test(start_paused = true)]
    async fn what_vanishes_is_published_again_a_few_times() {
        let queue: Arc<dyn TaskQueue> = Arc::new(MemoryQueue::new());
        let execution = Execution { stall_seconds: 10, max_republish: 2, ..Execution::default() };
        let mut dispatch = Dispatch::new(queue.clone(), "q", &execution);
        let graph = graph();
        let mut sent = 0;
        for _ in 0..100 {
            match dispatch.top_up(&mut graph.pending(), &graph).await {
                Ok(more) => sent += more,
                Err(DispatchError::Vanishes { times, .. }) => {
                    assert_eq!((times, sent), (3, 9));
                    return;
                }
                Err(error) => panic!("{error}"),
            }
            queue.purge("q").await.unwrap();
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
        panic!("published for ever: {sent}");
    }
}
