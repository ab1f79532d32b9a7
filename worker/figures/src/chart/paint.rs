//! Lines and words of charts.

use super::{Axis, Bar, Chart, Dash, GUIDE, KEY, Layer, MOST_POINTS, Name, names_in_row};
use crate::FigureError;
use crate::canvas::{
    Anchor, Area, INK, Image, Root, circle, disc, fill, line, outline, text_style, write,
    write_upwards,
};
use crate::scale::{label, labels, log_ticks, ticks};
use outshine_kernels::scalar;
use plotters::style::RGBColor;

/// Sizes of text.
const LABEL: i32 = 33;
const SMALL: i32 = 28;
/// Mean width of a small sign.
const SIGN: i32 = 16;
const WHITE: RGBColor = RGBColor(255, 255, 255);
const GREY: RGBColor = RGBColor(130, 130, 130);
const POINT: i32 = 8;
/// Where there are many.
const SMALL_POINT: i32 = 5;
/// Points that are large, and that have an outline, at most.
const LARGE: usize = 100;
const OUTLINED: usize = 500;
/// Pieces of a broken line, along it: lengths of a dash and of a gap.
const DASHED: (f64, f64) = (18.0, 12.0);
const DOTTED: (f64, f64) = (5.0, 9.0);
/// Pieces of one line, at most.
const MOST_PIECES: usize = 400;

/// A point of the canvas, in units, not rounded.
type Point = (f64, f64);

struct Frame<'a> {
    area: &'a Area,
    x: &'a Axis,
    y: &'a Axis,
}

impl Frame<'_> {
    fn at(&self, (x, y): (f64, f64)) -> Option<Point> {
        let (across, up) = (self.x.place(x), self.y.place(y));
        let place = (
            f64::from(self.area.left) + across * f64::from(self.area.width),
            f64::from(self.area.bottom()) - up * f64::from(self.area.height),
        );
        (place.0.is_finite() && place.1.is_finite()).then_some(place)
    }

    fn is_inside(&self, (x, y): Point) -> bool {
        x >= f64::from(self.area.left)
            && x <= f64::from(self.area.right())
            && y >= f64::from(self.area.top)
            && y <= f64::from(self.area.bottom())
    }

    /// The part of a line that lies in the chart (Liang & Barsky 1984).
    fn clip(&self, a: Point, b: Point) -> Option<(Point, Point)> {
        let (dx, dy) = (b.0 - a.0, b.1 - a.1);
        let (mut start, mut end) = (0.0f64, 1.0f64);
        for (p, q) in [
            (-dx, a.0 - f64::from(self.area.left)),
            (dx, f64::from(self.area.right()) - a.0),
            (-dy, a.1 - f64::from(self.area.top)),
            (dy, f64::from(self.area.bottom()) - a.1),
        ] {
            if p == 0.0 {
                if q < 0.0 {
                    return None;
                }
            } else if p < 0.0 {
                start = start.max(q / p);
            } else {
                end = end.min(q / p);
            }
        }
        let at = |t: f64| (a.0 + t * dx, a.1 + t * dy);
        (start < end).then(|| (at(start), at(end)))
    }
}

fn rounded((x, y): Point) -> (i32, i32) {
    (x.round() as i32, y.round() as i32)
}

/// A line from place to place; `walked`: its length so far, for the dashes.
fn stroke(
    root: &Root<'_>,
    (a, b): (Point, Point),
    (colour, dash, width): (RGBColor, Dash, u32),
    walked: &mut f64,
) -> Result<(), FigureError> {
    let (on, off) = match dash {
        Dash::Solid => return line(root, &[rounded(a), rounded(b)], colour, width),
        Dash::Dashed => DASHED,
        Dash::Dotted => DOTTED,
    };
    let length = ((b.0 - a.0) * (b.0 - a.0) + (b.1 - a.1) * (b.1 - a.1)).sqrt();
    let at = |s: f64| {
        let t = (s / length).clamp(0.0, 1.0);
        rounded((a.0 + t * (b.0 - a.0), a.1 + t * (b.1 - a.1)))
    };
    let mut start = -(*walked % (on + off));
    for _ in 0..MOST_PIECES {
        if start >= length {
            break;
        }
        if start + on > 0.0 {
            line(root, &[at(start), at(start + on)], colour, width)?;
        }
        start += on + off;
    }
    *walked += length;
    Ok(())
}

fn curve(
    root: &Root<'_>,
    frame: &Frame<'_>,
    points: &[(f64, f64)],
    style: (RGBColor, Dash, u32),
) -> Result<(), FigureError> {
    let places: Vec<Option<Point>> = points.iter().map(|&point| frame.at(point)).collect();
    let mut walked = 0.0;
    for pair in places.windows(2) {
        let [Some(a), Some(b)] = pair else { continue };
        if let Some(part) = frame.clip(*a, *b) {
            stroke(root, part, style, &mut walked)?;
        }
    }
    Ok(())
}

fn layer(
    root: &Root<'_>,
    frame: &Frame<'_>,
    layer: &Layer,
    bar: Option<&Bar>,
) -> Result<(), FigureError> {
    match layer {
        Layer::Density { .. } => Ok(()),
        Layer::Points { x, y, value } => {
            if x.len() > MOST_POINTS {
                return Ok(());
            }
            assert!(x.len() == y.len() && x.len() == value.len(), "three values per point");
            let radius = if x.len() > LARGE { SMALL_POINT } else { POINT };
            for i in 0..x.len() {
                let place = frame.at((x[i], y[i])).filter(|place| frame.is_inside(*place));
                let Some(place) = place.filter(|_| value[i].is_finite()) else { continue };
                let [red, green, blue] = bar.map_or([0, 114, 178], |bar| bar.colour(value[i]));
                disc(root, rounded(place), radius, RGBColor(red, green, blue))?;
                // Light colours would be lost on paper.
                if x.len() <= OUTLINED {
                    circle(root, rounded(place), radius, GUIDE, 1)?;
                }
            }
            Ok(())
        }
        Layer::Curve { points, colour, dash, marked } => {
            curve(root, frame, points, (*colour, *dash, if *marked { 4 } else { 3 }))?;
            for &point in points.iter().filter(|_| *marked) {
                if let Some(place) = frame.at(point).filter(|place| frame.is_inside(*place)) {
                    disc(root, rounded(place), POINT, *colour)?;
                }
            }
            Ok(())
        }
        Layer::Band { points } => {
            let held = |v: f64| v.clamp(frame.y.low, frame.y.high);
            let finite = |p: &&(f64, f64, f64)| [p.0, p.1, p.2].iter().all(|v| v.is_finite());
            let known: Vec<&(f64, f64, f64)> = points.iter().filter(finite).collect();
            let upper = known.iter().map(|p| (p.0, held(p.2)));
            let lower = known.iter().rev().map(|p| (p.0, held(p.1)));
            let edge: Vec<(i32, i32)> =
                upper.chain(lower).filter_map(|p| frame.at(p)).map(rounded).collect();
            if edge.len() < 4 {
                return Ok(());
            }
            fill(root, &edge, GREY, 0.3)
        }
        Layer::Steps { heights, colour, dash } => {
            let edge = |i: usize| {
                frame.x.low + (frame.x.high - frame.x.low) * i as f64 / heights.len() as f64
            };
            let steps = heights.iter().enumerate();
            let points: Vec<(f64, f64)> =
                steps.flat_map(|(i, &h)| [(edge(i), h), (edge(i + 1), h)]).collect();
            curve(root, frame, &points, (*colour, *dash, 4))
        }
    }
}

/// Ticks of an axis and their names.
fn marks(axis: &Axis, most: usize) -> Vec<(f64, String)> {
    if !axis.log {
        let all = ticks(axis.low, axis.high, most);
        let names = labels(&all);
        return all.into_iter().zip(names).collect();
    }
    let mut all = log_ticks(axis.low, axis.high);
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

/// Draws a chart into its area.
pub(super) fn chart(
    root: &Root<'_>,
    chart: &Chart,
    area: &Area,
    bar: Option<&Bar>,
) -> Result<(), FigureError> {
    let frame = Frame { area, x: &chart.x, y: &chart.y };
    for one in &chart.layers {
        layer(root, &frame, one, bar)?;
    }
    outline(root, area, INK)?;
    let centred = text_style(SMALL, INK, Anchor::Middle);
    // A number takes about as much room as three of its digits are high.
    for (mark, name) in marks(&chart.x, (area.width / 85).clamp(2, 8) as usize) {
        let x =
            rounded((f64::from(area.left) + chart.x.place(mark) * f64::from(area.width), 0.0)).0;
        line(root, &[(x, area.bottom()), (x, area.bottom() + 10)], INK, 2)?;
        write(root, &name, (x, area.bottom() + 32), &centred)?;
    }
    let right = text_style(SMALL, INK, Anchor::Right);
    for (mark, name) in marks(&chart.y, (area.height / 60).clamp(2, 8) as usize) {
        let up = chart.y.place(mark) * f64::from(area.height);
        let y = rounded((0.0, f64::from(area.bottom()) - up)).1;
        line(root, &[(area.left - 10, y), (area.left, y)], INK, 2)?;
        write(root, &name, (area.left - 16, y), &right)?;
    }
    let middle = area.left + area.width / 2;
    let style = text_style(LABEL, INK, Anchor::Middle);
    write(root, &chart.x.label, (middle, area.bottom() + 78), &style)?;
    write_upwards(root, &chart.y.label, (area.left - 122, area.top + area.height / 2), LABEL)?;
    write(root, &chart.title, (middle, area.top - 30), &style)?;
    let left = text_style(SMALL, INK, Anchor::Left);
    for (i, note) in chart.notes.iter().enumerate() {
        let (x, y) = (area.left + 16, area.top + 28 + 36 * i as i32);
        // So that it can be read above what the chart shows.
        let end = x + SIGN * note.chars().count() as i32;
        let behind = [(x - 6, y - 17), (end, y - 17), (end, y + 17), (x - 6, y + 17)];
        fill(root, &behind, WHITE, 0.8)?;
        write(root, note, (x, y), &left)?;
    }
    Ok(())
}

/// Draws the names of curves in rows.
pub(super) fn key(
    root: &Root<'_>,
    names: &[Name],
    left: i32,
    width: i32,
) -> Result<(), FigureError> {
    let in_row = names_in_row(width);
    let step = (width - left) / in_row as i32;
    let style = text_style(SMALL, INK, Anchor::Left);
    for (i, Name { name, colour, dash }) in names.iter().enumerate() {
        let x = left + (i % in_row) as i32 * step;
        let y = KEY / 2 + (i / in_row) as i32 * KEY;
        let at = |x: i32| (f64::from(x), f64::from(y));
        stroke(root, (at(x), at(x + 60)), (*colour, *dash, 5), &mut 0.0)?;
        write(root, name, (x + 72, y), &style)?;
    }
    Ok(())
}

/// The colours of a bar, from the top.
pub(super) fn ramp(bar: &Bar) -> Image {
    let steps = 256;
    let rgb = (0..steps).rev().flat_map(|i| bar.colours.at(f64::from(i) / f64::from(steps - 1)));
    Image { width: 1, height: steps as usize, rgb: rgb.collect() }
}

/// Draws the edge, numbers and label of a bar.
pub(super) fn bar(root: &Root<'_>, bar: &Bar, area: &Area) -> Result<(), FigureError> {
    outline(root, area, GUIDE)?;
    let axis = Axis::new(&bar.label, bar.low, bar.high);
    let style = text_style(SMALL, INK, Anchor::Left);
    for (mark, name) in marks(&axis, 8) {
        let y = f64::from(area.bottom()) - axis.place(mark) * f64::from(area.height);
        let y = y.round() as i32;
        line(root, &[(area.right(), y), (area.right() + 10, y)], INK, 2)?;
        write(root, &name, (area.right() + 16, y), &style)?;
    }
    write_upwards(root, &bar.label, (area.right() + 110, area.top + area.height / 2), LABEL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crowded_marks_of_a_logarithmic_axis_are_powers_of_ten() {
        let names = |low: f64, high: f64, most: usize| -> Vec<String> {
            marks(&Axis::log("", low, high), most).into_iter().map(|(_, name)| name).collect()
        };
        assert_eq!(names(4.0, 600.0, 8), ["5", "10", "20", "50", "100", "200", "500"]);
        assert_eq!(names(4.0, 600.0, 4), ["10", "100"]);
        assert_eq!(names(4.0, 60.0, 3), ["5", "10", "20", "50"], "one power is not enough");
    }

    #[test]
    fn lines_end_at_the_edges() {
        let area = Area { left: 0, top: 0, width: 100, height: 100 };
        let axis = Axis::new("", 0.0, 1.0);
        let frame = Frame { area: &area, x: &axis, y: &axis };
        assert_eq!(frame.clip((-50.0, 50.0), (50.0, 50.0)), Some(((0.0, 50.0), (50.0, 50.0))));
        assert_eq!(frame.clip((-10.0, -10.0), (110.0, 110.0)), Some(((0.0, 0.0), (100.0, 100.0))));
        assert_eq!(frame.clip((10.0, 120.0), (90.0, 120.0)), None);
        assert_eq!(frame.clip((-60.0, 80.0), (20.0, 180.0)), None, "past a corner");
    }
}
