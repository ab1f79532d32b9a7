//! What can go wrong.

/// Why there is no figure or file.
#[derive(Debug, thiserror::Error)]
pub enum FigureError {
    /// There are no pixels.
    #[error("it has no pixels")]
    Empty,
    /// The pixels lie too far apart for a map.
    #[error(
        "its {pixels} pixels span {width} x {height} cells, more than a map may have ({limit} on \
         a side, {cells} in all): are they one galaxy?"
    )]
    TooLarge {
        /// Number of pixels.
        pixels: usize,
        /// Columns between the first and the last.
        width: u64,
        /// Rows between the first and the last.
        height: u64,
        /// Most on a side.
        limit: u64,
        /// Most in all.
        cells: u64,
    },
    /// FITS cannot hold it.
    #[error("FITS: {0}")]
    Fits(String),
    /// A figure could not be drawn.
    #[error("drawing: {0}")]
    Drawing(String),
}

impl FigureError {
    /// From what a library says.
    pub(crate) fn drawing(error: impl std::fmt::Display) -> Self {
        Self::Drawing(error.to_string())
    }
}
