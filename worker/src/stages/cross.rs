//! The estimator on simulations of the other family of star-formation histories:
//! what a wrong prior costs in mass.
//!
//! An estimator of one family can be calibrated and yet be off for galaxies of
//! the other. Objects are drawn from the other family with the same bounds of
//! mass, metallicity, attenuation and redshift, observed as those of the
//! calibration, and fitted at their redshift. The offset of the mass goes with
//! the mass formed before star formation starts in the tau-delayed history:
//! mass that it cannot hold, or need not.

use super::calibrate::{mean_snr, snr_positions};
use super::draws::Drawer;
use super::progress::Progress;
use super::simulated::Simulated;
use super::{Job, Outcome, Science, StageError, model, parallel, table};
use arrow::array::{ArrayRef, Float64Array};
use outshine_catalogue::interval::{Interval, rank};
use outshine_catalogue::validation::{Case, scores};
use outshine_kernels::random::{Purpose, Stream};
use outshine_npe::Object;
use outshine_schemas::tables::cross_prior;
use outshine_sps::{Parameters, Prior, Sfh, SfhFamily, cosmology, formed_before};
use serde_json::json;
use std::sync::Arc;

/// The objects.
pub const CROSS_PRIOR: &str = "cross-prior.parquet";
/// The parameter that is compared.
const MASS: &str = "log_mass_stellar";
/// Least mean S/N of the objects that the summary is of.
const LEAST_SNR: f64 = 1.0;
/// Minor key of the streams: other tests of the calibration have 0 to 2 and 4.
const SERIES: u64 = 3;

/// One object.
struct One {
    redshift: f64,
    mean_snr: f64,
    mass: Case,
    /// Fraction of the mass formed before t_i of the tau-delayed history.
    before: f64,
}

/// Tests the model on `count` objects: their table, and a summary among the
/// facts.
pub fn test(
    job: &Job,
    trained: &model::Trained,
    count: usize,
    outcome: &mut Outcome,
) -> Result<(), StageError> {
    let science = &job.science;
    let other = Prior { sfh: other(science.prior.sfh), ..science.prior.clone() };
    let progress = Progress::new(job, count, "objects of the other prior");
    let snr_bands = snr_positions(&job.campaign.campaign);
    let draws = job.campaign.campaign.calibrate.draws as usize;
    let state = || (science.forward.workspace(), Drawer::new(science, &trained.sampler));
    let all = parallel::map(count, job.threads, state, |(workspace, drawer), i| {
        progress.tell();
        let seed = job.campaign.campaign.seed;
        let mut stream = Stream::new(seed, Purpose::Calibration, i as u64, SERIES);
        let Simulated { parameters, derived, flux, err, .. } =
            Simulated::of_prior(science, &other, workspace, &mut stream)?;
        let object = Object { flux: &flux, err: &err, redshift: parameters.redshift };
        let drawn = drawer.draw_one(&object, draws, &mut stream)?;
        let of = |name: &str| drawn.of(name).iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
        let median = |name: &str| Interval::of(&mut of(name)).p50;
        let (mut mass, truth) = (of(MASS), derived.log_mass_stellar);
        Ok::<_, StageError>(One {
            redshift: parameters.redshift,
            mean_snr: mean_snr(&flux, &err, &snr_bands),
            mass: Case { rank: rank(&mass, truth), interval: Interval::of(&mut mass), truth },
            before: before(science, &parameters, median)?,
        })
    })?;
    let f = |of: fn(&One) -> f64| -> ArrayRef {
        let values = all.iter().map(|one| Some(of(one)).filter(|v| v.is_finite()));
        Arc::new(Float64Array::from_iter(values))
    };
    let columns = vec![
        f(|one| one.redshift),
        f(|one| one.mean_snr),
        f(|one| one.mass.truth),
        f(|one| one.mass.interval.p16),
        f(|one| one.mass.interval.p50),
        f(|one| one.mass.interval.p84),
        f(|one| one.mass.rank),
        f(|one| one.before),
    ];
    let about = &science.provenance;
    let (bytes, rows) = table::encode("cross-prior/1", cross_prior(), columns, about)?;
    outcome.file(CROSS_PRIOR, bytes, rows);
    outcome.fact("cross_prior", summary(other.sfh, &all));
    Ok(())
}

/// The other of the two families that estimators are made for.
fn other(family: SfhFamily) -> SfhFamily {
    match family {
        SfhFamily::Tau => SfhFamily::Dirichlet,
        _ => SfhFamily::Tau,
    }
}

/// Of the true history of the Dirichlet family before the fitted t_i, or of the
/// fitted one before the true t_i. `median`: of the fitted parameters.
fn before(
    science: &Science,
    truth: &Parameters,
    median: impl Fn(&str) -> f64,
) -> Result<f64, StageError> {
    let age_gyr = cosmology::age_gyr(truth.redshift);
    let (history, t_i_gyr) = match truth.sfh {
        Sfh::Tau { t_i_gyr, .. } => {
            let (low, high) = science.prior.log_ssfr;
            let log_ssfr = (median("log_sfr_100") - median("log_mass_formed")).clamp(low, high);
            let t75 = median("t75");
            let t50 = median("t50").min(t75);
            let t25 = median("t25").min(t50);
            (Sfh::Dirichlet { log_ssfr, t25, t50, t75 }, t_i_gyr)
        }
        drawn => (drawn, median("t_i_gyr")),
    };
    Ok(formed_before(&history, age_gyr, t_i_gyr)?)
}

fn summary(family: SfhFamily, all: &[One]) -> serde_json::Value {
    let seen: Vec<&One> = all.iter().filter(|one| one.mean_snr > LEAST_SNR).collect();
    let scores = scores(&seen.iter().map(|one| one.mass).collect::<Vec<Case>>());
    let n = seen.len() as f64;
    let mean = |of: &dyn Fn(&One) -> f64| seen.iter().map(|one| of(one)).sum::<f64>() / n;
    let offset = |one: &One| one.mass.interval.p50 - one.mass.truth - scores.bias;
    let before = mean(&|one| one.before);
    let spread = mean(&|one| (one.before - before).powi(2)).sqrt();
    let product = mean(&|one| offset(one) * (one.before - before));
    json!({
        "simulations_of": family,
        "objects": seen.len(),
        "least_mean_snr": LEAST_SNR,
        "offset_mean_dex": scores.bias,
        "offset_median_dex": scores.median_bias,
        "scatter_dex": scores.scatter,
        "coverage_68": scores.coverage_68,
        "correlation_with_mass_before_t_i": product / (scores.scatter * spread),
    })
}

#[cfg(all(test, feature = "bc03"))]
mod tests {
    use super::*;
    use crate::stages::tests::{job, trained};
    use outshine_schemas::digest::Digest;
    use outshine_schemas::task::{Shard, Stage};

    const CAMPAIGN: &str = "name = \"c\"\nestimator = \"train\"\n[field.mock]\n\
        [simulate]\ncount = 6000\n[train]\nblocks = 2\nhidden = 48\nmax_epochs = 20\n";

    /// Both ways with networks of seconds of training: mass before t_i and the
    /// offset go together, as in the paper's Appendix G.
    #[tokio::test(flavor = "multi_thread")]
    async fn masses_of_the_other_prior_are_off_where_mass_formed_early() {
        for (family, other, sign) in [("tau", "dirichlet", -1.0), ("dirichlet", "tau", 1.0)] {
            let text = format!("{CAMPAIGN}[prior]\nsfh = \"{family}\"\n");
            let job = job(&text, Stage::Simulate, Shard { start: 0, end: 6000 }).await;
            let trained =
                model::Trained { sampler: trained(&job, 20), digest: Digest::of(b"model") };
            let mut outcome = Outcome::default();
            test(&job, &trained, 1500, &mut outcome).unwrap();
            let fact = &outcome.facts["cross_prior"];
            assert_eq!(fact["simulations_of"], other);
            assert!(fact["objects"].as_u64().unwrap() > 700, "{fact}");
            let correlation = fact["correlation_with_mass_before_t_i"].as_f64().unwrap();
            // Errors of a rough network are noise here: 0.03 by chance.
            assert!(sign * correlation > 0.1, "{family}: {fact}");
            assert_eq!(outcome.files[0].2, 1500);
        }
    }
}
