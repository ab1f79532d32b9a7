//! Adam in the directions in which the gradients vary: SOAP (Vyas et al. 2024,
//! arXiv:2409.11321).
//!
//! For weights W with gradient G, both [r, c], the running covariances of G's
//! rows and columns have directions Q_L, [r, r], and Q_R, [c, c], one per row
//! ([`Turn`]). Adam (Kingma & Ba 2015) runs on Q_L G Q_R^T, and its step is
//! turned back. Where the loss is steep in some directions and flat in others,
//! as that of sharp posteriors is, this takes a fraction of Adam's steps.
//!
//! Masked layers ([`Layer::masked`]) are not turned, as a turned step would
//! fill what the mask leaves out; neither are single rows. Masked layers take
//! Adam as published.

use super::turn::{Turn, product};
use crate::error::NpeError;
use crate::flow::Layer;
use crate::matmul::{Level, View};
use candle_core::{Storage, Tensor};
use outshine_kernels::scalar;

/// Decays of the moments of masked layers, and of all others.
const BETAS_MASKED: (f32, f32) = (0.9, 0.999);
const BETAS: (f32, f32) = (0.95, 0.99);
const EPSILON: f32 = 1e-8;
/// Steps between two looks at the covariances.
const SEE_EVERY: u64 = 2;
/// Steps between two looks at their directions.
const REFRESH_EVERY: u64 = 10;

/// What the optimiser keeps of a matrix of weights.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Moments {
    /// Running mean of the turned gradient, [r, c].
    pub first: Vec<f32>,
    /// Running mean of its squares, [r, c].
    pub second: Vec<f32>,
    /// Directions of rows and columns, where the gradient is turned.
    pub turns: Option<[Turn; 2]>,
}

impl Moments {
    /// Those of a layer before its first step.
    pub fn new(layer: &Layer) -> Self {
        let zeros = vec![0.0; layer.rows * layer.cols];
        let turns = turned(layer).then(|| [Turn::new(layer.rows), Turn::new(layer.cols)]);
        Self { first: zeros.clone(), second: zeros, turns }
    }
}

/// Whether a layer's gradient is turned.
pub(crate) fn turned(layer: &Layer) -> bool {
    !layer.masked && layer.rows > 1
}

/// One step's constants.
pub(super) struct Rule {
    /// Instruction set.
    pub level: Level,
    /// Learning rate.
    pub rate: f64,
    /// Number of the step, from 1.
    pub step: u64,
    /// What gradients are multiplied by.
    pub scale: f32,
}

impl Rule {
    /// Moves a layer's `weights` and moments; `gradient` is scaled in place.
    pub fn apply(&self, layer: &Layer, gradient: &mut [f32], weights: &mut [f32], m: &mut Moments) {
        gradient.iter_mut().for_each(|g| *g *= self.scale);
        let betas = if layer.masked { BETAS_MASKED } else { BETAS };
        let shape = (layer.rows, layer.cols);
        let Moments { first, second, turns } = m;
        let Some([left, right]) = turns else {
            self.move_moments(betas, gradient, first, second);
            for (w, step) in weights.iter_mut().zip(self.steps(betas, first, second)) {
                *w -= step;
            }
            return;
        };
        if self.step == 1 || self.step.is_multiple_of(SEE_EVERY) {
            let (r, c) = shape;
            let g = View::new(gradient, c);
            left.see(&product(self.level, (r, c, r), g, g.t()), self.step == 1);
            right.see(&product(self.level, (c, r, c), g.t(), g), self.step == 1);
        }
        let there = self.turn(shape, gradient, (left, right), false);
        self.move_moments(betas, &there, first, second);
        let steps: Vec<f32> = self.steps(betas, first, second).collect();
        let back = self.turn(shape, &steps, (left, right), true);
        for (w, step) in weights.iter_mut().zip(back) {
            *w -= step;
        }
        if self.step.is_multiple_of(REFRESH_EVERY) {
            let plain = self.turn(shape, first, (left, right), true);
            let (r, c) = shape;
            if let Some(from) = left.refresh(self.level) {
                *second = (0..r * c).map(|k| second[from[k / c] * c + k % c]).collect();
            }
            if let Some(from) = right.refresh(self.level) {
                *second = (0..r * c).map(|k| second[k / c * c + from[k % c]]).collect();
            }
            *first = self.turn(shape, &plain, (left, right), false);
        }
    }

    /// Q_L X Q_R^T, or `back`: Q_L^T X Q_R.
    fn turn(
        &self,
        (r, c): (usize, usize),
        x: &[f32],
        (left, right): (&Turn, &Turn),
        back: bool,
    ) -> Vec<f32> {
        let (q_l, q_r) = (View::new(&left.directions, r), View::new(&right.directions, c));
        let (q_l, q_r) = if back { (q_l.t(), q_r) } else { (q_l, q_r.t()) };
        let half = product(self.level, (r, r, c), q_l, View::new(x, c));
        product(self.level, (r, c, c), View::new(&half, c), q_r)
    }

    fn move_moments(
        &self,
        (keep_1, keep_2): (f32, f32),
        gradient: &[f32],
        first: &mut [f32],
        second: &mut [f32],
    ) {
        for ((m, v), g) in first.iter_mut().zip(second).zip(gradient) {
            *m = keep_1 * *m + (1.0 - keep_1) * g;
            *v = keep_2 * *v + (1.0 - keep_2) * (g * g);
        }
    }

    fn steps<'a>(
        &self,
        (keep_1, keep_2): (f32, f32),
        first: &'a [f32],
        second: &'a [f32],
    ) -> impl Iterator<Item = f32> + 'a {
        let power = |keep: f32| 1.0 - scalar::pow(f64::from(keep), self.step as f64);
        let rate = (self.rate / power(keep_1)) as f32;
        let correction = (1.0 / power(keep_2)) as f32;
        let pairs = first.iter().zip(second);
        pairs.map(move |(m, v)| rate * m / ((v * correction).sqrt() + EPSILON))
    }
}

/// Square of the Euclidean norm, in eight interleaved sums.
pub(super) fn square(gradient: &[f32]) -> f64 {
    let mut sums = [0.0f64; 8];
    for chunk in gradient.chunks(8) {
        for (s, x) in sums.iter_mut().zip(chunk) {
            *s += f64::from(*x) * f64::from(*x);
        }
    }
    sums.iter().sum()
}

/// Adds a tensor's values to `total`, or replaces it when `first`.
pub(super) fn accumulate(tensor: &Tensor, total: &mut [f32], first: bool) -> Result<(), NpeError> {
    let (storage, layout) = tensor.storage_and_layout();
    let (Storage::Cpu(cpu), Some((from, to))) = (&*storage, layout.contiguous_offsets()) else {
        return Err(candle_core::Error::Msg("a gradient is not a plain CPU tensor".into()).into());
    };
    let values = &cpu.as_slice::<f32>()?[from..to];
    if first {
        total.copy_from_slice(values);
    } else {
        for (t, x) in total.iter_mut().zip(values) {
            *t += x;
        }
    }
    Ok(())
}
