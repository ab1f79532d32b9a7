//! Coverage, ranks and the verdict on a model.

use super::statistics::{
    chi_square_p_value, kolmogorov_smirnov, kolmogorov_smirnov_p_value, r_squared,
};
use outshine_kernels::random::Stream;
use outshine_kernels::{quantile, scalar};
use serde::{Deserialize, Serialize};

/// Probabilities of the central intervals whose coverage is measured.
pub const NOMINAL: [f64; 4] = [0.50, 0.68, 0.90, 0.95];
/// Bins of the histogram of ranks.
const BINS: usize = 20;

/// One simulation, one parameter: the truth and what its posterior says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Case {
    /// The true value.
    pub truth: f64,
    /// Posterior median.
    pub median: f64,
    /// (truth - posterior mean) / posterior standard deviation; NaN where the draws do not vary.
    pub pull: f64,
    /// Place of the truth among the draws, in (0, 1): (rank + uniform) / (draws + 1).
    pub place: f64,
    /// Whether each central interval of [`NOMINAL`] holds the truth.
    pub inside: [bool; 4],
    /// Whether the object is bright enough to count for R^2, bias and scatter.
    pub bright: bool,
}

impl Case {
    /// Ranks the truth among its draws. The truth is rounded to f32 first, as
    /// the draws are; where it equals some of them (an atom of the posterior,
    /// such as a floor), rank and intervals are resolved by chance from
    /// `stream`, as the theory asks.
    #[must_use]
    pub fn new(truth: f64, draws: &[f32], bright: bool, stream: &mut Stream) -> Self {
        let mut sorted: Vec<f64> = draws.iter().map(|d| f64::from(*d)).collect();
        quantile::sort(&mut sorted);
        let n = sorted.len() as f64;
        let value = f64::from(truth as f32);
        let below = sorted.partition_point(|d| *d < value);
        let ties = sorted.partition_point(|d| *d <= value) - below;
        let rank = below as f64 + stream.below(ties as u64 + 1) as f64;
        let place = (rank + stream.uniform()) / (n + 1.0);
        let mean = sorted.iter().sum::<f64>() / n;
        let square = sorted.iter().map(|d| (d - mean) * (d - mean));
        let sd = (square.sum::<f64>() / (n - 1.0)).sqrt();
        let inside = NOMINAL.map(|p| {
            if ties > 0 {
                return (place - 0.5).abs() <= 0.5 * p;
            }
            let low = quantile::of_sorted(&sorted, 0.5 - 0.5 * p);
            let high = quantile::of_sorted(&sorted, 0.5 + 0.5 * p);
            (low..=high).contains(&value)
        });
        let pull = if sd > 0.0 { (truth - mean) / sd } else { f64::NAN };
        Self { truth, median: quantile::of_sorted(&sorted, 0.5), pull, place, inside, bright }
    }
}

/// Calibration of one parameter over one population.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibrationRow {
    /// Name of the parameter.
    pub parameter: String,
    /// Simulations.
    pub simulations: u64,
    /// Those bright enough for R^2, bias and scatter.
    pub bright: u64,
    /// R^2 of the posterior median, bright cases; NaN without any.
    pub r_squared: f64,
    /// Mean of median - truth, bright cases.
    pub bias: f64,
    /// Standard deviation of median - truth, bright cases.
    pub scatter: f64,
    /// Share of truths inside the central 50 % interval.
    pub coverage_50: f64,
    /// The same for 68 %.
    pub coverage_68: f64,
    /// The same for 90 %.
    pub coverage_90: f64,
    /// The same for 95 %.
    pub coverage_95: f64,
    /// Mean pull.
    pub pull_mean: f64,
    /// Standard deviation of the pull; 1 for a calibrated Gaussian posterior.
    pub pull_sd: f64,
    /// Kolmogorov-Smirnov distance of the ranks from uniform.
    pub sbc_ks: f64,
    /// Its p-value.
    pub sbc_p: f64,
    /// p-value of chi^2 of the histogram against a flat one.
    pub sbc_chi_square_p: f64,
    /// Ranks in 20 equal bins.
    pub sbc_histogram: Vec<u32>,
}

impl CalibrationRow {
    /// Measured coverage of each interval of [`NOMINAL`].
    #[must_use]
    pub fn coverage(&self) -> [f64; 4] {
        [self.coverage_50, self.coverage_68, self.coverage_90, self.coverage_95]
    }
}

/// Summarises the cases of one parameter.
#[must_use]
pub fn calibration_row(parameter: &str, cases: impl IntoIterator<Item = Case>) -> CalibrationRow {
    let cases: Vec<Case> = cases.into_iter().collect();
    let n = cases.len();
    let share = |k: usize| cases.iter().filter(|c| c.inside[k]).count() as f64 / n as f64;
    let places: Vec<f64> = cases.iter().map(|c| c.place).collect();
    let mut histogram = vec![0u32; BINS];
    for place in &places {
        histogram[((place * BINS as f64) as usize).min(BINS - 1)] += 1;
    }
    let expected = n as f64 / BINS as f64;
    let chi_square: f64 = histogram
        .iter()
        .map(|count| (f64::from(*count) - expected) * (f64::from(*count) - expected) / expected)
        .sum();
    let bright: Vec<&Case> = cases.iter().filter(|c| c.bright).collect();
    let truth: Vec<f64> = bright.iter().map(|c| c.truth).collect();
    let median: Vec<f64> = bright.iter().map(|c| c.median).collect();
    let (bias, scatter) = moments(bright.iter().map(|c| c.median - c.truth));
    let (pull_mean, pull_sd) = moments(cases.iter().map(|c| c.pull).filter(|p| p.is_finite()));
    let sbc_ks = kolmogorov_smirnov(&places);
    CalibrationRow {
        parameter: parameter.to_owned(),
        simulations: n as u64,
        bright: bright.len() as u64,
        r_squared: r_squared(&truth, &median),
        bias,
        scatter,
        coverage_50: share(0),
        coverage_68: share(1),
        coverage_90: share(2),
        coverage_95: share(3),
        pull_mean,
        pull_sd,
        sbc_ks,
        sbc_p: kolmogorov_smirnov_p_value(sbc_ks, n),
        sbc_chi_square_p: chi_square_p_value(chi_square, BINS - 1),
        sbc_histogram: histogram,
    }
}

/// Mean and standard deviation (denominator n).
fn moments(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let values: Vec<f64> = values.collect();
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let square = values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n;
    (mean, square.sqrt())
}

/// What passes as calibrated. Each limit is widened by what chance alone does
/// to that many simulations (three standard errors of a share; the upper 0.3 %
/// point of the Kolmogorov-Smirnov distance), so that a small test does not
/// fail a good model and a large one is judged by the limit itself.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tolerance {
    /// Largest |measured - nominal| coverage of any interval.
    pub coverage: f64,
    /// Largest Kolmogorov-Smirnov distance of the ranks from uniform.
    pub sbc_ks: f64,
    /// Fewest simulations per row that allow a verdict.
    pub min_simulations: u64,
}

impl Default for Tolerance {
    fn default() -> Self {
        Self { coverage: 0.04, sbc_ks: 0.05, min_simulations: 200 }
    }
}

/// Whether a model may be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whether every row is within tolerance.
    pub passed: bool,
    /// One sentence per failure.
    pub reasons: Vec<String>,
}

impl Verdict {
    /// Judges (population, row) pairs. No rows at all do not pass.
    #[must_use]
    pub fn of<'a>(
        rows: impl IntoIterator<Item = (&'a str, &'a CalibrationRow)>,
        tolerance: &Tolerance,
    ) -> Self {
        let mut reasons = Vec::new();
        let mut any = false;
        for (population, row) in rows {
            any = true;
            let name = format!("{population}, {}", row.parameter);
            if row.simulations < tolerance.min_simulations {
                let (found, needed) = (row.simulations, tolerance.min_simulations);
                reasons.push(format!("{name}: {found} simulations, {needed} are needed"));
                continue;
            }
            let n = row.simulations as f64;
            for (nominal, measured) in NOMINAL.into_iter().zip(row.coverage()) {
                let limit = tolerance.coverage + 3.0 * (nominal * (1.0 - nominal) / n).sqrt();
                if exceeds((measured - nominal).abs(), limit) {
                    let kind = if measured < nominal { "overconfident" } else { "underconfident" };
                    reasons.push(format!(
                        "{name}: {:.1} % of truths in the {:.0} % interval ({kind}; {:.1} % off is \
                         the limit)",
                        100.0 * measured,
                        100.0 * nominal,
                        100.0 * limit
                    ));
                }
            }
            // P(sqrt(n) D > 1.80) = 2 exp(-2 * 1.80^2) = 0.3 %.
            let limit = tolerance.sbc_ks + 1.80 / scalar::sqrt(n);
            if exceeds(row.sbc_ks, limit) {
                reasons.push(format!(
                    "{name}: ranks are {:.3} from uniform (mean pull {:+.2}; limit {limit:.3})",
                    row.sbc_ks, row.pull_mean
                ));
            }
        }
        if !any {
            reasons.push("nothing was tested".into());
        }
        Self { passed: reasons.is_empty(), reasons }
    }
}

/// Whether a figure is above its limit, or no figure at all.
fn exceeds(figure: f64, limit: f64) -> bool {
    figure.is_nan() || figure > limit
}

#[cfg(test)]
mod tests {
    use super::*;
    use outshine_kernels::random::Purpose;

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

    #[test]
    fn nothing_and_too_little_do_not_pass() {
        assert!(!Verdict::of([], &Tolerance::default()).passed);
        let few = row(50, 1.0, 0.0);
        assert!(!Verdict::of([("pixel", &few)], &Tolerance::default()).passed);
    }
}
