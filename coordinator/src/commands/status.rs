//! `outshine status`.

use super::Place;
use anyhow::{Context, bail};
use clap::Args;
use outshine_broker::TaskQueue;
use outshine_coordinator::look::Look;
use outshine_coordinator::status::{Status, failed, queues};
use outshine_coordinator::touched::touched;
use outshine_store::Store;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Clears a terminal and goes to its top.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Arguments of `outshine status`.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Broker that is asked how many tasks wait: amqp://user:password@host:5672/vhost
    /// or amqps://... [default: none is asked].
    #[arg(long, env = "OUTSHINE_QUEUE", hide_env_values = true)]
    queue: Option<String>,
    /// Looks again every so many seconds (5, if no number is given), until the
    /// campaign is complete or cannot go on. Comes after the campaign file.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "5")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=86_400))]
    watch: Option<u64>,
    /// Prints one JSON object instead of text; with --watch one line per look.
    #[arg(long)]
    json: bool,
    /// Shows the last lines that each failed task logged.
    #[arg(long)]
    logs: bool,
}

pub async fn main(arguments: Arguments) -> anyhow::Result<()> {
    let (store, mut look) = arguments.place.look().await?;
    let queue = match arguments.queue.as_deref() {
        // A run on one machine keeps its queue to itself.
        None => None,
        Some(url) if url.starts_with("memory") => {
            bail!("--queue {url}: a queue in memory cannot be seen from another process")
        }
        Some(url) => Some(outshine_broker::open(url).await.context("opening the queue")?),
    };
    let redraw = arguments.watch.is_some() && !arguments.json && std::io::stdout().is_terminal();
    loop {
        let status = see(&store, &mut look, queue.as_ref()).await?;
        let text = match arguments.json {
            true => format!("{}\n", status.json(arguments.logs)),
            false => status.text(arguments.logs),
        };
        let clear = if redraw { CLEAR } else { "" };
        print!("{clear}{text}");
        std::io::stdout().flush()?;
        let Some(seconds) = arguments.watch else { return Ok(()) };
        if status.complete || look.graph().failure().is_some() {
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(seconds)) => {}
            () = outshine_observe::asked_to_stop() => return Ok(()),
        }
    }
}

async fn see(
    store: &Store,
    look: &mut Look,
    queue: Option<&Arc<dyn TaskQueue>>,
) -> anyhow::Result<Status> {
    look.refresh(store).await?;
    let queues = match queue {
        Some(queue) => queues(queue.as_ref()).await?,
        None => Vec::new(),
    };
    let galaxies = touched(store, look.graph(), &failed(look)).await?;
    Ok(Status::new(look, SystemTime::now(), &galaxies, queues))
}
