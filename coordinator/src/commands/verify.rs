//! `outshine verify`.

use super::Place;
use anyhow::ensure;
use clap::Args;
use outshine_coordinator::verify::{self, Finding, Kind, Progress, Report};
use std::time::{Duration, Instant};

/// Lines printed of each kind of finding, unless all are asked for.
const LINES: usize = 50;

/// Time between lines that say how far the walk is.
const PAUSE: Duration = Duration::from_secs(10);

/// Arguments of `outshine verify`.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Removes damaged records, and the commit records of damaged files, so
    /// that the next `outshine run` makes them again. Stop the campaign first.
    #[arg(long)]
    mend: bool,
    /// Prints every finding; by default the first 50 of each kind.
    #[arg(long)]
    all: bool,
}

pub async fn main(arguments: Arguments) -> anyhow::Result<()> {
    let (store, campaign) = arguments.place.find().await?;
    println!("campaign {}", campaign.id());
    let mut shown = Instant::now();
    let mut show = |at: Progress| {
        if shown.elapsed() < PAUSE {
            return;
        }
        shown = Instant::now();
        let gigabytes = |bytes: u64| bytes as f64 / 1e9;
        println!(
            "{:>10}: {} of {} files, {:.2} of {:.2} GB",
            at.stage.name(),
            at.files,
            at.of_files,
            gigabytes(at.bytes),
            gigabytes(at.of_bytes)
        );
    };
    let report = verify::verify(&store, &campaign, &mut show).await?;
    ensure!(!report.empty, arguments.place.absent(&campaign));
    print(&report.findings, if arguments.all { usize::MAX } else { LINES });
    println!(
        "{} commit records and {} files ({} bytes) were checked; {} planned tasks wait",
        report.commits, report.files, report.bytes, report.waiting
    );
    if arguments.mend {
        let removed = verify::mend(&store, &report).await?;
        println!("{removed} objects removed; `outshine run` makes again what they stood for");
        let failed = report.findings.iter().filter(|finding| finding.kind == Kind::Failed).count();
        if failed > 0 {
            println!("{failed} tasks failed, perhaps for the damage: `outshine retry` comes first");
        }
    }
    end(&report, arguments.mend)
}

fn print(findings: &[Finding], limit: usize) {
    for same in findings.chunk_by(|a, b| a.kind == b.kind) {
        for finding in same.iter().take(limit) {
            println!("{finding}");
        }
        if same.len() > limit {
            println!("{:>10}  and {} more: --all", same[0].kind, same.len() - limit);
        }
    }
}

fn end(report: &Report, mended: bool) -> anyhow::Result<()> {
    let left = report.damage().filter(|finding| !mended || !finding.is_mended()).count();
    if left == 0 {
        return Ok(());
    }
    let stages: Vec<&str> = report.stages().into_iter().map(|stage| stage.name()).collect();
    let place = if stages.is_empty() {
        "the campaign's own record or inputs".to_owned()
    } else {
        format!("stages {}", stages.join(", "))
    };
    anyhow::bail!(
        "{left} objects are damaged, missing or unreadable ({place}): stop the campaign, then \
         `outshine verify --mend` and `outshine run` make them again; what is unreadable wants \
         its store mended first"
    )
}
