//! Photometry, spectra and likelihoods of a table of parameters.

use super::{input, parameters};
use crate::stages::{StageError, parallel};
use arrow::array::{ArrayRef, FixedSizeListArray, Float64Array, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema};
use bytes::Bytes;
use outshine_sps::filters::split_spec;
use outshine_sps::{
    Components, FilterSet, ForwardModel, Frame, ModelOptions, Observation, Parameters, SspLibrary,
    Workspace,
};
use outshine_store::{Table, parquet};
use std::path::Path;
use std::sync::Arc;

/// What derives from parameters, in the order of the columns.
const DERIVED: [&str; 4] =
    ["log_mass_stellar", "log_sfr_100", "mass_weighted_age_gyr", "t50_lookback_gyr"];

/// What is computed for one population.
struct Row {
    flux_njy: Vec<f64>,
    derived: [f64; DERIVED.len()],
    log_likelihood: f64,
}

/// Fluxes and errors of one object, one per band, nJy.
type Measured = (Vec<f64>, Vec<f64>);

/// A forward model ready for tables of parameters.
pub struct Photometry {
    forward: ForwardModel,
    table: Table,
    name: String,
    populations: Vec<(Parameters, Components)>,
}

impl Photometry {
    /// Reads a table of parameters (`name` in errors) for bands such as
    /// `f277w` or `mine=curve.dat`.
    ///
    /// # Errors
    /// [`StageError`], naming file, band, row or column.
    pub fn new(
        table: Bytes,
        name: &str,
        bands: &[String],
        library: SspLibrary,
        options: ModelOptions,
    ) -> Result<Self, StageError> {
        let mut specs = Vec::with_capacity(bands.len());
        for band in bands {
            let (band, path) = split_spec(band);
            let curve = path.map(|path| {
                std::fs::read_to_string(Path::new(path))
                    .map_err(|e| input(path, format!("filter curve of {band}: {e}")))
            });
            specs.push((band.to_owned(), curve.transpose()?));
        }
        let filters = FilterSet::resolve(&specs)?;
        let forward = ForwardModel::new(Arc::new(library), filters, options)?;
        let table = parquet::decode(name, table, None)?;
        let populations = parameters::read(&table, name)?;
        Ok(Self { forward, table, name: name.to_owned(), populations })
    }

    fn at(&self, row: usize, problem: impl std::fmt::Display) -> StageError {
        input(&self.name, format!("row {row}: {problem}"))
    }

    /// The columns given, then `flux_njy_<band>`, `log_mass_stellar`,
    /// `log_sfr_100`, `mass_weighted_age_gyr`, `t50_lookback_gyr`; and with an
    /// observation (bytes and name of a table of `flux_njy_<band>` and
    /// `err_njy_<band>`: one row for all, or one each) `log_likelihood`.
    ///
    /// # Errors
    /// [`StageError`], naming row and column.
    pub fn fluxes(&self, observed: Option<(Bytes, &str)>) -> Result<Bytes, StageError> {
        let bands = self.forward.bands().to_vec();
        let observed = observed.map(|(bytes, name)| self.observed(bytes, name)).transpose()?;
        let rows = self.populations.len();
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let one = |workspace: &mut Workspace, row: usize| -> Result<Row, StageError> {
            let (p, components) = &self.populations[row];
            let mut flux_njy = vec![0.0; bands.len()];
            let about = self
                .forward
                .photometry(p, *components, workspace, &mut flux_njy)
                .map_err(|e| self.at(row, e))?;
            let t50 = self.forward.t50_lookback_gyr(p).map_err(|e| self.at(row, e))?;
            let derived =
                [about.log_mass_stellar, about.log_sfr_100, about.mass_weighted_age_gyr, t50];
            let mut log_likelihood = f64::NAN;
            if let Some(observed) = &observed {
                let (flux, err) = &observed[if observed.len() == 1 { 0 } else { row }];
                let observation = Observation { flux_njy: flux, err_njy: err };
                let value = observation.log_likelihood(&bands, &flux_njy);
                log_likelihood = value.map_err(|e| self.at(row, e))?;
            }
            Ok(Row { flux_njy, derived, log_likelihood })
        };
        let all = parallel::map(rows, threads, || self.forward.workspace(), one)?;
        let of_band = |b: usize| all.iter().map(|row| row.flux_njy[b]).collect();
        let of_derived = |d: usize| all.iter().map(|row| row.derived[d]).collect();
        let mut new: Vec<(String, Vec<f64>)> = Vec::new();
        for (b, band) in bands.iter().enumerate() {
            new.push((format!("flux_njy_{band}"), of_band(b)));
        }
        for (d, name) in DERIVED.into_iter().enumerate() {
            new.push((name.to_owned(), of_derived(d)));
        }
        if observed.is_some() {
            let column = all.iter().map(|row| row.log_likelihood).collect();
            new.push(("log_likelihood".to_owned(), column));
        }
        self.with_columns(new)
    }

    /// The table's own columns, but for those of the same names, and new ones.
    fn with_columns(&self, new: Vec<(String, Vec<f64>)>) -> Result<Bytes, StageError> {
        let replaced = |field: &str| new.iter().any(|(name, _)| name == field);
        let own = self.table.schema();
        let mut fields: Vec<Field> = own
            .fields()
            .iter()
            .map(|f| f.as_ref().clone())
            .filter(|f| !replaced(f.name()))
            .collect();
        let mut columns: Vec<ArrayRef> = Vec::new();
        for field in &fields {
            columns.push(self.table.column(field.name())?);
        }
        for (name, values) in new {
            fields.push(Field::new(name, DataType::Float64, false));
            columns.push(Arc::new(Float64Array::from(values)));
        }
        let schema = Arc::new(Schema::new(fields));
        let batch = RecordBatch::try_new(schema.clone(), columns)?;
        Ok(parquet::encode(&schema, &[batch], &[], 4096)?)
    }

    /// Fluxes and errors of each row, 0 where there are none.
    fn observed(&self, bytes: Bytes, name: &str) -> Result<Vec<Measured>, StageError> {
        let table = parquet::decode(name, bytes, None)?;
        let rows = table.rows();
        if rows != 1 && rows != self.populations.len() {
            let expected = self.populations.len();
            return Err(input(name, format!("has {rows} rows: give one, or {expected}")));
        }
        let mut all = vec![(Vec::new(), Vec::new()); rows];
        for band in self.forward.bands() {
            let column = |kind: &str| -> Result<Option<Float64Array>, StageError> {
                let column = format!("{kind}_njy_{band}");
                table
                    .has_column(&column)
                    .then(|| table.float64(&column))
                    .transpose()
                    .map_err(Into::into)
            };
            let (flux, err) = (column("flux")?, column("err")?);
            if flux.is_some() != err.is_some() {
                return Err(input(name, format!("band {band} needs both flux and error")));
            }
            for (row, (fluxes, errors)) in all.iter_mut().enumerate() {
                let value = |column: &Option<Float64Array>| {
                    let column = column.as_ref()?;
                    (!arrow::array::Array::is_null(column, row)).then(|| column.value(row))
                };
                fluxes.push(value(&flux).unwrap_or(0.0));
                errors.push(value(&err).unwrap_or(0.0));
            }
        }
        Ok(all)
    }

    /// Spectra: `row`, and fixed-size lists `wave_angstrom` and `density`; at
    /// rest Lsun/Angstrom without IGM, observed erg/s/cm^2/Angstrom, as the
    /// file's `outshine.unit.density` says.
    ///
    /// # Errors
    /// [`StageError`], naming the row.
    pub fn spectra(&self, frame: Frame) -> Result<Bytes, StageError> {
        let mut workspace = self.forward.workspace();
        let (mut waves, mut densities) = (Vec::new(), Vec::new());
        for (row, (p, components)) in self.populations.iter().enumerate() {
            let spectrum = self.forward.spectrum(p, *components, frame, &mut workspace);
            let spectrum = spectrum.map_err(|e| self.at(row, e))?;
            waves.push(spectrum.wave_angstrom);
            densities.push(spectrum.density);
        }
        let bins = waves.first().map_or(1, Vec::len) as i32;
        let item = Arc::new(Field::new("item", DataType::Float64, false));
        let list = |rows: Vec<Vec<f64>>| -> Result<ArrayRef, StageError> {
            let values = Float64Array::from(rows.concat());
            Ok(Arc::new(FixedSizeListArray::try_new(item.clone(), bins, Arc::new(values), None)?))
        };
        let unit = match frame {
            Frame::Rest => "Lsun/Angstrom",
            Frame::Observed => "erg/s/cm^2/Angstrom",
        };
        let of = DataType::FixedSizeList(item.clone(), bins);
        let schema = Arc::new(Schema::new(vec![
            Field::new("row", DataType::UInt64, false),
            Field::new("wave_angstrom", of.clone(), false),
            Field::new("density", of, false),
        ]));
        let rows = UInt64Array::from_iter_values(0..self.populations.len() as u64);
        let columns: Vec<ArrayRef> = vec![Arc::new(rows), list(waves)?, list(densities)?];
        let batch = RecordBatch::try_new(schema.clone(), columns)?;
        Ok(parquet::encode(&schema, &[batch], &[("outshine.unit.density", unit)], 256)?)
    }
}
