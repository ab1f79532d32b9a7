//! Posterior draws in every reported parameter: the free ones from the
//! estimator, the others from the forward model, exactly, draw by draw.

use super::{Science, StageError};
use outshine_kernels::random::Stream;
use outshine_npe::{Object, Sampler, Scratch, Seen};
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
    free: Vec<f32>,
}

impl<'a> Drawer<'a> {
    /// A drawer from `sampler`.
    pub fn new(science: &'a Science, sampler: &'a Sampler) -> Self {
        Self { science, sampler, scratch: Scratch::default(), free: Vec::new() }
    }

    /// Runs the network on some objects: best a few dozen at a time.
    pub fn see(&self, objects: &[Object<'_>]) -> Result<Seen, StageError> {
        Ok(self.sampler.see(objects)?)
    }

    /// `n` draws of object `i` of `seen`, at its redshift.
    pub fn draw(
        &mut self,
        seen: &Seen,
        i: usize,
        redshift: f64,
        n: usize,
        stream: &mut Stream,
    ) -> Result<Draws, StageError> {
        self.free.resize(n * TAU_FREE, 0.0);
        self.sampler.draw(seen, i, stream, n, &mut self.scratch, &mut self.free)?;
        let mut values = vec![Vec::with_capacity(n); PARAMETERS];
        for k in 0..n {
            let free: [f64; TAU_FREE] = std::array::from_fn(|i| f64::from(self.free[i * n + k]));
            let parameters = self.science.prior.from_free(&free, redshift);
            let derived = self.science.forward.derive(&parameters);
            let all = complete(&free, &parameters, &derived);
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

    /// `n` draws of one object.
    pub fn draw_one(
        &mut self,
        object: &Object<'_>,
        n: usize,
        stream: &mut Stream,
    ) -> Result<Draws, StageError> {
        let seen = self.see(&[*object])?;
        self.draw(&seen, 0, object.redshift, n, stream)
    }
}
