//! A chart: two scales over an area, and what is drawn by them.

use crate::FigureError;
use crate::canvas::{Anchor, Area, INK, Root, fill, line, text_style, write};
use crate::scale::{label, labels, log_ticks, ticks};
use outshine_kernels::scalar;
use plotters::style::RGBColor;

/// Colours that differ in lightness and to any colour vision: of the campaign's
/// own draws, of another's, and of an external sampler.
pub const COLOURS: [RGBColor; 3] =
    [RGBColor(0, 90, 160), RGBColor(213, 94, 0), RGBColor(0, 130, 95)];
/// Of marks and of what is not observed.
pub const GREY: RGBColor = RGBColor(120, 120, 120);

/// A scale between two values.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    pub low: f64,
    pub high: f64,
    pub log: bool,
}

impl Scale {
    pub fn linear(low: f64, high: f64) -> Self {
        Self { low, high, log: false }
    }

    /// Where a value lies, 0 to 1; beyond the ends, at them.
    fn place(&self, value: f64) -> f64 {
        let place = if self.log {
            let of = |v: f64| scalar::log10(v.max(f64::MIN_POSITIVE));
            (of(value) - of(self.low)) / (of(self.high) - of(self.low))
        } else {
            (value - self.low) / (self.high - self.low)
        };
        // Not a number counts as low.
        if place > 0.0 { place.min(1.0) } else { 0.0 }
    }

    /// Ticks and their names.
    pub fn ticks(&self, most: usize) -> Vec<(f64, String)> {
        if self.log {
            let marks = log_ticks(self.low, self.high);
            return marks.into_iter().map(|v| (v, label(v, v))).collect();
        }
        let marks = ticks(self.low, self.high, most);
        let names = labels(&marks);
        marks.into_iter().zip(names).collect()
    }
}

/// Two scales over an area.
#[derive(Clone, Copy, Debug)]
pub struct Chart {
    pub area: Area,
    pub x: Scale,
    pub y: Scale,
}

impl Chart {
    pub fn x(&self, value: f64) -> i32 {
        self.area.left + (self.x.place(value) * f64::from(self.area.width)).round() as i32
    }

    pub fn y(&self, value: f64) -> i32 {
        self.area.bottom() - (self.y.place(value) * f64::from(self.area.height)).round() as i32
    }

    pub fn at(&self, x: f64, y: f64) -> (i32, i32) {
        (self.x(x), self.y(y))
    }

    /// Ticks below, with names where `named` and not too near to an end of the axis: a
    /// fraction `clear` of it.
    pub fn lower(
        &self,
        root: &Root<'_>,
        (most, em): (usize, i32),
        named: bool,
        clear: f64,
    ) -> Result<(), FigureError> {
        let (bottom, style) = (self.area.bottom(), text_style(em, INK, Anchor::Middle));
        for (mark, name) in self.x.ticks(most) {
            let x = self.x(mark);
            line(root, &[(x, bottom - 10), (x, bottom)], INK, 2)?;
            if named && is_clear(self.x.place(mark), clear) {
                write(root, &name, (x, bottom + em), &style)?;
            }
        }
        Ok(())
    }

    /// Ticks at the left; see [`Chart::lower`].
    pub fn left(
        &self,
        root: &Root<'_>,
        (most, em): (usize, i32),
        named: bool,
        clear: f64,
    ) -> Result<(), FigureError> {
        let (left, style) = (self.area.left, text_style(em, INK, Anchor::Right));
        for (mark, name) in self.y.ticks(most) {
            let y = self.y(mark);
            line(root, &[(left, y), (left + 10, y)], INK, 2)?;
            if named && is_clear(self.y.place(mark), clear) {
                write(root, &name, (left - 12, y), &style)?;
            }
        }
        Ok(())
    }

    /// A band between two curves over `x`.
    pub fn band(
        &self,
        root: &Root<'_>,
        x: &[f64],
        [low, high]: [&[f64]; 2],
        colour: RGBColor,
        alpha: f64,
    ) -> Result<(), FigureError> {
        let upper = x.iter().zip(high).map(|(&x, &y)| self.at(x, y));
        let lower = x.iter().zip(low).rev().map(|(&x, &y)| self.at(x, y));
        let points: Vec<(i32, i32)> = upper.chain(lower).collect();
        fill(root, &points, colour, alpha)
    }

    /// A curve.
    pub fn curve(
        &self,
        root: &Root<'_>,
        x: &[f64],
        y: &[f64],
        colour: RGBColor,
        width: u32,
    ) -> Result<(), FigureError> {
        let points: Vec<(i32, i32)> = x.iter().zip(y).map(|(&x, &y)| self.at(x, y)).collect();
        line(root, &points, colour, width)
    }

    /// A box with a middle at `x`, `half` units wide to either side.
    pub fn bar(
        &self,
        root: &Root<'_>,
        (x, half): (f64, i32),
        (low, high): (f64, f64),
        colour: RGBColor,
        alpha: f64,
    ) -> Result<(), FigureError> {
        let (x, low, high) = (self.x(x), self.y(low), self.y(high));
        let corners = [(x - half, low), (x + half, low), (x + half, high), (x - half, high)];
        fill(root, &corners, colour, alpha)
    }
}

fn is_clear(place: f64, clear: f64) -> bool {
    place >= clear && place <= 1.0 - clear
}

/// A line in dashes as long as the gaps between them, along `points`.
pub fn dashed(
    root: &Root<'_>,
    points: &[(i32, i32)],
    dash: f64,
    colour: RGBColor,
    width: u32,
) -> Result<(), FigureError> {
    let mut run = 0.0;
    let mut piece: Vec<(i32, i32)> = Vec::new();
    for pair in points.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let length = f64::from(to.0 - from.0).hypot(f64::from(to.1 - from.1));
        let steps = ((length / 2.0).ceil() as usize).clamp(1, 10_000);
        for i in 0..=steps {
            let part = i as f64 / steps as f64;
            let at = |a: i32, b: i32| (f64::from(a) + part * f64::from(b - a)).round() as i32;
            if (run + part * length) % (2.0 * dash) < dash {
                piece.push((at(from.0, to.0), at(from.1, to.1)));
            } else if !piece.is_empty() {
                line(root, &piece, colour, width)?;
                piece.clear();
            }
        }
        run += length;
    }
    if piece.len() > 1 { line(root, &piece, colour, width) } else { Ok(()) }
}
