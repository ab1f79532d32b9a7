//! Estimators trained with the Python package sbi: masked autoregressive flows
//! of nflows (Papamakarios, Pavlakou & Murray 2017; masks of Germain et al.
//! 2015), read from exported weights.
//!
//! With context c = (context - mean) / std, from theta to noise:
//! - t0: x = scale * theta + shift;
//! - per block: (u_i, m_i) = MADE(x, c), y_i = s_i x_i + m_i with
//!   s_i = softplus(u_i) + 1e-3, then z_i = y at `permutation[i]`;
//! - MADE: h = tanh(W x + b + tanh(V c + a)), then h = tanh(W' h + b') per
//!   hidden layer, then a linear layer to u_1, m_1, u_2, m_2, ...;
//! - the last z is standard normal: ln p = ln N(z) + sum ln s_i + sum ln |scale|.
//!
//! Masks follow from degrees: coordinate i has i + 1; a hidden unit sees units
//! of at most its own degree, the outputs of coordinate i hidden units of at
//! most i. So drawing inverts a block coordinate after coordinate.
//!
//! A folder holds `model.json` (names of theta and context, prior box),
//! `model.safetensors` (weights under nflows' names) and, to check a reader,
//! `vectors.safetensors` ([`Vectors`]).

mod model;
mod random;
mod sampler;
#[cfg(test)]
mod tests;
mod vectors;

pub use model::PublishedModel;
pub use sampler::{Sampler, Scratch};
pub use vectors::{Deviations, TOLERANCE, Vectors};

/// Least scale of a block, which sbi adds to the softplus.
const LEAST_SCALE: f32 = 1e-3;
/// Names of a folder's files.
pub const FILES: [&str; 3] = [CARD, WEIGHTS, VECTORS];
const CARD: &str = "model.json";
const WEIGHTS: &str = "model.safetensors";
const VECTORS: &str = "vectors.safetensors";
