//! Science subcommands: those that run without a campaign, and what is made of
//! a campaign's products.

mod card;
pub mod maps;
mod parameters;
mod photometry;
pub mod pixel;
mod published;
pub mod report;
mod words;

pub use card::{card, read_model};
pub use outshine_sps::{AgeBinning, DspsOptions, IgmModel, MetallicityScale, ModelOptions};
pub use outshine_sps::{Frame, import_bagpipes, import_dsps};
pub use photometry::Photometry;
pub use published::{check_model, import_model};

use crate::stages::StageError;
use bytes::Bytes;
use outshine_sps::{FilterSet, Gas, SspLibrary};
use outshine_store::parquet;
use std::fmt::Write;
use std::path::Path;

/// The 19 bands of JADES.
#[must_use]
pub fn jades_bands() -> Vec<String> {
    FilterSet::jades_names().iter().map(|&name| name.to_owned()).collect()
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

fn input(file: &str, problem: String) -> StageError {
    StageError::Input { file: file.to_owned(), problem }
}
