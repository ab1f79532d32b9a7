//! What is made of chosen pixels: their draws, and how these predict their fluxes.

use super::fitted::list;
use super::{Title, column, mean_snr, parameter, pixel_key};
use arrow::datatypes::{DataType, Field, Schema};

/// Of [`predictive_bands`].
pub const PREDICTIVE: Title =
    ("predictive", "Observed fluxes of a pixel, and those that the draws of its posterior predict");

/// Draws of one pixel, one row each.
#[must_use]
pub fn pixel_draws(parameters: &[&str]) -> Schema {
    let redshift = column("redshift", DataType::Float64, false, "", "src.redshift", "redshift");
    let draws = parameters.iter().map(|name| {
        let (name, unit, ucd, meaning) = *parameter(name);
        column(name, DataType::Float32, false, unit, ucd, meaning)
    });
    Schema::new(draws.chain([redshift]).collect::<Vec<Field>>())
}

fn verdict() -> Vec<Field> {
    let goodness = "stat.fit.goodness";
    vec![
        column("bands", DataType::UInt32, false, "", "meta.number", "observed bands"),
        column(
            "chi_square_least",
            DataType::Float64,
            false,
            "",
            goodness,
            "chi^2 of the fluxes from those of the draw that comes closest",
        ),
        column(
            "p_value",
            DataType::Float64,
            false,
            "",
            "stat.probability",
            "posterior predictive p-value: share of replicated data with a larger chi^2",
        ),
    ]
}

/// Posterior predictive checks, one row per pixel, with chi^2 at each of `draws` draws.
#[must_use]
pub fn predictive(draws: usize) -> Schema {
    let mut fields = pixel_key();
    fields.push(mean_snr());
    fields.extend(verdict());
    let meaning = "chi^2 of the fluxes from those of each draw";
    let kind = list(draws, DataType::Float64);
    fields.push(column("chi_square", kind, false, "", "stat.fit.goodness", meaning));
    Schema::new(fields)
}

/// The check of one pixel, one row per band. Null: not observed.
#[must_use]
pub fn predictive_bands() -> Schema {
    let flux = "phot.flux.density";
    let mut fields = pixel_key();
    for (name, kind, nullable, unit, ucd, meaning) in [
        ("band", DataType::Utf8, false, "", "", "name of the band"),
        ("pivot_um", DataType::Float64, false, "um", "", "pivot wavelength of the band"),
        ("flux_njy", DataType::Float64, true, "nJy", flux, "observed flux density"),
        ("err_njy", DataType::Float64, true, "nJy", "stat.error;phot.flux.density", "its error"),
    ] {
        fields.push(column(name, kind, nullable, unit, ucd, meaning));
    }
    for (name, percentile) in
        [("p02", "2.5th"), ("p16", "16th"), ("p50", "50th"), ("p84", "84th"), ("p97", "97.5th")]
    {
        let meaning =
            format!("{percentile} percentile of the draws' flux densities, without noise");
        let name = format!("model_njy_{name}");
        fields.push(column(name, DataType::Float64, false, "nJy", flux, &meaning));
    }
    let meaning = "observed less median, in errors";
    fields.push(column("residual_sigma", DataType::Float64, true, "", "", meaning));
    fields.extend(verdict());
    Schema::new(fields)
}
