//! A broker that fails by plan: wraps another one and injects what real brokers do to us.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    BrokerError, Consumer, DeadLetter, Delivery, Load, Priority, Settle, Settlement, TaskQueue,
    Verdict,
};

/// Which occurrences of an operation, counted from 1 over the whole broker, a fault strikes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Schedule {
    /// None.
    #[default]
    Never,
    /// Each n-th: 3 strikes the 3rd, 6th and so on. 0 strikes none.
    Every(u64),
    /// These.
    At(BTreeSet<u64>),
}

impl Schedule {
    /// These occurrences, counted from 1.
    pub fn at(occurrences: impl IntoIterator<Item = u64>) -> Self {
        Self::At(occurrences.into_iter().collect())
    }

    fn strikes(&self, occurrence: u64) -> bool {
        match self {
            Self::Never => false,
            Self::Every(n) => *n > 0 && occurrence.is_multiple_of(*n),
            Self::At(set) => set.contains(&occurrence),
        }
    }
}

/// What goes wrong, and when.
#[derive(Clone, Debug, Default)]
pub struct FaultPlan {
    /// Publishes that fail and leave nothing queued.
    pub fail_publish: Schedule,
    /// Publishes that queue the message and then fail: the confirm is lost.
    pub lose_confirm: Schedule,
    /// Publishes that queue the message twice.
    pub duplicate: Schedule,
    /// Acks that do not arrive: the message goes back to the queue.
    pub lose_ack: Schedule,
    /// Deliveries that arrive [`FaultPlan::delay`] late.
    pub late_delivery: Schedule,
    /// How late.
    pub delay: Duration,
    /// Calls of [`Consumer::next`] that end with [`BrokerError::Closed`] instead of a delivery.
    pub close_consumer: Schedule,
}

#[derive(Debug, Default)]
struct Counters {
    publishes: AtomicU64,
    acks: AtomicU64,
    nexts: AtomicU64,
}

fn count(counter: &AtomicU64) -> u64 {
    counter.fetch_add(1, Ordering::Relaxed) + 1
}

/// A broker whose calls fail as a [`FaultPlan`] says.
#[derive(Clone, Debug)]
pub struct FaultyQueue {
    inner: Arc<dyn TaskQueue>,
    plan: Arc<FaultPlan>,
    counters: Arc<Counters>,
}

impl FaultyQueue {
    /// Wraps `inner`.
    pub fn new(inner: Arc<dyn TaskQueue>, plan: FaultPlan) -> Self {
        Self { inner, plan: Arc::new(plan), counters: Arc::default() }
    }
}

impl FaultyQueue {
    async fn publish_one(
        &self,
        queue: &str,
        payload: Bytes,
        priority: Priority,
    ) -> Result<(), BrokerError> {
        let occurrence = count(&self.counters.publishes);
        let fault = |reason: &str| BrokerError::Unconfirmed {
            queue: queue.to_owned(),
            reason: reason.to_owned(),
        };
        if self.plan.fail_publish.strikes(occurrence) {
            return Err(fault("injected: publish failed"));
        }
        let copies = if self.plan.duplicate.strikes(occurrence) { 2 } else { 1 };
        self.inner.publish_all(queue, vec![payload; copies], priority).await?;
        if self.plan.lose_confirm.strikes(occurrence) {
            return Err(fault("injected: confirm lost"));
        }
        Ok(())
    }
}

#[async_trait]
impl TaskQueue for FaultyQueue {
    async fn declare(&self, queue: &str) -> Result<(), BrokerError> {
        self.inner.declare(queue).await
    }

    async fn publish(&self, queue: &str, payload: Bytes) -> Result<(), BrokerError> {
        self.publish_one(queue, payload, Priority::Normal).await
    }

    async fn publish_all(
        &self,
        queue: &str,
        payloads: Vec<Bytes>,
        priority: Priority,
    ) -> Result<(), BrokerError> {
        for payload in payloads {
            self.publish_one(queue, payload, priority).await?;
        }
        Ok(())
    }

    async fn load(&self, queue: &str) -> Result<Load, BrokerError> {
        self.inner.load(queue).await
    }

    async fn dead_letter_depth(&self, queue: &str) -> Result<u64, BrokerError> {
        self.inner.dead_letter_depth(queue).await
    }

    async fn dead_letters(&self, queue: &str, max: usize) -> Result<Vec<DeadLetter>, BrokerError> {
        self.inner.dead_letters(queue, max).await
    }

    async fn consume(&self, queue: &str) -> Result<Box<dyn Consumer>, BrokerError> {
        Ok(Box::new(FaultyConsumer {
            inner: self.inner.consume(queue).await?,
            queue: queue.to_owned(),
            faults: self.clone(),
        }))
    }

    async fn purge(&self, queue: &str) -> Result<u64, BrokerError> {
        self.inner.purge(queue).await
    }

    async fn delete(&self, queue: &str) -> Result<(), BrokerError> {
        self.inner.delete(queue).await
    }
}

struct FaultyConsumer {
    inner: Box<dyn Consumer>,
    queue: String,
    faults: FaultyQueue,
}

#[async_trait]
impl Consumer for FaultyConsumer {
    async fn next(&mut self) -> Result<Delivery, BrokerError> {
        let (plan, counters) = (&self.faults.plan, &self.faults.counters);
        let occurrence = count(&counters.nexts);
        if plan.close_consumer.strikes(occurrence) {
            let reason = "injected: connection lost".to_owned();
            return Err(BrokerError::Closed { queue: self.queue.clone(), reason });
        }
        if plan.late_delivery.strikes(occurrence) {
            tokio::time::sleep(plan.delay).await;
        }
        let delivery = self.inner.next().await?;
        let (payload, redeliveries) = (delivery.payload.clone(), delivery.redeliveries);
        let settle = FaultySettle { delivery, faults: self.faults.clone() };
        Ok(Delivery::new(payload, redeliveries, Box::new(settle)))
    }
}

struct FaultySettle {
    delivery: Delivery,
    faults: FaultyQueue,
}

#[async_trait]
impl Settle for FaultySettle {
    async fn settle(self: Box<Self>, verdict: Verdict) -> Settlement {
        if verdict == Verdict::Ack {
            let occurrence = count(&self.faults.counters.acks);
            if self.faults.plan.lose_ack.strikes(occurrence) {
                drop(self.delivery);
                return Settlement::Lost;
            }
        }
        self.delivery.settle(verdict).await
    }

    fn abandon(self: Box<Self>) {
        drop(self.delivery);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorClass, MemoryQueue};

    async fn faulty(plan: FaultPlan) -> FaultyQueue {
        let queue = FaultyQueue::new(Arc::new(MemoryQueue::new()), plan);
        queue.declare("q").await.unwrap();
        queue
    }

    #[tokio::test]
    async fn publishes_fail_by_plan() {
        let queue = faulty(FaultPlan {
            fail_publish: Schedule::at([1]),
            lose_confirm: Schedule::at([2]),
            duplicate: Schedule::Every(3),
            ..FaultPlan::default()
        })
        .await;
        let mut depths = Vec::new();
        let mut failed = Vec::new();
        for _ in 0..3 {
            let outcome = queue.publish("q", Bytes::from_static(b"x")).await;
            failed.push(outcome.as_ref().is_err_and(|e| e.class() == ErrorClass::Retry));
            depths.push(queue.depth("q").await.unwrap());
        }
        assert_eq!(failed, [true, true, false]);
        assert_eq!(depths, [0, 1, 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn deliveries_fail_by_plan() {
        let queue = faulty(FaultPlan {
            lose_ack: Schedule::at([1]),
            close_consumer: Schedule::at([2]),
            late_delivery: Schedule::at([3]),
            delay: Duration::from_secs(5),
            ..FaultPlan::default()
        })
        .await;
        queue.publish("q", Bytes::from_static(b"x")).await.unwrap();
        let mut consumer = queue.consume("q").await.unwrap();

        let first = consumer.next().await.unwrap();
        assert_eq!(first.ack().await, Settlement::Lost);
        assert!(matches!(consumer.next().await, Err(BrokerError::Closed { .. })));

        let started = tokio::time::Instant::now();
        let again = consumer.next().await.unwrap();
        assert!(started.elapsed() >= Duration::from_secs(5));
        assert_eq!(again.redeliveries, 1);
        assert_eq!(again.ack().await, Settlement::Settled);
        assert_eq!(queue.depth("q").await.unwrap(), 0);
    }
}
