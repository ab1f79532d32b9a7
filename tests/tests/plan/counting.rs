//! A store that counts its requests.

use outshine_store::Store;
use outshine_tests::watched::{Request, watched};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How often each kind of request was made.
#[derive(Debug, Default)]
pub struct Made {
    /// Writes.
    pub put: AtomicU64,
    /// Reads.
    pub get: AtomicU64,
    /// Listings.
    pub list: AtomicU64,
}

/// A new store in memory, and its count.
pub async fn counting() -> anyhow::Result<(Store, Arc<Made>)> {
    let made = Arc::new(Made::default());
    let count = made.clone();
    let watch = move |request: Request, _: &str| {
        let kind = match request {
            Request::Put => &count.put,
            Request::Get => &count.get,
            Request::List => &count.list,
        };
        kind.fetch_add(1, Ordering::Relaxed);
        Ok(())
    };
    let store = outshine_store::open("memory:").await?;
    Ok((watched(&store, "counting:", Box::new(watch)), made))
}
