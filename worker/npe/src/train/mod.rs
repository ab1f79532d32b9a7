//! Training: one deterministic sequence of epochs, run in spans.
//!
//! A batch is always cut into [`SLICES`] slices. Each slice observes its
//! examples, builds its candle graph and differentiates it on whatever thread
//! is free; gradients are added in the order of the slices. So the number of
//! threads changes nothing but the time, and neither does the number of spans.

mod adam;
mod batches;
mod config;

pub use config::{Schedule, TrainConfig};

use crate::checkpoint::{Checkpoint, EpochRecord, State};
use crate::coordinates::Coordinates;
use crate::error::NpeError;
use crate::examples::{Examples, HELD_OUT};
use crate::features::FeatureSpec;
use crate::flow::Architecture;
use crate::flow::maf::Maf;
use crate::matmul::Level;
use crate::standardisation::Standardisation;
use batches::{Observer, Rows, parallel, split_indices};
use candle_core::Var;
use outshine_kernels::random::{Purpose, Stream};
use std::ops::ControlFlow;

/// Slices of a batch, the most threads that training can use.
pub const SLICES: usize = 4;
/// Examples that the standardisation is fitted to, at most.
const STANDARDISATION_EXAMPLES: usize = 20_000;
/// Rows of the validation set evaluated at once.
const VALIDATION_ROWS: usize = 512;
/// Fewest examples that a training set may have.
const FEWEST_EXAMPLES: u64 = 20;

/// The state of training after an epoch, for whoever watches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Epochs finished.
    pub epoch: u32,
    /// Epochs at most.
    pub max_epochs: u32,
    /// Learning rate at the end of the epoch.
    pub learning_rate: f64,
    /// Mean -ln p(theta | x) of the training examples as the weights went, nats.
    pub train_loss: f64,
    /// Mean -ln p(theta | x) of the validation set, nats.
    pub validation_loss: f64,
    /// Epoch with the lowest validation loss.
    pub best_epoch: u32,
    /// That loss.
    pub best_validation_loss: f64,
}

/// Trains for at most `epochs` epochs, from the start or from a checkpoint, and
/// returns the new checkpoint. Ends early when training is
/// [finished](Checkpoint::finished) or `progress` breaks off.
///
/// Batches whose gradient is longer than `gradient_clip` are scaled down to it;
/// none is skipped.
///
/// # Errors
/// [`NpeError::Config`] and [`NpeError::TooFewExamples`] before training;
/// [`NpeError::CheckpointMismatch`] when `from` belongs to another run;
/// [`NpeError::Example`] for an example outside the box or not finite;
/// [`NpeError::NonFiniteLoss`] when training diverges.
pub fn train_span(
    config: &TrainConfig,
    coordinates: &Coordinates,
    features: &FeatureSpec,
    data: &dyn Examples,
    from: Option<Checkpoint>,
    epochs: u32,
    threads: usize,
    progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Result<Checkpoint, NpeError> {
    config.validate()?;
    coordinates.validate()?;
    features.validate()?;
    if data.len() < FEWEST_EXAMPLES {
        return Err(NpeError::TooFewExamples { found: data.len(), needed: FEWEST_EXAMPLES });
    }
    let architecture = Architecture {
        dims: coordinates.len(),
        features: features.len(),
        blocks: config.blocks,
        hidden: config.hidden,
    };
    if config.hidden < architecture.dims {
        return Err(NpeError::Config {
            field: "hidden",
            found: config.hidden.to_string(),
            mend: "at least as many units as coordinates",
        });
    }
    let flow = Maf::new(architecture, Level::detect());
    let (train, held_out) = split_indices(config, data.len());
    let run = Run { config, coordinates, features, data, threads: threads.clamp(1, SLICES), flow };
    let mut checkpoint = match from {
        Some(checkpoint) => run.checked(checkpoint, architecture)?,
        None => run.start(architecture, &train)?,
    };
    if checkpoint.finished() || epochs == 0 {
        return Ok(checkpoint);
    }
    let held_out = run.observe_all(&checkpoint.standardisation, &held_out)?;
    for _ in 0..epochs {
        let record = run.epoch(&mut checkpoint, &train, &held_out)?;
        if record.validation_loss < checkpoint.best_validation_loss() {
            checkpoint.state.best_epoch = record.epoch;
            checkpoint.best_weights.clone_from(&checkpoint.weights);
        }
        checkpoint.state.history.push(record);
        let report = Progress {
            epoch: record.epoch,
            max_epochs: config.max_epochs,
            learning_rate: record.learning_rate,
            train_loss: record.train_loss,
            validation_loss: record.validation_loss,
            best_epoch: checkpoint.best_epoch(),
            best_validation_loss: checkpoint.best_validation_loss(),
        };
        if progress(&report).is_break() || checkpoint.finished() {
            break;
        }
    }
    Ok(checkpoint)
}

/// One call of [`train_span`].
struct Run<'a> {
    config: &'a TrainConfig,
    coordinates: &'a Coordinates,
    features: &'a FeatureSpec,
    data: &'a dyn Examples,
    threads: usize,
    flow: Maf,
}

impl Run<'_> {
    fn observer<'b>(&'b self, standardisation: Option<&'b Standardisation>) -> Observer<'b> {
        Observer {
            coordinates: self.coordinates,
            features: self.features,
            data: self.data,
            standardisation,
        }
    }

    /// A checkpoint before the first epoch.
    fn start(&self, architecture: Architecture, train: &[u64]) -> Result<Checkpoint, NpeError> {
        let weights = self.flow.initial_weights(self.config.seed);
        let zeros: Vec<Vec<f32>> = weights.iter().map(|w| vec![0.0; w.len()]).collect();
        let sample = &train[..train.len().min(STANDARDISATION_EXAMPLES)];
        let rows = self.observe(None, sample, 0)?;
        let standardisation =
            Standardisation::fit(&rows.context, &rows.fraction, &rows.unbounded, architecture.dims);
        Ok(Checkpoint {
            state: State {
                config: self.config.clone(),
                architecture,
                coordinates: self.coordinates.clone(),
                features: self.features.clone(),
                examples: self.data.len(),
                step: 0,
                best_epoch: 0,
                history: Vec::new(),
            },
            standardisation,
            best_weights: weights.clone(),
            weights,
            first_moment: zeros.clone(),
            second_moment: zeros,
        })
    }

    /// The checkpoint, if it belongs to this run.
    fn checked(&self, from: Checkpoint, shape: Architecture) -> Result<Checkpoint, NpeError> {
        let state = &from.state;
        let what = if state.config != *self.config {
            "training configuration"
        } else if state.coordinates != *self.coordinates {
            "prior box"
        } else if state.features != *self.features {
            "set of features"
        } else if state.examples != self.data.len() {
            "training set"
        } else if state.architecture != shape {
            "architecture"
        } else {
            return Ok(from);
        };
        Err(NpeError::CheckpointMismatch { what })
    }

    /// Observes examples in parallel, in pieces of fixed size.
    fn observe(
        &self,
        standardisation: Option<&Standardisation>,
        indices: &[u64],
        epoch: u64,
    ) -> Result<Rows, NpeError> {
        let pieces: Vec<&[u64]> = indices.chunks(VALIDATION_ROWS).collect();
        let observer = self.observer(standardisation);
        let done = parallel(self.threads, pieces.len(), |k| observer.observe(pieces[k], epoch));
        let mut all = Rows::default();
        for rows in done {
            all.append(rows?);
        }
        Ok(all)
    }

    fn observe_all(&self, s: &Standardisation, indices: &[u64]) -> Result<Rows, NpeError> {
        self.observe(Some(s), indices, HELD_OUT)
    }

    /// One pass over the training set, then the validation loss.
    fn epoch(
        &self,
        checkpoint: &mut Checkpoint,
        train: &[u64],
        held_out: &Rows,
    ) -> Result<EpochRecord, NpeError> {
        let epoch = checkpoint.epoch();
        let mut shuffle = Stream::new(self.config.seed, Purpose::Shuffle, u64::from(epoch), 0);
        let order = shuffle.permutation(train.len());
        let batches = train.len().div_ceil(self.config.batch).max(1);
        let (mut sum, mut learning_rate) = (0.0, 0.0);
        let mut indices = Vec::new();
        let mut gradient: Vec<Vec<f32>> =
            checkpoint.weights.iter().map(|w| vec![0.0; w.len()]).collect();
        for batch in 0..batches {
            // Batches differ by one example at most: no small last one.
            let (from, to) =
                (cut(train.len(), batch, batches), cut(train.len(), batch + 1, batches));
            indices.clear();
            indices.extend(order[from..to].iter().map(|&k| train[k as usize]));
            let loss = self.gradient(checkpoint, &indices, epoch, &mut gradient)?;
            let length = adam::length(&gradient);
            if !loss.is_finite() || !length.is_finite() {
                return Err(NpeError::NonFiniteLoss { epoch, batch: batch as u64, loss });
            }
            sum += loss * (to - from) as f64;
            learning_rate =
                self.config.learning_rate_at(f64::from(epoch) + batch as f64 / batches as f64);
            checkpoint.state.step += 1;
            let scale = (self.config.gradient_clip / length.max(1e-30)).min(1.0) as f32;
            let rule = adam::Rule::new(learning_rate, checkpoint.state.step, scale);
            for (k, gradient) in gradient.iter().enumerate() {
                rule.apply(
                    gradient,
                    &mut checkpoint.weights[k],
                    &mut checkpoint.first_moment[k],
                    &mut checkpoint.second_moment[k],
                );
            }
        }
        let validation_loss = self.validation_loss(checkpoint, held_out)?;
        if !validation_loss.is_finite() {
            let batch = batches as u64;
            return Err(NpeError::NonFiniteLoss { epoch, batch, loss: validation_loss });
        }
        Ok(EpochRecord {
            epoch: epoch + 1,
            learning_rate,
            train_loss: sum / train.len() as f64,
            validation_loss,
        })
    }

    /// Mean loss of a batch in the bounded coordinates; its gradient replaces `total`.
    fn gradient(
        &self,
        checkpoint: &Checkpoint,
        indices: &[u64],
        epoch: u32,
        total: &mut [Vec<f32>],
    ) -> Result<f64, NpeError> {
        let vars = self.flow.variables(&checkpoint.weights)?;
        let observer = self.observer(Some(&checkpoint.standardisation));
        let n = indices.len();
        let slices = SLICES.min(n);
        let done = parallel(self.threads, slices, |k| {
            let slice = &indices[cut(n, k, slices)..cut(n, k + 1, slices)];
            let rows = observer.observe(slice, u64::from(epoch))?;
            let (loss, gradient) = self.flow.loss_and_gradient(&vars, &rows.w, &rows.context, n)?;
            Ok::<_, NpeError>((loss - rows.log_jacobian_sum() / n as f64, gradient))
        });
        let mut loss = self.normal_constant();
        for (k, slice) in done.into_iter().enumerate() {
            let (part, gradient) = slice?;
            loss += part;
            for (total, tensor) in total.iter_mut().zip(&gradient) {
                adam::accumulate(tensor, total, k == 0)?;
            }
        }
        Ok(loss)
    }

    /// Mean -ln p over examples already observed.
    fn validation_loss(&self, checkpoint: &Checkpoint, rows: &Rows) -> Result<f64, NpeError> {
        let vars: Vec<Var> = self.flow.variables(&checkpoint.weights)?;
        let (d, c) = (self.coordinates.len(), self.features.len());
        let n = rows.w.len() / d;
        let pieces = n.div_ceil(VALIDATION_ROWS);
        let done = parallel(self.threads, pieces, |k| {
            let (from, to) = (k * VALIDATION_ROWS, ((k + 1) * VALIDATION_ROWS).min(n));
            let w = &rows.w[from * d..to * d];
            let context = &rows.context[from * c..to * c];
            let log_q = self.flow.log_density(&vars, w, context)?;
            Ok::<_, NpeError>(
                log_q.iter().zip(&rows.log_jacobian[from..to]).map(|(q, j)| q + j).sum::<f64>(),
            )
        });
        let mut sum = 0.0;
        for piece in done {
            sum += piece?;
        }
        Ok(-sum / n as f64)
    }

    /// -ln of the constant of the normal base.
    fn normal_constant(&self) -> f64 {
        crate::coordinates::HALF_LN_TAU * self.coordinates.len() as f64
    }
}

/// Start of part `k` of `parts` nearly equal parts of `n`.
fn cut(n: usize, k: usize, parts: usize) -> usize {
    n * k / parts
}
