//! A campaign's models, built from its sections.

use super::StageError;
use super::kept::Kept;
use super::model::Trained;
use super::redshifts::Distributions;
use super::typical::Limits;
use outshine_npe::diagnostics::Tolerance;
use outshine_npe::{Coordinates, FeatureSpec, Target, TrainConfig};
use outshine_schemas::campaign::{Campaign, Estimator, Section};
use outshine_schemas::tables::{DIRICHLET_REPORTED, TAU_REPORTED};
use outshine_sps::mock::MockField;
use outshine_sps::{
    Basis, Components, Conditions, Coverage, Deriver, FilterSet, ForwardModel, ModelOptions,
    NoiseModel, Prior, RedshiftGrid, SfhFamily, SspLibrary,
};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::sync::OnceCell;

/// Everything scientific that a campaign asks for, checked and ready.
pub struct Science {
    /// Forward model on the campaign's bands, at full resolution.
    pub forward: Arc<ForwardModel>,
    simulator: Mutex<Option<Arc<RedshiftGrid>>>,
    basis: Mutex<Option<Arc<Basis>>>,
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
    /// Names of the free coordinates.
    pub free: &'static [&'static str],
    /// Names of what is reported.
    pub reported: &'static [&'static str],
    /// From free coordinates to what follows from them.
    pub deriver: Deriver,
    /// What the estimator is of: free coordinates, redshifts, features of a pixel.
    pub target: Target,
    /// Distributions of redshift that the user gives, once they are read.
    pub(super) redshifts: OnceCell<Option<Arc<Distributions>>>,
    /// The trained model that was read last.
    pub(super) trained: Kept<Trained>,
    /// What is typical of those that it was trained on, as read last.
    pub(super) limits: Kept<Limits>,
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
        let (library, mut model) = library(&campaign.model)?;
        let curves = curves(&mut model)?;
        let options: ModelOptions = section("model", &model)?;
        let prior: Prior = section("prior", &campaign.prior)?;
        prior.validate().map_err(in_section("prior"))?;
        let free = prior.free_names().map_err(in_section("prior"))?;
        let reported = match prior.sfh {
            SfhFamily::Dirichlet => DIRICHLET_REPORTED,
            _ => TAU_REPORTED,
        };
        let coverage: Coverage = section("coverage", &campaign.coverage)?;
        coverage.validate().map_err(in_section("coverage"))?;
        let noise = if campaign.noise.is_empty() {
            NoiseModel::embedded().map_err(in_section("noise"))?
        } else {
            section("noise", &campaign.noise)?
        };
        let noise = noise.for_bands(&bands).map_err(in_section("noise"))?;
        if campaign.estimator != Estimator::Train && !campaign.train.is_empty() {
            let problem = "the campaign trains nothing: set estimator = \"train\", or leave it out";
            return Err(StageError::Campaign { section: "train", problem: problem.to_owned() });
        }
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
        let named: Vec<(String, Option<String>)> =
            campaign.bands.iter().map(|b| (b.clone(), curves.get(b).cloned())).collect();
        let filters = FilterSet::resolve(&named).map_err(in_section("bands"))?;
        if let Some(name) = curves.keys().find(|name| !campaign.bands.contains(name)) {
            let problem = format!("`curves.{name}` is the curve of no band of the campaign");
            return Err(StageError::Campaign { section: "model", problem });
        }
        let library = Arc::new(library);
        let library_digest = library.digest();
        let library_name = library.meta().name.clone();
        let forward =
            ForwardModel::new(library, filters, options.clone()).map_err(in_section("model"))?;
        forward.check_components(Components::Full).map_err(in_section("model"))?;

        let bounds = prior.free_bounds().map_err(in_section("prior"))?;
        let (low, high) = bounds.into_iter().unzip();
        let names = free.iter().map(|&name| name.to_owned()).collect();
        let deriver = Deriver::new(&forward, &prior).map_err(in_section("prior"))?;
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
            ("outshine.coverage".to_owned(), json(serde_json::to_string(&coverage))?),
            ("outshine.model_options".to_owned(), json(serde_json::to_string(&options))?),
            ("outshine.code_version".to_owned(), outshine_schemas::CODE_VERSION.to_owned()),
            ("outshine.science_version".to_owned(), outshine_schemas::SCIENCE_VERSION.to_string()),
        ]);
        Ok(Self {
            forward: Arc::new(forward),
            simulator: Mutex::new(None),
            basis: Mutex::new(None),
            noise,
            coverage,
            train,
            tolerance,
            mock,
            free,
            reported,
            deriver,
            target: Target { coordinates, redshift: prior.redshift_range(), features },
            prior,
            redshifts: OnceCell::new(),
            trained: Kept::default(),
            limits: Kept::default(),
            provenance,
        })
    }

    /// The forward model for many simulations, over the prior's redshifts and
    /// attenuations. Made on the first call; its tables at each redshift when they are first
    /// needed, 300 MB for 19 bands and all redshifts.
    ///
    /// # Errors
    /// [`StageError::Campaign`] when the prior leaves what can be tabulated.
    pub fn simulator(&self) -> Result<Arc<RedshiftGrid>, StageError> {
        // Held while it is made: two tasks that need it first make it once.
        let mut simulator = self.simulator.lock().expect("no thread panicked");
        if let Some(made) = &*simulator {
            return Ok(made.clone());
        }
        let made = RedshiftGrid::new(self.make_basis()?, self.prior.redshift_range());
        Ok(simulator.insert(Arc::new(made.map_err(in_prior)?)).clone())
    }

    /// The forward model for likelihoods at a redshift ([`outshine_sps::FixedRedshift`]).
    /// Made on the first call: half a second.
    ///
    /// # Errors
    /// [`StageError::Campaign`] when the prior leaves what can be tabulated.
    pub fn basis(&self) -> Result<Arc<Basis>, StageError> {
        let mut basis = self.basis.lock().expect("no thread panicked");
        if let Some(made) = &*basis {
            return Ok(made.clone());
        }
        Ok(basis.insert(Arc::new(self.make_basis()?)).clone())
    }

    fn make_basis(&self) -> Result<Basis, StageError> {
        Basis::new(self.forward.clone(), Components::Full, self.prior.a_v.1).map_err(in_prior)
    }
}

fn in_prior(error: outshine_sps::SpsError) -> StageError {
    StageError::Campaign { section: "prior", problem: error.to_string() }
}

/// The SSP library of a `[model]` section, and the rest of the section.
///
/// `library` is a file, `library_digest` the SHA-256 of its bytes: the digest
/// makes the library's content a part of the campaign's identity, so that no
/// resume can go on with another. Without them it is the embedded library.
fn library(model: &Section) -> Result<(SspLibrary, Section), StageError> {
    let bad = |problem: String| StageError::Campaign { section: "model", problem };
    let mut rest = model.clone();
    let mut text = |key: &str| match rest.remove(key) {
        None => Ok(None),
        Some(serde_json::Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(bad(format!("`{key}` is {other}: a text is expected"))),
    };
    let (path, digest) = (text("library")?, text("library_digest")?);
    let Some(path) = path else {
        if digest.is_some() {
            return Err(bad("`library_digest` is given without `library`".to_owned()));
        }
        return Ok((SspLibrary::embedded()?, rest));
    };
    let library = SspLibrary::open(Path::new(&path)).map_err(|e| bad(e.to_string()))?;
    let found = library.digest();
    match digest {
        Some(digest) if digest == found => Ok((library, rest)),
        Some(digest) => Err(bad(format!(
            "library {path} is not the one that the campaign names: its digest is {found}, \
             `library_digest` is {digest}"
        ))),
        None => Err(bad(format!(
            "`library` needs its digest beside it, so that results cannot change with the file: \
             library_digest = \"{found}\""
        ))),
    }
}

/// Filter curves of the campaign's own, taken out of a `[model]` section:
/// `curves.NAME` is the text of a two-column table, and so a part of the
/// campaign's identity.
fn curves(model: &mut Section) -> Result<BTreeMap<String, String>, StageError> {
    let Some(curves) = model.remove("curves") else { return Ok(BTreeMap::new()) };
    serde_json::from_value(curves).map_err(|e| StageError::Campaign {
        section: "model",
        problem: format!("`curves`: {e}; one text of two columns per band is expected"),
    })
}

fn section<T: DeserializeOwned>(section: &'static str, keys: &Section) -> Result<T, StageError> {
    serde_json::from_value(serde_json::Value::Object(keys.clone()))
        .map_err(|e| StageError::Campaign { section, problem: e.to_string() })
}

#[cfg(all(test, feature = "bc03"))]
mod tests {
    use super::*;
    use serde_json::json;

    fn model(keys: serde_json::Value) -> Section {
        keys.as_object().unwrap().clone()
    }

    #[test]
    fn a_library_is_taken_by_path_and_digest() {
        let (embedded, rest) = library(&model(json!({"log_u": -2.5}))).unwrap();
        assert_eq!(rest, model(json!({"log_u": -2.5})));
        let path = std::env::temp_dir().join(format!("outshine-{}.ssp", std::process::id()));
        let bytes = embedded.to_bytes();
        std::fs::write(&path, &bytes).unwrap();
        let name = path.to_str().unwrap();

        let problem = |keys| library(&model(keys)).err().unwrap().to_string();
        let error = problem(json!({"library": name}));
        let paste = format!("library_digest = \"{}\"", embedded.digest());
        assert!(error.contains(&paste), "{error}");
        let error = problem(json!({"library": name, "library_digest": "00"}));
        assert!(error.contains("is not the one") && error.contains(&embedded.digest()), "{error}");
        let error = problem(json!({"library_digest": embedded.digest()}));
        assert!(error.contains("without `library`"), "{error}");
        let error = problem(json!({"library": 3}));
        assert!(error.contains("a text is expected"), "{error}");

        let keys = json!({"library": name, "library_digest": embedded.digest(), "log_u": -1.0});
        let (again, rest) = library(&model(keys)).unwrap();
        assert_eq!(again, embedded);
        assert_eq!(rest, model(json!({"log_u": -1.0})));

        std::fs::write(&path, &bytes[..1000]).unwrap();
        let error = problem(json!({"library": name, "library_digest": embedded.digest()}));
        assert!(error.contains(name) && error.contains("compressed arrays"), "{error}");
        std::fs::remove_file(&path).unwrap();
        let error = problem(json!({"library": name}));
        assert!(error.contains(name), "{error}");
    }
}
