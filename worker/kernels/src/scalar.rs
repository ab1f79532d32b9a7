//! Elementary functions of one `f64`, in pure software: the same bits
//! everywhere. Accuracy: below 1 unit in the last place, apart from
//! [`exp10`] and the logistic pair (a few units).

pub use libm::{asinh, cos, exp, expm1, log as ln, log1p as ln_1p, log10, pow, sin, sinh, sqrt, tanh};

/// Ten to the power `x`.
#[must_use]
pub fn exp10(x: f64) -> f64 {
    libm::exp(x * std::f64::consts::LN_10)
}

/// The logistic function 1 / (1 + exp(-x)), without overflow at either end.
#[must_use]
pub fn logistic(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + exp(-x))
    } else {
        let e = exp(x);
        e / (1.0 + e)
    }
}

/// Inverse of [`logistic`]: ln(p / (1 - p)) for 0 < p < 1.
#[must_use]
pub fn logit(p: f64) -> f64 {
    ln(p) - ln_1p(-p)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logistic_and_logit_are_inverse() {
        for i in -40..=40 {
            let x = f64::from(i) * 0.5;
            let back = logit(logistic(x));
            // Near p = 1 the rounding of p itself is amplified by 1 / (1 - p).
            let tolerance = 1e-12 + 4.0 * f64::EPSILON * exp(x.abs());
            assert!((back - x).abs() <= tolerance, "{x} came back as {back}");
        }
        assert_eq!(logistic(-800.0), 0.0);
        assert_eq!(logistic(800.0), 1.0);
    }

    #[test]
    fn exp10_matches_exact_powers() {
        for k in -12..=12 {
            let exact: f64 = format!("1e{k}").parse().unwrap();
            assert!((exp10(f64::from(k)) / exact - 1.0).abs() < 1e-14);
        }
    }
}
