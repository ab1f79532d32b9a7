//! A campaign's models, built from its sections.

use super::StageError;
use outshine_npe::diagnostics::Tolerance;
use outshine_npe::{Coordinates, FeatureSpec, TrainConfig};
use outshine_schemas::campaign::{Campaign, Section};
use outshine_sps::mock::MockField;
use outshine_sps::{
    Conditions, Coverage, FilterSet, ForwardModel, ModelOptions, NoiseModel, Prior, SspLibrary,
};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Everything scientific that a campaign asks for, checked and ready.
pub struct Science {
    /// Forward model on the campaign's bands.
    pub forward: ForwardModel,
    /// Prior.
    pub prior: Prior,
    /// Noise model on the campaign's bands.
    pub noise: NoiseModel,
    /// Depths and band subsets of the training.
    pub coverage: Coverage,
    /// Settings of the training.
    pub train: TrainConfig,
    /// What a calibrated model is.
    pub tolerance: Tolerance,
    /// The mock to fit, if that is what is fitted.
    pub mock: Option<MockField>,
    /// Free coordinates of the posterior.
    pub coordinates: Coordinates,
    /// Features of a pixel.
    pub features: FeatureSpec,
    /// What results were made with: written into every product.
    pub provenance: BTreeMap<String, String>,
}

impl Science {
    /// Reads the sections of `campaign` strictly.
    ///
    /// # Errors
    /// [`StageError::Campaign`] names section and key.
    pub fn new(campaign: &Campaign) -> Result<Self, StageError> {
        let bands: Vec<&str> = campaign.bands.iter().map(String::as_str).collect();
        let in_section = |section| {
            move |e: outshine_sps::SpsError| StageError::Campaign {
                section,
                problem: e.to_string(),
            }
        };
        let options: ModelOptions = section("model", &campaign.model)?;
        let prior: Prior = section("prior", &campaign.prior)?;
        prior.validate().map_err(in_section("prior"))?;
        let coverage: Coverage = section("coverage", &campaign.coverage)?;
        coverage.validate().map_err(in_section("coverage"))?;
        let noise = if campaign.noise.is_empty() {
            NoiseModel::embedded().map_err(in_section("noise"))?
        } else {
            section("noise", &campaign.noise)?
        };
        let noise = noise.for_bands(&bands).map_err(in_section("noise"))?;
        let mut train: TrainConfig = section("train", &campaign.train)?;
        train.seed = campaign.seed;
        train
            .validate()
            .map_err(|e| StageError::Campaign { section: "train", problem: e.to_string() })?;
        let tolerance: Tolerance = section("calibrate.tolerance", &campaign.calibrate.tolerance)?;
        let mock = match &campaign.field.mock {
            Some(mock) => {
                let mock: MockField = section("field.mock", mock)?;
                mock.validate().map_err(in_section("field.mock"))?;
                Some(mock)
            }
            None => None,
        };
        let filters = FilterSet::embedded(&bands).map_err(in_section("bands"))?;
        let library = Arc::new(SspLibrary::embedded()?);
        let library_digest = library.digest();
        let library_name = library.meta().name.clone();
        let forward =
            ForwardModel::new(library, filters, options.clone()).map_err(in_section("model"))?;

        let (low, high) = prior.bounds().into_iter().unzip();
        let names = Prior::FREE.map(str::to_owned).to_vec();
        let coordinates = Coordinates::new(names, low, high)?;
        let nominal = Conditions::nominal(&noise);
        let sigma = (0..bands.len()).map(|b| noise.sigma_njy(b, 0.0, &nominal)).collect();
        let features = FeatureSpec::new(campaign.bands.clone(), sigma)?;
        let json = |value: serde_json::Result<String>| {
            value.map_err(|e| StageError::Permanent(format!("settings are no JSON: {e}")))
        };
        let provenance = BTreeMap::from([
            ("outshine.ssp_library".to_owned(), library_name),
            ("outshine.ssp_library_digest".to_owned(), library_digest),
            ("outshine.prior".to_owned(), json(serde_json::to_string(&prior))?),
            ("outshine.model_options".to_owned(), json(serde_json::to_string(&options))?),
            ("outshine.code_version".to_owned(), outshine_schemas::CODE_VERSION.to_owned()),
            ("outshine.science_version".to_owned(), outshine_schemas::SCIENCE_VERSION.to_string()),
        ]);
        Ok(Self {
            forward,
            prior,
            noise,
            coverage,
            train,
            tolerance,
            mock,
            coordinates,
            features,
            provenance,
        })
    }
}

fn section<T: DeserializeOwned>(section: &'static str, keys: &Section) -> Result<T, StageError> {
    serde_json::from_value(serde_json::Value::Object(keys.clone()))
        .map_err(|e| StageError::Campaign { section, problem: e.to_string() })
}
