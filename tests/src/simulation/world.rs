//! What all parts of one simulated run share: chance, the trace, the faults in
//! force, and the first broken invariant.

use super::Sabotage;
use super::faults::{Fault, Faults};
use super::random::Random;
use crate::locked;
use futures::FutureExt;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use outshine_schemas::task::{Shard, Stage, Task};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The two things that a process talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    Store,
    Broker,
}

/// How an operation goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Answers,
    FailsBefore,
    FailsAfter,
    DiesBefore,
    DiesAfter,
}

/// A block of fit, or a galaxy of reduce, whose task cannot end well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bad {
    pub stage: Stage,
    pub member: u64,
    /// How its task ends: [`Fault::BadTask`] or [`Fault::Poison`].
    pub how: Fault,
}

impl Bad {
    /// Whether a task has it.
    pub fn is_in(&self, stage: Stage, shard: Shard) -> bool {
        self.stage == stage && (shard.start..shard.end).contains(&self.member)
    }
}

/// What happens to one operation.
#[derive(Clone, Copy, Debug)]
pub struct Fate {
    pub before: Duration,
    pub after: Duration,
    pub ending: Ending,
}

/// One run's surroundings.
#[derive(Debug)]
pub struct World {
    /// The planted bug, if any.
    pub sabotage: Option<Sabotage>,
    /// What the store keeps.
    pub objects: InMemory,
    /// Wakes the run when an invariant breaks.
    pub broken: Notify,
    /// Commit records as first seen: the invariant is that they stay.
    pub commits: Mutex<BTreeMap<String, bytes::Bytes>>,
    /// Members of stages whose tasks cannot end well, until they are mended.
    pub bad: Mutex<Vec<Bad>>,
    started: Instant,
    core: Mutex<Core>,
}

#[derive(Debug)]
struct Core {
    random: Random,
    faults: Faults,
    quiet: Option<Instant>,
    down: BTreeSet<Peer>,
    cut: BTreeSet<(usize, Peer)>,
    jumped: Duration,
    recovery: Duration,
    trace: Trace,
    violation: Option<String>,
}

#[derive(Debug)]
struct Trace {
    hash: u64,
    steps: u64,
    line: String,
    lines: Option<Vec<String>>,
}

impl World {
    /// The world of a seed; must be made on its runtime, whose clock is paused.
    pub fn new(random: Random, faults: Faults, sabotage: Option<Sabotage>, trace: bool) -> Self {
        let trace = Trace {
            hash: 0xcbf2_9ce4_8422_2325,
            steps: 0,
            line: String::new(),
            lines: trace.then(Vec::new),
        };
        let core = Core {
            random,
            faults,
            quiet: None,
            recovery: Duration::ZERO,
            down: BTreeSet::new(),
            cut: BTreeSet::new(),
            jumped: Duration::ZERO,
            trace,
            violation: None,
        };
        Self {
            sabotage,
            objects: InMemory::new(),
            broken: Notify::new(),
            commits: Mutex::default(),
            bad: Mutex::default(),
            started: Instant::now(),
            core: Mutex::new(core),
        }
    }

    /// Draws from the run's chance.
    pub fn random<T>(&self, draw: impl FnOnce(&mut Random) -> T) -> T {
        draw(&mut locked(&self.core).random)
    }

    /// Whether a fault strikes now.
    pub fn strikes(&self, fault: Fault) -> bool {
        let core = &mut *locked(&self.core);
        core.quiet.is_none() && core.faults.strikes(fault, &mut core.random)
    }

    /// Whether a fault is set up now that strikes only if nothing comes before it.
    pub fn is_armed(&self, fault: Fault) -> bool {
        let core = &mut *locked(&self.core);
        core.quiet.is_none() && core.faults.arms(fault, &mut core.random)
    }

    /// What is bad of a task, if anything is.
    pub fn bad(&self, task: &Task) -> Option<Bad> {
        locked(&self.bad).iter().find(|bad| bad.is_in(task.stage, task.shard)).copied()
    }

    /// Counts a fault that was set up before and has struck.
    pub fn struck(&self, fault: Fault) {
        *locked(&self.core).faults.fired.entry(fault).or_insert(0) += 1;
    }

    /// The next fault to stage, and counts it.
    pub fn next_staged(&self) -> Option<Fault> {
        let core = &mut *locked(&self.core);
        let fault = core.faults.next_staged(&mut core.random)?;
        *core.faults.fired.entry(fault).or_insert(0) += 1;
        Some(fault)
    }

    /// How many faults are staged.
    pub fn staged(&self) -> u64 {
        locked(&self.core).faults.staged
    }

    /// How often each fault struck.
    pub fn fired(&self) -> BTreeMap<Fault, u64> {
        locked(&self.core).faults.fired.clone()
    }

    /// From now on nothing goes wrong any more.
    pub fn calm(&self) {
        let mut core = locked(&self.core);
        core.quiet.get_or_insert(Instant::now());
        core.down.clear();
        core.cut.clear();
    }

    /// Whether nothing goes wrong any more.
    pub fn is_calm(&self) -> bool {
        locked(&self.core).quiet.is_some()
    }

    /// The campaign is complete: nothing need go wrong any more.
    pub fn completed(&self) {
        self.calm();
        let mut core = locked(&self.core);
        core.recovery = core.quiet.map_or(Duration::ZERO, |since| since.elapsed());
    }

    /// From the last fault to the complete campaign.
    pub fn recovery(&self) -> Duration {
        locked(&self.core).recovery
    }

    /// Takes a peer away from all.
    pub fn take_down(&self, peer: Peer) {
        locked(&self.core).down.insert(peer);
    }

    /// Brings a peer back.
    pub fn bring_up(&self, peer: Peer) {
        locked(&self.core).down.remove(&peer);
    }

    /// Takes a peer away from one process.
    pub fn cut(&self, process: usize, peer: Peer) {
        locked(&self.core).cut.insert((process, peer));
    }

    /// Joins them again.
    pub fn join(&self, process: usize, peer: Peer) {
        locked(&self.core).cut.remove(&(process, peer));
    }

    /// Whether a process reaches a peer.
    pub fn reaches(&self, process: usize, peer: Peer) -> bool {
        let core = locked(&self.core);
        !core.down.contains(&peer) && !core.cut.contains(&(process, peer))
    }

    /// What happens to the next operation on `peer`.
    pub fn fate(&self, peer: Peer) -> Fate {
        let core = &mut *locked(&self.core);
        let random = &mut core.random;
        let (mut before, mut after) = (random.millis(1, 20), random.millis(1, 20));
        let mut ending = Ending::Answers;
        if core.quiet.is_none() {
            let faults = &mut core.faults;
            let (fails, forgets) = match peer {
                Peer::Store => (Fault::StoreError, Fault::StoreAnswerLost),
                Peer::Broker => (Fault::BrokerError, Fault::BrokerAnswerLost),
            };
            if faults.strikes(Fault::LongDelay, random) {
                let long = random.millis(1_000, 40_000);
                if random.chance(0.5) { before = long } else { after = long }
            }
            for (fault, end) in [
                (Fault::CrashBefore, Ending::DiesBefore),
                (Fault::CrashAfter, Ending::DiesAfter),
                (fails, Ending::FailsBefore),
                (forgets, Ending::FailsAfter),
            ] {
                if ending == Ending::Answers && faults.strikes(fault, random) {
                    ending = end;
                }
            }
        }
        Fate { before, after, ending }
    }

    /// An invariant is broken: the run ends here. The first one counts.
    pub fn violated(&self, what: String) {
        self.note("invariant", &what);
        locked(&self.core).violation.get_or_insert(what);
        self.broken.notify_one();
    }

    /// The first broken invariant.
    pub fn violation(&self) -> Option<String> {
        locked(&self.core).violation.clone()
    }

    /// Virtual time since the start.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Virtual time since the start, without jumps of the clock.
    pub fn lived(&self) -> Duration {
        self.elapsed().saturating_sub(locked(&self.core).jumped)
    }

    /// How often the clock has jumped.
    pub fn jumps(&self) -> u64 {
        locked(&self.core).faults.fired.get(&Fault::ClockJump).copied().unwrap_or(0)
    }

    /// Lets the clock jump.
    pub async fn jump(&self, by: Duration) {
        locked(&self.core).jumped += by;
        tokio::time::advance(by).await;
    }

    /// Adds a step to the trace.
    pub fn note(&self, who: &str, what: &str) {
        let now = self.elapsed().as_millis();
        let trace = &mut locked(&self.core).trace;
        trace.line.clear();
        let _ = write!(trace.line, "{now:>9} {who} {what}");
        for byte in trace.line.bytes() {
            trace.hash = (trace.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        trace.steps += 1;
        if let Some(lines) = &mut trace.lines {
            lines.push(trace.line.clone());
        }
    }

    /// Digest, number and lines of the trace so far.
    pub fn trace(&self) -> (u64, u64, Vec<String>) {
        let trace = &mut locked(&self.core).trace;
        (trace.hash, trace.steps, trace.lines.take().unwrap_or_default())
    }

    /// A path as the trace has it: without the campaign, and with the starts of ids.
    pub fn short(&self, path: &str) -> String {
        let start = |id: &str| id.get(..8).unwrap_or(id).to_owned();
        let parts: Vec<&str> = path.split('/').skip(2).collect();
        match parts.as_slice() {
            ["data", stage, task, attempt, file] => {
                format!("data/{stage}/{}/{}/{file}", start(task), start(attempt))
            }
            ["losses", stage, task, delivery] => {
                format!("losses/{stage}/{}/{}", start(task), start(delivery))
            }
            ["commits", stage, group, task] => format!("commits/{stage}/{group}/{}", start(task)),
            [folder, stage, task] => format!("{folder}/{stage}/{}", start(task)),
            parts => parts.join("/"),
        }
    }

    /// An error as the trace has it: the paths in it as of [`World::short`].
    pub fn words(&self, error: &dyn std::fmt::Display) -> String {
        let error = error.to_string();
        let part = |part: &str| match part.starts_with("campaigns/") {
            true => self.short(part),
            false => part.to_owned(),
        };
        error.split('`').map(part).collect::<Vec<_>>().join("`")
    }

    /// An object as it is in this moment; costs no time.
    pub fn peek(&self, path: &str) -> Option<bytes::Bytes> {
        let read = async { self.objects.get(&Path::from(path)).await?.bytes().await };
        read.now_or_never().and_then(Result::ok)
    }
}
