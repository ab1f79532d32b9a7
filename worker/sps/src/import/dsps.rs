//! Reads SSP spectra in the interchange layout of DSPS (Hearin et al. 2023,
//! MNRAS 521, 1741), from HDF5 or `.npz`:
//!
//! | dataset | axes | unit |
//! | --- | --- | --- |
//! | `ssp_lgmet` | metallicities | log10 of Z, a mass fraction |
//! | `ssp_lg_age_gyr` | ages | log10 of Gyr |
//! | `ssp_wave` | waves | Angstrom |
//! | `ssp_flux` | metallicities, ages, waves | Lsun / Hz per Msun formed |
//!
//! and what the layout does not know, as `data/dump_fsps.py` adds it:
//!
//! | dataset | axes | what |
//! | --- | --- | --- |
//! | `ssp_flux_nebular` | as `ssp_flux` | the same populations with their gas: Lyman continuum absorbed, emission added, without the lines of the next two |
//! | `ssp_emline_wave` | lines | Angstrom |
//! | `ssp_emline_luminosity` | metallicities, ages, lines | Lsun per Msun formed |
//! | `ssp_remaining_mass` | metallicities, ages | stars and remnants per mass formed |
//! | `metadata_json` | bytes (uint8) | a JSON object: [`Metadata`] |
//!
//! L_lambda = L_nu c / lambda^2. Spectra are linear between wavelengths and
//! between ages, constant below the youngest age; bins hold their means, so
//! that energy is kept. Lines that are listed meet filters and intergalactic
//! gas at their own wavelengths; lines in the spectra are smeared over bins of
//! 0.2 %, and half of Lyman alpha then escapes the absorption of its red side.

use super::averages::Averages;
use super::datasets::{Dataset, Datasets};
use super::{TAIL_ANGSTROM, age_edges_gyr, wave_edges};
use crate::error::SpsError;
use crate::gas::is_ionising;
use crate::igm::LYMAN_ALPHA_ANGSTROM;
use crate::library::{Arrays, Gas, LibraryMeta, SspLibrary};
use crate::model::LSUN_ERG_S;
use outshine_kernels::scalar;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::Path;

/// Speed of light, Angstrom / s.
const C_ANGSTROM_S: f64 = 2.997_924_58e18;
/// The library's grid of gas ends at this age: no FSPS or CLOUDY grid goes further.
const NEBULAR_MAX_AGE_GYR: f64 = 0.032;
/// The youngest and oldest ages of a file must reach these: stars that ionise
/// gas live a few Myr, the Universe is 13.5 Gyr old, and the oldest change slowly.
const YOUNGEST_GYR: f64 = 0.005;
const OLDEST_GYR: f64 = 13.0;
/// How much stellar light redward of Lyman alpha gas may take, at most: it adds.
const MOST_LOST: f64 = 0.01;

/// Where the emission of gas is in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileGas {
    /// Nowhere.
    None,
    /// In `ssp_flux`.
    Included,
    /// In `ssp_flux_nebular`, not in `ssp_flux`.
    Separate,
}

/// What a file may say of itself: `metadata_json`. A text that is missing
/// becomes "not stated".
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Metadata {
    /// Short name; without it, the file's.
    pub name: Option<String>,
    /// Version of the content.
    pub version: Option<String>,
    /// Initial mass function.
    pub imf: Option<String>,
    /// Isochrones.
    pub isochrones: Option<String>,
    /// Stellar spectra.
    pub spectra: Option<String>,
    /// Wavelengths: vacuum or air.
    pub wavelengths: Option<String>,
    /// Nebular emission: code, gas metallicity.
    pub nebular: Option<String>,
    /// Circumstellar dust of AGB stars.
    pub agb_dust: Option<String>,
    /// What the file was made from.
    pub source: Option<String>,
    /// Licence of the data.
    pub licence: Option<String>,
    /// Mass fraction of metals that [M/H] = 0 stands for; needed.
    pub solar_metallicity: Option<f64>,
    /// Where the emission of gas is; needed unless there is `ssp_flux_nebular`.
    pub gas: Option<FileGas>,
    /// log10 of the ionisation parameter of the gas; needed for `separate`.
    pub log_u: Option<f64>,
    /// The Lsun of the file's spectra, erg/s; 3.828e33 if not given. Where
    /// spectra are isochrone luminosities over the Sun's, leave it so.
    pub lsun_erg_s: Option<f64>,
}

/// How to read a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DspsOptions {
    /// Keys of [`Metadata`] that complete, or replace, those of the file.
    pub metadata: Map<String, Value>,
    /// Without `ssp_remaining_mass`: take the fractions of the embedded
    /// library, at equal age and Z.
    pub remaining_mass_from_embedded: bool,
}

/// Reads a file; dust emission is that of the embedded library.
///
/// # Errors
/// [`SpsError::Io`]; otherwise as [`import_dsps_bytes`].
pub fn import_dsps(path: &Path, options: &DspsOptions) -> Result<SspLibrary, SpsError> {
    let file = path.display().to_string();
    let bytes =
        std::fs::read(path).map_err(|source| SpsError::Io { path: file.clone(), source })?;
    import_dsps_bytes(&file, bytes, options)
}

/// The same for a file in memory; `file` is its name.
///
/// # Errors
/// [`SpsError::Format`] naming file and dataset; [`SpsError::NoEmbeddedLibrary`]
/// in a build without it.
pub fn import_dsps_bytes(
    file: &str,
    bytes: Vec<u8>,
    options: &DspsOptions,
) -> Result<SspLibrary, SpsError> {
    let data = Datasets::new(file, bytes)?;
    let meta = metadata(file, &data, options)?;
    let mut notes = Vec::new();

    let solar = meta.solar_metallicity.filter(|z| *z > 0.0 && *z < 1.0).ok_or_else(|| {
        let problem = "`solar_metallicity` must be a mass fraction, such as 0.0142 (MIST)";
        data.error("metadata_json", problem)
    })?;
    let lgmet = data.axis("ssp_lgmet", 2)?;
    if lgmet[0] < -10.0 || lgmet[lgmet.len() - 1] >= 0.0 {
        return Err(data.error("ssp_lgmet", "log10 of a mass fraction lies between -10 and 0"));
    }
    let grid = Grid::new(&data, &meta, &mut notes)?;
    let shape = [lgmet.len(), grid.nodes, grid.per_hz.len()];
    let stellar = grid.spectra(&data, "ssp_flux", &required(&data, "ssp_flux", &shape)?)?;

    let mut arrays = Arrays {
        metallicity: lgmet.iter().map(|z| z - scalar::log10(solar)).collect(),
        tail_waves: TAIL_ANGSTROM.len(),
        nebular_age_edges_gyr: vec![0.0],
        ..Arrays::default()
    };
    let gas = if data.get("ssp_flux_nebular")?.is_some() {
        if !matches!(meta.gas, None | Some(FileGas::Separate)) {
            let problem = "it is there, and `gas` of the metadata is not `separate`";
            return Err(data.error("ssp_flux_nebular", problem));
        }
        let log_u = meta.log_u.ok_or_else(|| {
            data.error("metadata_json", "`log_u` of the spectra with gas is missing")
        })?;
        arrays.log_u = vec![log_u];
        grid.add_gas(&data, &shape, &stellar, &mut arrays)?;
        if data.get("ssp_emline_luminosity")?.is_some() {
            grid.add_lines(&data, &meta, &shape, &mut arrays)?;
        } else {
            notes.push("no list of nebular lines: they are as sharp as the bins".to_owned());
        }
        Gas::Grid
    } else {
        match meta.gas {
            Some(FileGas::None) => Gas::None,
            Some(FileGas::Included) => Gas::Included { log_u: meta.log_u },
            Some(FileGas::Separate) => return Err(data.error("ssp_flux_nebular", "missing")),
            None => {
                let problem = "it must say whether the spectra hold the emission of gas: \
                    `gas` is `none` or `included`";
                return Err(data.error("metadata_json", problem));
            }
        }
    };
    let embedded = SspLibrary::embedded()?;
    arrays.dust_emission.clone_from(&embedded.arrays().dust_emission);
    arrays.stellar = stellar.iter().map(|&v| v as f32).collect();
    arrays.remaining_mass = match data.get("ssp_remaining_mass")? {
        Some(mass) => grid.remaining_mass(&data, &mass, &shape)?,
        None if options.remaining_mass_from_embedded => {
            let name = &embedded.meta().name;
            notes.push(format!("surviving mass is that of {name} at equal age and Z"));
            remaining_mass_of(&embedded, &lgmet)
        }
        None => {
            let problem = "missing: add it, or take the fractions of the embedded library \
                (--remaining-mass-from-embedded)";
            return Err(data.error("ssp_remaining_mass", problem));
        }
    };
    arrays.age_edges_gyr = grid.age_edges;
    arrays.wave_edges_angstrom = grid.wave_edges;
    let meta = library_meta(meta, solar, gas, &embedded, &notes);
    SspLibrary::new(meta, gas, arrays).map_err(|e| SpsError::format(file, e.to_string()))
}

fn metadata(file: &str, data: &Datasets, options: &DspsOptions) -> Result<Metadata, SpsError> {
    const NAME: &str = "metadata_json";
    let mut keys = match data.get(NAME)? {
        Some(bytes) => {
            let bytes: Vec<u8> = bytes.values.iter().map(|&v| v as u8).collect();
            serde_json::from_slice(&bytes).map_err(|e| data.error(NAME, e))?
        }
        None => Map::new(),
    };
    keys.extend(options.metadata.clone());
    let mut meta: Metadata =
        serde_json::from_value(Value::Object(keys)).map_err(|e| data.error(NAME, e))?;
    let stem = || Path::new(file).file_stem().map(|s| s.to_string_lossy().into_owned());
    meta.name = meta.name.or_else(stem);
    Ok(meta)
}

fn library_meta(
    meta: Metadata,
    solar_metallicity: f64,
    gas: Gas,
    embedded: &SspLibrary,
    notes: &[String],
) -> LibraryMeta {
    let stated = |text: Option<String>| text.unwrap_or_else(|| "not stated".to_owned());
    let noted: String = notes.iter().map(|note| format!("; {note}")).collect();
    LibraryMeta {
        name: stated(meta.name),
        version: meta.version.unwrap_or_else(|| "1".to_owned()),
        imf: stated(meta.imf),
        isochrones: stated(meta.isochrones),
        spectra: stated(meta.spectra),
        solar_metallicity,
        wavelengths: stated(meta.wavelengths),
        resolution: "bins of 0.2 % in wavelength, 0.05 dex in age".to_owned(),
        nebular: if gas == Gas::None { "none".to_owned() } else { stated(meta.nebular) },
        dust_emission: format!("{} (from {})", embedded.meta().dust_emission, embedded.meta().name),
        agb_dust: stated(meta.agb_dust),
        source: format!("DSPS layout: {}{noted}", stated(meta.source)),
        licence: format!(
            "spectra: {}; dust emission: {}",
            stated(meta.licence),
            embedded.meta().licence
        ),
    }
}

/// A dataset of a known shape, not negative.
fn required(data: &Datasets, name: &str, shape: &[usize]) -> Result<Dataset, SpsError> {
    let dataset = data.require(name, shape.len())?;
    expect(data, name, &dataset, shape)?;
    Ok(dataset)
}

fn expect(data: &Datasets, name: &str, found: &Dataset, shape: &[usize]) -> Result<(), SpsError> {
    if found.shape != shape {
        let problem = format!("its shape is {:?} where the axes say {shape:?}", found.shape);
        return Err(data.error(name, problem));
    }
    if let Some(at) = found.values.iter().position(|v| *v < 0.0) {
        return Err(data.error(name, format!("value {at} is negative")));
    }
    Ok(())
}

/// The file's Lsun over the library's.
fn lsun_ratio(meta: &Metadata) -> f64 {
    meta.lsun_erg_s.unwrap_or(LSUN_ERG_S) / LSUN_ERG_S
}

/// From a file's axes to a library's.
struct Grid {
    nodes: usize,
    age_edges: Vec<f64>,
    wave_edges: Vec<f64>,
    ages: Averages,
    waves: Averages,
    /// (waves of the file) Lsun / Angstrom of one unit of the file.
    per_hz: Vec<f64>,
}

impl Grid {
    fn new(data: &Datasets, meta: &Metadata, notes: &mut Vec<String>) -> Result<Self, SpsError> {
        let ages_gyr: Vec<f64> =
            data.axis("ssp_lg_age_gyr", 2)?.iter().map(|&log| scalar::exp10(log)).collect();
        let (youngest, oldest) = (ages_gyr[0], ages_gyr[ages_gyr.len() - 1]);
        if youngest > YOUNGEST_GYR || oldest < OLDEST_GYR {
            let problem = format!(
                "ages of {youngest} to {oldest} Gyr do not span {YOUNGEST_GYR} to {OLDEST_GYR} Gyr"
            );
            return Err(data.error("ssp_lg_age_gyr", problem));
        }
        let wave = data.axis("ssp_wave", 2)?;
        let wave_edges = wave_edges();
        let (blue, red) = (wave_edges[0], wave_edges[wave_edges.len() - 1]);
        if wave[0] <= 0.0 || wave[wave.len() - 1] < red {
            let problem = format!(
                "{} to {} Angstrom does not reach {red:.0} Angstrom",
                wave[0],
                wave[wave.len() - 1]
            );
            return Err(data.error("ssp_wave", problem));
        }
        if wave[0] > blue {
            notes.push(format!("no light bluer than {:.0} Angstrom", wave[0]));
        }
        let lsun = lsun_ratio(meta);
        if !(lsun > 0.5 && lsun < 2.0) {
            return Err(data.error("metadata_json", "`lsun_erg_s` is no luminosity of the Sun"));
        }
        let age_edges = age_edges_gyr();
        Ok(Self {
            nodes: ages_gyr.len(),
            ages: Averages::held(&ages_gyr, &age_edges),
            waves: Averages::new(&wave, &wave_edges),
            per_hz: wave.iter().map(|w| lsun * C_ANGSTROM_S / (w * w)).collect(),
            age_edges,
            wave_edges,
        })
    }

    /// (metallicities, ages, waves) of the file to the library's bins, Lsun / Angstrom.
    fn spectra(&self, data: &Datasets, name: &str, flux: &Dataset) -> Result<Vec<f64>, SpsError> {
        let bins = self.wave_edges.len() - 1;
        let mut all = Vec::new();
        let mut at_nodes = vec![0.0; self.nodes * bins];
        let mut per_angstrom = vec![0.0; self.per_hz.len()];
        for metal in flux.values.chunks_exact(self.nodes * self.per_hz.len()) {
            let rows = metal.chunks_exact(self.per_hz.len());
            for (row, mean) in rows.zip(at_nodes.chunks_exact_mut(bins)) {
                for ((out, v), factor) in per_angstrom.iter_mut().zip(row).zip(&self.per_hz) {
                    *out = v * factor;
                }
                self.waves.apply(&per_angstrom, mean);
            }
            all.extend(self.ages.apply_rows(&at_nodes, bins));
        }
        if all.iter().all(|&v| v == 0.0) {
            return Err(data.error(name, "there is no light in it"));
        }
        Ok(all)
    }

    /// What gas adds, so that stars without their Lyman continuum plus this are
    /// the spectra with gas.
    fn add_gas(
        &self,
        data: &Datasets,
        shape: &[usize],
        stellar: &[f64],
        arrays: &mut Arrays,
    ) -> Result<(), SpsError> {
        const NAME: &str = "ssp_flux_nebular";
        let with = self.spectra(data, NAME, &required(data, NAME, shape)?)?;
        let (ages, bins) = (self.age_edges.len() - 1, self.wave_edges.len() - 1);
        let young = self.age_edges.partition_point(|&edge| edge <= NEBULAR_MAX_AGE_GYR) - 1;
        arrays.nebular_age_edges_gyr = self.age_edges[..=young].to_vec();
        for z in 0..shape[0] {
            for age in 0..young {
                let at = (z * ages + age) * bins;
                let (mut light, mut lost) = (0.0, 0.0);
                for j in 0..bins {
                    let (bare, with) = (stellar[at + j], with[at + j]);
                    let gas = if is_ionising(&self.wave_edges, j) { with } else { with - bare };
                    arrays.nebular_continuum.push(gas.max(0.0) as f32);
                    if self.wave_edges[j] > LYMAN_ALPHA_ANGSTROM {
                        let width = self.wave_edges[j + 1] - self.wave_edges[j];
                        light += bare * width;
                        lost += (-gas).max(0.0) * width;
                    }
                }
                if lost > MOST_LOST * light {
                    let problem = format!(
                        "at metallicity {z}, {} Gyr, it is fainter than `ssp_flux`: \
                         are these the same populations?",
                        self.age_edges[age]
                    );
                    return Err(data.error(NAME, problem));
                }
            }
        }
        Ok(())
    }

    /// Lines of the gas, at the ages of [`Grid::add_gas`].
    fn add_lines(
        &self,
        data: &Datasets,
        meta: &Metadata,
        shape: &[usize],
        arrays: &mut Arrays,
    ) -> Result<(), SpsError> {
        const NAME: &str = "ssp_emline_luminosity";
        arrays.line_angstrom = data.require("ssp_emline_wave", 1)?.values;
        let lines = arrays.line_angstrom.len();
        if lines == 0 || arrays.line_angstrom.iter().any(|wave| *wave <= 0.0) {
            return Err(data.error("ssp_emline_wave", "wavelengths above 0 are expected"));
        }
        let light = required(data, NAME, &[shape[0], shape[1], lines])?;
        let young = arrays.nebular_age_edges_gyr.len() - 1;
        for metal in light.values.chunks_exact(self.nodes * lines) {
            let means = self.ages.apply_rows(metal, lines);
            let scaled = means[..young * lines].iter().map(|v| (v * lsun_ratio(meta)) as f32);
            arrays.nebular_lines.extend(scaled);
        }
        Ok(())
    }

    fn remaining_mass(
        &self,
        data: &Datasets,
        mass: &Dataset,
        shape: &[usize],
    ) -> Result<Vec<f64>, SpsError> {
        const NAME: &str = "ssp_remaining_mass";
        expect(data, NAME, mass, &shape[..2])?;
        if mass.values.iter().any(|v| *v == 0.0 || *v > 1.001) {
            return Err(data.error(NAME, "fractions of the mass formed lie above 0, up to 1"));
        }
        let rows = mass.values.chunks_exact(self.nodes);
        Ok(rows.flat_map(|row| self.ages.apply_rows(row, 1)).collect())
    }
}

/// (metallicities, ages) of `library`, whose age bins are the importer's, at
/// these log10 Z; beyond its grid, that of its edge.
fn remaining_mass_of(library: &SspLibrary, lgmet: &[f64]) -> Vec<f64> {
    let a = library.arrays();
    let ages = a.age_edges_gyr.len() - 1;
    let solar = scalar::log10(library.meta().solar_metallicity);
    let last = a.metallicity.len() - 1;
    let mut all = Vec::with_capacity(lgmet.len() * ages);
    for log_z in lgmet {
        let metallicity = (log_z - solar).clamp(a.metallicity[0], a.metallicity[last]);
        let upper = a.metallicity.partition_point(|&m| m <= metallicity).clamp(1, last);
        let (low, high) = (a.metallicity[upper - 1], a.metallicity[upper]);
        let part = (metallicity - low) / (high - low);
        for age in 0..ages {
            let at = |z: usize| a.remaining_mass[z * ages + age];
            all.push(at(upper - 1) * (1.0 - part) + at(upper) * part);
        }
    }
    all
}
