//! Arrow's columns in the few types that FITS and VOTable share.

use crate::FormatError;
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeListArray, Float32Array, Float64Array,
    Int32Array, Int64Array, RecordBatch, StringArray,
};
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, Field, UInt64Type};

/// The type of a column's numbers, or of its texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Text,
}

/// A column's type: `width` values per row; 1 but for lists of fixed size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub kind: Kind,
    pub width: usize,
}

/// All values of a column, row by row.
pub enum Cells {
    Boolean(BooleanArray),
    Int(Int32Array),
    Long(Int64Array),
    Float(Float32Array),
    Double(Float64Array),
    Text(StringArray),
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
            match kind(item.data_type()).ok_or_else(unsupported)? {
                Kind::Text => Err(unsupported()),
                kind => Ok(Shape { kind, width }),
            }
        }
        single => Ok(Shape { kind: kind(single).ok_or_else(unsupported)?, width: 1 }),
    }
}

fn kind(data_type: &DataType) -> Option<Kind> {
    Some(match data_type {
        DataType::Boolean => Kind::Boolean,
        DataType::Int8 | DataType::UInt8 | DataType::Int16 | DataType::UInt16 => Kind::Int,
        DataType::Int32 => Kind::Int,
        // FITS and VOTable have no unsigned integers of their own.
        DataType::UInt32 | DataType::Int64 | DataType::UInt64 => Kind::Long,
        DataType::Float32 => Kind::Float,
        DataType::Float64 => Kind::Double,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Kind::Text,
        _ => return None,
    })
}

/// The values of column `index`. A null list is a list of nulls.
pub fn cells(
    field: &Field,
    index: usize,
    batches: &[RecordBatch],
    format: &'static str,
) -> Result<Cells, FormatError> {
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
    if let Some(large) = array.as_primitive_opt::<UInt64Type>()
        && let Some(value) = large.iter().flatten().find(|&value| i64::try_from(value).is_err())
    {
        return Err(FormatError::TooLarge { column: field.name().clone(), value });
    }
    let to = |kind: &DataType| cast(&array, kind).map_err(library);
    Ok(match shape(field, format)?.kind {
        Kind::Boolean => Cells::Boolean(array.as_boolean().clone()),
        Kind::Int => Cells::Int(to(&DataType::Int32)?.as_primitive().clone()),
        Kind::Long => Cells::Long(to(&DataType::Int64)?.as_primitive().clone()),
        Kind::Float => Cells::Float(to(&DataType::Float32)?.as_primitive().clone()),
        Kind::Double => Cells::Double(to(&DataType::Float64)?.as_primitive().clone()),
        Kind::Text => Cells::Text(to(&DataType::Utf8)?.as_string().clone()),
    })
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
