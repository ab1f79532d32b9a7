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
    let (store, campaign, graph) = place.look().await?;
    anyhow::ensure!(
        graph.complete(Stage::Catalogue),
        "campaign {} is not complete: run it first",
        campaign.id()
    );
    let count = export::export(&store, &graph, &to).await?;
    println!("{count} files in {}", to.display());
    Ok(())
}
