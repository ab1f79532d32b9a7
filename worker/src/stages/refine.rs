//! Bright objects of known redshift: the exact posterior, from the estimator's
//! draws as guesses ([`exact::sample_near`]).
//!
//! Where the data are sharp, a network's posterior is wider than they allow.
//! Draws of the estimator show where the posterior is; importance sampling, or
//! sequential Monte Carlo, with the forward model itself finds its shape. What that
//! is worth, and what it takes, is measured by the example `refined`.

use super::draws::{Drawer, Draws, truth};
use super::typical::{WITHIN, population};
use super::{Science, StageError};
use outshine_kernels::random::Stream;
use outshine_kernels::scalar;
use outshine_sps::exact::{self, Settings};
use outshine_sps::{Basis, FixedRedshift, Observation, Parameters};
use std::sync::Arc;

/// Draws of the estimator that serve as guesses.
pub(crate) const GUESSES: usize = 64;
/// Fewest particles, with fewer of which intervals come out too narrow; and fewest
/// weighted points that count.
const FEWEST: usize = 1000;
const FEWEST_WEIGHTED: usize = 500;
/// What the tables of the forward model are uncertain by, as a fraction of the
/// flux: at half of it intervals of objects above S/N 1000 hold the truth too
/// rarely, at twice of it too often (the example `refined`).
pub(crate) const TABLE_ERROR: f64 = 2e-4;
/// Misfit beyond which guesses may have led particles astray, and the posterior is
/// sampled once more from the prior.
const ASTRAY: f64 = 4.0;

/// Makes draws exact; reuses its memory from object to object.
pub struct Refiner<'a> {
    science: &'a Science,
    basis: Arc<Basis>,
    /// The table of the latest redshift.
    at: Option<FixedRedshift>,
    /// Coordinates of a guess and, last, its redshift.
    point: Vec<f64>,
}

/// Exact draws of an object.
pub struct Refined {
    /// The draws.
    pub draws: Draws,
    /// How badly the model fits, as a standard normal deviate: chi^2 at its
    /// smallest against the bands that no parameter takes up.
    pub misfit: f64,
}

impl Refined {
    /// Whether it fits worse than nearly all objects that the model describes.
    #[must_use]
    pub fn is_odd(&self) -> bool {
        self.misfit > scalar::normal_quantile(WITHIN)
    }
}

impl<'a> Refiner<'a> {
    /// Ready to refine what `science` describes.
    ///
    /// # Errors
    /// [`StageError::Campaign`] when the prior leaves what can be tabulated.
    pub fn new(science: &'a Science) -> Result<Self, StageError> {
        let point = vec![0.0; science.free.len() + 1];
        Ok(Self { science, basis: science.basis()?, at: None, point })
    }

    /// `n` draws of the exact posterior of an object, near the latest draws of
    /// `drawer`, which are at its one redshift.
    ///
    /// `flux`, `err`: nJy, one per band of the campaign; error 0: not observed.
    ///
    /// # Errors
    /// [`StageError`] of the forward model.
    pub fn refine(
        &mut self,
        drawer: &Drawer<'_>,
        flux: &[f32],
        err: &[f32],
        n: usize,
        stream: &mut Stream,
    ) -> Result<Refined, StageError> {
        let guesses = self.guesses(drawer, stream);
        let (populations, misfit) = self.populations(&guesses, flux, err, n, stream)?;
        let at = self.at.take().expect("the table of the populations");
        let draws = self.report(&at, &populations, n, stream)?;
        self.at = Some(at);
        Ok(Refined { draws, misfit })
    }

    /// Populations of the exact posterior of an object, `n` at least, near
    /// `guesses`, which are at its one redshift; and how badly the model fits
    /// ([`Refined::misfit`]).
    ///
    /// # Errors
    /// [`StageError`] of the forward model.
    pub fn populations(
        &mut self,
        guesses: &[Parameters],
        flux: &[f32],
        err: &[f32],
        n: usize,
        stream: &mut Stream,
    ) -> Result<(Vec<Parameters>, f64), StageError> {
        let redshift = guesses[0].redshift;
        let at = match self.at.take_if(|at| at.redshift() == redshift) {
            Some(at) => at,
            None => FixedRedshift::new(self.basis.clone(), redshift)?,
        };
        let wide = |values: &[f32]| values.iter().map(|v| f64::from(*v)).collect::<Vec<f64>>();
        let (flux_njy, mut err_njy) = (wide(flux), wide(err));
        for (err, flux) in err_njy.iter_mut().zip(&flux_njy).filter(|(err, _)| **err > 0.0) {
            *err = err.hypot(TABLE_ERROR * flux);
        }
        let observed = Observation { flux_njy: &flux_njy, err_njy: &err_njy };
        let prior = &self.science.prior;
        let weighted = exact::is_weighted(prior);
        let fewest = if weighted { FEWEST_WEIGHTED } else { FEWEST };
        let settings = Settings { particles: n.max(fewest), ..Settings::default() };
        let mut found = exact::sample_near(&at, prior, observed, guesses, &settings, stream)?;
        let mut misfit = misfit(&found.log_likelihood, &err_njy, self.science.free.len());
        if misfit > ASTRAY && !weighted {
            let again = exact::sample(&at, prior, observed, &settings, stream)?;
            // The evidence, not the fit, decides: both sample the same posterior.
            if again.run.log_evidence > found.run.log_evidence {
                found = again;
                misfit = self::misfit(&found.log_likelihood, &err_njy, self.science.free.len());
            }
        }
        self.at = Some(at);
        Ok((found.parameters, misfit))
    }

    /// Populations at some of the latest draws of the estimator.
    fn guesses(&mut self, drawer: &Drawer<'_>, stream: &mut Stream) -> Vec<Parameters> {
        let (low, high) = self.science.prior.log_ssfr;
        let guess = |k| {
            drawer.point(k, GUESSES, &mut self.point);
            // The coordinates do not hold the rate of the last 10 Myr.
            let log_ssfr = stream.uniform_in(low, high);
            population(self.science, &mut self.point, |_| log_ssfr)
        };
        (0..GUESSES).map(guess).collect()
    }

    /// What is reported of `n` of the populations, spread evenly over them.
    fn report(
        &self,
        at: &FixedRedshift,
        populations: &[Parameters],
        n: usize,
        stream: &mut Stream,
    ) -> Result<Draws, StageError> {
        let science = self.science;
        let mut values = vec![0.0; science.reported.len() * n];
        let mut free = vec![0.0; science.free.len()];
        let mut scratch = at.scratch();
        let mut fluxes = vec![0.0; science.target.features.bands().len()];
        for k in 0..n {
            let p = &populations[k * populations.len() / n];
            let derived = at.photometry(p, &mut scratch, &mut fluxes)?;
            science.prior.to_free(p, stream.uniform(), &mut free)?;
            for (i, value) in truth(science, &free, p, &derived).into_iter().enumerate() {
                values[i * n + k] = value as f32;
            }
        }
        Draws::new(science.reported, values, &[at.redshift()])
    }
}

/// How badly a model fits whose draws have these log likelihoods.
///
/// About its best fit chi^2 of a draw is that of the best fit plus a chi^2 of
/// as many degrees as the data determine parameters, d: their variance is 2 d,
/// and chi^2 at its smallest the mean less d, with as many degrees of freedom
/// as there are bands less d. Its deviate is that of Wilson & Hilferty (1931).
fn misfit(log_likelihood: &[f64], err_njy: &[f64], free: usize) -> f64 {
    let mut norm = 0.0;
    let mut bands = 0.0;
    for &err in err_njy.iter().filter(|e| **e > 0.0) {
        norm += scalar::ln(err * std::f64::consts::TAU.sqrt());
        bands += 1.0;
    }
    let n = log_likelihood.len() as f64;
    let chi2 = |l: &f64| -2.0 * (l + norm);
    let mean = log_likelihood.iter().map(chi2).sum::<f64>() / n;
    let variance = log_likelihood.iter().map(|l| (chi2(l) - mean).powi(2)).sum::<f64>() / n;
    let determined = (0.5 * variance).min(free as f64).min(bands);
    let spare = bands - determined;
    if spare < 1.0 {
        return 0.0;
    }
    let least = (mean - determined).max(0.0);
    let scatter = 2.0 / (9.0 * spare);
    ((least / spare).cbrt() - (1.0 - scatter)) / scatter.sqrt()
}

#[cfg(all(test, feature = "bc03"))]
mod tests {
    use super::*;
    use crate::stages::Simulated;
    use crate::stages::calibrate::mean_snr;
    use crate::stages::tests::{job, trained};
    use outshine_kernels::quantile;
    use outshine_kernels::random::Purpose;
    use outshine_npe::{Object, Sampler};
    use outshine_schemas::task::{Shard, Stage};

    const CAMPAIGN: &str = "name = \"c\"\nestimator = \"train\"\nbands = [\"f435w\", \"f115w\", \
        \"f200w\", \"f277w\", \"f356w\", \"f444w\"]\n[field.mock]\n[simulate]\ncount = 6000\n\
        [train]\nblocks = 2\nhidden = 48\nmax_epochs = 20\n";

    const N: usize = 500;

    /// An object, and what becomes of it.
    struct Case {
        /// Per parameter: network, refined, exact.
        columns: Vec<[Vec<f64>; 3]>,
        misfit: f64,
    }

    fn object(science: &Science, k: u64) -> Simulated {
        let mut workspace = science.forward.workspace();
        (0..1000)
            .map(|i| {
                let mut stream = Stream::new(8, Purpose::Calibration, k, i);
                Simulated::in_full(science, &mut workspace, &mut stream).unwrap()
            })
            .find(|one| {
                let all = one.err.iter().all(|e| *e > 0.0);
                all && (50.0..300.0).contains(&mean_snr(&one.flux, &one.err, &[3, 4, 5]))
            })
            .expect("one in a thousand is bright")
    }

    fn case(science: &Science, sampler: &Sampler, k: u64, off: f32) -> Case {
        let Simulated { parameters, mut flux, err, .. } = object(science, k);
        flux[2] += off * err[2];
        let mut stream = Stream::new(8, Purpose::Draw, k, 0);
        let mut drawer = Drawer::new(science, sampler);
        let object = Object { flux: &flux, err: &err, redshift: parameters.redshift };
        let own = drawer.draw_one(&object, N, &mut stream).unwrap();
        let mut refiner = Refiner::new(science).unwrap();
        let refined = refiner.refine(&drawer, &flux, &err, N, &mut stream).unwrap();

        let wide = |values: &[f32]| values.iter().map(|v| f64::from(*v)).collect::<Vec<f64>>();
        let (flux_njy, err_njy) = (wide(&flux), wide(&err));
        let observed = Observation { flux_njy: &flux_njy, err_njy: &err_njy };
        let at = FixedRedshift::new(science.basis().unwrap(), parameters.redshift).unwrap();
        let settings = Settings { particles: 1000, ..Settings::default() };
        let exact = exact::sample(&at, &science.prior, observed, &settings, &mut stream).unwrap();
        let exact = refiner.report(&at, &exact.parameters, 1000, &mut stream).unwrap();
        let columns = own.columns().zip(refined.draws.columns()).zip(exact.columns());
        let columns = columns.map(|((a, b), c)| [wide(a), wide(b), wide(c)]).collect();
        Case { columns, misfit: refined.misfit }
    }

    /// Median and half the central 68 % interval.
    fn interval(values: &[f64]) -> (f64, f64) {
        let mut values = values.to_vec();
        quantile::sort(&mut values);
        let at = |p| quantile::of_sorted(&values, p);
        (at(0.5), 0.5 * (at(0.84) - at(0.16)))
    }

    /// A network of seconds of training is several times too wide; refined it is
    /// what sampling from the prior gives. Medians of 500 and 1,000 draws
    /// scatter by 0.08 widths about each other, of tempered particles with
    /// several modes by twice that: the mean over objects and parameters is
    /// held to 0.25, widths on average to 10 %.
    #[tokio::test(flavor = "multi_thread")]
    async fn refined_draws_are_the_exact_posterior() {
        for family in ["tau", "dirichlet"] {
            let text = format!("{CAMPAIGN}[prior]\nsfh = \"{family}\"\n");
            let job = job(&text, Stage::Simulate, Shard { start: 0, end: 6000 }).await;
            let sampler = trained(&job, 20);
            let (mut shifts, mut widths, mut network) = (Vec::new(), Vec::new(), Vec::new());
            for k in 0..6 {
                let case = case(&job.science, &sampler, k, 0.0);
                assert!(case.misfit < 3.5, "object {k}: {}", case.misfit);
                for columns in &case.columns {
                    let [own, refined, exact] = columns.each_ref().map(|c| interval(c));
                    shifts.push(((refined.0 - exact.0) / exact.1).abs());
                    widths.push((refined.1 / exact.1).ln());
                    network.push((own.1 / exact.1).ln());
                }
            }
            let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
            let (shift, width) = (mean(&shifts), mean(&widths).exp());
            println!("{family}: shift {shift:.3}, width {width:.3}, {:.2}", mean(&network).exp());
            assert!(shift < 0.25, "{family}: {shift}");
            assert!((width - 1.0).abs() < 0.1, "{family}: {width}");
            assert!(mean(&network).exp() > 1.3, "the network needs no refining");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_wrong_band_is_found() {
        let job = job(CAMPAIGN, Stage::Simulate, Shard { start: 0, end: 6000 }).await;
        let sampler = trained(&job, 10);
        let misfits: Vec<f64> =
            (0..5).map(|k| case(&job.science, &sampler, k, 30.0).misfit).collect();
        // Six bands and five parameters: one band off by much may be fitted all the same.
        let found = misfits.iter().filter(|m| **m > 2.457).count();
        assert!(found >= 3, "{misfits:?}");
    }

    /// chi^2 of a best fit with 10 spare degrees, and draws about it that
    /// determine 4 parameters: the deviate of chi^2 at its smallest.
    #[test]
    fn the_misfit_is_that_of_the_best_fit() {
        let err = [2.0; 14];
        let norm = 14.0 * (2.0 * std::f64::consts::TAU.sqrt()).ln();
        let mut stream = Stream::new(1, Purpose::Draw, 0, 0);
        for (least, deviate) in [(9.342, 0.0), (18.307, 1.645), (23.209, 2.326), (3.940, -1.645)] {
            let draws: Vec<f64> = (0..20_000)
                .map(|_| {
                    let extra: f64 = (0..4).map(|_| stream.normal().powi(2)).sum();
                    -0.5 * (least + extra) - norm
                })
                .collect();
            // 95 and 99 % points of chi^2 of 10 degrees; Wilson & Hilferty is
            // good to 0.02, the variance of 20,000 draws to 2 %.
            assert!((misfit(&draws, &err, 5) - deviate).abs() < 0.05, "{least}");
        }
    }
}
