//! Places of truths, counted.

use super::tally::CalibrationRow;
use super::{NOMINAL, chi_square_p_value, kolmogorov_smirnov_p_value};

/// Bins of the distribution of places.
const BINS: usize = 1000;
/// Bins of the histogram that is stored.
const COARSE_BINS: usize = 20;

/// Distribution of places in (0, 1), each of which is uniform for a calibrated
/// posterior: in 1000 bins, whatever the number of places.
///
/// Counts are integers, so that additions and merges in any order and any
/// split give the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranks {
    bins: Vec<u32>,
    count: u64,
}

impl Default for Ranks {
    fn default() -> Self {
        Self { bins: vec![0; BINS], count: 0 }
    }
}

impl Ranks {
    /// Counts a place in [0, 1].
    pub fn add(&mut self, place: f64) {
        self.bins[((place * BINS as f64) as usize).min(BINS - 1)] += 1;
        self.count += 1;
    }

    /// Counts the places of `other` too.
    pub fn merge(&mut self, other: &Self) {
        for (mine, more) in self.bins.iter_mut().zip(&other.bins) {
            *mine += more;
        }
        self.count += other.count;
    }

    /// Places counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Largest distance between the empirical distribution and the uniform
    /// one, at the edges of the bins: below the largest anywhere (the
    /// Kolmogorov-Smirnov distance) by at most 0.001, the width of a bin, as
    /// both distributions only rise. 0 for no places.
    #[must_use]
    pub fn deviation(&self) -> f64 {
        let mut before = 0u64;
        let mut largest = 0.0f64;
        for (bin, held) in self.bins.iter().enumerate() {
            before += u64::from(*held);
            let uniform = (bin + 1) as f64 / BINS as f64;
            largest = largest.max((before as f64 / self.count as f64 - uniform).abs());
        }
        largest
    }

    /// Probability of such a deviation among as many uniform places.
    #[must_use]
    pub fn p_value(&self) -> f64 {
        kolmogorov_smirnov_p_value(self.deviation(), self.count as usize)
    }

    /// Share of places below `p`, which counts as the nearest edge of a bin;
    /// NaN for no places.
    #[must_use]
    pub fn share_below(&self, p: f64) -> f64 {
        let edge = (p * BINS as f64).round() as usize;
        let below: u64 = self.bins[..edge].iter().map(|n| u64::from(*n)).sum();
        below as f64 / self.count as f64
    }

    /// Places in 20 equal bins.
    #[must_use]
    pub fn histogram(&self) -> Vec<u32> {
        self.bins.chunks_exact(BINS / COARSE_BINS).map(|bins| bins.iter().sum()).collect()
    }

    /// p-value of chi^2 of [`histogram`](Self::histogram) against a flat one; NaN for no places.
    #[must_use]
    pub fn chi_square_p(&self) -> f64 {
        let expected = self.count as f64 / COARSE_BINS as f64;
        let off = |held: u32| f64::from(held) - expected;
        let terms = self.histogram().into_iter().map(|n| off(n) * off(n) / expected);
        chi_square_p_value(terms.sum(), COARSE_BINS - 1)
    }

    /// A row for a joint test of all parameters, such as [`super::TARP`]: the
    /// coverage of p is the share of places below p, figures of single
    /// parameters are NaN.
    #[must_use]
    pub fn row(&self, parameter: &str) -> CalibrationRow {
        CalibrationRow {
            parameter: parameter.to_owned(),
            simulations: self.count,
            bright: 0,
            r_squared: f64::NAN,
            bias: f64::NAN,
            scatter: f64::NAN,
            coverage_50: self.share_below(NOMINAL[0]),
            coverage_68: self.share_below(NOMINAL[1]),
            coverage_90: self.share_below(NOMINAL[2]),
            coverage_95: self.share_below(NOMINAL[3]),
            pull_mean: f64::NAN,
            pull_sd: f64::NAN,
            sbc_ks: self.deviation(),
            sbc_p: self.p_value(),
            sbc_chi_square_p: self.chi_square_p(),
            sbc_histogram: self.histogram(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::kolmogorov_smirnov;
    use super::*;
    use outshine_kernels::random::{Purpose, Stream};

    /// Places that pile up low, or that are uniform, or few.
    #[test]
    fn the_deviation_is_that_of_the_values_up_to_a_bin() {
        for (n, power) in [(1, 1), (7, 1), (300, 1), (5000, 1), (300, 3), (5000, 2)] {
            let mut s = Stream::new(41, Purpose::Calibration, n, power as u64);
            let places: Vec<f64> = (0..n).map(|_| s.uniform().powi(power)).collect();
            let mut ranks = Ranks::default();
            places.iter().for_each(|p| ranks.add(*p));
            let exact = kolmogorov_smirnov(&places);
            let binned = ranks.deviation();
            assert!(binned <= exact + 1e-12 && exact <= binned + 1e-3 + 1e-12, "{binned} {exact}");
            assert_eq!(ranks.histogram().iter().sum::<u32>(), n as u32);
        }
        assert_eq!(Ranks::default().deviation(), 0.0);
    }

    #[test]
    fn ends_have_a_bin() {
        let mut ranks = Ranks::default();
        [0.0, 1.0, 0.4999, 0.5].into_iter().for_each(|p| ranks.add(p));
        assert_eq!(ranks.share_below(0.5), 0.5);
        assert_eq!(ranks.share_below(1.0), 1.0);
        assert_eq!((ranks.histogram()[0], ranks.histogram()[19]), (1, 1));
    }
}
