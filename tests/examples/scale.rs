//! What the engine itself costs: a campaign of many tasks that do nothing.
//!
//! `cargo run --release -p outshine-tests --example scale -- TASKS STORE [WORKERS]`
//!
//! Runs a campaign of TASKS fit tasks on STORE (an empty folder, or
//! s3://bucket/prefix), with a queue in memory and WORKERS slots (default 64),
//! then removes the last hundred commit records, with the index of their group, and
//! runs it again. Prints wall
//! time, CPU time of the coordinator's threads and of all others, peak memory,
//! and how long a restarted coordinator takes to its first new task.
#![allow(missing_docs, clippy::print_stdout)]

use anyhow::{Context, ensure};
use async_trait::async_trait;
use outshine_broker::{MemoryQueue, TaskQueue};
use outshine_coordinator::prepare::prepare;
use outshine_coordinator::run::{Pace, run};
use outshine_coordinator::stage_graph::StageGraph;
use outshine_coordinator::view::Silent;
use outshine_schemas::campaign::{Campaign, ResolvedCampaign};
use outshine_schemas::task::Stage;
use outshine_store::Store;
use outshine_store::layout::Layout;
use outshine_tests::campaigns::settings;
use outshine_tests::kernels::bare_outcome;
use outshine_worker::runtime::{self, Assignment, Kernel};
use outshine_worker::stages::{Outcome, StageError};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Does nothing, and says what the planner must know.
struct Nothing {
    tasks: u64,
    /// When the first task arrived.
    first: OnceLock<Instant>,
}

#[async_trait]
impl Kernel for Nothing {
    async fn run(&self, assignment: Assignment) -> Result<Outcome, StageError> {
        self.first.get_or_init(Instant::now);
        Ok(bare_outcome(assignment.task.stage, self.tasks))
    }
}

/// CPU seconds of this process's threads whose name starts so, and of the others.
fn cpu(name: &str) -> anyhow::Result<(f64, f64)> {
    let (mut own, mut others) = (0.0, 0.0);
    for entry in std::fs::read_dir("/proc/self/task")? {
        let stat = std::fs::read_to_string(entry?.path().join("stat"))?;
        let (head, rest) = stat.rsplit_once(')').context("a thread's state")?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // Ticks of 10 ms, in user and kernel mode.
        let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
        let is_own = head.split_once('(').is_some_and(|(_, comm)| comm.starts_with(name));
        *(if is_own { &mut own } else { &mut others }) += ticks / 100.0;
    }
    Ok((own, others))
}

fn peak_megabytes() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).context("VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1e3)
}

/// A finished run.
struct Ran {
    graph: StageGraph,
    /// When the first task arrived at a worker.
    first: Option<Duration>,
    /// CPU seconds of the coordinator's threads and of all others.
    spent: (f64, f64),
}

/// Runs to the end.
fn campaign(
    store: &Store,
    resolved: &ResolvedCampaign,
    tasks: u64,
    slots: usize,
    name: &str,
) -> anyhow::Result<Ran> {
    let queue: Arc<dyn TaskQueue> = Arc::new(MemoryQueue::new());
    let kernel = Arc::new(Nothing { tasks, first: OnceLock::new() });
    let workers = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("worker")
        .enable_all()
        .build()?;
    let settings = settings("scale", slots, kernel.clone());
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let work = workers.spawn(runtime::run(queue.clone(), store.clone(), settings, stopped));
    let coordinator = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name(name)
        .enable_all()
        .build()?;
    let started = Instant::now();
    let (of, at) = (resolved.clone(), store.clone());
    let pace = Pace {
        poll: Duration::from_millis(100),
        patience: Duration::from_secs(60),
        until: Stage::Catalogue,
    };
    let graph = coordinator.block_on(async move {
        tokio::spawn(async move { run(&at, queue, &[], &of, pace, &mut Silent).await }).await
    })??;
    let spent = cpu(name)?;
    stop.send(true)?;
    workers.block_on(work)??;
    ensure!(graph.commits(Stage::Fit).len() as u64 == tasks, "every task has one commit");
    Ok(Ran { graph, first: kernel.first.get().map(|first| *first - started), spent })
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [tasks, place, rest @ ..] = arguments.as_slice() else {
        anyhow::bail!("give TASKS STORE [WORKERS]");
    };
    let tasks: u64 = tasks.parse().context("TASKS is a number")?;
    let slots: usize = rest.first().map_or(Ok(64), |w| w.parse()).context("WORKERS")?;
    let text = "name = \"scale\"\n[field.mock]\nkind = \"prior\"\n[execution]\n\
                blocks_per_task = 1\nqueue_window = 4096\n";
    let spec = Campaign::parse(text, "scale.toml", Path::new("."), &[])?;
    let main = tokio::runtime::Runtime::new()?;
    let store = main.block_on(outshine_store::open(place))?;
    let resolved = main.block_on(prepare(&store, spec))?;

    for name in ["first", "again"] {
        let started = Instant::now();
        let Ran { graph, first, spent: (own, others) } =
            campaign(&store, &resolved, tasks, slots, name)?;
        let wall = started.elapsed().as_secs_f64();
        println!(
            "{name}: {wall:.1} s, coordinator {own:.1} s of CPU ({:.3} ms per task), first \
             task after {:.2} s, peak memory {:.0} MB (others: {others:.1} s of CPU)",
            1e3 * own / tasks as f64,
            first.map_or(f64::NAN, |f| f.as_secs_f64()),
            peak_megabytes()?
        );
        if name == "again" {
            break;
        }
        let layout = Layout::new(&resolved.id());
        let gone = graph.commits(Stage::Fit).iter().rev().take(100);
        for record in gone {
            let path = layout.commit(Stage::Fit, record.shard, &record.task);
            main.block_on(store.delete(&path))?;
            // A group that is not complete has no index.
            let index = layout.index(Stage::Fit, &record.inputs, record.shard.group());
            main.block_on(store.delete(&index))?;
        }
    }
    Ok(())
}
