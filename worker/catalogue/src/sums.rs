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
