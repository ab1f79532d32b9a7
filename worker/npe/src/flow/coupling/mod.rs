//! A conditional density whose network runs once per object, not once per draw.
//!
//! A residual network (the conditioner) of the context sets, for each object,
//! - a mixture of K normals (or [`Tails::Logistic`]) with full covariances, and
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
pub(crate) use layout::{COUPLING_INPUT_LIMIT, COUPLING_SCALE_LIMIT, MIXTURE_SCALE_LIMIT};
pub use layout::{Layout, Split};

use crate::coordinates::HALF_LN_TAU;
use outshine_kernels::lanes;
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
    /// Shape of the mixture's components.
    pub tails: Tails,
}

/// Shape of the components of the mixture, along their own axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tails {
    /// Normal.
    Normal,
    /// Logistic, e^-z / (1 + e^-z)^2: an object far from every component costs
    /// its distance, not its square. For redshifts, which can be far off.
    Logistic,
}

impl Tails {
    /// ln of the density at z.
    #[inline(always)]
    pub(crate) fn log_density(self, z: f32) -> f32 {
        match self {
            Self::Normal => -0.5 * z * z - HALF_LN_TAU as f32,
            Self::Logistic => -z.abs() - 2.0 * lanes::softplus_f32(-z.abs()),
        }
    }

    /// Slope of [`Tails::log_density`].
    #[inline(always)]
    pub(crate) fn slope(self, z: f32) -> f32 {
        match self {
            Self::Normal => -z,
            Self::Logistic => -lanes::tanh_f32(0.5 * z),
        }
    }

    /// Probability below z.
    #[cfg(test)]
    pub(crate) fn below(self, z: f64) -> f64 {
        match self {
            Self::Normal => outshine_kernels::scalar::normal_cdf(z),
            Self::Logistic => outshine_kernels::scalar::logistic(z),
        }
    }
}
