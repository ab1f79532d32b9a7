//! The simulated broker: queues of messages, and who holds which. Operations
//! here take no time; `queue` puts them behind each process's wire.

use super::Sabotage;
use super::faults::Fault;
use super::process::Life;
use super::world::{Peer, World};
use crate::locked;
use bytes::Bytes;
use outshine_broker::{BrokerError, DELIVERY_LIMIT, Load, Settlement, Verdict};
use outshine_schemas::codec;
use outshine_schemas::digest::Digest;
use outshine_schemas::task::Task;
use outshine_store::layout::Layout;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// After this time the broker takes an unsettled message back, where
/// [`Fault::AckTimeout`] strikes.
const ACK_TIMEOUT: Duration = Duration::from_secs(100);

/// The broker.
#[derive(Debug)]
pub struct Broker {
    pub world: Arc<World>,
    /// Told of every change.
    pub changed: Notify,
    core: Mutex<Core>,
}

#[derive(Debug, Default)]
struct Core {
    queues: BTreeMap<String, VecDeque<Message>>,
    subscriptions: BTreeMap<u64, Subscription>,
    next: u64,
    counts: Counts,
}

/// What the broker has seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Messages published.
    pub published: u64,
    /// Calls that publish and that failed, in effect or answer.
    pub broken: u64,
    /// Messages that came late.
    pub late: u64,
    /// Messages doubled by the broker itself.
    pub doubled: u64,
    /// Most messages that ever waited in one queue.
    pub most: u64,
    /// Messages that came back.
    pub returned: u64,
}

#[derive(Clone, Debug)]
struct Message {
    payload: Bytes,
    redeliveries: u32,
    visible: Instant,
}

#[derive(Debug)]
struct Subscription {
    life: Arc<Life>,
    queue: String,
    held: Option<(u64, Message)>,
    handed: bool,
    closed: bool,
}

/// What a consumer finds.
pub enum Look {
    /// A message is there to be taken.
    Ready,
    /// Nothing now; perhaps later.
    Wait(Option<Duration>),
    /// The subscription is gone.
    Closed,
}

/// A message as it is handed out.
#[derive(Debug)]
pub struct Handed {
    pub tag: u64,
    pub payload: Bytes,
    pub redeliveries: u32,
}

impl Core {
    /// Puts a held message back into its queue, if the queue still exists.
    fn bring_back(&mut self, world: &World, queue: &str, message: Message) {
        self.counts.returned += 1;
        if world.sabotage == Some(Sabotage::DroppedRedelivery) {
            return;
        }
        let Some(ready) = self.queues.get_mut(queue) else { return };
        let redeliveries = message.redeliveries + 1;
        if redeliveries > DELIVERY_LIMIT {
            // Of a task that kills its workers, that may be.
            if decoded(world, &message.payload).is_some_and(|task| world.bad(&task).is_none()) {
                world.violated(format!("a message came back {redeliveries} times: a dead letter"));
            }
            return;
        }
        let message = Message { redeliveries, visible: Instant::now(), ..message };
        // To the front or to the back. The slots of a process that stops give back in an
        // order that no seed rules: content decides, and of those of one moment orders.
        let digest = Digest::of(&message.payload);
        let sum = digest.as_str().bytes().fold(redeliveries, |sum, byte| sum + u32::from(byte));
        let is_after =
            |other: &Message| other.visible == message.visible && other.payload < message.payload;
        let is_before =
            |other: &Message| other.visible == message.visible && other.payload > message.payload;
        let at = match sum.is_multiple_of(2) {
            true => ready.iter().take_while(|other| is_after(other)).count(),
            false => ready.len() - ready.iter().rev().take_while(|other| is_before(other)).count(),
        };
        ready.insert(at, message);
    }

    /// Takes back what a subscription holds.
    fn release(&mut self, world: &World, id: u64) {
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        subscription.handed = false;
        let queue = subscription.queue.clone();
        if let Some((_, message)) = subscription.held.take() {
            self.bring_back(world, &queue, message);
        }
    }
}

impl Broker {
    /// An empty broker.
    pub fn new(world: Arc<World>) -> Arc<Self> {
        Arc::new(Self { world, changed: Notify::new(), core: Mutex::default() })
    }

    /// Makes a queue.
    pub fn declare(&self, queue: &str) {
        locked(&self.core).queues.entry(queue.to_owned()).or_default();
    }

    /// Adds messages.
    pub fn publish(&self, queue: &str, payloads: Vec<Bytes>) -> Result<(), BrokerError> {
        let core = &mut *locked(&self.core);
        let Some(ready) = core.queues.get_mut(queue) else { return Err(unknown(queue)) };
        for payload in payloads {
            core.counts.published += 1;
            let copies = if self.world.strikes(Fault::Duplicate) { 2 } else { 1 };
            core.counts.doubled += copies - 1;
            for _ in 0..copies {
                let late = if self.world.strikes(Fault::DelayedMessage) {
                    self.world.random(|r| r.millis(100, 30_000))
                } else {
                    Duration::ZERO
                };
                let visible = Instant::now() + late;
                ready.push_back(Message { payload: payload.clone(), redeliveries: 0, visible });
            }
        }
        core.counts.most = core.counts.most.max(ready.len() as u64);
        self.changed.notify_waiters();
        Ok(())
    }

    /// What a queue has.
    pub fn load(&self, queue: &str) -> Result<Load, BrokerError> {
        let core = locked(&self.core);
        let ready = core.queues.get(queue).ok_or_else(|| unknown(queue))?;
        let waiting = match self.world.sabotage {
            Some(Sabotage::NoWindow) => 0,
            _ => ready.len() as u64,
        };
        let takes = |s: &&Subscription| s.queue == queue && !s.closed;
        let consumers = core.subscriptions.values().filter(takes).count() as u64;
        Ok(Load { waiting, consumers })
    }

    /// Starts a subscription.
    pub fn subscribe(&self, queue: &str, life: Arc<Life>) -> Result<u64, BrokerError> {
        let core = &mut *locked(&self.core);
        if !core.queues.contains_key(queue) {
            return Err(unknown(queue));
        }
        core.next += 1;
        let queue = queue.to_owned();
        let new = Subscription { life, queue, held: None, handed: false, closed: false };
        core.subscriptions.insert(core.next, new);
        Ok(core.next)
    }

    /// What a subscription can get now.
    pub fn look(&self, id: u64) -> Look {
        let core = locked(&self.core);
        let Some(subscription) = core.subscriptions.get(&id) else { return Look::Closed };
        let Some(ready) = core.queues.get(&subscription.queue) else { return Look::Closed };
        if subscription.closed {
            return Look::Closed;
        }
        if subscription.held.is_some() {
            return if subscription.handed { Look::Wait(None) } else { Look::Ready };
        }
        if !self.world.reaches(subscription.life.process, Peer::Broker) {
            return Look::Wait(Some(Duration::from_secs(1)));
        }
        let now = Instant::now();
        match ready.iter().map(|m| m.visible).min() {
            None => Look::Wait(None),
            Some(first) if first > now => Look::Wait(Some(first - now)),
            Some(_) => Look::Ready,
        }
    }

    /// Takes a message; none where another consumer was faster.
    pub fn take(self: &Arc<Self>, id: u64) -> Option<Handed> {
        let core = &mut *locked(&self.core);
        let subscription = core.subscriptions.get_mut(&id)?;
        if subscription.held.is_none() {
            let ready = core.queues.get_mut(&subscription.queue)?;
            let now = Instant::now();
            let visible: Vec<usize> =
                (0..ready.len()).filter(|&i| ready[i].visible <= now).collect();
            let mut which = *visible.first()?;
            if visible.len() > 1 && self.world.strikes(Fault::Reorder) {
                which = visible[self.world.random(|r| r.below(visible.len() as u64)) as usize];
            }
            let message = ready.remove(which)?;
            core.next += 1;
            subscription.held = Some((core.next, message));
            if self.world.is_armed(Fault::AckTimeout) {
                self.time_out(id, core.next);
            }
        }
        let (tag, message) = subscription.held.as_ref()?;
        let handed = Handed {
            tag: *tag,
            payload: message.payload.clone(),
            redeliveries: message.redeliveries,
        };
        if self.world.sabotage == Some(Sabotage::AckBeforeCommit) {
            self.acked(&handed.payload);
            subscription.held = None;
        }
        Some(handed)
    }

    /// The message taken last is in the consumer's hands.
    pub fn handed(&self, id: u64) {
        if let Some(subscription) = locked(&self.core).subscriptions.get_mut(&id) {
            subscription.handed = subscription.held.is_some();
        }
    }

    /// Settles a message.
    pub fn settle(&self, id: u64, tag: u64, verdict: Verdict) -> Settlement {
        let core = &mut *locked(&self.core);
        let Some(subscription) = core.subscriptions.get_mut(&id) else { return Settlement::Lost };
        if subscription.held.as_ref().is_none_or(|(held, _)| *held != tag) {
            return Settlement::Lost;
        }
        let queue = subscription.queue.clone();
        subscription.handed = false;
        let Some((_, message)) = subscription.held.take() else { return Settlement::Lost };
        match verdict {
            Verdict::Ack => self.acked(&message.payload),
            Verdict::Retry => core.bring_back(&self.world, &queue, message),
            Verdict::Reject => self.rejected(&message.payload),
        }
        self.changed.notify_waiters();
        Settlement::Settled
    }

    /// Whoever acks has left an outcome in the store.
    fn acked(&self, payload: &Bytes) {
        let Some(task) = decoded(&self.world, payload) else { return };
        let layout = Layout::new(&task.campaign);
        let commit = layout.commit(task.stage, task.shard, &task.id);
        let failure = layout.failure(task.stage, &task.id);
        if self.world.peek(&commit).or_else(|| self.world.peek(&failure)).is_none() {
            let what = format!("{} {}", task.stage, task.shard);
            self.world.violated(format!("the message of {what} was acked before its commit"));
        }
    }

    /// Whoever rejects has left the failure of a task that must fail.
    fn rejected(&self, payload: &Bytes) {
        let Some(task) = decoded(&self.world, payload) else { return };
        let what = format!("{} {}", task.stage, task.shard);
        let failure = Layout::new(&task.campaign).failure(task.stage, &task.id);
        if self.world.bad(&task).is_none() {
            self.world.violated(format!("the message of {what} was rejected: a dead letter"));
        } else if self.world.peek(&failure).is_none() {
            self.world.violated(format!("the message of {what} was rejected without a record"));
        }
    }

    /// A channel breaks: what was held goes back. Its consumer may find its way
    /// back by itself.
    pub fn break_channel(&self, id: u64) {
        let core = &mut *locked(&self.core);
        core.release(&self.world, id);
        let closed = self.world.random(|r| r.chance(0.5));
        if let Some(subscription) = core.subscriptions.get_mut(&id) {
            subscription.closed |= closed;
        }
        self.changed.notify_waiters();
    }

    /// A consumer ends.
    pub fn unsubscribe(&self, id: u64) {
        let core = &mut *locked(&self.core);
        core.release(&self.world, id);
        core.subscriptions.remove(&id);
        self.changed.notify_waiters();
    }

    /// A connection ends with all of its channels.
    pub fn disconnect(&self, life: &Arc<Life>) {
        let of = |s: &Subscription| Arc::ptr_eq(&s.life, life);
        for id in self.all(of) {
            self.unsubscribe(id);
        }
    }

    /// The broker misses the heartbeats of a process that it cannot reach.
    pub fn miss(&self, process: usize) {
        for id in self.all(|s| s.life.process == process) {
            self.break_channel(id);
        }
    }

    /// The broker goes down; without its disk, the queues are gone.
    pub fn go_down(&self, keeps: bool) {
        self.world.take_down(Peer::Broker);
        if !keeps {
            locked(&self.core).queues.clear();
        }
        for id in self.all(|_| true) {
            self.break_channel(id);
        }
    }

    fn all(&self, which: impl Fn(&Subscription) -> bool) -> Vec<u64> {
        let core = locked(&self.core);
        core.subscriptions.iter().filter(|(_, s)| which(s)).map(|(&id, _)| id).collect()
    }

    /// Takes a message back if it is still held after the timeout.
    fn time_out(self: &Arc<Self>, id: u64, tag: u64) {
        let broker = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(ACK_TIMEOUT).await;
            let held = locked(&broker.core)
                .subscriptions
                .get(&id)
                .is_some_and(|s| s.held.as_ref().is_some_and(|(held, _)| *held == tag));
            if held {
                broker.world.struck(Fault::AckTimeout);
                broker.world.note("broker", "acknowledgement timeout");
                broker.break_channel(id);
            }
        });
    }

    /// A process died; the broker notices at once or later.
    pub fn died(self: &Arc<Self>, life: Arc<Life>) {
        if !self.world.strikes(Fault::LateHeartbeat) {
            return self.disconnect(&life);
        }
        let broker = self.clone();
        let late = self.world.random(|r| r.millis(5_000, 60_000));
        tokio::spawn(async move {
            tokio::time::sleep(late).await;
            broker.world.note("broker", "misses the heartbeat of a dead process");
            broker.disconnect(&life);
        });
    }

    /// Whether no message waits or is held.
    pub fn is_empty(&self) -> bool {
        let core = locked(&self.core);
        core.queues.values().all(VecDeque::is_empty)
            && core.subscriptions.values().all(|s| s.held.is_none())
    }

    /// Messages of a call that failed long ago; where their queue is gone, so
    /// are they.
    pub fn publish_late(&self, queue: &str, payloads: Vec<Bytes>) {
        locked(&self.core).counts.late += payloads.len() as u64;
        let _ = self.publish(queue, payloads);
    }

    /// A call that publishes failed.
    pub fn unconfirmed(&self) {
        locked(&self.core).counts.broken += 1;
    }

    /// What it has seen.
    pub fn counts(&self) -> Counts {
        locked(&self.core).counts
    }
}

/// The task of a message, which must be readable.
fn decoded(world: &World, payload: &Bytes) -> Option<Task> {
    let task = codec::decode(payload);
    task.map_err(|error| world.violated(format!("an unreadable message: {error}"))).ok()
}

pub fn unknown(queue: &str) -> BrokerError {
    BrokerError::UnknownQueue { queue: queue.to_owned() }
}
