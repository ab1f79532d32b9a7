//! Is the estimator calibrated? Pure functions of truths and posterior draws.
//!
//! Simulation-based calibration (Talts et al. 2018): over many simulations
//! from the prior, the rank of the truth among its posterior draws is uniform,
//! and a central interval of probability p holds the truth in a share p of the
//! cases. An overconfident posterior has too many extreme ranks.

mod calibration;
mod predictive;
mod statistics;

pub use calibration::{CalibrationRow, Case, NOMINAL, Tolerance, Verdict, calibration_row};
pub use outshine_kernels::quantile::of_sorted as quantile_of_sorted;
pub use predictive::{Misfit, Predictive};
pub use statistics::{
    chi_square_p_value, kolmogorov_smirnov, kolmogorov_smirnov_p_value, r_squared,
};
