//! `outshine catalogue`.

use super::Place;
use clap::Subcommand;
use outshine_coordinator::{database, export};
use outshine_database::Target;
use outshine_formats::Format;
use outshine_schemas::task::Stage;
use std::path::Path;

/// What to do with a catalogue.
#[derive(Subcommand)]
pub enum Command {
    /// Write catalogue, summaries, samples, model and calibration to a folder,
    /// or load catalogue and summaries into a PostgreSQL database.
    ///
    /// A folder gets catalogue.parquet, .fits, .vot and .csv, and the summaries of
    /// all pixels as summaries/galaxy_id=ID/part.parquet. A database gets the
    /// tables galaxy, pixel, campaign and model in the schema `outshine`, and the
    /// views galaxy_newest and pixel_newest. Both are safe to repeat. With a WCS of
    /// right ascension and declination in the campaign file ([field.image.wcs]),
    /// galaxies have ra and dec.
    Export {
        #[command(flatten)]
        place: Place,
        /// The folder, or the database: postgres://user@host:port/name. A password
        /// that is not in the URL comes from PGPASSWORD.
        #[arg(long, value_name = "DIR|URL")]
        to: String,
        /// Formats of the catalogue in a folder, separated by commas: parquet,
        /// fits, votable, csv [default: all].
        #[arg(long, value_name = "FORMAT", value_delimiter = ',')]
        format: Option<Vec<Format>>,
        #[command(flatten)]
        survey: Survey,
    },
}

/// Which galaxies are the same.
#[derive(clap::Args)]
pub struct Survey {
    /// Name that campaigns share in a database if they mean the same galaxy by
    /// the same id: views show the newest one's row [default: the one it has there,
    /// or one that campaigns on the same input share].
    #[arg(long, value_name = "NAME", env = "OUTSHINE_SURVEY")]
    pub survey: Option<String>,
}

pub async fn main(command: Command) -> anyhow::Result<()> {
    let Command::Export { place, to, format, survey } = command;
    let target = if Target::is_url(&to) { Some(Target::new(&to)?) } else { None };
    if target.is_some() && format.is_some() {
        anyhow::bail!("--format is for a folder: a database has its own");
    }
    if target.is_none() && to.contains("://") {
        // It may have a password: it is not repeated.
        anyhow::bail!("--to is neither a folder nor a URL that starts with postgres://");
    }
    if target.is_none() && survey.survey.is_some() {
        anyhow::bail!(
            "--survey (or OUTSHINE_SURVEY) is for a database, and --to is a folder: leave it out"
        );
    }
    let (store, mut look) = place.look().await?;
    look.refresh(&store).await?;
    let (campaign, graph) = (look.campaign(), look.graph());
    anyhow::ensure!(
        graph.complete(Stage::Catalogue),
        "campaign {} is not complete: run it first",
        campaign.id()
    );
    let sky = place.sky()?;
    if let Some(target) = target {
        let survey = survey.survey.as_deref();
        let loaded = database::load(&store, campaign, graph, &target, survey, &sky).await?;
        println!("{}", database::text(&target, &loaded));
        return Ok(());
    }
    let formats = format.unwrap_or(Format::ALL.to_vec());
    let count = export::export(&store, graph, Path::new(&to), &formats, &sky).await?;
    println!("{count} files in {to}");
    Ok(())
}
