//! Settings of a training run.

use crate::error::NpeError;
use crate::flow::coupling::Tails;
use crate::flow::{Architecture, CouplingShape, MafShape};
use outshine_kernels::scalar;
use serde::{Deserialize, Serialize};

/// How the learning rate goes down.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// It does not.
    Constant,
    /// Half a cosine from `learning_rate` to `final_fraction` of it over `max_epochs`.
    Cosine {
        /// Last learning rate over the first.
        final_fraction: f64,
    },
}

/// The kinds of densities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowKind {
    /// The network runs once per object ([`crate::flow::coupling`]).
    Coupling,
    /// The masked autoregressive flow of the paper ([`crate::flow::maf`]).
    Maf,
}

/// Where the network of a training run computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The processor: the same bits everywhere.
    #[default]
    Cpu,
    /// An NVIDIA GPU, for the flow of a `maf`, in a program built with
    /// `--features cuda`; the bits are those of the GPU.
    Cuda,
}

impl Place {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
    fn is_cpu(&self) -> bool {
        *self == Self::Cpu
    }
}

/// Settings of a training run. Together with the target and the training set
/// they decide every bit of the result.
///
/// The paper's own estimator is `flow = "maf"`, `blocks = 15`, `hidden = 500`,
/// `learning_rate = 5e-4`, `schedule = "constant"`, `warm_up = 0`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Where to compute.
    #[serde(skip_serializing_if = "Place::is_cpu")]
    pub device: Place,
    /// Kind of the density of the parameters.
    pub flow: FlowKind,
    /// Residual blocks of the conditioner, or MADE blocks of a `maf`.
    pub blocks: usize,
    /// Units of a hidden layer.
    pub hidden: usize,
    /// Normals of the mixture (`coupling`).
    pub components: usize,
    /// Coupling layers (`coupling`).
    pub couplings: usize,
    /// Units of a coupling layer (`coupling`).
    pub units: usize,
    /// Units of a hidden layer of the density of the redshift, which is a
    /// `coupling` of as many blocks; 0: none, redshifts must be known.
    pub redshift_hidden: usize,
    /// Components of the density of the redshift.
    pub redshift_components: usize,
    /// Adam's first learning rate.
    pub learning_rate: f64,
    /// How it goes down.
    pub schedule: Schedule,
    /// Optimiser steps over which the learning rate rises from 0.
    pub warm_up: u32,
    /// Examples per optimiser step.
    pub batch: usize,
    /// Passes over the training set, at most.
    pub max_epochs: u32,
    /// Epochs without a lower validation loss after which training stops.
    pub patience: u32,
    /// Share of the examples held out for validation.
    pub validation_fraction: f64,
    /// Longest gradient (Euclidean norm over the weights of one density);
    /// longer ones are scaled down.
    pub gradient_clip: f64,
    /// Passes over the training set (200,000 of it at most), observed afresh, that
    /// posteriors of bright objects are calibrated on once trained; 0: not at all.
    pub recalibration_passes: u32,
    /// S/N (root mean square over observed bands) up to which posteriors stay as
    /// they are: a lower one calibrates more of them, and draws are slower from it on.
    pub recalibration_snr: f64,
    /// Seed of weights, split and order.
    pub seed: u64,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            device: Place::Cpu,
            flow: FlowKind::Coupling,
            blocks: 2,
            hidden: 256,
            components: 4,
            couplings: 6,
            units: 32,
            redshift_hidden: 128,
            redshift_components: 16,
            learning_rate: 4e-3,
            schedule: Schedule::Cosine { final_fraction: 0.01 },
            warm_up: 200,
            batch: 256,
            max_epochs: 20,
            patience: 20,
            validation_fraction: 0.1,
            gradient_clip: 5.0,
            recalibration_passes: 2,
            recalibration_snr: 10.0,
            seed: 1,
        }
    }
}

impl TrainConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`NpeError::Config`] for the first one out of range.
    pub fn validate(&self) -> Result<(), NpeError> {
        let refuse = |field, found: String, mend| Err(NpeError::Config { field, found, mend });
        for (field, value, range, mend) in [
            ("blocks", self.blocks, 1..=64, "1 to 64 blocks"),
            ("hidden", self.hidden, 1..=4096, "1 to 4096 units"),
            ("components", self.components, 1..=256, "1 to 256 normals"),
            ("couplings", self.couplings, 0..=32, "0 to 32 layers"),
            ("units", self.units, 1..=512, "1 to 512 units"),
            ("redshift_hidden", self.redshift_hidden, 0..=4096, "0 to 4096 units"),
            ("redshift_components", self.redshift_components, 1..=256, "1 to 256 normals"),
        ] {
            if !range.contains(&value) {
                return refuse(field, value.to_string(), mend);
            }
        }
        if self.device == Place::Cuda && self.flow != FlowKind::Maf {
            return refuse("device", "cuda".into(), "cpu, or flow = \"maf\"");
        }
        if !(self.learning_rate > 0.0 && self.learning_rate <= 0.1) {
            return refuse("learning_rate", self.learning_rate.to_string(), "above 0, at most 0.1");
        }
        if let Schedule::Cosine { final_fraction } = self.schedule
            && !(0.0..=1.0).contains(&final_fraction)
        {
            return refuse("schedule.cosine.final_fraction", final_fraction.to_string(), "0 to 1");
        }
        if !(1..=65_536).contains(&self.batch) {
            return refuse("batch", self.batch.to_string(), "1 to 65536 examples");
        }
        if !(1..=1_000_000).contains(&self.max_epochs) {
            return refuse("max_epochs", self.max_epochs.to_string(), "1 to 1000000 epochs");
        }
        if self.patience == 0 {
            return refuse("patience", "0".into(), "at least 1 epoch");
        }
        if !(self.validation_fraction > 0.0 && self.validation_fraction < 1.0) {
            let found = self.validation_fraction.to_string();
            return refuse("validation_fraction", found, "above 0, below 1 (0.1 is usual)");
        }
        if self.recalibration_passes > 100 {
            let found = self.recalibration_passes.to_string();
            return refuse("recalibration_passes", found, "at most 100 passes (2 are usual)");
        }
        if !(0.5..=1000.0).contains(&self.recalibration_snr) {
            let found = self.recalibration_snr.to_string();
            return refuse("recalibration_snr", found, "from 0.5 to 1000 (10 is usual)");
        }
        if !(self.gradient_clip > 0.0 && self.gradient_clip.is_finite()) {
            return refuse("gradient_clip", self.gradient_clip.to_string(), "above 0 (5 is usual)");
        }
        Ok(())
    }

    /// Kind and size of the density of `dims` parameters.
    #[must_use]
    pub fn architecture(&self, dims: usize, context: usize) -> Architecture {
        let (blocks, hidden) = (self.blocks, self.hidden);
        match self.flow {
            FlowKind::Maf => Architecture::Maf(MafShape { dims, context, blocks, hidden }),
            FlowKind::Coupling => Architecture::Coupling(CouplingShape {
                dims,
                context,
                blocks,
                hidden,
                components: self.components,
                couplings: self.couplings,
                units: self.units,
                tails: Tails::Normal,
            }),
        }
    }

    /// Kind and size of the density of the redshift, if there is one.
    #[must_use]
    pub fn redshift_architecture(&self, context: usize) -> Option<Architecture> {
        (self.redshift_hidden > 0).then_some(Architecture::Coupling(CouplingShape {
            dims: 1,
            context,
            blocks: self.blocks,
            hidden: self.redshift_hidden,
            components: self.redshift_components,
            couplings: 0,
            units: 1,
            tails: Tails::Logistic,
        }))
    }

    /// Learning rate of step number `step` (from 1), after `epochs` passes.
    #[must_use]
    pub fn learning_rate_of(&self, step: u64, epochs: f64) -> f64 {
        let risen = step as f64 / f64::from(self.warm_up.max(1));
        self.learning_rate_at(epochs) * risen.min(1.0)
    }

    /// Learning rate after `epochs` passes, fractions included.
    #[must_use]
    pub fn learning_rate_at(&self, epochs: f64) -> f64 {
        match self.schedule {
            Schedule::Constant => self.learning_rate,
            Schedule::Cosine { final_fraction } => {
                let t = (epochs / f64::from(self.max_epochs)).clamp(0.0, 1.0);
                let half = 0.5 * (1.0 + scalar::cos(std::f64::consts::PI * t));
                self.learning_rate * (final_fraction + (1.0 - final_fraction) * half)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_and_impossible_settings_are_refused() {
        assert!(
            serde_json::from_str::<TrainConfig>(r#"{"blocks": 3}"#).unwrap().validate().is_ok()
        );
        assert!(serde_json::from_str::<TrainConfig>(r#"{"blokcs": 3}"#).is_err());
        for bad in [
            r#"{"blocks": 0}"#,
            r#"{"learning_rate": 0.0}"#,
            r#"{"validation_fraction": 1.0}"#,
            r#"{"batch": 0}"#,
            r#"{"patience": 0}"#,
            r#"{"gradient_clip": -1.0}"#,
            r#"{"recalibration_passes": 101}"#,
            r#"{"recalibration_snr": 0.0}"#,
            r#"{"device": "cuda"}"#,
            r#"{"schedule": {"cosine": {"final_fraction": 2.0}}}"#,
        ] {
            assert!(serde_json::from_str::<TrainConfig>(bad).unwrap().validate().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_cosine_goes_from_first_to_last() {
        let c = TrainConfig { max_epochs: 100, ..TrainConfig::default() };
        assert!((c.learning_rate_at(0.0) - 4e-3).abs() < 1e-12);
        assert!((c.learning_rate_at(50.0) - 2.02e-3).abs() < 1e-9);
        assert!((c.learning_rate_at(100.0) - 4e-5).abs() < 1e-12);
        assert!((c.learning_rate_of(50, 0.0) - 1e-3).abs() < 1e-12);
        assert!((c.learning_rate_of(500, 50.0) - 2.02e-3).abs() < 1e-9);
    }
}
