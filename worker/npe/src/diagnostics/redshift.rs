//! How well redshifts are found.
//!
//! With e = (z - z_true) / (1 + z_true) of the objects' estimates z:
//! sigma_NMAD = 1.4826 median |e - median e| (Hoaglin et al. 1983; Ilbert et
//! al. 2006), the standard deviation where e is Gaussian; an outlier has
//! |e| > 0.15. The probability integral transform (PIT) is the place of the
//! truth within its posterior, uniform where that is calibrated.

use super::ranks::Ranks;
use outshine_kernels::quantile;
use serde::{Deserialize, Serialize};

/// |e| beyond which an estimate is an outlier.
const OUTLIER: f64 = 0.15;
/// Standard deviation of a Gaussian over its median absolute deviation.
const NMAD: f64 = 1.4826;

/// Redshift scores of some objects.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedshiftRow {
    /// Objects.
    pub objects: u64,
    /// sigma_NMAD; NaN without objects, as are the next two.
    pub sigma_nmad: f64,
    /// Share of objects of |e| > 0.15.
    pub outlier_fraction: f64,
    /// Median of e.
    pub bias: f64,
    /// Largest distance of the distribution of PIT from the uniform one, to
    /// 0.001 ([`Ranks::deviation`]).
    pub pit_ks: f64,
    /// Its p-value.
    pub pit_p: f64,
    /// PIT in 20 equal bins.
    pub pit_histogram: Vec<u32>,
}

/// Objects of known redshift, one by one; keeps 8 bytes of each. Order and
/// split do not matter: medians are of values in order, the rest is counts.
#[derive(Clone, Debug, Default)]
pub struct RedshiftScores {
    errors: Vec<f64>,
    pit: Ranks,
}

impl RedshiftScores {
    /// Counts an object: its true redshift, the estimate (median or mode of
    /// the posterior) and the PIT, which is [`super::Case::place`] of the
    /// redshift.
    pub fn add(&mut self, truth: f64, estimate: f64, pit: f64) {
        self.errors.push((estimate - truth) / (1.0 + truth));
        self.pit.add(pit);
    }

    /// Counts the objects of `other` too.
    pub fn merge(&mut self, other: &Self) {
        self.errors.extend_from_slice(&other.errors);
        self.pit.merge(&other.pit);
    }

    /// What the objects say.
    #[must_use]
    pub fn row(&self) -> RedshiftRow {
        let median = |mut values: Vec<f64>| {
            quantile::sort(&mut values);
            quantile::of_sorted(&values, 0.5)
        };
        let bias = median(self.errors.clone());
        let sigma_nmad = NMAD * median(self.errors.iter().map(|e| (e - bias).abs()).collect());
        let outliers = self.errors.iter().filter(|e| e.is_nan() || e.abs() > OUTLIER).count();
        RedshiftRow {
            objects: self.pit.count(),
            sigma_nmad,
            outlier_fraction: outliers as f64 / self.errors.len() as f64,
            bias,
            pit_ks: self.pit.deviation(),
            pit_p: self.pit.p_value(),
            pit_histogram: self.pit.histogram(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outshine_kernels::random::{Purpose, Stream};

    /// Errors of 0.03 (1 + z) and a bias, 8 % of them catastrophic.
    #[test]
    fn known_errors_are_found_in_any_split() {
        let n = 20_000u64;
        let mut parts = vec![RedshiftScores::default(); 7];
        let mut whole = RedshiftScores::default();
        for i in 0..n {
            let mut s = Stream::new(71, Purpose::Calibration, i, 0);
            let truth = s.uniform_in(0.0, 7.0);
            let lost = s.uniform() < 0.08;
            let error = if lost { 0.5 } else { 0.01 + 0.03 * s.normal() };
            let estimate = truth + (1.0 + truth) * error;
            let pit = s.uniform();
            whole.add(truth, estimate, pit);
            parts[s.below(7) as usize].add(truth, estimate, pit);
        }
        let row = whole.row();
        let mut merged = RedshiftScores::default();
        parts.iter().rev().for_each(|part| merged.merge(part));
        assert_eq!(merged.row(), row);
        assert_eq!(row.objects, n);
        // Five standard errors of a share; none of the others is beyond 4.6 sd.
        assert!((row.outlier_fraction - 0.08).abs() < 5.0 * (0.08 * 0.92 / 2e4f64).sqrt());
        // A median within 92 % Gaussian at quantile 0.5 / 0.92 = 0.5435: +0.109 sd,
        // with a standard error of 1.25 sd / sqrt(n) = 0.0003.
        assert!((row.bias - (0.01 + 0.109 * 0.03)).abs() < 0.0015, "{}", row.bias);
        // The median deviation from there holds 0.5435 of the Gaussian: 0.748 sd; times 1.4826.
        assert!((row.sigma_nmad - 1.109 * 0.03).abs() < 0.0012, "{}", row.sigma_nmad);
        // sqrt(n) D < 1.8 but in 0.3 % of the cases, and the stream is fixed.
        assert!(row.pit_ks < 1.8 / (n as f64).sqrt() && row.pit_p > 0.003);
        assert_eq!(row.pit_histogram.iter().sum::<u32>(), n as u32);
    }

    #[test]
    fn a_narrow_posterior_shows_in_the_pit() {
        let mut scores = RedshiftScores::default();
        for i in 0..2000 {
            let mut s = Stream::new(72, Purpose::Calibration, i, 0);
            // Half of the truths outside a posterior that is too narrow.
            let place = s.uniform();
            scores.add(1.0, 1.0, if s.uniform() < 0.5 { place.round() } else { place });
        }
        let row = scores.row();
        assert!(row.pit_p < 1e-6 && row.pit_ks > 0.2, "{row:?}");
        assert_eq!((row.sigma_nmad, row.outlier_fraction), (0.0, 0.0));
        let none = RedshiftScores::default().row();
        assert!(none.sigma_nmad.is_nan() && none.outlier_fraction.is_nan());
    }
}
