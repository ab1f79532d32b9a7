//! The density as a candle graph, for training.

use super::density::{self, Scratch};
use super::{CouplingShape, Layout};
use crate::error::NpeError;
use crate::flow::ops::{Dense, Residual, new_tensor, slice, with_values};
use crate::flow::{Flow, Layer};
use crate::matmul::Level;
use candle_core::{CpuStorage, CustomOp2, Device, Result, Shape, Tensor, Var};
use outshine_kernels::random::{Purpose, Stream};
use std::sync::{Arc, Mutex};

/// Standard deviation of the means of the mixture and of the constants of the
/// couplings' units before training.
const START_SPREAD: f64 = 0.7;
/// The conditioner's last layer starts this much smaller than the others, so
/// that training starts from one distribution for all objects.
const OUTPUT_GAIN: f64 = 0.1;

/// A density without its weights: its layout and its graph.
pub struct Coupling {
    layout: Arc<Layout>,
    level: Level,
}

impl Coupling {
    /// The density of a shape, on one instruction set.
    #[must_use]
    pub fn new(shape: CouplingShape, level: Level) -> Self {
        Self { layout: Arc::new(Layout::new(shape)), level }
    }

    /// ln q(w) of each row, [rows].
    fn graph(&self, vars: &[Var], w: &[f32], context: &[f32]) -> Result<Tensor> {
        let shape = &self.layout.shape;
        let rows = w.len() / shape.dims;
        let level = self.level;
        let context = Tensor::from_slice(context, (rows, shape.context), &Device::Cpu)?;
        let mut state = context.apply_op2(vars[0].as_tensor(), Dense { level, smooth: false })?;
        for block in vars[1..=2 * shape.blocks].chunks_exact(2) {
            let residual = Residual { level, inner: Mutex::default() };
            state = state.apply_op3(block[0].as_tensor(), block[1].as_tensor(), residual)?;
        }
        let output = &vars[1 + 2 * shape.blocks];
        let outputs = state.apply_op2(output.as_tensor(), Dense { level, smooth: true })?;
        let none;
        let weights = match vars.get(2 + 2 * shape.blocks) {
            Some(var) => var.as_tensor(),
            None => {
                none = Tensor::zeros((1, 1), candle_core::DType::F32, &Device::Cpu)?;
                &none
            }
        };
        let density = Density { layout: self.layout.clone(), w: w.to_vec() };
        outputs.apply_op2(weights, density)
    }
}

impl Flow for Coupling {
    fn layers(&self) -> Vec<Layer> {
        self.layout.layers()
    }

    /// Normal with variance 1 / (3 inputs) in the conditioner, biases 0; the
    /// second layer of each residual block and the couplings' outputs start at
    /// 0, so that they start as the identity.
    fn initial_weights(&self, seed: u64, part: u64) -> Vec<Vec<f32>> {
        let layout = &self.layout;
        let layers = layout.layers();
        let mut weights = Vec::new();
        for (k, layer) in layers.iter().enumerate() {
            let mut stream = Stream::new(seed, Purpose::Weights, part, k as u64);
            let mut normal = |gain: f64| (gain * stream.normal()) as f32;
            let mut values = vec![0.0f32; layer.rows * layer.cols];
            let inputs = layer.rows - 1;
            let gain = 1.0 / (3.0 * inputs.max(1) as f64).sqrt();
            if layer.name == "couplings" {
                for split in &layout.splits {
                    values[split.inward.clone()].fill_with(|| normal(START_SPREAD));
                }
            } else if layer.name == "conditioner.output" {
                let (body, bias) = values.split_at_mut(inputs * layer.cols);
                body.fill_with(|| normal(OUTPUT_GAIN * gain));
                for record in bias[..layout.shape.components * layout.record]
                    .chunks_exact_mut(layout.record)
                {
                    record[1..=layout.shape.dims].fill_with(|| normal(START_SPREAD));
                }
                for split in &layout.splits {
                    bias[split.units.clone()].fill_with(|| normal(START_SPREAD));
                }
            } else if !layer.name.ends_with("second") {
                values[..inputs * layer.cols].fill_with(|| normal(gain));
            }
            weights.push(values);
        }
        weights
    }

    fn loss_and_gradient(
        &self,
        vars: &[Var],
        w: &[f32],
        context: &[f32],
        batch: usize,
    ) -> std::result::Result<(f64, Vec<Tensor>), NpeError> {
        let log_q = self.graph(vars, w, context)?;
        let loss = (log_q.sum_all()? * (-1.0 / batch as f64))?;
        let store = loss.backward()?;
        let mut gradient = Vec::with_capacity(vars.len());
        for var in vars {
            gradient.push(match store.get(var.as_tensor()) {
                Some(tensor) => tensor.clone(),
                None => var.as_tensor().zeros_like()?,
            });
        }
        let sum: f64 = log_q.to_vec1::<f32>()?.iter().map(|q| f64::from(*q)).sum();
        Ok((-sum / batch as f64, gradient))
    }

    fn log_density(
        &self,
        vars: &[Var],
        w: &[f32],
        context: &[f32],
    ) -> std::result::Result<Vec<f64>, NpeError> {
        let values = self.graph(vars, w, context)?.to_vec1::<f32>()?;
        Ok(values.into_iter().map(f64::from).collect())
    }
}

/// ln q(w), [rows], from the conditioner's outputs [rows, P] and the weights of
/// the couplings [1, n].
struct Density {
    layout: Arc<Layout>,
    /// Coordinates, [rows, d].
    w: Vec<f32>,
}

impl CustomOp2 for Density {
    fn name(&self) -> &'static str {
        "coupling-density"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &candle_core::Layout,
        s2: &CpuStorage,
        l2: &candle_core::Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (outputs, weights) = (slice(s1, l1)?, slice(s2, l2)?);
        let mut scratch = Scratch::default();
        let rows = self.w.chunks_exact(self.layout.shape.dims);
        let rows = rows.zip(outputs.chunks_exact(self.layout.outputs));
        let values: Vec<f32> = rows
            .map(|(w, o)| density::forward(&self.layout, weights, o, w, &mut scratch) as f32)
            .collect();
        let shape = values.len().into();
        Ok((CpuStorage::F32(values), shape))
    }

    fn bwd(
        &self,
        outputs: &Tensor,
        weights: &Tensor,
        _res: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let layout = &self.layout;
        let factors = grad.contiguous()?.to_vec1::<f32>()?;
        let mut grad_outputs = vec![0.0; outputs.elem_count()];
        let mut grad_weights = vec![0.0; weights.elem_count()];
        let mut scratch = Scratch::default();
        with_values(outputs, |outputs| {
            with_values(weights, |weights| {
                let rows = self.w.chunks_exact(layout.shape.dims);
                let rows = rows.zip(outputs.chunks_exact(layout.outputs));
                let rows = rows.zip(grad_outputs.chunks_exact_mut(layout.outputs));
                for (((w, outputs), grad), &factor) in rows.zip(&factors) {
                    density::forward(layout, weights, outputs, w, &mut scratch);
                    let s = &mut scratch;
                    density::backward(layout, weights, outputs, factor, s, grad, &mut grad_weights);
                }
                Ok(())
            })
        })?;
        Ok((
            Some(new_tensor(grad_outputs, outputs.shape().clone())?),
            Some(new_tensor(grad_weights, weights.shape().clone())?),
        ))
    }
}
