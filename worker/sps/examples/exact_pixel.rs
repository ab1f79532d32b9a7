//! The exact posterior of one simulated pixel in 19 bands, faint and bright.
//!
//! ```text
//! cargo run --release -p outshine-sps --example exact_pixel [-- --particles N] [--repeats N]
//! ```
//!
//! For both families, at mean S/N about 10 and 1000, at redshift 2: quantiles
//! of the free coordinates beside the truth and the range of the prior, the
//! evidence, evaluations, and seconds on one thread. `--repeats` samples the
//! same pixel again with other random numbers, to show the scatter of the
//! medians (in units of the posterior's half width) and of the evidence.

use outshine_kernels::random::{Purpose, Stream};
use outshine_sps::exact::{self, Settings};
use outshine_sps::{
    Basis, Components, FilterSet, FixedRedshift, ForwardModel, ModelOptions, Observation,
    Parameters, Prior, SfhFamily, SspLibrary,
};
use std::sync::Arc;
use std::time::Instant;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const REDSHIFT: f64 = 2.0;
const FAMILIES: [SfhFamily; 2] = [SfhFamily::Tau, SfhFamily::Dirichlet];

/// (coordinate) sorted values of the draws, in free coordinates.
fn columns(prior: &Prior, draws: &[Parameters], stream: &mut Stream) -> Result<Vec<Vec<f64>>> {
    let dims = prior.free_names()?.len();
    let (mut columns, mut row) = (vec![Vec::new(); dims], vec![0.0; dims]);
    for p in draws {
        prior.to_free(p, stream.uniform(), &mut row)?;
        columns.iter_mut().zip(&row).for_each(|(c, v)| c.push(*v));
    }
    columns.iter_mut().for_each(|c| c.sort_by(f64::total_cmp));
    Ok(columns)
}

fn at(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}

fn main() -> Result<()> {
    let mut settings = Settings::default();
    let mut repeats = 1u64;
    let mut arguments = std::env::args().skip(1);
    while let Some(flag) = arguments.next() {
        let value = arguments.next().ok_or("use: exact_pixel [--particles N] [--repeats N]")?;
        match flag.as_str() {
            "--particles" => settings.particles = value.parse()?,
            "--repeats" => repeats = value.parse()?,
            _ => return Err(format!("unknown flag {flag}").into()),
        }
    }
    let model = Arc::new(ForwardModel::new(
        Arc::new(SspLibrary::embedded()?),
        FilterSet::jades(),
        ModelOptions::default(),
    )?);
    let basis = Arc::new(Basis::new(model.clone(), Components::Full, Prior::default().a_v.1)?);
    let table = FixedRedshift::new(basis, REDSHIFT)?;
    for sfh in FAMILIES {
        let prior = Prior { sfh, ..Prior::default() };
        // A typical pixel: everything a little off the middle of the prior.
        let cube: Vec<f64> =
            (0..prior.cube_dims()?).map(|i| if i % 2 == 0 { 0.45 } else { 0.6 }).collect();
        let truth = prior.from_cube(&cube, REDSHIFT);
        let mut flux_njy = vec![0.0; model.bands().len()];
        table.photometry(&truth, &mut table.scratch(), &mut flux_njy)?;
        let brightest = flux_njy.iter().copied().fold(0.0, f64::max);
        for s_to_n in [10.0, 1000.0] {
            let mut noise = Stream::new(1, Purpose::Observation, s_to_n as u64, 0);
            let err_njy: Vec<f64> =
                flux_njy.iter().map(|f| f.max(0.01 * brightest) / s_to_n).collect();
            let observed_njy: Vec<f64> =
                flux_njy.iter().zip(&err_njy).map(|(f, e)| f + e * noise.normal()).collect();
            let observed = Observation { flux_njy: &observed_njy, err_njy: &err_njy };
            let (mut medians, mut evidences) = (Vec::new(), Vec::new());
            let mut widths = Vec::new();
            for repeat in 0..repeats {
                let mut stream = Stream::new(2, Purpose::Calibration, s_to_n as u64, repeat);
                let start = Instant::now();
                let got = exact::sample(&table, &prior, observed, &settings, &mut stream)?;
                let seconds = start.elapsed().as_secs_f64();
                println!(
                    "{sfh:?}, S/N {s_to_n}: {} draws, ln evidence {:.2} +- {:.2}, {} steps, \
                     acceptance {:.2}, {} evaluations, {seconds:.2} s",
                    got.parameters.len(),
                    got.run.log_evidence,
                    got.run.log_evidence_error,
                    got.run.steps,
                    got.run.acceptance,
                    got.run.evaluations,
                );
                let columns = columns(&prior, &got.parameters, &mut stream)?;
                if repeat == 0 {
                    report(&prior, &truth, &columns)?;
                }
                widths = columns.iter().map(|c| 0.5 * (at(c, 0.84) - at(c, 0.16))).collect();
                medians.push(columns.iter().map(|c| at(c, 0.5)).collect::<Vec<f64>>());
                evidences.push(got.run.log_evidence);
            }
            if repeats > 1 {
                let scatter: Vec<f64> = (0..widths.len())
                    .map(|i| deviation(medians.iter().map(|m| m[i])) / widths[i])
                    .collect();
                let evidence = deviation(evidences.iter().copied());
                println!("  scatter of medians {scatter:.3?}, of ln evidence {evidence:.3}");
            }
        }
    }
    Ok(())
}

fn report(prior: &Prior, truth: &Parameters, columns: &[Vec<f64>]) -> Result<()> {
    let mut row = vec![0.0; columns.len()];
    prior.to_free(truth, 0.5, &mut row)?;
    println!("  {:16} {:>9} {:>9} {:>9} {:>9}", "", "truth", "16 %", "50 %", "84 %");
    for (i, name) in prior.free_names()?.iter().enumerate() {
        let [low, middle, high] = [0.16, 0.5, 0.84].map(|q| at(&columns[i], q));
        println!("  {name:16} {:9.4} {low:9.4} {middle:9.4} {high:9.4}", row[i]);
    }
    Ok(())
}

fn deviation(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let n = values.clone().count() as f64;
    let mean = values.clone().sum::<f64>() / n;
    (values.map(|v| (v - mean) * (v - mean)).sum::<f64>() / (n - 1.0)).sqrt()
}
