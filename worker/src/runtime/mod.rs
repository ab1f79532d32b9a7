//! Plumbing: take, do, commit, settle.

pub mod board;
mod execute;
mod slot;

pub use slot::{Settings, WorkerError, run};
