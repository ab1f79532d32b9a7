//! A resume reads indexes instead of commit records, and believes them no further
//! than the records that are there.

use anyhow::Context;
use outshine_coordinator::stage_graph::StageGraph;
use outshine_schemas::outcome::CommitRecord;
use outshine_schemas::task::Stage;
use outshine_store::layout::Layout;
use outshine_store::{Store, StoreError, index};
use outshine_tests::campaigns::{differences, products, run_here, tiny};
use outshine_tests::watched::{Request, watched};
use std::sync::{Arc, Mutex};

const SETTINGS: [&str; 2] = ["execution.blocks_per_task=1", "execution.galaxies_per_task=1"];

/// Runs on a store; returns what was read, and the stages.
async fn run(store: &Store) -> anyhow::Result<(Vec<String>, StageGraph)> {
    let reads: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = reads.clone();
    let watch = move |request: Request, path: &str| {
        if request == Request::Get {
            seen.lock().expect("no thread panicked").push(path.to_owned());
        }
        Ok(())
    };
    let watched = watched(store, "watched:", Box::new(watch));
    let graph = run_here(&watched, tiny(&SETTINGS)?, 2).await?.graph()?;
    let reads = std::mem::take(&mut *reads.lock().expect("no thread panicked"));
    Ok((reads, graph))
}

fn of<'a>(reads: &'a [String], folder: &str) -> Vec<&'a String> {
    reads.iter().filter(|path| path.contains(folder)).collect()
}

/// Where the index of the blocks lies, and their first record.
fn places(graph: &StageGraph, layout: &Layout) -> anyhow::Result<(String, CommitRecord, String)> {
    let plan = &graph.ended(Stage::Fit).context("it is complete")?.plan;
    let record = graph.commits(Stage::Fit)[0].clone();
    let path = layout.commit(Stage::Fit, record.shard, &record.task);
    Ok((layout.index(Stage::Fit, &plan.inputs, 0), record, path))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resume_reads_one_index_for_many_records() -> anyhow::Result<()> {
    let store = outshine_store::open("memory:").await?;
    let (reads, first) = run(&store).await?;
    let tasks = first.commits(Stage::Fit).len();
    assert!(tasks >= 6 && of(&reads, "/commits/fit/").len() >= tasks);
    assert!(of(&reads, "/index/").is_empty());
    let (reads, again) = run(&store).await?;
    assert_eq!(of(&reads, "/index/fit/").len(), 1);
    for stage in [Stage::Simulate, Stage::Fit, Stage::Reduce] {
        assert_eq!(again.commits(stage), first.commits(stage));
        assert!(of(&reads, &format!("/commits/{stage}/")).is_empty(), "{reads:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn records_count_where_an_index_says_otherwise() -> anyhow::Result<()> {
    let store = outshine_store::open("memory:").await?;
    let ran = run_here(&store, tiny(&SETTINGS)?, 2).await?;
    let layout = Layout::new(&ran.campaign.id());
    let first = ran.graph()?;
    let whole = products(&store, &first).await?;
    let (at, record, path) = places(&first, &layout)?;

    // A damaged index is left alone.
    let sound = store.get(&at).await?;
    for damaged in [&sound[..sound.len() / 2], b"{}"] {
        store.put(&at, bytes::Bytes::copy_from_slice(damaged)).await?;
        let (reads, graph) = run(&store).await?;
        assert_eq!(of(&reads, "/commits/fit/").len(), first.commits(Stage::Fit).len());
        assert_eq!(graph.commits(Stage::Fit), first.commits(Stage::Fit));
    }

    // As one of another format is, whatever it has.
    store.put(&at, "{\"version\": 99, \"shards\": []}".into()).await?;
    let error = index::read(&store, &at).await.err().context("it is of another format")?;
    assert!(matches!(error, StoreError::Version { found: 99, .. }), "{error}");

    // A record that was made anew since is read itself.
    store.put(&at, sound).await?;
    let newer = CommitRecord { seconds: record.seconds + 1.0, ..record };
    store.put_json(&path, &newer).await?;
    let (reads, graph) = run(&store).await?;
    assert_eq!(of(&reads, "/commits/fit/"), [&path]);
    assert_eq!(graph.commits(Stage::Fit)[0], newer);

    // A task whose record is gone is done again.
    store.delete(&path).await?;
    let (_, graph) = run(&store).await?;
    assert!(store.exists(&path).await?);
    assert_ne!(graph.commits(Stage::Fit)[0].files[0].path, newer.files[0].path);
    assert_eq!(differences(&products(&store, &graph).await?, &whole), Vec::<String>::new());
    Ok(())
}
