//! `outshine fit`: a table of pixels, fitted here and now.

use super::{Place, run};
use anyhow::{Context, bail};
use clap::Args;
use outshine_schemas::campaign::SNR_BANDS;
use std::path::{Path, PathBuf};

/// Prefix of the columns of fluxes.
const FLUX: &str = "flux_njy_";
/// The campaign that a fit is, beside its products.
const CAMPAIGN: &str = "campaign.toml";

/// Arguments of `outshine fit`.
#[derive(Args)]
pub struct Arguments {
    /// Parquet table of pixels; its columns `flux_njy_<band>` name the bands.
    pixels: PathBuf,
    /// Folder for the products, and for the campaign that makes them.
    out: PathBuf,
    /// Parquet table that says which pixel belongs to which galaxy, where the
    /// table of pixels does not.
    #[arg(long)]
    sources: Option<PathBuf>,
    /// Folder of an estimator [default: the one that comes with the program].
    #[arg(long)]
    model: Option<PathBuf>,
    /// Family of star-formation histories: tau or dirichlet.
    #[arg(long, default_value = "tau", value_parser = ["tau", "dirichlet"])]
    sfh: String,
    /// Sets a key of the campaign, such as `fit.draws=200`; repeat for more.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

pub async fn main(arguments: Arguments) -> anyhow::Result<()> {
    let text = campaign(&arguments)?;
    let out = &arguments.out;
    std::fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    let path = out.join(CAMPAIGN);
    match std::fs::read_to_string(&path) {
        Ok(before) if before != text => bail!(
            "{}: the folder holds another fit: choose another one, or remove it",
            path.display()
        ),
        Ok(_) => {}
        Err(_) => std::fs::write(&path, text).with_context(|| path.display().to_string())?,
    }
    let store = out.join("store").display().to_string();
    let place = Place { campaign: path, settings: arguments.settings, store };
    run::main(run::Arguments::here(place, out.clone())).await
}

/// The campaign that these arguments ask for.
fn campaign(arguments: &Arguments) -> anyhow::Result<String> {
    let absolute = |path: &Path| {
        let path = std::path::absolute(path)?;
        Ok::<toml::Value, anyhow::Error>(path.display().to_string().into())
    };
    let name = arguments.pixels.display().to_string();
    let bytes = std::fs::read(&arguments.pixels).with_context(|| name.clone())?;
    let table = outshine_store::parquet::decode(&name, bytes.into(), None)?;
    let schema = table.schema();
    let bands: Vec<&str> =
        schema.fields().iter().filter_map(|f| f.name().strip_prefix(FLUX)).collect();
    if bands.is_empty() {
        bail!(
            "{name}: no column `{FLUX}<band>`: add fluxes in nJy, and errors as `err_njy_<band>`"
        );
    }
    // Those of the default that the table has.
    let mut snr: Vec<&str> = SNR_BANDS.into_iter().filter(|band| bands.contains(band)).collect();
    if snr.is_empty() {
        snr.clone_from(&bands);
    }
    let list = |bands: &[&str]| toml::Value::from(bands.to_vec());
    let mut field = toml::Table::new();
    field.insert("pixels".to_owned(), absolute(&arguments.pixels)?);
    if let Some(sources) = &arguments.sources {
        field.insert("sources".to_owned(), absolute(sources)?);
    }
    field.insert("snr_bands".to_owned(), list(&snr));
    let mut all = toml::Table::new();
    all.insert("name".to_owned(), "fit".into());
    all.insert("bands".to_owned(), list(&bands));
    if let Some(model) = &arguments.model {
        all.insert("estimator".to_owned(), absolute(model)?);
    }
    all.insert("field".to_owned(), field.into());
    let prior = toml::Table::from_iter([("sfh".to_owned(), arguments.sfh.as_str().into())]);
    all.insert("prior".to_owned(), prior.into());
    Ok(format!(
        "# Made by `outshine fit`; `outshine run` takes it too.\n{}",
        toml::to_string(&all)?
    ))
}
