//! What passes between a process and those who run it: logs, metrics, whether it
//! is well, and that it should stop.
//!
//! Any library counts with the macros of the crate `metrics`, by the names of
//! [`names`]; without [`http::serve`] nobody listens and counting costs nothing.

pub mod http;
pub mod lines;
pub mod names;

use tracing::Subscriber;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

pub use tracing_subscriber::EnvFilter;

/// Logs to standard error, as text or as one JSON object per line; `RUST_LOG`
/// overrides `level`.
pub fn start_logs(json: bool, level: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    logs(json, filter, std::io::stderr).init();
}

/// Logs to `writer`. A JSON object has the fields of a line under `fields`, and
/// those of the task that it belongs to, if any, under `span`. Whatever `filter`
/// leaves out, the last lines of each task are kept ([`lines::of_task`]).
pub fn logs<W>(json: bool, filter: EnvFilter, writer: W) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let kept = Registry::default().with(lines::Lines.with_filter(LevelFilter::INFO));
    let logs = tracing_subscriber::fmt::layer().with_writer(writer);
    if json {
        Box::new(kept.with(logs.json().with_span_list(false).with_filter(filter)))
    } else {
        Box::new(kept.with(logs.with_filter(filter)))
    }
}

/// Waits for SIGINT or SIGTERM.
pub async fn asked_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        },
        Err(_) => {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}
