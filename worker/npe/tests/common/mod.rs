//! A linear Gaussian problem with a known posterior.
#![allow(dead_code, missing_docs)]

use outshine_kernels::random::{Purpose, Stream};
use outshine_kernels::scalar;
use outshine_npe::{
    Checkpoint, Coordinates, Examples, FeatureSpec, FlowKind, Object, Sampler, Scratch, Target,
    TrainConfig, train_span,
};
use std::ops::ControlFlow;

pub const BANDS: usize = 2;

/// theta_i = low + (high - low) Phi(u_i) with u ~ N(0, 1); band i measures
/// 30 + u_i + u_0 / 2 with unit error (or does not).
pub struct Linear {
    pub n: u64,
    pub seed: u64,
    pub dims: usize,
    pub missing: bool,
}

impl Examples for Linear {
    fn len(&self) -> u64 {
        self.n
    }

    fn fill(
        &self,
        index: u64,
        epoch: u64,
        theta: &mut [f64],
        flux: &mut [f32],
        err: &mut [f32],
    ) -> f64 {
        let mut prior = Stream::new(self.seed, Purpose::Simulation, index, 0);
        let u: Vec<f64> = (0..self.dims).map(|_| prior.normal()).collect();
        for (i, t) in theta.iter_mut().enumerate() {
            *t = coordinates(self.dims).to_box(i, u[i]);
        }
        let mut noise = Stream::new(self.seed, Purpose::Observation, index, epoch);
        for b in 0..BANDS {
            let signal = u.get(b).copied().unwrap_or(0.0) + if b > 0 { 0.5 * u[0] } else { 0.0 };
            flux[b] = (30.0 + signal + noise.normal()) as f32;
            err[b] = 1.0;
        }
        if self.missing && noise.below(4) == 0 {
            err[1] = 0.0;
        }
        1.0 + prior.uniform()
    }
}

pub fn coordinates(dims: usize) -> Coordinates {
    let names = (0..dims).map(|i| format!("theta_{i}")).collect();
    Coordinates::new(names, vec![-1.0; dims], (0..dims).map(|i| 1.0 + i as f64).collect()).unwrap()
}

pub fn features() -> FeatureSpec {
    FeatureSpec::new(vec!["a".into(), "b".into()], vec![1.0, 1.0]).unwrap()
}

pub fn target(dims: usize) -> Target {
    Target { coordinates: coordinates(dims), redshift: (0.0, 3.0), features: features() }
}

/// A small density of the default kind, and one of the redshift.
pub fn small(max_epochs: u32) -> TrainConfig {
    TrainConfig {
        blocks: 1,
        hidden: 32,
        components: 2,
        couplings: 2,
        units: 8,
        redshift_hidden: 8,
        redshift_components: 2,
        batch: 64,
        warm_up: 20,
        max_epochs,
        ..TrainConfig::default()
    }
}

/// A small masked autoregressive flow, without a density of the redshift.
pub fn small_maf(max_epochs: u32) -> TrainConfig {
    let (blocks, hidden, redshift_hidden) = (3, 16, 0);
    TrainConfig { flow: FlowKind::Maf, blocks, hidden, redshift_hidden, ..small(max_epochs) }
}

/// `n` draws of one object, coordinate after coordinate.
pub fn draws(sampler: &Sampler, object: &Object<'_>, stream: &mut Stream, n: usize) -> Vec<f32> {
    let seen = sampler.see(&[*object]).unwrap();
    let mut out = vec![f32::NAN; n * sampler.coordinates().len()];
    sampler.draw(&seen, 0, stream, n, &mut Scratch::default(), &mut out).unwrap();
    out
}

pub fn train(config: &TrainConfig, data: &Linear, threads: usize) -> Checkpoint {
    spans(config, data, &[config.max_epochs], threads)
}

/// Trains in spans, through stored bytes in between.
pub fn spans(config: &TrainConfig, data: &Linear, spans: &[u32], threads: usize) -> Checkpoint {
    let mut from: Option<Checkpoint> = None;
    for &epochs in spans {
        let stored = from.map(|c| Checkpoint::from_bytes(&c.to_bytes()).unwrap());
        let next =
            train_span(config, &target(data.dims), data, stored, epochs, threads, &mut |_| {
                ControlFlow::Continue(())
            });
        from = Some(next.unwrap());
    }
    from.unwrap()
}

/// Mean and covariance of (u_0, u_1) given both bands, both with unit error.
pub fn exact(flux: &[f32]) -> ([f64; 2], [[f64; 2]; 2]) {
    // Precision = I + A^T A with A = [[1, 0], [1/2, 1]].
    let (a, b, c) = (2.25, 0.5, 2.0);
    let determinant = a * c - b * b;
    let covariance = [[c / determinant, -b / determinant], [-b / determinant, a / determinant]];
    let (x, y) = (f64::from(flux[0]) - 30.0, f64::from(flux[1]) - 30.0);
    let right = [x + 0.5 * y, y];
    let mean = std::array::from_fn(|i| covariance[i][0] * right[0] + covariance[i][1] * right[1]);
    (mean, covariance)
}

/// ln of the exact posterior density in the box.
pub fn exact_log_prob(flux: &[f32], theta: &[f64]) -> f64 {
    let (mean, s) = exact(flux);
    let c = coordinates(2);
    let (u0, j0) = c.to_unbounded(0, theta[0]);
    let (u1, j1) = c.to_unbounded(1, theta[1]);
    let (x, y) = (u0 - mean[0], u1 - mean[1]);
    let determinant = s[0][0] * s[1][1] - s[0][1] * s[0][1];
    let square = (s[1][1] * x * x - 2.0 * s[0][1] * x * y + s[0][0] * y * y) / determinant;
    -0.5 * square - 0.5 * scalar::ln(determinant) - scalar::ln(std::f64::consts::TAU) + j0 + j1
}
