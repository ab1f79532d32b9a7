//! Stage reduce: pixels to galaxies, and each galaxy fitted as one object.

use super::blocks::{self, Block, SUMMED};
use super::draws::Drawer;
use super::field::GALAXIES;
use super::redshifts::{self, Distributions, Redshifts};
use super::refine::Refining;
use super::typical::{Limits, Typical};
use super::{Job, Outcome, StageError, compute, fit, model, table, upstream};
use arrow::array::{
    Array, ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, UInt32Array,
};
use arrow::datatypes::UInt32Type;
use outshine_catalogue::integrated;
use outshine_catalogue::interval::{Interval, rank};
use outshine_kernels::random::{Purpose, Stream};
use outshine_kernels::scalar;
use outshine_npe::Object;
use outshine_schemas::campaign::Meaning;
use outshine_schemas::flags;
use outshine_schemas::tables::catalogue;
use outshine_schemas::task::{Shard, Stage};
use outshine_store::{Table, parquet};
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

/// One quantity of a galaxy.
#[derive(Clone, Copy, Default)]
struct Quantity {
    resolved: Option<Interval>,
    integrated: Option<Interval>,
    truth: Option<f64>,
    resolved_rank: Option<f64>,
    integrated_rank: Option<f64>,
}

/// One row of the catalogue.
struct Row {
    used: u32,
    bands: u32,
    quantities: [Quantity; 3],
    flags: u32,
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
    let mut all = Vec::new();
    for commit in &fitted.commits {
        let bytes = upstream::file(job, commit, fit::BLOCKS).await?;
        let table = parquet::decode(fit::BLOCKS, bytes, None)?;
        all.extend(blocks::read(&table, &job.campaign.campaign.bands)?);
    }
    let given = Distributions::load(job).await?;
    let job = job.clone();
    compute(move || {
        let unknown = galaxies.iter().filter(|g| g.redshift.is_none());
        let wanted = unknown.map(|g| g.galaxy_id).collect();
        let given = given.as_deref();
        let redshifts = redshifts::draw(&job, &trained, given, &table, &wanted)?;
        let unknown = Unknown { redshifts, given };
        reduce(&job, &trained, &galaxies, &unknown, &limits, &all)
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
    let row =
        || Row { used: 0, bands: 0, quantities: Default::default(), flags: flags::TASK_FAILED };
    let batch = |&shard: &Shard| {
        let galaxies = galaxies(shard, &table)?;
        let rows: Vec<Row> = galaxies.iter().map(|_| row()).collect();
        let columns = columns(&trained, &galaxies, &Redshifts::default(), &rows);
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
    all: &[Block],
) -> Result<Outcome, StageError> {
    let mut drawer = Drawer::new(&job.science, &trained.sampler);
    let mut typical = Typical::new(&job.science, &job.science.simulator()?);
    let mut refining = Refining::of(job, false)?;
    let mut rows = Vec::with_capacity(galaxies.len());
    for galaxy in galaxies {
        outshine_fault::point(outshine_fault::REDUCING);
        let looks = (&mut typical, limits, refining.as_mut());
        rows.push(row(job, &mut drawer, looks, galaxy, unknown, all)?);
    }
    let columns = columns(trained, galaxies, &unknown.redshifts, &rows);
    let about = &job.science.provenance;
    let (bytes, count) = table::encode("catalogue/3", catalogue(), columns, about)?;
    let mut outcome = Outcome::default();
    outcome.file(ROWS, bytes, count);
    outcome.fact("galaxies", count);
    Ok(outcome)
}

fn columns(
    trained: &model::Trained,
    galaxies: &[Galaxy],
    redshifts: &Redshifts,
    rows: &[Row],
) -> Vec<ArrayRef> {
    let digest = trained.digest.as_str();
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(galaxies.iter().map(|g| g.galaxy_id))),
        Arc::new(Float64Array::from_iter_values(galaxies.iter().map(|g| g.x))),
        Arc::new(Float64Array::from_iter_values(galaxies.iter().map(|g| g.y))),
        Arc::new(Float64Array::from_iter(galaxies.iter().map(|g| g.redshift))),
        fitted_redshift(galaxies, redshifts, |i| i.p16),
        fitted_redshift(galaxies, redshifts, |i| i.p50),
        fitted_redshift(galaxies, redshifts, |i| i.p84),
        Arc::new(UInt32Array::from_iter_values(galaxies.iter().map(|g| g.pixels))),
        Arc::new(UInt32Array::from_iter_values(rows.iter().map(|r| r.used))),
        Arc::new(UInt32Array::from_iter_values(rows.iter().map(|r| r.bands))),
    ];
    for i in 0..SUMMED.len() {
        let mut push = |of: &dyn Fn(&Quantity) -> Option<f64>| {
            let values = rows.iter().map(|r| of(&r.quantities[i]));
            columns.push(Arc::new(Float64Array::from_iter(values)));
        };
        push(&|q| q.resolved.map(|v| v.p16));
        push(&|q| q.resolved.map(|v| v.p50));
        push(&|q| q.resolved.map(|v| v.p84));
        push(&|q| q.integrated.map(|v| v.p16));
        push(&|q| q.integrated.map(|v| v.p50));
        push(&|q| q.integrated.map(|v| v.p84));
        push(&|q| Some(q.resolved?.p50 - q.integrated?.p50));
        push(&|q| q.truth);
        push(&|q| q.resolved_rank);
        push(&|q| q.integrated_rank);
    }
    columns.push(Arc::new(UInt32Array::from_iter_values(rows.iter().map(|r| r.flags))));
    columns.push(Arc::new(StringArray::from_iter_values(rows.iter().map(|_| digest))));
    columns
}

/// A quantile of the redshifts of the galaxies where none is known.
fn fitted_redshift(
    galaxies: &[Galaxy],
    redshifts: &Redshifts,
    of: fn(Interval) -> f64,
) -> ArrayRef {
    let value = |g: &Galaxy| Some(of(Interval::of(&mut redshifts.get(&g.galaxy_id)?.clone())));
    Arc::new(Float64Array::from_iter(galaxies.iter().map(value)))
}

fn row(
    job: &Job,
    drawer: &mut Drawer,
    (typical, limits, refining): (&mut Typical<'_>, &Limits, Option<&mut Refining<'_>>),
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
    let mut quantities = [Quantity::default(); 3];
    if galaxy.failed {
        let bits = unknown.flags(galaxy, job.science.prior.redshift_range()) | flags::TASK_FAILED;
        return Ok(Row { used: whole.used, bands: 0, quantities, flags: bits });
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
        return Ok(Row { used: 0, bands: 0, quantities, flags: bits });
    }
    for (i, quantity) in quantities.iter_mut().enumerate() {
        let mut log = whole.sums[i].log10();
        quantity.truth = whole.truth[i].map(scalar::log10);
        quantity.resolved_rank = quantity.truth.map(|t| rank(&log, t));
        quantity.resolved = Some(Interval::of(&mut log));
    }
    let (flux, mut err, dropped) = integrated::photometry(&whole.bands, whole.used);
    integrated::add_systematic(&flux, &mut err, campaign.field.systematic);
    let bands = err.iter().filter(|e| **e > 0.0).count() as u32;
    if dropped {
        bits |= flags::PARTIAL_BANDS;
    }
    if bands < super::field::MIN_BANDS as u32 {
        bits |= flags::TOO_FEW_BANDS;
        return Ok(Row { used: whole.used, bands, quantities, flags: bits });
    }
    let mut stream =
        Stream::new(campaign.seed, Purpose::IntegratedDraw, galaxy.galaxy_id as u64, 0);
    let mut one = match (galaxy.redshift, unknown) {
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
    let refined = match refining {
        Some(r) if galaxy.redshift.is_some() => {
            r.refine(drawer, &flux, &err, draws, &mut stream)?
        }
        _ => None,
    };
    let odd = match refined {
        Some(refined) => {
            let odd = refined.is_odd();
            one = refined.draws;
            odd
        }
        None => {
            let misfit = typical.misfit(drawer, &flux, &err)?;
            limits.exceeded(drawer, &flux, &err, misfit)
        }
    };
    if odd {
        bits |= flags::ATYPICAL;
    }
    for (quantity, (parameter, _)) in quantities.iter_mut().zip(SUMMED) {
        let mut values: Vec<f64> = one.of(parameter).iter().map(|&v| f64::from(v)).collect();
        quantity.integrated_rank = quantity.truth.map(|t| rank(&values, t));
        quantity.integrated = Some(Interval::of(&mut values));
    }
    Ok(Row { used: whole.used, bands, quantities, flags: bits })
}
