//! Is a pixel one of those that the model was trained on? The misfit of its
//! fluxes to those of its own posterior draws ([`Predictive`]), against
//! limits set on simulations.

use super::draws::{Drawer, redshifts};
use super::{Job, Science, StageError, model, parallel, upstream};
use outshine_kernels::random::{Purpose, Stream};
use outshine_kernels::{quantile, scalar};
use outshine_npe::diagnostics::Predictive;
use outshine_npe::{Object, Sampler};
use outshine_schemas::task::Stage;
use outshine_sps::grid::Scratch;
use outshine_sps::{Parameters, RedshiftGrid, Sfh, SfhFamily};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Name of the limits among the facts of calibrate.
pub const LIMITS: &str = "typical";

/// Inflation of the posterior's covariance.
const INFLATION: f64 = 4.0;
/// How far inside its range a coordinate is kept, as a fraction of it.
const EDGE: f64 = 1e-6;
/// Share of simulations within the limits; the rest are flagged.
const WITHIN: f64 = 0.993;
/// Simulations per bin of S/N, at least, and most bins.
const BIN: usize = 500;
const MOST_BINS: usize = 24;
/// Simulations with the redshift withheld, for one with it known: these take
/// longer, and a limit less exact will do.
const WITHHELD: usize = 4;

/// Looks at pixels; reuses its memory.
pub struct Typical<'a> {
    science: &'a Science,
    grid: Arc<RedshiftGrid>,
    scratch: Scratch,
    predictive: Predictive,
    /// Coordinates of a draw and, last, its redshift.
    point: Vec<f64>,
    /// Fluxes of the draws looked at, [draws, bands].
    fluxes: Vec<f64>,
}

impl<'a> Typical<'a> {
    /// Ready to look, with the model that makes simulations.
    pub fn new(science: &'a Science, grid: &Arc<RedshiftGrid>) -> Self {
        Self {
            science,
            scratch: grid.scratch(),
            grid: grid.clone(),
            predictive: Predictive::default(),
            point: vec![0.0; science.free.len() + 1],
            fluxes: Vec::new(),
        }
    }

    /// Misfit of an object to the latest draws of `drawer`, about as a standard
    /// normal deviate. Looks at two draws more than there are free coordinates,
    /// the redshift one of them where it is withheld.
    pub fn misfit(
        &mut self,
        drawer: &Drawer<'_>,
        flux: &[f32],
        err: &[f32],
    ) -> Result<f64, StageError> {
        let draws = draws(self.science, drawer.one_redshift());
        self.fluxes.resize(draws * flux.len(), 0.0);
        for (k, fluxes) in self.fluxes.chunks_exact_mut(flux.len()).enumerate() {
            drawer.point(k, draws, &mut self.point);
            let parameters = parameters(self.science, &mut self.point);
            self.grid.photometry(&parameters, &mut self.scratch, fluxes)?;
        }
        Ok(self.predictive.misfit(&self.fluxes, flux, err, INFLATION).deviate())
    }
}

/// Draws looked at.
fn draws(science: &Science, one_redshift: bool) -> usize {
    science.free.len() + if one_redshift { 2 } else { 3 }
}

/// The population at free coordinates and, last, a redshift; moved inside
/// their ranges where rounding put them on a bound.
///
/// The coordinates of the Dirichlet family are those of the realised history,
/// and what was asked for cannot be recovered: they are asked for instead. The
/// limits, set the same way, allow for the difference.
fn parameters(science: &Science, point: &mut [f64]) -> Parameters {
    let coordinates = &science.target.coordinates;
    let free = coordinates.low().iter().copied().zip(coordinates.high().iter().copied());
    for (value, (low, high)) in point.iter_mut().zip(free.chain([science.target.redshift])) {
        let edge = EDGE * (high - low);
        *value = value.clamp(low + edge, high - edge);
    }
    let (&mut redshift, free) = point.split_last_mut().expect("a redshift");
    if science.prior.sfh == SfhFamily::Tau {
        return science.prior.from_free(free, redshift);
    }
    let (t75, (low, high)) = (free[4], science.prior.log_ssfr);
    let t50 = free[3] * t75;
    Parameters {
        sfh: Sfh::Dirichlet { log_ssfr: free[1].clamp(low, high), t25: free[2] * t50, t50, t75 },
        log_mass_formed: free[0],
        metallicity: free[5],
        a_v: free[6],
        redshift,
    }
}

/// Root mean square of flux over error of the observed bands; 0 without any.
pub fn signal_to_noise(flux: &[f32], err: &[f32]) -> f64 {
    let (mut sum, mut n) = (0.0, 0.0);
    for (&f, &e) in flux.iter().zip(err).filter(|(_, e)| **e > 0.0) {
        let ratio = f64::from(f) / f64::from(e);
        sum += ratio * ratio;
        n += 1.0;
    }
    if n > 0.0 { (sum / n).sqrt() } else { 0.0 }
}

/// A simulation looked at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    /// S/N: [`signal_to_noise`].
    pub snr: f64,
    /// Its misfit.
    pub misfit: f64,
}

/// Which simulations to look at.
#[derive(Clone, Copy, Debug)]
pub struct Survey {
    /// Seed and series: other series, other simulations.
    pub key: (u64, u64),
    /// How many.
    pub count: usize,
    /// Whether their redshift is withheld.
    pub withheld: bool,
    /// Errors by which one of the bands of each is off, up or down; 0: none is.
    pub off: f32,
}

/// Looks at simulations, which are drawn and observed as those of the training
/// are. Empty where redshifts are withheld and the estimator fits none.
///
/// # Errors
/// [`StageError`] of forward model or estimator.
pub fn survey(
    science: &Science,
    sampler: &Sampler,
    what: &Survey,
    threads: usize,
) -> Result<Vec<Look>, StageError> {
    let bands = science.target.features.bands().len();
    let grid = science.simulator()?;
    let n = draws(science, !what.withheld);
    let state = || (grid.scratch(), Drawer::new(science, sampler), Typical::new(science, &grid));
    let looks = parallel::map(what.count, threads, state, |(scratch, drawer, typical), i| {
        let (seed, series) = what.key;
        let mut stream = Stream::new(seed, Purpose::Calibration, i as u64, series);
        let parameters = science.prior.draw(&mut stream);
        let mut noiseless = vec![0.0; bands];
        grid.photometry(&parameters, scratch, &mut noiseless)?;
        let conditions = science.coverage.draw(&science.noise, &mut stream);
        let (mut flux, mut err) = (vec![0.0; bands], vec![0.0; bands]);
        science.noise.observe(&noiseless, &conditions, &mut stream, &mut flux, &mut err);
        let observed: Vec<usize> = (0..bands).filter(|&b| err[b] > 0.0).collect();
        let band = observed[stream.below(observed.len() as u64) as usize];
        let sign = if stream.uniform() < 0.5 { 1.0 } else { -1.0 };
        flux[band] += sign * what.off * err[band];
        if what.withheld {
            let drawn = redshifts(science, sampler, (&flux, &err), n, &mut stream)?;
            let Some(drawn) = drawn else { return Ok(None) };
            drawer.draw_over(&flux, &err, &drawn, n, &mut stream)?;
        } else {
            let object = Object { flux: &flux, err: &err, redshift: parameters.redshift };
            drawer.draw_one(&object, n, &mut stream)?;
        }
        let misfit = typical.misfit(drawer, &flux, &err)?;
        Ok::<_, StageError>(Some(Look { snr: signal_to_noise(&flux, &err), misfit }))
    })?;
    Ok(looks.into_iter().flatten().collect())
}

/// The misfit up to which an object counts as typical, by S/N.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// Median S/N of each bin, rising.
    snr: Vec<f64>,
    /// Limit there; in between, linear in ln S/N.
    misfit: Vec<f64>,
    /// Simulations it rests on.
    simulations: usize,
    /// Share of them beyond it.
    flagged: f64,
}

impl Limit {
    /// The limit that all but a few of `looks` keep, in bins of as many each;
    /// `None` without any.
    #[must_use]
    pub fn of(mut looks: Vec<Look>) -> Option<Self> {
        looks.sort_by(|a, b| a.snr.total_cmp(&b.snr));
        let bins = (looks.len() / BIN).clamp(1, MOST_BINS);
        let mut limit =
            Self { snr: vec![], misfit: vec![], simulations: looks.len(), flagged: 0.0 };
        for bin in looks.chunks(looks.len().div_ceil(bins).max(1)) {
            let mut misfits: Vec<f64> = bin.iter().map(|l| l.misfit).collect();
            quantile::sort(&mut misfits);
            limit.snr.push(bin[bin.len() / 2].snr);
            limit.misfit.push(quantile::of_sorted(&misfits, WITHIN));
        }
        let beyond = looks.iter().filter(|l| limit.exceeded(l.snr, l.misfit)).count();
        limit.flagged = beyond as f64 / looks.len() as f64;
        (!looks.is_empty()).then_some(limit)
    }

    /// The limit at a S/N; beyond the first and last bin, as there.
    #[must_use]
    pub fn at(&self, snr: f64) -> f64 {
        let k = self.snr.partition_point(|s| *s <= snr);
        if k == 0 || k == self.snr.len() {
            return self.misfit[k.min(self.snr.len() - 1)];
        }
        let ln = |s: f64| scalar::ln(s.max(f64::MIN_POSITIVE));
        let (low, high) = (ln(self.snr[k - 1]), ln(self.snr[k]));
        let part = (ln(snr) - low) / (high - low);
        (1.0 - part) * self.misfit[k - 1] + part * self.misfit[k]
    }

    /// Whether a misfit is beyond the limit.
    #[must_use]
    pub fn exceeded(&self, snr: f64, misfit: f64) -> bool {
        misfit.is_nan() || misfit > self.at(snr)
    }
}

/// Limits with the redshift known and withheld.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    known: Limit,
    /// `None` where the estimator fits no redshift.
    withheld: Option<Limit>,
}

impl Limits {
    /// Sets the limits on `count` simulations of the campaign's own.
    pub fn set(job: &Job, trained: &model::Trained, count: usize) -> Result<Self, StageError> {
        let look = |withheld, count| {
            let key = (job.campaign.campaign.seed, 1 + u64::from(withheld));
            let what = Survey { key, count, withheld, off: 0.0 };
            survey(&job.science, &trained.sampler, &what, job.threads).map(Limit::of)
        };
        let known = look(false, count)?
            .ok_or_else(|| StageError::Permanent("calibration has no simulation".to_owned()))?;
        Ok(Self { known, withheld: look(true, count.div_ceil(WITHHELD))? })
    }

    /// Those of the campaign's calibration.
    pub async fn load(job: &Job) -> Result<Self, StageError> {
        let commits = upstream::commits_over(job, Stage::Calibrate, None).await?;
        let fact = commits.first().and_then(|c| c.facts.get(LIMITS)).cloned();
        serde_json::from_value(fact.unwrap_or_default())
            .map_err(|e| StageError::Permanent(format!("calibrate's fact `{LIMITS}`: {e}")))
    }

    /// The limits as a fact.
    pub fn to_fact(&self) -> Result<serde_json::Value, StageError> {
        serde_json::to_value(self).map_err(|e| StageError::Permanent(e.to_string()))
    }

    /// Whether an object is not as those of the training, by its misfit to the
    /// latest draws of `drawer`.
    pub fn exceeded(&self, drawer: &Drawer<'_>, flux: &[f32], err: &[f32], misfit: f64) -> bool {
        let limit = match &self.withheld {
            Some(withheld) if !drawer.one_redshift() => withheld,
            _ => &self.known,
        };
        limit.exceeded(signal_to_noise(flux, err), misfit)
    }
}
