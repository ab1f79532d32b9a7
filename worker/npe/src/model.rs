//! A trained estimator: what is stored and shipped.

use crate::coordinates::Coordinates;
use crate::error::NpeError;
use crate::features::FeatureSpec;
use crate::flow::Architecture;
use crate::flow::maf::LAYERS;
use crate::standardisation::Standardisation;
use crate::storage::{Arrays, sha256_hex};
use crate::train::TrainConfig;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const FORMAT: &str = "outshine-npe";
const VERSION: u32 = 1;
const WHAT: &str = "model";

/// How a model was trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingFacts {
    /// Settings.
    pub config: TrainConfig,
    /// Simulations, validation included.
    pub examples: u64,
    /// Epochs run.
    pub epochs: u32,
    /// Epoch (from 1) whose weights these are.
    pub best_epoch: u32,
    /// Mean -ln p(theta | x) over the validation set at that epoch, nats, in the
    /// bounded coordinates.
    pub validation_loss: f64,
}

/// Weights and everything needed to use them.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    pub(crate) architecture: Architecture,
    pub(crate) coordinates: Coordinates,
    pub(crate) features: FeatureSpec,
    pub(crate) standardisation: Standardisation,
    pub(crate) weights: Vec<Vec<f32>>,
    pub(crate) training: TrainingFacts,
    provenance: BTreeMap<String, String>,
}

/// The JSON document beside the weights.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Card {
    format: String,
    version: u32,
    architecture: Architecture,
    coordinates: Coordinates,
    features: FeatureSpec,
    training: TrainingFacts,
    weights_sha256: String,
    #[serde(default)]
    provenance: BTreeMap<String, String>,
}

impl Model {
    pub(crate) fn new(
        architecture: Architecture,
        coordinates: Coordinates,
        features: FeatureSpec,
        standardisation: Standardisation,
        weights: Vec<Vec<f32>>,
        training: TrainingFacts,
        provenance: BTreeMap<String, String>,
    ) -> Self {
        Self { architecture, coordinates, features, standardisation, weights, training, provenance }
    }

    /// Size of the flow.
    #[must_use]
    pub fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// The prior box.
    #[must_use]
    pub fn coordinates(&self) -> &Coordinates {
        &self.coordinates
    }

    /// Bands and features.
    #[must_use]
    pub fn features(&self) -> &FeatureSpec {
        &self.features
    }

    /// How it was trained.
    #[must_use]
    pub fn training(&self) -> &TrainingFacts {
        &self.training
    }

    /// What the caller wants to remember with the model: priors, digests, noise.
    #[must_use]
    pub fn provenance(&self) -> &BTreeMap<String, String> {
        &self.provenance
    }

    /// Number of weights, masked ones included.
    #[must_use]
    pub fn weight_count(&self) -> usize {
        self.weights.iter().map(Vec::len).sum()
    }

    /// The arrays, as a safetensors file.
    #[must_use]
    pub fn to_safetensors(&self) -> Vec<u8> {
        let mut arrays = Arrays::default();
        put_standardisation(&mut arrays, &self.architecture, &self.standardisation);
        put_weights(&mut arrays, &self.architecture, "", &self.weights);
        arrays.to_bytes(FORMAT, VERSION, ())
    }

    /// The card: architecture, coordinates, features, training, provenance.
    #[must_use]
    pub fn to_json(&self) -> String {
        let card = Card {
            format: FORMAT.into(),
            version: VERSION,
            architecture: self.architecture,
            coordinates: self.coordinates.clone(),
            features: self.features.clone(),
            training: self.training.clone(),
            weights_sha256: sha256_hex(&self.to_safetensors()),
            provenance: self.provenance.clone(),
        };
        let mut text = serde_json::to_string_pretty(&card).expect("plain data is always JSON");
        text.push('\n');
        text
    }

    /// Reads a model back.
    ///
    /// # Errors
    /// [`NpeError::Unreadable`] when either part is truncated, corrupt, of an
    /// unknown version, or does not belong to the other.
    pub fn from_parts(json: &str, safetensors: &[u8]) -> Result<Self, NpeError> {
        let bad = |why: String| NpeError::Unreadable { what: WHAT, why };
        #[derive(Deserialize)]
        struct Head {
            format: String,
            version: u32,
        }
        let head: Head = serde_json::from_str(json).map_err(|e| bad(format!("its card: {e}")))?;
        if head.format != FORMAT || head.version != VERSION {
            return Err(bad(format!(
                "its card is `{}` version {}, this program reads `{FORMAT}` version {VERSION}",
                head.format, head.version
            )));
        }
        let card: Card = serde_json::from_str(json).map_err(|e| bad(format!("its card: {e}")))?;
        let (mut arrays, ()) = Arrays::from_bytes(WHAT, FORMAT, VERSION, safetensors)?;
        if sha256_hex(safetensors) != card.weights_sha256 {
            return Err(bad("card and weights do not belong together".into()));
        }
        let shape = card.architecture;
        check_shape(WHAT, &shape, &card.coordinates, &card.features)?;
        card.training.config.validate()?;
        let standardisation = take_standardisation(WHAT, &mut arrays, &shape)?;
        let weights = take_weights(WHAT, &mut arrays, &shape, "")?;
        Ok(Self {
            architecture: shape,
            coordinates: card.coordinates,
            features: card.features,
            standardisation,
            weights,
            training: card.training,
            provenance: card.provenance,
        })
    }
}

/// Checks that stored sizes agree with each other and are sane.
pub(crate) fn check_shape(
    what: &'static str,
    shape: &Architecture,
    coordinates: &Coordinates,
    features: &FeatureSpec,
) -> Result<(), NpeError> {
    coordinates.validate()?;
    features.validate()?;
    let fits = shape.dims == coordinates.len()
        && shape.features == features.len()
        && (1..=1024).contains(&shape.blocks)
        && (shape.dims..=65_536).contains(&shape.hidden);
    if fits {
        return Ok(());
    }
    let why = format!("architecture {shape:?} does not fit its coordinates and features");
    Err(NpeError::Unreadable { what, why })
}

pub(crate) fn put_weights(
    arrays: &mut Arrays,
    shape: &Architecture,
    prefix: &str,
    weights: &[Vec<f32>],
) {
    for (k, values) in weights.iter().enumerate() {
        let (rows, cols) = shape.layer_shape(k % LAYERS);
        let name = format!("{prefix}{}", Architecture::layer_name(k / LAYERS, k % LAYERS));
        arrays.put_f32(&name, vec![rows, cols], values);
    }
}

pub(crate) fn take_weights(
    what: &'static str,
    arrays: &mut Arrays,
    shape: &Architecture,
    prefix: &str,
) -> Result<Vec<Vec<f32>>, NpeError> {
    let mut weights = Vec::new();
    for k in 0..shape.blocks * LAYERS {
        let (rows, cols) = shape.layer_shape(k % LAYERS);
        let name = format!("{prefix}{}", Architecture::layer_name(k / LAYERS, k % LAYERS));
        weights.push(arrays.take_f32(what, &name, &[rows, cols])?);
    }
    Ok(weights)
}

pub(crate) fn put_standardisation(
    arrays: &mut Arrays,
    shape: &Architecture,
    standard: &Standardisation,
) {
    let (d, c) = (shape.dims, shape.features);
    arrays.put_f32("features.mean", vec![c], &standard.mean);
    arrays.put_f32("features.inverse_scale", vec![c], &standard.inverse_scale);
    arrays.put_f64("crude.weight", vec![d, c + 1], &standard.weight);
    arrays.put_f64("crude.spread", vec![d], &standard.spread);
}

pub(crate) fn take_standardisation(
    what: &'static str,
    arrays: &mut Arrays,
    shape: &Architecture,
) -> Result<Standardisation, NpeError> {
    let (d, c) = (shape.dims, shape.features);
    Ok(Standardisation {
        mean: arrays.take_f32(what, "features.mean", &[c])?,
        inverse_scale: arrays.take_f32(what, "features.inverse_scale", &[c])?,
        weight: arrays.take_f64(what, "crude.weight", &[d, c + 1])?,
        spread: arrays.take_f64(what, "crude.spread", &[d])?,
    })
}
