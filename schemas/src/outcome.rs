//! What is left in the store of work planned, done or failed. All JSON, all
//! versioned, so that a person can read it.

use crate::digest::Digest;
use crate::ids::TaskId;
use crate::task::{Shard, Stage};
use serde::{Deserialize, Serialize};

/// Free-form facts that a stage tells later stages and people: counts, a
/// verdict, whether training has ended.
pub type Facts = serde_json::Map<String, serde_json::Value>;

/// One data file of a committed task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// The file's name within the task, such as `samples.parquet`.
    pub name: String,
    /// Its full path in the store.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Number of table rows; 0 for what is no table.
    pub rows: u64,
    /// Its SHA-256.
    pub sha256: Digest,
}

/// The proof that a task is done. Put create-only after its data: one attempt
/// wins, and readers follow commit records only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CommitRecord {
    /// [`crate::FORMAT_VERSION`] at the time of writing.
    pub version: u32,
    /// The task.
    pub task: TaskId,
    /// Its stage.
    pub stage: Stage,
    /// Its shard.
    pub shard: Shard,
    /// Digest of what it was made from.
    pub inputs: Digest,
    /// What it made, in order of name.
    pub files: Vec<FileRecord>,
    /// Digest over names and checksums of `files` and over `facts`: what
    /// later stages chain on. Timings and paths are no part of it.
    pub data_digest: Digest,
    /// What the stage has to say.
    pub facts: Facts,
    /// Version of the code that made it.
    pub code_version: String,
    /// Wall-clock seconds of the winning attempt.
    pub seconds: f64,
    /// The worker that won.
    pub worker: String,
}

impl CommitRecord {
    /// Digest over the content of a task's outcome.
    #[must_use]
    pub fn digest_of(files: &[FileRecord], facts: &Facts) -> Digest {
        let facts = canonical_json(&serde_json::Value::Object(facts.clone()));
        let mut parts: Vec<&[u8]> = vec![facts.as_bytes()];
        for file in files {
            parts.push(file.name.as_bytes());
            parts.push(file.sha256.as_str().as_bytes());
        }
        Digest::of_parts(parts)
    }

    /// The file called `name`.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&FileRecord> {
        self.files.iter().find(|file| file.name == name)
    }

    /// An unsigned integer among the facts.
    #[must_use]
    pub fn count(&self, fact: &str) -> Option<u64> {
        self.facts.get(fact).and_then(serde_json::Value::as_u64)
    }
}

/// Digest over the data of several commits, in the order given: what a task
/// made from them has as its inputs.
#[must_use]
pub fn chain<'a>(commits: impl IntoIterator<Item = &'a CommitRecord>) -> Digest {
    Digest::of_parts(commits.into_iter().map(|c| c.data_digest.as_str().as_bytes()))
}

/// The commit records of a group of shards ([`Shard::group`]) of which every task is
/// committed, once more: for who wants all of them at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CommitIndex {
    /// [`crate::FORMAT_VERSION`] at the time of writing.
    pub version: u32,
    /// The stage.
    pub stage: Stage,
    /// Digest of what its tasks were made from.
    pub inputs: Digest,
    /// The group.
    pub group: u64,
    /// The records in order of shard.
    pub commits: Vec<CommitRecord>,
}

/// Why a task will not be tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureRecord {
    /// [`crate::FORMAT_VERSION`] at the time of writing.
    pub version: u32,
    /// The task.
    pub task: TaskId,
    /// Its stage.
    pub stage: Stage,
    /// Its shard.
    pub shard: Shard,
    /// Digest of what it is made from.
    pub inputs: Digest,
    /// The error, with its causes.
    pub error: String,
    /// How often it was tried.
    pub attempts: u32,
    /// The worker that gave up.
    pub worker: String,
    /// The last lines that it logged of the task, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
}

/// Left by a worker, once for a delivery, before it tries a task that was lost
/// before: should the worker die of it, the next one knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossRecord {
    /// [`crate::FORMAT_VERSION`] at the time of writing.
    pub version: u32,
    /// The task.
    pub task: TaskId,
    /// The worker.
    pub worker: String,
}

/// How a stage was cut, fixed by the first coordinator that planned it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagePlan {
    /// [`crate::FORMAT_VERSION`] at the time of writing.
    pub version: u32,
    /// The stage.
    pub stage: Stage,
    /// Digest over `data` and `sources`: the same for every task.
    pub inputs: Digest,
    /// Digest over the upstream stages' data.
    pub data: Digest,
    /// What it takes from stages that may end with tasks that failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Source>,
    /// The shards in order.
    pub shards: Vec<Shard>,
}

/// What a stage takes from an earlier one that may lack some of its shards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The earlier stage.
    pub stage: Stage,
    /// Inputs of the plan by which it ran.
    pub inputs: Digest,
    /// Shards whose tasks failed.
    pub missing: Vec<Shard>,
}

impl StagePlan {
    /// Digest of what a stage is made from: that of the data, where no stage
    /// before it may lack any.
    #[must_use]
    pub fn inputs_of(data: &Digest, sources: &[Source]) -> Digest {
        if sources.is_empty() {
            return data.clone();
        }
        let mut parts = vec![data.as_str().to_owned()];
        for source in sources {
            parts.push(format!("{} {}", source.stage, source.inputs.as_str()));
            parts.extend(source.missing.iter().map(Shard::to_string));
        }
        Digest::of_parts(parts.iter().map(|part| part.as_bytes()))
    }

    /// What the stage takes from `stage`, if that may lack shards.
    #[must_use]
    pub fn source(&self, stage: Stage) -> Option<&Source> {
        self.sources.iter().find(|source| source.stage == stage)
    }
}

/// JSON with sorted keys and no spaces: the same value always gives the same
/// text, whatever order a map keeps.
#[must_use]
pub fn canonical_json(value: &serde_json::Value) -> String {
    use serde_json::Value;
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            let members: Vec<String> = keys
                .into_iter()
                .map(|key| format!("{}:{}", Value::String(key.clone()), canonical_json(&map[key])))
                .collect();
            format!("{{{}}}", members.join(","))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(canonical_json).collect();
            format!("[{}]", items.join(","))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn canonical_json_sorts_at_every_depth() {
        let value = json!({"b": [{"z": 1, "a": "q\"uote"}], "a": null, "c": 0.1});
        assert_eq!(canonical_json(&value), r#"{"a":null,"b":[{"a":"q\"uote","z":1}],"c":0.1}"#);
    }

    #[test]
    fn timings_and_paths_are_no_part_of_the_data_digest() {
        let file = |path: &str, sha: &[u8]| FileRecord {
            name: "a.parquet".into(),
            path: path.into(),
            bytes: 1,
            rows: 1,
            sha256: Digest::of(sha),
        };
        let facts = Facts::new();
        let one = CommitRecord::digest_of(&[file("attempt-1", b"x")], &facts);
        assert_eq!(one, CommitRecord::digest_of(&[file("attempt-2", b"x")], &facts));
        assert_ne!(one, CommitRecord::digest_of(&[file("attempt-1", b"y")], &facts));
        let mut told = Facts::new();
        told.insert("finished".into(), json!(true));
        assert_ne!(one, CommitRecord::digest_of(&[file("attempt-1", b"x")], &told));
    }
}
