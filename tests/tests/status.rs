//! `outshine status`: what it says at each point of a campaign, and that it
//! leaves no trace.

use anyhow::Context;
use async_trait::async_trait;
use outshine_broker::{MemoryQueue, TaskQueue};
use outshine_coordinator::look::Look;
use outshine_coordinator::status::{Place, Status, failed};
use outshine_coordinator::touched::touched;
use outshine_coordinator::{failures, prepare};
use outshine_schemas::task::Stage;
use outshine_store::Store;
use outshine_store::layout::Layout;
use outshine_tests::campaigns::{TINY, run_here, run_until, run_with, tiny};
use outshine_tests::kernels::Failing;
use outshine_tests::processes::{files, outshine, outshine_error, outshine_ok};
use outshine_tests::servers::{RabbitMq, or_skip};
use outshine_worker::runtime::{Assignment, Kernel};
use outshine_worker::stages::{Outcome, StageError, Stages};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

async fn see(store: &Store, look: &mut Look) -> anyhow::Result<Status> {
    look.refresh(store).await?;
    let galaxies = touched(store, look.graph(), &failed(look)).await?;
    Ok(Status::new(look, SystemTime::now(), &galaxies, Vec::new()))
}

/// Every object and when it was written.
async fn objects(store: &Store) -> anyhow::Result<BTreeMap<String, (u64, SystemTime)>> {
    let all = store.list("").await?;
    Ok(all.into_iter().map(|entry| (entry.path, (entry.bytes, entry.modified))).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_look_after_the_other_sees_a_campaign_grow_and_writes_nothing() -> anyhow::Result<()> {
    let store = outshine_store::open("memory:").await?;
    let (given, _) = prepare::resolve(tiny(&[])?).await?;
    assert!(Look::find(&store, &given).await?.is_none(), "it is not there yet");
    assert!(objects(&store).await?.is_empty());

    prepare::prepare(&store, tiny(&[])?).await?;
    let mut look = Look::find(&store, &given).await?.context("it is there")?;
    let status = see(&store, &mut look).await?;
    // A run would plan these two: a look does not.
    let places: Vec<&Place> = status.stages.iter().map(|s| &s.place).collect();
    assert_eq!(&places[..3], [&Place::Ready, &Place::Ready, &Place::Blocked]);
    assert!(status.text(false).contains("can start"), "{}", status.text(false));
    assert_eq!(objects(&store).await?.len(), 1);

    let part = run_until(&store, tiny(&[])?, 2, Stage::Simulate).await?.graph()?;
    let before = objects(&store).await?;
    let status = see(&store, &mut look).await?;
    let simulate = &status.stages[1];
    assert_eq!((&simulate.place, simulate.planned, simulate.done), (&Place::Complete, 4, 4));
    let seconds: f64 = part.commits(Stage::Simulate).iter().map(|c| c.seconds).sum();
    assert_eq!(simulate.task_seconds, seconds);
    assert!(!status.complete);

    // One span of training is done: that tells how long the others take at most.
    let spans = Layout::new(&given.id()).commits(Stage::Train);
    let kernel = Arc::new(Stuck { science: Stages::default(), stage: Stage::Train });
    tokio::select! {
        ended = run_with(&store, tiny(&[])?, kernel) => anyhow::bail!("{:?}", ended?.result),
        seen = wait_for(&store, &spans, 1) => seen?,
    }
    let status = see(&store, &mut look).await?;
    let train = &status.stages[Stage::Train as usize];
    assert_eq!((&train.place, train.done, train.pending()), (&Place::Running, 1, 1));
    assert_eq!(train.eta_seconds, Some(2.0 * train.task_seconds), "one of three spans");

    let graph = run_here(&store, tiny(&[])?, 2).await?.graph()?;
    assert!(objects(&store).await?.len() > before.len());
    let end = objects(&store).await?;
    let status = see(&store, &mut look).await?;
    assert!(status.complete, "{}", status.text(false));
    for stage in &status.stages {
        let commits = graph.commits(stage.stage);
        assert_eq!((stage.done, stage.pending(), stage.failed), (commits.len(), 0, 0));
    }
    // A fresh look says the same.
    let mut fresh = Look::find(&store, &given).await?.context("it is there")?;
    assert_eq!(see(&store, &mut fresh).await?.stages, status.stages);
    assert_eq!(objects(&store).await?, end);
    Ok(())
}

/// The science, but for one stage, which hangs: training in its second span.
struct Stuck {
    science: Stages,
    stage: Stage,
}

#[async_trait]
impl Kernel for Stuck {
    async fn run(&self, assignment: Assignment) -> Result<Outcome, StageError> {
        let is_first = assignment.task.shard.start == 0 && self.stage == Stage::Train;
        if assignment.task.stage == self.stage && !is_first {
            std::future::pending::<()>().await;
        }
        self.science.run(assignment).await
    }
}

/// Waits for so many objects below a folder.
async fn wait_for(store: &Store, folder: &str, count: usize) -> anyhow::Result<()> {
    while store.list(folder).await?.len() < count {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_tasks_are_listed_with_the_galaxies_that_they_touch() -> anyhow::Result<()> {
    let store = outshine_store::open("memory:").await?;
    let settings = ["execution.blocks_per_task=1"];
    let tasks = vec![(Stage::Fit, 1)];
    let kernel = Failing { tasks, ..Failing::default() };
    let ran = run_with(&store, tiny(&settings)?, Arc::new(kernel)).await?;
    let campaign = ran.campaign.clone();
    let graph = ran.graph()?;
    let mut look = Look::find(&store, &campaign).await?.context("it is there")?;
    let status = see(&store, &mut look).await?;
    assert_eq!(status.stages[Stage::Fit as usize].failed, 1);
    assert_eq!(status.failures.len(), 1);
    // The first galaxy of the mock has one block here: the second block is of galaxy 2.
    let fit = graph.commits(Stage::Fit);
    assert!(fit.iter().all(|commit| commit.shard.start != 1));
    assert_eq!(status.failures[0].galaxies, [2]);
    let text = status.text(false);
    assert!(text.contains("a bad pixel of the test") && text.contains("galaxies 2"), "{text}");
    let json = status.json(false);
    assert_eq!(json["failures"][0]["galaxies"], serde_json::json!([2]));

    // Put back to work, galaxies are summed again: what was summed before is no
    // part of the rate.
    failures::forget(&store, &campaign.id()).await?;
    let kernel = Arc::new(Stuck { science: Stages::default(), stage: Stage::Reduce });
    let plan = Layout::new(&campaign.id()).plans();
    let plans = store.list(&plan).await?.len();
    tokio::select! {
        ended = run_with(&store, tiny(&settings)?, kernel) => anyhow::bail!("{:?}", ended?.result),
        seen = wait_for(&store, &plan, plans + 1) => seen?,
    }
    let reduce = &see(&store, &mut look).await?.stages[Stage::Reduce as usize];
    assert_eq!((&reduce.place, reduce.done), (&Place::Running, 0));
    assert_eq!((reduce.rate_per_minute, reduce.eta_seconds), (None, None));

    // Done, nothing of it is left, for an old look neither.
    run_here(&store, tiny(&settings)?, 2).await?.graph()?;
    let status = see(&store, &mut look).await?;
    assert!(status.complete && status.failures.is_empty(), "{}", status.text(false));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_reads_alone_and_says_what_is_not_there() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (toml, store) = (path("tiny.toml"), path("store"));
    std::fs::write(&toml, TINY)?;
    let export = ["catalogue", "export", &toml, "--to", &path("out"), "--store", &store];
    for command in ["status", "verify", "gc", "retry", "catalogue"] {
        let plain = [command, toml.as_str(), "--store", &store];
        let arguments = if command == "catalogue" { &export[..] } else { &plain[..] };
        let error = outshine_error(arguments, &[])?;
        let named = error.contains(&format!("there is no folder {store}"));
        assert!(named && error.contains("give its --store"), "{command}: {error}");
        assert!(!folder.path().join("store").exists(), "{command} made a folder");
    }

    outshine_ok(&["run", &toml, "--store", &store, "--until", "simulate", "--workers", "2"], &[])?;
    let before = files(folder.path())?;
    let text = outshine_ok(&["status", &toml, "--store", &store], &[])?;
    let line = text.lines().find(|line| line.contains("simulate")).context("a line")?;
    assert!(line.contains("complete") && !text.contains("-0."), "{text}");
    let json = outshine_ok(&["status", &toml, "--store", &store, "--json"], &[])?;
    let json: serde_json::Value = serde_json::from_str(&json)?;
    assert_eq!(json["stages"][1]["done"], 4);
    assert_eq!(json["complete"], false);
    assert_eq!(files(folder.path())?, before, "a look wrote something");

    // A stage that could be planned stays unplanned.
    let id = json["campaign"].as_str().context("a name")?;
    std::fs::remove_file(format!("{store}/campaigns/{id}/plan/train.json"))?;
    let before = files(folder.path())?;
    let error = outshine_error(&export, &[])?;
    assert!(error.contains("is not complete"), "{error}");
    assert_eq!(files(folder.path())?, before, "an export wrote something");

    // Another campaign of the same name is not this one.
    let error = outshine_error(&["status", &toml, "--store", &store, "--set", "seed=8"], &[])?;
    assert!(error.contains("is not in the store"), "{error}");
    let error = outshine_error(&["status", &toml, "--store", &store, "--queue", "memory"], &[])?;
    assert!(error.contains("another process"), "{error}");

    // Of a complete campaign, watching ends by itself.
    outshine_ok(&["run", &toml, "--store", &store, "--workers", "2"], &[])?;
    let watched = outshine(&["status", &toml, "--store", &store, "--watch", "1"], &[])?;
    let text = String::from_utf8_lossy(&watched.stdout);
    assert!(watched.status.success() && !text.contains('\u{1b}'), "{text}");
    assert_eq!(text.matches("catalogue").count(), 1, "{text}");
    Ok(())
}

/// What `--queue` shows comes from these calls; a queue in memory answers them.
#[tokio::test]
async fn a_broker_tells_what_waits_and_what_is_dead() -> anyhow::Result<()> {
    let queue: Arc<dyn TaskQueue> = Arc::new(MemoryQueue::new());
    assert!(outshine_coordinator::status::queues(queue.as_ref()).await?.is_empty());
    let name = outshine_schemas::task::Class::Fit.queue();
    queue.declare(&name).await?;
    for _ in 0..3 {
        queue.publish(&name, "task".into()).await?;
    }
    let mut consumer = queue.consume(&name).await?;
    let _ = consumer.next().await?.reject().await;
    let seen = outshine_coordinator::status::queues(queue.as_ref()).await?;
    assert_eq!(seen.len(), 1, "of the class without a queue, nothing");
    assert_eq!((seen[0].waiting, seen[0].slots, seen[0].dead_letters), (2, 1, 1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_asks_a_real_broker_and_leaves_it_as_it_is() -> anyhow::Result<()> {
    let Some(broker) = or_skip(RabbitMq::start()) else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (toml, store) = (path("tiny.toml"), path("store"));
    std::fs::write(&toml, TINY)?;
    outshine_ok(&["run", &toml, "--store", &store, "--until", "field", "--workers", "1"], &[])?;
    let url = broker.url();
    let arguments = ["status", &toml, "--store", &store, "--queue", &url];
    for _ in 0..2 {
        // A look that declared the queue would show it the second time.
        let text = outshine_ok(&arguments, &[])?;
        assert!(text.contains("simulate") && !text.contains("queue"), "{text}");
        assert!(!text.contains("-0."), "{text}");
    }
    let queue = outshine_broker::open(&url).await?;
    let name = outshine_schemas::task::Class::Fit.queue();
    queue.declare(&name).await?;
    queue.publish(&name, "task".into()).await?;
    let text = outshine_ok(&arguments, &[])?;
    assert!(
        text.contains(&format!("queue {name}: 1 waiting, 0 slots at it, 0 dead letters")),
        "{text}"
    );
    Ok(())
}
