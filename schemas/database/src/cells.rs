//! Arrow's values in PostgreSQL's types.

use crate::DatabaseError;
use arrow::array::Array;
use arrow::datatypes::Field;
use bytes::{BufMut, BytesMut};
use outshine_schemas::tables::{Kind, Values};
use std::error::Error;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

/// The type of a column's values.
pub fn kind(table: &'static str, field: &Field) -> Result<Kind, DatabaseError> {
    Kind::of(field.data_type()).ok_or_else(|| {
        let (column, found) = (field.name().clone(), field.data_type().to_string());
        DatabaseError::Unsupported { table, column, found }
    })
}

/// Its name in SQL, as `information_schema` calls it.
pub fn sql(kind: Kind) -> &'static str {
    match kind {
        Kind::Boolean => "boolean",
        Kind::Int => "integer",
        Kind::Long => "bigint",
        Kind::Float => "real",
        Kind::Double => "double precision",
        Kind::Text => "text",
    }
}

/// Its form on the wire.
pub fn wire(kind: Kind) -> Type {
    match kind {
        Kind::Boolean => Type::BOOL,
        Kind::Int => Type::INT4,
        Kind::Long => Type::INT8,
        Kind::Float => Type::FLOAT4,
        Kind::Double => Type::FLOAT8,
        Kind::Text => Type::TEXT,
    }
}

/// The value of a row.
pub fn cell(values: &Values, row: usize) -> Cell<'_> {
    match values {
        Values::Boolean(a) if a.is_valid(row) => Cell::Boolean(a.value(row)),
        Values::Int(a) if a.is_valid(row) => Cell::Int(a.value(row)),
        Values::Long(a) if a.is_valid(row) => Cell::Long(a.value(row)),
        Values::Float(a) if a.is_valid(row) => Cell::Float(a.value(row)),
        Values::Double(a) if a.is_valid(row) => Cell::Double(a.value(row)),
        Values::Text(a) if a.is_valid(row) => Cell::Text(a.value(row)),
        _ => Cell::Null,
    }
}

/// One value, in the type of its column.
#[derive(Debug)]
pub enum Cell<'a> {
    Null,
    Boolean(bool),
    Int(i32),
    Long(i64),
    Float(f32),
    Double(f64),
    Text(&'a str),
}

impl ToSql for Cell<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Self::Null => return Ok(IsNull::Yes),
            Self::Boolean(value) => out.put_u8(u8::from(*value)),
            Self::Int(value) => out.put_i32(*value),
            Self::Long(value) => out.put_i64(*value),
            Self::Float(value) => out.put_f32(*value),
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
