//! What passes between a process and those who run it: logs, metrics, whether it
//! is well, and that it should stop.
//!
//! Any library counts with the macros of the crate `metrics`, by the names of
//! [`names`]; without [`http::serve`] nobody listens and counting costs nothing.

pub mod http;
pub mod names;

/// Logs to standard error, as text or as one JSON object per line; `RUST_LOG`
/// overrides `level`.
pub fn start_logs(json: bool, level: &str) {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if json { logs.json().init() } else { logs.init() }
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
