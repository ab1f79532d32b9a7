//! Stage reduce: pixels to galaxies, and each galaxy fitted as one object.

mod extent;
mod row;

use crate::stages::blocks::{self, Block};
use crate::stages::calibrate::{mean_snr, snr_positions};
use crate::stages::draws::Drawer;
use crate::stages::field::GALAXIES;
use crate::stages::judge::{Judge, Judged};
use crate::stages::redshifts::{self, Distributions, Redshifts};
use crate::stages::typical::Limits;
use crate::stages::{Job, Outcome, StageError, compute, fit, model, table, upstream};
use arrow::array::{Array, RecordBatch};
use arrow::datatypes::UInt32Type;
use extent::Pixels;
use outshine_catalogue::integrated;
use outshine_catalogue::interval::{Interval, rank};
use outshine_kernels::random::{Purpose, Stream};
use outshine_npe::Object;
use outshine_schemas::campaign::Meaning;
use outshine_schemas::flags;
use outshine_schemas::tables::catalogue;
use outshine_schemas::task::{Shard, Stage};
use outshine_store::{Table, parquet};
use row::{Row, columns};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The rows of some galaxies.
pub const ROWS: &str = "rows.parquet";

/// A galaxy of the field.
struct Galaxy {
    galaxy_id: i64,
    redshift: Option<f64>,
    x: f64,
    y: f64,
    pixels: u32,
    blocks: Shard,
    /// Whether a task that some of its blocks belong to has failed.
    failed: bool,
}

/// What there is of the redshifts that are not known.
struct Unknown<'a> {
    redshifts: Redshifts,
    given: Option<&'a Distributions>,
}

impl Unknown<'_> {
    /// How the redshift of a galaxy was come by, as flag bits.
    fn flags(&self, galaxy: &Galaxy, (low, high): (f64, f64)) -> u32 {
        let id = galaxy.galaxy_id;
        let given = self.given.filter(|given| given.has(id));
        match galaxy.redshift {
            Some(z) if (low..=high).contains(&z) => 0,
            Some(_) => flags::REDSHIFT_OUT_OF_RANGE,
            None if given.is_some_and(|g| g.is_outside(id)) => flags::REDSHIFT_OUT_OF_RANGE,
            None if !self.redshifts.contains_key(&id) => flags::NO_REDSHIFT,
            None => match given.map(Distributions::meaning) {
                None => flags::REDSHIFT_FITTED,
                Some(Meaning::Prior) => flags::REDSHIFT_FITTED | flags::REDSHIFT_GIVEN,
                Some(Meaning::Posterior) => flags::REDSHIFT_GIVEN,
            },
        }
    }
}

pub async fn run(job: &Job) -> Result<Outcome, StageError> {
    upstream::check_inputs(job).await?;
    let trained = model::load(job).await?;
    let table = field(job).await?;
    let mut galaxies = galaxies(job.task.shard, &table)?;
    let limits = Limits::load(job).await?;
    let first = galaxies.first().map_or(0, |g| g.blocks.start);
    let last = galaxies.last().map_or(0, |g| g.blocks.end);
    let range = Shard { start: first, end: last };
    let fitted = upstream::take(job, Stage::Fit, Some(range)).await?;
    for galaxy in &mut galaxies {
        galaxy.failed = fitted.missing.iter().any(|shard| shard.overlaps(galaxy.blocks));
    }
    let (mut all, mut pixels) = (Vec::new(), Pixels::default());
    for commit in &fitted.commits {
        let bytes = upstream::file(job, commit, fit::BLOCKS).await?;
        let table = parquet::decode(fit::BLOCKS, bytes, None)?;
        all.extend(blocks::read(&table, &job.campaign.campaign.bands)?);
        let bytes = upstream::file(job, commit, fit::SUMMARIES).await?;
        pixels.read(&parquet::decode(fit::SUMMARIES, bytes, Some(&extent::COLUMNS))?)?;
    }
    let given = Distributions::load(job).await?;
    let job = job.clone();
    compute(move || {
        let unknown = galaxies.iter().filter(|g| g.redshift.is_none());
        let wanted = unknown.map(|g| g.galaxy_id).collect();
        let given = given.as_deref();
        let redshifts = redshifts::draw(&job, &trained, given, &table, &wanted)?;
        let unknown = Unknown { redshifts, given };
        reduce(&job, &trained, &galaxies, &unknown, &limits, (&all, &pixels))
    })
    .await
}

/// The galaxies of the field.
async fn field(job: &Job) -> Result<Table, StageError> {
    let field = upstream::commits_over(job, Stage::Field, None).await?.remove(0);
    let file = upstream::file(job, &field, GALAXIES).await?;
    Ok(parquet::decode(GALAXIES, file, None)?)
}

/// The rows of galaxies whose own task has failed: no masses, but a flag.
pub async fn rows_of_failed(
    job: &Job,
    shards: &[Shard],
) -> Result<BTreeMap<Shard, Vec<RecordBatch>>, StageError> {
    if shards.is_empty() {
        return Ok(BTreeMap::new());
    }
    let trained = model::load(job).await?;
    let table = field(job).await?;
    let row = || Row { flags: flags::TASK_FAILED, ..Row::default() };
    let batch = |&shard: &Shard| {
        let galaxies = galaxies(shard, &table)?;
        let rows: Vec<Row> = galaxies.iter().map(|_| row()).collect();
        let columns = columns(job, &trained, &galaxies, &Redshifts::default(), &rows);
        Ok((shard, vec![RecordBatch::try_new(Arc::new(catalogue()), columns)?]))
    };
    shards.iter().map(batch).collect()
}

fn galaxies(shard: Shard, table: &Table) -> Result<Vec<Galaxy>, StageError> {
    let mut galaxies = Vec::new();
    let id = table.int64("galaxy_id")?;
    let redshift = table.float64("redshift")?;
    let x = table.float64("x")?;
    let y = table.float64("y")?;
    let pixels = table.number::<UInt32Type>("pixels")?;
    let first = table.number::<UInt32Type>("first_block")?;
    let count = table.number::<UInt32Type>("blocks")?;
    for row in 0..table.rows() {
        let start = u64::from(first.value(row));
        galaxies.push(Galaxy {
            galaxy_id: id.value(row),
            redshift: (!redshift.is_null(row)).then(|| redshift.value(row)),
            x: x.value(row),
            y: y.value(row),
            pixels: pixels.value(row),
            blocks: Shard { start, end: start + u64::from(count.value(row)) },
            failed: false,
        });
    }
    let Shard { start, end } = shard;
    if end > galaxies.len() as u64 {
        let have = galaxies.len();
        return Err(StageError::Permanent(format!("galaxies {start}..{end} asked, {have} there")));
    }
    galaxies.truncate(end as usize);
    galaxies.drain(..start as usize);
    Ok(galaxies)
}

fn reduce(
    job: &Job,
    trained: &model::Trained,
    galaxies: &[Galaxy],
    unknown: &Unknown<'_>,
    limits: &Limits,
    (all, pixels): (&[Block], &Pixels),
) -> Result<Outcome, StageError> {
    let mut drawer = Drawer::new(&job.science, &trained.sampler);
    let mut judge = Judge::of_galaxies(job, limits)?;
    let mut rows = Vec::with_capacity(galaxies.len());
    for galaxy in galaxies {
        outshine_fault::point(outshine_fault::REDUCING);
        let mut row = row(job, &mut drawer, &mut judge, galaxy, unknown, all)?;
        if !galaxy.failed {
            row.extent = pixels.extent(galaxy.galaxy_id);
        }
        rows.push(row);
    }
    let columns = columns(job, trained, galaxies, &unknown.redshifts, &rows);
    let about = &job.science.provenance;
    let (bytes, count) = table::encode("catalogue/4", catalogue(), columns, about)?;
    let mut outcome = Outcome::default();
    outcome.file(ROWS, bytes, count);
    outcome.fact("galaxies", count);
    Ok(outcome)
}

fn row(
    job: &Job,
    drawer: &mut Drawer,
    judge: &mut Judge<'_>,
    galaxy: &Galaxy,
    unknown: &Unknown<'_>,
    all: &[Block],
) -> Result<Row, StageError> {
    let campaign = &job.campaign.campaign;
    let draws = campaign.fit.draws as usize;
    let mut whole = Block::new(0, galaxy.galaxy_id, draws, campaign.bands.len());
    let own = all.iter().filter(|b| {
        u64::from(b.block) >= galaxy.blocks.start && u64::from(b.block) < galaxy.blocks.end
    });
    for block in own {
        if block.galaxy_id != galaxy.galaxy_id {
            return Err(StageError::Permanent(format!(
                "block {} belongs to galaxy {}, not to {}",
                block.block, block.galaxy_id, galaxy.galaxy_id
            )));
        }
        whole.add_block(block);
    }
    let mut row = Row { used: whole.used, ..Row::default() };
    if galaxy.failed {
        let bits = unknown.flags(galaxy, job.science.prior.redshift_range()) | flags::TASK_FAILED;
        return Ok(Row { flags: bits, ..row });
    }
    if whole.available != galaxy.pixels {
        return Err(StageError::Permanent(format!(
            "galaxy {} has {} pixels, its blocks hold {}",
            galaxy.galaxy_id, galaxy.pixels, whole.available
        )));
    }
    let mut bits = unknown.flags(galaxy, job.science.prior.redshift_range());
    let unknown = unknown.redshifts.get(&galaxy.galaxy_id).map(Vec::as_slice);
    if whole.used < whole.available {
        bits |= flags::PIXELS_LEFT_OUT;
    }
    if whole.used == 0 {
        bits |= flags::NO_FITTED_PIXELS;
        return Ok(Row { flags: bits, ..row });
    }
    for (i, quantity) in row.quantities.iter_mut().enumerate() {
        let mut values = whole.draws(i);
        quantity.truth = whole.true_value(i);
        quantity.resolved_rank = quantity.truth.map(|t| rank(&values, t));
        quantity.resolved = Some(Interval::of(&mut values));
    }
    for (i, correlated) in row.correlated.iter_mut().enumerate() {
        let mut values = whole.correlated(i, campaign.reduce.pixel_correlation);
        let rank = whole.true_value(i).map(|truth| rank(&values, truth));
        *correlated = Some((Interval::of(&mut values), rank));
    }
    let (flux, mut err, dropped) = integrated::photometry(&whole.bands, whole.used);
    integrated::add_systematic(&flux, &mut err, campaign.field.systematic);
    row.bands = err.iter().filter(|e| **e > 0.0).count() as u32;
    row.mean_snr = Some(mean_snr(&flux, &err, &snr_positions(campaign))).filter(|s| !s.is_nan());
    if dropped {
        bits |= flags::PARTIAL_BANDS;
    }
    if row.bands < crate::stages::field::MIN_BANDS as u32 {
        bits |= flags::TOO_FEW_BANDS;
        return Ok(Row { flags: bits, ..row });
    }
    let mut stream =
        Stream::new(campaign.seed, Purpose::IntegratedDraw, galaxy.galaxy_id as u64, 0);
    let drawn = match (galaxy.redshift, unknown) {
        (Some(redshift), _) => {
            drawer.draw_one(&Object { flux: &flux, err: &err, redshift }, draws, &mut stream)?
        }
        (None, Some(unknown)) => drawer.draw_over(&flux, &err, unknown, draws, &mut stream)?,
        (None, None) => {
            let id = galaxy.galaxy_id;
            let problem = format!("galaxy {id} was fitted without any redshift");
            return Err(StageError::Permanent(problem));
        }
    };
    let Judged { draws, odd, .. } = judge.judge(drawer, drawn, &flux, &err, &mut stream)?;
    if odd {
        bits |= flags::ATYPICAL;
    }
    for (quantity, parameter) in row.quantities.iter_mut().zip(blocks::parameters()) {
        let mut values: Vec<f64> = draws.of(parameter).iter().map(|&v| f64::from(v)).collect();
        quantity.integrated_rank = quantity.truth.map(|t| rank(&values, t));
        quantity.integrated = Some(Interval::of(&mut values));
    }
    Ok(Row { flags: bits, ..row })
}
