//! Indexes of complete groups of commits: what a coordinator that starts reads
//! instead of a thousand records each.
//!
//! An index only repeats. Commit records are never deleted for it and stay what
//! readers follow; who uses one holds it against a listing of the records, and
//! reads those where it does not fit. It may be removed at any time.

use std::collections::BTreeMap;
use std::time::SystemTime;

use bytes::Bytes;
use outshine_schemas::digest::Digest;
use outshine_schemas::outcome::{CommitIndex, CommitRecord};
use outshine_schemas::task::Stage;

use crate::commit::find;
use crate::layout::Layout;
use crate::{Entry, Store, StoreError, parse_versioned};

/// The groups of a stage made from `inputs` that have an index, and when it was written.
pub async fn list(
    store: &Store,
    layout: &Layout,
    stage: Stage,
    inputs: &Digest,
) -> Result<BTreeMap<u64, SystemTime>, StoreError> {
    let entries = store.list(&layout.indexes_of(stage, inputs)).await?;
    let group = |entry: Entry| Some((layout.index_of(stage, &entry.path)?, entry.modified));
    Ok(entries.into_iter().filter_map(group).collect())
}

/// Writes the index of a group whose tasks are all committed, unless it is there.
/// It has a thousand records: without the spaces and line ends of a single one.
pub async fn put(store: &Store, layout: &Layout, index: &CommitIndex) -> Result<(), StoreError> {
    let path = layout.index(index.stage, &index.inputs, index.group);
    let text = serde_json::to_vec(index)
        .map_err(|error| StoreError::Encode { reason: error.to_string() })?;
    store.put_new(&path, Bytes::from(text)).await.map(drop)
}

/// The index at `path`, or what is wrong with it.
pub async fn read(store: &Store, path: &str) -> Result<CommitIndex, StoreError> {
    let bytes = store.get(path).await?;
    let index: CommitIndex = parse_versioned(path, &bytes)?;
    let is_sound = |r: &&CommitRecord| r.data_digest == CommitRecord::digest_of(&r.files, &r.facts);
    match index.commits.iter().find(|record| !is_sound(record)) {
        Some(record) => {
            let reason = format!("the digest of shard {} does not match", record.shard);
            Err(StoreError::Corrupt { path: path.to_owned(), reason })
        }
        None => Ok(index),
    }
}

/// A group as its index has it, and its listing.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// Commits by the index: those whose records are still there and older than it. None
    /// where the index cannot be used.
    pub commits: Vec<CommitRecord>,
    /// All commit records of the group, sorted by path.
    pub entries: Vec<Entry>,
}

/// A group by its index, written at `written`, and by its listing.
pub async fn group(
    store: &Store,
    layout: &Layout,
    (stage, inputs, group): (Stage, &Digest, u64),
    written: SystemTime,
) -> Result<Group, StoreError> {
    let path = layout.index(stage, inputs, group);
    let commits = match read(store, &path).await {
        Ok(index) => index.commits,
        Err(StoreError::NotFound { .. }) => Vec::new(),
        Err(error @ (StoreError::Corrupt { .. } | StoreError::Version { .. })) => {
            tracing::warn!(%error, "the index is not used: see `outshine verify`");
            Vec::new()
        }
        Err(error) => return Err(error),
    };
    let entries = store.list(&layout.commit_group(stage, group)).await?;
    let is_there = |record: &CommitRecord| {
        let path = layout.commit(stage, record.shard, &record.task);
        find(&entries, &path).is_some_and(|entry| entry.modified <= written)
    };
    let commits = commits.into_iter().filter(is_there).collect();
    Ok(Group { commits, entries })
}
