//! An estimate in words.

use super::{Estimate, Known, Machines, Source, StageEstimate};
use crate::words;
use std::fmt::Write as _;

/// Bytes that a price of storage is for.
const GIGA: f64 = 1e9;

/// What things cost, where the user says so.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Prices {
    /// Of an hour of one core.
    pub cpu_hour: Option<f64>,
    /// Of 10^9 bytes kept for a month.
    pub gb_month: Option<f64>,
    /// Of a million writes or listings.
    pub million_put: Option<f64>,
    /// Of a million reads.
    pub million_get: Option<f64>,
}

/// A table of the stages, totals, and where the figures come from.
#[must_use]
pub fn text(known: Known<'_>, estimate: &Estimate, machines: Machines, prices: Prices) -> String {
    let mut out = format!("campaign {}\n", known.campaign.id());
    let _ = writeln!(
        out,
        "{:>10} {:>11} {:>26} {:>11} {:>9} {:>10} {:>10} {:>9} {:>8}  time and bytes by",
        "stage", "tasks", "members", "CPU hours", "bytes", "PUT", "GET", "LIST", "wall"
    );
    for stage in &estimate.stages {
        let _ = writeln!(out, "{}", line(stage));
    }
    let requests = estimate.requests();
    let _ = writeln!(
        out,
        "{:>10} {:>11} {:>26} {:>11.3} {:>9} {:>10} {:>10} {:>9} {:>8}",
        "all",
        estimate.stages.iter().map(|stage| stage.tasks).sum::<u64>(),
        "",
        estimate.core_seconds() / 3600.0,
        words::bytes(estimate.bytes()),
        requests.put,
        requests.get,
        requests.list,
        words::duration(estimate.wall_seconds()),
    );
    let _ = writeln!(
        out,
        "wall: {} cores, {} of them in one machine, the stages one after another",
        machines.cores, machines.threads
    );
    if estimate.input_bytes > 0 {
        let inputs = words::bytes(estimate.input_bytes);
        let _ = writeln!(out, "inputs of {inputs} are copied, and part of all bytes");
    }
    let _ = writeln!(out, "{}", source(known));
    out.push_str(&costs(estimate, prices));
    out
}

fn line(stage: &StageEstimate) -> String {
    let most = |is: bool, count: u64| format!("{}{count}", if is { "<= " } else { "" });
    let members = format!("{} {}", most(stage.members_at_most, stage.members), stage.unit);
    let by = match (stage.measured, stage.done == stage.tasks) {
        (false, _) => "rates".to_owned(),
        (true, true) => "its commits: done".to_owned(),
        (true, false) => format!("its commits: {} done", stage.done),
    };
    format!(
        "{:>10} {:>11} {members:>26} {:>11.3} {:>9} {:>10} {:>10} {:>9} {:>8}  {by}",
        stage.stage.name(),
        most(stage.at_most, stage.tasks),
        stage.core_seconds / 3600.0,
        words::bytes(stage.bytes),
        stage.requests.put,
        stage.requests.get,
        stage.requests.list,
        words::duration(stage.wall_seconds),
    )
}

fn source(known: Known<'_>) -> &'static str {
    let counts = known.counts;
    match counts.source {
        Source::Field => "pixels and galaxies: counted by the committed stage field",
        Source::Tables => {
            "pixels and galaxies: counted in the tables; the limit of S/N can only lower the \
             pixels that are fitted"
        }
        Source::Mock if counts.at_most => {
            "pixels: at most the stamps of the mock's galaxies, of which these fill a part"
        }
        Source::Mock => "pixels and galaxies: by the settings of the mock",
    }
}

fn costs(estimate: &Estimate, prices: Prices) -> String {
    let requests = estimate.requests();
    let rows = [
        ("processors", prices.cpu_hour, estimate.core_seconds() / 3600.0),
        ("keeping all bytes for a month", prices.gb_month, estimate.bytes() as f64 / GIGA),
        ("writes and listings", prices.million_put, (requests.put + requests.list) as f64 / 1e6),
        ("reads", prices.million_get, requests.get as f64 / 1e6),
    ];
    let mut out = String::new();
    let mut total = 0.0;
    for (what, price, amount) in rows {
        let Some(price) = price else { continue };
        total += price * amount;
        let _ = writeln!(out, "cost: {:>10.4}  {what}", price * amount);
    }
    if !out.is_empty() {
        let _ = writeln!(out, "cost: {total:>10.4}  in all");
    }
    out
}
