//! Numbers that are the same on every processor.
//!
//! The C library's `exp`, `ln` and `tanh` differ between processors and
//! versions, and so would every result built on them. What must be
//! reproducible to the byte uses the functions here: [`scalar`] for single
//! values, [`lanes`] and [`wide`] for slices, and [`random`] for random numbers that are
//! keyed by what they are for rather than drawn from a shared stream.

pub mod lanes;
pub mod quantile;
pub mod random;
pub mod scalar;
pub mod wide;
