//! Many seeds on all cores.

use super::{Fault, Options, Report, simulate};
use std::collections::BTreeMap;
use std::ops::Range;
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

/// Runs seeds on all cores until `enough` of them broke an invariant; tells of
/// each that did at once.
///
/// # Errors
/// As [`simulate`].
pub fn sweep(
    seeds: Range<u64>,
    options: Options,
    enough: usize,
    tell: impl Fn(&Report) + Sync,
) -> anyhow::Result<Sweep> {
    let next = AtomicU64::new(seeds.start);
    let work = || {
        let mut own = Sweep::default();
        while own.broken.len() < enough {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                break;
            }
            let report = simulate(seed, options)?;
            if report.violation.is_some() {
                tell(&report);
            }
            own.runs += 1;
            own.steps += report.steps;
            own.lived += report.lived;
            own.recovery = own.recovery.max(report.recovery);
            own.digest = own.digest.wrapping_add(report.digest);
            for (fault, count) in report.fired {
                *own.fired.entry(fault).or_insert(0) += count;
            }
            if let Some(violation) = report.violation {
                own.broken.insert(seed, violation);
            }
        }
        if own.broken.len() >= enough {
            next.store(seeds.end, Ordering::Relaxed);
        }
        anyhow::Ok(own)
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut all = Sweep::default();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            let own = thread.join().map_err(|_| anyhow::anyhow!("a simulation panicked"))??;
            all.runs += own.runs;
            all.steps += own.steps;
            all.lived += own.lived;
            all.recovery = all.recovery.max(own.recovery);
            all.digest = all.digest.wrapping_add(own.digest);
            all.broken.extend(own.broken);
            for (fault, count) in own.fired {
                *all.fired.entry(fault).or_insert(0) += count;
            }
        }
        anyhow::Ok(())
    })?;
    Ok(all)
}
