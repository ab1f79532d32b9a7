//! The contract of [`TaskQueue`] as one suite, to be run on every implementation.
//!
//! The functions panic where the contract is broken.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use crate::{
    BrokerError, Consumer, DELIVERY_LIMIT, DeadReason, Delivery, ErrorClass, Load, PUBLISH_WINDOW,
    Priority, Settlement, TaskQueue,
};

/// Longer than any broker needs to hand out a message that waits.
const ARRIVES_WITHIN: Duration = Duration::from_secs(30);
/// Long enough for a message to show up if it were to come, short enough to wait for often.
const STAYS_AWAY: Duration = Duration::from_millis(300);

/// Runs every case; `make` gives a handle to the broker, called several times. Queues get names that
/// no other run uses, and are deleted at the end.
pub async fn run_all<F, Fut>(make: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Arc<dyn TaskQueue>>,
{
    let broker = make().await;
    declare_is_idempotent(&broker).await;
    unknown_queues_are_errors(&broker).await;
    messages_come_in_order_and_whole(&broker).await;
    priorities_lose_nothing(&broker).await;
    consumers_are_counted(&broker).await;
    one_delivery_at_a_time(&broker).await;
    retry_redelivers_and_counts(&broker).await;
    dropped_deliveries_come_back(&broker).await;
    dropped_consumers_give_back(&broker).await;
    waiting_is_cancel_safe(&broker).await;
    rejected_messages_are_dead_letters(&broker).await;
    the_delivery_limit_ends_in_the_dead_letters(&broker).await;
    many_publishers_and_consumers(&broker).await;
    purge_drops_what_waits(&broker).await;
    deleted_queues_are_gone(&broker).await;
}

/// Runs the cases that need the broker's state shared between two handles (two processes).
pub async fn run_shared<F, Fut>(make: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Arc<dyn TaskQueue>>,
{
    let (ours, theirs) = (make().await, make().await);
    let queue = declared(&ours).await;
    theirs.declare(&queue).await.unwrap();
    ours.publish(&queue, body(1)).await.unwrap();
    assert_eq!(eventual_depth(&theirs, &queue, 1).await, 1);
    let mut consumer = theirs.consume(&queue).await.unwrap();
    let delivery = next(&mut consumer).await;
    assert_eq!(delivery.payload, body(1));
    assert_eq!(delivery.reject().await, Settlement::Settled);
    assert_eq!(eventual_dead(&ours, &queue, 1).await, 1);
    ours.delete(&queue).await.unwrap();
}

fn fresh_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("conformance-{}-{since}-{number}", std::process::id())
}

async fn declared(broker: &Arc<dyn TaskQueue>) -> String {
    let queue = fresh_name();
    broker.declare(&queue).await.unwrap();
    queue
}

fn body(number: u32) -> Bytes {
    Bytes::from(number.to_le_bytes().to_vec())
}

fn number(payload: &[u8]) -> u32 {
    u32::from_le_bytes(payload.try_into().expect("payload of four bytes"))
}

async fn next(consumer: &mut Box<dyn Consumer>) -> Delivery {
    tokio::time::timeout(ARRIVES_WITHIN, consumer.next())
        .await
        .expect("a message should have arrived")
        .expect("a delivery")
}

async fn nothing_comes(consumer: &mut Box<dyn Consumer>) {
    let outcome = tokio::time::timeout(STAYS_AWAY, consumer.next()).await;
    assert!(outcome.is_err(), "nothing should have arrived: {outcome:?}");
}

/// A broker may count late: asks until the answer is `expected` or time is up.
async fn eventually<Fut>(expected: u64, ask: impl Fn() -> Fut) -> u64
where
    Fut: Future<Output = Result<u64, BrokerError>>,
{
    let started = std::time::Instant::now();
    loop {
        let found = ask().await.unwrap();
        if found == expected || started.elapsed() > ARRIVES_WITHIN {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn eventual_depth(broker: &Arc<dyn TaskQueue>, queue: &str, expected: u64) -> u64 {
    eventually(expected, || broker.depth(queue)).await
}

async fn eventual_dead(broker: &Arc<dyn TaskQueue>, queue: &str, expected: u64) -> u64 {
    eventually(expected, || broker.dead_letter_depth(queue)).await
}

async fn declare_is_idempotent(broker: &Arc<dyn TaskQueue>) {
    let queue = declared(broker).await;
    broker.publish(&queue, body(1)).await.unwrap();
    broker.declare(&queue).await.unwrap();
    assert_eq!(eventual_depth(broker, &queue, 1).await, 1);
    assert_eq!(broker.dead_letter_depth(&queue).await.unwrap(), 0);
    broker.delete(&queue).await.unwrap();
}

async fn unknown_queues_are_errors(broker: &Arc<dyn TaskQueue>) {
    let queue = fresh_name();
    let outcomes = [
        broker.publish(&queue, body(1)).await.err(),
        broker.publish_all(&queue, vec![body(1), body(2)], Priority::Normal).await.err(),
        broker.depth(&queue).await.err(),
        broker.dead_letter_depth(&queue).await.err(),
        broker.dead_letters(&queue, 1).await.err(),
        broker.consume(&queue).await.err(),
        broker.purge(&queue).await.err(),
    ];
    for (call, outcome) in outcomes.into_iter().enumerate() {
        let error = outcome.unwrap_or_else(|| panic!("call {call} should have failed"));
        assert!(matches!(error, BrokerError::UnknownQueue { .. }), "call {call}: {error}");
        assert_eq!(error.class(), ErrorClass::Permanent);
    }
    // Deleting what is not there is no error, and the broker is still of use after all that.
    broker.delete(&queue).await.unwrap();
    broker.declare(&queue).await.unwrap();
    broker.publish(&queue, body(1)).await.unwrap();
    broker.delete(&queue).await.unwrap();
}

async fn messages_come_in_order_and_whole(broker: &Arc<dyn TaskQueue>) {
    let queue = declared(broker).await;
    // Empty, every byte value, and larger than an AMQP frame (128 KiB).
    let large = Bytes::from((0..300_000_u32).map(|i| (i % 251) as u8).collect::<Vec<_>>());
    let mut sent = vec![Bytes::new(), Bytes::from((0..=255).collect::<Vec<u8>>()), large];
    sent.extend((0..3 * PUBLISH_WINDOW as u32).map(body));
    broker.publish(&queue, sent[0].clone()).await.unwrap();
    broker.publish_all(&queue, Vec::new(), Priority::Normal).await.unwrap();
    broker.publish_all(&queue, sent[1..].to_vec(), Priority::Normal).await.unwrap();
    let count = sent.len() as u64;
    assert_eq!(eventual_depth(broker, &queue, count).await, count);
    let mut consumer = broker.consume(&queue).await.unwrap();
    for (position, expected) in sent.iter().enumerate() {
        let delivery = next(&mut consumer).await;
        assert!(delivery.payload == *expected, "message {position} changed or out of order");
        assert_eq!(delivery.redeliveries, 0);
        assert_eq!(delivery.ack().await, Settlement::Settled);
    }
    assert_eq!(eventual_depth(broker, &queue, 0).await, 0);
    nothing_comes(&mut consumer).await;
    broker.delete(&queue).await.unwrap();
}

/// Takes and acks so many messages.
async fn take(broker: &Arc<dyn TaskQueue>, queue: &str, count: usize) -> Vec<u32> {
    let mut consumer = broker.consume(queue).await.unwrap();
    let mut taken = Vec::new();
    for _ in 0..count {
        let delivery = next(&mut consumer).await;
        taken.push(number(&delivery.payload));
        assert_eq!(delivery.ack().await, Settlement::Settled);
    }
    nothing_comes(&mut consumer).await;
    taken
}

async fn mixed(broker: &Arc<dyn TaskQueue>) -> (String, Vec<u32>) {
    let queue = declared(broker).await;
    for (first, priority) in [(0, Priority::Normal), (10, Priority::High)] {
        let bodies = (first..first + 3).map(body).collect();
        broker.publish_all(&queue, bodies, priority).await.unwrap();
    }
    assert_eq!(eventual_depth(broker, &queue, 6).await, 6);
    let taken = take(broker, &queue, 6).await;
    (queue, taken)
}

async fn priorities_lose_nothing(broker: &Arc<dyn TaskQueue>) {
    let (queue, taken) = mixed(broker).await;
    for of in [[0, 1, 2], [10, 11, 12]] {
        let own: Vec<u32> = taken.iter().copied().filter(|n| of.contains(n)).collect();
        assert_eq!(own, of, "those of one priority keep their order");
    }
    broker.delete(&queue).await.unwrap();
}

/// For brokers that know priorities: what is urgent comes before what waits already.
pub async fn high_priority_goes_first(broker: &Arc<dyn TaskQueue>) {
    let (queue, taken) = mixed(broker).await;
    assert_eq!(taken[..2], [10, 11], "{taken:?}");
    broker.delete(&queue).await.unwrap();
}

async fn consumers_are_counted(broker: &Arc<dyn TaskQueue>) {
    let queue = declared(broker).await;
    let mut consumers = Vec::new();
    for count in 0..3 {
        let load = Load { waiting: 0, consumers: count };
        assert_eq!(broker.load(&queue).await.unwrap(), load);
        consumers.push(broker.consume(&queue).await.unwrap());
    }
    drop(consumers);
    let started = std::time::Instant::now();
    while broker.load(&queue).await.unwrap().consumers > 0 {
        assert!(started.elapsed() < ARRIVES_WITHIN, "consumers that are gone count on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    broker.delete(&queue).await.unwrap();
}

async fn one_delivery_at_a_time(broker: &Arc<dyn TaskQueue>) {
    let queue = declared(broker).await;
    broker.publish_all(&queue, vec![body(1), body(2), body(3)], Priority::Normal).await.unwrap();
    let mut first = broker.consume(&queue).await.unwrap();
    let held = next(&mut first).await;
    assert_eq!(eventual_depth(broker, &queue, 2).await, 2);
    nothing_comes(&mut first).await;
    // The others go to whoever is free.
    let mut second = broker.consume(&queue).await.unwrap();
    for expected in [2, 3] {
        let delivery = next(&mut second).await;
        assert_eq!(number(&delivery.payload), expected);
        assert_eq!(delivery.ack().await, Settlement::Settled);
    }
    assert_eq!(number(&held.payload), 1);
    assert_eq!(held.ack().await, Settlement::Settled);
    broker.publish(&queue, body(4)).await.unwrap();
    drop(second);
    let delivery = next(&mut first).await;
    assert_eq!(number(&delivery.payload), 4);
    assert_eq!(delivery.ack().await, Settlement::Settled);
    broker.delete(&queue).await.unwrap();
}

async fn retry_redelivers_and_counts(broker: &Arc<dyn TaskQueue>) {
    let queue = declared(broker).await;
    broker.publish(&queue, body(7)).await.unwrap();
    let mut consumer = broker.consume(&queue).await.unwrap();
    for expected in 0..3 {
        let delivery = next(&mut consumer).await;
        assert_eq!((number(&delivery.payload), delivery.redeliveries), (7, expected));
        assert_eq!(delivery.retry().await, Settlement::Settled);
    }
    let delivery = next(&mut consumer).await;
    assert_eq!(delivery.redeliveries, 3);
    assert_eq!(delivery.ack().await, Settlement::Settled);
    nothing_comes(&mut consumer).await;
    assert_eq!(broker.dead_letter_depth(&queue).await.unwrap(), 0);
    broker.delete(&queue).await.unwrap();
}

async fn dropped_deliveries_come_back(broker: &Arc<dyn TaskQueue>) {
    let queue = declared(broker).await;
    broker.publish(&queue, body(7)).await.unwrap();
    let mut consumer = broker.consume(&queue).await.unwrap();
    drop(next(&mut consumer).await);
    let delivery = next(&mut consumer).await;
    assert_eq!((number(&delivery.payload), delivery.redeliveries), (7, 1));
    assert_eq!(delivery.ack().await, Settlement::Settled);
    broker.delete(&queue).await.unwrap();
}

async fn dropped_consumers_give_back(broker: &Arc<dyn TaskQueue>) {
    let queue = declared(broker).await;
    broker.publish(&queue, body(7)).await.unwrap();
    let mut first = broker.consume(&queue).await.unwrap();
    let held = next(&mut first).await;
    drop(first);
    let mut second = broker.consume(&queue).await.unwrap();
    let delivery = next(&mut second).await;
    assert_eq!((number(&delivery.payload), delivery.redeliveries), (7, 1));
    // The first delivery is not ours any more; settling it changes nothing.
    assert_eq!(held.ack().await, Settlement::Lost);
    assert_eq!(delivery.retry().await, Settlement::Settled);
    let delivery = next(&mut second).await;
    assert_eq!(delivery.redeliveries, 2);
    assert_eq!(delivery.ack().await, Settlement::Settled);
    broker.delete(&queue).await.unwrap();
}

async fn waiting_is_cancel_safe(broker: &Arc<dyn TaskQueue>) {
    let queue = declared(broker).await;
    let mut consumer = broker.consume(&queue).await.unwrap();
    nothing_comes(&mut consumer).await;
    let late = broker.clone();
    let name = queue.clone();
    let publisher = tokio::spawn(async move {
        for i in 0..20 {
            late.publish(&name, body(i)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    });
    let mut seen = Vec::new();
    let started = std::time::Instant::now();
    while seen.len() < 20 && started.elapsed() < ARRIVES_WITHIN {
        // Most of these give up before a message comes.
        if let Ok(delivery) = tokio::time::timeout(Duration::from_millis(1), consumer.next()).await
        {
            let delivery = delivery.unwrap();
            assert_eq!(delivery.redeliveries, 0);
            seen.push(number(&delivery.payload));
            assert_eq!(delivery.ack().await, Settlement::Settled);
        }
    }
    publisher.await.unwrap();
    assert_eq!(seen, (0..20).collect::<Vec<_>>());
    broker.delete(&queue).await.unwrap();
}

async fn rejected_messages_are_dead_letters(broker: &Arc<dyn TaskQueue>) {
    let queue = declared(broker).await;
    broker.publish_all(&queue, (0..4).map(body).collect(), Priority::Normal).await.unwrap();
    let mut consumer = broker.consume(&queue).await.unwrap();
    for _ in 0..3 {
        assert_eq!(next(&mut consumer).await.reject().await, Settlement::Settled);
    }
    assert_eq!(next(&mut consumer).await.ack().await, Settlement::Settled);
    assert_eq!(eventual_dead(broker, &queue, 3).await, 3);
    let mut letters = broker.dead_letters(&queue, 2).await.unwrap();
    assert_eq!(letters.len(), 2);
    assert_eq!(eventual_dead(broker, &queue, 1).await, 1);
    letters.extend(broker.dead_letters(&queue, 10).await.unwrap());
    let numbers: Vec<_> = letters.iter().map(|letter| number(&letter.payload)).collect();
    assert_eq!(numbers, [0, 1, 2]);
    assert!(letters.iter().all(|letter| letter.reason == DeadReason::Rejected), "{letters:?}");
    assert_eq!(broker.dead_letters(&queue, 10).await.unwrap(), []);
    broker.delete(&queue).await.unwrap();
}

async fn the_delivery_limit_ends_in_the_dead_letters(broker: &Arc<dyn TaskQueue>) {
    let queue = declared(broker).await;
    broker.publish(&queue, body(9)).await.unwrap();
    let mut consumer = broker.consume(&queue).await.unwrap();
    for expected in 0..=DELIVERY_LIMIT {
        let delivery = next(&mut consumer).await;
        assert_eq!(delivery.redeliveries, expected);
        // Every way back counts, on purpose or not.
        if expected % 2 == 0 {
            assert_eq!(delivery.retry().await, Settlement::Settled);
        } else {
            drop(delivery);
        }
    }
    assert_eq!(eventual_dead(broker, &queue, 1).await, 1);
    nothing_comes(&mut consumer).await;
    let letters = broker.dead_letters(&queue, 10).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(number(&letters[0].payload), 9);
    assert_eq!(letters[0].reason, DeadReason::DeliveryLimit);
    broker.delete(&queue).await.unwrap();
}

async fn many_publishers_and_consumers(broker: &Arc<dyn TaskQueue>) {
    const PUBLISHERS: u32 = 4;
    const EACH: u32 = 50;
    let queue = declared(broker).await;
    let publishers = (0..PUBLISHERS).map(|publisher| {
        let (broker, queue) = (broker.clone(), queue.clone());
        tokio::spawn(async move {
            for i in 0..EACH {
                broker.publish(&queue, body(publisher * EACH + i)).await.unwrap();
            }
        })
    });
    let publishers: Vec<_> = publishers.collect();
    let (found, mut results) = tokio::sync::mpsc::unbounded_channel();
    let consumers: Vec<_> = (0..3)
        .map(|_| {
            let (broker, queue, found) = (broker.clone(), queue.clone(), found.clone());
            tokio::spawn(async move {
                let mut consumer = broker.consume(&queue).await.unwrap();
                loop {
                    let delivery = consumer.next().await.unwrap();
                    let value = number(&delivery.payload);
                    // Every tenth message fails once.
                    if value.is_multiple_of(10) && delivery.redeliveries == 0 {
                        assert_eq!(delivery.retry().await, Settlement::Settled);
                        continue;
                    }
                    assert_eq!(delivery.ack().await, Settlement::Settled);
                    found.send(value).unwrap();
                }
            })
        })
        .collect();
    for publisher in publishers {
        publisher.await.unwrap();
    }
    let mut seen = Vec::new();
    while seen.len() < (PUBLISHERS * EACH) as usize {
        let value = tokio::time::timeout(ARRIVES_WITHIN, results.recv()).await;
        seen.push(value.expect("every message arrives").unwrap());
    }
    for consumer in consumers {
        assert!(!consumer.is_finished(), "a consumer failed");
        consumer.abort();
    }
    assert_eq!(seen.iter().copied().collect::<BTreeSet<_>>(), (0..PUBLISHERS * EACH).collect());
    assert_eq!(seen.len(), (PUBLISHERS * EACH) as usize, "no message twice");
    broker.delete(&queue).await.unwrap();
}

async fn purge_drops_what_waits(broker: &Arc<dyn TaskQueue>) {
    let queue = declared(broker).await;
    broker.publish_all(&queue, (0..5).map(body).collect(), Priority::Normal).await.unwrap();
    let mut consumer = broker.consume(&queue).await.unwrap();
    let held = next(&mut consumer).await;
    assert_eq!(eventual_depth(broker, &queue, 4).await, 4);
    assert_eq!(broker.purge(&queue).await.unwrap(), 4);
    assert_eq!(eventual_depth(broker, &queue, 0).await, 0);
    assert_eq!(held.retry().await, Settlement::Settled);
    let delivery = next(&mut consumer).await;
    assert_eq!(number(&delivery.payload), 0);
    assert_eq!(delivery.ack().await, Settlement::Settled);
    broker.delete(&queue).await.unwrap();
}

async fn deleted_queues_are_gone(broker: &Arc<dyn TaskQueue>) {
    let queue = declared(broker).await;
    broker.publish(&queue, body(1)).await.unwrap();
    let mut consumer = broker.consume(&queue).await.unwrap();
    assert_eq!(next(&mut consumer).await.ack().await, Settlement::Settled);
    broker.delete(&queue).await.unwrap();
    let outcome = tokio::time::timeout(ARRIVES_WITHIN, consumer.next()).await;
    let error = outcome.expect("the consumer should end").expect_err("no more messages");
    assert!(matches!(error, BrokerError::Closed { .. }), "{error}");
    assert!(matches!(broker.depth(&queue).await, Err(BrokerError::UnknownQueue { .. })));
    broker.declare(&queue).await.unwrap();
    assert_eq!(broker.depth(&queue).await.unwrap(), 0);
    broker.delete(&queue).await.unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FaultPlan, FaultyQueue, MemoryQueue};

    #[tokio::test]
    async fn memory() {
        let broker = MemoryQueue::new();
        let make = || async { Arc::new(broker.clone()) as Arc<dyn TaskQueue> };
        run_all(make).await;
        run_shared(make).await;
        high_priority_goes_first(&make().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn memory_on_several_threads() {
        run_all(|| async { Arc::new(MemoryQueue::new()) as Arc<dyn TaskQueue> }).await;
    }

    #[tokio::test]
    async fn faulty_without_faults() {
        run_all(|| async {
            let inner = Arc::new(MemoryQueue::new());
            Arc::new(FaultyQueue::new(inner, FaultPlan::default())) as Arc<dyn TaskQueue>
        })
        .await;
    }
}
