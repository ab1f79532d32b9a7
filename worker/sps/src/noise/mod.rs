//! The observation model: errors per band and exposure depth, missing bands.
//!
//! The error of a flux f at depth factor d (background error d times a
//! pixel's) and growth factor g is
//! sigma^2 = (d s0)^2 (1 + g max(f, 0) / f0), times a log-normal scatter; the
//! observed flux is f + sigma x (standard normal). So p(x | f, sigma) is a
//! normal distribution, and sigma > 0 by construction.

mod coverage;
mod fit;

pub use coverage::{BandGroup, Coverage};
pub use fit::{JADES_FIVE_SIGMA_NJY, fit_noise};

use crate::error::SpsError;
use outshine_kernels::random::Stream;
use outshine_kernels::scalar;
use serde::{Deserialize, Serialize};

/// Version of the JSON form.
pub const FORMAT_VERSION: u32 = 1;
/// The noise of JADES pixels, fitted by this crate.
const EMBEDDED: &str = include_str!("../../data/noise_jades.json");

/// Errors of one band at one exposure depth.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExposureNoise {
    /// Error of a pixel without flux, nJy.
    pub sigma0_njy: f64,
    /// Flux that doubles the variance, nJy.
    pub doubling_flux_njy: f64,
    /// Scatter of log10 sigma, dex.
    pub scatter_dex: f64,
    /// Share of pixels at this depth.
    pub share: f64,
}

/// Errors of one band.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BandNoise {
    /// Name of the band.
    pub band: String,
    /// Exposure depths, deepest first; at least one.
    pub exposures: Vec<ExposureNoise>,
    /// What the numbers come from.
    pub source: String,
}

/// Errors of every band of a survey.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoiseModel {
    /// [`FORMAT_VERSION`].
    pub version: u32,
    /// One entry per band.
    pub noise: Vec<BandNoise>,
}

/// Under which conditions one object is observed.
#[derive(Clone, Debug, PartialEq)]
pub struct Conditions {
    /// Background error over that of a pixel: sqrt(n) for a sum of n pixels.
    pub depth_factor: f64,
    /// Growth of the variance with flux over that of a pixel: 1 for a pixel,
    /// 1 / n for a sum of n pixels (their flux adds up, and so does the
    /// variance that it brings).
    pub growth_factor: f64,
    /// Index into the exposure depths, per band; beyond the last means the last.
    pub exposure: Vec<u8>,
    /// Whether a band was observed.
    pub observed: Vec<bool>,
    /// Extra log10 of sigma per band, dex: deviating depths.
    pub extra_dex: Vec<f64>,
}

impl Conditions {
    /// Every band of `noise` observed once, at pixel depth, exposure 0.
    #[must_use]
    pub fn nominal(noise: &NoiseModel) -> Self {
        let n = noise.noise.len();
        Self {
            depth_factor: 1.0,
            growth_factor: 1.0,
            exposure: vec![0; n],
            observed: vec![true; n],
            extra_dex: vec![0.0; n],
        }
    }

    /// Marks the bands of a group as not observed.
    pub fn drop_group(&mut self, noise: &NoiseModel, group: &BandGroup) {
        for (entry, observed) in noise.noise.iter().zip(&mut self.observed) {
            *observed &= !group.bands.contains(&entry.band);
        }
    }
}

impl NoiseModel {
    /// The noise of JADES pixels (19 bands).
    ///
    /// # Errors
    /// Never for a build whose tests pass; see [`NoiseModel::from_json`].
    pub fn embedded() -> Result<Self, SpsError> {
        Self::from_json(EMBEDDED)
    }

    /// Reads and checks the JSON form.
    ///
    /// # Errors
    /// [`SpsError::Format`] or [`SpsError::Setting`] saying what is wrong.
    pub fn from_json(text: &str) -> Result<Self, SpsError> {
        let model: Self = serde_json::from_str(text)
            .map_err(|e| SpsError::format("noise model", e.to_string()))?;
        model.validate()?;
        Ok(model)
    }

    /// The JSON form.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers and strings") + "\n"
    }

    /// Checks every number.
    ///
    /// # Errors
    /// [`SpsError::Setting`] naming band and field.
    pub fn validate(&self) -> Result<(), SpsError> {
        if self.version != FORMAT_VERSION {
            let problem = format!("{} is not the {FORMAT_VERSION} this build reads", self.version);
            return Err(SpsError::setting("noise.version", problem));
        }
        for (i, entry) in self.noise.iter().enumerate() {
            let bad =
                |problem: &str| Err(SpsError::setting(&format!("noise.{}", entry.band), problem));
            if self.noise[..i].iter().any(|other| other.band == entry.band) {
                return bad("the band occurs twice");
            }
            if entry.exposures.is_empty() || entry.exposures.len() > 255 {
                return bad("needs 1 to 255 exposure depths");
            }
            for e in &entry.exposures {
                let positive = [e.sigma0_njy, e.doubling_flux_njy];
                if !positive.iter().all(|v| v.is_finite() && *v > 0.0) {
                    return bad("sigma0_njy and doubling_flux_njy must be positive");
                }
                let scatter = e.scatter_dex >= 0.0 && e.scatter_dex < 3.0;
                if !(scatter && (0.0..=1.0).contains(&e.share)) {
                    return bad("scatter_dex must be 0 to 3, share 0 to 1");
                }
            }
        }
        Ok(())
    }

    /// Names of the bands, in order.
    #[must_use]
    pub fn bands(&self) -> Vec<&str> {
        self.noise.iter().map(|entry| entry.band.as_str()).collect()
    }

    /// The same model for given bands in a given order.
    ///
    /// # Errors
    /// [`SpsError::UnknownBand`] listing the known ones; those of
    /// [`NoiseModel::validate`].
    pub fn for_bands<S: AsRef<str>>(&self, bands: &[S]) -> Result<Self, SpsError> {
        self.validate()?;
        let mut noise = Vec::with_capacity(bands.len());
        for band in bands.iter().map(AsRef::as_ref) {
            let found = self.noise.iter().find(|entry| entry.band == band);
            noise.push(found.cloned().ok_or_else(|| SpsError::UnknownBand {
                band: band.to_owned(),
                known: self.bands().join(", "),
            })?);
        }
        Ok(Self { version: self.version, noise })
    }

    /// Median error of a flux, nJy.
    #[must_use]
    pub fn sigma_njy(&self, band: usize, flux_njy: f64, conditions: &Conditions) -> f64 {
        let exposures = &self.noise[band].exposures;
        let class = usize::from(conditions.exposure[band]).min(exposures.len() - 1);
        let e = exposures[class];
        let growth = conditions.growth_factor * flux_njy.max(0.0) / e.doubling_flux_njy;
        let extra = scalar::exp10(conditions.extra_dex[band]);
        conditions.depth_factor * extra * e.sigma0_njy * (1.0 + growth).sqrt()
    }

    /// Observes noiseless fluxes: error and noisy flux per band. A band that
    /// is not observed gets flux 0 and error 0.
    ///
    /// All slices hold one value per band. The stream is advanced alike
    /// whichever bands are observed.
    pub fn observe(
        &self,
        flux_njy: &[f64],
        conditions: &Conditions,
        stream: &mut Stream,
        flux_out: &mut [f32],
        err_out: &mut [f32],
    ) {
        let n = self.noise.len();
        let lengths = [flux_njy.len(), flux_out.len(), err_out.len(), conditions.observed.len()];
        assert!(lengths.iter().all(|&l| l == n), "one value per band");
        for band in 0..n {
            let (spread, noise) = (stream.normal(), stream.normal());
            if !conditions.observed[band] {
                (flux_out[band], err_out[band]) = (0.0, 0.0);
                continue;
            }
            let exposures = &self.noise[band].exposures;
            let class = usize::from(conditions.exposure[band]).min(exposures.len() - 1);
            let scatter = scalar::exp10(exposures[class].scatter_dex * spread);
            let sigma = self.sigma_njy(band, flux_njy[band], conditions) * scatter;
            // The noise is drawn with the error that is handed on, rounding included.
            err_out[band] = (sigma as f32).max(f32::MIN_POSITIVE);
            flux_out[band] = (flux_njy[band] + f64::from(err_out[band]) * noise) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outshine_kernels::random::Purpose;

    #[test]
    fn moments_of_the_noise() {
        let model = NoiseModel::embedded().unwrap();
        let n = model.noise.len();
        let mut conditions = Conditions { depth_factor: 3.0, ..Conditions::nominal(&model) };
        conditions.observed[1] = false;
        let flux: Vec<f64> = (0..n).map(|b| 0.3 * b as f64).collect();
        let (mut f, mut e) = (vec![0f32; n], vec![0f32; n]);
        let (mut pull, mut pull2, mut log_err) = (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
        let draws = 20_000;
        for i in 0..draws {
            let mut stream = Stream::new(9, Purpose::Observation, i, 0);
            model.observe(&flux, &conditions, &mut stream, &mut f, &mut e);
            assert_eq!((f[1], e[1]), (0.0, 0.0), "not observed");
            for b in (0..n).filter(|&b| b != 1) {
                let p = (f64::from(f[b]) - flux[b]) / f64::from(e[b]);
                pull[b] += p;
                pull2[b] += p * p;
                log_err[b] += (f64::from(e[b]) / model.sigma_njy(b, flux[b], &conditions)).log10();
            }
        }
        let draws = draws as f64;
        for b in (0..n).filter(|&b| b != 1) {
            // Five standard errors each.
            assert!((pull[b] / draws).abs() < 5.0 / draws.sqrt(), "band {b}");
            assert!((pull2[b] / draws - 1.0).abs() < 5.0 * (2.0 / draws).sqrt(), "band {b}");
            let scatter = model.noise[b].exposures[0].scatter_dex;
            assert!((log_err[b] / draws).abs() <= 5.0 * scatter / draws.sqrt() + 1e-6, "band {b}");
        }
    }

    /// The error of a sum of n pixels is that of n pixels added in quadrature.
    #[test]
    fn errors_of_sums_add_in_quadrature() {
        let model = NoiseModel::embedded().unwrap();
        let n = 100.0;
        let pixel = Conditions::nominal(&model);
        let whole = Conditions { depth_factor: 10.0, growth_factor: 1.0 / n, ..pixel.clone() };
        for b in 0..model.noise.len() {
            let quadrature = n.sqrt() * model.sigma_njy(b, 0.7, &pixel);
            let sum = model.sigma_njy(b, 0.7 * n, &whole);
            assert!((sum / quadrature - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn bands_can_be_chosen_and_are_checked() {
        let model = NoiseModel::embedded().unwrap();
        assert_eq!(model.for_bands(&["f444w", "f090w"]).unwrap().bands(), ["f444w", "f090w"]);
        let error = model.for_bands(&["f999w"]).unwrap_err().to_string();
        assert!(error.contains("f999w") && error.contains("f444w"), "{error}");
        assert_eq!(NoiseModel::from_json(&model.to_json()).unwrap(), model);
        assert!(NoiseModel::from_json(r#"{"version": 9, "noise": []}"#).is_err());
        assert!(NoiseModel::from_json(r#"{"version": 1, "noise": [], "x": 1}"#).is_err());
    }
}
