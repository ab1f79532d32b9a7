//! The broker as one process reaches it.

use super::Sabotage;
use super::broker::{Broker, Look};
use super::faults::Fault;
use super::process::Wire;
use super::world::Peer;
use async_trait::async_trait;
use bytes::Bytes;
use outshine_broker::{
    BrokerError, Consumer, DeadLetter, Delivery, Load, Priority, Settle, Settlement, TaskQueue,
    Verdict,
};
use std::sync::Arc;

/// A connection to the broker.
#[derive(Clone, Debug)]
pub struct SimQueue {
    pub wire: Wire,
    pub broker: Arc<Broker>,
}

fn away(why: &'static str) -> BrokerError {
    BrokerError::Unreachable { url: "simulated".to_owned(), seconds: 5.0, reason: why.to_owned() }
}

fn unconfirmed(queue: &str) -> impl FnOnce(&'static str) -> BrokerError + Send {
    let queue = queue.to_owned();
    move |why| BrokerError::Unconfirmed { queue, reason: why.to_owned() }
}

impl SimQueue {
    async fn pass<T: Send>(
        &self,
        what: &str,
        effect: impl FnOnce() -> Result<T, BrokerError> + Send,
    ) -> Result<T, BrokerError> {
        self.wire.pass(Peer::Broker, what, effect, away).await
    }

    /// Messages that arrive after their publisher has given up on them.
    async fn publish_late(&self, queue: &str, payloads: Vec<Bytes>) {
        let (broker, queue) = (self.broker.clone(), queue.to_owned());
        broker.unconfirmed();
        let random = |low, high| self.wire.world.random(|r| r.millis(low, high));
        let late = random(1_000, 40_000);
        tokio::spawn(async move {
            tokio::time::sleep(late).await;
            broker.world.note("broker", &format!("publish {}: late", payloads.len()));
            broker.publish_late(&queue, payloads);
        });
        tokio::time::sleep(random(100, 5_000)).await;
    }
}

#[async_trait]
impl TaskQueue for SimQueue {
    async fn declare(&self, queue: &str) -> Result<(), BrokerError> {
        let effect = || {
            self.broker.declare(queue);
            Ok(())
        };
        self.pass("declare", effect).await
    }

    async fn publish(&self, queue: &str, payload: Bytes) -> Result<(), BrokerError> {
        self.publish_all(queue, vec![payload], Priority::Normal).await
    }

    /// Of priorities it knows nothing, as earlier brokers.
    async fn publish_all(
        &self,
        queue: &str,
        payloads: Vec<Bytes>,
        _: Priority,
    ) -> Result<(), BrokerError> {
        // Some of the messages may be lost with their confirms, others not.
        let first = self.wire.world.random(|r| r.below(payloads.len() as u64 + 1)) as usize;
        let (head, tail) = payloads.split_at(first);
        for part in [head, tail] {
            if part.is_empty() {
                continue;
            }
            let what = format!("publish {}", part.len());
            if self.wire.world.strikes(Fault::LatePublish) {
                self.publish_late(queue, part.to_vec()).await;
                return Err(unconfirmed(queue)("timed out"));
            }
            let again = self.wire.world.sabotage == Some(Sabotage::PublishesAgain);
            let effect = || {
                let times = if again { 6 } else { 1 };
                (0..times).try_for_each(|_| self.broker.publish(queue, part.to_vec()))
            };
            let confirmed = self.wire.pass(Peer::Broker, &what, effect, unconfirmed(queue)).await;
            if confirmed.is_err() {
                self.broker.unconfirmed();
                return confirmed;
            }
        }
        Ok(())
    }

    async fn load(&self, queue: &str) -> Result<Load, BrokerError> {
        self.pass("depth", || self.broker.load(queue)).await
    }

    async fn dead_letter_depth(&self, queue: &str) -> Result<u64, BrokerError> {
        // A dead letter breaks an invariant: there is never one to count.
        self.pass("dead letters", || self.broker.load(queue).map(|_| 0)).await
    }

    async fn dead_letters(&self, queue: &str, _: usize) -> Result<Vec<DeadLetter>, BrokerError> {
        self.pass("dead letters", || self.broker.load(queue).map(|_| Vec::new())).await
    }

    async fn consume(&self, queue: &str) -> Result<Box<dyn Consumer>, BrokerError> {
        let life = self.wire.life.clone();
        let id = self.pass("consume", || self.broker.subscribe(queue, life)).await?;
        Ok(Box::new(SimConsumer { link: self.clone(), queue: queue.to_owned(), id }))
    }

    async fn purge(&self, queue: &str) -> Result<u64, BrokerError> {
        Err(BrokerError::Closed { queue: queue.to_owned(), reason: "not simulated".to_owned() })
    }

    async fn delete(&self, queue: &str) -> Result<(), BrokerError> {
        Err(BrokerError::Closed { queue: queue.to_owned(), reason: "not simulated".to_owned() })
    }
}

struct SimConsumer {
    link: SimQueue,
    queue: String,
    id: u64,
}

impl SimConsumer {
    fn closed(&self, why: &str) -> BrokerError {
        BrokerError::Closed { queue: self.queue.clone(), reason: why.to_owned() }
    }
}

#[async_trait]
impl Consumer for SimConsumer {
    async fn next(&mut self) -> Result<Delivery, BrokerError> {
        let (broker, id) = (&self.link.broker, self.id);
        loop {
            // Registered before the look, so that no change is missed.
            let changed = broker.changed.notified();
            match broker.look(id) {
                Look::Closed => return Err(self.closed("the channel is gone")),
                Look::Wait(None) => changed.await,
                Look::Wait(Some(time)) => {
                    let _either = tokio::time::timeout(time, changed).await;
                }
                Look::Ready => {
                    drop(changed);
                    let taken = self.link.pass("deliver", || Ok(broker.take(id))).await;
                    let Some(taken) = taken.map_err(|e| self.closed(&e.to_string()))? else {
                        continue;
                    };
                    broker.handed(id);
                    let settle = SimSettle { link: self.link.clone(), id, tag: taken.tag };
                    return Ok(Delivery::new(taken.payload, taken.redeliveries, Box::new(settle)));
                }
            }
        }
    }
}

impl Drop for SimConsumer {
    fn drop(&mut self) {
        // Of a process that died, the broker learns in its own time.
        if self.link.wire.life.is_alive() {
            self.link.broker.unsubscribe(self.id);
        }
    }
}

struct SimSettle {
    link: SimQueue,
    id: u64,
    tag: u64,
}

#[async_trait]
impl Settle for SimSettle {
    async fn settle(self: Box<Self>, verdict: Verdict) -> Settlement {
        let Self { link, id, tag } = *self;
        let what = format!("settle {verdict:?}");
        let outcome = link.pass(&what, || Ok(link.broker.settle(id, tag, verdict))).await;
        if let Ok(settlement) = outcome {
            return settlement;
        }
        // The frame was lost, or the answer. The broker takes the message back
        // once it notices; the client may believe that all is well.
        let (broker, late) = (link.broker.clone(), link.wire.world.random(|r| r.millis(1, 30_000)));
        tokio::spawn(async move {
            tokio::time::sleep(late).await;
            broker.break_channel(id);
        });
        match link.wire.world.random(|r| r.chance(0.5)) {
            true => Settlement::Settled,
            false => Settlement::Lost,
        }
    }

    fn abandon(self: Box<Self>) {
        if self.link.wire.life.is_alive() {
            self.link.broker.break_channel(self.id);
        }
    }
}
