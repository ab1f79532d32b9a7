//! Maps, panels and profiles of galaxies as files that people open: FITS for
//! numbers ([`fits`]), SVG and PNG for the eye ([`panel`], [`profile`]); and
//! charts of many objects ([`chart`]).
//!
//! Pure: arrays in, bytes out; no queue, no store, no tables. Lines and words
//! are drawn by plotters, pixels are laid under them, and PNG is made by resvg
//! with the font that comes along: the same figure has the same bytes on every
//! machine of one kind, whatever fonts it has.

mod axes;
pub mod canvas;
pub mod chart;
pub mod colours;
mod contour;
pub mod corner;
mod error;
pub mod fits;
pub mod frame;
pub mod history;
pub mod panel;
pub mod predictive;
pub mod profile;
pub mod rgb;
pub mod scale;

pub use error::FigureError;
