//! The campaign's trained model.

use super::{Job, StageError, upstream};
use outshine_npe::{Model, Sampler};
use outshine_schemas::digest::Digest;

/// Architecture, coordinates, features and provenance, in versioned JSON.
pub const DESCRIPTION: &str = "model.json";
/// The weights.
pub const WEIGHTS: &str = "model.safetensors";

/// A model ready to draw from, and its digest.
pub struct Trained {
    /// Makes draws.
    pub sampler: Sampler,
    /// Digest of description and weights.
    pub digest: Digest,
}

/// Loads the model of the finished training.
pub async fn load(job: &Job) -> Result<Trained, StageError> {
    let commit = upstream::span(job, None).await?;
    let description = upstream::file(job, &commit, DESCRIPTION).await?;
    let weights = upstream::file(job, &commit, WEIGHTS).await?;
    let text = std::str::from_utf8(&description)
        .map_err(|e| StageError::Permanent(format!("{DESCRIPTION}: {e}")))?;
    let model = Model::from_parts(text, &weights)?;
    let digest = Digest::of_parts([description.as_ref(), weights.as_ref()]);
    Ok(Trained { sampler: Sampler::new(&model), digest })
}
