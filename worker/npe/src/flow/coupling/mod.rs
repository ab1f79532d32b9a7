//! A conditional density whose network runs once per object, not once per draw.
//!
//! A residual network (the conditioner) of the context sets, for each object,
//! - a mixture of K normals with full covariances, and
//! - the constants of a few affine coupling layers, each a one-layer network
//!   of the coordinates themselves.
//!
//! From data to noise, coordinates w pass the couplings in order: layer l
//! leaves half of them (`given`) and moves the others,
//! w_m' = w_m exp(a_m) + b_m, with (a, b) = c_l(x) + V_l relu(h_l(x) + U_l w_given)
//! and a bounded by a tanh (Dinh et al. 2017). h_l(x) and c_l(x) come from the
//! conditioner, U_l and V_l are weights. What comes out has the density of the
//! mixture. A draw costs one component of the mixture and the inverse
//! couplings: a few thousand operations, whatever the size of the conditioner.

mod density;
mod graph;
mod layout;

pub(crate) use density::{bounded, log_density};
pub use graph::Coupling;
pub use layout::{Layout, Split};
pub(crate) use layout::{COUPLING_INPUT_LIMIT, COUPLING_SCALE_LIMIT, MIXTURE_SCALE_LIMIT};

use serde::{Deserialize, Serialize};

/// Size of a density of this kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CouplingShape {
    /// Coordinates d.
    pub dims: usize,
    /// Context features C.
    pub context: usize,
    /// Residual blocks of the conditioner, each of two layers.
    pub blocks: usize,
    /// Units h of the conditioner's layers.
    pub hidden: usize,
    /// Normals K of the mixture.
    pub components: usize,
    /// Coupling layers.
    pub couplings: usize,
    /// Units of a coupling layer.
    pub units: usize,
}
