//! Posterior predictive checks of pixels, as a table.

use super::html::{Page, Rows, number};
use crate::stages::again::Spot;
use crate::tools::pixel::{Prediction, p_value};
use serde_json::{Value, json};

/// A pixel that was checked.
pub struct Checked {
    /// Where it is.
    pub spot: Spot,
    /// Mean S/N.
    pub mean_snr: f32,
    /// What its posterior predicts.
    pub prediction: Prediction,
}

const CAPTION: &str = "Fluxes that the posterior predicts against the observed ones: the smallest \u{3c7}\u{b2} of \
    a draw, and the posterior predictive p-value: the share of replicated data that are further from their draw \
    than the observed ones. Small ones tell of fluxes that the model has not, or of a posterior that is too wide.";

/// Writes the table.
pub fn checks(page: &mut Page, all: &[Checked]) {
    let mut rows = Rows::new(
        &["galaxy", "x", "y", "mean S/N", "bands", "smallest \u{3c7}\u{b2}", "p-value"],
        0,
    );
    for Checked { spot, mean_snr, prediction } in all {
        let check = &prediction.check;
        rows.add(vec![
            spot.galaxy_id.to_string(),
            spot.x.to_string(),
            spot.y.to_string(),
            number(f64::from(*mean_snr), 1),
            check.bands.to_string(),
            number(check.least, 1),
            p_value(check.p_value, ""),
        ]);
    }
    page.table(&rows, CAPTION);
    if all.iter().any(|checked| checked.prediction.exact) {
        page.note(
            "Draws of the Dirichlet family hold no rate of the last 10 Myr, on which the blue bands depend: \
             these checks are of the exact posterior, sampled anew.",
        );
    }
}

/// The same for programs.
#[must_use]
pub fn checks_json(all: &[Checked]) -> Value {
    let one = |checked: &Checked| {
        let (spot, check) = (checked.spot, &checked.prediction.check);
        json!({
            "galaxy_id": spot.galaxy_id, "x": spot.x, "y": spot.y, "mean_snr": checked.mean_snr,
            "bands": check.bands, "chi_square_least": check.least, "p_value": check.p_value,
        })
    };
    Value::Array(all.iter().map(one).collect())
}
