//! From a URL to a store.

use std::collections::BTreeMap;
use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use futures::TryStreamExt;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use url::Url;

use crate::{Store, StoreError};

/// How long a failing S3 request is repeated.
const RETRY_FOR: Duration = Duration::from_secs(30);
/// For a connection to the S3 server to stand.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// For one S3 request as a whole, its body included.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);

/// Opens a store by URL.
///
/// - a plain path or `file:///path` is a folder, made where it is missing;
/// - `s3://bucket/prefix` is an S3 bucket: credentials, endpoint and region come from the
///   environment (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_ENDPOINT_URL` or
///   `AWS_ENDPOINT`, `AWS_REGION`, default `us-east-1`, and what else the AWS tools read). Fails
///   within about half a minute where the server does not answer;
/// - `memory:` is a new store in this process, `memory:NAME` one that every caller in this process
///   who gives the same name shares.
pub async fn open(url: &str) -> Result<Store, StoreError> {
    let environment = std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)));
    open_with_environment(url, environment).await
}

/// As [`open`], for who only reads: makes no folder, and gives `None` where there is none.
pub async fn open_existing(url: &str) -> Result<Option<Store>, StoreError> {
    let there = match folder_of(url)? {
        Some(folder) => folder.exists(),
        None => true,
    };
    if there { Ok(Some(open(url).await?)) } else { Ok(None) }
}

/// As [`open`], with these variables in place of the process's environment.
pub async fn open_with_environment(
    url: &str,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Store, StoreError> {
    if url == "memory" || url == "memory:" {
        return Ok(Store::new(Arc::new(InMemory::new()), Path::default(), url));
    }
    if let Some(name) = url.strip_prefix("memory:") {
        return Ok(Store::new(shared_memory(name), Path::default(), url));
    }
    if let Some(folder) = folder_of(url)? {
        return open_folder(url, &folder);
    }
    match url.split_once("://") {
        Some(("s3", _)) => open_s3(url, environment).await,
        _ => Err(bad_url(url, "unknown scheme")),
    }
}

fn bad_url(url: &str, reason: impl ToString) -> StoreError {
    StoreError::BadUrl { url: url.to_owned(), reason: reason.to_string() }
}

/// The folder that a URL names, if it names one.
fn folder_of(url: &str) -> Result<Option<PathBuf>, StoreError> {
    if let Some(("file", _)) = url.split_once("://") {
        let parsed = Url::parse(url).map_err(|error| bad_url(url, error))?;
        let none = "no absolute path on this machine (write three slashes)";
        return parsed.to_file_path().map(Some).map_err(|()| bad_url(url, none));
    }
    if url.starts_with("s3:") || url.starts_with("file:") {
        return match url.contains("://") {
            true => Ok(None),
            false => Err(bad_url(url, "two slashes are missing after the scheme")),
        };
    }
    let other = url.contains("://") || url == "memory" || url.starts_with("memory:");
    Ok((!other).then(|| PathBuf::from(url)))
}

fn shared_memory(name: &str) -> Arc<InMemory> {
    static SHARED: LazyLock<Mutex<BTreeMap<String, Arc<InMemory>>>> = LazyLock::new(Mutex::default);
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.entry(name.to_owned()).or_default().clone()
}

fn open_folder(url: &str, folder: &FilePath) -> Result<Store, StoreError> {
    if url.is_empty() {
        return Err(bad_url(url, "empty"));
    }
    std::fs::create_dir_all(folder)
        .map_err(|error| bad_url(url, format!("cannot make the folder: {error}")))?;
    // Synced to disk before a write returns, the folder entry included.
    let local = LocalFileSystem::new_with_prefix(folder)
        .map_err(|error| bad_url(url, error))?
        .with_fsync(true);
    Ok(Store::new(Arc::new(local), Path::default(), url))
}

async fn open_s3(
    url: &str,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Store, StoreError> {
    let parsed = Url::parse(url).map_err(|error| bad_url(url, error))?;
    let bucket = parsed.host_str().ok_or_else(|| bad_url(url, "no bucket"))?;
    let prefix = Path::from_url_path(parsed.path()).map_err(|error| bad_url(url, error))?;

    let mut builder = AmazonS3Builder::new();
    for (name, value) in environment {
        if name.starts_with("AWS_")
            && !value.is_empty()
            && let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>()
        {
            builder = builder.with_config(key, value);
        }
    }
    builder = builder.with_bucket_name(bucket);
    let endpoint = builder
        .get_config_value(&AmazonS3ConfigKey::S3Endpoint)
        .or_else(|| builder.get_config_value(&AmazonS3ConfigKey::Endpoint));
    // Only an endpoint that says so itself is spoken to without encryption.
    let plain_http = endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://"));
    if builder.get_config_value(&AmazonS3ConfigKey::Region).is_none() {
        builder = builder.with_region("us-east-1");
    }
    let client = ClientOptions::new()
        .with_allow_http(plain_http)
        .with_connect_timeout(CONNECT_WITHIN)
        .with_timeout(ANSWER_WITHIN);
    let retry = RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(5),
            base: 3.0,
        },
        // Not the bound: pauses are random between the first and `base` times the last one, so
        // twenty of them can be over in four seconds.
        max_retries: 1000,
        retry_timeout: RETRY_FOR,
    };
    let s3 = builder
        .with_client_options(client)
        .with_retry(retry)
        .build()
        .map_err(|error| bad_url(url, error))?;

    let shown = match endpoint {
        Some(endpoint) => format!("{url} at {endpoint}"),
        None => url.to_owned(),
    };
    let store = Store::new(Arc::new(s3), prefix, &shown);
    probe(&store).await?;
    Ok(store)
}

/// One small listing, so that a wrong endpoint, bucket or password shows before any work is done.
async fn probe(store: &Store) -> Result<(), StoreError> {
    let (inner, prefix) = store.object_store();
    // Nothing has this name: the answer is short however much the store holds.
    let nothing = prefix.clone().join(".outshine-probe");
    let answer = inner.list(Some(&nothing)).try_next().await;
    answer.map(drop).map_err(|error| StoreError::from_object_store(store.url(), "", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn folders_are_made_and_named_in_three_ways() {
        let folder = tempfile::tempdir().unwrap();
        let nested = folder.path().join("new folder/ü");
        let plain = open(nested.to_str().unwrap()).await.unwrap();
        plain.put("a", "1".into()).await.unwrap();
        let url = Url::from_file_path(&nested).unwrap();
        let by_url = open(url.as_str()).await.unwrap();
        assert_eq!(by_url.get("a").await.unwrap(), "1");
        assert_eq!(std::fs::read(nested.join("a")).unwrap(), b"1");
    }

    #[tokio::test]
    async fn readers_make_no_folders() {
        let folder = tempfile::tempdir().unwrap();
        let nested = folder.path().join("new");
        let url = Url::from_file_path(&nested).unwrap();
        for url in [nested.to_str().unwrap(), url.as_str()] {
            assert!(open_existing(url).await.unwrap().is_none(), "{url}");
        }
        assert!(!nested.exists());
        open(url.as_str()).await.unwrap().put("a", "1".into()).await.unwrap();
        for url in [nested.to_str().unwrap(), url.as_str()] {
            assert_eq!(open_existing(url).await.unwrap().unwrap().get("a").await.unwrap(), "1");
        }
        assert!(open_existing("memory:").await.unwrap().is_some());
        for url in ["s3:/bucket", "ftp://host/a", "file://host/a"] {
            open_existing(url).await.unwrap_err();
        }
    }

    #[tokio::test]
    async fn memory_stores_are_shared_by_name_only() {
        open("memory:unit").await.unwrap().put("a", "1".into()).await.unwrap();
        assert!(open("memory:unit").await.unwrap().exists("a").await.unwrap());
        assert!(!open("memory:").await.unwrap().exists("a").await.unwrap());
    }

    #[tokio::test]
    async fn unusable_urls_are_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let below_a_file = format!("{}/store", file.path().display());
        for url in ["", "s3:/bucket", "ftp://host/a", "file://host/a", below_a_file.as_str()] {
            let error = open(url).await.unwrap_err();
            assert!(matches!(error, StoreError::BadUrl { .. }), "{url}: {error}");
            assert!(error.to_string().contains(&format!("store `{url}`")), "{error}");
        }
    }
}
