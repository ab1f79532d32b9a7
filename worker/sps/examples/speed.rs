//! Speed of the forward model, with its answers checked.
//!
//! ```text
//! cargo run --release -p outshine-sps --example speed [-- --rounds N]
//! ```
//!
//! One simulation is a draw from the prior, noiseless fluxes in 19 bands with
//! all that derives from the parameters, a draw of depth and missing bands,
//! and noise. Rates are per core: one thread but where it says two. Kinds are
//! timed in turn, round by round; the figure is the median round. Fluxes are
//! compared with those of the full-resolution model in the same run, and the
//! program fails where more than 1 in 1,000 is off by more than 0.005 mag.

use outshine_kernels::random::{Purpose, Stream};
use outshine_kernels::wide;
use outshine_sps::{
    Basis, Components, Conditions, Coverage, Derived, FilterSet, FixedRedshift, ForwardModel,
    ModelOptions, NoiseModel, Observation, Parameters, Prior, RedshiftGrid, SfhFamily, SspLibrary,
};
use std::sync::Arc;
use std::time::Instant;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Simulations per timing, as many as a task of a campaign holds.
const BATCH: usize = 10_000;
/// Of them also computed at full resolution.
const FULL: usize = 2_000;

const FAMILIES: [(&str, SfhFamily); 4] = [
    ("tau", SfhFamily::Tau),
    ("dirichlet", SfhFamily::Dirichlet),
    ("double_power_law", SfhFamily::DoublePowerLaw),
    ("continuity", SfhFamily::Continuity),
];

/// A model with its tables, noise and coverage, for some bands.
struct Setup {
    model: Arc<ForwardModel>,
    grid: RedshiftGrid,
    noise: NoiseModel,
    coverage: Coverage,
}

impl Setup {
    fn new(bands: &[&str]) -> Result<Self> {
        let library = Arc::new(SspLibrary::embedded()?);
        let filters = FilterSet::embedded(bands)?;
        let model = Arc::new(ForwardModel::new(library, filters, ModelOptions::default())?);
        let prior = Prior::default();
        let basis = Basis::new(model.clone(), Components::Full, prior.a_v.1)?;
        let grid = RedshiftGrid::new(basis, prior.redshift_range())?;
        let noise = NoiseModel::embedded()?.for_bands(bands)?;
        let own = Self { model, grid, noise, coverage: Coverage::default() };
        // Tables are worked out when they are first needed: all of them before anything is timed.
        own.simulate(&prior, u64::MAX)?;
        Ok(own)
    }

    /// One timing of `BATCH` simulations; the seconds and a checksum.
    fn simulate(&self, prior: &Prior, seed: u64) -> Result<(f64, f64)> {
        let bands = self.model.bands().len();
        let mut scratch = self.grid.scratch();
        let mut flux = vec![0.0; BATCH * bands];
        let mut derived = vec![nothing(); BATCH];
        let (mut observed, mut err) = (vec![0f32; bands], vec![0f32; bands]);
        let start = Instant::now();
        let parameters = draws(prior, seed, BATCH);
        self.grid.batch(&parameters, &mut scratch, &mut flux, &mut derived)?;
        let mut sum = 0.0;
        for (i, flux) in flux.chunks_exact(bands).enumerate() {
            let mut stream = Stream::new(seed, Purpose::Observation, i as u64, 0);
            let conditions: Conditions = self.coverage.draw(&self.noise, &mut stream);
            self.noise.observe(flux, &conditions, &mut stream, &mut observed, &mut err);
            sum += f64::from(observed[0]) + derived[i].log_mass_stellar;
        }
        Ok((start.elapsed().as_secs_f64(), sum))
    }
}

fn nothing() -> Derived {
    Derived {
        log_mass_stellar: f64::NAN,
        log_sfr_100: f64::NAN,
        mass_weighted_age_gyr: f64::NAN,
        sfr_floored: false,
    }
}

fn draws(prior: &Prior, seed: u64, n: usize) -> Vec<Parameters> {
    (0..n as u64).map(|i| prior.draw(&mut Stream::new(seed, Purpose::Simulation, i, 0))).collect()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let rounds = match arguments.as_slice() {
        [] => 7,
        [flag, n] if flag == "--rounds" => n.parse()?,
        _ => return Err("use: speed [--rounds N]".into()),
    };
    let start = Instant::now();
    let setup = Setup::new(FilterSet::jades_names())?;
    println!("library, model and tables: {:.2} s", start.elapsed().as_secs_f64());

    for (name, family) in FAMILIES {
        simulations(&setup, name, family, rounds)?;
    }
    parts(&setup, rounds)?;
    two_cores(&setup, rounds)?;
    likelihood(&setup, rounds)?;
    bands(rounds)?;
    roofline(&setup, rounds)
}

/// Rate of simulations, of the full-resolution model, and the difference of fluxes.
fn simulations(setup: &Setup, name: &str, family: SfhFamily, rounds: usize) -> Result<()> {
    let prior = Prior { sfh: family, ..Prior::default() };
    let bands = setup.model.bands().len();
    let (mut fast, mut full) = (Vec::new(), Vec::new());
    let mut differences = Vec::new();
    let mut workspace = setup.model.workspace();
    let mut scratch = setup.grid.scratch();
    let (mut exact, mut got) = (vec![0.0; bands], vec![0.0; bands]);
    for round in 0..rounds as u64 {
        fast.push(BATCH as f64 / setup.simulate(&prior, round)?.0);
        let parameters = draws(&prior, round, FULL);
        let mut seconds = 0.0;
        for p in &parameters {
            let start = Instant::now();
            setup.model.photometry(p, Components::Full, &mut workspace, &mut exact)?;
            seconds += start.elapsed().as_secs_f64();
            setup.grid.photometry(p, &mut scratch, &mut got)?;
            let brightest = exact.iter().copied().fold(0.0, f64::max);
            for (exact, got) in exact.iter().zip(&got).filter(|(e, _)| **e > 1e-3 * brightest) {
                differences.push((-2.5 * (got / exact).log10()).abs());
            }
        }
        full.push(FULL as f64 / seconds);
    }
    let (fast, full) = (median(&mut fast), median(&mut full));
    let n = differences.len();
    let middle = median(&mut differences);
    let quantile = |q: f64| differences[((n - 1) as f64 * q) as usize];
    let beyond = differences.iter().filter(|d| **d > 0.005).count() as f64 / n as f64;
    println!(
        "RATE {name} {fast:.0} simulations/s/core; full resolution (fluxes alone) {full:.0}; \
         |dmag| median {middle:.1e}, 99 % {:.1e}, 99.9 % {:.1e}, worst {:.1e}, {:.3} % beyond 0.005",
        quantile(0.99),
        quantile(0.999),
        quantile(1.0),
        100.0 * beyond
    );
    if beyond > 1e-3 {
        return Err(format!("{name}: {beyond} of the fluxes are off by more than 0.005 mag").into());
    }
    Ok(())
}

/// Where the time of a simulation goes, in microseconds.
fn parts(setup: &Setup, rounds: usize) -> Result<()> {
    let prior = Prior::default();
    let bands = setup.model.bands().len();
    let mut scratch = setup.grid.scratch();
    let mut flux = vec![0.0; BATCH * bands];
    let (mut observed, mut err) = (vec![0f32; bands], vec![0f32; bands]);
    let mut times: [Vec<f64>; 4] = Default::default();
    let mut sum = 0.0;
    for round in 0..rounds as u64 {
        let mut last = Instant::now();
        let mut lap = |times: &mut Vec<f64>| {
            times.push(last.elapsed().as_secs_f64() / BATCH as f64 * 1e6);
            last = Instant::now();
        };
        let parameters = draws(&prior, round, BATCH);
        lap(&mut times[0]);
        setup.grid.fluxes(&parameters, &mut scratch, &mut flux)?;
        lap(&mut times[1]);
        sum += parameters.iter().map(|p| setup.model.derive(p).log_mass_stellar).sum::<f64>();
        lap(&mut times[2]);
        for (i, flux) in flux.chunks_exact(bands).enumerate() {
            let mut stream = Stream::new(round, Purpose::Observation, i as u64, 0);
            let conditions = setup.coverage.draw(&setup.noise, &mut stream);
            setup.noise.observe(flux, &conditions, &mut stream, &mut observed, &mut err);
            sum += f64::from(observed[0]);
        }
        lap(&mut times[3]);
    }
    let [draw, fluxes, derive, noise] = times.each_mut().map(|t| median(t));
    println!(
        "PARTS us per simulation: draw {draw:.2}, fluxes {fluxes:.2}, derived {derive:.2} (alone), \
         depth, missing bands and noise {noise:.2} (checksum {:.6})",
        sum / (rounds * BATCH) as f64
    );
    Ok(())
}

fn two_cores(setup: &Setup, rounds: usize) -> Result<()> {
    let prior = Prior::default();
    let mut ratios = Vec::new();
    for round in 0..rounds as u64 {
        let alone = setup.simulate(&prior, round)?.0;
        let start = Instant::now();
        std::thread::scope(|scope| {
            let prior = &prior;
            let work =
                |seed| move || setup.simulate(prior, seed).map(|_| ()).map_err(|e| e.to_string());
            let both = [scope.spawn(work(round)), scope.spawn(work(round + 1000))];
            both.into_iter().try_for_each(|h| h.join().expect("no thread panicked"))
        })?;
        ratios.push(2.0 * alone / start.elapsed().as_secs_f64());
    }
    println!("SCALING two threads do {:.2} times the work of one", median(&mut ratios));
    Ok(())
}

fn likelihood(setup: &Setup, rounds: usize) -> Result<()> {
    let prior = Prior::default();
    let basis = Arc::new(Basis::new(setup.model.clone(), Components::Full, prior.a_v.1)?);
    let start = Instant::now();
    let fixed = FixedRedshift::new(basis, 2.5)?;
    let table = start.elapsed().as_secs_f64();
    let bands = setup.model.bands().len();
    let parameters: Vec<Parameters> = (0..BATCH as u64)
        .map(|i| prior.draw_at(2.5, &mut Stream::new(5, Purpose::Simulation, i, 0)))
        .collect();
    let mut truth = vec![0.0; bands];
    let mut scratch = fixed.scratch();
    fixed.photometry(&parameters[0], &mut scratch, &mut truth)?;
    let err: Vec<f64> = truth.iter().map(|f| 0.1 * f + 1e-6).collect();
    let observed = Observation { flux_njy: &truth, err_njy: &err };
    let (mut rates, mut log_l) = (Vec::new(), vec![0.0; BATCH]);
    for _ in 0..rounds {
        let start = Instant::now();
        fixed.log_likelihood(observed, &parameters, &mut scratch, &mut log_l, None)?;
        rates.push(BATCH as f64 / start.elapsed().as_secs_f64());
    }
    let best = (0..BATCH).max_by(|&a, &b| log_l[a].total_cmp(&log_l[b])).unwrap_or(0);
    if best != 0 {
        return Err("the likelihood does not peak at the truth".into());
    }
    println!(
        "LIKELIHOOD {:.0} evaluations/s/core at a fixed redshift; its table takes {:.1} ms",
        median(&mut rates),
        1e3 * table
    );
    Ok(())
}

fn bands(rounds: usize) -> Result<()> {
    for count in [5, 10, 19] {
        let setup = Setup::new(&FilterSet::jades_names()[..count])?;
        let prior = Prior::default();
        let mut rates = Vec::new();
        for round in 0..rounds as u64 {
            rates.push(BATCH as f64 / setup.simulate(&prior, round)?.0);
        }
        println!("BANDS {count}: {:.0} simulations/s/core", median(&mut rates));
    }
    Ok(())
}

/// The products that a simulation cannot do without, at the speed that this
/// core reaches on numbers already next to it.
fn roofline(setup: &Setup, rounds: usize) -> Result<()> {
    let products = setup.grid.products_per_simulation();
    let (rows, stride) = (64, 64);
    let (matrix, weights) = (vec![1.0f32; rows * stride], vec![0.5f32; rows]);
    let mut rates = Vec::new();
    let mut out = vec![0.0f32; stride];
    for _ in 0..rounds {
        let start = Instant::now();
        let repeats = 20_000;
        for _ in 0..repeats {
            wide::weighted_sum(std::hint::black_box(&weights), &matrix, stride, &mut out);
        }
        rates.push((repeats * rows * stride) as f64 / start.elapsed().as_secs_f64());
    }
    let rate = median(&mut rates);
    println!(
        "ROOFLINE {products} products per simulation at {:.1e}/s/core: {:.2} us (checksum {})",
        rate,
        1e6 * products as f64 / rate,
        out[0].is_finite()
    );
    Ok(())
}
