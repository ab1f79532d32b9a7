//! Milliseconds per pixel of 500 draws, from fluxes to every reported
//! parameter, on one thread, and where they go.
//!
//! `cargo run --release -p outshine-worker --example draw_speed -- MODEL_DIR [key=value ...]`
#![allow(missing_docs)]

use outshine_kernels::random::{Purpose, Stream};
use outshine_npe::{Object, Sampler, Scratch};
use outshine_schemas::campaign::Campaign;
use outshine_worker::stages::Science;
use outshine_worker::tools::read_model;
use std::path::Path;
use std::time::Instant;

const DRAWS: usize = 500;
const PIXELS: usize = 4096;
/// Pixels that the network sees together, as in the fit stage.
const TOGETHER: usize = 64;
const ROUNDS: usize = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().ok_or("give MODEL_DIR [key=value ...]")?;
    let settings: Vec<String> = args.collect();
    let text = "name = \"speed\"\n[field.mock]\n";
    let campaign = Campaign::parse(text, "speed", Path::new("."), &settings)?;
    let science = Science::new(&campaign)?;
    let started = Instant::now();
    let (model, _) = read_model(Path::new(&folder))?;
    let sampler = Sampler::new(&model);
    let load_ms = 1e3 * started.elapsed().as_secs_f64();

    let bands = campaign.bands.len();
    let mut stream = Stream::new(3, Purpose::MockPixel, 0, 0);
    let parameters: Vec<_> = (0..PIXELS).map(|_| science.prior.draw(&mut stream)).collect();
    let mut flux = vec![0.0; PIXELS * bands];
    let simulator = science.simulator()?;
    simulator.fluxes(&parameters, &mut simulator.scratch(), &mut flux)?;
    let (mut f, mut e) = (vec![0.0; bands * PIXELS], vec![0.0; bands * PIXELS]);
    for (i, noiseless) in flux.chunks_exact(bands).enumerate() {
        let own = i * bands..(i + 1) * bands;
        let conditions = science.coverage.draw(&science.noise, &mut stream);
        let (f, e) = (&mut f[own.clone()], &mut e[own]);
        science.noise.observe(noiseless, &conditions, &mut stream, f, e);
    }
    let d = science.free.len();
    let deriver = &science.deriver;
    let (mut scratch, mut free) = (Scratch::default(), vec![0.0f32; d * DRAWS]);
    let (mut words, mut noise) = (vec![0; deriver.noise_columns() * DRAWS], Vec::new());
    let mut derived = vec![0.0f32; deriver.names().len() * DRAWS];
    println!(
        "{} weights, loaded in {load_ms:.1} ms; {DRAWS} draws per pixel",
        model.weight_count()
    );
    println!("round  network  draws  derived  total, ms per pixel");
    for round in 1..=ROUNDS {
        let mut seconds = [0.0f64; 3];
        let mut check = 0.0f64;
        for first in (0..PIXELS).step_by(TOGETHER) {
            let started = Instant::now();
            let object = |i: usize| {
                let own = i * bands..(i + 1) * bands;
                Object { flux: &f[own.clone()], err: &e[own], redshift: parameters[i].redshift }
            };
            let objects: Vec<Object<'_>> = (first..first + TOGETHER).map(object).collect();
            let seen = sampler.see(&objects)?;
            seconds[0] += started.elapsed().as_secs_f64();
            for (i, object) in objects.iter().enumerate() {
                let started = Instant::now();
                let mut stream = Stream::new(1, Purpose::Draw, (first + i) as u64, 0);
                sampler.draw(&seen, i, &mut stream, DRAWS, &mut scratch, &mut free)?;
                let drawn = Instant::now();
                stream.fill(&mut words);
                noise.resize(words.len(), 0.0);
                outshine_kernels::wide::normals(&words, &mut noise);
                deriver.derive(&[object.redshift], &free, &noise, &mut derived);
                seconds[2] += drawn.elapsed().as_secs_f64();
                seconds[1] += (drawn - started).as_secs_f64();
                check += f64::from(derived[0]);
            }
        }
        let ms = seconds.map(|s| 1e3 * s / PIXELS as f64);
        let total: f64 = ms.iter().sum();
        assert!(check.is_finite(), "draws are numbers");
        println!("{round:5}  {:7.4}  {:5.4}  {:7.4}  {total:.4}", ms[0], ms[1], ms[2]);
    }
    Ok(())
}
