//! The connection: made, watched, made again.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use lapin::options::{BasicQosOptions, ConfirmSelectOptions};
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties, ErrorKind};
use tokio::sync::Mutex;

use super::{AmqpOptions, topology};
use crate::{BrokerError, ErrorClass, without_password};

/// A pause that doubles from a tenth of a second to five seconds.
#[derive(Debug)]
pub(super) struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(Duration::from_millis(100))
    }
}

impl Pause {
    pub(super) async fn wait(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(Duration::from_secs(5));
    }
}

/// The connection to one broker and what must exist on it.
pub(super) struct Link {
    uri: AMQPUri,
    /// The URL without its password.
    shown: String,
    pub(super) options: AmqpOptions,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connection: Option<Arc<Connection>>,
    publisher: Option<Channel>,
    /// Queues to declare again on a new connection.
    declared: BTreeSet<String>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("url", &self.shown).finish_non_exhaustive()
    }
}

impl Link {
    pub(super) async fn open(url: &str, options: AmqpOptions) -> Result<Self, BrokerError> {
        let shown = without_password(url);
        let mut uri: AMQPUri = url.parse().map_err(|reason: String| BrokerError::BadUrl {
            url: shown.clone(),
            reason: reason.replace(url, &shown),
        })?;
        // A URL that ends in a slash names a vhost of no name, which no broker
        // has; the default one is meant.
        if uri.vhost.is_empty() {
            uri.vhost = "/".to_owned();
        }
        uri.query.heartbeat.get_or_insert(options.heartbeat_seconds);
        let link = Self { uri, shown, options, state: Mutex::default() };
        let connection = link.connect_once().await?;
        link.state.lock().await.connection = Some(Arc::new(connection));
        Ok(link)
    }

    async fn connect_once(&self) -> Result<Connection, BrokerError> {
        let properties = ConnectionProperties::default().with_connection_name("outshine".into());
        let attempt = Connection::connect_uri(self.uri.clone(), properties);
        match tokio::time::timeout(self.options.connect_timeout, attempt).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(self.connect_error(&error)),
            Err(_) => Err(self.unreachable(self.options.connect_timeout, "no answer".to_owned())),
        }
    }

    fn unreachable(&self, tried: Duration, reason: String) -> BrokerError {
        BrokerError::Unreachable { url: self.shown.clone(), seconds: tried.as_secs_f64(), reason }
    }

    fn connect_error(&self, error: &lapin::Error) -> BrokerError {
        let refused = match error.kind() {
            ErrorKind::ProtocolError(amqp) => matches!(
                amqp.kind(),
                AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED)
                    | AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED)
            ),
            ErrorKind::AuthProviderError(_) => true,
            _ => false,
        };
        if refused {
            return BrokerError::AccessRefused {
                url: self.shown.clone(),
                reason: error.to_string(),
            };
        }
        self.unreachable(self.options.connect_timeout, error.to_string())
    }

    /// The live connection, made again and furnished with the known queues where it was lost.
    async fn connection(&self, state: &mut State) -> Result<Arc<Connection>, BrokerError> {
        if let Some(connection) = &state.connection {
            if connection.status().connected() {
                return Ok(connection.clone());
            }
            tracing::warn!(url = %self.shown, "connection to the message broker lost");
            state.connection = None;
            state.publisher = None;
        }
        let started = Instant::now();
        let mut pause = Pause::default();
        loop {
            let error = match self.connect_again(&state.declared).await {
                Ok(connection) => {
                    let connection = Arc::new(connection);
                    state.connection = Some(connection.clone());
                    tracing::info!(url = %self.shown, "connected to the message broker again");
                    // `outshine_observe::names::RECONNECTS`.
                    metrics::counter!("outshine_broker_reconnects_total").increment(1);
                    return Ok(connection);
                }
                Err(error) => error,
            };
            if error.class() == ErrorClass::Permanent {
                return Err(error);
            }
            if started.elapsed() > self.options.reconnect_for {
                return Err(self.unreachable(started.elapsed(), error.to_string()));
            }
            pause.wait().await;
        }
    }

    async fn connect_again(&self, queues: &BTreeSet<String>) -> Result<Connection, BrokerError> {
        let connection = self.connect_once().await?;
        self.furnish(&connection, queues).await?;
        Ok(connection)
    }

    async fn furnish(
        &self,
        connection: &Connection,
        queues: &BTreeSet<String>,
    ) -> Result<(), BrokerError> {
        for queue in queues {
            let declared = async {
                let channel = connection.create_channel().await?;
                topology::declare(&channel, queue).await
            };
            match tokio::time::timeout(self.options.confirm_timeout, declared).await {
                Ok(Ok(())) => {}
                // A broker that has just come up may not know its queues yet: that mends itself.
                Ok(Err(error)) => match self.classify(queue, &error) {
                    BrokerError::UnknownQueue { .. } => {
                        return Err(self.unreachable(Duration::ZERO, error.to_string()));
                    }
                    other => return Err(other),
                },
                Err(_) => {
                    let reason = format!("no answer to declaring queue `{queue}`");
                    return Err(self.unreachable(self.options.confirm_timeout, reason));
                }
            }
        }
        Ok(())
    }

    pub(super) async fn remember(&self, queue: &str) {
        self.state.lock().await.declared.insert(queue.to_owned());
    }

    pub(super) async fn forget(&self, queue: &str) {
        self.state.lock().await.declared.remove(queue);
    }

    /// Whether another try can succeed: by itself, or because a queue that we declared has been
    /// declared again here.
    pub(super) async fn may_mend(&self, queue: &str, error: &BrokerError) -> bool {
        if !matches!(error, BrokerError::UnknownQueue { .. }) {
            return error.class() == ErrorClass::Retry;
        }
        let mut state = self.state.lock().await;
        if !state.declared.contains(queue) {
            return false;
        }
        let Ok(connection) = self.connection(&mut state).await else {
            return false;
        };
        drop(state);
        match self.furnish(&connection, &BTreeSet::from([queue.to_owned()])).await {
            Ok(()) => true,
            Err(error) => error.class() == ErrorClass::Retry,
        }
    }

    /// Runs `op` on a channel of its own, again on a new connection where the old one broke.
    /// `op` must bear being repeated.
    pub(super) async fn on_channel<T>(
        &self,
        queue: &str,
        op: impl Fn(Channel) -> BoxFuture<'static, lapin::Result<T>> + Send + Sync,
    ) -> Result<T, BrokerError> {
        let started = Instant::now();
        let mut pause = Pause::default();
        loop {
            let connection = self.connection(&mut *self.state.lock().await).await?;
            let attempt = async {
                let channel = connection.create_channel().await?;
                op(channel).await
            };
            let error = match tokio::time::timeout(self.options.confirm_timeout, attempt).await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(error)) => self.classify(queue, &error),
                Err(_) => self.unreachable(self.options.confirm_timeout, "no answer".to_owned()),
            };
            let out_of_time = started.elapsed() > self.options.reconnect_for;
            if out_of_time || !self.may_mend(queue, &error).await {
                return Err(error);
            }
            tracing::debug!(queue, %error, "asking the message broker again");
            pause.wait().await;
        }
    }

    /// The channel to publish on, with confirms.
    pub(super) async fn publisher(&self, queue: &str) -> Result<Channel, BrokerError> {
        let started = Instant::now();
        let mut pause = Pause::default();
        loop {
            let mut state = self.state.lock().await;
            let connection = self.connection(&mut state).await?;
            if let Some(channel) = state.publisher.as_ref().filter(|c| c.status().connected()) {
                return Ok(channel.clone());
            }
            let attempt = async {
                let channel = connection.create_channel().await?;
                channel.confirm_select(ConfirmSelectOptions::default()).await?;
                Ok(channel)
            };
            let error = match tokio::time::timeout(self.options.confirm_timeout, attempt).await {
                Ok(Ok(channel)) => {
                    state.publisher = Some(channel.clone());
                    return Ok(channel);
                }
                Ok(Err(error)) => self.classify(queue, &error),
                Err(_) => self.unreachable(self.options.confirm_timeout, "no answer".to_owned()),
            };
            drop(state);
            if error.class() == ErrorClass::Permanent
                || started.elapsed() > self.options.reconnect_for
            {
                return Err(error);
            }
            pause.wait().await;
        }
    }

    /// Stops using this channel for publishing.
    pub(super) async fn retire_publisher(&self, channel: &Channel) {
        let mut state = self.state.lock().await;
        if state.publisher.as_ref().is_some_and(|current| current.id() == channel.id()) {
            state.publisher = None;
        }
    }

    /// A new channel that holds one delivery at a time.
    pub(super) async fn consumer_channel(&self, connection: &Connection) -> lapin::Result<Channel> {
        let channel = connection.create_channel().await?;
        channel.basic_qos(1, BasicQosOptions::default()).await?;
        Ok(channel)
    }

    /// The live connection, for a consumer.
    pub(super) async fn live(&self) -> Result<Arc<Connection>, BrokerError> {
        self.connection(&mut *self.state.lock().await).await
    }

    /// What a failed call on an open connection means for the caller.
    pub(super) fn classify(&self, queue: &str, error: &lapin::Error) -> BrokerError {
        let queue = queue.to_owned();
        let url = self.shown.clone();
        let reason = error.to_string();
        let ErrorKind::ProtocolError(amqp) = error.kind() else {
            let class =
                if error.can_be_recovered() { ErrorClass::Retry } else { ErrorClass::Permanent };
            return BrokerError::Protocol { url, reason, class };
        };
        match amqp.kind() {
            AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => BrokerError::UnknownQueue { queue },
            AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) => {
                BrokerError::Mismatch { queue, reason }
            }
            AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED)
            | AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) => {
                BrokerError::AccessRefused { url, reason }
            }
            _ => BrokerError::Protocol { url, reason, class: ErrorClass::Retry },
        }
    }
}
