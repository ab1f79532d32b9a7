//! R^2 that the data allow: posterior medians of the exact sampler beside those
//! of an estimator, alone and with its bright objects refined (`fit.refine = "all"`),
//! on the same simulated pixels of mean S/N above 1.
//!
//! `cargo run --release -p outshine-worker --example bound -- CAMPAIGN.toml MODEL_DIR [OBJECTS] [key=value ...]`
//!
//! The campaign says which prior, noise and bands; about a second per object. With
//! `truth=dirichlet` (or another family) objects are drawn from that family, and only
//! the surviving mass is compared: what a wrong prior costs, with and without the estimator.
//! `exact=no` leaves the exact sampler out, so that thousands of objects take a minute.
#![allow(missing_docs)]

use outshine_kernels::quantile;
use outshine_kernels::random::{Purpose, Stream};
use outshine_npe::{Object, Sampler};
use outshine_schemas::campaign::Campaign;
use outshine_sps::{Basis, Components, FixedRedshift, Observation, Prior, exact};
use outshine_worker::stages::{Drawer, Draws, Refiner, Science, StageError, truth};
use outshine_worker::tools::read_model;
use std::path::Path;
use std::sync::Arc;

const DRAWS: usize = 1000;
/// log10 sSFR_100 (per year) above which an object counts for the second R^2 of SFR.
const FORMING: f64 = -12.0;

/// Truth, exact median, the estimator's and the refined one, per reported parameter.
type Medians = Vec<[f64; 4]>;

/// What objects are fitted with.
struct Ways<'a> {
    science: &'a Science,
    sampler: &'a Sampler,
    basis: &'a Arc<Basis>,
    /// Where the bands of the mean S/N are.
    snr: &'a [usize],
    /// From which mean S/N objects are refined.
    refined_from: f64,
    /// Whether the exact sampler is one of them.
    exact: bool,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(campaign), Some(folder)) = (args.next(), args.next()) else {
        return Err("give CAMPAIGN.toml MODEL_DIR [OBJECTS] [key=value ...]".into());
    };
    let objects: usize = args.next().map_or(Ok(100), |n| n.parse())?;
    let (skipped, args): (Vec<String>, Vec<String>) = args.partition(|arg| arg == "exact=no");
    let (truths, settings): (Vec<String>, Vec<String>) =
        args.into_iter().partition(|setting| setting.starts_with("truth="));
    let campaign = Campaign::load(Path::new(&campaign), &settings)?;
    let science = Science::new(&campaign)?;
    let mut drawn = science.prior.clone();
    for family in truths.iter().filter_map(|setting| setting.strip_prefix("truth=")) {
        drawn.sfh = serde_json::from_value(family.into())?;
    }
    let (model, _) = read_model(Path::new(&folder))?;
    let sampler = Sampler::new(&model);
    let basis =
        Arc::new(Basis::new(science.forward.clone(), Components::Full, science.prior.a_v.1)?);
    let snr: Vec<usize> = campaign
        .field
        .snr_bands
        .iter()
        .filter_map(|b| campaign.bands.iter().position(|o| o == b))
        .collect();
    let done = std::thread::scope(|scope| {
        let of = |half: usize| {
            let ways = Ways {
                science: &science,
                sampler: &sampler,
                basis: &basis,
                snr: &snr,
                refined_from: campaign.fit.refine_mean_snr,
                exact: skipped.is_empty(),
            };
            let drawn = &drawn;
            scope.spawn(move || {
                let mut refiner = Refiner::new(ways.science)?;
                (half..objects)
                    .step_by(2)
                    .map(|k| object(&ways, &mut refiner, drawn, k as u64))
                    .collect::<Result<Vec<Medians>, StageError>>()
            })
        };
        let halves: Vec<_> = [0, 1].map(of).into_iter().collect();
        halves.into_iter().map(|h| h.join().expect("no thread panicked")).collect::<Vec<_>>()
    });
    let mut all = Vec::new();
    for half in done {
        all.extend(half?);
    }
    println!("R^2, and mean of median - truth");
    let columns = ["exact", "ours", "refined", "exact", "ours", "refined"]
        .map(|name| format!("{name:>8}"))
        .join(" ");
    println!("{:26} {:>8} {columns}", "parameter", "objects");
    let report = |name: &str, of: &dyn Fn(&Medians) -> Option<[f64; 4]>| {
        let known = |values: &[f64; 4]| values[0].is_finite();
        let values: Vec<[f64; 4]> = all.iter().filter_map(of).filter(known).collect();
        if values.is_empty() {
            return;
        }
        let n = values.len() as f64;
        let mean = values.iter().map(|v| v[0]).sum::<f64>() / n;
        let spread: f64 = values.iter().map(|v| (v[0] - mean).powi(2)).sum();
        let r2 =
            |k: usize| 1.0 - values.iter().map(|v| (v[k] - v[0]).powi(2)).sum::<f64>() / spread;
        let bias = |k: usize| values.iter().map(|v| v[k] - v[0]).sum::<f64>() / n;
        let words: Vec<String> =
            (1..4).map(r2).chain((1..4).map(bias)).map(|v| format!("{v:8.3}")).collect();
        println!("{name:26} {n:8} {}", words.join(" "));
    };
    for (i, name) in science.reported.iter().enumerate() {
        report(name, &|m| Some(m[i]));
        if *name == "log_tau_gyr" {
            report("tau_gyr", &|m| Some(m[i].map(|v| 10f64.powf(v))));
        }
        if *name == "log_sfr_100" {
            let formed =
                science.reported.iter().position(|n| *n == "log_mass_formed").expect("reported");
            report("log_sfr_100, forming", &|m| (m[i][0] - m[formed][0] > FORMING).then_some(m[i]));
        }
    }
    Ok(())
}

/// The first object of series `key` that is bright enough, every way.
fn object(
    ways: &Ways<'_>,
    refiner: &mut Refiner<'_>,
    drawn: &Prior,
    key: u64,
) -> Result<Medians, StageError> {
    let &Ways { science, sampler, basis, snr, .. } = ways;
    let bands = science.target.features.bands().len();
    let mut workspace = science.forward.workspace();
    for attempt in 0..10_000 {
        let mut stream = Stream::new(5, Purpose::Calibration, key, attempt);
        let p = drawn.draw(&mut stream);
        let mut noiseless = vec![0.0; bands];
        let derived =
            science.forward.photometry(&p, Components::Full, &mut workspace, &mut noiseless)?;
        let conditions = science.coverage.draw(&science.noise, &mut stream);
        let (mut flux, mut err) = (vec![0.0f32; bands], vec![0.0f32; bands]);
        science.noise.observe(&noiseless, &conditions, &mut stream, &mut flux, &mut err);
        let seen: Vec<f32> =
            snr.iter().filter(|&&b| err[b] > 0.0).map(|&b| flux[b] / err[b]).collect();
        let mean = seen.iter().sum::<f32>() / seen.len() as f32;
        if mean.is_nan() || mean <= 1.0 {
            continue;
        }
        let mut free = vec![0.0; science.free.len()];
        let truths = if drawn.sfh == science.prior.sfh {
            science.prior.to_free(&p, stream.uniform(), &mut free)?;
            truth(science, &free, &p, &derived)
        } else {
            let mass = |name: &&str| match *name {
                "log_mass_stellar" => derived.log_mass_stellar,
                _ => f64::NAN,
            };
            science.reported.iter().map(mass).collect()
        };

        let mut drawer = Drawer::new(science, sampler);
        let object = Object { flux: &flux, err: &err, redshift: p.redshift };
        let draws = drawer.draw_one(&object, DRAWS, &mut stream)?;
        let medians = |draws: &Draws| -> Vec<f64> {
            let one = |c: &[f32]| median(c.iter().map(|v| f64::from(*v)).collect());
            draws.columns().map(one).collect()
        };
        let own = medians(&draws);
        let refined = if f64::from(mean) >= ways.refined_from {
            medians(&refiner.refine(&drawer, &flux, &err, DRAWS, &mut stream)?.draws)
        } else {
            own.clone()
        };
        let with = |exact: Vec<f64>| {
            let found = exact.into_iter().zip(own.iter().zip(&refined));
            let all = truths.iter().zip(found);
            all.map(|(t, (e, (o, r)))| [*t, e, *o, *r]).collect()
        };
        if !ways.exact {
            return Ok(with(vec![f64::NAN; truths.len()]));
        }

        let table = FixedRedshift::new(basis.clone(), p.redshift)?;
        let wide = |values: &[f32]| values.iter().map(|v| f64::from(*v)).collect::<Vec<f64>>();
        let (flux_njy, err_njy) = (wide(&flux), wide(&err));
        let observed = Observation { flux_njy: &flux_njy, err_njy: &err_njy };
        let settings = exact::Settings::default();
        let sampled = exact::sample(&table, &science.prior, observed, &settings, &mut stream)?;
        let mut columns = vec![Vec::new(); science.reported.len()];
        let mut scratch = table.scratch();
        for draw in &sampled.parameters {
            let derived = table.photometry(draw, &mut scratch, &mut noiseless)?;
            science.prior.to_free(draw, stream.uniform(), &mut free)?;
            let values = truth(science, &free, draw, &derived);
            columns.iter_mut().zip(values).for_each(|(c, v)| c.push(v));
        }
        return Ok(with(columns.into_iter().map(median).collect()));
    }
    Err(StageError::Permanent("no object of mean S/N above 1 in 10,000 draws".to_owned()))
}

fn median(mut values: Vec<f64>) -> f64 {
    quantile::sort(&mut values);
    quantile::of_sorted(&values, 0.5)
}
