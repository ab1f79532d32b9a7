//! Stage simulate: parameters from the prior and their noiseless photometry.

use super::{Job, Outcome, StageError, compute, table};
use arrow::array::{ArrayRef, Float64Array, UInt64Array};
use outshine_kernels::random::{Purpose, Stream};
use outshine_schemas::tables::simulations;
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
    let count = shard.len() as usize;
    let mut parameters = Vec::with_capacity(count);
    let mut free: Vec<Vec<f64>> = vec![Vec::with_capacity(count); science.free.len()];
    let mut point = vec![0.0; science.free.len()];
    for index in shard.start..shard.end {
        let mut stream = Stream::new(seed, Purpose::Simulation, index, 0);
        let drawn = science.prior.draw(&mut stream);
        science.prior.to_free(&drawn, stream.uniform(), &mut point)?;
        for (column, value) in free.iter_mut().zip(&point) {
            column.push(*value);
        }
        parameters.push(drawn);
    }
    let simulator = science.simulator()?;
    let mut flux = vec![0.0; count * bands.len()];
    simulator.fluxes(&parameters, &mut simulator.scratch(), &mut flux)?;

    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(UInt64Array::from_iter_values(shard.start..shard.end)),
        Arc::new(Float64Array::from_iter_values(parameters.iter().map(|p| p.redshift))),
    ];
    columns.extend(free.into_iter().map(|column| Arc::new(Float64Array::from(column)) as ArrayRef));
    for band in 0..bands.len() {
        let of_band = flux.iter().skip(band).step_by(bands.len()).copied();
        columns.push(Arc::new(Float64Array::from_iter_values(of_band)));
    }
    let (bytes, count) = table::encode(
        "simulations/1",
        simulations(science.free, bands),
        columns,
        &science.provenance,
    )?;
    let mut outcome = Outcome::default();
    outcome.file(SIMULATIONS, bytes, count);
    outcome.fact("simulations", count);
    Ok(outcome)
}
