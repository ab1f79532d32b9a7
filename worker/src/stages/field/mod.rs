//! Stage field: the pixels to fit, checked, flagged and in their fixed order.

mod background;
mod mock;
mod observed;

use super::calibrate::{mean_snr, snr_positions};
use super::redshifts::Distributions;
use super::{Job, Outcome, StageError, compute, table};
use arrow::array::{ArrayRef, Float32Array, Float64Array, Int32Array, Int64Array, UInt32Array};
use outshine_catalogue::integrated::{self, BandSum};
use outshine_schemas::flags;
use outshine_schemas::tables::{BLOCK_PIXELS, field, galaxies, truth};
use std::sync::Arc;

/// Fewer observed bands than this are not fitted: the model is never trained
/// on fewer.
pub const MIN_BANDS: usize = 4;

/// A member pixel of a galaxy.
pub struct Pixel {
    /// Its galaxy.
    pub galaxy_id: i64,
    /// Column.
    pub x: i32,
    /// Row.
    pub y: i32,
    /// Redshift of the galaxy, if known.
    pub redshift: Option<f64>,
    /// Fluxes per band, in nJy.
    pub flux_njy: Vec<f32>,
    /// Errors per band, in nJy; 0: not observed.
    pub err_njy: Vec<f32>,
    /// True parameters (mocks).
    pub truth: Option<Vec<f64>>,
}

/// One row of the table of galaxies.
struct Galaxy<'a> {
    first: &'a Pixel,
    x: f64,
    y: f64,
    pixels: u32,
    first_block: u32,
    blocks: u32,
    /// Sums of the pixels to fit, nJy per band; error 0: not summed.
    flux_njy: Vec<f32>,
    err_njy: Vec<f32>,
}

/// Blocks per file of pixels: a tile reads the files it overlaps, not all.
pub const CHUNK_BLOCKS: u32 = 64;

/// The file of the pixels of chunk `number`.
pub fn field_file(number: u32) -> String {
    format!("field-{number:05}.parquet")
}

/// The file of the true parameters of chunk `number`, for mocks.
pub fn truth_file(number: u32) -> String {
    format!("truth-{number:05}.parquet")
}

/// The file of galaxies.
pub const GALAXIES: &str = "galaxies.parquet";

pub async fn run(job: &Job) -> Result<Outcome, StageError> {
    let job = job.clone();
    if job.science.mock.is_some() {
        return compute(move || {
            let pixels = mock::pixels(&job)?;
            tables(&job, pixels)
        })
        .await;
    }
    let input = observed::Input::fetch(&job).await?;
    // Read when fitting; a bad table should not wait until then.
    Distributions::load(&job).await?;
    compute(move || {
        let pixels = observed::pixels(&job, &input)?;
        tables(&job, pixels)
    })
    .await
}

/// Why a pixel is not fitted, as flag bits; 0: it is fitted.
fn pixel_flags(job: &Job, pixel: &Pixel, snr: f64) -> u32 {
    let mut bits = 0;
    let pairs = || pixel.flux_njy.iter().zip(&pixel.err_njy);
    if pairs().any(|(f, &e)| e < 0.0 || !e.is_finite() || (e > 0.0 && !f.is_finite())) {
        bits |= flags::INVALID_INPUT;
    }
    if pairs().filter(|(_, e)| **e > 0.0).count() < MIN_BANDS {
        bits |= flags::TOO_FEW_BANDS;
    }
    // A S/N that is no number counts as low.
    if snr.is_nan() || snr < job.campaign.campaign.field.min_mean_snr {
        bits |= flags::LOW_SNR;
    }
    let (low, high) = job.science.prior.redshift_range();
    // Without a redshift it is up to the model.
    if pixel.redshift.is_some_and(|z| !(low..=high).contains(&z)) {
        bits |= flags::REDSHIFT_OUT_OF_RANGE;
    }
    bits
}

fn tables(job: &Job, mut pixels: Vec<Pixel>) -> Result<Outcome, StageError> {
    let campaign = &job.campaign.campaign;
    pixels.sort_by_key(|p| (p.galaxy_id, p.y, p.x));
    let systematic = campaign.field.systematic;
    for pixel in &mut pixels {
        integrated::add_systematic(&pixel.flux_njy, &mut pixel.err_njy, systematic);
    }
    let snr_bands = snr_positions(campaign);
    let snr: Vec<f64> =
        pixels.iter().map(|p| mean_snr(&p.flux_njy, &p.err_njy, &snr_bands)).collect();
    let bits: Vec<u32> = pixels.iter().zip(&snr).map(|(p, &s)| pixel_flags(job, p, s)).collect();

    let mut blocks: Vec<u32> = Vec::with_capacity(pixels.len());
    let mut galaxy_rows = Vec::new();
    let mut next_block = 0u32;
    for members in pixels.chunk_by(|a, b| a.galaxy_id == b.galaxy_id) {
        let n = members.len();
        let own = &bits[blocks.len()..blocks.len() + n];
        let (flux_njy, mut err_njy) = sum(members, own, campaign.bands.len());
        integrated::add_systematic(&flux_njy, &mut err_njy, systematic);
        let count = n.div_ceil(BLOCK_PIXELS) as u32;
        blocks.extend((0..n).map(|rank| next_block + (rank / BLOCK_PIXELS) as u32));
        let mean = |of: fn(&Pixel) -> i32| {
            members.iter().map(|p| f64::from(of(p))).sum::<f64>() / n as f64
        };
        galaxy_rows.push(Galaxy {
            first: &members[0],
            x: mean(|p| p.x),
            y: mean(|p| p.y),
            pixels: n as u32,
            first_block: next_block,
            blocks: count,
            flux_njy,
            err_njy,
        });
        next_block += count;
    }

    let mut outcome = Outcome::default();
    let mut start = 0;
    for chunk in blocks.chunk_by(|a, b| a / CHUNK_BLOCKS == b / CHUNK_BLOCKS) {
        let rows = start..start + chunk.len();
        start = rows.end;
        let number = chunk[0] / CHUNK_BLOCKS;
        let members = &pixels[rows.clone()];
        let mut columns: Vec<ArrayRef> = vec![Arc::new(UInt32Array::from(chunk.to_vec()))];
        columns.extend(key_columns(members));
        columns.push(Arc::new(Float64Array::from_iter(members.iter().map(|p| p.redshift))));
        let chunk_snr = snr[rows.clone()].iter().map(|&s| s as f32);
        columns.push(Arc::new(Float32Array::from_iter_values(chunk_snr)));
        columns.push(Arc::new(UInt32Array::from(bits[rows].to_vec())));
        for b in 0..campaign.bands.len() {
            let flux = members.iter().map(|p| p.flux_njy[b]);
            let err = members.iter().map(|p| p.err_njy[b]);
            columns.push(Arc::new(Float32Array::from_iter_values(flux)));
            columns.push(Arc::new(Float32Array::from_iter_values(err)));
        }
        let schema = field(&campaign.bands);
        let (bytes, rows) = table::encode("field/1", schema, columns, &table::plain())?;
        outcome.file(&field_file(number), bytes, rows);
        if members.iter().any(|p| p.truth.is_some()) {
            let mut columns = key_columns(members);
            for t in 0..job.science.reported.len() {
                let values = members.iter().map(|p| p.truth.as_ref().map_or(f64::NAN, |v| v[t]));
                columns.push(Arc::new(Float64Array::from_iter_values(values)));
            }
            let about = &job.science.provenance;
            let schema = truth(job.science.reported);
            let (bytes, rows) = table::encode("truth/1", schema, columns, about)?;
            outcome.file(&truth_file(number), bytes, rows);
        }
    }

    let galaxy = |of: fn(&Galaxy) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(galaxy_rows.iter().map(of)))
    };
    let count = |of: fn(&Galaxy) -> u32| -> ArrayRef {
        Arc::new(UInt32Array::from_iter_values(galaxy_rows.iter().map(of)))
    };
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(galaxy_rows.iter().map(|g| g.first.galaxy_id))),
        Arc::new(Float64Array::from_iter(galaxy_rows.iter().map(|g| g.first.redshift))),
        galaxy(|g| g.x),
        galaxy(|g| g.y),
        count(|g| g.pixels),
        count(|g| g.first_block),
        count(|g| g.blocks),
    ];
    for b in 0..campaign.bands.len() {
        let flux = galaxy_rows.iter().map(|g| g.flux_njy[b]);
        columns.push(Arc::new(Float32Array::from_iter_values(flux)));
        let err = galaxy_rows.iter().map(|g| g.err_njy[b]);
        columns.push(Arc::new(Float32Array::from_iter_values(err)));
    }
    let schema = galaxies(&campaign.bands);
    let (bytes, rows) = table::encode("galaxies/2", schema, columns, &table::plain())?;
    outcome.file(GALAXIES, bytes, rows);

    outcome.fact("pixels", pixels.len());
    outcome.fact("pixels_to_fit", bits.iter().filter(|&&b| b & flags::NOT_FITTED == 0).count());
    outcome.fact("galaxies", galaxy_rows.len());
    outcome.fact("blocks", next_block);
    for (bit, name, _) in flags::ALL {
        let flagged = bits.iter().filter(|&&b| b & bit != 0).count();
        if flagged > 0 {
            outcome.fact(&format!("pixels_{}", name.to_lowercase()), flagged);
        }
    }
    Ok(outcome)
}

/// A galaxy's pixels to fit as one object.
fn sum(members: &[Pixel], bits: &[u32], bands: usize) -> (Vec<f32>, Vec<f32>) {
    let mut sums = vec![BandSum::default(); bands];
    let mut used = 0;
    for (pixel, _) in members.iter().zip(bits).filter(|(_, bits)| **bits & flags::NOT_FITTED == 0) {
        used += 1;
        for (sum, (&f, &e)) in sums.iter_mut().zip(pixel.flux_njy.iter().zip(&pixel.err_njy)) {
            sum.add_pixel(f, e);
        }
    }
    let (flux, err, _) = integrated::photometry(&sums, used);
    (flux, err)
}

fn key_columns(pixels: &[Pixel]) -> Vec<ArrayRef> {
    vec![
        Arc::new(Int64Array::from_iter_values(pixels.iter().map(|p| p.galaxy_id))),
        Arc::new(Int32Array::from_iter_values(pixels.iter().map(|p| p.x))),
        Arc::new(Int32Array::from_iter_values(pixels.iter().map(|p| p.y))),
    ]
}
