//! Task to science to tables: one file per kind of task.

mod blocks;
mod calibrate;
mod catalogue;
mod draws;
mod error;
mod examples;
mod field;
mod fit;
mod model;
pub(crate) mod parallel;
mod progress;
mod redshifts;
mod reduce;
mod scarce;
mod science;
mod shipped;
mod simulate;
mod simulated;
mod table;
mod train;
pub mod typical;
mod upstream;

pub use draws::{Drawer, truth};
pub use error::{RetryClass, StageError};
pub use science::Science;

use crate::runtime::board::Board;
use bytes::Bytes;
use outshine_schemas::campaign::ResolvedCampaign;
use outshine_schemas::outcome::Facts;
use outshine_schemas::task::{Stage, Task};
use outshine_store::Store;
use std::sync::Arc;

/// A task and all that is needed to do it.
#[derive(Clone)]
pub struct Job {
    /// Where inputs are read.
    pub store: Store,
    /// What to do.
    pub task: Task,
    /// The campaign it belongs to.
    pub campaign: Arc<ResolvedCampaign>,
    /// The campaign's models, ready to use.
    pub science: Arc<Science>,
    /// Threads that the task may use.
    pub threads: usize,
    /// Where it tells how far it is.
    pub board: Board,
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

/// Does the task.
///
/// # Errors
/// [`StageError`], whose class says whether another try may help.
pub async fn run(job: &Job) -> Result<Outcome, StageError> {
    match job.task.stage {
        Stage::Field => field::run(job).await,
        Stage::Simulate => simulate::run(job).await,
        Stage::Train => train::run(job).await,
        Stage::Calibrate => calibrate::run(job).await,
        Stage::Fit => fit::run(job).await,
        Stage::Reduce => reduce::run(job).await,
        Stage::Catalogue => catalogue::run(job).await,
    }
}

/// Runs science on a thread of its own, away from the async threads.
async fn compute<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StageError> + Send + 'static,
) -> Result<T, StageError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| StageError::Permanent(format!("the computation panicked: {e}")))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use outshine_npe::{Sampler, train_span};
    use outshine_schemas::campaign::Campaign;
    use outshine_schemas::digest::Digest;
    use outshine_schemas::task::Shard;
    use std::ops::ControlFlow;
    use std::path::Path;

    /// A task of the campaign with that text, over an empty store.
    pub async fn job(text: &str, stage: Stage, shard: Shard) -> Job {
        let campaign = Campaign::parse(text, "c.toml", Path::new("."), &[]).unwrap();
        let science = Arc::new(Science::new(&campaign).unwrap());
        let campaign = Arc::new(ResolvedCampaign::new(campaign, None, None));
        let inputs = Digest::of(b"");
        Job {
            store: outshine_store::open("memory:").await.unwrap(),
            task: Task::new(campaign.id(), campaign.digest(), stage, shard, inputs),
            campaign,
            science,
            threads: 2,
            board: Board::default(),
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
