//! The density as a candle graph, for training.

use super::density::{self, Scratch};
use super::{CouplingShape, Layout};
use crate::error::NpeError;
use crate::flow::ops::{Dense, Residual, new_tensor, slice, with_values};
use crate::flow::{Flow, Layer};
use crate::matmul::Level;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Device, Result, Shape, Tensor, Var};
use outshine_kernels::random::{Purpose, Stream};
use outshine_kernels::scalar;
use std::sync::{Arc, Mutex};

/// Standard deviation of the means of the mixture and of the constants of the
/// couplings' units before training.
const START_SPREAD: f64 = 0.7;
/// An object whose -ln q is above this, in nats, is far from all that the
/// density expects. Beyond, the loss grows with the logarithm only: one such
/// object in millions would otherwise undo what the others taught.
const FAR: f64 = 30.0;
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

    /// From contexts to ln q(w) of each row. The graph is a chain, so that its
    /// gradient is taken link by link, without candle's own bookkeeping.
    fn forward(&self, vars: &[Var], w: &[f32], context: &[f32]) -> Result<Pass> {
        let shape = &self.layout.shape;
        let rows = w.len() / shape.dims;
        let level = self.level;
        let context = Tensor::from_slice(context, (rows, shape.context), &Device::Cpu)?;
        let first = vars[0].as_tensor();
        let state = context.apply_op2_no_bwd(first, &Dense { level, smooth: false })?;
        let (mut states, mut residuals) = (vec![state], Vec::new());
        for block in vars[1..=2 * shape.blocks].chunks_exact(2) {
            let residual = Residual { level, inner: Mutex::default() };
            let (one, two) = (block[0].as_tensor(), block[1].as_tensor());
            let state = &states[states.len() - 1];
            let state = state.apply_op3_no_bwd(one, two, &residual)?;
            residuals.push(residual);
            states.push(state);
        }
        let output = vars[1 + 2 * shape.blocks].as_tensor();
        let state = &states[states.len() - 1];
        let outputs = state.apply_op2_no_bwd(output, &Dense { level, smooth: true })?;
        let couplings = match vars.get(2 + 2 * shape.blocks) {
            Some(var) => var.as_tensor().clone(),
            None => Tensor::zeros((1, 1), candle_core::DType::F32, &Device::Cpu)?,
        };
        let density = Density { layout: self.layout.clone(), w: w.to_vec() };
        let log_q = outputs.apply_op2_no_bwd(&couplings, &density)?;
        Ok(Pass { context, states, residuals, outputs, couplings, density, log_q })
    }

    /// Gradient of the mean over `batch` rows of the loss, one tensor per variable.
    fn backward(&self, vars: &[Var], pass: &Pass, batch: usize) -> Result<Vec<Tensor>> {
        let shape = &self.layout.shape;
        let level = self.level;
        let log_q = pass.log_q.to_vec1::<f32>()?;
        let slope =
            |q: &f32| -(1.0 / (1.0 + (-f64::from(*q) - FAR).max(0.0)) / batch as f64) as f32;
        let grad = new_tensor(log_q.iter().map(slope).collect(), log_q.len())?;
        let (outputs, couplings) = (&pass.outputs, &pass.couplings);
        let (grad, grad_couplings) =
            pass.density.bwd(outputs, couplings, &pass.log_q, &needed(Some(grad))?)?;
        let output = vars[1 + 2 * shape.blocks].as_tensor();
        let state = &pass.states[shape.blocks];
        let (mut grad, grad_output) =
            Dense { level, smooth: true }.bwd(state, output, &pass.outputs, &needed(grad)?)?;
        let mut gradient = vec![grad_couplings, grad_output];
        for (block, residual) in pass.residuals.iter().enumerate().rev() {
            let (one, two) = (vars[1 + 2 * block].as_tensor(), vars[2 + 2 * block].as_tensor());
            let (before, after) = (&pass.states[block], &pass.states[block + 1]);
            let (inner, grad_one, grad_two) =
                residual.bwd(before, one, two, after, &needed(grad)?)?;
            gradient.extend([grad_two, grad_one]);
            grad = inner;
        }
        let first = vars[0].as_tensor();
        let input = Dense { level, smooth: false };
        gradient.push(input.bwd(&pass.context, first, &pass.states[0], &needed(grad)?)?.1);
        gradient.reverse();
        gradient.truncate(vars.len());
        gradient.into_iter().map(needed).collect()
    }
}

/// -ln q, and its logarithm beyond [`FAR`].
fn loss(log_q: f64) -> f64 {
    let excess = (-log_q - FAR).max(0.0);
    (-log_q).min(FAR) + scalar::ln_1p(excess)
}

/// What the backward pass needs of the forward pass.
struct Pass {
    context: Tensor,
    /// Before each residual block, and after the last.
    states: Vec<Tensor>,
    residuals: Vec<Residual>,
    outputs: Tensor,
    couplings: Tensor,
    density: Density,
    log_q: Tensor,
}

fn needed(gradient: Option<Tensor>) -> Result<Tensor> {
    gradient.ok_or_else(|| candle_core::Error::Msg("a link of the chain has no gradient".into()))
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
                for record in
                    bias[..layout.shape.components * layout.record].chunks_exact_mut(layout.record)
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
        let pass = self.forward(vars, w, context)?;
        let sum: f64 = pass.log_q.to_vec1::<f32>()?.iter().map(|q| loss(f64::from(*q))).sum();
        Ok((sum / batch as f64, self.backward(vars, &pass, batch)?))
    }

    fn log_density(
        &self,
        vars: &[Var],
        w: &[f32],
        context: &[f32],
    ) -> std::result::Result<Vec<f64>, NpeError> {
        let values = self.forward(vars, w, context)?.log_q.to_vec1::<f32>()?;
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
