//! Is the estimator calibrated? Pure functions of truths and posterior draws.
//!
//! Simulation-based calibration (Talts et al. 2018): over many simulations
//! from the prior, the rank of the truth among its posterior draws is uniform,
//! and a central interval of probability p holds the truth in a share p of the
//! cases. An overconfident posterior has too many extreme ranks. What holds of
//! all objects together may not hold of each kind, so [`Strata`] are looked at
//! apart; and what holds of each parameter may not hold of all together, so
//! random points are tested ([`Tarp`]).
//!
//! Per object: a [`CaseMaker`] makes a [`Case`] of each parameter, [`Tarp`] a
//! place of all; [`Scores`] count them in little memory. At the end: rows, and
//! their [`Verdict`].

mod case;
mod joint;
mod predictive;
mod ranks;
mod redshift;
mod replicated;
mod scores;
mod statistics;
mod strata;
mod tally;
#[cfg(test)]
mod tests;
mod verdict;

pub use case::{Case, CaseMaker};
pub use joint::{DENSITY_RANK, TARP, Tarp, density_place};
pub use outshine_kernels::quantile::of_sorted as quantile_of_sorted;
pub use predictive::{Misfit, Predictive};
pub use ranks::Ranks;
pub use redshift::{RedshiftRow, RedshiftScores};
pub use replicated::Replicated;
pub use scores::{JointPlaces, Scores};
pub use statistics::{
    chi_square_p_value, kolmogorov_smirnov, kolmogorov_smirnov_p_value, r_squared,
};
pub use strata::Strata;
pub use tally::{CalibrationRow, Tally, calibration_row};
pub use verdict::{Tolerance, Verdict};

/// Probabilities of the central intervals whose coverage is measured.
pub const NOMINAL: [f64; 4] = [0.50, 0.68, 0.90, 0.95];
