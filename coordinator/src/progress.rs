//! How far a campaign is: planned tasks minus the commit records found in the
//! store. This is all there is to resuming.

use crate::failures;
use crate::stage_graph::{StageGraph, State};
use outshine_schemas::ids::CampaignId;
use outshine_schemas::outcome::StagePlan;
use outshine_schemas::task::Stage;
use outshine_store::layout::Layout;
use outshine_store::{Store, StoreError, commit};
use std::collections::BTreeSet;

/// Takes in everything that the store has of the campaign: fixes the plans of
/// stages that have become ready, and reads new commits and failures. Goes on
/// until nothing more is found, so that a finished campaign is seen at once.
/// Returns the number of new commits.
///
/// # Errors
/// When the store does not answer.
pub async fn refresh(
    store: &Store,
    campaign: &CampaignId,
    graph: &mut StageGraph,
) -> Result<usize, StoreError> {
    let mut all = 0;
    // Each round completes a stage or a training span: bounded by the campaign.
    loop {
        let planned = fix_plans(store, campaign, graph).await?;
        let committed = read_commits(store, campaign, graph).await?;
        all += committed;
        if planned + committed == 0 {
            return Ok(all);
        }
    }
}

async fn fix_plans(
    store: &Store,
    campaign: &CampaignId,
    graph: &mut StageGraph,
) -> Result<usize, StoreError> {
    let mut started = 0;
    for stage in graph.ready() {
        let path = Layout::new(campaign).plan(stage);
        let stored = match store.get_opt(&path).await? {
            Some(stored) => stored,
            None => match graph.plan(stage) {
                Ok(plan) => {
                    let text = serde_json::to_vec_pretty(&plan).unwrap_or_default();
                    outshine_fault::point(outshine_fault::BEFORE_PLAN);
                    let _either = store.put_new(&path, text.into()).await?;
                    // Another coordinator may have been first: its plan counts.
                    store.get(&path).await?
                }
                Err(error) => {
                    graph.fail(stage, error.to_string());
                    continue;
                }
            },
        };
        match serde_json::from_slice::<StagePlan>(&stored) {
            Ok(plan) if matches_upstream(graph, &plan) => {
                graph.start(plan);
                started += 1;
            }
            Ok(_) => graph.fail(
                stage,
                format!("{path}: the stored plan was made from other inputs; use another store"),
            ),
            Err(error) => graph.fail(stage, format!("{path}: not a plan: {error}")),
        }
    }
    Ok(started)
}

/// A stored plan must be made from the very outcomes that are in the store.
fn matches_upstream(graph: &StageGraph, plan: &StagePlan) -> bool {
    graph.plan(plan.stage).is_ok_and(|own| own.inputs == plan.inputs)
}

async fn read_commits(
    store: &Store,
    campaign: &CampaignId,
    graph: &mut StageGraph,
) -> Result<usize, StoreError> {
    let running: Vec<Stage> = graph
        .states()
        .filter(|(_, state)| matches!(state, State::Running(_)))
        .map(|(stage, _)| stage)
        .collect();
    let mut found = 0;
    for stage in running {
        let layout = Layout::new(campaign);
        let names: BTreeSet<String> =
            commit::list_committed(store, &layout, stage).await?.into_iter().collect();
        let pending: Vec<_> = graph
            .pending()
            .into_iter()
            .filter(|t| t.stage == stage && names.contains(t.id.as_str()))
            .map(|t| t.id.clone())
            .collect();
        for id in pending {
            if let Some(record) = commit::read_commit(store, &layout, stage, &id).await? {
                graph.commit(record);
                found += 1;
            }
        }
        if found == 0 {
            for failure in failures::list(store, campaign, stage).await? {
                let waits = graph.pending().iter().any(|t| t.id == failure.task);
                if waits {
                    graph.fail(
                        stage,
                        format!(
                            "task {} ({stage} {}) failed after {} attempt(s): {}",
                            failure.task, failure.shard, failure.attempts, failure.error
                        ),
                    );
                    break;
                }
            }
        }
    }
    Ok(found)
}
