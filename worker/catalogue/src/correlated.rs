//! Draws of a sum over pixels whose errors go together.
//!
//! Pixels taken as independent leave a sum of thousands with hardly any error. But
//! what the prior and the model do to one pixel of a galaxy they do to its
//! neighbours: part of the errors is common. At the other end all errors are one: every
//! pixel is at the same quantile of its posterior, and the draws of the sum are the
//! sums of the sorted draws. With a correlation rho between the errors of any two
//! pixels, the deviations of log sum from its centre are
//!
//!   sqrt(rho) (deviation when all errors are one) + sqrt(1 - rho) (deviation when
//!   they are independent),
//!
//! which has the variance of errors with one common factor, keeps the
//! centre of the independent sum, and leaves a single pixel's posterior as wide as
//! it is.

/// log10 of the sum, draw by draw.
///
/// `independent`: log10 of the sums of pixels as they were drawn; `together`: of
/// their sorted draws, rising; `correlation`: rho, 0 to 1.
///
/// # Panics
/// When the numbers of draws differ.
#[must_use]
pub fn correlated(independent: &[f64], together: &[f64], correlation: f64) -> Vec<f64> {
    assert_eq!(independent.len(), together.len(), "as many draws of both");
    let n = independent.len();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / n as f64;
    let (centre, centre_together) = (mean(independent), mean(together));
    let (common, own) = (correlation.sqrt(), (1.0 - correlation).sqrt());
    let step = coprime(n);
    let draw = |k: usize| {
        // Sorted draws in an order that has nothing to do with the others'.
        let together = together[k * step % n] - centre_together;
        centre + common * together + own * (independent[k] - centre)
    };
    (0..n).map(draw).collect()
}

/// A number without common divisor with `n`, near its golden section: multiples of
/// it are spread evenly.
fn coprime(n: usize) -> usize {
    let golden = (n as f64 * 0.618_033_988_749_895) as usize;
    let divisor = |mut a: usize, mut b: usize| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    (golden.max(1)..=n).find(|&step| divisor(step, n) == 1).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sums::DrawSum;
    use outshine_kernels::random::{Purpose, Stream};

    const DRAWS: usize = 2000;
    const PIXELS: usize = 400;

    fn moments(values: &[f64]) -> (f64, f64) {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let squares = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
        (mean, (squares / values.len() as f64).sqrt())
    }

    /// log10 sums of pixels of 10^6 Msun, each 0.2 dex uncertain: independent, and all
    /// at one quantile.
    fn sums(pixels: usize) -> (Vec<f64>, Vec<f64>) {
        let (mut independent, mut together) = (DrawSum::new(DRAWS), DrawSum::new(DRAWS));
        let mut sorted = Vec::new();
        for i in 0..pixels {
            let mut stream = Stream::new(1, Purpose::Draw, i as u64, 0);
            let draws: Vec<f32> =
                (0..DRAWS).map(|_| (6.0 + 0.2 * stream.normal()) as f32).collect();
            independent.add_pixel(&draws);
            together.add_sorted(&draws, &mut sorted);
        }
        (independent.log10(), together.log10())
    }

    #[test]
    fn the_width_is_that_of_errors_with_a_common_factor() {
        let (independent, together) = sums(PIXELS);
        let (centre, alone) = moments(&independent);
        // Of 400 lognormal pixels: 0.2 dex over 20, and a little for the skewness.
        assert!((alone - 0.0105).abs() < 0.001, "{alone}");
        assert!((moments(&together).1 - 0.2).abs() < 0.01);
        for correlation in [0.0, 0.1, 0.5, 1.0] {
            let (mean, sigma) = moments(&correlated(&independent, &together, correlation));
            let expected = (correlation * 0.04 + (1.0 - correlation) * alone * alone).sqrt();
            assert!((mean - centre).abs() < 1e-9, "{mean}");
            // Two orders that have nothing to do with each other: to a few per cent.
            assert!((sigma / expected - 1.0).abs() < 0.05, "{correlation}: {sigma}, {expected}");
        }
        let none = correlated(&independent, &together, 0.0);
        assert!(none.iter().zip(&independent).all(|(a, b)| (a - b).abs() < 1e-12));
    }

    #[test]
    fn a_single_pixel_keeps_its_width() {
        let (independent, together) = sums(1);
        let (_, width) = moments(&independent);
        let (_, sigma) = moments(&correlated(&independent, &together, 0.3));
        assert!((sigma / width - 1.0).abs() < 0.05, "{sigma}, {width}");
    }

    #[test]
    fn every_draw_is_used_once() {
        for n in [1, 2, 3, 40, 500, 512, 997] {
            let mut places: Vec<usize> = (0..n).map(|k| k * coprime(n) % n).collect();
            places.sort_unstable();
            assert_eq!(places, (0..n).collect::<Vec<usize>>());
        }
    }
}
