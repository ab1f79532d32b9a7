//! Running a campaign, which is the same as resuming it.

use crate::dispatch::{Dispatch, DispatchError};
use crate::progress::{self, By};
use crate::stage_graph::StageGraph;
use crate::view::View;
use outshine_broker::{BrokerError, TaskQueue};
use outshine_schemas::campaign::ResolvedCampaign;
use outshine_schemas::task::{Class, Stage, Task};
use outshine_store::{Store, StoreError};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How a run behaves; no result depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Time between looks at the store.
    pub poll: Duration,
    /// How long a store or broker that does not answer is waited for.
    pub patience: Duration,
    /// The last stage to run.
    pub until: Stage,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            poll: Duration::from_millis(500),
            patience: Duration::from_secs(300),
            until: Stage::Catalogue,
        }
    }
}

/// Why a run ended before the campaign was complete. Whatever it was, what is
/// committed stays, and running again goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A stage cannot go on.
    #[error("stage {stage}: {reason}")]
    Stage {
        /// The stage.
        stage: Stage,
        /// Why.
        reason: String,
    },
    /// The store did not answer for longer than the patience.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nor the broker.
    #[error(transparent)]
    Dispatch(#[from] DispatchError),
}

/// Runs `campaign` (as stored by [`crate::prepare::prepare`]) until it is
/// complete, or `pace.until` is. Workers must be running on the same queue and
/// store; classes of tasks that have their `own` queue need workers of their own.
///
/// # Errors
/// [`RunError`].
pub async fn run(
    store: &Store,
    queue: Arc<dyn TaskQueue>,
    own: &[Class],
    campaign: &ResolvedCampaign,
    pace: Pace,
    view: &mut dyn View,
) -> Result<StageGraph, RunError> {
    let id = campaign.id();
    let mut graph = StageGraph::new(campaign.clone());
    let class_of = |stage: Stage| match stage.class() {
        class if own.contains(&class) => class,
        _ => Class::Fit,
    };
    let used = Class::ALL.into_iter().filter(|class| *class == Class::Fit || own.contains(class));
    let execution = &campaign.campaign.execution;
    let mut dispatches: Vec<(Class, Dispatch)> = used
        .map(|class| (class, Dispatch::new(queue.clone(), &class.queue(), execution)))
        .collect();
    let mut trouble: Option<Instant> = None;
    loop {
        let published: Vec<Task> =
            dispatches.iter().flat_map(|(_, dispatch)| dispatch.published()).collect();
        let here: Vec<&Task> = published.iter().filter(|task| view.sees(&task.id)).collect();
        let step = async {
            let by = By::Runner(&published);
            if progress::look(store, &id, &mut graph, by).await? > 0 {
                dispatches.iter_mut().for_each(|(_, dispatch)| dispatch.progressed());
            }
            if graph.failure().is_none() {
                for (class, dispatch) in &mut dispatches {
                    // Tasks in hand here are not lost; whether they hang is the
                    // watchdog's to say.
                    let of = |task: &&&Task| class_of(task.stage) == *class;
                    if here.iter().filter(of).any(|task| graph.is_pending(task)) {
                        dispatch.at_work();
                    }
                    let own = |stage| stage <= pace.until && class_of(stage) == *class;
                    let running = graph.running().filter(|(stage, _)| own(*stage));
                    let mut pending = running.flat_map(|(_, running)| running.tasks());
                    dispatch.top_up(&mut pending, &graph).await?;
                }
            }
            Ok::<(), RunError>(())
        };
        match step.await {
            Ok(()) => trouble = None,
            Err(error) => {
                let since = *trouble.get_or_insert_with(Instant::now);
                if !may_pass(&error) || since.elapsed() > pace.patience {
                    return Err(error);
                }
                tracing::warn!(%error, "waiting for it to pass");
            }
        }
        view.show(&graph);
        if let Some((stage, failed)) = graph.failure() {
            return Err(RunError::Stage { stage, reason: failed.reason.clone() });
        }
        if graph.complete(pace.until) {
            return Ok(graph);
        }
        if trouble.is_some() || !graph.has_unread() {
            tokio::time::sleep(pace.poll).await;
        }
    }
}

fn may_pass(error: &RunError) -> bool {
    match error {
        RunError::Stage { .. } => false,
        RunError::Store(e) => e.class() == outshine_store::ErrorClass::Retry,
        // A broker that came back without its queues: they are declared again.
        RunError::Dispatch(DispatchError::Broker(BrokerError::UnknownQueue { .. })) => true,
        RunError::Dispatch(DispatchError::Broker(e)) => {
            e.class() == outshine_broker::ErrorClass::Retry
        }
        RunError::Dispatch(_) => false,
    }
}
