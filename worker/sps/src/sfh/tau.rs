//! The tau-delayed history, in closed form.
//!
//! SFR(t) ~ s exp(-s / tau), s = t - t_i >= 0, t the cosmic time. With
//! x = s / tau the mass formed up to s is tau^2 P(x),
//! P(x) = 1 - (1 + x) exp(-x), and the first moment of s is tau^3 G(x),
//! G(x) = 2 - (x^2 + 2 x + 2) exp(-x).

use outshine_kernels::lanes;

/// Most steps towards a quantile: enough halvings for the last bit of a double.
const STEPS: usize = 64;

/// P(x) = 1 - (1 + x) exp(-x), with full relative precision at small x.
fn mass_integral(x: f64) -> f64 {
    if x < 0.1 {
        // Sum over k >= 2 of (-1)^k (k-1)/k! x^k; the first term left out is
        // below 1e-13 of the sum.
        let c = [1.0 / 2.0, -1.0 / 3.0, 1.0 / 8.0, -1.0 / 30.0, 1.0 / 144.0, -1.0 / 840.0];
        let d = [1.0 / 5760.0, -1.0 / 45_360.0, 1.0 / 403_200.0];
        let mut sum = 0.0;
        for a in d.iter().rev().chain(c.iter().rev()) {
            sum = sum * x + a;
        }
        return sum * x * x;
    }
    1.0 - (1.0 + x) * lanes::exp_f64(-x)
}

/// G(x) = 2 - (x^2 + 2x + 2) exp(-x), with full relative precision at small x.
fn moment_integral(x: f64) -> f64 {
    if x < 0.5 {
        // Integral of x^2 exp(-x): sum over k >= 0 of (-1)^k x^(k+3) / (k! (k+3)).
        let mut sum = 0.0;
        let mut power = x * x * x;
        for k in 0..16 {
            sum += power / f64::from(k + 3);
            power *= -x / f64::from(k + 1);
        }
        return sum;
    }
    2.0 - (x * x + 2.0 * x + 2.0) * lanes::exp_f64(-x)
}

/// A tau-delayed history seen from one redshift.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TauHistory {
    /// Time since the start of star formation, Gyr; positive.
    pub duration_gyr: f64,
    tau_gyr: f64,
    total: f64,
}

impl TauHistory {
    /// Both positive and finite.
    pub fn new(tau_gyr: f64, duration_gyr: f64) -> Self {
        Self { duration_gyr, tau_gyr, total: mass_integral(duration_gyr / tau_gyr) }
    }

    /// Fraction of all mass formed that is older than `age_gyr`, and the same
    /// in the form 1 - fraction when that is the smaller number.
    fn split(&self, age_gyr: f64) -> (f64, f64) {
        let x = ((self.duration_gyr - age_gyr) / self.tau_gyr).max(0.0);
        if x < 0.1 {
            let old = mass_integral(x);
            return (old, 1.0 - old);
        }
        // exp(-x) (1 + x) keeps its relative precision where the other nears 1.
        let rest = (1.0 + x) * lanes::exp_f64(-x);
        (1.0 - rest, rest)
    }

    /// Fraction of all mass formed with ages from `young_gyr` to `old_gyr`.
    pub fn mass_fraction(&self, young_gyr: f64, old_gyr: f64) -> f64 {
        self.between(self.split(young_gyr), self.split(old_gyr))
    }

    fn between(&self, young: (f64, f64), old: (f64, f64)) -> f64 {
        let difference = if old.1 < 0.5 { old.1 - young.1 } else { young.0 - old.0 };
        (difference / self.total).max(0.0)
    }

    /// Mass fractions of consecutive age bins; the last one also takes what
    /// is older than the last edge.
    ///
    /// `edges_gyr`: n + 1 rising ages, the first 0; `fractions`: n, summing to 1.
    /// Returns how many leading bins can be non-zero.
    pub fn bin_fractions(&self, edges_gyr: &[f64], fractions: &mut [f64]) -> usize {
        let n = fractions.len();
        assert_eq!(edges_gyr.len(), n + 1, "n bins have n + 1 edges");
        fractions.fill(0.0);
        let mut young = self.split(0.0);
        for i in 0..n {
            if edges_gyr[i] >= self.duration_gyr {
                return i;
            }
            let old = if i + 1 == n { (0.0, 1.0) } else { self.split(edges_gyr[i + 1]) };
            fractions[i] = self.between(young, old);
            young = old;
        }
        n
    }

    /// Mass-weighted age, Gyr.
    pub fn mean_age_gyr(&self) -> f64 {
        let x = self.duration_gyr / self.tau_gyr;
        self.duration_gyr - self.tau_gyr * moment_integral(x) / self.total
    }

    /// Age by which the fraction `f` of the mass had formed, Gyr: P(x) = f P(end)
    /// by Newton's steps, halving where one leaves the bracket.
    pub fn age_at_fraction(&self, f: f64) -> f64 {
        let wanted = f * self.total;
        let (mut low, mut high) = (0.0, self.duration_gyr / self.tau_gyr);
        // P(x) <= x^2 / 2, so the root lies no lower.
        let mut x = (2.0 * wanted).sqrt().min(high);
        for _ in 0..STEPS {
            let miss = mass_integral(x) - wanted;
            if miss > 0.0 {
                high = x;
            } else {
                low = x;
            }
            // A slope of zero gives no number, which is in no bracket.
            let newton = x - miss / (x * lanes::exp_f64(-x));
            let next = if newton > low && newton < high { newton } else { 0.5 * (low + high) };
            let moved = (next - x).abs();
            x = next;
            if moved <= 1e-15 * x {
                break;
            }
        }
        self.duration_gyr - self.tau_gyr * x
    }

    /// Star-formation rate per mass formed at an age, 1/Gyr.
    pub fn rate_per_gyr(&self, age_gyr: f64) -> f64 {
        let s = self.duration_gyr - age_gyr;
        if s <= 0.0 || age_gyr < 0.0 {
            return 0.0;
        }
        let x = s / self.tau_gyr;
        x * lanes::exp_f64(-x) / (self.tau_gyr * self.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(tau_gyr: f64, duration_gyr: f64) -> TauHistory {
        TauHistory::new(tau_gyr, duration_gyr)
    }

    /// Midpoint sums over time, independent of the closed forms.
    #[test]
    fn fractions_and_ages_match_numerical_integrals() {
        let edges = [0.0, 0.001, 0.01, 0.1, 0.5, 2.0, 5.0];
        for (tau, duration) in [(0.3, 4.0), (0.01, 0.3), (100.0, 2.0), (2.0, 0.004), (1.0, 6.0)] {
            let h = history(tau, duration);
            let mut got = [0.0; 6];
            h.bin_fractions(&edges, &mut got);
            let n = 2_000_000;
            let (mut mass, mut age_sum, mut expected) = (0.0, 0.0, [0.0; 6]);
            for i in 0..n {
                let s = duration * (f64::from(i) + 0.5) / f64::from(n);
                let sfr = s * (-s / tau).exp();
                let age = duration - s;
                mass += sfr;
                age_sum += sfr * age;
                let bin = (1..6).find(|&b| age < edges[b]).map_or(5, |b| b - 1);
                expected[bin] += sfr;
            }
            for (got, expected) in got.iter().zip(expected) {
                // One step of the sum at a bin's edge holds about 1e-6 of the mass.
                assert!((got - expected / mass).abs() < 5e-6, "{tau} {duration}");
            }
            assert!((got.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            assert!((h.mean_age_gyr() / (age_sum / mass) - 1.0).abs() < 1e-6);
        }
    }

    #[test]
    fn series_and_closed_forms_agree_where_they_meet() {
        for x in [0.099_999_9, 0.499_999_9] {
            let closed = 1.0 - (1.0 + x) * libm::exp(-x);
            assert!((mass_integral(x) / closed - 1.0).abs() < 1e-12);
            let closed = 2.0 - (x * x + 2.0 * x + 2.0) * libm::exp(-x);
            assert!((moment_integral(x) / closed - 1.0).abs() < 1e-11);
        }
    }

    #[test]
    fn tiny_recent_fractions_keep_their_precision() {
        // A burst 1 Gyr ago with tau = 40 Myr: fraction (1 + x) exp(-x) differences.
        let h = history(0.04, 1.0);
        let q = |age: f64| {
            let x = (1.0 - age) / 0.04;
            (1.0 + x) * libm::exp(-x)
        };
        let expected = q(0.1) - q(0.0);
        assert!((h.mass_fraction(0.0, 0.1) / expected - 1.0).abs() < 1e-6);
    }

    #[test]
    fn ages_at_a_fraction_split_the_mass_there() {
        for (tau, duration) in [(0.3, 4.0), (0.01, 12.0), (100.0, 2.0), (2.0, 1e-6)] {
            let h = history(tau, duration);
            for f in [0.01, 0.25, 0.5, 0.75, 0.99] {
                let age = h.age_at_fraction(f);
                let older = h.mass_fraction(age, duration);
                // The age is rounded to 1e-16 of the duration, up to 1200 tau here.
                assert!((older - f).abs() < 1e-12, "{tau} {duration} {f}: {older}");
            }
            assert!((h.age_at_fraction(0.0) - duration).abs() < 1e-12 * duration);
            assert!(h.age_at_fraction(1.0).abs() < 1e-6 * duration || duration > 20.0 * tau);
        }
    }

    #[test]
    fn the_rate_integrates_to_one() {
        for (tau, duration) in [(0.3, 4.0), (100.0, 2.0), (0.2, 10.0)] {
            let h = history(tau, duration);
            let n = 200_000;
            let step = duration / f64::from(n);
            let sum: f64 = (0..n).map(|i| h.rate_per_gyr((f64::from(i) + 0.5) * step)).sum();
            // The midpoint rule: second order in a step of 5e-6.
            assert!((sum * step - 1.0).abs() < 1e-8, "{}", sum * step);
        }
    }
}
