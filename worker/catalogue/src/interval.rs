//! Intervals of posterior draws.

use outshine_kernels::quantile::{self, Selection};

/// Median and central 68 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// 16th percentile.
    pub p16: f64,
    /// Median.
    pub p50: f64,
    /// 84th percentile.
    pub p84: f64,
}

impl Interval {
    /// Interval of `draws`, which are put in order on the way.
    #[must_use]
    pub fn of(draws: &mut [f64]) -> Self {
        quantile::sort(draws);
        Self {
            p16: quantile::of_sorted(draws, 0.16),
            p50: quantile::of_sorted(draws, 0.50),
            p84: quantile::of_sorted(draws, 0.84),
        }
    }

    /// As [`Interval::of`] to the bit, several times faster, of finite `draws` that stay in their
    /// order. `selection` is working memory, to be kept from call to call.
    #[must_use]
    pub fn of_f32(draws: &[f32], selection: &mut Selection) -> Self {
        let [p16, p50, p84] = selection.of(draws, [0.16, 0.50, 0.84]);
        Self { p16, p50, p84 }
    }
}

/// Fraction of `draws` below `truth`, ties counted half.
#[must_use]
pub fn rank(draws: &[f64], truth: f64) -> f64 {
    let below = draws.iter().filter(|&&d| d < truth).count() as f64;
    let equal = draws.iter().filter(|&&d| d == truth).count() as f64;
    (below + 0.5 * equal) / draws.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interval_and_rank_of_a_ladder() {
        let mut draws: Vec<f64> = (0..=100).rev().map(f64::from).collect();
        let interval = Interval::of(&mut draws);
        assert_eq!((interval.p16, interval.p50, interval.p84), (16.0, 50.0, 84.0));
        let single: Vec<f32> = draws.iter().rev().map(|&d| d as f32).collect();
        assert_eq!(Interval::of_f32(&single, &mut Selection::default()), interval);
        assert_eq!(rank(&[1.0, 2.0, 3.0, 4.0], 2.0), 0.375);
        assert_eq!(rank(&[1.0, 2.0], 5.0), 1.0);
    }
}
