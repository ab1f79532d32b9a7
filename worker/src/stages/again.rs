//! Draws of chosen pixels, from where they are stored or made once more.
//!
//! Draws are keyed by seed, galaxy and pixel: made again they are the same, bit
//! for bit, as when the pixel was fitted. Stored ones were rounded together with
//! those of their block, by less than 0.02 of a posterior's width.

use super::fit::{Input, SAMPLES, SUMMARIES, Tile};
use super::{Draws, Job, StageError, compute, upstream};
use arrow::array::Array;
use outshine_schemas::campaign::KeepDraws;
use outshine_schemas::outcome::CommitRecord;
use outshine_store::parquet;

/// What tells the rows of pixels apart.
const KEY: [&str; 3] = ["galaxy_id", "x", "y"];
/// Ends of the names of an interval's columns.
const ENDS: [&str; 3] = ["p16", "p50", "p84"];

/// A place of the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    /// The galaxy.
    pub galaxy_id: i64,
    /// Column of the pixel.
    pub x: i32,
    /// Its row.
    pub y: i32,
}

impl std::fmt::Display for Spot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "galaxy {}, pixel x = {}, y = {}", self.galaxy_id, self.x, self.y)
    }
}

/// A fitted pixel: what was observed, and its posterior.
pub struct Inferred {
    /// Where it is.
    pub spot: Spot,
    /// Mean S/N.
    pub mean_snr: f32,
    /// Fluxes, nJy per band of the campaign.
    pub flux_njy: Vec<f32>,
    /// Errors, nJy per band; 0: not observed.
    pub err_njy: Vec<f32>,
    /// True values of what is reported, for mocks.
    pub truth: Option<Vec<f64>>,
    /// Its redshift, or that of each draw.
    pub redshift: Vec<f64>,
    /// Whether the redshift was known beforehand.
    pub known_redshift: bool,
    /// Its draws.
    pub draws: Draws,
    /// Whether they were made again.
    pub again: bool,
}

/// The posterior of a fitted pixel. `job`: the task of `fit` that fitted it,
/// whose commit is `commit`.
///
/// # Errors
/// A pixel that is not the task's or was not fitted; draws made again that are
/// not those that the commit summarises; [`StageError`] of the store.
pub async fn infer(job: &Job, commit: &CommitRecord, spot: Spot) -> Result<Inferred, StageError> {
    let is_it = move |galaxy: i64, x: i32, y: i32| Spot { galaxy_id: galaxy, x, y } == spot;
    let mut input = Input::load(job, |p| is_it(p.galaxy_id, p.x, p.y)).await?;
    // The draws, or the summaries that those made again must have.
    let stored = match job.campaign.campaign.fit.keep {
        KeepDraws::All => Ok(stored(job, commit, spot).await?),
        KeepDraws::Masses | KeepDraws::None => Err(upstream::file(job, commit, SUMMARIES).await?),
    };
    let (job, made_by) = (job.clone(), commit.code_version.clone());
    compute(move || {
        let redshifts = input.redshifts(&job)?;
        let not_fitted = || StageError::Permanent(format!("{spot} was not fitted"));
        let pixel = input.pixels.first_mut().filter(|p| p.is_fitted()).ok_or_else(not_fitted)?;
        let n = job.campaign.campaign.fit.draws as usize;
        let known_redshift = !pixel.redshift.is_nan();
        let redshift = match redshifts.get(&spot.galaxy_id) {
            _ if known_redshift => vec![pixel.redshift],
            Some(all) => (0..n).map(|k| all[k * all.len() / n]).collect(),
            None => return Err(not_fitted()),
        };
        let again = stored.is_err();
        let draws = match stored {
            Ok(draws) => draws,
            Err(summaries) => {
                let mut tile = Tile::new(&job, &input.trained, &redshifts, &input.limits, false)?;
                tile.draw(&mut [&mut *pixel])?;
                check(&tile, summaries, spot, &made_by)?;
                Draws::new(job.science.reported, tile.draws.concat(), &redshift)?
            }
        };
        Ok(Inferred {
            spot,
            mean_snr: pixel.mean_snr,
            flux_njy: std::mem::take(&mut pixel.flux_njy),
            err_njy: std::mem::take(&mut pixel.err_njy),
            truth: pixel.truth.take(),
            redshift,
            known_redshift,
            draws,
            again,
        })
    })
    .await
}

/// The draws of a pixel as they are stored.
async fn stored(job: &Job, commit: &CommitRecord, spot: Spot) -> Result<Draws, StageError> {
    let names = job.science.reported;
    let bytes = upstream::file(job, commit, SAMPLES).await?;
    let columns = [&KEY[..], names].concat();
    let table = parquet::decode(SAMPLES, bytes, Some(&columns))?;
    let row = row(&table, spot)?;
    let mut values = Vec::new();
    for name in names {
        let (all, width) = table.float32_lists(name)?;
        values.extend_from_slice(&all[row * width..(row + 1) * width]);
    }
    Draws::new(names, values, &[f64::NAN])
}

fn row(table: &outshine_store::Table, spot: Spot) -> Result<usize, StageError> {
    let (id, x, y) = (table.int64("galaxy_id")?, table.int32("x")?, table.int32("y")?);
    let at = |row: usize| Spot { galaxy_id: id.value(row), x: x.value(row), y: y.value(row) };
    (0..table.rows()).find(|&row| at(row) == spot).ok_or_else(|| {
        StageError::Permanent(format!("{}: {spot} has no row of its own", table.name()))
    })
}

/// Refuses draws that are not those that were summarised.
fn check(
    tile: &Tile<'_>,
    summaries: bytes::Bytes,
    spot: Spot,
    made_by: &str,
) -> Result<(), StageError> {
    let ends = tile.names().iter().flat_map(|name| ENDS.map(|end| format!("{name}_{end}")));
    let ends: Vec<String> = ends.collect();
    let columns: Vec<&str> = KEY.into_iter().chain(ends.iter().map(String::as_str)).collect();
    let table = parquet::decode(SUMMARIES, summaries, Some(&columns))?;
    let row = row(&table, spot)?;
    for (name, intervals) in tile.names().iter().zip(&tile.intervals) {
        let own = &intervals[0];
        for (end, value) in ENDS.into_iter().zip([own.p16, own.p50, own.p84]) {
            let column = table.float32(&format!("{name}_{end}"))?;
            let known = column.is_valid(row).then(|| column.value(row));
            if known != Some(value as f32) {
                return Err(StageError::Permanent(format!(
                    "{spot}: draws made again have `{name}_{end}` = {value}, the campaign's {}: \
                     they were made by version {made_by}; use that one, or run the campaign anew",
                    known.map_or_else(|| "none".to_owned(), |v| v.to_string())
                )));
            }
        }
    }
    Ok(())
}
