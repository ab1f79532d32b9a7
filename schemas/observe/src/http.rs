//! `/metrics`, `/health` and `/ready` over HTTP.

use crate::names;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How often old samples of histograms are put together.
const UPKEEP: Duration = Duration::from_secs(5);

/// What a process answers when it is asked how it is.
pub trait Wellbeing: Send + Sync + 'static {
    /// Whether it can go on at all; else it should be started anew.
    ///
    /// # Errors
    /// Why not.
    fn health(&self) -> Result<(), String> {
        Ok(())
    }

    /// Whether it can do its work now.
    ///
    /// # Errors
    /// Why not.
    fn ready(&self) -> Result<(), String>;

    /// Sets the gauges that hold only for the moment.
    fn measure(&self) {}
}

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address cannot be listened on.
    #[error("--http {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        error: std::io::Error,
    },
    /// The metrics cannot be collected.
    #[error("metrics: {0}")]
    Metrics(#[from] BuildError),
}

struct Served {
    metrics: PrometheusHandle,
    wellbeing: Arc<dyn Wellbeing>,
}

/// Serves `address` in the background, for as long as the process lives, and
/// returns the address itself (its port where 0 was asked for). Once per process.
///
/// # Errors
/// [`HttpError`].
pub async fn serve(
    address: SocketAddr,
    wellbeing: Arc<dyn Wellbeing>,
) -> Result<SocketAddr, HttpError> {
    let listen = |error| HttpError::Listen { address, error };
    let listener = tokio::net::TcpListener::bind(address).await.map_err(listen)?;
    let bound = listener.local_addr().map_err(listen)?;
    let seconds = Matcher::Full(names::WORKER_SECONDS.to_owned());
    let metrics = PrometheusBuilder::new()
        .set_buckets_for_metric(seconds, &names::BUCKETS)?
        .install_recorder()?;
    names::describe();
    let upkeep = metrics.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            upkeep.run_upkeep();
        }
    });
    let routes = Router::new()
        .route("/metrics", get(show_metrics))
        .route(
            "/health",
            get(|State(s): State<Arc<Served>>| async move { say(s.wellbeing.health()) }),
        )
        .route(
            "/ready",
            get(|State(s): State<Arc<Served>>| async move { say(s.wellbeing.ready()) }),
        )
        .with_state(Arc::new(Served { metrics, wellbeing }));
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, routes).await {
            tracing::error!(%error, "metrics are not served any more");
        }
    });
    tracing::info!(%bound, "serving /metrics, /health and /ready");
    Ok(bound)
}

async fn show_metrics(State(served): State<Arc<Served>>) -> impl IntoResponse {
    served.wellbeing.measure();
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    (kind, served.metrics.render())
}

fn say(answer: Result<(), String>) -> (StatusCode, String) {
    match answer {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    struct Half(AtomicBool);

    impl Wellbeing for Half {
        fn ready(&self) -> Result<(), String> {
            if self.0.load(Ordering::Relaxed) { Ok(()) } else { Err("no broker yet".to_owned()) }
        }

        fn measure(&self) {
            metrics::gauge!(names::PROGRESS_AGE).set(2.5);
        }
    }

    async fn ask(address: SocketAddr, path: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn a_process_says_how_it_is() {
        let half = Arc::new(Half(AtomicBool::new(false)));
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let address = serve(any, half.clone()).await.unwrap();
        metrics::counter!(names::LOST).increment(3);
        metrics::histogram!(names::WORKER_SECONDS, "stage" => "fit").record(2.0);
        assert!(ask(address, "/health").await.starts_with("HTTP/1.1 200"));
        let answer = ask(address, "/ready").await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("no broker yet"), "{answer}");
        half.0.store(true, Ordering::Relaxed);
        assert!(ask(address, "/ready").await.starts_with("HTTP/1.1 200"));
        let answer = ask(address, "/metrics").await;
        for line in [
            "outshine_settlements_lost_total 3",
            "outshine_worker_progress_age_seconds 2.5",
            "outshine_worker_task_seconds_bucket{stage=\"fit\",le=\"3\"} 1",
            "# TYPE outshine_worker_task_seconds histogram",
        ] {
            assert!(answer.contains(line), "no `{line}` in {answer}");
        }
        assert!(ask(address, "/nothing").await.starts_with("HTTP/1.1 404"));
        let taken = serve(address, half).await.unwrap_err().to_string();
        assert!(taken.contains(&address.to_string()), "{taken}");
    }
}
