//! Many seeds on all cores.

use super::{Fault, Options, Report, simulate};
use crate::locked;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How many runs went.
#[derive(Debug, Default)]
pub struct Sweep {
    /// Number of runs.
    pub runs: u64,
    /// Seeds with a broken invariant, in order.
    pub broken: BTreeMap<u64, String>,
    /// How often each fault struck.
    pub fired: BTreeMap<Fault, u64>,
    /// Steps of all runs.
    pub steps: u64,
    /// Digests of all runs, summed up.
    pub digest: u64,
    /// The longest time from the last fault to a complete campaign.
    pub recovery: Duration,
    /// Virtual time of all runs.
    pub lived: Duration,
}

impl Sweep {
    fn add(&mut self, report: Report) {
        self.runs += 1;
        self.steps += report.steps;
        self.lived += report.lived;
        self.recovery = self.recovery.max(report.recovery);
        self.digest = self.digest.wrapping_add(report.digest);
        for (fault, count) in report.fired {
            *self.fired.entry(fault).or_insert(0) += count;
        }
        if let Some(violation) = report.violation {
            self.broken.insert(report.seed, violation);
        }
    }
}

/// Runs seeds on all cores; tells at once of each that breaks an invariant.
///
/// # Errors
/// As [`simulate`].
pub fn sweep(
    seeds: Range<u64>,
    options: Options,
    tell: impl Fn(&Report) + Sync,
) -> anyhow::Result<Sweep> {
    let (next, all) = (AtomicU64::new(seeds.start), Mutex::new(Sweep::default()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return anyhow::Ok(());
            }
            let report = simulate(seed, options)?;
            if report.violation.is_some() {
                tell(&report);
            }
            locked(&all).add(report);
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            thread.join().map_err(|_| anyhow::anyhow!("a simulation panicked"))??;
        }
        anyhow::Ok(())
    })?;
    Ok(std::mem::take(&mut *locked(&all)))
}
