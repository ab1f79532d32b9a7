//! Tables to and from Parquet, with the project's metadata.

use super::StageError;
use arrow::array::{ArrayRef, FixedSizeListArray, Float32Array, Float64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use bytes::Bytes;
use outshine_schemas::tables::{TABLE_KEY, Title, UNITS_KEY, units_of};
use outshine_store::parquet;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rows per row group.
const ROW_GROUP: usize = 4096;

/// Joins columns to a table of `schema` and encodes it, with its kind and
/// `about` in the file's metadata.
pub fn encode(
    kind: &str,
    schema: Schema,
    columns: Vec<ArrayRef>,
    about: &BTreeMap<String, String>,
) -> Result<(Bytes, u64), StageError> {
    let schema = Arc::new(schema);
    let batch = RecordBatch::try_new(schema.clone(), columns)?;
    encode_batches(kind, &schema, &[batch], about)
}

/// As [`encode`], for draws that were packed: `row_groups` are the rows of
/// each group of pixels that share numbers.
pub fn encode_packed(
    kind: &str,
    schema: Schema,
    columns: Vec<ArrayRef>,
    about: &BTreeMap<String, String>,
    row_groups: &[usize],
) -> Result<(Bytes, u64), StageError> {
    let schema = Arc::new(schema);
    let batch = RecordBatch::try_new(schema.clone(), columns)?;
    let units = units_of(&schema);
    let metadata = metadata(kind, &units, about);
    let rows = batch.num_rows() as u64;
    Ok((parquet::encode_shared(&schema, &[batch], &metadata, row_groups)?, rows))
}

/// As [`encode`], from batches.
pub fn encode_batches(
    kind: &str,
    schema: &Arc<Schema>,
    batches: &[RecordBatch],
    about: &BTreeMap<String, String>,
) -> Result<(Bytes, u64), StageError> {
    let units = units_of(schema);
    let metadata = metadata(kind, &units, about);
    let rows = batches.iter().map(|b| b.num_rows() as u64).sum();
    let bytes = parquet::encode(schema, batches, &metadata, ROW_GROUP)?;
    Ok((bytes, rows))
}

/// `about` with the VOTable that astronomers' readers look for in a table that
/// they are given: units, UCDs and descriptions of its columns. Its rows are
/// needed where it has columns of text.
pub fn votable(
    (name, description): Title,
    schema: &Schema,
    batches: &[RecordBatch],
    about: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, StageError> {
    let table = outshine_formats::Table {
        name: name.to_owned(),
        description: description.to_owned(),
        schema: Arc::new(schema.clone()),
        batches: batches.to_vec(),
        about: about.clone(),
    };
    let pairs = outshine_formats::parquet_metadata(&table)
        .map_err(|e| StageError::Permanent(e.to_string()))?;
    let pairs = pairs.map(|(key, value)| (key.to_owned(), value));
    Ok(about.iter().map(|(k, v)| (k.clone(), v.clone())).chain(pairs).collect())
}

fn metadata<'a>(
    kind: &'a str,
    units: &'a str,
    about: &'a BTreeMap<String, String>,
) -> Vec<(&'a str, &'a str)> {
    let mut metadata: Vec<(&str, &str)> = vec![(TABLE_KEY, kind), (UNITS_KEY, units)];
    metadata.extend(about.iter().map(|(k, v)| (k.as_str(), v.as_str())));
    metadata
}

/// A column of single-precision lists, all of `width` values.
pub fn list_f32(values: Vec<f32>, width: usize) -> Result<ArrayRef, StageError> {
    let item = Arc::new(Field::new("element", DataType::Float32, false));
    let width = i32::try_from(width).map_err(|e| StageError::Permanent(e.to_string()))?;
    let list =
        FixedSizeListArray::try_new(item, width, Arc::new(Float32Array::from(values)), None)?;
    Ok(Arc::new(list))
}

/// A column of double-precision lists, all of `width` values.
pub fn list_f64(values: Vec<f64>, width: usize) -> Result<ArrayRef, StageError> {
    let item = Arc::new(Field::new("element", DataType::Float64, false));
    let width = i32::try_from(width).map_err(|e| StageError::Permanent(e.to_string()))?;
    let list =
        FixedSizeListArray::try_new(item, width, Arc::new(Float64Array::from(values)), None)?;
    Ok(Arc::new(list))
}

/// An empty `about`.
pub fn plain() -> BTreeMap<String, String> {
    BTreeMap::new()
}
