//! One conditional density of a model: the parameters' or the redshift's.

use crate::coordinates::Coordinates;
use crate::error::NpeError;
use crate::features::FeatureSpec;
use crate::flow::{Architecture, Layer};
use crate::matmul::Level;
use crate::standardisation::Standardisation;
use crate::storage::Arrays;
use crate::train::TrainConfig;
use serde::{Deserialize, Serialize};

/// What an estimator is of, and what it is shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The free parameters and their box.
    pub coordinates: Coordinates,
    /// Range of the redshift, uniform in training.
    pub redshift: (f64, f64),
    /// Bands and features.
    pub features: FeatureSpec,
}

/// Kind, size and coordinates of a density.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DensitySpec {
    /// Kind and size of the network.
    pub architecture: Architecture,
    /// Box of what it is the density of.
    pub coordinates: Coordinates,
}

/// A density with its weights.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Density {
    pub spec: DensitySpec,
    pub standardisation: Standardisation,
    pub weights: Vec<Vec<f32>>,
}

/// Names of a model's densities in stored files, in order.
pub(crate) const NAMES: [&str; 2] = ["parameters", "redshift"];

impl Target {
    /// Checks the box, the range and the features.
    ///
    /// # Errors
    /// [`NpeError::Specification`] saying what is wrong.
    pub fn validate(&self) -> Result<(), NpeError> {
        self.coordinates.validate()?;
        self.features.validate()?;
        let (low, high) = self.redshift;
        if low.is_finite() && high.is_finite() && low > -1.0 && low < high {
            return Ok(());
        }
        let why = format!("the redshift lies between {low} and {high}");
        Err(NpeError::Specification { what: "coordinates", why })
    }

    /// The densities that `config` asks for: that of the parameters given
    /// fluxes and redshift, and that of the redshift given fluxes alone.
    pub(crate) fn densities(&self, config: &TrainConfig) -> Result<Vec<DensitySpec>, NpeError> {
        let coordinates = self.coordinates.clone();
        let architecture = config.architecture(coordinates.len(), self.features.len());
        let mut all = vec![DensitySpec { architecture, coordinates }];
        if let Some(architecture) = config.redshift_architecture(self.features.without_redshift()) {
            let (low, high) = self.redshift;
            let name = vec!["redshift".to_owned()];
            let coordinates = Coordinates::new(name, vec![low], vec![high])?;
            all.push(DensitySpec { architecture, coordinates });
        }
        Ok(all)
    }
}

impl DensitySpec {
    /// Whether the parts fit each other and the features.
    pub fn check(&self, what: &'static str, features: &FeatureSpec) -> Result<(), NpeError> {
        self.coordinates.validate()?;
        let shape = &self.architecture;
        let context = [features.len(), features.without_redshift()].contains(&shape.context());
        if shape.dims() == self.coordinates.len() && context && shape.sane() {
            return Ok(());
        }
        let why = format!("architecture {shape:?} does not fit its coordinates and features");
        Err(NpeError::Unreadable { what, why })
    }

    /// Shapes of the weights.
    pub fn layers(&self) -> Vec<Layer> {
        self.architecture.flow(Level::detect()).layers()
    }

    pub fn put_weights(&self, arrays: &mut Arrays, prefix: &str, weights: &[Vec<f32>]) {
        for (layer, values) in self.layers().iter().zip(weights) {
            let name = format!("{prefix}{}", layer.name);
            arrays.put_f32(&name, vec![layer.rows, layer.cols], values);
        }
    }

    pub fn take_weights(
        &self,
        what: &'static str,
        arrays: &mut Arrays,
        prefix: &str,
    ) -> Result<Vec<Vec<f32>>, NpeError> {
        let take = |layer: &Layer| {
            let name = format!("{prefix}{}", layer.name);
            arrays.take_f32(what, &name, &[layer.rows, layer.cols])
        };
        self.layers().iter().map(take).collect()
    }

    pub fn put_standardisation(&self, arrays: &mut Arrays, prefix: &str, s: &Standardisation) {
        let (d, c) = (self.architecture.dims(), self.architecture.context());
        arrays.put_f32(&format!("{prefix}features.mean"), vec![c], &s.mean);
        arrays.put_f32(&format!("{prefix}features.inverse_scale"), vec![c], &s.inverse_scale);
        arrays.put_f64(&format!("{prefix}crude.weight"), vec![d, c + 1], &s.weight);
        arrays.put_f64(&format!("{prefix}crude.spread"), vec![d], &s.spread);
    }

    pub fn take_standardisation(
        &self,
        what: &'static str,
        arrays: &mut Arrays,
        prefix: &str,
    ) -> Result<Standardisation, NpeError> {
        let (d, c) = (self.architecture.dims(), self.architecture.context());
        let name = |part: &str| format!("{prefix}{part}");
        Ok(Standardisation {
            mean: arrays.take_f32(what, &name("features.mean"), &[c])?,
            inverse_scale: arrays.take_f32(what, &name("features.inverse_scale"), &[c])?,
            weight: arrays.take_f64(what, &name("crude.weight"), &[d, c + 1])?,
            spread: arrays.take_f64(what, &name("crude.spread"), &[d])?,
        })
    }
}
