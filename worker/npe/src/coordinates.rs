//! The prior box and its unbounded image.
//!
//! A coordinate v in (low, high) becomes u = Phi^-1((v - low) / (high - low)),
//! with Phi the standard normal distribution function. A uniform prior is then
//! exactly a standard normal, so a parameter about which the data say nothing
//! costs the flow nothing, and a posterior that piles up at a bound keeps
//! Gaussian tails. du/dv = 1 / ((high - low) phi(u)).

use crate::error::NpeError;
use outshine_kernels::scalar;
use serde::{Deserialize, Serialize};

/// Fractions of the box closer to a bound than this are moved inwards
/// (|u| <= 6), where the mapping still has 7 digits.
const EDGE: f64 = 1e-9;

/// Names and bounds of the inferred parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coordinates {
    names: Vec<String>,
    low: Vec<f64>,
    high: Vec<f64>,
}

impl Coordinates {
    /// A box with one (name, low, high) per coordinate.
    ///
    /// # Errors
    /// When the lengths differ, a name comes twice, or low < high does not hold.
    pub fn new(names: Vec<String>, low: Vec<f64>, high: Vec<f64>) -> Result<Self, NpeError> {
        let made = Self { names, low, high };
        made.validate()?;
        Ok(made)
    }

    pub(crate) fn validate(&self) -> Result<(), NpeError> {
        let wrong = |why: String| Err(NpeError::Specification { what: "coordinates", why });
        let d = self.names.len();
        if d == 0 || self.low.len() != d || self.high.len() != d {
            return wrong(format!(
                "{d} names, {} lower and {} upper bounds",
                self.low.len(),
                self.high.len()
            ));
        }
        for (i, name) in self.names.iter().enumerate() {
            if self.names[..i].contains(name) {
                return wrong(format!("`{name}` comes twice"));
            }
            let (low, high) = (self.low[i], self.high[i]);
            if !(low.is_finite() && high.is_finite() && low < high) {
                return wrong(format!("`{name}` lies between {low} and {high}"));
            }
        }
        Ok(())
    }

    /// Number of coordinates.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is none (never true of a valid box).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Names, in order.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Lower bounds, in order.
    #[must_use]
    pub fn low(&self) -> &[f64] {
        &self.low
    }

    /// Upper bounds, in order.
    #[must_use]
    pub fn high(&self) -> &[f64] {
        &self.high
    }

    /// Whether a point lies in the closed box.
    #[must_use]
    pub fn contains(&self, theta: &[f64]) -> bool {
        theta.len() == self.len()
            && (0..self.len()).all(|i| theta[i] >= self.low[i] && theta[i] <= self.high[i])
    }

    /// Bounded value of coordinate `i` from its unbounded one; never outside
    /// the box, and off its faces by the smallest step that training knows, as
    /// a face may be no possible value (star formation that starts now).
    #[must_use]
    pub fn to_box(&self, i: usize, u: f64) -> f64 {
        let fraction = scalar::normal_cdf(u).clamp(EDGE, 1.0 - EDGE);
        (self.low[i] + (self.high[i] - self.low[i]) * fraction).clamp(self.low[i], self.high[i])
    }

    /// Unbounded value of coordinate `i`, and ln |du/dv| there.
    #[must_use]
    pub fn to_unbounded(&self, i: usize, v: f64) -> (f64, f64) {
        let width = self.high[i] - self.low[i];
        let u = from_fraction((v - self.low[i]) / width);
        (u, log_slope(u) - scalar::ln(width))
    }
}

/// Phi^-1 of a fraction of the box, kept away from 0 and 1.
pub(crate) fn from_fraction(fraction: f64) -> f64 {
    scalar::normal_quantile(fraction.clamp(EDGE, 1.0 - EDGE))
}

/// ln(du / d fraction) = -ln phi(u).
pub(crate) fn log_slope(u: f64) -> f64 {
    0.5 * u * u + HALF_LN_TAU
}

/// ln(2 pi) / 2.
pub(crate) const HALF_LN_TAU: f64 = 0.918_938_533_204_672_8;

#[cfg(test)]
mod tests {
    use super::*;

    fn unit() -> Coordinates {
        Coordinates::new(vec!["a".into(), "b".into()], vec![-2.0, 4.0], vec![3.0, 12.0]).unwrap()
    }

    #[test]
    fn box_and_plane_are_inverse_and_the_slope_is_the_derivative() {
        let c = unit();
        for k in 1..100 {
            let v = 4.0 + 8.0 * f64::from(k) / 100.0;
            let (u, log_du) = c.to_unbounded(1, v);
            assert!((c.to_box(1, u) - v).abs() < 1e-13 * 12.0);
            // Central difference: truncation about h^2 u^2 / (6 phi^2), below 1e-6 here.
            let h = 1e-5;
            let slope = (c.to_unbounded(1, v + h).0 - c.to_unbounded(1, v - h).0) / (2.0 * h);
            assert!((slope.ln() - log_du).abs() < 1e-6, "{v}");
        }
    }

    #[test]
    fn no_value_leaves_the_box() {
        let c = unit();
        for u in [-1e300, -40.0, -9.0, 0.0, 9.0, 40.0, 1e300, f64::NEG_INFINITY, f64::INFINITY] {
            let v = c.to_box(0, u);
            assert!(v > -2.0 && v < 3.0, "{u} -> {v}");
        }
        assert!(c.to_unbounded(0, -2.0).0.is_finite() && c.to_unbounded(0, 3.0).0.is_finite());
    }

    #[test]
    fn impossible_boxes_are_refused() {
        let names = || vec!["a".to_string(), "b".to_string()];
        assert!(Coordinates::new(names(), vec![0.0], vec![1.0, 1.0]).is_err());
        assert!(Coordinates::new(names(), vec![0.0, 1.0], vec![1.0, 1.0]).is_err());
        assert!(Coordinates::new(names(), vec![0.0, f64::NAN], vec![1.0, 1.0]).is_err());
        assert!(Coordinates::new(vec!["a".into(); 2], vec![0.0; 2], vec![1.0; 2]).is_err());
        assert!(Coordinates::new(vec![], vec![], vec![]).is_err());
    }
}
