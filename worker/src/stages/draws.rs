//! Posterior draws in every reported parameter: the free ones from the
//! estimator, the others from the forward model, exactly, draw by draw.

use super::{Science, StageError};
use outshine_kernels::random::Stream;
use outshine_npe::{Sampler, Scratch};
use outshine_schemas::tables::{TAU_FREE, TAU_PARAMETERS};
use outshine_sps::{Derived, Parameters, Sfh};

/// Number of reported parameters.
pub const PARAMETERS: usize = TAU_PARAMETERS.len();

/// Draws of one object: `values[p][k]` is draw k of parameter p, in the order
/// of [`TAU_PARAMETERS`] and in the precision in which draws are stored.
pub struct Draws {
    /// The draws.
    pub values: Vec<Vec<f32>>,
}

impl Draws {
    /// The draws of the parameter called `name`.
    pub fn of(&self, name: &str) -> &[f32] {
        &self.values[position(name)]
    }
}

/// Position of a reported parameter.
pub fn position(name: &str) -> usize {
    TAU_PARAMETERS.iter().position(|p| p.0 == name).expect("a reported parameter")
}

/// All reported parameters of one set of free coordinates.
pub fn complete(free: &[f64; TAU_FREE], p: &Parameters, derived: &Derived) -> [f64; PARAMETERS] {
    let t_i_gyr = match p.sfh {
        Sfh::Tau { t_i_gyr, .. } => t_i_gyr,
        _ => f64::NAN,
    };
    let [log_mass_formed, log_tau_gyr, t_i_fraction, metallicity, a_v] = *free;
    [
        log_mass_formed,
        log_tau_gyr,
        t_i_fraction,
        metallicity,
        a_v,
        derived.log_mass_stellar,
        derived.log_sfr_100,
        t_i_gyr,
        derived.mass_weighted_age_gyr,
    ]
}

/// Makes draws; reuses its memory from object to object.
pub struct Drawer<'a> {
    science: &'a Science,
    sampler: &'a Sampler,
    scratch: Scratch,
    free: Vec<f64>,
}

impl<'a> Drawer<'a> {
    /// A drawer from `sampler`.
    pub fn new(science: &'a Science, sampler: &'a Sampler) -> Self {
        Self { science, sampler, scratch: Scratch::default(), free: Vec::new() }
    }

    /// `n` draws for fluxes and errors in nJy (error 0: not observed).
    pub fn draw(
        &mut self,
        flux_njy: &[f32],
        err_njy: &[f32],
        redshift: f64,
        n: usize,
        stream: &mut Stream,
    ) -> Result<Draws, StageError> {
        self.free.resize(n * TAU_FREE, 0.0);
        let out = &mut self.free[..];
        self.sampler.draw(flux_njy, err_njy, redshift, stream, n, &mut self.scratch, out)?;
        let mut values = vec![Vec::new(); PARAMETERS];
        for free in self.free.chunks_exact(TAU_FREE) {
            let parameters = self.science.prior.from_free(free, redshift);
            let derived = self.science.forward.derive(&parameters);
            let free: &[f64; TAU_FREE] = free.try_into().expect("chunks have this length");
            let all = complete(free, &parameters, &derived);
            if all.iter().any(|value| !value.is_finite()) {
                return Err(StageError::Permanent(format!(
                    "a draw has no finite value of every parameter: {all:?} at z = {redshift}"
                )));
            }
            for (column, value) in values.iter_mut().zip(all) {
                column.push(value as f32);
            }
        }
        Ok(Draws { values })
    }
}
