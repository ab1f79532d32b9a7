//! Estimators that were trained before the campaign: those that come with the
//! program, and whether one fits what a campaign asks.

use super::{Science, StageError};
use bytes::Bytes;
use outshine_npe::Model;
use outshine_sps::SfhFamily;

/// Description and weights of the estimator that comes with the program for a
/// family of histories. `deploy/campaigns/estimator-*.toml` make them.
pub fn files(family: SfhFamily) -> Result<[Bytes; 2], StageError> {
    macro_rules! model {
        ($name:literal) => {
            [
                Bytes::from_static(include_bytes!(concat!("../../models/", $name, "/model.json"))),
                Bytes::from_static(include_bytes!(concat!(
                    "../../models/",
                    $name,
                    "/model.safetensors"
                ))),
            ]
        };
    }
    match family {
        SfhFamily::Tau => Ok(model!("tau")),
        SfhFamily::Dirichlet => Ok(model!("dirichlet")),
        other => Err(mismatch(format!("no estimator of {other:?} histories comes with it"))),
    }
}

/// Keys of the provenance that decide what an estimator is an estimator of.
const DECISIVE: [(&str, &str); 3] = [
    ("outshine.prior", "prior"),
    ("outshine.ssp_library_digest", "SSP library"),
    ("outshine.model_options", "forward model"),
];

/// Refuses a model of another prior, library, forward model or set of bands
/// than the campaign's.
pub fn check(science: &Science, model: &Model) -> Result<(), StageError> {
    for (key, what) in DECISIVE {
        let (own, asked) = (model.provenance().get(key), science.provenance.get(key));
        if own != asked {
            let text = |value: Option<&String>| value.cloned().unwrap_or_else(|| "none".into());
            return Err(mismatch(format!(
                "its {what} is {}, the campaign's {}",
                text(own),
                text(asked)
            )));
        }
    }
    let bands = model.features().bands();
    if let Some(band) = science.target.features.bands().iter().find(|b| !bands.contains(b)) {
        return Err(mismatch(format!(
            "`{band}` is none of the bands that it knows: {}",
            bands.join(", ")
        )));
    }
    Ok(())
}

fn mismatch(why: String) -> StageError {
    StageError::Campaign {
        section: "estimator",
        problem: format!("{why}. Train one for this campaign: estimator = \"train\""),
    }
}

#[cfg(all(test, feature = "bc03"))]
mod tests {
    use super::*;
    use crate::stages::model::read;
    use crate::tools::card;
    use outshine_schemas::campaign::Campaign;
    use std::path::Path;

    /// Each is an estimator of the default campaign of its family, and the
    /// figures beside it are those of its calibration.
    #[test]
    fn the_estimators_that_come_with_the_program_fit_its_defaults() {
        for (family, name) in [(SfhFamily::Tau, "tau"), (SfhFamily::Dirichlet, "dirichlet")] {
            let text =
                format!("name = \"c\"\n[field.mock]\nkind = \"prior\"\n[prior]\nsfh = \"{name}\"");
            let campaign = Campaign::parse(&text, "c.toml", Path::new("."), &[]).unwrap();
            let science = Science::new(&campaign).unwrap();
            let [description, weights] = files(family).unwrap();
            let model = read(&description, &weights).unwrap();
            check(&science, &model).unwrap();
            assert!(model.knows_redshift());
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(name);
            let card = card(&folder).unwrap();
            assert!(card.contains("sigma_NMAD") && !card.contains("missing"), "{card}");
        }
    }
}
