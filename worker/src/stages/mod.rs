//! Task to science to tables: one file per kind of task.

pub mod again;
mod blocks;
pub(crate) mod calibrate;
mod catalogue;
mod cross;
mod draws;
mod error;
mod examples;
mod field;
mod fit;
mod fit_summaries;
mod judge;
mod kept;
mod model;
pub(crate) mod parallel;
mod progress;
mod redshifts;
mod reduce;
pub(crate) mod refine;
mod scarce;
mod science;
mod shipped;
mod simulate;
mod simulated;
pub(crate) mod table;
mod train;
pub mod typical;
pub mod upstream;

pub use draws::{Drawer, Draws, truth};
pub use error::{RetryClass, StageError};
pub use examples::Simulations;
pub use field::{CHUNK_BLOCKS, field_file};
pub use model::model_digest;
pub use refine::{Refined, Refiner};
pub use science::Science;
pub use simulated::Simulated;

use crate::runtime::{Assignment, Kernel};
use async_trait::async_trait;
use bytes::Bytes;
use outshine_schemas::ids::CampaignId;
use outshine_schemas::outcome::Facts;
use outshine_schemas::provenance;
use outshine_schemas::task::Stage;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;
use tokio::sync::Mutex;

/// A task and all that is needed to do it.
#[derive(Clone)]
pub struct Job {
    /// The task, its campaign, and where its inputs are.
    pub assignment: Assignment,
    /// The campaign's models, ready to use.
    pub science: Arc<Science>,
}

impl Deref for Job {
    type Target = Assignment;

    fn deref(&self) -> &Assignment {
        &self.assignment
    }
}

impl Job {
    /// Where what the task makes comes from: its campaign, the campaign's input,
    /// and the science.
    fn about(&self) -> BTreeMap<String, String> {
        let campaign = &self.campaign;
        let mut about = self.science.provenance.clone();
        let mut say = |key: &str, value: String| about.insert(key.to_owned(), value);
        say(provenance::CAMPAIGN, campaign.id().to_string());
        say(provenance::CAMPAIGN_DIGEST, campaign.digest().to_string());
        for (key, digest) in [
            (provenance::PIXELS, &campaign.pixels),
            (provenance::SOURCES, &campaign.sources),
            (provenance::REDSHIFTS, &campaign.redshifts),
        ] {
            if let Some(digest) = digest {
                say(key, digest.to_string());
            }
        }
        about
    }
}

/// The science of the project, with the models of the last campaign: made once
/// for all tasks of a worker.
#[derive(Default)]
pub struct Stages(Mutex<Option<(CampaignId, Arc<Science>)>>);

impl Stages {
    async fn science(&self, assignment: &Assignment) -> Result<Arc<Science>, StageError> {
        // Held while they are made: tasks that need them first make them once.
        let mut made = self.0.lock().await;
        let id = &assignment.task.campaign;
        if let Some((_, science)) = made.as_ref().filter(|(of, _)| of == id) {
            return Ok(science.clone());
        }
        let campaign = assignment.campaign.clone();
        let science = compute(move || Science::new(&campaign.campaign)).await?;
        let science = Arc::new(science);
        *made = Some((id.clone(), science.clone()));
        Ok(science)
    }
}

#[async_trait]
impl Kernel for Stages {
    async fn run(&self, assignment: Assignment) -> Result<Outcome, StageError> {
        let science = self.science(&assignment).await?;
        let job = Job { assignment, science };
        match job.task.stage {
            Stage::Field => field::run(&job).await,
            Stage::Simulate => simulate::run(&job).await,
            Stage::Train => train::run(&job).await,
            Stage::Calibrate => calibrate::run(&job).await,
            Stage::Fit => fit::run(&job).await,
            Stage::Reduce => reduce::run(&job).await,
            Stage::Catalogue => catalogue::run(&job).await,
        }
    }
}

/// What a task made, not stored yet.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Files: name, content and number of rows (0 for what is no table).
    pub files: Vec<(String, Bytes, u64)>,
    /// What later stages and people are told.
    pub facts: Facts,
}

impl Outcome {
    fn file(&mut self, name: &str, bytes: Bytes, rows: u64) {
        self.files.push((name.to_owned(), bytes, rows));
    }

    fn fact(&mut self, name: &str, value: impl Into<serde_json::Value>) {
        self.facts.insert(name.to_owned(), value.into());
    }
}

/// Runs science on a thread of its own, away from the async threads.
async fn compute<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StageError> + Send + 'static,
) -> Result<T, StageError> {
    // What it logs belongs to the task, too.
    let span = tracing::Span::current();
    tokio::task::spawn_blocking(move || span.in_scope(work))
        .await
        .map_err(|e| StageError::Permanent(format!("the computation panicked: {e}")))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Plans;
    use crate::runtime::board::Board;
    use outshine_npe::{Sampler, train_span};
    use outshine_schemas::campaign::{Campaign, ResolvedCampaign};
    use outshine_schemas::digest::Digest;
    use outshine_schemas::ids::TaskId;
    use outshine_schemas::outcome::{CommitRecord, StagePlan};
    use outshine_schemas::task::{Shard, Task};
    use outshine_store::commit::{self, Draft, NewFile};
    use std::ops::ControlFlow;
    use std::path::Path;

    /// A task of the campaign with that text, over an empty store.
    pub async fn job(text: &str, stage: Stage, shard: Shard) -> Job {
        let campaign = Campaign::parse(text, "c.toml", Path::new("."), &[]).unwrap();
        let science = Arc::new(Science::new(&campaign).unwrap());
        let campaign = Arc::new(ResolvedCampaign::new(campaign, None, None));
        let inputs = Digest::of(b"");
        let assignment = Assignment {
            store: outshine_store::open("memory:").await.unwrap(),
            task: Task::new(campaign.id(), campaign.digest(), stage, shard, inputs),
            campaign,
            threads: 2,
            board: Board::default(),
            plans: Plans::default(),
        };
        Job { assignment, science }
    }

    /// Stores the plan of a stage that is made from `inputs`.
    pub async fn plan(job: &Job, stage: Stage, inputs: &Digest, shards: Vec<Shard>) {
        let plan = StagePlan {
            version: outshine_schemas::FORMAT_VERSION,
            stage,
            inputs: inputs.clone(),
            data: inputs.clone(),
            sources: Vec::new(),
            shards,
        };
        let path = upstream::layout(job).plan(stage, inputs);
        job.store.put_json(&path, &plan).await.unwrap();
    }

    /// Commits the task of a shard with these facts and files.
    pub async fn commit(
        job: &Job,
        (stage, shard, inputs): (Stage, Shard, &Digest),
        facts: serde_json::Value,
        files: Vec<NewFile>,
    ) -> CommitRecord {
        let layout = upstream::layout(job);
        let id = TaskId::derive(&job.task.campaign_digest, stage, shard, inputs);
        let draft = Draft {
            task: id.clone(),
            stage,
            shard,
            inputs: inputs.clone(),
            facts: facts.as_object().unwrap().clone(),
            code_version: String::new(),
            seconds: 1.0,
            worker: String::new(),
        };
        let put = commit::publish_attempt(&job.store, &layout, "a", draft, files);
        let _ = put.await.unwrap();
        commit::read_commit(&job.store, &layout, stage, shard, &id).await.unwrap().unwrap()
    }

    /// Removes all commits of a stage.
    pub async fn uncommit(job: &Job, stage: Stage) {
        for entry in job.store.list(&upstream::layout(job).commits(stage)).await.unwrap() {
            job.store.delete(&entry.path).await.unwrap();
        }
    }

    /// A sampler trained for `epochs` on the simulations of the job's shard.
    pub fn trained(job: &Job, epochs: u32) -> Sampler {
        let made = simulate::simulate(job).unwrap();
        let name = simulate::SIMULATIONS;
        let table = outshine_store::parquet::decode(name, made.files[0].1.clone(), None).unwrap();
        let mut data = examples::Simulations::new(job.science.clone(), &job.campaign.campaign);
        data.extend(&table, &job.campaign.campaign.bands).unwrap();
        let (science, threads) = (&job.science, job.threads);
        let watch = &mut |_: &outshine_npe::Progress| ControlFlow::Continue(());
        let (config, target) = (&science.train, &science.target);
        let end = train_span(config, target, &data, None, epochs, threads, watch).unwrap();
        Sampler::new(&end.model(science.provenance.clone()))
    }
}
