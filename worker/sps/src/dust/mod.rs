//! Attenuation by dust: flux is multiplied by 10^(-0.4 A_V k(lambda)), with
//! k = A(lambda) / A_V of one of these laws.
//!
//! | law | k(lambda) |
//! | --- | --- |
//! | Calzetti | Calzetti et al. (2000), ApJ 533, 682, equation 4: k = k' / 4.05. Below its range (1200 A) a power law of index -0.77, as bagpipes has it; the red branch goes on to 3.1 micron, where it reaches zero |
//! | Smc | Gordon et al. (2003), ApJ 594, 279: the fit to the bar's average (Table 3) blueward of 2760 A, its points (Table 4) joined in 1 / lambda redward, lambda^-1.61 beyond 2.2 micron, constant below 1000 A |
//! | Cardelli | Cardelli, Clayton & Mathis (1989), ApJ 345, 245, equations 2 to 5 with R_V = 3.1; constant below 1000 A, where the fit ends |
//! | PowerLaw | (lambda / 5500 A)^slope: Charlot & Fall (2000), ApJ 539, 718 |
//! | Salim | Noll et al. (2009), A&A 507, 1793; Salim, Boquien & Lee (2018), ApJ 859, 11: Calzetti times (lambda / 5500 A)^slope, plus a Drude profile at 2175 A, 350 A wide; R_V follows from the slope |
//!
//! With birth clouds (Charlot & Fall 2000) stars younger than an age, and the
//! gas that they ionise, also see the dust of the clouds:
//! A(lambda) = A_V (k_diffuse + ratio k_clouds).

mod laws;

pub use laws::{AttenuationLaw, R_V, calzetti_ratio};

use crate::error::SpsError;
use serde::{Deserialize, Serialize};

/// Dust in front of a stellar population.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Attenuation {
    /// Law of the dust in front of all stars.
    pub law: AttenuationLaw,
    /// What young stars see besides; none: nothing.
    pub birth_clouds: Option<BirthClouds>,
}

/// Dust of the clouds in which stars are born.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BirthClouds {
    /// Law of the dust of the clouds.
    pub law: AttenuationLaw,
    /// A_V of the clouds over that of the diffuse dust, 0 to 10.
    pub ratio: f64,
    /// Age at which stars leave their clouds, Gyr: above 0, up to 1.
    pub max_age_gyr: f64,
}

impl Default for BirthClouds {
    /// As much dust in the clouds as in front of them, slope -0.7, 10 Myr.
    fn default() -> Self {
        Self { law: AttenuationLaw::PowerLaw { slope: -0.7 }, ratio: 1.0, max_age_gyr: 0.01 }
    }
}

impl Attenuation {
    /// A(lambda) / A_V of the diffuse dust, at a rest wavelength.
    #[must_use]
    pub fn diffuse_ratio(&self, wave_angstrom: f64) -> f64 {
        self.law.ratio(wave_angstrom)
    }

    /// A(lambda) / A_V in front of stars in their birth clouds, where A_V is
    /// that of the diffuse dust.
    #[must_use]
    pub fn young_ratio(&self, wave_angstrom: f64) -> f64 {
        let clouds = self.birth_clouds.as_ref();
        self.law.ratio(wave_angstrom) + clouds.map_or(0.0, |c| c.ratio * c.law.ratio(wave_angstrom))
    }

    /// Checks all parameters.
    ///
    /// # Errors
    /// [`SpsError::Setting`] naming the one out of range.
    pub fn validate(&self) -> Result<(), SpsError> {
        self.law.validate()?;
        let Some(clouds) = &self.birth_clouds else {
            return Ok(());
        };
        clouds.law.validate()?;
        if !(clouds.ratio >= 0.0 && clouds.ratio <= 10.0) {
            let problem = format!("{} is outside 0 to 10", clouds.ratio);
            return Err(SpsError::setting("attenuation.birth_clouds.ratio", problem));
        }
        if !(clouds.max_age_gyr > 0.0 && clouds.max_age_gyr <= 1.0) {
            let problem = format!("{} is not above 0 and up to 1 Gyr", clouds.max_age_gyr);
            return Err(SpsError::setting("attenuation.birth_clouds.max_age_gyr", problem));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn young_stars_see_both_dusts() {
        let plain = Attenuation::default();
        assert_eq!(plain.young_ratio(1500.0).to_bits(), calzetti_ratio(1500.0).to_bits());
        let clouds = BirthClouds { ratio: 2.0, ..BirthClouds::default() };
        let both = Attenuation { birth_clouds: Some(clouds), ..plain };
        both.validate().unwrap();
        assert_eq!(both.diffuse_ratio(2750.0).to_bits(), calzetti_ratio(2750.0).to_bits());
        let expected = calzetti_ratio(2750.0) + 2.0 * 2f64.powf(0.7);
        assert!((both.young_ratio(2750.0) - expected).abs() < 1e-12);
    }

    #[test]
    fn settings_are_read_and_checked() {
        let read = |text: &str| serde_json::from_str::<Attenuation>(text);
        assert_eq!(read("{}").unwrap(), Attenuation::default());
        let text = r#"{"law": {"law": "smc"}, "birth_clouds": {"ratio": 0.5}}"#;
        let both = read(text).unwrap();
        assert_eq!(both.law, AttenuationLaw::Smc);
        let expected = BirthClouds { ratio: 0.5, ..BirthClouds::default() };
        assert_eq!(both.birth_clouds, Some(expected));
        assert_eq!(read(&serde_json::to_string(&both).unwrap()).unwrap(), both);
        assert!(read(r#"{"slope": 1}"#).is_err());
        assert!(read(r#"{"birth_clouds": {"age": 1}}"#).is_err());
        let steep = AttenuationLaw::PowerLaw { slope: -9.0 };
        for (bad, field) in [
            (BirthClouds { ratio: -1.0, ..BirthClouds::default() }, "ratio"),
            (BirthClouds { ratio: f64::NAN, ..BirthClouds::default() }, "ratio"),
            (BirthClouds { max_age_gyr: 0.0, ..BirthClouds::default() }, "max_age_gyr"),
            (BirthClouds { law: steep, ..BirthClouds::default() }, "slope"),
        ] {
            let bad = Attenuation { birth_clouds: Some(bad), ..Attenuation::default() };
            let error = bad.validate().unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }
}
