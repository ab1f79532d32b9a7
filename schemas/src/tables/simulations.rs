//! Simulations: parameters and their noiseless photometry. Noise, depth and
//! missing bands are applied when a simulation is used, anew in each epoch.

use super::{column, parameter};
use arrow::datatypes::{DataType, Schema};

/// One row per simulation, in order of `index`; `free`: the free coordinates.
#[must_use]
pub fn simulations(free: &[&str], bands: &[String]) -> Schema {
    let mut fields = vec![
        column("index", DataType::UInt64, false, "", "meta.id", "simulation"),
        column("redshift", DataType::Float64, false, "", "src.redshift", "redshift"),
    ];
    for (name, unit, ucd, meaning) in free.iter().map(|name| parameter(name)) {
        fields.push(column(*name, DataType::Float64, false, unit, ucd, meaning));
    }
    for band in bands {
        let meaning = "noiseless flux density";
        let (name, ucd) = (format!("flux_njy_{band}"), "phot.flux.density");
        fields.push(column(name, DataType::Float64, false, "nJy", ucd, meaning));
    }
    Schema::new(fields)
}
