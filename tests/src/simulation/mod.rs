//! Whole campaigns on simulated machines: the product's coordinator, worker
//! runtime, stage graph, commit protocol and reading of inputs, against a
//! simulated broker, store, clock and processes, all driven by one seed. Only
//! the science is replaced, by numbers that depend on every input.
//!
//! One seed is one run, and always the same run: there is one thread, time is
//! virtual, and all chance comes from the seed. [`Report::digest`] covers every
//! operation with its time.
//!
//! Faults, each listed with what it does in [`Fault`]:
//! - processes: crash before or after the effect of any operation, in a task,
//!   or at any moment; shutdown with grace; restarts; two coordinators at once,
//!   and with other sizes of tasks;
//! - store: failed operations, lost answers, puts that work after their caller
//!   gave up, outages, partitions, long delays;
//! - broker: failed operations, lost confirms and lost acks, publications that
//!   work after their caller gave up, restarts with and
//!   without its queues, partitions with late or no heartbeats, timeouts of
//!   acknowledgements, messages doubled, reordered, delayed and redelivered
//!   while their first worker still works;
//! - tasks: hangs, errors that pass, slow tasks, tasks of fit and reduce that
//!   always fail, and those that always kill their worker;
//! - the clock: jumps of hours.
//!
//! Not simulated: a store that loses or damages what it has confirmed.
//!
//! Invariants, checked as the run goes:
//! - a commit record, once there, never changes and never vanishes;
//! - a message is acked only when its task has a commit or failure record;
//! - no message becomes a dead letter, but of a task that cannot end well, whose
//!   failure is recorded before;
//! - progress never falls and is never over what is planned;
//! - no stage fails, no process ends with an error that no fault explains;
//!
//! at its end:
//! - after the last fault the campaign completes within [`LIVENESS`], the queues
//!   run empty, and workers told to stop do;
//! - where tasks cannot end well: these have failure records, and no others have;
//!   every other planned task is committed, and the catalogue lacks exactly what
//!   they would have made. Then what is bad is mended, failures are forgotten, and
//!   the campaign is run once more;
//! - the store has exactly the commits of its plans, which are those of the
//!   undisturbed campaign unless tasks were cut otherwise, each with the same
//!   data digest, its files there and matching their checksums, and no failure
//!   record;
//! - the catalogue is that of the undisturbed campaign, byte for byte, which
//!   itself is the one computed without any engine;
//! - publications are bounded: each coordinator publishes each task once, and
//!   once more if it is slow, and a restart, a failed call, and each time of a
//!   stall that has passed adds what can be under way at most; no more messages
//!   wait than the window, plus those that came back.

mod broker;
mod faults;
mod invariants;
mod kernel;
mod machines;
mod process;
mod queue;
mod random;
mod store;
mod sweep;
mod world;

pub use faults::Fault;
pub use kernel::Shape;
pub use sweep::{Sweep, sweep};

use faults::Faults;
use invariants::Expected;
use machines::Machines;
use random::Random;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use world::World;

/// How long a campaign may take after the last fault, in virtual time.
pub const LIVENESS: Duration = Duration::from_secs(1_200);

/// How much longer where a task kills its workers, again and again until it is
/// given up.
pub const POISONED: Duration = Duration::from_secs(2_400);

/// Bugs to plant, to see that the simulation finds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// A message is acked when it is taken.
    AckBeforeCommit,
    /// A create-only put overwrites.
    NoCreateOnly,
    /// Messages that come back vanish, and nothing is published again.
    DroppedRedelivery,
    /// Commits are compacted, and the originals deleted.
    CompactionDeletes,
    /// A put that failed is taken for one that worked.
    SwallowedError,
    /// Readers take every file that an attempt left, committed or not.
    ReadsUncommitted,
    /// The coordinator publishes however many messages wait.
    NoWindow,
    /// The coordinator publishes everything several times.
    PublishesAgain,
    /// That a task was lost is not written down.
    ForgetsLosses,
}

impl Sabotage {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::AckBeforeCommit,
        Self::NoCreateOnly,
        Self::DroppedRedelivery,
        Self::CompactionDeletes,
        Self::SwallowedError,
        Self::ReadsUncommitted,
        Self::NoWindow,
        Self::PublishesAgain,
        Self::ForgetsLosses,
    ];
}

/// What to simulate.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The planted bug.
    pub sabotage: Option<Sabotage>,
    /// Whether to keep the trace's lines.
    pub trace: bool,
    /// The campaign's limit of losses; by default the highest.
    pub max_losses: Option<u32>,
}

/// How a run went.
#[derive(Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// The first broken invariant.
    pub violation: Option<String>,
    /// Digest over all steps with their times.
    pub digest: u64,
    /// Number of steps.
    pub steps: u64,
    /// Virtual time, without jumps of the clock.
    pub lived: Duration,
    /// From the last fault to the complete campaign, in virtual time.
    pub recovery: Duration,
    /// How often each fault struck.
    pub fired: BTreeMap<Fault, u64>,
    /// The steps, where asked for.
    pub trace: Vec<String>,
}

/// Runs one seed.
///
/// # Errors
/// When the operating system gives no runtime, or the undisturbed campaign
/// itself fails.
pub fn simulate(seed: u64, options: Options) -> anyhow::Result<Report> {
    let shape = Shape(seed % Shape::COUNT);
    let expected = invariants::expected(shape)?;
    let mut random = Random::new(seed);
    let faults = Faults::draw(&mut random);
    let (report, _) = run(shape, random, faults, options, Some(&expected))?;
    Ok(Report { seed, ..report })
}

/// Runs one campaign; without `expected`, tells what it made.
fn run(
    shape: Shape,
    random: Random,
    faults: Faults,
    options: Options,
    expected: Option<&Expected>,
) -> anyhow::Result<(Report, Expected)> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    let (world, made, lived) = tokio::task::LocalSet::new().block_on(&runtime, async {
        let world = Arc::new(World::new(random, faults, options.sabotage, options.trace));
        let machines = Machines::new(world.clone(), shape, options.max_losses);
        machines.run().await;
        let mut made = Expected::default();
        if world.violation().is_none() {
            match invariants::gather(&world) {
                Ok(gathered) => made = gathered,
                Err(reason) => world.violated(reason),
            }
        }
        if let Some(expected) = expected {
            invariants::check(&world, &machines, expected, &made);
        }
        machines.power_off();
        // The clock is the runtime's.
        let lived = world.lived();
        anyhow::Ok((world, made, lived))
    })?;
    drop(runtime);
    let (digest, steps, trace) = world.trace();
    let report = Report {
        seed: 0,
        violation: world.violation(),
        digest,
        steps,
        lived,
        recovery: world.recovery(),
        fired: world.fired(),
        trace,
    };
    Ok((report, made))
}
