//! The loop of a worker: one delivery at a time per slot. The only file that
//! settles deliveries, and only after the outcome is in the store.

use super::Consumers;
use super::board::Board;
use super::execute::{Attempt, Executor, Loaded, NewId, Verdict};
use super::kernel::Kernel;
use super::plans::Plans;
use outshine_broker::{BrokerError, Consumer, Delivery, Settlement, TaskQueue};
use outshine_observe::names;
use outshine_schemas::ids::TaskId;
use outshine_schemas::task::Class;
use outshine_store::Store;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::Instrument;

/// How a worker runs.
#[derive(Clone)]
pub struct Settings {
    /// Its name in commit records and logs.
    pub name: String,
    /// Tasks done at a time.
    pub slots: usize,
    /// Threads that one task may use.
    pub threads: usize,
    /// Whose tasks it does.
    pub class: Class,
    /// How long a broker or store that is away is waited for before the worker gives up.
    pub patience: Duration,
    /// How long a task may tell nothing before it counts as hung and the worker
    /// gives up.
    pub hang: Duration,
    /// Where running tasks tell how far they are.
    pub board: Board,
    /// How many slots have a queue to take from.
    pub consumers: Consumers,
    /// What does the tasks.
    pub kernel: Arc<dyn Kernel>,
    /// Names deliveries and attempts.
    pub new_id: NewId,
}

/// [`Settings::hang`] where nobody says otherwise: far below the half hour after
/// which a broker takes a message back by itself.
pub const HANG: Duration = Duration::from_secs(15 * 60);

/// Pauses between tries of a task while the store is away: the first, which
/// doubles, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Tries of a task after the patience, each while the store answers to others,
/// before the task is given up.
const BLAMES: u32 = 10;

/// Why a worker stopped.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The broker stayed away.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The store cannot be used until somebody mends it.
    #[error("{0}")]
    Store(String),
    /// A task hangs, and a thread that computes cannot be stopped.
    #[error(
        "task {task} has made no progress for {seconds:.0} s (last: {last}): the worker gives up, \
         and its tasks go to other workers"
    )]
    Hung {
        /// The task.
        task: TaskId,
        /// How long it has told nothing.
        seconds: f64,
        /// What it told last.
        last: String,
    },
    /// A slot died.
    #[error("a worker slot panicked: {0}")]
    Slot(tokio::task::JoinError),
}

/// Works until `stop` turns true: then no new delivery is taken, and the
/// tasks in hand are finished.
///
/// # Errors
/// [`WorkerError`] when the broker stays away for longer than the patience.
pub async fn run(
    queue: Arc<dyn TaskQueue>,
    store: Store,
    settings: Settings,
    stop: watch::Receiver<bool>,
) -> Result<(), WorkerError> {
    let (loaded, plans) = (Loaded::default(), Plans::default());
    let room = Arc::default();
    // Dropped, their deliveries go back to the queue.
    let mut slots = JoinSet::new();
    for i in 0..settings.slots {
        let executor = Executor {
            store: store.clone(),
            worker: format!("{}/{i}", settings.name),
            new_id: settings.new_id.clone(),
            threads: settings.threads,
            board: settings.board.clone(),
            kernel: settings.kernel.clone(),
            loaded: loaded.clone(),
            plans: plans.clone(),
            room: Arc::clone(&room),
        };
        slots.spawn(slot(queue.clone(), executor, settings.clone(), stop.clone()));
    }
    let work = async {
        let mut result = Ok(());
        while let Some(ended) = slots.join_next().await {
            result = result.and(ended.map_err(WorkerError::Slot).flatten());
        }
        result
    };
    tokio::select! {
        biased;
        result = work => result,
        (task, step) = settings.board.hung(settings.hang) => {
            let seconds = step.told.elapsed().as_secs_f64();
            Err(WorkerError::Hung { task, seconds, last: step.text })
        }
    }
}

async fn slot(
    queue: Arc<dyn TaskQueue>,
    mut executor: Executor,
    settings: Settings,
    mut stop: watch::Receiver<bool>,
) -> Result<(), WorkerError> {
    let mut consumer: Option<Box<dyn Consumer>> = None;
    let mut lost_since: Option<tokio::time::Instant> = None;
    while !*stop.borrow() {
        let taken = tokio::select! {
            biased;
            // An error means that nobody is left who could say stop.
            changed = stop.changed() => { if changed.is_err() { break } else { continue } }
            taken = take(&queue, &mut consumer, &settings) => taken,
        };
        match taken {
            Ok(delivery) => {
                lost_since = None;
                handle(&mut executor, delivery, settings.patience, &mut stop).await?;
            }
            Err(error) => {
                if consumer.take().is_some() {
                    settings.consumers.lost();
                }
                let since = *lost_since.get_or_insert_with(tokio::time::Instant::now);
                if since.elapsed() > settings.patience {
                    return Err(error.into());
                }
                tracing::warn!(%error, "the broker is away; trying again");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
    if consumer.is_some() {
        settings.consumers.lost();
    }
    Ok(())
}

async fn take(
    queue: &Arc<dyn TaskQueue>,
    consumer: &mut Option<Box<dyn Consumer>>,
    settings: &Settings,
) -> Result<Delivery, BrokerError> {
    if consumer.is_none() {
        let name = settings.class.queue();
        queue.declare(&name).await?;
        *consumer = Some(queue.consume(&name).await?);
        settings.consumers.gained();
    }
    match consumer {
        Some(consumer) => consumer.next().await,
        None => unreachable!("made above"),
    }
}

/// Does what a delivery asks, and settles it. Every line of the log in between says
/// which task it belongs to, at every level. The store may be away, which is no
/// fault of the task: the delivery is kept and the task tried again here, for as
/// long as the patience lasts. Then the worker gives up; but if the store answers
/// to all else, the task.
async fn handle(
    executor: &mut Executor,
    delivery: Delivery,
    patience: Duration,
    stop: &mut watch::Receiver<bool>,
) -> Result<(), WorkerError> {
    let until = tokio::time::Instant::now() + patience;
    let redeliveries = delivery.redeliveries;
    let id = (executor.new_id)();
    let mut wait = Wait { until, pause: FIRST_PAUSE, blamed: 0 };
    let mut waiting = Some(delivery);
    let mut number = redeliveries;
    while let Some(delivery) = waiting.take() {
        use tracing::field::Empty;
        number += 1;
        let span = tracing::error_span!(
            "task",
            campaign = Empty,
            stage = Empty,
            task = Empty,
            attempt = number,
            attempt_id = Empty
        );
        let attempt = Attempt { delivery: &id, redeliveries, number, last: wait.blamed == BLAMES };
        let tried = settle(executor, delivery, attempt, &mut wait, stop);
        waiting = tried.instrument(span).await?;
    }
    Ok(())
}

/// How long a task waits for a store that is away.
struct Wait {
    /// The end of the patience.
    until: tokio::time::Instant,
    /// The next pause.
    pause: Duration,
    /// Tries after the patience, each while the store answered to others.
    blamed: u32,
}

/// One try; returns the delivery if there is to be another one.
async fn settle(
    executor: &mut Executor,
    delivery: Delivery,
    attempt: Attempt<'_>,
    wait: &mut Wait,
    stop: &mut watch::Receiver<bool>,
) -> Result<Option<Delivery>, WorkerError> {
    let settlement = match executor.execute(&delivery.payload, attempt).await {
        Verdict::Done => {
            outshine_fault::point(outshine_fault::COMMIT_BEFORE_ACK);
            delivery.ack().await
        }
        Verdict::Retry(error) => {
            if tokio::time::Instant::now() >= wait.until {
                if attempt.last || !executor.store_answers().await {
                    return Err(WorkerError::Store(error));
                }
                wait.blamed += 1;
            }
            tracing::warn!(%error, "will be tried again in {} s", wait.pause.as_secs());
            tokio::select! {
                biased;
                // Dropped, the delivery goes back to the queue.
                _ = stop.changed() => return Ok(None),
                () = tokio::time::sleep(wait.pause) => {}
            }
            wait.pause = (2 * wait.pause).min(LONGEST_PAUSE);
            return Ok(Some(delivery));
        }
        Verdict::Failed(error) => {
            tracing::error!(%error, "task failed");
            delivery.reject().await
        }
        // Dropped, the delivery goes back to the queue.
        Verdict::Stop(error) => return Err(WorkerError::Store(error)),
        Verdict::Unreadable(error) => {
            tracing::error!(%error, "unreadable message");
            delivery.reject().await
        }
    };
    if settlement == Settlement::Lost {
        metrics::counter!(names::LOST).increment(1);
        // Harmless: the message comes again and finds the commit.
        tracing::warn!("the delivery was lost before it was settled");
    }
    Ok(None)
}
