//! RabbitMQ through lapin: quorum queues, publisher confirms, at-least-once dead letters.
//!
//! Connections are made again here rather than by lapin's own recovery: after a restart the broker
//! may have lost its queues, a stale acknowledgement must come out as [`Settlement::Lost`], and how
//! long to try is ours to bound. A lost connection closes its channels for good; publishers repeat
//! what was not confirmed and consumers subscribe again on the new connection.
//!
//! [`Settlement::Lost`]: crate::Settlement::Lost

mod consumer;
mod link;
mod topology;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicPublishOptions, QueueDeclareOptions, QueueDeleteOptions,
    QueuePurgeOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation};

use crate::{BrokerError, Consumer, DeadLetter, Load, PUBLISH_WINDOW, Priority, TaskQueue};
use consumer::AmqpConsumer;
use link::Link;

/// A broker that was cut off within a second or so of the queue's declaration can come back with a
/// queue that never elects a leader: RabbitMQ does not sync the registration of a new queue to disk.
const NO_ANSWER: &str = "no answer in time; see with `rabbitmq-queues quorum_status` whether the queue \
     has a leader, and where it has none, delete the broker's data and run again";

/// How long the AMQP broker's slowness and absence are borne.
#[derive(Clone, Debug)]
pub struct AmqpOptions {
    /// For one attempt to connect, and for [`AmqpQueue::connect`] as a whole.
    pub connect_timeout: Duration,
    /// For getting a lost connection back before calls fail with
    /// [`BrokerError::Unreachable`].
    pub reconnect_for: Duration,
    /// For the confirm of one message before it is published again.
    pub confirm_timeout: Duration,
    /// Between heartbeats, in seconds, unless the URL says otherwise (`?heartbeat=30`).
    pub heartbeat_seconds: u16,
}

impl Default for AmqpOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            reconnect_for: Duration::from_secs(300),
            confirm_timeout: Duration::from_secs(60),
            heartbeat_seconds: 30,
        }
    }
}

/// The priority of messages that go first: a quorum queue of RabbitMQ 4.0 and later
/// knows two, above 4 and the rest; earlier ones take no notice.
const HIGH: u8 = 5;

/// Task queues on a RabbitMQ broker. One connection, opened again when lost; one channel to publish
/// on and one per consumer.
#[derive(Debug)]
pub struct AmqpQueue {
    link: Arc<Link>,
}

impl AmqpQueue {
    /// Connects, or says within [`AmqpOptions::connect_timeout`] why not.
    pub async fn connect(url: &str, options: AmqpOptions) -> Result<Self, BrokerError> {
        Ok(Self { link: Arc::new(Link::open(url, options).await?) })
    }

    /// Publishes on one channel; gives back what was not confirmed, with the last error.
    async fn publish_round(
        &self,
        queue: &str,
        channel: &Channel,
        payloads: Vec<Bytes>,
        priority: Priority,
    ) -> (Vec<Bytes>, Option<BrokerError>) {
        let mut outcomes = futures::stream::iter(payloads)
            .map(|payload| {
                async move {
                    let outcome = self.publish_one(queue, channel, &payload, priority).await;
                    (payload, outcome)
                }
                .boxed()
            })
            .buffered(PUBLISH_WINDOW);
        let mut unconfirmed = Vec::new();
        let mut last_error = None;
        while let Some((payload, outcome)) = outcomes.next().await {
            match outcome {
                Ok(()) => outshine_fault::point(outshine_fault::PUBLISHING),
                Err(error) => {
                    unconfirmed.push(payload);
                    last_error = Some(error);
                }
            }
        }
        (unconfirmed, last_error)
    }

    /// What the queue `name` has, which belongs to the task queue `queue`.
    async fn look(&self, queue: &str, name: String) -> Result<Load, BrokerError> {
        self.link
            .on_channel(queue, move |channel| {
                let name = name.clone();
                async move {
                    let options =
                        QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
                    let state = channel
                        .queue_declare(name.as_str().into(), options, FieldTable::default())
                        .await?;
                    let waiting = u64::from(state.message_count());
                    Ok(Load { waiting, consumers: u64::from(state.consumer_count()) })
                }
                .boxed()
            })
            .await
    }

    async fn publish_one(
        &self,
        queue: &str,
        channel: &Channel,
        payload: &[u8],
        priority: Priority,
    ) -> Result<(), BrokerError> {
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_content_type("application/octet-stream".into());
        let properties = match priority {
            Priority::Normal => properties,
            Priority::High => properties.with_priority(HIGH),
        };
        let unconfirmed =
            |reason: String| BrokerError::Unconfirmed { queue: queue.to_owned(), reason };
        let publish = async {
            channel
                .basic_publish(
                    ShortString::default(),
                    queue.into(),
                    // An unroutable message comes back rather than vanish.
                    BasicPublishOptions { mandatory: true, immediate: false },
                    payload,
                    properties,
                )
                .await?
                .await
        };
        let confirmation = tokio::time::timeout(self.link.options.confirm_timeout, publish)
            .await
            .map_err(|_| unconfirmed(NO_ANSWER.to_owned()))?
            .map_err(|error| self.link.classify(queue, &error))?;
        match confirmation {
            Confirmation::Ack(None) => Ok(()),
            // A returned message is acked too: the broker has done with it, nobody has it.
            Confirmation::Ack(Some(_)) => {
                Err(BrokerError::UnknownQueue { queue: queue.to_owned() })
            }
            Confirmation::Nack(_) => Err(unconfirmed("refused; the queue may be full".to_owned())),
            Confirmation::NotRequested => Err(unconfirmed("confirms are off".to_owned())),
        }
    }
}

#[async_trait]
impl TaskQueue for AmqpQueue {
    async fn declare(&self, queue: &str) -> Result<(), BrokerError> {
        let name = queue.to_owned();
        self.link
            .on_channel(queue, move |channel| {
                let name = name.clone();
                async move { topology::declare(&channel, &name).await }.boxed()
            })
            .await?;
        self.link.remember(queue).await;
        Ok(())
    }

    async fn publish(&self, queue: &str, payload: Bytes) -> Result<(), BrokerError> {
        self.publish_all(queue, vec![payload], Priority::Normal).await
    }

    async fn publish_all(
        &self,
        queue: &str,
        payloads: Vec<Bytes>,
        priority: Priority,
    ) -> Result<(), BrokerError> {
        let mut waiting = payloads;
        let mut last_progress = Instant::now();
        let mut pause = link::Pause::default();
        while !waiting.is_empty() {
            let channel = self.link.publisher(queue).await?;
            let before = waiting.len();
            let (unconfirmed, error) = self.publish_round(queue, &channel, waiting, priority).await;
            waiting = unconfirmed;
            let Some(error) = error else {
                break;
            };
            // A channel with unanswered publishes is of no more use.
            self.link.retire_publisher(&channel).await;
            if waiting.len() < before {
                last_progress = Instant::now();
            }
            let out_of_time = last_progress.elapsed() > self.link.options.reconnect_for;
            if out_of_time || !self.link.may_mend(queue, &error).await {
                return Err(error);
            }
            tracing::warn!(queue, unconfirmed = waiting.len(), %error, "publishing again");
            pause.wait().await;
        }
        Ok(())
    }

    async fn load(&self, queue: &str) -> Result<Load, BrokerError> {
        self.look(queue, queue.to_owned()).await
    }

    async fn dead_letter_depth(&self, queue: &str) -> Result<u64, BrokerError> {
        Ok(self.look(queue, topology::dead_letter_queue(queue)).await?.waiting)
    }

    async fn dead_letters(&self, queue: &str, max: usize) -> Result<Vec<DeadLetter>, BrokerError> {
        let dead = topology::dead_letter_queue(queue);
        self.link
            .on_channel(queue, move |channel| {
                let dead = dead.clone();
                async move { take_dead_letters(&channel, &dead, max).await }.boxed()
            })
            .await
    }

    async fn consume(&self, queue: &str) -> Result<Box<dyn Consumer>, BrokerError> {
        Ok(Box::new(AmqpConsumer::subscribe(self.link.clone(), queue).await?))
    }

    async fn purge(&self, queue: &str) -> Result<u64, BrokerError> {
        let name = queue.to_owned();
        self.link
            .on_channel(queue, move |channel| {
                let name = name.clone();
                async move {
                    let options = QueuePurgeOptions::default();
                    Ok(u64::from(channel.queue_purge(name.as_str().into(), options).await?))
                }
                .boxed()
            })
            .await
    }

    async fn delete(&self, queue: &str) -> Result<(), BrokerError> {
        self.link.forget(queue).await;
        let names = [queue.to_owned(), topology::dead_letter_queue(queue)];
        self.link
            .on_channel(queue, move |channel| {
                let names = names.clone();
                async move {
                    for name in &names {
                        let options = QueueDeleteOptions::default();
                        channel.queue_delete(name.as_str().into(), options).await?;
                    }
                    Ok(())
                }
                .boxed()
            })
            .await
    }
}

async fn take_dead_letters(
    channel: &Channel,
    dead: &str,
    max: usize,
) -> lapin::Result<Vec<DeadLetter>> {
    let mut letters = Vec::new();
    while letters.len() < max {
        let options = BasicGetOptions { no_ack: false };
        let Some(message) = channel.basic_get(dead.into(), options).await? else {
            break;
        };
        let letter = DeadLetter {
            reason: topology::dead_reason(&message.delivery.properties),
            payload: Bytes::from(message.delivery.data.clone()),
        };
        // A letter whose ack is lost stays with the broker and is taken next time.
        if message.delivery.ack(BasicAckOptions::default()).await? {
            letters.push(letter);
        }
    }
    Ok(letters)
}
