//! Stage fit: posterior draws of every pixel of a tile of whole blocks.
//!
//! Pixels go through block by block. The draws of a block are packed together
//! ([`outshine_catalogue::packing`]): what is stored and what is summed are the
//! same rounded numbers; summaries come from the draws as they were made.

use super::blocks::{self, Block, SUMMED};
use super::draws::{Drawer, Draws, position};
use super::field::{CHUNK_BLOCKS, GALAXIES, field_file, truth_file};
use super::fit_summaries::Summaries;
use super::judge::{Judge, Judged};
use super::redshifts::{self, Distributions, Redshifts};
use super::typical::{self, Limits};
use super::{Job, Outcome, StageError, compute, model, table, upstream};
use arrow::array::{Array, ArrayRef, Float32Array, Int32Array, Int64Array, UInt32Array};
use arrow::datatypes::UInt32Type;
use bytes::Bytes;
use outshine_catalogue::interval::Interval;
use outshine_catalogue::packing::{self, Packer};
use outshine_kernels::quantile::Selection;
use outshine_kernels::random::{Purpose, Stream};
use outshine_npe::Object;
use outshine_schemas::campaign::KeepDraws;
use outshine_schemas::tables::{
    SAMPLES as SAMPLES_TITLE, SUMMARIES as SUMMARIES_TITLE, blocks as blocks_schema, samples,
    summaries,
};
use outshine_schemas::task::{Shard, Stage};
use outshine_schemas::{flags, provenance};
use outshine_store::{Table, parquet};
use std::collections::BTreeSet;
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
pub(super) struct Pixel {
    block: u32,
    pub galaxy_id: i64,
    pub x: i32,
    pub y: i32,
    pub redshift: f64,
    pub mean_snr: f32,
    pub flags: u32,
    /// Null where it is not fitted.
    misfit: Option<f32>,
    /// p16, p50 and p84 of its redshift by itself, where asked for.
    own_redshift: Option<[f32; 3]>,
    pub flux_njy: Vec<f32>,
    pub err_njy: Vec<f32>,
    pub truth: Option<Vec<f64>>,
}

impl Pixel {
    pub fn is_fitted(&self) -> bool {
        self.flags & flags::NOT_FITTED == 0
    }

    /// Whether it is to be fitted and its redshift is not known.
    fn lacks_redshift(&self) -> bool {
        self.is_fitted() && self.redshift.is_nan()
    }

    fn object(&self) -> Object<'_> {
        Object { flux: &self.flux_njy, err: &self.err_njy, redshift: self.redshift }
    }
}

pub async fn run(job: &Job) -> Result<Outcome, StageError> {
    upstream::check_inputs(job).await?;
    let tile = Input::load(job, |_| true).await?;
    let job = job.clone();
    compute(move || {
        let mut tile = tile;
        let redshifts = tile.redshifts(&job)?;
        fit(&job, &tile.trained, &mut tile.pixels, &redshifts, &tile.limits)
    })
    .await
}

/// What a tile is fitted from.
pub(super) struct Input {
    pub trained: Arc<model::Trained>,
    pub limits: Arc<Limits>,
    pub pixels: Vec<Pixel>,
    /// The field's table of galaxies, where a redshift is lacking.
    galaxies: Option<Bytes>,
    given: Option<Arc<Distributions>>,
}

impl Input {
    /// Those pixels of the job's shard that are `wanted`.
    pub async fn load(job: &Job, wanted: impl Fn(&Pixel) -> bool) -> Result<Self, StageError> {
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
        pixels.retain(wanted);
        let galaxies = match pixels.iter().any(Pixel::lacks_redshift) {
            true => Some(upstream::file(job, field, GALAXIES).await?),
            false => None,
        };
        let (limits, given) = (Limits::load(job).await?, Distributions::load(job).await?);
        Ok(Self { trained, limits, pixels, galaxies, given })
    }

    /// The redshifts that the pixels lack.
    pub fn redshifts(&mut self, job: &Job) -> Result<Redshifts, StageError> {
        let Some(galaxies) = self.galaxies.take() else { return Ok(Redshifts::new()) };
        let galaxies = parquet::decode(GALAXIES, galaxies, None)?;
        let (given, pixels) = (self.given.as_deref(), &mut self.pixels);
        find_redshifts(job, &self.trained, &self.limits, given, pixels, &galaxies)
    }
}

/// Draws the redshifts that the tile lacks; flags the pixels whose galaxy has
/// none all the same, or is not as those of the training.
fn find_redshifts(
    job: &Job,
    trained: &model::Trained,
    limits: &Limits,
    given: Option<&Distributions>,
    pixels: &mut [Pixel],
    galaxies: &Table,
) -> Result<Redshifts, StageError> {
    let lacking = pixels.iter().filter(|p| p.lacks_redshift());
    let wanted: BTreeSet<i64> = lacking.map(|p| p.galaxy_id).collect();
    let redshifts = redshifts::draw(job, trained, given, galaxies, &wanted)?;
    let strangers = typical::strangers(job, trained, limits, &redshifts, galaxies)?;
    for pixel in pixels.iter_mut().filter(|p| p.lacks_redshift()) {
        if given.is_some_and(|given| given.is_outside(pixel.galaxy_id)) {
            pixel.flags |= flags::REDSHIFT_OUT_OF_RANGE;
        } else if !redshifts.contains_key(&pixel.galaxy_id) {
            pixel.flags |= flags::NO_REDSHIFT;
        } else if strangers.contains(&pixel.galaxy_id) {
            pixel.flags |= flags::ATYPICAL;
        }
    }
    Ok(redshifts)
}

/// Columns of fluxes and of errors, band after band.
pub type Photometry = (Vec<Float32Array>, Vec<Float32Array>);

/// Photometry of the rows of a table.
pub fn photometry(table: &Table, bands: &[String]) -> Result<Photometry, StageError> {
    let of = |kind: &str| -> Result<Vec<Float32Array>, StageError> {
        bands.iter().map(|b| Ok(table.float32(&format!("{kind}_njy_{b}"))?)).collect()
    };
    Ok((of("flux")?, of("err")?))
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
    let (flux, err) = photometry(&table, &job.campaign.campaign.bands)?;
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
            misfit: None,
            own_redshift: None,
            flux_njy: flux.iter().map(|c| c.value(row)).collect(),
            err_njy: err.iter().map(|c| c.value(row)).collect(),
            truth: None,
        });
    }
    let Some(truth) = truth else { return Ok(()) };
    let mut next = start;
    let table = parquet::decode(name, truth, None)?;
    let names = job.science.reported.iter();
    let columns: Result<Vec<_>, _> = names.map(|name| table.float64(name)).collect();
    let columns = columns?;
    for row in 0..table.rows() {
        if inside[row] {
            pixels[next].truth = Some(columns.iter().map(|c| c.value(row)).collect());
            next += 1;
        }
    }
    Ok(())
}

fn fit(
    job: &Job,
    trained: &model::Trained,
    pixels: &mut [Pixel],
    redshifts: &Redshifts,
    limits: &Limits,
) -> Result<Outcome, StageError> {
    let campaign = &job.campaign.campaign;
    let n = campaign.fit.draws as usize;
    let names = job.science.reported;
    let kept: Vec<&str> = match campaign.fit.keep {
        KeepDraws::All => names.to_vec(),
        KeepDraws::Masses => SUMMED.iter().map(|s| s.0).collect(),
        KeepDraws::None => Vec::new(),
    };
    let summed = blocks::parameters();
    let with_truth = pixels.iter().any(|p| p.truth.is_some());
    let mut tile = Tile::new(job, trained, redshifts, limits, with_truth)?;
    let mut stored: Vec<Vec<f32>> = vec![Vec::new(); kept.len()];
    let (mut fitted, mut row_groups) = (Vec::new(), Vec::new());
    let mut blocks: Vec<Block> = Vec::new();
    let mut sorting = Vec::new();
    let count = pixels.len();
    let mut all: Vec<&Pixel> = Vec::with_capacity(count);
    for members in pixels.chunk_by_mut(|a, b| a.block == b.block) {
        let done = all.len();
        let fraction = done as f64 / count as f64;
        job.board.tell(&job.task.id, fraction, format!("{done} of {count} pixels"));
        let mut fit: Vec<&mut Pixel> = members.iter_mut().filter(|p| p.is_fitted()).collect();
        tile.draw(&mut fit)?;
        let members: &[Pixel] = members;
        all.extend(members);
        let fit: Vec<&Pixel> = members.iter().filter(|p| p.is_fitted()).collect();
        tile.summarise(members);
        let (order, groups) = tile.pack(&kept)?;
        let mut block = Block::new(members[0].block, members[0].galaxy_id, n, campaign.bands.len());
        block.available = members.len() as u32;
        for (i, pixel) in fit.iter().enumerate() {
            let own = summed.map(|name| &tile.of(name)[i * n..(i + 1) * n]);
            let truth = pixel.truth.as_ref().map(|t| summed.map(|name| t[position(names, name)]));
            block.add_pixel(own, &pixel.flux_njy, &pixel.err_njy, truth, &mut sorting);
        }
        blocks.push(block);
        for (stored, name) in stored.iter_mut().zip(&kept) {
            for &i in &order {
                stored.extend_from_slice(&tile.of(name)[i * n..(i + 1) * n]);
            }
        }
        fitted.extend(order.iter().map(|&i| fit[i]));
        row_groups.extend(groups);
    }

    let mut about = job.about();
    about.insert(provenance::MODEL.to_owned(), trained.digest.to_string());
    about.insert("outshine.draws".to_owned(), n.to_string());
    let mut outcome = Outcome::default();
    let (bytes, rows) = table::encode(
        "blocks/3",
        blocks_schema(&campaign.bands, n),
        blocks::columns(&blocks, n)?,
        &about,
    )?;
    outcome.file(BLOCKS, bytes, rows);
    if !kept.is_empty() {
        let mut columns = key_columns(&fitted);
        for stored in stored {
            columns.push(table::list_f32(stored, n)?);
        }
        let schema = samples(&kept, n);
        let about = table::votable(SAMPLES_TITLE, &schema, &[], &about)?;
        let (bytes, rows) =
            table::encode_packed("samples/3", schema, columns, &about, &row_groups)?;
        outcome.file(SAMPLES, bytes, rows);
    }
    let mut columns = key_columns(&all);
    columns.push(Arc::new(Float32Array::from_iter(all.iter().map(|p| p.misfit))));
    if campaign.fit.pixel_redshifts {
        columns.extend((0..3).map(|k| -> ArrayRef {
            Arc::new(Float32Array::from_iter(all.iter().map(|p| p.own_redshift.map(|z| z[k]))))
        }));
    }
    columns.extend(tile.summary.finish());
    let schema = summaries(names, with_truth, campaign.fit.pixel_redshifts);
    let about = table::votable(SUMMARIES_TITLE, &schema, &[], &about)?;
    let (bytes, rows) = table::encode("summaries/3", schema, columns, &about)?;
    outcome.file(SUMMARIES, bytes, rows);
    outcome.fact("pixels", count);
    outcome.fact("pixels_fitted", fitted.len());
    let atypical = fitted.iter().filter(|p| p.flags & flags::ATYPICAL != 0).count();
    outcome.fact("pixels_atypical", atypical);
    Ok(outcome)
}

/// What goes from block to block; its memory is that of one block.
pub(super) struct Tile<'a> {
    drawer: Drawer<'a>,
    judge: Judge<'a>,
    seed: u64,
    /// Whether to fit the redshift of each pixel too.
    own_redshifts: bool,
    names: &'static [&'static str],
    redshifts: &'a Redshifts,
    /// Draws per pixel.
    n: usize,
    selection: Selection,
    packer: Packer,
    /// Draws of the block's fitted pixels: per parameter [pixels, n].
    pub draws: Vec<Vec<f32>>,
    /// Their intervals: per parameter [pixels].
    pub intervals: Vec<Vec<Interval>>,
    summary: Summaries,
}

impl<'a> Tile<'a> {
    /// Ready to draw; `with_truth`: whether summaries have the truth beside them.
    pub fn new(
        job: &'a Job,
        trained: &'a model::Trained,
        redshifts: &'a Redshifts,
        limits: &'a Limits,
        with_truth: bool,
    ) -> Result<Self, StageError> {
        let (campaign, names) = (&job.campaign.campaign, job.science.reported);
        Ok(Self {
            drawer: Drawer::new(&job.science, &trained.sampler),
            judge: Judge::of_pixels(job, limits)?,
            seed: campaign.seed,
            own_redshifts: campaign.fit.pixel_redshifts,
            names,
            redshifts,
            n: campaign.fit.draws as usize,
            selection: Selection::default(),
            packer: Packer::default(),
            draws: vec![Vec::new(); names.len()],
            intervals: vec![Vec::new(); names.len()],
            summary: Summaries::new(names.len(), with_truth),
        })
    }

    /// Names of the parameters.
    pub fn names(&self) -> &'static [&'static str] {
        self.names
    }

    /// The block's draws of a parameter.
    fn of(&self, name: &str) -> &[f32] {
        &self.draws[position(self.names, name)]
    }

    /// Draws the pixels of a block, and looks whether they are typical.
    pub fn draw(&mut self, pixels: &mut [&mut Pixel]) -> Result<(), StageError> {
        self.draws.iter_mut().for_each(Vec::clear);
        self.intervals.iter_mut().for_each(Vec::clear);
        for group in pixels.chunks_mut(TOGETHER) {
            let known = group.iter().filter(|p| !p.redshift.is_nan());
            let objects: Vec<Object<'_>> = known.map(|p| p.object()).collect();
            let network = self.drawer.see(&objects)?;
            let mut next = 0;
            for pixel in group {
                let place = (u64::from(pixel.y as u32) << 32) | u64::from(pixel.x as u32);
                let galaxy = pixel.galaxy_id as u64;
                let mut stream = Stream::new(self.seed, Purpose::Draw, galaxy, place);
                let known = !pixel.redshift.is_nan();
                let draws = if known {
                    next += 1;
                    self.drawer.draw(&network, next - 1, pixel.redshift, self.n, &mut stream)?
                } else {
                    self.draw_over(pixel, &mut stream)?
                };
                let (flux, err) = (&pixel.flux_njy, &pixel.err_njy);
                let Judged { draws, misfit, odd } =
                    self.judge.judge(&self.drawer, draws, flux, err, &mut stream)?;
                if odd {
                    pixel.flags |= flags::ATYPICAL;
                }
                pixel.misfit = Some(misfit as f32);
                if self.own_redshifts {
                    let posterior = self.drawer.redshift(&pixel.flux_njy, &pixel.err_njy)?;
                    let posterior = posterior.ok_or_else(|| StageError::Campaign {
                        section: "fit",
                        problem: "`pixel_redshifts` needs an estimator that fits redshifts"
                            .to_owned(),
                    })?;
                    let at = |p| posterior.quantile(p) as f32;
                    pixel.own_redshift = Some([0.16, 0.5, 0.84].map(at));
                }
                for (p, values) in draws.columns().enumerate() {
                    self.draws[p].extend_from_slice(values);
                    self.intervals[p].push(Interval::of_f32(values, &mut self.selection));
                }
            }
        }
        Ok(())
    }

    fn draw_over(&mut self, pixel: &Pixel, stream: &mut Stream) -> Result<Draws, StageError> {
        let redshifts = self.redshifts.get(&pixel.galaxy_id).ok_or_else(|| {
            StageError::Permanent(format!(
                "galaxy {} has no redshift, and the model cannot fit one",
                pixel.galaxy_id
            ))
        })?;
        self.drawer.draw_over(&pixel.flux_njy, &pixel.err_njy, redshifts, self.n, stream)
    }

    /// Adds the summaries of all pixels of the block.
    fn summarise(&mut self, members: &[Pixel]) {
        let mut next = 0;
        for pixel in members {
            if !pixel.is_fitted() {
                self.summary.leave_out();
                continue;
            }
            for p in 0..self.names.len() {
                let draws = &self.draws[p][next * self.n..(next + 1) * self.n];
                let truth = pixel.truth.as_ref().map(|t| t[p]);
                self.summary.add(p, self.intervals[p][next], draws, truth);
            }
            next += 1;
        }
    }

    /// Rounds the block's draws of all that is stored or summed. Returns the
    /// order in which pixels are stored, and the sizes of their groups.
    fn pack(&mut self, kept: &[&str]) -> Result<(Vec<usize>, Vec<usize>), StageError> {
        let masses = &self.intervals[position(self.names, SUMMED[1].0)];
        let medians: Vec<f64> = masses.iter().map(|i| i.p50).collect();
        let order = packing::order(&medians);
        let n = self.n;
        let mut sizes = Vec::new();
        let (mut group, mut sigmas) = (Vec::new(), Vec::new());
        for range in packing::groups(order.len()) {
            let members = &order[range];
            sizes.push(members.len());
            for (p, name) in self.names.iter().enumerate() {
                if !kept.contains(name) && !blocks::parameters().contains(name) {
                    continue;
                }
                group.clear();
                sigmas.clear();
                for &i in members {
                    let draws = &self.draws[p][i * n..(i + 1) * n];
                    group.extend_from_slice(draws);
                    sigmas.push(packing::sigma(draws));
                }
                let packed = self.packer.pack(&mut group, &sigmas);
                packed.map_err(|e| StageError::Permanent(format!("`{name}`: {e}")))?;
                for (&i, packed) in members.iter().zip(group.chunks_exact(n)) {
                    self.draws[p][i * n..(i + 1) * n].copy_from_slice(packed);
                }
            }
        }
        Ok((order, sizes))
    }
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
