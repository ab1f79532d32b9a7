//! `outshine catalogue`.

use super::Place;
use clap::Subcommand;
use outshine_coordinator::export;
use outshine_schemas::task::Stage;
use std::path::PathBuf;

/// What to do with a catalogue.
#[derive(Subcommand)]
pub enum Command {
    /// Copy catalogue, samples, summaries, model and calibration to a folder.
    Export {
        #[command(flatten)]
        place: Place,
        /// The folder.
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
}

pub async fn main(command: Command) -> anyhow::Result<()> {
    let Command::Export { place, to } = command;
    let (store, mut look) = place.look().await?;
    look.refresh(&store).await?;
    anyhow::ensure!(
        look.graph().complete(Stage::Catalogue),
        "campaign {} is not complete: run it first",
        look.campaign().id()
    );
    let count = export::export(&store, look.graph(), &to).await?;
    println!("{count} files in {}", to.display());
    Ok(())
}
