//! Plumbing: take, do, commit, settle.

pub mod board;
mod execute;
mod slot;
mod wellbeing;

pub use slot::{HANG, Settings, WorkerError, run};
pub use wellbeing::Consumers;
