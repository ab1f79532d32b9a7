//! Redshifts of galaxies that have none: fitted to the galaxy as one object,
//! or from the user's table of distributions, or both.
//!
//! A redshift belongs to a galaxy. The same few equally probable redshifts
//! serve all of its pixels and its fit as one object, draw by draw.

use super::draws::Drawer;
use super::fit::photometry;
use super::{Job, StageError, model, upstream};
use arrow::array::Array;
use bytes::Bytes;
use outshine_kernels::random::{Purpose, Stream};
use outshine_npe::RedshiftPosterior;
use outshine_schemas::campaign::Meaning;
use outshine_store::{Table, parquet};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Equally probable redshifts of the galaxies of unknown redshift.
pub type Redshifts = BTreeMap<i64, Vec<f64>>;

/// Minor key of the stream of a galaxy's redshifts; 0 is that of its draws.
const STREAM: u64 = 1;

/// Distributions of redshift that the user gives.
pub struct Distributions {
    meaning: Meaning,
    /// Those that have some probability where the model was trained, and
    /// nothing for those that have none.
    of: BTreeMap<i64, Option<RedshiftPosterior>>,
}

impl Distributions {
    /// The campaign's table, if it has one: read from the store once, however
    /// many tasks of it a process does.
    ///
    /// # Errors
    /// [`StageError::Input`] naming file, galaxy and mend.
    pub async fn load(job: &Job) -> Result<Option<Arc<Self>>, StageError> {
        let read = job.science.redshifts.get_or_try_init(|| Self::fetch(job));
        Ok(read.await?.clone())
    }

    async fn fetch(job: &Job) -> Result<Option<Arc<Self>>, StageError> {
        let (Some(digest), Some(given)) =
            (&job.campaign.redshifts, &job.campaign.campaign.field.redshifts)
        else {
            return Ok(None);
        };
        let bytes = job.store.get(&upstream::layout(job).input(digest)).await?;
        let range = job.science.prior.redshift_range();
        Ok(Some(Arc::new(Self::read(&given.table, bytes, given.meaning, range)?)))
    }

    /// Reads a Parquet table of `galaxy_id`, `redshift` and `density`, one row
    /// per node: the density is linear between a galaxy's nodes and 0 outside.
    /// What lies outside `range` is cut off.
    fn read(
        name: &str,
        bytes: Bytes,
        meaning: Meaning,
        range: (f64, f64),
    ) -> Result<Self, StageError> {
        let bad = |problem: String| StageError::Input { file: name.to_owned(), problem };
        let table = parquet::decode(name, bytes, None)?;
        let id = table.int64("galaxy_id")?;
        let (z, density) = (table.float64("redshift")?, table.float64("density")?);
        let mut nodes: BTreeMap<i64, Vec<(f64, f64)>> = BTreeMap::new();
        for row in 0..table.rows() {
            if id.is_null(row) || z.is_null(row) || density.is_null(row) {
                return Err(bad(format!("row {row} has a null: leave the row out")));
            }
            nodes.entry(id.value(row)).or_default().push((z.value(row), density.value(row)));
        }
        let mut of = BTreeMap::new();
        for (galaxy, mut nodes) in nodes {
            nodes.sort_by(|a, b| a.0.total_cmp(&b.0));
            let (z, density): (Vec<f64>, Vec<f64>) = nodes.into_iter().unzip();
            let given = RedshiftPosterior::of_nodes(z, density).ok_or_else(|| {
                bad(format!(
                    "galaxy {galaxy}: give two nodes or more at different redshifts, with \
                     densities that are finite, not negative and not all 0"
                ))
            })?;
            let even = RedshiftPosterior::of_nodes(vec![range.0, range.1], vec![1.0, 1.0]);
            of.insert(galaxy, even.and_then(|even| given.times(&even)));
        }
        Ok(Self { meaning, of })
    }

    /// Whether a galaxy's distribution lies outside the model's range altogether.
    pub fn is_outside(&self, galaxy: i64) -> bool {
        matches!(self.of.get(&galaxy), Some(None))
    }

    /// The distribution of a galaxy: that of its fluxes, `fitted`, and the
    /// given one, put together as it is meant.
    fn join(&self, galaxy: i64, fitted: Option<RedshiftPosterior>) -> Option<RedshiftPosterior> {
        match (self.of.get(&galaxy), self.meaning) {
            (None, _) => fitted,
            (Some(given), Meaning::Posterior) => given.clone(),
            (Some(given), Meaning::Prior) => fitted?.times(given.as_ref()?),
        }
    }

    /// What the distributions are.
    pub fn meaning(&self) -> Meaning {
        self.meaning
    }

    /// Whether a galaxy's distribution is given.
    pub fn has(&self, galaxy: i64) -> bool {
        self.of.contains_key(&galaxy)
    }
}

/// Draws the redshifts of the `wanted` galaxies. Those without any, because
/// the model fits none or what is given excludes the fit, are left out.
///
/// `galaxies`: the field's table.
///
/// # Errors
/// Of the table or the model.
pub fn draw(
    job: &Job,
    trained: &model::Trained,
    given: Option<&Distributions>,
    galaxies: &Table,
    wanted: &BTreeSet<i64>,
) -> Result<Redshifts, StageError> {
    let campaign = &job.campaign.campaign;
    let (id, redshift) = (galaxies.int64("galaxy_id")?, galaxies.float64("redshift")?);
    let (flux, err) = photometry(galaxies, &campaign.bands)?;
    let drawer = Drawer::new(&job.science, &trained.sampler);
    let mut all = Redshifts::new();
    let unknown = |row: &usize| redshift.is_null(*row) && wanted.contains(&id.value(*row));
    for row in (0..galaxies.rows()).filter(unknown) {
        let flux: Vec<f32> = flux.iter().map(|c| c.value(row)).collect();
        let err: Vec<f32> = err.iter().map(|c| c.value(row)).collect();
        if err.iter().all(|e| *e <= 0.0) {
            continue; // No pixel to fit.
        }
        let galaxy = id.value(row);
        let fitted = drawer.redshift(&flux, &err)?;
        let posterior = match given {
            Some(given) => given.join(galaxy, fitted),
            None => fitted,
        };
        let mut stream = Stream::new(campaign.seed, Purpose::IntegratedDraw, galaxy as u64, STREAM);
        let n = campaign.fit.redshifts as usize;
        if let Some(posterior) = posterior {
            all.insert(galaxy, posterior.draws(n, &mut stream));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
    use arrow::datatypes::{DataType, Field, Schema};

    fn table(rows: &[(i64, f64, f64)]) -> Bytes {
        let of = |name, kind| Field::new(name, kind, false);
        let schema = Schema::new(vec![
            of("galaxy_id", DataType::Int64),
            of("redshift", DataType::Float64),
            of("density", DataType::Float64),
        ]);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.0))),
            Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.1))),
            Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.2))),
        ];
        let batch = RecordBatch::try_new(Arc::new(schema.clone()), columns).unwrap();
        parquet::encode(&schema, &[batch], &[], 100).unwrap()
    }

    fn read(rows: &[(i64, f64, f64)], meaning: Meaning) -> Result<Distributions, StageError> {
        Distributions::read("pz.parquet", table(rows), meaning, (0.0, 7.5))
    }

    /// A triangle from 1 to 3 about 2, and one wholly beyond the model.
    const ROWS: [(i64, f64, f64); 5] =
        [(5, 3.0, 0.0), (5, 1.0, 0.0), (5, 2.0, 9.0), (6, 8.0, 1.0), (6, 9.0, 1.0)];

    #[test]
    fn a_posterior_replaces_the_fit_and_a_prior_multiplies_it() {
        let fit = || RedshiftPosterior::of_nodes(vec![2.0, 7.0], vec![1.0, 1.0]);
        let posterior = read(&ROWS, Meaning::Posterior).unwrap();
        let joined = posterior.join(5, fit()).unwrap();
        assert!((joined.quantile(0.5) - 2.0).abs() < 1e-9);
        assert!(posterior.join(5, None).is_some(), "needs no fit");
        assert!(posterior.has(5) && !posterior.has(7));
        assert!(posterior.is_outside(6) && !posterior.is_outside(5) && !posterior.is_outside(7));
        assert!(posterior.join(6, fit()).is_none());
        assert_eq!(posterior.join(7, fit()), fit());

        let prior = read(&ROWS, Meaning::Prior).unwrap();
        // The falling half of the triangle: median at 3 - sqrt(1/2).
        let median = prior.join(5, fit()).unwrap().quantile(0.5);
        assert!((median - (3.0 - 0.5f64.sqrt())).abs() < 1e-9, "{median}");
        assert!(prior.join(5, None).is_none() && prior.join(7, fit()).is_some());
        let elsewhere = RedshiftPosterior::of_nodes(vec![4.0, 7.0], vec![1.0, 1.0]);
        assert!(prior.join(5, elsewhere).is_none(), "they exclude each other");
    }

    #[test]
    fn bad_tables_are_named() {
        for rows in [
            vec![(5, 1.0, 1.0)],
            vec![(5, 1.0, 1.0), (5, 1.0, 2.0)],
            vec![(5, 1.0, -1.0), (5, 2.0, 2.0)],
            vec![(5, 1.0, f64::NAN), (5, 2.0, 2.0)],
            vec![(5, 1.0, 0.0), (5, 2.0, 0.0)],
        ] {
            let error = read(&rows, Meaning::Prior).err().unwrap().to_string();
            assert!(error.contains("pz.parquet") && error.contains("galaxy 5"), "{error}");
        }
    }
}
