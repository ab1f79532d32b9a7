//! One consumer on a channel of its own, subscribed again after the connection broke.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicNackOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Acker, Channel, Connection};

use super::link::{Link, Pause};
use super::topology;
use crate::{BrokerError, Consumer, Delivery, Settle, Settlement, Verdict};

pub(super) struct AmqpConsumer {
    link: Arc<Link>,
    queue: String,
    live: Option<Subscription>,
}

struct Subscription {
    /// Kept to tell a lost connection from a deleted queue, and to keep the connection open.
    connection: Arc<Connection>,
    channel: Channel,
    stream: lapin::Consumer,
}

impl AmqpConsumer {
    pub(super) async fn subscribe(link: Arc<Link>, queue: &str) -> Result<Self, BrokerError> {
        let mut consumer = Self { link, queue: queue.to_owned(), live: None };
        consumer.live = Some(consumer.open().await?);
        Ok(consumer)
    }

    async fn open(&self) -> Result<Subscription, BrokerError> {
        let started = Instant::now();
        let mut pause = Pause::default();
        loop {
            let connection = self.link.live().await?;
            let attempt = async {
                let channel = self.link.consumer_channel(&connection).await?;
                let stream = channel
                    .basic_consume(
                        self.queue.as_str().into(),
                        ShortString::default(),
                        BasicConsumeOptions::default(),
                        FieldTable::default(),
                    )
                    .await?;
                lapin::Result::Ok((channel, stream))
            };
            let error = match tokio::time::timeout(self.link.options.confirm_timeout, attempt).await
            {
                Ok(Ok((channel, stream))) => {
                    return Ok(Subscription { connection, channel, stream });
                }
                Ok(Err(error)) => self.link.classify(&self.queue, &error),
                Err(_) => BrokerError::Closed {
                    queue: self.queue.clone(),
                    reason: "no answer to the subscription".to_owned(),
                },
            };
            let out_of_time = started.elapsed() > self.link.options.reconnect_for;
            if out_of_time || !self.link.may_mend(&self.queue, &error).await {
                return Err(error);
            }
            pause.wait().await;
        }
    }
}

#[async_trait]
impl Consumer for AmqpConsumer {
    async fn next(&mut self) -> Result<Delivery, BrokerError> {
        loop {
            if self.live.is_none() {
                self.live = Some(self.open().await?);
            }
            let Some(live) = &mut self.live else { continue };
            let ended = match live.stream.next().await {
                Some(Ok(delivery)) => {
                    let redeliveries = topology::redeliveries(&delivery.properties);
                    let settle = Box::new(AmqpSettle { acker: delivery.acker });
                    return Ok(Delivery::new(Bytes::from(delivery.data), redeliveries, settle));
                }
                Some(Err(error)) => error.to_string(),
                None if live.channel.status().connected()
                    && live.connection.status().connected() =>
                {
                    let reason = "the queue was deleted on the broker".to_owned();
                    return Err(BrokerError::Closed { queue: self.queue.clone(), reason });
                }
                None => "the channel was closed".to_owned(),
            };
            tracing::warn!(queue = %self.queue, reason = %ended, "subscribing again");
            self.live = None;
        }
    }
}

impl Drop for AmqpConsumer {
    fn drop(&mut self) {
        if let Some(live) = &self.live {
            // Sends the close frame now, so that an unsettled delivery goes back at once.
            let _ = live.channel.close(200, "consumer dropped".into()).now_or_never();
        }
    }
}

struct AmqpSettle {
    acker: Acker,
}

#[async_trait]
impl Settle for AmqpSettle {
    async fn settle(self: Box<Self>, verdict: Verdict) -> Settlement {
        let nack = |requeue| BasicNackOptions { multiple: false, requeue };
        let outcome = match verdict {
            Verdict::Ack => self.acker.ack(BasicAckOptions::default()).await,
            Verdict::Retry => self.acker.nack(nack(true)).await,
            Verdict::Reject => self.acker.nack(nack(false)).await,
        };
        match outcome {
            Ok(true) => Settlement::Settled,
            // No error, and yet the channel that the delivery came on is gone.
            Ok(false) => Settlement::Lost,
            Err(error) => {
                tracing::warn!(%error, "delivery lost while settling it");
                Settlement::Lost
            }
        }
    }

    fn abandon(self: Box<Self>) {
        // The frame goes out on the first poll; where the channel is gone the broker has taken the
        // message back already.
        let options = BasicNackOptions { multiple: false, requeue: true };
        let _ = self.acker.nack(options).now_or_never();
    }
}
