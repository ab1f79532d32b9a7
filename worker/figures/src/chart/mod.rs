//! Charts of many objects: clouds of points, curves and histograms, side by side
//! in one figure.
//!
//! Crowds are drawn as images of cells, so that a figure of millions of objects
//! is as small as one of thousands. Colours are told apart with any colour
//! vision; curves differ in their dashes too, for print.

mod cells;
mod paint;

pub use crate::axes::Dash;

use crate::FigureError;
use crate::axes::Axes;
use crate::canvas::{Area, Canvas};
use crate::colours::ColourMap;
use crate::scale::{self, Scale};
use plotters::style::RGBColor;

/// Width of a figure over two columns of a journal, in units of the canvas.
pub const FULL_WIDTH: i32 = 2140;

/// Points that are drawn one by one, at most: more become cells.
const MOST_POINTS: usize = 2000;
/// Around a chart.
const LEFT: i32 = 150;
const RIGHT: i32 = 30;
const ABOVE: i32 = 64;
const BELOW: i32 = 116;
/// A row of names of curves, above all charts, and the room for one.
const KEY: i32 = 50;
const NAME: i32 = 400;
/// Right of all charts, for the colour bar.
const BAR: i32 = 190;

/// An axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// Label with unit; `_{}` and `^{}` lower and raise.
    pub label: String,
    /// What it spans.
    pub scale: Scale,
}

impl Axis {
    /// A linear axis.
    #[must_use]
    pub fn new(label: &str, low: f64, high: f64) -> Self {
        Self { label: label.to_owned(), scale: Scale::linear(low, high) }
    }

    /// A logarithmic axis.
    #[must_use]
    pub fn log(label: &str, low: f64, high: f64) -> Self {
        Self { label: label.to_owned(), scale: Scale::log(low, high) }
    }

    /// A linear axis that shows all finite `values` and some room, at least
    /// `span` wide; from 0 to `span` where there are none.
    #[must_use]
    pub fn around(label: &str, values: impl IntoIterator<Item = f64>, span: f64) -> Self {
        let finite = values.into_iter().filter(|v| v.is_finite());
        let ends = finite.fold(None, |ends: Option<(f64, f64)>, v| {
            Some(ends.map_or((v, v), |(low, high)| (low.min(v), high.max(v))))
        });
        let (low, high) = ends.unwrap_or((0.0, span));
        let room = (0.5 * (span - (high - low))).max(0.04 * (high - low));
        Self::new(label, low - room, high + room)
    }

    /// A linear axis that shows nearly all of `values` ([`scale::limits`]).
    #[must_use]
    pub fn nearly(label: &str, values: &[f64], span: f64) -> Self {
        let (low, high) = scale::limits(values, span).unwrap_or((0.0, span));
        Self::new(label, low, high)
    }

    /// As [`Axis::nearly`], with 0 in its middle.
    #[must_use]
    pub fn about_zero(label: &str, values: &[f64], span: f64) -> Self {
        let Scale { low, high, .. } = Self::nearly(label, values, span).scale;
        let most = low.abs().max(high.abs());
        Self::new(label, -most, most)
    }
}

/// Something drawn in a chart. What is not finite or lies outside is left out.
#[derive(Clone, Debug, PartialEq)]
pub enum Layer {
    /// How many points there are: darker where there are more, on a logarithmic
    /// scale.
    Density {
        /// Places across, `[points]`.
        x: Vec<f64>,
        /// Places up, `[points]`.
        y: Vec<f64>,
    },
    /// Points, coloured by a third value on the figure's colour bar; means in
    /// cells where there are too many.
    Points {
        /// Places across, `[points]`.
        x: Vec<f64>,
        /// Places up, `[points]`.
        y: Vec<f64>,
        /// Their values, `[points]`.
        value: Vec<f64>,
    },
    /// A curve.
    Curve {
        /// Its points, in order; it breaks where one is not finite.
        points: Vec<(f64, f64)>,
        /// Its colour.
        colour: RGBColor,
        /// How it is drawn.
        dash: Dash,
        /// Whether its points are marked.
        marked: bool,
    },
    /// A grey band.
    Band {
        /// Place across, lower and upper edge.
        points: Vec<(f64, f64, f64)>,
    },
    /// A histogram over equal bins that fill the axis.
    Steps {
        /// Heights, `[bins]`.
        heights: Vec<f64>,
        /// Its colour.
        colour: RGBColor,
        /// How it is drawn.
        dash: Dash,
    },
}

/// One chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// Above it.
    pub title: String,
    /// Lines in its upper left corner.
    pub notes: Vec<String>,
    /// Across.
    pub x: Axis,
    /// Up.
    pub y: Axis,
    /// What it shows, the first lowest.
    pub layers: Vec<Layer>,
}

/// The colour bar of a figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// Its label and the values of the lowest and the highest colour.
    pub axis: Axis,
    /// The colours.
    pub colours: ColourMap,
}

/// The name of a curve.
#[derive(Clone, Debug, PartialEq)]
pub struct Name {
    /// What it is.
    pub name: String,
    /// Its colour.
    pub colour: RGBColor,
    /// How it is drawn.
    pub dash: Dash,
}

/// Charts in rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Charts {
    /// The charts, row by row.
    pub charts: Vec<Chart>,
    /// Charts in a row.
    pub columns: usize,
    /// Width of a chart's axes, in units of the canvas.
    pub width: i32,
    /// Their height.
    pub height: i32,
    /// The colour bar of all of them.
    pub bar: Option<Bar>,
    /// Names of the curves of all of them.
    pub key: Vec<Name>,
}

/// Names of curves in a row of a figure.
fn names_in_row(width: i32) -> usize {
    (width / NAME).max(1) as usize
}

impl Charts {
    /// Charts that fill [`FULL_WIDTH`] with `columns` in a row, as high as
    /// `aspect` times their width.
    ///
    /// # Panics
    /// Without columns.
    #[must_use]
    pub fn new(columns: usize, aspect: f64, bar: Option<Bar>) -> Self {
        let all = FULL_WIDTH - if bar.is_some() { BAR } else { 0 };
        let width = all / i32::try_from(columns).expect("a few columns") - LEFT - RIGHT;
        let height = (aspect * f64::from(width)).round() as i32;
        Self { charts: Vec::new(), columns, width, height, bar, key: Vec::new() }
    }

    /// Draws them as SVG.
    ///
    /// # Errors
    /// [`FigureError::Drawing`], also for an axis without length.
    ///
    /// # Panics
    /// Where a layer's slices differ in length.
    pub fn svg(&self) -> Result<String, FigureError> {
        let shown = self.charts.len().min(self.columns).max(1) as i32;
        let rows = self.charts.len().div_ceil(self.columns.max(1)).max(1) as i32;
        let (step_x, step_y) = (LEFT + self.width + RIGHT, ABOVE + self.height + BELOW);
        let bar_width = if self.bar.is_some() { BAR } else { 0 };
        let width = shown * step_x + bar_width;
        let above = self.key.len().div_ceil(names_in_row(width)) as i32 * KEY;
        let height = above + rows * step_y;
        let mut canvas = Canvas::new(width as u32, height as u32);
        let area = |i: usize| Area {
            left: (i % self.columns) as i32 * step_x + LEFT,
            top: above + (i / self.columns) as i32 * step_y + ABOVE,
            width: self.width,
            height: self.height,
        };
        let axes = |i: usize, chart: &Chart| {
            let (x, y) = (chart.x.scale, chart.y.scale);
            Axes { area: area(i), x, y }
        };
        for (i, chart) in self.charts.iter().enumerate() {
            let axes = axes(i, chart);
            if !(axes.x.is_valid() && axes.y.is_valid()) {
                return Err(FigureError::Drawing(format!("an axis of `{}` is empty", chart.title)));
            }
            for layer in &chart.layers {
                if let Some(image) = cells::image(&axes, layer, self.bar.as_ref()) {
                    canvas.place(axes.area, image);
                }
            }
        }
        let bar_area = Area {
            left: shown * step_x + 20,
            top: above + ABOVE,
            width: 36,
            height: (rows - 1) * step_y + self.height,
        };
        if let Some(bar) = &self.bar {
            canvas.place(bar_area, paint::ramp(bar));
        }
        canvas.finish_svg(|root| {
            paint::key(root, &self.key, LEFT, width)?;
            for (i, chart) in self.charts.iter().enumerate() {
                paint::chart(root, chart, &axes(i, chart), self.bar.as_ref())?;
            }
            match &self.bar {
                Some(bar) => paint::bar(root, bar, &bar_area),
                None => Ok(()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::colours::SERIES;

    fn chart(layers: Vec<Layer>) -> Chart {
        let (title, notes) = ("a < b & \"c\"".to_owned(), vec!["n = 3".to_owned()]);
        Chart { title, notes, x: Axis::new("x", 0.0, 1.0), y: Axis::new("y", 0.0, 1.0), layers }
    }

    fn bar() -> Bar {
        Bar { axis: Axis::new("z", 0.0, 1.0), colours: ColourMap::Viridis }
    }

    /// SVG as any reader of XML takes it, and the same twice.
    fn drawn(charts: &Charts) -> String {
        let svg = charts.svg().unwrap();
        assert_eq!(svg, charts.svg().unwrap());
        resvg::usvg::roxmltree::Document::parse(&svg).unwrap();
        svg
    }

    #[test]
    fn few_points_are_discs_and_many_are_cells() {
        for (count, discs) in [(40, 40), (MOST_POINTS + 1, 0)] {
            let value = |i: usize| (i as f64 + 0.5) / count as f64;
            let all: Vec<f64> = (0..count).map(value).collect();
            let points = Layer::Points { x: all.clone(), y: all.clone(), value: all };
            let mut charts = Charts::new(2, 1.0, Some(bar()));
            charts.charts = vec![chart(vec![points])];
            let svg = drawn(&charts);
            assert_eq!(svg.matches("<circle").count(), 2 * discs, "with their outlines");
            // The bar, and the cells where there are any.
            assert_eq!(svg.matches("<image").count(), if discs == 0 { 2 } else { 1 });
            assert!(svg.contains("a &lt; b &amp; &quot;c&quot;"));
        }
    }

    #[test]
    fn a_million_points_are_a_small_figure() {
        let x: Vec<f64> = (0..1_000_000).map(|i| (f64::from(i) * 0.618).fract()).collect();
        let y: Vec<f64> = x.iter().map(|x| x * x).collect();
        let mut charts = Charts::new(3, 1.0, None);
        charts.charts = vec![chart(vec![Layer::Density { x, y }])];
        assert!(drawn(&charts).len() < 60_000);
    }

    #[test]
    fn what_is_no_number_or_outside_is_left_out() {
        let odd = vec![0.5, f64::NAN, f64::INFINITY, -3.0, 1e300];
        let curve = odd.iter().map(|&v| (v, v)).collect();
        let layers = vec![
            Layer::Density { x: odd.clone(), y: odd.clone() },
            Layer::Points { x: odd.clone(), y: odd.clone(), value: odd.clone() },
            Layer::Curve { points: curve, colour: SERIES[0], dash: Dash::Dotted, marked: true },
            Layer::Band { points: vec![(0.1, f64::NAN, 0.5), (0.2, -9.0, 9.0), (0.8, 0.1, 0.4)] },
            Layer::Steps { heights: odd, colour: SERIES[1], dash: Dash::Dashed },
        ];
        let mut charts = Charts::new(1, 0.5, Some(bar()));
        charts.charts = vec![chart(layers)];
        let name = |dash| Name { name: format!("{dash:?}"), colour: SERIES[2], dash };
        charts.key = Dash::ALL.map(name).to_vec();
        let svg = drawn(&charts);
        // One point of the curve, and one of the cloud with its outline.
        assert_eq!(svg.matches("<circle").count(), 3, "{svg}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }

    #[test]
    fn axes_have_room_and_an_empty_one_is_an_error() {
        let around = |values: &[f64]| Axis::around("", values.iter().copied(), 1.0).scale;
        let scale = around(&[2.0, f64::NAN, 4.0]);
        assert!((scale.low - 1.92).abs() < 1e-12 && (scale.high - 4.08).abs() < 1e-12);
        assert_eq!(around(&[2.0]), Scale::linear(1.5, 2.5));
        let scale = around(&[]);
        assert!(scale.low <= 0.0 && scale.high >= 1.0);
        assert_eq!(Axis::about_zero("", &[-3.0, -1.0], 1.0).scale.high, 2.98);
        let mut charts = Charts::new(1, 1.0, None);
        charts.charts = vec![Chart { x: Axis::new("", 1.0, 1.0), ..chart(Vec::new()) }];
        assert!(charts.svg().unwrap_err().to_string().contains("is empty"));
        charts.charts = vec![Chart { y: Axis::log("", 0.0, 1.0), ..chart(Vec::new()) }];
        assert!(charts.svg().is_err());
    }
}
