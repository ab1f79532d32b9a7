//! What is to be fitted, counted: from the committed field, the user's tables,
//! or the settings of a mock.

use arrow::array::Array;
use bytes::Bytes;
use outshine_schemas::campaign::Section;
use outshine_schemas::outcome::CommitRecord;
use outshine_schemas::tables::BLOCK_PIXELS;
use outshine_store::{StoreError, parquet};
use std::collections::BTreeMap;

/// Where a count comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The committed field.
    Field,
    /// The user's tables.
    Tables,
    /// The settings of a mock.
    Mock,
}

/// What is to be fitted, in figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Where they come from.
    pub source: Source,
    /// Member pixels of all galaxies.
    pub pixels: u64,
    /// Those that are fitted.
    pub fitted: u64,
    /// Member pixels whose redshift is not known.
    pub free: u64,
    /// Galaxies.
    pub galaxies: u64,
    /// Blocks of pixels.
    pub blocks: u64,
    /// Whether galaxies and blocks, and with them tasks, can be fewer.
    pub at_most: bool,
    /// Whether fitted pixels can be fewer.
    pub fitted_at_most: bool,
}

impl Counts {
    /// Exact, by what the committed stage field says; the redshifts that are not
    /// known it does not count. `None` where it says too little.
    #[must_use]
    pub fn of_field(record: &CommitRecord, free: u64) -> Option<Self> {
        Some(Self {
            source: Source::Field,
            pixels: record.count("pixels")?,
            fitted: record.count("pixels_to_fit")?,
            free,
            galaxies: record.count("galaxies")?,
            blocks: record.count("blocks")?,
            at_most: false,
            fitted_at_most: false,
        })
    }

    /// By the table that says which pixel belongs to which galaxy. Galaxies and
    /// blocks are exact; the limit of S/N and bad values can only lower what is
    /// fitted.
    ///
    /// # Errors
    /// A table that cannot be read or lacks `galaxy_id` or `redshift`.
    pub fn of_table(name: &str, bytes: Bytes) -> Result<Self, StoreError> {
        let table = parquet::decode(name, bytes, Some(&["galaxy_id", "redshift"]))?;
        let (id, redshift) = (table.int64("galaxy_id")?, table.float64("redshift")?);
        let mut members: BTreeMap<i64, u64> = BTreeMap::new();
        let mut free = 0;
        for row in (0..table.rows()).filter(|&row| id.is_valid(row)) {
            *members.entry(id.value(row)).or_default() += 1;
            free += u64::from(redshift.is_null(row) || redshift.value(row).is_nan());
        }
        let pixels = members.values().sum();
        Ok(Self {
            source: Source::Tables,
            pixels,
            fitted: pixels,
            free,
            galaxies: members.len() as u64,
            blocks: members.values().map(|n| n.div_ceil(BLOCK_PIXELS as u64)).sum(),
            at_most: false,
            fitted_at_most: true,
        })
    }

    /// By a mock's settings. Of galaxies with a shape only the stamp is known,
    /// which they need not fill.
    #[must_use]
    pub fn of_mock(mock: &Section) -> Self {
        let of = |key: &str, default: u64| {
            mock.get(key).and_then(serde_json::Value::as_u64).unwrap_or(default)
        };
        let shaped = mock.get("kind").and_then(serde_json::Value::as_str) != Some("prior");
        let galaxies = of("galaxies", 28);
        let each = if shaped { of("stamp", 48).pow(2) } else { of("pixels_per_galaxy", 25) };
        Self {
            source: Source::Mock,
            pixels: galaxies * each,
            fitted: galaxies * each,
            free: 0,
            galaxies,
            blocks: galaxies * each.div_ceil(BLOCK_PIXELS as u64),
            at_most: shaped,
            fitted_at_most: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
    use arrow::datatypes::{DataType, Field, Schema};
    use std::sync::Arc;

    #[test]
    fn a_table_is_counted_galaxy_by_galaxy() {
        // 513 pixels of galaxy 7, one of galaxy 9 without a redshift, two of the sky.
        let mut id: Vec<Option<i64>> = vec![Some(7); 513];
        id.extend([Some(9), None, None]);
        let mut redshift: Vec<Option<f64>> = vec![Some(1.0); 513];
        redshift.resize(516, None);
        let schema = Arc::new(Schema::new(vec![
            Field::new("galaxy_id", DataType::Int64, true),
            Field::new("redshift", DataType::Float64, true),
        ]));
        let columns: Vec<ArrayRef> =
            vec![Arc::new(Int64Array::from(id)), Arc::new(Float64Array::from(redshift))];
        let batch = RecordBatch::try_new(schema.clone(), columns).unwrap();
        let bytes = parquet::encode(&schema, &[batch], &[], 100).unwrap();
        let counts = Counts::of_table("t", bytes).unwrap();
        assert_eq!((counts.pixels, counts.galaxies, counts.blocks), (514, 2, 3));
        assert_eq!((counts.free, counts.at_most, counts.fitted_at_most), (1, false, true));
        let error = Counts::of_table("t", Bytes::from_static(b"no table")).unwrap_err();
        assert!(error.to_string().contains('t'), "{error}");
    }
}
