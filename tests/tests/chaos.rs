//! Campaigns under faults come out as if nothing had happened.
//!
//! `OUTSHINE_CHAOS_SCHEDULES` is the number of schedules (15), `OUTSHINE_CHAOS_SEED`
//! runs the schedule of one seed alone, `OUTSHINE_CHAOS_RESULTS` names a file of
//! results: seeds that have passed with the same programs are not run again.
//! `OUTSHINE_CHAOS_LANES` is how many run at a time (2).

use anyhow::{Context, ensure};
use outshine_tests::chaos::checks::{Reference, check};
use outshine_tests::chaos::lane::Lane;
use outshine_tests::chaos::results::{Results, code_version};
use outshine_tests::chaos::schedule::{KINDS, Schedule};
use outshine_tests::chaos::supervisor::{Report, Supervisor};
use outshine_tests::locked;
use outshine_tests::processes::binary;
use outshine_tests::processes::{log_ends, logged};
use outshine_tests::servers::{ServerError, or_skip};
use serde_json::json;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

const SCHEDULES: u64 = 15;
const LANES: u64 = 2;

fn number(variable: &str) -> anyhow::Result<Option<u64>> {
    let Ok(text) = std::env::var(variable) else { return Ok(None) };
    Ok(Some(text.parse().with_context(|| format!("{variable}=`{text}`: not a number"))?))
}

/// What the lanes share.
struct Run {
    reference: Reference,
    results: Results,
    seeds: Mutex<VecDeque<u64>>,
    fired: Mutex<BTreeMap<&'static str, u64>>,
    failures: Mutex<Vec<String>>,
}

#[test]
fn disturbed_campaigns_equal_the_undisturbed_one() -> anyhow::Result<()> {
    let seeds: Vec<u64> = match number("OUTSHINE_CHAOS_SEED")? {
        Some(seed) => vec![seed],
        None => (0..number("OUTSHINE_CHAOS_SCHEDULES")?.unwrap_or(SCHEDULES)).collect(),
    };
    let lanes = number("OUTSHINE_CHAOS_LANES")?.unwrap_or(LANES).clamp(1, seeds.len() as u64);
    let Some(first) = or_skip(Lane::start()) else { return Ok(()) };
    let programs = [binary("outshine")?, binary("outshine-worker")?, std::env::current_exe()?];
    let file = std::env::var_os("OUTSHINE_CHAOS_RESULTS").map(Into::into);
    let results = Results::new(file, code_version(&programs)?);
    let passed = results.passed()?;
    let folder = tempfile::tempdir()?;
    let run = Run {
        reference: Reference::make(folder.path())?,
        results,
        seeds: Mutex::new(seeds.iter().copied().filter(|seed| !passed.contains(seed)).collect()),
        fired: Mutex::default(),
        failures: Mutex::default(),
    };
    let left = locked(&run.seeds).len();
    println!(
        "{} tasks; {left} schedules, {} passed before",
        run.reference.tasks(),
        seeds.len() - left
    );
    std::thread::scope(|scope| {
        let mut open = Some(first);
        for _ in 0..lanes {
            let (run, lane) = (&run, open.take());
            scope.spawn(move || run.lane(lane));
        }
    });
    let failures = locked(&run.failures);
    let fired = locked(&run.fired);
    println!("faults that fired: {fired:?}");
    ensure!(failures.is_empty(), "{} schedules failed:\n{}", failures.len(), failures.join("\n"));
    // Where every kind must have come about once, each has.
    if left as u64 >= SCHEDULES {
        let never: Vec<_> = KINDS.iter().filter(|kind| !fired.contains_key(*kind)).collect();
        ensure!(never.is_empty(), "faults that never fired: {never:?}");
    }
    Ok(())
}

impl Run {
    /// Runs one schedule after another until none is left.
    fn lane(&self, mut lane: Option<Lane>) {
        loop {
            let Some(seed) = locked(&self.seeds).pop_front() else { return };
            let schedule = Schedule::new(seed, self.reference.tasks());
            let outcome = self.disturb(&mut lane, &schedule);
            if outcome.is_err() {
                // Whatever state the servers are in, the next schedule has new ones.
                lane = None;
            }
            if let Err(error) = self.take_in(&schedule, outcome) {
                locked(&self.failures).push(format!("seed {seed}: {error:#}"));
                return;
            }
        }
    }

    fn disturb(&self, lane: &mut Option<Lane>, schedule: &Schedule) -> anyhow::Result<Report> {
        let lane = match lane {
            Some(lane) => lane,
            None => lane.insert(Lane::start().map_err(|e: ServerError| anyhow::anyhow!("{e}"))?),
        };
        let folder = tempfile::Builder::new().prefix("outshine-chaos-").tempdir()?;
        let (reference, path) = (&self.reference, folder.path());
        let outcome = Supervisor::new(lane, schedule, &reference.campaign, &reference.root, path)
            .and_then(Supervisor::run)
            .and_then(|report| {
                ensure!(!report.fired.is_empty(), "no fault fired: {:?}", report.missed);
                check(lane, schedule, reference, path)?;
                ensure!(!logged(path, "panicked at"), "a process panicked");
                Ok(report)
            });
        outcome.map_err(|error| error.context(log_ends(path)))
    }

    fn take_in(&self, schedule: &Schedule, outcome: anyhow::Result<Report>) -> anyhow::Result<()> {
        let seed = schedule.seed;
        let text = schedule.to_string();
        match outcome {
            Ok(report) => {
                let fired: Vec<String> =
                    report.fired.iter().map(|(event, how)| format!("{event}: {how}")).collect();
                let missed: Vec<String> = report.missed.iter().map(ToString::to_string).collect();
                println!(
                    "{text}\n    {:.1} s, {} starts; fired: {fired:?}; not: {missed:?}",
                    report.seconds, report.starts
                );
                for (event, _) in &report.fired {
                    *locked(&self.fired).entry(event.fault.kind()).or_default() += 1;
                }
                let more = json!({"fired": fired, "missed": missed, "seconds": report.seconds});
                self.results.add(seed, true, more)
            }
            Err(error) => {
                let text = format!("{text}\n{error:#}");
                println!("FAILED {text}");
                locked(&self.failures).push(text.clone());
                self.results.add(seed, false, json!({"error": text}))
            }
        }
    }
}
