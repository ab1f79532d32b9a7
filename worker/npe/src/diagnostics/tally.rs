//! Cases of one parameter, counted and summed.

use super::case::Case;
use super::ranks::Ranks;
use serde::{Deserialize, Serialize};

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
    /// Largest distance of the distribution of ranks from the uniform one, to
    /// 0.001 ([`Ranks::deviation`]).
    pub sbc_ks: f64,
    /// Its p-value.
    pub sbc_p: f64,
    /// p-value of chi^2 of the histogram against a flat one.
    pub sbc_chi_square_p: f64,
    /// Ranks in 20 equal bins.
    pub sbc_histogram: Vec<u32>,
}

impl CalibrationRow {
    /// Measured coverage of each interval of [`super::NOMINAL`].
    #[must_use]
    pub fn coverage(&self) -> [f64; 4] {
        [self.coverage_50, self.coverage_68, self.coverage_90, self.coverage_95]
    }
}

/// The cases of one parameter, one by one: about 4 kB, however many they are.
///
/// Everything in it is a whole number (counts, and sums of rounded values), so that
/// cases in any order, split over any number of tallies and merged in any
/// order, give the same row to the bit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    ranks: Ranks,
    inside: [u64; 4],
    pull: Sums,
    truth: Sums,
    error: Sums,
}

impl Tally {
    /// Counts a case.
    pub fn add(&mut self, case: &Case) {
        self.ranks.add(case.place);
        for (count, inside) in self.inside.iter_mut().zip(case.inside) {
            *count += u64::from(inside);
        }
        if case.pull.is_finite() {
            self.pull.add(case.pull);
        }
        if case.bright {
            self.truth.add(case.truth);
            self.error.add(case.median - case.truth);
        }
    }

    /// Counts the cases of `other` too.
    pub fn merge(&mut self, other: &Self) {
        self.ranks.merge(&other.ranks);
        for (count, more) in self.inside.iter_mut().zip(other.inside) {
            *count += more;
        }
        self.pull.merge(&other.pull);
        self.truth.merge(&other.truth);
        self.error.merge(&other.error);
    }

    /// Cases counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.ranks.count()
    }

    /// What the cases say. Shares and moments of no cases are NaN.
    #[must_use]
    pub fn row(&self, parameter: &str) -> CalibrationRow {
        let share = |k: usize| self.inside[k] as f64 / self.count() as f64;
        let total = self.truth.square_deviation();
        let r_squared = if total > 0.0 { 1.0 - self.error.square_sum() / total } else { f64::NAN };
        CalibrationRow {
            bright: self.truth.count,
            r_squared,
            bias: self.error.mean(),
            scatter: self.error.standard_deviation(),
            coverage_50: share(0),
            coverage_68: share(1),
            coverage_90: share(2),
            coverage_95: share(3),
            pull_mean: self.pull.mean(),
            pull_sd: self.pull.standard_deviation(),
            ..self.ranks.row(parameter)
        }
    }
}

/// Summarises the cases of one parameter.
#[must_use]
pub fn calibration_row(parameter: &str, cases: impl IntoIterator<Item = Case>) -> CalibrationRow {
    let mut tally = Tally::default();
    for case in cases {
        tally.add(&case);
    }
    tally.row(parameter)
}

/// Steps to the unit.
const STEPS: f64 = (1u64 << 30) as f64;
/// Largest value, in units: 2^27 squares of it fit into an i128.
const LARGEST: f64 = (1u64 << 20) as f64;

/// Count, sum and sum of squares of values rounded to steps of 2^-30 (1e-9)
/// and held within +-2^20: whole numbers, exact in any order for up to 1e8
/// values. What is no number counts as the largest, not to pass unseen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    count: u64,
    sum: i128,
    squares: i128,
}

impl Sums {
    fn add(&mut self, value: f64) {
        let value = if value.is_nan() { LARGEST } else { value.clamp(-LARGEST, LARGEST) };
        let steps = i128::from((value * STEPS).round() as i64);
        self.count += 1;
        self.sum += steps;
        self.squares += steps * steps;
    }

    fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.squares += other.squares;
    }

    /// NaN for no values.
    fn mean(&self) -> f64 {
        self.sum as f64 / self.count as f64 / STEPS
    }

    fn square_sum(&self) -> f64 {
        self.squares as f64 / (STEPS * STEPS)
    }

    /// Sum of (value - mean)^2, taken about the step next to the mean so that
    /// nothing cancels. Products may leave the i128, the result does not, so
    /// that wrapping arithmetic gives it.
    fn square_deviation(&self) -> f64 {
        let count = i128::from(self.count);
        let middle = self.sum.checked_div(count).unwrap_or(0);
        let shift = middle.wrapping_mul(count).wrapping_sub(self.sum.wrapping_mul(2));
        let about = self.squares.wrapping_add(middle.wrapping_mul(shift));
        about as f64 / (STEPS * STEPS)
    }

    /// Denominator n; NaN for no values.
    fn standard_deviation(&self) -> f64 {
        (self.square_deviation() / self.count as f64).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::super::r_squared;
    use super::*;
    use outshine_kernels::random::{Purpose, Stream};

    /// Moments against two passes over the values.
    #[test]
    fn sums_give_the_moments() {
        let mut s = Stream::new(51, Purpose::Calibration, 0, 0);
        for (centre, width) in [(0.0, 1.0), (9.3, 0.01), (-1e5, 300.0), (1e6, 1e-3)] {
            let values: Vec<f64> = (0..5000).map(|_| centre + width * s.normal()).collect();
            let mut sums = Sums::default();
            values.iter().for_each(|v| sums.add(*v));
            let mean = values.iter().sum::<f64>() / 5000.0;
            let square: f64 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
            let sd = (square / 5000.0).sqrt();
            // A step is 1e-9; the plain sums round at 1e-16 of the largest value.
            assert!((sums.mean() - mean).abs() < 1e-9 + 1e-14 * centre.abs());
            assert!((sums.standard_deviation() / sd - 1.0).abs() < 1e-8, "{centre}");
        }
        let mut far = Sums::default();
        [f64::NAN, 1e300, f64::INFINITY].into_iter().for_each(|v| far.add(v));
        assert_eq!((far.mean(), far.standard_deviation()), (LARGEST, 0.0));
        assert!(Sums::default().standard_deviation().is_nan());
    }

    fn cases(n: u64) -> Vec<Case> {
        let case = |i| {
            let mut s = Stream::new(52, Purpose::Calibration, i, 0);
            let truth = 9.0 + s.normal();
            let draws: Vec<f32> = (0..50).map(|_| (truth + s.normal()) as f32).collect();
            Case::new(truth, &draws, i % 3 > 0, &mut s)
        };
        (0..n).map(case).collect()
    }

    #[test]
    fn any_split_and_order_gives_the_same_row() {
        let cases = cases(1000);
        let whole = calibration_row("theta", cases.iter().copied());
        for parts in [1u64, 2, 7, 300] {
            let mut s = Stream::new(53, Purpose::Calibration, parts, 0);
            let mut tallies = vec![Tally::default(); parts as usize];
            for i in s.permutation(cases.len()) {
                tallies[s.below(parts) as usize].add(&cases[i as usize]);
            }
            let mut merged = Tally::default();
            for i in s.permutation(tallies.len()) {
                merged.merge(&tallies[i as usize]);
            }
            assert_eq!(merged.row("theta"), whole);
        }
    }

    /// The row against plain sums over all cases.
    #[test]
    fn a_row_is_what_all_cases_say() {
        let cases = cases(2000);
        let row = calibration_row("theta", cases.iter().copied());
        let bright: Vec<&Case> = cases.iter().filter(|c| c.bright).collect();
        let truth: Vec<f64> = bright.iter().map(|c| c.truth).collect();
        let median: Vec<f64> = bright.iter().map(|c| c.median).collect();
        let n = bright.len() as f64;
        let bias = bright.iter().map(|c| c.median - c.truth).sum::<f64>() / n;
        assert_eq!((row.simulations, row.bright), (2000, bright.len() as u64));
        // Values are rounded to 1e-9.
        assert!((row.r_squared - r_squared(&truth, &median)).abs() < 1e-8);
        assert!((row.bias - bias).abs() < 1e-8);
        let pull = cases.iter().map(|c| c.pull).sum::<f64>() / 2000.0;
        assert!((row.pull_mean - pull).abs() < 1e-8);
        let inside = cases.iter().filter(|c| c.inside[2]).count();
        assert_eq!(row.coverage_90, inside as f64 / 2000.0);
    }

    #[test]
    fn no_cases_give_no_figures() {
        let row = Tally::default().row("theta");
        assert_eq!((row.simulations, row.sbc_histogram), (0, vec![0; 20]));
        assert!(row.coverage_50.is_nan() && row.r_squared.is_nan() && row.pull_sd.is_nan());
    }
}
