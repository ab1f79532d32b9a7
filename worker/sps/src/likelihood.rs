//! The likelihood of observed fluxes: independent normal errors,
//! ln L = - sum over observed bands of ((f - m) / sigma)^2 / 2 + ln(sigma sqrt(2 pi)).

use crate::error::SpsError;
use outshine_kernels::scalar;

/// Observed fluxes of one object.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a> {
    /// (bands) nJy.
    pub flux_njy: &'a [f64],
    /// (bands) standard deviations, nJy; 0 or NaN: not observed.
    pub err_njy: &'a [f64],
}

/// The observed bands of one object, ready for many models.
pub(crate) struct Seen {
    /// (band, flux, 1 / sigma).
    bands: Vec<(usize, f64, f64)>,
    /// Sum of ln(sigma sqrt(2 pi)).
    norm: f64,
}

impl Observation<'_> {
    /// Checks what was observed.
    pub(crate) fn seen(&self, names: &[String]) -> Result<Seen, SpsError> {
        let lengths = [self.flux_njy.len(), self.err_njy.len()];
        assert!(lengths.iter().all(|&n| n == names.len()), "one flux and error per band");
        let (mut bands, mut norm) = (Vec::with_capacity(names.len()), 0.0);
        for (band, (&flux, &err)) in self.flux_njy.iter().zip(self.err_njy).enumerate() {
            if err.is_nan() || err == 0.0 {
                continue;
            }
            if !(err > 0.0 && err.is_finite() && flux.is_finite()) {
                let name = &names[band];
                let problem =
                    format!("flux {flux}, error {err} nJy: mend it or set the error to 0");
                return Err(SpsError::setting(&format!("observation.{name}"), problem));
            }
            bands.push((band, flux, 1.0 / err));
            norm += scalar::ln(err * std::f64::consts::TAU.sqrt());
        }
        if bands.is_empty() {
            return Err(SpsError::setting("observation", "no band was observed"));
        }
        Ok(Seen { bands, norm })
    }

    /// ln L of one model; `names` and `predicted_njy`: one per band.
    ///
    /// # Errors
    /// [`SpsError::Setting`] when this is no observation: a flux that is not
    /// finite where its error is positive, an error that is negative or
    /// infinite, or no band observed.
    pub fn log_likelihood(&self, names: &[String], predicted_njy: &[f64]) -> Result<f64, SpsError> {
        assert_eq!(names.len(), predicted_njy.len(), "one flux per band");
        Ok(self.seen(names)?.log_likelihood(predicted_njy))
    }
}

impl Seen {
    /// ln L of one model.
    pub fn log_likelihood(&self, predicted_njy: &[f64]) -> f64 {
        let mut chi2 = 0.0;
        for &(band, observed, inverse) in &self.bands {
            let pull = (observed - predicted_njy[band]) * inverse;
            chi2 += pull * pull;
        }
        -0.5 * chi2 - self.norm
    }
}
