//! Particles from where they start to the posterior, for any likelihood on the unit cube.

use super::Settings;
use super::kernels::Kernels;
use super::moves::Mover;
use super::weights::Weights;
use crate::error::SpsError;
use outshine_kernels::random::Stream;
use outshine_kernels::scalar;

/// A log likelihood on the unit cube, for many points at once: points
/// (n, dims), row by row, to n values; minus infinity or NaN where there is none.
pub type LogLikelihood<'a> = dyn FnMut(&[f64], &mut [f64]) -> Result<(), SpsError> + 'a;

/// Equally weighted draws of a posterior on the unit cube.
#[derive(Clone, Debug)]
pub struct CubePosterior {
    /// (particles, dims) points, row by row.
    pub cubes: Vec<f64>,
    /// (particles) their log likelihoods.
    pub log_likelihood: Vec<f64>,
    /// How they were come by.
    pub run: Run,
}

/// What a run of the sampler found on its way.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// ln of the integral of the likelihood over the cube: of the prior's mean
    /// likelihood.
    pub log_evidence: f64,
    /// Its standard error, were the particles of a step independent; the
    /// scatter of repeated runs is up to twice that.
    pub log_evidence_error: f64,
    /// Steps of the tempering, or rounds of weighted points.
    pub steps: usize,
    /// Share of moves accepted, of all, or of weighted points that count.
    pub acceptance: f64,
    /// Likelihoods evaluated.
    pub evaluations: usize,
}

/// The particles.
pub(super) struct Ensemble {
    pub dims: usize,
    /// (particles, dims) z = Phi^-1(u), row by row.
    pub z: Vec<f64>,
    /// (particles) log likelihoods.
    pub log_likelihood: Vec<f64>,
    /// (particles) ln of the density of the start over that of the prior.
    pub log_start: Vec<f64>,
}

/// ln of the start's density over the prior's; 0 where they start from the prior.
pub(super) fn log_start(start: Option<&Kernels>, z: &[f64]) -> f64 {
    start.map_or(0.0, |start| start.log_ratio(z))
}

/// Least and greatest coordinate of the cube: no 0 and no 1, whatever z.
const EDGES: (f64, f64) = (1e-300, 1.0 - f64::EPSILON / 2.0);

/// Points of the cube at z.
pub(super) fn to_cube(z: &[f64], cube: &mut Vec<f64>) {
    cube.clear();
    cube.extend(z.iter().map(|&z| scalar::normal_cdf(z).clamp(EDGES.0, EDGES.1)));
}

/// Evaluates, and makes of NaN what it is: no likelihood.
pub(super) fn evaluate(
    log_likelihood: &mut LogLikelihood,
    cube: &[f64],
    out: &mut [f64],
) -> Result<(), SpsError> {
    log_likelihood(cube, out)?;
    for value in out {
        if value.is_nan() {
            *value = f64::NEG_INFINITY;
        }
        if *value == f64::INFINITY {
            return Err(SpsError::setting("observation", "a likelihood is infinite"));
        }
    }
    Ok(())
}

/// Samples the posterior of a likelihood under a uniform prior on the unit
/// cube, as the head of [`crate::exact`] describes.
///
/// # Errors
/// Those of `log_likelihood`; [`SpsError::Setting`] for settings that cannot
/// hold, a likelihood that is infinite, fewer points of the prior with a
/// likelihood than span the cube, or too few steps.
///
/// # Panics
/// When `dims` is 0.
pub fn sample_cube(
    dims: usize,
    settings: &Settings,
    stream: &mut Stream,
    log_likelihood: &mut LogLikelihood,
) -> Result<CubePosterior, SpsError> {
    sample_cube_from(dims, None, settings, stream, log_likelihood)
}

/// As [`sample_cube`], with particles that begin at `start`, if there is one.
pub(super) fn sample_cube_from(
    dims: usize,
    start: Option<&Kernels>,
    settings: &Settings,
    stream: &mut Stream,
    log_likelihood: &mut LogLikelihood,
) -> Result<CubePosterior, SpsError> {
    settings.validate()?;
    assert!(dims > 0, "a cube has dimensions");
    let n = settings.particles;
    let mut z = vec![0.0; n * dims];
    match start {
        Some(start) => z.chunks_exact_mut(dims).for_each(|z| start.draw(stream, z)),
        None => z.iter_mut().for_each(|z| *z = stream.normal()),
    }
    let log_start = z.chunks_exact(dims).map(|z| log_start(start, z)).collect();
    let mut particles = Ensemble { dims, z, log_likelihood: vec![0.0; n], log_start };
    let mut cubes = Vec::with_capacity(n * dims);
    to_cube(&particles.z, &mut cubes);
    evaluate(log_likelihood, &cubes, &mut particles.log_likelihood)?;
    let alive = particles.log_likelihood.iter().filter(|l| l.is_finite()).count();
    if alive < 4 * dims {
        let problem = format!("{alive} of {n} particles at the start have a likelihood: use more");
        return Err(SpsError::setting("exact.particles", problem));
    }

    let mut mover = Mover::new(n, dims);
    let mut evaluations = n;
    let (mut proposed, mut accepted) = (0usize, 0usize);
    let (mut power, mut log_evidence, mut variance) = (0.0, 0.0, 0.0);
    let mut steps = 0;
    while power < 1.0 {
        if steps == settings.most_steps {
            let problem = format!("the likelihood is raised to {power:e} after as many as allowed");
            return Err(SpsError::setting("exact.most_steps", problem));
        }
        steps += 1;
        let alive = particles.log_likelihood.iter().filter(|l| l.is_finite()).count();
        let target = settings.effective_share * alive as f64;
        let (rise, weights) = next_rise(&particles.log_ratio(), 1.0 - power, target);
        // Exactly 1 at the end.
        power = if rise == 1.0 - power { 1.0 } else { power + rise };
        log_evidence += weights.log_mean;
        // Relative variance of the mean of the weights.
        variance += 1.0 / weights.effective - 1.0 / n as f64;
        resample(&mut particles, &weights, stream);

        mover.whiten(&particles);
        let enough = if power == 1.0 { settings.last_jumps } else { settings.jumps };
        let mut jumps = vec![0.0; dims];
        for _ in 0..settings.most_sweeps {
            let swept = mover.sweep(&mut particles, start, power, stream, log_likelihood)?;
            accepted += swept;
            proposed += n;
            evaluations += n;
            let mut least = f64::INFINITY;
            for (sum, jump) in jumps.iter_mut().zip(&mover.jumps) {
                *sum += jump;
                least = least.min(*sum);
            }
            if least >= enough {
                break;
            }
        }
    }
    to_cube(&particles.z, &mut cubes);
    Ok(CubePosterior {
        cubes,
        log_likelihood: particles.log_likelihood,
        run: Run {
            log_evidence,
            log_evidence_error: variance.sqrt(),
            steps,
            acceptance: accepted as f64 / proposed as f64,
            evaluations,
        },
    })
}

impl Ensemble {
    /// What a rise of the power weighs: the likelihood, and the prior over the start.
    fn log_ratio(&self) -> Vec<f64> {
        self.log_likelihood.iter().zip(&self.log_start).map(|(l, s)| l - s).collect()
    }
}

/// Tries that bracket the rise, 16 times closer each: down to 1e-120.
const BRACKETS: usize = 100;
/// Halvings of the bracket, in ln.
const HALVINGS: usize = 12;

/// The rise of the power, at most `room`, whose weights have the effective
/// number `target`, or nearly a larger one.
fn next_rise(log_ratio: &[f64], room: f64, target: f64) -> (f64, Weights) {
    let mut high = room;
    let mut weights = Weights::new(log_ratio, room);
    if weights.effective >= target {
        return (room, weights);
    }
    let mut low = room;
    for _ in 0..BRACKETS {
        high = low;
        low *= 1.0 / 16.0;
        weights = Weights::new(log_ratio, low);
        if weights.effective >= target {
            break;
        }
    }
    for _ in 0..HALVINGS {
        let middle = (low * high).sqrt();
        let tried = Weights::new(log_ratio, middle);
        if tried.effective >= target {
            (low, weights) = (middle, tried);
        } else {
            high = middle;
        }
    }
    (low, weights)
}

/// As many particles, as often as they weigh.
fn resample(particles: &mut Ensemble, weights: &Weights, stream: &mut Stream) {
    let (n, dims) = (weights.relative.len(), particles.dims);
    let mut z = Vec::with_capacity(n * dims);
    let mut log_likelihood = Vec::with_capacity(n);
    let mut log_start = Vec::with_capacity(n);
    for chosen in weights.resample(n, stream) {
        z.extend_from_slice(&particles.z[chosen * dims..(chosen + 1) * dims]);
        log_likelihood.push(particles.log_likelihood[chosen]);
        log_start.push(particles.log_start[chosen]);
    }
    *particles = Ensemble { dims, z, log_likelihood, log_start };
}
