//! Star-formation histories of draws against lookback time, one chart for each of
//! one or two models.

use crate::FigureError;
use crate::axes::{COLOURS, Chart, GREY, Scale, dashed};
use crate::canvas::{
    self, Anchor, Area, Canvas, Figure, INK, Root, fill, line, outline, text_style, write,
};
use plotters::style::{RGBColor, WHITE};

const WIDTH: i32 = 900;
const HEIGHT: i32 = 640;
const LEFT: i32 = 190;
const RIGHT: i32 = 40;
const TITLE: i32 = 240;
const BELOW: i32 = 140;
const LARGE: i32 = 40;
const LABEL: i32 = 35;
const SMALL: i32 = 30;
/// Curves of single draws: pale, below the others.
const PALE: [RGBColor; 2] = [RGBColor(178, 205, 226), RGBColor(246, 208, 176)];

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
        all.sort_by(f64::total_cmp);
        if let Some(last) = all.len().checked_sub(1) {
            top = top.max(all[(0.995 * last as f64) as usize]);
        }
        let truth = history.truth.unwrap_or_default().iter().copied();
        top = truth.filter(|v| v.is_finite()).fold(top, f64::max);
    }
    if top > 0.0 { 1.25 * top } else { 1.0 }
}

fn panel(
    root: &Root<'_>,
    chart: &Chart,
    k: usize,
    history: &History<'_>,
) -> Result<(), FigureError> {
    let (x, [low, middle, high]) = (history.lookback_gyr, history.band);
    for draw in history.draws {
        chart.curve(root, x, draw, PALE[k], 2)?;
    }
    chart.band(root, x, [low, high], COLOURS[k], 0.3)?;
    chart.curve(root, x, middle, COLOURS[k], 6)?;
    if let Some(truth) = history.truth {
        let points: Vec<(i32, i32)> = x.iter().zip(truth).map(|(&x, &y)| chart.at(x, y)).collect();
        dashed(root, &points, 16.0, INK, 4)?;
    }
    chart.lower(root, (8, SMALL), true, 0.0)?;
    chart.left(root, (7, SMALL), true, 0.0)?;
    outline(root, &chart.area, INK)?;
    let style = text_style(LABEL, INK, Anchor::Middle);
    let area = &chart.area;
    let middle = area.left + area.width / 2;
    write(root, history.name, (middle, area.top - 36), &style)?;
    write(root, "lookback time [Gyr]", (middle, area.bottom() + 90), &style)
}

/// Draws the histories; `note` may have two lines.
///
/// # Errors
/// [`FigureError::Drawing`]; [`FigureError::Empty`] without any.
///
/// # Panics
/// With more than two.
pub fn draw(title: &str, note: &str, histories: &[History<'_>]) -> Result<Figure, FigureError> {
    assert!(histories.len() <= PALE.len(), "at most two");
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
            let chart = Chart { area, x: Scale::linear(0.0, last), y: Scale::linear(0.0, top) };
            panel(root, &chart, k, history)?;
            let label = "star-formation rate [M_{\u{2299}} yr^{\u{2212}1}]";
            canvas::write_upwards(root, label, (area.left - 145, TITLE + HEIGHT / 2), LABEL)?;
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
    let mut entry = |text: &str, colour: RGBColor, width: u32, dash: bool| {
        let sample = [(right - 90, y), (right, y)];
        if dash {
            dashed(root, &sample, 16.0, colour, width)?;
        } else {
            line(root, &sample, colour, width)?;
        }
        write(root, text, (right - 110, y), &style)?;
        y += 44;
        Ok::<(), FigureError>(())
    };
    entry("median and 68 %", COLOURS[0], 6, false)?;
    entry("single draws", PALE[0], 2, false)?;
    if histories.iter().any(|h| h.truth.is_some()) {
        entry("truth", INK, 4, true)?;
    }
    Ok(())
}
