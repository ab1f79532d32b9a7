//! FITS: one binary table behind an empty primary header.

use crate::cells::{Shape, cells, shape};
use crate::{About, FormatError, Table, entries};
use arrow::array::Array;
use fitsio_pure::bintable::{
    BinaryColumnData, BinaryColumnDescriptor, BinaryColumnType, binary_type_byte_size,
    build_binary_table_cards, serialize_binary_table,
};
use fitsio_pure::checksum::stamp_checksum;
use fitsio_pure::header::{Card, serialize_header};
use fitsio_pure::primary::build_primary_header;
use fitsio_pure::value::Value;
use outshine_schemas::tables::{Kind, Values};

const FORMAT: &str = "FITS";
/// What is written where there is no integer: no count or id is this low.
const NULL_INT: i32 = i32::MIN;
const NULL_LONG: i64 = i64::MIN;

/// The table as a FITS file. A number that is null becomes NaN, or, of
/// integers, TNULL; a text that is null becomes blank. Integers without sign
/// are written as wider ones with a sign. Texts are ASCII in FITS: other
/// letters become `?`.
///
/// Beside the standard's keywords, TUCDn and TCOMMn hold UCD and description,
/// as TOPCAT and STILTS read and write them.
///
/// # Errors
/// [`FormatError`].
pub fn fits(table: &Table) -> Result<Vec<u8>, FormatError> {
    let mut columns = Vec::new();
    let mut stored = Vec::new();
    let mut data = Vec::new();
    let mut nulls = Vec::new();
    for (index, field) in table.schema.fields().iter().enumerate() {
        let Shape { kind, width } = shape(field, FORMAT)?;
        let cells = cells(field, index, &table.batches, FORMAT)?;
        let (col_type, repeat) = match (&cells, kind) {
            (Values::Text(texts), _) => {
                let longest = texts.iter().flatten().map(|text| text.chars().count()).max();
                (BinaryColumnType::Ascii, longest.unwrap_or(0).max(1))
            }
            (_, Kind::Int) => (BinaryColumnType::Int, width),
            (_, Kind::Long) => (BinaryColumnType::Long, width),
            (_, Kind::Float) => (BinaryColumnType::Float, width),
            (_, Kind::Double) => (BinaryColumnType::Double, width),
            _ => (BinaryColumnType::Logical, width),
        };
        let column = BinaryColumnDescriptor {
            name: Some(ascii(field.name())),
            repeat,
            col_type,
            byte_width: repeat * binary_type_byte_size(&col_type),
            tdim: None,
        };
        // The library has no logical value that is null: they are bytes to it.
        let as_bytes = match col_type {
            BinaryColumnType::Logical => {
                BinaryColumnDescriptor { col_type: BinaryColumnType::Byte, ..column.clone() }
            }
            _ => column.clone(),
        };
        nulls.push(match kind {
            Kind::Int if field.is_nullable() => Some(i64::from(NULL_INT)),
            Kind::Long if field.is_nullable() => Some(NULL_LONG),
            _ => None,
        });
        columns.push(column);
        stored.push(as_bytes);
        data.push(column_data(&cells));
    }
    let rows = table.batches.iter().map(|batch| batch.num_rows()).sum();
    let data = serialize_binary_table(&stored, &data, rows).map_err(library)?;

    let mut cards = build_binary_table_cards(&columns, rows, 0).map_err(library)?;
    cards.push(text("EXTNAME", &table.name, "")?);
    // A string may go on in CONTINUE cards.
    cards.push(text("LONGSTRN", "OGIP 1.0", "strings may be continued")?);
    for (index, field) in table.schema.fields().iter().enumerate() {
        let (about, n) = (About::of(field), index + 1);
        if let Some(unit) = about.unit {
            cards.push(text(&format!("TUNIT{n}"), unit, "")?);
        }
        if let Some(null) = nulls[index] {
            let card = Card::new(&format!("TNULL{n}"), Value::Integer(null));
            cards.push(card.map_err(library)?);
        }
        if let Some(ucd) = about.ucd {
            cards.push(text(&format!("TUCD{n}"), ucd, "")?);
        }
        if !about.description.is_empty() {
            cards.push(text(&format!("TCOMM{n}"), &about.description, "")?);
        }
    }
    cards.push(text("DESCRIP", &table.description, "")?);
    for (key, keyword, meaning, value) in entries(&table.about) {
        match keyword {
            Some(keyword) => cards.push(text(keyword, value, meaning)?),
            None => cards.extend(comment(&format!("{key} = {value}"))),
        }
    }
    let mut bytes = hdu(&extensible()?, &[])?;
    bytes.extend(hdu(&cards, &data)?);
    Ok(bytes)
}

/// The primary header: no image, but extensions.
fn extensible() -> Result<Vec<Card>, FormatError> {
    let mut cards = build_primary_header(8, &[]).map_err(library)?;
    if cards.iter().all(|card| card.keyword_str() != "EXTEND") {
        cards.push(Card::new("EXTEND", Value::Logical(true)).map_err(library)?);
    }
    Ok(cards)
}

fn hdu(cards: &[Card], data: &[u8]) -> Result<Vec<u8>, FormatError> {
    let mut bytes = serialize_header(&stamp_checksum(cards, data)).map_err(library)?;
    bytes.extend_from_slice(data);
    Ok(bytes)
}

fn column_data(cells: &Values) -> BinaryColumnData {
    match cells {
        Values::Boolean(values) => {
            let letter = |value| match value {
                Some(true) => b'T',
                Some(false) => b'F',
                None => 0,
            };
            BinaryColumnData::Byte(values.iter().map(letter).collect())
        }
        Values::Int(values) => {
            BinaryColumnData::Int(values.iter().map(|v| v.unwrap_or(NULL_INT)).collect())
        }
        Values::Long(values) => {
            BinaryColumnData::Long(values.iter().map(|v| v.unwrap_or(NULL_LONG)).collect())
        }
        Values::Float(values) => {
            BinaryColumnData::Float(values.iter().map(|v| v.unwrap_or(f32::NAN)).collect())
        }
        Values::Double(values) => {
            BinaryColumnData::Double(values.iter().map(|v| v.unwrap_or(f64::NAN)).collect())
        }
        Values::Text(values) => {
            let text =
                |row| if values.is_null(row) { String::new() } else { ascii(values.value(row)) };
            BinaryColumnData::Ascii((0..values.len()).map(text).collect())
        }
    }
}

fn text(keyword: &str, value: &str, meaning: &str) -> Result<Card, FormatError> {
    let mut card = Card::new(keyword, Value::String(ascii(value))).map_err(library)?;
    card.comment = (!meaning.is_empty()).then(|| meaning.to_owned());
    Ok(card)
}

/// COMMENT cards of 72 letters.
fn comment(text: &str) -> Vec<Card> {
    let letters: Vec<char> = ascii(text).chars().collect();
    let card = |part: &[char]| Card {
        keyword: *b"COMMENT ",
        value: None,
        comment: Some(part.iter().collect()),
    };
    letters.chunks(72).map(card).collect()
}

/// Printable ASCII; what is not becomes `?`.
fn ascii(text: &str) -> String {
    text.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect()
}

fn library(error: fitsio_pure::Error) -> FormatError {
    FormatError::Library { format: FORMAT, reason: error.to_string() }
}
