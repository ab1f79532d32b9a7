//! The attenuation laws: A(lambda) / A_V at a rest wavelength.

use crate::error::SpsError;
use outshine_kernels::scalar;
use serde::{Deserialize, Serialize};

/// Ratio of total to selective attenuation of the Calzetti law.
pub const R_V: f64 = 4.05;

/// How attenuation depends on wavelength.
///
/// Serialised with a tag: `{"law": "salim", "slope": -0.3, "bump": 1.0}`;
/// fields of another law are refused.
#[derive(Clone, Copy, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "law", rename_all = "snake_case", try_from = "RawLaw")]
pub enum AttenuationLaw {
    /// Calzetti et al. (2000).
    #[default]
    Calzetti,
    /// Bar of the Small Magellanic Cloud, Gordon et al. (2003).
    Smc,
    /// Milky Way, Cardelli, Clayton & Mathis (1989) with R_V = 3.1.
    Cardelli,
    /// (lambda / 5500 A)^slope; Charlot & Fall (2000) have a slope of -0.7.
    PowerLaw {
        /// Exponent, -3 to 0.
        slope: f64,
    },
    /// Calzetti law with a tilt and a bump at 2175 A, Salim et al. (2018).
    Salim {
        /// Exponent of the tilt, -2 to 0.6; 0: as steep as Calzetti.
        slope: f64,
        /// Strength of the bump in k(lambda), 0 to 10; the Milky Way has about 3.
        bump: f64,
    },
}

/// What a law looks like in a setting.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLaw {
    law: RawName,
    slope: Option<f64>,
    bump: Option<f64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawName {
    Calzetti,
    Smc,
    Cardelli,
    PowerLaw,
    Salim,
}

impl TryFrom<RawLaw> for AttenuationLaw {
    type Error = String;

    fn try_from(raw: RawLaw) -> Result<Self, String> {
        Ok(match (raw.law, raw.slope, raw.bump) {
            (RawName::Calzetti, None, None) => Self::Calzetti,
            (RawName::Smc, None, None) => Self::Smc,
            (RawName::Cardelli, None, None) => Self::Cardelli,
            (RawName::PowerLaw, Some(slope), None) => Self::PowerLaw { slope },
            (RawName::Salim, Some(slope), Some(bump)) => Self::Salim { slope, bump },
            (RawName::PowerLaw, ..) => return Err("law power_law has `slope` alone".to_owned()),
            (RawName::Salim, ..) => return Err("law salim has `slope` and `bump`".to_owned()),
            _ => return Err("this law has neither `slope` nor `bump`".to_owned()),
        })
    }
}

impl AttenuationLaw {
    /// A(lambda) / A_V at a rest wavelength, Angstrom: 1 at 5500 A (Calzetti's
    /// and Cardelli's published fits give 0.9995 and 0.9989).
    #[must_use]
    pub fn ratio(&self, wave_angstrom: f64) -> f64 {
        match *self {
            Self::Calzetti => calzetti_ratio(wave_angstrom),
            Self::Smc => smc(wave_angstrom),
            Self::Cardelli => cardelli(wave_angstrom),
            Self::PowerLaw { slope } => scalar::pow(wave_angstrom / 5500.0, slope),
            Self::Salim { slope, bump } => salim(wave_angstrom, slope, bump),
        }
    }

    /// Checks the parameters of the law.
    ///
    /// # Errors
    /// [`SpsError::Setting`] naming the one out of range.
    pub fn validate(&self) -> Result<(), SpsError> {
        let check = |field: &str, value: f64, low: f64, high: f64| {
            if value >= low && value <= high {
                return Ok(());
            }
            Err(SpsError::setting(field, format!("{value} is outside {low} to {high}")))
        };
        match *self {
            Self::Calzetti | Self::Smc | Self::Cardelli => Ok(()),
            Self::PowerLaw { slope } => check("attenuation.slope", slope, -3.0, 0.0),
            Self::Salim { slope, bump } => check("attenuation.slope", slope, -2.0, 0.6)
                .and_then(|()| check("attenuation.bump", bump, 0.0, 10.0)),
        }
    }
}

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

/// k = k_Calzetti (R_V,mod / 4.05) (lambda / 5500)^slope + Drude bump, over R_V,mod.
fn salim(wave_angstrom: f64, slope: f64, bump: f64) -> f64 {
    let r_v = R_V / ((R_V + 1.0) * scalar::pow(4400.0 / 5500.0, slope) - R_V);
    let width = 350.0 * wave_angstrom;
    let off = wave_angstrom * wave_angstrom - 2175.0 * 2175.0;
    let drude = bump * width * width / (off * off + width * width);
    calzetti_ratio(wave_angstrom) * scalar::pow(wave_angstrom / 5500.0, slope) + drude / r_v
}

/// Polynomial with rising powers.
fn polynomial(coefficients: &[f64], x: f64) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, c| sum * x + c)
}

/// a(x) + b(x) / 3.1, x in 1 / micron.
fn cardelli(wave_angstrom: f64) -> f64 {
    let x = (1e4 / wave_angstrom).min(10.0);
    let (a, b) = if x < 1.1 {
        let power = scalar::pow(x, 1.61);
        (0.574 * power, -0.527 * power)
    } else if x < 3.3 {
        let y = x - 1.82;
        (
            polynomial(&[1.0, 0.17699, -0.50447, -0.02427, 0.72085, 0.01979, -0.77530, 0.32999], y),
            polynomial(&[0.0, 1.41338, 2.28305, 1.07233, -5.38434, -0.62251, 5.30260, -2.09002], y),
        )
    } else if x <= 8.0 {
        let far = (x - 5.9).max(0.0);
        let bump_a = (x - 4.67) * (x - 4.67) + 0.341;
        let bump_b = (x - 4.62) * (x - 4.62) + 0.263;
        (
            1.752 - 0.316 * x - 0.104 / bump_a - far * far * (0.04473 + 0.009_779 * far),
            -3.090 + 1.825 * x + 1.206 / bump_b + far * far * (0.2130 + 0.1207 * far),
        )
    } else {
        let y = x - 8.0;
        (
            polynomial(&[-1.073, -0.628, 0.137, -0.070], y),
            polynomial(&[13.670, 4.257, -0.420, 0.374], y),
        )
    };
    a + b / 3.1
}

/// Redward of 2760 A: (x in 1 / micron, A(lambda) / A_V) of the SMC bar, Table 4
/// of Gordon et al. (2003), with the values at 1.25 and 2.198 micron of Gordon
/// et al. (2016), ApJ 826, 104.
const SMC_RED: [(f64, f64); 9] = [
    (1.0 / 2.198, 0.11),
    (1.0 / 1.65, 0.169),
    (1.0 / 1.25, 0.25),
    (1.0 / 0.81, 0.567),
    (1.0 / 0.65, 0.801),
    (1.0 / 0.55, 1.0),
    (1.0 / 0.44, 1.374),
    (1.0 / 0.37, 1.672),
    (1.0 / 0.296, 2.0),
];

/// The fit of the SMC bar, Table 3 of Gordon et al. (2003): x in 1 / micron.
fn smc_ultraviolet(x: f64) -> f64 {
    let off = x * x - 4.6 * 4.6;
    let drude = x * x / (off * off + x * x);
    let far = (x - 5.9).max(0.0);
    let rise = far * far * (0.5392 + 0.056_44 * far);
    1.0 + (-4.959 + 2.264 * x + 0.389 * drude + 0.461 * rise) / 2.74
}

fn smc(wave_angstrom: f64) -> f64 {
    let x = (1e4 / wave_angstrom).min(10.0);
    let (first, end) = (SMC_RED[0], (1.0 / 0.276, smc_ultraviolet(1.0 / 0.276)));
    if x >= end.0 {
        return smc_ultraviolet(x);
    }
    if x < first.0 {
        return first.1 * scalar::pow(x / first.0, 1.61);
    }
    let above = SMC_RED.partition_point(|&(at, _)| at <= x);
    let (x0, y0) = SMC_RED[above - 1];
    let (x1, y1) = SMC_RED.get(above).copied().unwrap_or(end);
    y0 + (y1 - y0) * (x - x0) / (x1 - x0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use AttenuationLaw::{Calzetti, Cardelli, PowerLaw, Salim, Smc};

    #[test]
    fn calzetti_by_its_published_values() {
        // The published polynomial gives 0.9995 at 5500 A.
        assert!((calzetti_ratio(5500.0) - 0.9995).abs() < 5e-5);
        // Calzetti et al. (2000): k(1200 A) = 12.1, k(2.2 micron) = 0.37.
        assert!((calzetti_ratio(1200.0) * R_V - 12.1).abs() < 0.05);
        assert!((calzetti_ratio(22_000.0) * R_V - 0.37).abs() < 0.01);
        assert_eq!(calzetti_ratio(50_000.0), 0.0);
    }

    /// A / A_V at x = 10, 9 ... 1 / micron for R_V = 3.1 as the astropy-affiliated
    /// package dust_extinction tabulates it, there from equations 2 to 5 of the paper.
    #[test]
    fn cardelli_against_another_code() {
        let values = [
            (10.0, 5.238_354_84),
            (9.0, 4.134_064_52),
            (8.0, 3.336_859_33),
            (7.0, 2.779_624_53),
            (6.0, 2.521_953_99),
            (5.0, 2.842_526_44),
            (4.6, 3.185_989_16),
            (4.0, 2.315_317_11),
            (3.0, 1.642_549_27),
            (2.27, 1.322_578_36),
            (1.82, 1.0),
            (1.43, 0.751_259_94),
            (0.8, 0.282_069_57),
            (0.46, 0.115_723_48),
        ];
        for (x, expected) in values {
            let got = Cardelli.ratio(1e4 / x);
            // Both are double precision; the table has nine digits.
            assert!((got - expected).abs() < 1e-7, "x = {x}: {got} {expected}");
        }
    }

    /// Table 4 of Gordon et al. (2003), whose errors are 2 to 6 %.
    #[test]
    fn smc_by_its_published_table() {
        let table = [
            (0.55, 1.0),
            (0.44, 1.374),
            (0.276, 2.220),
            (0.242, 2.661),
            (0.216, 3.161),
            (0.186, 3.637),
            (0.163, 4.243),
            (0.151, 4.776),
            (0.140, 5.272),
            (0.131, 5.795),
            (0.123, 6.297),
            (0.116, 6.992),
        ];
        for (micron, expected) in table {
            let got = Smc.ratio(micron * 1e4);
            // The fit to the ultraviolet passes the table's points by up to 3 %.
            assert!((got / expected - 1.0).abs() < 0.03, "{micron}: {got} {expected}");
        }
        // Steep: A(1500) / A_V twice that of Calzetti, as the SMC is known for.
        let ratio = Smc.ratio(1500.0) / Calzetti.ratio(1500.0);
        assert!(ratio > 1.7 && ratio < 2.1, "{ratio}");
    }

    #[test]
    fn power_law_by_hand() {
        let law = PowerLaw { slope: -0.7 };
        assert_eq!(law.ratio(5500.0), 1.0);
        assert!((law.ratio(1375.0) - 4f64.powf(0.7)).abs() < 1e-12);
        assert!((law.ratio(55_000.0) - 0.199_526_231_5).abs() < 1e-9);
    }

    #[test]
    fn salim_by_hand() {
        for wave in [60.0, 900.0, 1500.0, 2175.0, 5500.0, 20_000.0, 90_000.0] {
            let same = Salim { slope: 0.0, bump: 0.0 }.ratio(wave);
            assert!((same - Calzetti.ratio(wave)).abs() < 1e-12, "{wave}");
        }
        // Slope -0.5: R_V = 4.05 / (5.05 * 0.8^-0.5 - 4.05) = 2.5375.
        let r_v = 4.05 / (5.05 / 0.8f64.sqrt() - 4.05);
        assert!((r_v - 2.5375).abs() < 1e-4);
        // On the bump's centre the Drude profile is its strength.
        let with = Salim { slope: -0.5, bump: 3.0 }.ratio(2175.0);
        let without = Calzetti.ratio(2175.0) * (5500.0f64 / 2175.0).sqrt();
        assert!((with - without - 3.0 / r_v).abs() < 1e-12);
        // Half of it where |lambda^2 - 2175^2| = 350 lambda: 175 A off, nearly.
        let wave = 175.0 + (175.0f64 * 175.0 + 2175.0 * 2175.0).sqrt();
        let bump = Salim { slope: 0.0, bump: 2.0 }.ratio(wave) - Calzetti.ratio(wave);
        assert!((bump * R_V - 1.0).abs() < 1e-9, "{bump}");
        // R_V is what the tilted law has: A_V / (A_B - A_V), with V at 5500 and B at 4400 A,
        // but for E(B - V) of the Calzetti polynomial itself (0.986).
        let tilted = Salim { slope: -0.5, bump: 0.0 };
        let measured = 1.0 / (tilted.ratio(4400.0) / tilted.ratio(5500.0) - 1.0);
        assert!((measured / r_v - 1.0).abs() < 0.02, "{measured} {r_v}");
    }

    const LAWS: [AttenuationLaw; 8] = [
        Calzetti,
        Smc,
        Cardelli,
        PowerLaw { slope: -0.7 },
        PowerLaw { slope: -1.3 },
        Salim { slope: -1.2, bump: 0.0 },
        Salim { slope: 0.4, bump: 6.0 },
        Salim { slope: 0.0, bump: 3.0 },
    ];

    #[test]
    fn laws_are_one_at_5500_and_continuous() {
        for law in LAWS {
            law.validate().unwrap();
            let at_v = law.ratio(5500.0);
            let bump = if let Salim { bump, .. } = law { 0.01 * bump } else { 0.0 };
            // The published fits miss 1 by 1.2e-3 at most; the wing of the bump at
            // 5500 A is 0.6 % of its strength over R_V.
            assert!((at_v - 1.0).abs() < 1.5e-3 + bump, "{law:?}: {at_v}");
            // 60 A to 10 micron in steps of 1e-4: the steepest law changes by 2.3e-4 of
            // itself, and Calzetti's published branches miss each other by 0.0061 at
            // 6300 A (Cardelli's by 0.0003).
            let mut last = law.ratio(60.0);
            let mut wave = 60.0;
            while wave < 1e5 {
                wave *= 1.0001;
                let now = law.ratio(wave);
                assert!(now.is_finite() && now >= 0.0, "{law:?} at {wave}: {now}");
                let bound = 0.0063 + 2.5e-4 * last;
                assert!((now - last).abs() < bound, "{law:?} at {wave}: {last} {now}");
                last = now;
            }
        }
    }

    #[test]
    fn settings_are_read_and_checked() {
        for law in LAWS {
            let text = serde_json::to_string(&law).unwrap();
            assert_eq!(serde_json::from_str::<AttenuationLaw>(&text).unwrap(), law, "{text}");
        }
        let read = |text: &str| serde_json::from_str::<AttenuationLaw>(text);
        let salim = read(r#"{"law": "salim", "slope": -1, "bump": 2}"#).unwrap();
        assert_eq!(salim, Salim { slope: -1.0, bump: 2.0 });
        for bad in [
            r#"{"law": "calzetti", "slope": -1}"#,
            r#"{"law": "power_law"}"#,
            r#"{"law": "power_law", "slope": -1, "bump": 1}"#,
            r#"{"law": "salim", "slope": 0}"#,
            r#"{"law": "smc", "colour": 1}"#,
            r#"{"law": "noll"}"#,
            "{}",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        for (law, field) in [
            (PowerLaw { slope: 0.1 }, "slope"),
            (PowerLaw { slope: f64::NAN }, "slope"),
            (Salim { slope: 0.7, bump: 0.0 }, "slope"),
            (Salim { slope: 0.0, bump: -1.0 }, "bump"),
        ] {
            let error = law.validate().unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }
}
