//! Metropolis moves of particles by the differences of others.

use super::tempering::{Ensemble, LogLikelihood, evaluate, to_cube};
use crate::error::SpsError;
use outshine_kernels::random::Stream;
use outshine_kernels::scalar;

/// Acceptance that the scale of moves is steered to: near the best for a
/// random walk in five to ten dimensions (Roberts & Rosenthal 2001).
const ACCEPTANCE: f64 = 0.25;
/// Share of moves by a whole difference.
const WHOLE: f64 = 0.1;
/// Scales of the other moves, relative to the one that is steered, in ln.
const SPREAD: (f64, f64) = (-1.0, 0.5);
/// Jitter of a move relative to the particles' standard deviation and the
/// scale, so that moves are not confined to differences.
const JITTER: f64 = 1e-3;
/// Bounds of the scale of moves.
const SCALES: (f64, f64) = (1e-3, 2.0);

/// Moves particles, and learns how far.
pub(super) struct Mover {
    /// Multiple of a difference.
    scale: f64,
    /// (dims, dims) lower triangle L of the covariance L L^T of the particles.
    cholesky: Vec<f64>,
    /// (dims) mean squared jump of the last sweep along each axis of L^-1 z.
    pub jumps: Vec<f64>,
    proposal: Vec<f64>,
    cubes: Vec<f64>,
    log_likelihood: Vec<f64>,
}

impl Mover {
    pub fn new(particles: usize, dims: usize) -> Self {
        Self {
            // The best for a normal distribution: ter Braak (2006).
            scale: 2.38 / ((2 * dims) as f64).sqrt(),
            cholesky: vec![0.0; dims * dims],
            jumps: vec![0.0; dims],
            proposal: Vec::with_capacity(particles * dims),
            cubes: Vec::with_capacity(particles * dims),
            log_likelihood: vec![0.0; particles],
        }
    }

    /// Takes the axes that whiten the particles.
    pub fn whiten(&mut self, particles: &Ensemble) {
        let (d, n) = (particles.dims, particles.log_likelihood.len() as f64);
        let mut mean = vec![0.0; d];
        for z in particles.z.chunks_exact(d) {
            mean.iter_mut().zip(z).for_each(|(m, z)| *m += z / n);
        }
        let mut covariance = vec![0.0; d * d];
        for z in particles.z.chunks_exact(d) {
            for i in 0..d {
                for j in 0..=i {
                    covariance[i * d + j] += (z[i] - mean[i]) * (z[j] - mean[j]) / n;
                }
            }
        }
        let l = &mut self.cholesky;
        l.fill(0.0);
        for i in 0..d {
            for j in 0..=i {
                let mut sum = covariance[i * d + j];
                for k in 0..j {
                    sum -= l[i * d + k] * l[j * d + k];
                }
                l[i * d + j] = if i == j {
                    // A width of rounding at least, where particles span no volume.
                    sum.max(1e-24 * covariance[i * d + i]).max(1e-300).sqrt()
                } else {
                    sum / l[j * d + j]
                };
            }
        }
    }

    /// Proposes one move to every particle, half by half; returns how many
    /// were accepted.
    pub fn sweep(
        &mut self,
        particles: &mut Ensemble,
        power: f64,
        stream: &mut Stream,
        log_likelihood: &mut LogLikelihood,
    ) -> Result<usize, SpsError> {
        let n = particles.log_likelihood.len();
        let half = n / 2;
        self.jumps.fill(0.0);
        let mut accepted = 0;
        for (moving, still) in [(0..half, half..n), (half..n, 0..half)] {
            self.propose(particles, moving.clone(), still, stream);
            to_cube(&self.proposal, &mut self.cubes);
            evaluate(log_likelihood, &self.cubes, &mut self.log_likelihood[..moving.len()])?;
            accepted += self.accept(particles, moving, power, stream);
        }
        self.jumps.iter_mut().for_each(|j| *j /= n as f64);
        let excess = accepted as f64 / n as f64 - ACCEPTANCE;
        self.scale = (self.scale * scalar::exp(excess)).clamp(SCALES.0, SCALES.1);
        Ok(accepted)
    }

    fn propose(
        &mut self,
        particles: &Ensemble,
        moving: std::ops::Range<usize>,
        still: std::ops::Range<usize>,
        stream: &mut Stream,
    ) {
        let d = particles.dims;
        let row = |i: usize| &particles.z[i * d..(i + 1) * d];
        self.proposal.clear();
        for i in moving {
            // Two different ones, in either order alike.
            let first = stream.below(still.len() as u64) as usize;
            let step = 1 + stream.below(still.len() as u64 - 1) as usize;
            let second = (first + step) % still.len();
            let (a, b) = (row(still.start + first), row(still.start + second));
            let scale = if stream.uniform() < WHOLE {
                1.0
            } else {
                self.scale * scalar::exp(stream.uniform_in(SPREAD.0, SPREAD.1))
            };
            for (k, z) in row(i).iter().enumerate() {
                let jitter = JITTER * self.cholesky[k * d + k] * stream.uniform_in(-1.0, 1.0);
                self.proposal.push(z + scale * (a[k] - b[k] + jitter));
            }
        }
    }

    fn accept(
        &mut self,
        particles: &mut Ensemble,
        moving: std::ops::Range<usize>,
        power: f64,
        stream: &mut Stream,
    ) -> usize {
        let d = particles.dims;
        let mut accepted = 0;
        let mut jump = vec![0.0; d];
        for (k, i) in moving.enumerate() {
            let new = &self.proposal[k * d..(k + 1) * d];
            let old = &mut particles.z[i * d..(i + 1) * d];
            let (mut squares_new, mut squares_old) = (0.0, 0.0);
            for (new, old) in new.iter().zip(old.iter()) {
                squares_new += new * new;
                squares_old += old * old;
            }
            let gain = power * (self.log_likelihood[k] - particles.log_likelihood[i]);
            // Never for a proposal without likelihood: its gain is minus infinity.
            if scalar::ln(stream.uniform()) < gain - 0.5 * (squares_new - squares_old) {
                for a in 0..d {
                    let mut sum = new[a] - old[a];
                    for b in 0..a {
                        sum -= self.cholesky[a * d + b] * jump[b];
                    }
                    jump[a] = sum / self.cholesky[a * d + a];
                    self.jumps[a] += jump[a] * jump[a];
                }
                old.copy_from_slice(new);
                particles.log_likelihood[i] = self.log_likelihood[k];
                accepted += 1;
            }
        }
        accepted
    }
}
