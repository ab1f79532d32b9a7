//! Everything that training needs to go on where it stopped.

use crate::density::{Density, DensitySpec, NAMES, Target};
use crate::error::NpeError;
use crate::model::{Model, TrainingFacts};
use crate::standardisation::Standardisation;
use crate::storage::Arrays;
use crate::train::{Moments, TrainConfig, Turn, turned};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const FORMAT: &str = "outshine-checkpoint";
const VERSION: u32 = 3;
const WHAT: &str = "checkpoint";

/// One finished epoch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochRecord {
    /// Epochs finished, this one included.
    pub epoch: u32,
    /// Learning rate at its end.
    pub learning_rate: f64,
    /// Mean -ln p over the epoch's training examples, as the weights went, nats.
    pub train_loss: f64,
    /// Mean -ln p over the validation set after it, nats.
    pub validation_loss: f64,
}

/// The state of a training run between two epochs.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    pub(crate) state: State,
    pub(crate) densities: Vec<DensityState>,
}

/// A density in training.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DensityState {
    pub spec: DensitySpec,
    pub standardisation: Standardisation,
    pub weights: Vec<Vec<f32>>,
    pub moments: Vec<Moments>,
    pub best_weights: Vec<Vec<f32>>,
}

/// The part of a checkpoint that is not arrays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    pub config: TrainConfig,
    pub target: Target,
    pub densities: Vec<DensitySpec>,
    pub examples: u64,
    /// Optimiser steps taken.
    pub step: u64,
    /// Epoch (from 1) of the best weights; 0 before the first epoch.
    pub best_epoch: u32,
    pub history: Vec<EpochRecord>,
}

impl Checkpoint {
    /// Epochs finished.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.state.history.len() as u32
    }

    /// Whether training has reached its last epoch or run out of patience.
    #[must_use]
    pub fn finished(&self) -> bool {
        let config = &self.state.config;
        self.epoch() >= config.max_epochs || self.epoch() - self.state.best_epoch >= config.patience
    }

    /// One record per finished epoch.
    #[must_use]
    pub fn history(&self) -> &[EpochRecord] {
        &self.state.history
    }

    /// Epoch (from 1) with the lowest validation loss so far; 0 before the first.
    #[must_use]
    pub fn best_epoch(&self) -> u32 {
        self.state.best_epoch
    }

    /// Lowest validation loss so far; infinite before the first epoch.
    #[must_use]
    pub fn best_validation_loss(&self) -> f64 {
        let best = self.state.best_epoch.checked_sub(1);
        best.map_or(f64::INFINITY, |k| self.state.history[k as usize].validation_loss)
    }

    /// The model with the best weights so far. `provenance`: what the caller
    /// wants to keep with it, such as priors and digests.
    #[must_use]
    pub fn model(&self, provenance: BTreeMap<String, String>) -> Model {
        let training = TrainingFacts {
            config: self.state.config.clone(),
            examples: self.state.examples,
            epochs: self.epoch(),
            best_epoch: self.state.best_epoch,
            validation_loss: self.best_validation_loss(),
        };
        let densities = self.densities.iter().map(|d| Density {
            spec: d.spec.clone(),
            standardisation: d.standardisation.clone(),
            weights: d.best_weights.clone(),
        });
        Model::new(self.state.target.clone(), densities.collect(), training, provenance)
    }

    /// The checkpoint as a file: safetensors with versioned JSON metadata.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut arrays = Arrays::default();
        for (density, name) in self.densities.iter().zip(NAMES) {
            let spec = &density.spec;
            let prefix = |kind: &str| format!("{name}.{kind}");
            spec.put_standardisation(&mut arrays, &prefix(""), &density.standardisation);
            spec.put_weights(&mut arrays, &prefix("now."), &density.weights);
            put_moments(&mut arrays, name, spec, &density.moments);
            spec.put_weights(&mut arrays, &prefix("best."), &density.best_weights);
        }
        arrays.to_bytes(FORMAT, VERSION, self.state.clone())
    }

    /// Reads a checkpoint back.
    ///
    /// # Errors
    /// [`NpeError::Unreadable`] when the bytes are truncated, corrupt or of an
    /// unknown version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NpeError> {
        let (mut arrays, state): (Arrays, State) =
            Arrays::from_bytes(WHAT, FORMAT, VERSION, bytes)?;
        let bad = |why: &str| Err(NpeError::Unreadable { what: WHAT, why: why.into() });
        state.target.validate()?;
        state.config.validate()?;
        if state.best_epoch as usize > state.history.len() {
            return bad("its best epoch lies beyond its history");
        }
        if state.densities != state.target.densities(&state.config)? {
            return bad("its densities are not those of its settings");
        }
        let mut densities = Vec::new();
        for (spec, name) in state.densities.iter().zip(NAMES) {
            let prefix = |kind: &str| format!("{name}.{kind}");
            densities.push(DensityState {
                spec: spec.clone(),
                standardisation: spec.take_standardisation(WHAT, &mut arrays, &prefix(""))?,
                weights: spec.take_weights(WHAT, &mut arrays, &prefix("now."))?,
                moments: take_moments(&mut arrays, name, spec)?,
                best_weights: spec.take_weights(WHAT, &mut arrays, &prefix("best."))?,
            });
        }
        Ok(Self { state, densities })
    }
}

/// Names of the directions of a layer's rows and columns.
const SIDES: [&str; 2] = ["left", "right"];

fn put_moments(arrays: &mut Arrays, name: &str, spec: &DensitySpec, moments: &[Moments]) {
    for (layer, m) in spec.layers().iter().zip(moments) {
        let shape = || vec![layer.rows, layer.cols];
        let at = |kind: &str| format!("{name}.{kind}.{}", layer.name);
        arrays.put_f32(&at("first"), shape(), &m.first);
        arrays.put_f32(&at("second"), shape(), &m.second);
        for (side, turn) in SIDES.iter().zip(m.turns.iter().flatten()) {
            let n = turn.covariance.len().isqrt();
            arrays.put_f32(&at(&format!("{side}.covariance")), vec![n, n], &turn.covariance);
            arrays.put_f32(&at(&format!("{side}.directions")), vec![n, n], &turn.directions);
        }
    }
}

fn take_moments(
    arrays: &mut Arrays,
    name: &str,
    spec: &DensitySpec,
) -> Result<Vec<Moments>, NpeError> {
    let mut moments = Vec::new();
    for layer in spec.layers() {
        let mut take = |kind: &str, rows: usize, cols: usize| {
            arrays.take_f32(WHAT, &format!("{name}.{kind}.{}", layer.name), &[rows, cols])
        };
        let first = take("first", layer.rows, layer.cols)?;
        let second = take("second", layer.rows, layer.cols)?;
        let mut turn = |side: &str, n: usize| {
            Ok::<_, NpeError>(Turn {
                covariance: take(&format!("{side}.covariance"), n, n)?,
                directions: take(&format!("{side}.directions"), n, n)?,
            })
        };
        let turns = match turned(&layer) {
            true => Some([turn(SIDES[0], layer.rows)?, turn(SIDES[1], layer.cols)?]),
            false => None,
        };
        moments.push(Moments { first, second, turns });
    }
    Ok(moments)
}
