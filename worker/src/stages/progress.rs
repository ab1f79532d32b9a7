//! How far work on many items is, told to the board.

use super::Job;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Items between two words to the board.
const STEP: usize = 500;

/// Counts items as they begin, on any thread.
pub struct Progress<'a> {
    job: &'a Job,
    total: usize,
    /// What the items are.
    what: &'static str,
    begun: AtomicUsize,
}

impl<'a> Progress<'a> {
    /// None of `total` items has begun.
    pub fn new(job: &'a Job, total: usize, what: &'static str) -> Self {
        Self { job, total, what, begun: AtomicUsize::new(0) }
    }

    /// One begins.
    pub fn tell(&self) {
        let before = self.begun.fetch_add(1, Ordering::Relaxed);
        if before.is_multiple_of(STEP) {
            let (job, total, what) = (self.job, self.total, self.what);
            let fraction = before as f64 / total as f64;
            job.board.tell(&job.task.id, fraction, format!("{before} of {total} {what}"));
        }
    }
}
