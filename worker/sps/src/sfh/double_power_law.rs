//! The double power law, Carnall et al. (2018):
//! SFR(t) ~ [ (t / tau)^alpha + (t / tau)^-beta ]^-1, t the cosmic time.
//!
//! In u = ln(t / tau) the mass per du is exp(L(u)),
//! L(u) = u - ln(e^(alpha u) + e^(-beta u)): a straight line on either side of
//! a bend of width 1 / (alpha + beta) at u = 0. Between knots the mass is that
//! of a straight L, (e^L2 - e^L1) / (L2 - L1) x (u2 - u1): exact away from the
//! bend. Knots crowd at the bend, at the youngest ages, and lie evenly in time.

use super::steps::Steps;
use outshine_kernels::{lanes, scalar};

/// Knots on either side of the bend, evenly in log |u|.
const BEND: usize = 64;
/// Knots evenly in log age, over [`AGE_DECADES`] decades below the cosmic age.
const YOUNG: usize = 100;
/// Decades of age with their own knots.
const AGE_DECADES: f64 = 5.0;
/// Knots evenly in time.
const EVEN: usize = 120;
/// Nearest knot to the bend, in widths, and farthest, in u.
const BEND_RANGE: (f64, f64) = (0.05, 45.0);

/// (1 - exp(-d)) / d for d >= 0.
fn mean_decay(d: f64) -> f64 {
    if d < 1e-3 {
        return 1.0 - d * (0.5 - d * (1.0 / 6.0 - d / 24.0));
    }
    (1.0 - lanes::exp_f64(-d)) / d
}

/// L(u).
fn log_mass_per_u(u: f64, alpha: f64, beta: f64) -> f64 {
    let straight = u - (alpha * u).max(-beta * u);
    let widths = (alpha + beta) * u.abs();
    // Beyond, the bend is lost to rounding.
    if widths > 40.0 { straight } else { straight - scalar::ln_1p(lanes::exp_f64(-widths)) }
}

/// Ages of the knots, Gyr, strictly rising from 0 to the cosmic age.
fn knots(tau_gyr: f64, alpha: f64, beta: f64, cosmic_age_gyr: f64) -> Vec<f64> {
    let mut ages = Vec::with_capacity(2 + 2 * BEND + YOUNG + EVEN);
    ages.extend([0.0, cosmic_age_gyr]);
    let step = scalar::exp10(-AGE_DECADES / YOUNG as f64);
    let mut age = cosmic_age_gyr;
    for _ in 0..YOUNG {
        age *= step;
        ages.push(age);
    }
    ages.extend((1..EVEN).map(|i| cosmic_age_gyr * i as f64 / EVEN as f64));
    let (mut u, farthest) = (BEND_RANGE.0 / (alpha + beta), BEND_RANGE.1);
    let step = scalar::exp(scalar::ln(farthest / u) / (BEND - 1) as f64);
    for _ in 0..BEND {
        let far = lanes::exp_f64(u);
        ages.extend([cosmic_age_gyr - tau_gyr / far, cosmic_age_gyr - tau_gyr * far]);
        u *= step;
    }
    ages.retain(|&age| (0.0..=cosmic_age_gyr).contains(&age));
    ages.sort_unstable_by(f64::total_cmp);
    ages.dedup();
    ages
}

/// The history at a cosmic age.
pub(super) fn history(tau_gyr: f64, alpha: f64, beta: f64, cosmic_age_gyr: f64) -> Steps {
    let ages = knots(tau_gyr, alpha, beta, cosmic_age_gyr);
    // (u, L) of every knot but the oldest, at t = 0.
    let curve: Vec<(f64, f64)> = ages[..ages.len() - 1]
        .iter()
        .map(|age| {
            let u = scalar::ln((cosmic_age_gyr - age) / tau_gyr);
            (u, log_mass_per_u(u, alpha, beta))
        })
        .collect();
    let highest = curve.iter().fold(f64::NEG_INFINITY, |high, point| high.max(point.1));
    let mut masses: Vec<f64> = curve
        .windows(2)
        .map(|pair| {
            let [(u_young, l_young), (u_old, l_old)] = [pair[0], pair[1]];
            let level = lanes::exp_f64(l_young.max(l_old) - highest);
            level * mean_decay((l_young - l_old).abs()) * (u_young - u_old)
        })
        .collect();
    // Before the oldest knot, the rise: e^((1 + beta) u) to its end.
    let (_, l) = curve[curve.len() - 1];
    masses.push(lanes::exp_f64(l - highest) / (1.0 + beta));
    Steps::listed(ages, &masses)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Midpoint sums in ln t, independent of knots and quadrature.
    #[test]
    fn fractions_match_numerical_integrals() {
        let edges = [0.0, 0.003, 0.01, 0.03, 0.1, 0.3, 0.7, 1.0, 2.0, 3.0, 5.0];
        let t_univ = 6.0;
        let mut worst = 0.0f64;
        for (tau, alpha, beta) in [
            (2.0, 1.0, 1.0),
            (3.0, 0.01, 0.01),
            (4.0, 30.0, 2.0),
            (1.0, 0.5, 300.0),
            (5.0, 1000.0, 1000.0),
            (5.95, 1000.0, 0.01),
            (0.01, 3.0, 0.5),
            (50.0, 2.0, 100.0),
        ] {
            let h = history(tau, alpha, beta, t_univ);
            let mut got = [0.0; 10];
            h.bin_fractions(&edges, &mut got);
            let n = 4_000_000;
            let (low, high) = ((1e-8f64 * t_univ).ln(), t_univ.ln());
            let (mut mass, mut age_sum, mut expected) = (0.0, 0.0, [0.0; 10]);
            for i in 0..n {
                let t = (low + (high - low) * (f64::from(i) + 0.5) / f64::from(n)).exp();
                let u = (t / tau).ln();
                let m = t / ((alpha * u).exp() + (-beta * u).exp());
                let age = t_univ - t;
                mass += m;
                age_sum += m * age;
                expected[(1..10).find(|&b| age < edges[b]).map_or(9, |b| b - 1)] += m;
            }
            for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
                // Within the step at an edge of a bin the mass is put evenly.
                let error = (got - expected / mass).abs();
                worst = worst.max(error);
                assert!(error < 1e-3, "{tau} {alpha} {beta}, bin {i}: {error}");
            }
            let age = age_sum / mass;
            // Within a step the mass is put evenly.
            assert!((h.mean_age_gyr() - age).abs() < 1e-3 * age + 1e-4, "{tau} {alpha} {beta}");
        }
        println!("worst bin: {worst:.1e} of the mass");
    }

    /// beta = 0 is not allowed, but 1e-4 with tau far in the future is almost constant.
    #[test]
    fn limits_constant_and_burst() {
        let constant = history(1e9, 1.0, 1e-4, 8.0);
        // t^1e-4 varies by 0.2 % over the ages that matter.
        assert!((constant.mass_fraction(0.0, 2.0) - 0.25).abs() < 1e-3);
        assert!((constant.mean_age_gyr() - 4.0).abs() < 4e-3);
        let burst = history(3.0, 1e4, 1e4, 8.0);
        // Half of a burst at tau, of width tau / 1e4.
        assert!((burst.age_at_fraction(0.5) - 5.0).abs() < 1e-3);
        assert!(burst.mass_fraction(4.995, 5.005) > 0.999);
    }
}
