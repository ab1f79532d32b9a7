//! Exact draws and densities of a published estimator.
//!
//! Hidden units are laid out in the order of their degrees, so that what a
//! mask lets a unit see is a range. Once per pixel: the context layers, and
//! what hidden units of degree 0 say. Draws go through in groups of [`LANES`],
//! each hidden unit evaluated once, when the coordinate it waits for is known;
//! all groups go through a block before the next one's weights are touched.

use super::LEAST_SCALE;
use super::model::{Block, PublishedModel, input_degrees};
use crate::coordinates::HALF_LN_TAU;
use crate::error::{NpeError, check_length};
use crate::lane_group::{LANES, layer};
use crate::matmul::{Level, Skip, View, multiply_add};
use outshine_kernels::random::Stream;
use outshine_kernels::{lanes, scalar, wide};
use std::ops::Range;

/// Bound of the coordinates between blocks when drawing, so that a network far
/// outside what it was trained on stays finite. No draw of ordinary noise is near.
const WIDEST: f32 = 1e12;

/// A published estimator laid out for drawing.
#[derive(Clone, Debug)]
pub struct Sampler {
    level: Level,
    scale: Vec<f64>,
    shift: Vec<f64>,
    mean: Vec<f32>,
    std: Vec<f32>,
    blocks: Vec<Placed>,
}

/// A block in the order of its degrees.
#[derive(Clone, Debug)]
struct Placed {
    /// [C, h] and [h].
    context: Vec<f32>,
    context_bias: Vec<f32>,
    /// Initial and hidden layers.
    hidden: Vec<Stair>,
    /// Outputs, two rows per coordinate.
    output: Stair,
    permutation: Vec<usize>,
}

/// A masked layer.
#[derive(Clone, Debug)]
struct Stair {
    /// [units, inputs].
    weight: Vec<f32>,
    bias: Vec<f32>,
    inputs: usize,
    /// Units below each degree, length d + 1.
    start: Vec<usize>,
}

/// Work space of one thread.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Per block and layer (outputs last): what the pixel and units of degree
    /// 0 give to each unit.
    constants: Vec<Vec<Vec<f32>>>,
    /// Hidden units of a group, per layer [h, LANES].
    hidden: Vec<Vec<f32>>,
    /// Coordinates, [groups, d, LANES].
    state: Vec<f32>,
    /// Those of a group in a block.
    placed: Vec<f32>,
    /// Sum of the log scales, [groups, LANES].
    log_det: Vec<f64>,
}

#[derive(Clone, Copy, PartialEq)]
enum Direction {
    ToTheta,
    ToNoise,
}

impl Sampler {
    /// Lays out a model for drawing.
    #[must_use]
    pub fn new(model: &PublishedModel) -> Self {
        let (d, c) = (model.dims(), model.context_len());
        Self {
            level: Level::detect(),
            scale: model.scale.iter().map(|&x| f64::from(x)).collect(),
            shift: model.shift.iter().map(|&x| f64::from(x)).collect(),
            mean: model.mean.clone(),
            std: model.std.clone(),
            blocks: model.blocks.iter().map(|block| Placed::new(block, d, c)).collect(),
        }
    }

    /// The same sampler on another instruction set.
    #[cfg(test)]
    pub(super) fn with_level(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    /// Number of parameters d.
    #[must_use]
    pub fn dims(&self) -> usize {
        self.scale.len()
    }

    /// Draws `n` points from p(theta | context), [n, d] row-major into `out`.
    ///
    /// `context`: (C). Draw k takes the numbers k d .. (k + 1) d of `stream`'s
    /// normals. Draws may lie outside the prior box:
    /// [`PublishedModel::prior_contains`].
    ///
    /// # Errors
    /// As [`Sampler::theta_of_noise`].
    pub fn draw(
        &self,
        context: &[f32],
        stream: &mut Stream,
        n: usize,
        scratch: &mut Scratch,
        out: &mut [f64],
    ) -> Result<(), NpeError> {
        let noise: Vec<f32> = (0..n * self.dims()).map(|_| stream.normal() as f32).collect();
        self.theta_of_noise(context, &noise, scratch, out)
    }

    /// The theta that each base noise stands for.
    ///
    /// `context`: (C); `noise` and `out`: [n, d] row-major, any n.
    ///
    /// # Errors
    /// [`NpeError::Length`] for slices of the wrong length, [`NpeError::Pixel`]
    /// for a context that is not finite.
    pub fn theta_of_noise(
        &self,
        context: &[f32],
        noise: &[f32],
        scratch: &mut Scratch,
        out: &mut [f64],
    ) -> Result<(), NpeError> {
        let d = self.dims();
        let n = self.draws_in(noise.len())?;
        check_length("out", out.len(), noise.len())?;
        self.see_context(context, scratch)?;
        scratch.resize(d, n);
        for (k, draw) in noise.chunks_exact(d).enumerate() {
            for (i, &z) in draw.iter().enumerate() {
                scratch.state[lane(d, k, i)] = z;
            }
        }
        self.pass(Direction::ToTheta, scratch);
        for (k, draw) in out.chunks_exact_mut(d).enumerate() {
            for (i, theta) in draw.iter_mut().enumerate() {
                let x = f64::from(scratch.state[lane(d, k, i)]);
                *theta = (x - self.shift[i]) / self.scale[i];
            }
        }
        Ok(())
    }

    /// The base noise of each theta, and ln |dz / dtheta|.
    ///
    /// `context`: (C); `theta`, `noise`: [n, d] row-major; `log_det`: (n).
    ///
    /// # Errors
    /// As [`Sampler::theta_of_noise`].
    pub fn noise_of_theta(
        &self,
        context: &[f32],
        theta: &[f64],
        scratch: &mut Scratch,
        noise: &mut [f32],
        log_det: &mut [f64],
    ) -> Result<(), NpeError> {
        let d = self.dims();
        let n = self.draws_in(theta.len())?;
        check_length("noise", noise.len(), theta.len())?;
        check_length("log_det", log_det.len(), n)?;
        self.see_context(context, scratch)?;
        scratch.resize(d, n);
        for (k, point) in theta.chunks_exact(d).enumerate() {
            for (i, &theta) in point.iter().enumerate() {
                scratch.state[lane(d, k, i)] = (theta * self.scale[i] + self.shift[i]) as f32;
            }
        }
        self.pass(Direction::ToNoise, scratch);
        let constant: f64 = self.scale.iter().map(|s| scalar::ln(s.abs())).sum();
        for (k, point) in noise.chunks_exact_mut(d).enumerate() {
            for (i, z) in point.iter_mut().enumerate() {
                *z = scratch.state[lane(d, k, i)];
            }
            log_det[k] = constant + scratch.log_det[k];
        }
        Ok(())
    }

    /// ln p(theta | context) per point, a density in theta; NaN where theta is.
    ///
    /// `context`: (C); `theta`: [n, d] row-major; `out`: (n). The flow's own
    /// density: it knows nothing of the prior box.
    ///
    /// # Errors
    /// As [`Sampler::theta_of_noise`].
    pub fn log_prob(
        &self,
        context: &[f32],
        theta: &[f64],
        scratch: &mut Scratch,
        out: &mut [f64],
    ) -> Result<(), NpeError> {
        let d = self.dims();
        let mut noise = vec![0.0; theta.len()];
        self.noise_of_theta(context, theta, scratch, &mut noise, out)?;
        for (value, z) in out.iter_mut().zip(noise.chunks_exact(d)) {
            let squares: f64 = z.iter().map(|&z| 0.5 * f64::from(z) * f64::from(z)).sum();
            *value -= squares + HALF_LN_TAU * d as f64;
        }
        Ok(())
    }

    /// Points in `len` numbers.
    fn draws_in(&self, len: usize) -> Result<usize, NpeError> {
        let d = self.dims();
        check_length("points", len, len / d * d)?;
        Ok(len / d)
    }

    /// The constant part of every layer.
    fn see_context(&self, context: &[f32], scratch: &mut Scratch) -> Result<(), NpeError> {
        let c = self.mean.len();
        check_length("context", context.len(), c)?;
        if let Some(at) = context.iter().position(|x| !x.is_finite()) {
            let why = format!("value {at} of its context is {}", context[at]);
            return Err(NpeError::Pixel { why });
        }
        let standard: Vec<f32> =
            (0..c).map(|i| (context[i] - self.mean[i]) / self.std[i]).collect();
        scratch.constants.clear();
        for block in &self.blocks {
            let h = block.context_bias.len();
            let mut first = block.context_bias.clone();
            let (x, w) = (View::new(&standard, c), View::new(&block.context, h));
            multiply_add(self.level, (1, c, h), x, w, Skip::Nothing, &mut first, h);
            wide::tanh(&mut first);
            for (value, bias) in first.iter_mut().zip(&block.hidden[0].bias) {
                *value += bias;
            }
            let mut constants = vec![first];
            for (below, own) in block.below() {
                let mut units = constants[constants.len() - 1][..below.start[1]].to_vec();
                wide::tanh(&mut units);
                let mut constant = own.bias.clone();
                for (value, row) in constant.iter_mut().zip(own.weight.chunks_exact(own.inputs)) {
                    for (w, u) in row.iter().zip(&units) {
                        *value += w * u;
                    }
                }
                constants.push(constant);
            }
            scratch.constants.push(constants);
        }
        Ok(())
    }

    /// All of `scratch.state` through all blocks.
    fn pass(&self, direction: Direction, scratch: &mut Scratch) {
        let d = self.dims();
        scratch.log_det.fill(0.0);
        for at in 0..self.blocks.len() {
            let b = if direction == Direction::ToNoise { at } else { self.blocks.len() - 1 - at };
            let (block, constants) = (&self.blocks[b], &scratch.constants[b]);
            scratch.hidden.resize_with(scratch.hidden.len().max(block.hidden.len()), Vec::new);
            for (units, stair) in scratch.hidden.iter_mut().zip(&block.hidden) {
                units.resize(stair.bias.len() * LANES, 0.0);
            }
            let groups = scratch.state.chunks_exact_mut(d * LANES);
            for (state, log_det) in groups.zip(scratch.log_det.chunks_exact_mut(LANES)) {
                let (hidden, placed) = (&mut scratch.hidden, &mut scratch.placed);
                match direction {
                    Direction::ToTheta => {
                        for (i, &from) in block.permutation.iter().enumerate() {
                            let y = &mut placed[from * LANES..(from + 1) * LANES];
                            y.copy_from_slice(&state[i * LANES..(i + 1) * LANES]);
                        }
                        self.invert(block, constants, hidden, placed);
                        state.copy_from_slice(placed);
                    }
                    Direction::ToNoise => {
                        placed.copy_from_slice(state);
                        self.forward(block, constants, hidden, placed, state, log_det);
                    }
                }
            }
        }
    }

    /// y to x in place, [d, LANES]: x = (y - m) / s, coordinate after coordinate.
    fn invert(
        &self,
        block: &Placed,
        constants: &[Vec<f32>],
        hidden: &mut [Vec<f32>],
        placed: &mut [f32],
    ) {
        let mut outputs = [0.0f32; 2 * LANES];
        for place in 0..self.dims() {
            self.outputs(block, constants, place, placed, hidden, &mut outputs);
            let (raw, shift) = outputs.split_at(LANES);
            let x = &mut placed[place * LANES..(place + 1) * LANES];
            for l in 0..LANES {
                let value = (x[l] - shift[l]) / (lanes::softplus_f32(raw[l]) + LEAST_SCALE);
                x[l] = value.clamp(-WIDEST, WIDEST);
            }
        }
    }

    /// x in `placed` to permuted y in `state`, [d, LANES], with ln s added to `log_det`.
    fn forward(
        &self,
        block: &Placed,
        constants: &[Vec<f32>],
        hidden: &mut [Vec<f32>],
        placed: &mut [f32],
        state: &mut [f32],
        log_det: &mut [f64],
    ) {
        let mut outputs = [0.0f32; 2 * LANES];
        for (to, place) in block.places() {
            self.outputs(block, constants, place, placed, hidden, &mut outputs);
            let (raw, shift) = outputs.split_at(LANES);
            let x = &placed[place * LANES..(place + 1) * LANES];
            for l in 0..LANES {
                let scale = lanes::softplus_f32(raw[l]) + LEAST_SCALE;
                state[to * LANES + l] = x[l] * scale + shift[l];
                log_det[l] += f64::from(lanes::ln_f32(scale));
            }
        }
    }

    /// Raw scale and shift of a place, [2, LANES]; computes the hidden units
    /// that wait for the place before it.
    fn outputs(
        &self,
        block: &Placed,
        constants: &[Vec<f32>],
        place: usize,
        placed: &[f32],
        hidden: &mut [Vec<f32>],
        outputs: &mut [f32],
    ) {
        if place > 0 {
            for (k, stair) in block.hidden.iter().enumerate() {
                let (below, own) = hidden.split_at_mut(k);
                let (inputs, seen) = match k {
                    0 => (placed, 0..place),
                    _ => (below[k - 1].as_slice(), block.hidden[k - 1].seen(place)),
                };
                let units = stair.start[place]..stair.start[place + 1];
                let rows = &mut own[0][units.start * LANES..units.end * LANES];
                self.layer(stair, &constants[k], units, seen, inputs, rows);
                wide::tanh(rows);
            }
        }
        let last = block.hidden.len() - 1;
        let seen = block.hidden[last].seen(place);
        let rows = 2 * place..2 * place + 2;
        self.layer(&block.output, &constants[last + 1], rows, seen, &hidden[last], outputs);
    }

    fn layer(
        &self,
        stair: &Stair,
        constants: &[f32],
        units: Range<usize>,
        seen: Range<usize>,
        inputs: &[f32],
        out: &mut [f32],
    ) {
        let data = stair.weight.get(units.start * stair.inputs + seen.start..).unwrap_or_default();
        let weights = View { data, rows: stair.inputs, cols: 1 };
        let inputs = &inputs[seen.start * LANES..seen.end * LANES];
        layer(self.level, &constants[units], weights, inputs, out);
    }
}

/// Where coordinate `i` of draw `k` is.
fn lane(dims: usize, k: usize, i: usize) -> usize {
    (k / LANES * dims + i) * LANES + k % LANES
}

impl Scratch {
    fn resize(&mut self, dims: usize, n: usize) {
        let groups = n.div_ceil(LANES);
        self.state.clear();
        self.state.resize(groups * dims * LANES, 0.0);
        self.log_det.resize(groups * LANES, 0.0);
        self.placed.resize(dims * LANES, 0.0);
    }
}

impl Placed {
    fn new(block: &Block, dims: usize, context: usize) -> Self {
        let mut below: Vec<usize> = (0..dims).collect();
        let mut degrees = input_degrees(dims);
        let mut stairs = Vec::with_capacity(block.layers.len());
        let mut first: Vec<usize> = Vec::new();
        for (k, layer) in block.layers.iter().enumerate() {
            let mut order: Vec<usize> = (0..layer.bias.len()).collect();
            order.sort_by_key(|&j| layer.degrees[j]);
            let is_final = k + 1 == block.layers.len();
            let (inputs, degrees_below) = (below.len(), &degrees);
            let weight = order.iter().flat_map(|&j| {
                below.iter().map(move |&i| {
                    let sees = layer.sees(j, degrees_below[i], is_final);
                    if sees { layer.weight[j * inputs + i] } else { 0.0 }
                })
            });
            let below_degree = |g: usize| layer.degrees.iter().filter(|&&x| x < g).count();
            stairs.push(Stair {
                weight: weight.collect(),
                bias: order.iter().map(|&j| layer.bias[j]).collect(),
                inputs,
                start: (0..=dims).map(below_degree).collect(),
            });
            if k == 0 {
                first.clone_from(&order);
            }
            degrees.clone_from(&layer.degrees);
            below = order;
        }
        let output = stairs.pop().expect("a block has layers");
        let row = |i: usize| first.iter().map(move |&j| block.context[j * context + i]);
        Self {
            context: (0..context).flat_map(row).collect(),
            context_bias: first.iter().map(|&j| block.context_bias[j]).collect(),
            hidden: stairs,
            output,
            permutation: block.permutation.clone(),
        }
    }

    /// Each layer above the initial one, with the layer below it.
    fn below(&self) -> impl Iterator<Item = (&Stair, &Stair)> {
        let above = self.hidden[1..].iter().chain([&self.output]);
        self.hidden.iter().zip(above)
    }

    /// Places ascending, each with the coordinate that it becomes.
    fn places(&self) -> impl Iterator<Item = (usize, usize)> {
        let mut to = vec![0; self.permutation.len()];
        for (i, &place) in self.permutation.iter().enumerate() {
            to[place] = i;
        }
        to.into_iter().enumerate().map(|(place, to)| (to, place))
    }
}

impl Stair {
    /// Units of degrees 1 to `degree`.
    fn seen(&self, degree: usize) -> Range<usize> {
        self.start[1]..self.start[degree + 1]
    }
}
