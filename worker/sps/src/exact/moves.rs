//! Metropolis moves of particles, by the differences of others and to places
//! where others are.

use super::kernels::{Kernels, cholesky};
use super::tempering::{Ensemble, LogLikelihood, evaluate, log_start, to_cube};
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
/// Others whose places are moved to, and the width of a kernel about each: wide
/// enough for so few of them to cover the posterior, and little wider than it.
const PLACES: usize = 100;
const WIDTH: f64 = 0.6;

/// Moves particles, and learns how far.
pub(super) struct Mover {
    /// Multiple of a difference.
    scale: f64,
    /// (dims, dims) lower triangle L of the covariance L L^T of the particles.
    cholesky: Vec<f64>,
    /// (dims) mean squared jump of the last sweep along each axis of L^-1 z.
    pub jumps: Vec<f64>,
    /// Sweeps so far; they take turns.
    sweeps: usize,
    /// (moving, dims) where particles would go.
    proposal: Vec<f64>,
    /// (moving) ln of the prior there over that here, times that of the
    /// proposal here over that there.
    favour: Vec<f64>,
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
            sweeps: 0,
            favour: Vec::with_capacity(particles),
            proposal: Vec::with_capacity(particles * dims),
            cubes: Vec::with_capacity(particles * dims),
            log_likelihood: vec![0.0; particles],
        }
    }

    /// Takes the axes that whiten the particles.
    pub fn whiten(&mut self, particles: &Ensemble) {
        self.cholesky = cholesky(&particles.z, particles.dims);
    }

    /// Proposes one move to every particle, half by half; returns how many
    /// were accepted.
    pub fn sweep(
        &mut self,
        particles: &mut Ensemble,
        start: Option<&Kernels>,
        power: f64,
        stream: &mut Stream,
        log_likelihood: &mut LogLikelihood,
    ) -> Result<usize, SpsError> {
        let n = particles.log_likelihood.len();
        let half = n / 2;
        self.jumps.fill(0.0);
        let mut accepted = 0;
        let to_places = self.sweeps % 2 == 1;
        self.sweeps += 1;
        for (moving, still) in [(0..half, half..n), (half..n, 0..half)] {
            self.proposal.clear();
            self.favour.clear();
            if to_places {
                self.propose_places(particles, moving.clone(), still, stream);
            } else {
                self.propose_differences(particles, moving.clone(), still, stream);
            }
            to_cube(&self.proposal, &mut self.cubes);
            evaluate(log_likelihood, &self.cubes, &mut self.log_likelihood[..moving.len()])?;
            accepted += self.accept(particles, start, moving, power, stream);
        }
        self.jumps.iter_mut().for_each(|j| *j /= n as f64);
        if to_places {
            return Ok(accepted);
        }
        let excess = accepted as f64 / n as f64 - ACCEPTANCE;
        self.scale = (self.scale * scalar::exp(excess)).clamp(SCALES.0, SCALES.1);
        Ok(accepted)
    }

    fn propose_differences(
        &mut self,
        particles: &Ensemble,
        moving: std::ops::Range<usize>,
        still: std::ops::Range<usize>,
        stream: &mut Stream,
    ) {
        let d = particles.dims;
        let row = |i: usize| &particles.z[i * d..(i + 1) * d];
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
            let squares = |z: &[f64]| z.iter().map(|z| z * z).sum::<f64>();
            let new = &self.proposal[self.proposal.len() - d..];
            self.favour.push(-0.5 * (squares(new) - squares(row(i))));
        }
    }

    fn propose_places(
        &mut self,
        particles: &Ensemble,
        moving: std::ops::Range<usize>,
        still: std::ops::Range<usize>,
        stream: &mut Stream,
    ) {
        let d = particles.dims;
        let row = |i: usize| &particles.z[i * d..(i + 1) * d];
        // Copies of a particle lie side by side: take them evenly.
        let places = PLACES.min(still.len());
        let place = |k: usize| row(still.start + k * still.len() / places);
        let points = (0..places).flat_map(place).copied().collect();
        let kernels = Kernels::around(points, d, WIDTH);
        self.proposal.resize(moving.len() * d, 0.0);
        for (i, new) in moving.zip(self.proposal.chunks_exact_mut(d)) {
            kernels.draw(stream, new);
            self.favour.push(kernels.log_ratio(row(i)) - kernels.log_ratio(new));
        }
    }

    fn accept(
        &mut self,
        particles: &mut Ensemble,
        start: Option<&Kernels>,
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
            let start_new = log_start(start, new);
            let gain = power * (self.log_likelihood[k] - particles.log_likelihood[i])
                + (1.0 - power) * (start_new - particles.log_start[i]);
            // Never for a proposal without likelihood: its gain is minus infinity.
            if scalar::ln(stream.uniform()) < gain + self.favour[k] {
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
                particles.log_start[i] = start_new;
                accepted += 1;
            }
        }
        accepted
    }
}
