//! `outshine plan`.

use super::Place;
use anyhow::Context;
use bytes::Bytes;
use clap::Args;
use outshine_coordinator::estimate::text::{Prices, text};
use outshine_coordinator::estimate::{Counts, Known, Machines, estimate};
use outshine_coordinator::look::Look;
use outshine_schemas::campaign::ResolvedCampaign;
use outshine_schemas::task::Stage;

/// Arguments of `outshine plan`.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Cores that would do the tasks, in all machines together [default: those
    /// of this one].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    workers: Option<u64>,
    /// Cores of one machine, all of which a task of field, train or calibrate can
    /// use [default: those of this one, if there are as many workers].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    threads: Option<u64>,
    /// Price of an hour of one core.
    #[arg(long, value_name = "PRICE")]
    price_cpu_hour: Option<f64>,
    /// Price of keeping 10^9 bytes for a month.
    #[arg(long, value_name = "PRICE")]
    price_gb_month: Option<f64>,
    /// Price of a million writes; listings count as such.
    #[arg(long, value_name = "PRICE")]
    price_million_put: Option<f64>,
    /// Price of a million reads.
    #[arg(long, value_name = "PRICE")]
    price_million_get: Option<f64>,
}

pub async fn main(arguments: Arguments) -> anyhow::Result<()> {
    arguments.place.check()?;
    let (store, campaign, inputs) = arguments.place.peek().await?;
    let look = match &store {
        None => None,
        Some(store) => match Look::find(store, &campaign).await? {
            Some(mut look) => {
                look.refresh(store).await?;
                Some(look)
            }
            None => None,
        },
    };
    // How a campaign in the store is cut stays as it is.
    let stored = look.as_ref().map_or(&campaign, Look::campaign);
    let graph = look.as_ref().map(Look::graph);
    let by_input = count(&campaign, &inputs)?;
    let field = graph.and_then(|graph| graph.commits(Stage::Field).first());
    let counts = match field.and_then(|field| Counts::of_field(field, by_input.free)) {
        Some(counts) => counts,
        None => by_input,
    };
    let sizes: Vec<u64> = inputs.iter().map(|bytes| bytes.len() as u64).collect();
    let known = Known { campaign: stored, counts: &counts, inputs: &sizes, graph };
    let own = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let cores = arguments.workers.unwrap_or(own);
    let threads = arguments.threads.unwrap_or(own).min(cores);
    let machines = Machines { cores, threads };
    let prices = Prices {
        cpu_hour: arguments.price_cpu_hour,
        gb_month: arguments.price_gb_month,
        million_put: arguments.price_million_put,
        million_get: arguments.price_million_get,
    };
    print!("{}", text(known, &estimate(known, machines)?, machines, prices));
    Ok(())
}

/// Counts what is fitted by the campaign's tables or its mock.
fn count(campaign: &ResolvedCampaign, inputs: &[Bytes]) -> anyhow::Result<Counts> {
    let field = &campaign.campaign.field;
    if let Some(mock) = &field.mock {
        return Ok(Counts::of_mock(mock));
    }
    // Inputs come in this order, as far as they are given.
    let (name, place) = match &field.sources {
        Some(sources) => (sources, 1),
        None => (field.pixels.as_ref().context("the campaign has no field")?, 0),
    };
    let bytes = inputs.get(place).context("the campaign has no table of pixels")?;
    Ok(Counts::of_table(name, bytes.clone())?)
}
