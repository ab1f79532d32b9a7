//! What fitting leaves: draws, their summaries, and sums over blocks.

use super::{
    PARAMETERS, column, flags_column, mean_snr, parameter, percentiles, photometry, pixel_key,
};
use arrow::datatypes::{DataType, Field, Schema};
use std::sync::Arc;

pub(super) fn list(width: usize, kind: DataType) -> DataType {
    let width = i32::try_from(width).expect("fewer than 2^31 draws");
    DataType::FixedSizeList(Arc::new(Field::new("element", kind, false)), width)
}

/// Posterior draws: one row per fitted pixel, one list of `draws` per kept
/// parameter. Rows of a block are in the order in which they are packed.
#[must_use]
pub fn samples(parameters: &[&str], draws: usize) -> Schema {
    let mut fields = pixel_key();
    fields.push(mean_snr());
    fields.push(flags_column());
    for (name, unit, ucd, meaning) in parameters.iter().map(|name| parameter(name)) {
        fields.push(column(*name, list(draws, DataType::Float32), false, unit, ucd, meaning));
    }
    Schema::new(fields)
}

/// Summaries: one row per member pixel; null where it was not fitted. With
/// `truth`, the true value and the fraction of draws below it as well; with
/// `redshifts`, the redshift of each pixel by itself.
#[must_use]
pub fn summaries(parameters: &[&str], truth: bool, redshifts: bool) -> Schema {
    let mut fields = pixel_key();
    fields.push(mean_snr());
    fields.push(flags_column());
    let meaning = "distance of the fluxes from those of the fit, as a normal deviate";
    let ucd = "stat.fit.goodness";
    fields.push(column("misfit", DataType::Float32, true, "", ucd, meaning));
    if redshifts {
        let meaning = "redshift that the pixel's own fluxes ask for";
        let kind = DataType::Float32;
        fields.extend(percentiles("pixel_redshift", &kind, "", "src.redshift.phot", meaning));
    }
    for (name, unit, ucd, meaning) in parameters.iter().map(|name| parameter(name)) {
        fields.extend(percentiles(name, &DataType::Float32, unit, ucd, meaning));
        if truth {
            let (truth, ucd) = (format!("{meaning}, true"), format!("{ucd};meta.modelled"));
            let name = |end: &str| format!("{name}_{end}");
            fields.push(column(name("true"), DataType::Float32, true, unit, &ucd, &truth));
            let meaning = format!("{meaning}: fraction of draws below the truth");
            let (name, ucd) = (name("rank"), "stat.probability");
            fields.push(column(name, DataType::Float32, true, "", ucd, &meaning));
        }
    }
    Schema::new(fields)
}

/// Every column that a file of [`summaries`] may have.
#[must_use]
pub fn every_summary() -> Schema {
    summaries(&PARAMETERS.map(|parameter| parameter.0), true, true)
}

/// Sums over the fitted pixels of each block, in order of pixel rank.
#[must_use]
pub fn blocks(bands: &[String], draws: usize) -> Schema {
    let number = "meta.number";
    let mut fields = vec![
        column("block", DataType::UInt32, false, "", "", "block"),
        column("galaxy_id", DataType::Int64, false, "", "meta.id.parent", "galaxy"),
        column("pixels_available", DataType::UInt32, false, "", number, "member pixels"),
        column("pixels_used", DataType::UInt32, false, "", number, "fitted pixels"),
    ];
    for (name, unit, ucd, meaning) in [
        ("mass_stellar", "Msun", "phys.mass", "sum of surviving mass, draw by draw"),
        ("mass_formed", "Msun", "phys.mass", "sum of formed mass, draw by draw"),
        ("sfr_100", "Msun/yr", "phys.SFR", "sum of star-formation rate, draw by draw"),
        ("mass_formed_age", "Msun.Gyr", "", "sum of formed mass times age, draw by draw"),
        ("mass_formed_a_v", "Msun.mag", "", "sum of formed mass times attenuation, draw by draw"),
    ] {
        fields.push(column(name, list(draws, DataType::Float64), false, unit, ucd, meaning));
    }
    for name in ["mass_stellar", "mass_formed"] {
        let meaning = "sum of the sorted draws of each pixel";
        let name = format!("{name}_sorted");
        fields.push(column(
            name,
            list(draws, DataType::Float64),
            false,
            "Msun",
            "phys.mass",
            meaning,
        ));
    }
    for name in ["mass_stellar", "mass_formed", "sfr_100", "mass_formed_age", "mass_formed_a_v"] {
        let meaning = "true sum over the fitted pixels; null: unknown";
        fields.push(column(format!("{name}_true"), DataType::Float64, true, "", "", meaning));
    }
    for band in bands {
        let meaning = "fitted pixels observed in the band";
        let name = format!("observed_{band}");
        fields.push(column(name, DataType::UInt32, false, "", number, meaning));
    }
    // Errors are summed in quadrature.
    fields.extend(photometry(bands, &DataType::Float64));
    Schema::new(fields)
}
