//! Draws and densities of a masked autoregressive flow, without candle.
//!
//! The part of each block that depends on the object alone (context, and hidden
//! units of degree 0) is evaluated once per object. Draws go through in groups
//! of [`LANES`], one lane each: block after block from the noise, coordinate
//! after coordinate in the block's order, each hidden unit once, when its
//! degree is due.

use super::WIDEST;
use crate::coordinates::HALF_LN_TAU;
use crate::flow::MafShape;
use crate::flow::maf::LAYERS;
use crate::flow::masks::BlockMask;
use crate::flow::ops::log_scale;
use crate::lane_group::{LANES, layer};
use crate::matmul::{Level, Skip, View, multiply_add};
use outshine_kernels::{lanes, wide};

/// A flow laid out for drawing.
#[derive(Clone, Debug)]
pub(super) struct MafSampler {
    shape: MafShape,
    level: Level,
    blocks: Vec<Block>,
}

/// Weights of a block; coordinates are in the block's visiting order.
#[derive(Clone, Debug)]
struct Block {
    mask: BlockMask,
    /// From coordinates to the first layer, [d, h].
    seen: Vec<f32>,
    /// From the context to the first layer, [C, h], and its bias [h].
    given: Vec<f32>,
    first_bias: Vec<f32>,
    /// First to second layer, [h, h], and its bias.
    second: Vec<f32>,
    second_bias: Vec<f32>,
    /// Second layer to (shifts, raw log scales), [h, 2 d], and its bias.
    output: Vec<f32>,
    output_bias: Vec<f32>,
}

/// Work space of one thread.
#[derive(Debug, Default)]
pub(super) struct MafScratch {
    hidden_1: Vec<f32>,
    hidden_2: Vec<f32>,
    /// Coordinates of the group in a block's order, [d, LANES].
    placed: Vec<f32>,
}

/// What depends on the object alone, block after block.
pub(super) type Constants = Vec<BlockConstants>;

#[derive(Debug, Default)]
pub(super) struct BlockConstants {
    /// Inputs of the first layer from context and bias, [h].
    first: Vec<f32>,
    /// Inputs of the second layer from units of degree 0 and bias, [h].
    second: Vec<f32>,
    /// Outputs from units of degree 0 and bias, [2 d].
    output: Vec<f32>,
}

impl MafSampler {
    pub fn new(shape: MafShape, weights: &[Vec<f32>], level: Level) -> Self {
        let blocks = weights.chunks_exact(LAYERS).enumerate();
        Self { shape, level, blocks: blocks.map(|(b, w)| Block::new(&shape, b, w)).collect() }
    }

    /// The constant part of every block.
    pub fn see(&self, context: &[f32]) -> Constants {
        let (d, c, h) = (self.shape.dims, self.shape.context, self.shape.hidden);
        let of = |block: &Block| {
            let free = block.mask.units(0).end;
            let mut constant = BlockConstants {
                first: block.first_bias.clone(),
                second: block.second_bias.clone(),
                output: block.output_bias.clone(),
            };
            let (x, w) = (View::new(context, c), View::new(&block.given, h));
            self.add((1, c, h), x, w, &mut constant.first, h);

            let mut unit = constant.first[..free].to_vec();
            wide::relu(&mut unit);
            let (x, w) = (View::new(&unit, free), View::new(&block.second, h));
            self.add((1, free, h), x, w, &mut constant.second, h);

            unit.copy_from_slice(&constant.second[..free]);
            wide::relu(&mut unit);
            let (x, w) = (View::new(&unit, free), View::new(&block.output, 2 * d));
            self.add((1, free, 2 * d), x, w, &mut constant.output, 2 * d);
            constant
        };
        self.blocks.iter().map(of).collect()
    }

    fn add(
        &self,
        shape: (usize, usize, usize),
        a: View<'_>,
        b: View<'_>,
        c: &mut [f32],
        width: usize,
    ) {
        multiply_add(self.level, shape, a, b, Skip::Nothing, c, width);
    }

    /// Noise to standardised coordinates, for the group in `state` [d, LANES].
    pub fn denoise(&self, constants: &Constants, state: &mut [f32], scratch: &mut MafScratch) {
        let (d, h) = (self.shape.dims, self.shape.hidden);
        scratch.hidden_1.resize(h * LANES, 0.0);
        scratch.hidden_2.resize(h * LANES, 0.0);
        scratch.placed.resize(d * LANES, 0.0);
        for (block, constant) in self.blocks.iter().zip(constants).rev() {
            let free = block.mask.units(0).end;
            for place in 0..d {
                let units = block.mask.units(place);
                if place > 0 {
                    self.hidden_units(
                        block,
                        constant,
                        place,
                        &scratch.placed,
                        &mut scratch.hidden_1,
                        &mut scratch.hidden_2,
                    );
                }
                // Shift and raw log scale of this place.
                let mut outputs = [0.0f32; 2 * LANES];
                let constants = [constant.output[place], constant.output[d + place]];
                let hidden = &scratch.hidden_2[free * LANES..units.end * LANES];
                let data = block.output.get(free * 2 * d + place..).unwrap_or_default();
                let weights = View { data, rows: d, cols: 2 * d };
                layer(self.level, &constants, weights, hidden, &mut outputs);
                let (shift, raw) = outputs.split_at(LANES);
                let row = block.mask.order[place] * LANES;
                let z = &state[row..row + LANES];
                let x = &mut scratch.placed[place * LANES..(place + 1) * LANES];
                for l in 0..LANES {
                    let value = z[l] * lanes::exp_f32(log_scale(raw[l])) + shift[l];
                    x[l] = value.clamp(-WIDEST, WIDEST);
                }
            }
            for (place, &coordinate) in block.mask.order.iter().enumerate() {
                state[coordinate * LANES..(coordinate + 1) * LANES]
                    .copy_from_slice(&scratch.placed[place * LANES..(place + 1) * LANES]);
            }
        }
    }

    /// Both layers' units of one degree, which see the places below it.
    fn hidden_units(
        &self,
        block: &Block,
        constant: &BlockConstants,
        degree: usize,
        placed: &[f32],
        hidden_1: &mut [f32],
        hidden_2: &mut [f32],
    ) {
        let h = self.shape.hidden;
        let free = block.mask.units(0).end;
        let units = block.mask.units(degree);
        let own = units.start * LANES..units.end * LANES;

        let one = &mut hidden_1[own.clone()];
        let weights = View { data: &block.seen[units.start..], rows: 1, cols: h };
        let below = &placed[..degree * LANES];
        layer(self.level, &constant.first[units.clone()], weights, below, one);
        wide::relu(one);

        let two = &mut hidden_2[own];
        let weights = View { data: &block.second[free * h + units.start..], rows: 1, cols: h };
        let below = &hidden_1[free * LANES..units.end * LANES];
        layer(self.level, &constant.second[units], weights, below, two);
        wide::relu(two);
    }

    /// ln q(w) in standardised coordinates.
    pub fn log_density(&self, constants: &Constants, w: &[f32]) -> f64 {
        let (z, log_jacobian) = self.to_noise(constants, w);
        let squares: f64 = z.iter().map(|z| 0.5 * f64::from(*z) * f64::from(*z)).sum();
        log_jacobian - squares - HALF_LN_TAU * z.len() as f64
    }

    /// Standardised coordinates to noise, and ln |dz / dw|.
    pub fn to_noise(&self, constants: &Constants, w: &[f32]) -> (Vec<f32>, f64) {
        let (d, h) = (self.shape.dims, self.shape.hidden);
        let mut log_jacobian = 0.0;
        let mut z = w.to_vec();
        for (block, constant) in self.blocks.iter().zip(constants) {
            let free = block.mask.units(0).end;
            let placed: Vec<f32> = block.mask.order.iter().map(|&c| z[c]).collect();
            let mut one = constant.first.clone();
            self.add((1, d, h), View::new(&placed, d), View::new(&block.seen, h), &mut one, h);
            wide::relu(&mut one);
            let mut two = constant.second.clone();
            let (x, w) =
                (View::new(&one[free..], h - free), View::new(&block.second[free * h..], h));
            self.add((1, h - free, h), x, w, &mut two, h);
            wide::relu(&mut two);
            let mut output = constant.output.clone();
            let width = 2 * d;
            let x = View::new(&two[free..], h - free);
            let w = View::new(&block.output[free * width..], width);
            self.add((1, h - free, width), x, w, &mut output, width);
            for (place, &coordinate) in block.mask.order.iter().enumerate() {
                let a = log_scale(output[d + place]);
                z[coordinate] = (placed[place] - output[place]) * lanes::exp_f32(-a);
                log_jacobian -= f64::from(a);
            }
        }
        (z, log_jacobian)
    }
}

impl Block {
    fn new(shape: &MafShape, block: usize, weights: &[Vec<f32>]) -> Self {
        let (d, c, h) = (shape.dims, shape.context, shape.hidden);
        let mask = shape.mask(block);
        let (first, second, output) = (&weights[0], &weights[1], &weights[2]);
        let seen = mask.order.iter().flat_map(|&i| first[i * h..(i + 1) * h].iter().copied());
        let placed = |row: &[f32]| -> Vec<f32> {
            (0..2).flat_map(|half| mask.order.iter().map(move |&i| row[half * d + i])).collect()
        };
        let output: Vec<f32> = output.chunks_exact(2 * d).flat_map(placed).collect();
        Self {
            seen: seen.collect(),
            given: first[d * h..(d + c) * h].to_vec(),
            first_bias: first[(d + c) * h..].to_vec(),
            second: second[..h * h].to_vec(),
            second_bias: second[h * h..].to_vec(),
            output: output[..h * 2 * d].to_vec(),
            output_bias: output[h * 2 * d..].to_vec(),
            mask,
        }
    }
}
