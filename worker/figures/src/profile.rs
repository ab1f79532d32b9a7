//! The radial profiles of a galaxy: four quantities against semi-major axis.

use crate::FigureError;
use crate::canvas::{
    self, Anchor, Area, Canvas, Figure, INK, Root, disc, fill, line, outline, text_style, write,
};
use crate::scale::{labels, ticks};
use plotters::style::RGBColor;

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
/// Blue, and the grey of marks.
const BLUE: RGBColor = RGBColor(0, 90, 160);
const GREY: RGBColor = RGBColor(120, 120, 120);
/// The part of the bars that may leave a chart at an end.
const BEYOND: f64 = 0.08;
/// Lengths of dots and dashes.
const DOTS: i32 = 4;
const DASHES: i32 = 14;

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

/// A chart and its scales.
struct Chart<'a> {
    profiles: &'a Profiles<'a>,
    area: Area,
    low: f64,
    high: f64,
}

impl Chart<'_> {
    fn x(&self, radius_px: f64) -> i32 {
        let place = radius_px / self.profiles.last_px;
        self.area.left + (place * f64::from(self.area.width)).round() as i32
    }

    fn y(&self, value: f64) -> i32 {
        let place = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        self.area.bottom() - (place * f64::from(self.area.height)).round() as i32
    }

    fn axes(&self, root: &Root<'_>, label: &str) -> Result<(), FigureError> {
        let area = &self.area;
        outline(root, area, INK)?;
        let centred = text_style(SMALL, INK, Anchor::Middle);
        let middle = area.left + area.width / 2;
        let axis = |axis: &Axis<'_>, edge: i32, out: i32| -> Result<(), FigureError> {
            let marks = ticks(0.0, self.profiles.last_px * axis.per_pixel, 6);
            for (mark, name) in marks.iter().zip(labels(&marks)) {
                let x = self.x(mark / axis.per_pixel);
                line(root, &[(x, edge), (x, edge + 12 * out)], INK, 2)?;
                write(root, &name, (x, edge + 34 * out), &centred)?;
            }
            let style = text_style(LABEL, INK, Anchor::Middle);
            write(root, axis.label, (middle, edge + 84 * out), &style)
        };
        axis(&self.profiles.lower, area.bottom(), 1)?;
        if let Some(upper) = &self.profiles.upper {
            axis(upper, area.top, -1)?;
        }
        let marks = ticks(self.low, self.high, 8);
        let style = text_style(SMALL, INK, Anchor::Right);
        for (mark, name) in marks.iter().zip(labels(&marks)) {
            let y = self.y(*mark);
            line(root, &[(area.left - 12, y), (area.left, y)], INK, 2)?;
            write(root, &name, (area.left - 20, y), &style)?;
        }
        canvas::write_upwards(root, label, (area.left - 140, area.top + area.height / 2), LABEL)
    }

    /// An upright line at a radius, of dashes as long as the gaps between them.
    fn mark(&self, root: &Root<'_>, radius_px: Option<f64>, dash: i32) -> Result<(), FigureError> {
        let last = self.profiles.last_px;
        let Some(radius) = radius_px.filter(|r| *r > 0.0 && *r < last) else { return Ok(()) };
        let (x, bottom) = (self.x(radius), self.area.bottom());
        // Bounded by the height.
        for top in (self.area.top..bottom - dash).step_by(2 * dash as usize) {
            line(root, &[(x, top), (x, top + dash)], GREY, 3)?;
        }
        Ok(())
    }

    fn series(&self, root: &Root<'_>, series: &Series<'_>) -> Result<(), FigureError> {
        let known: Vec<usize> =
            (0..series.p50.len()).filter(|&i| series.p50[i].is_finite()).collect();
        let at = |i: usize, value: f64| (self.x(self.profiles.radius_px[i]), self.y(value));
        let upper = known.iter().map(|&i| at(i, series.high[i]));
        let lower = known.iter().rev().map(|&i| at(i, series.low[i]));
        let band: Vec<(i32, i32)> = upper.chain(lower).collect();
        if known.len() > 1 {
            fill(root, &band, BLUE, 0.2)?;
            let middle: Vec<(i32, i32)> = known.iter().map(|&i| at(i, series.p50[i])).collect();
            line(root, &middle, BLUE, 4)?;
        }
        for &i in &known {
            let (x, y) = at(i, series.p50[i]);
            let bar = [series.p16[i], series.p84[i]];
            if bar.iter().all(|end| end.is_finite()) {
                line(root, &bar.map(|end| at(i, end)), BLUE, 3)?;
            }
            disc(root, (x, y), 7, BLUE)?;
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
            let (low, high) = range(series);
            let chart = Chart { profiles, area, low, high };
            chart.mark(root, profiles.psf_px, DOTS)?;
            chart.mark(root, profiles.half_mass_px, DASHES)?;
            chart.series(root, series)?;
            chart.axes(root, series.label)?;
        }
        Ok(())
    })
}

/// Limits of a chart: all points and bands, nearly all bars, and some room. A
/// bar that is far longer than the others leaves the chart.
fn range(series: &Series<'_>) -> (f64, f64) {
    let finite = |parts: &[&[f64]]| {
        let mut sorted = parts.concat();
        sorted.retain(|v| v.is_finite());
        sorted.sort_by(f64::total_cmp);
        sorted
    };
    let points = finite(&[series.low, series.p50, series.high]);
    let (Some(&first), Some(&last)) = (points.first(), points.last()) else { return (0.0, 1.0) };
    let end = |bars: Vec<f64>, part: f64, or: f64| {
        let place = (part * bars.len().saturating_sub(1) as f64).round() as usize;
        bars.get(place).copied().unwrap_or(or)
    };
    let low = first.min(end(finite(&[series.p16]), BEYOND, first));
    let high = last.max(end(finite(&[series.p84]), 1.0 - BEYOND, last));
    let room = (0.06 * (high - low)).max(0.01);
    // What cannot be negative does not look as if it could.
    let start = if low >= 0.0 { (low - room).max(0.0) } else { low - room };
    (start, high + room)
}
