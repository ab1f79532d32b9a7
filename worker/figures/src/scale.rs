//! Scales: places of values, limits of what is shown, and round numbers on axes
//! and bars.

use outshine_kernels::{quantile, scalar};

/// A scale between two values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// Value at its start.
    pub low: f64,
    /// Value at its end.
    pub high: f64,
    /// Whether it is logarithmic; its ends must be positive then.
    pub log: bool,
}

impl Scale {
    /// A linear scale.
    #[must_use]
    pub fn linear(low: f64, high: f64) -> Self {
        Self { low, high, log: false }
    }

    /// A logarithmic scale.
    #[must_use]
    pub fn log(low: f64, high: f64) -> Self {
        Self { low, high, log: true }
    }

    /// Place of a value, 0 at the start and 1 at the end; what has none is not
    /// finite.
    #[must_use]
    pub fn place(&self, value: f64) -> f64 {
        let at = |v: f64| if self.log { scalar::log10(v) } else { v };
        (at(value) - at(self.low)) / (at(self.high) - at(self.low))
    }

    /// The value of the scale that is nearest; not a number for none.
    #[must_use]
    pub(crate) fn nearest(&self, value: f64) -> f64 {
        if value.is_nan() { value } else { value.max(self.low).min(self.high) }
    }

    /// Ticks and their names: at most `most` round steps, so at most one tick more;
    /// on a logarithmic scale powers of ten alone where there were more than `most`.
    #[must_use]
    pub fn ticks(&self, most: usize) -> Vec<(f64, String)> {
        if !self.log {
            let all = ticks(self.low, self.high, most);
            let names = labels(&all);
            return all.into_iter().zip(names).collect();
        }
        let mut all = log_ticks(self.low, self.high);
        if all.len() > most {
            let is_power = |t: f64| {
                let power = scalar::log10(t);
                (power - power.round()).abs() < 1e-9
            };
            let powers: Vec<f64> = all.iter().copied().filter(|t| is_power(*t)).collect();
            // Fewer than two say nothing of a scale.
            if powers.len() > 1 {
                all = powers;
            }
        }
        all.into_iter().map(|t| (t, label(t, t))).collect()
    }

    /// Whether it has a length.
    pub(crate) fn is_valid(&self) -> bool {
        let ordered = self.low.is_finite() && self.high.is_finite() && self.high > self.low;
        ordered && (!self.log || self.low > 0.0)
    }
}

/// Limits that show nearly all of `values`: the 1st and 99th percentile of the
/// finite ones, widened to at least `span`, but not below 0 where no value is;
/// `None` where there are none.
#[must_use]
pub fn limits<T: Copy + Into<f64>>(values: &[T], span: f64) -> Option<(f64, f64)> {
    let mut sorted: Vec<f64> = values.iter().map(|&v| v.into()).collect();
    sorted.retain(|v| v.is_finite());
    quantile::sort(&mut sorted);
    let lowest = *sorted.first()?;
    let (low, high) = (quantile::of_sorted(&sorted, 0.01), quantile::of_sorted(&sorted, 0.99));
    if high - low >= span {
        return Some((low, high));
    }
    let start = 0.5 * (low + high - span);
    let start = if lowest >= 0.0 { start.max(0.0) } else { start };
    Some((start, start + span))
}

/// Steps that read well: 1, 2 or 5 times a power of ten.
const ROUND: [f64; 3] = [1.0, 2.0, 5.0];

/// The largest round number that is at most `value`; `value` must be positive
/// and finite.
#[must_use]
pub fn round_below(value: f64) -> f64 {
    let decade = scalar::pow(10.0, scalar::log10(value).floor());
    // The sum of rounding errors must not make 5.0 of 4.999.
    let fits = |step: &f64| step * decade <= value * (1.0 + 1e-12);
    ROUND.into_iter().rev().find(fits).unwrap_or(1.0) * decade
}

/// Ticks between `low` and `high` in round steps, of which at most `most` fit
/// between them: at most `most` + 1 ticks.
fn ticks(low: f64, high: f64, most: usize) -> Vec<f64> {
    let span = high - low;
    if !(span.is_finite() && span > 0.0) || most < 2 {
        return Vec::new();
    }
    let decade = scalar::pow(10.0, scalar::log10(span / most as f64).floor());
    let few = |factor: &f64| span / (factor * decade) <= most as f64 * (1.0 + 1e-9);
    let step = ROUND.into_iter().find(few).unwrap_or(10.0) * decade;
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last).take(most + 1).map(|i| i as f64 * step).collect()
}

/// Ticks of a logarithmic scale between `low` and `high`, both positive: 1, 2 and
/// 5 times powers of ten, or powers of ten alone where that is enough.
fn log_ticks(low: f64, high: f64) -> Vec<f64> {
    if !(low > 0.0 && high > low && high.is_finite()) {
        return Vec::new();
    }
    let first = scalar::log10(low).floor() as i32;
    let last = scalar::log10(high).ceil() as i32;
    let steps: &[f64] = if last - first > 3 { &[1.0] } else { &ROUND };
    let decade = |power: i32| scalar::pow(10.0, f64::from(power));
    let all = (first..=last).flat_map(|power| steps.iter().map(move |s| s * decade(power)));
    all.filter(|t| *t >= low * (1.0 - 1e-9) && *t <= high * (1.0 + 1e-9)).collect()
}

/// A number as few digits as tell it from its neighbours `step` away.
#[must_use]
pub fn label(value: f64, step: f64) -> String {
    let digits = (-scalar::log10(step.abs()) - 1e-9).ceil().clamp(0.0, 9.0) as usize;
    let text = format!("{value:.digits$}");
    // A true minus sign; and no minus before nothing.
    if text.trim_start_matches(['-', '0', '.']).is_empty() {
        return text.trim_start_matches('-').to_owned();
    }
    text.replace('-', "\u{2212}")
}

/// Labels of ticks, all with the same digits.
fn labels(ticks: &[f64]) -> Vec<String> {
    let step = match ticks {
        [a, b, ..] => b - a,
        _ => ticks.first().map_or(1.0, |t| t.abs().max(1e-9)),
    };
    ticks.iter().map(|&tick| label(tick, step)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_numbers() {
        for (value, round) in [(1.0, 1.0), (4.9, 2.0), (5.0, 5.0), (0.03, 0.02), (730.0, 500.0)] {
            assert!((round_below(value) / round - 1.0).abs() < 1e-12, "{value}");
        }
    }

    #[test]
    fn ticks_are_few_round_and_inside() {
        for (low, high) in [(7.3, 9.1), (0.0, 1.0), (-3.0, 0.4), (1e-4, 3e-4), (-1e7, 5e7)] {
            for most in [3, 5, 8] {
                let ticks = ticks(low, high, most);
                assert!(ticks.len() >= 2 && ticks.len() <= most + 1, "{low} {high}: {ticks:?}");
                let slack = 1e-6 * (high - low);
                assert!(ticks.iter().all(|t| *t >= low - slack && *t <= high + slack));
            }
        }
        assert_eq!(labels(&ticks(0.0, 1.0, 5)), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(&ticks(-1.0, 1.0, 3)), ["\u{2212}1", "0", "1"]);
        assert_eq!(log_ticks(4.0, 60.0), [5.0, 10.0, 20.0, 50.0]);
        assert_eq!(log_ticks(0.5, 2e5).len(), 6);
        assert!(log_ticks(0.0, 1.0).is_empty() && log_ticks(2.0, 1.0).is_empty());
        assert!(ticks(1.0, 1.0, 5).is_empty() && ticks(0.0, f64::NAN, 5).is_empty());
    }

    #[test]
    fn crowded_ticks_of_a_logarithmic_scale_are_powers_of_ten() {
        let names = |low: f64, high: f64, most: usize| -> Vec<String> {
            Scale::log(low, high).ticks(most).into_iter().map(|(_, name)| name).collect()
        };
        assert_eq!(names(4.0, 600.0, 8), ["5", "10", "20", "50", "100", "200", "500"]);
        assert_eq!(names(4.0, 600.0, 4), ["10", "100"]);
        assert_eq!(names(4.0, 60.0, 3), ["5", "10", "20", "50"], "one power is not enough");
    }

    #[test]
    fn places_run_from_start_to_end_and_beyond() {
        let (linear, log) = (Scale::linear(2.0, 4.0), Scale::log(0.1, 1000.0));
        assert_eq!([2.0, 3.0, 5.0].map(|v| linear.place(v)), [0.0, 0.5, 1.5]);
        assert!((log.place(10.0) - 0.5).abs() < 1e-12);
        assert!(!log.place(0.0).is_finite() && !log.place(-1.0).is_finite());
        assert_eq!([0.0, 3.0, 9.0].map(|v| linear.nearest(v)), [2.0, 3.0, 4.0]);
        assert_eq!((log.nearest(-1.0), log.nearest(f64::INFINITY)), (0.1, 1000.0));
        assert!(linear.nearest(f64::NAN).is_nan());
    }

    #[test]
    fn limits_leave_outliers_out_and_never_close() {
        let mut values: Vec<f32> = (0..1000).map(|i| i as f32 / 1000.0).collect();
        values[500] = 1e9;
        values[501] = f32::NAN;
        let (low, high) = limits(&values, 0.1).unwrap();
        assert!(low < 0.02 && high > 0.95 && high < 1.1, "{low} {high}");
        let (low, high) = limits(&[2.0, 2.0], 0.5).unwrap();
        assert_eq!((low, high), (1.75, 2.25));
        assert_eq!(limits(&[0.1, 0.1], 0.5).unwrap(), (0.0, 0.5));
        assert_eq!(limits(&[-0.25, 0.25], 1.0).unwrap(), (-0.5, 0.5));
        assert_eq!(limits(&[f32::NAN], 1.0), None);
    }
}
