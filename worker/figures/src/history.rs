//! Star-formation histories of draws against lookback time, one chart for each of
//! one or two models.

use crate::FigureError;
use crate::axes::{Axes, Dash, Marks, Pen, Side, name, stroke};
use crate::canvas::{Anchor, Area, Canvas, Figure, Root, fill, outline, text_style, write};
use crate::colours::{GREY, INK, SERIES, WHITE, pale};
use crate::scale::Scale;
use outshine_kernels::quantile;

const WIDTH: i32 = 900;
const HEIGHT: i32 = 640;
const LEFT: i32 = 190;
const RIGHT: i32 = 40;
const TITLE: i32 = 240;
const BELOW: i32 = 140;
const LARGE: i32 = 40;
const LABEL: i32 = 35;
const SMALL: i32 = 30;
/// Histories in a figure, at most.
const MOST: usize = 2;
const TRUTH: Pen = Pen { colour: INK, dash: Dash::Dashed, width: 4 };

/// Of medians.
fn bold(k: usize) -> Pen {
    Pen::solid(SERIES[k], 6)
}

/// Of single draws, below the others.
fn faint(k: usize) -> Pen {
    Pen::solid(pale(SERIES[k]), 2)
}

/// The histories of one posterior.
#[derive(Clone, Debug)]
pub struct History<'a> {
    /// What it is.
    pub name: &'a str,
    /// Lookback times from the redshift observed, Gyr, rising, `[times]`.
    pub lookback_gyr: &'a [f64],
    /// Star-formation rates of some draws, Msun/yr, `[draws][times]`.
    pub draws: &'a [Vec<f64>],
    /// 16th percentile, median and 84th percentile of all draws at each time.
    pub band: [&'a [f64]; 3],
    /// The true history.
    pub truth: Option<&'a [f64]>,
}

/// The highest rate that is shown: that of nearly all of band and truth; single
/// draws may leave the chart.
fn highest(histories: &[History<'_>]) -> f64 {
    let mut top = 0.0f64;
    for history in histories {
        let mut all: Vec<f64> = history.band[2].iter().copied().filter(|v| v.is_finite()).collect();
        quantile::sort(&mut all);
        // Not a number without any: never the larger one.
        top = top.max(quantile::of_sorted(&all, 0.995));
        let truth = history.truth.unwrap_or_default().iter().copied();
        top = truth.filter(|v| v.is_finite()).fold(top, f64::max);
    }
    if top > 0.0 { 1.25 * top } else { 1.0 }
}

fn panel(root: &Root<'_>, axes: &Axes, k: usize, history: &History<'_>) -> Result<(), FigureError> {
    let (times, [low, middle, high]) = (history.lookback_gyr, history.band);
    let curve = |rates: &[f64], pen| {
        axes.curve(root, times.iter().copied().zip(rates.iter().copied()), pen)
    };
    for draw in history.draws {
        curve(draw, faint(k))?;
    }
    let edges = times.iter().zip(low).zip(high).map(|((&time, &low), &high)| (time, low, high));
    axes.band(root, edges, SERIES[k], 0.3)?;
    curve(middle, bold(k))?;
    if let Some(truth) = history.truth {
        curve(truth, TRUTH)?;
    }
    axes.lower(root, &Marks::inward(8, SMALL))?;
    axes.left(root, &Marks::inward(7, SMALL))?;
    outline(root, &axes.area, INK)?;
    name(root, &axes.area, Side::Upper, history.name, (LABEL, 36))?;
    name(root, &axes.area, Side::Lower, "lookback time [Gyr]", (LABEL, 90))?;
    let label = "star-formation rate [M_{\u{2299}} yr^{\u{2212}1}]";
    name(root, &axes.area, Side::Left, label, (LABEL, 145))
}

/// Draws the histories; `note` may have two lines.
///
/// # Errors
/// [`FigureError::Drawing`]; [`FigureError::Empty`] without any.
///
/// # Panics
/// With more than two.
pub fn draw(title: &str, note: &str, histories: &[History<'_>]) -> Result<Figure, FigureError> {
    assert!(histories.len() <= MOST, "at most two");
    if histories.is_empty() {
        return Err(FigureError::Empty);
    }
    let step = LEFT + WIDTH + RIGHT;
    let width = step * histories.len() as i32;
    let top = highest(histories);
    Canvas::new(width as u32, (TITLE + HEIGHT + BELOW) as u32).finish(|root| {
        write(root, title, (40, 50), &text_style(LARGE, INK, Anchor::Left))?;
        for (row, line) in note.lines().enumerate() {
            let at = (40, 100 + 42 * row as i32);
            write(root, line, at, &text_style(SMALL, GREY, Anchor::Left))?;
        }
        for (k, history) in histories.iter().enumerate() {
            let area =
                Area { left: k as i32 * step + LEFT, top: TITLE, width: WIDTH, height: HEIGHT };
            let last = history.lookback_gyr.last().copied().unwrap_or(1.0);
            let axes = Axes { area, x: Scale::linear(0.0, last), y: Scale::linear(0.0, top) };
            panel(root, &axes, k, history)?;
        }
        legend(root, histories)
    })
}

/// In the upper right corner of the first chart.
fn legend(root: &Root<'_>, histories: &[History<'_>]) -> Result<(), FigureError> {
    let (right, mut y) = (LEFT + WIDTH - 30, TITLE + 45);
    let (left, bottom) = (right - 380, y + 112);
    let corners = [(left, y - 30), (right + 15, y - 30), (right + 15, bottom), (left, bottom)];
    fill(root, &corners, WHITE, 0.8)?;
    let style = text_style(SMALL, INK, Anchor::Right);
    let mut entry = |text: &str, pen: Pen| {
        let at = |x: i32| (f64::from(x), f64::from(y));
        stroke(root, &[at(right - 90), at(right)], pen)?;
        write(root, text, (right - 110, y), &style)?;
        y += 44;
        Ok::<(), FigureError>(())
    };
    entry("median and 68 %", bold(0))?;
    entry("single draws", faint(0))?;
    if histories.iter().any(|h| h.truth.is_some()) {
        entry("truth", TRUTH)?;
    }
    Ok(())
}
