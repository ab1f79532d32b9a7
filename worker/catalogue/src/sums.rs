//! Sums of a quantity over pixels, draw by draw.
//!
//! Draw k of a galaxy is log10 of the sum over its fitted pixels of
//! 10^(draw k of the pixel): pixels are taken as independent. Pixels are
//! summed in blocks of fixed members in fixed order, then blocks in order, so
//! that no bit depends on tiles, workers or restarts.

use outshine_kernels::{scalar, wide};

/// Running sum over pixels of a quantity given by its log10; one value per draw.
#[derive(Clone, Debug, PartialEq)]
pub struct DrawSum {
    linear: Vec<f64>,
}

impl DrawSum {
    /// No pixels yet.
    #[must_use]
    pub fn new(draws: usize) -> Self {
        Self { linear: vec![0.0; draws] }
    }

    /// Adds a pixel by the log10 of its draws, in the precision in which draws
    /// are stored, so that sums can be made again from stored draws.
    ///
    /// # Panics
    /// When the number of draws differs.
    pub fn add_pixel(&mut self, log_draws: &[f32]) {
        assert_eq!(log_draws.len(), self.linear.len(), "one value per draw");
        wide::add_exp10(&mut self.linear, log_draws);
    }

    /// Adds a pixel by the log10 of its draws in rising order: draw k of the sum has
    /// every pixel at the same quantile. `sorted` is working memory.
    ///
    /// # Panics
    /// When the number of draws differs.
    pub fn add_sorted(&mut self, log_draws: &[f32], sorted: &mut Vec<f32>) {
        sorted.clear();
        sorted.extend_from_slice(log_draws);
        sorted.sort_unstable_by(f32::total_cmp);
        self.add_pixel(sorted);
    }

    /// Adds a pixel's draws of 10^(log weight) times a value.
    ///
    /// # Panics
    /// When the number of draws differs.
    pub fn add_weighted(&mut self, log_weights: &[f32], values: &[f32]) {
        assert_eq!(log_weights.len(), self.linear.len(), "one weight per draw");
        wide::add_exp10_times(&mut self.linear, log_weights, values);
    }

    /// Adds the sum of a block.
    ///
    /// # Panics
    /// When the number of draws differs.
    pub fn add_block(&mut self, linear: &[f64]) {
        assert_eq!(linear.len(), self.linear.len(), "one value per draw");
        for (sum, value) in self.linear.iter_mut().zip(linear) {
            *sum += value;
        }
    }

    /// The sums, in the quantity's own unit.
    #[must_use]
    pub fn linear(&self) -> &[f64] {
        &self.linear
    }

    /// The sums over those of `weights`: weighted means, draw by draw.
    ///
    /// # Panics
    /// When the number of draws differs.
    #[must_use]
    pub fn over(&self, weights: &Self) -> Vec<f64> {
        assert_eq!(weights.linear.len(), self.linear.len(), "one weight per draw");
        self.linear.iter().zip(&weights.linear).map(|(sum, weight)| sum / weight).collect()
    }

    /// log10 of the sums.
    #[must_use]
    pub fn log10(&self) -> Vec<f64> {
        self.linear.iter().map(|&sum| scalar::log10(sum)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_pixels_add_log_n() {
        let mut sum = DrawSum::new(2);
        for _ in 0..100 {
            sum.add_pixel(&[7.0, 8.0]);
        }
        let log = sum.log10();
        assert!((log[0] - 9.0).abs() < 1e-12 && (log[1] - 10.0).abs() < 1e-12);
    }

    #[test]
    fn a_mean_is_weighted_pixel_by_pixel_and_draw_by_draw() {
        let (mut sum, mut weight) = (DrawSum::new(2), DrawSum::new(2));
        for (log, value) in [([7.0, 8.0], [1.0, 1.0]), ([8.0, 8.0], [2.0, 3.0])] {
            sum.add_weighted(&log, &value);
            weight.add_pixel(&log);
        }
        let mean = sum.over(&weight);
        assert!((mean[0] - 21.0 / 11.0).abs() < 1e-12 && (mean[1] - 2.0).abs() < 1e-12, "{mean:?}");
    }

    #[test]
    fn blocks_give_the_bits_of_one_fixed_order() {
        let pixel = |i: usize| [6.0 + (i as f32 * 0.37).fract(), 5.0 + (i as f32 * 0.73).fract()];
        let block = |range: std::ops::Range<usize>| {
            let mut sum = DrawSum::new(2);
            range.for_each(|i| sum.add_pixel(&pixel(i)));
            sum
        };
        let total = |blocks: &[DrawSum]| {
            let mut sum = DrawSum::new(2);
            blocks.iter().for_each(|b| sum.add_block(b.linear()));
            sum.log10()
        };
        let blocks = [block(0..256), block(256..512), block(512..600)];
        // Whoever made them, in whatever order they were made: same blocks, same bits.
        let again = [block(0..256), block(256..512), block(512..600)];
        assert_eq!(total(&blocks), total(&again));
    }
}
