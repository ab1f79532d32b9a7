//! What must hold, whatever goes wrong.

use super::faults::{Fault, Faults};
use super::kernel::{CATALOGUE, Shape};
use super::machines::{Machines, STALL_SECONDS, WINDOW};
use super::random::Random;
use super::world::World;
use super::{Options, run};
use crate::locked;
use anyhow::Context;
use bytes::Bytes;
use futures::{FutureExt, TryStreamExt};
use object_store::ObjectStore;
use outshine_broker::BrokerError;
use outshine_coordinator::dispatch::DispatchError;
use outshine_coordinator::run::RunError;
use outshine_coordinator::stage_graph::{StageGraph, State, TaskCounts};
use outshine_coordinator::view::View;
use outshine_schemas::digest::Digest;
use outshine_schemas::outcome::{CommitRecord, FailureRecord, StagePlan};
use outshine_schemas::task::{Shard, Stage};
use outshine_store::{ErrorClass, StoreError};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// What a campaign made.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// The data digest of every commit record, by its path.
    pub commits: BTreeMap<String, Digest>,
    /// The catalogue.
    pub catalogue: Bytes,
    /// Commits in all, those of an ending that lacked something among them.
    pub all: u64,
}

/// What the undisturbed campaign of a shape makes; run once for each.
pub fn expected(shape: Shape) -> anyhow::Result<Arc<Expected>> {
    static KNOWN: Mutex<BTreeMap<Shape, Arc<Expected>>> = Mutex::new(BTreeMap::new());
    if let Some(known) = locked(&KNOWN).get(&shape) {
        return Ok(known.clone());
    }
    let (report, made) = run(shape, Random::new(0), Faults::default(), Options::default(), None)?;
    if let Some(violation) = report.violation {
        anyhow::bail!("the undisturbed campaign of {shape:?}: {violation}");
    }
    anyhow::ensure!(
        made.catalogue == shape.catalogue(&[], &[]),
        "the undisturbed campaign of {shape:?} made\n{}and not\n{}",
        String::from_utf8_lossy(&made.catalogue),
        shape.catalogue(&[], &[])
    );
    let made = Arc::new(made);
    locked(&KNOWN).insert(shape, made.clone());
    Ok(made)
}

/// What is in the store.
#[derive(Default)]
struct Stored {
    plans: Vec<StagePlan>,
    commits: BTreeMap<String, CommitRecord>,
    failures: Vec<FailureRecord>,
}

/// Reads all records, and checks the commits' files.
fn read(world: &World) -> Result<Stored, String> {
    let listed = world.objects.list(None).try_collect::<Vec<_>>().now_or_never();
    let listed = listed.and_then(Result::ok).ok_or("the store cannot be listed")?;
    let mut stored = Stored::default();
    for meta in listed {
        let path = meta.location.as_ref();
        let bytes = || world.peek(path).unwrap_or_default();
        let bad = |error: serde_json::Error| format!("{path}: {error}");
        if path.contains("/failures/") {
            stored.failures.push(serde_json::from_slice(&bytes()).map_err(bad)?);
        } else if path.contains("/commits/") {
            let record = read_commit(world, path).map_err(|e| format!("{path}: {e:#}"))?;
            stored.commits.insert(path.to_owned(), record);
        } else if path.contains("/plan/") {
            stored.plans.push(serde_json::from_slice(&bytes()).map_err(bad)?);
        }
    }
    Ok(stored)
}

/// Checks that the tasks of a plan are committed, but for those that failed;
/// returns the paths of their commits.
fn covered(stored: &Stored, plan: &StagePlan, failed: &[Shard]) -> Result<Vec<String>, String> {
    let stage = plan.stage;
    let is_own = |record: &&CommitRecord| {
        record.stage == stage && (stage == Stage::Train || record.inputs == plan.inputs)
    };
    let own = stored.commits.iter().filter(|(_, record)| is_own(record));
    let (paths, mut shards): (Vec<String>, Vec<Shard>) =
        own.map(|(path, record)| (path.clone(), record.shard)).unzip();
    shards.extend(failed);
    shards.sort_unstable();
    // The plan of training has its first span only; what follows joins it.
    let spans = stage == Stage::Train && !shards.is_empty() && shards[0] == plan.shards[0];
    let joined = shards.windows(2).all(|pair| pair[0].end == pair[1].start);
    if !joined || (shards != plan.shards && !spans) {
        return Err(format!("stage {stage} covers {shards:?}, not its plan"));
    }
    Ok(paths)
}

fn file(world: &World, record: &CommitRecord, name: &str) -> Bytes {
    record.file(name).and_then(|file| world.peek(&file.path)).unwrap_or_default()
}

/// Checks a campaign that has ended without its bad tasks: these have failed, no
/// others have, and nothing else is lacking.
pub fn lacking(world: &World, shape: Shape) -> Result<(), String> {
    let stored = read(world)?;
    let bad = locked(&world.bad).clone();
    if stored.plans.len() != Stage::ALL.len() {
        return Err(format!("{} of {} stages have a plan", stored.plans.len(), Stage::ALL.len()));
    }
    let mut failed: BTreeMap<Stage, Vec<Shard>> = BTreeMap::new();
    for plan in &stored.plans {
        let must = |shard: &Shard| bad.iter().any(|bad| bad.is_in(plan.stage, *shard));
        let must: Vec<Shard> = plan.shards.iter().copied().filter(must).collect();
        let of_stage = stored.failures.iter().filter(|failure| failure.stage == plan.stage);
        let mut have: Vec<Shard> = of_stage.map(|failure| failure.shard).collect();
        have.sort_unstable();
        if have != must {
            return Err(format!("stage {}: {have:?} failed, not {must:?}", plan.stage));
        }
        covered(&stored, plan, &must)?;
        failed.insert(plan.stage, must);
    }
    let mut records = stored.commits.values();
    let catalogue = records.rfind(|record| record.stage == Stage::Catalogue);
    let made = catalogue.map(|record| file(world, record, CATALOGUE)).unwrap_or_default();
    if made != shape.catalogue(&failed[&Stage::Fit], &failed[&Stage::Reduce]) {
        return Err("the catalogue does not lack what failed".to_owned());
    }
    Ok(())
}

/// Reads what a campaign made, and checks that all of it is there and whole.
pub fn gather(world: &World) -> Result<Expected, String> {
    let stored = read(world)?;
    if let Some(failure) = stored.failures.first() {
        return Err(format!("there is a failure record of {} {}", failure.stage, failure.shard));
    }
    let mut made = Expected { all: stored.commits.len() as u64, ..Expected::default() };
    let whole = |plan: &&StagePlan| plan.sources.iter().all(|source| source.missing.is_empty());
    let plans: Vec<&StagePlan> = stored.plans.iter().filter(whole).collect();
    if plans.len() != Stage::ALL.len() {
        return Err(format!("{} of {} stages have a plan", plans.len(), Stage::ALL.len()));
    }
    for plan in plans {
        for path in covered(&stored, plan, &[])? {
            let record = &stored.commits[&path];
            if record.stage == Stage::Catalogue {
                made.catalogue = file(world, record, CATALOGUE);
            }
            made.commits.insert(path, record.data_digest.clone());
        }
    }
    Ok(made)
}

fn read_commit(world: &World, path: &str) -> anyhow::Result<CommitRecord> {
    let record: CommitRecord = serde_json::from_slice(&world.peek(path).context("not there")?)?;
    for file in &record.files {
        let bytes = world.peek(&file.path).with_context(|| format!("no file {}", file.path))?;
        let sound = Digest::of(&bytes) == file.sha256 && bytes.len() as u64 == file.bytes;
        anyhow::ensure!(sound, "{} does not match its record", file.path);
    }
    let digest = CommitRecord::digest_of(&record.files, &record.facts);
    anyhow::ensure!(digest == record.data_digest, "its data digest is another");
    Ok(record)
}

/// Holds the end of a run against the undisturbed one.
pub fn check(world: &World, machines: &Machines, expected: &Expected, made: &Expected) {
    if world.violation().is_some() {
        return;
    }
    // Tasks cut otherwise are other tasks; what they cover was checked.
    if world.fired().get(&Fault::Recut).is_none_or(|times| *times == 0) {
        for (path, digest) in &expected.commits {
            match made.commits.get(path) {
                Some(found) if found == digest => {}
                Some(_) => world.violated(format!("{} has other data", world.short(path))),
                None => world.violated(format!("{} is missing", world.short(path))),
            }
        }
        let other = made.commits.keys().find(|path| !expected.commits.contains_key(*path));
        if let Some(path) = other {
            world.violated(format!("{} was never planned", world.short(path)));
        }
    }
    if made.catalogue != expected.catalogue {
        world.violated("the catalogue is another".to_owned());
    }
    let counts = machines.broker.counts();
    let coordinators = machines.coordinators() as u64;
    // Each coordinator publishes each task once, and once more if it is much
    // slower than others. What makes it forget, or doubt, what it has published
    // costs what can be under way, and no more.
    let tasks = made.all;
    let under_way = WINDOW + machines.slots();
    let empty = world.fired().get(&Fault::BrokerEmpty).copied().unwrap_or(0);
    let doubts = machines.coordinator_lives() - coordinators
        + counts.broken
        + coordinators * empty
        + coordinators * (world.lived().as_secs() / STALL_SECONDS + world.jumps());
    let most = 2 * tasks * coordinators + doubts * under_way;
    if counts.published > most {
        let published = counts.published;
        world.violated(format!("{published} publications of {tasks} tasks, {most} explained"));
    }
    let waiting = WINDOW * coordinators + counts.returned + counts.doubled + counts.late;
    if counts.most > waiting {
        let most = counts.most;
        world.violated(format!("{most} messages waited in one queue, {waiting} explained"));
    }
}

/// Whether a fault explains why a coordinator ended.
pub fn explained(world: &World, error: &anyhow::Error) -> bool {
    if world.fired().values().all(|times| *times == 0) {
        return false;
    }
    let passes = |error: &StoreError| error.class() == ErrorClass::Retry;
    if let Some(error) = error.downcast_ref::<StoreError>() {
        return passes(error);
    }
    match error.downcast_ref::<RunError>() {
        Some(RunError::Store(error)) => passes(error),
        // A queue is missing for longer than the patience only if the clock jumps.
        Some(RunError::Dispatch(DispatchError::Broker(BrokerError::UnknownQueue { .. }))) => {
            world.jumps() > 0
        }
        Some(RunError::Dispatch(DispatchError::Broker(error))) => {
            error.class() == outshine_broker::ErrorClass::Retry
        }
        Some(RunError::Dispatch(DispatchError::Vanishes { .. })) => true,
        _ => false,
    }
}

/// Watches what a coordinator shows.
pub struct Watcher {
    world: Arc<World>,
    done: usize,
    planned: BTreeMap<Stage, usize>,
}

impl Watcher {
    /// For one life of a coordinator.
    pub fn new(world: Arc<World>) -> Self {
        Self { world, done: 0, planned: BTreeMap::new() }
    }
}

impl View for Watcher {
    fn show(&mut self, graph: &StageGraph) {
        let world = &self.world;
        let mut all = 0;
        for (stage, state) in graph.states() {
            if !matches!(state, State::Running(_) | State::Complete(_)) {
                continue;
            }
            let TaskCounts { done, pending, failed } = state.counts();
            let folder = format!("/commits/{stage}/");
            let there = locked(&world.commits).keys().filter(|p| p.contains(&folder)).count();
            if done > there {
                world.violated(format!("stage {stage}: {done} done, {there} committed"));
            }
            // How many spans training takes shows only at its end.
            let now = done + pending + failed;
            let planned = *self.planned.entry(stage).or_insert(now);
            if stage != Stage::Train && planned != now {
                world.violated(format!("stage {stage}: {planned} tasks, then {now}"));
            }
            all += done;
        }
        // A failed stage no longer says what it has.
        if all < self.done && graph.failure().is_none() {
            world.violated(format!("progress fell from {} to {all} tasks", self.done));
        }
        self.done = all;
    }
}
