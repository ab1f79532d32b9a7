//! Flat LCDM with H0 = 70 km/s/Mpc and Om = 0.3.
//!
//! Cosmic age in closed form: t(z) = 2 / (3 H0 sqrt(OL)) asinh( sqrt(OL/Om) (1+z)^(-3/2) ).
//! Luminosity distance: D_L = (1+z) c/H0 int_0^z dz' / sqrt(Om (1+z')^3 + OL).

use outshine_kernels::scalar;

/// Hubble constant, km/s/Mpc.
pub const H0_KM_S_MPC: f64 = 70.0;
/// Matter density.
pub const OMEGA_M: f64 = 0.3;
/// Density of the cosmological constant.
pub const OMEGA_LAMBDA: f64 = 1.0 - OMEGA_M;
/// Speed of light, km/s.
pub const LIGHT_KM_S: f64 = 299_792.458;
/// Kilometres in a megaparsec (IAU 2015).
const KM_PER_MPC: f64 = 3.085_677_581_491_367e19;
/// Seconds in 1e9 Julian years.
const SECONDS_PER_GYR: f64 = 3.155_76e16;

/// Age of the Universe at redshift `z`, Gyr.
#[must_use]
pub fn age_gyr(z: f64) -> f64 {
    let hubble_time_gyr = KM_PER_MPC / (H0_KM_S_MPC * SECONDS_PER_GYR);
    let a = 1.0 / (1.0 + z);
    let x = (OMEGA_LAMBDA / OMEGA_M).sqrt() * a * a.sqrt();
    2.0 / (3.0 * OMEGA_LAMBDA.sqrt()) * hubble_time_gyr * scalar::asinh(x)
}

/// Nodes (positive half) and weights of the 16-point Gauss-Legendre rule.
const GAUSS: [(f64, f64); 8] = [
    (0.095_012_509_837_637_44, 0.189_450_610_455_068_5),
    (0.281_603_550_779_258_9, 0.182_603_415_044_923_6),
    (0.458_016_777_657_227_4, 0.169_156_519_395_002_54),
    (0.617_876_244_402_643_7, 0.149_595_988_816_576_73),
    (0.755_404_408_355_003, 0.124_628_971_255_533_87),
    (0.865_631_202_387_831_7, 0.095_158_511_682_492_78),
    (0.944_575_023_073_232_6, 0.062_253_523_938_647_89),
    (0.989_400_934_991_649_9, 0.027_152_459_411_754_095),
];

/// Luminosity distance, Mpc; relative error below 1e-9 for 0 <= z <= 20.
#[must_use]
pub fn luminosity_distance_mpc(z: f64) -> f64 {
    // In u = ln(1+z) the integrand (1+z) / E(z) is smooth: two panels of 16 points.
    let end = scalar::ln_1p(z);
    let half = 0.25 * end;
    let mut sum = 0.0;
    for panel in 0..2 {
        let mid = half * (2 * panel + 1) as f64;
        for (node, weight) in GAUSS {
            for u in [mid - half * node, mid + half * node] {
                let one_plus_z = scalar::exp(u);
                let cube = one_plus_z * one_plus_z * one_plus_z;
                sum += weight * one_plus_z / (OMEGA_M * cube + OMEGA_LAMBDA).sqrt();
            }
        }
    }
    (1.0 + z) * LIGHT_KM_S / H0_KM_S_MPC * half * sum
}

/// Slope of the comoving distance in ln(1 + z) at `ln_one_plus_z`, Mpc.
#[must_use]
pub fn comoving_slope_mpc(ln_one_plus_z: f64) -> f64 {
    let one_plus_z = scalar::exp(ln_one_plus_z);
    let cube = one_plus_z * one_plus_z * one_plus_z;
    LIGHT_KM_S / H0_KM_S_MPC * one_plus_z / (OMEGA_M * cube + OMEGA_LAMBDA).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of astropy 6 `FlatLambdaCDM(70, 0.3)` (no radiation).
    #[test]
    fn published_values() {
        for (z, age, distance) in ASTROPY {
            assert!((age_gyr(z) / age - 1.0).abs() < 1e-6, "age at {z}: {}", age_gyr(z));
            let d = luminosity_distance_mpc(z);
            assert!((d / distance - 1.0).abs() < 1e-6, "distance at {z}: {d}");
        }
    }

    /// Against a plain midpoint sum in z with a million steps.
    #[test]
    fn the_quadrature_has_converged() {
        for z in [0.5, 7.5, 15.0] {
            let n = 1_000_000;
            let h = z / f64::from(n);
            let sum: f64 = (0..n)
                .map(|i| {
                    let a = 1.0 + (f64::from(i) + 0.5) * h;
                    h / (OMEGA_M * a * a * a + OMEGA_LAMBDA).sqrt()
                })
                .sum();
            let expected = (1.0 + z) * LIGHT_KM_S / H0_KM_S_MPC * sum;
            assert!((luminosity_distance_mpc(z) / expected - 1.0).abs() < 1e-9);
        }
    }

    const ASTROPY: [(f64, f64, f64); 4] = [
        (0.1, 12.165686390, 460.29994),
        (1.0, 5.751646943, 6607.65761),
        (3.475, 1.788299195, 30321.91421),
        (7.5, 0.685636032, 74734.90349),
    ];
}
