//! What fitting leaves: draws, their summaries, and sums over blocks.

use super::{column, parameter, photometry, pixel_key};
use arrow::datatypes::{DataType, Field, Schema};
use std::sync::Arc;

fn list(width: usize, kind: DataType) -> DataType {
    let width = i32::try_from(width).expect("fewer than 2^31 draws");
    DataType::FixedSizeList(Arc::new(Field::new("element", kind, false)), width)
}

/// Posterior draws: one row per fitted pixel, one list of `draws` per kept
/// parameter. Rows of a block are in the order in which they are packed.
#[must_use]
pub fn samples(parameters: &[&str], draws: usize) -> Schema {
    let mut fields = pixel_key();
    fields.push(column("mean_snr", DataType::Float32, false, "", "mean S/N over the S/N bands"));
    fields.push(column("flags", DataType::UInt32, false, "", "sum of flag bits"));
    for (name, unit, meaning) in parameters.iter().map(|name| parameter(name)) {
        fields.push(column(*name, list(draws, DataType::Float32), false, unit, meaning));
    }
    Schema::new(fields)
}

/// Summaries: one row per member pixel; null where it was not fitted. With
/// `truth`, the true value and the fraction of draws below it as well; with
/// `redshifts`, the redshift of each pixel by itself.
#[must_use]
pub fn summaries(parameters: &[&str], truth: bool, redshifts: bool) -> Schema {
    let mut fields = pixel_key();
    fields.push(column("mean_snr", DataType::Float32, false, "", "mean S/N over the S/N bands"));
    fields.push(column("flags", DataType::UInt32, false, "", "sum of flag bits"));
    let meaning = "distance of the fluxes from those of the fit, as a normal deviate";
    fields.push(column("misfit", DataType::Float32, true, "", meaning));
    if redshifts {
        let meaning = "redshift that the pixel's own fluxes ask for";
        for p in ["p16", "p50", "p84"] {
            let name = format!("pixel_redshift_{p}");
            fields.push(column(name, DataType::Float32, true, "", meaning));
        }
    }
    for (name, unit, meaning) in parameters.iter().map(|name| parameter(name)) {
        for p in ["p16", "p50", "p84"] {
            fields.push(column(format!("{name}_{p}"), DataType::Float32, true, unit, meaning));
        }
        if truth {
            fields.push(column(format!("{name}_true"), DataType::Float32, true, unit, meaning));
            let meaning = "fraction of draws below the truth";
            fields.push(column(format!("{name}_rank"), DataType::Float32, true, "", meaning));
        }
    }
    Schema::new(fields)
}

/// Sums over the fitted pixels of each block, in order of pixel rank.
#[must_use]
pub fn blocks(bands: &[String], draws: usize) -> Schema {
    let mut fields = vec![
        column("block", DataType::UInt32, false, "", "block"),
        column("galaxy_id", DataType::Int64, false, "", "galaxy"),
        column("pixels_available", DataType::UInt32, false, "", "member pixels"),
        column("pixels_used", DataType::UInt32, false, "", "fitted pixels"),
    ];
    for (name, unit, meaning) in [
        ("mass_stellar", "Msun", "sum of surviving mass, draw by draw"),
        ("mass_formed", "Msun", "sum of formed mass, draw by draw"),
        ("sfr_100", "Msun/yr", "sum of star-formation rate, draw by draw"),
    ] {
        fields.push(column(name, list(draws, DataType::Float64), false, unit, meaning));
    }
    for name in ["mass_stellar_true", "mass_formed_true", "sfr_100_true"] {
        let meaning = "true sum over the fitted pixels; null: unknown";
        fields.push(column(name, DataType::Float64, true, "", meaning));
    }
    for band in bands {
        let meaning = "fitted pixels observed in the band";
        fields.push(column(format!("observed_{band}"), DataType::UInt32, false, "", meaning));
    }
    // Errors are summed in quadrature.
    fields.extend(photometry(bands, &DataType::Float64));
    Schema::new(fields)
}
