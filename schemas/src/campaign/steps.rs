//! How each step of a campaign is done.

use super::Section;
use serde::{Deserialize, Serialize};

/// Size of the training set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Simulate {
    /// Number of simulations: those of one epoch of training.
    pub count: u64,
    /// Whether every epoch of training makes new ones, as it goes, instead of
    /// observing those of the first epoch anew.
    pub fresh: bool,
}

impl Default for Simulate {
    fn default() -> Self {
        Self { count: 100_000, fresh: true }
    }
}

/// The test that a model must pass before it fits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Calibrate {
    /// Half the number of simulations: about half of them are single pixels,
    /// half integrated galaxies.
    pub count: u64,
    /// Posterior draws per simulation.
    pub draws: u32,
    /// Whether `fit` refuses a model that failed.
    pub required: bool,
    /// What counts as passed.
    pub tolerance: Section,
    /// Simulations of the other family of histories on which the model is
    /// tested; 0: none. No model passes or fails by them.
    pub cross_prior: u64,
}

impl Default for Calibrate {
    fn default() -> Self {
        Self {
            count: 10_000,
            draws: 500,
            required: true,
            tolerance: Section::new(),
            cross_prior: 0,
        }
    }
}

/// Which draws are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeepDraws {
    /// Every parameter.
    All,
    /// The masses and the star-formation rate.
    Masses,
    /// None: the summaries and sums remain, and draws can be made again.
    None,
}

/// Which objects of known redshift have their posterior sampled with the
/// forward model itself, from the estimator's draws as guesses, where the data are
/// sharper than the estimator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Refine {
    /// None: the estimator's draws are the result.
    None,
    /// Galaxies as one object.
    Integrated,
    /// Galaxies as one object, and their pixels.
    All,
}

/// Posterior draws.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fit {
    /// Draws per pixel.
    pub draws: u32,
    /// Which of them are stored.
    pub keep: KeepDraws,
    /// Redshifts, equally probable, over which the draws of a galaxy of
    /// unknown redshift are spread.
    pub redshifts: u32,
    /// Whether summaries say what redshift each pixel would have by itself,
    /// whatever that of its galaxy: another source behind or before it shows.
    pub pixel_redshifts: bool,
    /// What is refined.
    pub refine: Refine,
    /// Mean S/N from which it is.
    pub refine_mean_snr: f64,
}

impl Default for Fit {
    fn default() -> Self {
        Self {
            draws: 500,
            keep: KeepDraws::All,
            redshifts: 50,
            pixel_redshifts: false,
            refine: Refine::None,
            refine_mean_snr: 20.0,
        }
    }
}

/// Pixels to galaxies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reduce {
    /// Correlation between the errors of any two pixels of a galaxy, 0 to 1, for the
    /// columns `..._correlated` of the catalogue.
    pub pixel_correlation: f64,
}

impl Default for Reduce {
    fn default() -> Self {
        Self { pixel_correlation: 0.1 }
    }
}

/// How the work is cut and done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Execution {
    /// Simulations per task.
    pub simulations_per_task: u64,
    /// Training epochs per task.
    pub epochs_per_task: u64,
    /// Blocks of up to 512 pixels per fit task.
    pub blocks_per_task: u64,
    /// Galaxies per reduce task.
    pub galaxies_per_task: u64,
    /// Tasks on the queue at a time.
    pub queue_window: u64,
    /// Seconds without any commit after which waiting tasks are published
    /// again, should the broker have lost them. Must be above the longest task.
    pub stall_seconds: u64,
    /// How often a task is published again before the campaign gives up.
    pub max_republish: u32,
    /// How often a task may be lost while it is all that its worker does, before
    /// it counts as failed.
    pub max_losses: u32,
    /// How many tasks of fit and of reduce may fail before the campaign stops;
    /// up to that, it ends without what they would have made. 0: it stops at
    /// the first.
    pub max_failed_tasks: u64,
}

impl Default for Execution {
    fn default() -> Self {
        Self {
            simulations_per_task: 5_000,
            epochs_per_task: 10,
            blocks_per_task: 4,
            galaxies_per_task: 16,
            queue_window: 256,
            stall_seconds: 600,
            max_republish: 3,
            max_losses: 3,
            max_failed_tasks: 100,
        }
    }
}
