//! A campaign that is looked at from outside, once or from time to time. Nothing
//! is written.

use crate::progress::{self, By};
use crate::stage_graph::{StageGraph, State};
use outshine_schemas::campaign::ResolvedCampaign;
use outshine_schemas::ids::TaskId;
use outshine_store::layout::Layout;
use outshine_store::{Store, StoreError};
use std::collections::BTreeSet;

/// A campaign as the store has it. What was read before is not read again.
#[derive(Debug)]
pub struct Look {
    campaign: ResolvedCampaign,
    graph: StageGraph,
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
        Ok(Some(Self { campaign, graph }))
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

    /// Takes in all that is new.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn refresh(&mut self, store: &Store) -> Result<(), StoreError> {
        if self.is_outdated(store).await? {
            self.graph = StageGraph::new(self.campaign.clone());
        }
        let id = self.campaign.id();
        progress::look(store, &id, &mut self.graph, By::Reader).await.map(drop)
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
}
