//! `outshine pixel`: corner plots, star-formation histories and posterior predictive
//! checks of pixels that a user names.

use super::Place;
use super::seen::{Seen, Unfitted};
use anyhow::{Context, bail, ensure};
use arrow::array::Array;
use arrow::datatypes::UInt32Type;
use clap::Args;
use outshine_coordinator::export::Folder;
use outshine_schemas::campaign::ResolvedCampaign;
use outshine_schemas::flags;
use outshine_schemas::outcome::CommitRecord;
use outshine_schemas::task::{Shard, Stage, Task};
use outshine_worker::runtime::board::Board;
use outshine_worker::runtime::{Assignment, Plans};
use outshine_worker::stages::again::{self, Inferred, Spot};
use outshine_worker::stages::{Job, Science};
use outshine_worker::tools::pixel::{self, External, Model};
use outshine_worker::tools::pixel::{Candidate, brightest, outside};
use std::path::PathBuf;
use std::sync::Arc;

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
    let mut own = Opened::open(&arguments.place).await?;
    let mut other = match &arguments.other {
        None => None,
        Some(campaign) => {
            let (campaign, settings) = (campaign.clone(), arguments.other_set.clone());
            let place = Place { campaign, settings, store: arguments.place.store.clone() };
            Some(Opened::open(&place).await?)
        }
    };
    let spots = spots(&mut own, &arguments).await?;
    let external = match &arguments.external {
        None => None,
        Some(path) => {
            ensure!(spots.len() == 1, "--external has the draws of one pixel: name one");
            let name = path.display().to_string();
            let bytes = std::fs::read(path).with_context(|| format!("--external {name}"))?;
            Some(External::read(&name, bytes.into(), &pixel::shown(&own.science))?)
        }
    };
    let (mut checks, mut to) = (Vec::new(), None);
    for spot in spots {
        let (products, snr) = one(&mut own, other.as_mut(), external.as_ref(), spot).await?;
        if to.is_none() {
            to = Some(Folder::make(&arguments.to)?);
        }
        let folder = format!("galaxy-{}-{}-{}", spot.galaxy_id, spot.x, spot.y);
        let to = to.as_ref().context("made above")?;
        write(to, &folder, &products)?;
        let check = &products.prediction.check;
        println!(
            "{spot}: {}, smallest chi^2 = {:.1} in {} bands; {}",
            pixel::p_value(check.p_value),
            check.least,
            check.bands,
            arguments.to.join(&folder).display()
        );
        checks.push((spot, snr, products.prediction));
    }
    if let Some(to) = to {
        to.put("predictive.parquet", &pixel::predictive_table(&checks)?)?;
    }
    Ok(())
}

/// Makes all of one pixel; with its mean S/N.
async fn one(
    own: &mut Opened,
    other: Option<&mut Opened>,
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
async fn spots(own: &mut Opened, arguments: &Arguments) -> anyhow::Result<Vec<Spot>> {
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
        if !(arguments.brightest || arguments.outside) {
            continue;
        }
        let members = own.members(galaxy_id).await?;
        if let Some(Unfitted { blocks, mend, .. }) = &members.unfitted {
            bail!("galaxy {galaxy_id}: {blocks} of its blocks are not fitted: {mend}");
        }
        let all: Vec<Candidate> = members.pixels.iter().map(|(candidate, _)| *candidate).collect();
        let none = || format!("galaxy {galaxy_id}: no pixel was fitted; its flags say why");
        if arguments.brightest {
            add(brightest(&all).with_context(none)?);
        }
        if arguments.outside {
            brightest(&all).with_context(none)?;
            let none =
                || format!("galaxy {galaxy_id}: no fitted pixel beyond the half-mass radius");
            add(outside(&all, own.campaign.campaign.seed).with_context(none)?);
        }
    }
    Ok(spots)
}

/// A campaign to look into.
struct Opened {
    seen: Seen,
    campaign: Arc<ResolvedCampaign>,
    science: Arc<Science>,
    name: String,
    /// Those of the galaxy looked at last.
    members: Option<(i64, Members)>,
}

/// The pixels of a galaxy that are dealt with, each with the commit of its task.
struct Members {
    pixels: Vec<(Candidate, Arc<CommitRecord>)>,
    /// What is not.
    unfitted: Option<Unfitted>,
}

impl Opened {
    async fn open(place: &Place) -> anyhow::Result<Self> {
        let seen = Seen::find(place).await?;
        let campaign = Arc::new(seen.look.campaign().clone());
        let science = Science::new(&campaign.campaign)
            .map_err(|e| anyhow::anyhow!("{}: {}", seen.file, e.report()))?;
        let name = campaign.campaign.name.clone();
        Ok(Self { seen, campaign, science: Arc::new(science), name, members: None })
    }

    fn model<'a>(&'a self, pixel: &'a Inferred) -> Model<'a> {
        let seed = self.campaign.campaign.seed;
        Model { name: &self.name, science: &self.science, seed, pixel }
    }

    /// The blocks of a galaxy.
    async fn blocks(&self, galaxy: i64) -> anyhow::Result<Shard> {
        let Some(field) = self.seen.graph().commits(Stage::Field).first() else {
            bail!(
                "{}: campaign {} has no pixels yet: `outshine run` goes on",
                self.seen.file,
                self.campaign.id()
            );
        };
        let columns = ["galaxy_id", "first_block", "blocks"];
        let table = self.seen.table(field, "galaxies.parquet", Some(&columns)).await?;
        let id = table.int64("galaxy_id")?;
        let row = (0..table.rows()).find(|&row| id.value(row) == galaxy);
        let row = row.with_context(|| {
            let (all, campaign) = (table.rows(), &self.seen.file);
            format!("--galaxy {galaxy}: not among the {all} galaxies of the field of {campaign}")
        })?;
        let start = u64::from(table.number::<UInt32Type>("first_block")?.value(row));
        let count = u64::from(table.number::<UInt32Type>("blocks")?.value(row));
        Ok(Shard { start, end: start + count })
    }

    /// The pixels of a galaxy; read once, however many of them are looked at.
    async fn members(&mut self, galaxy: i64) -> anyhow::Result<&Members> {
        let known = self.members.as_ref().is_some_and(|(of, _)| *of == galaxy);
        if !known {
            self.members = Some((galaxy, self.read_members(galaxy).await?));
        }
        Ok(&self.members.as_ref().context("read above")?.1)
    }

    async fn read_members(&self, galaxy: i64) -> anyhow::Result<Members> {
        let (commits, unfitted) = self.seen.fitted(self.blocks(galaxy).await?);
        let columns = ["galaxy_id", "x", "y", "mean_snr", "flags", "log_mass_stellar_p50"];
        let mut pixels = Vec::new();
        for commit in commits {
            let table = self.seen.table(commit, "summaries.parquet", Some(&columns)).await?;
            let (id, x, y) = (table.int64("galaxy_id")?, table.int32("x")?, table.int32("y")?);
            let snr = table.float32("mean_snr")?;
            let bits = table.number::<UInt32Type>("flags")?;
            let mass = table.float64("log_mass_stellar_p50")?;
            let commit = Arc::new(commit.clone());
            for row in (0..table.rows()).filter(|&row| id.value(row) == galaxy) {
                let spot = Spot { galaxy_id: galaxy, x: x.value(row), y: y.value(row) };
                let log_mass = mass.is_valid(row).then(|| mass.value(row));
                let (mean_snr, flags) = (snr.value(row), bits.value(row));
                pixels.push((Candidate { spot, mean_snr, flags, log_mass }, commit.clone()));
            }
        }
        Ok(Members { pixels, unfitted })
    }

    /// The posterior of a pixel.
    async fn infer(&mut self, spot: Spot) -> anyhow::Result<Inferred> {
        let name = self.seen.file.clone();
        let members = self.members(spot.galaxy_id).await?;
        let found = members.pixels.iter().find(|(candidate, _)| candidate.spot == spot);
        let Some((candidate, commit)) = found else {
            if let Some(Unfitted { blocks, mend, .. }) = &members.unfitted {
                bail!(
                    "{name}: {spot} is not among the pixels fitted so far; {blocks} blocks of the \
                     galaxy are not fitted: {mend}"
                );
            }
            let ends = |of: fn(&Spot) -> i32| {
                let all = members.pixels.iter().map(|(c, _)| of(&c.spot));
                let (low, high) = (all.clone().min(), all.max());
                format!("{} to {}", low.unwrap_or_default(), high.unwrap_or_default())
            };
            bail!(
                "{name}: {spot} is none of the galaxy's {} pixels, which span x = {} and y = {}",
                members.pixels.len(),
                ends(|s| s.x),
                ends(|s| s.y)
            );
        };
        if candidate.flags & flags::NOT_FITTED != 0 {
            let why = candidate.flags & flags::NOT_FITTED;
            let why = flags::ALL.iter().filter(|(bit, _, _)| why & bit != 0);
            let why: Vec<String> =
                why.map(|(_, name, meaning)| format!("{name} ({meaning})")).collect();
            bail!("{name}: {spot} was not fitted: {}", why.join(", "));
        }
        let commit = commit.clone();
        Ok(again::infer(&self.job(&commit), &commit, spot).await?)
    }

    /// The task of a commit, to look at what it looked at.
    fn job(&self, commit: &CommitRecord) -> Job {
        let (id, digest) = (self.campaign.id(), self.campaign.digest());
        let inputs = commit.inputs.clone();
        let assignment = Assignment {
            store: self.seen.store.clone(),
            task: Task::new(id, digest, commit.stage, commit.shard, inputs),
            campaign: self.campaign.clone(),
            threads: 1,
            board: Board::default(),
            plans: Plans::default(),
        };
        Job { assignment, science: self.science.clone() }
    }
}
