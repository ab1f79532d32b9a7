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
