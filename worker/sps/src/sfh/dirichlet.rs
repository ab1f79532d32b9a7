//! The Dirichlet history: a smooth curve through quantiles of mass.
//!
//! Iyer et al. (2019), "Dense Basis", as the package dense_basis 0.1.9
//! realises it. Given are the specific star-formation rate asked for and the
//! fractions t25 < t50 < t75 of the cosmic age T at which a quarter, half and
//! three quarters of the mass M had formed. With q = sSFR x T:
//!
//! 1. Points (x, y) of the cumulative mass: (0, 0), (0.01, 0), (t25, 1/4),
//!    (t50, 1/2), (t75, 3/4); for f = 0.97, 0.98, 0.99 in turn x = 1 - (1-f)/q,
//!    y = f where that x lies beyond the last point and 0.9, else x = f,
//!    y = 1 - (1-f) q; and (1, 1).
//! 2. The mean of a Gaussian process through them, with the kernel
//!    k(a, b) = var(y) [(1 + s r) exp(-s r) + (a b)^2 / e^m], r = |a - b|,
//!    s = sqrt(3 / m), m = median(y), and a noise of 0.001/sqrt(3) on the
//!    three quantiles, at 1000 equally spaced x from 0 to 1.
//! 3. Its differences are the star-formation rate, negative ones zero. All
//!    but the last n samples (10 Myr) are rescaled to hold what these leave
//!    of M; where the last sample is more than 0.05 dex from the rate asked
//!    for, the last n are set to that. Masses are by the trapezoid rule.
//!
//! The realised curve differs from what was asked: its own median time is often
//! not t50, and its mass is -0.02 to +0.09 dex off M. See
//! [`super::Realised`].
//!
//! On the grid the kernel sum is cheap, since (1 + s r) exp(-s r) separates:
//! between two points the mean is e^(-s x) (A + B x) + e^(s x) (C + D x) + E x^2.
//!
//! Five of the nine points have y >= 1/2 whatever is asked, so that m and s are
//! bounded. Points are placed with q at most [`MOST_Q`]: beyond, they lie too
//! close together for double precision; within the default prior q stays below
//! 430, and the rounding of the curve below 1e-4.

use super::steps::{Steps, sum};
use outshine_kernels::{lanes, scalar};

/// Samples of the curve.
const SAMPLES: usize = 1000;
/// Points that the curve follows.
const POINTS: usize = 9;
/// Highest q with which points are placed.
const MOST_Q: f64 = 1000.0;
/// Samples per block of the table of exponentials; its square covers all samples.
const BLOCK: usize = 32;
/// Samples summed together.
const GROUP: usize = 9;
/// 10^0.05 and its inverse: how far the last rate may be from the one asked for.
const NEAR: (f64, f64) = (0.891_250_938_133_745_6, 1.122_018_454_301_963_3);
/// Length of the recent time that is treated apart, Gyr.
const RECENT_GYR: f64 = 0.01;

/// Distance of samples.
const STEP: f64 = 1.0 / (SAMPLES - 1) as f64;
/// x of every sample.
static POSITION: [f64; SAMPLES] = {
    let mut x = [0.0; SAMPLES];
    let mut k = 0;
    while k < SAMPLES {
        x[k] = k as f64 / (SAMPLES - 1) as f64;
        k += 1;
    }
    x
};

/// exp of every value, in a loop that vector instructions can follow.
fn exp_all<const N: usize>(mut values: [f64; N]) -> [f64; N] {
    for value in &mut values {
        *value = lanes::exp_f64(*value);
    }
    values
}

/// Points of the cumulative mass with the variance of their noise, x rising.
fn points(q: f64, quantiles: [f64; 3]) -> [(f64, f64, f64); POINTS] {
    // (0.001 / sqrt 3)^2
    let noise = 1e-6 / 3.0;
    let [t25, t50, t75] = quantiles;
    let mut points = [(0.0, 0.0, 0.0); POINTS];
    points[1] = (0.01, 0.0, 0.0);
    points[2] = (t25, 0.25, noise);
    points[3] = (t50, 0.5, noise);
    points[4] = (t75, 0.75, noise);
    for (i, f) in [(5, 0.97), (6, 0.98), (7, 0.99)] {
        let x = 1.0 - (1.0 - f) / q;
        let fits = x > points[i - 1].0 && x > 0.9;
        points[i] = if fits { (x, f, 0.0) } else { (f, 1.0 - (1.0 - f) * q, 0.0) };
    }
    points[8] = (1.0, 1.0, 0.0);
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

/// The mean of the Gaussian process: a weight per point.
struct Curve {
    s: f64,
    x: [f64; POINTS],
    weight: [f64; POINTS],
    /// E: factor of x^2.
    square: f64,
}

impl Curve {
    fn through(points: &[(f64, f64, f64); POINTS]) -> Self {
        let mut sorted = points.map(|p| p.1);
        sorted.sort_by(f64::total_cmp);
        let median = sorted[POINTS / 2];
        let mean = sorted.iter().sum::<f64>() / POINTS as f64;
        let variance = sorted.iter().map(|y| (y - mean) * (y - mean)).sum::<f64>() / POINTS as f64;
        let s = (3.0 / median).sqrt();
        let flat = lanes::exp_f64(-median);
        let x = points.map(|p| p.0);

        let mut decay = [0.0; POINTS * POINTS];
        for i in 0..POINTS {
            for j in 0..i {
                decay[POINTS * i + j] = -s * (x[i] - x[j]);
            }
        }
        let decay = exp_all(decay);

        // Cholesky factor of kernel and noise over the variance, row by row. A
        // pivot lost to rounding becomes the smallest that still has a digit.
        let mut factor = [[0.0; POINTS]; POINTS];
        for i in 0..POINTS {
            for j in 0..=i {
                let r = s * (x[i] - x[j]);
                let product = x[i] * x[j];
                let mut entry = (1.0 + r) * decay[POINTS * i + j] + product * product * flat;
                for k in 0..j {
                    entry -= factor[i][k] * factor[j][k];
                }
                factor[i][j] = if i == j {
                    (entry + points[i].2 / variance).max(1e-16).sqrt()
                } else {
                    entry / factor[j][j]
                };
            }
        }
        let mut weight = points.map(|p| p.1);
        for i in 0..POINTS {
            for k in 0..i {
                weight[i] -= factor[i][k] * weight[k];
            }
            weight[i] /= factor[i][i];
        }
        for i in (0..POINTS).rev() {
            for k in i + 1..POINTS {
                weight[i] -= factor[k][i] * weight[k];
            }
            weight[i] /= factor[i][i];
        }
        let square = flat * (0..POINTS).map(|i| weight[i] * x[i] * x[i]).sum::<f64>();
        Self { s, x, weight, square }
    }

    /// The curve at every sample.
    fn samples(&self) -> [f64; SAMPLES] {
        let s = self.s;
        // exp(s x) of sample BLOCK a + b is a product of two table entries.
        let up_far: [f64; BLOCK] = exp_all(std::array::from_fn(|a| s * STEP * (BLOCK * a) as f64));
        let up_near: [f64; BLOCK] = exp_all(std::array::from_fn(|b| s * STEP * b as f64));
        let (down_far, down_near) = (up_far.map(|e| 1.0 / e), up_near.map(|e| 1.0 / e));
        let (mut up, mut down) = ([0.0; BLOCK * BLOCK], [0.0; BLOCK * BLOCK]);
        for a in 0..BLOCK {
            for b in 0..BLOCK {
                up[BLOCK * a + b] = up_far[a] * up_near[b];
                down[BLOCK * a + b] = down_far[a] * down_near[b];
            }
        }
        let at_points = exp_all(self.x.map(|x| s * x));
        // Sums over the points right of each gap, then left of it as we go.
        let mut right = [(0.0, 0.0); POINTS + 1];
        for j in (0..POINTS).rev() {
            let e = self.weight[j] / at_points[j];
            right[j].0 = right[j + 1].0 + (1.0 + s * self.x[j]) * e;
            right[j].1 = right[j + 1].1 - s * e;
        }
        let (mut a, mut b) = (0.0, 0.0);
        let mut y = [0.0; SAMPLES];
        let mut from = 0;
        for gap in 0..=POINTS {
            let to = match self.x.get(gap) {
                Some(x) => ((x * (SAMPLES - 1) as f64) as usize + 1).min(SAMPLES),
                None => SAMPLES,
            };
            let (c, d) = right[gap];
            for k in from..to {
                let x = POSITION[k];
                y[k] = down[k] * (a + b * x) + up[k] * (c + d * x) + self.square * (x * x);
            }
            from = from.max(to);
            if gap < POINTS {
                let e = self.weight[gap] * at_points[gap];
                a += (1.0 - s * self.x[gap]) * e;
                b += s * e;
            }
        }
        y
    }
}

/// Trapezoid rule over samples, in units of a step.
fn trapezoid(rates: &[f64]) -> f64 {
    match rates {
        [] | [_] => 0.0,
        [first, .., last] => sum(rates) - 0.5 * (first + last),
    }
}

/// How many samples are recent: the index of the sample nearest to 10 Myr
/// after the Big Bang, the lower of two; 2 in place of 0.
fn recent_samples(cosmic_age_gyr: f64) -> usize {
    let exact = RECENT_GYR * (SAMPLES - 1) as f64 / cosmic_age_gyr;
    let below = exact.floor();
    let nearest = if exact - below > 0.5 { below + 1.0 } else { below };
    match nearest.min((SAMPLES - 1) as f64) as usize {
        0 => 2,
        n => n,
    }
}

/// Rates in units of M / T at every sample.
fn rates(q: f64, quantiles: [f64; 3], recent: usize) -> [f64; SAMPLES] {
    let y = Curve::through(&points(q.min(MOST_Q), quantiles)).samples();
    let mut rates = [0.0; SAMPLES];
    for k in 1..SAMPLES {
        rates[k] = (SAMPLES as f64 * (y[k] - y[k - 1])).max(0.0);
    }
    let (old, young) = rates.split_at_mut(SAMPLES - recent);
    let left = (1.0 - STEP * trapezoid(young)).max(0.0);
    let formed = STEP * trapezoid(old);
    if formed > 0.0 {
        let scale = left / formed;
        old.iter_mut().for_each(|rate| *rate *= scale);
    }
    let ratio = young[recent - 1] / q;
    if !(ratio >= NEAR.0 && ratio <= NEAR.1) {
        young.fill(q);
    }
    rates
}

/// The realised history; its total is its mass over the mass asked for.
pub(super) fn history(log_ssfr: f64, quantiles: [f64; 3], cosmic_age_gyr: f64) -> Steps {
    let q = scalar::exp10(log_ssfr + 9.0) * cosmic_age_gyr;
    let rates = rates(q, quantiles, recent_samples(cosmic_age_gyr));
    // Running sums of the trapezoids from the young end, each taken within a
    // group first: shorter chains of additions.
    let half = 0.5 * STEP;
    let (mut mass, mut younger) = (0.0, vec![0.0; SAMPLES]);
    for (group, out) in younger[1..].chunks_mut(GROUP).enumerate() {
        let last = SAMPLES - 1 - group * GROUP;
        let mut within = 0.0;
        for (i, out) in out.iter_mut().enumerate() {
            within += half * (rates[last - i] + rates[last - i - 1]);
            *out = mass + within;
        }
        mass += within;
    }
    Steps::uniform(cosmic_age_gyr * STEP, younger)
}

/// Rates at given ages, linear between the recipe's samples, in units of M / T;
/// 0 outside the history.
pub(super) fn rates_at(
    log_ssfr: f64,
    quantiles: [f64; 3],
    cosmic_age_gyr: f64,
    ages_gyr: &[f64],
) -> Vec<f64> {
    let q = scalar::exp10(log_ssfr + 9.0) * cosmic_age_gyr;
    let rates = rates(q, quantiles, recent_samples(cosmic_age_gyr));
    let at = |age_gyr: &f64| {
        let position = (1.0 - age_gyr / cosmic_age_gyr) * (SAMPLES - 1) as f64;
        if !(0.0..=(SAMPLES - 1) as f64).contains(&position) {
            return 0.0;
        }
        let below = (position as usize).min(SAMPLES - 2);
        let part = position - below as f64;
        rates[below] * (1.0 - part) + rates[below + 1] * part
    };
    ages_gyr.iter().map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use outshine_kernels::random::{Purpose, Stream};

    impl Curve {
        /// The kernel sum as it is written.
        fn direct(&self, x: f64, flat: f64) -> f64 {
            let term = |(a, w): (&f64, &f64)| {
                let r = self.s * (x - a).abs();
                w * ((1.0 + r) * (-r).exp() + (x * a) * (x * a) * flat)
            };
            self.x.iter().zip(&self.weight).map(term).sum()
        }
    }

    #[test]
    fn separated_sums_are_the_kernel_sum_and_pass_through_the_points() {
        let mut stream = Stream::new(5, Purpose::Simulation, 0, 0);
        let (mut worst, mut tight) = (0.0f64, 0);
        for _ in 0..300 {
            let mut t = [0.0; 3].map(|_| stream.uniform());
            t.sort_by(f64::total_cmp);
            // q from 0.02 to 430: the range of the default prior.
            let q = scalar::exp10(stream.uniform_in(-1.7, 2.63));
            let points = points(q, t);
            let curve = Curve::through(&points);
            let mut y = points.map(|p| p.1);
            y.sort_by(f64::total_cmp);
            let flat = (-y[4]).exp();
            assert!(y[4] >= 0.5, "the median of y");
            let size: f64 = curve.weight.iter().map(|w| w.abs()).sum();
            // Either sum rounds each term of a size up to `size` e^s.
            let tolerance = 1e-9 + 1e-14 * size;
            for (k, got) in curve.samples().iter().enumerate() {
                let error = (got - curve.direct(POSITION[k], flat)).abs();
                assert!(error < tolerance, "q {q}, {t:?}, sample {k}: {error} of {tolerance}");
                if size < 1e5 {
                    worst = worst.max(error);
                    tight += 1;
                }
            }
            let mean = y.iter().sum::<f64>() / 9.0;
            let variance = y.iter().map(|y| (y - mean) * (y - mean)).sum::<f64>() / 9.0;
            for ((x, y, noise), weight) in points.into_iter().zip(curve.weight) {
                // (K + noise) w = y: a noisy point is missed by noise x weight.
                let error = curve.direct(x, flat) + noise / variance * weight - y;
                assert!(error.abs() < tolerance, "q {q}, {t:?}: {error} at {x}");
            }
        }
        println!("worst difference of well-conditioned curves: {worst:.1e} ({tight} samples)");
        assert!(tight > 10_000 && worst < 1e-9, "{worst}");
    }

    #[test]
    fn the_recent_samples_are_those_of_ten_megayears() {
        // Samples are 13.5, 4, 1.25 and 0.2 Myr apart.
        for (t_univ, expected) in [(13.486_5, 1), (3.996, 2), (1.25, 8), (0.2, 50), (30.0, 2)] {
            assert_eq!(recent_samples(t_univ), expected, "{t_univ}");
        }
    }
}
