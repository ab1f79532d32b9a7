//! VOTable 1.4, and its use as metadata of Parquet files (VOParquet 1.0).

use crate::cells::{Shape, cells, shape};
use crate::{About, FormatError, Table, entries};
use arrow::array::Array;
use outshine_schemas::tables::{Kind, Values};
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};
use std::fmt::Write as _;
use std::io;

const FORMAT: &str = "VOTable";
/// Namespace of VOTable 1.3 and later.
const NAMESPACE: &str = "http://www.ivoa.net/xml/VOTable/v1.3";
/// Key of the version of VOParquet among a Parquet file's metadata.
pub const PARQUET_VERSION: &str = "IVOA.VOTable-Parquet.version";
/// Key of the VOTable without data among a Parquet file's metadata.
pub const PARQUET_CONTENT: &str = "IVOA.VOTable-Parquet.content";

/// The table as a VOTable document with its values as text. A number or text
/// that is null is an empty cell.
///
/// # Errors
/// [`FormatError`].
pub fn votable(table: &Table) -> Result<Vec<u8>, FormatError> {
    document(table, true)
}

/// What makes a Parquet file of the table one of VOParquet 1.0: key-value
/// pairs of the file, the second a VOTable without data. Of the rows, it takes
/// the length of texts alone.
///
/// # Errors
/// [`FormatError`].
pub fn parquet_metadata(table: &Table) -> Result<[(&'static str, String); 2], FormatError> {
    let content =
        String::from_utf8(document(table, false)?).map_err(|e| library(&io::Error::other(e)))?;
    Ok([(PARQUET_VERSION, "1.0".to_owned()), (PARQUET_CONTENT, content)])
}

fn document(table: &Table, with_data: bool) -> Result<Vec<u8>, FormatError> {
    let mut columns = Vec::new();
    for (index, field) in table.schema.fields().iter().enumerate() {
        let shape = shape(field, FORMAT)?;
        let cells = match with_data || shape.kind == Kind::Text {
            true => Some(cells(field, index, &table.batches, FORMAT)?),
            false => None,
        };
        columns.push((field, shape, cells));
    }
    let mut xml = Xml(Writer::new(Vec::new()));
    xml.write(table, &columns, with_data).map_err(|e| library(&e))?;
    Ok(xml.0.into_inner())
}

type Column<'a> = (&'a arrow::datatypes::FieldRef, Shape, Option<Values>);

/// A writer that starts each element on a line of its own.
struct Xml(Writer<Vec<u8>>);

impl Xml {
    fn write(&mut self, table: &Table, columns: &[Column<'_>], with_data: bool) -> io::Result<()> {
        self.0.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
        self.open("VOTABLE", &[("version", "1.4"), ("xmlns", NAMESPACE)])?;
        self.open("RESOURCE", &[("type", "results")])?;
        self.open("TABLE", &[("name", &table.name)])?;
        self.described(&table.description)?;
        for (key, _, meaning, value) in entries(&table.about) {
            let value = clean(value);
            let (datatype, _) = text_type([value.as_str()].into_iter());
            let attributes = [
                ("name", key),
                ("datatype", datatype),
                ("arraysize", "*"),
                ("value", value.as_str()),
            ];
            self.open("PARAM", &attributes)?;
            self.described(meaning)?;
            self.close("PARAM")?;
        }
        for (field, shape, cells) in columns {
            let about = About::of(field);
            let (datatype, size) = datatype(*shape, cells.as_ref());
            let mut attributes = vec![("name", field.name().as_str()), ("datatype", datatype)];
            if let Some(size) = &size {
                attributes.push(("arraysize", size));
            }
            attributes.extend(about.unit.map(|unit| ("unit", unit)));
            attributes.extend(about.ucd.map(|ucd| ("ucd", ucd)));
            self.open("FIELD", &attributes)?;
            self.described(&about.description)?;
            self.close("FIELD")?;
        }
        if with_data {
            self.rows(table, columns)?;
        }
        for element in ["TABLE", "RESOURCE", "VOTABLE"] {
            self.close(element)?;
        }
        self.line()
    }

    fn rows(&mut self, table: &Table, columns: &[Column<'_>]) -> io::Result<()> {
        self.open("DATA", &[])?;
        self.open("TABLEDATA", &[])?;
        let rows: usize = table.batches.iter().map(|batch| batch.num_rows()).sum();
        let mut cell = String::new();
        for row in 0..rows {
            self.open("TR", &[])?;
            for (_, shape, cells) in columns {
                cell.clear();
                let cells = cells.as_ref().expect("columns of a table with data");
                write(cells, row, shape.width, &mut cell);
                self.0.write_event(Event::Start(BytesStart::new("TD")))?;
                self.0.write_event(Event::Text(BytesText::new(&cell)))?;
                self.0.write_event(Event::End(BytesEnd::new("TD")))?;
            }
            self.close("TR")?;
        }
        self.close("TABLEDATA")?;
        self.close("DATA")
    }

    fn line(&mut self) -> io::Result<()> {
        self.0.write_event(Event::Text(BytesText::from_escaped("\n")))
    }

    fn open(&mut self, name: &str, attributes: &[(&str, &str)]) -> io::Result<()> {
        self.line()?;
        let start = BytesStart::new(name).with_attributes(attributes.iter().copied());
        self.0.write_event(Event::Start(start))
    }

    fn close(&mut self, name: &str) -> io::Result<()> {
        self.0.write_event(Event::End(BytesEnd::new(name)))
    }

    fn described(&mut self, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        self.0.write_event(Event::Start(BytesStart::new("DESCRIPTION")))?;
        self.0.write_event(Event::Text(BytesText::new(&clean(text))))?;
        self.close("DESCRIPTION")
    }
}

/// Datatype and array size of a column.
fn datatype(shape: Shape, cells: Option<&Values>) -> (&'static str, Option<String>) {
    let name = match shape.kind {
        Kind::Boolean => "boolean",
        Kind::Int => "int",
        Kind::Long => "long",
        Kind::Float => "float",
        Kind::Double => "double",
        Kind::Text => {
            let (name, size) = match cells {
                Some(Values::Text(texts)) => text_type(texts.iter().flatten()),
                _ => text_type(std::iter::empty()),
            };
            return (name, Some(size));
        }
    };
    (name, (shape.width > 1).then(|| shape.width.to_string()))
}

/// Datatype and length of texts: `char` is ASCII; as long as the longest, which
/// some readers hold better than any length. Not of one letter, which would be
/// no array.
fn text_type<'a>(texts: impl Iterator<Item = &'a str>) -> (&'static str, String) {
    let (mut is_ascii, mut longest) = (true, 0);
    for text in texts {
        is_ascii &= text.is_ascii();
        longest = longest.max(text.chars().count());
    }
    let size = if longest <= 1 { "*".to_owned() } else { longest.to_string() };
    (if is_ascii { "char" } else { "unicodeChar" }, size)
}

/// Adds the text of a row's cell.
fn write(values: &Values, row: usize, width: usize, out: &mut String) {
    let items = row * width..(row + 1) * width;
    // Of lists, a null float is NaN; other nulls leave a cell empty.
    for item in items {
        if item > row * width {
            out.push(' ');
        }
        match values {
            Values::Boolean(v) if v.is_valid(item) => {
                out.push(if v.value(item) { 'T' } else { 'F' })
            }
            Values::Int(v) if v.is_valid(item) => number(out, format_args!("{}", v.value(item))),
            Values::Long(v) if v.is_valid(item) => number(out, format_args!("{}", v.value(item))),
            Values::Float(v) if v.is_valid(item) => float(out, f64::from(v.value(item)), |out| {
                number(out, format_args!("{:?}", v.value(item)));
            }),
            Values::Double(v) if v.is_valid(item) => float(out, v.value(item), |out| {
                number(out, format_args!("{:?}", v.value(item)));
            }),
            Values::Text(v) if v.is_valid(item) => out.push_str(&clean(v.value(item))),
            Values::Float(_) | Values::Double(_) if width > 1 => out.push_str("NaN"),
            _ => {}
        }
    }
}

fn number(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a string takes any text");
}

/// Writes what is no finite number as VOTable spells it.
fn float(out: &mut String, value: f64, finite: impl FnOnce(&mut String)) {
    match value {
        v if v.is_nan() => out.push_str("NaN"),
        f64::INFINITY => out.push_str("+Inf"),
        f64::NEG_INFINITY => out.push_str("-Inf"),
        _ => finite(out),
    }
}

/// Without the control characters that XML cannot hold.
fn clean(text: &str) -> String {
    let held =
        |c: char| c >= ' ' && !matches!(c, '\u{fffe}' | '\u{ffff}') || matches!(c, '\t' | '\n');
    text.chars().map(|c| if held(c) { c } else { '\u{fffd}' }).collect()
}

fn library(error: &io::Error) -> FormatError {
    FormatError::Library { format: FORMAT, reason: error.to_string() }
}
