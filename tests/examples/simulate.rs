//! Runs simulations: a range of seeds on all cores, or one with its trace.
//!
//! ```text
//! cargo run --release -p outshine-tests --example simulate -- --seeds 0..100000
//! cargo run --release -p outshine-tests --example simulate -- --seed 1234 --trace
//! ```

use anyhow::Context;
use clap::Parser;
use outshine_tests::simulation::{Options, Sabotage, simulate, sweep};
use std::ops::Range;
use std::process::ExitCode;
use std::time::Instant;

/// Simulates campaigns under faults.
#[derive(Parser)]
struct Arguments {
    /// Seeds to run, such as 0..100000.
    #[arg(long, value_parser = range, default_value = "0..2000")]
    seeds: Range<u64>,
    /// One seed to run instead.
    #[arg(long)]
    seed: Option<u64>,
    /// Prints every step of `--seed`.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Plants a bug, such as `AckBeforeCommit`.
    #[arg(long, value_parser = sabotage)]
    sabotage: Option<Sabotage>,
    /// How often a task may be lost alone.
    #[arg(long)]
    max_losses: Option<u32>,
}

fn range(text: &str) -> anyhow::Result<Range<u64>> {
    let (start, end) = text.split_once("..").context("a range is written 0..100")?;
    Ok(start.parse()?..end.parse()?)
}

fn sabotage(name: &str) -> anyhow::Result<Sabotage> {
    let found = Sabotage::ALL.into_iter().find(|sabotage| format!("{sabotage:?}") == name);
    found.with_context(|| format!("one of {:?}", Sabotage::ALL))
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let options = Options {
        sabotage: arguments.sabotage,
        trace: arguments.trace,
        max_losses: arguments.max_losses,
    };
    if let Some(seed) = arguments.seed {
        let report = simulate(seed, options)?;
        for line in &report.trace {
            println!("{line}");
        }
        println!("seed {seed}: {} steps, digest {:016x}", report.steps, report.digest);
        println!("{:.0} s of virtual time; faults {:?}", report.lived.as_secs_f64(), report.fired);
        return Ok(match report.violation {
            None => ExitCode::SUCCESS,
            Some(violation) => {
                println!("BROKEN: {violation}");
                ExitCode::FAILURE
            }
        });
    }
    let started = Instant::now();
    let outcome = sweep(arguments.seeds, options, |report| {
        println!("seed {}: {}", report.seed, report.violation.as_deref().unwrap_or_default());
    })?;
    let (seconds, runs) = (started.elapsed().as_secs_f64(), outcome.runs);
    println!(
        "{runs} seeds, {} broken; {seconds:.1} s, {:.2} ms each; {} steps, {:.1} h of virtual time, \
         complete at most {:.0} s after the last fault; digest {:016x}",
        outcome.broken.len(),
        1000.0 * seconds / runs.max(1) as f64,
        outcome.steps,
        outcome.lived.as_secs_f64() / 3600.0,
        outcome.recovery.as_secs_f64(),
        outcome.digest
    );
    for (fault, count) in &outcome.fired {
        println!("  {count:>9} {fault}");
    }
    Ok(if outcome.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
