//! Posteriors of known faults against every test.

use super::*;
use outshine_kernels::random::{Purpose, Stream};

/// Conjugate Gaussian: theta ~ N(0, 1), x = theta + N(0, 1), so that
/// theta | x ~ N(x / 2, 1/2); draws widened by `stretch` and moved by `shift`.
fn row(n: u64, stretch: f64, shift: f64) -> CalibrationRow {
    let cases = (0..n).map(|i| {
        let mut s = Stream::new(21, Purpose::Calibration, i, 0);
        let truth = s.normal();
        let x = truth + s.normal();
        let sd = 0.5f64.sqrt();
        let draws: Vec<f32> =
            (0..300).map(|_| (0.5 * x + sd * (shift + stretch * s.normal())) as f32).collect();
        Case::new(truth, &draws, true, &mut s)
    });
    calibration_row("theta", cases)
}

#[test]
fn a_right_posterior_passes_and_a_wrong_one_does_not() {
    let tolerance = Tolerance { coverage: 0.02, sbc_ks: 0.02, ..Tolerance::default() };
    let right = row(4000, 1.0, 0.0);
    let verdict = Verdict::of([("pixel", &right)], &tolerance);
    assert!(verdict.passed, "{:?}", verdict.reasons);
    assert!(right.sbc_p > 0.001 && right.sbc_chi_square_p > 0.001, "{right:?}");
    // R^2 of the conjugate model is 1/2; standard error about 0.015.
    assert!((right.r_squared - 0.5).abs() < 0.06);
    assert!((right.pull_sd - 1.0).abs() < 0.05);

    for (stretch, shift, word) in
        [(0.7, 0.0, "overconfident"), (1.4, 0.0, "underconfident"), (1.0, 0.5, "uniform")]
    {
        let wrong = row(4000, stretch, shift);
        let verdict = Verdict::of([("pixel", &wrong)], &tolerance);
        assert!(!verdict.passed);
        assert!(verdict.reasons.iter().any(|r| r.contains(word)), "{:?}", verdict.reasons);
        assert!(wrong.sbc_p < 1e-6);
    }
}

#[test]
fn coverage_of_a_gaussian_is_the_closed_form() {
    // Stretch 0.7: the 68 % interval is +-0.9945 * 0.7 sd wide, which holds 51.4 %.
    let got = row(4000, 0.7, 0.0).coverage_68;
    assert!((got - 0.514).abs() < 0.025, "{got}");
}

#[test]
fn an_atom_is_ranked_by_chance() {
    // Truth and draws sit on the floor with probability 1/2: calibrated.
    let cases = (0..4000).map(|i| {
        let mut s = Stream::new(22, Purpose::Calibration, i, 0);
        let mut one = || if s.uniform() < 0.5 { -14.0 } else { s.normal() };
        let truth = one();
        let draws: Vec<f32> = (0..200).map(|_| one() as f32).collect();
        Case::new(truth, &draws, false, &mut s)
    });
    let r = calibration_row("log_sfr", cases);
    assert!((r.coverage_68 - 0.68).abs() < 0.03, "{}", r.coverage_68);
    assert!(r.sbc_p > 0.001);
    assert!(r.r_squared.is_nan() && r.bright == 0);
}

/// What is done to the exact posterior of the plane.
#[derive(Clone, Copy)]
struct Fault {
    stretch: f64,
    shift: f64,
    correlated: bool,
}

const RIGHT: Fault = Fault { stretch: 1.0, shift: 0.0, correlated: true };

/// Two parameters ~ N(0, 1), of which x = their sum + N(0, 0.3^2) is seen: the
/// posterior has means x / v, variances 1 - 1 / v and covariance -1 / v, where
/// v = 2.09, a correlation of -0.92. Objects go over the strata in turn.
fn plane(n: u64, fault: Fault) -> Scores {
    let mut scores = Scores::new(Strata::default(), &["a", "b"]);
    let mut maker = CaseMaker::default();
    let mut tarp = Tarp::new(&[-3.0; 2], &[3.0; 2]);
    let v: f64 = 2.09;
    let sd = (1.0 - 1.0 / v).sqrt();
    let rho = if fault.correlated { -1.0 / (v - 1.0) } else { 0.0 };
    let log_density =
        |a: f64, b: f64| -(a * a - 2.0 * rho * a * b + b * b) / (2.0 * sd * sd * (1.0 - rho * rho));
    for i in 0..n {
        let mut s = Stream::new(23, Purpose::Calibration, i, 0);
        let truth = [s.normal(), s.normal()];
        let mean = (truth[0] + truth[1] + 0.3 * s.normal()) / v;
        let (mut draws, mut densities) = ([const { Vec::new() }; 2], Vec::new());
        for _ in 0..200 {
            let (p, q) = (s.normal(), s.normal());
            let a = sd * (fault.shift + fault.stretch * p);
            let b = sd * fault.stretch * (rho * p + (1.0 - rho * rho).sqrt() * q);
            draws[0].push((mean + a) as f32);
            draws[1].push((mean + b) as f32);
            densities.push(log_density(a, b));
        }
        let cases = [0, 1].map(|k| maker.case(truth[k], &draws[k], true, &mut s));
        let own = log_density(truth[0] - mean, truth[1] - mean);
        let joint = JointPlaces {
            tarp: Some(tarp.place(&truth, &draws, &mut s)),
            density: Some(density_place(own, &densities, &mut s)),
        };
        let bands = [10, 16, 19][(i % 3) as usize];
        let redshift = [1.0, 2.0, 5.0][(i / 3 % 3) as usize];
        let snr = [3.0, 10.0, 50.0, 0.1][(i / 9 % 4) as usize];
        let stratum = scores.strata().index(snr, redshift, bands, i / 36 % 2 == 1);
        scores.add(stratum, &cases, joint);
    }
    scores
}

fn overall(scores: &Scores, parameter: &str) -> CalibrationRow {
    let rows = scores.rows();
    let mut of = rows.into_iter().filter(|(p, r)| p == "pixel" && r.parameter == parameter);
    of.next().expect("a row of the overall population").1
}

fn verdict(scores: &Scores) -> Verdict {
    let rows = scores.rows();
    Verdict::of(
        rows.iter().map(|(p, r)| (p.as_str(), r)),
        &Tolerance { tarp: 0.02, ..Tolerance::default() },
    )
}

#[test]
fn a_right_joint_posterior_passes() {
    let scores = plane(7992, RIGHT);
    let verdict = verdict(&scores);
    assert!(verdict.passed, "{:?}", verdict.reasons);
    // Each of the 27 cells has 1/72 of the objects, too few to judge; the faint (1/8) and
    // the integrated (1/2) are enough.
    assert_eq!(verdict.unjudged.len(), 27);
    for parameter in ["a", "b", TARP, DENSITY_RANK] {
        let row = overall(&scores, parameter);
        assert_eq!(row.simulations, 3996);
        assert!(row.sbc_p > 0.003, "{row:?}");
        // Three standard errors of the share of 3996 in the 68 % region.
        assert!((row.coverage_68 - 0.68).abs() < 0.022, "{row:?}");
    }
}

/// Right margins and no correlation: only the joint tests can tell.
#[test]
fn a_missing_correlation_shows_in_the_joint_tests_alone() {
    let scores = plane(7992, Fault { correlated: false, ..RIGHT });
    for parameter in ["a", "b"] {
        assert!(overall(&scores, parameter).sbc_p > 0.003);
    }
    for parameter in [TARP, DENSITY_RANK] {
        let row = overall(&scores, parameter);
        assert!(row.sbc_p < 1e-6, "{row:?}");
    }
    let verdict = verdict(&scores);
    assert!(!verdict.passed);
    assert!(verdict.reasons.iter().all(|r| r.contains("joint")), "{:?}", verdict.reasons);
    assert!(verdict.reasons.iter().any(|r| r.starts_with("pixel, tarp")), "{:?}", verdict.reasons);
}

/// Too narrow, too wide and shifted posteriors show in every test.
#[test]
fn the_joint_tests_see_what_single_parameters_show() {
    for fault in [
        Fault { stretch: 0.6, ..RIGHT },
        Fault { stretch: 1.6, ..RIGHT },
        Fault { shift: 0.7, ..RIGHT },
    ] {
        let scores = plane(4000, fault);
        for parameter in ["a", TARP, DENSITY_RANK] {
            let row = overall(&scores, parameter);
            assert!(row.sbc_p < 1e-6, "{row:?}");
        }
        assert!(!verdict(&scores).passed);
    }
}

/// Scores of two halves, merged in either order, are those of the whole.
#[test]
fn merged_scores_are_those_of_the_whole() {
    let (some, whole) = (plane(500, RIGHT), plane(900, RIGHT));
    let mut twice = some.clone();
    twice.merge(&whole);
    let mut other = whole.clone();
    other.merge(&some);
    assert_eq!(twice, other);
    let count = |scores: &Scores| -> u64 {
        let of_strata =
            scores.rows().into_iter().filter(|(p, r)| p != "pixel" && r.parameter == "a");
        of_strata.map(|(_, r)| r.simulations).sum()
    };
    assert_eq!((count(&some), count(&whole), count(&twice)), (500, 900, 1400));
}
