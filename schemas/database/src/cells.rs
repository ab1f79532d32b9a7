//! Arrow's values in PostgreSQL's types.

use crate::DatabaseError;
use arrow::array::{
    Array, AsArray, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use bytes::{BufMut, BytesMut};
use std::error::Error;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

/// The type of a column in SQL, as `information_schema` calls it.
pub fn sql_type(table: &'static str, field: &Field) -> Result<&'static str, DatabaseError> {
    Ok(match field.data_type() {
        DataType::Boolean => "boolean",
        DataType::Int8 | DataType::UInt8 | DataType::Int16 | DataType::UInt16 => "integer",
        DataType::Int32 => "integer",
        DataType::UInt32 | DataType::Int64 => "bigint",
        DataType::Float32 => "real",
        DataType::Float64 => "double precision",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text",
        other => {
            let (column, found) = (field.name().clone(), other.to_string());
            return Err(DatabaseError::Unsupported { table, column, found });
        }
    })
}

/// The type of its values on the wire.
pub fn wire_type(sql_type: &str) -> Type {
    match sql_type {
        "boolean" => Type::BOOL,
        "integer" => Type::INT4,
        "bigint" => Type::INT8,
        "real" => Type::FLOAT4,
        "double precision" => Type::FLOAT8,
        _ => Type::TEXT,
    }
}

/// The values of a column.
pub enum Column {
    Boolean(BooleanArray),
    Integer(Int32Array),
    Bigint(Int64Array),
    Real(Float32Array),
    Double(Float64Array),
    Text(StringArray),
}

impl Column {
    /// The column of `batch` that goes into one of `sql_type`.
    pub fn of(
        batch: &RecordBatch,
        index: usize,
        sql_type: &str,
    ) -> Result<Self, arrow::error::ArrowError> {
        let array = batch.column(index);
        let to = |kind| cast(array, &kind);
        Ok(match sql_type {
            "boolean" => Self::Boolean(to(DataType::Boolean)?.as_boolean().clone()),
            "integer" => Self::Integer(to(DataType::Int32)?.as_primitive().clone()),
            "bigint" => Self::Bigint(to(DataType::Int64)?.as_primitive().clone()),
            "real" => Self::Real(to(DataType::Float32)?.as_primitive().clone()),
            "double precision" => Self::Double(to(DataType::Float64)?.as_primitive().clone()),
            _ => Self::Text(to(DataType::Utf8)?.as_string().clone()),
        })
    }

    /// The value of a row.
    pub fn cell(&self, row: usize) -> Cell<'_> {
        match self {
            Self::Boolean(a) if a.is_valid(row) => Cell::Boolean(a.value(row)),
            Self::Integer(a) if a.is_valid(row) => Cell::Integer(a.value(row)),
            Self::Bigint(a) if a.is_valid(row) => Cell::Bigint(a.value(row)),
            Self::Real(a) if a.is_valid(row) => Cell::Real(a.value(row)),
            Self::Double(a) if a.is_valid(row) => Cell::Double(a.value(row)),
            Self::Text(a) if a.is_valid(row) => Cell::Text(a.value(row)),
            _ => Cell::Null,
        }
    }
}

/// One value, in the type of its column.
#[derive(Debug)]
pub enum Cell<'a> {
    Null,
    Boolean(bool),
    Integer(i32),
    Bigint(i64),
    Real(f32),
    Double(f64),
    Text(&'a str),
}

impl ToSql for Cell<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Self::Null => return Ok(IsNull::Yes),
            Self::Boolean(value) => out.put_u8(u8::from(*value)),
            Self::Integer(value) => out.put_i32(*value),
            Self::Bigint(value) => out.put_i64(*value),
            Self::Real(value) => out.put_f32(*value),
            Self::Double(value) => out.put_f64(*value),
            // PostgreSQL's texts end at a zero.
            Self::Text(value) => out.put_slice(value.replace('\0', "\u{fffd}").as_bytes()),
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}
