//! Tasks that fail for good, and tasks that kill their workers: the campaign
//! finishes the rest, says what it lacks, and is made whole by a retry.

use anyhow::{Context, ensure};
use arrow::array::{Array, UInt32Array};
use arrow::datatypes::UInt32Type;
use async_trait::async_trait;
use outshine_broker::{MemoryQueue, Priority, TaskQueue};
use outshine_coordinator::prepare::prepare;
use outshine_coordinator::progress::{self, By};
use outshine_coordinator::stage_graph::StageGraph;
use outshine_coordinator::touched::touched;
use outshine_coordinator::{failures, verify};
use outshine_schemas::outcome::FailureRecord;
use outshine_schemas::task::{Class, Stage};
use outshine_schemas::{codec, flags};
use outshine_store::layout::Layout;
use outshine_store::{Store, Table, parquet};
use outshine_tests::campaigns::{
    differences, products, run_dying, run_here, run_with, settings, tiny,
};
use outshine_tests::kernels::{FAILING, Failing};
use outshine_worker::runtime::{self, Assignment, Kernel};
use outshine_worker::stages::{Outcome, StageError, Stages};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch};

const SETTINGS: [&str; 2] = ["execution.blocks_per_task=1", "execution.galaxies_per_task=2"];

async fn catalogue(store: &Store, graph: &StageGraph) -> anyhow::Result<Table> {
    let commit = graph.commits(Stage::Catalogue).first().context("a catalogue")?;
    let file = commit.file("catalogue.parquet").context("its file")?;
    let bytes = outshine_store::commit::read_file(store, file).await?;
    Ok(parquet::decode("catalogue.parquet", bytes, None)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rest_is_finished_and_a_retry_makes_it_whole() -> anyhow::Result<()> {
    let whole = outshine_store::open("memory:").await?;
    let reference = run_here(&whole, tiny(&SETTINGS)?, 2).await?.graph()?;
    let store = outshine_store::open("memory:").await?;
    let tasks = vec![(Stage::Fit, 1), (Stage::Reduce, 4)];
    let kernel = Arc::new(Failing { science: Stages::default(), tasks });
    let ran = run_with(&store, tiny(&SETTINGS)?, kernel).await?;
    let campaign = ran.campaign.clone();
    let graph = ran.graph()?;

    // What is lacking is said, task by task.
    let failed: Vec<_> = graph.failures().map(|f| (f.stage, f.shard.start)).collect();
    assert_eq!(failed, [(Stage::Fit, 1), (Stage::Reduce, 4)]);
    assert!(graph.failures().all(|f| failures::text(f).contains(FAILING)));

    // The galaxies that it touches have the flag and no mass; the rows of all
    // others are those of a whole campaign.
    let (lacking, all) = (catalogue(&store, &graph).await?, catalogue(&whole, &reference).await?);
    assert_eq!(lacking.rows(), all.rows());
    let ids = all.int64("galaxy_id")?;
    assert_eq!(lacking.int64("galaxy_id")?, ids, "rows keep their order");
    let failures: Vec<&FailureRecord> = graph.failures().collect();
    let touched = touched(&store, &graph, &failures).await?;
    let touched: BTreeSet<i64> = touched.into_values().flatten().collect();
    assert!([4, 5].iter().all(|row| touched.contains(&ids.value(*row))), "{touched:?}");
    assert!(touched.len() > 2, "block 1 has a galaxy of its own: {touched:?}");
    assert!(touched.len() < all.rows(), "nothing would be left to compare");
    let bits: UInt32Array = lacking.number::<UInt32Type>("flags")?;
    let mass = lacking.float64("log_mass_stellar_resolved_p50")?;
    for row in 0..all.rows() {
        let hit = touched.contains(&ids.value(row));
        assert_eq!(bits.value(row) & flags::TASK_FAILED != 0, hit, "galaxy {}", ids.value(row));
        assert_eq!(mass.is_null(row), hit, "galaxy {}", ids.value(row));
        for column in lacking.schema().fields().iter().filter(|c| c.is_nullable() && hit) {
            let known = column.name().starts_with("redshift");
            assert!(known || lacking.column(column.name())?.is_null(row), "{}", column.name());
        }
        if !hit {
            for (a, b) in lacking.batches()[0].columns().iter().zip(all.batches()[0].columns()) {
                assert_eq!(a.slice(row, 1).to_data(), b.slice(row, 1).to_data());
            }
        }
    }

    // Running again changes nothing; verify calls nothing damaged.
    let again = run_here(&store, tiny(&SETTINGS)?, 2).await?.graph()?;
    assert_eq!(again.failures().count(), 2);
    let report = verify::verify(&store, &campaign, &mut |_| {}).await?;
    assert_eq!(report.damage().count(), 0, "{:?}", report.findings);
    assert_eq!(report.waiting, 0);

    // A retry makes it the campaign that was never disturbed, byte for byte.
    assert_eq!(failures::forget(&store, &campaign.id()).await?, 2);
    let report = verify::verify(&store, &campaign, &mut |_| {}).await?;
    assert_eq!(report.damage().count(), 0, "tasks wait again: {:?}", report.findings);
    assert!(report.waiting > 0);
    let mended = run_here(&store, tiny(&SETTINGS)?, 2).await?.graph()?;
    assert_eq!(mended.failures().count(), 0);
    let (a, b) = (products(&store, &mended).await?, products(&whole, &reference).await?);
    assert_eq!(differences(&a, &b), Vec::<String>::new());
    let report = verify::verify(&store, &campaign, &mut |_| {}).await?;
    assert_eq!(report.damage().count(), 0, "{:?}", report.findings);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_before_fit_stops_the_campaign_with_its_reason() -> anyhow::Result<()> {
    let store = outshine_store::open("memory:").await?;
    let kernel = Failing { science: Stages::default(), tasks: vec![(Stage::Field, 0)] };
    let ran = run_with(&store, tiny(&SETTINGS)?, Arc::new(kernel)).await?;
    let error = ran.result.err().context("it failed")?.to_string();
    assert!(error.contains(FAILING), "{error}");
    Ok(())
}

/// The science, but for one task that kills the process.
struct Poison {
    science: Stages,
    start: u64,
    deaths: AtomicU32,
    /// Deaths while another task was at work.
    shared: AtomicU32,
    at_work: AtomicU32,
    death: Arc<Notify>,
}

/// Counts a task that is at work, until it ends or its process dies.
struct AtWork<'a>(&'a AtomicU32);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Kernel for Poison {
    async fn run(&self, assignment: Assignment) -> Result<Outcome, StageError> {
        let task = &assignment.task;
        if (task.stage, task.shard.start) == (Stage::Fit, self.start) {
            // Long enough for a neighbour to begin, if one may.
            tokio::time::sleep(Duration::from_millis(300)).await;
            if self.at_work.load(Ordering::SeqCst) > 0 {
                self.shared.fetch_add(1, Ordering::SeqCst);
            }
            self.deaths.fetch_add(1, Ordering::SeqCst);
            self.death.notify_one();
            // The process dies: nothing comes back.
            return std::future::pending().await;
        }
        self.at_work.fetch_add(1, Ordering::SeqCst);
        let _at_work = AtWork(&self.at_work);
        self.science.run(assignment).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_kills_its_workers_is_given_up_alone() -> anyhow::Result<()> {
    let store = outshine_store::open("memory:").await?;
    let queue: Arc<dyn TaskQueue> = Arc::new(MemoryQueue::new());
    let death = Arc::new(Notify::new());
    let kernel = Arc::new(Poison {
        science: Stages::default(),
        start: 1,
        deaths: AtomicU32::new(0),
        shared: AtomicU32::new(0),
        at_work: AtomicU32::new(0),
        death: death.clone(),
    });
    let worker: (usize, Arc<dyn Kernel>) = (2, kernel.clone());
    let ran = run_dying(&store, queue.clone(), tiny(&SETTINGS)?, worker, (death, 100)).await?;
    let campaign = ran.campaign.clone();
    let graph = ran.graph()?;
    let failed: Vec<_> = graph.failures().map(|f| (f.stage, f.shard.start)).collect();
    assert_eq!(failed, [(Stage::Fit, 1)], "the poison, and no neighbour");
    let error = &graph.failures().next().context("one")?.error;
    assert!(error.contains("lost 3 times") && error.contains("life-"), "{error}");
    // Twice in company, before it was suspected, then three times alone.
    assert_eq!(kernel.deaths.load(Ordering::SeqCst), 5);
    assert!(kernel.shared.load(Ordering::SeqCst) <= 2);
    ensure!(queue.dead_letter_depth(&Class::Fit.queue()).await? == 1, "the message is kept");

    // A retry forgets the losses too, and with a sound worker all is whole.
    let losses = Layout::new(&campaign.id()).stage_losses(Stage::Fit);
    assert_eq!(store.list(&losses).await?.len(), 3);
    assert_eq!(failures::forget(&store, &campaign.id()).await?, 1);
    assert_eq!(store.list(&losses).await?, []);
    let mended = run_here(&store, tiny(&SETTINGS)?, 2).await?.graph()?;
    assert_eq!(mended.failures().count(), 0);
    Ok(())
}

/// Kills its worker with every task.
struct Deadly {
    deaths: AtomicU32,
    death: Arc<Notify>,
}

#[async_trait]
impl Kernel for Deadly {
    async fn run(&self, _: Assignment) -> Result<Outcome, StageError> {
        self.deaths.fetch_add(1, Ordering::SeqCst);
        self.death.notify_one();
        std::future::pending().await
    }
}

/// A task that was published again has two messages, each of which comes back: all
/// their losses count.
#[tokio::test(start_paused = true)]
async fn losses_of_all_messages_of_a_task_are_counted() -> anyhow::Result<()> {
    let store = outshine_store::open("memory:").await?;
    let campaign = prepare(&store, tiny(&SETTINGS)?).await?;
    let mut graph = StageGraph::new(campaign.clone());
    progress::look(&store, &campaign.id(), &mut graph, By::Runner(&[])).await?;
    let task = graph.pending().next().context("a task")?;
    let (queue, name) = (MemoryQueue::new(), Class::Fit.queue());
    queue.declare(&name).await?;
    queue.publish_all(&name, vec![codec::encode(&task)?.into(); 2], Priority::Normal).await?;

    let death = Arc::new(Notify::new());
    let kernel = Arc::new(Deadly { deaths: AtomicU32::new(0), death: death.clone() });
    let (_stop, stopped) = watch::channel(false);
    for life in 0..20 {
        let settings = settings(&format!("life-{life}"), 1, kernel.clone());
        let queue = Arc::new(queue.clone());
        tokio::select! {
            ended = runtime::run(queue, store.clone(), settings, stopped.clone()) => ended?,
            () = death.notified() => {}
            // Nothing is left to do.
            () = tokio::time::sleep(Duration::from_secs(60)) => break,
        }
    }
    // Each twice before it was suspected, and three times in all after it.
    assert_eq!(kernel.deaths.load(Ordering::SeqCst), 2 * 2 + 3);
    let losses = Layout::new(&campaign.id()).losses(task.stage, &task.id);
    assert_eq!(store.list(&losses).await?.len(), 3);
    assert_eq!(queue.dead_letter_depth(&name).await?, 2);
    Ok(())
}
