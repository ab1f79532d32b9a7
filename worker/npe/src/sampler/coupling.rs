//! Draws and densities of [`crate::flow::coupling`], without candle.

use super::WIDEST;
use crate::flow::CouplingShape;
use crate::flow::coupling::{
    COUPLING_INPUT_LIMIT, COUPLING_SCALE_LIMIT, Layout, MIXTURE_SCALE_LIMIT, Tails, bounded,
    log_density,
};
use crate::lane_group::{LANES, layer};
use crate::matmul::{Level, Skip, View, multiply_add};
use outshine_kernels::{lanes, wide};

/// A density laid out for drawing.
#[derive(Clone, Debug)]
pub(super) struct CouplingSampler {
    layout: Layout,
    level: Level,
    /// The conditioner's matrices, biases last, in order.
    conditioner: Vec<Vec<f32>>,
    /// Weights of the couplings.
    couplings: Vec<f32>,
}

/// Work space of one thread.
#[derive(Debug, Default)]
pub(super) struct CouplingScratch {
    units: Vec<f32>,
    given: Vec<f32>,
    affine: Vec<f32>,
}

/// What the draws of one object need: the conditioner's outputs, made ready.
#[derive(Clone, Debug, Default)]
pub(super) struct Prepared {
    /// Below which word a draw belongs to each component or one before it.
    thresholds: Vec<u32>,
    /// Per component: mean [d], width [d] (one over e^a), triangle.
    records: Vec<f32>,
}

impl CouplingSampler {
    pub fn new(shape: CouplingShape, weights: &[Vec<f32>], level: Level) -> Self {
        let layers = 2 + 2 * shape.blocks;
        let couplings = weights.get(layers).cloned().unwrap_or_default();
        let conditioner = weights[..layers].to_vec();
        Self { layout: Layout::new(shape), level, conditioner, couplings }
    }

    /// The conditioner's outputs [n, P] of contexts [n, C]. An object's outputs
    /// do not depend on its company.
    pub fn outputs(&self, contexts: &[f32]) -> Vec<f32> {
        let shape = &self.layout.shape;
        let n = contexts.len() / shape.context;
        let h = shape.hidden;
        let mut state = self.dense(contexts, n, 0, h);
        for block in 0..shape.blocks {
            let mut inner = state.clone();
            wide::silu(&mut inner);
            let mut inner = self.dense(&inner, n, 1 + 2 * block, h);
            wide::silu(&mut inner);
            let inner = self.dense(&inner, n, 2 + 2 * block, h);
            for (s, x) in state.iter_mut().zip(&inner) {
                *s += x;
            }
        }
        wide::silu(&mut state);
        self.dense(&state, n, 1 + 2 * shape.blocks, self.layout.outputs)
    }

    /// [input, 1] W with matrix number `layer`.
    fn dense(&self, input: &[f32], n: usize, layer: usize, width: usize) -> Vec<f32> {
        let weights = &self.conditioner[layer];
        let k = weights.len() / width - 1;
        let mut out = Vec::with_capacity(n * width);
        for _ in 0..n {
            out.extend_from_slice(&weights[k * width..]);
        }
        let (x, w) = (View::new(input, k), View::new(&weights[..k * width], width));
        multiply_add(self.level, (n, k, width), x, w, Skip::Nothing, &mut out, width);
        out
    }

    /// Number of outputs of one object.
    pub fn width(&self) -> usize {
        self.layout.outputs
    }

    /// Shape of the mixture's components.
    pub fn tails(&self) -> Tails {
        self.layout.shape.tails
    }

    /// Shares and places of the mixture of one object: (share, mean, width)
    /// of the first coordinate.
    pub fn components(&self, outputs: &[f32]) -> Vec<(f64, f64, f64)> {
        let d = self.layout.shape.dims;
        let records =
            || outputs.chunks_exact(self.layout.record).take(self.layout.shape.components);
        let top = records().map(|r| r[0]).fold(f32::MIN, f32::max);
        let total: f32 = records().map(|r| lanes::exp_f32(r[0] - top)).sum();
        records()
            .map(|r| {
                let share = lanes::exp_f32(r[0] - top) / total;
                let width = lanes::exp_f32(-bounded(r[1 + d], MIXTURE_SCALE_LIMIT));
                (f64::from(share), f64::from(r[1]), f64::from(width))
            })
            .collect()
    }

    /// Makes one object's outputs ready for draws.
    pub fn prepare(&self, outputs: &[f32]) -> Prepared {
        let d = self.layout.shape.dims;
        let mut prepared = Prepared::default();
        let mut sum = 0.0;
        let shares = self.components(outputs);
        for (record, (share, _, _)) in outputs.chunks_exact(self.layout.record).zip(&shares) {
            sum += share;
            // The last component takes whatever rounding leaves.
            prepared.thresholds.push((sum * 4_294_967_296.0) as u32);
            let (mean, rest) = record[1..].split_at(d);
            let (raw, triangle) = rest.split_at(d);
            prepared.records.extend_from_slice(mean);
            let width = raw.iter().map(|raw| lanes::exp_f32(-bounded(*raw, MIXTURE_SCALE_LIMIT)));
            prepared.records.extend(width);
            prepared.records.extend_from_slice(triangle);
        }
        prepared.thresholds.pop();
        prepared
    }

    /// Noise to standardised coordinates, for a group of draws.
    ///
    /// `choice`: one word per lane, which picks the component; `state`: standard
    /// normal numbers on entry, coordinates on return, [d, LANES].
    pub fn denoise(
        &self,
        outputs: &[f32],
        prepared: &Prepared,
        choice: &[u32; LANES],
        state: &mut [f32],
        scratch: &mut CouplingScratch,
    ) {
        self.mix(prepared, choice, state);
        let units = self.layout.shape.units;
        for split in self.layout.splits.iter().rev() {
            scratch.given.clear();
            for &i in &split.given {
                let values = &state[i * LANES..(i + 1) * LANES];
                let seen = |w: &f32| w.clamp(-COUPLING_INPUT_LIMIT, COUPLING_INPUT_LIMIT);
                scratch.given.extend(values.iter().map(seen));
            }
            scratch.units.resize(units * LANES, 0.0);
            let inward = &self.couplings[split.inward.clone()];
            let weights = View { data: inward, rows: 1, cols: units };
            let constants = &outputs[split.units.clone()];
            layer(self.level, constants, weights, &scratch.given, &mut scratch.units);
            wide::relu(&mut scratch.units);
            let moved = split.moved.len();
            scratch.affine.resize(2 * moved * LANES, 0.0);
            let weights = View::new(&self.couplings[split.outward.clone()], units);
            let constants = &outputs[split.affine.clone()];
            layer(self.level, constants, weights, &scratch.units, &mut scratch.affine);
            let (raw, shift) = scratch.affine.split_at_mut(moved * LANES);
            wide::bounded_decay(raw, COUPLING_SCALE_LIMIT);
            for (k, &i) in split.moved.iter().enumerate() {
                let stretch = &raw[k * LANES..(k + 1) * LANES];
                let shift = &shift[k * LANES..(k + 1) * LANES];
                let values = &mut state[i * LANES..(i + 1) * LANES];
                for l in 0..LANES {
                    values[l] = ((values[l] - shift[l]) * stretch[l]).clamp(-WIDEST, WIDEST);
                }
            }
        }
    }

    /// Standard normal numbers to those of the mixture.
    fn mix(&self, prepared: &Prepared, choice: &[u32; LANES], state: &mut [f32]) {
        let d = self.layout.shape.dims;
        let record = self.layout.record - 1;
        let mut component = [0usize; LANES];
        for threshold in &prepared.thresholds {
            for l in 0..LANES {
                component[l] += usize::from(choice[l] >= *threshold);
            }
        }
        for l in 0..LANES {
            let values = &prepared.records[component[l] * record..(component[l] + 1) * record];
            let (mean, rest) = values.split_at(d);
            let (width, triangle) = rest.split_at(d);
            let mut row = 0;
            // r, in place; the means are added after.
            for i in 0..d {
                let mut r = state[i * LANES + l] * width[i];
                for j in 0..i {
                    r -= triangle[row + j] * state[j * LANES + l];
                }
                row += i;
                state[i * LANES + l] = r;
            }
            for i in 0..d {
                state[i * LANES + l] += mean[i];
            }
        }
    }

    /// ln q(w) in standardised coordinates.
    pub fn log_density(&self, outputs: &[f32], w: &[f32]) -> f64 {
        log_density(&self.layout, &self.couplings, outputs, w)
    }
}
