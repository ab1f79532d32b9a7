//! Fluxes are continuous in every parameter.
//!
//! A parameter is walked in fine steps, across the nodes of every table. Where
//! ln(flux) moves most, and where it moves most unlike its neighbours, the step
//! is cut into eight, and the largest of the eight again. Of a continuous
//! function the largest part of a step shrinks with it; a jump does not.

#![cfg(feature = "bc03")]

mod common;

use common::{FAINT, model};
use outshine_sps::cosmology::age_gyr;
use outshine_sps::{
    Attenuation, Basis, BirthClouds, Components, Derived, FilterSet, ForwardModel, ModelOptions,
    Parameters, Prior, RedshiftGrid, Sfh, SfhFamily,
};
use std::sync::Arc;

const BANDS: [&str; 8] = ["f435w", "f606w", "f814w", "f090w", "f150w", "f277w", "f430m", "f444w"];
/// Parts of a step, per round, and rounds.
const PARTS: usize = 8;
const ROUNDS: i32 = 3;
/// What every round leaves of the largest part of a step, at most: 1 / 8 for a
/// function with a slope.
const SHRINK: f64 = 0.25;
/// Steps of ln(flux) that are rounding: sums in single precision, of up to 83
/// SSPs, and polynomials through up to 16 nodes.
const ROUNDING: f64 = 1e-5;

type Predict = Box<dyn Fn(&Parameters) -> (Vec<f64>, Derived)>;
type Walk = Box<dyn Fn(f64) -> Parameters>;

/// A way to fluxes.
struct Path {
    name: &'static str,
    predict: Predict,
}

/// The full model and the grid of redshifts.
fn paths(options: &ModelOptions, redshift: (f64, f64)) -> Vec<Path> {
    let model = model(FilterSet::embedded(&BANDS).unwrap(), options.clone());
    let basis = Basis::new(model.clone(), Components::Full, 4.0).unwrap();
    let grid = RedshiftGrid::new(basis, redshift).unwrap();
    let full = move |p: &Parameters| predict_full(&model, p);
    let fast = move |p: &Parameters| {
        let mut flux = vec![0.0; BANDS.len()];
        let derived = grid.photometry(p, &mut grid.scratch(), &mut flux).unwrap();
        (flux, derived)
    };
    vec![
        Path { name: "full", predict: Box::new(full) },
        Path { name: "grid", predict: Box::new(fast) },
    ]
}

fn predict_full(model: &Arc<ForwardModel>, p: &Parameters) -> (Vec<f64>, Derived) {
    common::photometry(model, p, Components::Full)
}

/// ln of fluxes (NaN where faint), of surviving mass, and of mean age plus 1 Myr
/// (ages go to 0).
fn logs(path: &Path, p: &Parameters) -> Vec<f64> {
    let (flux, derived) = (path.predict)(p);
    let brightest = flux.iter().copied().fold(0.0, f64::max);
    assert!(brightest > 0.0 && brightest.is_finite(), "{p:?}");
    let mut out: Vec<f64> =
        flux.iter().map(|f| if *f > FAINT * brightest { f.ln() } else { f64::NAN }).collect();
    out.push(derived.log_mass_stellar * std::f64::consts::LN_10);
    out.push((derived.mass_weighted_age_gyr + 1e-3).ln());
    out
}

/// Largest difference over quantities that both have.
fn step(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (b - a).abs()).filter(|d| d.is_finite()).fold(0.0, f64::max)
}

/// Walks `at` from 0 to 1. Returns the largest step that did not shrink, and where.
fn walk(path: &Path, steps: usize, at: &dyn Fn(f64) -> Parameters) -> (f64, f64) {
    let values: Vec<Vec<f64>> =
        (0..=steps).map(|i| logs(path, &at(i as f64 / steps as f64))).collect();
    let jumps: Vec<f64> = values.windows(2).map(|v| step(&v[0], &v[1])).collect();
    // How far a step is from the mean of its neighbours: of a smooth function,
    // the third power of the step.
    let excess = |i: usize| {
        let Some(v) = i.checked_sub(1).and_then(|first| values.get(first..i + 3)) else {
            return jumps[i];
        };
        let odd = |k: usize| {
            let [before, here, after] = [0, 1, 2].map(|j| v[j + 1][k] - v[j][k]);
            let odd = (here - 0.5 * (before + after)).abs();
            // Faint on one side.
            if odd.is_nan() && here.is_finite() { here.abs() } else { odd }
        };
        (0..v[0].len()).map(odd).filter(|e| e.is_finite()).fold(0.0, f64::max)
    };
    let mut places: Vec<usize> = (0..steps).collect();
    places.sort_by(|&a, &b| jumps[b].total_cmp(&jumps[a]));
    let mut chosen: Vec<usize> = places[..4].to_vec();
    places.sort_by(|&a, &b| excess(b).total_cmp(&excess(a)));
    chosen.extend(&places[..12]);
    let mut worst = (0.0, 0.0);
    for i in chosen {
        let (mut low, mut width) = (i as f64 / steps as f64, 1.0 / steps as f64);
        let mut largest = jumps[i];
        for _ in 0..ROUNDS {
            width /= PARTS as f64;
            let parts: Vec<Vec<f64>> =
                (0..=PARTS).map(|k| logs(path, &at(low + k as f64 * width))).collect();
            let (mut place, mut most) = (0, -1.0);
            for (k, pair) in parts.windows(2).enumerate() {
                if step(&pair[0], &pair[1]) > most {
                    (place, most) = (k, step(&pair[0], &pair[1]));
                }
            }
            low += place as f64 * width;
            largest = most;
        }
        let left = largest - ROUNDING.max(jumps[i] * SHRINK.powi(ROUNDS));
        if left > 0.0 && largest > worst.0 {
            worst = (largest, low);
        }
    }
    worst
}

/// Walks on both paths, on which no step may fail to shrink.
fn check(paths: &[Path], title: &str, steps: usize, at: &dyn Fn(f64) -> Parameters) {
    for path in paths {
        let (jump, place) = walk(path, steps, at);
        assert!(jump == 0.0, "{title}, {}: a jump of {jump:.1e} at {:?}", path.name, at(place));
    }
}

fn between((low, high): (f64, f64), x: f64) -> f64 {
    low + (high - low) * x
}

const REDSHIFT: (f64, f64) = (1.5, 1.9);
/// Later starts of star formation, as a fraction of the cosmic age, have a walk of
/// their own: fluxes are steep there.
const LATE: f64 = 0.9;

/// The walk itself: it must see one flux jump by 3 in 10,000, wherever that is.
#[test]
fn a_small_jump_is_found() {
    let prior = Prior::default();
    for (i, place) in [(1, 0.13), (1, 0.71), (2, 0.5), (3, 0.05), (3, 0.42), (4, 0.9)] {
        let (low, high) = if i == 2 { (0.0, LATE) } else { prior.free_bounds().unwrap()[i] };
        let model = model(FilterSet::embedded(&BANDS).unwrap(), ModelOptions::default());
        let jumps = move |p: &Parameters| {
            let (mut flux, derived) = predict_full(&model, p);
            let mut free = [0.0; 5];
            Prior::default().to_free(p, 0.5, &mut free).unwrap();
            let beyond = free[i] > low + (high - low) * place;
            flux[4] *= if beyond { 1.0003 } else { 1.0 };
            (flux, derived)
        };
        let path = Path { name: "jumps", predict: Box::new(jumps) };
        let (jump, at) = walk(&path, 1200, &|x| {
            let mut free = [9.0, -0.4, 0.5, -0.6, 0.7];
            free[i] = between((low, high), x);
            prior.from_free(&free, 1.7)
        });
        // A part of a step besides.
        assert!(jump > 2.9e-4 && jump < 4e-4, "{i}: {jump}");
        assert!((at - place).abs() < 1e-5, "{i}: {at}, not {place}");
    }
}

#[test]
fn the_tau_family_is_smooth() {
    let prior = Prior::default();
    let clouds = Some(BirthClouds::default());
    let attenuation = Attenuation { birth_clouds: clouds, ..Attenuation::default() };
    for options in
        [ModelOptions::default(), ModelOptions { attenuation, ..ModelOptions::default() }]
    {
        let paths = paths(&options, REDSHIFT);
        for base in
            [[9.0, -0.4, 0.5, -0.6, 0.7], [9.0, -1.7, 0.97, 0.1, 3.1], [9.0, 1.5, 0.02, -2.0, 0.0]]
        {
            for (i, name) in prior.free_names().unwrap().iter().enumerate() {
                let bounds = prior.free_bounds().unwrap()[i];
                let bounds = if i == 2 { (0.0, LATE) } else { bounds };
                check(&paths, name, 1200, &|x| {
                    let mut free = base;
                    free[i] = between(bounds, x);
                    prior.from_free(&free, 1.7)
                });
            }
            check(&paths, "late t_i", 400, &|x| {
                let mut free = base;
                free[2] = between((LATE, 1.0 - 1e-6), x);
                prior.from_free(&free, 1.7)
            });
            check(&paths, "t_i to the present", 400, &|x| {
                let mut free = base;
                // 10^-6 to 1 of the cosmic age before the present.
                free[2] = 1.0 - 10f64.powf(-6.0 * x);
                prior.from_free(&free, 1.7)
            });
            check(&paths, "redshift", 1200, &|x| prior.from_free(&base, between(REDSHIFT, x)));
        }
    }
}

#[test]
fn redshift_is_smooth_up_to_the_first_galaxies() {
    let prior = Prior::default();
    for range in [(0.01, 0.3), (3.0, 4.9), (6.5, 7.5), (11.0, 15.0)] {
        let paths = paths(&ModelOptions::default(), range);
        check(&paths, "redshift", 2400, &|x| {
            prior.from_free(&[9.0, -0.5, 0.3, -0.5, 0.4], between(range, x))
        });
    }
}

#[test]
fn other_families_are_smooth() {
    let paths = paths(&ModelOptions::default(), REDSHIFT);
    let z = 1.7;
    let at = |sfh, redshift| Parameters {
        sfh,
        log_mass_formed: 9.0,
        metallicity: -0.5,
        a_v: 0.5,
        redshift,
    };
    for ratio in 0..6 {
        check(&paths, "log_sfr_ratios", 300, &|x| {
            let mut log_sfr_ratios = [0.2, -0.3, 0.1, 0.4, -0.2, 0.0];
            log_sfr_ratios[ratio] = between((-3.0, 3.0), x);
            at(Sfh::Continuity { log_sfr_ratios }, z)
        });
    }
    check(&paths, "continuity, redshift", 600, &|x| {
        let log_sfr_ratios = [0.2, -0.3, 0.1, 0.4, -0.2, 0.0];
        at(Sfh::Continuity { log_sfr_ratios }, between(REDSHIFT, x))
    });
    for (turnover, alpha, beta) in [(0.4, 1.0, 0.5), (0.9, 300.0, 30.0), (0.2, 0.02, 500.0)] {
        let power = |fraction: f64, alpha: f64, beta: f64, redshift: f64| {
            let tau_gyr = (fraction * age_gyr(redshift)).max(1e-9);
            at(Sfh::DoublePowerLaw { tau_gyr, alpha, beta }, redshift)
        };
        let slope = |x: f64| 10f64.powf(between((-2.0, 3.0), x));
        // Towards a turnover at the Big Bang, t^-1 puts ever more mass there: a
        // logarithm, which has no slope at 0.
        check(&paths, "turnover", 600, &|x| power(between((1e-3, 1.0), x), alpha, beta, z));
        check(&paths, "alpha", 600, &|x| power(turnover, slope(x), beta, z));
        check(&paths, "beta", 600, &|x| power(turnover, alpha, slope(x), z));
        check(&paths, "double power law, redshift", 600, &|x| {
            power(turnover, alpha, beta, between(REDSHIFT, x))
        });
    }
}

/// Exempt, for the recipe itself has branches: each of three late points is
/// placed in one of two ways, the last rate is set or left, and the number of last
/// samples is whole (it changes with redshift). Coincident quantiles are steep as
/// well: the curve follows each to 0.0006. What is bounded is by how much.
#[test]
fn the_dirichlet_family_jumps_where_its_recipe_does() {
    let paths = paths(&ModelOptions::default(), REDSHIFT);
    let prior = Prior { sfh: SfhFamily::Dirichlet, ..Prior::default() };
    let mut worst = (0.0, "", None);
    for index in 0..12 {
        let base = common::draw_at(&prior, 1.7, index);
        let Sfh::Dirichlet { log_ssfr, t25, t50, t75 } = base.sfh else { unreachable!() };
        let with = move |log_ssfr, t25, t50, t75| Parameters {
            sfh: Sfh::Dirichlet { log_ssfr, t25, t50, t75 },
            ..base
        };
        let walks: [(&str, Walk); 5] = [
            ("log_ssfr", Box::new(move |x| with(between((-11.5, -7.5), x), t25, t50, t75))),
            ("t25", Box::new(move |x| with(log_ssfr, x * t50, t50, t75))),
            ("t50", Box::new(move |x| with(log_ssfr, t25, between((t25, t75), x), t75))),
            ("t75", Box::new(move |x| with(log_ssfr, t25, t50, between((t50, 1.0), x)))),
            ("redshift", Box::new(move |x| Parameters { redshift: between(REDSHIFT, x), ..base })),
        ];
        for (name, at) in walks {
            let [full, grid] = [0, 1].map(|i| walk(&paths[i], 300, &at));
            if full.0 > worst.0 {
                worst = (full.0, name, Some(at(full.1)));
            }
            // The tables add none of their own.
            assert!((full.0 - grid.0).abs() < 0.005, "{name}: {full:?} {grid:?} of {base:?}");
        }
    }
    let (jump, name, p) = worst;
    println!("largest jump of the Dirichlet family: {jump:.2}, {name} at {p:?}");
    assert!(jump > 0.0 && jump < 1.0, "{jump}");
}
