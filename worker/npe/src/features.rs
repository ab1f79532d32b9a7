//! What the network is shown of a pixel. Training and fitting share this code.
//!
//! With f the flux, s its error, and F0 = sqrt(sum(f^2/s^2) / sum(1/s^2)) the
//! brightness of the object itself (sums over observed bands), each band gives
//!
//! | feature | unobserved |
//! | --- | --- |
//! | asinh(f/s): signal to noise, signed and compressed | 0 |
//! | asinh(f/2s) + ln(2s/F0): ln(f/F0) where bright, ln of the noise floor where not | 0 |
//! | ln(s/F0) | 0 |
//! | 1 | 0 |
//!
//! followed by ln(F0/s_ref), z and ln(1+z), with s_ref the geometric mean of
//! the bands' reference errors. Multiplying all fluxes and errors by one factor
//! moves ln(F0/s_ref) alone: mass scales with flux, and everything else is free
//! of it.

use crate::error::{NpeError, check_length};
use outshine_kernels::{lanes, scalar};
use serde::{Deserialize, Serialize};

/// Features per band.
const PER_BAND: usize = 4;
/// Features per object.
const PER_OBJECT: usize = 3;
/// Of these, those of the redshift, the last ones.
const OF_REDSHIFT: usize = 2;
/// The features described above.
const VERSION: u32 = 1;
/// Bounds of a compressed flux ratio: keeps squares of f32 finite.
const RATIO_LIMIT: f32 = 1e9;

/// Bands and reference errors that define the features.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureSpec {
    version: u32,
    bands: Vec<String>,
    sigma_reference_njy: Vec<f64>,
}

impl FeatureSpec {
    /// Features of `bands`, with a typical error per band in nJy.
    ///
    /// # Errors
    /// When the lengths differ, a band comes twice, or an error is not positive.
    pub fn new(bands: Vec<String>, sigma_reference_njy: Vec<f64>) -> Result<Self, NpeError> {
        let made = Self { version: VERSION, bands, sigma_reference_njy };
        made.validate()?;
        Ok(made)
    }

    pub(crate) fn validate(&self) -> Result<(), NpeError> {
        let wrong = |why: String| Err(NpeError::Specification { what: "features", why });
        if self.version != VERSION {
            return wrong(format!("version {} is unknown, this is {VERSION}", self.version));
        }
        if self.bands.is_empty() || self.bands.len() != self.sigma_reference_njy.len() {
            return wrong(format!(
                "{} bands and {} reference errors",
                self.bands.len(),
                self.sigma_reference_njy.len()
            ));
        }
        for (i, band) in self.bands.iter().enumerate() {
            if self.bands[..i].contains(band) {
                return wrong(format!("band `{band}` comes twice"));
            }
        }
        if let Some(s) = self.sigma_reference_njy.iter().find(|s| !(s.is_finite() && **s > 0.0)) {
            return wrong(format!("a reference error of {s} nJy"));
        }
        Ok(())
    }

    /// Names of the bands, in the order of the flux arrays.
    #[must_use]
    pub fn bands(&self) -> &[String] {
        &self.bands
    }

    /// Typical error of each band, nJy.
    #[must_use]
    pub fn sigma_reference_njy(&self) -> &[f64] {
        &self.sigma_reference_njy
    }

    /// Number of features.
    #[must_use]
    pub fn len(&self) -> usize {
        PER_BAND * self.bands.len() + PER_OBJECT
    }

    /// Number of leading features that do not look at the redshift.
    #[must_use]
    pub fn without_redshift(&self) -> usize {
        self.len() - OF_REDSHIFT
    }

    /// Whether there is none (never true of a valid specification).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bands.is_empty()
    }

    /// Writes the features of one object.
    ///
    /// `flux`, `err`: nJy per band; err 0, negative or NaN = not observed, and
    /// the flux is then not looked at. `out`: [`FeatureSpec::len`] values.
    ///
    /// # Panics
    /// When a slice has the wrong length.
    pub fn features(&self, flux: &[f32], err: &[f32], redshift: f64, out: &mut [f32]) {
        let n = self.bands.len();
        assert!(flux.len() == n && err.len() == n && out.len() == self.len(), "length mismatch");
        let (mut signal, mut weight) = (0.0f64, 0.0f64);
        for b in 0..n {
            if err[b] > 0.0 {
                let inverse = 1.0 / f64::from(err[b]);
                let ratio = f64::from(flux[b]) * inverse;
                signal += ratio * ratio;
                weight += inverse * inverse;
            }
        }
        let reference = self.log_reference();
        // An object without any flux or band is as bright as its reference error.
        let log_f0 = if weight > 0.0 {
            0.5 * scalar::ln(signal.max(1e-6)) - 0.5 * scalar::ln(weight)
        } else {
            reference
        };
        let f0 = log_f0 as f32;
        let (snr, rest) = out.split_at_mut(n);
        let (shape, rest) = rest.split_at_mut(n);
        let (noise, rest) = rest.split_at_mut(n);
        let (observed, object) = rest.split_at_mut(n);
        for b in 0..n {
            let seen = err[b] > 0.0;
            let sigma = if seen { err[b].clamp(1e-30, 1e30) } else { 1.0 };
            let ratio = if seen { (flux[b] / sigma).clamp(-RATIO_LIMIT, RATIO_LIMIT) } else { 0.0 };
            let keep = if seen { 1.0 } else { 0.0 };
            let log_sigma = lanes::ln_f32(sigma) - f0;
            snr[b] = lanes::asinh_f32(ratio);
            shape[b] = keep * (lanes::asinh_f32(0.5 * ratio) + log_sigma + std::f32::consts::LN_2);
            noise[b] = keep * log_sigma;
            observed[b] = keep;
        }
        object[0] = (log_f0 - reference) as f32;
        object[1] = redshift as f32;
        object[2] = scalar::ln_1p(redshift) as f32;
    }

    /// ln of the geometric mean of the reference errors.
    fn log_reference(&self) -> f64 {
        let sum: f64 = self.sigma_reference_njy.iter().map(|s| scalar::ln(*s)).sum();
        sum / self.bands.len() as f64
    }

    /// Checks one object before it is fitted.
    ///
    /// # Errors
    /// [`NpeError::Pixel`] for a flux that is not finite where the band was
    /// observed, an infinite error, a redshift that is not a number above -1,
    /// or no observed band at all.
    pub fn check(&self, flux: &[f32], err: &[f32], redshift: f64) -> Result<(), NpeError> {
        check_length("flux", flux.len(), self.bands.len())?;
        check_length("err", err.len(), self.bands.len())?;
        let refuse = |why: String| Err(NpeError::Pixel { why });
        if !(redshift.is_finite() && redshift > -1.0) {
            return refuse(format!("redshift {redshift}"));
        }
        let mut observed = 0;
        for (b, band) in self.bands.iter().enumerate() {
            if err[b] > 0.0 {
                observed += 1;
                if !flux[b].is_finite() || err[b].is_infinite() {
                    return refuse(format!("band `{band}`: flux {} +- {} nJy", flux[b], err[b]));
                }
            }
        }
        if observed == 0 {
            return refuse("no band was observed".into());
        }
        Ok(())
    }
}

/// Root mean square of flux over error of the observed bands; 0 without any.
#[must_use]
pub fn signal_to_noise(flux: &[f32], err: &[f32]) -> f64 {
    let (mut sum, mut n) = (0.0, 0.0);
    for (&f, &e) in flux.iter().zip(err).filter(|(_, e)| **e > 0.0) {
        let ratio = f64::from(f) / f64::from(e);
        sum += ratio * ratio;
        n += 1.0;
    }
    if n > 0.0 { (sum / n).sqrt() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> FeatureSpec {
        FeatureSpec::new(vec!["a".into(), "b".into(), "c".into()], vec![1.0, 2.0, 4.0]).unwrap()
    }

    #[test]
    fn scaling_an_object_moves_one_feature_alone() {
        let s = spec();
        let (mut small, mut large) = (vec![0.0; s.len()], vec![0.0; s.len()]);
        let (flux, err) = ([3.0, -1.0, 9.0], [0.5, 0.7, 0.0]);
        s.features(&flux, &err, 1.5, &mut small);
        s.features(&flux.map(|f| f * 64.0), &err.map(|e| e * 64.0), 1.5, &mut large);
        for (i, (a, b)) in small.iter().zip(&large).enumerate() {
            let moved = if i == s.len() - 3 { 64.0f32.ln() } else { 0.0 };
            // Rounding of ln F0 in f32.
            assert!((b - a - moved).abs() < 2e-6, "feature {i}: {a} -> {b}");
        }
    }

    #[test]
    fn an_unobserved_band_is_not_looked_at() {
        let s = spec();
        let mut reference = vec![0.0; s.len()];
        s.features(&[3.0, -1.0, 0.0], &[0.5, 0.7, 0.0], 1.5, &mut reference);
        for (flux, err) in [(f32::NAN, 0.0), (7.0, -1.0), (f32::INFINITY, f32::NAN)] {
            let mut other = vec![0.0; s.len()];
            s.features(&[3.0, -1.0, flux], &[0.5, 0.7, err], 1.5, &mut other);
            assert_eq!(reference, other);
        }
        assert!(reference.iter().all(|f| f.is_finite()));
        s.features(&[0.0; 3], &[0.0; 3], 1.5, &mut reference);
        assert!(reference.iter().all(|f| f.is_finite()));
    }

    #[test]
    fn a_bad_pixel_is_refused() {
        let s = spec();
        let fine = [1.0, 2.0, 3.0];
        assert!(s.check(&fine, &fine, 0.5).is_ok());
        assert!(s.check(&[f32::NAN, 2.0, 3.0], &[0.0, 1.0, 1.0], 0.5).is_ok());
        assert!(s.check(&[f32::NAN, 2.0, 3.0], &fine, 0.5).is_err());
        assert!(s.check(&fine, &[f32::INFINITY, 1.0, 1.0], 0.5).is_err());
        assert!(s.check(&fine, &[0.0; 3], 0.5).is_err());
        assert!(s.check(&fine, &fine, f64::NAN).is_err());
        assert!(s.check(&fine[..2], &fine, 0.5).is_err());
    }
}
