//! The exact posterior of one object at a known redshift, by sequential Monte
//! Carlo: what an estimator of posteriors is checked against, and how much
//! the fluxes say.
//!
//! Everything happens in the unit cube u of the prior ([`Prior::from_cube`]),
//! stretched to z = Phi^-1(u), Phi the normal distribution function, so that
//! the prior is a standard normal and no proposal falls outside. Particles are
//! drawn from the prior and carried through the tempered posteriors
//!
//! p_b(z) ~ N(z; 0, 1) L(Phi(z))^b, 0 = b_0 < b_1 < ... = 1.
//!
//! Where points near the posterior are at hand ([`sample_near`]), particles are
//! drawn from a density q about them instead (`exact/kernels.rs`), and carried
//! through q^(1 - b) (N L)^b: the same posterior at the end, in a few steps
//! instead of dozens. What follows is written for q = N; with guesses,
//! L^b stands for L^b (q / N)^(1 - b), and w for (L N / q)^(b_k - b_(k-1)).
//!
//! Each step
//!
//! 1. chooses b_k such that the weights w = L^(b_k - b_(k-1)) have an
//!    effective number (sum w)^2 / sum w^2 of a given share of the particles;
//! 2. multiplies the estimate of the evidence integral L du by the mean of w;
//! 3. resamples: a particle is copied floor or ceil of n w / sum w times
//!    (systematic resampling);
//! 4. moves every particle by sweeps of Metropolis steps under p_(b_k), until
//!    particles have gone far enough: the mean squared jump, summed over
//!    sweeps and in units of the variance of the particles, must reach
//!    [`Settings::jumps`] along every axis that whitens them, and at the end
//!    [`Settings::last_jumps`]. A random walk keeps a share exp(-jumps / 2) of
//!    where it was.
//!
//! Fluxes are proportional to the mass, which is therefore integrated out, and
//! drawn at the end, given all else (`exact/amplitude.rs`): the first
//! coordinate of the cube, and the sharpest, takes no part in the random walk.
//!
//! Moves learn from the half of the particles that stands still meanwhile, so
//! that they leave the tempered posterior of all particles as it is. Sweeps take
//! turns:
//!
//! - a move adds a multiple of the difference of two of them (differential
//!   evolution), which needs no tuning to scales and correlations. One move in
//!   ten adds the whole difference, which leads from mode to mode; shares of modes
//!   too far apart for that are kept by the weights;
//! - a move goes to a place drawn from a density about them (`exact/kernels.rs`),
//!   wherever the particle was: where the posterior is not too bent, one in two
//!   is accepted, and worth ten of the others.
//!
//! | step | source |
//! | --- | --- |
//! | tempering and moves | Neal (2001), Statistics and Computing 11, 125; Del Moral, Doucet & Jasra (2006), J. R. Stat. Soc. B 68, 411 |
//! | the next b from the effective number | Jasra et al. (2011), Scandinavian Journal of Statistics 38, 1 |
//! | systematic resampling | Kitagawa (1996), J. Comput. Graph. Stat. 5, 1 |
//! | differential evolution | ter Braak (2006), Statistics and Computing 16, 239 |
//! | moves to a place of a density | Tierney (1994), Annals of Statistics 22, 1701: independence chains |
//! | two halves | Foreman-Mackey et al. (2013), PASP 125, 306 |
//!
//! Draws are exact as the number of particles grows; errors at a given number
//! are measured in `exact/tests.rs` and `tests/exact.rs`.
//!
//! With guesses, the posteriors of the tau family are sampled by importance
//! (`exact/importance.rs`), which takes a tenth of the time; where too few points
//! count, the particles above start about those that were found. Histories of the
//! Dirichlet family have kinks (rates cut off at zero), so that too much of their
//! posteriors is missed: they are left to particles ([`is_weighted`]).

mod amplitude;
mod descent;
mod importance;
mod kernels;
mod matrix;
mod mixture;
mod moves;
mod shapes;
mod tempering;
#[cfg(test)]
mod tests;
mod weights;

pub use tempering::{CubePosterior, LogLikelihood, Run, sample_cube};

use crate::error::SpsError;
use crate::grid::FixedRedshift;
use crate::likelihood::Observation;
use crate::prior::Prior;
use crate::sfh::{Parameters, SfhFamily};
use importance::Weighted;
use kernels::Kernels;
use outshine_kernels::random::Stream;
use outshine_kernels::scalar;
use shapes::Shapes;
use tempering::{sample_cube_from, to_cube};

/// How carefully the posterior is sampled.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Particles, which are the draws returned.
    pub particles: usize,
    /// Effective share of the particles that a step of the tempering leaves:
    /// the larger, the better are the shares of separate modes kept.
    pub effective_share: f64,
    /// Squared jumps per step, in variances of the particles.
    pub jumps: f64,
    /// The same for the last step, at the posterior itself.
    pub last_jumps: f64,
    /// Most sweeps of moves per step; separate narrow modes, whose distance
    /// counts as variance, need them all.
    pub most_sweeps: usize,
    /// Most steps of the tempering.
    pub most_steps: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            particles: 2000,
            effective_share: 0.7,
            jumps: 1.0,
            last_jumps: 4.0,
            most_sweeps: 40,
            most_steps: 500,
        }
    }
}

/// Fewest particles: the two halves must span the parameters.
const FEWEST_PARTICLES: usize = 40;
/// Most particles, far beyond use.
const MOST_PARTICLES: usize = 10_000_000;
/// Points that particles start about where weights do not suffice.
const STARTS: usize = 64;
/// Width of the kernels about them, or about guesses: the density is 1.4 times as
/// wide as they are. Guesses that are sharp and wrong, with the posterior many of their
/// own widths away, can mislead particles: look at how well the end fits.
const GUESS_WIDTH: f64 = 1.0;
/// How close to the edge of the cube a guess may lie.
const GUESS_EDGE: f64 = 1e-3;
/// Most coordinates of a prior's cube.
const MOST_DIMS: usize = 16;

impl Settings {
    /// Checks that the sampler can run.
    ///
    /// # Errors
    /// [`SpsError::Setting`] naming the first number that cannot hold.
    pub fn validate(&self) -> Result<(), SpsError> {
        for (name, value, low, high) in [
            ("particles", self.particles as f64, FEWEST_PARTICLES as f64, MOST_PARTICLES as f64),
            ("effective_share", self.effective_share, 0.05, 0.95),
            ("jumps", self.jumps, 0.01, 1000.0),
            ("last_jumps", self.last_jumps, 0.01, 1000.0),
            ("most_sweeps", self.most_sweeps as f64, 1.0, 1e5),
            ("most_steps", self.most_steps as f64, 1.0, 1e5),
        ] {
            if !(value >= low && value <= high) {
                let problem = format!("{value} is outside the possible {low} to {high}");
                return Err(SpsError::setting(&format!("exact.{name}"), problem));
            }
        }
        Ok(())
    }
}

/// Equally weighted draws of the posterior.
#[derive(Clone, Debug)]
pub struct ExactPosterior {
    /// (particles) populations, at the redshift of the table.
    pub parameters: Vec<Parameters>,
    /// (particles) their log likelihoods, fluxes in nJy.
    pub log_likelihood: Vec<f64>,
    /// How they were come by.
    pub run: Run,
}

/// Samples the posterior of one object, given its fluxes, with independent
/// normal errors, at the redshift of `at`; bounds of the prior's redshift are ignored.
///
/// `stream`: the source of all random numbers; the same stream gives the same
/// bytes on every machine.
///
/// # Errors
/// [`SpsError::Setting`] when settings, prior or observation cannot hold, or
/// too few populations of the prior can be computed;
/// [`SpsError::OutOfRange`] for a prior that leaves the table (its A_V, say).
pub fn sample(
    at: &FixedRedshift,
    prior: &Prior,
    observed: Observation<'_>,
    settings: &Settings,
    stream: &mut Stream,
) -> Result<ExactPosterior, SpsError> {
    sample_from(at, prior, observed, &[], settings, stream)
}

/// As [`sample`], near `guesses` of the posterior (draws of an estimator, say), of
/// the prior's family: some dozens of them, as wide as the posterior or wider. Their
/// masses do not matter. Where they are weighted points ([`is_weighted`]), draws are
/// chosen as often as they weigh, so that some come twice.
///
/// # Errors
/// As [`sample`]; [`SpsError::Setting`] without guesses, or for one of another
/// family than the prior's.
pub fn sample_near(
    at: &FixedRedshift,
    prior: &Prior,
    observed: Observation<'_>,
    guesses: &[Parameters],
    settings: &Settings,
    stream: &mut Stream,
) -> Result<ExactPosterior, SpsError> {
    if guesses.is_empty() {
        return Err(SpsError::setting("exact.guesses", "none are given"));
    }
    sample_from(at, prior, observed, guesses, settings, stream)
}

/// Whether [`sample_near`] weighs points of posteriors under this prior, rather than
/// moving particles. Half as many draws are then as good, and guesses cannot mislead.
#[must_use]
pub fn is_weighted(prior: &Prior) -> bool {
    prior.sfh == SfhFamily::Tau
}

/// Places of guesses, without their masses: (guesses, coordinates of the cube but one).
fn places(prior: &Prior, guesses: &[Parameters], redshift: f64) -> Result<Vec<f64>, SpsError> {
    let dims = prior.cube_dims()?;
    let mut cube = vec![0.0; dims];
    let mut places = Vec::with_capacity(guesses.len() * (dims - 1));
    for guess in guesses {
        prior.to_cube(guess, redshift, &mut cube)?;
        let inside = cube[1..].iter().map(|u| u.clamp(GUESS_EDGE, 1.0 - GUESS_EDGE));
        places.extend(inside.map(scalar::normal_quantile));
    }
    Ok(places)
}

/// Draws from weighted points.
fn report(
    mut shapes: Shapes<'_>,
    found: &Weighted,
    particles: usize,
    stream: &mut Stream,
) -> Result<ExactPosterior, SpsError> {
    let (dims, bands) = (shapes.dims, shapes.bands);
    let mut cube = Vec::new();
    let chosen = found.weights.resample(particles, stream);
    let draws = chosen.into_iter().map(|i| {
        to_cube(&found.z[i * dims..(i + 1) * dims], &mut cube);
        shapes.population(&cube, &found.kept[i * bands..(i + 1) * bands], stream)
    });
    let parameters = draws.collect();
    let run = Run {
        log_evidence: found.weights.log_mean,
        log_evidence_error: 1.0 / found.weights.effective.sqrt(),
        steps: found.rounds,
        acceptance: found.weights.effective / found.weights.relative.len() as f64,
        evaluations: 0,
    };
    shapes.posterior(parameters, run)
}

fn sample_from(
    at: &FixedRedshift,
    prior: &Prior,
    observed: Observation<'_>,
    guesses: &[Parameters],
    settings: &Settings,
    stream: &mut Stream,
) -> Result<ExactPosterior, SpsError> {
    settings.validate()?;
    let mut shapes = Shapes::new(at, prior, observed)?;
    let (dims, bands) = (shapes.dims, shapes.bands);
    let mut start = None;
    if !guesses.is_empty() {
        let mut near = places(prior, guesses, at.redshift())?;
        if is_weighted(prior) {
            let found = importance::sample(&mut shapes, &near, dims, settings.particles, stream)?;
            if found.enough {
                return report(shapes, &found, settings.particles, stream);
            }
            let chosen = found.weights.resample(STARTS, stream);
            near =
                chosen.iter().flat_map(|&i| &found.z[i * dims..(i + 1) * dims]).copied().collect();
        }
        start = Some(Kernels::around(near, dims, GUESS_WIDTH));
    }
    let mut flux_njy = Vec::new();
    let posterior = sample_cube_from(dims, start.as_ref(), settings, stream, &mut |rests, out| {
        flux_njy.clear();
        shapes.of_cubes(rests, out, &mut flux_njy)
    })?;
    let mut log_likelihood = posterior.log_likelihood;
    flux_njy.clear();
    shapes.of_cubes(&posterior.cubes, &mut log_likelihood, &mut flux_njy)?;
    let draws = posterior.cubes.chunks_exact(dims).zip(flux_njy.chunks_exact(bands));
    let parameters = draws.map(|(rest, flux)| shapes.population(rest, flux, stream)).collect();
    shapes.posterior(parameters, posterior.run)
}
