//! The distribution of an object's redshift.

use crate::coordinates::{from_fraction, log_slope};
use crate::flow::coupling::Tails;
use outshine_kernels::random::Stream;
use outshine_kernels::scalar;

/// Even steps over the range of redshifts.
const EVEN: usize = 1500;
/// Steps over each normal of the mixture, out to [`REACH`] widths.
const FINE: usize = 60;
const REACH: f64 = 9.0;

/// A probability density of redshift: linear between nodes, 0 outside.
#[derive(Clone, Debug, PartialEq)]
pub struct RedshiftPosterior {
    z: Vec<f64>,
    density: Vec<f64>,
    /// Probability below each node.
    below: Vec<f64>,
}

impl RedshiftPosterior {
    /// The mixture of (share, mean, width) in w, where u = centre + scale w is
    /// the unbounded image of the redshift in `range`.
    pub(super) fn new(
        tails: Tails,
        parts: &[(f64, f64, f64)],
        (centre, scale): (f64, f64),
        (low, high): (f64, f64),
    ) -> Self {
        let of = |w: f64| low + (high - low) * scalar::normal_cdf(centre + scale * w);
        let mut z: Vec<f64> =
            (0..=EVEN).map(|k| low + (high - low) * k as f64 / EVEN as f64).collect();
        for &(share, mean, width) in parts {
            if share > 1e-6 {
                let step = |k: usize| REACH * (2.0 * k as f64 / FINE as f64 - 1.0);
                z.extend((0..=FINE).map(|k| of(mean + width * step(k))));
            }
        }
        z.sort_by(f64::total_cmp);
        z.dedup();
        let density = z.iter().map(|&z| {
            let u = from_fraction((z - low) / (high - low));
            let w = (u - centre) / scale;
            let value: f64 = parts
                .iter()
                .map(|&(share, mean, width)| {
                    let t = ((w - mean) / width) as f32;
                    share / width * scalar::exp(f64::from(tails.log_density(t)))
                })
                .sum();
            value * scalar::exp(log_slope(u)) / scale
        });
        let density = density.collect();
        Self::of_nodes(z, density).expect("a mixture has some probability")
    }

    /// The density through given nodes, scaled to one; `None` when there are
    /// fewer than two, they do not rise, or there is no probability.
    #[must_use]
    pub fn of_nodes(z: Vec<f64>, mut density: Vec<f64>) -> Option<Self> {
        let rising = z.windows(2).all(|w| w[0] < w[1]) && z.iter().all(|z| z.is_finite());
        let good = density.iter().all(|p| p.is_finite() && *p >= 0.0);
        if z.len() < 2 || z.len() != density.len() || !rising || !good {
            return None;
        }
        let mut below = vec![0.0; z.len()];
        for k in 1..z.len() {
            let area = 0.5 * (density[k] + density[k - 1]) * (z[k] - z[k - 1]);
            below[k] = below[k - 1] + area;
        }
        let total = below[z.len() - 1];
        if !(total > 0.0 && total.is_finite()) {
            return None;
        }
        density.iter_mut().for_each(|p| *p /= total);
        below.iter_mut().for_each(|p| *p /= total);
        Some(Self { z, density, below })
    }

    /// The nodes: redshifts and densities.
    #[must_use]
    pub fn nodes(&self) -> (&[f64], &[f64]) {
        (&self.z, &self.density)
    }

    /// Multiplied by another density, such as a prior that does not come from
    /// these fluxes; `None` when the two exclude each other. Training's own
    /// prior is uniform, so that nothing has to be divided out.
    #[must_use]
    pub fn times(&self, prior: &Self) -> Option<Self> {
        let mut z: Vec<f64> = self.z.iter().chain(&prior.z).copied().collect();
        // Where one ends, the product does so at once, not over a whole step.
        for one in [&self.z, &prior.z] {
            z.extend([one[0].next_down(), one[one.len() - 1].next_up()]);
        }
        z.sort_by(f64::total_cmp);
        z.dedup();
        let density = z.iter().map(|&z| self.at(z) * prior.at(z)).collect();
        Self::of_nodes(z, density)
    }

    /// Density at a redshift.
    #[must_use]
    pub fn at(&self, z: f64) -> f64 {
        let k = self.z.partition_point(|node| *node <= z);
        if k == 0 || z > self.z[self.z.len() - 1] {
            return 0.0;
        }
        if k == self.z.len() {
            return self.density[k - 1];
        }
        let part = (z - self.z[k - 1]) / (self.z[k] - self.z[k - 1]);
        (1.0 - part) * self.density[k - 1] + part * self.density[k]
    }

    /// Probability of lying below a redshift.
    #[must_use]
    pub fn below(&self, z: f64) -> f64 {
        let k = self.z.partition_point(|node| *node <= z);
        if k == 0 {
            return 0.0;
        }
        if k == self.z.len() {
            return 1.0;
        }
        let area = 0.5 * (self.density[k - 1] + self.at(z)) * (z - self.z[k - 1]);
        (self.below[k - 1] + area).min(1.0)
    }

    /// Redshift below which the probability is `p`.
    #[must_use]
    pub fn quantile(&self, p: f64) -> f64 {
        let k = self.below.partition_point(|b| *b < p).clamp(1, self.z.len() - 1);
        let (z, width) = (self.z[k - 1], self.z[k] - self.z[k - 1]);
        let (a, b) = (self.density[k - 1], self.density[k]);
        let rest = (p - self.below[k - 1]).max(0.0);
        // a t + (b - a) t^2 / (2 width) = rest, in the form without cancellation.
        let slope = (b - a) / width;
        let root = (a * a + 2.0 * slope * rest).max(0.0).sqrt();
        let t = if a + root > 0.0 { 2.0 * rest / (a + root) } else { width };
        z + t.clamp(0.0, width)
    }

    /// Redshift of the highest density.
    #[must_use]
    pub fn mode(&self) -> f64 {
        let best = (0..self.z.len()).max_by(|&a, &b| self.density[a].total_cmp(&self.density[b]));
        self.z[best.unwrap_or(0)]
    }

    /// `n` equally probable redshifts, ascending: one at random in each n-th of
    /// the probability, so that few of them follow the distribution closely.
    #[must_use]
    pub fn draws(&self, n: usize, stream: &mut Stream) -> Vec<f64> {
        (0..n).map(|k| self.quantile((k as f64 + stream.uniform()) / n as f64)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outshine_kernels::random::Purpose;

    fn bimodal() -> RedshiftPosterior {
        of_kind(Tails::Normal)
    }

    fn of_kind(tails: Tails) -> RedshiftPosterior {
        let parts = [(0.7, -0.5, 0.01), (0.3, 1.0, 0.2)];
        RedshiftPosterior::new(tails, &parts, (0.1, 0.8), (0.0, 7.5))
    }

    #[test]
    fn a_mixture_is_followed_closely() {
        let of = |w: f64| 7.5 * scalar::normal_cdf(0.1 + 0.8 * w);
        let p = bimodal();
        for tails in [Tails::Normal, Tails::Logistic] {
            let p = of_kind(tails);
            for w in [-0.53, -0.51, -0.5, -0.48, 0.7, 1.0, 1.3] {
                let exact =
                    0.7 * tails.below((w + 0.5) / 0.01) + 0.3 * tails.below((w - 1.0) / 0.2);
                // Linear pieces of 0.3 widths: second-order error of the trapezoid.
                assert!((p.below(of(w)) - exact).abs() < 3e-3, "{w}: {} {exact}", p.below(of(w)));
            }
            assert!((p.mode() - of(-0.5)).abs() < 0.02);
        }
        assert_eq!((p.below(-1.0), p.below(9.0), p.at(-1.0), p.at(9.0)), (0.0, 1.0, 0.0, 0.0));
    }

    #[test]
    fn quantiles_invert_probabilities_and_draws_are_stratified() {
        let p = bimodal();
        for k in 1..100 {
            let q = f64::from(k) / 100.0;
            assert!((p.below(p.quantile(q)) - q).abs() < 1e-9, "{q}");
        }
        let draws = p.draws(50, &mut Stream::new(1, Purpose::Draw, 0, 0));
        for (k, z) in draws.iter().enumerate() {
            let place = p.below(*z) * 50.0;
            assert!(place > k as f64 - 1e-6 && place < k as f64 + 1.0 + 1e-6);
        }
    }

    #[test]
    fn a_prior_multiplies() {
        let p = bimodal();
        let high = RedshiftPosterior::of_nodes(vec![4.0, 5.0, 7.0], vec![0.0, 1.0, 1.0]).unwrap();
        let both = p.times(&high).unwrap();
        assert!(both.below(4.0) < 1e-12 && both.quantile(0.5) > 5.0);
        let apart = RedshiftPosterior::of_nodes(vec![8.0, 9.0], vec![1.0, 1.0]).unwrap();
        assert!(p.times(&apart).is_none());
        assert!(RedshiftPosterior::of_nodes(vec![1.0, 1.0], vec![1.0, 1.0]).is_none());
        assert!(RedshiftPosterior::of_nodes(vec![1.0, 2.0], vec![0.0, 0.0]).is_none());
    }
}
