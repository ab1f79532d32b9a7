//! How a worker is, for whoever asks over HTTP.

use super::Settings;
use outshine_observe::http::Wellbeing;
use outshine_observe::names;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many slots have a queue to take from. Clones share one count.
#[derive(Clone, Debug, Default)]
pub struct Consumers(Arc<AtomicUsize>);

impl Consumers {
    pub(super) fn gained(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn lost(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Wellbeing for Settings {
    fn health(&self) -> Result<(), String> {
        match self.board.quietest() {
            // The watchdog ends the process at this age; a process that lives
            // on for longer has lost its watchdog too.
            Some((task, step)) if step.told.elapsed() > 2 * self.hang => {
                Err(format!("task {task} has hung for {:.0} s", step.told.elapsed().as_secs_f64()))
            }
            _ => Ok(()),
        }
    }

    fn ready(&self) -> Result<(), String> {
        match self.consumers.0.load(Ordering::Relaxed) {
            0 => Err("no slot has a queue to take tasks from".to_owned()),
            _ => Ok(()),
        }
    }

    fn measure(&self) {
        let quiet = self.board.quietest().map_or(0.0, |(_, s)| s.told.elapsed().as_secs_f64());
        metrics::gauge!(names::PROGRESS_AGE).set(quiet);
    }
}
