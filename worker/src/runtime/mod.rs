//! Plumbing: take, do, commit, settle.

pub mod board;
mod execute;
mod kernel;
mod plans;
mod slot;
mod wellbeing;

pub use execute::{NewId, random_ids};
pub use kernel::{Assignment, Kernel};
pub use plans::Plans;
pub use slot::{HANG, Settings, WorkerError, run};
pub use wellbeing::Consumers;
