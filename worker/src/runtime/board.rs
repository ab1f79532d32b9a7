//! Where running tasks tell how far they are, for progress bars, logs and the
//! watchdog.

use outshine_schemas::ids::TaskId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// How far one task is.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Fraction done, 0 to 1.
    pub fraction: f64,
    /// What it is at.
    pub text: String,
    /// When it told so.
    pub told: Instant,
}

/// Steps of the tasks that run in this process. Clones share one board.
#[derive(Clone, Debug, Default)]
pub struct Board {
    steps: Arc<Mutex<BTreeMap<TaskId, Step>>>,
}

impl Board {
    /// Enters a task; false where it runs in this process already.
    #[must_use]
    pub fn begin(&self, task: &TaskId) -> bool {
        let Ok(mut steps) = self.steps.lock() else { return true };
        if steps.contains_key(task) {
            return false;
        }
        let step = Step { fraction: 0.0, text: "begins".to_owned(), told: Instant::now() };
        steps.insert(task.clone(), step);
        true
    }

    /// Tells how far `task` is. A task tells at least every few minutes, or
    /// counts as hung.
    pub fn tell(&self, task: &TaskId, fraction: f64, text: String) {
        if let Ok(mut steps) = self.steps.lock() {
            let step = Step { fraction: fraction.clamp(0.0, 1.0), text, told: Instant::now() };
            steps.insert(task.clone(), step);
        }
    }

    /// Tells that `task` goes on where it is.
    pub fn beat(&self, task: &TaskId) {
        if let Ok(mut steps) = self.steps.lock()
            && let Some(step) = steps.get_mut(task)
        {
            step.told = Instant::now();
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

    /// The task that has told nothing for the longest time, if any runs here.
    #[must_use]
    pub fn quietest(&self) -> Option<(TaskId, Step)> {
        let steps = self.steps.lock().ok()?;
        let quietest = steps.iter().min_by_key(|(_, step)| step.told)?;
        Some((quietest.0.clone(), quietest.1.clone()))
    }

    /// Waits until a task has told nothing for `limit`, and returns it.
    pub async fn hung(&self, limit: Duration) -> (TaskId, Step) {
        loop {
            let quiet = self.quietest();
            if let Some((task, step)) = &quiet
                && step.told.elapsed() >= limit
            {
                return (task.clone(), step.clone());
            }
            let left = quiet.map_or(limit, |(_, step)| limit.saturating_sub(step.told.elapsed()));
            let look = left.clamp(Duration::from_millis(10), Duration::from_secs(1));
            tokio::time::sleep(look).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outshine_schemas::digest::Digest;
    use outshine_schemas::task::{Shard, Stage};

    fn task(n: u64) -> TaskId {
        let digest = Digest::of(b"c");
        TaskId::derive(&digest, Stage::Fit, Shard { start: n, end: n + 1 }, &digest)
    }

    /// Only the task that has fallen silent is hung, and none that has ended.
    #[tokio::test]
    async fn a_silent_task_is_noticed() {
        let board = Board::default();
        let limit = Duration::from_millis(300);
        board.tell(&task(1), 0.5, "half".to_owned());
        assert!(board.begin(&task(2)) && !board.begin(&task(2)));
        board.clear(&task(2));
        let talking = board.clone();
        let talk = tokio::spawn(async move {
            for _ in 0..1000 {
                talking.tell(&task(3), 0.1, String::new());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        let (found, step) = board.hung(limit).await;
        assert_eq!((found, step.text.as_str()), (task(1), "half"));
        assert!(step.told.elapsed() >= limit);
        board.clear(&task(1));
        let none = tokio::time::timeout(Duration::from_millis(400), board.hung(limit)).await;
        assert!(none.is_err(), "{none:?}");
        talk.abort();
    }
}
