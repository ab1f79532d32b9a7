//! Radial profiles: medians in elliptical annuli about the mass peak.
//!
//! Neighbouring pixels share a PSF, so their errors do not average down: the
//! posterior of an annulus is the typical one of its pixels, and beside it
//! stands how far the pixels differ.

use crate::shape::Ellipse;
use outshine_kernels::quantile;

/// Most annuli of a profile.
pub const MOST_ANNULI: usize = 24;

/// One annulus: `[inner, outer)` in semi-major axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Annulus {
    /// Inner semi-major axis, in pixels.
    pub inner_px: f64,
    /// Outer semi-major axis, in pixels.
    pub outer_px: f64,
}

impl Annulus {
    /// Its middle, in pixels.
    #[must_use]
    pub fn middle_px(&self) -> f64 {
        0.5 * (self.inner_px + self.outer_px)
    }
}

/// A quantity in one annulus, not a number where no pixel has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    /// Pixels that have it.
    pub pixels: u32,
    /// Median over the pixels of the 16th percentiles of their posteriors.
    pub p16: f64,
    /// The same of their medians.
    pub p50: f64,
    /// The same of their 84th percentiles.
    pub p84: f64,
    /// 16th percentile of the pixels' medians.
    pub low: f64,
    /// 84th percentile of the pixels' medians.
    pub high: f64,
}

/// Annuli of equal width that hold all pixels at semi-major axes `radius_px`,
/// `[pixels]`: one pixel wide, or wider where that would be more than
/// [`MOST_ANNULI`].
#[must_use]
pub fn annuli(radius_px: &[f64]) -> Vec<Annulus> {
    let last = radius_px.iter().copied().filter(|r| r.is_finite()).fold(f64::NAN, f64::max);
    if last.is_nan() {
        return Vec::new();
    }
    let width = (last / (MOST_ANNULI - 1) as f64).max(1.0);
    let count = ((last / width) as usize + 1).min(MOST_ANNULI);
    let edge = |i: usize| i as f64 * width;
    (0..count).map(|i| Annulus { inner_px: edge(i), outer_px: edge(i + 1) }).collect()
}

/// Semi-major axes of pixels at `x`, `y`, `[pixels]`.
#[must_use]
pub fn radii(ellipse: &Ellipse, x: &[i32], y: &[i32]) -> Vec<f64> {
    x.iter().zip(y).map(|(&x, &y)| ellipse.semi_major_px(x, y)).collect()
}

/// A quantity in each of `annuli`: pixels at semi-major axes `radius_px` with
/// the 16th, 50th and 84th percentiles of their posteriors, all `[pixels]`; those
/// that are not finite are left out.
///
/// # Panics
/// When the lengths differ.
#[must_use]
pub fn levels(annuli: &[Annulus], radius_px: &[f64], percentiles: [&[f32]; 3]) -> Vec<Level> {
    assert!(percentiles.iter().all(|p| p.len() == radius_px.len()), "three values per pixel");
    let finite = |i: usize| percentiles.iter().all(|p| p[i].is_finite());
    let level = |annulus: &Annulus| {
        let inside = |i: &usize| {
            let r = radius_px[*i];
            r >= annulus.inner_px && r < annulus.outer_px && finite(*i)
        };
        let rows: Vec<usize> = (0..radius_px.len()).filter(inside).collect();
        let [p16, p50, p84] = percentiles.map(|values| {
            let mut sorted: Vec<f64> = rows.iter().map(|&i| f64::from(values[i])).collect();
            quantile::sort(&mut sorted);
            sorted
        });
        let at = |sorted: &[f64], p| match sorted {
            [] => f64::NAN,
            _ => quantile::of_sorted(sorted, p),
        };
        Level {
            pixels: rows.len() as u32,
            p16: at(&p16, 0.5),
            p50: at(&p50, 0.5),
            p84: at(&p84, 0.5),
            low: at(&p50, 0.16),
            high: at(&p50, 0.84),
        }
    };
    annuli.iter().map(level).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_gradient_is_found_again() {
        let (mut x, mut y) = (Vec::new(), Vec::new());
        for row in -40..=40 {
            for column in -40..=40 {
                x.push(column);
                y.push(row);
            }
        }
        let ellipse = Ellipse { x: 0, y: 0, axis_ratio: 0.6, angle: 0.3 };
        let radius = radii(&ellipse, &x, &y);
        let medians: Vec<f32> = radius.iter().map(|r| (9.0 - 0.05 * r) as f32).collect();
        let annuli = annuli(&radius);
        let shifted = |by: f32| medians.iter().map(|m| m + by).collect::<Vec<f32>>();
        let found = levels(&annuli, &radius, [&shifted(-0.25), &medians, &shifted(0.5)]);
        assert!(annuli.len() <= MOST_ANNULI && annuli.len() > 10);
        assert_eq!(found.iter().map(|l| l.pixels as usize).sum::<usize>(), radius.len());
        let width = annuli[0].outer_px;
        for (annulus, level) in annuli.iter().zip(&found).take(8) {
            // Pixels crowd to the outside of an annulus: half its width at most.
            let exact = 9.0 - 0.05 * annulus.middle_px();
            assert!((level.p50 - exact).abs() < 0.5 * 0.05 * width, "{level:?} {exact}");
            // To the last bits of single precision.
            assert!((level.p50 - level.p16 - 0.25).abs() < 1e-5, "{level:?}");
            assert!((level.p84 - level.p50 - 0.5).abs() < 1e-5, "{level:?}");
            assert!(level.low < level.p50 && level.p50 < level.high, "{level:?}");
        }
    }

    #[test]
    fn annuli_without_pixels_and_pixels_without_numbers() {
        let radius = [0.0, 0.2, 5.5];
        let annuli = annuli(&radius);
        assert_eq!(annuli.len(), 6);
        let (low, high) = ([0.5, 1.0, f32::INFINITY], [2.0, 2.0, 4.0]);
        let found = levels(&annuli, &radius, [&low, &[1.0, f32::NAN, 3.0], &high]);
        assert_eq!((found[0].pixels, found[0].p16, found[0].p50), (1, 0.5, 1.0));
        assert!(found[1].pixels == 0 && found[1].p50.is_nan() && found[1].high.is_nan());
        assert!(found[5].pixels == 0 && found[5].p16.is_nan());
        assert!(super::annuli(&[]).is_empty() && super::annuli(&[f64::NAN]).is_empty());
        assert_eq!(super::annuli(&[1e9]).len(), MOST_ANNULI);
    }
}
