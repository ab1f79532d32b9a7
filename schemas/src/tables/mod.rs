//! The tables: one file per kind, each with its columns, units and version.

mod field;
mod fitted;
mod products;
mod simulations;

pub use field::{field, galaxies, truth};
pub use fitted::{blocks, samples, summaries};
pub use products::{calibration, catalogue, validation};
pub use simulations::simulations;

use arrow::datatypes::{DataType, Field};
use std::collections::HashMap;

/// Key of the version among a table's metadata; its value is `kind/version`.
pub const TABLE_KEY: &str = "outshine.table";

/// Pixels per block: the unit in which pixels are summed, so that a sum does
/// not depend on how fitting was cut.
pub const BLOCK_PIXELS: usize = 256;

/// The parameters of the tau-delayed model, in the order of every table, with
/// unit and meaning: first the free ones, then those that follow from them.
pub const TAU_PARAMETERS: [(&str, &str, &str); 9] = [
    ("log_mass_formed", "log10(Msun)", "stellar mass formed"),
    ("log_tau_gyr", "log10(Gyr)", "e-folding time of the star-formation history"),
    ("t_i_fraction", "", "start of star formation over the age of the universe"),
    ("metallicity", "log10(Z/Zsun)", "stellar and gas metallicity"),
    ("a_v", "mag", "attenuation at 5500 Angstrom"),
    ("log_mass_stellar", "log10(Msun)", "stellar mass surviving, remnants included"),
    ("log_sfr_100", "log10(Msun/yr)", "mean star-formation rate of the last 100 Myr"),
    ("t_i_gyr", "Gyr", "cosmic time at which star formation starts"),
    ("mass_weighted_age_gyr", "Gyr", "mass-weighted age"),
];

/// Number of free parameters, which come first in [`TAU_PARAMETERS`].
pub const TAU_FREE: usize = 5;

fn column(
    name: impl Into<String>,
    kind: DataType,
    nullable: bool,
    unit: &str,
    meaning: &str,
) -> Field {
    let mut about = HashMap::new();
    if !unit.is_empty() {
        about.insert("unit".to_owned(), unit.to_owned());
    }
    about.insert("description".to_owned(), meaning.to_owned());
    Field::new(name, kind, nullable).with_metadata(about)
}

fn photometry(bands: &[String], kind: &DataType) -> Vec<Field> {
    let mut fields = Vec::new();
    for band in bands {
        fields.push(column(format!("flux_njy_{band}"), kind.clone(), false, "nJy", "flux density"));
        let meaning = "standard error of the flux; 0: not observed";
        fields.push(column(format!("err_njy_{band}"), kind.clone(), false, "nJy", meaning));
    }
    fields
}

fn pixel_key() -> Vec<Field> {
    vec![
        column("galaxy_id", DataType::Int64, false, "", "galaxy that the pixel belongs to"),
        column("x", DataType::Int32, false, "pixel", "column of the pixel"),
        column("y", DataType::Int32, false, "pixel", "row of the pixel"),
    ]
}
