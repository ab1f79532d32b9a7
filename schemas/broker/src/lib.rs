//! The task queue seam: moves bytes between a coordinator and its workers, at least once.
//!
//! The contract, kept by every implementation and checked by [`conformance`]:
//!
//! - [`TaskQueue::publish`] returns once the broker keeps the message. After an error the message
//!   may or may not be queued: publish it again, consumers must bear duplicates.
//! - A consumer holds one delivery at a time. A delivery is settled by one of the methods that
//!   consume it ([`Delivery::ack`], [`Delivery::retry`], [`Delivery::reject`]); one that is dropped
//!   unsettled, or whose consumer or connection dies, goes back to the queue.
//! - Each way back counts. A message that has come back more than [`DELIVERY_LIMIT`] times, or was
//!   rejected, is a dead letter, kept until taken.
//! - [`Settlement::Lost`] means that the delivery is no longer ours: it will be, or already was,
//!   handed out again.
//! - Messages of one priority come in the order published as long as none goes back. Those of
//!   [`Priority::High`] go first where the broker knows priorities: in memory always; quorum queues
//!   of RabbitMQ 4.0 and later hand out two of them for each other one; RabbitMQ 3 does not look.

mod amqp;
pub mod conformance;
mod error;
mod faulty;
mod memory;

use std::fmt::{self, Debug};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

pub use amqp::{AmqpOptions, AmqpQueue};
pub use error::{BrokerError, ErrorClass, without_password};
pub use faulty::{FaultPlan, FaultyQueue, Schedule};
pub use memory::MemoryQueue;

/// How often a message may come back to its queue before it becomes a dead letter. A killed worker
/// counts like a failure, so this is high; a task's own failures are counted elsewhere.
pub const DELIVERY_LIMIT: u32 = 20;

/// How many messages [`TaskQueue::publish_all`] keeps unconfirmed at a time.
pub const PUBLISH_WINDOW: usize = 64;

/// Which messages of a queue go first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// In turn.
    #[default]
    Normal,
    /// Before others: a few at a time, or the others wait for ever.
    High,
}

/// What a queue has at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Messages that wait; those held by consumers are not counted.
    pub waiting: u64,
    /// Consumers: as many deliveries can be in hand.
    pub consumers: u64,
}

/// A broker of task queues.
#[async_trait]
pub trait TaskQueue: Send + Sync + Debug {
    /// Makes the queue and its dead letter queue; does nothing where they exist. Workers declare
    /// too: what was declared here is declared again after a broker came back without it.
    async fn declare(&self, queue: &str) -> Result<(), BrokerError>;

    /// Adds one message of normal priority; returns after the broker's confirm.
    async fn publish(&self, queue: &str, payload: Bytes) -> Result<(), BrokerError>;

    /// Adds many messages in order, at most [`PUBLISH_WINDOW`] of them unconfirmed at a time, and
    /// returns after the last confirm. After an error any of them may be queued.
    async fn publish_all(
        &self,
        queue: &str,
        payloads: Vec<Bytes>,
        priority: Priority,
    ) -> Result<(), BrokerError>;

    /// What the queue has now: one question to the broker.
    async fn load(&self, queue: &str) -> Result<Load, BrokerError>;

    /// Messages waiting in the queue.
    async fn depth(&self, queue: &str) -> Result<u64, BrokerError> {
        Ok(self.load(queue).await?.waiting)
    }

    /// Dead letters kept for the queue.
    async fn dead_letter_depth(&self, queue: &str) -> Result<u64, BrokerError>;

    /// Takes up to `max` dead letters, oldest first. They are gone from the broker afterwards.
    async fn dead_letters(&self, queue: &str, max: usize) -> Result<Vec<DeadLetter>, BrokerError>;

    /// Starts a consumer that holds one delivery at a time.
    async fn consume(&self, queue: &str) -> Result<Box<dyn Consumer>, BrokerError>;

    /// Drops the messages that wait in the queue (not those held, not the dead letters) and returns
    /// how many there were.
    async fn purge(&self, queue: &str) -> Result<u64, BrokerError>;

    /// Removes the queue with its messages and dead letters; does nothing where it does not exist.
    async fn delete(&self, queue: &str) -> Result<(), BrokerError>;
}

/// A stream of deliveries from one queue.
#[async_trait]
pub trait Consumer: Send {
    /// The next message; waits for one, and for the settlement of the delivery handed out before.
    /// Dropping the future loses nothing. A consumer connects again by itself after a broker
    /// restart; [`BrokerError::Closed`] or [`BrokerError::Unreachable`] comes only when that failed
    /// for the time allowed, and then [`TaskQueue::consume`] may be tried again.
    async fn next(&mut self) -> Result<Delivery, BrokerError>;
}

/// What became of a settled delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Settlement {
    /// The broker was told while the delivery was still ours. A crash of the broker in the same
    /// moment may still hand the message out again.
    Settled,
    /// The delivery was not ours any more: the message is handed out again.
    Lost,
}

/// How a delivery ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Done: the message is gone.
    Ack,
    /// Back to the queue; counts towards [`DELIVERY_LIMIT`].
    Retry,
    /// To the dead letters.
    Reject,
}

/// The broker's side of a delivery: implemented by each broker, used through [`Delivery`].
#[async_trait]
pub trait Settle: Send {
    /// Ends the delivery.
    async fn settle(self: Box<Self>, verdict: Verdict) -> Settlement;

    /// Returns the message to the queue without waiting.
    fn abandon(self: Box<Self>);
}

/// One message in our hands, until it is settled or dropped.
pub struct Delivery {
    /// The message.
    pub payload: Bytes,
    /// How often it came back to the queue before this delivery.
    pub redeliveries: u32,
    settle: Option<Box<dyn Settle>>,
}

impl Delivery {
    /// A delivery that is settled through `settle`.
    pub fn new(payload: Bytes, redeliveries: u32, settle: Box<dyn Settle>) -> Self {
        Self { payload, redeliveries, settle: Some(settle) }
    }

    /// The task is done: removes the message.
    pub async fn ack(self) -> Settlement {
        self.settle(Verdict::Ack).await
    }

    /// Puts the message back into the queue, at once. Wait before the call where a pause is wanted.
    pub async fn retry(self) -> Settlement {
        self.settle(Verdict::Retry).await
    }

    /// Moves the message to the dead letters.
    pub async fn reject(self) -> Settlement {
        self.settle(Verdict::Reject).await
    }

    /// Ends the delivery with a verdict.
    pub async fn settle(mut self, verdict: Verdict) -> Settlement {
        match self.settle.take() {
            Some(settle) => settle.settle(verdict).await,
            None => Settlement::Lost,
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(settle) = self.settle.take() {
            settle.abandon();
        }
    }
}

impl Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("bytes", &self.payload.len())
            .field("redeliveries", &self.redeliveries)
            .field("settled", &self.settle.is_none())
            .finish()
    }
}

/// Why a message became a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeadReason {
    /// A consumer rejected it.
    Rejected,
    /// It came back more than [`DELIVERY_LIMIT`] times.
    DeliveryLimit,
    /// What else the broker names; empty where it names nothing.
    Other(String),
}

/// A message that nobody will get any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The message.
    pub payload: Bytes,
    /// Why it died.
    pub reason: DeadReason,
}

/// Opens a broker by URL.
///
/// - `memory:` is a new broker inside this process; `memory:NAME` is one that every caller in this
///   process who gives the same name shares.
/// - `amqp://user:password@host:5672/vhost` and `amqps://...` connect to RabbitMQ 3.10 or newer.
pub async fn open(url: &str) -> Result<Arc<dyn TaskQueue>, BrokerError> {
    if url == "memory" || url == "memory:" {
        return Ok(Arc::new(MemoryQueue::new()));
    }
    if let Some(name) = url.strip_prefix("memory:") {
        return Ok(Arc::new(MemoryQueue::shared(name)));
    }
    if url.starts_with("amqp://") || url.starts_with("amqps://") {
        return Ok(Arc::new(AmqpQueue::connect(url, AmqpOptions::default()).await?));
    }
    let scheme = url.split(':').next().unwrap_or_default();
    Err(BrokerError::BadUrl {
        url: without_password(url),
        reason: format!("unknown scheme `{scheme}`"),
    })
}
