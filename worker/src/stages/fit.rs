//! Stage fit: posterior draws of every pixel of a tile of whole blocks.

use super::blocks::{self, Block, SUMMED};
use super::draws::{Drawer, Draws, PARAMETERS, position};
use super::field::{CHUNK_BLOCKS, field_file, truth_file};
use super::{Job, Outcome, StageError, compute, model, table, upstream};
use arrow::array::{
    Array, ArrayRef, Float32Array, Float32Builder, Int32Array, Int64Array, UInt32Array,
};
use arrow::datatypes::UInt32Type;
use bytes::Bytes;
use outshine_catalogue::interval::{Interval, rank};
use outshine_kernels::random::{Purpose, Stream};
use outshine_npe::Object;
use outshine_schemas::campaign::KeepDraws;
use outshine_schemas::tables::{TAU_PARAMETERS, blocks as blocks_schema, samples, summaries};
use outshine_schemas::task::{Shard, Stage};
use outshine_store::parquet;
use std::sync::Arc;

/// Posterior draws.
pub const SAMPLES: &str = "samples.parquet";
/// Their summaries, of every member pixel.
pub const SUMMARIES: &str = "summaries.parquet";
/// Sums over blocks.
pub const BLOCKS: &str = "blocks.parquet";

/// Pixels that the network sees together.
const TOGETHER: usize = 64;

/// A pixel of the tile.
struct Pixel {
    block: u32,
    galaxy_id: i64,
    x: i32,
    y: i32,
    redshift: f64,
    mean_snr: f32,
    flags: u32,
    flux_njy: Vec<f32>,
    err_njy: Vec<f32>,
    truth: Option<Vec<f64>>,
}

impl Pixel {
    fn object(&self) -> Object<'_> {
        Object { flux: &self.flux_njy, err: &self.err_njy, redshift: self.redshift }
    }
}

pub async fn run(job: &Job) -> Result<Outcome, StageError> {
    upstream::check_inputs(job).await?;
    let trained = model::load(job).await?;
    let commits = upstream::commits_over(job, Stage::Field, None).await?;
    let field = &commits[0];
    let shard = job.task.shard;
    let mut pixels = Vec::new();
    let chunk = u64::from(CHUNK_BLOCKS);
    for number in shard.start / chunk..=(shard.end - 1) / chunk {
        let name = field_file(number as u32);
        let bytes = upstream::file(job, field, &name).await?;
        let name_of_truth = truth_file(number as u32);
        let truth = match field.file(&name_of_truth) {
            Some(_) => Some(upstream::file(job, field, &name_of_truth).await?),
            None => None,
        };
        read(job, &name, bytes, truth, shard, &mut pixels)?;
    }
    let job = job.clone();
    compute(move || fit(&job, &trained, &pixels)).await
}

fn read(
    job: &Job,
    name: &str,
    bytes: Bytes,
    truth: Option<Bytes>,
    shard: Shard,
    pixels: &mut Vec<Pixel>,
) -> Result<(), StageError> {
    let start = pixels.len();
    let mut inside = Vec::new();
    let table = parquet::decode(name, bytes, None)?;
    let block = table.number::<UInt32Type>("block")?;
    let galaxy = table.int64("galaxy_id")?;
    let x = table.int32("x")?;
    let y = table.int32("y")?;
    let redshift = table.float64("redshift")?;
    let snr = table.float32("mean_snr")?;
    let flags = table.number::<UInt32Type>("flags")?;
    let photometry = |kind: &str| -> Result<Vec<Float32Array>, StageError> {
        let bands = job.campaign.campaign.bands.iter();
        bands.map(|b| Ok(table.float32(&format!("{kind}_njy_{b}"))?)).collect()
    };
    let (flux, err) = (photometry("flux")?, photometry("err")?);
    for row in 0..table.rows() {
        let number = u64::from(block.value(row));
        inside.push(number >= shard.start && number < shard.end);
        if number < shard.start || number >= shard.end {
            continue;
        }
        pixels.push(Pixel {
            block: block.value(row),
            galaxy_id: galaxy.value(row),
            x: x.value(row),
            y: y.value(row),
            redshift: if redshift.is_null(row) { f64::NAN } else { redshift.value(row) },
            mean_snr: snr.value(row),
            flags: flags.value(row),
            flux_njy: flux.iter().map(|c| c.value(row)).collect(),
            err_njy: err.iter().map(|c| c.value(row)).collect(),
            truth: None,
        });
    }
    let Some(truth) = truth else { return Ok(()) };
    let mut next = start;
    let table = parquet::decode(name, truth, None)?;
    let columns: Result<Vec<_>, _> = TAU_PARAMETERS.iter().map(|p| table.float64(p.0)).collect();
    let columns = columns?;
    for row in 0..table.rows() {
        if inside[row] {
            pixels[next].truth = Some(columns.iter().map(|c| c.value(row)).collect());
            next += 1;
        }
    }
    Ok(())
}

fn fit(job: &Job, trained: &model::Trained, pixels: &[Pixel]) -> Result<Outcome, StageError> {
    let campaign = &job.campaign.campaign;
    let n = campaign.fit.draws as usize;
    let kept: Vec<&str> = match campaign.fit.keep {
        KeepDraws::All => TAU_PARAMETERS.iter().map(|p| p.0).collect(),
        KeepDraws::Masses => SUMMED.iter().map(|s| s.0).collect(),
        KeepDraws::None => Vec::new(),
    };
    let mut drawer = Drawer::new(&job.science, &trained.sampler);
    let mut network = drawer.see(&[])?;
    let mut next = 0;
    let mut stored: Vec<Vec<f32>> = vec![Vec::new(); PARAMETERS];
    let mut fitted: Vec<&Pixel> = Vec::new();
    let mut tile: Vec<Block> = Vec::new();
    let mut summary = Summaries::new(pixels.iter().any(|p| p.truth.is_some()));
    for (done, pixel) in pixels.iter().enumerate() {
        if done % TOGETHER == 0 {
            let group = pixels[done..].iter().take(TOGETHER).filter(|p| p.flags == 0);
            let objects: Vec<Object<'_>> = group.map(Pixel::object).collect();
            network = drawer.see(&objects)?;
            next = 0;
        }
        if tile.last().is_none_or(|b| b.block != pixel.block) {
            tile.push(Block::new(pixel.block, pixel.galaxy_id, n, campaign.bands.len()));
            let fraction = done as f64 / pixels.len() as f64;
            job.board.tell(&job.task.id, fraction, format!("{done} of {} pixels", pixels.len()));
        }
        let block = tile.last_mut().expect("just made");
        block.available += 1;
        if pixel.flags != 0 {
            summary.leave_out();
            continue;
        }
        let place = (u64::from(pixel.y as u32) << 32) | u64::from(pixel.x as u32);
        let mut stream = Stream::new(campaign.seed, Purpose::Draw, pixel.galaxy_id as u64, place);
        let (flux, err) = (&pixel.flux_njy, &pixel.err_njy);
        let draws = drawer.draw(&network, next, pixel.redshift, n, &mut stream)?;
        next += 1;
        let truth =
            pixel.truth.as_ref().map(|t| SUMMED.map(|(parameter, _)| t[position(parameter)]));
        block.add_pixel(&draws, flux, err, truth);
        summary.add(&draws, pixel.truth.as_deref());
        for (column, (name, _, _)) in TAU_PARAMETERS.iter().enumerate() {
            if kept.contains(name) {
                stored[column].extend_from_slice(&draws.values[column]);
            }
        }
        fitted.push(pixel);
    }

    let mut about = job.science.provenance.clone();
    about.insert("outshine.model".to_owned(), trained.digest.to_string());
    about.insert("outshine.draws".to_owned(), n.to_string());
    let mut outcome = Outcome::default();
    let (bytes, rows) = table::encode(
        "blocks/1",
        blocks_schema(&campaign.bands, n),
        blocks::columns(&tile, n)?,
        &about,
    )?;
    outcome.file(BLOCKS, bytes, rows);
    if !kept.is_empty() {
        let mut columns = key_columns(&fitted);
        for (column, (name, _, _)) in TAU_PARAMETERS.iter().enumerate() {
            if kept.contains(name) {
                columns.push(table::list_f32(std::mem::take(&mut stored[column]), n)?);
            }
        }
        let (bytes, rows) = table::encode("samples/1", samples(&kept, n), columns, &about)?;
        outcome.file(SAMPLES, bytes, rows);
    }
    let all: Vec<&Pixel> = pixels.iter().collect();
    let mut columns = key_columns(&all);
    let with_truth = summary.truth;
    columns.extend(summary.finish());
    let (bytes, rows) = table::encode("summaries/1", summaries(with_truth), columns, &about)?;
    outcome.file(SUMMARIES, bytes, rows);
    outcome.fact("pixels", pixels.len());
    outcome.fact("pixels_fitted", fitted.len());
    Ok(outcome)
}

fn key_columns(pixels: &[&Pixel]) -> Vec<ArrayRef> {
    vec![
        Arc::new(Int64Array::from_iter_values(pixels.iter().map(|p| p.galaxy_id))),
        Arc::new(Int32Array::from_iter_values(pixels.iter().map(|p| p.x))),
        Arc::new(Int32Array::from_iter_values(pixels.iter().map(|p| p.y))),
        Arc::new(Float32Array::from_iter_values(pixels.iter().map(|p| p.mean_snr))),
        Arc::new(UInt32Array::from_iter_values(pixels.iter().map(|p| p.flags))),
    ]
}

/// Columns of the summaries, in the making.
struct Summaries {
    truth: bool,
    columns: Vec<Float32Builder>,
}

impl Summaries {
    fn new(truth: bool) -> Self {
        let width = if truth { 5 } else { 3 };
        let columns = (0..PARAMETERS * width).map(|_| Float32Builder::new()).collect();
        Self { truth, columns }
    }

    fn leave_out(&mut self) {
        self.columns.iter_mut().for_each(Float32Builder::append_null);
    }

    fn add(&mut self, draws: &Draws, truth: Option<&[f64]>) {
        let width = if self.truth { 5 } else { 3 };
        for (p, values) in draws.values.iter().enumerate() {
            let mut values: Vec<f64> = values.iter().map(|&v| f64::from(v)).collect();
            let interval = Interval::of(&mut values);
            let columns = &mut self.columns[p * width..(p + 1) * width];
            columns[0].append_value(interval.p16 as f32);
            columns[1].append_value(interval.p50 as f32);
            columns[2].append_value(interval.p84 as f32);
            if self.truth {
                columns[3].append_option(truth.map(|t| t[p] as f32));
                columns[4].append_option(truth.map(|t| rank(&values, t[p]) as f32));
            }
        }
    }

    fn finish(mut self) -> Vec<ArrayRef> {
        self.columns.iter_mut().map(|c| Arc::new(c.finish()) as ArrayRef).collect()
    }
}
