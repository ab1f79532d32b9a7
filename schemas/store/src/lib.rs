//! The store seam: objects by path, in a folder, in S3 or in memory.
//!
//! The contract, kept on every kind of store and checked by [`conformance`]:
//!
//! - An object appears whole or not at all; readers never see part of one.
//! - [`Store::put_new`] creates an object or says that it exists. Of any number of racing calls one
//!   creates.
//! - What a call has written is read and listed by every later call, of any process.
//! - In a folder, a returned write has been synced to disk together with its folder entries.
//!
//! Paths are relative to the store's root; [`layout::Layout`] makes them all.

pub mod commit;
pub mod conformance;
mod error;
pub mod index;
pub mod layout;
mod open;
pub mod parquet;
mod table;

use std::collections::BTreeSet;
use std::io::Read;
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{
    GetResult, GetResultPayload, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
};
use outshine_schemas::FORMAT_VERSION;
use outshine_schemas::digest::{Digest, Hasher};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use error::{ErrorClass, StoreError};
pub use open::{open, open_existing, open_with_environment};
pub use table::Table;

/// What [`Store::put_new`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum PutNew {
    /// The object was not there and is now.
    Created,
    /// The object was there and is unchanged.
    AlreadyExists,
}

/// An object in a listing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Its path, relative to the store's root.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// When it was written, by the store's clock.
    pub modified: SystemTime,
}

/// A place for objects. Cheap to clone; clones share the place.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<dyn ObjectStore>,
    prefix: Path,
    url: Arc<str>,
}

impl Store {
    /// A store on top of any object store; `url` is what error messages call it.
    pub fn new(inner: Arc<dyn ObjectStore>, prefix: Path, url: &str) -> Self {
        Self { inner, prefix, url: url.into() }
    }

    /// What the store was opened as.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The object store below and the path in it that our paths are relative to.
    pub fn object_store(&self) -> (&Arc<dyn ObjectStore>, &Path) {
        (&self.inner, &self.prefix)
    }

    fn full(&self, path: &str) -> Result<Path, StoreError> {
        let bad = |reason: String| StoreError::BadPath { path: path.to_owned(), reason };
        if path.is_empty() {
            return Err(bad("empty".to_owned()));
        }
        let path = Path::parse(path).map_err(|error| bad(error.to_string()))?;
        Ok(self.prefix.parts().chain(path.parts()).collect())
    }

    fn error(&self, path: &str, error: &object_store::Error) -> StoreError {
        StoreError::from_object_store(&self.url, path, error)
    }

    /// Writes an object, over an earlier one where there is one.
    pub async fn put(&self, path: &str, bytes: Bytes) -> Result<(), StoreError> {
        let full = self.full(path)?;
        let outcome = self.inner.put(&full, PutPayload::from_bytes(bytes)).await;
        outcome.map(drop).map_err(|error| self.error(path, &error))
    }

    /// Writes an object unless one is there.
    ///
    /// A store that is asked again after a lost answer may report its own first try as
    /// `AlreadyExists`: who must know compares the content, as [`commit::publish_attempt`] does.
    pub async fn put_new(&self, path: &str, bytes: Bytes) -> Result<PutNew, StoreError> {
        let full = self.full(path)?;
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.inner.put_opts(&full, PutPayload::from_bytes(bytes), options).await {
            Ok(_) => Ok(PutNew::Created),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(PutNew::AlreadyExists),
            Err(error) => Err(self.error(path, &error)),
        }
    }

    /// Reads an object. Nothing is verified.
    pub async fn get(&self, path: &str) -> Result<Bytes, StoreError> {
        let full = self.full(path)?;
        let read = async { self.inner.get(&full).await?.bytes().await };
        read.await.map_err(|error| self.error(path, &error))
    }

    /// Reads an object, or `None` where there is none.
    pub async fn get_opt(&self, path: &str) -> Result<Option<Bytes>, StoreError> {
        match self.get(path).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads a range of an object's bytes.
    pub async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let full = self.full(path)?;
        self.inner.get_range(&full, range).await.map_err(|error| self.error(path, &error))
    }

    /// Reads an object and checks that it has this size and SHA-256.
    pub async fn get_verified(
        &self,
        path: &str,
        sha256: &Digest,
        bytes: u64,
    ) -> Result<Bytes, StoreError> {
        let content = self.get(path).await?;
        let corrupt = |reason| StoreError::Corrupt { path: path.to_owned(), reason };
        if content.len() as u64 != bytes {
            return Err(corrupt(format!("{} bytes, recorded were {bytes}", content.len())));
        }
        let found = Digest::of(&content);
        if found != *sha256 {
            return Err(corrupt(format!("SHA-256 {found}, recorded was {sha256}")));
        }
        Ok(content)
    }

    /// Size and SHA-256 of an object. It is read piece by piece and never held whole.
    pub async fn measure(&self, path: &str) -> Result<(u64, Digest), StoreError> {
        let full = self.full(path)?;
        let read = async { measure(self.inner.get(&full).await?).await };
        read.await.map_err(|error| self.error(path, &error))
    }

    /// All objects below the folder `prefix` (the empty text: all there are), sorted by path.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        let full = if prefix.is_empty() { self.prefix.clone() } else { self.full(prefix)? };
        let found: Vec<_> = self
            .inner
            .list(Some(&full))
            .try_collect()
            .await
            .map_err(|error| self.error(prefix, &error))?;
        let mut entries: Vec<_> = found
            .into_iter()
            .filter_map(|meta| {
                let relative: Path = meta.location.prefix_match(&self.prefix)?.collect();
                let modified = meta.last_modified.into();
                Some(Entry { path: relative.to_string(), bytes: meta.size, modified })
            })
            .collect();
        entries.sort();
        Ok(entries)
    }

    /// The names of the folders directly in the folder `prefix`.
    pub async fn folders(&self, prefix: &str) -> Result<BTreeSet<String>, StoreError> {
        let full = self.full(prefix)?;
        let found = self.inner.list_with_delimiter(Some(&full)).await;
        let found = found.map_err(|error| self.error(prefix, &error))?;
        let name = |folder: Path| folder.filename().map(str::to_owned);
        Ok(found.common_prefixes.into_iter().filter_map(name).collect())
    }

    /// Whether the object is there.
    pub async fn exists(&self, path: &str) -> Result<bool, StoreError> {
        match self.inner.head(&self.full(path)?).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(self.error(path, &error)),
        }
    }

    /// Removes an object; does nothing where there is none.
    pub async fn delete(&self, path: &str) -> Result<(), StoreError> {
        match self.inner.delete(&self.full(path)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.error(path, &error)),
        }
    }

    /// Reads a JSON object, or `None` where there is none.
    pub async fn get_json<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, StoreError> {
        let Some(bytes) = self.get_opt(path).await? else {
            return Ok(None);
        };
        let value = serde_json::from_slice(&bytes).map_err(|error| StoreError::Corrupt {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        Ok(Some(value))
    }

    /// Writes a value as JSON, over an earlier one where there is one.
    pub async fn put_json<T: Serialize>(&self, path: &str, value: &T) -> Result<(), StoreError> {
        self.put(path, json(value)?).await
    }

    /// Writes a value as JSON unless something is there.
    pub async fn put_json_new<T: Serialize>(
        &self,
        path: &str,
        value: &T,
    ) -> Result<PutNew, StoreError> {
        self.put_new(path, json(value)?).await
    }
}

async fn measure(found: GetResult) -> object_store::Result<(u64, Digest)> {
    match found.payload {
        GetResultPayload::File(file, _) => {
            let counted = tokio::task::spawn_blocking(move || measure_file(file)).await?;
            counted.map_err(|error| object_store::Error::Generic {
                store: "LocalFileSystem",
                source: Box::new(error),
            })
        }
        GetResultPayload::Stream(mut pieces) => {
            let (mut bytes, mut hasher) = (0, Hasher::default());
            while let Some(piece) = pieces.try_next().await? {
                bytes += piece.len() as u64;
                hasher.update(&piece);
            }
            Ok((bytes, hasher.finish()))
        }
    }
}

fn measure_file(mut file: std::fs::File) -> std::io::Result<(u64, Digest)> {
    let (mut bytes, mut hasher) = (0, Hasher::default());
    let mut piece = vec![0; 1 << 20];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok((bytes, hasher.finish())),
            Ok(read) => {
                bytes += read as u64;
                hasher.update(&piece[..read]);
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The value as JSON for people: indented, with a line end.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<Bytes, StoreError> {
    let mut text = serde_json::to_vec_pretty(value)
        .map_err(|error| StoreError::Encode { reason: error.to_string() })?;
    text.push(b'\n');
    Ok(Bytes::from(text))
}

/// What is stored at `path` as JSON of [`FORMAT_VERSION`].
pub fn parse_versioned<T: DeserializeOwned>(path: &str, bytes: &[u8]) -> Result<T, StoreError> {
    let corrupt = |error: serde_json::Error| StoreError::Corrupt {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    // The version first: what another version wrote may not parse as ours.
    if let Ok(Head { version: Some(found) }) = serde_json::from_slice(bytes)
        && found != u64::from(FORMAT_VERSION)
    {
        return Err(StoreError::Version {
            path: path.to_owned(),
            found: u32::try_from(found).unwrap_or(u32::MAX),
            expected: FORMAT_VERSION,
        });
    }
    serde_json::from_slice(bytes).map_err(corrupt)
}

/// What every stored record has.
#[derive(Deserialize)]
struct Head {
    version: Option<u64>,
}
