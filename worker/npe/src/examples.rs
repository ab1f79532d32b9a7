//! The training set, as the trainer sees it.

use crate::error::NpeError;

/// The epoch that stands for the fixed noise of validation examples.
pub const HELD_OUT: u64 = u64::MAX;

/// A training set that can be observed afresh in every epoch.
///
/// The same (`index`, `epoch`) must always give the same numbers, on every
/// thread; different epochs should observe the same simulation with new noise,
/// depth and missing bands, so that the estimator never sees a pixel twice.
pub trait Examples: Sync {
    /// Number of simulations.
    fn len(&self) -> u64;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Called before the examples of `epoch` are asked for, every time when
    /// training starts or goes on: a training set that is made as it goes can
    /// make them here, on up to `threads` threads.
    ///
    /// # Errors
    /// [`NpeError::Example`] when they cannot be made.
    fn begin(&self, _epoch: u64, _threads: usize) -> Result<(), NpeError> {
        Ok(())
    }

    /// Writes example `index` as observed in `epoch` and returns its redshift.
    ///
    /// `theta`: one value per coordinate, inside the box. `flux` and `err`:
    /// one value per band, nJy; an err that is 0, negative or NaN says that the
    /// band was not observed.
    fn fill(
        &self,
        index: u64,
        epoch: u64,
        theta: &mut [f64],
        flux: &mut [f32],
        err: &mut [f32],
    ) -> f64;
}
