//! The tables: one file per kind, each with its columns, units and version.

mod field;
mod fitted;
mod pixels;
mod products;
mod profiles;
mod simulations;
pub mod units;
mod values;

pub use field::{field, galaxies, truth};
pub use fitted::{blocks, every_summary, samples, summaries};
pub use pixels::{PREDICTIVE, pixel_draws, predictive, predictive_bands};
pub use products::{calibration, catalogue, cross_prior, redshift_calibration, sky, validation};
pub use profiles::{PROFILED, profiles};
pub use simulations::simulations;
pub use values::{Kind, Values};

use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use std::collections::HashMap;

/// Key of the version among a table's metadata; its value is `kind/version`.
pub const TABLE_KEY: &str = "outshine.table";

/// Key of the units of all columns, as JSON, among a table's metadata.
pub const UNITS_KEY: &str = "outshine.units";

/// Keys of what is said of a column, among its field's metadata.
pub const UNIT_KEY: &str = "unit";
/// See [`UNIT_KEY`].
pub const UCD_KEY: &str = "ucd";
/// See [`UNIT_KEY`].
pub const DESCRIPTION_KEY: &str = "description";

/// A table's name, and what it is in a sentence.
pub type Title = (&'static str, &'static str);

/// Of [`catalogue`].
pub const CATALOGUE: Title = (
    "catalogue",
    "Stellar masses and star-formation rates of galaxies: resolved, the sum over their pixels, and \
     integrated, the galaxy fitted as one object",
);
/// Of [`summaries`].
pub const SUMMARIES: Title = ("summaries", "Posterior percentiles of every member pixel");
/// Of [`samples`].
pub const SAMPLES: Title = ("samples", "Posterior draws of every fitted pixel");

/// Pixels per block: the unit in which pixels are summed, so that a sum does
/// not depend on how fitting was cut.
pub const BLOCK_PIXELS: usize = 512;

/// A parameter: name, unit, UCD and meaning.
pub type Parameter = (&'static str, &'static str, &'static str, &'static str);

/// Every parameter that a table can hold.
const PARAMETERS: [Parameter; 16] = [
    ("log_mass_formed", "log10(Msun)", "phys.mass", "stellar mass formed"),
    ("log_tau_gyr", "log10(Gyr)", "time.scale", "e-folding time of the star-formation history"),
    (
        "t_i_fraction",
        "",
        "time.start;arith.ratio",
        "start of star formation over the age of the universe",
    ),
    (
        "log_ssfr_100",
        "log10(1/yr)",
        "phys.SFR",
        "mean star-formation rate of the last 100 Myr per mass formed",
    ),
    ("t25_over_t50", "", "time;arith.ratio", "t25 over t50"),
    ("t50_over_t75", "", "time;arith.ratio", "t50 over t75"),
    (
        "t25",
        "",
        "time;arith.ratio",
        "time at which a quarter of the mass had formed, over the age of the universe",
    ),
    (
        "t50",
        "",
        "time;arith.ratio",
        "time at which half of the mass had formed, over the age of the universe",
    ),
    (
        "t75",
        "",
        "time;arith.ratio",
        "time at which three quarters of the mass had formed, over the age of the universe",
    ),
    ("metallicity", "log10(Z/Zsun)", "phys.abund.Z", "stellar and gas metallicity"),
    ("a_v", "mag", "phys.absorption;em.opt.V", "attenuation at 5500 Angstrom"),
    ("log_mass_stellar", "log10(Msun)", "phys.mass", "stellar mass surviving, remnants included"),
    ("log_sfr_100", "log10(Msun/yr)", "phys.SFR", "mean star-formation rate of the last 100 Myr"),
    ("t_i_gyr", "Gyr", "time.start", "cosmic time at which star formation starts"),
    ("mass_weighted_age_gyr", "Gyr", "time.age;stat.mean", "mass-weighted age"),
    ("t50_lookback_gyr", "Gyr", "time.age", "time since half of the mass had formed"),
];

/// Percentiles of a posterior: end of the column's name, UCD word, meaning.
pub(crate) const PERCENTILES: [(&str, &str, &str); 3] = [
    ("p16", "stat.min", "16th percentile"),
    ("p50", "stat.median", "median"),
    ("p84", "stat.max", "84th percentile"),
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

/// Unit, UCD and meaning of a parameter.
///
/// # Panics
/// For a name that no table holds.
#[must_use]
pub fn parameter(name: &str) -> &'static Parameter {
    let found = PARAMETERS.iter().find(|p| p.0 == name);
    found.unwrap_or_else(|| panic!("`{name}` is a parameter of no table"))
}

/// Everything that can be said of a column, in the one place that every format
/// takes it from: `unit` as a person reads it ([`units`] has its standard
/// form), `ucd` in IVOA's UCD1+; either may be empty.
fn column(
    name: impl Into<String>,
    kind: DataType,
    nullable: bool,
    unit: &str,
    ucd: &str,
    meaning: &str,
) -> Field {
    let about = [(UNIT_KEY, unit), (UCD_KEY, ucd), (DESCRIPTION_KEY, meaning)];
    let about = about.into_iter().filter(|(_, text)| !text.is_empty());
    let about = about.map(|(key, text)| (key.to_owned(), text.to_owned()));
    Field::new(name, kind, nullable).with_metadata(about.collect::<HashMap<_, _>>())
}

/// Three columns: the percentiles of a quantity.
fn percentiles(
    name: &str,
    kind: &DataType,
    unit: &str,
    ucd: &str,
    meaning: &str,
) -> impl Iterator<Item = Field> {
    PERCENTILES.into_iter().map(move |(end, word, which)| {
        let (name, ucd) = (format!("{name}_{end}"), format!("{ucd};{word}"));
        column(name, kind.clone(), true, unit, &ucd, &format!("{meaning}, {which}"))
    })
}

fn flags_column() -> Field {
    let meaning = crate::flags::description();
    column("flags", DataType::UInt32, false, "", "meta.code.qual", &meaning)
}

/// `columns` with what is said of columns of the same name in `known`: files
/// keep no such metadata with their columns.
#[must_use]
pub fn described(columns: &Schema, known: &Schema) -> Schema {
    let describe = |field: &FieldRef| match known.field_with_name(field.name()) {
        Ok(known) => field.as_ref().clone().with_metadata(known.metadata().clone()),
        Err(_) => field.as_ref().clone(),
    };
    Schema::new(columns.fields().iter().map(describe).collect::<Vec<_>>())
}

/// Units of the columns as JSON: the value of [`UNITS_KEY`].
#[must_use]
pub fn units_of(schema: &Schema) -> String {
    let fields = schema.fields().iter();
    let units = fields.filter_map(|field| {
        let unit = field.metadata().get(UNIT_KEY)?.as_str();
        Some((field.name().clone(), serde_json::Value::from(unit)))
    });
    serde_json::Value::Object(units.collect()).to_string()
}

fn photometry(bands: &[String], kind: &DataType) -> Vec<Field> {
    let mut fields = Vec::new();
    for band in bands {
        fields.push(column(
            format!("flux_njy_{band}"),
            kind.clone(),
            false,
            "nJy",
            "phot.flux.density",
            "flux density",
        ));
        let meaning = "standard error of the flux; 0: not observed";
        fields.push(column(
            format!("err_njy_{band}"),
            kind.clone(),
            false,
            "nJy",
            "stat.error;phot.flux.density",
            meaning,
        ));
    }
    fields
}

fn pixel_key() -> Vec<Field> {
    let (x, y) = ("pos.cartesian.x;instr.pixel", "pos.cartesian.y;instr.pixel");
    let galaxy = "galaxy that the pixel belongs to";
    vec![
        column("galaxy_id", DataType::Int64, false, "", "meta.id.parent", galaxy),
        column("x", DataType::Int32, false, "pixel", x, "column of the pixel"),
        column("y", DataType::Int32, false, "pixel", y, "row of the pixel"),
    ]
}

fn mean_snr() -> Field {
    let meaning = "mean S/N over the S/N bands";
    column("mean_snr", DataType::Float32, false, "", "stat.snr;stat.mean", meaning)
}

#[cfg(test)]
mod tests;
