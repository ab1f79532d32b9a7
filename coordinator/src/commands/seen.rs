//! A campaign that a command looks into, complete or not. Nothing is written.

use super::Place;
use anyhow::Context;
use outshine_coordinator::look::Look;
use outshine_coordinator::stage_graph::StageGraph;
use outshine_schemas::campaign::ResolvedCampaign;
use outshine_schemas::outcome::{CommitRecord, FileRecord};
use outshine_schemas::task::{Shard, Stage};
use outshine_store::{Store, Table, commit, parquet};
use outshine_worker::stages::Science;

/// A campaign in its store.
pub struct Seen {
    /// The store.
    pub store: Store,
    /// What it has of the campaign.
    pub look: Look,
    /// The campaign as its file has it now: how the field lies on the sky is no
    /// part of what was stored first.
    pub given: ResolvedCampaign,
    /// The file, for errors.
    pub file: String,
}

impl Seen {
    /// Finds a campaign and reads how far it is.
    ///
    /// # Errors
    /// A campaign or a store that is not there or cannot be read.
    pub async fn find(place: &Place) -> anyhow::Result<Self> {
        let (store, given) = place.find().await?;
        let look = Look::find(&store, &given).await?;
        let mut look = look.with_context(|| place.absent(&given))?;
        look.refresh(&store).await?;
        Ok(Self { store, look, given, file: place.campaign.display().to_string() })
    }

    /// Its stages.
    pub fn graph(&self) -> &StageGraph {
        self.look.graph()
    }

    /// Its name in the store.
    pub fn name(&self) -> String {
        self.look.campaign().id().to_string()
    }

    /// The campaign's models.
    ///
    /// # Errors
    /// Science sections that cannot be used.
    pub fn science(&self) -> anyhow::Result<Science> {
        Science::new(&self.look.campaign().campaign)
            .map_err(|e| anyhow::anyhow!("{}: {}", self.file, e.report()))
    }

    /// What a stage has committed so far, in order of shard.
    pub fn commits(&self, stage: Stage) -> &[CommitRecord] {
        self.graph().state(stage).commits()
    }

    /// What is committed so far of the pixels of `blocks`; and how many of the
    /// blocks are not, with what to do about them.
    pub fn fitted(&self, blocks: Shard) -> (Vec<&CommitRecord>, Option<Unfitted>) {
        let all = self.commits(Stage::Fit);
        let first = all.partition_point(|commit| commit.shard.end <= blocks.start);
        let own = all[first..].iter().take_while(|commit| commit.shard.start < blocks.end);
        let commits: Vec<&CommitRecord> = own.collect();
        let inside = |s: Shard| s.end.min(blocks.end).saturating_sub(s.start.max(blocks.start));
        let done: u64 = commits.iter().map(|commit| inside(commit.shard)).sum();
        let failures = self.graph().state(Stage::Fit).failures();
        let failed = failures.iter().any(|failure| failure.shard.overlaps(blocks));
        let mend =
            if failed { "`outshine retry` tries them again" } else { "`outshine run` goes on" };
        let of = blocks.end - blocks.start;
        (commits, (done < of).then_some(Unfitted { blocks: of - done, of, mend }))
    }

    /// A table that a task made; `columns`: those wanted, or all.
    ///
    /// # Errors
    /// A file that is not there or is damaged.
    pub async fn table(
        &self,
        commit: &CommitRecord,
        name: &str,
        columns: Option<&[&str]>,
    ) -> anyhow::Result<Table> {
        read(&self.store, file(commit, name)?, columns).await
    }
}

/// Blocks of a galaxy's pixels that are not fitted.
pub struct Unfitted {
    /// How many.
    pub blocks: u64,
    /// Of how many.
    pub of: u64,
    /// What the user can do.
    pub mend: &'static str,
}

/// The file of a task.
///
/// # Errors
/// When the task made none of that name.
pub fn file<'a>(commit: &'a CommitRecord, name: &str) -> anyhow::Result<&'a FileRecord> {
    commit.file(name).with_context(|| format!("task {} has no file {name}", commit.task))
}

/// A table in the store.
///
/// # Errors
/// A file that is not there or is damaged.
pub async fn read(
    store: &Store,
    file: &FileRecord,
    columns: Option<&[&str]>,
) -> anyhow::Result<Table> {
    let bytes = commit::read_file(store, file).await?;
    Ok(parquet::decode(&file.path, bytes, columns)?)
}
