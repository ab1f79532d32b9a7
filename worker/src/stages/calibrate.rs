//! Stage calibrate: the model on simulations that it has not seen, single
//! pixels and integrated galaxies apart.

use super::draws::{Drawer, truth};
use super::typical::{self, Limits};
use super::{Job, Outcome, Science, StageError, compute, model, parallel, table, upstream};
use arrow::array::{ArrayRef, Float64Array, ListArray, StringArray, UInt64Array};
use arrow::datatypes::UInt32Type;
use outshine_kernels::random::{Purpose, Stream};
use outshine_kernels::{quantile, scalar};
use outshine_npe::Object;
use outshine_npe::diagnostics::{CalibrationRow, Case, Verdict, calibration_row};
use outshine_schemas::tables::calibration;
use outshine_sps::Components;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The populations, told apart by what can be observed, as calibration holds
/// only for such: by the median over bands of the error in units of that of
/// one pixel. Up to [`PIXEL_LIMIT`] an object counts as a pixel.
const POPULATIONS: [&str; 2] = ["pixel", "integrated"];
const PIXEL_LIMIT: f64 = 3.0;

pub async fn run(job: &Job) -> Result<Outcome, StageError> {
    upstream::check_inputs(job).await?;
    let trained = model::load(job).await?;
    let job = job.clone();
    compute(move || calibrate(&job, &trained)).await
}

fn calibrate(job: &Job, trained: &model::Trained) -> Result<Outcome, StageError> {
    let campaign = &job.campaign.campaign;
    let mut rows: Vec<(&str, CalibrationRow)> = Vec::new();
    let all = cases(job, trained)?;
    for (p, population) in POPULATIONS.into_iter().enumerate() {
        let cases: Vec<&Vec<Case>> = all.iter().filter(|c| c.0 == p).map(|c| &c.1).collect();
        for (column, name) in job.science.reported.iter().enumerate() {
            let of = cases.iter().map(|case| case[column]);
            rows.push((population, calibration_row(name, of)));
        }
        // The paper quotes tau itself, not its logarithm.
        if let Some(place) = job.science.reported.iter().position(|n| *n == "log_tau_gyr") {
            let tau = cases.iter().map(|case| {
                let log = case[place];
                Case { truth: scalar::exp10(log.truth), median: scalar::exp10(log.median), ..log }
            });
            rows.push((population, calibration_row("tau_gyr", tau)));
        }
    }
    let judged: Vec<&CalibrationRow> = rows.iter().map(|(_, row)| row).collect();
    let verdict = Verdict::of(
        rows.iter().map(|(population, row)| (*population, row)),
        &job.science.tolerance,
    );
    let f = |get: fn(&CalibrationRow) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(judged.iter().map(|r| get(r))))
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.0))),
        Arc::new(StringArray::from_iter_values(judged.iter().map(|r| r.parameter.as_str()))),
        Arc::new(UInt64Array::from_iter_values(judged.iter().map(|r| r.simulations))),
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
            judged.iter().map(|r| Some(r.sbc_histogram.iter().map(|&n| Some(n)))),
        )),
    ];
    let (bytes, count) =
        table::encode("calibration/1", calibration(), columns, &job.science.provenance)?;
    let mut outcome = Outcome::default();
    outcome.file("calibration.parquet", bytes, count);
    outcome.fact("passed", verdict.passed);
    outcome.fact("reasons", verdict.reasons);
    outcome.fact("simulations", 2 * campaign.calibrate.count);
    outcome.fact("model", trained.digest.as_str());
    outcome.fact(typical::LIMITS, Limits::set(job, trained)?.to_fact()?);
    Ok(outcome)
}

/// Population and one case per reported parameter, of every simulation: drawn
/// exactly as those of the training are.
fn cases(job: &Job, trained: &model::Trained) -> Result<Vec<(usize, Vec<Case>)>, StageError> {
    let science = &job.science;
    let campaign = &job.campaign.campaign;
    let bands = campaign.bands.len();
    let snr = snr_positions(campaign);
    let total = 2 * campaign.calibrate.count as usize;
    let done = AtomicUsize::new(0);
    parallel::map(
        total,
        job.threads,
        || (science.forward.workspace(), Drawer::new(science, &trained.sampler)),
        |(workspace, drawer), i| {
            let before = done.fetch_add(1, Ordering::Relaxed);
            if before.is_multiple_of(500) {
                let fraction = before as f64 / total as f64;
                job.board.tell(&job.task.id, fraction, format!("{before} of {total} simulations"));
            }
            let mut stream = Stream::new(campaign.seed, Purpose::Calibration, i as u64, 0);
            let parameters = science.prior.draw(&mut stream);
            let mut noiseless = vec![0.0; bands];
            let full = Components::Full;
            let derived =
                science.forward.photometry(&parameters, full, workspace, &mut noiseless)?;
            let conditions = science.coverage.draw(&science.noise, &mut stream);
            let (mut flux, mut err) = (vec![0.0; bands], vec![0.0; bands]);
            science.noise.observe(&noiseless, &conditions, &mut stream, &mut flux, &mut err);
            let n = campaign.calibrate.draws as usize;
            let object = Object { flux: &flux, err: &err, redshift: parameters.redshift };
            let draws = drawer.draw_one(&object, n, &mut stream)?;
            let mut free = vec![0.0; science.free.len()];
            science.prior.to_free(&parameters, stream.uniform(), &mut free)?;
            let truth = truth(science, &free, &parameters, &derived);
            let bright = mean_snr(&flux, &err, &snr) > 1.0;
            let columns = truth.iter().zip(draws.columns());
            let cases = columns.map(|(&t, d)| Case::new(t, d, bright, &mut stream)).collect();
            Ok((usize::from(depth(&err, science) > PIXEL_LIMIT), cases))
        },
    )
}

/// Median over the observed bands of the error in units of that of one pixel.
fn depth(err: &[f32], science: &Science) -> f64 {
    let pairs = err.iter().zip(science.target.features.sigma_reference_njy());
    let mut ratios: Vec<f64> =
        pairs.filter(|(e, _)| **e > 0.0).map(|(&e, &one)| f64::from(e) / one).collect();
    quantile::sort(&mut ratios);
    quantile::of_sorted(&ratios, 0.5)
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
    use crate::stages::examples::Simulations;
    use crate::stages::simulate::{SIMULATIONS, simulate};
    use crate::stages::tests::job;
    use outshine_npe::{Sampler, train_span};
    use outshine_schemas::digest::Digest;
    use outshine_schemas::task::{Shard, Stage};
    use outshine_store::parquet;
    use std::ops::ControlFlow;

    const CAMPAIGN: &str = "name = \"c\"\nestimator = \"train\"\nbands = [\"f115w\", \"f200w\", \"f277w\", \
        \"f356w\", \"f444w\"]\n[field.mock]\n[simulate]\ncount = 6000\n\
        [train]\nblocks = 3\nhidden = 48\nmax_epochs = 25\n[calibrate]\ncount = 600\ndraws = 199\n";

    /// The same model passes as it is, and fails when its posteriors are made
    /// too narrow (by 0.6) or too wide (by 1.6).
    #[tokio::test]
    async fn only_an_honest_model_passes() {
        let job = job(CAMPAIGN, Stage::Simulate, Shard { start: 0, end: 6000 }).await;
        let bands = &job.campaign.campaign.bands;
        let made = simulate(&job).unwrap();
        let table = parquet::decode(SIMULATIONS, made.files[0].1.clone(), None).unwrap();
        let mut data = Simulations::new(job.science.clone(), &job.campaign.campaign);
        data.extend(&table, bands).unwrap();
        let science = &job.science;
        let watch = &mut |_: &outshine_npe::Progress| ControlFlow::Continue(());
        let trained =
            train_span(&science.train, &science.target, &data, None, 25, 2, watch).unwrap();
        let sampler = Sampler::new(&trained.model(science.provenance.clone()));
        for (scale, honest) in [(1.0, true), (0.6, false), (1.6, false)] {
            let sampler = sampler.clone().with_base_scale(scale);
            let model = model::Trained { sampler, digest: Digest::of(b"") };
            let facts = calibrate(&job, &model).unwrap().facts;
            assert_eq!(facts["passed"], honest, "scale {scale}: {}", facts["reasons"]);
            assert_eq!(facts["reasons"].as_array().unwrap().is_empty(), honest);
        }
    }
}
