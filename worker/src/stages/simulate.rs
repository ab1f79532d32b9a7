//! Stage simulate: parameters from the prior and their noiseless photometry.

use super::{Job, Outcome, StageError, compute, parallel, table};
use arrow::array::{ArrayRef, Float64Array, UInt64Array};
use outshine_kernels::random::{Purpose, Stream};
use outshine_schemas::tables::{TAU_FREE, simulations};
use outshine_sps::Components;
use std::sync::Arc;

/// The simulations of one shard.
pub const SIMULATIONS: &str = "simulations.parquet";

pub async fn run(job: &Job) -> Result<Outcome, StageError> {
    let job = job.clone();
    compute(move || simulate(&job)).await
}

/// The simulations of the job's shard, computed here and now.
pub fn simulate(job: &Job) -> Result<Outcome, StageError> {
    let science = &job.science;
    let bands = &job.campaign.campaign.bands;
    let seed = job.campaign.campaign.seed;
    let shard = job.task.shard;
    let rows = parallel::map(
        shard.len() as usize,
        1,
        || science.forward.workspace(),
        |workspace, i| {
            let index = shard.start + i as u64;
            let mut stream = Stream::new(seed, Purpose::Simulation, index, 0);
            let parameters = science.prior.draw(&mut stream);
            let mut flux = vec![0.0; bands.len()];
            science.forward.photometry(&parameters, Components::Full, workspace, &mut flux)?;
            let free = science.prior.to_free(&parameters)?;
            Ok::<_, StageError>((index, parameters.redshift, free, flux))
        },
    )?;
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(UInt64Array::from_iter_values(rows.iter().map(|r| r.0))),
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.1))),
    ];
    for p in 0..TAU_FREE {
        columns.push(Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.2[p]))));
    }
    for b in 0..bands.len() {
        columns.push(Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.3[b]))));
    }
    let (bytes, count) =
        table::encode("simulations/1", simulations(bands), columns, &science.provenance)?;
    let mut outcome = Outcome::default();
    outcome.file(SIMULATIONS, bytes, count);
    outcome.fact("simulations", count);
    Ok(outcome)
}
