//! The campaign's trained model.

use super::{Job, StageError, upstream};
use outshine_npe::{Model, Sampler};
use outshine_schemas::campaign::MODEL_FILES;
use outshine_schemas::digest::Digest;
use std::sync::Arc;

/// Architecture, coordinates, features and provenance, in versioned JSON.
pub const DESCRIPTION: &str = MODEL_FILES[0];
/// The weights.
pub const WEIGHTS: &str = MODEL_FILES[1];

/// A model ready to draw from, and its digest.
pub struct Trained {
    /// Makes draws.
    pub sampler: Sampler,
    /// Digest of description and weights.
    pub digest: Digest,
}

/// A model from its two files.
pub fn read(description: &[u8], weights: &[u8]) -> Result<Model, StageError> {
    let text = std::str::from_utf8(description)
        .map_err(|e| StageError::Permanent(format!("{DESCRIPTION}: {e}")))?;
    Ok(Model::from_parts(text, weights)?)
}

/// The model of the finished training: read from the store once, however many
/// tasks a process does, as long as it is that model.
pub async fn load(job: &Job) -> Result<Arc<Trained>, StageError> {
    let mut kept = job.science.trained.lock().await;
    let inputs = &job.task.inputs;
    if let Some(trained) = kept.by_inputs(inputs) {
        return Ok(trained);
    }
    let commit = upstream::span(job, None).await?;
    if let Some(trained) = kept.by_commit(inputs, &commit) {
        return Ok(trained);
    }
    let description = upstream::file(job, &commit, DESCRIPTION).await?;
    let weights = upstream::file(job, &commit, WEIGHTS).await?;
    let model = read(&description, &weights)?;
    let digest = model_digest(&description, &weights);
    Ok(kept.keep(inputs, &commit, Trained { sampler: Sampler::new(&model), digest }))
}

/// The digest of a model, from its two files.
#[must_use]
pub fn model_digest(description: &[u8], weights: &[u8]) -> Digest {
    Digest::of_parts([description, weights])
}
