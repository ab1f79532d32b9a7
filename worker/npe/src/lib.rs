//! The neural posterior estimator: p(theta | fluxes, errors, redshift) of one
//! pixel or one integrated object, learnt from simulations.
//!
//! What happens to a pixel, in order:
//! 1. [`FeatureSpec`] turns fluxes, errors and redshift into context features.
//! 2. [`Standardisation`] centres them and makes a crude linear estimate of
//!    theta, which the flow only has to correct.
//! 3. A conditional density ([`flow`]) maps standard normal noise to unbounded
//!    coordinates, and [`Coordinates`] maps those into the prior box, so that no
//!    draw can leave it. A second one, of the fluxes alone, is that of the
//!    redshift where none is known.
//!
//! [`train_span`] trains in candle with fused layers of its own, in spans that
//! resume from a [`Checkpoint`] byte for byte; [`Sampler`] draws and evaluates
//! densities without candle. Every matrix product runs through [`matmul`],
//! whose result does not depend on the processor, the tile size or the number
//! of threads. [`diagnostics`] says whether the result is calibrated.
//!
//! [`sbi`] reads estimators that the Python package sbi trained, such as the
//! published one of the paper, and draws from them on the same products.

mod checkpoint;
mod coordinates;
mod density;
pub mod diagnostics;
mod error;
mod examples;
mod features;
pub mod flow;
mod lane_group;
pub mod matmul;
mod model;
mod recalibration;
mod sampler;
pub mod sbi;
mod standardisation;
mod storage;
#[cfg(test)]
mod tests;
mod train;

pub use checkpoint::{Checkpoint, EpochRecord};
pub use coordinates::Coordinates;
pub use density::Target;
pub use error::NpeError;
pub use examples::{Examples, HELD_OUT};
pub use features::{FeatureSpec, signal_to_noise};
pub use model::{Model, TrainingFacts};
pub use recalibration::{PROBES, Recalibration, recalibrated};
pub use sampler::{Object, RedshiftPosterior, Sampler, Scratch, Seen};
pub use standardisation::Standardisation;
pub use train::{FlowKind, Place, Progress, Schedule, TrainConfig, train_span};
