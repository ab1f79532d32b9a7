//! The statistics that calibration rests on.

use outshine_kernels::scalar;

/// Coefficient of determination of `estimate` for `truth`:
/// 1 - sum (truth - estimate)^2 / sum (truth - mean)^2. NaN when the truth does not vary.
///
/// # Panics
/// When the lengths differ.
#[must_use]
pub fn r_squared(truth: &[f64], estimate: &[f64]) -> f64 {
    assert_eq!(truth.len(), estimate.len(), "one estimate per truth");
    let mean = truth.iter().sum::<f64>() / truth.len() as f64;
    let (mut residual, mut total) = (0.0, 0.0);
    for (t, e) in truth.iter().zip(estimate) {
        residual += (t - e) * (t - e);
        total += (t - mean) * (t - mean);
    }
    if total > 0.0 { 1.0 - residual / total } else { f64::NAN }
}

/// Largest distance between the empirical distribution of `values` and the
/// uniform one on (0, 1). 0 when there are none.
#[must_use]
pub fn kolmogorov_smirnov(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let n = sorted.len() as f64;
    let mut largest = 0.0f64;
    for (i, x) in sorted.iter().enumerate() {
        largest = largest.max(x - i as f64 / n).max((i + 1) as f64 / n - x);
    }
    largest
}

/// Probability of a Kolmogorov-Smirnov distance of at least `distance` among
/// `n` uniform values: the asymptotic series with Stephens' (1970) correction
/// for finite n, good to about 0.01 for n above 10.
#[must_use]
pub fn kolmogorov_smirnov_p_value(distance: f64, n: usize) -> f64 {
    if n == 0 {
        return 1.0;
    }
    let root = (n as f64).sqrt();
    let lambda = (root + 0.12 + 0.11 / root) * distance;
    if lambda < 0.2 {
        return 1.0;
    }
    let mut sum = 0.0;
    for j in 1..=100 {
        let j = f64::from(j);
        let term = scalar::exp(-2.0 * j * j * lambda * lambda);
        sum += if j % 2.0 == 1.0 { term } else { -term };
    }
    (2.0 * sum).clamp(0.0, 1.0)
}

/// Probability that chi^2 with `degrees` > 0 degrees of freedom is at least
/// `chi_square`: the upper incomplete gamma function by its series or its
/// continued fraction.
#[must_use]
pub fn chi_square_p_value(chi_square: f64, degrees: usize) -> f64 {
    let (a, x) = (0.5 * degrees as f64, 0.5 * chi_square);
    if x <= 0.0 {
        return 1.0;
    }
    let front = scalar::exp(a * scalar::ln(x) - x - libm::lgamma(a));
    if x < a + 1.0 {
        let mut term = 1.0 / a;
        let mut sum = term;
        for k in 1..2000 {
            term *= x / (a + f64::from(k));
            sum += term;
            if term < sum * 1e-16 {
                break;
            }
        }
        return (1.0 - front * sum).clamp(0.0, 1.0);
    }
    // Modified Lentz.
    let tiny = 1e-300;
    let mut b = x + 1.0 - a;
    let mut c = 1.0 / tiny;
    let mut d = 1.0 / b;
    let mut fraction = d;
    for k in 1..2000 {
        let k = f64::from(k);
        let numerator = -k * (k - a);
        b += 2.0;
        d = 1.0 / keep_off_zero(numerator * d + b, tiny);
        c = keep_off_zero(b + numerator / c, tiny);
        let change = c * d;
        fraction *= change;
        if (change - 1.0).abs() < 1e-15 {
            break;
        }
    }
    (front * fraction).clamp(0.0, 1.0)
}

fn keep_off_zero(x: f64, tiny: f64) -> f64 {
    if x.abs() < tiny { tiny } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn determination() {
        let t = [1.0, 2.0, 3.0];
        assert_eq!(r_squared(&t, &t), 1.0);
        assert_eq!(r_squared(&t, &[2.0; 3]), 0.0);
        assert_eq!(r_squared(&t, &[3.0, 2.0, 1.0]), -3.0);
        assert!(r_squared(&[1.0, 1.0], &[1.0, 1.0]).is_nan());
    }

    #[test]
    fn p_values_match_published_tables() {
        // Upper 5 % and 1 % points of chi^2 with 1, 10 and 19 degrees.
        for (x, degrees, p) in [
            (3.841_459, 1, 0.05),
            (6.634_897, 1, 0.01),
            (18.307_038, 10, 0.05),
            (30.143_527, 19, 0.05),
            (36.190_869, 19, 0.01),
        ] {
            assert!((chi_square_p_value(x, degrees) - p).abs() < 1e-6, "{x} {degrees}");
        }
        // Critical values 1.3581 and 1.6276 of sqrt(n) D for large n.
        assert!((kolmogorov_smirnov_p_value(1.358_1 / 1000.0, 1_000_000) - 0.05).abs() < 1e-3);
        assert!((kolmogorov_smirnov_p_value(1.627_6 / 1000.0, 1_000_000) - 0.01).abs() < 1e-3);
        // Exact critical value at n = 20, 5 %: 0.294.
        assert!((kolmogorov_smirnov_p_value(0.294_08, 20) - 0.05).abs() < 3e-3);
    }

    #[test]
    fn distance_from_uniform() {
        assert!((kolmogorov_smirnov(&[0.5]) - 0.5).abs() < 1e-15);
        assert!((kolmogorov_smirnov(&[0.1, 0.2, 0.3]) - 0.7).abs() < 1e-15);
    }
}
