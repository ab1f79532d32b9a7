//! Radial profiles of galaxies: rows of their table, and their figure.

use super::pixels::{Pixels, Quantity};
use super::{Scales, StageError};
use crate::stages::table::{encode_batches, plain};
use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, UInt32Array};
use bytes::Bytes;
use outshine_catalogue::profile::{Annulus, Level, annuli, levels, radii};
use outshine_catalogue::shape::{self, Ellipse, HalfMass};
use outshine_figures::FigureError;
use outshine_figures::canvas::Figure;
use outshine_figures::profile::{Axis, Profiles, Series, draw};
use outshine_schemas::tables::{PROFILED, profiles};
use std::sync::Arc;

/// The columns of a quantity, in order.
const LEVELS: [fn(&Level) -> f64; 5] = [|l| l.p16, |l| l.p50, |l| l.p84, |l| l.low, |l| l.high];

/// The annuli of a galaxy.
#[derive(Clone, Debug)]
pub struct Rows {
    galaxy_id: i64,
    ellipse: Option<Ellipse>,
    annuli: Vec<Annulus>,
    pixel_arcsec: Option<f64>,
    kpc_per_arcsec: Option<f64>,
    half_mass_px: Option<f64>,
    /// In the order of [`PROFILED`]; empty where there is no such quantity.
    levels: Vec<Vec<Level>>,
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
        let density = |q: &Quantity| scales.pixel_kpc2.map(|area| q.per_area(area));
        let quantities: [Option<Quantity>; PROFILED.len()] = [
            density(&pixels.log_mass),
            density(&pixels.log_sfr),
            Some(pixels.log_mass.clone()),
            Some(pixels.log_sfr.clone()),
            Some(pixels.age.clone()),
            pixels.t50.clone(),
            Some(pixels.a_v.clone()),
        ];
        let of = |q: &Quantity| levels(&annuli, &radius, [&q.p16, &q.p50, &q.p84]);
        let levels = quantities.iter().map(|q| q.as_ref().map_or_else(Vec::new, of)).collect();
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
        let of = |name: &str| {
            let place = PROFILED.iter().position(|q| q.0 == name).unwrap_or_default();
            let levels = &self.levels[place];
            let column = |of: fn(&Level) -> f64| levels.iter().map(of).collect::<Vec<f64>>();
            [
                column(|l| l.p16),
                column(|l| l.p50),
                column(|l| l.p84),
                column(|l| l.low),
                column(|l| l.high),
            ]
        };
        let age = match has_t50 {
            true => ("t50_lookback_gyr", "t_{50%} lookback [Gyr]"),
            false => ("mass_weighted_age_gyr", "mass-weighted age [Gyr]"),
        };
        let shown = match scales.pixel_kpc2 {
            Some(_) => [
                (
                    "log_mass_stellar_density",
                    "log_{10} \u{3a3}_{\u{2605}} [M_{\u{2299}} kpc^{\u{2212}2}]",
                ),
                age,
                ("a_v", "A_{V} [mag]"),
                (
                    "log_sfr_100_density",
                    "log_{10} \u{3a3}_{SFR} [M_{\u{2299}} yr^{\u{2212}1} kpc^{\u{2212}2}]",
                ),
            ],
            None => [
                ("log_mass_stellar", "log_{10} M_{\u{2605}} [M_{\u{2299}} pixel^{\u{2212}1}]"),
                age,
                ("a_v", "A_{V} [mag]"),
                ("log_sfr_100", "log_{10} SFR [M_{\u{2299}} yr^{\u{2212}1} pixel^{\u{2212}1}]"),
            ],
        };
        let columns = shown.map(|(name, _)| of(name));
        let series: Vec<Series<'_>> = shown
            .iter()
            .zip(&columns)
            .map(|((_, label), [p16, p50, p84, low, high])| Series {
                label,
                p16,
                p50,
                p84,
                low,
                high,
            })
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
    let each = || all.iter().flat_map(|rows| rows.annuli.iter().map(move |a| (rows, a)));
    let number = |of: &dyn Fn(&Rows, &Annulus) -> Option<f64>| -> ArrayRef {
        Arc::new(Float64Array::from_iter(each().map(|(rows, annulus)| of(rows, annulus))))
    };
    let pixels = all.iter().flat_map(|rows| {
        // The mass per pixel is of every fitted pixel.
        rows.levels[2].iter().map(|level| level.pixels)
    });
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(each().map(|(rows, _)| rows.galaxy_id))),
        number(&|_, a| Some(a.inner_px)),
        number(&|_, a| Some(a.outer_px)),
        number(&|_, a| Some(a.middle_px())),
        number(&|rows, a| Some(a.middle_px() * rows.pixel_arcsec?)),
        number(&|rows, a| Some(a.middle_px() * rows.kpc_per_pixel()?)),
        number(&|rows, a| Some(a.middle_px() / rows.half_mass_px?)),
        number(&|rows, _| rows.ellipse.map(|e| e.axis_ratio)),
        number(&|rows, _| rows.ellipse.map(|e| e.angle.to_degrees())),
        Arc::new(UInt32Array::from_iter_values(pixels)),
    ];
    for place in 0..PROFILED.len() {
        for of in LEVELS {
            let values = all.iter().flat_map(|rows| {
                let levels = &rows.levels[place];
                (0..rows.annuli.len()).map(move |i| levels.get(i).map(of).filter(|v| v.is_finite()))
            });
            columns.push(Arc::new(Float64Array::from_iter(values)));
        }
    }
    Ok(RecordBatch::try_new(Arc::new(profiles()), columns)?)
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
