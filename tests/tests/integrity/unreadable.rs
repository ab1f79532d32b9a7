//! A store that does not hand out an object, or nothing at all.

use super::Copy;
use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use outshine_coordinator::verify::{Kind, mend, verify};
use outshine_store::Store;
use outshine_tests::processes::files;
use std::fmt;
use std::sync::Arc;

/// Fails to read what has `part` in its path, with `words`.
#[derive(Debug)]
struct Refusing {
    inner: Arc<dyn ObjectStore>,
    part: String,
    words: &'static str,
}

impl fmt::Display for Refusing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("refusing")
    }
}

#[async_trait]
impl ObjectStore for Refusing {
    async fn put_opts(&self, at: &Path, what: PutPayload, how: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(at, what, how).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        how: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, how).await
    }

    async fn get_opts(&self, at: &Path, how: GetOptions) -> Result<GetResult> {
        if at.as_ref().contains(&self.part) {
            return Err(Error::Generic { store: "refusing", source: self.words.into() });
        }
        self.inner.get_opts(at, how).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, how).await
    }
}

fn refusing(copy: &Copy, part: &str, words: &'static str) -> Store {
    let (inner, prefix) = copy.store.object_store();
    let (inner, part) = (inner.clone(), part.to_owned());
    Store::new(Arc::new(Refusing { inner, part, words }), prefix.clone(), "refusing:")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_cannot_be_read_is_named_and_left_alone() -> anyhow::Result<()> {
    let copy = Copy::new().await?;
    let before = copy.objects()?;
    for (below, part) in
        [("data/fit", "samples"), ("commits/reduce", ""), ("plan", "train"), ("", "campaign.json")]
    {
        let path = if below.is_empty() { copy.layout.campaign() } else { copy.first(below, part)? };
        let store = refusing(&copy, &path, "Input/output error (os error 5)");
        let report = verify(&store, &copy.campaign, &mut |_| {}).await?;
        let damage: Vec<_> = report.damage().collect();
        let [finding] = &damage[..] else { panic!("{path}: {report:?}") };
        assert_eq!((finding.kind, &finding.path), (Kind::Unreadable, &path));
        assert!(finding.meaning.contains("Input/output error"), "{finding}");
        assert!(!finding.is_mended());
        assert_eq!(mend(&copy.store, &report).await?, 0, "{path}");
    }
    assert_eq!(files(copy.folder.path())?, before);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_gone_ends_the_walk_where_it_was() -> anyhow::Result<()> {
    let copy = Copy::new().await?;
    let path = copy.first("data/fit", "samples")?;
    let store = refusing(&copy, &path, "<Code>NoSuchBucket</Code>");
    let error = verify(&store, &copy.campaign, &mut |_| {}).await.unwrap_err().to_string();
    assert!(error.contains(&path) && error.contains("refusing:"), "{error}");
    Ok(())
}
