//! Crowds of points as images of cells.

use super::{Bar, Layer, MOST_POINTS};
use crate::axes::Axes;
use crate::canvas::Image;
use crate::colours::ColourMap;
use crate::scale::Scale;
use outshine_kernels::scalar;

/// Units of the canvas in a cell.
const CELL: i32 = 7;
/// A single point is not invisible on paper.
const LIGHTEST: f64 = 0.92;

/// A grid of cells over a chart.
struct Cells {
    width: usize,
    height: usize,
    count: Vec<u32>,
    sum: Vec<f64>,
}

/// The cell of a value, of `cells` along a scale.
fn cell(scale: &Scale, value: f64, cells: usize) -> Option<usize> {
    let place = scale.place(value);
    // Not a number is in no range.
    (0.0..=1.0).contains(&place).then(|| ((place * cells as f64) as usize).min(cells - 1))
}

impl Cells {
    fn of(axes: &Axes, x: &[f64], y: &[f64], value: Option<&[f64]>) -> Self {
        assert_eq!(x.len(), y.len(), "two places per point");
        let width = (axes.area.width / CELL).max(1) as usize;
        let height = (axes.area.height / CELL).max(1) as usize;
        let (count, sum) = (vec![0; width * height], vec![0.0; width * height]);
        let mut cells = Self { width, height, count, sum };
        for i in 0..x.len() {
            let value = value.map_or(0.0, |value| value[i]);
            let place = cell(&axes.x, x[i], width).zip(cell(&axes.y, y[i], height));
            let Some((column, row)) = place.filter(|_| value.is_finite()) else { continue };
            // The first row of an image is the upper one.
            let at = (height - 1 - row) * width + column;
            cells.count[at] += 1;
            cells.sum[at] += value;
        }
        cells
    }

    fn image(&self, colour: impl Fn(u32, f64) -> [u8; 3]) -> Image {
        let one = |(&count, &sum): (&u32, &f64)| match count {
            0 => [255; 3],
            _ => colour(count, sum),
        };
        let rgb = self.count.iter().zip(&self.sum).flat_map(one).collect();
        Image { width: self.width, height: self.height, rgb }
    }
}

/// The image of a layer that has one.
pub(super) fn image(axes: &Axes, layer: &Layer, bar: Option<&Bar>) -> Option<Image> {
    match layer {
        Layer::Density { x, y } => {
            let cells = Cells::of(axes, x, y, None);
            let most = cells.count.iter().copied().max().filter(|most| *most > 0)?;
            let whole = scalar::ln(f64::from(most) + 1.0);
            Some(cells.image(|count, _| {
                let part = scalar::ln(f64::from(count)) / whole;
                ColourMap::Viridis.at(LIGHTEST * (1.0 - part))
            }))
        }
        Layer::Points { x, y, value } if x.len() > MOST_POINTS => {
            let bar = bar?;
            let cells = Cells::of(axes, x, y, Some(value));
            Some(cells.image(|count, sum| bar.colour(sum / f64::from(count))))
        }
        _ => None,
    }
}

impl Bar {
    /// The colour of a value; beyond the ends that of the end.
    pub(super) fn colour(&self, value: f64) -> [u8; 3] {
        self.colours.at(self.axis.scale.place(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canvas::Area;

    #[test]
    fn cells_count_and_average() {
        let area = Area { left: 0, top: 0, width: 2 * CELL, height: 2 * CELL };
        let axes = Axes { area, x: Scale::linear(0.0, 2.0), y: Scale::linear(0.0, 2.0) };
        let (x, y) = ([0.5, 0.6, 1.5, 2.0, 9.0], [0.5, 0.4, 1.5, 2.0, 1.0]);
        let value = [1.0, 2.0, 5.0, f64::NAN, 7.0];
        let cells = Cells::of(&axes, &x, &y, Some(&value));
        assert_eq!((cells.count, cells.sum), (vec![0, 1, 2, 0], vec![0.0, 5.0, 3.0, 0.0]));
        let image = image(&axes, &Layer::Density { x: x.into(), y: y.into() }, None);
        let image = image.unwrap();
        assert_eq!((image.width, image.height, &image.rgb[..3]), (2, 2, &[255; 3][..]));
        // Two points each: the darkest of the two.
        assert_eq!(image.rgb[3..6], image.rgb[6..9]);
        assert_ne!(image.rgb[3..6], [255; 3]);
    }
}
