//! Test vectors: what the network's own package computed.

use super::VECTORS;
use super::model::PublishedModel;
use super::sampler::{Sampler, Scratch};
use crate::error::NpeError;
use crate::storage::Arrays;
use outshine_kernels::random::{Purpose, Stream};
use std::fmt;

/// Largest deviation allowed: of a parameter in units of its spread, and of
/// ln p as [`Deviations::log_prob`] has it. Both sides compute in single precision.
pub const TOLERANCE: f64 = 1e-3;

/// Contexts, base noise and what became of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Vectors {
    pixels: usize,
    draws: usize,
    dims: usize,
    pub(super) context: Vec<f32>,
    base_noise: Vec<f32>,
    pub(super) theta: Vec<f32>,
    pub(super) true_theta: Vec<f32>,
    pub(super) log_prob_true_theta: Vec<f32>,
}

/// How far a sampler is from its test vectors.
#[derive(Clone, Debug, PartialEq)]
pub struct Deviations {
    /// Pixels and draws of each compared.
    pub pixels: usize,
    /// Draws per pixel.
    pub draws: usize,
    /// Per parameter: name, spread (root mean square over pixels of the
    /// standard deviation of the draws), largest deviation in units of it.
    pub theta: Vec<(String, f64, f64)>,
    /// Largest deviation of ln p(true theta), nats; where |ln p| > 10, of
    /// ln p / (|ln p| / 10). So far out ln p = -z^2 / 2 is the square of a large
    /// number, of which single precision keeps four digits after the blocks.
    pub log_prob: f64,
}

impl Vectors {
    /// Reads `vectors.safetensors` (float32): `context` [pixels, C],
    /// `base_noise` and `theta` [pixels, draws, d], `true_theta` [pixels, d],
    /// `log_prob_true_theta` (pixels).
    ///
    /// # Errors
    /// [`NpeError::Unreadable`] naming the tensor that does not fit the model.
    pub fn from_bytes(bytes: &[u8], model: &PublishedModel) -> Result<Self, NpeError> {
        let bad = |why: String| NpeError::Unreadable { what: VECTORS, why };
        let mut arrays = Arrays::from_plain_bytes(VECTORS, bytes)?;
        let (d, c) = (model.dims(), model.context_len());
        let name = "base_noise";
        let (pixels, draws) = match arrays.shape(name) {
            None => return Err(bad(format!("array `{name}` is missing"))),
            Some(&[pixels, draws, dims]) if dims == d && pixels > 0 && draws > 1 => (pixels, draws),
            Some(shape) => {
                let why = format!(
                    "array `{name}` has shape {shape:?}, not [pixels, draws (2 or more), {d}]"
                );
                return Err(bad(why));
            }
        };
        let mut read = |name, shape: &[usize]| arrays.take_f32(VECTORS, name, shape);
        let vectors = Self {
            pixels,
            draws,
            dims: d,
            context: read("context", &[pixels, c])?,
            base_noise: read(name, &[pixels, draws, d])?,
            theta: read("theta", &[pixels, draws, d])?,
            true_theta: read("true_theta", &[pixels, d])?,
            log_prob_true_theta: read("log_prob_true_theta", &[pixels])?,
        };
        if let Some(name) = arrays.names().next() {
            return Err(bad(format!("array `{name}` is unknown")));
        }
        Ok(vectors)
    }

    /// What our own sampler makes of a model with standard normal contexts and
    /// noise, and all true theta 0: for tests and benchmarks.
    ///
    /// # Errors
    /// Those of [`Sampler::theta_of_noise`].
    pub fn of(
        model: &PublishedModel,
        pixels: usize,
        draws: usize,
        seed: u64,
    ) -> Result<Self, NpeError> {
        let (d, c, row) = (model.dims(), model.context_len(), draws * model.dims());
        let mut stream = Stream::new(seed, Purpose::Draw, pixels as u64, draws as u64);
        let mut normals = |n: usize| (0..n).map(|_| stream.normal() as f32).collect::<Vec<f32>>();
        let (context, base_noise) = (normals(pixels * c), normals(pixels * row));
        let sampler = Sampler::new(model);
        let mut scratch = Scratch::default();
        let (mut theta, mut log_prob) = (vec![0.0; pixels * row], vec![0.0; pixels]);
        for p in 0..pixels {
            let seen = &context[p * c..(p + 1) * c];
            let rows = p * row..(p + 1) * row;
            sampler.theta_of_noise(
                seen,
                &base_noise[rows.clone()],
                &mut scratch,
                &mut theta[rows],
            )?;
            let origin = vec![0.0; d];
            sampler.log_prob(seen, &origin, &mut scratch, &mut log_prob[p..=p])?;
        }
        Ok(Self {
            pixels,
            draws,
            dims: d,
            context,
            base_noise,
            theta: theta.into_iter().map(|x| x as f32).collect(),
            true_theta: vec![0.0; pixels * d],
            log_prob_true_theta: log_prob.into_iter().map(|x| x as f32).collect(),
        })
    }

    /// The file that [`Vectors::from_bytes`] reads.
    #[must_use]
    pub fn to_safetensors(&self) -> Vec<u8> {
        let (pixels, draws, d) = (self.pixels, self.draws, self.dims);
        let mut arrays = Arrays::default();
        let c = self.context.len() / pixels.max(1);
        arrays.put_f32("context", vec![pixels, c], &self.context);
        arrays.put_f32("base_noise", vec![pixels, draws, d], &self.base_noise);
        arrays.put_f32("theta", vec![pixels, draws, d], &self.theta);
        arrays.put_f32("true_theta", vec![pixels, d], &self.true_theta);
        arrays.put_f32("log_prob_true_theta", vec![pixels], &self.log_prob_true_theta);
        arrays.to_plain_bytes()
    }

    /// Computes the vectors again.
    ///
    /// # Errors
    /// Those of [`Sampler::theta_of_noise`].
    pub fn check(&self, model: &PublishedModel) -> Result<Deviations, NpeError> {
        let (d, row) = (self.dims, self.draws * self.dims);
        let sampler = Sampler::new(model);
        let mut scratch = Scratch::default();
        let mut out = vec![0.0; row];
        let (mut variance, mut worst) = (vec![0.0; d], vec![0.0f64; d]);
        let mut worst_log_prob = 0.0f64;
        for p in 0..self.pixels {
            let context = &self.context[p * model.context_len()..(p + 1) * model.context_len()];
            let noise = &self.base_noise[p * row..(p + 1) * row];
            sampler.theta_of_noise(context, noise, &mut scratch, &mut out)?;
            let expected = &self.theta[p * row..(p + 1) * row];
            for i in 0..d {
                let values = || expected.iter().skip(i).step_by(d).map(|&x| f64::from(x));
                let mean = values().sum::<f64>() / self.draws as f64;
                let squares: f64 = values().map(|x| (x - mean) * (x - mean)).sum();
                variance[i] += squares / (self.draws - 1) as f64 / self.pixels as f64;
                for (x, &got) in values().zip(out.iter().skip(i).step_by(d)) {
                    worst[i] = larger(worst[i], (got - x).abs());
                }
            }
            let point = &self.true_theta[p * d..(p + 1) * d];
            let point: Vec<f64> = point.iter().map(|&x| f64::from(x)).collect();
            let mut log_prob = [0.0];
            sampler.log_prob(context, &point, &mut scratch, &mut log_prob)?;
            let expected = f64::from(self.log_prob_true_theta[p]);
            let unit = (expected.abs() / 10.0).max(1.0);
            worst_log_prob = larger(worst_log_prob, (log_prob[0] - expected).abs() / unit);
        }
        let names = model.theta().iter().zip(variance).zip(worst);
        let theta = names.map(|((name, variance), worst)| {
            let spread = variance.sqrt();
            (name.clone(), spread, worst / spread)
        });
        Ok(Deviations {
            pixels: self.pixels,
            draws: self.draws,
            theta: theta.collect(),
            log_prob: worst_log_prob,
        })
    }
}

/// The larger of two deviations; NaN is larger than any.
fn larger(a: f64, b: f64) -> f64 {
    if a >= b || a.is_nan() { a } else { b }
}

impl Deviations {
    /// What is beyond [`TOLERANCE`], NaN included.
    #[must_use]
    pub fn beyond(&self) -> Vec<&str> {
        let theta = self.theta.iter().map(|(name, _, worst)| (name.as_str(), *worst));
        let all = theta.chain([("log_prob", self.log_prob)]);
        all.filter(|(_, worst)| worst.is_nan() || *worst > TOLERANCE)
            .map(|(name, _)| name)
            .collect()
    }
}

impl fmt::Display for Deviations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} pixels, {} draws each; largest deviations:", self.pixels, self.draws)?;
        for (name, spread, worst) in &self.theta {
            writeln!(f, "{name:<20}  {worst:.2e} of its spread, {spread:.4}")?;
        }
        let unit = "nat; where |ln p| is above 10, of a tenth of it";
        writeln!(f, "{:<20}  {:.2e} {unit}", "log_prob", self.log_prob)
    }
}
