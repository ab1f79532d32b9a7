//! How well the check of typical pixels tells: shares of simulations beyond
//! the limits, as they are and with one band off by ten errors, by S/N.
//!
//! `cargo run --release -p outshine-worker --example typicality -- CAMPAIGN.toml MODEL_DIR COUNT [key=value ...]`
//!
//! Limits are set on COUNT simulations, the shares measured on as many others.
#![allow(missing_docs)]

use outshine_npe::Sampler;
use outshine_schemas::campaign::Campaign;
use outshine_worker::stages::Science;
use outshine_worker::stages::typical::{Limit, Survey, survey};
use outshine_worker::tools::read_model;
use std::path::Path;

const EDGES: [f64; 8] = [0.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, f64::INFINITY];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, campaign, folder, count, settings @ ..] = args.as_slice() else {
        return Err("give CAMPAIGN.toml MODEL_DIR COUNT [key=value ...]".into());
    };
    let count: usize = count.parse()?;
    let (model, _) = read_model(Path::new(folder))?;
    let sampler = Sampler::new(&model);
    let campaign = Campaign::load(Path::new(campaign), settings)?;
    let science = Science::new(&campaign)?;
    science.simulator()?;
    for withheld in [false, true] {
        println!("redshift {}:", if withheld { "withheld" } else { "known" });
        let look = |series, off| {
            let what = Survey { key: (99, series), count, withheld, off };
            survey(&science, &sampler, &what, 2, &|| {})
        };
        let start = std::time::Instant::now();
        let set = look(3, 0.0)?;
        println!("  {:.0} us per simulation", start.elapsed().as_secs_f64() * 1e6 / count as f64);
        let Some(limit) = Limit::of(set) else {
            println!("  not fitted by this model");
            continue;
        };
        let (plain, off) = (look(4, 0.0)?, look(5, 10.0)?);
        println!("  S/N        flagged of          10 sigma caught of    limit");
        let row = |name: &str, low: f64, high: f64| {
            let share = |looks: &[outshine_worker::stages::typical::Look]| {
                let of: Vec<_> = looks.iter().filter(|l| l.snr >= low && l.snr < high).collect();
                let beyond = of.iter().filter(|l| limit.exceeded(l.snr, l.misfit)).count();
                (100.0 * beyond as f64 / of.len().max(1) as f64, of.len())
            };
            let ((flagged, n), (caught, m)) = (share(&plain), share(&off));
            let at = limit.at(if high.is_finite() { (low.max(1.0) * high).sqrt() } else { low });
            println!("  {name:10} {flagged:6.2} % {n:6}    {caught:6.1} % {m:6}    {at:8.2}");
        };
        for edges in EDGES.windows(2) {
            row(&format!("{}-{}", edges[0], edges[1]), edges[0], edges[1]);
        }
        row("10-300", 10.0, 300.0);
        row("> 10", 10.0, f64::INFINITY);
        row("all", 0.0, f64::INFINITY);
    }
    Ok(())
}
