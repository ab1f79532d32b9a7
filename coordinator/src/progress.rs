//! How far a campaign is: planned tasks minus the commit records found in the
//! store. This is all there is to resuming.

use crate::failures;
use crate::stage_graph::StageGraph;
use outshine_schemas::ids::{CampaignId, TaskId};
use outshine_schemas::outcome::StagePlan;
use outshine_schemas::task::{Shard, Stage, Task};
use outshine_store::layout::Layout;
use outshine_store::{Entry, Store, StoreError, commit};
use std::collections::BTreeSet;
use std::time::SystemTime;

/// Records taken in before tasks are published again: a campaign of a million
/// tasks that is resumed gets its next ones before all of these are read.
const READ_AT_A_TIME: usize = 4096;

/// Who looks at a campaign.
#[derive(Clone, Copy, Debug)]
pub enum By<'a> {
    /// Who runs it and has published these tasks: stores the plans of stages
    /// that become ready, and looks for the commits of these tasks and of all of
    /// a stage that has become ready. Another coordinator's commits of others are
    /// found once these are told.
    Runner(&'a [Task]),
    /// Who only reads: looks everywhere and writes nothing. A stage whose plan
    /// nobody has stored stays unplanned.
    Reader,
}

/// Starts stages that have become ready, and takes in new commits and failures.
/// Goes on as long as that makes stages ready, so that a finished campaign is
/// seen at once. Returns the number of tasks that have ended.
///
/// # Errors
/// When the store does not answer.
pub async fn look(
    store: &Store,
    campaign: &CampaignId,
    graph: &mut StageGraph,
    by: By<'_>,
) -> Result<usize, StoreError> {
    let mut all = 0;
    let mut started = BTreeSet::new();
    // Each round completes a stage or a training span: bounded by the campaign.
    loop {
        let planned = start_ready(store, campaign, graph, by).await?;
        started.extend(&planned);
        let ended = read_ended(store, campaign, graph, by, &started).await?;
        all += ended;
        let again = match by {
            By::Reader => planned.len() + ended > 0,
            // Tasks are to be published: only what is there already is gone through.
            By::Runner(_) if graph.has_unread() => false,
            By::Runner(_) => !graph.ready().is_empty() || (ended > 0 && !started.is_empty()),
        };
        if !again {
            return Ok(all);
        }
    }
}

async fn start_ready(
    store: &Store,
    campaign: &CampaignId,
    graph: &mut StageGraph,
    by: By<'_>,
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
            None if matches!(by, By::Reader) => continue,
            None => {
                let text = serde_json::to_vec_pretty(&own).unwrap_or_default();
                outshine_fault::point(outshine_fault::BEFORE_PLAN);
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
    by: By<'_>,
    started: &BTreeSet<Stage>,
) -> Result<usize, StoreError> {
    let layout = Layout::new(campaign);
    let running: Vec<Stage> = graph.running().map(|(stage, _)| stage).collect();
    let mut found = 0;
    for stage in running {
        match by {
            By::Runner(tasks) if !started.contains(&stage) => {
                see_some(store, &layout, graph, stage, tasks).await?;
            }
            _ => see_all(store, &layout, graph, stage).await?,
        }
        let Some((_, running)) = graph.running().find(|(of, _)| *of == stage) else { continue };
        let unread: Vec<_> = running.unread().take(READ_AT_A_TIME).collect();
        let paths = unread.iter().map(|(shard, id)| layout.commit(stage, *shard, id)).collect();
        for record in commit::read_records(store, paths).await? {
            graph.commit(record);
            found += 1;
        }
        // What is gone since it was listed waits again.
        unread.iter().for_each(|(shard, _)| graph.lose(stage, *shard));
        let known = graph.failed(stage);
        for failure in failures::list_but(store, campaign, stage, &known).await? {
            // Committed all the same by another attempt, since the listing above.
            let commit = layout.commit(stage, failure.shard, &failure.task);
            if !store.exists(&commit).await? {
                found += usize::from(graph.give_up(failure));
            }
        }
    }
    Ok(found)
}

/// Lists all commits of a running stage.
async fn see_all(
    store: &Store,
    layout: &Layout,
    graph: &mut StageGraph,
    stage: Stage,
) -> Result<(), StoreError> {
    let Some((_, running)) = graph.running().find(|(of, _)| *of == stage) else { return Ok(()) };
    // What was seen is taken in before the next listing.
    if !running.unread.is_empty() {
        return Ok(());
    }
    let entries = commit::list_committed(store, layout, stage, None).await?;
    let there = |(shard, id)| find(&entries, layout, stage, shard, &id);
    let seen: Vec<_> = running.awaited().filter_map(there).collect();
    graph.see(stage, &seen);
    Ok(())
}

/// Lists the commits of the groups that some tasks of a running stage, and those
/// that failed, belong to.
async fn see_some(
    store: &Store,
    layout: &Layout,
    graph: &mut StageGraph,
    stage: Stage,
    tasks: &[Task],
) -> Result<(), StoreError> {
    let Some((_, running)) = graph.running().find(|(of, _)| *of == stage) else { return Ok(()) };
    let told = tasks.iter().filter(|task| graph.is_pending(task) && task.stage == stage);
    let told = told.map(|task| (task.shard, task.id.clone()));
    let asked: Vec<(Shard, TaskId)> = told.chain(running.failures()).collect();
    if asked.is_empty() {
        return Ok(());
    }
    let groups: BTreeSet<u64> = asked.iter().map(|(shard, _)| shard.group()).collect();
    let entries = commit::list_committed(store, layout, stage, Some(&groups)).await?;
    let there = |(shard, id): &(Shard, TaskId)| find(&entries, layout, stage, *shard, id);
    let seen: Vec<_> = asked.iter().filter_map(there).collect();
    graph.see(stage, &seen);
    Ok(())
}

/// When the commit of a task was written, if it is among `entries`, which are
/// sorted.
fn find(
    entries: &[Entry],
    layout: &Layout,
    stage: Stage,
    shard: Shard,
    id: &TaskId,
) -> Option<(Shard, SystemTime)> {
    let path = layout.commit(stage, shard, id);
    let at = entries.binary_search_by(|entry| entry.path.as_str().cmp(&path)).ok()?;
    Some((shard, entries[at].modified))
}
