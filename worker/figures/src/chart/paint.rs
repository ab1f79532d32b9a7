//! Lines and words of charts.

use super::{Bar, Chart, KEY, Layer, MOST_POINTS, Name, names_in_row};
use crate::FigureError;
use crate::axes::{Axes, Marks, Pen, Side, marks, name, rounded, stroke};
use crate::canvas::{Anchor, Area, Image, Root, circle, disc, fill, outline, text_style, write};
use crate::colours::{GREY, GUIDE, INK, SERIES, WHITE};
use plotters::style::RGBColor;

/// Sizes of text.
const LABEL: i32 = 33;
const SMALL: i32 = 28;
/// Mean width of a small sign.
const SIGN: i32 = 16;
const POINT: i32 = 8;
/// Where there are many.
const SMALL_POINT: i32 = 5;
/// Points that are large, and that have an outline, at most.
const LARGE: usize = 100;
const OUTLINED: usize = 500;

fn layer(
    root: &Root<'_>,
    axes: &Axes,
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
                let place = axes.inside((x[i], y[i])).filter(|_| value[i].is_finite());
                let Some(place) = place.map(rounded) else { continue };
                let colour = bar.map_or(SERIES[0], |bar| {
                    let [red, green, blue] = bar.colour(value[i]);
                    RGBColor(red, green, blue)
                });
                disc(root, place, radius, colour)?;
                // Light colours would be lost on paper.
                if x.len() <= OUTLINED {
                    circle(root, place, radius, GUIDE, 1)?;
                }
            }
            Ok(())
        }
        &Layer::Curve { ref points, colour, dash, marked } => {
            let width = if marked { 4 } else { 3 };
            axes.curve(root, points.iter().copied(), Pen { colour, dash, width })?;
            let marks = points.iter().filter(|_| marked).filter_map(|&point| axes.inside(point));
            marks.map(rounded).try_for_each(|place| disc(root, place, POINT, colour))
        }
        Layer::Band { points } => axes.band(root, points.iter().copied(), GREY, 0.3),
        &Layer::Steps { ref heights, colour, dash } => {
            axes.curve(root, axes.steps(heights), Pen { colour, dash, width: 4 })
        }
    }
}

/// Draws a chart into its area.
pub(super) fn chart(
    root: &Root<'_>,
    chart: &Chart,
    axes: &Axes,
    bar: Option<&Bar>,
) -> Result<(), FigureError> {
    for one in &chart.layers {
        layer(root, axes, one, bar)?;
    }
    let area = &axes.area;
    outline(root, area, INK)?;
    // A number takes about as much room as three of its digits are high.
    axes.lower(root, &Marks::outward((area.width / 85).clamp(2, 8) as usize, SMALL))?;
    axes.left(root, &Marks::outward((area.height / 60).clamp(2, 8) as usize, SMALL))?;
    name(root, area, Side::Lower, &chart.x.label, (LABEL, 78))?;
    name(root, area, Side::Left, &chart.y.label, (LABEL, 122))?;
    name(root, area, Side::Upper, &chart.title, (LABEL, 30))?;
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
    for (i, &Name { ref name, colour, dash }) in names.iter().enumerate() {
        let x = left + (i % in_row) as i32 * step;
        let y = KEY / 2 + (i / in_row) as i32 * KEY;
        let at = |x: i32| (f64::from(x), f64::from(y));
        stroke(root, &[at(x), at(x + 60)], Pen { colour, dash, width: 5 })?;
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
    marks(root, area, Side::Right, &bar.axis.scale, &Marks::outward(8, SMALL))?;
    name(root, area, Side::Right, &bar.axis.label, (LABEL, 110))
}
