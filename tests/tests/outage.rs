//! A store that does not answer is no fault of the task that asks it.

use anyhow::Context;
use async_trait::async_trait;
use outshine_broker::{MemoryQueue, TaskQueue};
use outshine_coordinator::prepare::prepare;
use outshine_coordinator::run::{Pace, run};
use outshine_coordinator::stage_graph::StageGraph;
use outshine_coordinator::view::Silent;
use outshine_schemas::campaign::Campaign;
use outshine_schemas::task::Stage;
use outshine_store::StoreError;
use outshine_tests::campaigns::settings;
use outshine_worker::runtime::{self, Assignment, Kernel};
use outshine_worker::stages::{Outcome, StageError};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// Does nothing; but one fit task kills its worker so many times, and then the
/// store does not answer, so many times.
struct Away {
    deaths: u32,
    times: u32,
    tries: AtomicU32,
    death: Notify,
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
        let facts = match task.stage {
            Stage::Field => json!({"blocks": 3, "galaxies": 1}),
            Stage::Train => json!({"finished": true}),
            Stage::Calibrate => json!({"passed": true}),
            _ => json!({}),
        };
        let facts = facts.as_object().cloned().unwrap_or_default();
        Ok(Outcome { facts, ..Outcome::default() })
    }
}

/// Runs a campaign of three fit tasks with one worker, started again when it
/// dies; returns how it ended and how often the one task was tried.
async fn campaign(deaths: u32, times: u32) -> anyhow::Result<(StageGraph, u32)> {
    let text = "name = \"away\"\n[field.mock]\nkind = \"prior\"\n[execution]\n\
                blocks_per_task = 1\n";
    let store = outshine_store::open("memory:").await?;
    let queue: Arc<dyn TaskQueue> = Arc::new(MemoryQueue::new());
    let spec = Campaign::parse(text, "away.toml", Path::new("."), &[])?;
    let campaign = prepare(&store, spec).await?;
    let death = Notify::new();
    let kernel = Arc::new(Away { deaths, times, tries: AtomicU32::new(0), death });
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let (q, s, k) = (queue.clone(), store.clone(), kernel.clone());
    let worker = tokio::spawn(async move {
        for _ in 0..=deaths {
            let settings = settings("away", 1, k.clone());
            tokio::select! {
                ended = runtime::run(q.clone(), s.clone(), settings, stopped.clone()) => return ended,
                () = k.death.notified() => {}
            }
        }
        Ok(())
    });
    let pace = Pace {
        poll: Duration::from_millis(100),
        patience: Duration::from_secs(30),
        until: Stage::Catalogue,
    };
    let graph = run(&store, queue, &[], &campaign, pace, &mut Silent).await?;
    stop.send(true)?;
    worker.await??;
    Ok((graph, kernel.tries.load(Ordering::SeqCst)))
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
    // Five within the patience of 30 s, then ten, each while the store answers.
    assert!((11..=20).contains(&tries), "{tries}");
    assert_eq!(graph.commits(Stage::Fit).len(), 2);
    Ok(())
}
