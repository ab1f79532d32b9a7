//! Conditional densities in unbounded coordinates: their sizes, weights and
//! candle graphs.
//!
//! [`coupling`] is the project's own, whose network runs once per object;
//! [`maf`] the masked autoregressive flow of the paper. [`ops`] holds the
//! fused candle layers with hand-written gradients, [`masks`] which unit of a
//! masked network may see which coordinate. Another density would stand beside
//! these two and implement [`Flow`].

pub mod coupling;
pub mod maf;
pub mod maf_device;
pub mod masks;
pub mod ops;

use crate::error::NpeError;
use crate::matmul::Level;
use crate::train::Place;
use candle_core::{Device, Tensor, Var};
use serde::{Deserialize, Serialize};

pub use coupling::CouplingShape;
pub use maf::MafShape;

/// Kind and size of a density.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "flow", rename_all = "snake_case")]
pub enum Architecture {
    /// One evaluation of the network per object.
    Coupling(CouplingShape),
    /// Masked autoregressive flow.
    Maf(MafShape),
}

/// A matrix of weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Name in stored files.
    pub name: String,
    /// Inputs, and one row of biases.
    pub rows: usize,
    /// Units.
    pub cols: usize,
    /// Whether some of its weights must stay 0.
    pub masked: bool,
}

/// Bound of a MADE block's log scale: a block stretches by at most e^4.
pub const LOG_SCALE_LIMIT: f32 = 4.0;

/// A density without its weights.
pub trait Flow: Send + Sync {
    /// Shapes of all weight matrices, in the order in which they are kept.
    fn layers(&self) -> Vec<Layer>;

    /// Random weights; `part` tells the densities of one model apart.
    fn initial_weights(&self, seed: u64, part: u64) -> Vec<Vec<f32>>;

    /// Where it computes; gradients come back to the CPU.
    fn device(&self) -> &Device {
        &Device::Cpu
    }

    /// Loss of some rows of a batch of `batch` rows, and its gradient with
    /// respect to every weight. The loss is the mean over the batch of -ln q(w),
    /// which a density may soften for rows far from all that it expects: those
    /// of a batch's slices add up.
    ///
    /// `w`: [rows, d] standardised coordinates; `context`: [rows, C].
    ///
    /// # Errors
    /// When candle refuses a shape.
    fn loss_and_gradient(
        &self,
        vars: &[Var],
        w: &[f32],
        context: &[f32],
        batch: usize,
    ) -> Result<(f64, Vec<Tensor>), NpeError>;

    /// ln q(w) of each row, in standardised coordinates.
    ///
    /// # Errors
    /// When candle refuses a shape.
    fn log_density(&self, vars: &[Var], w: &[f32], context: &[f32]) -> Result<Vec<f64>, NpeError>;
}

impl Architecture {
    /// Coordinates d.
    #[must_use]
    pub fn dims(&self) -> usize {
        match self {
            Self::Coupling(shape) => shape.dims,
            Self::Maf(shape) => shape.dims,
        }
    }

    /// Context features C.
    #[must_use]
    pub fn context(&self) -> usize {
        match self {
            Self::Coupling(shape) => shape.context,
            Self::Maf(shape) => shape.context,
        }
    }

    /// The density on one instruction set.
    #[must_use]
    pub fn flow(&self, level: Level) -> Box<dyn Flow> {
        match *self {
            Self::Coupling(shape) => Box::new(coupling::Coupling::new(shape, level)),
            Self::Maf(shape) => Box::new(maf::Maf::new(shape, level)),
        }
    }

    /// The density where a training run wants it.
    ///
    /// # Errors
    /// [`NpeError::Config`] for a device that is not there.
    pub(crate) fn flow_on(&self, place: Place, level: Level) -> Result<Box<dyn Flow>, NpeError> {
        Ok(match (*self, place) {
            (Self::Maf(shape), Place::Cuda) => {
                Box::new(maf_device::DeviceMaf::new(shape, maf_device::DeviceMaf::gpu()?)?)
            }
            _ => self.flow(level),
        })
    }

    /// Whether the sizes are ones that this program would make.
    pub(crate) fn sane(&self) -> bool {
        match self {
            Self::Coupling(s) => {
                (1..=64).contains(&s.dims)
                    && s.blocks <= 64
                    && (1..=8192).contains(&s.hidden)
                    && (1..=1024).contains(&s.components)
                    && s.couplings <= 64
                    && (1..=1024).contains(&s.units)
                    // Draws of many parameters are made from normal numbers.
                    && (s.tails == coupling::Tails::Normal || s.dims == 1)
            }
            Self::Maf(s) => (1..=64).contains(&s.blocks) && (s.dims..=8192).contains(&s.hidden),
        }
    }
}

/// candle variables of stored weights, on a device.
///
/// # Errors
/// When candle refuses a shape.
pub(crate) fn variables(
    layers: &[Layer],
    weights: &[Vec<f32>],
    device: &Device,
) -> Result<Vec<Var>, NpeError> {
    let pairs = layers.iter().zip(weights);
    let vars = pairs.map(|(l, v)| Var::from_slice(v, (l.rows, l.cols), device));
    Ok(vars.collect::<candle_core::Result<_>>()?)
}
