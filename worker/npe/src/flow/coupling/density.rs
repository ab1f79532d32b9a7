//! ln q(w) of one row and its gradients, by hand.

use super::layout::{
    COUPLING_INPUT_LIMIT, COUPLING_SCALE_LIMIT, Layout, MIXTURE_SCALE_LIMIT, Split,
};
use outshine_kernels::{lanes, wide};

/// Work space, with what the backward pass needs of the forward pass.
#[derive(Default)]
pub struct Scratch {
    /// Coordinates before each coupling, and after the last: [couplings + 1, d].
    states: Vec<f32>,
    /// Units of every coupling, [couplings, units].
    units: Vec<f32>,
    /// Log scales of every coupling, [couplings, d].
    scales: Vec<f32>,
    /// ln (weight times density) of every component.
    parts: Vec<f32>,
    /// z of every component, [K, d].
    noise: Vec<f32>,
    /// Gradient of the coordinates, and of a coupling's units.
    slope: Vec<f32>,
    unit_slope: Vec<f32>,
    affine: Vec<f32>,
}

/// A bounded value: limit tanh(raw / limit).
#[inline(always)]
pub(crate) fn bounded(raw: f32, limit: f32) -> f32 {
    limit * lanes::tanh_f32(raw / limit)
}

/// Slope of [`bounded`] where it has this value.
#[inline(always)]
fn bounded_slope(value: f32, limit: f32) -> f32 {
    let t = value / limit;
    1.0 - t * t
}

fn seen(w: f32) -> f32 {
    w.clamp(-COUPLING_INPUT_LIMIT, COUPLING_INPUT_LIMIT)
}

/// Sum of products in eight interleaved sums.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 8];
    let (a8, b8) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = a8.remainder().iter().zip(b8.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a8.zip(b8) {
        for l in 0..8 {
            sums[l] += x[l] * y[l];
        }
    }
    sums.iter().sum::<f32>() + rest
}

fn add_scaled(to: &mut [f32], from: &[f32], factor: f32) {
    for (t, f) in to.iter_mut().zip(from) {
        *t += factor * f;
    }
}

/// ln q(w) given the conditioner's outputs; fills `s` for [`backward`].
pub fn forward(
    layout: &Layout,
    weights: &[f32],
    outputs: &[f32],
    w: &[f32],
    s: &mut Scratch,
) -> f64 {
    let (d, units) = (layout.shape.dims, layout.shape.units);
    let couplings = layout.splits.len();
    s.states.resize((couplings + 1) * d, 0.0);
    s.units.resize(couplings * units, 0.0);
    s.scales.resize(couplings * d, 0.0);
    s.states[..d].copy_from_slice(w);
    let mut log_q = 0.0f64;
    for (l, split) in layout.splits.iter().enumerate() {
        let (before, after) = s.states.split_at_mut((l + 1) * d);
        let (before, after) = (&before[l * d..], &mut after[..d]);
        let hidden = &mut s.units[l * units..(l + 1) * units];
        couple(split, weights, outputs, before, hidden, &mut s.affine);
        after.copy_from_slice(before);
        let moved = split.moved.len();
        for (k, &i) in split.moved.iter().enumerate() {
            let scale = bounded(s.affine[k], COUPLING_SCALE_LIMIT);
            s.scales[l * d + i] = scale;
            after[i] = before[i] * lanes::exp_f32(scale) + s.affine[moved + k];
            log_q += f64::from(scale);
        }
    }
    let end = couplings * d;
    s.parts.clear();
    s.noise.resize(layout.shape.components * d, 0.0);
    let records = outputs[..layout.shape.components * layout.record].chunks_exact(layout.record);
    let top = records.clone().map(|r| r[0]).fold(f32::MIN, f32::max);
    let total: f32 = records.clone().map(|r| lanes::exp_f32(r[0] - top)).sum();
    let log_total = top + lanes::ln_f32(total);
    for (record, z) in records.zip(s.noise.chunks_exact_mut(d)) {
        let mut part = record[0] - log_total;
        let (mean, rest) = record[1..].split_at(d);
        let (raw, triangle) = rest.split_at(d);
        let state = &s.states[end..];
        let mut row = 0;
        for i in 0..d {
            let mut sum = state[i] - mean[i];
            for j in 0..i {
                sum += triangle[row + j] * (state[j] - mean[j]);
            }
            row += i;
            let a = bounded(raw[i], MIXTURE_SCALE_LIMIT);
            z[i] = sum * lanes::exp_f32(a);
            part += a + layout.shape.tails.log_density(z[i]);
        }
        s.parts.push(part);
    }
    let top = s.parts.iter().copied().fold(f32::MIN, f32::max);
    let total: f32 = s.parts.iter().map(|p| lanes::exp_f32(p - top)).sum();
    log_q + f64::from(top + lanes::ln_f32(total))
}

/// ln q(w) given the conditioner's outputs, alone.
pub(crate) fn log_density(layout: &Layout, weights: &[f32], outputs: &[f32], w: &[f32]) -> f64 {
    forward(layout, weights, outputs, w, &mut Scratch::default())
}

/// Units and (raw log scales, shifts) of one coupling.
fn couple(
    split: &Split,
    weights: &[f32],
    outputs: &[f32],
    state: &[f32],
    units: &mut [f32],
    affine: &mut Vec<f32>,
) {
    let n = units.len();
    units.copy_from_slice(&outputs[split.units.clone()]);
    for (&i, row) in split.given.iter().zip(weights[split.inward.clone()].chunks_exact(n)) {
        add_scaled(units, row, seen(state[i]));
    }
    wide::relu(units);
    affine.clear();
    let rows = weights[split.outward.clone()].chunks_exact(n);
    let constants = &outputs[split.affine.clone()];
    affine.extend(constants.iter().zip(rows).map(|(c, row)| c + dot(row, units)));
}

/// Adds `factor` times the gradient of ln q to `grad_outputs` and
/// `grad_weights`, after [`forward`] with the same arguments.
pub fn backward(
    layout: &Layout,
    weights: &[f32],
    outputs: &[f32],
    factor: f32,
    s: &mut Scratch,
    grad_outputs: &mut [f32],
    grad_weights: &mut [f32],
) {
    let (d, units) = (layout.shape.dims, layout.shape.units);
    let couplings = layout.splits.len();
    let state = &s.states[couplings * d..];
    s.slope.clear();
    s.slope.resize(d, 0.0);
    let top = s.parts.iter().copied().fold(f32::MIN, f32::max);
    let total: f32 = s.parts.iter().map(|p| lanes::exp_f32(p - top)).sum();
    let logits = || (0..layout.shape.components).map(|k| outputs[k * layout.record]);
    let logit_top = logits().fold(f32::MIN, f32::max);
    let logit_total: f32 = logits().map(|l| lanes::exp_f32(l - logit_top)).sum();
    for (k, z) in s.noise.chunks_exact(d).enumerate() {
        let record = &outputs[k * layout.record..(k + 1) * layout.record];
        let grad = &mut grad_outputs[k * layout.record..(k + 1) * layout.record];
        let share = lanes::exp_f32(s.parts[k] - top) / total;
        let prior = lanes::exp_f32(record[0] - logit_top) / logit_total;
        grad[0] += factor * (share - prior);
        let weight = factor * share;
        let (mean, rest) = record[1..].split_at(d);
        let (raw, triangle) = rest.split_at(d);
        let (grad_mean, grad_rest) = grad[1..].split_at_mut(d);
        let (grad_raw, grad_triangle) = grad_rest.split_at_mut(d);
        let mut row = 0;
        for i in 0..d {
            let a = bounded(raw[i], MIXTURE_SCALE_LIMIT);
            let slope = layout.shape.tails.slope(z[i]);
            grad_raw[i] += weight * (1.0 + z[i] * slope) * bounded_slope(a, MIXTURE_SCALE_LIMIT);
            // Slope with respect to r_i + sum of t_ij r_j.
            let g = weight * slope * lanes::exp_f32(a);
            grad_mean[i] -= g;
            s.slope[i] += g;
            for j in 0..i {
                grad_triangle[row + j] += g * (state[j] - mean[j]);
                let through = g * triangle[row + j];
                grad_mean[j] -= through;
                s.slope[j] += through;
            }
            row += i;
        }
    }
    s.unit_slope.resize(units, 0.0);
    for (l, split) in layout.splits.iter().enumerate().rev() {
        let before = &s.states[l * d..(l + 1) * d];
        let hidden = &s.units[l * units..(l + 1) * units];
        s.unit_slope.fill(0.0);
        let moved = split.moved.len();
        for (k, &i) in split.moved.iter().enumerate() {
            let scale = s.scales[l * d + i];
            let stretch = lanes::exp_f32(scale);
            let shift_slope = s.slope[i];
            let scale_slope = (shift_slope * before[i] * stretch + factor)
                * bounded_slope(scale, COUPLING_SCALE_LIMIT);
            s.slope[i] = shift_slope * stretch;
            for (row, slope) in [(k, scale_slope), (moved + k, shift_slope)] {
                grad_outputs[split.affine.start + row] += slope;
                let at = split.outward.start + row * units;
                add_scaled(&mut grad_weights[at..at + units], hidden, slope);
                add_scaled(&mut s.unit_slope, &weights[at..at + units], slope);
            }
        }
        for (slope, unit) in s.unit_slope.iter_mut().zip(hidden) {
            *slope = if *unit > 0.0 { *slope } else { 0.0 };
        }
        add_scaled(&mut grad_outputs[split.units.clone()], &s.unit_slope, 1.0);
        for (k, &i) in split.given.iter().enumerate() {
            let at = split.inward.start + k * units;
            add_scaled(&mut grad_weights[at..at + units], &s.unit_slope, seen(before[i]));
            if before[i].abs() < COUPLING_INPUT_LIMIT {
                s.slope[i] += dot(&weights[at..at + units], &s.unit_slope);
            }
        }
    }
}
