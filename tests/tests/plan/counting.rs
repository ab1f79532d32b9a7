//! A store that counts its requests.

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use outshine_store::Store;
use std::fmt;
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

#[derive(Debug)]
struct Counting {
    inner: Arc<dyn ObjectStore>,
    made: Arc<Made>,
}

/// A new store in memory, and its count.
pub async fn counting() -> anyhow::Result<(Store, Arc<Made>)> {
    let store = outshine_store::open("memory:").await?;
    let (inner, prefix) = store.object_store();
    let made = Arc::new(Made::default());
    let counting = Counting { inner: inner.clone(), made: made.clone() };
    Ok((Store::new(Arc::new(counting), prefix.clone(), "counting:"), made))
}

impl fmt::Display for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("counting")
    }
}

#[async_trait]
impl ObjectStore for Counting {
    async fn put_opts(&self, at: &Path, what: PutPayload, how: PutOptions) -> Result<PutResult> {
        self.made.put.fetch_add(1, Ordering::Relaxed);
        self.inner.put_opts(at, what, how).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        how: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.made.put.fetch_add(1, Ordering::Relaxed);
        self.inner.put_multipart_opts(at, how).await
    }

    async fn get_opts(&self, at: &Path, how: GetOptions) -> Result<GetResult> {
        self.made.get.fetch_add(1, Ordering::Relaxed);
        self.inner.get_opts(at, how).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.made.list.fetch_add(1, Ordering::Relaxed);
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.made.list.fetch_add(1, Ordering::Relaxed);
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, how).await
    }
}
