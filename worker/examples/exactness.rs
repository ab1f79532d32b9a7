//! An estimator beside the exact sampler, on simulated objects with the same
//! likelihood: medians and widths of every free coordinate, and R^2 of both.
//!
//! `cargo run --release -p outshine-worker --example exactness -- MODEL_DIR [OBJECTS] [key=value ...]`
//!
//! Objects are drawn as for training; their mean S/N is spread evenly in its
//! logarithm from 2 to 1000 by choosing among draws. Shifts are in units of
//! half the exact 68 % interval. Those that `fit.refine` refines (mean S/N of 20 or
//! more) come refined as well.
//!
//! With `objects=FILE` the objects and both results are written as JSON, for other
//! samplers to fit (`worker/npe/benches/bagpipes_nautilus.py`).
#![allow(missing_docs)]

use outshine_kernels::quantile;
use outshine_kernels::random::{Purpose, Stream};
use outshine_npe::{Object, Sampler};
use outshine_schemas::campaign::Campaign;
use outshine_sps::{Basis, Components, FixedRedshift, Observation, Parameters, exact};
use outshine_worker::stages::{Drawer, Draws, Refiner, Science};
use outshine_worker::tools::read_model;
use serde_json::json;
use std::path::Path;
use std::sync::Arc;

const DRAWS: usize = 2000;
const SNR: (f64, f64) = (2.0, 1000.0);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().ok_or("give MODEL_DIR [OBJECTS] [key=value ...]")?;
    let objects: usize = args.next().map_or(Ok(30), |n| n.parse())?;
    let (files, settings): (Vec<String>, Vec<String>) =
        args.partition(|setting| setting.starts_with("objects="));
    let mut written = Vec::new();
    let text = "name = \"exactness\"\n[field.mock]\n";
    let campaign = Campaign::parse(text, "exactness", Path::new("."), &settings)?;
    let science = Science::new(&campaign)?;
    let (model, _) = read_model(Path::new(&folder))?;
    let sampler = Sampler::new(&model);
    let basis =
        Arc::new(Basis::new(science.forward.clone(), Components::Full, science.prior.a_v.1)?);
    let d = science.free.len();
    let mut drawer = Drawer::new(&science, &sampler);
    let mut refiner = Refiner::new(&science)?;
    let limit = campaign.fit.refine_mean_snr;
    let (mut network, mut refined) = (vec![Vec::new(); d], vec![Vec::new(); d]);
    println!("object  redshift  S/N  coordinates: shift of the median, ratio of widths");
    for k in 0..objects {
        let wanted = SNR.0 * (SNR.1 / SNR.0).powf((k as f64 + 0.5) / objects as f64);
        let (truth, flux, err, snr) = object(&science, k as u64, wanted)?;
        let redshift = truth.redshift;
        let mut stream = Stream::new(2, Purpose::Calibration, k as u64, 1);
        let seen = Object { flux: &flux, err: &err, redshift };
        drawer.draw_one(&seen, DRAWS, &mut stream)?;
        let own = drawer.free().to_vec();

        let table = FixedRedshift::new(basis.clone(), redshift)?;
        let wide = |values: &[f32]| values.iter().map(|v| f64::from(*v)).collect::<Vec<f64>>();
        let (flux_njy, err_njy) = (wide(&flux), wide(&err));
        let observed = Observation { flux_njy: &flux_njy, err_njy: &err_njy };
        let sampled = exact::sample(
            &table,
            &science.prior,
            observed,
            &exact::Settings::default(),
            &mut stream,
        )?;
        let (mut columns, mut row) = (vec![Vec::new(); d], vec![0.0; d]);
        for p in &sampled.parameters {
            science.prior.to_free(p, stream.uniform(), &mut row)?;
            columns.iter_mut().zip(&row).for_each(|(c, v)| c.push(*v));
        }
        science.prior.to_free(&truth, stream.uniform(), &mut row)?;
        let better = match snr >= limit {
            true => Some(refiner.refine(&drawer, &flux, &err, DRAWS, &mut stream)?.draws),
            false => None,
        };
        let (mut words, mut found) = (Vec::new(), Vec::new());
        for i in 0..d {
            let (m0, w0) = interval(&mut columns[i]);
            let mut mine = wide(&own[i * DRAWS..(i + 1) * DRAWS]);
            let (m1, w1) = interval(&mut mine);
            found.push(json!({"exact": [m0, w0], "network": [m1, w1], "truth": row[i]}));
            network[i].push(Against { truth: row[i], exact: (m0, w0), found: (m1, w1) });
            words.push(format!("{:+.2} {:.2}", (m1 - m0) / w0, w1 / w0));
            if let Some(column) = better.as_ref().and_then(|draws| column(&science, draws, i)) {
                let (m2, w2) = interval(&mut wide(column));
                refined[i].push(Against { truth: row[i], exact: (m0, w0), found: (m2, w2) });
                words.push(format!("({:+.2} {:.2})", (m2 - m0) / w0, w2 / w0));
            }
        }
        println!("{k:6}  {redshift:8.3}  {snr:6.1}  {}", words.join("  "));
        written.push(json!({
            "redshift": redshift, "mean_snr": snr, "flux_njy": flux_njy, "err_njy": err_njy,
            "coordinates": found,
        }));
    }
    for file in files.iter().filter_map(|setting| setting.strip_prefix("objects=")) {
        let bands = science.target.features.bands();
        let all = json!({"bands": bands, "names": science.free, "objects": written});
        std::fs::write(file, all.to_string())?;
    }
    show("estimator", &science, &network);
    show("refined", &science, &refined);
    Ok(())
}

/// A median and a half-width beside the exact ones.
#[derive(Clone)]
struct Against {
    truth: f64,
    exact: (f64, f64),
    found: (f64, f64),
}

/// Draws of free coordinate `i`, if it is reported.
fn column<'a>(science: &Science, draws: &'a Draws, i: usize) -> Option<&'a [f32]> {
    let name = science.free[i];
    science.reported.contains(&name).then(|| draws.of(name))
}

fn show(what: &str, science: &Science, all: &[Vec<Against>]) {
    println!(
        "\n{what:18} {:>7} {:>12} {:>12} {:>12}  R^2 exact, found",
        "objects", "mean |shift|", "mean shift", "mean ratio"
    );
    for (name, all) in science.free.iter().zip(all).filter(|(_, all)| !all.is_empty()) {
        let n = all.len() as f64;
        let mean = |of: &dyn Fn(&Against) -> f64| all.iter().map(of).sum::<f64>() / n;
        let shift = |a: &Against| (a.found.0 - a.exact.0) / a.exact.1;
        let centre = mean(&|a| a.truth);
        let spread = mean(&|a| (a.truth - centre).powi(2));
        println!(
            "{name:18} {n:7} {:12.3} {:12.3} {:12.3}  {:.3} {:.3}",
            mean(&|a| shift(a).abs()),
            mean(&shift),
            mean(&|a| (a.found.1 / a.exact.1).ln()).exp(),
            1.0 - mean(&|a| (a.exact.0 - a.truth).powi(2)) / spread,
            1.0 - mean(&|a| (a.found.0 - a.truth).powi(2)) / spread,
        );
    }
}

/// Median and half the central 68 % interval.
fn interval(values: &mut [f64]) -> (f64, f64) {
    quantile::sort(values);
    let at = |p| quantile::of_sorted(values, p);
    (at(0.5), 0.5 * (at(0.84) - at(0.16)))
}

type Simulated = (Parameters, Vec<f32>, Vec<f32>, f64);

/// A simulated object, all bands observed, whose mean S/N is within a fifth of `wanted`.
fn object(
    science: &Science,
    key: u64,
    wanted: f64,
) -> Result<Simulated, Box<dyn std::error::Error>> {
    let bands = science.target.features.bands();
    let snr: Vec<usize> = ["f277w", "f356w", "f444w"]
        .iter()
        .filter_map(|name| bands.iter().position(|b| b == name))
        .collect();
    let mut workspace = science.forward.workspace();
    for attempt in 0..10_000 {
        let mut stream = Stream::new(2, Purpose::Calibration, key, 1000 + attempt);
        let truth = science.prior.draw(&mut stream);
        let mut noiseless = vec![0.0; bands.len()];
        science.forward.photometry(&truth, Components::Full, &mut workspace, &mut noiseless)?;
        let mut conditions = science.coverage.draw(&science.noise, &mut stream);
        conditions.observed.fill(true);
        let (mut flux, mut err) = (vec![0.0; bands.len()], vec![0.0; bands.len()]);
        science.noise.observe(&noiseless, &conditions, &mut stream, &mut flux, &mut err);
        let mean = snr.iter().map(|&b| f64::from(flux[b] / err[b])).sum::<f64>() / snr.len() as f64;
        if truth.redshift > 0.05 && (mean / wanted).ln().abs() < 0.2 {
            return Ok((truth, flux, err, mean));
        }
    }
    Err(format!("no object of mean S/N {wanted:.0} in 10,000 draws").into())
}
