//! What the estimator learns from: simulations with fresh noise in each epoch.
//!
//! Simulations are noiseless. Each epoch gives each of them a new depth, a new
//! choice of observed bands, new noise, and, since flux is proportional to
//! mass and the prior of log mass is uniform and independent of the rest, a
//! new mass as well: an exact draw from the same joint distribution. Those of
//! the first epoch are stored; later epochs observe them anew, or make new
//! ones as they go ([`Simulations::keep_making`]).

use super::{Science, StageError};
use outshine_kernels::random::{Purpose, Stream};
use outshine_kernels::scalar;
use outshine_npe::{Examples, HELD_OUT, NpeError};
use outshine_schemas::campaign::Campaign;
use outshine_sps::RedshiftGrid;
use outshine_store::Table;
use std::sync::{Arc, Mutex, RwLock};

/// More free coordinates than any family has.
const MOST_FREE: usize = 16;
/// Simulations made together, in order of redshift.
const CHUNK: usize = 16_384;

/// The training set in memory.
pub struct Simulations {
    science: Arc<Science>,
    seed: u64,
    bands: usize,
    stored: Set,
    simulator: Option<Arc<RedshiftGrid>>,
    /// The simulations of one later epoch.
    made: RwLock<Option<(u64, Set)>>,
}

/// Simulations, one after another.
#[derive(Default)]
struct Set {
    redshift: Vec<f64>,
    free: Vec<f64>,
    flux_njy: Vec<f32>,
}

impl Set {
    fn append(&mut self, mut other: Self) {
        self.redshift.append(&mut other.redshift);
        self.free.append(&mut other.free);
        self.flux_njy.append(&mut other.flux_njy);
    }
}

impl Simulations {
    /// An empty set.
    pub fn new(science: Arc<Science>, campaign: &Campaign) -> Self {
        let (seed, bands) = (campaign.seed, campaign.bands.len());
        let (stored, made) = (Set::default(), RwLock::new(None));
        Self { science, seed, bands, stored, simulator: None, made }
    }

    /// The simulations of a whole campaign, made here and now.
    ///
    /// # Errors
    /// [`StageError`] of the forward model.
    pub fn made(science: Arc<Science>, campaign: &Campaign) -> Result<Self, StageError> {
        let simulator = science.simulator()?;
        let mut own = Self::new(science, campaign);
        let count = campaign.simulate.count as usize;
        own.stored = own.make(&simulator, 0, (0, count))?;
        if campaign.simulate.fresh {
            own.simulator = Some(simulator);
        }
        Ok(own)
    }

    /// Adds a table of simulations.
    pub fn extend(&mut self, table: &Table, bands: &[String]) -> Result<(), StageError> {
        let mut columns = Vec::new();
        for name in self.science.free {
            columns.push(table.float64(name)?);
        }
        let mut fluxes = Vec::new();
        for band in bands {
            fluxes.push(table.float64(&format!("flux_njy_{band}"))?);
        }
        let redshift = table.float64("redshift")?;
        for row in 0..table.rows() {
            self.stored.redshift.push(redshift.value(row));
            self.stored.free.extend(columns.iter().map(|c| c.value(row)));
            self.stored.flux_njy.extend(fluxes.iter().map(|c| c.value(row) as f32));
        }
        Ok(())
    }

    /// From the second epoch on, makes new simulations.
    pub fn keep_making(&mut self) -> Result<(), StageError> {
        self.simulator = Some(self.science.simulator()?);
        Ok(())
    }

    /// Simulations `from..to` of `epoch`.
    fn make(
        &self,
        simulator: &RedshiftGrid,
        epoch: u64,
        (from, to): (usize, usize),
    ) -> Result<Set, NpeError> {
        let wrong = |e: outshine_sps::SpsError| {
            let why = format!("cannot be simulated: {e}");
            NpeError::Example { index: from as u64, why }
        };
        let mut set = Set::default();
        let mut parameters = Vec::with_capacity(to - from);
        for index in from..to {
            let mut stream = Stream::new(self.seed, Purpose::Simulation, index as u64, epoch);
            let drawn = self.science.prior.draw(&mut stream);
            set.redshift.push(drawn.redshift);
            let mut point = [0.0; MOST_FREE];
            let point = &mut point[..self.science.free.len()];
            self.science.prior.to_free(&drawn, stream.uniform(), point).map_err(wrong)?;
            set.free.extend_from_slice(point);
            parameters.push(drawn);
        }
        let mut flux = vec![0.0; parameters.len() * self.bands];
        simulator.fluxes(&parameters, &mut simulator.scratch(), &mut flux).map_err(wrong)?;
        set.flux_njy.extend(flux.iter().map(|f| *f as f32));
        Ok(set)
    }

    fn observe(
        &self,
        set: &Set,
        index: u64,
        epoch: u64,
        theta: &mut [f64],
        flux: &mut [f32],
        err: &mut [f32],
    ) -> f64 {
        let i = index as usize;
        let mut stream = Stream::new(self.seed, Purpose::Observation, index, epoch);
        let d = theta.len();
        theta.copy_from_slice(&set.free[i * d..(i + 1) * d]);
        let stored = &set.flux_njy[i * self.bands..(i + 1) * self.bands];
        let mut scale = 1.0;
        if epoch != HELD_OUT {
            let (low, high) = self.science.prior.log_mass_formed;
            let log_mass = stream.uniform_in(low, high);
            scale = scalar::exp10(log_mass - theta[0]);
            theta[0] = log_mass;
        }
        let noiseless: Vec<f64> = stored.iter().map(|f| f64::from(*f) * scale).collect();
        let conditions = self.science.coverage.draw(&self.science.noise, &mut stream);
        self.science.noise.observe(&noiseless, &conditions, &mut stream, flux, err);
        set.redshift[i]
    }
}

impl Examples for Simulations {
    fn len(&self) -> u64 {
        self.stored.redshift.len() as u64
    }

    fn begin(&self, epoch: u64, threads: usize) -> Result<(), NpeError> {
        let Some(simulator) = self.simulator.as_ref().filter(|_| epoch != 0 && epoch != HELD_OUT)
        else {
            return Ok(());
        };
        let n = self.stored.redshift.len();
        let chunks: Vec<(usize, usize)> =
            (0..n).step_by(CHUNK).map(|from| (from, (from + CHUNK).min(n))).collect();
        let next = std::sync::atomic::AtomicUsize::new(0);
        let done = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..threads.clamp(1, chunks.len()) {
                scope.spawn(|| {
                    loop {
                        let k = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        let Some(&chunk) = chunks.get(k) else { return };
                        let set = self.make(simulator, epoch, chunk);
                        done.lock().expect("no other worker panicked").push((k, set));
                    }
                });
            }
        });
        let mut done = done.into_inner().expect("no worker panicked");
        done.sort_by_key(|(k, _)| *k);
        let mut all = Set::default();
        for (_, set) in done {
            all.append(set?);
        }
        *self.made.write().expect("no reader panicked") = Some((epoch, all));
        Ok(())
    }

    fn fill(
        &self,
        index: u64,
        epoch: u64,
        theta: &mut [f64],
        flux: &mut [f32],
        err: &mut [f32],
    ) -> f64 {
        let made = self.made.read().expect("no writer panicked");
        let set = match &*made {
            Some((of, set)) if *of == epoch => set,
            _ => &self.stored,
        };
        self.observe(set, index, epoch, theta, flux, err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::simulate::{SIMULATIONS, simulate};
    use crate::stages::tests::job;
    use outshine_schemas::task::{Shard, Stage};
    use outshine_store::parquet;

    /// Made here and now, or read from the tables of stage simulate.
    #[tokio::test]
    async fn simulations_are_the_same_however_they_come() {
        let text = "name = \"a\"\nestimator = \"train\"\n[field]\npixels = \"p\"\n[simulate]\ncount = 40\n";
        let own = job(text, Stage::Simulate, Shard { start: 0, end: 40 }).await;
        let campaign = &own.campaign.campaign;
        let mut read = Simulations::new(own.science.clone(), campaign);
        let bytes = simulate(&own).unwrap().files[0].1.clone();
        read.extend(&parquet::decode(SIMULATIONS, bytes, None).unwrap(), &campaign.bands).unwrap();
        read.keep_making().unwrap();
        let made = Simulations::made(own.science.clone(), campaign).unwrap();
        assert_eq!((read.len(), made.len()), (40, 40));
        let bands = campaign.bands.len();
        for epoch in [0, 3, HELD_OUT] {
            let look = |data: &Simulations, index: u64| {
                let (mut theta, mut flux, mut err) =
                    (vec![0.0; 5], vec![0.0; bands], vec![0.0; bands]);
                let redshift = data.fill(index, epoch, &mut theta, &mut flux, &mut err);
                (redshift, theta, flux, err)
            };
            read.begin(epoch, 1).unwrap();
            made.begin(epoch, 2).unwrap();
            for index in 0..40 {
                assert_eq!(look(&read, index), look(&made, index), "{index} of epoch {epoch}");
            }
        }
    }
}
