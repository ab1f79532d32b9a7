//! A store that does not answer is no fault of the task that asks it.

use anyhow::Context;
use async_trait::async_trait;
use outshine_broker::{MemoryQueue, TaskQueue};
use outshine_coordinator::stage_graph::StageGraph;
use outshine_schemas::campaign::Campaign;
use outshine_schemas::task::Stage;
use outshine_store::layout::Layout;
use outshine_store::{Store, StoreError};
use outshine_tests::campaigns::{run_by, run_dying, settings};
use outshine_tests::kernels::bare_outcome;
use outshine_tests::watched::watched;
use outshine_worker::runtime::{Assignment, Kernel};
use outshine_worker::stages::{Outcome, StageError};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use tokio::sync::Notify;

/// Does nothing; but one fit task kills its worker so many times, and then the
/// store does not answer, so many times.
struct Away {
    deaths: u32,
    times: u32,
    tries: AtomicU32,
    death: Arc<Notify>,
}

#[async_trait]
impl Kernel for Away {
    async fn run(&self, assignment: Assignment) -> Result<Outcome, StageError> {
        let task = &assignment.task;
        if (task.stage, task.shard.start) == (Stage::Fit, 1) {
            let before = self.tries.fetch_add(1, Ordering::SeqCst);
            if before < self.deaths {
                self.death.notify_one();
                // The process dies: nothing comes back.
                return std::future::pending().await;
            }
            if before - self.deaths < self.times {
                let (url, reason) = ("test".to_owned(), "no route".to_owned());
                return Err(StoreError::Unreachable { url, reason }.into());
            }
        }
        Ok(bare_outcome(task.stage, 3))
    }
}

/// A campaign of three fit tasks.
fn spec() -> anyhow::Result<Campaign> {
    let text = "name = \"away\"\n[field.mock]\nkind = \"prior\"\n[execution]\n\
                blocks_per_task = 1\n";
    Ok(Campaign::parse(text, "away.toml", Path::new("."), &[])?)
}

/// Runs a campaign of three fit tasks with one worker, started again when it
/// dies; returns how it ended and how often the one task was tried.
async fn campaign(deaths: u32, times: u32) -> anyhow::Result<(StageGraph, u32)> {
    let store = outshine_store::open("memory:").await?;
    let queue: Arc<dyn TaskQueue> = Arc::new(MemoryQueue::new());
    let spec = spec()?;
    let death = Arc::new(Notify::new());
    let kernel = Arc::new(Away { deaths, times, tries: AtomicU32::new(0), death: death.clone() });
    let ran = run_dying(&store, queue, spec, (1, kernel.clone()), (death, deaths + 1)).await?;
    let left = store.list(&Layout::new(&ran.campaign.id()).stage_losses(Stage::Fit)).await?;
    assert_eq!(left, [], "nothing is left of losses that were made good");
    Ok((ran.graph()?, kernel.tries.load(Ordering::SeqCst)))
}

#[tokio::test(start_paused = true)]
async fn a_task_waits_for_a_store_that_is_away() -> anyhow::Result<()> {
    // Six pauses of 1 to 30 s are twice the worker's patience.
    for times in [1, 6] {
        let (graph, tries) = campaign(0, times).await?;
        assert_eq!((graph.failures().count(), tries), (0, times + 1));
    }
    Ok(())
}

/// A task under suspicion is tried again and again while the store is away: no
/// try but the one that died is a loss.
#[tokio::test(start_paused = true)]
async fn waiting_is_no_loss_of_a_suspect() -> anyhow::Result<()> {
    let (graph, tries) = campaign(2, 5).await?;
    let errors: Vec<&str> = graph.failures().map(|failure| failure.error.as_str()).collect();
    assert_eq!((errors, tries), (Vec::<&str>::new(), 8));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_task_that_alone_gets_no_answer_is_given_up() -> anyhow::Result<()> {
    let (graph, tries) = campaign(0, u32::MAX).await?;
    let failure = graph.failures().next().context("it failed")?;
    assert!(failure.error.contains("no route"), "{}", failure.error);
    assert!(failure.error.contains("the rest of the store answers"), "{}", failure.error);
    assert_eq!((failure.stage, failure.shard.start), (Stage::Fit, 1));
    // Five within the patience of 30 s; one after it and ten more, each while
    // the store answers.
    assert_eq!(tries, 16);
    assert_eq!(graph.commits(Stage::Fit).len(), 2);
    Ok(())
}

/// Does nothing; from the first fit task on, nothing of the store answers.
struct Cut(Arc<AtomicBool>);

#[async_trait]
impl Kernel for Cut {
    async fn run(&self, assignment: Assignment) -> Result<Outcome, StageError> {
        self.0.fetch_or(assignment.task.stage == Stage::Fit, Ordering::SeqCst);
        Ok(bare_outcome(assignment.task.stage, 3))
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_stays_away_ends_the_worker_and_blames_no_task() -> anyhow::Result<()> {
    let (inner, gone) = (outshine_store::open("memory:").await?, Arc::new(AtomicBool::new(false)));
    let cut = gone.clone();
    let watch = move |_, _: &str| match cut.load(Ordering::SeqCst) {
        true => Err(object_store::Error::Generic { store: "gone", source: "no route".into() }),
        false => Ok(()),
    };
    let store = watched(&inner, "gone:", Box::new(watch));
    let queue: Arc<dyn TaskQueue> = Arc::new(MemoryQueue::new());
    let settings = settings("cut", 1, Arc::new(Cut(gone.clone())));
    let ended = run_by(&store, queue, spec()?, settings, Stage::Catalogue).await;
    let error = ended.err().context("the worker gave up")?.to_string();
    assert!(error.contains("no route"), "{error}");
    assert!(gone.load(Ordering::SeqCst));
    assert!(failed(&inner).await?.is_empty(), "no task is to blame");
    Ok(())
}

/// Paths of failure records.
async fn failed(store: &Store) -> anyhow::Result<Vec<String>> {
    let all = store.list("campaigns").await?.into_iter().map(|entry| entry.path);
    Ok(all.filter(|path| path.contains("/failures/")).collect())
}
