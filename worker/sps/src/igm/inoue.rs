//! Absorption by intergalactic hydrogen: Inoue, Shimizu, Iwata & Tanaka (2014),
//! MNRAS 442, 1805 (equations 20 to 29, coefficients of its Table 2).
//!
//! The mean optical depth at an observed wavelength has four parts: Lyman
//! series and Lyman continuum, each from the Lyman-alpha forest (LAF) and from
//! damped systems (DLA).

use super::LYMAN_LIMIT_ANGSTROM;
use outshine_kernels::{lanes, scalar};

/// Table 2 of the paper: wavelength (Angstrom); LAF coefficients 1, 2, 3; DLA coefficients 1, 2.
#[rustfmt::skip]
pub(super) const SERIES: [[f64; 6]; 39] = [
    [1215.670, 1.690e-02, 2.354e-03, 1.026e-04, 1.617e-04, 5.390e-05],
    [1025.720, 4.692e-03, 6.536e-04, 2.849e-05, 1.545e-04, 5.151e-05],
    [972.537, 2.239e-03, 3.119e-04, 1.360e-05, 1.498e-04, 4.992e-05],
    [949.743, 1.319e-03, 1.837e-04, 8.010e-06, 1.460e-04, 4.868e-05],
    [937.803, 8.707e-04, 1.213e-04, 5.287e-06, 1.429e-04, 4.763e-05],
    [930.748, 6.178e-04, 8.606e-05, 3.752e-06, 1.402e-04, 4.672e-05],
    [926.226, 4.609e-04, 6.421e-05, 2.799e-06, 1.377e-04, 4.590e-05],
    [923.150, 3.569e-04, 4.971e-05, 2.167e-06, 1.355e-04, 4.516e-05],
    [920.963, 2.843e-04, 3.960e-05, 1.726e-06, 1.335e-04, 4.448e-05],
    [919.352, 2.318e-04, 3.229e-05, 1.407e-06, 1.316e-04, 4.385e-05],
    [918.129, 1.923e-04, 2.679e-05, 1.168e-06, 1.298e-04, 4.326e-05],
    [917.181, 1.622e-04, 2.259e-05, 9.847e-07, 1.281e-04, 4.271e-05],
    [916.429, 1.385e-04, 1.929e-05, 8.410e-07, 1.265e-04, 4.218e-05],
    [915.824, 1.196e-04, 1.666e-05, 7.263e-07, 1.250e-04, 4.168e-05],
    [915.329, 1.043e-04, 1.453e-05, 6.334e-07, 1.236e-04, 4.120e-05],
    [914.919, 9.174e-05, 1.278e-05, 5.571e-07, 1.222e-04, 4.075e-05],
    [914.576, 8.128e-05, 1.132e-05, 4.936e-07, 1.209e-04, 4.031e-05],
    [914.286, 7.251e-05, 1.010e-05, 4.403e-07, 1.197e-04, 3.989e-05],
    [914.039, 6.505e-05, 9.062e-06, 3.950e-07, 1.185e-04, 3.949e-05],
    [913.826, 5.868e-05, 8.174e-06, 3.563e-07, 1.173e-04, 3.910e-05],
    [913.641, 5.319e-05, 7.409e-06, 3.230e-07, 1.162e-04, 3.872e-05],
    [913.480, 4.843e-05, 6.746e-06, 2.941e-07, 1.151e-04, 3.836e-05],
    [913.339, 4.427e-05, 6.167e-06, 2.689e-07, 1.140e-04, 3.800e-05],
    [913.215, 4.063e-05, 5.660e-06, 2.467e-07, 1.130e-04, 3.766e-05],
    [913.104, 3.738e-05, 5.207e-06, 2.270e-07, 1.120e-04, 3.732e-05],
    [913.006, 3.454e-05, 4.811e-06, 2.097e-07, 1.110e-04, 3.700e-05],
    [912.918, 3.199e-05, 4.456e-06, 1.943e-07, 1.101e-04, 3.668e-05],
    [912.839, 2.971e-05, 4.139e-06, 1.804e-07, 1.091e-04, 3.637e-05],
    [912.768, 2.766e-05, 3.853e-06, 1.680e-07, 1.082e-04, 3.607e-05],
    [912.703, 2.582e-05, 3.596e-06, 1.568e-07, 1.073e-04, 3.578e-05],
    [912.645, 2.415e-05, 3.364e-06, 1.466e-07, 1.065e-04, 3.549e-05],
    [912.592, 2.263e-05, 3.153e-06, 1.375e-07, 1.056e-04, 3.521e-05],
    [912.543, 2.126e-05, 2.961e-06, 1.291e-07, 1.048e-04, 3.493e-05],
    [912.499, 2.000e-05, 2.785e-06, 1.214e-07, 1.040e-04, 3.466e-05],
    [912.458, 1.885e-05, 2.625e-06, 1.145e-07, 1.032e-04, 3.440e-05],
    [912.420, 1.779e-05, 2.479e-06, 1.080e-07, 1.024e-04, 3.414e-05],
    [912.385, 1.682e-05, 2.343e-06, 1.022e-07, 1.017e-04, 3.389e-05],
    [912.353, 1.593e-05, 2.219e-06, 9.673e-08, 1.009e-04, 3.364e-05],
    [912.324, 1.510e-05, 2.103e-06, 9.169e-08, 1.002e-04, 3.339e-05],
];

/// Optical depth of one line at x = lambda_obs / lambda_j.
pub(super) fn line_depth(line: &[f64; 6], x: f64) -> f64 {
    if x <= 1.0 {
        return 0.0;
    }
    let [_, laf1, laf2, laf3, dla1, dla2] = *line;
    let forest = if x < 2.2 {
        laf1 * scalar::pow(x, 1.2)
    } else if x < 5.7 {
        laf2 * scalar::pow(x, 3.7)
    } else {
        laf3 * scalar::pow(x, 5.5)
    };
    let damped = if x < 3.0 { dla1 * x * x } else { dla2 * x * x * x };
    forest + damped
}

/// Powers of 1 + z that the Lyman continuum needs.
pub(super) struct Continuum {
    z: f64,
    laf: f64,
    dla: (f64, f64),
}

impl Continuum {
    pub fn new(z: f64) -> Self {
        let power = |exponent: f64| scalar::pow(1.0 + z, exponent);
        let laf = match z {
            z if z < 1.2 => power(-0.9),
            z if z < 4.7 => 2.55e-2 * power(1.6),
            _ => 5.22e-4 * power(3.4),
        };
        let dla = if z < 2.0 {
            (0.211 * power(2.0), 7.66e-2 * power(2.3))
        } else {
            (4.70e-2 * power(3.0), 1.78e-2 * power(3.3))
        };
        Self { z, laf, dla }
    }

    /// Optical depth at x = lambda_obs / 911.8 A, given ln x; zero outside 1 < x < 1 + z.
    pub fn depth(&self, ln_x: f64) -> f64 {
        let x = lanes::exp_f64(ln_x);
        if x <= 1.0 || x >= 1.0 + self.z {
            return 0.0;
        }
        let power = |exponent: f64| lanes::exp_f64(exponent * ln_x);
        let x21 = power(2.1);
        let forest = if self.z < 1.2 {
            0.325 * (power(1.2) - self.laf * x21)
        } else if self.z < 4.7 {
            if x < 2.2 {
                self.laf * x21 + 0.325 * power(1.2) - 0.250 * x21
            } else {
                self.laf * x21 - 2.55e-2 * power(3.7)
            }
        } else if x < 2.2 {
            self.laf * x21 + 0.325 * power(1.2) - 3.14e-2 * x21
        } else if x < 5.7 {
            self.laf * x21 + 0.218 * x21 - 2.55e-2 * power(3.7)
        } else {
            self.laf * x21 - 5.22e-4 * power(5.5)
        };
        let (near, slope) = self.dla;
        let x03 = power(-0.3);
        let damped = if self.z < 2.0 {
            near - slope * x03 - 0.135 * x * x
        } else if x < 3.0 {
            0.634 + near - slope * x03 - 0.135 * x * x - 0.291 * x03
        } else {
            near - slope * x03 - 2.92e-2 * x * x * x
        };
        (forest + damped).max(0.0)
    }
}

/// Mean transmission at rest wavelength `rest_angstrom` for a source at
/// redshift `z`: the slow, direct form.
#[must_use]
pub fn inoue_transmission(rest_angstrom: f64, z: f64) -> f64 {
    let observed = rest_angstrom * (1.0 + z);
    let mut depth = 0.0;
    for line in SERIES.iter().filter(|line| rest_angstrom < line[0]) {
        depth += line_depth(line, observed / line[0]);
    }
    if rest_angstrom < LYMAN_LIMIT_ANGSTROM {
        depth += Continuum::new(z).depth(scalar::ln(observed / LYMAN_LIMIT_ANGSTROM));
    }
    scalar::exp(-depth)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mean Lyman-alpha depth just blueward of the line, equation 21 by hand.
    #[test]
    fn forest_depth_by_hand() {
        // z = 3: x = 4, LAF 2.354e-3 * 4^3.7, DLA 5.390e-5 * 4^3.
        let expected = 2.354e-3 * 4f64.powf(3.7) + 5.390e-5 * 64.0;
        let got = -inoue_transmission(1215.66, 3.0).ln();
        // 1215.66 A is 1e-5 blueward of the line: x is lower by as much.
        assert!((got / expected - 1.0).abs() < 1e-4, "{got} {expected}");
        assert_eq!(inoue_transmission(1216.0, 6.0), 1.0);
    }

    #[test]
    fn transmission_falls_with_redshift() {
        for rest in [1200.0, 1000.0] {
            let t: Vec<f64> = (1..8).map(|z| inoue_transmission(rest, f64::from(z))).collect();
            assert!(t.windows(2).all(|w| w[1] < w[0]), "{t:?}");
        }
        // Nothing is left of the Lyman-alpha forest at z = 7 (Gunn-Peterson).
        assert!(inoue_transmission(1200.0, 7.0) < 1e-3);
    }
}
