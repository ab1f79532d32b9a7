//! What can go wrong at the store, cut by what the caller can do about it.

use std::error::Error as StdError;
use std::io;

use object_store::client::{HttpError, HttpErrorKind};
use thiserror::Error;

/// What a caller should do with a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// The same call may succeed later: wait and repeat it.
    Retry,
    /// The same call will fail again for this object; others may well succeed.
    Permanent,
    /// Every call will fail until somebody mends the store or its settings.
    Stop,
}

/// An error of the store or of a table in it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store's URL or its settings cannot be used.
    #[error(
        "store `{url}`: {reason}; use a folder's path, `file:///folder`, `s3://bucket/prefix` or `memory:`"
    )]
    BadUrl {
        /// The URL as given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A path that no store can hold.
    #[error("invalid path `{path}` in the store: {reason}")]
    BadPath {
        /// The path.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The store does not answer.
    #[error(
        "cannot reach the store {url}: {reason}; check that it runs, the endpoint (AWS_ENDPOINT_URL) and the network"
    )]
    Unreachable {
        /// The store's URL.
        url: String,
        /// The last failure.
        reason: String,
    },
    /// The store turns us away.
    #[error(
        "the store {url} refuses access to `{path}`: {reason}; check the credentials (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) or the folder's permissions"
    )]
    AccessRefused {
        /// The store's URL.
        url: String,
        /// The path.
        path: String,
        /// The store's words.
        reason: String,
    },
    /// The S3 bucket, or whatever the URL names, is not there.
    #[error("the store {url} does not exist: {reason}; create the bucket first")]
    NoStore {
        /// The store's URL.
        url: String,
        /// The store's words.
        reason: String,
    },
    /// The disk is full.
    #[error(
        "no space left in the store {url} while writing `{path}`; free some space and run again, finished tasks are kept"
    )]
    NoSpace {
        /// The store's URL.
        url: String,
        /// The path that could not be written.
        path: String,
    },
    /// The object is not there.
    #[error("`{path}` is not in the store {url}")]
    NotFound {
        /// The store's URL.
        url: String,
        /// The path.
        path: String,
    },
    /// The object's bytes are not what they should be.
    #[error("`{path}` is damaged: {reason}")]
    Corrupt {
        /// The object or file.
        path: String,
        /// What was found.
        reason: String,
    },
    /// The object was written by another version.
    #[error(
        "`{path}` has format version {found}, this program reads {expected}; use the program version that wrote it"
    )]
    Version {
        /// The object.
        path: String,
        /// Its version.
        found: u32,
        /// Ours.
        expected: u32,
    },
    /// A table lacks a column.
    #[error("`{file}` has no column `{column}`; it has {found}")]
    MissingColumn {
        /// The table's file.
        file: String,
        /// The column asked for.
        column: String,
        /// The columns there are.
        found: String,
    },
    /// A column cannot be read as the type asked for.
    #[error("`{file}`, column `{column}`: expected {expected}, found {found}")]
    ColumnType {
        /// The table's file.
        file: String,
        /// The column.
        column: String,
        /// The type asked for.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A table cannot be written.
    #[error("cannot write a table: {reason}")]
    Encode {
        /// The library's words.
        reason: String,
    },
    /// Anything else that the store reports.
    #[error("store {url}, `{path}`: {reason}")]
    Other {
        /// The store's URL.
        url: String,
        /// The path.
        path: String,
        /// The library's words.
        reason: String,
    },
}

impl StoreError {
    /// What to do about it.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Unreachable { .. } | Self::Other { .. } => ErrorClass::Retry,
            Self::BadUrl { .. }
            | Self::NoStore { .. }
            | Self::AccessRefused { .. }
            | Self::NoSpace { .. } => ErrorClass::Stop,
            Self::BadPath { .. }
            | Self::NotFound { .. }
            | Self::Corrupt { .. }
            | Self::Version { .. }
            | Self::MissingColumn { .. }
            | Self::ColumnType { .. }
            | Self::Encode { .. } => ErrorClass::Permanent,
        }
    }

    /// The typed form of what the storage library reports for `path`.
    pub(crate) fn from_object_store(url: &str, path: &str, error: &object_store::Error) -> Self {
        let (url, path) = (url.to_owned(), path.to_owned());
        let reason = full_text(error);
        match error {
            object_store::Error::NotFound { .. } => return Self::NotFound { url, path },
            object_store::Error::PermissionDenied { .. }
            | object_store::Error::Unauthenticated { .. } => {
                return Self::AccessRefused { url, path, reason };
            }
            object_store::Error::InvalidPath { .. } => return Self::BadPath { path, reason },
            _ => {}
        }
        match s3_code(&reason) {
            Some("NoSuchBucket") => return Self::NoStore { url, reason },
            Some(
                "AccessDenied"
                | "InvalidAccessKeyId"
                | "SignatureDoesNotMatch"
                | "ExpiredToken"
                | "InvalidToken",
            ) => return Self::AccessRefused { url, path, reason },
            _ => {}
        }
        for cause in causes(error) {
            if let Some(io) = cause.downcast_ref::<io::Error>() {
                match io.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                        return Self::NoSpace { url, path };
                    }
                    io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                        return Self::AccessRefused { url, path, reason };
                    }
                    io::ErrorKind::InvalidFilename => return Self::BadPath { path, reason },
                    _ => {}
                }
            }
            if let Some(http) = cause.downcast_ref::<HttpError>()
                && matches!(http.kind(), HttpErrorKind::Connect | HttpErrorKind::Timeout)
            {
                return Self::Unreachable { url, reason };
            }
        }
        Self::Other { url, path, reason }
    }
}

/// The S3 protocol's error code in the body of an answer. The storage library keeps the body as text
/// and, for listings, the status nowhere else.
fn s3_code(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("<Code>")?;
    rest.split_once("</Code>").map(|(code, _)| code)
}

fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| {
        // An I/O error that wraps another hides it from `source`.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        match wrapped {
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => error.source(),
        }
    })
}

/// The error and its causes in one line, each said once.
pub(crate) fn full_text(error: &(dyn StdError + 'static)) -> String {
    let mut text = String::new();
    for cause in causes(error) {
        let part = cause.to_string();
        if text.contains(&part) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&part);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_recognised_below_other_errors() {
        // 28 is ENOSPC on Linux.
        let source = Box::new(io::Error::other(io::Error::from_raw_os_error(28)));
        let wrapped = object_store::Error::Generic { store: "LocalFileSystem", source };
        let error = StoreError::from_object_store("/disk", "a/b", &wrapped);
        assert!(matches!(&error, StoreError::NoSpace { path, .. } if path == "a/b"), "{error}");
        assert_eq!(error.class(), ErrorClass::Stop);
    }
}
