//! `outshine pixel`: corner plots, star-formation histories and posterior predictive
//! checks of pixels that a user names.

use super::Place;
use super::posteriors::Posteriors;
use super::seen::Seen;
use anyhow::{Context, ensure};
use clap::Args;
use outshine_coordinator::export::Folder;
use outshine_worker::stages::again::Spot;
use outshine_worker::tools::pixel::{self, External};
use std::path::PathBuf;

/// Arguments of `outshine pixel`.
#[derive(Args)]
#[command(group(clap::ArgGroup::new("which").required(true).multiple(true)
    .args(["at", "brightest", "outside"])))]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
    /// The galaxy; repeat for more.
    #[arg(long, value_name = "ID", required = true, allow_negative_numbers = true)]
    galaxy: Vec<i64>,
    /// The pixel in column X and row Y of the pixel table; repeat for more. Of one
    /// galaxy alone.
    #[arg(long, value_name = "X,Y", value_parser = position, allow_hyphen_values = true)]
    at: Vec<(i32, i32)>,
    /// The fitted pixel of the highest mean S/N.
    #[arg(long)]
    brightest: bool,
    /// A fitted pixel beyond the half-mass radius, chosen at random: the same one
    /// each time.
    #[arg(long)]
    outside: bool,
    /// Folder for a folder of each pixel, `galaxy-<id>-<x>-<y>` (corner, history and
    /// predictive as .png and .svg, draws.parquet, predictive.parquet and .csv), and
    /// the table of the checks of all that this run makes (predictive.parquet).
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Another campaign in the same store that fitted the same pixels, with the other
    /// family of histories say: laid over the corner plot in the parameters that both
    /// have, its histories beside the first ones.
    #[arg(long, value_name = "CAMPAIGN.toml")]
    other: Option<PathBuf>,
    /// Sets a key of the other campaign; repeat for more.
    #[arg(long, value_name = "KEY=VALUE", requires = "other")]
    other_set: Vec<String>,
    /// Draws of one pixel by any other sampler, laid over its corner plot: a Parquet
    /// table of one row per draw, whose columns have the names and units of those of
    /// draws.parquet (`log_mass_stellar`, `log_sfr_100`, `mass_weighted_age_gyr`, `a_v`,
    /// `metallicity`...).
    #[arg(long, value_name = "SAMPLES.parquet")]
    external: Option<PathBuf>,
}

fn position(text: &str) -> Result<(i32, i32), String> {
    let number = |part: &str| part.trim().parse::<i32>().map_err(|e| format!("`{part}`: {e}"));
    let (x, y) = text.split_once(',').ok_or("give column and row, such as 12,40")?;
    Ok((number(x)?, number(y)?))
}

pub async fn main(arguments: Arguments) -> anyhow::Result<()> {
    ensure!(
        arguments.at.is_empty() || arguments.galaxy.len() == 1,
        "--at names pixels of one galaxy: give one --galaxy, and run again for the next"
    );
    let seen = Seen::find(&arguments.place).await?;
    let mut own = Posteriors::of(&seen)?;
    let other = match &arguments.other {
        None => None,
        Some(campaign) => {
            let (campaign, settings) = (campaign.clone(), arguments.other_set.clone());
            let place = Place { campaign, settings, store: arguments.place.store.clone() };
            Some(Seen::find(&place).await?)
        }
    };
    let mut other = other.as_ref().map(Posteriors::of).transpose()?;
    let spots = spots(&mut own, &arguments).await?;
    let external = match &arguments.external {
        None => None,
        Some(path) => {
            ensure!(spots.len() == 1, "--external has the draws of one pixel: name one");
            let name = path.display().to_string();
            let bytes = std::fs::read(path).with_context(|| format!("--external {name}"))?;
            Some(External::read(&name, bytes.into(), &pixel::shown(own.science()))?)
        }
    };
    let mut checks = Vec::new();
    for spot in spots {
        let (products, snr) = one(&mut own, other.as_mut(), external.as_ref(), spot).await?;
        let folder = format!("galaxy-{}-{}-{}", spot.galaxy_id, spot.x, spot.y);
        write(&Folder::make(&arguments.to)?, &folder, &products)?;
        let check = &products.prediction.check;
        println!(
            "{spot}: p {}, smallest chi^2 = {:.1} in {} bands; {}",
            pixel::p_value(check.p_value, "= "),
            check.least,
            check.bands,
            arguments.to.join(&folder).display()
        );
        checks.push((spot, snr, products.prediction));
    }
    if checks.is_empty() {
        return Ok(());
    }
    let table = pixel::predictive_table(&checks)?;
    Folder::make(&arguments.to)?.put("predictive.parquet", &table)
}

/// Makes all of one pixel; with its mean S/N.
async fn one(
    own: &mut Posteriors<'_>,
    other: Option<&mut Posteriors<'_>>,
    external: Option<&External>,
    spot: Spot,
) -> anyhow::Result<(pixel::Products, f32)> {
    let inferred = own.infer(spot).await?;
    let beside = match other {
        None => None,
        Some(other) => {
            let inferred = other.infer(spot).await?;
            Some((other, inferred))
        }
    };
    let beside = beside.as_ref().map(|(other, inferred)| other.model(inferred));
    let products = pixel::make(&own.model(&inferred), beside.as_ref(), external)?;
    Ok((products, inferred.mean_snr))
}

fn write(to: &Folder, folder: &str, products: &pixel::Products) -> anyhow::Result<()> {
    let mut files: Vec<(String, &[u8])> = Vec::new();
    for (name, figure) in &products.figures {
        files.push((format!("{name}.png"), &figure.png));
        files.push((format!("{name}.svg"), figure.svg.as_bytes()));
    }
    files.push(("draws.parquet".to_owned(), &products.draws));
    files.push(("predictive.parquet".to_owned(), &products.bands.0));
    files.push(("predictive.csv".to_owned(), &products.bands.1));
    for (name, bytes) in files {
        to.put(&format!("{folder}/{name}"), bytes)?;
    }
    Ok(())
}

/// The pixels asked for.
async fn spots(own: &mut Posteriors<'_>, arguments: &Arguments) -> anyhow::Result<Vec<Spot>> {
    let mut spots: Vec<Spot> = Vec::new();
    for &galaxy_id in &arguments.galaxy {
        let mut add = |spot: Spot| {
            if !spots.contains(&spot) {
                spots.push(spot);
            }
        };
        for &(x, y) in &arguments.at {
            add(Spot { galaxy_id, x, y });
        }
        if arguments.brightest {
            add(own.brightest(galaxy_id).await?);
        }
        if arguments.outside {
            add(own.outside(galaxy_id).await?);
        }
    }
    Ok(spots)
}
