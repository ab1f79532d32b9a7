//! The posterior predictive check of a pixel: fluxes of its draws by the forward
//! model against those observed.
//!
//! Draws of the tau-delayed family are populations: their fluxes are exact. Those of the
//! Dirichlet family are of the realised history and hold no rate of the last 10 Myr,
//! on which the blue bands depend; no choice of it gives back the light of what was
//! drawn. There the check is of populations of the exact posterior, sampled with the
//! forward model from the draws as guesses, 1,000 at each redshift: it tells whether
//! the model has such fluxes, not how good the estimator is.
//!
//! What the forward model's tables are uncertain by is added to the errors: it matters
//! at S/N of thousands.

use super::{Model, PixelError};
use crate::stages::Refiner;
use crate::stages::refine::{GUESSES, TABLE_ERROR};
use outshine_kernels::quantile;
use outshine_kernels::random::{Purpose, Stream};
use outshine_npe::diagnostics::Replicated;
use outshine_sps::{FixedRedshift, Parameters};

/// Percentiles of the model fluxes.
const PERCENTILES: [f64; 5] = [0.025, 0.16, 0.5, 0.84, 0.975];
/// Most redshifts at which the exact posterior is sampled.
const REDSHIFTS: usize = 10;

/// What the draws of a pixel predict.
pub struct Prediction {
    /// Model fluxes, nJy, `[5][bands]`: 2.5th, 16th, 50th, 84th and 97.5th percentile.
    pub percentiles_njy: [Vec<f64>; 5],
    /// How they compare with the observed.
    pub check: Replicated,
    /// Whether they are of the exact posterior instead of the draws.
    pub exact: bool,
}

/// Predicts the fluxes of a pixel.
///
/// # Errors
/// [`PixelError`] of the forward model.
pub fn predict(model: &Model<'_>) -> Result<Prediction, PixelError> {
    let populations = match model.is_tau() {
        true => (0..model.count()).map(|k| model.population(k, |mean| mean)).collect(),
        false => exact(model)?,
    };
    let bands = model.pixel.flux_njy.len();
    let fluxes = photometry(model, &populations, bands)?;
    let mut percentiles_njy = [const { Vec::new() }; 5];
    let mut column = Vec::with_capacity(populations.len());
    for band in 0..bands {
        column.clear();
        column.extend(fluxes.iter().skip(band).step_by(bands));
        quantile::sort(&mut column);
        for (all, p) in percentiles_njy.iter_mut().zip(PERCENTILES) {
            all.push(quantile::of_sorted(&column, p));
        }
    }
    let (flux, mut err) = (&model.pixel.flux_njy, model.pixel.err_njy.clone());
    for (err, flux) in err.iter_mut().zip(flux).filter(|(err, _)| **err > 0.0) {
        *err = err.hypot(TABLE_ERROR as f32 * flux);
    }
    let check = Replicated::of(&fluxes, flux, &err).expect("a fitted pixel has bands and draws");
    Ok(Prediction { percentiles_njy, check, exact: !model.is_tau() })
}

/// Fluxes of populations, nJy, `[populations, bands]`.
fn photometry(
    model: &Model<'_>,
    populations: &[Parameters],
    bands: usize,
) -> Result<Vec<f64>, PixelError> {
    let basis = model.science.basis()?;
    let mut fluxes = vec![0.0; populations.len() * bands];
    let mut at: Option<FixedRedshift> = None;
    for (p, fluxes) in populations.iter().zip(fluxes.chunks_exact_mut(bands)) {
        // Draws at one redshift follow each other.
        let table = match at.take_if(|at| at.redshift() == p.redshift) {
            Some(table) => table,
            None => FixedRedshift::new(basis.clone(), p.redshift)?,
        };
        table.photometry(p, &mut table.scratch(), fluxes)?;
        at = Some(table);
    }
    Ok(fluxes)
}

/// As many populations of the exact posterior as there are draws.
fn exact(model: &Model<'_>) -> Result<Vec<Parameters>, PixelError> {
    let pixel = model.pixel;
    let n = model.count();
    let place = (u64::from(pixel.spot.y as u32) << 32) | u64::from(pixel.spot.x as u32);
    let galaxy = pixel.spot.galaxy_id as u64;
    let mut stream = Stream::new(model.seed, Purpose::PixelCheck, galaxy, place);
    let mut refiner = Refiner::new(model.science)?;
    let (low, high) = model.science.prior.log_ssfr;
    // Draws at equally probable redshifts follow each other; some of these stand for all.
    let mut ends: Vec<usize> =
        (1..n).filter(|&k| model.redshift(k) != model.redshift(k - 1)).collect();
    ends.insert(0, 0);
    let groups = ends.len().min(REDSHIFTS);
    let mut populations = Vec::with_capacity(n);
    for group in 0..groups {
        // The middle of its share: redshifts rise.
        let number = (2 * group + 1) * ends.len() / (2 * groups);
        let from = ends[number];
        let to = ends.get(number + 1).copied().unwrap_or(n);
        let count = GUESSES.min(to - from);
        let guesses: Vec<Parameters> = (0..count)
            .map(|i| {
                let log_ssfr = stream.uniform_in(low, high);
                model.population(from + i * (to - from) / count, |_| log_ssfr)
            })
            .collect();
        let share = (group + 1) * n / groups - group * n / groups;
        let (flux, err) = (&pixel.flux_njy, &pixel.err_njy);
        let (found, _) = refiner.populations(&guesses, flux, err, share, &mut stream)?;
        populations.extend((0..share).map(|k| found[k * found.len() / share]));
    }
    Ok(populations)
}
