//! Corner plots: the marginal distribution of every parameter on the diagonal,
//! those of every pair below it; several posteriors on top of each other.

use crate::FigureError;
use crate::axes::{Axes, Dash, Marks, Pen, Side, name, stroke};
use crate::canvas::{Anchor, Area, Canvas, Figure, Root, outline, text_style, write};
use crate::colours::{GREY, INK, SERIES};
use crate::contour::{Density, NODES};
use crate::scale::{Scale, label};
use outshine_kernels::{quantile, scalar};

/// Side of a cell, and the gap between two.
const CELL: i32 = 300;
const GAP: i32 = 14;
const LEFT: i32 = 190;
const RIGHT: i32 = 60;
const BELOW: i32 = 170;
/// Sizes of text.
const LARGE: i32 = 40;
const LABEL: i32 = 32;
const SMALL: i32 = 27;
/// Height of a line of numbers above a cell.
const ROW: i32 = 40;
/// Bins of a marginal distribution.
const BINS: usize = 30;
/// Shares of the draws that contours enclose: those within one and two standard
/// deviations of a normal distribution.
pub const SHARES: [f64; 2] = [0.393, 0.865];
/// How dark the first posterior is filled.
const FILLED: f64 = 0.2;

/// What posterior `k` is drawn with.
fn pen(k: usize, width: u32) -> Pen {
    Pen { colour: SERIES[k], dash: Dash::ALL[k], width }
}

/// A posterior: draws of the parameters.
#[derive(Clone, Debug)]
pub struct Posterior<'a> {
    /// What it is, for the legend.
    pub name: &'a str,
    /// Finite draws of each parameter, `[parameters][draws]`; none of those that it
    /// has not.
    pub draws: Vec<Option<Vec<f64>>>,
}

/// A corner plot.
#[derive(Clone, Debug)]
pub struct Corner<'a> {
    /// First line.
    pub title: &'a str,
    /// Second line.
    pub note: &'a str,
    /// Of each parameter, with units.
    pub labels: &'a [&'a str],
    /// True values, where known.
    pub truth: &'a [Option<f64>],
    /// Up to three; the first is drawn filled.
    pub posteriors: &'a [Posterior<'a>],
}

/// Median and the distances of the 16th and 84th percentile from it.
fn interval(draws: &[f64]) -> [f64; 3] {
    let mut sorted = draws.to_vec();
    quantile::sort(&mut sorted);
    [0.16, 0.5, 0.84].map(|p| quantile::of_sorted(&sorted, p))
}

impl Corner<'_> {
    /// Limits of parameter `p`: nearly all draws, the truth, and some room.
    fn limits(&self, p: usize) -> (f64, f64) {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for posterior in self.posteriors {
            let Some(draws) = &posterior.draws[p] else { continue };
            let mut sorted = draws.clone();
            quantile::sort(&mut sorted);
            low = low.min(quantile::of_sorted(&sorted, 0.005));
            high = high.max(quantile::of_sorted(&sorted, 0.995));
        }
        if let Some(truth) = self.truth[p].filter(|t| t.is_finite()) {
            (low, high) = (low.min(truth), high.max(truth));
        }
        if !(low.is_finite() && high.is_finite()) {
            return (0.0, 1.0);
        }
        let room = (0.08 * (high - low)).max(1e-3 * low.abs().max(1e-3));
        (low - room, high + room)
    }

    fn marginal(&self, root: &Root<'_>, axes: &Axes, p: usize) -> Result<(), FigureError> {
        let Scale { low, high, .. } = axes.x;
        for (k, posterior) in self.posteriors.iter().enumerate() {
            let Some(draws) = &posterior.draws[p] else { continue };
            let mut heights = [0.0f64; BINS];
            for place in draws.iter().map(|&draw| axes.x.place(draw) * BINS as f64) {
                if place >= 0.0 && place < BINS as f64 {
                    heights[place as usize] += 1.0;
                }
            }
            let most = heights.iter().copied().fold(1.0, f64::max);
            let steps = axes.steps(&heights.map(|count| count / most)).into_iter();
            let steps: Vec<_> =
                [(low, 0.0)].into_iter().chain(steps).chain([(high, 0.0)]).collect();
            if k == 0 {
                axes.fill(root, steps.iter().copied(), SERIES[0], FILLED)?;
                for value in interval(draws) {
                    let pen = Pen { dash: Dash::Dashed, ..pen(0, 2) };
                    axes.curve(root, [(value, 0.0), (value, 1.1)], pen)?;
                }
            }
            axes.curve(root, steps, Pen::solid(SERIES[k], if k == 0 { 3 } else { 4 }))?;
        }
        match self.truth[p] {
            Some(truth) => axes.curve(root, [(truth, 0.0), (truth, 1.15)], Pen::solid(INK, 3)),
            None => Ok(()),
        }
    }

    /// The median and 68 % interval of each posterior, above the cell.
    fn numbers(&self, root: &Root<'_>, area: &Area, p: usize) -> Result<(), FigureError> {
        let own = self.posteriors.iter().enumerate().rev();
        let own = own.filter_map(|(k, q)| q.draws[p].as_ref().map(|draws| (k, draws)));
        for (line, (k, draws)) in own.enumerate() {
            let [low, middle, high] = interval(draws);
            let width = (0.5 * (high - low)).max(1e-6);
            let step = scalar::pow(10.0, scalar::log10(width).floor() - 1.0);
            let text = format!(
                "{}^{{+{}}} _{{\u{2212}{}}}",
                label(middle, step),
                label(high - middle, step),
                label(middle - low, step)
            );
            let at = (area.left + area.width / 2, area.top - ROW / 2 - 10 - line as i32 * ROW);
            write(root, &text, at, &text_style(SMALL, SERIES[k], Anchor::Middle))?;
        }
        Ok(())
    }

    fn pair(&self, root: &Root<'_>, axes: &Axes, p: usize, q: usize) -> Result<(), FigureError> {
        let places = |scale: &Scale, draws: &[f64]| -> Vec<f64> {
            draws.iter().map(|&v| scale.place(v)).collect()
        };
        let nodes = Scale::linear(0.0, (NODES - 1) as f64);
        let on_nodes = Axes { area: axes.area, x: nodes, y: nodes };
        for (k, posterior) in self.posteriors.iter().enumerate() {
            let (Some(x), Some(y)) = (&posterior.draws[p], &posterior.draws[q]) else { continue };
            let density = Density::of(&places(&axes.x, x), &places(&axes.y, y));
            let Some(density) = density else { continue };
            for (share, width) in SHARES.into_iter().zip([4, 2]) {
                for curve in density.curves(density.level(share)) {
                    if k == 0 {
                        on_nodes.fill(root, curve.iter().copied(), SERIES[0], FILLED)?;
                    }
                    on_nodes.curve(root, curve, pen(k, width))?;
                }
            }
        }
        if let Some(x) = self.truth[p] {
            axes.curve(root, [(x, axes.y.low), (x, axes.y.high)], Pen::solid(INK, 2))?;
        }
        if let Some(y) = self.truth[q] {
            axes.curve(root, [(axes.x.low, y), (axes.x.high, y)], Pen::solid(INK, 2))?;
        }
        Ok(())
    }

    fn legend(&self, root: &Root<'_>, right: i32, top: i32) -> Result<(), FigureError> {
        let mut y = top;
        let mut entry = |text: &str, pen: Pen| -> Result<(), FigureError> {
            let at = |x: i32| (f64::from(x), f64::from(y));
            stroke(root, &[at(right - 110), at(right)], pen)?;
            write(root, text, (right - 130, y), &text_style(LABEL, INK, Anchor::Right))?;
            y += 50;
            Ok(())
        };
        for (k, posterior) in self.posteriors.iter().enumerate() {
            entry(posterior.name, pen(k, 4))?;
        }
        if self.truth.iter().any(Option::is_some) {
            entry("truth", Pen::solid(INK, 4))?;
        }
        let style = text_style(SMALL, GREY, Anchor::Right);
        write(root, "contours hold 39 and 86 % of the draws", (right, y), &style)?;
        write(root, "numbers: median, 68 % interval", (right, y + 40), &style)
    }
}

/// Draws a corner plot.
///
/// # Errors
/// [`FigureError::Drawing`]; [`FigureError::Empty`] without parameters.
///
/// # Panics
/// With more posteriors than three.
pub fn draw(corner: &Corner<'_>) -> Result<Figure, FigureError> {
    let n = corner.labels.len() as i32;
    assert!(corner.posteriors.len() <= Dash::ALL.len(), "at most three posteriors");
    if n == 0 || corner.posteriors.is_empty() {
        return Err(FigureError::Empty);
    }
    let rows = corner.posteriors.len() as i32;
    let above = 150 + ROW * rows;
    // Wide enough for title and legend whatever the number of parameters.
    let (width, height) =
        (LEFT + (n.max(4)) * (CELL + GAP) + RIGHT, above + n * (CELL + GAP) + BELOW);
    let limits: Vec<(f64, f64)> = (0..corner.labels.len()).map(|p| corner.limits(p)).collect();
    let scale = |p: usize| Scale::linear(limits[p].0, limits[p].1);
    Canvas::new(width as u32, height as u32).finish(|root| {
        write(root, corner.title, (40, 50), &text_style(LARGE, INK, Anchor::Left))?;
        write(root, corner.note, (40, 100), &text_style(SMALL, GREY, Anchor::Left))?;
        corner.legend(root, width - RIGHT, above + 10)?;
        for q in 0..corner.labels.len() {
            for p in 0..=q {
                let area = Area {
                    left: LEFT + p as i32 * (CELL + GAP),
                    top: above + q as i32 * (CELL + GAP),
                    width: CELL,
                    height: CELL,
                };
                let y = if p == q { Scale::linear(0.0, 1.15) } else { scale(q) };
                let axes = Axes { area, x: scale(p), y };
                let is_last = q + 1 == corner.labels.len();
                if p == q {
                    corner.marginal(root, &axes, p)?;
                    corner.numbers(root, &area, p)?;
                } else {
                    corner.pair(root, &axes, p, q)?;
                    let marks = Marks::inward(5, SMALL);
                    axes.left(root, &Marks { named: p == 0, clear: 0.06, ..marks })?;
                }
                let marks = Marks::inward(4, SMALL);
                axes.lower(root, &Marks { named: is_last, clear: 0.1, ..marks })?;
                outline(root, &area, INK)?;
                if p == 0 && q > 0 {
                    name(root, &area, Side::Left, corner.labels[q], (LABEL, 140))?;
                }
                if is_last {
                    name(root, &area, Side::Lower, corner.labels[p], (LABEL, 95))?;
                }
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plots_hold_all_that_is_given_and_come_again() {
        let draws: Vec<f64> =
            (0..200).map(|i| f64::from(i % 17) + 0.1 * f64::from(i % 7)).collect();
        let own = Posterior { name: "own", draws: vec![Some(draws.clone()), Some(draws.clone())] };
        let other = Posterior { name: "other one", draws: vec![None, Some(draws)] };
        let corner = Corner {
            title: "Pixel",
            note: "",
            labels: &["A_{V} [mag]", "age [Gyr]"],
            truth: &[Some(3.0), None],
            posteriors: &[own, other],
        };
        let figure = draw(&corner).unwrap();
        assert_eq!(figure, draw(&corner).unwrap());
        for word in ["Pixel", "other one", "truth", "age [Gyr]"] {
            assert!(figure.svg.contains(word), "{word}");
        }
        // One value all the time has limits, too.
        let flat = Posterior { name: "own", draws: vec![Some(vec![2.0; 5]), Some(vec![0.0; 5])] };
        draw(&Corner { posteriors: &[flat], ..corner.clone() }).unwrap();
        assert!(matches!(draw(&Corner { labels: &[], ..corner }), Err(FigureError::Empty)));
    }
}
