//! Where running tasks tell how far they are, for progress bars and logs.

use outshine_schemas::ids::TaskId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// How far one task is.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Fraction done, 0 to 1.
    pub fraction: f64,
    /// What it is at.
    pub text: String,
}

/// Steps of the tasks that run in this process. Clones share one board.
#[derive(Clone, Debug, Default)]
pub struct Board {
    steps: Arc<Mutex<BTreeMap<TaskId, Step>>>,
}

impl Board {
    /// Tells how far `task` is.
    pub fn tell(&self, task: &TaskId, fraction: f64, text: String) {
        if let Ok(mut steps) = self.steps.lock() {
            steps.insert(task.clone(), Step { fraction: fraction.clamp(0.0, 1.0), text });
        }
    }

    /// Forgets a task that has ended.
    pub fn clear(&self, task: &TaskId) {
        if let Ok(mut steps) = self.steps.lock() {
            steps.remove(task);
        }
    }

    /// How far `task` is, if it runs here.
    #[must_use]
    pub fn step(&self, task: &TaskId) -> Option<Step> {
        self.steps.lock().ok()?.get(task).cloned()
    }
}
