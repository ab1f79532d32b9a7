//! What happens to a campaign, when, and to whom: made from one seed, and the
//! same for the same seed for ever.

use outshine_fault as points;
use outshine_kernels::random::{Purpose, Stream};
use std::fmt;
use std::time::Duration;

/// One process of the campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Victim {
    /// The coordinator.
    Coordinator,
    /// A worker, from 0.
    Worker(usize),
}

impl fmt::Display for Victim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Coordinator => f.write_str("the coordinator"),
            Self::Worker(number) => write!(f, "worker {number}"),
        }
    }
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL of a process.
    Kill(Victim),
    /// SIGSTOP of a process, SIGCONT after the time.
    Stop(Victim, Duration),
    /// SIGABRT of a process at a named point (see `outshine_fault`).
    Point(Victim, &'static str, u64),
    /// SIGKILL of the broker; back with its data.
    KillBroker(Duration),
    /// SIGKILL of the broker; back without anything.
    EmptyBroker(Duration),
    /// SIGSTOP of the broker, SIGCONT after the time.
    StopBroker(Duration),
    /// SIGKILL of the store; back with its data.
    KillStore(Duration),
    /// SIGSTOP of the store, SIGCONT after the time.
    StopStore(Duration),
    /// Connections to the broker are closed, and new ones too.
    CutBroker(Duration),
    /// Connections to the broker stay and carry nothing.
    StallBroker(Duration),
    /// The store answers every write with 507, as one whose disk is full does.
    StoreRefuses(Duration),
}

impl Fault {
    /// What kind it is, for counting.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Kill(Victim::Worker(_)) => "kill worker",
            Self::Kill(Victim::Coordinator) => "kill coordinator",
            Self::Stop(Victim::Worker(_), _) => "stop worker",
            Self::Stop(Victim::Coordinator, _) => "stop coordinator",
            Self::Point(_, name, _) => name,
            Self::KillBroker(_) => "kill broker",
            Self::EmptyBroker(_) => "empty broker",
            Self::StopBroker(_) => "stop broker",
            Self::KillStore(_) => "kill store",
            Self::StopStore(_) => "stop store",
            Self::CutBroker(_) => "cut broker",
            Self::StallBroker(_) => "stall broker",
            Self::StoreRefuses(_) => "store refuses",
        }
    }
}

/// Every kind of fault, in the order in which the seeds begin with them.
pub const KINDS: [&str; 17] = [
    "kill worker",
    "empty broker",
    points::COMMIT_BEFORE_ACK,
    "stop store",
    "kill coordinator",
    "cut broker",
    points::PUBLISHING,
    "stop worker",
    "kill store",
    points::PUT_BEFORE_COMMIT,
    "stop broker",
    "store refuses",
    points::REDUCING,
    "kill broker",
    "stop coordinator",
    points::BEFORE_PLAN,
    "stall broker",
];

/// A fault and when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Once the store has this many commits. A named point has its own time.
    pub commits: u64,
    /// What happens.
    pub fault: Fault,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.commits;
        let kind = self.fault.kind();
        match self.fault {
            Fault::Point(who, name, occurrence) => {
                write!(f, "{who} dies at {name}, occurrence {occurrence}")
            }
            Fault::Kill(who) => write!(f, "at {at} commits: SIGKILL of {who}"),
            Fault::Stop(who, lasts) => write!(f, "at {at} commits: SIGSTOP of {who}, {lasts:.1?}"),
            Fault::KillBroker(lasts)
            | Fault::EmptyBroker(lasts)
            | Fault::StopBroker(lasts)
            | Fault::KillStore(lasts)
            | Fault::StopStore(lasts)
            | Fault::CutBroker(lasts)
            | Fault::StallBroker(lasts)
            | Fault::StoreRefuses(lasts) => write!(f, "at {at} commits: {kind}, {lasts:.1?}"),
        }
    }
}

/// All that happens to one campaign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// What it was made from.
    pub seed: u64,
    /// Number of workers.
    pub workers: usize,
    /// The faults, in order of their beginning; at most one at a named point.
    pub events: Vec<Event>,
}

impl Schedule {
    /// The schedule of `seed` for a campaign of `tasks` tasks.
    ///
    /// # Panics
    /// When the campaign has fewer than 6 tasks: nothing could happen in the middle.
    #[must_use]
    pub fn new(seed: u64, tasks: u64) -> Self {
        assert!(tasks >= 6, "a campaign of {tasks} tasks is too short to be disturbed");
        // The stream's name needs a purpose; no campaign has this seed and these indices.
        let mut dice = Stream::new(seed, Purpose::Shuffle, u64::MAX, u64::MAX);
        let workers = 2 + dice.below(2) as usize;
        let more = 1 + dice.below(3) as usize;
        let mut events: Vec<Event> = Vec::new();
        let kinds = KINDS.len() as u64;
        while events.len() < 1 + more {
            // Two kinds go round with the seeds, five apart, which are never both
            // points; they begin while much is left to do.
            let (kind, latest) = match events.len() {
                0 => (seed, tasks / 4),
                1 => (seed + 5, tasks / 2),
                _ => (dice.below(kinds), tasks * 2 / 3),
            };
            let fault = fault(KINDS[(kind % kinds) as usize], workers, &mut dice);
            let commits = 1 + dice.below(latest);
            let is_point = |fault: &Fault| matches!(fault, Fault::Point(..));
            // A draw of a second point is thrown away; most draws are none.
            if is_point(&fault) && events.iter().any(|event| is_point(&event.fault)) {
                continue;
            }
            events.push(Event { commits, fault });
        }
        events.sort_by_key(|event| event.commits);
        Self { seed, workers, events }
    }

    /// Whether the network to the broker is disturbed.
    #[must_use]
    pub fn disturbs_network(&self) -> bool {
        let network = |e: &Event| matches!(e.fault, Fault::CutBroker(_) | Fault::StallBroker(_));
        self.events.iter().any(network)
    }

    /// Whether the store refuses writes.
    #[must_use]
    pub fn fills_store(&self) -> bool {
        self.events.iter().any(|event| matches!(event.fault, Fault::StoreRefuses(_)))
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}, {} workers", self.seed, self.workers)?;
        self.events.iter().try_for_each(|event| write!(f, "; {event}"))
    }
}

fn fault(kind: &'static str, workers: usize, dice: &mut Stream) -> Fault {
    let worker = Victim::Worker(dice.below(workers as u64) as usize);
    let occurrence = 1 + dice.below(3);
    let short = Duration::from_secs_f64(dice.uniform_in(0.2, 2.0));
    // Some are longer than two heartbeats, and than a stall of the queue.
    let long = Duration::from_secs_f64(dice.uniform_in(1.0, 10.0));
    match kind {
        "kill worker" => Fault::Kill(worker),
        "kill coordinator" => Fault::Kill(Victim::Coordinator),
        "stop worker" => Fault::Stop(worker, long),
        "stop coordinator" => Fault::Stop(Victim::Coordinator, long),
        "kill broker" => Fault::KillBroker(short),
        "empty broker" => Fault::EmptyBroker(short),
        "stop broker" => Fault::StopBroker(long),
        "kill store" => Fault::KillStore(short),
        "stop store" => Fault::StopStore(long),
        "cut broker" => Fault::CutBroker(long),
        "stall broker" => Fault::StallBroker(long),
        "store refuses" => Fault::StoreRefuses(long),
        points::PUBLISHING | points::BEFORE_PLAN => {
            Fault::Point(Victim::Coordinator, kind, occurrence)
        }
        // A worker may get few of those tasks.
        points::REDUCING => Fault::Point(worker, kind, occurrence.min(2)),
        name => Fault::Point(worker, name, occurrence),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_seed_always_gives_the_same_schedule() {
        for seed in 0..50 {
            let schedule = Schedule::new(seed, 40);
            assert_eq!(schedule, Schedule::new(seed, 40));
            assert_ne!(schedule.events, Schedule::new(seed + 17, 40).events);
            assert!((2..=4).contains(&schedule.events.len()) && schedule.workers >= 2);
            for event in &schedule.events {
                assert!((1..=26).contains(&event.commits), "{event}");
                if let Fault::Point(Victim::Worker(number), ..) = event.fault {
                    assert!(number < schedule.workers);
                }
            }
        }
    }

    #[test]
    fn the_first_schedules_have_every_kind_of_fault() {
        let kinds = |seeds: u64| -> BTreeSet<&str> {
            let all = (0..seeds).flat_map(|seed| Schedule::new(seed, 40).events);
            all.map(|event| event.fault.kind()).collect()
        };
        assert_eq!(kinds(15), BTreeSet::from(KINDS));
        for point in points::ALL {
            assert!(KINDS.contains(&point), "no schedule dies at {point}");
        }
    }

    /// A change of how schedules are made would make recorded seeds mean
    /// something else.
    #[test]
    fn schedules_stay_what_they_are() {
        assert_eq!(
            Schedule::new(3, 40).to_string(),
            "seed 3, 3 workers; at 7 commits: stop store, 1.0s; at 20 commits: kill store, 1.8s"
        );
    }
}
