//! The commit protocol: data first, then one small record that makes it count.
//!
//! An attempt writes its files to paths that no other attempt uses, then puts the task's commit
//! record create-only. One attempt wins. Readers follow commit records only, so whatever a crashed
//! or beaten attempt left behind is never seen.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use outshine_schemas::FORMAT_VERSION;
use outshine_schemas::digest::Digest;
use outshine_schemas::ids::TaskId;
use outshine_schemas::outcome::{CommitRecord, Facts, FileRecord};
use outshine_schemas::task::{Shard, Stage};

use crate::layout::Layout;
use crate::{Entry, PutNew, Store, StoreError, json, parse_versioned};

/// How many commit records are read at a time.
const READS_AT_A_TIME: usize = 16;

/// A file that an attempt made.
#[derive(Clone, Debug)]
pub struct NewFile {
    /// Its name within the task, such as `samples.parquet`.
    pub name: String,
    /// Its content.
    pub bytes: Bytes,
    /// Number of table rows; 0 for what is no table.
    pub rows: u64,
}

/// What a commit record says besides its files.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The task.
    pub task: TaskId,
    /// Its stage.
    pub stage: Stage,
    /// Its shard.
    pub shard: Shard,
    /// Digest of what the files were made from.
    pub inputs: Digest,
    /// What the stage has to say.
    pub facts: Facts,
    /// Version of the code at work.
    pub code_version: String,
    /// Wall-clock seconds that the attempt took.
    pub seconds: f64,
    /// The worker.
    pub worker: String,
}

/// How an attempt ended. Either way the task is done.
#[derive(Clone, Debug, PartialEq)]
pub enum Published {
    /// This attempt's files count.
    Won(CommitRecord),
    /// Another attempt was first; its record.
    Lost(CommitRecord),
}

impl Published {
    /// The record that counts.
    pub fn record(&self) -> &CommitRecord {
        match self {
            Self::Won(record) | Self::Lost(record) => record,
        }
    }
}

/// Writes an attempt's files and tries to make them the task's outcome.
///
/// `attempt` must be a name that no other attempt at this task ever has (a random UUID). Files are
/// recorded in order of name; two of one name are an error.
pub async fn publish_attempt(
    store: &Store,
    layout: &Layout,
    attempt: &str,
    draft: Draft,
    mut files: Vec<NewFile>,
) -> Result<Published, StoreError> {
    files.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(pair) = files.windows(2).find(|pair| pair[0].name == pair[1].name) {
        let reason = format!("two files of one task are named `{}`", pair[0].name);
        return Err(StoreError::Encode { reason });
    }
    let mut records = Vec::with_capacity(files.len());
    for file in files {
        let path = layout.attempt_file(draft.stage, &draft.task, attempt, &file.name);
        records.push(FileRecord {
            name: file.name,
            path: path.clone(),
            bytes: file.bytes.len() as u64,
            rows: file.rows,
            sha256: Digest::of(&file.bytes),
        });
        store.put(&path, file.bytes).await?;
    }
    let record = CommitRecord {
        version: FORMAT_VERSION,
        task: draft.task,
        stage: draft.stage,
        shard: draft.shard,
        inputs: draft.inputs,
        data_digest: CommitRecord::digest_of(&records, &draft.facts),
        files: records,
        facts: draft.facts,
        code_version: draft.code_version,
        seconds: draft.seconds,
        worker: draft.worker,
    };
    outshine_fault::point(outshine_fault::PUT_BEFORE_COMMIT);
    put_record(store, layout, record).await
}

async fn put_record(
    store: &Store,
    layout: &Layout,
    record: CommitRecord,
) -> Result<Published, StoreError> {
    let path = layout.commit(record.stage, record.shard, &record.task);
    let ours = json(&record)?;
    if store.put_new(&path, ours.clone()).await? == PutNew::Created {
        return Ok(Published::Won(record));
    }
    let theirs = store.get(&path).await?;
    if theirs == ours {
        // Our own put, whose answer was lost on the way and which was then repeated.
        return Ok(Published::Won(record));
    }
    let winner: CommitRecord = parse_versioned(&path, &theirs)?;
    if winner.files == record.files && !record.files.is_empty() {
        // The same attempt, published a second time by its caller: the files are in use.
        return Ok(Published::Won(winner));
    }
    if winner.data_digest != record.data_digest {
        tracing::warn!(
            task = %record.task, stage = %record.stage, worker = %record.worker,
            winner = %winner.worker,
            "two attempts at one task made different data; the first committed counts"
        );
    }
    for file in record.files.iter().filter(|file| winner.files.iter().all(|w| w.path != file.path))
    {
        // Nobody knows of these files. One that stays is rubbish, not an error.
        if let Err(error) = store.delete(&file.path).await {
            tracing::debug!(path = %file.path, %error, "a beaten attempt's file stays");
        }
    }
    Ok(Published::Lost(winner))
}

/// The commit record of a task, or `None` where it is not done.
pub async fn read_commit(
    store: &Store,
    layout: &Layout,
    stage: Stage,
    shard: Shard,
    task: &TaskId,
) -> Result<Option<CommitRecord>, StoreError> {
    read_record(store, &layout.commit(stage, shard, task)).await
}

/// The commit record at `path`, or `None` where there is none.
pub async fn read_record(store: &Store, path: &str) -> Result<Option<CommitRecord>, StoreError> {
    match store.get_opt(path).await? {
        Some(bytes) => Ok(Some(parse_versioned(path, &bytes)?)),
        None => Ok(None),
    }
}

/// The commit records of some groups of a stage, sorted by path: listings only, no
/// record is read.
pub async fn list_committed(
    store: &Store,
    layout: &Layout,
    stage: Stage,
    groups: &BTreeSet<u64>,
) -> Result<Vec<Entry>, StoreError> {
    // Many do not exist in the beginning: one listing tells which do.
    let there = match groups.len() > READS_AT_A_TIME {
        true => Some(store.folders(&layout.commits(stage)).await?),
        false => None,
    };
    let folders = groups.iter().map(|&group| layout.commit_group(stage, group));
    let is_there = |folder: &String| {
        let name = folder.rsplit('/').next().unwrap_or_default();
        there.as_ref().is_none_or(|there| there.contains(name))
    };
    let folders: Vec<String> = folders.filter(is_there).collect();
    let entries: Vec<Vec<_>> = stream::iter(folders)
        .map(|folder| async move { store.list(&folder).await })
        .buffered(READS_AT_A_TIME)
        .try_collect()
        .await?;
    let mut entries: Vec<Entry> = entries.into_iter().flatten().collect();
    // In order already, but for group numbers of more digits than others.
    entries.sort();
    Ok(entries)
}

/// The record at `path` among `entries`, which are sorted by path.
pub fn find<'a>(entries: &'a [Entry], path: &str) -> Option<&'a Entry> {
    let at = entries.binary_search_by(|entry| entry.path.as_str().cmp(path)).ok()?;
    Some(&entries[at])
}

/// The commit records at `paths`, but for those that are not there.
pub async fn read_records(
    store: &Store,
    paths: Vec<String>,
) -> Result<Vec<CommitRecord>, StoreError> {
    let read: Vec<Option<CommitRecord>> = stream::iter(paths)
        .map(|path| async move { read_record(store, &path).await })
        .buffered(READS_AT_A_TIME)
        .try_collect()
        .await?;
    Ok(read.into_iter().flatten().collect())
}

/// All commit records of a stage, in order of shard.
pub async fn list_commits(
    store: &Store,
    layout: &Layout,
    stage: Stage,
) -> Result<Vec<CommitRecord>, StoreError> {
    let entries = store.list(&layout.commits(stage)).await?;
    let mut records: Vec<CommitRecord> = stream::iter(entries)
        .map(|entry| async move {
            let bytes = store.get(&entry.path).await?;
            parse_versioned(&entry.path, &bytes)
        })
        .buffered(READS_AT_A_TIME)
        .try_collect()
        .await?;
    records.sort_by(|a, b| (a.shard, &a.task).cmp(&(b.shard, &b.task)));
    Ok(records)
}

/// Reads a committed file and checks it against its record.
pub async fn read_file(store: &Store, file: &FileRecord) -> Result<Bytes, StoreError> {
    store.get_verified(&file.path, &file.sha256, file.bytes).await
}
