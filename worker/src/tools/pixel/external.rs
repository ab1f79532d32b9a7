//! Draws of an external sampler: a table whose columns are named as our parameters.

use crate::stages::StageError;
use arrow::array::{Array, Float64Array};
use bytes::Bytes;
use outshine_store::parquet;
use std::collections::BTreeMap;

/// Fewest draws that make a distribution.
const FEWEST: usize = 10;

/// The draws of another sampler, one row each.
#[derive(Clone, Debug)]
pub struct External {
    /// The name of its file, without folders.
    pub name: String,
    columns: BTreeMap<&'static str, Vec<f64>>,
}

impl External {
    /// Reads a Parquet table from the file `name`: the columns called as one of
    /// `parameters`, or `redshift`; others are left alone.
    ///
    /// # Errors
    /// [`StageError::Input`] naming file, column and mend.
    pub fn read(name: &str, bytes: Bytes, parameters: &[&'static str]) -> Result<Self, StageError> {
        let bad = |problem: String| StageError::Input { file: name.to_owned(), problem };
        let table = parquet::decode(name, bytes, None)?;
        if table.rows() < FEWEST {
            let rows = table.rows();
            return Err(bad(format!("{rows} rows: give a row per draw, {FEWEST} or more")));
        }
        let mut columns = BTreeMap::new();
        for &parameter in parameters.iter().chain(&["redshift"]) {
            if !table.has_column(parameter) {
                continue;
            }
            let column: Float64Array = table.float64(parameter)?;
            let is_good = |&row: &usize| column.is_valid(row) && column.value(row).is_finite();
            if let Some(row) = (0..table.rows()).find(|row| !is_good(row)) {
                return Err(bad(format!(
                    "column `{parameter}`, row {row}: no finite number; leave out draws that \
                     failed, or the column"
                )));
            }
            columns.insert(parameter, column.values().to_vec());
        }
        if columns.is_empty() {
            return Err(bad(format!(
                "has none of the columns that the figure shows: name one or more of {}",
                parameters.join(", ")
            )));
        }
        let file = std::path::Path::new(name).file_name();
        let short = file.map_or(name.into(), |file| file.to_string_lossy());
        Ok(Self { name: short.into_owned(), columns })
    }

    /// The draws of a parameter.
    #[must_use]
    pub fn of(&self, parameter: &str) -> Option<&[f64]> {
        self.columns.get(parameter).map(Vec::as_slice)
    }
}
