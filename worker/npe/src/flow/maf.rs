//! The masked autoregressive flow (Papamakarios, Pavlakou & Murray 2017) as a
//! candle graph.
//!
//! Each block maps w to w' = (w - m) exp(-a), where shift m and log scale a of
//! a coordinate come from a masked network of the context and the coordinates
//! before it ([`super::masks`]). log q(w) = log N(z; 0, 1) - sum of all a.

use super::masks::BlockMask;
use super::ops::{Affine, FirstLayer, MaskedLayer, NegativeLogDensity, Staircase, row_loss};
use super::{Flow, Layer};
use crate::coordinates::HALF_LN_TAU;
use crate::error::NpeError;
use crate::matmul::Level;
use candle_core::{Device, Tensor, Var};
use outshine_kernels::random::{Purpose, Stream};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Size of a masked autoregressive flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MafShape {
    /// Coordinates d.
    pub dims: usize,
    /// Context features C.
    pub context: usize,
    /// Blocks, each with two hidden layers.
    pub blocks: usize,
    /// Units h of a hidden layer.
    pub hidden: usize,
}

/// Weight matrices per block.
pub const LAYERS: usize = 3;

/// A flow without its weights: shapes, masks and the graph.
pub struct Maf {
    shape: MafShape,
    level: Level,
    blocks: Vec<BlockOps>,
}

struct BlockOps {
    masks: [Arc<Vec<f32>>; LAYERS],
    staircase: Arc<Staircase>,
}

impl MafShape {
    /// Rows (inputs and one bias) and columns of layer `layer` of a block.
    #[must_use]
    pub fn layer_shape(&self, layer: usize) -> (usize, usize) {
        match layer {
            0 => (self.dims + self.context + 1, self.hidden),
            1 => (self.hidden + 1, self.hidden),
            _ => (self.hidden + 1, 2 * self.dims),
        }
    }

    /// The mask of a block.
    #[must_use]
    pub fn mask(&self, block: usize) -> BlockMask {
        BlockMask::new(block, self.dims, self.hidden)
    }
}

impl Maf {
    /// The flow of a shape, on one instruction set.
    #[must_use]
    pub fn new(shape: MafShape, level: Level) -> Self {
        let blocks = (0..shape.blocks).map(|b| BlockOps::new(&shape, b)).collect();
        Self { shape, level, blocks }
    }

    /// The graph from data to noise: standardised coordinates w [rows, d] and
    /// context [rows, C] to (z, sum of log scales) [rows, d + 1].
    ///
    /// # Errors
    /// When candle refuses a shape.
    pub fn to_noise(&self, vars: &[Var], w: &[f32], context: &[f32]) -> Result<Tensor, NpeError> {
        let (d, c) = (self.shape.dims, self.shape.context);
        let rows = w.len() / d;
        let mut state = vec![0.0f32; rows * (d + 1)];
        for (to, from) in state.chunks_exact_mut(d + 1).zip(w.chunks_exact(d)) {
            to[..d].copy_from_slice(from);
        }
        let mut state = Tensor::from_vec(state, (rows, d + 1), &Device::Cpu)?;
        let context = Tensor::from_slice(context, (rows, c), &Device::Cpu)?;
        let level = self.level;
        for (ops, vars) in self.blocks.iter().zip(vars.chunks_exact(LAYERS)) {
            let first = FirstLayer { level, dims: d, mask: ops.masks[0].clone() };
            let second = MaskedLayer {
                level,
                mask: ops.masks[1].clone(),
                staircase: Some(ops.staircase.clone()),
                relu: true,
            };
            let outputs =
                MaskedLayer { level, mask: ops.masks[2].clone(), staircase: None, relu: false };
            let hidden = state.apply_op3(&context, vars[0].as_tensor(), first)?;
            let hidden = hidden.apply_op2(vars[1].as_tensor(), second)?;
            let outputs = hidden.apply_op2(vars[2].as_tensor(), outputs)?;
            state = state.apply_op2(&outputs, Affine { dims: d })?;
        }
        Ok(state)
    }
}

impl Flow for Maf {
    fn layers(&self) -> Vec<Layer> {
        let block = |b: usize| (0..LAYERS).map(move |layer| (b, layer));
        let all = (0..self.shape.blocks).flat_map(block);
        all.map(|(b, layer)| {
            let (rows, cols) = self.shape.layer_shape(layer);
            Layer { name: format!("flow.{b:03}.layer.{layer}"), rows, cols, masked: true }
        })
        .collect()
    }

    /// Block after block and layer after layer: normal with variance 2 /
    /// (inputs that the unit sees), biases 0; the outputs start a hundred
    /// times smaller, so that training starts near the identity.
    fn initial_weights(&self, seed: u64, part: u64) -> Vec<Vec<f32>> {
        let mut weights = Vec::new();
        for (b, ops) in self.blocks.iter().enumerate() {
            for layer in 0..LAYERS {
                let (rows, cols) = self.shape.layer_shape(layer);
                let mask = &ops.masks[layer];
                let mut stream =
                    Stream::new(seed, Purpose::Weights, (part << 32) + b as u64, layer as u64);
                let mut values = vec![0.0f32; rows * cols];
                let inputs = rows - 1;
                let seen: Vec<f64> = (0..cols)
                    .map(|j| {
                        let masked = mask.len() / cols;
                        let free = inputs - masked;
                        let open = (0..masked).filter(|i| mask[i * cols + j] > 0.0).count();
                        (free + open).max(1) as f64
                    })
                    .collect();
                let gain = if layer + 1 == LAYERS { 0.01 } else { 1.0 };
                for i in 0..inputs {
                    for j in 0..cols {
                        let draw = stream.normal() * gain * (2.0 / seen[j]).sqrt();
                        let open = mask.get(i * cols + j).is_none_or(|m| *m > 0.0);
                        values[i * cols + j] = if open { draw as f32 } else { 0.0 };
                    }
                }
                weights.push(values);
            }
        }
        weights
    }

    fn loss_and_gradient(
        &self,
        vars: &[Var],
        w: &[f32],
        context: &[f32],
        batch: usize,
    ) -> Result<(f64, Vec<Tensor>), NpeError> {
        let dims = self.shape.dims;
        let state = self.to_noise(vars, w, context)?;
        let weight = 1.0 / batch as f32;
        let loss = state.apply_op1(NegativeLogDensity { dims, weight })?;
        let mut store = loss.backward()?;
        let mut gradient = Vec::with_capacity(vars.len());
        for var in vars {
            gradient.push(match store.remove(var.as_tensor()) {
                Some(tensor) => tensor,
                None => var.as_tensor().zeros_like()?,
            });
        }
        // The share of the base's constant: all rows of the batch have it.
        let constant = HALF_LN_TAU * dims as f64 * (w.len() / dims) as f64 / batch as f64;
        Ok((f64::from(loss.to_scalar::<f32>()?) + constant, gradient))
    }

    fn log_density(&self, vars: &[Var], w: &[f32], context: &[f32]) -> Result<Vec<f64>, NpeError> {
        let d = self.shape.dims;
        let values = self.to_noise(vars, w, context)?.flatten_all()?.to_vec1::<f32>()?;
        let constant = HALF_LN_TAU * d as f64;
        Ok(values.chunks_exact(d + 1).map(|row| -row_loss(row) - constant).collect())
    }
}

impl BlockOps {
    fn new(shape: &MafShape, block: usize) -> Self {
        let mask = shape.mask(block);
        let (d, h) = (shape.dims, shape.hidden);
        let matrix = |rows: usize, cols: usize, open: &dyn Fn(usize, usize) -> bool| {
            let values = (0..rows * cols).map(|k| f32::from(u8::from(open(k / cols, k % cols))));
            Arc::new(values.collect::<Vec<f32>>())
        };
        let masks = [
            matrix(d, h, &|i, j| mask.input(i, j)),
            matrix(h, h, &|i, j| mask.hidden(i, j)),
            matrix(h, 2 * d, &|i, j| mask.output(i, j % d)),
        ];
        let staircase = Staircase {
            end: (0..h).map(|j| mask.units(mask.degree[j]).end).collect(),
            start: (0..h).map(|i| mask.units(mask.degree[i]).start).collect(),
        };
        Self { masks, staircase: Arc::new(staircase) }
    }
}
