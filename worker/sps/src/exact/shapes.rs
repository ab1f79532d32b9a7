//! The model as a target: all coordinates of the prior's cube but the mass, which
//! fluxes are proportional to and which is integrated out (`exact/amplitude.rs`).

use super::amplitude::Amplitude;
use super::importance::Target;
use super::tempering::to_cube;
use super::{ExactPosterior, MOST_DIMS, Run};
use crate::error::SpsError;
use crate::grid::{FixedRedshift, Scratch};
use crate::likelihood::Observation;
use crate::prior::Prior;
use crate::sfh::Parameters;
use outshine_kernels::random::Stream;

/// The model and the data of one object.
pub(super) struct Shapes<'a> {
    at: &'a FixedRedshift,
    prior: &'a Prior,
    observed: Observation<'a>,
    /// Coordinates without the mass.
    pub dims: usize,
    /// Bands of the model.
    pub bands: usize,
    /// Likelihoods evaluated so far.
    pub evaluations: usize,
    /// Range of the mass, in ln.
    ln_range: f64,
    amplitude: Amplitude,
    scratch: Scratch,
    populations: Vec<Parameters>,
    cubes: Vec<f64>,
    flux_njy: Vec<f64>,
}

impl<'a> Shapes<'a> {
    /// # Errors
    /// [`SpsError::OutOfRange`] for a prior that leaves the table: what that cannot
    /// compute has no likelihood, which would cut the prior unseen.
    pub fn new(
        at: &'a FixedRedshift,
        prior: &'a Prior,
        observed: Observation<'a>,
    ) -> Result<Self, SpsError> {
        prior.validate()?;
        let (all, bands) = (prior.cube_dims()?, observed.flux_njy.len());
        let mut scratch = at.scratch();
        for corner in [0.0, 1.0] {
            let mut cube = vec![0.5; all];
            cube[all - 2..].fill(corner);
            let population = prior.from_cube(&cube, at.redshift());
            at.photometry(&population, &mut scratch, &mut vec![0.0; bands])?;
        }
        let (low, high) = prior.log_mass_formed;
        let ln_range = (high - low) * std::f64::consts::LN_10;
        Ok(Self {
            at,
            prior,
            observed,
            dims: all - 1,
            bands,
            evaluations: 0,
            ln_range,
            amplitude: Amplitude::new(observed, (0.0, ln_range)),
            scratch,
            populations: Vec::new(),
            cubes: Vec::new(),
            flux_njy: Vec::new(),
        })
    }

    /// The population at a point of the cube, and a mass: its place in the prior.
    fn place(&self, rest: &[f64], mass: f64) -> Parameters {
        let mut cube = [0.0; MOST_DIMS];
        cube[0] = mass;
        cube[1..=self.dims].copy_from_slice(rest);
        self.prior.from_cube(&cube[..=self.dims], self.at.redshift())
    }

    /// Fluxes at the lowest mass of the prior, appended to `flux_njy`: (n, bands);
    /// NaN where there are none, and a likelihood of minus infinity.
    fn evaluate(
        &mut self,
        rests: &[f64],
        log_likelihood: &mut [f64],
        flux_njy: &mut Vec<f64>,
    ) -> Result<(), SpsError> {
        let mut populations = std::mem::take(&mut self.populations);
        populations.clear();
        populations.extend(rests.chunks_exact(self.dims).map(|rest| self.place(rest, 0.0)));
        self.evaluations += populations.len();
        let from = flux_njy.len();
        flux_njy.resize(from + populations.len() * self.bands, 0.0);
        let new = &mut flux_njy[from..];
        let (observed, scratch) = (self.observed, &mut self.scratch);
        let done =
            self.at.log_likelihood(observed, &populations, scratch, log_likelihood, Some(new));
        self.populations = populations;
        done
    }

    /// ln of the likelihood, averaged over masses, at points of the cube without the mass.
    pub fn of_cubes(
        &mut self,
        rests: &[f64],
        log_likelihood: &mut [f64],
        flux_njy: &mut Vec<f64>,
    ) -> Result<(), SpsError> {
        let from = flux_njy.len();
        self.evaluate(rests, log_likelihood, flux_njy)?;
        for (l, flux) in log_likelihood.iter_mut().zip(flux_njy[from..].chunks_exact(self.bands)) {
            if l.is_finite() {
                *l = self.amplitude.log_mean(flux);
            }
        }
        Ok(())
    }

    /// A population at a point of the cube, its mass drawn given `flux_njy` of the
    /// lowest mass.
    pub fn population(
        &mut self,
        rest: &[f64],
        flux_njy: &[f64],
        stream: &mut Stream,
    ) -> Parameters {
        let mass = self.amplitude.draw(flux_njy, stream) / self.ln_range;
        self.place(rest, mass)
    }

    /// Populations with their log likelihoods, and how they were come by.
    pub fn posterior(
        mut self,
        parameters: Vec<Parameters>,
        run: Run,
    ) -> Result<ExactPosterior, SpsError> {
        let mut log_likelihood = vec![0.0; parameters.len()];
        let (observed, scratch) = (self.observed, &mut self.scratch);
        self.at.log_likelihood(observed, &parameters, scratch, &mut log_likelihood, None)?;
        let evaluations = self.evaluations + parameters.len();
        Ok(ExactPosterior { parameters, log_likelihood, run: Run { evaluations, ..run } })
    }
}

impl Target for Shapes<'_> {
    fn bands(&self) -> usize {
        self.bands
    }

    fn log_likelihood(
        &mut self,
        z: &[f64],
        out: &mut [f64],
        kept: &mut Vec<f64>,
    ) -> Result<(), SpsError> {
        let mut cubes = std::mem::take(&mut self.cubes);
        to_cube(z, &mut cubes);
        let done = self.of_cubes(&cubes, out, kept);
        self.cubes = cubes;
        done
    }

    fn pulls(&mut self, z: &[f64], pulls: &mut [f64], flux: &mut [f64]) -> Result<(), SpsError> {
        let (mut cube, mut flux_njy) =
            (std::mem::take(&mut self.cubes), std::mem::take(&mut self.flux_njy));
        to_cube(z, &mut cube);
        flux_njy.clear();
        let done = self.evaluate(&cube, &mut [0.0], &mut flux_njy);
        self.amplitude.pulls(&flux_njy, pulls, flux);
        (self.cubes, self.flux_njy) = (cube, flux_njy);
        done
    }
}
