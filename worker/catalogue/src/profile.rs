//! Radial profiles: medians in elliptical annuli about the mass peak.
//!
//! Neighbouring pixels share a PSF, so their errors do not average down: the
//! uncertainty of an annulus is the typical one of its pixels, and beside it
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
    /// Median of the pixels' medians.
    pub p50: f64,
    /// 16th percentile of the pixels' medians.
    pub p16: f64,
    /// 84th percentile of the pixels' medians.
    pub p84: f64,
    /// Median of the pixels' own uncertainties.
    pub sigma: f64,
}

/// Annuli of equal width that hold all pixels at semi-major axes `radius_px`,
/// [pixels]: one pixel wide, or wider where that would be more than
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

/// Semi-major axes of pixels at `x`, `y`, [pixels].
#[must_use]
pub fn radii(ellipse: &Ellipse, x: &[i32], y: &[i32]) -> Vec<f64> {
    x.iter().zip(y).map(|(&x, &y)| ellipse.semi_major_px(x, y)).collect()
}

/// A quantity in each of `annuli`: pixels at semi-major axes `radius_px` with
/// medians and uncertainties, all [pixels]; what is not finite is left out.
///
/// # Panics
/// When the lengths differ.
#[must_use]
pub fn levels(
    annuli: &[Annulus],
    radius_px: &[f64],
    medians: &[f32],
    sigmas: &[f32],
) -> Vec<Level> {
    assert!(radius_px.len() == medians.len() && radius_px.len() == sigmas.len());
    let level = |annulus: &Annulus| {
        let inside = |i: &usize| {
            let r = radius_px[*i];
            r >= annulus.inner_px && r < annulus.outer_px && medians[*i].is_finite()
        };
        let rows: Vec<usize> = (0..radius_px.len()).filter(inside).collect();
        let mut values: Vec<f64> = rows.iter().map(|&i| f64::from(medians[i])).collect();
        let own = rows.iter().map(|&i| f64::from(sigmas[i]));
        let mut own: Vec<f64> = own.filter(|s| s.is_finite()).collect();
        quantile::sort(&mut values);
        quantile::sort(&mut own);
        let at = |sorted: &[f64], p| match sorted {
            [] => f64::NAN,
            _ => quantile::of_sorted(sorted, p),
        };
        Level {
            pixels: rows.len() as u32,
            p50: at(&values, 0.5),
            p16: at(&values, 0.16),
            p84: at(&values, 0.84),
            sigma: at(&own, 0.5),
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
        let found = levels(&annuli, &radius, &medians, &vec![0.2; radius.len()]);
        assert!(annuli.len() <= MOST_ANNULI && annuli.len() > 10);
        assert_eq!(found.iter().map(|l| l.pixels as usize).sum::<usize>(), radius.len());
        let width = annuli[0].outer_px;
        for (annulus, level) in annuli.iter().zip(&found).take(8) {
            // Pixels crowd to the outside of an annulus: half its width at most.
            let exact = 9.0 - 0.05 * annulus.middle_px();
            assert!((level.p50 - exact).abs() < 0.5 * 0.05 * width, "{level:?} {exact}");
            assert!((level.sigma - f64::from(0.2f32)).abs() < 1e-12);
            assert!(level.p16 < level.p50 && level.p50 < level.p84);
        }
    }

    #[test]
    fn annuli_without_pixels_and_pixels_without_numbers() {
        let radius = [0.0, 0.2, 5.5];
        let annuli = annuli(&radius);
        assert_eq!(annuli.len(), 6);
        let found = levels(&annuli, &radius, &[1.0, f32::NAN, 3.0], &[0.1, 0.1, f32::NAN]);
        assert_eq!((found[0].pixels, found[0].p50), (1, 1.0));
        assert_eq!(found[1].pixels, 0);
        assert!(found[1].p50.is_nan() && found[5].sigma.is_nan() && found[5].p50 == 3.0);
        assert!(super::annuli(&[]).is_empty() && super::annuli(&[f64::NAN]).is_empty());
        assert_eq!(super::annuli(&[1e9]).len(), MOST_ANNULI);
    }
}
