//! A trained model with its tilt fitted anew: the last step of training alone.
//!
//! `cargo run --release -p outshine-worker --example recalibrate -- CAMPAIGN.toml MODEL_DIR OUT_DIR [key=value ...]`
//!
//! CAMPAIGN is that of its training, which ends with the same bytes.
#![allow(missing_docs)]

use outshine_npe::recalibrated;
use outshine_schemas::campaign::{Campaign, MODEL_FILES};
use outshine_worker::stages::{Science, Simulations};
use outshine_worker::tools::read_model;
use std::path::Path;
use std::sync::Arc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [campaign, folder, out, settings @ ..] = args.as_slice() else {
        return Err("give CAMPAIGN.toml MODEL_DIR OUT_DIR [key=value ...]".into());
    };
    let campaign = Campaign::load(Path::new(campaign), settings)?;
    let science = Arc::new(Science::new(&campaign)?);
    let (model, _) = read_model(Path::new(folder))?;
    let (passes, snr) = (science.train.recalibration_passes, science.train.recalibration_snr);
    let data = Simulations::made(science, &campaign)?;
    let threads = std::thread::available_parallelism()?.get();
    let model = recalibrated(model, &data, passes, snr, threads)?;
    std::fs::create_dir_all(out)?;
    std::fs::write(Path::new(out).join(MODEL_FILES[0]), model.to_json())?;
    std::fs::write(Path::new(out).join(MODEL_FILES[1]), model.to_safetensors())?;
    match model.recalibration() {
        Some(recalibration) => print!("{}", recalibration.table(model.coordinates().names())),
        None => println!("none: train.recalibration_passes is 0"),
    }
    Ok(())
}
