//! Adam (Kingma & Ba 2015), with its state in the caller's hands.

use crate::error::NpeError;
use candle_core::{Storage, Tensor};
use outshine_kernels::scalar;

const BETA_1: f32 = 0.9;
const BETA_2: f32 = 0.999;
const EPSILON: f32 = 1e-8;

/// One step's constants.
pub(super) struct Rule {
    rate: f32,
    second_correction: f32,
    gradient_scale: f32,
}

impl Rule {
    /// Step number `step` (from 1); gradients are multiplied by `gradient_scale`.
    pub(super) fn new(learning_rate: f64, step: u64, gradient_scale: f32) -> Self {
        let power = |beta: f32| 1.0 - scalar::pow(f64::from(beta), step as f64);
        Self {
            rate: (learning_rate / power(BETA_1)) as f32,
            second_correction: (1.0 / power(BETA_2)) as f32,
            gradient_scale,
        }
    }

    /// Moves `weights` and both moments.
    pub(super) fn apply(
        &self,
        gradient: &[f32],
        weights: &mut [f32],
        m: &mut [f32],
        v: &mut [f32],
    ) {
        let moments = m.iter_mut().zip(v.iter_mut());
        for ((w, g), (m, v)) in weights.iter_mut().zip(gradient).zip(moments) {
            let g = g * self.gradient_scale;
            *m = BETA_1 * *m + (1.0 - BETA_1) * g;
            *v = BETA_2 * *v + (1.0 - BETA_2) * (g * g);
            *w -= self.rate * *m / ((*v * self.second_correction).sqrt() + EPSILON);
        }
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
