//! Loops over many lanes, compiled for the widest vectors of the processor.
//!
//! Multiplications and additions are rounded one by one, never fused, and each
//! lane is a chain of its own in a fixed order. So the width of the vectors
//! cannot change a bit, and any processor may take its fastest path.

use crate::lanes;

/// Values summed together: a few vector registers.
const BLOCK: usize = 64;
/// Values looked at side by side where the result is one number.
const LANES: usize = 32;

/// Compiles a body for each instruction set and picks one at run time.
///
/// The body is an `#[inline(always)]` function of the same arguments; so are
/// all functions that it calls in its loops.
#[macro_export]
macro_rules! widest {
    ($(#[$doc:meta])* pub fn $name:ident($($arg:ident: $type:ty),* $(,)?) => $body:ident) => {
        $(#[$doc])*
        pub fn $name($($arg: $type),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f")]
                fn avx512($($arg: $type),*) {
                    $body($($arg),*);
                }
                #[target_feature(enable = "avx2")]
                fn avx2($($arg: $type),*) {
                    $body($($arg),*);
                }
                if is_x86_feature_detected!("avx512f") {
                    // SAFETY: the processor has the feature.
                    return unsafe { avx512($($arg),*) };
                }
                if is_x86_feature_detected!("avx2") {
                    // SAFETY: the processor has the feature.
                    return unsafe { avx2($($arg),*) };
                }
            }
            $body($($arg),*);
        }
    };
}

widest! {
    /// `out[j] += sum over k of weights[k] * rows[k * stride + j]`, k ascending.
    ///
    /// `rows`: (weights, stride), of which the first `out.len()` columns are used.
    /// Weights of zero cost nothing.
    ///
    /// # Panics
    /// When `rows` is too short.
    pub fn weighted_sum(
        weights: &[f32],
        rows: &[f32],
        stride: usize,
        out: &mut [f32],
    ) => weighted_sum_body
}

#[inline(always)]
fn weighted_sum_body(weights: &[f32], rows: &[f32], stride: usize, out: &mut [f32]) {
    let mut at = 0;
    while at + BLOCK <= out.len() {
        block::<BLOCK>(weights, rows, stride, at, &mut out[at..at + BLOCK]);
        at += BLOCK;
    }
    while at + 8 <= out.len() {
        block::<8>(weights, rows, stride, at, &mut out[at..at + 8]);
        at += 8;
    }
    for (j, sum) in out.iter_mut().enumerate().skip(at) {
        for (k, &weight) in weights.iter().enumerate() {
            if weight != 0.0 {
                *sum += weight * rows[k * stride + j];
            }
        }
    }
}

#[inline(always)]
fn block<const N: usize>(weights: &[f32], rows: &[f32], stride: usize, at: usize, out: &mut [f32]) {
    let mut sums = [0.0f32; N];
    sums.copy_from_slice(out);
    for (k, &weight) in weights.iter().enumerate() {
        if weight == 0.0 {
            continue;
        }
        let row: &[f32; N] =
            rows[k * stride + at..].first_chunk().expect("rows as long as the output");
        for j in 0..N {
            sums[j] += weight * row[j];
        }
    }
    out.copy_from_slice(&sums);
}

widest! {
    /// `values[j] *= exp(strength * decay[j])`, by [`lanes::exp_f32`].
    ///
    /// # Panics
    /// When the slices differ in length.
    pub fn decay(values: &mut [f32], decay: &[f32], strength: f32) => decay_body
}

#[inline(always)]
fn decay_body(values: &mut [f32], decay: &[f32], strength: f32) {
    assert_eq!(values.len(), decay.len(), "one exponent per value");
    for (value, &rate) in values.iter_mut().zip(decay) {
        *value *= lanes::exp_f32(strength * rate);
    }
}

widest! {
    /// `values[j] = max(values[j], 0)`; 0 for NaN.
    pub fn relu(values: &mut [f32]) => relu_body
}

#[inline(always)]
fn relu_body(values: &mut [f32]) {
    for value in values {
        *value = if *value > 0.0 { *value } else { 0.0 };
    }
}

widest! {
    /// `values[j] = tanh(values[j])`, by [`lanes::tanh_f32`].
    pub fn tanh(values: &mut [f32]) => tanh_body
}

#[inline(always)]
fn tanh_body(values: &mut [f32]) {
    for value in values {
        *value = lanes::tanh_f32(*value);
    }
}

widest! {
    /// `sums[j] += 10^logs[j]`, by [`lanes::exp_f64`].
    ///
    /// # Panics
    /// When the slices differ in length.
    pub fn add_exp10(sums: &mut [f64], logs: &[f32]) => add_exp10_body
}

#[inline(always)]
fn add_exp10_body(sums: &mut [f64], logs: &[f32]) {
    assert_eq!(sums.len(), logs.len(), "one value per sum");
    for (sum, &log) in sums.iter_mut().zip(logs) {
        *sum += lanes::exp_f64(f64::from(log) * std::f64::consts::LN_10);
    }
}

widest! {
    /// `sums[j] += 10^logs[j] values[j]`, in double precision.
    ///
    /// # Panics
    /// When the slices differ in length.
    pub fn add_exp10_times(sums: &mut [f64], logs: &[f32], values: &[f32])
        => add_exp10_times_body
}

#[inline(always)]
fn add_exp10_times_body(sums: &mut [f64], logs: &[f32], values: &[f32]) {
    assert_eq!(sums.len(), logs.len(), "one log per sum");
    assert_eq!(sums.len(), values.len(), "one value per sum");
    for ((sum, &log), &value) in sums.iter_mut().zip(logs).zip(values) {
        let weight = lanes::exp_f64(f64::from(log) * std::f64::consts::LN_10);
        *sum += weight * f64::from(value);
    }
}

widest! {
    /// `values[j] = exp(-limit tanh(values[j] / limit))`: one over the stretch of
    /// a raw log scale.
    pub fn bounded_decay(values: &mut [f32], limit: f32) => bounded_decay_body
}

#[inline(always)]
fn bounded_decay_body(values: &mut [f32], limit: f32) {
    for value in values {
        *value = lanes::exp_f32(-(limit * lanes::tanh_f32(*value / limit)));
    }
}

widest! {
    /// `values[j] = silu(values[j])`, by [`lanes::silu_f32`].
    pub fn silu(values: &mut [f32]) => silu_body
}

#[inline(always)]
fn silu_body(values: &mut [f32]) {
    for value in values {
        *value = lanes::silu_f32(*value);
    }
}

widest! {
    /// `gradient[j] *= slope of silu at values[j]`, by [`lanes::silu_slope_f32`].
    ///
    /// # Panics
    /// When the slices differ in length.
    pub fn silu_gradient(values: &[f32], gradient: &mut [f32]) => silu_gradient_body
}

#[inline(always)]
fn silu_gradient_body(values: &[f32], gradient: &mut [f32]) {
    assert_eq!(values.len(), gradient.len(), "one slope per value");
    for (value, gradient) in values.iter().zip(gradient) {
        *gradient *= lanes::silu_slope_f32(*value);
    }
}

widest! {
    /// `out[j]` = the standard normal number of `bits[j]`, by [`lanes::normal_from_bits`].
    ///
    /// # Panics
    /// When the slices differ in length.
    pub fn normals(bits: &[u32], out: &mut [f32]) => normals_body
}

#[inline(always)]
fn normals_body(bits: &[u32], out: &mut [f32]) {
    assert_eq!(bits.len(), out.len(), "one number per word");
    for (bits, out) in bits.iter().zip(out) {
        *out = lanes::normal_from_bits(*bits);
    }
}

widest! {
    /// `values[j] = low + (high - low) Phi(values[j])`, inside the two bounds.
    pub fn normal_to_range(values: &mut [f32], low: f32, high: f32) => normal_to_range_body
}

#[inline(always)]
fn normal_to_range_body(values: &mut [f32], low: f32, high: f32) {
    for value in values {
        // Off the ends by the smallest step that training knows.
        let fraction = lanes::normal_cdf_f32(*value).clamp(1e-9, 1.0 - 6e-8);
        *value = (low + (high - low) * fraction).clamp(low, high);
    }
}

widest! {
    /// Least and greatest of `values` into `out`; infinity and minus infinity for no values.
    pub fn range(values: &[f32], out: &mut [f32; 2]) => range_body
}

#[inline(always)]
fn range_body(values: &[f32], out: &mut [f32; 2]) {
    let (mut least, mut greatest) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
    let mut chunks = values.chunks_exact(LANES);
    for chunk in &mut chunks {
        for j in 0..LANES {
            // Comparisons rather than `min`: these are one instruction.
            least[j] = if chunk[j] < least[j] { chunk[j] } else { least[j] };
            greatest[j] = if chunk[j] > greatest[j] { chunk[j] } else { greatest[j] };
        }
    }
    let rest = chunks.remainder().iter();
    out[0] = least.iter().chain(rest.clone()).copied().fold(f32::INFINITY, f32::min);
    out[1] = greatest.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max);
}

widest! {
    /// Mean and standard deviation (of the population) of `values` into `out`, in a fixed order
    /// of summation; NaN for no values.
    pub fn moments(values: &[f32], out: &mut [f64; 2]) => moments_body
}

#[inline(always)]
fn moments_body(values: &[f32], out: &mut [f64; 2]) {
    let count = values.len() as f64;
    let mean = total(values, |value| value) / count;
    let variance = total(values, |value| (value - mean) * (value - mean)) / count;
    *out = [mean, variance.sqrt()];
}

#[inline(always)]
fn total(values: &[f32], term: impl Fn(f64) -> f64) -> f64 {
    let mut sums = [0.0f64; LANES];
    let mut chunks = values.chunks_exact(LANES);
    for chunk in &mut chunks {
        for j in 0..LANES {
            sums[j] += term(f64::from(chunk[j]));
        }
    }
    for (sum, &value) in sums.iter_mut().zip(chunks.remainder()) {
        *sum += term(f64::from(value));
    }
    sums.iter().sum()
}

widest! {
    /// `out[j]` = whole part of `(values[j] - start) * per_value`, kept within 0 and `last`.
    ///
    /// # Panics
    /// When the slices differ in length.
    pub fn bins(values: &[f32], start: f32, per_value: f32, last: u16, out: &mut [u16]) => bins_body
}

#[inline(always)]
fn bins_body(values: &[f32], start: f32, per_value: f32, last: u16, out: &mut [u16]) {
    assert_eq!(values.len(), out.len(), "one bin per value");
    for (bin, &value) in out.iter_mut().zip(values) {
        *bin = (((value - start) * per_value) as i32).clamp(0, i32::from(last)) as u16;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(n: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * 7919 + 13) % 1009) as f32 / 97.0 - 3.0).collect()
    }

    /// The dispatched loop gives the bits of a plain one, for every length.
    #[test]
    fn sums_do_not_depend_on_the_width_of_vectors() {
        let stride = 203;
        let rows = numbers(11 * stride);
        let mut weights = numbers(11);
        weights[4] = 0.0;
        for n in [1, 15, 16, 17, 63, 64, 65, 100, 203] {
            let mut out = numbers(n);
            let expected: Vec<f32> = out
                .iter()
                .enumerate()
                .map(|(j, &start)| {
                    let mut sum = start;
                    for (k, &w) in weights.iter().enumerate() {
                        if w != 0.0 {
                            sum += w * rows[k * stride + j];
                        }
                    }
                    sum
                })
                .collect();
            weighted_sum(&weights, &rows, stride, &mut out);
            assert!(out.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits()), "{n}");
            let mut portable = numbers(n);
            weighted_sum_body(&weights, &rows, stride, &mut portable);
            assert_eq!(portable, expected);
        }
    }

    #[test]
    fn decays_do_not_depend_on_the_width_of_vectors() {
        for n in [1, 8, 31, 100] {
            let (mut a, rate) = (numbers(n), numbers(n));
            let mut b = a.clone();
            decay(&mut a, &rate, -0.7);
            for (value, &rate) in b.iter_mut().zip(&rate) {
                *value *= lanes::exp_f32(-0.7 * rate);
            }
            assert!(a.iter().zip(&b).all(|(a, b)| a.to_bits() == b.to_bits()));
        }
    }

    #[test]
    fn units_and_normals_do_not_depend_on_the_width_of_vectors() {
        let same = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits());
        for n in [1, 8, 31, 100] {
            let x = numbers(n);
            let (mut a, mut b) = (x.clone(), x.clone());
            silu(&mut a);
            silu_body(&mut b);
            assert!(same(&a, &b));
            silu_gradient(&x, &mut a);
            silu_gradient_body(&x, &mut b);
            assert!(same(&a, &b));
            let (mut sums, mut plain) = (vec![1.0; n], vec![1.0; n]);
            add_exp10(&mut sums, &x);
            add_exp10_body(&mut plain, &x);
            assert!(sums.iter().zip(&plain).all(|(a, b)| a.to_bits() == b.to_bits()));
            assert!((sums[0] / (1.0 + 10f64.powf(f64::from(x[0]))) - 1.0).abs() < 1e-14);
            add_exp10_times(&mut sums, &x, &b);
            add_exp10_times_body(&mut plain, &x, &b);
            assert!(sums.iter().zip(&plain).all(|(a, b)| a.to_bits() == b.to_bits()));
            bounded_decay(&mut a, 2.0);
            bounded_decay_body(&mut b, 2.0);
            assert!(same(&a, &b));
            let bits: Vec<u32> = (0..n as u32).map(|i| i.wrapping_mul(2_654_435_761)).collect();
            normals(&bits, &mut a);
            normals_body(&bits, &mut b);
            assert!(same(&a, &b));
            normal_to_range(&mut a, -2.0, 3.0);
            normal_to_range_body(&mut b, -2.0, 3.0);
            assert!(same(&a, &b) && a.iter().all(|v| *v > -2.0 && *v < 3.0));
        }
    }

    #[test]
    fn what_is_below_zero_becomes_zero() {
        for n in [1, 8, 31, 100] {
            let (mut a, mut b) = (numbers(n), numbers(n));
            a[0] = f32::NAN;
            relu(&mut a);
            b[0] = 0.0;
            assert!(a.iter().zip(&b).all(|(a, b)| *a == b.max(0.0)));
        }
    }

    #[test]
    fn hyperbolic_tangents_do_not_depend_on_the_width_of_vectors() {
        for n in [1, 8, 31, 100] {
            let (mut a, b) = (numbers(n), numbers(n));
            tanh(&mut a);
            assert!(a.iter().zip(&b).all(|(a, b)| a.to_bits() == lanes::tanh_f32(*b).to_bits()));
        }
    }

    #[test]
    fn reductions_do_not_depend_on_the_width_of_vectors() {
        for n in [1, 31, 32, 33, 64, 500] {
            let values = numbers(n);
            let (mut a, mut b) = ([0.0; 2], [0.0; 2]);
            moments(&values, &mut a);
            moments_body(&values, &mut b);
            assert_eq!(a.map(f64::to_bits), b.map(f64::to_bits));
            let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n as f64;
            let square = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>();
            // Two orders of summation of up to 500 numbers below 10.
            assert!(
                (a[0] - mean).abs() < 1e-12 && (a[1] - (square / n as f64).sqrt()).abs() < 1e-12
            );
            let mut ends = [0.0; 2];
            range(&values, &mut ends);
            let mut sorted = values.clone();
            sorted.sort_unstable_by(f32::total_cmp);
            assert_eq!(ends, [sorted[0], sorted[n - 1]]);
            let (mut c, mut d) = (vec![0; n], vec![0; n]);
            bins(&values, 0.0, 10.0, 50, &mut c);
            bins_body(&values, 0.0, 10.0, 50, &mut d);
            let plain = values.iter().map(|&v| (v * 10.0).floor().clamp(0.0, 50.0) as u16);
            assert!(c == d && c.iter().copied().eq(plain));
        }
    }
}
