//! A trained estimator: what is stored and shipped.

use crate::coordinates::Coordinates;
use crate::density::{Density, DensitySpec, NAMES, Target};
use crate::error::NpeError;
use crate::features::FeatureSpec;
use crate::recalibration::Recalibration;
use crate::storage::{Arrays, sha256_hex};
use crate::train::TrainConfig;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const FORMAT: &str = "outshine-npe";
const VERSION: u32 = 3;
/// Oldest version that is read: the same, without recalibration.
const OLDEST: u32 = 2;
const WHAT: &str = "model";

/// How a model was trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingFacts {
    /// Settings.
    pub config: TrainConfig,
    /// Simulations per epoch, validation included.
    pub examples: u64,
    /// Epochs run.
    pub epochs: u32,
    /// Epoch (from 1) whose weights these are.
    pub best_epoch: u32,
    /// Mean -ln p over the validation set at that epoch, nats, in the bounded
    /// coordinates: of the parameters given the redshift, plus that of the
    /// redshift if the model has one.
    pub validation_loss: f64,
}

/// Weights and everything needed to use them.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    pub(crate) target: Target,
    /// p(parameters | fluxes, redshift), and p(redshift | fluxes) if there is one.
    pub(crate) densities: Vec<Density>,
    /// Of the parameters' density.
    pub(crate) recalibration: Option<Recalibration>,
    pub(crate) training: TrainingFacts,
    provenance: BTreeMap<String, String>,
}

/// The JSON document beside the weights.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Card {
    format: String,
    version: u32,
    target: Target,
    densities: Vec<DensitySpec>,
    training: TrainingFacts,
    weights_sha256: String,
    #[serde(default)]
    provenance: BTreeMap<String, String>,
}

impl Model {
    pub(crate) fn new(
        target: Target,
        densities: Vec<Density>,
        training: TrainingFacts,
        provenance: BTreeMap<String, String>,
    ) -> Self {
        Self { target, densities, recalibration: None, training, provenance }
    }

    /// The prior box.
    #[must_use]
    pub fn coordinates(&self) -> &Coordinates {
        &self.target.coordinates
    }

    /// Range of redshifts that training saw.
    #[must_use]
    pub fn redshift_range(&self) -> (f64, f64) {
        self.target.redshift
    }

    /// Whether it can fit objects of unknown redshift.
    #[must_use]
    pub fn knows_redshift(&self) -> bool {
        self.densities.len() > 1
    }

    /// Bands and features.
    #[must_use]
    pub fn features(&self) -> &FeatureSpec {
        &self.target.features
    }

    /// How widths of the parameters' posterior are corrected, if they are.
    #[must_use]
    pub fn recalibration(&self) -> Option<&Recalibration> {
        self.recalibration.as_ref()
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
        self.densities.iter().flat_map(|d| &d.weights).map(Vec::len).sum()
    }

    /// The arrays, as a safetensors file.
    #[must_use]
    pub fn to_safetensors(&self) -> Vec<u8> {
        let mut arrays = Arrays::default();
        for (density, name) in self.densities.iter().zip(NAMES) {
            let prefix = format!("{name}.");
            density.spec.put_standardisation(&mut arrays, &prefix, &density.standardisation);
            density.spec.put_weights(&mut arrays, &prefix, &density.weights);
        }
        if let Some(recalibration) = &self.recalibration {
            recalibration.put(&mut arrays);
        }
        arrays.to_bytes(FORMAT, VERSION, ())
    }

    /// The card: target, densities, training, provenance.
    #[must_use]
    pub fn to_json(&self) -> String {
        let card = Card {
            format: FORMAT.into(),
            version: VERSION,
            target: self.target.clone(),
            densities: self.densities.iter().map(|d| d.spec.clone()).collect(),
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
        if head.format != FORMAT || !(OLDEST..=VERSION).contains(&head.version) {
            return Err(bad(format!(
                "its card is `{}` version {}, this program reads `{FORMAT}` version {OLDEST} to {VERSION}",
                head.format, head.version
            )));
        }
        let mut card: Card =
            serde_json::from_str(json).map_err(|e| bad(format!("its card: {e}")))?;
        if head.version == OLDEST {
            card.training.config.recalibration_passes = 0;
        }
        let (mut arrays, ()) = Arrays::from_bytes(WHAT, FORMAT, head.version, safetensors)?;
        if sha256_hex(safetensors) != card.weights_sha256 {
            return Err(bad("card and weights do not belong together".into()));
        }
        card.target.validate()?;
        card.training.config.validate()?;
        if card.densities.is_empty() || card.densities.len() > NAMES.len() {
            return Err(bad(format!("its card lists {} densities", card.densities.len())));
        }
        let mut densities = Vec::new();
        for (spec, name) in card.densities.into_iter().zip(NAMES) {
            spec.check(WHAT, &card.target.features)?;
            let prefix = format!("{name}.");
            let standardisation = spec.take_standardisation(WHAT, &mut arrays, &prefix)?;
            let weights = spec.take_weights(WHAT, &mut arrays, &prefix)?;
            densities.push(Density { spec, standardisation, weights });
        }
        let coordinates = &card.target.coordinates;
        let recalibration = Recalibration::take(WHAT, &mut arrays, coordinates)?;
        Ok(Self {
            target: card.target,
            densities,
            recalibration,
            training: card.training,
            provenance: card.provenance,
        })
    }
}
