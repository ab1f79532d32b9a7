//! How far a campaign is: planned tasks minus the commit records found in the
//! store. This is all there is to resuming.

use crate::failures;
use crate::stage_graph::{Running, StageGraph, has_indexes};
use futures::{StreamExt, TryStreamExt, stream};
use outshine_schemas::ids::{CampaignId, TaskId};
use outshine_schemas::outcome::{CommitRecord, StagePlan};
use outshine_schemas::task::{Shard, Stage, Task};
use outshine_store::layout::Layout;
use outshine_store::{Entry, Store, StoreError, commit, index, parse_versioned};
use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

/// Records taken in before tasks are published again: a campaign of a million
/// tasks that is resumed gets its next ones before all of these are read.
const READ_AT_A_TIME: usize = 4096;

/// Indexes read at a time, of a thousand records each.
const INDEXES_AT_A_TIME: usize = 4;

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
        if matches!(by, By::Runner(_)) {
            write_indexes(store, campaign, graph).await?;
        }
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
        match parse_versioned::<StagePlan>(&path, &stored) {
            // Made from the very outcomes that are in the store.
            Ok(plan) if plan.inputs == own.inputs && plan.sources == own.sources => {
                graph.start(plan);
                started.push(stage);
            }
            Ok(_) => graph.fail(
                stage,
                format!("{path}: the stored plan was made from other inputs; use another store"),
            ),
            Err(error) => graph.fail(stage, error.to_string()),
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
        let Some(running) = graph.running_at(stage) else { continue };
        let unread: Vec<Shard> = running.unread.iter().copied().take(READ_AT_A_TIME).collect();
        let (records, written) = read(store, &layout, running, &unread).await?;
        graph.see(stage, &written);
        for record in records {
            graph.commit(record);
            found += 1;
        }
        // What is gone since it was listed waits again.
        unread.iter().for_each(|shard| graph.lose(stage, *shard));
        let Some(running) = graph.running_at(stage) else { continue };
        // Failures may end the stage: first all that is done is taken in.
        if !running.unread.is_empty() {
            continue;
        }
        let known = running.failures().map(|(_, task)| task).collect();
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

/// The commits of some shards of a running stage: by the indexes of their groups
/// where there are any, and record by record. And when those were written whose
/// groups have an index.
async fn read(
    store: &Store,
    layout: &Layout,
    running: &Running,
    shards: &[Shard],
) -> Result<(Vec<CommitRecord>, Vec<(Shard, SystemTime)>), StoreError> {
    let (stage, inputs) = (running.plan.stage, &running.plan.inputs);
    let groups: BTreeSet<u64> = shards.iter().map(|shard| shard.group()).collect();
    let written = |group: u64| Some((group, *running.indexed.get(&group)?));
    let indexed: Vec<(u64, SystemTime)> = groups.into_iter().filter_map(written).collect();
    let by_index: Vec<(u64, index::Group)> = stream::iter(indexed)
        .map(|(group, written)| async move {
            let found = index::group(store, layout, (stage, inputs, group), written).await?;
            Ok::<_, StoreError>((group, found))
        })
        .buffered(INDEXES_AT_A_TIME)
        .try_collect()
        .await?;
    let by_index: BTreeMap<u64, index::Group> = by_index.into_iter().collect();
    let last = by_index.last_key_value().map(|(group, _)| *group);
    let unread = running.unread.iter().take_while(|shard| Some(shard.group()) <= last);
    let written = unread.filter_map(|&shard| {
        let entries = &by_index.get(&shard.group())?.entries;
        find(entries, layout, stage, shard, &running.id(shard))
    });
    let written = written.collect();
    let groups = by_index.into_values();
    let mut records: Vec<CommitRecord> = groups.flat_map(|group| group.commits).collect();
    records.retain(|record| running.unread.contains(&record.shard));
    let have: BTreeSet<Shard> = records.iter().map(|record| record.shard).collect();
    let others = shards.iter().filter(|shard| !have.contains(shard));
    let paths = others.map(|&shard| layout.commit(stage, shard, &running.id(shard))).collect();
    records.extend(commit::read_records(store, paths).await?);
    Ok((records, written))
}

/// Writes the indexes of groups that have become complete.
async fn write_indexes(
    store: &Store,
    campaign: &CampaignId,
    graph: &mut StageGraph,
) -> Result<(), StoreError> {
    let layout = Layout::new(campaign);
    while let Some(&(stage, group)) = graph.unindexed().last() {
        if let Some(index) = graph.index(stage, group) {
            index::put(store, &layout, &index).await?;
        }
        graph.pop_unindexed();
    }
    Ok(())
}

/// Lists all commits of a running stage: of groups that have an index, that alone.
async fn see_all(
    store: &Store,
    layout: &Layout,
    graph: &mut StageGraph,
    stage: Stage,
) -> Result<(), StoreError> {
    // What was seen is taken in before the next listing.
    let running = graph.running_at(stage).filter(|running| running.unread.is_empty());
    let Some(running) = running else { return Ok(()) };
    if has_indexes(&running.plan) {
        let indexed = index::list(store, layout, stage, &running.plan.inputs).await?;
        graph.see_indexes(stage, indexed);
    }
    let Some(running) = graph.running_at(stage) else { return Ok(()) };
    let awaited = running.pending.iter().chain(running.failed.keys());
    let groups: BTreeSet<u64> = awaited.map(|shard| shard.group()).collect();
    let entries = commit::list_committed(store, layout, stage, &groups).await?;
    if entries.is_empty() {
        return Ok(());
    }
    let there = |(shard, id)| find(&entries, layout, stage, shard, &id);
    let seen: Vec<_> = running.awaited().filter_map(there).collect();
    graph.see(stage, &seen);
    Ok(())
}

/// Lists the commits of the groups that some tasks of a running stage belong to,
/// and looks there for those that failed, too. For others that failed, no group is
/// listed look after look: only where nothing else is asked for, and before the
/// stage ends without them.
async fn see_some(
    store: &Store,
    layout: &Layout,
    graph: &mut StageGraph,
    stage: Stage,
    tasks: &[Task],
) -> Result<(), StoreError> {
    let failures = |graph: &StageGraph| {
        let running = graph.running_at(stage);
        running.map_or_else(Vec::new, |running| running.failures().collect())
    };
    let told = tasks.iter().filter(|task| graph.is_pending(task) && task.stage == stage);
    let told: Vec<_> = told.map(|task| (task.shard, task.id.clone())).collect();
    let groups: BTreeSet<u64> = told.iter().map(|(shard, _)| shard.group()).collect();
    let mut beside = failures(graph);
    beside.retain(|(shard, _)| groups.contains(&shard.group()));
    see_these(store, layout, graph, stage, &[told, beside].concat()).await?;
    if groups.is_empty() || graph.left(stage) == 0 {
        see_these(store, layout, graph, stage, &failures(graph)).await?;
    }
    Ok(())
}

/// Lists the groups of some tasks of a running stage for their commits.
async fn see_these(
    store: &Store,
    layout: &Layout,
    graph: &mut StageGraph,
    stage: Stage,
    tasks: &[(Shard, TaskId)],
) -> Result<(), StoreError> {
    if tasks.is_empty() {
        return Ok(());
    }
    let groups: BTreeSet<u64> = tasks.iter().map(|(shard, _)| shard.group()).collect();
    let entries = commit::list_committed(store, layout, stage, &groups).await?;
    let there = |(shard, id): &(Shard, TaskId)| find(&entries, layout, stage, *shard, id);
    let seen: Vec<_> = tasks.iter().filter_map(there).collect();
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
    let entry = commit::find(entries, &layout.commit(stage, shard, id))?;
    Some((shard, entry.modified))
}
