//! A broker and a store with the proxies before them: where schedules run, one
//! after another.

use super::proxy::{Proxy, Weather};
use super::schedule::{Fault, Schedule};
use crate::locked;
use crate::processes::is_stopped;
use crate::servers::rabbitmq::REGISTERED_AFTER;
use crate::servers::{RabbitMq, S3, ServerError};
use anyhow::{Context, ensure};
use outshine_schemas::task::Class;
use outshine_store::Store;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// What an outage shows of itself; `None` where nobody felt it.
pub type Outage = JoinHandle<anyhow::Result<Option<String>>>;

struct Broker {
    server: RabbitMq,
    declared: Instant,
}

/// Servers that schedules share.
pub struct Lane {
    broker: Arc<Mutex<Broker>>,
    store: Arc<Mutex<S3>>,
    to_broker: Arc<Proxy>,
    to_store: Arc<Proxy>,
    /// The broker, the store's port, and what a process needs to use the store.
    broker_url: String,
    store_port: u16,
    environment: Vec<(&'static str, String)>,
    runtime: Runtime,
}

fn own(error: impl std::fmt::Display) -> ServerError {
    ServerError::Failed { reason: error.to_string() }
}

impl Lane {
    /// Starts the servers.
    ///
    /// # Errors
    /// As [`RabbitMq::start`] and [`S3::start`].
    pub fn start() -> Result<Self, ServerError> {
        let broker = RabbitMq::start()?;
        let store = S3::start()?;
        Ok(Self {
            to_broker: Arc::new(Proxy::start(broker.port()).map_err(own)?),
            to_store: Arc::new(Proxy::start(store.port()).map_err(own)?),
            broker_url: broker.url(),
            store_port: store.port(),
            environment: store.environment(),
            broker: Arc::new(Mutex::new(Broker { server: broker, declared: Instant::now() })),
            store: Arc::new(Mutex::new(store)),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(own)?,
        })
    }

    /// Where the processes of a schedule find the broker: behind the proxy only
    /// where the schedule disturbs the network, so that a dead broker refuses
    /// connections as one does. Heartbeats are short, for broken connections to
    /// be noticed within the schedule.
    #[must_use]
    pub fn queue_url(&self, schedule: &Schedule) -> String {
        let direct = &self.broker_url;
        let url = match (schedule.disturbs_network(), direct.rsplit_once(':')) {
            (true, Some((host, _))) => format!("{host}:{}", self.to_broker.port()),
            _ => direct.clone(),
        };
        format!("{url}/?heartbeat=4")
    }

    /// Where they keep the campaign.
    #[must_use]
    pub fn store_url(schedule: &Schedule) -> String {
        format!("s3://outshine/chaos-{}", schedule.seed)
    }

    /// What they need to open it; through the proxy only where writes are refused.
    #[must_use]
    pub fn environment(&self, schedule: &Schedule) -> Vec<(&'static str, String)> {
        let mut environment = self.environment.clone();
        if schedule.fills_store() {
            let (own, proxy) = (self.store_port.to_string(), self.to_store.port().to_string());
            for (name, value) in &mut environment {
                if *name == "AWS_ENDPOINT_URL" {
                    *value = value.replace(&own, &proxy);
                }
            }
        }
        environment
    }

    /// The store without a proxy, with what runs its calls.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn open(&self, schedule: &Schedule) -> anyhow::Result<Store> {
        let environment = self.environment.iter().map(|(k, v)| ((*k).to_owned(), v.clone()));
        let url = Self::store_url(schedule);
        Ok(self.block(outshine_store::open_with_environment(&url, environment))?)
    }

    /// Waits for what a future makes.
    pub fn block<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Clear weather and an empty queue, whatever the last schedule left behind.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub fn clean(&self) -> anyhow::Result<()> {
        self.to_broker.set(Weather::Clear);
        self.to_store.set(Weather::Clear);
        let mut broker = locked(&self.broker);
        self.block(async {
            let queue = outshine_broker::open(&self.broker_url).await?;
            for class in Class::ALL {
                queue.delete(&class.queue()).await?;
            }
            queue.declare(&Class::Fit.queue()).await
        })?;
        broker.declared = Instant::now();
        Ok(())
    }

    /// Messages that nobody will get any more.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub fn dead_letters(&self) -> anyhow::Result<u64> {
        let _alone = locked(&self.broker);
        Ok(self.block(async {
            let queue = outshine_broker::open(&self.broker_url).await?;
            queue.dead_letter_depth(&Class::Fit.queue()).await
        })?)
    }

    /// Begins an outage of a server or its network, which ends by itself. One of
    /// the same server waits for the one before it. `None` where the fault is of
    /// a process.
    #[must_use]
    pub fn begin(&self, fault: Fault) -> Option<Outage> {
        let (broker, store) = (self.broker.clone(), self.store.clone());
        let (to_broker, to_store) = (self.to_broker.clone(), self.to_store.clone());
        let url = self.broker_url.clone();
        let act: Box<dyn FnOnce() -> anyhow::Result<Option<String>> + Send> = match fault {
            Fault::KillBroker(lasts) => {
                Box::new(move || kill_broker(&mut locked(&broker), lasts, false, &url))
            }
            Fault::EmptyBroker(lasts) => {
                Box::new(move || kill_broker(&mut locked(&broker), lasts, true, &url))
            }
            Fault::StopBroker(lasts) => Box::new(move || {
                let broker = locked(&broker);
                let stopped = is_stopped(broker.server.signal("STOP")?);
                std::thread::sleep(lasts);
                broker.server.signal("CONT")?;
                Ok(stopped.then(|| "stopped and continued".to_owned()))
            }),
            Fault::KillStore(lasts) => Box::new(move || {
                let mut store = locked(&store);
                store.kill9()?;
                std::thread::sleep(lasts);
                store.restart()?;
                Ok(Some("killed and started again".to_owned()))
            }),
            Fault::StopStore(lasts) => Box::new(move || {
                let store = locked(&store);
                let stopped = is_stopped(store.signal("STOP")?);
                std::thread::sleep(lasts);
                store.signal("CONT")?;
                Ok(stopped.then(|| "stopped and continued".to_owned()))
            }),
            Fault::CutBroker(lasts) => {
                Box::new(move || Ok(weather(&to_broker, Weather::Cut, lasts, "connections closed")))
            }
            Fault::StallBroker(lasts) => {
                Box::new(move || Ok(weather(&to_broker, Weather::Stall, lasts, "connections held")))
            }
            Fault::StoreRefuses(lasts) => Box::new(move || {
                Ok(weather(&to_store, Weather::RefusePuts, lasts, "writes refused"))
            }),
            Fault::Kill(_) | Fault::Stop(..) | Fault::Point(..) => return None,
        };
        Some(std::thread::spawn(act))
    }
}

fn kill_broker(
    broker: &mut Broker,
    lasts: Duration,
    empty: bool,
    url: &str,
) -> anyhow::Result<Option<String>> {
    std::thread::sleep(REGISTERED_AFTER.saturating_sub(broker.declared.elapsed()));
    broker.server.kill9()?;
    if empty {
        broker.server.wipe()?;
    }
    std::thread::sleep(lasts);
    broker.server.restart()?;
    if !empty {
        return Ok(Some("killed and started again".to_owned()));
    }
    // Whoever comes first declares the queue again; from now on it is there.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime
        .block_on(async { outshine_broker::open(url).await?.declare(&Class::Fit.queue()).await })?;
    broker.declared = Instant::now();
    Ok(Some("killed, emptied and started again".to_owned()))
}

fn weather(proxy: &Proxy, weather: Weather, lasts: Duration, what: &str) -> Option<String> {
    let before = proxy.hits();
    proxy.set(weather);
    std::thread::sleep(lasts);
    proxy.set(Weather::Clear);
    let felt = proxy.hits() - before;
    (felt > 0).then(|| format!("{felt} {what}"))
}

/// Waits for the end of an outage.
///
/// # Errors
/// When a server did not come back.
pub fn ended(outage: Outage) -> anyhow::Result<Option<String>> {
    let ended = outage.join();
    ensure!(ended.is_ok(), "an outage panicked");
    ended.unwrap_or(Ok(None)).context("a server did not come back")
}
