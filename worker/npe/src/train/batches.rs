//! From example indices to rows that the flow can learn from.

use super::TrainConfig;
use crate::coordinates::Coordinates;
use crate::error::NpeError;
use crate::examples::Examples;
use crate::features::FeatureSpec;
use crate::standardisation::Standardisation;
use outshine_kernels::random::{Purpose, Stream};
use outshine_kernels::scalar;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Indices for training and for validation, a split fixed by the seed.
pub(super) fn split_indices(config: &TrainConfig, n: u64) -> (Vec<u64>, Vec<u64>) {
    let mut stream = Stream::new(config.seed, Purpose::Shuffle, u64::MAX, 0);
    let order = stream.permutation(n as usize);
    let held_out = ((n as f64 * config.validation_fraction) as usize).clamp(1, n as usize - 1);
    let indices = |part: &[u32]| part.iter().map(|&k| u64::from(k)).collect();
    (indices(&order[held_out..]), indices(&order[..held_out]))
}

/// Observed examples, row after row.
#[derive(Default)]
pub(super) struct Rows {
    /// Features: standardised if there is a standardisation, [rows, C].
    pub context: Vec<f32>,
    /// What the flow learns, [rows, d]; empty without a standardisation.
    pub w: Vec<f32>,
    /// ln |dw / dtheta|, [rows]; empty without a standardisation.
    pub log_jacobian: Vec<f64>,
    /// Fraction of the box, [rows, d]; empty with a standardisation.
    pub fraction: Vec<f64>,
    /// Unbounded coordinates, [rows, d]; empty with a standardisation.
    pub unbounded: Vec<f64>,
}

impl Rows {
    pub(super) fn append(&mut self, mut other: Self) {
        self.context.append(&mut other.context);
        self.w.append(&mut other.w);
        self.log_jacobian.append(&mut other.log_jacobian);
        self.fraction.append(&mut other.fraction);
        self.unbounded.append(&mut other.unbounded);
    }

    pub(super) fn log_jacobian_sum(&self) -> f64 {
        self.log_jacobian.iter().sum()
    }
}

/// What it takes to observe an example.
pub(super) struct Observer<'a> {
    pub coordinates: &'a Coordinates,
    pub features: &'a FeatureSpec,
    pub data: &'a dyn Examples,
    pub standardisation: Option<&'a Standardisation>,
}

impl Observer<'_> {
    /// Observes `indices` in `epoch`.
    pub(super) fn observe(&self, indices: &[u64], epoch: u64) -> Result<Rows, NpeError> {
        let (d, bands, c) =
            (self.coordinates.len(), self.features.bands().len(), self.features.len());
        let mut theta = vec![0.0f64; d];
        let (mut flux, mut err) = (vec![0.0f32; bands], vec![0.0f32; bands]);
        let (mut raw, mut context) = (vec![0.0f32; c], vec![0.0f32; c]);
        let (mut centre, mut scale) = (vec![0.0f64; d], vec![0.0f64; d]);
        let mut rows = Rows::default();
        rows.context.reserve(indices.len() * c);
        for &index in indices {
            let redshift = self.data.fill(index, epoch, &mut theta, &mut flux, &mut err);
            self.check(index, redshift, &theta, &flux, &err)?;
            self.features.features(&flux, &err, redshift, &mut raw);
            let Some(standardisation) = self.standardisation else {
                rows.context.extend_from_slice(&raw);
                for i in 0..d {
                    let (low, high) = (self.coordinates.low()[i], self.coordinates.high()[i]);
                    rows.fraction.push((theta[i] - low) / (high - low));
                    rows.unbounded.push(self.coordinates.to_unbounded(i, theta[i]).0);
                }
                continue;
            };
            standardisation.context(&raw, &mut context);
            standardisation.crude(&context, &mut centre, &mut scale);
            rows.context.extend_from_slice(&context);
            let mut log_jacobian = 0.0;
            for i in 0..d {
                let (u, log_du) = self.coordinates.to_unbounded(i, theta[i]);
                rows.w.push(((u - centre[i]) / scale[i]) as f32);
                log_jacobian += log_du - scalar::ln(scale[i]);
            }
            rows.log_jacobian.push(log_jacobian);
        }
        Ok(rows)
    }

    fn check(
        &self,
        index: u64,
        redshift: f64,
        theta: &[f64],
        flux: &[f32],
        err: &[f32],
    ) -> Result<(), NpeError> {
        if !self.coordinates.contains(theta) {
            let why = format!("theta {theta:?} lies outside the prior box");
            return Err(NpeError::Example { index, why });
        }
        if !(redshift.is_finite() && redshift > -1.0) {
            return Err(NpeError::Example { index, why: format!("redshift {redshift}") });
        }
        for (f, e) in flux.iter().zip(err) {
            if *e > 0.0 && !(f.is_finite() && e.is_finite()) {
                return Err(NpeError::Example { index, why: format!("flux {f} +- {e} nJy") });
            }
        }
        Ok(())
    }
}

/// Runs `job` for 0..n on `threads` threads; results in order.
pub(super) fn parallel<T: Send>(
    threads: usize,
    n: usize,
    job: impl Fn(usize) -> T + Sync,
) -> Vec<T> {
    if threads <= 1 || n <= 1 {
        return (0..n).map(job).collect();
    }
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<Option<T>>> = Mutex::new((0..n).map(|_| None).collect());
    let work = || {
        loop {
            let k = next.fetch_add(1, Ordering::Relaxed);
            if k >= n {
                return;
            }
            let result = job(k);
            done.lock().expect("no other worker panicked")[k] = Some(result);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(n) {
            scope.spawn(work);
        }
        work();
    });
    let done = done.into_inner().expect("no worker panicked");
    done.into_iter().map(|slot| slot.expect("every job ran")).collect()
}
