//! The simulated object store: one place, reached by each process through its
//! own wire. Single operations stay atomic, as on any real store.

use super::Sabotage;
use super::faults::Fault;
use super::process::Wire;
use super::world::Peer;
use crate::locked;
use async_trait::async_trait;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use std::fmt;

/// The store as one process reaches it.
#[derive(Clone, Debug)]
pub struct SimStore(pub Wire);

fn failed(why: &'static str) -> Error {
    Error::Generic { store: "simulated", source: why.into() }
}

/// The outcome of an operation on the objects, which never waits.
fn at_once<T>(operation: impl Future<Output = Result<T>>) -> Result<T> {
    operation.now_or_never().unwrap_or_else(|| Err(failed("the memory waits")))
}

fn delete(objects: &InMemory, path: Path) -> Result<()> {
    let one = stream::once(async { Ok(path) }).boxed();
    at_once(objects.delete_stream(one).try_collect::<Vec<_>>()).map(drop)
}

impl SimStore {
    fn write(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let (world, path) = (&self.0.world, location.as_ref());
        if world.sabotage == Some(Sabotage::ForgetsLosses) && path.contains("/losses/") {
            return Ok(PutResult { e_tag: None, version: None, extensions: Default::default() });
        }
        let result = at_once(world.objects.put_opts(location, payload, options));
        self.check(path);
        if world.sabotage == Some(Sabotage::CompactionDeletes) && path.contains("/commits/") {
            self.compact(path);
        }
        result
    }

    /// Holds the commit records against how they were first seen.
    fn check(&self, path: &str) {
        if !path.contains("/commits/") {
            return;
        }
        let world = &self.0.world;
        let now = world.peek(path);
        let mut commits = locked(&world.commits);
        match (commits.get(path), now) {
            (None, Some(now)) => {
                commits.insert(path.to_owned(), now);
            }
            (Some(before), now) if now.as_ref() != Some(before) => {
                let how = if now.is_some() { "changed" } else { "vanished" };
                drop(commits);
                world.violated(format!("the commit {} {how}", world.short(path)));
            }
            _ => {}
        }
    }

    /// The planted compaction: once a stage has a second commit, they are put
    /// into an index and deleted.
    fn compact(&self, path: &str) {
        let Some((folder, _)) = path.rsplit_once('/') else { return };
        let world = &self.0.world;
        let folder = format!("{folder}/");
        let known: Vec<String> =
            locked(&world.commits).keys().filter(|p| p.starts_with(&folder)).cloned().collect();
        if known.len() < 2 {
            return;
        }
        for commit in known {
            let _ = delete(&world.objects, Path::from(commit.as_str()));
            self.check(&commit);
        }
    }
}

impl fmt::Display for SimStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the store of {}", self.0.life.name)
    }
}

#[async_trait]
impl ObjectStore for SimStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        mut options: PutOptions,
    ) -> Result<PutResult> {
        let path = location.as_ref();
        let world = &self.0.world;
        if world.sabotage == Some(Sabotage::NoCreateOnly) {
            options.mode = PutMode::Overwrite;
        }
        let what = format!("put {}", world.short(path));
        if world.strikes(Fault::LatePut) {
            let (store, location) = (self.clone(), location.clone());
            tokio::spawn(async move {
                let world = &store.0.world;
                tokio::time::sleep(world.random(|r| r.millis(1_000, 40_000))).await;
                world.note("store", &format!("{what}: late"));
                let _ = store.write(&location, payload, options);
            });
            tokio::time::sleep(world.random(|r| r.millis(100, 5_000))).await;
            return Err(failed("timed out"));
        }
        let effect = || self.write(location, payload, options);
        let outcome = self.0.pass(Peer::Store, &what, effect, failed).await;
        match outcome {
            Err(Error::Generic { .. }) if world.sabotage == Some(Sabotage::SwallowedError) => {
                Ok(PutResult { e_tag: None, version: None, extensions: Default::default() })
            }
            outcome => outcome,
        }
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(Error::NotImplemented {
            operation: "multipart".into(),
            implementer: "simulated".into(),
        })
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let word = if options.head { "head" } else { "get" };
        let what = format!("{word} {}", self.0.world.short(location.as_ref()));
        let effect = || at_once(self.0.world.objects.get_opts(location, options));
        self.0.pass(Peer::Store, &what, effect, failed).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let delete = move |location: Result<Path>| {
            let store = store.clone();
            async move {
                let location = location?;
                let what = format!("delete {}", store.0.world.short(location.as_ref()));
                let effect = || {
                    delete(&store.0.world.objects, location.clone())?;
                    store.check(location.as_ref());
                    Ok(location.clone())
                };
                store.0.pass(Peer::Store, &what, effect, failed).await
            }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.cloned());
        let listing = async move {
            let name = prefix.as_ref().map_or("", |p| p.as_ref());
            let what = format!("list {}", store.0.world.short(name));
            let effect = || {
                let found = store.0.world.objects.list(prefix.as_ref());
                at_once(found.try_collect::<Vec<_>>())
            };
            let found = store.0.pass(Peer::Store, &what, effect, failed).await?;
            Ok::<_, Error>(stream::iter(found.into_iter().map(Ok)))
        };
        stream::once(listing).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        Err(Error::NotImplemented { operation: "folders".into(), implementer: "simulated".into() })
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let what = format!("copy {}", self.0.world.short(to.as_ref()));
        let effect = || {
            let result = at_once(self.0.world.objects.copy_opts(from, to, options));
            self.check(to.as_ref());
            result
        };
        self.0.pass(Peer::Store, &what, effect, failed).await
    }
}
