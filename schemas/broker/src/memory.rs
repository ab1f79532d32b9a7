//! The broker inside the process: the default, and the reference for the contract.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Notify;

use crate::{
    BrokerError, Consumer, DELIVERY_LIMIT, DeadLetter, DeadReason, Delivery, Load, Priority,
    Settle, Settlement, TaskQueue, Verdict,
};

/// A broker that lives as long as its last handle. Redelivers, counts and dead-letters like the
/// real one; nothing outlives the process.
#[derive(Clone, Debug)]
pub struct MemoryQueue {
    queues: Arc<Mutex<BTreeMap<String, Arc<Queue>>>>,
    delivery_limit: u32,
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<QueueState>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct QueueState {
    /// What goes first.
    high: VecDeque<Message>,
    ready: VecDeque<Message>,
    dead: VecDeque<DeadLetter>,
    consumers: u64,
    deleted: bool,
}

#[derive(Debug)]
struct Message {
    payload: Bytes,
    redeliveries: u32,
    priority: Priority,
}

impl QueueState {
    fn add(&mut self, message: Message) {
        match message.priority {
            Priority::High => self.high.push_back(message),
            Priority::Normal => self.ready.push_back(message),
        }
    }

    fn pop(&mut self) -> Option<Message> {
        self.high.pop_front().or_else(|| self.ready.pop_front())
    }

    /// Messages that wait.
    fn depth(&self) -> u64 {
        (self.high.len() + self.ready.len()) as u64
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemoryQueue {
    /// A new, empty broker.
    pub fn new() -> Self {
        Self::with_delivery_limit(DELIVERY_LIMIT)
    }

    /// A new broker whose messages may come back `delivery_limit` times.
    pub fn with_delivery_limit(delivery_limit: u32) -> Self {
        Self { queues: Arc::default(), delivery_limit }
    }

    /// The broker of this name in this process, made on first use.
    pub fn shared(name: &str) -> Self {
        static SHARED: LazyLock<Mutex<BTreeMap<String, MemoryQueue>>> =
            LazyLock::new(Mutex::default);
        locked(&SHARED).entry(name.to_owned()).or_default().clone()
    }

    fn queue(&self, queue: &str) -> Result<Arc<Queue>, BrokerError> {
        locked(&self.queues)
            .get(queue)
            .cloned()
            .ok_or_else(|| BrokerError::UnknownQueue { queue: queue.to_owned() })
    }
}

impl Default for MemoryQueue {
    fn default() -> Self {
        Self::new()
    }
}

impl Queue {
    fn push(&self, payload: Bytes, priority: Priority) {
        let message = Message { payload, redeliveries: 0, priority };
        locked(&self.state).add(message);
        self.arrived.notify_one();
    }

    fn bring_back(&self, message: Message, delivery_limit: u32) {
        let mut state = locked(&self.state);
        let redeliveries = message.redeliveries + 1;
        if redeliveries > delivery_limit {
            let reason = DeadReason::DeliveryLimit;
            state.dead.push_back(DeadLetter { payload: message.payload, reason });
            return;
        }
        state.add(Message { redeliveries, ..message });
        drop(state);
        self.arrived.notify_one();
    }
}

#[async_trait]
impl TaskQueue for MemoryQueue {
    async fn declare(&self, queue: &str) -> Result<(), BrokerError> {
        locked(&self.queues).entry(queue.to_owned()).or_default();
        Ok(())
    }

    async fn publish(&self, queue: &str, payload: Bytes) -> Result<(), BrokerError> {
        self.queue(queue)?.push(payload, Priority::Normal);
        Ok(())
    }

    async fn publish_all(
        &self,
        queue: &str,
        payloads: Vec<Bytes>,
        priority: Priority,
    ) -> Result<(), BrokerError> {
        let queue = self.queue(queue)?;
        for payload in payloads {
            queue.push(payload, priority);
        }
        Ok(())
    }

    async fn load(&self, queue: &str) -> Result<Load, BrokerError> {
        let queue = self.queue(queue)?;
        let state = locked(&queue.state);
        Ok(Load { waiting: state.depth(), consumers: state.consumers })
    }

    async fn dead_letter_depth(&self, queue: &str) -> Result<u64, BrokerError> {
        Ok(locked(&self.queue(queue)?.state).dead.len() as u64)
    }

    async fn dead_letters(&self, queue: &str, max: usize) -> Result<Vec<DeadLetter>, BrokerError> {
        let queue = self.queue(queue)?;
        let mut state = locked(&queue.state);
        let count = state.dead.len().min(max);
        Ok(state.dead.drain(..count).collect())
    }

    async fn consume(&self, queue: &str) -> Result<Box<dyn Consumer>, BrokerError> {
        let name = queue.to_owned();
        let queue = self.queue(queue)?;
        locked(&queue.state).consumers += 1;
        Ok(Box::new(MemoryConsumer {
            name,
            queue,
            slot: Arc::default(),
            delivery_limit: self.delivery_limit,
        }))
    }

    async fn purge(&self, queue: &str) -> Result<u64, BrokerError> {
        let queue = self.queue(queue)?;
        let mut state = locked(&queue.state);
        let count = state.depth();
        state.high.clear();
        state.ready.clear();
        Ok(count)
    }

    async fn delete(&self, queue: &str) -> Result<(), BrokerError> {
        let removed = locked(&self.queues).remove(queue);
        if let Some(queue) = removed {
            locked(&queue.state).deleted = true;
            queue.arrived.notify_waiters();
            queue.arrived.notify_one();
        }
        Ok(())
    }
}

/// The one message that a consumer has handed out. Shared by the consumer and the delivery: who
/// takes the message first decides its fate, the other finds it gone.
#[derive(Debug, Default)]
struct Slot {
    held: Mutex<Option<Held>>,
    freed: Notify,
}

#[derive(Debug)]
struct Held {
    message: Message,
    queue: Arc<Queue>,
    delivery_limit: u32,
}

impl Slot {
    fn take(&self) -> Option<Held> {
        let held = locked(&self.held).take();
        self.freed.notify_one();
        held
    }

    fn bring_back(&self) {
        if let Some(held) = self.take() {
            held.queue.bring_back(held.message, held.delivery_limit);
        }
    }
}

struct MemoryConsumer {
    name: String,
    queue: Arc<Queue>,
    slot: Arc<Slot>,
    delivery_limit: u32,
}

#[async_trait]
impl Consumer for MemoryConsumer {
    async fn next(&mut self) -> Result<Delivery, BrokerError> {
        loop {
            // Each wait is registered before its condition is looked at, so no wake-up is missed.
            let freed = self.slot.freed.notified();
            if locked(&self.slot.held).is_none() {
                break;
            }
            freed.await;
        }
        loop {
            let arrived = self.queue.arrived.notified();
            {
                let mut state = locked(&self.queue.state);
                if state.deleted {
                    // Passes the news on to the next waiting consumer.
                    self.queue.arrived.notify_one();
                    let reason = "the queue was deleted".to_owned();
                    return Err(BrokerError::Closed { queue: self.name.clone(), reason });
                }
                if let Some(message) = state.pop() {
                    if state.depth() > 0 {
                        self.queue.arrived.notify_one();
                    }
                    let (payload, redeliveries) = (message.payload.clone(), message.redeliveries);
                    *locked(&self.slot.held) = Some(Held {
                        message,
                        queue: self.queue.clone(),
                        delivery_limit: self.delivery_limit,
                    });
                    let settle = Box::new(MemorySettle { slot: self.slot.clone() });
                    return Ok(Delivery::new(payload, redeliveries, settle));
                }
            }
            arrived.await;
        }
    }
}

impl Drop for MemoryConsumer {
    fn drop(&mut self) {
        self.slot.bring_back();
        locked(&self.queue.state).consumers -= 1;
    }
}

struct MemorySettle {
    slot: Arc<Slot>,
}

#[async_trait]
impl Settle for MemorySettle {
    async fn settle(self: Box<Self>, verdict: Verdict) -> Settlement {
        let Some(held) = self.slot.take() else {
            return Settlement::Lost;
        };
        match verdict {
            Verdict::Ack => {}
            Verdict::Retry => held.queue.bring_back(held.message, held.delivery_limit),
            Verdict::Reject => locked(&held.queue.state).dead.push_back(DeadLetter {
                payload: held.message.payload,
                reason: DeadReason::Rejected,
            }),
        }
        Settlement::Settled
    }

    fn abandon(self: Box<Self>) {
        self.slot.bring_back();
    }
}

#[cfg(test)]
mod tests {
    use super::MemoryQueue;
    use crate::TaskQueue;

    #[tokio::test]
    async fn named_brokers_are_shared_and_others_are_not() {
        MemoryQueue::shared("unit").declare("q").await.unwrap();
        assert_eq!(MemoryQueue::shared("unit").depth("q").await.unwrap(), 0);
        MemoryQueue::new().depth("q").await.unwrap_err();
        MemoryQueue::shared("other").depth("q").await.unwrap_err();
    }
}
