//! Exact posteriors of the real model: calibration on simulated objects, and
//! weighted draws of the prior.

#![cfg(feature = "bc03")]

mod common;

use common::model;
use outshine_kernels::random::{Purpose, Stream};
use outshine_sps::exact::{self, Settings};
use outshine_sps::{
    Basis, Components, FilterSet, FixedRedshift, ModelOptions, Observation, Parameters, Prior,
    SfhFamily,
};
use std::sync::Arc;

const BANDS: [&str; 5] = ["f435w", "f814w", "f150w", "f277w", "f444w"];
const ERR_NJY: [f64; 5] = [0.3, 0.3, 0.2, 0.1, 0.1];
const REDSHIFT: f64 = 2.0;

fn table(a_v_max: f64) -> FixedRedshift {
    let model = model(FilterSet::embedded(&BANDS).unwrap(), ModelOptions::default());
    let basis = Arc::new(Basis::new(model, Components::Full, a_v_max).unwrap());
    FixedRedshift::new(basis, REDSHIFT).unwrap()
}

/// Masses of pixels.
fn prior(sfh: SfhFamily) -> Prior {
    Prior { sfh, log_mass_formed: (6.0, 9.5), ..Prior::default() }
}

/// Fluxes of `truth` with noise.
fn observe(at: &FixedRedshift, truth: &Parameters, stream: &mut Stream) -> [f64; 5] {
    let mut flux_njy = [0.0; 5];
    at.photometry(truth, &mut at.scratch(), &mut flux_njy).unwrap();
    flux_njy.iter_mut().zip(ERR_NJY).for_each(|(f, e)| *f += e * stream.normal());
    flux_njy
}

/// (quantity, object) shares of the draws below the truth, for the free
/// coordinates and the log likelihood.
fn shares_below(sfh: SfhFamily, objects: u64, settings: &Settings, near: bool) -> Vec<Vec<f64>> {
    let (at, prior) = (table(4.0), prior(sfh));
    let dims = prior.free_names().unwrap().len();
    let mut shares = vec![Vec::new(); dims + 1];
    let mut signal = Vec::new();
    for i in 0..objects {
        let mut stream = Stream::new(61, Purpose::Calibration, i, 0);
        let truth = prior.draw_at(REDSHIFT, &mut stream);
        let flux_njy = observe(&at, &truth, &mut stream);
        signal.push(flux_njy[3] / ERR_NJY[3]);
        let observed = Observation { flux_njy: &flux_njy, err_njy: &ERR_NJY };
        let got = if near {
            // Knowing nothing is the widest that guesses can be.
            let guesses: Vec<Parameters> =
                (0..64).map(|_| prior.draw_at(REDSHIFT, &mut stream)).collect();
            exact::sample_near(&at, &prior, observed, &guesses, settings, &mut stream)
        } else {
            exact::sample(&at, &prior, observed, settings, &mut stream)
        };
        let got = got.unwrap();
        let mut own = [0.0];
        at.log_likelihood(observed, &[truth], &mut at.scratch(), &mut own, None).unwrap();
        let mut free = vec![0.0; dims];
        prior.to_free(&truth, 0.5, &mut free).unwrap();
        let mut below = vec![0; dims + 1];
        let mut row = vec![0.0; dims];
        for (p, l) in got.parameters.iter().zip(&got.log_likelihood) {
            prior.to_free(p, 0.5, &mut row).unwrap();
            for k in 0..dims {
                below[k] += usize::from(row[k] < free[k]);
            }
            below[dims] += usize::from(*l < own[0]);
        }
        for (shares, below) in shares.iter_mut().zip(below) {
            // Anywhere within its rank.
            let n = (got.parameters.len() + 1) as f64;
            shares.push((below as f64 + stream.uniform()) / n);
        }
    }
    signal.sort_by(f64::total_cmp);
    let at = |q: f64| signal[(q * (signal.len() - 1) as f64) as usize];
    println!("{sfh:?}: S/N in {}: {:.1?}", BANDS[3], [0.0, 0.25, 0.5, 0.75, 1.0].map(at));
    shares
}

/// The truth's rank among draws of its posterior is uniform. The
/// Kolmogorov-Smirnov distance of n ranks exceeds 2.2 / sqrt(n) once in 8,000
/// times; eight quantities at most are compared.
fn assert_uniform(sfh: SfhFamily, mut shares: Vec<Vec<f64>>) {
    for (k, shares) in shares.iter_mut().enumerate() {
        shares.sort_by(f64::total_cmp);
        let n = shares.len() as f64;
        let mut distance = 0.0f64;
        for (i, share) in shares.iter().enumerate() {
            let ends = [i as f64 / n, (i + 1) as f64 / n];
            distance = ends.iter().fold(distance, |most, end| most.max((share - end).abs()));
        }
        println!(
            "{sfh:?}, quantity {k}: distance {distance:.3}, times root n {:.2}",
            distance * n.sqrt()
        );
        assert!(distance < 2.2 / n.sqrt(), "{sfh:?}, quantity {k}: {distance}");
    }
}

/// Talts et al. (2018), with few particles. The log likelihood is ranked too:
/// it sees posteriors that are the prior's (Modrak et al. 2023).
#[test]
fn posteriors_of_simulated_objects_are_calibrated() {
    let settings = Settings { particles: 200, ..Settings::default() };
    for (sfh, objects) in [(SfhFamily::Tau, 60), (SfhFamily::Dirichlet, 15)] {
        assert_uniform(sfh, shares_below(sfh, objects, &settings, false));
    }
}

/// The same near guesses, by weighted points.
#[test]
fn weighted_posteriors_of_simulated_objects_are_calibrated() {
    let settings = Settings { particles: 500, ..Settings::default() };
    let shares = shares_below(SfhFamily::Tau, 200, &settings, true);
    assert_uniform(SfhFamily::Tau, shares);
}

/// Errors far below what the table resolves: no mixture follows such a likelihood, and
/// particles go on from the points that were found.
#[test]
fn where_too_few_points_count_particles_go_on() {
    let (at, prior) = (table(4.0), prior(SfhFamily::Tau));
    let mut stream = Stream::new(63, Purpose::Calibration, 0, 0);
    let truth = prior.from_cube(&[0.5, 0.6, 0.4, 0.55, 0.3], REDSHIFT);
    let mut flux_njy = [0.0; 5];
    at.photometry(&truth, &mut at.scratch(), &mut flux_njy).unwrap();
    let err_njy = flux_njy.map(|f| 1e-8 * f);
    let observed = Observation { flux_njy: &flux_njy, err_njy: &err_njy };
    let guesses: Vec<Parameters> = (0..64).map(|_| prior.draw_at(REDSHIFT, &mut stream)).collect();
    let settings = Settings { particles: 100, ..Settings::default() };
    let got = exact::sample_near(&at, &prior, observed, &guesses, &settings, &mut stream);
    let run = got.unwrap().run;
    println!("{run:?}");
    // 40 rounds of 100 points at most, were these enough.
    assert!(run.evaluations > 10_000, "{run:?}");
}

/// The same with more of everything: minutes.
#[test]
#[ignore = "minutes; run with --release -- --ignored"]
fn posteriors_of_hundreds_of_objects_are_calibrated() {
    let settings = Settings { particles: 400, ..Settings::default() };
    for (sfh, objects) in [(SfhFamily::Tau, 500), (SfhFamily::Dirichlet, 150)] {
        assert_uniform(sfh, shares_below(sfh, objects, &settings, false));
    }
}

/// Draws of the prior, weighted by their likelihood, have the same evidence
/// and the same moments; for a faint object, or too few would have weight.
#[test]
fn weighted_draws_of_the_prior_agree() {
    for (sfh, draws) in [(SfhFamily::Tau, 200_000), (SfhFamily::Dirichlet, 100_000)] {
        let (at, prior) = (table(4.0), prior(sfh));
        let mut stream = Stream::new(62, Purpose::Calibration, 0, 0);
        let mut cube = vec![0.45; prior.cube_dims().unwrap()];
        cube[0] = 0.3;
        let truth = prior.from_cube(&cube, REDSHIFT);
        let flux_njy = observe(&at, &truth, &mut stream);
        let observed = Observation { flux_njy: &flux_njy, err_njy: &ERR_NJY };
        let settings = Settings::default();
        let got = exact::sample(&at, &prior, observed, &settings, &mut stream).unwrap();

        let sample: Vec<Parameters> =
            (0..draws).map(|_| prior.draw_at(REDSHIFT, &mut stream)).collect();
        let mut log_l = vec![0.0; draws];
        at.log_likelihood(observed, &sample, &mut at.scratch(), &mut log_l, None).unwrap();
        let most = log_l.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = log_l.iter().map(|l| (l - most).exp()).collect();
        let sum = weights.iter().sum::<f64>();
        let effective = sum * sum / weights.iter().map(|w| w * w).sum::<f64>();
        let log_evidence = most + (sum / draws as f64).ln();
        let error = (1.0 / effective + 4.0 * got.run.log_evidence_error.powi(2)).sqrt();
        println!(
            "{sfh:?}: S/N {:.1?}, ln evidence {:.3} of {effective:.0} effective draws, {:.3} +- {:.3}",
            [0, 1, 2, 3, 4].map(|b| flux_njy[b] / ERR_NJY[b]),
            log_evidence,
            got.run.log_evidence,
            got.run.log_evidence_error
        );
        assert!(effective > 500.0, "a fainter object: {effective}");
        assert!((got.run.log_evidence - log_evidence).abs() < 4.0 * error);

        let dims = prior.free_names().unwrap().len();
        let free = |p: &Parameters| {
            let mut row = vec![0.0; dims];
            prior.to_free(p, 0.5, &mut row).unwrap();
            row
        };
        let (expected, rows): (Vec<_>, Vec<_>) =
            (sample.iter().map(free).collect(), got.parameters.iter().map(free).collect());
        for k in 0..dims {
            let mean = |power: fn(f64) -> f64, rows: &[Vec<f64>], weights: Option<&[f64]>| {
                let one = vec![1.0; rows.len()];
                let weights = weights.unwrap_or(&one);
                let total: f64 = weights.iter().sum();
                rows.iter().zip(weights).map(|(r, w)| w * power(r[k])).sum::<f64>() / total
            };
            let first = [mean(|v| v, &rows, None), mean(|v| v, &expected, Some(&weights))];
            let second = [mean(|v| v * v, &rows, None), mean(|v| v * v, &expected, Some(&weights))];
            let width = [0, 1].map(|i| (second[i] - first[i] * first[i]).sqrt());
            println!("  {k}: mean {first:.3?}, width {width:.3?}");
            // Five standard errors, at half as many draws as there are.
            let error = 5.0 * (1.0 / effective + 2.0 / rows.len() as f64).sqrt();
            assert!((first[0] - first[1]).abs() < error * width[1], "{sfh:?} {k}: {first:?}");
            assert!((width[0] / width[1] - 1.0).abs() < error, "{sfh:?} {k}: {width:?}");
        }
    }
}

#[test]
fn draws_repeat_and_carry_their_own_likelihood() {
    let (at, prior) = (table(4.0), prior(SfhFamily::Dirichlet));
    let settings = Settings { particles: 60, ..Settings::default() };
    let flux_njy = [0.4, 1.0, f64::NAN, 3.0, 4.0];
    let err_njy = [0.3, 0.3, 0.0, 0.1, 0.1];
    let observed = Observation { flux_njy: &flux_njy, err_njy: &err_njy };
    let run = || {
        let mut stream = Stream::new(63, Purpose::Calibration, 0, 0);
        exact::sample(&at, &prior, observed, &settings, &mut stream).unwrap()
    };
    let (a, b) = (run(), run());
    assert_eq!(a.parameters, b.parameters);
    assert_eq!(a.log_likelihood, b.log_likelihood);
    assert_eq!(a.run.log_evidence.to_bits(), b.run.log_evidence.to_bits());
    let mut own = vec![0.0; 60];
    at.log_likelihood(observed, &a.parameters, &mut at.scratch(), &mut own, None).unwrap();
    assert_eq!(own, a.log_likelihood);
}

#[test]
fn what_cannot_be_sampled_is_named() {
    let at = table(2.0);
    let settings = Settings { particles: 60, ..Settings::default() };
    let mut stream = Stream::new(64, Purpose::Calibration, 0, 0);
    let flux_njy = [1.0; 5];
    let mut error = |prior: &Prior, err_njy: &[f64; 5]| {
        let observed = Observation { flux_njy: &flux_njy, err_njy };
        exact::sample(&at, prior, observed, &settings, &mut stream).unwrap_err().to_string()
    };
    let narrow = Prior { a_v: (0.0, 2.0), ..prior(SfhFamily::Tau) };
    assert!(error(&prior(SfhFamily::Tau), &ERR_NJY).contains("a_v"), "the table ends at 2 mag");
    assert!(error(&narrow, &[0.0; 5]).contains("no band"));
    let alpha = Prior { sfh: SfhFamily::Dirichlet, dirichlet_alpha: 2.0, ..narrow };
    assert!(error(&alpha, &ERR_NJY).contains("dirichlet_alpha"));
}

/// Where particles start does not matter: about the truth, or near the edges of the
/// prior far from it, they end in the same posterior with the same evidence.
#[test]
fn guesses_cost_time_and_no_truth() {
    let (at, prior) = (table(4.0), prior(SfhFamily::Tau));
    let settings = Settings { particles: 600, ..Settings::default() };
    let mut stream = Stream::new(63, Purpose::Calibration, 0, 0);
    let dims = prior.cube_dims().unwrap();
    let mut cube = vec![0.4; dims];
    cube[0] = 0.6;
    let truth = prior.from_cube(&cube, REDSHIFT);
    let flux_njy = observe(&at, &truth, &mut stream);
    let observed = Observation { flux_njy: &flux_njy, err_njy: &ERR_NJY };
    let moments = |got: &exact::ExactPosterior| {
        let n = got.parameters.len() as f64;
        let columns: [fn(&Parameters) -> f64; 2] = [|p| p.log_mass_formed, |p| p.a_v];
        columns.map(|of| {
            let mean = got.parameters.iter().map(of).sum::<f64>() / n;
            let square = got.parameters.iter().map(|p| (of(p) - mean).powi(2)).sum::<f64>() / n;
            (mean, square.sqrt())
        })
    };
    let from_prior = exact::sample(&at, &prior, observed, &settings, &mut stream).unwrap();
    let expected = moments(&from_prior);
    for (name, middle, scatter) in [("the truth", 0.4, 0.1), ("the edges", 0.85, 0.05)] {
        let mut guess = || {
            let mut cube: Vec<f64> =
                (0..dims).map(|_| (middle + scatter * stream.normal()).clamp(0.01, 0.99)).collect();
            cube[0] = 0.6;
            prior.from_cube(&cube, REDSHIFT)
        };
        let guesses: Vec<Parameters> = (0..64).map(|_| guess()).collect();
        let got =
            exact::sample_near(&at, &prior, observed, &guesses, &settings, &mut stream).unwrap();
        let evidence = got.run.log_evidence - from_prior.run.log_evidence;
        // Of 600 particles over some ten temperatures: a few tenths each.
        println!("{name}: evidence {evidence:+.2}, {:?} against {expected:?}", moments(&got));
        assert!(evidence.abs() < 1.0, "{name}: {evidence}");
        for ((mean, sigma), (other, width)) in moments(&got).into_iter().zip(expected) {
            // Means of 600 correlated draws: a tenth of a width each.
            assert!((mean - other).abs() < 0.4 * width, "{name}: {mean}, {other} +- {width}");
            assert!((sigma / width).ln().abs() < 0.3, "{name}: {sigma}, {width}");
        }
    }
    let nothing = exact::sample_near(&at, &prior, observed, &[], &settings, &mut stream);
    assert!(nothing.unwrap_err().to_string().contains("guesses"));
}
