//! Stage train: one span of epochs, from the checkpoint of the span before.

use super::examples::Simulations;
use super::simulate::SIMULATIONS;
use super::{Job, Outcome, StageError, compute, model, shipped, upstream};
use bytes::Bytes;
use outshine_npe::{Checkpoint, recalibrated, train_span};
use outshine_schemas::campaign::Estimator;
use outshine_schemas::outcome::chain;
use outshine_schemas::task::Stage;
use outshine_store::parquet;
use std::ops::ControlFlow;

/// The state that the next span starts from.
pub const CHECKPOINT: &str = "checkpoint.safetensors";

pub async fn run(job: &Job) -> Result<Outcome, StageError> {
    let campaign = &job.campaign.campaign;
    if campaign.estimator != Estimator::Train {
        return adopt(job).await;
    }
    let commits = upstream::commits_over(job, Stage::Simulate, None).await?;
    let mut inputs = chain(&commits);
    let from = match job.task.shard.start {
        0 => None,
        end => {
            let previous = upstream::span(job, Some(end)).await?;
            inputs = chain([&previous]);
            let bytes = upstream::file(job, &previous, CHECKPOINT).await?;
            Some(Checkpoint::from_bytes(&bytes)?)
        }
    };
    if inputs != job.task.inputs {
        return Err(StageError::Permanent(format!(
            "training would start from {}, the message asks for {}: a message of another run",
            inputs.short(),
            job.task.inputs.short()
        )));
    }
    let mut data = Simulations::new(job.science.clone(), campaign);
    for commit in &commits {
        let bytes = upstream::file(job, commit, SIMULATIONS).await?;
        data.extend(&parquet::decode(SIMULATIONS, bytes, None)?, &campaign.bands)?;
    }
    if campaign.simulate.fresh {
        data.keep_making()?;
    }
    let job = job.clone();
    compute(move || train(&job, &data, from)).await
}

/// Takes over an estimator that was trained before: the campaign keeps its own
/// copy, so that nothing changes under it.
async fn adopt(job: &Job) -> Result<Outcome, StageError> {
    let [description, weights] = match &job.campaign.estimator {
        Some([description, weights]) => {
            let layout = upstream::layout(job);
            [
                job.store.get(&layout.input(description)).await?,
                job.store.get(&layout.input(weights)).await?,
            ]
        }
        None => shipped::files(job.science.prior.sfh)?,
    };
    let model = model::read(&description, &weights)?;
    shipped::check(&job.science, &model)?;
    let mut outcome = Outcome::default();
    outcome.file(model::DESCRIPTION, description, 0);
    outcome.file(model::WEIGHTS, weights, 0);
    outcome.fact("finished", true);
    outcome.fact("epochs", model.training().epochs);
    outcome.fact("best_validation_loss", model.training().validation_loss);
    Ok(outcome)
}

fn train(job: &Job, data: &Simulations, from: Option<Checkpoint>) -> Result<Outcome, StageError> {
    let science = &job.science;
    let shard = job.task.shard;
    let epochs = u32::try_from(shard.len())
        .map_err(|_| StageError::Permanent(format!("a span of {} epochs", shard.len())))?;
    let part = |epoch: f64| epoch / f64::from(science.train.max_epochs);
    let begins = shard.start as f64;
    job.board.tell(&job.task.id, part(begins), format!("after epoch {begins}"));
    let checkpoint =
        train_span(&science.train, &science.target, data, from, epochs, job.threads, &mut |p| {
            job.board.tell(
                &job.task.id,
                part(f64::from(p.epoch)),
                format!(
                    "epoch {}: loss {:.3}, validation {:.3} (best {:.3})",
                    p.epoch, p.train_loss, p.validation_loss, p.best_validation_loss
                ),
            );
            ControlFlow::Continue(())
        })?;
    let mut outcome = Outcome::default();
    outcome.file(CHECKPOINT, Bytes::from(checkpoint.to_bytes()), 0);
    outcome.fact("finished", checkpoint.finished());
    outcome.fact("epochs", checkpoint.history().len());
    let best = checkpoint.best_validation_loss();
    outcome.fact("best_validation_loss", best);
    if checkpoint.finished() {
        let trained = checkpoint.model(science.provenance.clone());
        let (passes, snr) = (science.train.recalibration_passes, science.train.recalibration_snr);
        let trained = recalibrated(trained, data, passes, snr, job.threads)?;
        outcome.file(model::DESCRIPTION, Bytes::from(trained.to_json()), 0);
        outcome.file(model::WEIGHTS, Bytes::from(trained.to_safetensors()), 0);
    }
    Ok(outcome)
}
