//! The science of a simulation: cheap numbers that depend on the campaign, the
//! shard and every input, so that a wrong, missing or doubled input shows in
//! the catalogue. Inputs are read as the real science reads them.

use super::Sabotage;
use super::faults::Fault;
use super::process::Wire;
use async_trait::async_trait;
use bytes::Bytes;
use outshine_schemas::digest::Digest;
use outshine_schemas::outcome::CommitRecord;
use outshine_schemas::task::{Shard, Stage};
use outshine_store::StoreError;
use outshine_worker::runtime::{Assignment, Kernel};
use outshine_worker::stages::{Outcome, StageError, upstream};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

/// What a campaign looks like: drawn from its seed, so that worker and test
/// know it alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shape(pub u64);

impl Shape {
    /// How many there are.
    pub const COUNT: u64 = 6;

    fn trains(self) -> bool {
        self.0 % 3 != 2
    }

    /// How many galaxies there are.
    pub fn galaxies(self) -> u64 {
        4 + self.0 % 3
    }

    /// The blocks of a galaxy, one after another.
    fn blocks(self, galaxy: u64) -> Shard {
        let size = 2 + self.0 % 2;
        let start: u64 = (0..galaxy).map(|g| size + g % 2).sum();
        Shard { start, end: start + size + galaxy % 2 }
    }

    fn simulations(self) -> u64 {
        9
    }

    /// The epoch at which training ends; spans have two epochs.
    fn epochs(self) -> u64 {
        if self.trains() { 4 + 2 * (self.0 % 2) } else { 2 }
    }

    /// The campaign file.
    pub fn text(self) -> String {
        format!(
            "name = \"simulated\"\nseed = {seed}\nestimator = \"{estimator}\"\n\
             [field.mock]\ngalaxies = {galaxies}\n[simulate]\ncount = {count}\n",
            seed = self.0,
            estimator = if self.trains() { "train" } else { "shipped" },
            galaxies = self.galaxies(),
            count = self.simulations(),
        )
    }

    fn simulation(self, index: u64) -> u64 {
        number("simulation", &[self.0, index])
    }

    fn block(self, model: u64, block: u64) -> u64 {
        number("block", &[self.0, model, block])
    }

    /// The blocks of all galaxies.
    pub fn all_blocks(self) -> u64 {
        self.blocks(self.galaxies() - 1).end
    }

    /// The catalogue, computed without any campaign engine, that lacks what the
    /// tasks of some shards of fit and of reduce would have made.
    pub fn catalogue(self, unfitted: &[Shard], unreduced: &[Shard]) -> String {
        let trained = if self.trains() { self.simulations() } else { 0 };
        let simulations: Vec<u64> = (0..trained).map(|i| self.simulation(i)).collect();
        let spans = self.epochs() / 2;
        let model = (0..spans).fold(0, |model, span| train(model, span * 2, &simulations));
        let mut text = String::new();
        let is_fitted = |block: &u64| unfitted.iter().all(|s| !(s.start..s.end).contains(block));
        for galaxy in 0..self.galaxies() {
            let blocks = self.blocks(galaxy);
            let own = Shard { start: galaxy, end: galaxy + 1 };
            if unreduced.iter().any(|s| s.overlaps(own))
                || !(blocks.start..blocks.end).all(|block| is_fitted(&block))
            {
                text += &failed_row(galaxy);
                continue;
            }
            let values: Vec<u64> =
                (blocks.start..blocks.end).map(|b| self.block(model, b)).collect();
            row(&mut text, galaxy, &values);
        }
        let all = (0..self.all_blocks()).filter(is_fitted);
        let all: Vec<u64> = all.map(|b| self.block(model, b)).collect();
        total(&mut text, &all);
        text
    }
}

fn number(what: &str, parts: &[u64]) -> u64 {
    let bytes: Vec<[u8; 8]> = parts.iter().map(|p| p.to_le_bytes()).collect();
    let parts = std::iter::once(what.as_bytes()).chain(bytes.iter().map(|b| b.as_slice()));
    u64::from_str_radix(Digest::of_parts(parts).short(), 16).unwrap_or_default()
}

fn train(model: u64, epoch: u64, simulations: &[u64]) -> u64 {
    let mut parts = vec![model, epoch];
    parts.extend(simulations);
    number("train", &parts)
}

fn row(text: &mut String, galaxy: u64, values: &[u64]) {
    let _ = writeln!(text, "{galaxy} {} {}", values.len(), number("galaxy", values));
}

/// A galaxy that a task which cannot end well belongs to.
fn failed_row(galaxy: u64) -> String {
    format!("{galaxy} failed\n")
}

fn total(text: &mut String, values: &[u64]) {
    let _ = writeln!(text, "all {} {}", values.len(), number("all", values));
}

/// The kernel of one process.
#[derive(Debug)]
pub struct SimKernel(pub Wire);

/// No member of a stage.
const NONE: Shard = Shard { start: 0, end: 0 };

const FIELD: &str = "field.txt";
const SIMULATIONS: &str = "simulations.txt";
const MODEL: &str = "model.txt";
const SAMPLES: &str = "samples.txt";
const GALAXIES: &str = "galaxies.txt";
/// What the campaign is for.
pub const CATALOGUE: &str = "catalogue.txt";

fn wrong(what: impl Into<String>) -> StageError {
    StageError::Permanent(what.into())
}

async fn text(job: &Assignment, record: &CommitRecord, name: &str) -> Result<String, StageError> {
    let bytes = upstream::file(job, record, name).await?;
    String::from_utf8(bytes.to_vec()).map_err(|e| wrong(e.to_string()))
}

fn numbers(line: &str) -> Result<Vec<u64>, StageError> {
    line.split(' ').map(|n| n.parse().map_err(|_| wrong(format!("no numbers: {line}")))).collect()
}

/// Numbers of a file with lines of an index and a number, over commits in
/// order; each index of `range` exactly once. A `careless` reader has the
/// planted bug of [`Sabotage::ReadsUncommitted`].
async fn indexed(
    job: &Assignment,
    stage: Stage,
    name: &str,
    range: Option<Shard>,
    careless: bool,
) -> Result<BTreeMap<u64, u64>, StageError> {
    let mut texts = Vec::new();
    if careless {
        let folder = upstream::layout(job).stage_data(stage);
        for entry in job.store.list(&folder).await? {
            let bytes = job.store.get(&entry.path).await?;
            texts.push(String::from_utf8_lossy(&bytes).into_owned());
        }
    } else {
        for record in upstream::commits_over(job, stage, range).await? {
            texts.push(text(job, &record, name).await?);
        }
    }
    let mut all = BTreeMap::new();
    for text in texts {
        for line in text.lines() {
            let [index, value] = numbers(line)?[..] else { return Err(wrong(line)) };
            if range.is_some_and(|r| index < r.start || index >= r.end) {
                continue;
            }
            if all.insert(index, value).is_some() {
                return Err(wrong(format!("{stage} {index} is there twice")));
            }
        }
    }
    match range {
        Some(range) if all.len() as u64 != range.len() => {
            Err(wrong(format!("{stage} {range} is not all there")))
        }
        _ => Ok(all),
    }
}

async fn model(job: &Assignment, end: Option<u64>) -> Result<u64, StageError> {
    let span = upstream::span(job, end).await?;
    let text = text(job, &span, MODEL).await?;
    text.parse().map_err(|_| wrong(format!("no model: {text}")))
}

/// The blocks of each galaxy, from the committed field.
async fn field(job: &Assignment) -> Result<Vec<Shard>, StageError> {
    let records = upstream::commits_over(job, Stage::Field, None).await?;
    let [record] = records.as_slice() else { return Err(wrong("more than one field")) };
    let mut galaxies = Vec::new();
    for line in text(job, record, FIELD).await?.lines() {
        let [start, end] = numbers(line)?[..] else { return Err(wrong(line)) };
        galaxies.push(Shard { start, end });
    }
    Ok(galaxies)
}

impl SimKernel {
    /// The time that a task takes, and what may go wrong meanwhile.
    async fn work(&self, job: &Assignment) -> Result<(), StageError> {
        let wire = &self.0;
        let world = &wire.world;
        if world.strikes(Fault::Hang) {
            world.note(&wire.life.name, "hangs");
            std::future::pending::<()>().await;
        }
        if let Some(bad) = world.bad(&job.task) {
            wire.work(world.random(|r| r.millis(100, 2_000))).await;
            world.struck(bad.how);
            if bad.how == Fault::Poison {
                world.note(&wire.life.name, "dies of its task");
                wire.die().await
            }
            return Err(wrong(format!("a bad {} {}", bad.stage, bad.member)));
        }
        let rounds = if world.strikes(Fault::Slow) { 12 } else { 0 };
        for _ in 0..rounds {
            wire.work(Duration::from_secs(20)).await;
            job.board.tell(&job.task.id, 0.5, "works".to_owned());
        }
        wire.work(world.random(|r| r.millis(100, 4_000))).await;
        if world.strikes(Fault::PassingError) {
            let url = "simulated".to_owned();
            let (path, reason) = ("input".to_owned(), "injected failure".to_owned());
            return Err(StoreError::Other { url, path, reason }.into());
        }
        Ok(())
    }

    async fn outcome(&self, job: &Assignment) -> Result<Outcome, StageError> {
        let shape = Shape(job.campaign.campaign.seed);
        let shard = job.task.shard;
        let careless = self.0.world.sabotage == Some(Sabotage::ReadsUncommitted);
        let mut outcome = Outcome::default();
        let mut text = String::new();
        let name = match job.task.stage {
            Stage::Field => {
                for galaxy in 0..shape.galaxies() {
                    let blocks = shape.blocks(galaxy);
                    let _ = writeln!(text, "{} {}", blocks.start, blocks.end);
                }
                let last = shape.blocks(shape.galaxies() - 1);
                outcome.facts.insert("blocks".to_owned(), last.end.into());
                outcome.facts.insert("galaxies".to_owned(), shape.galaxies().into());
                FIELD
            }
            Stage::Simulate => {
                for index in shard.start..shard.end {
                    let _ = writeln!(text, "{index} {}", shape.simulation(index));
                }
                SIMULATIONS
            }
            Stage::Train => {
                let simulations =
                    indexed(job, Stage::Simulate, SIMULATIONS, None, careless).await?;
                let before = match shard.start {
                    0 => 0,
                    end => model(job, Some(end)).await?,
                };
                let simulations: Vec<u64> = simulations.into_values().collect();
                let _ = write!(text, "{}", train(before, shard.start, &simulations));
                let finished = shard.end >= shape.epochs();
                outcome.facts.insert("finished".to_owned(), finished.into());
                MODEL
            }
            Stage::Calibrate => {
                let _ = write!(text, "{}", number("calibrate", &[model(job, None).await?]));
                outcome.facts.insert("passed".to_owned(), true.into());
                "calibration.txt"
            }
            Stage::Fit => {
                let blocks = field(job).await?.last().map_or(0, |last| last.end);
                if shard.end > blocks {
                    return Err(wrong(format!("the field ends at block {blocks}")));
                }
                let model = model(job, None).await?;
                for block in shard.start..shard.end {
                    let _ = writeln!(text, "{block} {}", shape.block(model, block));
                }
                SAMPLES
            }
            Stage::Reduce => {
                let galaxies = field(job).await?;
                model(job, None).await?;
                let missing = upstream::take(job, Stage::Fit, Some(NONE)).await?.missing;
                for galaxy in shard.start..shard.end {
                    let blocks = galaxies.get(galaxy as usize).copied();
                    let blocks = blocks.ok_or_else(|| wrong(format!("no galaxy {galaxy}")))?;
                    if missing.iter().any(|shard| shard.overlaps(blocks)) {
                        text += &failed_row(galaxy);
                        continue;
                    }
                    let values = indexed(job, Stage::Fit, SAMPLES, Some(blocks), careless).await?;
                    row(&mut text, galaxy, &values.into_values().collect::<Vec<_>>());
                }
                GALAXIES
            }
            Stage::Catalogue => {
                let reduced = upstream::take(job, Stage::Reduce, None).await?;
                let mut parts = BTreeMap::new();
                for record in &reduced.commits {
                    parts.insert(record.shard, self::text(job, record, GALAXIES).await?);
                }
                for shard in reduced.missing {
                    parts.insert(shard, (shard.start..shard.end).map(failed_row).collect());
                }
                text.extend(parts.into_values());
                let all = indexed(job, Stage::Fit, SAMPLES, None, careless).await?;
                total(&mut text, &all.into_values().collect::<Vec<_>>());
                CATALOGUE
            }
        };
        outcome.files.push((name.to_owned(), Bytes::from(text), 0));
        Ok(outcome)
    }
}

#[async_trait]
impl Kernel for SimKernel {
    async fn run(&self, job: Assignment) -> Result<Outcome, StageError> {
        upstream::check_inputs(&job).await?;
        job.board.tell(&job.task.id, 0.1, "reads".to_owned());
        let outcome = self.outcome(&job).await?;
        self.work(&job).await?;
        Ok(outcome)
    }
}
