//! How far a campaign is, as metrics.

use crate::stage_graph::{StageGraph, State, TaskCounts};
use crate::view::View;
use metrics::gauge;
use outshine_observe::http::Wellbeing;
use outshine_observe::names::{ETA, TASKS};
use outshine_schemas::ids::TaskId;
use outshine_schemas::task::Stage;
use std::collections::BTreeMap;
use std::time::Instant;

/// A coordinator is well as long as it answers.
pub struct Coordinator;

impl Wellbeing for Coordinator {
    fn ready(&self) -> Result<(), String> {
        Ok(())
    }
}

/// A view that sets the gauges, and shows another one.
pub struct Measured {
    shown: Box<dyn View>,
    /// When each stage was first seen running, and its commits then.
    seen: BTreeMap<Stage, (Instant, usize)>,
}

impl Measured {
    /// Around another view.
    #[must_use]
    pub fn new(shown: Box<dyn View>) -> Self {
        Self { shown, seen: BTreeMap::new() }
    }
}

impl View for Measured {
    fn sees(&self, task: &TaskId) -> bool {
        self.shown.sees(task)
    }

    fn show(&mut self, graph: &StageGraph) {
        for (stage, state) in graph.states() {
            if matches!(state, State::Blocked(_) | State::Ready(_)) {
                continue;
            }
            let TaskCounts { done, mut pending, mut failed } = state.counts();
            if matches!(state, State::Failed(_)) {
                // The one that the stage cannot do without.
                failed += 1;
                pending = pending.saturating_sub(1);
            }
            let name = stage.name();
            for (kind, count) in [
                ("planned", done + pending + failed),
                ("done", done),
                ("pending", pending),
                ("failed", failed),
            ] {
                gauge!(TASKS, "stage" => name, "state" => kind).set(count as f64);
            }
            let (since, before) = *self.seen.entry(stage).or_insert((Instant::now(), done));
            // A stage that does not run has nothing before it.
            let ahead = if matches!(state, State::Running(_)) { pending } else { 0 };
            // Known once something was done before our eyes.
            if ahead == 0 || done > before {
                // A commit that is gone again was counted before.
                let rate =
                    done.saturating_sub(before).max(1) as f64 / since.elapsed().as_secs_f64();
                gauge!(ETA, "stage" => name).set(ahead as f64 / rate.max(1e-9));
            }
        }
        self.shown.show(graph);
    }
}
