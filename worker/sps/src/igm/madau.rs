//! Absorption by intergalactic hydrogen: Madau (1995), ApJ 441, 18.
//!
//! Line j adds A_j (lambda_obs / lambda_j)^3.46 blueward of lambda_j (1 + z)
//! (equations 12 and 15), metals 0.0017 (lambda_obs / lambda_alpha)^1.68
//! blueward of Lyman alpha (equation 13). The Lyman continuum is the
//! approximation of equation 16 in footnote 3, x = lambda_obs / lambda_limit:
//!
//! tau = x^3 (Z^0.46 - X^0.46) / 4 + 9.4 x^1.5 (Z^0.18 - X^0.18)
//!       - 0.7 x^3 (X^-1.32 - Z^-1.32) - 0.023 (Z^1.68 - X^1.68),
//!
//! Z = 1 + z and X = max(x, 1): absorbers begin at redshift 0. Where the
//! approximation falls below zero (far from the limit) the depth is zero.

use outshine_kernels::{lanes, scalar};

/// Lyman limit of the model, Angstrom.
pub(super) const LIMIT_ANGSTROM: f64 = 911.75;

/// Wavelength (Angstrom) and A_j of Lyman alpha and up, as FSPS and XSPEC have
/// them; the paper prints the first four to two digits (3.6, 1.7, 1.2 and
/// 0.93 in 1e-3).
#[rustfmt::skip]
pub(super) const SERIES: [[f64; 2]; 17] = [
    [1215.670, 3.6000e-3], [1025.720, 1.7000e-3], [972.537, 1.1846e-3], [949.743, 9.410e-4],
    [937.803, 7.960e-4], [930.748, 6.967e-4], [926.226, 6.236e-4], [923.150, 5.665e-4],
    [920.963, 5.200e-4], [919.352, 4.817e-4], [918.129, 4.487e-4], [917.181, 4.200e-4],
    [916.429, 3.947e-4], [915.824, 3.720e-4], [915.329, 3.520e-4], [914.919, 3.334e-4],
    [914.576, 3.1644e-4],
];

/// Optical depth of line j at x = lambda_obs / lambda_j, metals included.
pub(super) fn line_depth(j: usize, x: f64) -> f64 {
    if x <= 1.0 {
        return 0.0;
    }
    let metals = if j == 0 { 0.0017 * scalar::pow(x, 1.68) } else { 0.0 };
    SERIES[j][1] * scalar::pow(x, 3.46) + metals
}

/// Powers of 1 + z that the Lyman continuum needs.
pub(super) struct Continuum {
    ln_one_plus_z: f64,
    z046: f64,
    z018: f64,
    z132: f64,
    z168: f64,
}

impl Continuum {
    pub fn new(z: f64) -> Self {
        let power = |exponent: f64| scalar::pow(1.0 + z, exponent);
        Self {
            ln_one_plus_z: scalar::ln_1p(z),
            z046: power(0.46),
            z018: power(0.18),
            z132: power(-1.32),
            z168: power(1.68),
        }
    }

    /// Optical depth at x = lambda_obs / 911.75 A, given ln x; zero redward of the limit.
    pub fn depth(&self, ln_x: f64) -> f64 {
        if ln_x >= self.ln_one_plus_z {
            return 0.0;
        }
        let ln_from = ln_x.max(0.0);
        let from = |exponent: f64| lanes::exp_f64(exponent * ln_from);
        let x15 = lanes::exp_f64(1.5 * ln_x);
        let x3 = x15 * x15;
        let depth = 0.25 * x3 * (self.z046 - from(0.46)) + 9.4 * x15 * (self.z018 - from(0.18))
            - 0.7 * x3 * (from(-1.32) - self.z132)
            - 0.023 * (self.z168 - from(1.68));
        depth.max(0.0)
    }
}

/// Mean transmission at rest wavelength `rest_angstrom` for a source at
/// redshift `z`: the slow, direct form.
#[must_use]
pub fn madau_transmission(rest_angstrom: f64, z: f64) -> f64 {
    let observed = rest_angstrom * (1.0 + z);
    let mut depth = 0.0;
    for (j, line) in SERIES.iter().enumerate().filter(|(_, line)| rest_angstrom < line[0]) {
        depth += line_depth(j, observed / line[0]);
    }
    if rest_angstrom < LIMIT_ANGSTROM {
        depth += Continuum::new(z).depth(scalar::ln(observed / LIMIT_ANGSTROM));
    }
    scalar::exp(-depth)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The depth just blueward of Lyman alpha and beta, equations 12, 13 and 15 by hand.
    #[test]
    fn line_depths_by_hand() {
        // Just blueward of Lyman alpha at z = 3: 0.0036 * 4^3.46 = 0.4359, metals 0.0175.
        let got = -madau_transmission(1215.669, 3.0).ln();
        assert!((got - (0.435_9 + 0.017_45)).abs() < 2e-4, "{got}");
        let step = madau_transmission(1025.719, 3.0).ln() - madau_transmission(1025.721, 3.0).ln();
        assert!((-step / (0.0017 * 4f64.powf(3.46)) - 1.0).abs() < 1e-3, "{step}");
        assert_eq!(madau_transmission(1216.0, 6.0), 1.0);
    }

    /// The decrement D_A, 1 - mean transmission over 1050 to 1170 A, as observed.
    #[test]
    fn forest_decrement_as_observed() {
        let decrement = |z: f64| {
            let n = 1200;
            let wave = |i: i32| 1050.0 + 0.1 * (f64::from(i) + 0.5);
            1.0 - (0..n).map(|i| madau_transmission(wave(i), z)).sum::<f64>() / f64::from(n)
        };
        // By the middle of the range, (1110 / 1215.67) (1 + z) = 3.652 at z = 3:
        // 1 - exp(-0.0036 * 3.652^3.46 - 0.0017 * 3.652^1.68) = 0.284.
        assert!((decrement(3.0) - 0.284).abs() < 0.003, "{}", decrement(3.0));
        // Quasars have D_A near 0.27 to 0.37 at z = 3 and 0.45 to 0.57 at z = 4
        // (Schneider, Schmidt & Gunn 1991 and others).
        assert!(decrement(3.0) > 0.25 && decrement(3.0) < 0.38);
        assert!(decrement(4.0) > 0.43 && decrement(4.0) < 0.58, "{}", decrement(4.0));
    }

    /// Footnote 3 against equation 16 integrated: clouds with
    /// 2.4e7 N^-1.5 (1 + z)^2.46 (2e12 to 1.59e17 per cm^2) and
    /// 1.9e8 N^-1.5 (1 + z)^0.68 (up to 1e20).
    #[test]
    fn continuum_against_its_integral() {
        let exact = |x: f64, z: f64| {
            let (mut sum, steps) = (0.0, 200);
            for i in 0..steps {
                let one_plus = x + (1.0 + z - x) * (f64::from(i) + 0.5) / f64::from(steps);
                // Cross-section at the absorber: (lambda / 912)^3.
                let sigma = 6.3e-18 * (x / one_plus).powi(3);
                let clouds = |low: f64, high: f64| {
                    let n = 400;
                    let step = (high / low).ln() / f64::from(n);
                    (0..n)
                        .map(|k| {
                            let column = low * ((f64::from(k) + 0.5) * step).exp();
                            column.powf(-0.5) * (1.0 - (-column * sigma).exp()) * step
                        })
                        .sum::<f64>()
                };
                let forest = 2.4e7 * one_plus.powf(2.46) * clouds(2e12, 1.59e17);
                let thick = 1.9e8 * one_plus.powf(0.68) * clouds(1.59e17, 1e20);
                sum += (forest + thick) * (1.0 + z - x) / f64::from(steps);
            }
            sum
        };
        for z in [2.0, 3.0, 4.0] {
            for rest in [890.0, 850.0, 750.0, 650.0] {
                let x = rest / LIMIT_ANGSTROM * (1.0 + z);
                let (fit, truth) = (Continuum::new(z).depth(x.ln()), exact(x, z));
                // The approximation is good to 3.5 % here, worst at the limit.
                assert!((fit / truth - 1.0).abs() < 0.05, "{z} {rest}: {fit} {truth}");
            }
        }
    }

    #[test]
    fn transmission_is_a_fraction_everywhere() {
        for z in [0.01, 0.5, 1.0, 2.0, 3.5, 5.0, 8.0, 12.0, 20.0] {
            for i in 0..400 {
                let t = madau_transmission(60.0 + 3.0 * f64::from(i), z);
                assert!((0.0..=1.0).contains(&t), "{z} {i}: {t}");
            }
        }
        assert!(madau_transmission(1200.0, 9.0) < 1e-3);
    }
}
