//! The task queue's contract on a real RabbitMQ, and what happens to it when the broker dies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use outshine_broker::{
    AmqpOptions, AmqpQueue, BrokerError, Consumer, ErrorClass, Priority, Settlement, TaskQueue,
    conformance, open,
};
use outshine_tests::servers::rabbitmq::REGISTERED_AFTER;
use outshine_tests::servers::{RabbitMq, or_skip};

/// Longer than a broker takes to start.
const PATIENCE: Duration = Duration::from_secs(120);

fn body(number: u32) -> Bytes {
    Bytes::from(number.to_le_bytes().to_vec())
}

fn number(payload: &[u8]) -> u32 {
    u32::from_le_bytes(payload.try_into().expect("payload of four bytes"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rabbitmq_keeps_the_contract() {
    let Some(broker) = or_skip(RabbitMq::start()) else { return };
    let make = || async { open(&broker.url()).await.unwrap() };
    conformance::run_all(make).await;
    conformance::run_shared(make).await;

    // A wrong password is told apart from an absent broker, and is not shown.
    let wrong = broker.url().replace("guest:guest", "guest:secret");
    let error = open(&wrong).await.unwrap_err();
    assert!(matches!(error, BrokerError::AccessRefused { .. }), "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");

    // A queue that exists with other settings is an error, and does no harm to it.
    let queue = make().await;
    queue.declare("other").await.unwrap();
    queue.delete("other").await.unwrap();
    queue.declare("other.dead").await.unwrap();
    let error = queue.declare("other").await.unwrap_err();
    assert!(matches!(error, BrokerError::Mismatch { .. }), "{error}");
    assert_eq!(error.class(), ErrorClass::Permanent);
}

#[tokio::test]
async fn an_absent_broker_is_named() {
    let url = "amqp://user:secret@127.0.0.1:9/vhost";
    let started = Instant::now();
    let error = open(url).await.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(15));
    assert!(matches!(error, BrokerError::Unreachable { .. }), "{error}");
    assert_eq!(error.class(), ErrorClass::Retry);
    let text = error.to_string();
    assert!(text.contains("amqp://user:***@127.0.0.1:9/vhost"), "{text}");
    assert!(!text.contains("secret"), "{text}");

    for bad in ["http://127.0.0.1", "amqp://[", "rabbit"] {
        let error = open(bad).await.unwrap_err();
        assert!(matches!(error, BrokerError::BadUrl { .. }), "{bad}: {error}");
    }
}

#[tokio::test]
async fn a_silent_broker_is_given_up() {
    // The system takes the connection, and nobody ever says a word.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("amqp://{}", listener.local_addr().unwrap());
    let options = AmqpOptions { connect_timeout: Duration::from_secs(1), ..AmqpOptions::default() };
    let error = AmqpQueue::connect(&url, options).await.unwrap_err();
    assert!(matches!(error, BrokerError::Unreachable { .. }), "{error}");
}

/// What the consumers of one test have done.
#[derive(Default)]
struct Tally {
    handled: std::sync::Mutex<BTreeMap<u32, u32>>,
    lost_acks: AtomicUsize,
}

impl Tally {
    fn distinct(&self) -> usize {
        self.handled.lock().unwrap().len()
    }
}

/// Handles messages for ever; a message counts as handled whatever becomes of its ack.
async fn work(mut consumer: Box<dyn Consumer>, tally: Arc<Tally>) {
    loop {
        let delivery = consumer.next().await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        *tally.handled.lock().unwrap().entry(number(&delivery.payload)).or_default() += 1;
        if delivery.ack().await == Settlement::Lost {
            tally.lost_acks.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let started = Instant::now();
    while !reached() {
        assert!(started.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The broker is killed, restarted, stopped in good order and restarted again while messages are
/// published and consumed: none is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_the_broker_dies() {
    const MESSAGES: u32 = 3000;
    const CONSUMERS: usize = 3;
    const QUEUE: &str = "chaos";
    let Some(mut broker) = or_skip(RabbitMq::start()) else { return };
    let ours = open(&broker.url()).await.unwrap();
    ours.declare(QUEUE).await.unwrap();
    tokio::time::sleep(REGISTERED_AFTER).await;

    let tally = Arc::new(Tally::default());
    let mut consumers = Vec::new();
    for _ in 0..CONSUMERS {
        // Each as in a process of its own.
        let theirs = open(&broker.url()).await.unwrap();
        theirs.declare(QUEUE).await.unwrap();
        let consumer = theirs.consume(QUEUE).await.unwrap();
        let tally = tally.clone();
        consumers.push(tokio::spawn(async move {
            work(consumer, tally).await;
            drop(theirs);
        }));
    }
    let publisher = tokio::spawn({
        let ours = ours.clone();
        async move {
            for start in (0..MESSAGES).step_by(100) {
                let batch = (start..start + 100).map(body).collect();
                ours.publish_all(QUEUE, batch, Priority::Normal).await.unwrap();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    });

    until("some messages before the kill", || tally.distinct() > 300).await;
    let broker = tokio::task::spawn_blocking(move || {
        broker.kill9().unwrap();
        broker.restart().unwrap();
        broker
    });
    let mut broker = broker.await.unwrap();
    let before = tally.distinct();
    until("traffic again after the kill", || tally.distinct() > before + 300).await;
    let broker = tokio::task::spawn_blocking(move || {
        broker.restart().unwrap();
        broker
    });
    let broker = broker.await.unwrap();

    publisher.await.unwrap();
    until("every message", || tally.distinct() == MESSAGES as usize).await;
    for consumer in &consumers {
        assert!(!consumer.is_finished(), "a consumer gave up");
    }
    let handled = tally.handled.lock().unwrap().clone();
    assert_eq!(handled.keys().copied().collect::<BTreeSet<_>>(), (0..MESSAGES).collect());
    let duplicates: u32 = handled.values().map(|times| times - 1).sum();
    println!(
        "{MESSAGES} messages, 1 kill, 1 restart: none lost, {duplicates} handled twice, {} acks lost",
        tally.lost_acks.load(Ordering::Relaxed)
    );
    // At most what was in flight at each of the two ends: a window of unconfirmed messages and the
    // deliveries in hand.
    let bound = 2 * (outshine_broker::PUBLISH_WINDOW + CONSUMERS);
    assert!(duplicates as usize <= bound, "{duplicates} duplicates");
    for consumer in consumers {
        consumer.abort();
    }
    assert_eq!(ours.dead_letter_depth(QUEUE).await.unwrap(), 0);
    drop(broker);
}

/// A broker that lost its disk gets its queues back from whoever declared them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_are_declared_again_on_an_empty_broker() {
    const QUEUE: &str = "wiped";
    let Some(mut broker) = or_skip(RabbitMq::start()) else { return };
    let ours = open(&broker.url()).await.unwrap();
    ours.declare(QUEUE).await.unwrap();
    let theirs = open(&broker.url()).await.unwrap();
    theirs.declare(QUEUE).await.unwrap();
    let mut consumer = theirs.consume(QUEUE).await.unwrap();
    ours.publish(QUEUE, body(1)).await.unwrap();
    let held = consumer.next().await.unwrap();

    let broker = tokio::task::spawn_blocking(move || {
        broker.kill9().unwrap();
        broker.wipe().unwrap();
        broker.restart().unwrap();
        broker
    });
    let broker = broker.await.unwrap();
    assert_eq!(held.ack().await, Settlement::Lost);
    ours.publish(QUEUE, body(2)).await.unwrap();
    let next = tokio::time::timeout(PATIENCE, consumer.next()).await.unwrap().unwrap();
    assert_eq!(number(&next.payload), 2);
    assert_eq!(next.ack().await, Settlement::Settled);
    drop(broker);
}

/// A consumer whose broker stays away ends with an error within the time allowed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_outage_ends_in_an_error() {
    let Some(mut broker) = or_skip(RabbitMq::start()) else { return };
    let options = AmqpOptions { reconnect_for: Duration::from_secs(2), ..AmqpOptions::default() };
    let queue = AmqpQueue::connect(&broker.url(), options).await.unwrap();
    queue.declare("q").await.unwrap();
    let mut consumer = queue.consume("q").await.unwrap();
    tokio::time::sleep(REGISTERED_AFTER).await;
    let mut broker = tokio::task::spawn_blocking(move || {
        broker.kill9().unwrap();
        broker
    })
    .await
    .unwrap();
    let error = tokio::time::timeout(PATIENCE, consumer.next()).await.unwrap().unwrap_err();
    assert!(matches!(error, BrokerError::Unreachable { .. }), "{error}");
    let error = queue.publish("q", body(1)).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Retry, "{error}");

    // Back at last: the same consumer goes on.
    let broker = tokio::task::spawn_blocking(move || {
        broker.restart().unwrap();
        broker
    })
    .await
    .unwrap();
    queue.publish("q", body(2)).await.unwrap();
    let next = tokio::time::timeout(PATIENCE, consumer.next()).await.unwrap().unwrap();
    assert_eq!(number(&next.payload), 2);
    assert_eq!(next.ack().await, Settlement::Settled);
    drop(broker);
}

/// A broker takes back by itself what a consumer holds for longer than its acknowledgement timeout:
/// the message comes again, and the consumer goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_held_for_too_long_comes_again() {
    const QUEUE: &str = "held";
    let Some(broker) = or_skip(RabbitMq::start()) else { return };
    // Half an hour by default, looked at once a minute.
    for (setting, milliseconds) in [("consumer_timeout", "2000"), ("channel_tick_interval", "200")]
    {
        let set = format!("application:set_env(rabbit, {setting}, {milliseconds}).");
        let output = broker.ctl(&["eval", &set]).unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    let queue = open(&broker.url()).await.unwrap();
    queue.declare(QUEUE).await.unwrap();
    let mut consumer = queue.consume(QUEUE).await.unwrap();
    queue.publish(QUEUE, body(1)).await.unwrap();
    let held = consumer.next().await.unwrap();
    assert_eq!((number(&held.payload), held.redeliveries), (1, 0));
    // Not settled, and yet the next delivery comes: the same message.
    let again = tokio::time::timeout(PATIENCE, consumer.next()).await.unwrap().unwrap();
    assert_eq!((number(&again.payload), again.redeliveries), (1, 1));
    assert_eq!(held.ack().await, Settlement::Lost);
    assert_eq!(again.ack().await, Settlement::Settled);
    assert_eq!(queue.depth(QUEUE).await.unwrap(), 0);
    assert_eq!(queue.dead_letter_depth(QUEUE).await.unwrap(), 0);
}
