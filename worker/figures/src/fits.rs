//! Maps as a FITS file of several extensions, with checksums.

use crate::FigureError;
use crate::frame::Frame;
use fitsio_pure::checksum::stamp_checksum;
use fitsio_pure::extension::{ExtensionType, build_extension_header};
use fitsio_pure::header::{Card, serialize_header};
use fitsio_pure::image::{serialize_image_f32, serialize_image_i32, serialize_image_u8};
use fitsio_pure::primary::build_primary_header;
use fitsio_pure::value::Value;

/// Longest text that one header line holds.
const TEXT: usize = 68;

/// Lines of a header, in order.
#[derive(Clone, Debug, Default)]
pub struct Header(Vec<(String, Value, String)>);

impl Header {
    /// Adds a text; what is not printable ASCII becomes `?`, and what a line
    /// cannot hold is left out. `key`: at most 8 capital letters, digits, `-`
    /// and `_`.
    pub fn text(&mut self, key: &str, value: &str, comment: &str) {
        let ascii = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '?' };
        let value = value.chars().take(TEXT).map(ascii).collect();
        self.0.push((key.to_owned(), Value::String(value), comment.to_owned()));
    }

    /// Adds an integer.
    pub fn integer(&mut self, key: &str, value: i64, comment: &str) {
        self.0.push((key.to_owned(), Value::Integer(value), comment.to_owned()));
    }

    /// Adds a number, which must be finite: FITS has no others.
    pub fn number(&mut self, key: &str, value: f64, comment: &str) {
        self.0.push((key.to_owned(), Value::Float(value), comment.to_owned()));
    }

    fn cards(&self) -> Result<Vec<Card>, FigureError> {
        let card = |(key, value, comment): &(String, Value, String)| {
            if matches!(value, Value::Float(number) if !number.is_finite()) {
                return Err(FigureError::Fits(format!("{key} is not a finite number")));
            }
            let mut card = Card::new(key, value.clone()).map_err(library)?;
            card.comment = (!comment.is_empty()).then(|| comment.clone());
            Ok(card)
        };
        self.0.iter().map(card).collect()
    }
}

/// One map: an extension of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Plane {
    /// Name of the extension.
    pub name: String,
    /// Unit; empty for none.
    pub unit: String,
    /// What it is.
    pub meaning: String,
    /// Values, `[height, width]`, the lowest row first.
    pub values: Values,
}

/// Values of a map.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Single precision; not a number where there is none.
    Float(Vec<f32>),
    /// 32-bit integers.
    Integer(Vec<i32>),
    /// Bytes.
    Byte(Vec<u8>),
}

/// The file: `header` in the primary unit, and in every extension `own` (where
/// its pixels lie).
///
/// # Errors
/// [`FigureError::Fits`] for what FITS cannot hold.
///
/// # Panics
/// When a plane has not the size of the frame.
pub fn encode(
    frame: &Frame,
    header: &Header,
    own: &Header,
    planes: &[Plane],
) -> Result<Vec<u8>, FigureError> {
    let mut cards = build_primary_header(8, &[]).map_err(library)?;
    if cards.iter().all(|card| card.keyword_str() != "EXTEND") {
        cards.push(Card::new("EXTEND", Value::Logical(true)).map_err(library)?);
    }
    cards.extend(header.cards()?);
    let mut bytes = Vec::new();
    add(&mut bytes, &cards, &[])?;
    for plane in planes {
        let (bits, length, data) = match &plane.values {
            Values::Float(values) => (-32, values.len(), serialize_image_f32(values)),
            Values::Integer(values) => (32, values.len(), serialize_image_i32(values)),
            Values::Byte(values) => (8, values.len(), serialize_image_u8(values)),
        };
        assert_eq!(length, frame.cells(), "{}: one value per cell", plane.name);
        let size = [frame.width, frame.height];
        let mut cards =
            build_extension_header(ExtensionType::Image, bits, &size, 0, 1).map_err(library)?;
        let mut about = Header::default();
        about.text("EXTNAME", &plane.name, "name of the map");
        if !plane.unit.is_empty() {
            about.text("BUNIT", &plane.unit, "unit of the values");
        }
        about.text("BTYPE", &plane.meaning, "");
        cards.extend(about.cards()?);
        cards.extend(own.cards()?);
        add(&mut bytes, &cards, &data)?;
    }
    Ok(bytes)
}

/// Adds a unit of the file; header and data fill whole blocks.
fn add(bytes: &mut Vec<u8>, cards: &[Card], data: &[u8]) -> Result<(), FigureError> {
    bytes.extend(serialize_header(&stamp_checksum(cards, data)).map_err(library)?);
    bytes.extend_from_slice(data);
    bytes.resize(bytes.len().next_multiple_of(fitsio_pure::block::BLOCK_SIZE), 0);
    Ok(())
}

fn library(error: fitsio_pure::Error) -> FigureError {
    FigureError::Fits(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use fitsio_pure::checksum::{verify_checksum, verify_datasum};
    use fitsio_pure::hdu::parse_fits;
    use fitsio_pure::image::{ImageData, read_image_data};

    fn plane(name: &str, unit: &str, values: Values) -> Plane {
        Plane { name: name.into(), unit: unit.into(), meaning: "a test".into(), values }
    }

    /// By the same library; `tests/maps.py` reads with another one.
    #[test]
    fn what_is_written_is_read_again() {
        let frame = Frame { x0: 3, y0: -2, width: 3, height: 2 };
        let float = vec![1.5, f32::NAN, -2.0, 0.0, 1e9, 4.0];
        let integer = vec![0, 1, 2048, i32::MAX, i32::MIN, 0];
        let planes = [
            plane("A", "Gyr", Values::Float(float.clone())),
            plane("FLAGS", "", Values::Integer(integer.clone())),
            plane("MASK", "", Values::Byte(vec![0, 1, 2, 0, 0, 255])),
        ];
        let mut header = Header::default();
        header.integer("GALAXY", i64::MIN, "galaxy");
        header.text("MODEL", &"\u{e9}'".repeat(64), "it's a model");
        let mut own = Header::default();
        own.number("CRVAL1", 53.123_456_789_012_34, "");
        let bytes = encode(&frame, &header, &own, &planes).unwrap();
        assert_eq!(bytes.len() % 2880, 0);
        let file = parse_fits(&bytes).unwrap();
        assert_eq!(file.hdus.len(), 4);
        for hdu in &file.hdus {
            assert!(verify_checksum(&bytes, hdu) && verify_datasum(&bytes, hdu));
        }
        let value = |hdu: usize, key: &str| {
            let cards = &file.hdus[hdu].cards;
            cards.iter().find(|card| card.keyword_str() == key).and_then(|c| c.value.clone())
        };
        assert_eq!(value(0, "GALAXY"), Some(Value::Integer(i64::MIN)));
        assert_eq!(value(1, "CRVAL1"), Some(Value::Float(53.123_456_789_012_34)));
        assert_eq!(value(1, "BUNIT"), Some(Value::String("Gyr".to_owned())));
        let ImageData::F32(read) = read_image_data(&bytes, &file.hdus[1]).unwrap() else {
            panic!("single precision");
        };
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&read), bits(&float));
        let ImageData::I32(read) = read_image_data(&bytes, &file.hdus[2]).unwrap() else {
            panic!("integers");
        };
        assert_eq!(read, integer);
    }

    #[test]
    fn numbers_that_fits_does_not_have_are_refused() {
        let frame = Frame { x0: 0, y0: 0, width: 1, height: 1 };
        let mut header = Header::default();
        header.number("REDSHIFT", f64::NAN, "");
        let error = encode(&frame, &header, &Header::default(), &[]).unwrap_err().to_string();
        assert!(error.contains("REDSHIFT"), "{error}");
    }
}
