//! What the estimator learns from: simulations with fresh noise in each epoch.
//!
//! Stored simulations are noiseless. Each epoch gives each of them a new
//! depth, a new choice of observed bands, new noise, and, since flux is
//! proportional to mass and the prior of log mass is uniform and independent
//! of the rest, a new mass as well: an exact draw from the same joint
//! distribution. No example is ever seen twice.

use super::{Science, StageError};
use outshine_kernels::random::{Purpose, Stream};
use outshine_kernels::scalar;
use outshine_npe::{Examples, HELD_OUT};
use outshine_schemas::tables::{TAU_FREE, TAU_PARAMETERS};
use outshine_store::Table;
use std::sync::Arc;

/// The training set in memory.
pub struct Simulations {
    science: Arc<Science>,
    seed: u64,
    bands: usize,
    redshift: Vec<f64>,
    free: Vec<f64>,
    flux_njy: Vec<f64>,
}

impl Simulations {
    /// An empty set for `bands` bands.
    pub fn new(science: Arc<Science>, seed: u64, bands: usize) -> Self {
        let (redshift, free, flux_njy) = (Vec::new(), Vec::new(), Vec::new());
        Self { science, seed, bands, redshift, free, flux_njy }
    }

    /// Adds a table of simulations.
    pub fn extend(&mut self, table: &Table, bands: &[String]) -> Result<(), StageError> {
        let mut columns = Vec::new();
        for (name, _, _) in &TAU_PARAMETERS[..TAU_FREE] {
            columns.push(table.float64(name)?);
        }
        let mut fluxes = Vec::new();
        for band in bands {
            fluxes.push(table.float64(&format!("flux_njy_{band}"))?);
        }
        let redshift = table.float64("redshift")?;
        for row in 0..table.rows() {
            self.redshift.push(redshift.value(row));
            self.free.extend(columns.iter().map(|c| c.value(row)));
            self.flux_njy.extend(fluxes.iter().map(|c| c.value(row)));
        }
        Ok(())
    }
}

impl Examples for Simulations {
    fn len(&self) -> u64 {
        self.redshift.len() as u64
    }

    fn fill(
        &self,
        index: u64,
        epoch: u64,
        theta: &mut [f64],
        flux: &mut [f32],
        err: &mut [f32],
    ) -> f64 {
        let i = index as usize;
        let mut stream = Stream::new(self.seed, Purpose::Observation, index, epoch);
        theta.copy_from_slice(&self.free[i * TAU_FREE..(i + 1) * TAU_FREE]);
        let stored = &self.flux_njy[i * self.bands..(i + 1) * self.bands];
        let mut scale = 1.0;
        if epoch != HELD_OUT {
            let (low, high) = self.science.prior.bounds()[0];
            let log_mass = stream.uniform_in(low, high);
            scale = scalar::exp10(log_mass - theta[0]);
            theta[0] = log_mass;
        }
        let noiseless: Vec<f64> = stored.iter().map(|f| f * scale).collect();
        let conditions = self.science.coverage.draw(&self.science.noise, &mut stream);
        self.science.noise.observe(&noiseless, &conditions, &mut stream, flux, err);
        self.redshift[i]
    }
}
