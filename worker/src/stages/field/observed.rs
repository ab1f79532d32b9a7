//! A field from the user's tables.

use super::Pixel;
use super::background::{self, Background};
use crate::stages::{Job, StageError, upstream};
use arrow::array::Array;
use bytes::Bytes;
use outshine_schemas::digest::Digest;
use outshine_store::{Table, parquet};
use std::collections::{BTreeMap, BTreeSet};

/// The user's tables, as stored with the campaign.
pub struct Input {
    pixels: Bytes,
    sources: Option<Bytes>,
    pixels_name: String,
    sources_name: String,
}

impl Input {
    /// Reads the tables from the store.
    pub async fn fetch(job: &Job) -> Result<Self, StageError> {
        let field = &job.campaign.campaign.field;
        let digest = job.campaign.pixels.as_ref().ok_or_else(|| StageError::Campaign {
            section: "field",
            problem: "the campaign was stored without its pixel table".to_owned(),
        })?;
        let sources = match &job.campaign.sources {
            Some(digest) => Some(fetch(job, digest).await?),
            None => None,
        };
        Ok(Self {
            pixels: fetch(job, digest).await?,
            sources,
            pixels_name: field.pixels.clone().unwrap_or_default(),
            sources_name: field.sources.clone().unwrap_or_default(),
        })
    }
}

async fn fetch(job: &Job, digest: &Digest) -> Result<Bytes, StageError> {
    let path = upstream::layout(job).input(digest);
    Ok(job.store.get(&path).await?)
}

/// Who a pixel belongs to.
struct Membership {
    galaxy_id: i64,
    redshift: Option<f64>,
}

/// Member pixels of all galaxies.
pub fn pixels(job: &Job, input: &Input) -> Result<Vec<Pixel>, StageError> {
    let campaign = &job.campaign.campaign;
    let name = input.pixels_name.as_str();
    let bad = |problem: String| StageError::Input { file: name.to_owned(), problem };
    let table = parquet::decode(name, input.pixels.clone(), None)?;
    let own_columns = table.has_column("galaxy_id");
    let members = match (&input.sources, own_columns) {
        (Some(bytes), _) => memberships(bytes, &input.sources_name)?,
        (None, true) => BTreeMap::new(),
        (None, false) => {
            return Err(bad(
                "has no column `galaxy_id`: add the columns `galaxy_id` and `redshift`, \
                            or give a source table as `field.sources`"
                    .to_owned(),
            ));
        }
    };

    let mut pixels = Vec::new();
    let mut seen = BTreeSet::new();
    let mut sky: Vec<Vec<(i32, i32, f32)>> = vec![Vec::new(); campaign.bands.len()];
    let x = table.int32("x")?;
    let y = table.int32("y")?;
    let photometry = photometry(&table, &campaign.bands)?;
    let own = if input.sources.is_none() { Some(own_membership(&table)?) } else { None };
    for row in 0..table.rows() {
        if x.is_null(row) || y.is_null(row) {
            return Err(bad(format!("row {row}: `x` or `y` is null")));
        }
        let key = (y.value(row), x.value(row));
        if !seen.insert(key) {
            return Err(bad(format!(
                "pixel x = {}, y = {} is listed twice: remove one of the rows",
                key.1, key.0
            )));
        }
        let (flux_njy, err_njy): (Vec<f32>, Vec<f32>) =
            photometry.iter().map(|band| band[row]).unzip();
        let member = match &own {
            Some(own) => own[row].as_ref(),
            None => members.get(&key),
        };
        match member {
            Some(m) => pixels.push(Pixel {
                galaxy_id: m.galaxy_id,
                x: key.1,
                y: key.0,
                redshift: m.redshift,
                flux_njy,
                err_njy,
                truth: None,
            }),
            None => {
                for (band, (flux, err)) in flux_njy.iter().zip(&err_njy).enumerate() {
                    if *err > 0.0 && err.is_finite() && flux.is_finite() {
                        sky[band].push((key.1, key.0, *flux));
                    }
                }
            }
        }
    }
    if let Some((y, x)) = members.keys().find(|key| !seen.contains(key)) {
        return Err(StageError::Input {
            file: input.sources_name.clone(),
            problem: format!("pixel x = {x}, y = {y} is not in {name}: are the two of one field?"),
        });
    }
    check_one_redshift(&pixels).map_err(bad)?;
    if let Some(cell_px) = campaign.field.background_cell_px {
        for (band, sky) in sky.iter().enumerate() {
            let observed = pixels.iter().any(|p| p.err_njy[band] > 0.0);
            match background::measure(sky, cell_px) {
                Some(found) => subtract(&mut pixels, band, found),
                None if observed => {
                    return Err(bad(format!(
                        "`field.background_cell_px` is set, but too few pixels outside the \
                         galaxies are observed in {}: leave it out if the background is \
                         subtracted already",
                        campaign.bands[band]
                    )));
                }
                None => {}
            }
        }
    }
    Ok(pixels)
}

fn subtract(pixels: &mut [Pixel], band: usize, found: Background) {
    for pixel in pixels {
        let err = f64::from(pixel.err_njy[band]);
        if err > 0.0 && err.is_finite() {
            let flux = f64::from(pixel.flux_njy[band]) - found.level_njy;
            pixel.flux_njy[band] = flux as f32;
            pixel.err_njy[band] = (err * err + found.sigma_njy * found.sigma_njy).sqrt() as f32;
        }
    }
}

/// (flux, error) per band and row; error 0 where the error is null, NaN or 0.
fn photometry(table: &Table, bands: &[String]) -> Result<Vec<Vec<(f32, f32)>>, StageError> {
    let mut all = Vec::with_capacity(bands.len());
    for band in bands {
        let flux = table.float32(&format!("flux_njy_{band}"))?;
        let err = table.float32(&format!("err_njy_{band}"))?;
        let value = |row: usize| {
            let sigma = if err.is_null(row) { 0.0 } else { err.value(row) };
            if sigma == 0.0 || sigma.is_nan() {
                return (0.0, 0.0);
            }
            (if flux.is_null(row) { f32::NAN } else { flux.value(row) }, sigma)
        };
        all.push((0..table.rows()).map(value).collect());
    }
    Ok(all)
}

fn own_membership(table: &Table) -> Result<Vec<Option<Membership>>, StageError> {
    let id = table.int64("galaxy_id")?;
    let redshift = table.float64("redshift")?;
    Ok((0..table.rows())
        .map(|row| {
            (!id.is_null(row))
                .then(|| Membership { galaxy_id: id.value(row), redshift: known(&redshift, row) })
        })
        .collect())
}

fn known(redshift: &arrow::array::Float64Array, row: usize) -> Option<f64> {
    (!redshift.is_null(row) && !redshift.value(row).is_nan()).then(|| redshift.value(row))
}

fn memberships(bytes: &Bytes, name: &str) -> Result<BTreeMap<(i32, i32), Membership>, StageError> {
    let mut members = BTreeMap::new();
    let table = parquet::decode(name, bytes.clone(), None)?;
    let x = table.int32("x")?;
    let y = table.int32("y")?;
    for (row, member) in own_membership(&table)?.into_iter().enumerate() {
        let bad = |problem: String| StageError::Input { file: name.to_owned(), problem };
        let Some(member) = member else {
            return Err(bad(format!("row {row}: `galaxy_id` is null")));
        };
        if x.is_null(row) || y.is_null(row) {
            return Err(bad(format!("row {row}: `x` or `y` is null")));
        }
        let (x, y) = (x.value(row), y.value(row));
        let id = member.galaxy_id;
        if let Some(other) = members.insert((y, x), member) {
            return Err(bad(format!(
                "pixel x = {x}, y = {y} is listed twice (galaxies {} and {id}): a pixel \
                     belongs to one galaxy",
                other.galaxy_id
            )));
        }
    }
    Ok(members)
}

/// A redshift belongs to a galaxy, not to a pixel.
fn check_one_redshift(pixels: &[Pixel]) -> Result<(), String> {
    let mut known: BTreeMap<i64, Option<f64>> = BTreeMap::new();
    for pixel in pixels {
        let first = *known.entry(pixel.galaxy_id).or_insert(pixel.redshift);
        if first != pixel.redshift {
            return Err(format!(
                "galaxy {} has pixels of different redshifts ({first:?} and {:?}): give all of \
                 them one",
                pixel.galaxy_id, pixel.redshift
            ));
        }
    }
    Ok(())
}
