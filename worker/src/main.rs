//! The binary `outshine-worker`: does tasks from a queue until it is stopped.

use anyhow::{Context, bail};
use clap::Parser;
use outshine_schemas::task::Class;
use outshine_worker::runtime::{self, Consumers, Settings, board::Board};
use outshine_worker::stages::Stages;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Does the tasks of Outshine campaigns. Stateless: start and stop as many as
/// you like, at any time. SIGTERM or SIGINT finishes the tasks in hand; a
/// second one stops at once, and the tasks go to other workers.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Broker: amqp://user:password@host:5672/vhost or amqps://...
    #[arg(long, env = "OUTSHINE_QUEUE", hide_env_values = true)]
    queue: String,
    /// Store: a folder, file:///path or s3://bucket/prefix.
    #[arg(long, env = "OUTSHINE_STORE")]
    store: String,
    /// Whose tasks to do: fit, or train where the campaign's run has
    /// `--own-queue train`.
    #[arg(long, env = "OUTSHINE_CLASS", default_value = "fit")]
    class: Class,
    /// Tasks done at a time [default: number of cores].
    #[arg(long, env = "OUTSHINE_SLOTS")]
    slots: Option<usize>,
    /// Threads that one task may use, where it can [default: number of cores].
    #[arg(long, env = "OUTSHINE_THREADS")]
    threads: Option<usize>,
    /// Name in commit records and logs [default: host name and process id].
    #[arg(long, env = "OUTSHINE_WORKER_NAME")]
    name: Option<String>,
    /// Seconds that a lost broker is waited for.
    #[arg(long, env = "OUTSHINE_PATIENCE_SECONDS", default_value_t = 300)]
    patience_seconds: u64,
    /// Seconds after which a task that makes no progress counts as hung: the
    /// worker gives up, and its tasks go to others.
    #[arg(long, env = "OUTSHINE_HANG_SECONDS", default_value_t = runtime::HANG.as_secs())]
    hang_seconds: u64,
    /// Address that answers /metrics, /health and /ready, such as 0.0.0.0:9090
    /// [default: none].
    #[arg(long, env = "OUTSHINE_HTTP")]
    http: Option<SocketAddr>,
    /// Logs as JSON, one object per line.
    #[arg(long, env = "OUTSHINE_JSON_LOGS")]
    json_logs: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    outshine_observe::start_logs(arguments.json_logs, "info");
    if arguments.queue.starts_with("memory") {
        bail!(
            "--queue {}: a queue in memory cannot be shared with another process; give the \
               coordinator's amqp:// address",
            arguments.queue
        );
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let slots = arguments.slots.unwrap_or(cores);
    if slots == 0 {
        bail!("--slots 0: a worker needs at least one slot");
    }
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "worker".to_owned());
    let settings = Settings {
        name: arguments.name.unwrap_or_else(|| format!("{host}:{}", std::process::id())),
        slots,
        class: arguments.class,
        threads: arguments.threads.unwrap_or(cores).max(1),
        patience: Duration::from_secs(arguments.patience_seconds),
        hang: Duration::from_secs(arguments.hang_seconds.max(1)),
        board: Board::default(),
        consumers: Consumers::default(),
        kernel: Arc::new(Stages::default()),
        new_id: runtime::random_ids(),
    };
    if let Some(address) = arguments.http {
        outshine_observe::http::serve(address, Arc::new(settings.clone())).await?;
    }
    let store = outshine_store::open(&arguments.store).await.context("opening the store")?;
    let queue = outshine_broker::open(&arguments.queue).await.context("opening the queue")?;
    tracing::info!(name = %settings.name, slots, "worker ready");
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        outshine_observe::asked_to_stop().await;
        tracing::info!("stopping after the tasks in hand");
        // Fails only when the worker has ended already.
        let _ = stop.send(true);
        outshine_observe::asked_to_stop().await;
        tracing::warn!("stopping at once");
        std::process::exit(130);
    });
    if let Err(error) = runtime::run(queue, store, settings, stopped).await {
        tracing::error!(%error, "the worker ends");
        // At once: returning would wait for computations in hand, one of which may hang.
        std::process::exit(1);
    }
    Ok(())
}
