//! Quantities derived from columns of free coordinates, against the forward
//! model draw by draw and against realised histories.
#![cfg(feature = "bc03")]

use outshine_kernels::random::{Purpose, Stream};
use outshine_sps::{
    AgeBinning, Deriver, FilterSet, ForwardModel, ModelOptions, Parameters, Prior, Realised,
    SfhFamily, SspLibrary, cosmology,
};
use std::sync::Arc;

fn model() -> ForwardModel {
    let library = Arc::new(SspLibrary::embedded().unwrap());
    let filters = FilterSet::embedded(&["f277w"]).unwrap();
    ForwardModel::new(library, filters, ModelOptions::default()).unwrap()
}

fn dirichlet_prior() -> Prior {
    Prior { sfh: SfhFamily::Dirichlet, ..Prior::default() }
}

/// Quantiles of `values` by size, the highest last.
fn quantiles(values: &mut [f64]) -> [f64; 4] {
    values.sort_by(f64::total_cmp);
    [0.5, 0.99, 0.999, 1.0].map(|q| values[((values.len() - 1) as f64 * q) as usize])
}

/// Free coordinates of n draws, column by column, in single precision.
fn columns(rows: &[Vec<f64>]) -> Vec<f32> {
    (0..rows[0].len()).flat_map(|c| rows.iter().map(move |row| row[c] as f32)).collect()
}

/// |got - expected| of every tau quantity, ages over themselves or `least_gyr`.
fn tau_errors(
    model: &ForwardModel,
    rows: &[Vec<f64>],
    redshift: &[f64],
    least_gyr: f64,
) -> [Vec<f64>; 4] {
    let prior = Prior::default();
    let deriver = Deriver::new(model, &prior).unwrap();
    let n = rows.len();
    let free = columns(rows);
    let mut out = vec![0f32; 4 * n];
    deriver.derive(redshift, &free, &[], &mut out);
    let mut errors: [Vec<f64>; 4] = Default::default();
    for i in 0..n {
        let z = redshift[i.min(redshift.len() - 1)];
        // The same single-precision coordinates; a start that rounds to the
        // present cannot be computed by the model.
        let mut row: Vec<f64> = (0..5).map(|c| f64::from(free[c * n + i])).collect();
        row[2] = row[2].min(1.0 - 1e-9);
        let p = prior.from_free(&row, z);
        let derived = model.derive(&p);
        let expected = [
            derived.log_mass_stellar,
            derived.log_sfr_100,
            derived.mass_weighted_age_gyr,
            model.t50_lookback_gyr(&p).unwrap(),
        ];
        for (k, expected) in expected.into_iter().enumerate() {
            let got = f64::from(out[k * n + i]);
            let scale = if k < 2 { 1.0 } else { expected.max(least_gyr) };
            let error = ((got - expected) / scale).abs();
            assert!(error.is_finite(), "{k}: {got} against {expected} of {p:?}");
            errors[k].push(error);
        }
    }
    errors
}

#[test]
fn tau_quantities_are_those_of_the_forward_model() {
    let (model, prior) = (model(), Prior::default());
    let mut rows = Vec::new();
    let mut redshifts = Vec::new();
    let n = 20_011;
    for i in 0..n {
        let mut stream = Stream::new(21, Purpose::Simulation, i, 0);
        let bounds = prior.free_bounds().unwrap();
        let mut row: Vec<f64> = bounds.iter().map(|b| stream.uniform_in(b.0, b.1)).collect();
        if i % 4 == 0 {
            // Starts down to 1e-5 of the cosmic age before the present.
            row[2] = 1.0 - 10f64.powf(-5.0 * stream.uniform());
        }
        rows.push(row);
        redshifts.push(stream.uniform_in(0.001, 7.5));
    }
    let mut errors = tau_errors(&model, &rows, &redshifts, 0.0);
    let names = Deriver::new(&model, &prior).unwrap().names();
    // Masses and rates lose up to 5e-7 to the rounding of a log of 12 in single
    // precision; a rate near its floor, exp(-14) of the peak, a few more;
    // the mean age loses digits just above D = 0.35 tau, 3e-5, and where tau is
    // a small part of D both ages are differences of numbers rounded to 1e-7.
    for (k, most) in [2e-6, 1e-5, 1e-4, 2e-5].into_iter().enumerate() {
        let q = quantiles(&mut errors[k]);
        println!(
            "tau {}: median {:.1e}, 99 % {:.1e}, 99.9 % {:.1e}, worst {:.1e}",
            names[k], q[0], q[1], q[2], q[3]
        );
        assert!(q[3] < most, "{}: {q:?}", names[k]);
    }
}

#[test]
fn tau_quantities_hold_at_the_edges_of_the_box() {
    let (model, prior) = (model(), Prior::default());
    let bounds = prior.free_bounds().unwrap();
    let mut rows = Vec::new();
    for corner in 0..32 {
        for inner in [0.0, 1e-6, 0.5] {
            let at = |i: usize| {
                let (low, high) = bounds[i];
                let part = if corner >> i & 1 == 1 { 1.0 - inner } else { inner };
                low + (high - low) * part
            };
            rows.push((0..5).map(at).collect());
        }
    }
    for z in [0.001, 2.0, 7.5] {
        // A start within 1e-9 of the present is rounded to it: 1e-8 Gyr.
        let errors = tau_errors(&model, &rows, &[z], 1e-3);
        for (k, most) in [2e-6, 1e-5, 1e-4, 2e-5].into_iter().enumerate() {
            let worst = errors[k].iter().copied().fold(0.0, f64::max);
            println!("corners at {z}: {k} {worst:.1e}");
            assert!(worst < most, "{z} {k}: {worst}");
        }
    }
}

/// Truth and derived quantities of fresh draws of the Dirichlet prior.
struct Fresh {
    free: Vec<f32>,
    redshift: Vec<f64>,
    parameters: Vec<Parameters>,
    /// Per draw: log of the mass left, mean age in Gyr.
    truth: Vec<[f64; 2]>,
    realised: Vec<Realised>,
    cosmic_age_gyr: Vec<f64>,
}

impl Fresh {
    fn new(model: &ForwardModel, prior: &Prior, n: u64) -> Self {
        let (mut rows, mut redshift, mut parameters) = (vec![], vec![], vec![]);
        let (mut truth, mut realised, mut cosmic_age_gyr) = (vec![], vec![], vec![]);
        for i in 0..n {
            let mut stream = Stream::new(31, Purpose::Simulation, i, 0);
            let p = prior.draw(&mut stream);
            let mut row = vec![0.0; 7];
            prior.to_free(&p, stream.uniform(), &mut row).unwrap();
            rows.push(row);
            let derived = model.derive(&p);
            truth.push([derived.log_mass_stellar, derived.mass_weighted_age_gyr]);
            let age = cosmology::age_gyr(p.redshift);
            realised.push(Realised::measure(&p.sfh, age).unwrap());
            cosmic_age_gyr.push(age);
            redshift.push(p.redshift);
            parameters.push(p);
        }
        Self { free: columns(&rows), redshift, parameters, truth, realised, cosmic_age_gyr }
    }

    fn derive(&self, deriver: &Deriver, noise: &dyn Fn(usize) -> [f32; 2]) -> Vec<f32> {
        let n = self.redshift.len();
        let noise: Vec<f32> = (0..2).flat_map(|k| (0..n).map(move |i| noise(i)[k])).collect();
        let mut out = vec![0f32; 7 * n];
        deriver.derive(&self.redshift, &self.free, &noise, &mut out);
        out
    }
}

#[test]
fn dirichlet_coordinates_give_the_realised_rates_and_times() {
    let model = model();
    // Rates far below the floor too.
    let prior = Prior { log_ssfr: (-18.0, -7.5), ..dirichlet_prior() };
    let deriver = Deriver::new(&model, &prior).unwrap();
    let fresh = Fresh::new(&model, &prior, 5_000);
    let out = fresh.derive(&deriver, &|_| [0.0; 2]);
    let n = 5_000;
    for i in 0..n {
        let (r, age, p) = (&fresh.realised[i], fresh.cosmic_age_gyr[i], &fresh.parameters[i]);
        let lookback = model.t50_lookback_gyr(p).unwrap();
        let log_sfr = p.log_mass_formed + r.log_ssfr_100;
        let expected = [(1, log_sfr), (2, r.t25), (3, r.t50), (4, r.t75), (6, lookback / age)];
        for (k, expected) in expected {
            let scale = if k == 6 { age } else { 1.0 };
            let error = (f64::from(out[k * n + i]) / scale - expected).abs();
            // Single precision, and the 1e-6 by which coordinates keep inside their box.
            assert!(error < 5e-6, "{k}: {error} of {p:?}");
        }
    }
}

/// The figures of the README and of `derive::residual`.
#[test]
fn dirichlet_masses_and_ages_scatter_as_stated() {
    let (model, prior) = (model(), dirichlet_prior());
    let deriver = Deriver::new(&model, &prior).unwrap();
    let n = 50_000;
    let fresh = Fresh::new(&model, &prior, n as u64);
    let centre = fresh.derive(&deriver, &|_| [0.0; 2]);
    let [first, second] = [[1.0, 0.0], [0.0, 1.0]].map(|noise| fresh.derive(&deriver, &|_| noise));
    let noisy = fresh.derive(&deriver, &|i| {
        let mut stream = Stream::new(32, Purpose::Draw, i as u64, 0);
        [stream.normal() as f32, stream.normal() as f32]
    });
    let spread = |mut values: Vec<f64>| {
        let m = values.len() as f64;
        let mean = values.iter().sum::<f64>() / m;
        let square = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / m;
        values.iter_mut().for_each(|v| *v = v.abs());
        (mean, square.sqrt(), quantiles(&mut values))
    };
    // Bins of log sSFR_100 and of t75.
    let bins: [(&str, usize, [f32; 6]); 2] = [
        ("log_ssfr_100", 1, [-14.5, -11.0, -10.0, -9.0, -8.5, -8.0]),
        ("t75", 4, [0.0, 0.3, 0.6, 0.8, 0.9, 1.0]),
    ];
    for (what, column, truth_column) in [("log_mass_stellar", 0, 0), ("mean age", 5, 1)] {
        let at = |out: &[f32], i: usize| f64::from(out[column * n + i]);
        let truth = |i: usize| fresh.truth[i][truth_column];
        let relative = |i: usize, got: f64| match column {
            0 => truth(i) - got,
            _ => 100.0 * (truth(i) / got - 1.0),
        };
        let unit = if column == 0 { "dex" } else { "%" };
        let error: Vec<f64> = (0..n).map(|i| relative(i, at(&centre, i))).collect();
        let (mean, sd, q) = spread(error.clone());
        println!("{what}: bias {mean:.5} sd {sd:.5} 99 % {:.5} worst {:.5} {unit}", q[1], q[3]);
        let most = if column == 0 { (0.0003, 0.005, 0.02) } else { (1.0, 10.0, 40.0) };
        assert!(mean.abs() < most.0 && sd < most.1 && q[1] < most.2, "{what}: {mean} {sd} {q:?}");
        // The same of a second draw of the history with the same coordinates.
        let drawn: Vec<f64> = (0..n).map(|i| relative(i, at(&noisy, i))).collect();
        println!("{what} with scatter: {:.5?}", spread(drawn));

        // The truth over the deviation that a caller's noise draws from.
        let z: Vec<f64> = (0..n)
            .map(|i| {
                let own = [&first, &second].map(|out| at(out, i) - at(&centre, i));
                (truth(i) - at(&centre, i)) / own[0].hypot(own[1]).max(1e-9)
            })
            .collect();
        for (name, coordinate, edges) in &bins {
            for edges in edges.windows(2) {
                let inside = |i: &usize| {
                    let v = fresh.free[coordinate * n + i];
                    v > edges[0] && v <= edges[1]
                };
                let own: Vec<f64> = (0..n).filter(inside).map(|i| z[i]).collect();
                let share = own.iter().filter(|z| z.abs() < 1.0).count() as f64 / own.len() as f64;
                let error: Vec<f64> = (0..n).filter(inside).map(|i| error[i]).collect();
                let (m, sd, q) = spread(error);
                let (mean, size, _) = spread(own);
                println!(
                    "  {name} {:5.1} to {:4.1}: z {mean:5.2} +- {size:.2}, {:.0} % within 1; \
                     bias {m:.4} sd {sd:.4} 99 % {:.4} {unit}",
                    edges[0],
                    edges[1],
                    100.0 * share,
                    q[1]
                );
                // Residuals are no normal numbers: flat-topped, or with a tail.
                assert!(mean.abs() < 0.3 && (0.75..1.3).contains(&size), "{what} {name} {edges:?}");
                assert!((0.55..0.85).contains(&share), "{what} {name} {edges:?}: {share}");
            }
        }
    }
}

/// A campaign may know its redshifts well, and set narrower priors.
#[test]
fn scatter_is_that_of_the_prior_in_use() {
    let model = model();
    let prior = Prior {
        redshift: (2.0, 2.000_1),
        log_ssfr: (-9.5, -8.0),
        metallicity: (-0.5, 0.0),
        ..dirichlet_prior()
    };
    let deriver = Deriver::new(&model, &prior).unwrap();
    let n = 10_000;
    let fresh = Fresh::new(&model, &prior, n as u64);
    let [centre, first, second] =
        [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]].map(|noise| fresh.derive(&deriver, &|_| noise));
    for (column, truth) in [(0, 0), (5, 1)] {
        let at = |out: &[f32], i: usize| f64::from(out[column * n + i]);
        let z: Vec<f64> = (0..n)
            .map(|i| {
                let own = [&first, &second].map(|out| at(out, i) - at(&centre, i));
                (fresh.truth[i][truth] - at(&centre, i)) / own[0].hypot(own[1]).max(1e-9)
            })
            .collect();
        let mean = z.iter().sum::<f64>() / n as f64;
        let size = (z.iter().map(|z| z * z).sum::<f64>() / n as f64).sqrt();
        println!("narrow prior, column {column}: z {mean:.3} +- {size:.3}");
        // The shape of the deviation is a fit; the mean is least squares' own.
        assert!(mean.abs() < 0.1 && (0.85..1.15).contains(&size), "{column}: {mean} {size}");
    }
}

#[test]
fn every_corner_of_either_box_gives_numbers_in_their_order() {
    let model = model();
    for prior in [Prior::default(), dirichlet_prior()] {
        let deriver = Deriver::new(&model, &prior).unwrap();
        let bounds = prior.free_bounds().unwrap();
        let d = bounds.len();
        assert_eq!(d, deriver.free_columns());
        let mut rows = Vec::new();
        for corner in 0..1 << d {
            let at = |i: usize| if corner >> i & 1 == 1 { bounds[i].1 } else { bounds[i].0 };
            rows.push((0..d).map(at).collect::<Vec<f64>>());
        }
        let n = rows.len();
        let free = columns(&rows);
        for (z, noise) in [(0.001, 0.0f32), (7.5, 0.0), (2.0, 4.0), (2.0, -4.0)] {
            let noise = vec![noise; deriver.noise_columns() * n];
            let mut out = vec![f32::NAN; deriver.names().len() * n];
            deriver.derive(&[z], &free, &noise, &mut out);
            assert!(out.iter().all(|v| v.is_finite()));
            let age = cosmology::age_gyr(z) as f32;
            for i in 0..n {
                let get = |name: &str| {
                    let k = deriver.names().iter().position(|other| *other == name).unwrap();
                    out[k * n + i]
                };
                let left = get("log_mass_stellar") - free[i];
                assert!((-0.6..=1e-5).contains(&left), "{left} of {:?}", rows[i]);
                let rate = get("log_sfr_100") - free[i];
                assert!((-14.0001..=-7.9999).contains(&rate), "{rate} of {:?}", rows[i]);
                for name in ["mass_weighted_age_gyr", "t50_lookback_gyr"] {
                    let value = get(name);
                    assert!(value >= 0.0 && value <= age * 1.000_01, "{name} {value}");
                }
                if d == 7 {
                    let t = ["t25", "t50", "t75"].map(get);
                    assert!(0.0 <= t[0] && t[0] <= t[1] && t[1] <= t[2] && t[2] <= 1.0);
                }
            }
        }
    }
}

/// Neither the number of draws in a call nor the form of the redshift changes a bit.
#[test]
fn draws_do_not_depend_on_their_neighbours() {
    let model = model();
    for prior in [Prior::default(), dirichlet_prior()] {
        let deriver = Deriver::new(&model, &prior).unwrap();
        let again = Deriver::new(&model, &prior).unwrap();
        let (d, m) = (deriver.free_columns(), deriver.names().len());
        let n = 101;
        let mut stream = Stream::new(41, Purpose::Draw, 0, 0);
        let bounds = prior.free_bounds().unwrap();
        let rows: Vec<Vec<f64>> =
            (0..n).map(|_| bounds.iter().map(|b| stream.uniform_in(b.0, b.1)).collect()).collect();
        let free = columns(&rows);
        let noise: Vec<f32> =
            (0..deriver.noise_columns() * n).map(|_| stream.normal() as f32).collect();
        let (mut all, mut other) = (vec![0f32; m * n], vec![0f32; m * n]);
        deriver.derive(&[1.3], &free, &noise, &mut all);
        again.derive(&vec![1.3; n], &free, &noise, &mut other);
        assert_eq!(all, other);
        for i in [0, 31, 32, 100] {
            let pick = |columns: &[f32]| -> Vec<f32> {
                columns.chunks_exact(n).map(|column| column[i]).collect()
            };
            let mut one = vec![0f32; m];
            deriver.derive(&[1.3], &pick(&free), &pick(&noise), &mut one);
            assert_eq!(one, pick(&all), "draw {i}");
        }
        // One coordinate that is no number spoils its own draw alone.
        let mut spoilt = free.clone();
        spoilt[(d - 3) * n + 7] = f32::NAN;
        deriver.derive(&[1.3], &spoilt, &noise, &mut other);
        for (k, (a, b)) in all.iter().zip(&other).enumerate() {
            assert!(if k % n == 7 { b.is_nan() } else { a == b });
        }
        deriver.derive(&[1.3], &[], &[], &mut []);
    }
}

#[test]
fn what_cannot_be_derived_is_named() {
    let library = Arc::new(SspLibrary::embedded().unwrap());
    let filters = || FilterSet::embedded(&["f277w"]).unwrap();
    let options = ModelOptions { age_binning: AgeBinning::Bagpipes, ..ModelOptions::default() };
    let sampled = ForwardModel::new(library, filters(), options).unwrap();
    let error = Deriver::new(&sampled, &Prior::default()).err().unwrap();
    assert!(error.to_string().contains("age_binning"), "{error}");
    let prior = Prior { sfh: SfhFamily::Continuity, ..Prior::default() };
    let error = Deriver::new(&model(), &prior).err().unwrap();
    assert!(error.to_string().contains("Continuity"), "{error}");
}
