//! A density about some points: where particles start, and where they move to.
//!
//! Points z_1 ... z_K, in coordinates where the prior is a standard normal,
//! make the density
//!
//! q(z) = s N(z; 0, 1) + (1 - s) / K sum_k N(z; z_k, h^2 C),
//!
//! with C their covariance, h the width of the kernels, and s a share of the
//! prior, so that no place is out of reach.

use super::matrix::{covariance, factor};
use outshine_kernels::random::Stream;
use outshine_kernels::scalar;

/// Share s of the prior.
const PRIOR_SHARE: f64 = 0.05;
/// Least standard deviation of a kernel: points that are all the same.
const LEAST_WIDTH: f64 = 1e-6;

/// The density.
pub struct Kernels {
    dims: usize,
    /// (points, dims) centres of the kernels.
    centres: Vec<f64>,
    /// (points, dims) the same on the kernels' axes: L^-1 z.
    whitened: Vec<f64>,
    /// (dims, dims) lower triangle L of the kernels' covariance L L^T.
    cholesky: Vec<f64>,
    /// ln of (1 - s) / K / det L.
    log_norm: f64,
}

impl Kernels {
    /// About `points`: (points, dims), row by row, on the scale where the prior
    /// is a standard normal; `width`: h.
    ///
    /// # Panics
    /// Without points, or when they are no rows of `dims` numbers.
    pub fn around(points: Vec<f64>, dims: usize, width: f64) -> Self {
        let count = points.len() / dims;
        assert!(count > 0 && points.len() == count * dims, "some rows of {dims} numbers");
        let mut cholesky = cholesky(&points, dims);
        cholesky.iter_mut().for_each(|l| *l *= width);
        let mut log_norm = scalar::ln((1.0 - PRIOR_SHARE) / count as f64);
        for k in 0..dims {
            let diagonal = &mut cholesky[k * dims + k];
            *diagonal = diagonal.max(LEAST_WIDTH);
            log_norm -= scalar::ln(*diagonal);
        }
        let mut own = Self { dims, centres: points, whitened: Vec::new(), cholesky, log_norm };
        let mut whitened = own.centres.clone();
        whitened.chunks_exact_mut(dims).for_each(|row| own.whiten(row));
        own.whitened = whitened;
        own
    }

    /// z to L^-1 z.
    fn whiten(&self, z: &mut [f64]) {
        for i in 0..self.dims {
            let row = &self.cholesky[i * self.dims..][..=i];
            let mut sum = z[i];
            for (l, z) in row[..i].iter().zip(z.iter()) {
                sum -= l * z;
            }
            z[i] = sum / row[i];
        }
    }

    /// One point, into `z`.
    pub fn draw(&self, stream: &mut Stream, z: &mut [f64]) {
        let prior = stream.uniform() < PRIOR_SHARE;
        let count = (self.centres.len() / self.dims) as u64;
        let centre = stream.below(count) as usize * self.dims;
        z.iter_mut().for_each(|z| *z = stream.normal());
        if prior {
            return;
        }
        for i in (0..self.dims).rev() {
            let row = &self.cholesky[i * self.dims..][..=i];
            z[i] = row.iter().zip(z.iter()).map(|(l, z)| l * z).sum();
        }
        z.iter_mut().zip(&self.centres[centre..]).for_each(|(z, c)| *z += c);
    }

    /// ln of the density at `z`, relative to that of the prior, N(z; 0, 1).
    pub fn log_ratio(&self, z: &[f64]) -> f64 {
        let mut own = [0.0; super::MOST_DIMS];
        let own = &mut own[..self.dims];
        own.copy_from_slice(z);
        self.whiten(own);
        let prior: f64 = z.iter().map(|z| z * z).sum();
        let mut sum = 0.0;
        for centre in self.whitened.chunks_exact(self.dims) {
            let square: f64 = own.iter().zip(centre).map(|(z, c)| (z - c) * (z - c)).sum();
            // Far from all points each term is 0, and the prior's is left.
            sum += scalar::exp(0.5 * (prior - square).min(MOST) + self.log_norm);
        }
        scalar::ln(PRIOR_SHARE + sum)
    }
}

/// Bound of an exponent, far above that of any kernel: no overflow.
const MOST: f64 = 1200.0;

/// Lower triangle L of the covariance L L^T of rows of `dims` numbers.
pub(super) fn cholesky(rows: &[f64], dims: usize) -> Vec<f64> {
    factor(&covariance(rows, dims), dims)
}

#[cfg(test)]
mod tests {
    use super::*;
    use outshine_kernels::random::Purpose;

    /// Points on a bent line in two dimensions.
    fn kernels() -> Kernels {
        let points =
            (0..40).flat_map(|k| [0.05 * f64::from(k), 0.02 * f64::from(k * k) / 10.0 - 1.0]);
        Kernels::around(points.collect(), 2, 0.7)
    }

    /// q summed over a fine grid is 1; the share of it in a half plane is that
    /// of the draws.
    #[test]
    fn the_density_is_that_of_the_draws() {
        let kernels = kernels();
        let (step, reach) = (0.01f64, 9.0);
        let n = (2.0 * reach / step) as i32;
        let (mut sum, mut half) = (0.0, 0.0);
        for i in 0..n {
            for j in 0..n {
                let z = [(f64::from(i) + 0.5) * step - reach, (f64::from(j) + 0.5) * step - reach];
                let prior = (-0.5 * (z[0] * z[0] + z[1] * z[1])).exp() / std::f64::consts::TAU;
                let q = kernels.log_ratio(&z).exp() * prior * step * step;
                sum += q;
                if z[0] > z[1] {
                    half += q;
                }
            }
        }
        assert!((sum - 1.0).abs() < 1e-6, "{sum}");
        let mut stream = Stream::new(3, Purpose::Calibration, 0, 0);
        let (draws, mut z) = (100_000, [0.0; 2]);
        let mut right = 0;
        for _ in 0..draws {
            kernels.draw(&mut stream, &mut z);
            right += i32::from(z[0] > z[1]);
        }
        let share = f64::from(right) / f64::from(draws);
        // Five standard errors.
        assert!((share - half).abs() < 5.0 * (0.25 / f64::from(draws)).sqrt(), "{share} {half}");
    }

    #[test]
    fn far_points_and_equal_points_have_a_finite_density() {
        let kernels = kernels();
        assert!((kernels.log_ratio(&[30.0, -30.0]) - PRIOR_SHARE.ln()).abs() < 1e-12);
        let same = Kernels::around([0.3, -0.2, 0.1].repeat(5), 3, 1.0);
        assert!(same.log_ratio(&[0.3, -0.2, 0.1]) > 30.0);
        let mut z = [0.0; 3];
        same.draw(&mut Stream::new(1, Purpose::Calibration, 0, 0), &mut z);
        assert!(z.iter().all(|z| z.is_finite()));
    }
}
