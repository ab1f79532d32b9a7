//! Training: one deterministic sequence of epochs, run in spans.
//!
//! A batch is always cut into [`SLICES`] slices. Each slice observes its
//! examples, builds its candle graph and differentiates it on whatever thread
//! is free; gradients are added in the order of the slices. So the number of
//! threads changes nothing but the time, and neither does the number of spans.

mod batches;
mod config;
mod optimiser;
mod parallel;
mod turn;

pub use config::{FlowKind, Place, Schedule, TrainConfig};
pub(crate) use optimiser::{Moments, turned};
pub(crate) use turn::Turn;

use crate::checkpoint::{Checkpoint, DensityState, EpochRecord, State};
use crate::density::{DensitySpec, Target};
use crate::error::NpeError;
use crate::examples::{Examples, HELD_OUT};
use crate::flow::{Flow, Layer, variables};
use crate::matmul::Level;
use batches::{Observed, Observer, Rows, split_indices};
use outshine_kernels::random::{Purpose, Stream};
use parallel::each;
pub(crate) use parallel::parallel;
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
    /// Mean -ln p of the training examples as the weights went, nats: of the
    /// parameters, plus that of the redshift if the model has one.
    pub train_loss: f64,
    /// The same of the validation set.
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
    target: &Target,
    data: &dyn Examples,
    from: Option<Checkpoint>,
    epochs: u32,
    threads: usize,
    progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Result<Checkpoint, NpeError> {
    config.validate()?;
    target.validate()?;
    if data.len() < FEWEST_EXAMPLES {
        return Err(NpeError::TooFewExamples { found: data.len(), needed: FEWEST_EXAMPLES });
    }
    if config.flow == FlowKind::Maf && config.hidden < target.coordinates.len() {
        return Err(NpeError::Config {
            field: "hidden",
            found: config.hidden.to_string(),
            mend: "at least as many units as coordinates",
        });
    }
    let (train, held_out) = split_indices(config, data.len());
    let densities = target.densities(config)?;
    let parts: Result<Vec<Part>, NpeError> =
        densities.into_iter().map(|spec| Part::new(spec, config.device)).collect();
    let parts = parts?;
    let (threads, level) = (threads.clamp(1, SLICES), Level::detect());
    let run = Run { config, target, data, threads, level, parts };
    let mut checkpoint = match from {
        Some(checkpoint) => run.checked(checkpoint)?,
        None => run.start(&train)?,
    };
    if checkpoint.finished() || epochs == 0 {
        return Ok(checkpoint);
    }
    data.begin(HELD_OUT, run.threads)?;
    let held_out = run.observe(&held_out, HELD_OUT)?;
    let held_out: Vec<Rows> = run.rows(&checkpoint, &held_out);
    for _ in 0..epochs {
        let record = run.epoch(&mut checkpoint, &train, &held_out)?;
        if record.validation_loss < checkpoint.best_validation_loss() {
            checkpoint.state.best_epoch = record.epoch;
            for density in &mut checkpoint.densities {
                density.best_weights.clone_from(&density.weights);
            }
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

/// A density, ready to train.
struct Part {
    spec: DensitySpec,
    flow: Box<dyn Flow>,
    layers: Vec<Layer>,
}

impl Part {
    fn new(spec: DensitySpec, place: Place) -> Result<Self, NpeError> {
        let flow = spec.architecture.flow_on(place, Level::detect())?;
        Ok(Self { layers: flow.layers(), flow, spec })
    }
}

/// One call of [`train_span`].
struct Run<'a> {
    config: &'a TrainConfig,
    target: &'a Target,
    data: &'a dyn Examples,
    threads: usize,
    level: Level,
    parts: Vec<Part>,
}

impl Run<'_> {
    /// A checkpoint before the first epoch.
    fn start(&self, train: &[u64]) -> Result<Checkpoint, NpeError> {
        self.data.begin(0, self.threads)?;
        let sample = self.observe(&train[..train.len().min(STANDARDISATION_EXAMPLES)], 0)?;
        let densities = self.parts.iter().enumerate().map(|(k, part)| {
            let weights = part.flow.initial_weights(self.config.seed, k as u64);
            DensityState {
                spec: part.spec.clone(),
                standardisation: sample.standardisation(k, &part.spec),
                best_weights: weights.clone(),
                weights,
                moments: part.layers.iter().map(Moments::new).collect(),
            }
        });
        Ok(Checkpoint {
            densities: densities.collect(),
            state: State {
                config: self.config.clone(),
                target: self.target.clone(),
                densities: self.parts.iter().map(|p| p.spec.clone()).collect(),
                examples: self.data.len(),
                step: 0,
                best_epoch: 0,
                history: Vec::new(),
            },
        })
    }

    /// The checkpoint, if it belongs to this run.
    fn checked(&self, from: Checkpoint) -> Result<Checkpoint, NpeError> {
        let state = &from.state;
        let what = if state.config != *self.config {
            "training configuration"
        } else if state.target.coordinates != self.target.coordinates {
            "prior box"
        } else if state.target.redshift != self.target.redshift {
            "range of redshifts"
        } else if state.target.features != self.target.features {
            "set of features"
        } else if state.examples != self.data.len() {
            "training set"
        } else {
            return Ok(from);
        };
        Err(NpeError::CheckpointMismatch { what })
    }

    /// Observes examples in parallel, in pieces of fixed size.
    fn observe(&self, indices: &[u64], epoch: u64) -> Result<Observed, NpeError> {
        let pieces: Vec<&[u64]> = indices.chunks(VALIDATION_ROWS).collect();
        let observer = Observer { target: self.target, data: self.data };
        let done = parallel(self.threads, pieces.len(), |k| observer.observe(pieces[k], epoch));
        let mut all = Observed::default();
        for observed in done {
            all.append(observed?);
        }
        Ok(all)
    }

    /// Rows for every density.
    fn rows(&self, checkpoint: &Checkpoint, observed: &Observed) -> Vec<Rows> {
        let parts = self.parts.iter().zip(&checkpoint.densities).enumerate();
        parts.map(|(k, (part, d))| observed.rows(k, &part.spec, &d.standardisation)).collect()
    }

    /// One pass over the training set, then the validation loss.
    fn epoch(
        &self,
        checkpoint: &mut Checkpoint,
        train: &[u64],
        held_out: &[Rows],
    ) -> Result<EpochRecord, NpeError> {
        let epoch = checkpoint.epoch();
        self.data.begin(u64::from(epoch), self.threads)?;
        let mut shuffle = Stream::new(self.config.seed, Purpose::Shuffle, u64::from(epoch), 0);
        let order = shuffle.permutation(train.len());
        let batches = train.len().div_ceil(self.config.batch).max(1);
        let (mut sum, mut learning_rate) = (0.0, 0.0);
        let mut indices = Vec::new();
        let zeros = |d: &DensityState| d.weights.iter().map(|w| vec![0.0; w.len()]).collect();
        let mut gradient: Vec<Vec<Vec<f32>>> = checkpoint.densities.iter().map(zeros).collect();
        for batch in 0..batches {
            // Batches differ by one example at most: no small last one.
            let (from, to) =
                (cut(train.len(), batch, batches), cut(train.len(), batch + 1, batches));
            indices.clear();
            indices.extend(order[from..to].iter().map(|&k| train[k as usize]));
            let loss = self.gradient(checkpoint, &indices, epoch, &mut gradient)?;
            let step = checkpoint.state.step + 1;
            let passes = f64::from(epoch) + batch as f64 / batches as f64;
            learning_rate = self.config.learning_rate_of(step, passes);
            let densities = checkpoint.densities.iter_mut().zip(&self.parts);
            for ((density, part), gradient) in densities.zip(&mut gradient) {
                let squares =
                    parallel(self.threads, gradient.len(), |k| optimiser::square(&gradient[k]));
                let length = squares.iter().sum::<f64>().sqrt();
                if !loss.is_finite() || !length.is_finite() {
                    return Err(NpeError::NonFiniteLoss { epoch, batch: batch as u64, loss });
                }
                let scale = (self.config.gradient_clip / length.max(1e-30)).min(1.0) as f32;
                let rule = optimiser::Rule { level: self.level, rate: learning_rate, step, scale };
                let states = density.weights.iter_mut().zip(&mut density.moments);
                let layers = part.layers.iter().zip(states).zip(gradient);
                each(self.threads, layers.collect(), |((layer, (w, moments)), gradient)| {
                    rule.apply(layer, gradient, w, moments);
                });
            }
            sum += loss * (to - from) as f64;
            checkpoint.state.step = step;
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

    /// Mean loss of a batch in the bounded coordinates, of all densities; its
    /// gradient replaces `total`.
    fn gradient(
        &self,
        checkpoint: &Checkpoint,
        indices: &[u64],
        epoch: u32,
        total: &mut [Vec<Vec<f32>>],
    ) -> Result<f64, NpeError> {
        let parts = || self.parts.iter().zip(&checkpoint.densities);
        let vars: Result<Vec<_>, _> = parts()
            .map(|(part, d)| variables(&part.layers, &d.weights, part.flow.device()))
            .collect();
        let vars = vars?;
        let observer = Observer { target: self.target, data: self.data };
        let n = indices.len();
        let slices = SLICES.min(n);
        let done = parallel(self.threads, slices, |k| {
            let slice = &indices[cut(n, k, slices)..cut(n, k + 1, slices)];
            let observed = observer.observe(slice, u64::from(epoch))?;
            let rows = self.rows(checkpoint, &observed);
            let (mut loss, mut gradients) = (0.0, Vec::new());
            for ((part, vars), rows) in self.parts.iter().zip(&vars).zip(&rows) {
                let (part_loss, gradient) =
                    part.flow.loss_and_gradient(vars, &rows.w, &rows.context, n)?;
                loss += part_loss - rows.log_jacobian_sum() / n as f64;
                gradients.push(gradient);
            }
            Ok::<_, NpeError>((loss, gradients))
        });
        let mut loss = 0.0;
        let mut gradients = Vec::new();
        for slice in done {
            let (part, gradient) = slice?;
            loss += part;
            gradients.push(gradient);
        }
        let mut places = Vec::new();
        for (density, matrices) in total.iter_mut().enumerate() {
            places.extend(matrices.iter_mut().enumerate().map(|(layer, m)| (density, layer, m)));
        }
        let failures = std::sync::Mutex::new(Ok(()));
        each(self.threads, places, |(density, layer, matrix)| {
            for (k, gradient) in gradients.iter().enumerate() {
                if let Err(e) = optimiser::accumulate(&gradient[density][layer], matrix, k == 0) {
                    *failures.lock().expect("no other worker panicked") = Err(e);
                }
            }
        });
        failures.into_inner().expect("no worker panicked")?;
        Ok(loss)
    }

    /// Mean -ln p over examples already observed, summed over densities.
    fn validation_loss(&self, checkpoint: &Checkpoint, rows: &[Rows]) -> Result<f64, NpeError> {
        let mut loss = 0.0;
        for ((part, density), rows) in self.parts.iter().zip(&checkpoint.densities).zip(rows) {
            let vars = variables(&part.layers, &density.weights, part.flow.device())?;
            let (d, c) = (part.spec.architecture.dims(), part.spec.architecture.context());
            let n = rows.log_jacobian.len();
            let pieces = n.div_ceil(VALIDATION_ROWS);
            let done = parallel(self.threads, pieces, |k| {
                let (from, to) = (k * VALIDATION_ROWS, ((k + 1) * VALIDATION_ROWS).min(n));
                let w = &rows.w[from * d..to * d];
                let context = &rows.context[from * c..to * c];
                let log_q = part.flow.log_density(&vars, w, context)?;
                let jacobian = &rows.log_jacobian[from..to];
                Ok::<_, NpeError>(log_q.iter().zip(jacobian).map(|(q, j)| q + j).sum::<f64>())
            });
            for piece in done {
                loss -= piece? / n as f64;
            }
        }
        Ok(loss)
    }
}

/// Start of part `k` of `parts` nearly equal parts of `n`.
fn cut(n: usize, k: usize, parts: usize) -> usize {
    n * k / parts
}
