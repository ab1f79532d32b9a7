//! What a coordinator takes in of large stages, look by look.

use anyhow::Context;
use outshine_coordinator::look::Look;
use outshine_coordinator::prepare::prepare;
use outshine_coordinator::progress::{self, By};
use outshine_coordinator::stage_graph::{StageGraph, TaskCounts};
use outshine_coordinator::status::Status;
use outshine_schemas::campaign::{Campaign, ResolvedCampaign};
use outshine_schemas::outcome::{CommitRecord, FailureRecord};
use outshine_schemas::task::{Stage, Task};
use outshine_store::Store;
use outshine_store::layout::Layout;
use outshine_tests::kernels::bare_outcome;
use outshine_tests::watched::{Request, watched};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

/// A campaign whose fit has so many tasks, each of which may fail but `most`; up to
/// its fit it is done.
async fn fitting(
    store: &Store,
    blocks: u64,
    most: u64,
) -> anyhow::Result<(ResolvedCampaign, StageGraph)> {
    let text = format!(
        "name = \"large\"\n[field.mock]\nkind = \"prior\"\n[execution]\nblocks_per_task = 1\n\
         max_failed_tasks = {most}\n"
    );
    let campaign = Campaign::parse(&text, "large.toml", Path::new("."), &[])?;
    let campaign = prepare(store, campaign).await?;
    let mut graph = StageGraph::new(campaign.clone());
    for _ in 0..10 {
        progress::look(store, &campaign.id(), &mut graph, By::Runner(&[])).await?;
        let tasks: Vec<Task> = graph.pending().filter(|task| task.stage < Stage::Fit).collect();
        if tasks.is_empty() {
            return Ok((campaign, graph));
        }
        for task in &tasks {
            commit(store, task, blocks).await?;
        }
        progress::look(store, &campaign.id(), &mut graph, By::Runner(&tasks)).await?;
    }
    anyhow::bail!("it does not come to its fit")
}

/// Leaves the record of a task that has made nothing.
async fn commit(store: &Store, task: &Task, blocks: u64) -> anyhow::Result<()> {
    let facts = bare_outcome(task.stage, blocks).facts;
    let record = CommitRecord {
        version: outshine_schemas::FORMAT_VERSION,
        task: task.id.clone(),
        stage: task.stage,
        shard: task.shard,
        inputs: task.inputs.clone(),
        files: Vec::new(),
        data_digest: CommitRecord::digest_of(&[], &facts),
        facts,
        code_version: String::new(),
        seconds: 1.0,
        worker: String::new(),
    };
    let path = Layout::new(&task.campaign).commit(task.stage, task.shard, &task.id);
    Ok(store.put_json(&path, &record).await?)
}

async fn fail(store: &Store, task: &Task) -> anyhow::Result<()> {
    let record = FailureRecord {
        version: outshine_schemas::FORMAT_VERSION,
        task: task.id.clone(),
        stage: task.stage,
        shard: task.shard,
        inputs: task.inputs.clone(),
        error: "broken".to_owned(),
        attempts: 1,
        worker: String::new(),
        log: Vec::new(),
    };
    Ok(store.put_json(&Layout::new(&task.campaign).failure(task.stage, &task.id), &record).await?)
}

/// The rate is that of the commits, whenever their index was written.
#[tokio::test(start_paused = true)]
async fn an_index_does_not_change_the_rate() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let store = outshine_store::open(&folder.path().display().to_string()).await?;
    let (campaign, mut graph) = fitting(&store, 1_100, 0).await?;
    let tasks: Vec<Task> = graph.pending().collect();
    let now = SystemTime::now();
    let layout = Layout::new(&campaign.id());
    for (i, task) in tasks.iter().enumerate().take(1_000) {
        commit(&store, task, 0).await?;
        // One in ten seconds, the last one just now.
        let path = folder.path().join(layout.commit(task.stage, task.shard, &task.id));
        let file = std::fs::File::options().write(true).open(path)?;
        file.set_modified(now - Duration::from_secs(10 * (999 - i as u64)))?;
    }
    progress::look(&store, &campaign.id(), &mut graph, By::Runner(&tasks)).await?;
    let index = layout.index(Stage::Fit, &tasks[0].inputs, 0);
    assert!(store.exists(&index).await?);

    let rate = async || {
        let mut look = Look::find(&store, &campaign).await?.context("it is there")?;
        look.refresh(&store).await?;
        let status = Status::new(&look, now, &BTreeMap::new(), Vec::new());
        let fit = status.stages.into_iter().find(|stage| stage.stage == Stage::Fit);
        let fit = fit.context("a fit")?;
        assert_eq!((fit.done, fit.pending()), (1_000, 100));
        let left = fit.eta_seconds.context("time left")?;
        anyhow::Ok((fit.rate_per_minute.context("a rate")?, left))
    };
    let by_index = rate().await?;
    // 31 in the last five minutes.
    assert!((by_index.0 - 6.2).abs() < 1e-9, "{by_index:?}");
    assert!((by_index.1 - 6_000.0 / 6.2).abs() < 1e-6, "{by_index:?}");
    // A damaged index gives the same times, and so do the records alone.
    store.put(&index, "{}".into()).await?;
    assert_eq!(rate().await?, by_index);
    store.delete(&index).await?;
    assert_eq!(rate().await?, by_index);
    Ok(())
}

/// A poll lists the groups of the tasks at work, however many others have failed.
#[tokio::test(start_paused = true)]
async fn failures_are_not_listed_at_every_look() -> anyhow::Result<()> {
    let inner = outshine_store::open("memory:").await?;
    let (campaign, mut graph) = fitting(&inner, 5_000, 100).await?;
    let lists: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = lists.clone();
    let watch = move |request: Request, path: &str| {
        if request == Request::List && path.contains("/commits/") {
            seen.lock().expect("no thread panicked").push(path.to_owned());
        }
        Ok(())
    };
    let store = watched(&inner, "watched:", Box::new(watch));
    let listed = || std::mem::take(&mut *lists.lock().expect("no thread panicked"));
    let id = campaign.id();
    let layout = Layout::new(&id);
    let group = |group| layout.commit_group(Stage::Fit, group);
    let all: Vec<Task> = graph.pending().collect();
    // One of each group fails, and all others but ten of the first one are done.
    let failed: Vec<Task> = all.iter().skip(500).step_by(1_000).cloned().collect();
    for task in &failed {
        fail(&store, task).await?;
    }
    let at_work = all[..10].to_vec();
    for task in all[10..].iter().filter(|task| !failed.contains(task)) {
        commit(&store, task, 0).await?;
    }
    for _ in 0..3 {
        progress::look(&store, &id, &mut graph, By::Runner(&all)).await?;
    }
    let counts = graph.state(Stage::Fit).counts();
    assert_eq!(counts, TaskCounts { done: 4_985, pending: 10, failed: 5 });
    listed();

    progress::look(&store, &id, &mut graph, By::Runner(&at_work)).await?;
    assert_eq!(listed(), [group(0)]);
    // What failed there is found all the same.
    commit(&store, &failed[0], 0).await?;
    progress::look(&store, &id, &mut graph, By::Runner(&at_work)).await?;
    assert_eq!(listed(), [group(0)]);
    assert_eq!(graph.state(Stage::Fit).counts().failed, 4);
    // And elsewhere, before the stage ends.
    commit(&store, &failed[3], 0).await?;
    for task in &at_work {
        commit(&store, task, 0).await?;
    }
    progress::look(&store, &id, &mut graph, By::Runner(&at_work)).await?;
    let ended = graph.ended(Stage::Fit).context("it has ended")?;
    assert_eq!((ended.commits.len(), ended.failures.len()), (4_997, 3));
    Ok(())
}

/// A stage with too many failures is shown with all that it has done.
#[tokio::test(start_paused = true)]
async fn a_stage_that_fails_keeps_all_that_is_done() -> anyhow::Result<()> {
    let store = outshine_store::open("memory:").await?;
    let (campaign, graph) = fitting(&store, 5_000, 3).await?;
    let tasks: Vec<Task> = graph.pending().collect();
    for task in &tasks[..10] {
        fail(&store, task).await?;
    }
    for task in &tasks[10..4_900] {
        commit(&store, task, 0).await?;
    }
    let whole = TaskCounts { done: 4_890, pending: 107, failed: 3 };
    let mut look = Look::find(&store, &campaign).await?.context("it is there")?;
    look.refresh(&store).await?;
    assert_eq!(look.graph().state(Stage::Fit).counts(), whole);
    assert!(look.graph().failure().is_some());

    let mut graph = StageGraph::new(campaign.clone());
    for _ in 0..10 {
        progress::look(&store, &campaign.id(), &mut graph, By::Runner(&[])).await?;
        let counts = graph.state(Stage::Fit).counts();
        assert!(counts == TaskCounts::default() || counts.done == 4_890, "{counts:?}");
    }
    assert_eq!(graph.state(Stage::Fit).counts(), whole);
    Ok(())
}

/// The plan of another version of the program is told as such, whatever it has.
#[tokio::test]
async fn a_plan_of_another_version_is_named() -> anyhow::Result<()> {
    let store = outshine_store::open("memory:").await?;
    let text = "name = \"other\"\n[field.mock]\nkind = \"prior\"\n";
    let campaign = Campaign::parse(text, "other.toml", Path::new("."), &[])?;
    let campaign = prepare(&store, campaign).await?;
    let mut graph = StageGraph::new(campaign.clone());
    let plan = graph.plan(Stage::Field)?;
    let path = Layout::new(&campaign.id()).plan(Stage::Field, &plan.inputs);
    store.put(&path, "{\"version\": 99}".into()).await?;
    progress::look(&store, &campaign.id(), &mut graph, By::Runner(&[])).await?;
    let (stage, failed) = graph.failure().context("it cannot go on")?;
    assert_eq!(stage, Stage::Field);
    assert!(failed.reason.contains(&path), "{}", failed.reason);
    assert!(failed.reason.contains("format version 99"), "{}", failed.reason);
    Ok(())
}
