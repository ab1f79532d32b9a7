//! What the tests share.

pub mod bench;
pub mod campaigns;
pub mod chaos;
pub mod kernels;
pub mod processes;
pub mod reference;
pub mod servers;
pub mod simulation;
pub mod watched;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a mutex holds, also after a thread panicked with it.
pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
