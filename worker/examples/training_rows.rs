//! Rows of the distribution that a campaign's estimator is trained on, for
//! estimators trained elsewhere, and the score of one of ours on them.
//!
//! `cargo run --release -p outshine-worker --example training_rows -- CAMPAIGN.toml OUT.f32 COUNT SEED [MODEL_DIR|-] [key=value ...]`
//!
//! A row is float32: the features, the free coordinates as fractions of their
//! box, the redshift. With a model folder, prints its mean ln p of the rows'
//! parameters given fluxes and redshift, per unit of the box: nats gained over
//! knowing the box alone.
#![allow(missing_docs)]

use outshine_kernels::random::{Purpose, Stream};
use outshine_npe::{Object, Sampler};
use outshine_schemas::campaign::Campaign;
use outshine_worker::stages::Science;
use outshine_worker::tools::read_model;
use std::io::Write;
use std::path::Path;

/// Rows made at a time, by each of two threads.
const CHUNK: usize = 20_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, campaign, out, count, seed, rest @ ..] = args.as_slice() else {
        return Err("give CAMPAIGN.toml OUT.f32 COUNT SEED [MODEL_DIR|-] [key=value ...]".into());
    };
    let (count, seed): (usize, u64) = (count.parse()?, seed.parse()?);
    let (model, settings) = rest.split_first().map_or((None, rest), |(m, rest)| (Some(m), rest));
    let sampler = match model.filter(|m| *m != "-") {
        Some(folder) => {
            let (model, _) = read_model(Path::new(folder))?;
            Some(Sampler::new(&model))
        }
        None => None,
    };
    let campaign = Campaign::load(Path::new(campaign), settings)?;
    let science = Science::new(&campaign)?;
    science.simulator()?;
    let mut file = std::io::BufWriter::new(std::fs::File::create(out)?);
    let (mut gained, mut square) = (0.0, 0.0);
    let starts: Vec<usize> = (0..count).step_by(CHUNK).collect();
    for pair in starts.chunks(2) {
        let made: Vec<_> = std::thread::scope(|scope| {
            let start = |&from: &usize| {
                let (science, sampler) = (&science, sampler.as_ref());
                scope.spawn(move || rows(science, sampler, seed, from, CHUNK.min(count - from)))
            };
            let handles: Vec<_> = pair.iter().map(start).collect();
            handles.into_iter().map(|h| h.join().expect("no thread panicked")).collect()
        });
        for (rows, own) in made {
            let bytes: Vec<u8> = rows.iter().flat_map(|x| x.to_le_bytes()).collect();
            file.write_all(&bytes)?;
            gained += own.iter().sum::<f64>();
            square += own.iter().map(|g| g * g).sum::<f64>();
        }
    }
    let width = science.target.features.len() + science.free.len() + 1;
    println!("{count} rows of {width} values");
    if sampler.is_some() {
        let n = count as f64;
        let mean = gained / n;
        let error = ((square / n - mean * mean) / n).sqrt();
        println!("mean ln p {mean:.4} +- {error:.4} nat over the box");
    }
    Ok(())
}

/// Rows from..from + n, and the nats that the model gains on each.
fn rows(
    science: &Science,
    sampler: Option<&Sampler>,
    seed: u64,
    from: usize,
    n: usize,
) -> (Vec<f32>, Vec<f64>) {
    let bands = science.target.features.bands().len();
    let name = |i: usize, purpose| Stream::new(seed, purpose, (from + i) as u64, 0);
    let parameters: Vec<_> =
        (0..n).map(|i| science.prior.draw(&mut name(i, Purpose::Simulation))).collect();
    let simulator = science.simulator().expect("made before");
    let mut flux = vec![0.0; n * bands];
    simulator.fluxes(&parameters, &mut simulator.scratch(), &mut flux).expect("inside the prior");
    let box_volume: f64 = {
        let c = &science.target.coordinates;
        c.low().iter().zip(c.high()).map(|(low, high)| (high - low).ln()).sum()
    };
    let (mut rows, mut gained) = (Vec::new(), Vec::new());
    let (mut f, mut e) = (vec![0.0; bands], vec![0.0; bands]);
    let mut raw = vec![0.0; science.target.features.len()];
    let mut free = vec![0.0; science.free.len()];
    for (p, noiseless) in parameters.iter().zip(flux.chunks_exact(bands)) {
        let mut stream = name(rows.len() / (raw.len() + free.len() + 1), Purpose::Observation);
        let conditions = science.coverage.draw(&science.noise, &mut stream);
        science.noise.observe(noiseless, &conditions, &mut stream, &mut f, &mut e);
        science.target.features.features(&f, &e, p.redshift, &mut raw);
        science.prior.to_free(p, stream.uniform(), &mut free).expect("of the prior's family");
        rows.extend_from_slice(&raw);
        let c = &science.target.coordinates;
        let fraction = |i: usize| (free[i] - c.low()[i]) / (c.high()[i] - c.low()[i]);
        rows.extend((0..free.len()).map(|i| fraction(i) as f32));
        rows.push(p.redshift as f32);
        if let Some(sampler) = sampler {
            let object = Object { flux: &f, err: &e, redshift: p.redshift };
            gained.push(sampler.log_prob(&object, &free) + box_volume);
        }
    }
    (rows, gained)
}
