//! Tables as ECSV: CSV with units and descriptions in comments on top
//! (Enhanced Character-Separated Values, version 1.0), which astropy and TOPCAT
//! read and every reader of CSV can be told to.

use super::StageError;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int64Type, UInt32Type};
use std::fmt::Write;

/// A table of int64, uint32 and float64 columns as ECSV; null is nothing.
///
/// # Errors
/// A column of another type.
pub fn ecsv(batch: &RecordBatch) -> Result<String, StageError> {
    let mut out = String::from("# %ECSV 1.0\n# ---\n# delimiter: ','\n# datatype:\n");
    let schema = batch.schema();
    for field in schema.fields() {
        let datatype = match field.data_type() {
            DataType::Int64 => "int64",
            DataType::UInt32 => "uint32",
            DataType::Float64 => "float64",
            other => {
                let problem = format!("column `{}` of type {other} in ECSV", field.name());
                return Err(StageError::Permanent(problem));
            }
        };
        let about = |key: &str| field.metadata().get(key).cloned().unwrap_or_default();
        let mut line = format!("# - {{name: {}", field.name());
        // Readers know a logarithm of base ten with a unit as dex.
        let unit = about("unit").replace("log10(", "dex(");
        if !unit.is_empty() {
            let _ = write!(line, ", unit: {unit}");
        }
        let description = about("description").replace('\'', "''");
        let _ = writeln!(out, "{line}, datatype: {datatype}, description: '{description}'}}");
    }
    out.push_str("# schema: astropy-2.0\n");
    let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    let _ = writeln!(out, "{}", names.join(","));
    for row in 0..batch.num_rows() {
        for (i, column) in batch.columns().iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            if column.is_null(row) {
                continue;
            }
            let _ = match column.data_type() {
                DataType::Int64 => write!(out, "{}", column.as_primitive::<Int64Type>().value(row)),
                DataType::UInt32 => {
                    write!(out, "{}", column.as_primitive::<UInt32Type>().value(row))
                }
                _ => write!(out, "{}", column.as_primitive::<Float64Type>().value(row)),
            };
        }
        out.push('\n');
    }
    Ok(out)
}
