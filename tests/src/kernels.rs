//! What tests do with tasks instead of the science, or besides it.

use async_trait::async_trait;
use outshine_schemas::task::Stage;
use outshine_worker::runtime::{Assignment, Kernel};
use outshine_worker::stages::{Outcome, StageError, Stages};
use serde_json::json;

/// The science, but for a few tasks that fail for good.
#[derive(Default)]
pub struct Failing {
    /// Does the others.
    pub science: Stages,
    /// Those that fail: stage, and start of the shard.
    pub tasks: Vec<(Stage, u64)>,
}

/// What those tasks say.
pub const FAILING: &str = "a bad pixel of the test";

#[async_trait]
impl Kernel for Failing {
    async fn run(&self, assignment: Assignment) -> Result<Outcome, StageError> {
        let task = &assignment.task;
        if self.tasks.contains(&(task.stage, task.shard.start)) {
            return Err(StageError::Permanent(FAILING.to_owned()));
        }
        self.science.run(assignment).await
    }
}

/// No files, and the facts that the planner must know: a field of one galaxy and
/// so many blocks, and a model that passes.
#[must_use]
pub fn bare_outcome(stage: Stage, blocks: u64) -> Outcome {
    let facts = match stage {
        Stage::Field => json!({"blocks": blocks, "galaxies": 1}),
        Stage::Train => json!({"finished": true}),
        Stage::Calibrate => json!({"passed": true}),
        _ => json!({}),
    };
    Outcome { facts: facts.as_object().cloned().unwrap_or_default(), ..Outcome::default() }
}
