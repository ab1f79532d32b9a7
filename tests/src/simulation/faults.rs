//! What goes wrong, how often, and the script of a run's large faults.

use super::random::Random;
use std::collections::BTreeMap;
use std::fmt;

/// What can be injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A process dies before an operation has its effect.
    CrashBefore,
    /// A process dies after the effect, before the answer.
    CrashAfter,
    /// A process dies in the midst of a task.
    CrashInTask,
    /// A process dies at any moment.
    Kill,
    /// A worker is told to stop and killed if it has not within its grace.
    Drain,
    /// Two coordinators run at once.
    SecondCoordinator,
    /// A coordinator starts with other sizes of tasks than the one before it.
    Recut,
    /// An operation on the store fails and did nothing.
    StoreError,
    /// An operation on the store works and its answer is lost.
    StoreAnswerLost,
    /// A put fails for its caller and works later, whatever has happened since.
    LatePut,
    /// The store is away for a while.
    StoreOutage,
    /// A process does not reach the store for a while.
    StorePartition,
    /// An operation on store or broker takes long, before or after its effect.
    LongDelay,
    /// An operation on the broker fails and did nothing.
    BrokerError,
    /// An operation on the broker works; confirm or answer is lost.
    BrokerAnswerLost,
    /// A publication fails for its caller and works later.
    LatePublish,
    /// The broker restarts and keeps its queues.
    BrokerRestart,
    /// The broker comes back without its queues.
    BrokerEmpty,
    /// A process does not reach the broker for a while: its tasks are handed
    /// out again while it still works at them.
    BrokerPartition,
    /// The broker notices late that a process died.
    LateHeartbeat,
    /// The broker takes a message back that is held for too long.
    AckTimeout,
    /// A message is there twice.
    Duplicate,
    /// A message overtakes others.
    Reorder,
    /// A confirmed message takes a while to reach the consumers.
    DelayedMessage,
    /// A task tells nothing and never ends.
    Hang,
    /// A task fails in a way that may pass.
    PassingError,
    /// A task takes long, and tells that it works.
    Slow,
    /// The clock jumps by hours.
    ClockJump,
    /// Some blocks or galaxies are bad: the task that has them always fails.
    BadTask,
    /// The same, and the task always kills its worker.
    Poison,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 30] = [
        Self::CrashBefore,
        Self::CrashAfter,
        Self::CrashInTask,
        Self::Kill,
        Self::Drain,
        Self::SecondCoordinator,
        Self::Recut,
        Self::StoreError,
        Self::StoreAnswerLost,
        Self::LatePut,
        Self::StoreOutage,
        Self::StorePartition,
        Self::LongDelay,
        Self::BrokerError,
        Self::BrokerAnswerLost,
        Self::LatePublish,
        Self::BrokerRestart,
        Self::BrokerEmpty,
        Self::BrokerPartition,
        Self::LateHeartbeat,
        Self::AckTimeout,
        Self::Duplicate,
        Self::Reorder,
        Self::DelayedMessage,
        Self::Hang,
        Self::PassingError,
        Self::Slow,
        Self::ClockJump,
        Self::BadTask,
        Self::Poison,
    ];

    /// Those that a director stages, one after another.
    pub const STAGED: [Self; 8] = [
        Self::Kill,
        Self::Drain,
        Self::StoreOutage,
        Self::StorePartition,
        Self::BrokerRestart,
        Self::BrokerEmpty,
        Self::BrokerPartition,
        Self::ClockJump,
    ];

    /// How likely it is where it can strike; which staged fault comes next is
    /// drawn evenly.
    fn rate(self) -> f64 {
        match self {
            Self::CrashBefore | Self::CrashAfter => 0.004,
            Self::CrashInTask | Self::Hang => 0.03,
            Self::StoreError | Self::StoreAnswerLost => 0.02,
            Self::LatePut | Self::LatePublish => 0.05,
            Self::LongDelay => 0.01,
            Self::BrokerError | Self::BrokerAnswerLost => 0.03,
            Self::PassingError | Self::Slow => 0.05,
            Self::Duplicate | Self::DelayedMessage => 0.1,
            Self::Reorder => 0.2,
            Self::LateHeartbeat | Self::AckTimeout | Self::SecondCoordinator | Self::Recut => 0.5,
            _ => 1.0,
        }
    }

    /// How often it strikes in one run at most: no message may come back more
    /// often than the broker bears, whatever else happens.
    fn limit(self) -> u64 {
        match self {
            Self::CrashBefore | Self::CrashAfter | Self::CrashInTask => 4,
            Self::Hang | Self::Slow => 2,
            Self::PassingError => 5,
            _ => u64::MAX,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// The faults of one run. Some kinds only: where all strike at once, none has
/// room to do its particular harm.
#[derive(Debug, Default)]
pub struct Faults {
    rates: BTreeMap<Fault, f64>,
    /// How often each has struck.
    pub fired: BTreeMap<Fault, u64>,
    /// How many faults are staged.
    pub staged: u64,
}

impl Faults {
    /// The faults that a seed stands for; one in sixteen is undisturbed.
    pub fn draw(random: &mut Random) -> Self {
        let mut faults = Self::default();
        let share = [0.0, 0.15, 0.3, 0.5][random.below(4) as usize];
        let share = if share == 0.0 && random.chance(0.75) { 0.1 } else { share };
        for fault in Fault::ALL {
            if random.chance(share) {
                let strength = 10f64.powf(random.unit() - 0.5);
                faults.rates.insert(fault, (fault.rate() * strength).min(1.0));
            }
        }
        faults.staged = if share == 0.0 { 0 } else { random.below(9) };
        faults
    }

    /// Whether a fault is set up now.
    pub fn arms(&self, fault: Fault, random: &mut Random) -> bool {
        self.rates.get(&fault).is_some_and(|&rate| random.chance(rate))
    }

    /// Whether a fault strikes now; counts it.
    pub fn strikes(&mut self, fault: Fault, random: &mut Random) -> bool {
        let Some(&rate) = self.rates.get(&fault) else { return false };
        let fired = self.fired.entry(fault).or_insert(0);
        if *fired >= fault.limit() || !random.chance(rate) {
            return false;
        }
        *fired += 1;
        true
    }

    /// The next fault to stage, if any kind is on.
    pub fn next_staged(&self, random: &mut Random) -> Option<Fault> {
        let on: Vec<Fault> =
            Fault::STAGED.into_iter().filter(|fault| self.rates.contains_key(fault)).collect();
        if on.is_empty() { None } else { Some(on[random.below(on.len() as u64) as usize]) }
    }
}
