//! How far a campaign is: planned tasks minus the commit records found in the
//! store. This is all there is to resuming.

use crate::failures;
use crate::stage_graph::StageGraph;
use outshine_schemas::ids::CampaignId;
use outshine_schemas::outcome::StagePlan;
use outshine_schemas::task::{Stage, Task};
use outshine_store::layout::Layout;
use outshine_store::{Store, StoreError, commit};
use std::collections::BTreeSet;

/// Which tasks' commits are looked for.
#[derive(Clone, Copy, Debug)]
pub enum Look<'a> {
    /// Those of all tasks.
    Everywhere,
    /// Those of these tasks, and of all tasks of a stage that becomes ready.
    /// Another coordinator's commits of others are found once these are told.
    At(&'a [Task]),
}

/// Takes in everything that the store has of the campaign.
///
/// # Errors
/// When the store does not answer.
pub async fn refresh(
    store: &Store,
    campaign: &CampaignId,
    graph: &mut StageGraph,
) -> Result<usize, StoreError> {
    look(store, campaign, graph, Look::Everywhere).await
}

/// Fixes the plans of stages that have become ready, and takes in new commits
/// and failures. Goes on until nothing more is found, so that a finished
/// campaign is seen at once. Returns the number of tasks that have ended.
///
/// # Errors
/// When the store does not answer.
pub async fn look(
    store: &Store,
    campaign: &CampaignId,
    graph: &mut StageGraph,
    look: Look<'_>,
) -> Result<usize, StoreError> {
    let mut all = 0;
    let mut started = BTreeSet::new();
    // Each round completes a stage or a training span: bounded by the campaign.
    loop {
        let planned = fix_plans(store, campaign, graph).await?;
        started.extend(&planned);
        let ended = read_ended(store, campaign, graph, look, &started).await?;
        all += ended;
        if planned.len() + ended == 0 {
            return Ok(all);
        }
    }
}

async fn fix_plans(
    store: &Store,
    campaign: &CampaignId,
    graph: &mut StageGraph,
) -> Result<Vec<Stage>, StoreError> {
    let mut started = Vec::new();
    for stage in graph.ready() {
        let own = match graph.plan(stage) {
            Ok(plan) => plan,
            Err(error) => {
                graph.fail(stage, error.to_string());
                continue;
            }
        };
        let path = Layout::new(campaign).plan(stage, &own.inputs);
        let stored = match store.get_opt(&path).await? {
            Some(stored) => stored,
            None => {
                let text = serde_json::to_vec_pretty(&own).unwrap_or_default();
                let _either = store.put_new(&path, text.into()).await?;
                // Another coordinator may have been first: its plan counts.
                store.get(&path).await?
            }
        };
        match serde_json::from_slice::<StagePlan>(&stored) {
            // Made from the very outcomes that are in the store.
            Ok(plan) if plan.inputs == own.inputs && plan.sources == own.sources => {
                graph.start(plan);
                started.push(stage);
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

async fn read_ended(
    store: &Store,
    campaign: &CampaignId,
    graph: &mut StageGraph,
    look: Look<'_>,
    started: &BTreeSet<Stage>,
) -> Result<usize, StoreError> {
    let layout = Layout::new(campaign);
    let running: Vec<Stage> = graph.running().map(|(stage, _)| stage).collect();
    let mut found = 0;
    for stage in running {
        let path = |task: &Task| layout.commit(stage, task.shard, &task.id);
        let (groups, wanted): (_, BTreeSet<String>) = match look {
            Look::At(tasks) if !started.contains(&stage) => {
                let own = || tasks.iter().filter(|task| graph.awaits(stage, task));
                let groups: BTreeSet<u64> = own().map(|task| task.shard.group()).collect();
                (Some(groups), own().map(path).collect())
            }
            _ => (None, graph.awaited(stage).iter().map(path).collect()),
        };
        if wanted.is_empty() {
            continue;
        }
        let mut paths = commit::list_committed(store, &layout, stage, groups.as_ref()).await?;
        paths.retain(|path| wanted.contains(path));
        for record in commit::read_records(store, paths).await? {
            graph.commit(record);
            found += 1;
        }
        if found == 0 {
            let known = graph.failed(stage);
            for failure in failures::list_but(store, campaign, stage, &known).await? {
                found += usize::from(graph.give_up(failure));
            }
        }
    }
    Ok(found)
}
