//! Tables in the formats that astronomers open: FITS binary table, VOTable,
//! CSV, and the VOTable metadata that goes into Parquet files (VOParquet 1.0).
//!
//! Everything that a format says of a column (unit, UCD, description) comes
//! from the metadata of the Arrow schema's fields, as `outshine_schemas::tables`
//! has them; what it says of the whole, from [`Table::about`]. The same table
//! always gives the same bytes: nothing here knows the time.

mod cells;
mod csv;
mod fits;
mod votable;

#[cfg(test)]
mod tests;

pub use csv::{csv, csv_description};
pub use fits::fits;
pub use votable::{PARQUET_CONTENT, PARQUET_VERSION, parquet_metadata, votable};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, SchemaRef};
use outshine_schemas::provenance;
use outshine_schemas::tables::{DESCRIPTION_KEY, UCD_KEY, UNIT_KEY, units};
use std::collections::BTreeMap;
use std::str::FromStr;

/// A table to write.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its name: that of the FITS extension and of the VOTable's table.
    pub name: String,
    /// What it is, in a sentence.
    pub description: String,
    /// Its columns; their metadata say unit, UCD and description.
    pub schema: SchemaRef,
    /// Its rows, with the columns of `schema`.
    pub batches: Vec<RecordBatch>,
    /// Where it comes from; [`provenance::KEYS`] has the meaning of keys.
    pub about: BTreeMap<String, String>,
}

/// Why a table cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// A column has a type that the format, or this crate, does not know.
    #[error("column `{column}` is of type {found}, which {format} does not hold here")]
    Unsupported {
        /// The column.
        column: String,
        /// Its type.
        found: DataType,
        /// The format.
        format: &'static str,
    },
    /// The library that writes the format refused.
    #[error("writing {format}: {reason}")]
    Library {
        /// The format.
        format: &'static str,
        /// In its own words.
        reason: String,
    },
}

/// A format of a catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// Apache Parquet with VOTable metadata.
    Parquet,
    /// FITS binary table.
    Fits,
    /// VOTable, as text.
    Votable,
    /// CSV, with its description beside it.
    Csv,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 4] = [Self::Parquet, Self::Fits, Self::Votable, Self::Csv];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Fits => "fits",
            Self::Votable => "votable",
            Self::Csv => "csv",
        }
    }

    /// What the names of its files end with.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Votable => "vot",
            other => other.name(),
        }
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|format| format.name() == name);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("there is no format `{name}`: {names}")
        })
    }
}

/// What is said of a column.
struct About<'a> {
    /// The unit in its standard form.
    unit: Option<&'a str>,
    ucd: Option<&'a str>,
    description: String,
}

impl<'a> About<'a> {
    fn of(field: &'a Field) -> Self {
        let text = |key: &str| field.metadata().get(key).map(|text| text.as_str());
        let mut description = text(DESCRIPTION_KEY).unwrap_or_default().to_owned();
        let unit = text(UNIT_KEY);
        let standard = unit.and_then(units::standard);
        if let (Some(unit), None) = (unit, standard) {
            description = format!("{description} [{unit}]");
        }
        Self { unit: standard, ucd: text(UCD_KEY), description }
    }
}

/// `about` in the order of the known keys, then the rest: key, FITS keyword
/// where it has one, meaning, value.
fn entries(
    about: &BTreeMap<String, String>,
) -> impl Iterator<Item = (&str, Option<&'static str>, &'static str, &str)> {
    let known = provenance::KEYS.iter().filter_map(|&(key, keyword, meaning)| {
        let (key, value) = about.get_key_value(key)?;
        Some((key.as_str(), Some(keyword), meaning, value.as_str()))
    });
    let is_known = |key: &str| provenance::KEYS.iter().any(|known| known.0 == key);
    let rest = about.iter().filter(move |(key, _)| !is_known(key));
    known.chain(rest.map(|(key, value)| (key.as_str(), None, "", value.as_str())))
}
