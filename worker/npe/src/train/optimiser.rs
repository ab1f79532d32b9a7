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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::turn::gram_schmidt;
    use outshine_kernels::random::{Purpose, Stream};

    const ROWS: usize = 6;
    const COLS: usize = 4;

    fn random(n: usize, key: u64) -> Vec<f32> {
        let mut stream = Stream::new(9, Purpose::Weights, key, 0);
        (0..n).map(|_| stream.normal() as f32).collect()
    }

    fn layer(masked: bool) -> Layer {
        Layer { name: String::new(), rows: ROWS, cols: COLS, masked }
    }

    fn rule(step: u64) -> Rule {
        Rule { level: Level::detect(), rate: 0.01, step, scale: 0.5 }
    }

    /// Q_L X Q_R^T by definition, or Q_L^T X Q_R where `back`.
    fn turned_by(x: &[f64], q: &[Vec<f32>; 2], back: bool) -> Vec<f64> {
        let mut out = vec![0.0; ROWS * COLS];
        for i in 0..ROWS {
            for j in 0..COLS {
                for k in 0..ROWS {
                    for l in 0..COLS {
                        let (left, right) = match back {
                            false => (q[0][i * ROWS + k], q[1][j * COLS + l]),
                            true => (q[0][k * ROWS + i], q[1][l * COLS + j]),
                        };
                        out[i * COLS + j] += f64::from(left) * x[k * COLS + l] * f64::from(right);
                    }
                }
            }
        }
        out
    }

    fn near(a: &[f32], b: &[f64]) -> bool {
        a.iter().zip(b).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-5)
    }

    /// In known directions: Adam's first two steps on the turned gradient,
    /// turned back. Masked layers: Adam's own.
    #[test]
    fn a_step_is_adams_in_the_directions() {
        let mut q = [random(ROWS * ROWS, 1), random(COLS * COLS, 2)];
        gram_schmidt(&mut q[0], ROWS, &mut 1.0);
        gram_schmidt(&mut q[1], COLS, &mut 1.0);
        for masked in [false, true] {
            let mut moments = Moments::new(&layer(masked));
            for (turn, q) in moments.turns.iter_mut().flatten().zip(&q) {
                turn.directions.clone_from(q);
            }
            let there = |x: &[f64]| if masked { x.to_vec() } else { turned_by(x, &q, false) };
            let back = |x: &[f64]| if masked { x.to_vec() } else { turned_by(x, &q, true) };
            let (keep_1, keep_2) = if masked { (0.9, 0.999) } else { (0.95, 0.99) };
            let mut weights = random(ROWS * COLS, 3);
            let mut expected: Vec<f64> = weights.iter().map(|w| f64::from(*w)).collect();
            let (mut m, mut v) = (vec![0.0; ROWS * COLS], vec![0.0; ROWS * COLS]);
            for step in 1..=2 {
                let mut gradient = random(ROWS * COLS, 3 + step);
                let scaled: Vec<f64> = gradient.iter().map(|g| 0.5 * f64::from(*g)).collect();
                let g = there(&scaled);
                let mut steps = vec![0.0; ROWS * COLS];
                for i in 0..ROWS * COLS {
                    m[i] = keep_1 * m[i] + (1.0 - keep_1) * g[i];
                    v[i] = keep_2 * v[i] + (1.0 - keep_2) * g[i] * g[i];
                    let mean = m[i] / (1.0 - f64::powi(keep_1, step as i32));
                    let square = v[i] / (1.0 - f64::powi(keep_2, step as i32));
                    steps[i] = 0.01 * mean / (square.sqrt() + 1e-8);
                }
                expected.iter_mut().zip(back(&steps)).for_each(|(w, s)| *w -= s);
                rule(step).apply(&layer(masked), &mut gradient, &mut weights, &mut moments);
                assert!(near(&weights, &expected), "step {step}, masked: {masked}");
            }
        }
    }

    /// New directions leave the mean gradient, turned back, what it was, and
    /// are other ones than before.
    #[test]
    fn the_mean_gradient_survives_new_directions() {
        let mut moments = Moments::new(&layer(false));
        let mut weights = vec![0.0; ROWS * COLS];
        let mut mean = vec![0.0; ROWS * COLS];
        for step in 1..=REFRESH_EVERY {
            let mut gradient = random(ROWS * COLS, step);
            for (mean, g) in mean.iter_mut().zip(&gradient) {
                *mean = 0.95 * *mean + 0.05 * 0.5 * f64::from(*g);
            }
            rule(step).apply(&layer(false), &mut gradient, &mut weights, &mut moments);
        }
        let turns = moments.turns.as_ref().unwrap();
        let q = [turns[0].directions.clone(), turns[1].directions.clone()];
        assert_ne!(q[0], Turn::new(ROWS).directions);
        assert_ne!(q[1], Turn::new(COLS).directions);
        let first: Vec<f64> = moments.first.iter().map(|x| f64::from(*x)).collect();
        let plain: Vec<f32> = turned_by(&first, &q, true).iter().map(|x| *x as f32).collect();
        assert!(near(&plain, &mean), "{plain:?} {mean:?}");
    }
}
