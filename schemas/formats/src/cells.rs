//! Arrow's columns in the few types that FITS and VOTable share.

use crate::FormatError;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, FixedSizeListArray, RecordBatch};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field};
use outshine_schemas::tables::{Kind, Values};

/// A column's type: `width` values per row; 1 but for lists of fixed size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub kind: Kind,
    pub width: usize,
}

/// The type in which a column is written.
pub fn shape(field: &Field, format: &'static str) -> Result<Shape, FormatError> {
    let unsupported = || FormatError::Unsupported {
        column: field.name().clone(),
        found: field.data_type().clone(),
        format,
    };
    match field.data_type() {
        DataType::FixedSizeList(item, width) => {
            let width = usize::try_from(*width).map_err(|_| unsupported())?;
            match Kind::of(item.data_type()).ok_or_else(unsupported)? {
                Kind::Text => Err(unsupported()),
                kind => Ok(Shape { kind, width }),
            }
        }
        single => Ok(Shape { kind: Kind::of(single).ok_or_else(unsupported)?, width: 1 }),
    }
}

/// The values of column `index`. A null list is a list of nulls.
pub fn cells(
    field: &Field,
    index: usize,
    batches: &[RecordBatch],
    format: &'static str,
) -> Result<Values, FormatError> {
    let library = |e: arrow::error::ArrowError| FormatError::Library {
        format,
        reason: format!("column `{}`: {e}", field.name()),
    };
    let parts: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(index).as_ref()).collect();
    let array = match parts.as_slice() {
        [] => arrow::array::new_empty_array(field.data_type()),
        parts => concat(parts).map_err(library)?,
    };
    let array = match array.as_fixed_size_list_opt() {
        Some(lists) => members(lists).map_err(library)?,
        None => array,
    };
    Values::of(&array, shape(field, format)?.kind).map_err(library)
}

/// The members of lists, those of null lists null.
fn members(lists: &FixedSizeListArray) -> Result<ArrayRef, arrow::error::ArrowError> {
    let width = lists.value_length() as usize;
    if lists.null_count() == 0 {
        return Ok(lists.values().clone());
    }
    let valid: BooleanArray =
        (0..lists.len()).flat_map(|row| vec![Some(lists.is_null(row)); width]).collect();
    arrow::compute::nullif(lists.values(), &valid)
}
