//! What is taken off before the flow: the scales of the features, and a crude
//! linear estimate of theta.
//!
//! The estimate is a ridge regression of each coordinate's fraction of its box
//! on the standardised features. A mass is nearly linear in ln F0, so this is
//! where the proportionality of mass and flux enters. With u0 the unbounded
//! image of the estimate and J0 = du/d(fraction) there, the flow works on
//! w = (u - u0) / (J0 s), s the spread of the residual: an exact change of
//! variables with density factor 1 / (J0 s).

use crate::coordinates::{from_fraction, log_slope};
use outshine_kernels::scalar;

/// Standardised features are kept within this many standard deviations.
const FEATURE_LIMIT: f32 = 12.0;
/// The estimate is kept this fraction of the box away from its bounds.
const MARGIN: f64 = 0.02;
/// Ridge, relative to the number of examples.
const RIDGE: f64 = 1e-4;

/// Scales and crude estimate; see the head of this file.
#[derive(Clone, Debug, PartialEq)]
pub struct Standardisation {
    /// Mean of each feature, length C.
    pub(crate) mean: Vec<f32>,
    /// One over the standard deviation of each feature (1 where it is constant), length C.
    pub(crate) inverse_scale: Vec<f32>,
    /// Regression weights, constant last, shape [d, C + 1].
    pub(crate) weight: Vec<f64>,
    /// Spread of the residual in units of J0, length d.
    pub(crate) spread: Vec<f64>,
}

impl Standardisation {
    /// Fits to features [n, C] and fractions of the box [n, d] with their
    /// unbounded images [n, d].
    pub(crate) fn fit(features: &[f32], fraction: &[f64], unbounded: &[f64], d: usize) -> Self {
        let n = fraction.len() / d;
        let c = features.len() / n;
        let (mean, inverse_scale) = moments(features, c);
        let mut made = Self { mean, inverse_scale, weight: Vec::new(), spread: vec![1.0; d] };

        let k = c + 1;
        let mut gram = vec![0.0f64; k * k];
        let mut right = vec![0.0f64; k * d];
        let mut context = vec![0.0f32; c];
        let mut row = vec![1.0f64; k];
        for (x, y) in features.chunks_exact(c).zip(fraction.chunks_exact(d)) {
            made.context(x, &mut context);
            for (to, from) in row.iter_mut().zip(&context) {
                *to = f64::from(*from);
            }
            for i in 0..k {
                let xi = row[i];
                for (g, xj) in gram[i * k..=i * k + i].iter_mut().zip(&row) {
                    *g += xi * xj;
                }
                for (r, y) in right[i * d..(i + 1) * d].iter_mut().zip(y) {
                    *r += xi * y;
                }
            }
        }
        for i in 0..k {
            gram[i * k + i] += RIDGE * n as f64;
        }
        solve_cholesky(&mut gram, &mut right, k, d);
        made.weight = (0..d)
            .flat_map(|i| (0..k).map(move |j| (i, j)))
            .map(|(i, j)| right[j * d + i])
            .collect();

        let mut sum = vec![0.0f64; d];
        let (mut centre, mut scale) = (vec![0.0; d], vec![0.0; d]);
        for (x, u) in features.chunks_exact(c).zip(unbounded.chunks_exact(d)) {
            made.context(x, &mut context);
            made.crude(&context, &mut centre, &mut scale);
            for i in 0..d {
                let w = (u[i] - centre[i]) / scale[i];
                sum[i] += w * w;
            }
        }
        made.spread = sum.iter().map(|s| (s / n as f64).sqrt().max(1e-6)).collect();
        made
    }

    /// Standardised features, length C.
    pub(crate) fn context(&self, features: &[f32], out: &mut [f32]) {
        for i in 0..features.len() {
            let x = (features[i] - self.mean[i]) * self.inverse_scale[i];
            out[i] = x.clamp(-FEATURE_LIMIT, FEATURE_LIMIT);
        }
    }

    /// Centre u0 and scale J0 s of every coordinate: u = u0 + J0 s w.
    pub(crate) fn crude(&self, context: &[f32], centre: &mut [f64], scale: &mut [f64]) {
        let c = context.len();
        for (i, weight) in self.weight.chunks_exact(c + 1).enumerate() {
            let mut estimate = weight[c];
            for (w, x) in weight.iter().zip(context) {
                estimate += w * f64::from(*x);
            }
            let u = from_fraction(estimate.clamp(MARGIN, 1.0 - MARGIN));
            centre[i] = u;
            scale[i] = scalar::exp(log_slope(u)) * self.spread[i];
        }
    }
}

/// Mean and inverse standard deviation of each of `c` columns.
fn moments(features: &[f32], c: usize) -> (Vec<f32>, Vec<f32>) {
    let n = (features.len() / c) as f64;
    let mut mean = vec![0.0f64; c];
    for row in features.chunks_exact(c) {
        for (m, x) in mean.iter_mut().zip(row) {
            *m += f64::from(*x) / n;
        }
    }
    let mut square = vec![0.0f64; c];
    for row in features.chunks_exact(c) {
        for i in 0..c {
            let x = f64::from(row[i]) - mean[i];
            square[i] += x * x / n;
        }
    }
    let inverse = square.iter().map(|s| if *s > 1e-10 { (1.0 / s.sqrt()) as f32 } else { 1.0 });
    (mean.iter().map(|m| *m as f32).collect(), inverse.collect())
}

/// Solves G X = R in place for a symmetric positive definite G (lower
/// triangle, [k, k]) and R [k, d]; the solution replaces R.
fn solve_cholesky(g: &mut [f64], r: &mut [f64], k: usize, d: usize) {
    for i in 0..k {
        for j in 0..=i {
            let mut sum = g[i * k + j];
            for p in 0..j {
                sum -= g[i * k + p] * g[j * k + p];
            }
            g[i * k + j] = if i == j { sum.max(1e-12).sqrt() } else { sum / g[j * k + j] };
        }
    }
    for c in 0..d {
        for i in 0..k {
            let mut sum = r[i * d + c];
            for p in 0..i {
                sum -= g[i * k + p] * r[p * d + c];
            }
            r[i * d + c] = sum / g[i * k + i];
        }
        for i in (0..k).rev() {
            let mut sum = r[i * d + c];
            for p in i + 1..k {
                sum -= g[p * k + i] * r[p * d + c];
            }
            r[i * d + c] = sum / g[i * k + i];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outshine_kernels::random::{Purpose, Stream};

    #[test]
    fn a_linear_relation_is_found() {
        let mut stream = Stream::new(3, Purpose::Simulation, 0, 0);
        let (mut x, mut y, mut u) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..4000 {
            let (a, b) = (stream.normal(), stream.normal());
            x.extend([(3.0 + 2.0 * a) as f32, b as f32, 7.0]);
            let fraction = (0.5 + 0.05 * a - 0.08 * b).clamp(0.05, 0.95);
            y.push(fraction);
            u.push(from_fraction(fraction));
        }
        let s = Standardisation::fit(&x, &y, &u, 1);
        let mut context = [0.0; 3];
        let (mut centre, mut scale) = ([0.0], [0.0]);
        for i in 0..4000 {
            s.context(&x[3 * i..3 * i + 3], &mut context);
            s.crude(&context, &mut centre, &mut scale);
            // Ridge and clamping leave a small bias.
            assert!((centre[0] - u[i]).abs() < 0.02, "{} {}", centre[0], u[i]);
            assert!(scale[0] > 0.0);
        }
    }
}
