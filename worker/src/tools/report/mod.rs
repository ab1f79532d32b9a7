//! What a report shows of a campaign's products: tables and figures, from the
//! catalogue, the calibration and the summaries of pixels.
//!
//! Pure but for the tables that it is given: what lies where is for who calls.

mod calibration;
mod checks;
mod cross_prior;
mod galaxies;
pub mod html;
mod pixels;
mod ranks;
mod words;

pub use calibration::{Calibration, calibration, validation};
pub use checks::{Checked, checks, checks_json};
pub use galaxies::{Galaxies, agreement_json, agreement_rows, list};
pub use outshine_catalogue::agreement::Row;
pub use pixels::{PixelSample, redshifts_of};

use crate::stages::StageError;
use outshine_figures::FigureError;
use outshine_store::StoreError;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A figure cannot be drawn.
    #[error(transparent)]
    Figure(#[from] FigureError),
    /// The campaign's sections, or what follows from them.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// A table cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Two campaigns that are not of the same galaxies.
    #[error("{0}")]
    Other(String),
}
