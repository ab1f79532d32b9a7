//! How far a campaign is, as [`crate::progress`] sees it, but without writing:
//! a stage whose plan nobody has stored yet stays unplanned.

use crate::failures;
use crate::stage_graph::{StageGraph, State};
use outshine_schemas::campaign::ResolvedCampaign;
use outshine_schemas::ids::TaskId;
use outshine_schemas::outcome::StagePlan;
use outshine_schemas::task::Stage;
use outshine_store::layout::Layout;
use outshine_store::{Store, StoreError, commit};
use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

/// A campaign that is looked at, once or from time to time. What was read
/// before is not read again.
#[derive(Debug)]
pub struct Look {
    campaign: ResolvedCampaign,
    graph: StageGraph,
    written: BTreeMap<Stage, Vec<SystemTime>>,
}

impl Look {
    /// Looks for a campaign; `None` where the store does not have it. Nothing
    /// of its stages is known before [`Look::refresh`].
    ///
    /// # Errors
    /// When the store does not answer, or has something else in its place.
    pub async fn find(store: &Store, given: &ResolvedCampaign) -> Result<Option<Self>, StoreError> {
        let path = Layout::new(&given.id()).campaign();
        let Some(campaign) = store.get_json::<ResolvedCampaign>(&path).await? else {
            return Ok(None);
        };
        if campaign.digest() != given.digest() {
            let reason = "its content is not that of its name: see `outshine verify`".to_owned();
            return Err(StoreError::Corrupt { path, reason });
        }
        let graph = StageGraph::new(campaign.clone());
        Ok(Some(Self { campaign, graph, written: BTreeMap::new() }))
    }

    /// The campaign as stored.
    #[must_use]
    pub fn campaign(&self) -> &ResolvedCampaign {
        &self.campaign
    }

    /// Its stages.
    #[must_use]
    pub fn graph(&self) -> &StageGraph {
        &self.graph
    }

    /// When the commits of a stage were written, by the store's clock.
    #[must_use]
    pub fn written(&self, stage: Stage) -> &[SystemTime] {
        self.written.get(&stage).map_or(&[], Vec::as_slice)
    }

    /// Takes in all that is new.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn refresh(&mut self, store: &Store) -> Result<(), StoreError> {
        if self.is_outdated(store).await? {
            self.graph = StageGraph::new(self.campaign.clone());
        }
        // Each round starts a stage or takes in a commit: bounded by the campaign.
        loop {
            let started = self.start_planned(store).await?;
            let committed = self.read_commits(store).await?;
            if started + committed == 0 {
                return Ok(());
            }
        }
    }

    /// Whether a stage cannot go on, or a task that failed has been put back to
    /// work since.
    async fn is_outdated(&self, store: &Store) -> Result<bool, StoreError> {
        for (stage, state) in self.graph.states() {
            if matches!(state, State::Failed(_)) {
                return Ok(true);
            }
            let known: Vec<&TaskId> = state.failures().iter().map(|f| &f.task).collect();
            if known.is_empty() {
                continue;
            }
            let layout = Layout::new(&self.campaign.id());
            let entries = store.list(&layout.failures(stage)).await?;
            let there: BTreeSet<String> = entries.into_iter().map(|entry| entry.path).collect();
            if known.iter().any(|task| !there.contains(&layout.failure(stage, task))) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn start_planned(&mut self, store: &Store) -> Result<usize, StoreError> {
        let mut started = 0;
        for stage in self.graph.ready() {
            let own = match self.graph.plan(stage) {
                Ok(plan) => plan,
                Err(error) => {
                    self.graph.fail(stage, error.to_string());
                    continue;
                }
            };
            let path = Layout::new(&self.campaign.id()).plan(stage, &own.inputs);
            let Some(plan) = store.get_json::<StagePlan>(&path).await? else { continue };
            if plan.inputs != own.inputs || plan.sources != own.sources {
                let reason = format!("{path}: the stored plan was made from other inputs");
                self.graph.fail(stage, reason);
                continue;
            }
            self.graph.start(plan);
            started += 1;
        }
        Ok(started)
    }

    async fn read_commits(&mut self, store: &Store) -> Result<usize, StoreError> {
        let running: Vec<Stage> = self.graph.running().map(|(stage, _)| stage).collect();
        let layout = &Layout::new(&self.campaign.id());
        let mut found = 0;
        for stage in running {
            let entries = store.list(&layout.commits(stage)).await?;
            let written: BTreeMap<String, SystemTime> =
                entries.into_iter().map(|entry| (entry.path, entry.modified)).collect();
            let awaited = self.graph.running().filter(|(of, _)| *of == stage);
            let awaited = awaited.flat_map(|(_, running)| running.awaited());
            let paths = awaited.map(|(shard, task)| layout.commit(stage, shard, &task));
            let there = paths.filter(|path| written.contains_key(path)).collect();
            for record in commit::read_records(store, there).await? {
                self.graph.commit(record);
                found += 1;
            }
            let known = self.graph.failed(stage);
            for failure in failures::list_but(store, &self.campaign.id(), stage, &known).await? {
                // Committed all the same by another attempt, since the listing above.
                let commit = layout.commit(stage, failure.shard, &failure.task);
                if !store.exists(&commit).await? {
                    found += usize::from(self.graph.give_up(failure));
                }
            }
            self.written.insert(stage, written.into_values().collect());
        }
        Ok(found)
    }
}
