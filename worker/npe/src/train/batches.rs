//! From example indices to rows that the flow can learn from.

use super::TrainConfig;
use crate::density::{DensitySpec, Target};
use crate::error::NpeError;
use crate::examples::Examples;
use crate::standardisation::Standardisation;
use outshine_kernels::random::{Purpose, Stream};
use outshine_kernels::scalar;

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
pub(super) struct Observed {
    /// Features, [rows, C].
    features: Vec<f32>,
    /// Parameters, [rows, d].
    theta: Vec<f64>,
    /// Redshifts, [rows].
    redshift: Vec<f64>,
}

impl Observed {
    pub(super) fn append(&mut self, mut other: Self) {
        self.features.append(&mut other.features);
        self.theta.append(&mut other.theta);
        self.redshift.append(&mut other.redshift);
    }

    pub(super) fn len(&self) -> usize {
        self.redshift.len()
    }

    /// What density number `k` of a model is of, [rows, d of the density].
    fn values(&self, k: usize) -> &[f64] {
        if k == 0 { &self.theta } else { &self.redshift }
    }

    /// The leading `c` features of each row, [rows, c].
    fn context(&self, c: usize) -> impl Iterator<Item = &[f32]> {
        self.features
            .chunks_exact(self.features.len() / self.len().max(1))
            .map(move |row| &row[..c])
    }

    /// Scales and crude estimate for density number `k`.
    pub(super) fn standardisation(&self, k: usize, spec: &DensitySpec) -> Standardisation {
        let (d, c) = (spec.architecture.dims(), spec.architecture.context());
        let context: Vec<f32> = self.context(c).flatten().copied().collect();
        let (mut fraction, mut unbounded) = (Vec::new(), Vec::new());
        for row in self.values(k).chunks_exact(d) {
            for (i, value) in row.iter().enumerate() {
                let (low, high) = (spec.coordinates.low()[i], spec.coordinates.high()[i]);
                fraction.push((value - low) / (high - low));
                unbounded.push(spec.coordinates.to_unbounded(i, *value).0);
            }
        }
        Standardisation::fit(&context, &fraction, &unbounded, d)
    }

    /// Rows for density number `k`.
    pub(super) fn rows(&self, k: usize, spec: &DensitySpec, s: &Standardisation) -> Rows {
        let (d, c) = (spec.architecture.dims(), spec.architecture.context());
        let mut rows = Rows::default();
        rows.context.resize(self.len() * c, 0.0);
        let (mut centre, mut scale) = (vec![0.0f64; d], vec![0.0f64; d]);
        let contexts = rows.context.chunks_exact_mut(c).zip(self.context(c));
        for ((context, raw), values) in contexts.zip(self.values(k).chunks_exact(d)) {
            s.context(raw, context);
            s.crude(context, &mut centre, &mut scale);
            let mut log_jacobian = 0.0;
            for i in 0..d {
                let (u, log_du) = spec.coordinates.to_unbounded(i, values[i]);
                rows.w.push(((u - centre[i]) / scale[i]) as f32);
                log_jacobian += log_du - scalar::ln(scale[i]);
            }
            rows.log_jacobian.push(log_jacobian);
        }
        rows
    }
}

/// Rows that a density can learn from.
#[derive(Default)]
pub(super) struct Rows {
    /// Standardised features, [rows, C].
    pub context: Vec<f32>,
    /// Standardised coordinates, [rows, d].
    pub w: Vec<f32>,
    /// ln |dw / dtheta|, [rows].
    pub log_jacobian: Vec<f64>,
}

impl Rows {
    pub(super) fn log_jacobian_sum(&self) -> f64 {
        self.log_jacobian.iter().sum()
    }
}

/// What it takes to observe an example.
pub(super) struct Observer<'a> {
    pub target: &'a Target,
    pub data: &'a dyn Examples,
}

impl Observer<'_> {
    /// Observes `indices` in `epoch`.
    pub(super) fn observe(&self, indices: &[u64], epoch: u64) -> Result<Observed, NpeError> {
        let features = &self.target.features;
        let (d, bands, c) = (self.target.coordinates.len(), features.bands().len(), features.len());
        let (mut flux, mut err) = (vec![0.0f32; bands], vec![0.0f32; bands]);
        let mut observed = Observed {
            features: vec![0.0; indices.len() * c],
            theta: vec![0.0; indices.len() * d],
            redshift: Vec::with_capacity(indices.len()),
        };
        let rows = observed.features.chunks_exact_mut(c).zip(observed.theta.chunks_exact_mut(d));
        for (&index, (raw, theta)) in indices.iter().zip(rows) {
            let redshift = self.data.fill(index, epoch, theta, &mut flux, &mut err);
            self.check(index, redshift, theta, &flux, &err)?;
            features.features(&flux, &err, redshift, raw);
            observed.redshift.push(redshift);
        }
        Ok(observed)
    }

    fn check(
        &self,
        index: u64,
        redshift: f64,
        theta: &[f64],
        flux: &[f32],
        err: &[f32],
    ) -> Result<(), NpeError> {
        if !self.target.coordinates.contains(theta) {
            let why = format!("theta {theta:?} lies outside the prior box");
            return Err(NpeError::Example { index, why });
        }
        let (low, high) = self.target.redshift;
        if !(low..=high).contains(&redshift) {
            let why = format!("redshift {redshift} lies outside {low} to {high}");
            return Err(NpeError::Example { index, why });
        }
        for (f, e) in flux.iter().zip(err) {
            if *e > 0.0 && !(f.is_finite() && e.is_finite()) {
                return Err(NpeError::Example { index, why: format!("flux {f} +- {e} nJy") });
            }
        }
        Ok(())
    }
}
