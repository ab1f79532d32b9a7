//! Normalising flows in unbounded coordinates.
//!
//! [`maf`] holds the masked autoregressive flow: its parameters and its loss as
//! a candle graph; [`ops`] the fused candle layers with hand-written
//! gradients; [`masks`] which unit may see which coordinate. Another
//! conditioner would stand beside [`maf`] and share the rest.

pub mod maf;
pub mod masks;
pub mod ops;

use serde::{Deserialize, Serialize};

/// Size of a masked autoregressive flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    /// Coordinates d.
    pub dims: usize,
    /// Context features C.
    pub features: usize,
    /// Blocks, each with two hidden layers.
    pub blocks: usize,
    /// Units h of a hidden layer.
    pub hidden: usize,
}

/// Bound of a block's log scale: a block stretches by at most e^4.
pub const LOG_SCALE_LIMIT: f32 = 4.0;
