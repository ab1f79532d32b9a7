//! Plumbing: take, do, commit, settle.

pub mod board;
mod execute;
mod slot;

pub use slot::{HANG, Settings, WorkerError, run};
