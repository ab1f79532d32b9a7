//! Samples of everything that is stored or sent, of each version: what was written
//! once is read for as long as its version is.
//!
//! A record that gains a field which it cannot do without, or loses one, is another
//! format: it wants a new `FORMAT_VERSION`, and samples of it in a folder of its own.

use outshine_schemas::FORMAT_VERSION;
use outshine_schemas::campaign::ResolvedCampaign;
use outshine_schemas::outcome::{
    CommitIndex, CommitRecord, FailureRecord, LossRecord, StagePlan, canonical_json,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("testdata/v{FORMAT_VERSION}"))
}

/// Reads a sample, and requires that writing it again loses nothing and adds nothing.
fn read<T: Serialize + DeserializeOwned>(name: &str) -> T {
    let text = std::fs::read(folder().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    let sample: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(sample["version"], FORMAT_VERSION, "{name}");
    let read: T = serde_json::from_slice(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
    let again = serde_json::to_value(&read).unwrap();
    assert_eq!(canonical_json(&again), canonical_json(&sample), "{name}");
    read
}

/// What each sample is of; `fit-task.bin` is read by the codec's own test.
const SAMPLES: [&str; 8] = [
    "campaign.json",
    "commit.json",
    "failure.json",
    "failure-without-log.json",
    "fit-task.bin",
    "index.json",
    "loss.json",
    "plan.json",
];

#[test]
fn every_sample_is_read_by_a_test() {
    let entries = std::fs::read_dir(folder()).unwrap();
    let there: BTreeSet<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(there, SAMPLES.map(str::to_owned).into());
}

#[test]
fn campaigns_keep_their_digest() {
    let campaign: ResolvedCampaign = read("campaign.json");
    // The identity of a stored campaign: with another, its tasks would be others.
    assert_eq!(campaign.id().as_str(), CAMPAIGN);
}

#[test]
fn plans_and_records_are_read() {
    let plan: StagePlan = read("plan.json");
    assert_eq!(plan.inputs, StagePlan::inputs_of(&plan.data, &plan.sources));
    let commit: CommitRecord = read("commit.json");
    assert_eq!(commit.data_digest, CommitRecord::digest_of(&commit.files, &commit.facts));
    let index: CommitIndex = read("index.json");
    assert_eq!(index.commits, [commit]);
    let failure: FailureRecord = read("failure.json");
    assert_eq!(failure.log.len(), 2);
    let silent: FailureRecord = read("failure-without-log.json");
    assert_eq!(silent, FailureRecord { log: Vec::new(), ..failure });
    let loss: LossRecord = read("loss.json");
    assert_eq!(loss.task, silent.task);
}

/// A field that is missing is an error that names it, not a value that nobody wrote.
#[test]
fn what_a_record_must_have_is_asked_for() {
    let text = std::fs::read(folder().join("commit.json")).unwrap();
    let sample: Value = serde_json::from_slice(&text).unwrap();
    let keys: Vec<String> = sample.as_object().unwrap().keys().cloned().collect();
    for key in keys {
        let mut cut = sample.clone();
        cut.as_object_mut().unwrap().remove(&key);
        let error = serde_json::from_value::<CommitRecord>(cut).unwrap_err().to_string();
        assert!(error.contains(&format!("`{key}`")), "{error}");
    }
}

const CAMPAIGN: &str = "golden-9d50fc2c09f11c50";
