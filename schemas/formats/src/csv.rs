//! CSV as RFC 4180 has it, but that lines end in LF alone, with its description beside it in the way of W3C's
//! "Metadata Vocabulary for Tabular Data": a comment in the table itself would
//! break half of its readers.

use crate::cells::shape;
use crate::{About, FormatError, Table};
use arrow_csv::WriterBuilder;
use outshine_schemas::tables::Kind;
use serde_json::{Map, Value, json};

const FORMAT: &str = "CSV";

/// The table as CSV with one row of names. Null is an empty cell.
///
/// # Errors
/// [`FormatError`]: lists have no place here.
pub fn csv(table: &Table) -> Result<Vec<u8>, FormatError> {
    let library = |e: arrow::error::ArrowError| FormatError::Library {
        format: FORMAT,
        reason: e.to_string(),
    };
    for field in table.schema.fields() {
        if shape(field, FORMAT)?.width != 1 {
            let (column, found) = (field.name().clone(), field.data_type().clone());
            return Err(FormatError::Unsupported { column, found, format: FORMAT });
        }
    }
    let mut bytes = Vec::new();
    let mut writer = WriterBuilder::new().with_header(true).build(&mut bytes);
    // A table without rows has names all the same.
    let empty = arrow::array::RecordBatch::new_empty(table.schema.clone());
    for batch in table.batches.iter().chain(table.batches.is_empty().then_some(&empty)) {
        writer.write(batch).map_err(library)?;
    }
    drop(writer);
    Ok(bytes)
}

/// What CSV cannot say: types, units, UCDs, descriptions and provenance, as
/// JSON. `url` is the table's file, to which `-metadata.json` is added for the
/// name of this one.
///
/// # Errors
/// [`FormatError`].
pub fn csv_description(table: &Table, url: &str) -> Result<Vec<u8>, FormatError> {
    let mut columns = Vec::new();
    for field in table.schema.fields() {
        let about = About::of(field);
        let datatype = match shape(field, FORMAT)?.kind {
            Kind::Boolean => "boolean",
            Kind::Int => "int",
            Kind::Long => "long",
            Kind::Float => "float",
            Kind::Double => "double",
            Kind::Text => "string",
        };
        let mut column = Map::new();
        column.insert("name".to_owned(), json!(field.name()));
        column.insert("datatype".to_owned(), json!(datatype));
        column.insert("required".to_owned(), json!(!field.is_nullable()));
        column.insert("dc:description".to_owned(), json!(about.description));
        if let Some(unit) = about.unit {
            column.insert("schema:unitText".to_owned(), json!(unit));
        }
        if let Some(ucd) = about.ucd {
            column.insert("dc:type".to_owned(), json!(format!("ucd:{ucd}")));
        }
        columns.push(Value::Object(column));
    }
    let description = json!({
        "@context": "http://www.w3.org/ns/csvw",
        "url": url,
        "dc:title": table.name,
        "dc:description": table.description,
        "notes": [table.about],
        "tableSchema": {"columns": columns},
    });
    let mut bytes = serde_json::to_vec_pretty(&description)
        .map_err(|e| FormatError::Library { format: FORMAT, reason: e.to_string() })?;
    bytes.push(b'\n');
    Ok(bytes)
}
