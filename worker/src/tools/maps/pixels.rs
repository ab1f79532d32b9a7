//! The pixels of one galaxy: what was observed and what was inferred.

use super::MapsError;
use crate::stages::StageError;
use arrow::array::{Array, Float32Array, Int32Array, Int64Array, UInt32Array};
use arrow::datatypes::UInt32Type;
use outshine_kernels::scalar;
use outshine_store::Table;

/// The column that only histories of the Dirichlet family have.
pub const T50: &str = "t50_lookback_gyr";

/// Percentiles of the posteriors of a quantity, `[pixels]`; not a number where
/// the pixel was not fitted.
#[derive(Clone, Debug, Default)]
pub struct Quantity {
    /// 16th percentiles.
    pub p16: Vec<f32>,
    /// Medians.
    pub p50: Vec<f32>,
    /// 84th percentiles.
    pub p84: Vec<f32>,
}

impl Quantity {
    /// Uncertainties: half of p84 - p16.
    #[must_use]
    pub fn sigma(&self) -> Vec<f32> {
        self.p84.iter().zip(&self.p16).map(|(high, low)| 0.5 * (high - low)).collect()
    }

    /// log10 of a quantity per pixel as log10 of it per kpc^2, where a pixel has
    /// an area of `pixel_kpc2`.
    #[must_use]
    pub fn per_area(&self, pixel_kpc2: f64) -> Self {
        let shift = scalar::log10(pixel_kpc2);
        let shifted = |log: &[f32]| log.iter().map(|&v| (f64::from(v) - shift) as f32).collect();
        Self { p16: shifted(&self.p16), p50: shifted(&self.p50), p84: shifted(&self.p84) }
    }
}

/// The pixels of a galaxy, in order of row and column.
#[derive(Clone, Debug, Default)]
pub struct Pixels {
    /// Columns.
    pub x: Vec<i32>,
    /// Rows.
    pub y: Vec<i32>,
    /// Mean S/N.
    pub mean_snr: Vec<f32>,
    /// Flag bits.
    pub flags: Vec<u32>,
    /// log10 of the surviving mass, Msun.
    pub log_mass: Quantity,
    /// log10 of the star-formation rate, Msun/yr.
    pub log_sfr: Quantity,
    /// Mass-weighted age, Gyr.
    pub age: Quantity,
    /// Attenuation, mag.
    pub a_v: Quantity,
    /// Time since half of the mass formed, Gyr, where it is a parameter.
    pub t50: Option<Quantity>,
    /// Fluxes in nJy: `[bands][pixels]`; the error is 0 where not observed.
    flux_njy: Vec<Vec<f32>>,
    err_njy: Vec<Vec<f32>>,
}

/// Columns of a quantity in a table of summaries.
struct Columns([Float32Array; 3]);

impl Columns {
    fn of(table: &Table, name: &str) -> Result<Self, StageError> {
        let column = |p: &str| table.float32(&format!("{name}_{p}"));
        Ok(Self([column("p16")?, column("p50")?, column("p84")?]))
    }

    fn push(&self, row: usize, into: &mut Quantity) {
        let value = |i: usize| {
            let column = &self.0[i];
            if column.is_null(row) { f32::NAN } else { column.value(row) }
        };
        into.p16.push(value(0));
        into.p50.push(value(1));
        into.p84.push(value(2));
    }
}

impl Pixels {
    /// No pixels yet, of a galaxy whose histories have a t50 or not.
    #[must_use]
    pub fn new(bands: usize, has_t50: bool) -> Self {
        Self {
            t50: has_t50.then(Quantity::default),
            flux_njy: vec![Vec::new(); bands],
            err_njy: vec![Vec::new(); bands],
            ..Self::default()
        }
    }

    /// Adds the rows of a galaxy from a table of summaries.
    ///
    /// # Errors
    /// A column that is not there.
    pub fn add_summaries(&mut self, table: &Table, galaxy_id: i64) -> Result<(), StageError> {
        let id: Int64Array = table.int64("galaxy_id")?;
        let (x, y): (Int32Array, Int32Array) = (table.int32("x")?, table.int32("y")?);
        let snr = table.float32("mean_snr")?;
        let flags: UInt32Array = table.number::<UInt32Type>("flags")?;
        let mass = Columns::of(table, "log_mass_stellar")?;
        let sfr = Columns::of(table, "log_sfr_100")?;
        let age = Columns::of(table, "mass_weighted_age_gyr")?;
        let a_v = Columns::of(table, "a_v")?;
        let t50 = match &self.t50 {
            Some(_) => Some(Columns::of(table, T50)?),
            None => None,
        };
        for row in (0..table.rows()).filter(|&row| id.value(row) == galaxy_id) {
            self.x.push(x.value(row));
            self.y.push(y.value(row));
            self.mean_snr.push(snr.value(row));
            self.flags.push(flags.value(row));
            mass.push(row, &mut self.log_mass);
            sfr.push(row, &mut self.log_sfr);
            age.push(row, &mut self.age);
            a_v.push(row, &mut self.a_v);
            if let (Some(columns), Some(t50)) = (&t50, &mut self.t50) {
                columns.push(row, t50);
            }
        }
        Ok(())
    }

    /// Adds fluxes of the rows of a galaxy from a table of the field; they come
    /// in the order of the summaries.
    ///
    /// # Errors
    /// A column that is not there, or rows that are not those of the summaries.
    pub fn add_field(
        &mut self,
        table: &Table,
        galaxy_id: i64,
        bands: &[String],
    ) -> Result<(), MapsError> {
        let read = || -> Result<_, StageError> {
            let column = |kind: &str, band: &String| table.float32(&format!("{kind}_njy_{band}"));
            let (mut flux, mut err) = (Vec::new(), Vec::new());
            for band in bands {
                flux.push(column("flux", band)?);
                err.push(column("err", band)?);
            }
            Ok((table.int64("galaxy_id")?, table.int32("x")?, table.int32("y")?, flux, err))
        };
        let (id, x, y, flux, err) = read()?;
        for row in (0..table.rows()).filter(|&row| id.value(row) == galaxy_id) {
            let next = self.flux_njy.first().map_or(0, Vec::len);
            let place = (self.x.get(next).copied(), self.y.get(next).copied());
            if place != (Some(x.value(row)), Some(y.value(row))) {
                let problem = format!(
                    "galaxy {galaxy_id}: pixel x = {}, y = {} of the field is not in the summaries",
                    x.value(row),
                    y.value(row)
                );
                return Err(StageError::Permanent(problem).into());
            }
            for band in 0..bands.len() {
                self.flux_njy[band].push(flux[band].value(row));
                self.err_njy[band].push(err[band].value(row));
            }
        }
        Ok(())
    }

    /// Whether each pixel was fitted.
    pub fn is_fitted(&self) -> impl Iterator<Item = bool> {
        self.log_mass.p50.iter().map(|m| m.is_finite())
    }

    /// How many were.
    #[must_use]
    pub fn fitted(&self) -> usize {
        self.is_fitted().filter(|&fitted| fitted).count()
    }

    /// Masses in Msun, `[pixels]`; not a number where not fitted.
    #[must_use]
    pub fn mass_msun(&self) -> Vec<f64> {
        self.log_mass.p50.iter().map(|&m| scalar::exp10(f64::from(m))).collect()
    }

    /// Fluxes in a band, not a number where it was not observed.
    pub(super) fn observed(&self, band: usize) -> Vec<f32> {
        let pairs = self.flux_njy[band].iter().zip(&self.err_njy[band]);
        pairs.map(|(&f, &e)| if e > 0.0 && e.is_finite() { f } else { f32::NAN }).collect()
    }

    /// The part of the pixels that have a band, and the S/N of their sum.
    pub(super) fn coverage(&self, band: usize) -> (f64, f64) {
        let (mut seen, mut flux, mut variance) = (0.0, 0.0, 0.0);
        for (&f, &e) in self.flux_njy[band].iter().zip(&self.err_njy[band]) {
            if e > 0.0 && e.is_finite() && f.is_finite() {
                seen += 1.0;
                flux += f64::from(f);
                variance += f64::from(e) * f64::from(e);
            }
        }
        if seen == 0.0 {
            return (0.0, 0.0);
        }
        (seen / self.x.len() as f64, flux / f64::sqrt(variance))
    }
}
