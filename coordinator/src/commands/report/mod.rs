//! `outshine report`: all that a campaign says of itself, in one file of HTML.

mod galaxies;
mod runs;

use super::Place;
use super::maps;
use super::seen::{Seen, read};
use anyhow::{Context, bail};
use clap::Args;
use outshine_coordinator::export::Folder;
use outshine_schemas::task::Stage;
use outshine_store::Table;
use outshine_worker::stages::Science;
use outshine_worker::tools::report::html::Page;
use outshine_worker::tools::report::{self, Calibration, Checked, Galaxies, PixelSample, Row};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Arguments of `outshine report`.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
    /// The file to write: HTML with all figures inside, for any browser.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// Writes masses, cross-prior test and predictive checks as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// A campaign on the same galaxies, such as one with the other prior, to
    /// compare masses with.
    #[arg(long, value_name = "CAMPAIGN")]
    other: Option<PathBuf>,
    /// Sets a key of the other campaign; repeat for more.
    #[arg(long, value_name = "KEY=VALUE", requires = "other")]
    other_set: Vec<String>,
    /// Store of the other campaign [default: the same].
    #[arg(long, value_name = "STORE", requires = "other")]
    other_store: Option<String>,
    /// Shows the panel of this galaxy and checks its pixels; repeat for more [default: those of highest mass].
    #[arg(long, value_name = "ID", allow_negative_numbers = true)]
    galaxy: Vec<i64>,
    /// Panels of so many galaxies, where none is named.
    #[arg(long, value_name = "N", default_value_t = 6, conflicts_with = "galaxy")]
    panels: usize,
}

/// A table that the last commit of a stage has, if both are there.
async fn table(seen: &Seen, stage: Stage, name: &str) -> anyhow::Result<Option<Table>> {
    let last = seen.commits(stage).last().and_then(|commit| commit.file(name));
    match last {
        Some(file) => Ok(Some(read(&seen.store, file, None).await?)),
        None => Ok(None),
    }
}

async fn catalogue(seen: &Seen) -> anyhow::Result<Option<Galaxies>> {
    let table = table(seen, Stage::Catalogue, "catalogue.parquet").await?;
    Ok(table.map(|table| Galaxies::read(&table)).transpose()?)
}

/// What the report is made of besides its page.
#[derive(Default)]
struct Masses {
    within: Vec<Row>,
    between: Vec<Row>,
}

pub async fn main(arguments: Arguments) -> anyhow::Result<()> {
    let seen = Seen::find(&arguments.place).await?;
    // Before anything is computed: bad input of the other campaign.
    let other = other(&arguments, &seen).await?;
    let sources = match seen.graph().commits(Stage::Field).first() {
        Some(field) => maps::wanted(maps::sources(&seen, field).await?, &arguments.galaxy)?,
        None => Vec::new(),
    };
    let campaign = seen.look.campaign();
    let science = seen.science()?;
    let model = maps::model(&seen).await?;
    let galaxies = catalogue(&seen).await?;
    let mut page = Page::new(&format!("Campaign {}", campaign.id()));
    let mut masses = Masses::default();

    runs::write(&mut page, &seen.store, &seen.look, &model).await?;
    let pixels = pixels(&seen, &science, galaxies.as_ref()).await?;
    if let Some(galaxies) = &galaxies {
        galaxies.write_flags(&mut page);
    }
    pixels.write_flags(&mut page);

    page.section("Resolved and integrated masses");
    match &galaxies {
        Some(galaxies) => masses.within = galaxies.write_masses(&mut page)?,
        None => missing(&mut page, Stage::Catalogue),
    }

    page.section("The model");
    calibration(&mut page, &seen).await?;
    pixels.write_residuals(&mut page)?;
    page.part("Widths of posteriors");
    match pixels.fitted() {
        0 => missing(&mut page, Stage::Fit),
        _ => pixels.write_widths(&mut page, &science)?,
    }

    page.section("Fitted pixels over mass and redshift");
    match &galaxies {
        Some(galaxies) => galaxies.write_fractions(&mut page)?,
        None => missing(&mut page, Stage::Catalogue),
    }

    if let Some((name, other)) = &other {
        page.section("Two campaigns on the same galaxies");
        match &galaxies {
            Some(galaxies) => {
                let names = [seen.name(), name.clone()];
                let names = names.each_ref().map(String::as_str);
                masses.between = galaxies.write_other(other, names, &mut page)?;
            }
            None => missing(&mut page, Stage::Catalogue),
        }
    }

    page.section("Galaxies");
    let named = (arguments.galaxy.as_slice(), arguments.panels);
    let ids = galaxies::ids(&mut page, &seen, named, galaxies.as_ref());
    galaxies::panels(&mut page, &seen, &sources, &ids, &model).await?;
    let checked = galaxies::checks(&mut page, &seen, &ids).await?;

    write(&arguments.to, page.finish().as_bytes())?;
    if let Some(path) = &arguments.json {
        let text = format!("{:#}\n", as_json(&seen, &model, &masses, &checked));
        write(path, text.as_bytes())?;
    }
    for rows in [&masses.within, &masses.between] {
        if !rows.is_empty() {
            println!("{}", report::agreement_rows(rows).plain());
        }
    }
    println!("{}", arguments.to.display());
    Ok(())
}

fn missing(page: &mut Page, stage: Stage) {
    page.warn(&format!("Not there yet: stage {stage} is not complete. `outshine run` goes on."));
}

fn as_json(seen: &Seen, model: &str, masses: &Masses, checked: &[Checked]) -> Value {
    let calibrated = seen.graph().state(Stage::Calibrate).commits().last();
    let fact = |name: &str| calibrated.and_then(|commit| commit.facts.get(name).cloned());
    json!({
        "campaign": seen.name(), "digest": seen.look.campaign().digest().to_string(), "model": model,
        "calibration": { "passed": fact("passed"), "cross_prior": fact("cross_prior") },
        "masses": report::agreement_json(&masses.within),
        "masses_between_campaigns": report::agreement_json(&masses.between),
        "predictive_checks": report::checks_json(checked),
    })
}

/// The other campaign's name and galaxies.
async fn other(arguments: &Arguments, this: &Seen) -> anyhow::Result<Option<(String, Galaxies)>> {
    let Some(path) = &arguments.other else { return Ok(None) };
    let store = arguments.other_store.clone().unwrap_or_else(|| arguments.place.store.clone());
    let settings = arguments.other_set.clone();
    let place = Place { campaign: path.clone(), settings, store };
    let seen = Seen::find(&place).await.context("--other")?;
    // Mocks of two families have other galaxies by the same seed: their truth tells.
    let tables = |seen: &Seen| (seen.given.pixels.clone(), seen.given.sources.clone());
    if tables(&seen) != tables(this) {
        let (seen, this) = (seen.name(), this.name());
        bail!("--other: {seen} is not of the tables of pixels and sources that {this} is of");
    }
    let galaxies = catalogue(&seen).await?;
    let absent = || format!("--other: campaign {} has no catalogue yet: run it first", seen.name());
    Ok(Some((seen.name(), galaxies.with_context(absent)?)))
}

/// The pixels that are fitted so far.
async fn pixels(
    seen: &Seen,
    science: &Science,
    galaxies: Option<&Galaxies>,
) -> anyhow::Result<PixelSample> {
    let mut redshifts: BTreeMap<i64, f64> = BTreeMap::new();
    if let Some(table) = table(seen, Stage::Field, "galaxies.parquet").await? {
        redshifts = report::redshifts_of(&table)?;
    }
    let fitted = galaxies.map(|g| g.masses.as_slice()).unwrap_or_default();
    redshifts.extend(fitted.iter().filter_map(|g| Some((g.galaxy_id, g.redshift?))));
    let mut sample = PixelSample::new(science);
    let columns = PixelSample::columns(science, seen.look.campaign().campaign.field.mock.is_some());
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let commits = seen.commits(Stage::Fit);
    // Shown on a terminal alone.
    let bar = indicatif::ProgressBar::new(commits.len() as u64);
    for commit in bar.wrap_iter(commits.iter()) {
        let table = seen.table(commit, "summaries.parquet", Some(&columns)).await?;
        sample.add(&table, &redshifts)?;
    }
    bar.finish_and_clear();
    Ok(sample)
}

async fn calibration(page: &mut Page, seen: &Seen) -> anyhow::Result<()> {
    let Some(commit) = seen.graph().state(Stage::Calibrate).commits().last() else {
        missing(page, Stage::Calibrate);
        return Ok(());
    };
    let of = |name: &'static str| table(seen, Stage::Calibrate, name);
    let calibration = Calibration {
        rows: of("calibration.parquet").await?,
        redshifts: of("calibration-redshift.parquet").await?,
        cross_prior: of("cross-prior.parquet").await?,
        facts: commit.facts.clone(),
    };
    report::calibration(page, &calibration)?;
    if let Some(table) = table(seen, Stage::Catalogue, "validation.parquet").await? {
        report::validation(page, &table)?;
    }
    Ok(())
}

/// Whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.with_context(|| format!("{}: name a file to write", path.display()))?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    Folder::make(parent.unwrap_or(Path::new(".")))?.put(name, bytes)
}
