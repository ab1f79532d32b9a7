//! The sampler against likelihoods whose posterior is known in closed form.
//!
//! Sampling errors are those of `N` particles that are not quite independent:
//! tolerances take five standard errors at a quarter of `N`.

use super::*;
use outshine_kernels::random::Purpose;

const N: usize = 2000;
const EFFECTIVE: f64 = 500.0;
const LN_TAU: f64 = 1.837_877_066_409_345_3;

fn stream(i: u64) -> Stream {
    Stream::new(41, Purpose::Calibration, i, 0)
}

fn settings() -> Settings {
    Settings { particles: N, ..Settings::default() }
}

/// Samples `ln L` of one point.
fn run(dims: usize, seed: u64, log_l: impl Fn(&[f64]) -> f64) -> CubePosterior {
    run_from(dims, None, seed, log_l)
}

fn run_from(
    dims: usize,
    start: Option<&Kernels>,
    seed: u64,
    log_l: impl Fn(&[f64]) -> f64,
) -> CubePosterior {
    sample_cube_from(dims, start, &settings(), &mut stream(seed), &mut |cubes, out| {
        for (u, l) in cubes.chunks_exact(dims).zip(out) {
            *l = log_l(u);
        }
        Ok(())
    })
    .unwrap()
}

fn column(posterior: &CubePosterior, dims: usize, k: usize) -> Vec<f64> {
    posterior.cubes.iter().skip(k).step_by(dims).copied().collect()
}

/// The distribution of `values` under `cdf` is uniform: Kolmogorov-Smirnov,
/// the distance exceeded once in 10,000 times by `EFFECTIVE` draws.
fn assert_distributed(values: &[f64], cdf: impl Fn(f64) -> f64, what: &str) {
    let mut ranks: Vec<f64> = values.iter().map(|v| cdf(*v)).collect();
    ranks.sort_by(f64::total_cmp);
    let n = ranks.len() as f64;
    let distance =
        ranks.iter().enumerate().map(|(i, r)| (r - (i as f64 + 0.5) / n).abs()).fold(0.0, f64::max);
    println!("{what}: KS distance {distance:.4}");
    assert!(distance < 2.23 / EFFECTIVE.sqrt(), "{what}: {distance}");
}

#[test]
fn a_narrow_correlated_normal_has_its_moments_and_evidence() {
    check_narrow_normal(None);
}

/// Guesses without the posterior's correlations, up to five times as wide, and
/// some of their own widths off.
#[test]
fn guesses_change_the_way_and_not_the_end() {
    let mut numbers = stream(100);
    let guesses: Vec<f64> = (0..64)
        .flat_map(|_| {
            let u = [0.203, 0.9, 0.5, 0.694, 0.35];
            u.map(|u| scalar::normal_quantile(u + 4e-3 * numbers.normal()))
        })
        .collect();
    let steps = check_narrow_normal(Some(&Kernels::around(guesses, 5, GUESS_WIDTH)));
    assert!(steps <= 15, "{steps} steps, 30 from the prior");
}

/// Correlated normal of standard deviations 1e-3 to 3e-3 about a point off the
/// centre: x_k = m_k + s (e_k + 2 e_(k-1)), e independent standard normals.
/// Returns the steps taken.
fn check_narrow_normal(start: Option<&Kernels>) -> usize {
    const D: usize = 5;
    let mut steps = 0;
    let (mean, s) = ([0.2, 0.9, 0.5, 0.7, 0.35], 1e-3);
    let residuals = |u: &[f64]| {
        let mut e = [0.0; D];
        for k in 0..D {
            let before = if k > 0 { 2.0 * e[k - 1] } else { 0.0 };
            e[k] = (u[k] - mean[k]) / s - before;
        }
        e
    };
    // Normalised: the evidence is 1.
    let norm = D as f64 * (0.5 * LN_TAU + s.ln());
    for seed in 0..3 {
        let got = run_from(D, start, seed, |u| {
            -0.5 * residuals(u).iter().map(|e| e * e).sum::<f64>() - norm
        });
        steps = got.run.steps;
        println!(
            "ln evidence {:.3} +- {:.3}, {} steps, acceptance {:.2}, {} evaluations",
            got.run.log_evidence,
            got.run.log_evidence_error,
            got.run.steps,
            got.run.acceptance,
            got.run.evaluations
        );
        // Steps are not quite independent: twice the naive error, three times over.
        assert!(
            got.run.log_evidence.abs() < 6.0 * got.run.log_evidence_error,
            "{}",
            got.run.log_evidence
        );
        let e: Vec<[f64; D]> = got.cubes.chunks_exact(D).map(residuals).collect();
        for k in 0..D {
            let values: Vec<f64> = e.iter().map(|e| e[k]).collect();
            assert_distributed(&values, scalar_cdf, &format!("seed {seed}, residual {k}"));
            let width = if k > 0 { 5f64.sqrt() } else { 1.0 } * s;
            let cdf = |u: f64| scalar_cdf((u - mean[k]) / width);
            assert_distributed(&column(&got, D, k), cdf, &format!("seed {seed}, coordinate {k}"));
            for j in 0..k {
                let product = e.iter().map(|e| e[k] * e[j]).sum::<f64>() / N as f64;
                assert!(product.abs() < 5.0 / EFFECTIVE.sqrt(), "{k}, {j}: {product}");
            }
        }
    }
    steps
}

fn scalar_cdf(z: f64) -> f64 {
    outshine_kernels::scalar::normal_cdf(z)
}

/// Two normals of widths 0.01 and 0.02 far apart, with shares 0.3 and 0.7.
#[test]
fn two_modes_keep_their_shares() {
    const D: usize = 4;
    let modes = [(0.3, 0.25, 0.01), (0.7, 0.75, 0.02)];
    let log_l = |u: &[f64]| {
        let terms = modes.map(|(share, at, width): (f64, f64, f64)| {
            let chi2: f64 = u.iter().map(|u| ((u - at) / width) * ((u - at) / width)).sum();
            share.ln() - 0.5 * chi2 - D as f64 * (0.5 * LN_TAU + width.ln())
        });
        let most = terms[0].max(terms[1]);
        most + terms.iter().map(|t| (t - most).exp()).sum::<f64>().ln()
    };
    let mut shares = Vec::new();
    for seed in 0..8 {
        let got = run(D, seed, log_l);
        let first: Vec<&[f64]> = got.cubes.chunks_exact(D).filter(|u| u[0] < 0.5).collect();
        let share = first.len() as f64 / N as f64;
        println!("share {share:.3}, ln evidence {:.3}", got.run.log_evidence);
        shares.push(share);
        assert!(
            got.run.log_evidence.abs() < 6.0 * got.run.log_evidence_error,
            "{}",
            got.run.log_evidence
        );
        for (mode, (_, at, width)) in modes.iter().enumerate() {
            let values: Vec<f64> = got
                .cubes
                .chunks_exact(D)
                .filter(|u| (u[0] < 0.5) == (mode == 0))
                .map(|u| u[0])
                .collect();
            let cdf = |u: f64| scalar_cdf((u - at) / width);
            assert_distributed(&values, cdf, &format!("seed {seed}, mode {mode}"));
        }
    }
    // The weights of the tempering carry the shares: a relative error like
    // that of the evidence, about 0.03 to 0.06 for one run.
    let mean = shares.iter().sum::<f64>() / shares.len() as f64;
    assert!((mean - 0.3).abs() < 0.03, "{mean}");
    assert!(shares.iter().all(|s| (s - 0.3).abs() < 0.09), "{shares:?}");
}

#[test]
fn without_information_the_posterior_is_the_prior() {
    let got = run(3, 1, |_| -7.5);
    assert_eq!(got.run.steps, 1);
    assert!((got.run.log_evidence + 7.5).abs() < 1e-12);
    for k in 0..3 {
        assert_distributed(&column(&got, 3, k), |u| u, "uniform");
    }
}

/// Half of the cube has no likelihood, and an edge cuts the other.
#[test]
fn truncated_posteriors_stay_inside() {
    let got = run(2, 2, |u| match u[0] {
        x if x < 0.25 => f64::NEG_INFINITY,
        x if x > 0.75 => f64::NAN,
        _ => 50.0 * u[1],
    });
    assert!(got.cubes.chunks_exact(2).all(|u| u[0] >= 0.25 && u[0] <= 0.75));
    assert_distributed(&column(&got, 2, 0), |u| 2.0 * (u - 0.25), "cut");
    let edge = |u: f64| (50.0 * u).exp_m1() / 50f64.exp_m1();
    assert_distributed(&column(&got, 2, 1), edge, "edge");
    let expected = (0.5 * 50f64.exp_m1() / 50.0).ln();
    assert!((got.run.log_evidence - expected).abs() < 6.0 * got.run.log_evidence_error);
}

#[test]
fn a_stream_names_its_draws() {
    let log_l = |u: &[f64]| -200.0 * (u[0] - 0.3) * (u[0] - 0.3) - 10.0 * u[1];
    let (a, b, c) = (run(2, 5, log_l), run(2, 5, log_l), run(2, 6, log_l));
    assert_eq!(a.cubes, b.cubes);
    assert_eq!(a.log_likelihood, b.log_likelihood);
    assert_eq!(a.run.log_evidence.to_bits(), b.run.log_evidence.to_bits());
    assert_ne!(a.cubes, c.cubes);
    for (u, l) in a.cubes.chunks_exact(2).zip(&a.log_likelihood) {
        assert_eq!(log_l(u), *l, "each draw with its own likelihood");
    }
}

#[test]
fn what_cannot_be_sampled_is_named() {
    let fails = |settings: &Settings, value: f64| {
        sample_cube(2, settings, &mut stream(1), &mut |cubes, out| {
            out.iter_mut().zip(cubes.chunks_exact(2)).for_each(|(l, u)| *l = value * u[0]);
            Ok(())
        })
        .unwrap_err()
        .to_string()
    };
    let few = Settings { particles: 3, ..settings() };
    assert!(fails(&few, 0.0).contains("exact.particles"));
    let none = Settings { jumps: f64::NAN, ..settings() };
    assert!(fails(&none, 0.0).contains("exact.jumps"));
    let short = Settings { most_steps: 2, ..settings() };
    assert!(fails(&short, 1e9).contains("exact.most_steps"));
    assert!(fails(&settings(), f64::NEG_INFINITY).contains("exact.particles"));
    assert!(fails(&settings(), f64::INFINITY).contains("infinite"));
}
