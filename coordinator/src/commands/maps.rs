//! `outshine maps`: maps, panels and radial profiles of a campaign's galaxies.

use super::Place;
use super::seen::{Seen, Unfitted, file, read};
use anyhow::bail;
use arrow::array::Array;
use arrow::datatypes::UInt32Type;
use clap::Args;
use outshine_coordinator::export::Folder;
use outshine_schemas::campaign::MODEL_FILES;
use outshine_schemas::flags;
use outshine_schemas::outcome::{CommitRecord, FileRecord};
use outshine_schemas::task::{Shard, Stage};
use outshine_store::{Table, commit};
use outshine_worker::stages::{CHUNK_BLOCKS, field_file, model_digest};
use outshine_worker::tools::maps::{self, Galaxy, Mapper, Pixels, RedshiftOrigin, Rows};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;

/// Tables kept in memory: neighbouring galaxies share theirs.
const TABLES_KEPT: usize = 4;
/// Galaxies that something is to be said of that are listed at the end.
const LISTED: usize = 20;

/// Arguments of `outshine maps`.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Folder for a folder of each galaxy, `galaxy-<id>` (maps.fits, panel.png and
    /// .svg, profile.png and .svg), and the table of the profiles of all that this
    /// run makes (profiles.parquet, profiles.ecsv).
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// This galaxy alone; repeat for more [default: all].
    #[arg(long, value_name = "ID", allow_negative_numbers = true)]
    galaxy: Vec<i64>,
}

/// A galaxy of the field.
pub(super) struct Source {
    /// What is known of it.
    pub(super) galaxy: Galaxy,
    blocks: Shard,
}

pub async fn main(arguments: Arguments) -> anyhow::Result<()> {
    let seen = Seen::find(&arguments.place).await?;
    let Some(field) = seen.graph().commits(Stage::Field).first() else {
        bail!("campaign {} has no pixels yet: run it first", seen.name());
    };
    let wanted = wanted(sources(&seen, field).await?, &arguments.galaxy)?;
    let model = model(&seen).await?;
    let mapper = Mapper::new(&seen.given.campaign, &seen.name(), &model)
        .map_err(|e| anyhow::anyhow!("{}: {}", seen.file, e.report()))?;
    let mut tables = Tables::new(&seen);
    let (mut made, mut rows) = (0, Vec::new());
    let (mut bare, mut without) = (Vec::new(), Vec::new());
    // Shown on a terminal alone.
    let bar = indicatif::ProgressBar::new(wanted.len() as u64);
    for source in bar.wrap_iter(wanted.iter()) {
        let id = source.galaxy.galaxy_id;
        match one(&mapper, &mut tables, field, source).await {
            Ok(products) => {
                // One galaxy may be odd, but a folder that cannot be written is
                // the same for all.
                write(&Folder::make(&arguments.to)?, id, &products)?;
                made += 1;
                rows.push(products.rows);
                if products.fitted == 0 {
                    bare.push(id);
                }
            }
            Err(error) => without.push(format!("galaxy {id}: {error:#}")),
        }
    }
    bar.finish_and_clear();
    if made > 0 {
        write_profiles(&Folder::make(&arguments.to)?, &rows)?;
    }
    for id in bare.iter().take(LISTED) {
        println!("galaxy {id}: no pixel was fitted; its flags say why");
    }
    if bare.len() > LISTED {
        println!("and {} more without a fitted pixel", bare.len() - LISTED);
    }
    println!("maps of {made} galaxies in {}", arguments.to.display());
    if without.is_empty() {
        return Ok(());
    }
    for line in without.iter().take(LISTED) {
        println!("{line}");
    }
    if without.len() > LISTED {
        println!("and {} more", without.len() - LISTED);
    }
    bail!("{} of {} galaxies have no maps", without.len(), wanted.len())
}

/// The digest of the model, as the catalogue has it; empty before there is one.
pub(super) async fn model(seen: &Seen) -> anyhow::Result<String> {
    let store = &seen.store;
    let Some(commit) = seen.graph().commits(Stage::Train).last() else {
        return Ok(String::new());
    };
    let [description, weights] = MODEL_FILES.map(|name| file(commit, name));
    let description = commit::read_file(store, description?).await?;
    let weights = commit::read_file(store, weights?).await?;
    Ok(model_digest(&description, &weights).to_string())
}

/// The galaxies asked for, in order of id.
pub(super) fn wanted(sources: Vec<Source>, ids: &[i64]) -> anyhow::Result<Vec<Source>> {
    if ids.is_empty() {
        return Ok(sources);
    }
    let ids: BTreeSet<i64> = ids.iter().copied().collect();
    let there: BTreeSet<i64> = sources.iter().map(|s| s.galaxy.galaxy_id).collect();
    let missing: Vec<String> = ids.difference(&there).map(i64::to_string).collect();
    if !missing.is_empty() {
        bail!(
            "--galaxy {}: not among the {} galaxies of the field",
            missing.join(", "),
            there.len()
        );
    }
    Ok(sources.into_iter().filter(|s| ids.contains(&s.galaxy.galaxy_id)).collect())
}

/// All galaxies of the field, with what the catalogue, or the part of it that is
/// there, says of their redshifts.
pub(super) async fn sources(seen: &Seen, field: &CommitRecord) -> anyhow::Result<Vec<Source>> {
    let mut fitted: BTreeMap<i64, (f64, RedshiftOrigin)> = BTreeMap::new();
    let reduced = seen.commits(Stage::Reduce);
    for commit in seen.commits(Stage::Catalogue).iter().chain(reduced) {
        let name = match commit.stage {
            Stage::Catalogue => "catalogue.parquet",
            _ => "rows.parquet",
        };
        let columns = ["galaxy_id", "redshift_p50", "flags"];
        let table = seen.table(commit, name, Some(&columns)).await?;
        let id = table.int64("galaxy_id")?;
        let median = table.float64("redshift_p50")?;
        let bits = table.number::<UInt32Type>("flags")?;
        for row in (0..table.rows()).filter(|&row| median.is_valid(row)) {
            let posterior = flags::REDSHIFT_FITTED & bits.value(row) == 0;
            let origin = if posterior { RedshiftOrigin::Given } else { RedshiftOrigin::Fitted };
            fitted.insert(id.value(row), (median.value(row), origin));
        }
        if commit.stage == Stage::Catalogue {
            break;
        }
    }
    let columns = ["galaxy_id", "redshift", "first_block", "blocks"];
    let table = seen.table(field, "galaxies.parquet", Some(&columns)).await?;
    let id = table.int64("galaxy_id")?;
    let redshift = table.float64("redshift")?;
    let first = table.number::<UInt32Type>("first_block")?;
    let count = table.number::<UInt32Type>("blocks")?;
    let source = |row: usize| {
        let galaxy_id = id.value(row);
        let known = redshift.is_valid(row).then(|| redshift.value(row));
        let known = known.map(|z| (z, RedshiftOrigin::Known));
        let start = u64::from(first.value(row));
        Source {
            galaxy: Galaxy { galaxy_id, redshift: known.or(fitted.get(&galaxy_id).copied()) },
            blocks: Shard { start, end: start + u64::from(count.value(row)) },
        }
    };
    Ok((0..table.rows()).map(source).collect())
}

/// Makes all of one galaxy.
async fn one(
    mapper: &Mapper,
    tables: &mut Tables<'_>,
    field: &CommitRecord,
    source: &Source,
) -> anyhow::Result<maps::Products> {
    let pixels = pixels(mapper, tables, field, source).await?;
    Ok(mapper.make(&source.galaxy, &pixels)?)
}

/// The pixels of a galaxy, which must all be fitted.
pub(super) async fn pixels(
    mapper: &Mapper,
    tables: &mut Tables<'_>,
    field: &CommitRecord,
    source: &Source,
) -> anyhow::Result<Pixels> {
    let Source { galaxy, blocks } = source;
    let (fits, unfitted) = tables.seen.fitted(*blocks);
    if let Some(Unfitted { blocks, of, mend }) = unfitted {
        bail!("{blocks} of its {of} blocks of pixels are not fitted: {mend}");
    }
    let mut pixels = Pixels::new(mapper.bands().len(), mapper.has_t50());
    for commit in fits {
        let table = tables.get(file(commit, "summaries.parquet")?).await?;
        pixels.add_summaries(table, galaxy.galaxy_id)?;
    }
    let chunk = |block: u64| block / u64::from(CHUNK_BLOCKS);
    for number in chunk(blocks.start)..=chunk(blocks.end.max(blocks.start + 1) - 1) {
        let name = field_file(u32::try_from(number)?);
        let table = tables.get(file(field, &name)?).await?;
        pixels.add_field(table, galaxy.galaxy_id, mapper.bands())?;
    }
    Ok(pixels)
}

fn write(to: &Folder, id: i64, products: &maps::Products) -> anyhow::Result<()> {
    let mut files: Vec<(&str, &[u8])> = vec![
        ("maps.fits", &products.fits),
        ("panel.png", &products.panel.png),
        ("panel.svg", products.panel.svg.as_bytes()),
    ];
    if let Some(profile) = &products.profile {
        files.push(("profile.png", &profile.png));
        files.push(("profile.svg", profile.svg.as_bytes()));
    }
    for (name, bytes) in files {
        to.put(&format!("galaxy-{id}/{name}"), bytes)?;
    }
    Ok(())
}

fn write_profiles(to: &Folder, rows: &[Rows]) -> anyhow::Result<()> {
    let batch = maps::profile_table(rows)?;
    let text = maps::ecsv(&batch)?;
    let bytes = maps::profile_parquet(&batch)?;
    to.put("profiles.parquet", &bytes)?;
    to.put("profiles.ecsv", text.as_bytes())
}

/// The tables read last.
pub(super) struct Tables<'a> {
    seen: &'a Seen,
    kept: VecDeque<(String, Table)>,
}

impl<'a> Tables<'a> {
    /// None yet.
    pub(super) fn new(seen: &'a Seen) -> Self {
        Self { seen, kept: VecDeque::new() }
    }

    async fn get(&mut self, file: &FileRecord) -> anyhow::Result<&Table> {
        let known = self.kept.iter().position(|(path, _)| *path == file.path);
        let last = match known.and_then(|place| self.kept.remove(place)) {
            Some(last) => last,
            None => (file.path.clone(), read(&self.seen.store, file, None).await?),
        };
        // The one that was not asked for the longest goes.
        if self.kept.len() == TABLES_KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(last);
        let place = self.kept.len() - 1;
        Ok(&self.kept[place].1)
    }
}
