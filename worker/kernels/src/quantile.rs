//! Quantiles of draws, one definition for every summary in the project.

/// Puts finite values in order; the total order of IEEE 754, so the result
/// does not depend on the order of arrival.
pub fn sort(values: &mut [f64]) {
    values.sort_unstable_by(f64::total_cmp);
}

/// The quantile `p` in [0, 1] of values in order, by linear interpolation
/// between order statistics (type 7 of Hyndman & Fan 1996, the default of
/// numpy and R). NaN for no values.
#[must_use]
pub fn of_sorted(values: &[f64], p: f64) -> f64 {
    let Some(last) = values.len().checked_sub(1) else { return f64::NAN };
    let position = p.clamp(0.0, 1.0) * last as f64;
    let below = position as usize;
    if below >= last {
        return values[last];
    }
    values[below] + (position - below as f64) * (values[below + 1] - values[below])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_textbook_definition() {
        let mut values = [15.0, 20.0, 35.0, 40.0, 50.0];
        values.reverse();
        sort(&mut values);
        // numpy.quantile([15, 20, 35, 40, 50], [0, 0.05, 0.3, 0.5, 1]).
        for (p, expected) in [(0.0, 15.0), (0.05, 16.0), (0.3, 23.0), (0.5, 35.0), (1.0, 50.0)] {
            assert!((of_sorted(&values, p) - expected).abs() < 1e-12, "{p}");
        }
        assert!(of_sorted(&[], 0.5).is_nan());
        assert_eq!(of_sorted(&[3.0], 0.16), 3.0);
    }
}
