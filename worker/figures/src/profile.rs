//! The radial profiles of a galaxy: four quantities against semi-major axis.

use crate::FigureError;
use crate::axes::{Axes, Dash, Marks, Pen, Side, marks, name, rounded};
use crate::canvas::{Anchor, Area, Canvas, Figure, Root, disc, outline, text_style, write};
use crate::colours::{GREY, INK, SERIES};
use crate::scale::Scale;
use outshine_kernels::quantile;

/// Size of a chart, in units of the canvas.
const WIDTH: i32 = 820;
const HEIGHT: i32 = 560;
/// Left of a chart, for its numbers and label.
const LEFT: i32 = 190;
const RIGHT: i32 = 40;
/// Above a chart, for its upper numbers.
const ABOVE: i32 = 130;
const BELOW: i32 = 130;
const TITLE: i32 = 150;
/// Sizes of text.
const LARGE: i32 = 40;
const LABEL: i32 = 35;
const SMALL: i32 = 30;
/// The part of the bars that may leave a chart at an end.
const BEYOND: f64 = 0.08;

/// A quantity in each annulus, `[annuli]`; not a number where there is none.
#[derive(Clone, Debug)]
pub struct Series<'a> {
    /// Label with unit.
    pub label: &'a str,
    /// 16th percentile of a pixel's posterior.
    pub p16: &'a [f64],
    /// Its median.
    pub p50: &'a [f64],
    /// Its 84th percentile.
    pub p84: &'a [f64],
    /// 16th percentile of the pixels' medians.
    pub low: &'a [f64],
    /// 84th percentile of the pixels' medians.
    pub high: &'a [f64],
}

/// An axis: what a pixel is in its unit.
#[derive(Clone, Debug)]
pub struct Axis<'a> {
    /// Label with unit.
    pub label: &'a str,
    /// Value of one pixel.
    pub per_pixel: f64,
}

/// Profiles to draw.
#[derive(Clone, Debug)]
pub struct Profiles<'a> {
    /// First line.
    pub title: &'a str,
    /// Middles of the annuli in pixels, `[annuli]`.
    pub radius_px: &'a [f64],
    /// Outer edge of the last annulus, in pixels.
    pub last_px: f64,
    /// The lower axis.
    pub lower: Axis<'a>,
    /// The upper axis, where a second unit is known.
    pub upper: Option<Axis<'a>>,
    /// Half of the width of the PSF at half maximum, in pixels.
    pub psf_px: Option<f64>,
    /// Half-mass radius, in pixels.
    pub half_mass_px: Option<f64>,
    /// Up to four quantities.
    pub series: &'a [Series<'a>],
}

impl Profiles<'_> {
    fn chart(&self, root: &Root<'_>, axes: &Axes, series: &Series<'_>) -> Result<(), FigureError> {
        for (radius, dash) in [(self.psf_px, Dash::Dotted), (self.half_mass_px, Dash::Dashed)] {
            let Some(radius) = radius.filter(|r| *r > 0.0) else { continue };
            let ends = [(radius, axes.y.high), (radius, axes.y.low)];
            axes.curve(root, ends, Pen { colour: GREY, dash, width: 3 })?;
        }
        let is_known = |&i: &usize| series.p50[i].is_finite();
        let known: Vec<usize> = (0..series.p50.len()).filter(is_known).collect();
        let radii = || known.iter().map(|&i| (i, self.radius_px[i]));
        let band = radii().map(|(i, radius)| (radius, series.low[i], series.high[i]));
        axes.band(root, band, SERIES[0], 0.2)?;
        let medians = || radii().map(|(i, radius)| (radius, series.p50[i]));
        axes.curve(root, medians(), Pen::solid(SERIES[0], 4))?;
        for (i, radius) in radii() {
            let bar = [series.p16[i], series.p84[i]].map(|end| (radius, end));
            axes.curve(root, bar, Pen::solid(SERIES[0], 3))?;
        }
        let places = medians().filter_map(|median| axes.inside(median));
        places.map(rounded).try_for_each(|place| disc(root, place, 7, SERIES[0]))?;

        outline(root, &axes.area, INK)?;
        axes.left(root, &Marks::outward(8, SMALL))?;
        name(root, &axes.area, Side::Left, series.label, (LABEL, 140))?;
        let lower = Some((&self.lower, Side::Lower));
        let upper = self.upper.as_ref().map(|axis| (axis, Side::Upper));
        for (axis, side) in lower.into_iter().chain(upper) {
            let scale = Scale::linear(0.0, self.last_px * axis.per_pixel);
            marks(root, &axes.area, side, &scale, &Marks::outward(6, SMALL))?;
            name(root, &axes.area, side, axis.label, (LABEL, 84))?;
        }
        Ok(())
    }
}

/// Draws the profiles, two by two.
///
/// # Errors
/// [`FigureError::Drawing`].
pub fn draw(profiles: &Profiles<'_>) -> Result<Figure, FigureError> {
    let (step_x, step_y) = (LEFT + WIDTH + RIGHT, ABOVE + HEIGHT + BELOW);
    let rows = profiles.series.len().div_ceil(2).max(1) as i32;
    let (width, height) = (2 * step_x, TITLE + rows * step_y);
    Canvas::new(width as u32, height as u32).finish(|root| {
        let style = text_style(LARGE, INK, Anchor::Left);
        write(root, profiles.title, (LEFT, TITLE / 3), &style)?;
        let style = text_style(SMALL, INK, Anchor::Left);
        let legend = "points and bars: median and 16\u{2013}84 % of the posterior of a typical \
                      pixel; band: 16\u{2013}84 % of the pixels' medians";
        write(root, legend, (LEFT, TITLE / 3 + 54), &style)?;
        let marks = [
            profiles.psf_px.map(|_| "dotted: half the FWHM of the PSF"),
            profiles.half_mass_px.map(|_| "dashed: half-mass radius"),
        ];
        let legend = marks.into_iter().flatten().collect::<Vec<_>>().join("; ");
        if !legend.is_empty() {
            write(root, &legend, (LEFT, TITLE / 3 + 94), &style)?;
        }
        for (i, series) in profiles.series.iter().enumerate() {
            let (row, column) = (i as i32 / 2, i as i32 % 2);
            let area = Area {
                left: column * step_x + LEFT,
                top: TITLE + row * step_y + ABOVE,
                width: WIDTH,
                height: HEIGHT,
            };
            let axes = Axes { area, x: Scale::linear(0.0, profiles.last_px), y: scale(series) };
            profiles.chart(root, &axes, series)?;
        }
        Ok(())
    })
}

/// The scale of a chart: all points and bands, nearly all bars, and some room. A
/// bar that is far longer than the others leaves the chart.
fn scale(series: &Series<'_>) -> Scale {
    let sorted = |parts: &[&[f64]]| {
        let mut sorted = parts.concat();
        sorted.retain(|v| v.is_finite());
        quantile::sort(&mut sorted);
        sorted
    };
    let points = sorted(&[series.low, series.p50, series.high]);
    let (Some(&first), Some(&last)) = (points.first(), points.last()) else {
        return Scale::linear(0.0, 1.0);
    };
    // Of few bars one that is far longer would draw an interpolated quantile along.
    let end = |bars: Vec<f64>, part: f64, or: f64| {
        let place = (part * bars.len().saturating_sub(1) as f64).round() as usize;
        bars.get(place).copied().unwrap_or(or)
    };
    let low = first.min(end(sorted(&[series.p16]), BEYOND, first));
    let high = last.max(end(sorted(&[series.p84]), 1.0 - BEYOND, last));
    let room = (0.06 * (high - low)).max(0.01);
    // What cannot be negative does not look as if it could.
    let start = if low >= 0.0 { (low - room).max(0.0) } else { low - room };
    Scale::linear(start, high + room)
}
