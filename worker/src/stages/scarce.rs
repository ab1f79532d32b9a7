//! Simulations of the strata that a plain sample leaves with too few.
//!
//! Strata are cut by what is observed, so which one a simulation belongs to is
//! known only once it is made. Made by the tables of the training they are
//! cheap; the draws are not, and are made for those wanted alone.

use super::calibrate::{mean_snr, observed};
use super::simulated::observe;
use super::{Job, Science, StageError, parallel};
use outshine_kernels::random::{Purpose, Stream};
use outshine_npe::diagnostics::Strata;
use outshine_sps::grid::Scratch;
use outshine_sps::{Parameters, RedshiftGrid};

/// Series of the streams of these simulations.
const SERIES: u64 = 4;
/// Simulations made together.
const CHUNK: u64 = 4096;
/// A stratum without any object in this part of the search has none.
const PART: u64 = 20;
/// Chunks between two looks at what is still wanted.
const ROUND: u64 = 64;

/// The stream of simulation number `i`.
pub fn stream(seed: u64, i: u64) -> Stream {
    Stream::new(seed, Purpose::Calibration, i, SERIES)
}

/// Stratum of an object.
pub fn stratum(
    strata: &Strata,
    snr_bands: &[usize],
    redshift: f64,
    flux: &[f32],
    err: &[f32],
    integrated: bool,
) -> usize {
    strata.index(mean_snr(flux, err, snr_bands), redshift, observed(err), integrated)
}

/// Numbers of the first simulations of every stratum, as many as it is
/// `wanted`, among the first `most`: fewer where these hold fewer. Ascending.
///
/// # Errors
/// Of the forward model.
pub fn find(
    job: &Job,
    grid: &RedshiftGrid,
    strata: &Strata,
    snr_bands: &[usize],
    mut wanted: Vec<u64>,
    most: u64,
) -> Result<Vec<u64>, StageError> {
    let (science, seed) = (&job.science, job.campaign.campaign.seed);
    let mut found = Vec::new();
    let mut empty = vec![true; wanted.len()];
    let mut from = 0;
    while from < most && wanted.iter().any(|n| *n > 0) {
        let to = (from + CHUNK * ROUND).min(most);
        let chunks = (to - from).div_ceil(CHUNK) as usize;
        let all = parallel::map(
            chunks,
            job.threads,
            || grid.scratch(),
            |scratch, chunk| {
                let start = from + CHUNK * chunk as u64;
                let numbers = start..(start + CHUNK).min(to);
                strata_of(science, seed, grid, scratch, strata, snr_bands, numbers)
            },
        )?;
        for (i, stratum) in (from..to).zip(all.into_iter().flatten()) {
            let wanted = &mut wanted[usize::from(stratum)];
            if *wanted > 0 {
                *wanted -= 1;
                empty[usize::from(stratum)] = false;
                found.push(i);
            }
        }
        from = to;
        if from >= most / PART {
            // Not in this campaign: too many bands, say.
            let lost = wanted.iter_mut().zip(&empty).filter(|(_, empty)| **empty);
            lost.for_each(|(wanted, _)| *wanted = 0);
        }
        job.board.tell(&job.task.id, 0.0, format!("{from} simulations for scarce strata"));
    }
    Ok(found)
}

/// Strata of the simulations of some numbers.
fn strata_of(
    science: &Science,
    seed: u64,
    grid: &RedshiftGrid,
    scratch: &mut Scratch,
    strata: &Strata,
    snr_bands: &[usize],
    numbers: std::ops::Range<u64>,
) -> Result<Vec<u8>, StageError> {
    let bands = science.target.features.bands().len();
    let mut streams: Vec<Stream> = numbers.map(|i| stream(seed, i)).collect();
    let parameters: Vec<Parameters> = streams.iter_mut().map(|s| science.prior.draw(s)).collect();
    let mut noiseless = vec![0.0; parameters.len() * bands];
    grid.fluxes(&parameters, scratch, &mut noiseless)?;
    let objects = parameters.iter().zip(noiseless.chunks_exact(bands)).zip(&mut streams);
    Ok(objects
        .map(|((parameters, noiseless), stream)| {
            let (flux, err, integrated) = observe(science, noiseless, stream);
            stratum(strata, snr_bands, parameters.redshift, &flux, &err, integrated) as u8
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::calibrate::snr_positions;
    use crate::stages::simulated::Simulated;
    use crate::stages::tests::job;
    use outshine_schemas::task::{Shard, Stage};

    const CAMPAIGN: &str = "name = \"c\"\nestimator = \"train\"\n[field.mock]\n";

    /// Every stratum gets what it lacks, of its own kind, whatever the number
    /// of threads; and a search that cannot succeed ends.
    #[tokio::test]
    async fn scarce_strata_are_filled() {
        let mut job = job(CAMPAIGN, Stage::Calibrate, Shard { start: 0, end: 1 }).await;
        let strata = Strata::default();
        let bands = snr_positions(&job.campaign.campaign);
        let grid = job.science.simulator().unwrap();
        let wanted: Vec<u64> = (0..Strata::COUNT as u64).map(|k| k % 7).collect();
        let found = find(&job, &grid, &strata, &bands, wanted.clone(), 1_000_000).unwrap();
        job.assignment.threads = 1;
        assert_eq!(found, find(&job, &grid, &strata, &bands, wanted.clone(), 1_000_000).unwrap());
        assert!(found.windows(2).all(|pair| pair[0] < pair[1]));
        let mut counts = vec![0; Strata::COUNT];
        let mut scratch = grid.scratch();
        for i in found {
            let mut own = stream(job.campaign.campaign.seed, i);
            let one = Simulated::by_tables(&job.science, &grid, &mut scratch, &mut own).unwrap();
            let z = one.parameters.redshift;
            counts[stratum(&strata, &bands, z, &one.flux, &one.err, one.integrated)] += 1;
        }
        assert_eq!(counts, wanted);
        let all = vec![u64::MAX; Strata::COUNT];
        assert_eq!(find(&job, &grid, &strata, &bands, all, 5000).unwrap().len(), 5000);
    }
}
