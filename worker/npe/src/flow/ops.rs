//! Fused candle operations with hand-written gradients.
//!
//! candle records and differentiates the graph; these nodes do the arithmetic
//! with [`crate::matmul`] and the project's own elementary functions, so that
//! neither a thread pool nor the C library has a say in the bits.

use super::LOG_SCALE_LIMIT;
use crate::matmul::{Level, Skip, View, multiply_add};
use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail,
};
use outshine_kernels::{lanes, wide};
use std::sync::{Arc, Mutex};

/// The values of a contiguous f32 tensor on the CPU.
pub(super) fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let Some((from, to)) = layout.contiguous_offsets() else {
        bail!("a fused layer needs contiguous operands")
    };
    Ok(&storage.as_slice::<f32>()?[from..to])
}

/// Calls `f` with the values of a tensor.
pub(super) fn with_values<T>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> Result<T>) -> Result<T> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        candle_core::Storage::Cpu(cpu) => f(slice(cpu, layout)?),
        _ => bail!("a fused layer runs on the CPU"),
    }
}

pub(super) fn new_tensor(values: Vec<f32>, shape: impl Into<Shape>) -> Result<Tensor> {
    Tensor::from_vec(values, shape, &candle_core::Device::Cpu)
}

/// Sum over rows of a [rows, width] matrix, added to `sum` in row order.
fn add_rows(values: &[f32], width: usize, sum: &mut [f32]) {
    for row in values.chunks_exact(width) {
        for (s, x) in sum.iter_mut().zip(row) {
            *s += x;
        }
    }
}

/// Staircase of a masked square layer, as bounds per column.
#[derive(Clone, Debug)]
pub struct Staircase {
    /// Input units that column j of the weights may see: `0..end[j]`.
    pub end: Vec<usize>,
    /// Output units that input unit i feeds: `start[i]..`
    pub start: Vec<usize>,
}

/// max(0, [state's first d columns, context, 1] W): a block's first layer.
///
/// Arguments: state [rows, d + 1], context [rows, C], weights [d + C + 1, h]
/// with the bias as last row. The context gets no gradient.
pub struct FirstLayer {
    /// Instruction set.
    pub level: Level,
    /// Coordinates d.
    pub dims: usize,
    /// 1 where a weight of the d coordinate rows exists, shape [d, h].
    pub mask: Arc<Vec<f32>>,
}

impl CustomOp3 for FirstLayer {
    fn name(&self) -> &'static str {
        "masked-first-layer"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (state, context, weights) = (slice(s1, l1)?, slice(s2, l2)?, slice(s3, l3)?);
        let (rows, c) = l2.shape().dims2()?;
        let h = l3.shape().dims2()?.1;
        let d = self.dims;
        let mut out = Vec::with_capacity(rows * h);
        for _ in 0..rows {
            out.extend_from_slice(&weights[(d + c) * h..]);
        }
        let state = View::new(state, d + 1);
        let seen = View::new(&weights[..d * h], h);
        multiply_add(self.level, (rows, d, h), state, seen, Skip::Nothing, &mut out, h);
        let context = View::new(context, c);
        let given = View::new(&weights[d * h..(d + c) * h], h);
        multiply_add(self.level, (rows, c, h), context, given, Skip::Nothing, &mut out, h);
        wide::relu(&mut out);
        Ok((CpuStorage::F32(out), (rows, h).into()))
    }

    fn bwd(
        &self,
        state: &Tensor,
        context: &Tensor,
        weights: &Tensor,
        res: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (rows, c) = context.dims2()?;
        let h = weights.dims2()?.1;
        let d = self.dims;
        let grad = gated(res, grad)?;
        let g = View::new(&grad, h);
        let mut grad_weights = vec![0.0; (d + c + 1) * h];
        let (seen, rest) = grad_weights.split_at_mut(d * h);
        let (given, bias) = rest.split_at_mut(c * h);
        with_values(state, |state| {
            let state = View::new(state, d + 1).t();
            multiply_add(self.level, (d, rows, h), state, g, Skip::Nothing, seen, h);
            Ok(())
        })?;
        for (x, keep) in seen.iter_mut().zip(self.mask.iter()) {
            *x *= keep;
        }
        with_values(context, |context| {
            let context = View::new(context, c).t();
            multiply_add(self.level, (c, rows, h), context, g, Skip::Nothing, given, h);
            Ok(())
        })?;
        add_rows(&grad, h, bias);
        let mut grad_state = vec![0.0; rows * (d + 1)];
        with_values(weights, |w| {
            let w = View::new(&w[..d * h], h).t();
            multiply_add(self.level, (rows, h, d), g, w, Skip::Nothing, &mut grad_state, d + 1);
            Ok(())
        })?;
        Ok((
            Some(new_tensor(grad_state, (rows, d + 1))?),
            None,
            Some(new_tensor(grad_weights, (d + c + 1, h))?),
        ))
    }
}

/// [input, 1] W, or max(0, .) of it: a block's second layer and its outputs.
///
/// Arguments: input [rows, k], weights [k + 1, n] with the bias as last row.
pub struct MaskedLayer {
    /// Instruction set.
    pub level: Level,
    /// 1 where a weight exists, shape [k, n].
    pub mask: Arc<Vec<f32>>,
    /// Where the mask is a staircase.
    pub staircase: Option<Arc<Staircase>>,
    /// Whether negative results become 0.
    pub relu: bool,
}

impl CustomOp2 for MaskedLayer {
    fn name(&self) -> &'static str {
        "masked-layer"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (input, weights) = (slice(s1, l1)?, slice(s2, l2)?);
        let (rows, k) = l1.shape().dims2()?;
        let n = l2.shape().dims2()?.1;
        let mut out = Vec::with_capacity(rows * n);
        for _ in 0..rows {
            out.extend_from_slice(&weights[k * n..]);
        }
        let skip = self.staircase.as_ref().map_or(Skip::Nothing, |s| Skip::After(&s.end));
        let (input, weights) = (View::new(input, k), View::new(&weights[..k * n], n));
        multiply_add(self.level, (rows, k, n), input, weights, skip, &mut out, n);
        if self.relu {
            wide::relu(&mut out);
        }
        Ok((CpuStorage::F32(out), (rows, n).into()))
    }

    fn bwd(
        &self,
        input: &Tensor,
        weights: &Tensor,
        res: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (rows, k) = input.dims2()?;
        let n = weights.dims2()?.1;
        let grad = if self.relu { gated(res, grad)? } else { copied(grad)? };
        let g = View::new(&grad, n);
        let mut grad_weights = vec![0.0; (k + 1) * n];
        let (body, bias) = grad_weights.split_at_mut(k * n);
        with_values(input, |input| {
            let input = View::new(input, k).t();
            multiply_add(self.level, (k, rows, n), input, g, Skip::Nothing, body, n);
            Ok(())
        })?;
        for (x, keep) in body.iter_mut().zip(self.mask.iter()) {
            *x *= keep;
        }
        add_rows(&grad, n, bias);
        let mut grad_input = vec![0.0; rows * k];
        with_values(weights, |w| {
            let skip = self.staircase.as_ref().map_or(Skip::Nothing, |s| Skip::Before(&s.start));
            let w = View::new(&w[..k * n], n).t();
            multiply_add(self.level, (rows, n, k), g, w, skip, &mut grad_input, k);
            Ok(())
        })?;
        Ok((Some(new_tensor(grad_input, (rows, k))?), Some(new_tensor(grad_weights, (k + 1, n))?)))
    }
}

/// [input, 1] W, or [silu(input), 1] W: a dense layer.
///
/// Arguments: input [rows, k], weights [k + 1, n] with the bias as last row.
pub struct Dense {
    /// Instruction set.
    pub level: Level,
    /// Whether the input passes silu, x / (1 + e^-x), first; otherwise it gets
    /// no gradient.
    pub smooth: bool,
}

/// silu(values), in a new vector.
fn smoothed(values: &[f32]) -> Vec<f32> {
    let mut values = values.to_vec();
    wide::silu(&mut values);
    values
}

/// [input, 1] W, with the bias as last row of `weights`: [rows, n].
fn dense(
    level: Level,
    (rows, k, n): (usize, usize, usize),
    x: &[f32],
    weights: &[f32],
) -> Vec<f32> {
    let mut out = Vec::with_capacity(rows * n);
    for _ in 0..rows {
        out.extend_from_slice(&weights[k * n..]);
    }
    let (x, w) = (View::new(x, k), View::new(&weights[..k * n], n));
    multiply_add(level, (rows, k, n), x, w, Skip::Nothing, &mut out, n);
    out
}

/// Gradient of the weights of [`dense`]: [k + 1, n].
fn weight_slope(
    level: Level,
    (rows, k, n): (usize, usize, usize),
    x: &[f32],
    g: &[f32],
) -> Vec<f32> {
    let mut slope = vec![0.0; (k + 1) * n];
    let (body, bias) = slope.split_at_mut(k * n);
    let (x, g_view) = (View::new(x, k).t(), View::new(g, n));
    multiply_add(level, (k, rows, n), x, g_view, Skip::Nothing, body, n);
    add_rows(g, n, bias);
    slope
}

/// Gradient of `raw`, the input of [`dense`] before its silu: [rows, k].
fn smooth_slope(
    level: Level,
    (rows, k, n): (usize, usize, usize),
    raw: &[f32],
    weights: &[f32],
    g: &[f32],
) -> Vec<f32> {
    let mut slope = vec![0.0; rows * k];
    let (g, w) = (View::new(g, n), View::new(&weights[..k * n], n).t());
    multiply_add(level, (rows, n, k), g, w, Skip::Nothing, &mut slope, k);
    wide::silu_gradient(raw, &mut slope);
    slope
}

impl CustomOp2 for Dense {
    fn name(&self) -> &'static str {
        "dense-layer"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (input, weights) = (slice(s1, l1)?, slice(s2, l2)?);
        let (rows, k) = l1.shape().dims2()?;
        let n = l2.shape().dims2()?.1;
        let x = if self.smooth { smoothed(input) } else { input.to_vec() };
        let out = dense(self.level, (rows, k, n), &x, weights);
        Ok((CpuStorage::F32(out), (rows, n).into()))
    }

    fn bwd(
        &self,
        input: &Tensor,
        weights: &Tensor,
        _res: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (rows, k) = input.dims2()?;
        let n = weights.dims2()?.1;
        let shape = (rows, k, n);
        let (slope, grad_weights) = with_values(grad, |grad| {
            with_values(input, |input| {
                if !self.smooth {
                    return Ok((None, weight_slope(self.level, shape, input, grad)));
                }
                let grad_weights = weight_slope(self.level, shape, &smoothed(input), grad);
                let slope =
                    with_values(weights, |w| Ok(smooth_slope(self.level, shape, input, w, grad)))?;
                Ok((Some(slope), grad_weights))
            })
        })?;
        let slope = slope.map(|slope| new_tensor(slope, (rows, k))).transpose()?;
        Ok((slope, Some(new_tensor(grad_weights, (k + 1, n))?)))
    }
}

/// x + [silu([silu(x), 1] W), 1] V: a residual block.
///
/// Arguments: x [rows, h], weights W and V [h + 1, h] with the bias as last row.
pub struct Residual {
    /// Instruction set.
    pub level: Level,
    /// [silu(x), 1] W, kept for the gradient.
    pub inner: Mutex<Vec<f32>>,
}

impl CustomOp3 for Residual {
    fn name(&self) -> &'static str {
        "residual-block"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, first, second) = (slice(s1, l1)?, slice(s2, l2)?, slice(s3, l3)?);
        let (rows, h) = l1.shape().dims2()?;
        let shape = (rows, h, h);
        let inner = dense(self.level, shape, &smoothed(x), first);
        let mut out = dense(self.level, shape, &smoothed(&inner), second);
        for (out, x) in out.iter_mut().zip(x) {
            *out += x;
        }
        *self.inner.lock().expect("one thread per graph") = inner;
        Ok((CpuStorage::F32(out), (rows, h).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        first: &Tensor,
        second: &Tensor,
        _res: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (rows, h) = x.dims2()?;
        let shape = (rows, h, h);
        let level = self.level;
        let inner = self.inner.lock().expect("one thread per graph");
        with_values(grad, |grad| {
            let grad_second = weight_slope(level, shape, &smoothed(&inner), grad);
            let inner_slope =
                with_values(second, |w| Ok(smooth_slope(level, shape, &inner, w, grad)))?;
            with_values(x, |x| {
                let grad_first = weight_slope(level, shape, &smoothed(x), &inner_slope);
                let mut slope =
                    with_values(first, |w| Ok(smooth_slope(level, shape, x, w, &inner_slope)))?;
                for (slope, g) in slope.iter_mut().zip(grad) {
                    *slope += g;
                }
                Ok((
                    Some(new_tensor(slope, (rows, h))?),
                    Some(new_tensor(grad_first, (h + 1, h))?),
                    Some(new_tensor(grad_second, (h + 1, h))?),
                ))
            })
        })
    }
}

/// The gradient where the result is positive, 0 elsewhere.
fn gated(res: &Tensor, grad: &Tensor) -> Result<Vec<f32>> {
    with_values(res, |res| {
        with_values(grad, |grad| {
            Ok(res.iter().zip(grad).map(|(y, g)| if *y > 0.0 { *g } else { 0.0 }).collect())
        })
    })
}

fn copied(tensor: &Tensor) -> Result<Vec<f32>> {
    with_values(tensor, |values| Ok(values.to_vec()))
}

/// A block's affine transform towards the noise.
///
/// Arguments: state [rows, d + 1] = (w, sum of log scales so far), outputs
/// [rows, 2 d] = (shift m, raw log scale). With a = A tanh(raw / A),
/// A = [`LOG_SCALE_LIMIT`]: w' = (w - m) exp(-a), sum' = sum + sum(a).
pub struct Affine {
    /// Coordinates d.
    pub dims: usize,
}

/// Log scale from its raw value.
#[inline(always)]
pub fn log_scale(raw: f32) -> f32 {
    LOG_SCALE_LIMIT * lanes::tanh_f32(raw * (1.0 / LOG_SCALE_LIMIT))
}

impl CustomOp2 for Affine {
    fn name(&self) -> &'static str {
        "affine-transform"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (state, outputs) = (slice(s1, l1)?, slice(s2, l2)?);
        let d = self.dims;
        let mut out = state.to_vec();
        for (row, output) in out.chunks_exact_mut(d + 1).zip(outputs.chunks_exact(2 * d)) {
            for i in 0..d {
                let a = log_scale(output[d + i]);
                row[i] = (row[i] - output[i]) * lanes::exp_f32(-a);
                row[d] += a;
            }
        }
        Ok((CpuStorage::F32(out), l1.shape().clone()))
    }

    fn bwd(
        &self,
        state: &Tensor,
        outputs: &Tensor,
        res: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let d = self.dims;
        let rows = state.dims2()?.0;
        let mut grad_state = copied(grad)?;
        let mut grad_outputs = copied(outputs)?;
        with_values(res, |res| {
            let results = res.chunks_exact(d + 1);
            let rows = grad_state.chunks_exact_mut(d + 1).zip(grad_outputs.chunks_exact_mut(2 * d));
            for ((g, output), result) in rows.zip(results) {
                for i in 0..d {
                    let a = log_scale(output[d + i]);
                    let t = a * (1.0 / LOG_SCALE_LIMIT);
                    let through = g[i];
                    g[i] = through * lanes::exp_f32(-a);
                    output[i] = -g[i];
                    output[d + i] = (g[d] - through * result[i]) * (1.0 - t * t);
                }
            }
            Ok(())
        })?;
        Ok((
            Some(new_tensor(grad_state, (rows, d + 1))?),
            Some(new_tensor(grad_outputs, (rows, 2 * d))?),
        ))
    }
}

/// Negative log density of a batch under the standard normal base, without its
/// constant: sum over rows of (|z|^2 / 2 + sum of log scales), times `weight`.
pub struct NegativeLogDensity {
    /// Coordinates d.
    pub dims: usize,
    /// Factor, such as one over the size of the batch.
    pub weight: f32,
}

impl CustomOp1 for NegativeLogDensity {
    fn name(&self) -> &'static str {
        "negative-log-density"
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout) -> Result<(CpuStorage, Shape)> {
        let d = self.dims;
        let mut sum = 0.0f64;
        for row in slice(s1, l1)?.chunks_exact(d + 1) {
            sum += row_loss(row);
        }
        Ok((CpuStorage::F32(vec![(sum * f64::from(self.weight)) as f32]), ().into()))
    }

    fn bwd(&self, state: &Tensor, _res: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let d = self.dims;
        let g = grad.to_scalar::<f32>()? * self.weight;
        let mut out = copied(state)?;
        for row in out.chunks_exact_mut(d + 1) {
            for x in &mut row[..d] {
                *x *= g;
            }
            row[d] = g;
        }
        Ok(Some(new_tensor(out, state.shape().clone())?))
    }
}

/// |z|^2 / 2 + sum of log scales of one row (z, sum).
pub(crate) fn row_loss(row: &[f32]) -> f64 {
    let (sum, z) = row.split_last().expect("a row holds at least the sum");
    let half: f64 = z.iter().map(|z| 0.5 * f64::from(*z) * f64::from(*z)).sum();
    half + f64::from(*sum)
}
