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
//! Where guesses of the posterior are at hand ([`sample_near`]), particles are
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

mod amplitude;
mod kernels;
mod moves;
mod tempering;
#[cfg(test)]
mod tests;

pub use tempering::{CubePosterior, LogLikelihood, Run, sample_cube};

use crate::error::SpsError;
use crate::grid::FixedRedshift;
use crate::likelihood::Observation;
use crate::prior::Prior;
use crate::sfh::Parameters;
use amplitude::Amplitude;
use kernels::Kernels;
use outshine_kernels::random::Stream;
use outshine_kernels::scalar;
use tempering::sample_cube_from;

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
/// Width of the kernels about guesses: the density is 1.4 times as wide as they
/// are. Guesses that are sharp and wrong, with the posterior many of their own
/// widths away, can mislead: look at how well the end fits.
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

/// As [`sample`], with particles that start near `guesses` of the posterior
/// (draws of an estimator, say), of the prior's family: the better they are, the
/// fewer steps it takes. Their masses do not matter.
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

/// The start about guesses, without their masses; `None` without any.
fn start_near(
    prior: &Prior,
    guesses: &[Parameters],
    redshift: f64,
) -> Result<Option<Kernels>, SpsError> {
    if guesses.is_empty() {
        return Ok(None);
    }
    let dims = prior.cube_dims()?;
    let mut cube = vec![0.0; dims];
    let mut centres = Vec::with_capacity(guesses.len() * (dims - 1));
    for guess in guesses {
        prior.to_cube(guess, redshift, &mut cube)?;
        let inside = cube[1..].iter().map(|u| u.clamp(GUESS_EDGE, 1.0 - GUESS_EDGE));
        centres.extend(inside.map(scalar::normal_quantile));
    }
    Ok(Some(Kernels::around(centres, dims - 1, GUESS_WIDTH)))
}

fn sample_from(
    at: &FixedRedshift,
    prior: &Prior,
    observed: Observation<'_>,
    guesses: &[Parameters],
    settings: &Settings,
    stream: &mut Stream,
) -> Result<ExactPosterior, SpsError> {
    prior.validate()?;
    let dims = prior.cube_dims()?;
    let redshift = at.redshift();
    let mut scratch = at.scratch();
    // What the table cannot compute has no likelihood, which would cut the prior unseen.
    for corner in [0.0, 1.0] {
        let mut cube = vec![0.5; dims];
        cube[dims - 2..].fill(corner);
        let mut flux_njy = vec![0.0; observed.flux_njy.len()];
        at.photometry(&prior.from_cube(&cube, redshift), &mut scratch, &mut flux_njy)?;
    }
    // Populations of the lowest mass, and its place in the cube: the first.
    let place = |rest: &[f64], mass: f64| {
        let mut cube = [0.0; MOST_DIMS];
        cube[0] = mass;
        cube[1..dims].copy_from_slice(rest);
        prior.from_cube(&cube[..dims], redshift)
    };
    let (low, high) = prior.log_mass_formed;
    let ln_range = (high - low) * std::f64::consts::LN_10;
    let mut amplitude = Amplitude::new(observed, (0.0, ln_range));
    let bands = observed.flux_njy.len();
    let (mut populations, mut flux_njy) = (Vec::new(), Vec::new());
    let mut evaluate = |rests: &[f64], log_likelihood: &mut [f64], flux_njy: &mut Vec<f64>| {
        populations.clear();
        populations.extend(rests.chunks_exact(dims - 1).map(|rest| place(rest, 0.0)));
        flux_njy.resize(populations.len() * bands, 0.0);
        at.log_likelihood(observed, &populations, &mut scratch, log_likelihood, Some(flux_njy))
    };
    let start = start_near(prior, guesses, redshift)?;
    let start = start.as_ref();
    let posterior =
        sample_cube_from(dims - 1, start, settings, stream, &mut |rests, log_likelihood| {
            evaluate(rests, log_likelihood, &mut flux_njy)?;
            for (l, flux) in log_likelihood.iter_mut().zip(flux_njy.chunks_exact(bands)) {
                if l.is_finite() {
                    *l = amplitude.log_mean(flux);
                }
            }
            Ok(())
        })?;
    let mut log_likelihood = posterior.log_likelihood;
    evaluate(&posterior.cubes, &mut log_likelihood, &mut flux_njy)?;
    let parameters: Vec<Parameters> = posterior
        .cubes
        .chunks_exact(dims - 1)
        .zip(flux_njy.chunks_exact(bands))
        .map(|(rest, flux)| place(rest, amplitude.draw(flux, stream) / ln_range))
        .collect();
    at.log_likelihood(observed, &parameters, &mut scratch, &mut log_likelihood, None)?;
    let evaluations = posterior.run.evaluations + 2 * parameters.len();
    Ok(ExactPosterior { parameters, log_likelihood, run: Run { evaluations, ..posterior.run } })
}
