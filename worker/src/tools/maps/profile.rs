//! Radial profiles of galaxies: rows of their table, and their figure.

use super::pixels::{Pixels, Quantity, T50};
use super::{Scales, StageError};
use crate::stages::table::{encode_batches, plain};
use crate::tools::words::{label, per_pixel};
use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, UInt32Array};
use bytes::Bytes;
use outshine_catalogue::profile::{Annulus, Level, annuli, levels, radii};
use outshine_catalogue::shape::{self, Ellipse, HalfMass};
use outshine_figures::FigureError;
use outshine_figures::canvas::Figure;
use outshine_figures::profile::{Axis, Profiles, Series, draw};
use outshine_schemas::tables::{PROFILED, profiles};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The annuli of a galaxy.
#[derive(Clone, Debug)]
pub struct Rows {
    galaxy_id: i64,
    ellipse: Option<Ellipse>,
    annuli: Vec<Annulus>,
    pixel_arcsec: Option<f64>,
    kpc_per_arcsec: Option<f64>,
    half_mass_px: Option<f64>,
    /// Of the quantities of [`PROFILED`] that the galaxy has, `[annuli]`.
    levels: BTreeMap<&'static str, Vec<Level>>,
}

type OfLevel = fn(&Level) -> f64;

/// What is told of a quantity in an annulus, and the ends of the columns' names.
const ENDS: [(&str, OfLevel); 5] = [
    ("p16", |l| l.p16),
    ("p50", |l| l.p50),
    ("p84", |l| l.p84),
    ("low", |l| l.low),
    ("high", |l| l.high),
];

/// A quantity of [`PROFILED`] of the pixels of a galaxy; none where it is not known.
fn quantity<'a>(name: &str, pixels: &'a Pixels, scales: &Scales) -> Option<Cow<'a, Quantity>> {
    let density = |q: &Quantity| Some(Cow::Owned(q.per_area(scales.pixel_kpc2?)));
    match name {
        "log_mass_stellar_density" => density(&pixels.log_mass),
        "log_sfr_100_density" => density(&pixels.log_sfr),
        "log_mass_stellar" => Some(Cow::Borrowed(&pixels.log_mass)),
        "log_sfr_100" => Some(Cow::Borrowed(&pixels.log_sfr)),
        "mass_weighted_age_gyr" => Some(Cow::Borrowed(&pixels.age)),
        T50 => pixels.t50.as_ref().map(Cow::Borrowed),
        "a_v" => Some(Cow::Borrowed(&pixels.a_v)),
        _ => None,
    }
}

impl Rows {
    /// The profiles of a galaxy; empty where no pixel was fitted.
    pub(super) fn new(
        galaxy_id: i64,
        pixels: &Pixels,
        mass: &[f64],
        scales: &Scales,
        half_mass: Option<HalfMass>,
    ) -> Self {
        let (x, y) = (&pixels.x, &pixels.y);
        let ellipse = shape::ellipse(x, y, mass);
        let mut radius = match &ellipse {
            Some(ellipse) => radii(ellipse, x, y),
            None => vec![f64::NAN; x.len()],
        };
        // Annuli end at the last fitted pixel.
        for (radius, fitted) in radius.iter_mut().zip(pixels.is_fitted()) {
            if !fitted {
                *radius = f64::NAN;
            }
        }
        let annuli = annuli(&radius);
        let of = |q: &Quantity| levels(&annuli, &radius, [&q.p16, &q.p50, &q.p84]);
        let levels = PROFILED
            .iter()
            .filter_map(|&(name, ..)| Some((name, of(&*quantity(name, pixels, scales)?))))
            .collect();
        Self {
            galaxy_id,
            ellipse,
            annuli,
            pixel_arcsec: scales.sky.pixel_arcsec,
            kpc_per_arcsec: scales.sky.kpc_per_arcsec,
            half_mass_px: half_mass.map(|h| h.radius_px).filter(|r| *r > 0.0),
            levels,
        }
    }

    /// Whether there is no annulus.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.annuli.is_empty()
    }

    pub(super) fn draw(
        &self,
        title: &str,
        scales: &Scales,
        has_t50: bool,
    ) -> Result<Figure, FigureError> {
        let age = if has_t50 { T50 } else { "mass_weighted_age_gyr" };
        let shown = match scales.pixel_kpc2 {
            Some(_) => ["log_mass_stellar_density", age, "a_v", "log_sfr_100_density"],
            None => ["log_mass_stellar", age, "a_v", "log_sfr_100"],
        };
        let columns = shown.map(|name| {
            let levels = self.levels.get(name).map_or(&[][..], Vec::as_slice);
            ENDS.map(|(_, of)| levels.iter().map(of).collect::<Vec<f64>>())
        });
        let labels = shown.map(|name| match name {
            "log_mass_stellar" | "log_sfr_100" => per_pixel(name),
            name => label(name).to_owned(),
        });
        let series: Vec<Series<'_>> = labels
            .iter()
            .zip(&columns)
            .map(|(label, [p16, p50, p84, low, high])| Series { label, p16, p50, p84, low, high })
            .collect();
        let radius: Vec<f64> = self.annuli.iter().map(Annulus::middle_px).collect();
        let last_px = self.annuli.last().map_or(1.0, |a| a.outer_px);
        let pixels = Axis { label: "semi-major axis [pixel]", per_pixel: 1.0 };
        let arcsec = self
            .pixel_arcsec
            .map(|per_pixel| Axis { label: "semi-major axis [arcsec]", per_pixel });
        let kpc = self
            .kpc_per_pixel()
            .map(|per_pixel| Axis { label: "semi-major axis [kpc]", per_pixel });
        let (lower, upper) = match (kpc, arcsec) {
            (Some(kpc), arcsec) => (kpc, arcsec),
            (None, Some(arcsec)) => (arcsec, None),
            (None, None) => (pixels, None),
        };
        let psf = scales.sky.psf_fwhm_arcsec.zip(self.pixel_arcsec);
        draw(&Profiles {
            title,
            radius_px: &radius,
            last_px,
            lower,
            upper,
            psf_px: psf.map(|(fwhm, scale)| 0.5 * fwhm / scale),
            half_mass_px: self.half_mass_px,
            series: &series,
        })
    }

    fn kpc_per_pixel(&self) -> Option<f64> {
        Some(self.pixel_arcsec? * self.kpc_per_arcsec?)
    }
}

/// The table of profiles of many galaxies, in their order.
///
/// # Errors
/// When the columns do not make the table.
pub fn table(all: &[Rows]) -> Result<RecordBatch, StageError> {
    let schema = profiles();
    let columns: Result<Vec<ArrayRef>, StageError> =
        schema.fields().iter().map(|field| column(all, field.name())).collect();
    Ok(RecordBatch::try_new(Arc::new(schema), columns?)?)
}

/// A column of the table, by its name.
fn column(all: &[Rows], name: &str) -> Result<ArrayRef, StageError> {
    let each = || all.iter().flat_map(|rows| rows.annuli.iter().map(move |a| (rows, a)));
    let number = |of: &dyn Fn(&Rows, &Annulus) -> Option<f64>| -> ArrayRef {
        Arc::new(Float64Array::from_iter(each().map(|(rows, annulus)| of(rows, annulus))))
    };
    Ok(match name {
        "galaxy_id" => {
            Arc::new(Int64Array::from_iter_values(each().map(|(rows, _)| rows.galaxy_id)))
        }
        "semi_major_inner_px" => number(&|_, a| Some(a.inner_px)),
        "semi_major_outer_px" => number(&|_, a| Some(a.outer_px)),
        "semi_major_px" => number(&|_, a| Some(a.middle_px())),
        "semi_major_arcsec" => number(&|rows, a| Some(a.middle_px() * rows.pixel_arcsec?)),
        "semi_major_kpc" => number(&|rows, a| Some(a.middle_px() * rows.kpc_per_pixel()?)),
        "semi_major_half_mass" => number(&|rows, a| Some(a.middle_px() / rows.half_mass_px?)),
        "axis_ratio" => number(&|rows, _| rows.ellipse.map(|e| e.axis_ratio)),
        "angle_deg" => number(&|rows, _| rows.ellipse.map(|e| e.angle.to_degrees())),
        "pixels" => {
            // The mass per pixel is of every fitted pixel.
            let levels = all.iter().filter_map(|rows| rows.levels.get("log_mass_stellar"));
            let pixels = levels.flatten().map(|level| level.pixels);
            Arc::new(UInt32Array::from_iter_values(pixels))
        }
        _ => {
            let (quantity, of) = profiled(name).ok_or_else(|| {
                StageError::Permanent(format!("the table of profiles has a column `{name}`"))
            })?;
            let values = all.iter().flat_map(|rows| {
                let levels = rows.levels.get(quantity).map_or(&[][..], Vec::as_slice);
                (0..rows.annuli.len()).map(move |i| levels.get(i).map(of).filter(|v| v.is_finite()))
            });
            Arc::new(Float64Array::from_iter(values))
        }
    })
}

/// The quantity of a column and what is told of it.
fn profiled(column: &str) -> Option<(&str, OfLevel)> {
    let (quantity, end) = column.rsplit_once('_')?;
    let (_, of) = ENDS.iter().find(|(name, _)| *name == end)?;
    PROFILED.iter().any(|(name, ..)| *name == quantity).then_some((quantity, *of))
}

/// The table of profiles as a Parquet file.
///
/// # Errors
/// When it cannot be encoded.
pub fn parquet(batch: &RecordBatch) -> Result<Bytes, StageError> {
    let schema = batch.schema();
    let (bytes, _) = encode_batches("profiles/1", &schema, std::slice::from_ref(batch), &plain())?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::AsArray;
    use arrow::datatypes::Float64Type;
    use outshine_figures::panel::Sky;

    /// Every column has its own values, whatever the order of the table.
    #[test]
    fn columns_are_told_by_their_names() {
        let of = |level: f32| Quantity {
            p16: vec![level - 0.25; 9],
            p50: vec![level; 9],
            p84: vec![level + 0.5; 9],
        };
        let mut pixels = Pixels::new(0, false);
        pixels.x = (0..9).map(|i| i % 3).collect();
        pixels.y = (0..9).map(|i| i / 3).collect();
        (pixels.log_mass, pixels.log_sfr, pixels.age) = (of(8.0), of(-2.0), of(1.5));
        (pixels.a_v, pixels.t50) = (of(0.75), Some(of(3.0)));
        let sky = Sky { pixel_arcsec: Some(0.03), kpc_per_arcsec: Some(8.0), ..Sky::default() };
        let scales = Scales { sky, pixel_kpc2: Some(0.01) };
        let rows = Rows::new(7, &pixels, &pixels.mass_msun(), &scales, None);
        let batch = table(&[rows]).unwrap();
        for (name, middle) in [
            ("log_mass_stellar_density", 10.0),
            ("log_sfr_100_density", 0.0),
            ("log_mass_stellar", 8.0),
            ("log_sfr_100", -2.0),
            ("mass_weighted_age_gyr", 1.5),
            (T50, 3.0),
            ("a_v", 0.75),
        ] {
            for (end, by) in
                [("p16", -0.25), ("p50", 0.0), ("p84", 0.5), ("low", 0.0), ("high", 0.0)]
            {
                let column = batch.column_by_name(&format!("{name}_{end}")).unwrap();
                let value = column.as_primitive::<Float64Type>().value(0);
                assert!((value - middle - by).abs() < 1e-5, "{name}_{end}: {value}");
            }
        }
        assert_eq!(PROFILED.len(), 7, "one that is not in this list");
        assert!(column(&[], "semi_major_mile").is_err() && column(&[], "a_v_p99").is_err());
    }
}
