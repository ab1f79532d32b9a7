//! The tables: one file per kind, each with its columns, units and version.

mod field;
mod fitted;
mod products;
mod profiles;
mod simulations;

pub use field::{field, galaxies, truth};
pub use fitted::{blocks, samples, summaries};
pub use products::{calibration, catalogue, redshift_calibration, validation};
pub use profiles::{PROFILED, profiles};
pub use simulations::simulations;

use arrow::datatypes::{DataType, Field};
use std::collections::HashMap;

/// Key of the version among a table's metadata; its value is `kind/version`.
pub const TABLE_KEY: &str = "outshine.table";

/// Pixels per block: the unit in which pixels are summed, so that a sum does
/// not depend on how fitting was cut.
pub const BLOCK_PIXELS: usize = 512;

/// A parameter: name, unit and meaning.
pub type Parameter = (&'static str, &'static str, &'static str);

/// Every parameter that a table can hold.
const PARAMETERS: [Parameter; 16] = [
    ("log_mass_formed", "log10(Msun)", "stellar mass formed"),
    ("log_tau_gyr", "log10(Gyr)", "e-folding time of the star-formation history"),
    ("t_i_fraction", "", "start of star formation over the age of the universe"),
    ("log_ssfr_100", "log10(1/yr)", "mean star-formation rate of the last 100 Myr per mass formed"),
    ("t25_over_t50", "", "t25 over t50"),
    ("t50_over_t75", "", "t50 over t75"),
    ("t25", "", "time at which a quarter of the mass had formed, over the age of the universe"),
    ("t50", "", "time at which half of the mass had formed, over the age of the universe"),
    (
        "t75",
        "",
        "time at which three quarters of the mass had formed, over the age of the universe",
    ),
    ("metallicity", "log10(Z/Zsun)", "stellar and gas metallicity"),
    ("a_v", "mag", "attenuation at 5500 Angstrom"),
    ("log_mass_stellar", "log10(Msun)", "stellar mass surviving, remnants included"),
    ("log_sfr_100", "log10(Msun/yr)", "mean star-formation rate of the last 100 Myr"),
    ("t_i_gyr", "Gyr", "cosmic time at which star formation starts"),
    ("mass_weighted_age_gyr", "Gyr", "mass-weighted age"),
    ("t50_lookback_gyr", "Gyr", "time since half of the mass had formed"),
];

/// What is reported of the tau-delayed family, in the order of every table.
pub const TAU_REPORTED: &[&str] = &[
    "log_mass_formed",
    "log_tau_gyr",
    "t_i_fraction",
    "metallicity",
    "a_v",
    "log_mass_stellar",
    "log_sfr_100",
    "t_i_gyr",
    "mass_weighted_age_gyr",
];

/// What is reported of the Dirichlet family, in the order of every table.
pub const DIRICHLET_REPORTED: &[&str] = &[
    "log_mass_formed",
    "metallicity",
    "a_v",
    "log_mass_stellar",
    "log_sfr_100",
    "t25",
    "t50",
    "t75",
    "mass_weighted_age_gyr",
    "t50_lookback_gyr",
];

/// Unit and meaning of a parameter.
///
/// # Panics
/// For a name that no table holds.
#[must_use]
pub fn parameter(name: &str) -> &'static Parameter {
    let found = PARAMETERS.iter().find(|p| p.0 == name);
    found.unwrap_or_else(|| panic!("`{name}` is a parameter of no table"))
}

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
