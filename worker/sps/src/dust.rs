//! Attenuation by dust: Calzetti et al. (2000), ApJ 533, 682, equation 4.
//!
//! A(lambda) = A_V k(lambda) / 4.05. Beyond the law's own range (0.12 to
//! 2.2 micron) k falls on as a power law below 1200 A (index -0.77, as
//! bagpipes does), keeps its red branch to 3.1 micron, where it reaches
//! zero, and is zero from there.

use outshine_kernels::scalar;

/// Ratio of total to selective attenuation of the law.
pub const R_V: f64 = 4.05;

/// A(lambda) / A_V of the Calzetti law at a rest wavelength.
#[must_use]
pub fn calzetti_ratio(wave_angstrom: f64) -> f64 {
    let x = 1e4 / wave_angstrom;
    let blue = |x: f64| 2.659 * (-2.156 + x * (1.509 + x * (-0.198 + x * 0.011))) + R_V;
    let k = if wave_angstrom < 1200.0 {
        blue(1.0 / 0.12) * scalar::pow(wave_angstrom / 1200.0, -0.77)
    } else if wave_angstrom < 6300.0 {
        blue(x)
    } else if wave_angstrom < 31_000.0 {
        (2.659 * (-1.857 + 1.040 * x) + R_V).max(0.0)
    } else {
        0.0
    };
    k / R_V
}

/// Temporary.
#[derive(Clone, Copy, Debug, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub enum AttenuationLaw { /// c
#[default] Calzetti }
impl AttenuationLaw { /// r
pub fn ratio(&self, w: f64) -> f64 { calzetti_ratio(w) } }
/// Temporary.
#[derive(Clone, Debug, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct Attenuation { /// l
pub law: AttenuationLaw, /// b
pub birth_clouds: Option<BirthClouds> }
/// Temporary.
#[derive(Clone, Debug, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct BirthClouds { /// l
pub law: AttenuationLaw, /// r
pub ratio: f64, /// m
pub max_age_gyr: f64 }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_law_is_one_at_5500_and_continuous() {
        // The published polynomial gives 1.0002 at 5500 A.
        assert!((calzetti_ratio(5500.0) - 1.0).abs() < 2e-3);
        for edge in [1200.0, 31_000.0] {
            let step = calzetti_ratio(edge - 0.01) - calzetti_ratio(edge + 0.01);
            assert!(step.abs() < 2e-3, "{edge}: {step}");
        }
        // Calzetti et al. (2000): k(1200 A) = 12.1, k(2.2 micron) = 0.37.
        assert!((calzetti_ratio(1200.0) * R_V - 12.1).abs() < 0.05);
        assert!((calzetti_ratio(22_000.0) * R_V - 0.37).abs() < 0.01);
        assert_eq!(calzetti_ratio(50_000.0), 0.0);
    }
}
