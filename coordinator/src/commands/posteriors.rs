//! Posteriors of the pixels of a campaign, by galaxy and place.

use super::seen::{Seen, Unfitted};
use anyhow::{Context, bail};
use arrow::array::Array;
use arrow::datatypes::UInt32Type;
use outshine_schemas::campaign::ResolvedCampaign;
use outshine_schemas::flags;
use outshine_schemas::outcome::CommitRecord;
use outshine_schemas::task::{Shard, Stage, Task};
use outshine_worker::runtime::board::Board;
use outshine_worker::runtime::{Assignment, Plans};
use outshine_worker::stages::again::{self, Inferred, Spot};
use outshine_worker::stages::{Job, Science};
use outshine_worker::tools::pixel::{Candidate, Model, brightest, outside};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A campaign whose posteriors are looked at.
pub struct Posteriors<'a> {
    seen: &'a Seen,
    campaign: Arc<ResolvedCampaign>,
    science: Arc<Science>,
    /// Those of the galaxies looked at.
    members: BTreeMap<i64, Members>,
}

/// The pixels of a galaxy that are dealt with, each with the commit of its task.
struct Members {
    pixels: Vec<(Candidate, Arc<CommitRecord>)>,
    /// What is not.
    unfitted: Option<Unfitted>,
}

impl<'a> Posteriors<'a> {
    /// Of a campaign.
    ///
    /// # Errors
    /// Science sections that cannot be used.
    pub fn of(seen: &'a Seen) -> anyhow::Result<Self> {
        let campaign = Arc::new(seen.look.campaign().clone());
        let science = Arc::new(seen.science()?);
        Ok(Self { seen, campaign, science, members: BTreeMap::new() })
    }

    /// The campaign's models.
    pub fn science(&self) -> &Science {
        &self.science
    }

    /// What the figures of a pixel need.
    pub fn model<'b>(&'b self, pixel: &'b Inferred) -> Model<'b> {
        let campaign = &self.campaign.campaign;
        Model { name: &campaign.name, science: &self.science, seed: campaign.seed, pixel }
    }

    /// The fitted pixel of the highest mean S/N of a galaxy.
    ///
    /// # Errors
    /// A galaxy that is not the campaign's, not fitted yet, or without fitted pixels.
    pub async fn brightest(&mut self, galaxy: i64) -> anyhow::Result<Spot> {
        brightest(&self.candidates(galaxy).await?).with_context(|| no_pixel(galaxy))
    }

    /// A fitted pixel of a galaxy beyond its half-mass radius, the same one each time.
    ///
    /// # Errors
    /// As [`Posteriors::brightest`]; no fitted pixel out there.
    pub async fn outside(&mut self, galaxy: i64) -> anyhow::Result<Spot> {
        let seed = self.campaign.campaign.seed;
        let all = self.candidates(galaxy).await?;
        brightest(&all).with_context(|| no_pixel(galaxy))?;
        let none = || format!("galaxy {galaxy}: no fitted pixel beyond the half-mass radius");
        outside(&all, seed).with_context(none)
    }

    /// All pixels of a galaxy, once it is fitted.
    async fn candidates(&mut self, galaxy: i64) -> anyhow::Result<Vec<Candidate>> {
        let members = self.members(galaxy).await?;
        if let Some(Unfitted { blocks, mend, .. }) = &members.unfitted {
            bail!("galaxy {galaxy}: {blocks} of its blocks are not fitted: {mend}");
        }
        Ok(members.pixels.iter().map(|(candidate, _)| *candidate).collect())
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
        if !self.members.contains_key(&galaxy) {
            let members = self.read_members(galaxy).await?;
            self.members.insert(galaxy, members);
        }
        Ok(&self.members[&galaxy])
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
    ///
    /// # Errors
    /// A pixel that is not the galaxy's or was not fitted, and why; a damaged store.
    pub async fn infer(&mut self, spot: Spot) -> anyhow::Result<Inferred> {
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

fn no_pixel(galaxy: i64) -> String {
    format!("galaxy {galaxy}: no pixel was fitted; its flags say why")
}
