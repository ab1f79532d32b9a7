//! Settings of a training run.

use crate::error::NpeError;
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

/// Settings of a training run. Together with the prior box, the features and
/// the training set they decide every bit of the result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Autoregressive blocks.
    pub blocks: usize,
    /// Units of each of the two hidden layers of a block.
    pub hidden: usize,
    /// Adam's first learning rate.
    pub learning_rate: f64,
    /// How it goes down.
    pub schedule: Schedule,
    /// Examples per optimiser step.
    pub batch: usize,
    /// Passes over the training set, at most.
    pub max_epochs: u32,
    /// Epochs without a lower validation loss after which training stops.
    pub patience: u32,
    /// Share of the examples held out for validation.
    pub validation_fraction: f64,
    /// Longest gradient (Euclidean norm over all weights); longer ones are scaled down.
    pub gradient_clip: f64,
    /// Seed of weights, split and order.
    pub seed: u64,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            blocks: 5,
            hidden: 128,
            learning_rate: 3e-3,
            schedule: Schedule::Cosine { final_fraction: 0.01 },
            batch: 512,
            max_epochs: 100,
            patience: 20,
            validation_fraction: 0.1,
            gradient_clip: 5.0,
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
        if !(1..=64).contains(&self.blocks) {
            return refuse("blocks", self.blocks.to_string(), "1 to 64 blocks");
        }
        if !(1..=4096).contains(&self.hidden) {
            return refuse("hidden", self.hidden.to_string(), "1 to 4096 units");
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
        if !(self.gradient_clip > 0.0 && self.gradient_clip.is_finite()) {
            return refuse("gradient_clip", self.gradient_clip.to_string(), "above 0 (5 is usual)");
        }
        Ok(())
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
            r#"{"schedule": {"cosine": {"final_fraction": 2.0}}}"#,
        ] {
            assert!(serde_json::from_str::<TrainConfig>(bad).unwrap().validate().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_cosine_goes_from_first_to_last() {
        let c = TrainConfig::default();
        assert!((c.learning_rate_at(0.0) - 3e-3).abs() < 1e-12);
        assert!((c.learning_rate_at(50.0) - 1.515e-3).abs() < 1e-9);
        assert!((c.learning_rate_at(100.0) - 3e-5).abs() < 1e-12);
    }
}
