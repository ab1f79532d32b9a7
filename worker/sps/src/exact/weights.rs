//! Importance weights, and points as often as they weigh.

use outshine_kernels::random::Stream;
use outshine_kernels::scalar;

/// Weights of some points.
#[derive(Debug)]
pub struct Weights {
    /// Relative to the largest, which is 1; all 0 where none weighs anything.
    pub relative: Vec<f64>,
    /// Their sum.
    pub sum: f64,
    /// Effective number: (sum w)^2 / sum w^2.
    pub effective: f64,
    /// ln of the mean weight.
    pub log_mean: f64,
}

impl Weights {
    /// From their logarithms, raised to a power.
    pub fn new(log: &[f64], power: f64) -> Self {
        let most = log.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if most == f64::NEG_INFINITY {
            return Self {
                relative: vec![0.0; log.len()],
                sum: 0.0,
                effective: 0.0,
                log_mean: most,
            };
        }
        let relative: Vec<f64> = log.iter().map(|l| scalar::exp(power * (l - most))).collect();
        let (mut sum, mut square) = (0.0, 0.0);
        for w in &relative {
            sum += w;
            square += w * w;
        }
        let log_mean = power * most + scalar::ln(sum / relative.len() as f64);
        Self { effective: sum * sum / square, relative, sum, log_mean }
    }

    /// The numbers of `n` points, as often as they weigh. Systematic resampling: one
    /// uniform number places a comb of n teeth.
    pub fn resample(&self, n: usize, stream: &mut Stream) -> Vec<usize> {
        let tooth = self.sum / n as f64;
        let offset = stream.uniform();
        let (mut sum, mut chosen) = (self.relative[0], 0);
        let mut numbers = Vec::with_capacity(n);
        for i in 0..n {
            let place = (i as f64 + offset) * tooth;
            while sum <= place && chosen + 1 < self.relative.len() {
                chosen += 1;
                sum += self.relative[chosen];
            }
            // Rounding may leave the last tooth beyond the last weight.
            while self.relative[chosen] == 0.0 && chosen > 0 {
                chosen -= 1;
            }
            numbers.push(chosen);
        }
        numbers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outshine_kernels::random::Purpose;

    #[test]
    fn points_come_as_often_as_they_weigh() {
        let log: Vec<f64> = [0.5f64, 0.0, 0.25, 0.25].iter().map(|w| w.ln() - 700.0).collect();
        let weights = Weights::new(&log, 1.0);
        let chosen = weights.resample(8, &mut Stream::new(1, Purpose::Calibration, 0, 0));
        assert_eq!(chosen, [0, 0, 0, 0, 2, 2, 3, 3]);
        assert!((weights.effective - 1.0 / 0.375).abs() < 1e-12);
        assert!((weights.log_mean - (0.25f64.ln() - 700.0)).abs() < 1e-12);
    }
}
