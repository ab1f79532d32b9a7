//! The model at one redshift: likelihoods and posterior predictions.

use super::Scratch;
use super::basis::{Basis, SCALE};
use crate::error::SpsError;
use crate::likelihood::Observation;
use crate::model::{Derived, njy_per_lsun};
use crate::sfh::Parameters;
use outshine_kernels::scalar;
use std::sync::Arc;

/// A table at one redshift; about a millisecond to make, 0.3 MB for 19 bands.
pub struct FixedRedshift {
    basis: Arc<Basis>,
    redshift: f64,
    table: Vec<f32>,
    exponents: [Vec<f32>; 2],
    dust: Vec<f64>,
    /// Strong lines: (line, band, flux in the band per unit luminosity).
    lines: Vec<(usize, usize, f64)>,
    /// nJy per unit of the table for 1 Msun.
    scale: f64,
}

impl FixedRedshift {
    /// Works out the table of a redshift.
    ///
    /// # Errors
    /// [`SpsError::OutOfRange`] for an impossible redshift.
    pub fn new(basis: Arc<Basis>, redshift: f64) -> Result<Self, SpsError> {
        let (low, high) = (f64::MIN_POSITIVE, crate::model::Z_MAX);
        if !(redshift >= low && redshift <= high) {
            return Err(SpsError::OutOfRange { name: "redshift", value: redshift, low, high });
        }
        let nodes = || vec![0.0; basis.nodes.stride];
        let mut fixed = Self {
            table: vec![0.0; basis.table_len()],
            exponents: [nodes(), nodes()],
            dust: vec![0.0; basis.model.bands().len()],
            lines: basis.strong_in_bands(redshift),
            scale: njy_per_lsun(0.0, redshift) / SCALE,
            redshift,
            basis,
        };
        fixed.basis.fill(redshift, &mut fixed.table);
        fixed.basis.dust_emission(redshift, &mut fixed.dust);
        fixed.basis.exponents(scalar::ln_1p(redshift), &mut fixed.exponents);
        Ok(fixed)
    }

    /// Buffers for one thread.
    #[must_use]
    pub fn scratch(&self) -> Scratch {
        Scratch::new(&self.basis)
    }

    fn prepare(&self, w: &mut Scratch) {
        for (own, table) in w.exponents.iter_mut().zip(&self.exponents) {
            own.copy_from_slice(table);
        }
        w.dust.copy_from_slice(&self.dust);
    }

    /// The redshift of the table.
    #[must_use]
    pub fn redshift(&self) -> f64 {
        self.redshift
    }

    /// Noiseless band fluxes (nJy, one per band) of one population.
    ///
    /// # Errors
    /// [`SpsError::OutOfRange`] when a parameter cannot be computed, lies
    /// outside the table, or the redshift is not the table's.
    pub fn photometry(
        &self,
        p: &Parameters,
        w: &mut Scratch,
        flux_njy: &mut [f64],
    ) -> Result<Derived, SpsError> {
        self.prepare(w);
        let population = self.fluxes(p, w, flux_njy)?;
        Ok(self.basis.model.derived(p, &population, &w.fractions))
    }

    fn fluxes(
        &self,
        p: &Parameters,
        w: &mut Scratch,
        flux_njy: &mut [f64],
    ) -> Result<crate::model::Population, SpsError> {
        assert_eq!(flux_njy.len(), self.dust.len(), "one flux per band");
        if p.redshift != self.redshift {
            let (name, value) = ("redshift", p.redshift);
            let (low, high) = (self.redshift, self.redshift);
            return Err(SpsError::OutOfRange { name, value, low, high });
        }
        let population = self.basis.population(p, w)?;
        flux_njy.fill(0.0);
        let tables = [(1.0, self.table.as_slice())];
        self.basis.add_continuum(p.a_v, &population, &tables, None, w, flux_njy);
        self.basis.strong_lines(p.a_v, &population, &w.weights, &mut w.lines);
        for &(line, band, strength) in &self.lines {
            flux_njy[band] += f64::from(w.lines[line]) * strength;
        }
        let scale = self.scale * scalar::exp10(p.log_mass_formed);
        flux_njy.iter_mut().for_each(|f| *f *= scale);
        Ok(population)
    }

    /// Log likelihood of many populations given one object: independent normal
    /// errors, sum over observed bands of
    /// -((f - m) / sigma)^2 / 2 - ln(sigma sqrt(2 pi)).
    ///
    /// `log_likelihood`: one per population; `predicted_njy`: (populations,
    /// bands) model fluxes, if they are wanted. A population that cannot be
    /// computed (star formation after the present, say) has a log likelihood
    /// of minus infinity and fluxes of NaN.
    ///
    /// # Errors
    /// [`SpsError::Setting`] when the observation is no observation: a flux
    /// that is not finite where its error is positive, an error that is
    /// negative or infinite, or no band observed.
    pub fn log_likelihood(
        &self,
        observed: Observation<'_>,
        populations: &[Parameters],
        w: &mut Scratch,
        log_likelihood: &mut [f64],
        mut predicted_njy: Option<&mut [f64]>,
    ) -> Result<(), SpsError> {
        let bands = self.dust.len();
        assert_eq!(log_likelihood.len(), populations.len(), "one per population");
        if let Some(predicted) = &predicted_njy {
            assert_eq!(predicted.len(), populations.len() * bands, "one flux per band");
        }
        self.prepare(w);
        let seen = observed.seen(self.basis.model.bands())?;
        let mut own = vec![0.0; bands];
        for (i, (p, out)) in populations.iter().zip(log_likelihood).enumerate() {
            let flux = match &mut predicted_njy {
                Some(all) => &mut all[i * bands..(i + 1) * bands],
                None => own.as_mut_slice(),
            };
            if self.fluxes(p, w, flux).is_err() {
                flux.fill(f64::NAN);
                *out = f64::NEG_INFINITY;
                continue;
            }
            *out = seen.log_likelihood(flux);
        }
        Ok(())
    }
}
