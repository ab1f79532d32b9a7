//! Where galaxies are on the sky, by the WCS that the campaign file has of the
//! image. How that lies on the sky is no part of a campaign's identity, so that no
//! stage knows it: these columns are made when a catalogue is exported.

use arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch};
use arrow::datatypes::{Float64Type, Schema};
use outshine_formats::Table;
use outshine_schemas::campaign::{Image, Keyword};
use outshine_schemas::{provenance, tables};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use wcs::{ImgXY, WCSParams, WCSProj};

/// Projections for which the library agrees with astropy; images are in these.
const PROJECTIONS: [&str; 5] = ["TAN", "SIN", "STG", "ARC", "ZEA"];
/// Steps per degree: processors differ in the last digits of a sine.
const STEPS: f64 = 1e10;

type Header = BTreeMap<String, Keyword>;

/// How a field lies on the sky.
pub struct Sky(Option<(WCSProj, &'static str)>);

impl Sky {
    /// As an image lies; one whose WCS is of no use for right ascension and
    /// declination is warned of, and is as one that has none.
    #[must_use]
    pub fn of(image: Option<&Image>) -> Self {
        let Some(header) = image.and_then(|image| image.wcs.as_ref()) else { return Self(None) };
        match projection(header) {
            Ok(known) => Self(Some(known)),
            Err(reason) => {
                tracing::warn!("no ra and dec in the catalogue: field.image.wcs: {reason}");
                Self(None)
            }
        }
    }

    /// The reference frame, ICRS or FK5; none where nothing is known of the sky.
    #[must_use]
    pub fn frame(&self) -> Option<&'static str> {
        self.0.as_ref().map(|(_, frame)| *frame)
    }

    /// Right ascension and declination in degrees of a place in the image, where
    /// (0, 0) is the middle of the first pixel; none outside the projection.
    fn place(&self, x: f64, y: f64) -> Option<[f64; 2]> {
        // Pixels are counted from 1 in FITS.
        let (projection, _) = self.0.as_ref()?;
        let place = projection.unproj_lonlat(&ImgXY::new(x + 1.0, y + 1.0))?;
        let rounded = |angle: f64| (angle.to_degrees() * STEPS).round() / STEPS;
        let (ra, dec) = (rounded(place.lon()).rem_euclid(360.0), rounded(place.lat()));
        (ra.is_finite() && dec.is_finite()).then_some([ra, dec])
    }

    /// Adds [`tables::sky`] to a catalogue, beside `galaxy_id`, and to what is said of
    /// it the frame; null where nothing is known.
    ///
    /// # Errors
    /// A catalogue without the columns `x` and `y`.
    pub fn add(&self, table: &mut Table) -> anyhow::Result<()> {
        let schema = &table.schema;
        let own = schema.fields();
        let first = own.len().min(1);
        let sky = tables::sky().map(Arc::new);
        let fields = [&own[..first], &sky, &own[first..]].concat();
        let schema = Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()));
        let mut all = Vec::new();
        for batch in &table.batches {
            let column = |name: &str| {
                let found = batch.column_by_name(name).map(|column| column.as_primitive_opt());
                let found: Option<&Float64Array> = found.flatten();
                found.ok_or_else(|| anyhow::anyhow!("the catalogue has no column `{name}`"))
            };
            let (x, y) = (column("x")?, column("y")?);
            let places: Vec<_> =
                x.values().iter().zip(y.values()).map(|(x, y)| self.place(*x, *y)).collect();
            let made = [0, 1].map(|axis| {
                let values = places.iter().map(|place| place.map(|place| place[axis]));
                Arc::new(values.collect::<arrow::array::PrimitiveArray<Float64Type>>()) as ArrayRef
            });
            let columns = batch.columns();
            let columns = [&columns[..first], &made, &columns[first..]].concat();
            all.push(RecordBatch::try_new(schema.clone(), columns)?);
        }
        (table.schema, table.batches) = (schema, all);
        if let Some(frame) = self.frame() {
            table.about.insert(provenance::FRAME.to_owned(), frame.to_owned());
        }
        Ok(())
    }
}

/// The library's projection and the reference frame, or why there is none.
fn projection(header: &Header) -> Result<(WCSProj, &'static str), String> {
    let text = |key: &str| header.get(key).and_then(Keyword::text).unwrap_or_default();
    let number = |key: &str| header.get(key).and_then(Keyword::number);
    let (first, second) = (text("CTYPE1"), text("CTYPE2"));
    let turned = match (first.get(..5), second.get(..5)) {
        (Some("RA---"), Some("DEC--")) => false,
        (Some("DEC--"), Some("RA---")) => true,
        _ => return Err(format!("its axes are {first} and {second}")),
    };
    let kind = &first[5..];
    if !PROJECTIONS.contains(&kind) {
        return Err(format!("its projection is {kind}, not one of {}", PROJECTIONS.join(", ")));
    }
    if let Some(key) = header.keys().find(|key| key.starts_with("PV")) {
        return Err(format!("{key} bends its projection {kind}"));
    }
    let frame = frame(text("RADESYS").trim(), number("EQUINOX").or(number("EPOCH")))?;
    let [mut longitude, mut latitude] = matrix(header, turned)?;
    let mut reference = [number("CRVAL1"), number("CRVAL2")];
    if turned {
        std::mem::swap(&mut longitude, &mut latitude);
        reference.reverse();
    }
    let mut keywords = Map::new();
    for (key, value) in [
        ("NAXIS", json!(2)),
        ("CTYPE1", json!(format!("RA---{kind}"))),
        ("CTYPE2", json!(format!("DEC--{kind}"))),
        ("CRPIX1", json!(number("CRPIX1"))),
        ("CRPIX2", json!(number("CRPIX2"))),
        ("CRVAL1", json!(reference[0])),
        ("CRVAL2", json!(reference[1])),
        ("CD1_1", json!(longitude[0])),
        ("CD1_2", json!(longitude[1])),
        ("CD2_1", json!(latitude[0])),
        ("CD2_2", json!(latitude[1])),
        ("LONPOLE", json!(number("LONPOLE"))),
    ] {
        keywords.insert(key.to_owned(), value);
    }
    let keywords: WCSParams =
        serde_json::from_value(Value::Object(keywords)).map_err(|error| error.to_string())?;
    let projection = WCSProj::new(1, 1, &keywords).map_err(|error| error.to_string())?;
    Ok((projection, frame))
}

/// The reference frame, which must be one of today's catalogues. FITS: without a name
/// it is FK5 where an equinox of that time is given, else ICRS.
fn frame(name: &str, equinox: Option<f64>) -> Result<&'static str, String> {
    match (name, equinox) {
        ("ICRS", _) | ("", None) => Ok("ICRS"),
        ("FK5", None) | ("" | "FK5", Some(2000.0)) => Ok("FK5"),
        ("", Some(equinox)) => Err(format!("its equinox is {equinox}, not 2000")),
        ("FK5", Some(equinox)) => Err(format!("it is FK5 of {equinox}, not 2000")),
        (other, _) => Err(format!("RADESYS is {other}, not ICRS or FK5")),
    }
}

/// From pixels to degrees: the first axis's row, then the second's.
fn matrix(header: &Header, turned: bool) -> Result<[[f64; 2]; 2], String> {
    let number = |key: &str| header.get(key).and_then(Keyword::number);
    let or = |key: &str, other: f64| number(key).unwrap_or(other);
    let has = |prefix: &str| header.keys().any(|key| key.starts_with(prefix));
    if has("CD1_") || has("CD2_") {
        return Ok([[or("CD1_1", 0.0), or("CD1_2", 0.0)], [or("CD2_1", 0.0), or("CD2_2", 0.0)]]);
    }
    let [a, b] = [or("CDELT1", 1.0), or("CDELT2", 1.0)];
    if let Some(angle) = number("CROTA2") {
        if turned || has("PC1_") || has("PC2_") {
            return Err("CROTA2 beside PC1_1 or of a right ascension is ambiguous".to_owned());
        }
        let (sine, cosine) = angle.to_radians().sin_cos();
        return Ok([[a * cosine, -b * sine], [a * sine, b * cosine]]);
    }
    Ok([[a * or("PC1_1", 1.0), a * or("PC1_2", 0.0)], [b * or("PC2_1", 0.0), b * or("PC2_2", 1.0)]])
}
