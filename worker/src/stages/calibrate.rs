//! Stage calibrate: the model on simulations that it has not seen, in strata of
//! what can be observed, integrated galaxies apart.
//!
//! Truth comes from the forward model at full resolution; everything else is
//! drawn as for training. Joint tests and redshifts, which cost more, are made
//! for the first of the simulations. Strata that these leave with fewer than
//! are needed to judge them get more of their own ([`super::scarce`]), which
//! count in no other figure.

use super::cross;
use super::draws::{Drawer, position, truth};
use super::progress::Progress;
use super::scarce;
use super::simulated::Simulated;
use super::typical::{self, Limits};
use super::{Job, Outcome, Science, StageError, compute, model, parallel, table, upstream};
use arrow::array::{ArrayRef, Float64Array, ListArray, StringArray, UInt64Array};
use arrow::datatypes::UInt32Type;
use outshine_kernels::random::{Purpose, Stream};
use outshine_kernels::scalar;
use outshine_npe::diagnostics::{
    CalibrationRow, Case, CaseMaker, JointPlaces, RedshiftScores, Scores, Strata, Tarp, Verdict,
    density_place,
};
use outshine_npe::{Object, Sampler};
use outshine_schemas::tables::{calibration, redshift_calibration};
use std::sync::{Arc, Mutex};

/// Simulations of which the joint density is ranked.
const DENSITY_TESTS: usize = 20_000;
/// Simulations whose redshift is fitted, where their mean S/N is above [`REDSHIFT_SNR`].
const REDSHIFT_TESTS: usize = 60_000;
pub(crate) const REDSHIFT_SNR: f64 = 5.0;
/// Simulations looked through for those of scarce strata, at most, as a
/// multiple of the plain sample.
const SEARCH: u64 = 100;
/// log10 of sSFR_100 (per year, of the mass formed) above which an object
/// counts for the second R^2 of the star-formation rate: none is at the floor.
const FORMING: f64 = -12.0;
/// That row: all objects, but R^2, bias and scatter of those above it.
pub(crate) const FORMING_ROW: &str = "log_sfr_100_forming";

/// The calibration.
pub const CALIBRATION: &str = "calibration.parquet";
/// That of fitted redshifts.
pub const REDSHIFTS: &str = "calibration-redshift.parquet";

pub async fn run(job: &Job) -> Result<Outcome, StageError> {
    upstream::check_inputs(job).await?;
    let trained = model::load(job).await?;
    let job = job.clone();
    compute(move || calibrate(&job, &trained)).await
}

fn calibrate(job: &Job, trained: &model::Trained) -> Result<Outcome, StageError> {
    let campaign = &job.campaign.campaign;
    let (rows, redshifts) = measure(job, trained)?;
    let verdict = Verdict::of(
        rows.iter().map(|(population, row)| (population.as_str(), row)),
        &job.science.tolerance,
    );
    let f = |get: fn(&CalibrationRow) -> f64| -> ArrayRef {
        // No figure where there is nothing to take it from.
        let values = rows.iter().map(|(_, r)| Some(get(r)).filter(|v| v.is_finite()));
        Arc::new(Float64Array::from_iter(values))
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.iter().map(|r| &r.0))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.1.parameter.as_str()))),
        Arc::new(UInt64Array::from_iter_values(rows.iter().map(|r| r.1.simulations))),
        Arc::new(UInt64Array::from_iter_values(rows.iter().map(|r| r.1.bright))),
        f(|r| r.r_squared),
        f(|r| r.bias),
        f(|r| r.scatter),
        f(|r| r.coverage_50),
        f(|r| r.coverage_68),
        f(|r| r.coverage_90),
        f(|r| r.coverage_95),
        f(|r| r.sbc_ks),
        f(|r| r.sbc_p),
        Arc::new(ListArray::from_iter_primitive::<UInt32Type, _, _>(
            rows.iter().map(|(_, r)| Some(r.sbc_histogram.iter().map(|&n| Some(n)))),
        )),
    ];
    let about = &job.science.provenance;
    let (bytes, count) = table::encode("calibration/2", calibration(), columns, about)?;
    let mut outcome = Outcome::default();
    outcome.file(CALIBRATION, bytes, count);
    let row = redshifts.row();
    if row.objects > 0 {
        let one = |value: f64| -> ArrayRef { Arc::new(Float64Array::from(vec![value])) };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(UInt64Array::from(vec![row.objects])),
            one(row.sigma_nmad),
            one(row.outlier_fraction),
            one(row.bias),
            one(row.pit_ks),
            one(row.pit_p),
            Arc::new(ListArray::from_iter_primitive::<UInt32Type, _, _>([Some(
                row.pit_histogram.iter().map(|&n| Some(n)),
            )])),
        ];
        let schema = redshift_calibration();
        let (bytes, count) = table::encode("calibration-redshift/1", schema, columns, about)?;
        outcome.file(REDSHIFTS, bytes, count);
    }
    if campaign.calibrate.cross_prior > 0 {
        cross::test(job, trained, campaign.calibrate.cross_prior as usize, &mut outcome)?;
    }
    outcome.fact("passed", verdict.passed);
    outcome.fact("reasons", verdict.reasons);
    outcome.fact("unjudged", verdict.unjudged);
    outcome.fact("simulations", 2 * campaign.calibrate.count);
    outcome.fact("model", trained.digest.as_str());
    outcome.fact(typical::LIMITS, Limits::set(job, trained)?.to_fact()?);
    Ok(outcome)
}

/// Memory of one thread.
struct Bench<'a> {
    science: &'a Science,
    sampler: &'a Sampler,
    drawer: Drawer<'a>,
    maker: CaseMaker,
    tarp: Tarp,
    /// Draws per object.
    draws: usize,
    snr_bands: &'a [usize],
    strata: Strata,
}

/// What one simulation says.
struct Scored {
    stratum: usize,
    cases: Vec<Case>,
    joint: JointPlaces,
    mean_snr: f64,
}

impl<'a> Bench<'a> {
    fn new(job: &'a Job, sampler: &'a Sampler, snr_bands: &'a [usize]) -> Self {
        let science = &job.science;
        Self {
            science,
            sampler,
            drawer: Drawer::new(science, sampler),
            maker: CaseMaker::default(),
            tarp: Tarp::new(science.target.coordinates.low(), science.target.coordinates.high()),
            draws: job.campaign.campaign.calibrate.draws as usize,
            snr_bands,
            strata: Strata::default(),
        }
    }

    /// Draws from the posterior of a simulation of known redshift.
    fn score(
        &mut self,
        one: &Simulated,
        with_density: bool,
        stream: &mut Stream,
    ) -> Result<Scored, StageError> {
        let (science, n) = (self.science, self.draws);
        let redshift = one.parameters.redshift;
        let object = Object { flux: &one.flux, err: &one.err, redshift };
        let seen = self.drawer.see(&[object])?;
        let draws = self.drawer.draw(&seen, 0, redshift, n, stream)?;
        let mut free = vec![0.0; science.free.len()];
        science.prior.to_free(&one.parameters, stream.uniform(), &mut free)?;
        let truth = truth(science, &free, &one.parameters, &one.derived);
        let mean_snr = mean_snr(&one.flux, &one.err, self.snr_bands);
        let bright = mean_snr > 1.0;
        let mut cases: Vec<Case> = Vec::with_capacity(truth.len() + 2);
        for (&truth, draws) in truth.iter().zip(draws.columns()) {
            cases.push(self.maker.case(truth, draws, bright, stream));
        }
        let sfr = cases[position(science.reported, "log_sfr_100")];
        let forming = sfr.truth - one.parameters.log_mass_formed > FORMING;
        cases.push(Case { bright: bright && forming, ..sfr });
        // The paper quotes tau itself, not its logarithm.
        if tau(science).is_some()
            && let Some(place) = science.reported.iter().position(|n| *n == "log_tau_gyr")
        {
            let log = cases[place];
            let (truth, median) = (scalar::exp10(log.truth), scalar::exp10(log.median));
            cases.push(Case { truth, median, ..log });
        }
        let columns: Vec<&[f32]> = self.drawer.free().chunks_exact(n).collect();
        let tarp = Some(self.tarp.place(&free, &columns, stream));
        let density = with_density.then(|| {
            let at = |theta: &[f64]| self.sampler.log_prob_of(&seen, 0, theta);
            let point = |k: usize| columns.iter().map(|c| f64::from(c[k])).collect::<Vec<f64>>();
            let ranked: Vec<f64> = (0..n).map(|k| at(&point(k))).collect();
            density_place(at(&free), &ranked, stream)
        });
        let (strata, bands) = (&self.strata, self.snr_bands);
        let integrated = one.integrated;
        let stratum = scarce::stratum(strata, bands, redshift, &one.flux, &one.err, integrated);
        Ok(Scored { stratum, cases, joint: JointPlaces { tarp, density }, mean_snr })
    }
}

/// Rows of every population and the scores of fitted redshifts, of simulations
/// drawn exactly as those of the training are.
fn measure(
    job: &Job,
    trained: &model::Trained,
) -> Result<(Vec<(String, CalibrationRow)>, RedshiftScores), StageError> {
    let science = &job.science;
    let campaign = &job.campaign.campaign;
    let snr_bands = snr_positions(campaign);
    let bench = || Bench::new(job, &trained.sampler, &snr_bands);
    let (strata, names) = (Strata::default(), names(science));
    let total = 2 * campaign.calibrate.count as usize;
    let progress = Progress::new(job, total, "simulations");
    let scores = Mutex::new((Scores::new(strata, &names), RedshiftScores::default()));
    let state = || (science.forward.workspace(), bench());
    parallel::map(total, job.threads, state, |(workspace, bench), i| {
        progress.tell();
        let mut stream = Stream::new(campaign.seed, Purpose::Calibration, i as u64, 0);
        let one = Simulated::in_full(science, workspace, &mut stream)?;
        let scored = bench.score(&one, i < DENSITY_TESTS, &mut stream)?;
        let fitted = match i < REDSHIFT_TESTS && scored.mean_snr > REDSHIFT_SNR {
            true => bench.drawer.redshift(&one.flux, &one.err)?,
            false => None,
        };
        let (scores, redshifts) = &mut *scores.lock().expect("no thread panicked");
        scores.add(scored.stratum, &scored.cases, scored.joint);
        if let Some(fitted) = fitted {
            let redshift = one.parameters.redshift;
            redshifts.add(redshift, fitted.quantile(0.5), fitted.below(redshift));
        }
        Ok::<(), StageError>(())
    })?;
    let (scores, redshifts) = scores.into_inner().expect("no thread panicked");

    let needed = science.tolerance.min_stratum;
    let wanted: Vec<u64> = scores.counts().map(|n| needed.saturating_sub(n)).collect();
    let grid = science.simulator()?;
    let found = scarce::find(job, &grid, &strata, &snr_bands, wanted, SEARCH * total as u64)?;
    let progress = Progress::new(job, found.len(), "of scarce strata");
    let more = Mutex::new(Scores::new(strata, &names));
    let state = || (grid.scratch(), bench());
    parallel::map(found.len(), job.threads, state, |(scratch, bench), k| {
        progress.tell();
        let mut stream = scarce::stream(campaign.seed, found[k]);
        let one = Simulated::by_tables(science, &grid, scratch, &mut stream)?;
        let scored = bench.score(&one, false, &mut stream)?;
        let mut more = more.lock().expect("no thread panicked");
        more.add(scored.stratum, &scored.cases, scored.joint);
        Ok::<(), StageError>(())
    })?;
    let more = more.into_inner().expect("no thread panicked");
    Ok((scores.rows_with(&more), redshifts))
}

/// Names of the cases of a simulation.
fn names(science: &Science) -> Vec<&'static str> {
    science.reported.iter().copied().chain([FORMING_ROW]).chain(tau(science)).collect()
}

/// The extra row of families that have a tau.
fn tau(science: &Science) -> Option<&'static str> {
    science.free.contains(&"log_tau_gyr").then_some("tau_gyr")
}

/// Number of observed bands.
pub fn observed(err: &[f32]) -> usize {
    err.iter().filter(|e| **e > 0.0).count()
}

/// Positions of the S/N bands among the campaign's bands.
pub fn snr_positions(campaign: &outshine_schemas::campaign::Campaign) -> Vec<usize> {
    let position = |band: &String| campaign.bands.iter().position(|b| b == band);
    campaign.field.snr_bands.iter().filter_map(position).collect()
}

/// Mean of flux over error over the observed ones of `bands`; NaN where none is.
pub fn mean_snr(flux: &[f32], err: &[f32], bands: &[usize]) -> f64 {
    let ratios: Vec<f64> = bands
        .iter()
        .filter(|&&b| err[b] > 0.0)
        .map(|&b| f64::from(flux[b]) / f64::from(err[b]))
        .collect();
    ratios.iter().sum::<f64>() / ratios.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::tests::{job, trained};
    use outshine_schemas::digest::Digest;
    use outshine_schemas::task::{Shard, Stage};

    const CAMPAIGN: &str = "name = \"c\"\nestimator = \"train\"\nbands = [\"f115w\", \"f200w\", \"f277w\", \
        \"f356w\", \"f444w\"]\n[field.mock]\n[simulate]\ncount = 6000\n\
        [train]\nblocks = 3\nhidden = 48\nmax_epochs = 25\n[calibrate]\ncount = 600\ndraws = 199\n";

    /// The same model passes as it is, and fails when its posteriors are made
    /// too narrow (by 0.6) or too wide (by 1.6).
    #[tokio::test]
    async fn only_an_honest_model_passes() {
        let job = job(CAMPAIGN, Stage::Simulate, Shard { start: 0, end: 6000 }).await;
        let sampler = trained(&job, 25);
        for (scale, honest) in [(1.0, true), (0.6, false), (1.6, false)] {
            let sampler = sampler.clone().with_base_scale(scale);
            let model = model::Trained { sampler, digest: Digest::of(b"") };
            let facts = calibrate(&job, &model).unwrap().facts;
            assert_eq!(facts["passed"], honest, "scale {scale}: {}", facts["reasons"]);
            assert_eq!(facts["reasons"].as_array().unwrap().is_empty(), honest);
        }
    }
}
