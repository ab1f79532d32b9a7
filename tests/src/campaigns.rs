//! Small campaigns that run in seconds, and the means to run them.

use anyhow::Context;
use bytes::Bytes;
use outshine_broker::{MemoryQueue, TaskQueue};
use outshine_coordinator::export;
use outshine_coordinator::prepare::prepare;
use outshine_coordinator::progress::{self, By};
use outshine_coordinator::run::{Pace, RunError, run};
use outshine_coordinator::stage_graph::StageGraph;
use outshine_coordinator::view::Silent;
use outshine_schemas::campaign::{Campaign, ResolvedCampaign};
use outshine_schemas::task::{Class, Stage};
use outshine_store::Store;
use outshine_worker::runtime::{self, Kernel, Settings, WorkerError, board::Board};
use outshine_worker::stages::Stages;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// A mock campaign of six galaxies and a small network.
pub const TINY: &str = r#"
name = "tiny"
seed = 7
estimator = "train"

[field.mock]
galaxies = 6
columns = 3
stamp = 40
log_mass = [9.0, 10.5]
radius_pixels = [3.0, 5.0]

[simulate]
count = 2000

[train]
blocks = 1
hidden = 32
redshift_hidden = 16
max_epochs = 6

[calibrate]
count = 200
draws = 99
required = false

[fit]
draws = 40

[execution]
simulations_per_task = 500
epochs_per_task = 2
blocks_per_task = 2
galaxies_per_task = 2
"#;

/// [`TINY`] with settings.
///
/// # Errors
/// When a setting does not fit.
pub fn tiny(settings: &[&str]) -> anyhow::Result<Campaign> {
    let settings: Vec<String> = settings.iter().map(|s| (*s).to_owned()).collect();
    Ok(Campaign::parse(TINY, "tiny.toml", Path::new("."), &settings)?)
}

/// A campaign run in this process: stored, run to its end or its error.
pub struct Ran {
    /// The campaign as stored.
    pub campaign: ResolvedCampaign,
    /// How it ended.
    pub result: Result<StageGraph, RunError>,
}

impl Ran {
    /// The finished campaign's stages.
    ///
    /// # Errors
    /// Why it is not finished.
    pub fn graph(self) -> anyhow::Result<StageGraph> {
        Ok(self.result?)
    }
}

/// Runs `campaign` on `store` with `workers` workers in this process.
///
/// # Errors
/// When the campaign cannot be stored; how it ended is in the value.
pub async fn run_here(store: &Store, campaign: Campaign, workers: usize) -> anyhow::Result<Ran> {
    run_until(store, campaign, workers, Stage::Catalogue).await
}

/// As [`run_here`], up to a stage.
///
/// # Errors
/// When the campaign cannot be stored; how it ended is in the value.
pub async fn run_until(
    store: &Store,
    campaign: Campaign,
    workers: usize,
    until: Stage,
) -> anyhow::Result<Ran> {
    let queue: Arc<dyn TaskQueue> = Arc::new(MemoryQueue::new());
    go(store, queue, campaign, workers, until).await
}

/// As [`run_here`], on a given queue.
///
/// # Errors
/// When the campaign cannot be stored; how it ended is in the value.
pub async fn run_on(
    store: &Store,
    queue: Arc<dyn TaskQueue>,
    campaign: Campaign,
    workers: usize,
) -> anyhow::Result<Ran> {
    go(store, queue, campaign, workers, Stage::Catalogue).await
}

/// As [`run_here`], with another kernel than the science's own.
///
/// # Errors
/// When the campaign cannot be stored; how it ended is in the value.
pub async fn run_with(
    store: &Store,
    campaign: Campaign,
    kernel: Arc<dyn Kernel>,
) -> anyhow::Result<Ran> {
    let queue: Arc<dyn TaskQueue> = Arc::new(MemoryQueue::new());
    run_by(store, queue, campaign, settings("test", 2, kernel), Stage::Catalogue).await
}

/// Settings of a worker in this process.
#[must_use]
pub fn settings(name: &str, slots: usize, kernel: Arc<dyn Kernel>) -> Settings {
    Settings {
        name: name.to_owned(),
        slots,
        threads: slots,
        patience: Duration::from_secs(30),
        class: Class::Fit,
        hang: runtime::HANG,
        board: Board::default(),
        consumers: runtime::Consumers::default(),
        kernel,
        new_id: runtime::random_ids(),
    }
}

async fn go(
    store: &Store,
    queue: Arc<dyn TaskQueue>,
    campaign: Campaign,
    workers: usize,
    until: Stage,
) -> anyhow::Result<Ran> {
    let settings = settings("test", workers, Arc::new(Stages::default()));
    run_by(store, queue, campaign, settings, until).await
}

/// As [`run_on`], by a worker with given settings, up to a stage.
///
/// # Errors
/// When the campaign cannot be stored; how it ended is in the value.
pub async fn run_by(
    store: &Store,
    queue: Arc<dyn TaskQueue>,
    campaign: Campaign,
    settings: Settings,
    until: Stage,
) -> anyhow::Result<Ran> {
    let (q, s) = (queue.clone(), store.clone());
    let worker = |stopped| runtime::run(q, s, settings, stopped);
    conduct(store, queue, campaign, until, worker).await
}

/// As [`run_on`], by a worker that dies at every `death` and is started again, as
/// often as it has `lives`; its name is `life-` and a number.
///
/// # Errors
/// When the campaign cannot be stored; how it ended is in the value.
pub async fn run_dying(
    store: &Store,
    queue: Arc<dyn TaskQueue>,
    campaign: Campaign,
    (slots, kernel): (usize, Arc<dyn Kernel>),
    (death, lives): (Arc<Notify>, u32),
) -> anyhow::Result<Ran> {
    let (q, s) = (queue.clone(), store.clone());
    let worker = |stopped: watch::Receiver<bool>| async move {
        for life in 0..lives {
            let settings = settings(&format!("life-{life}"), slots, kernel.clone());
            tokio::select! {
                ended = runtime::run(q.clone(), s.clone(), settings, stopped.clone()) => return ended,
                () = death.notified() => {}
            }
        }
        Ok(())
    };
    conduct(store, queue, campaign, Stage::Catalogue, worker).await
}

async fn conduct<F>(
    store: &Store,
    queue: Arc<dyn TaskQueue>,
    campaign: Campaign,
    until: Stage,
    worker: impl FnOnce(watch::Receiver<bool>) -> F,
) -> anyhow::Result<Ran>
where
    F: Future<Output = Result<(), WorkerError>> + Send + 'static,
{
    let campaign = prepare(store, campaign).await?;
    let (stop, stopped) = watch::channel(false);
    let mut view = Silent;
    let mut worker = tokio::spawn(worker(stopped));
    let pace = Pace { poll: Duration::from_millis(20), patience: Duration::from_secs(30), until };
    let result = tokio::select! {
        result = run(store, queue, &[], &campaign, pace, &mut view) => result,
        ended = &mut worker => {
            ended??;
            anyhow::bail!("the worker ended before the campaign");
        }
    };
    stop.send(true).context("the workers ended early")?;
    worker.await??;
    Ok(Ran { campaign, result })
}

/// Every product of a finished campaign: name and bytes.
///
/// # Errors
/// When an object is missing or damaged.
pub async fn products(
    store: &Store,
    graph: &StageGraph,
) -> anyhow::Result<BTreeMap<String, Bytes>> {
    let mut all = BTreeMap::new();
    for (name, record) in export::products(graph) {
        all.insert(name, outshine_store::commit::read_file(store, &record).await?);
    }
    Ok(all)
}

/// The stages of a campaign as the store has them.
///
/// # Errors
/// When the store does not answer.
pub async fn look(store: &Store, campaign: &ResolvedCampaign) -> anyhow::Result<StageGraph> {
    let mut graph = StageGraph::new(campaign.clone());
    progress::look(store, &campaign.id(), &mut graph, By::Reader).await?;
    Ok(graph)
}

/// Names whose values differ between two sets, of products say, or that only one
/// has.
#[must_use]
pub fn differences<V: PartialEq>(a: &BTreeMap<String, V>, b: &BTreeMap<String, V>) -> Vec<String> {
    let names: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    names.into_iter().filter(|n| a.get(*n) != b.get(*n)).cloned().collect()
}
