//! The cells of a map: the smallest upright rectangle around a galaxy's pixels.

use crate::FigureError;

/// Most cells on a side of a map.
const MOST_SIDE: u64 = 16_384;
/// Most cells of a map: about 300 MB for all maps of a galaxy together.
const MOST_CELLS: u64 = 1 << 22;

/// A rectangle of pixels. Maps on it are row-major, the lowest row first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Column of its first cell.
    pub x0: i32,
    /// Row of its first cell.
    pub y0: i32,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl Frame {
    /// The frame around pixels at `x`, `y`, each `[pixels]`.
    ///
    /// # Errors
    /// [`FigureError::Empty`] and [`FigureError::TooLarge`].
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn around(x: &[i32], y: &[i32]) -> Result<Self, FigureError> {
        assert_eq!(x.len(), y.len(), "one column per row");
        let ends =
            |values: &[i32]| Some((values.iter().copied().min()?, values.iter().copied().max()?));
        let (Some((x0, x1)), Some((y0, y1))) = (ends(x), ends(y)) else {
            return Err(FigureError::Empty);
        };
        // At most 2^32: no overflow, in the product neither.
        let side = |low: i32, high: i32| (i64::from(high) - i64::from(low)) as u64 + 1;
        let (width, height) = (side(x0, x1), side(y0, y1));
        if width.max(height) > MOST_SIDE || width * height > MOST_CELLS {
            return Err(FigureError::TooLarge {
                pixels: x.len(),
                width,
                height,
                limit: MOST_SIDE,
                cells: MOST_CELLS,
            });
        }
        Ok(Self { x0, y0, width: width as usize, height: height as usize })
    }

    /// Number of cells.
    #[must_use]
    pub fn cells(&self) -> usize {
        self.width * self.height
    }

    /// The cell of a pixel of the frame.
    ///
    /// # Panics
    /// For a pixel outside the frame.
    #[must_use]
    pub fn cell(&self, x: i32, y: i32) -> usize {
        let (column, row) = (i64::from(x) - i64::from(self.x0), i64::from(y) - i64::from(self.y0));
        let inside = |place: i64, size: usize| (0..size as i64).contains(&place);
        assert!(inside(column, self.width) && inside(row, self.height), "outside the frame");
        row as usize * self.width + column as usize
    }

    /// A map: `values` at `x`, `y`, each `[pixels]`, and `outside` elsewhere.
    ///
    /// # Panics
    /// When the lengths differ, or for a pixel outside the frame.
    #[must_use]
    pub fn map<T: Copy>(&self, x: &[i32], y: &[i32], values: &[T], outside: T) -> Vec<T> {
        assert!(x.len() == values.len() && y.len() == values.len(), "one value per pixel");
        let mut map = vec![outside; self.cells()];
        for ((&x, &y), &value) in x.iter().zip(y).zip(values) {
            map[self.cell(x, y)] = value;
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_keep_their_places() {
        let (x, y) = ([-3, 0, -1], [7, 5, 5]);
        let frame = Frame::around(&x, &y).unwrap();
        assert_eq!(frame, Frame { x0: -3, y0: 5, width: 4, height: 3 });
        let map = frame.map(&x, &y, &[1, 2, 3], 0);
        assert_eq!(map, [0, 0, 3, 2, 0, 0, 0, 0, 1, 0, 0, 0]);
    }

    #[test]
    fn nothing_and_too_much_are_refused() {
        assert!(matches!(Frame::around(&[], &[]), Err(FigureError::Empty)));
        let error = Frame::around(&[0, 1_000_000], &[0, 1_000_000]).unwrap_err().to_string();
        assert!(error.contains("2 pixels span 1000001 x 1000001 cells"), "{error}");
        Frame::around(&[i32::MIN, i32::MAX], &[i32::MIN, i32::MAX]).unwrap_err();
        // A line is no area, but too long all the same.
        Frame::around(&[0, 20_000], &[0, 0]).unwrap_err();
        Frame::around(&[0, 2500], &[0, 2500]).unwrap_err();
        Frame::around(&[0, 2000], &[0, 2000]).unwrap();
    }
}
