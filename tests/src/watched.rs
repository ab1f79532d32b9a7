//! A store that is watched, request by request, and can be told to refuse some.

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

/// Kinds of requests that are watched; deletions and copies are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// A write.
    Put,
    /// A read, or the question whether an object is there.
    Get,
    /// A listing.
    List,
}

/// Sees every request with its path, before it is made; an error refuses a
/// write or a read.
pub type Watch = dyn Fn(Request, &str) -> Result<()> + Send + Sync;

struct Watched {
    inner: Arc<dyn ObjectStore>,
    watch: Box<Watch>,
}

/// The same store under another name, watched.
#[must_use]
pub fn watched(store: &Store, url: &str, watch: Box<Watch>) -> Store {
    let (inner, prefix) = store.object_store();
    Store::new(Arc::new(Watched { inner: inner.clone(), watch }), prefix.clone(), url)
}

impl Watched {
    fn listed(&self, prefix: Option<&Path>) {
        // A listing cannot be refused before it is read from.
        let _ = (self.watch)(Request::List, prefix.map_or("", |path| path.as_ref()));
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("watched")
    }
}

#[async_trait]
impl ObjectStore for Watched {
    async fn put_opts(&self, at: &Path, what: PutPayload, how: PutOptions) -> Result<PutResult> {
        (self.watch)(Request::Put, at.as_ref())?;
        self.inner.put_opts(at, what, how).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        how: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        (self.watch)(Request::Put, at.as_ref())?;
        self.inner.put_multipart_opts(at, how).await
    }

    async fn get_opts(&self, at: &Path, how: GetOptions) -> Result<GetResult> {
        (self.watch)(Request::Get, at.as_ref())?;
        self.inner.get_opts(at, how).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listed(prefix);
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.listed(prefix);
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, how).await
    }
}
