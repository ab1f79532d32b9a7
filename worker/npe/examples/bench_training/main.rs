//! Trains on the toy, then measures held-out log probability, calibration and
//! speed. Settings as JSON:
//! `cargo run --release -p outshine-npe --example bench_training -- '{"max_epochs": 20}' [simulations] [threads]`
#![allow(missing_docs)]

mod toy;

use outshine_kernels::random::{Purpose, Stream};
use outshine_npe::diagnostics::{Case, calibration_row};
use outshine_npe::{Examples, HELD_OUT, Object, Sampler, Scratch, TrainConfig, train_span};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Instant;

const DRAWS: usize = 500;
/// Pixels that the network sees at once.
const TOGETHER: usize = 50;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let config: TrainConfig = serde_json::from_str(&args.next().unwrap_or_else(|| "{}".into()))?;
    let simulations: usize = args.next().map_or(Ok(100_000), |a| a.parse())?;
    let threads: usize = args.next().map_or(Ok(2), |a| a.parse())?;
    let target = toy::target();
    let data = toy::Toy::new(7, simulations);

    let started = Instant::now();
    let mut last = Instant::now();
    let mut watch = |p: &outshine_npe::Progress| {
        if p.epoch <= 3 || p.epoch.is_multiple_of(10) || p.epoch == p.max_epochs {
            println!(
                "epoch {:4}  train {:8.4}  validation {:8.4}  best {:8.4}  {:.2} s/epoch  {:.0} s",
                p.epoch,
                p.train_loss,
                p.validation_loss,
                p.best_validation_loss,
                last.elapsed().as_secs_f64(),
                started.elapsed().as_secs_f64()
            );
        }
        last = Instant::now();
        ControlFlow::Continue(())
    };
    let epochs = config.max_epochs;
    let checkpoint = train_span(&config, &target, &data, None, epochs, threads, &mut watch)?;
    let seconds = started.elapsed().as_secs_f64();
    let seen =
        f64::from(checkpoint.epoch()) * simulations as f64 * (1.0 - config.validation_fraction);
    println!("{seconds:.1} s, {:.0} training samples/s on {threads} threads", seen / seconds);

    let model = checkpoint.model(BTreeMap::new());
    println!("{} weights, best epoch {}", model.weight_count(), checkpoint.best_epoch());
    report(&Sampler::new(&model))?;
    Ok(())
}

/// Calibration on simulations that training never saw, and seconds per pixel.
fn report(sampler: &Sampler) -> Result<(), Box<dyn std::error::Error>> {
    let tests = 2000;
    let held = toy::Toy::new(8, tests);
    let d = toy::PARAMETERS.len();
    let mut scratch = Scratch::default();
    let (mut flux, mut err) = (vec![0.0; toy::BANDS], vec![0.0; toy::BANDS]);
    let mut theta = vec![0.0; d];
    let mut draws = vec![0.0f32; DRAWS * d];
    let mut cases: Vec<Vec<Case>> = vec![Vec::new(); d];
    let (mut log_prob, mut seconds) = (0.0, 0.0);
    for first in (0..tests as u64).step_by(TOGETHER) {
        let mut pixels = Vec::new();
        for index in first..first + TOGETHER as u64 {
            let redshift = held.fill(index, HELD_OUT, &mut theta, &mut flux, &mut err);
            pixels.push((theta.clone(), flux.clone(), err.clone(), redshift));
        }
        let objects: Vec<Object<'_>> =
            pixels.iter().map(|p| Object { flux: &p.1, err: &p.2, redshift: p.3 }).collect();
        let started = Instant::now();
        let seen = sampler.see(&objects)?;
        seconds += started.elapsed().as_secs_f64();
        for (i, pixel) in pixels.iter().enumerate() {
            log_prob += sampler.log_prob(&objects[i], &pixel.0) / tests as f64;
            let started = Instant::now();
            let mut stream = Stream::new(9, Purpose::Draw, first + i as u64, 0);
            sampler.draw(&seen, i, &mut stream, DRAWS, &mut scratch, &mut draws)?;
            seconds += started.elapsed().as_secs_f64();
            for (k, column) in draws.chunks_exact(DRAWS).enumerate() {
                cases[k].push(Case::new(pixel.0[k], column, true, &mut stream));
            }
        }
    }
    println!("held-out log probability {log_prob:.4} nat over {tests} tests");
    println!("{:.3} ms per pixel of {DRAWS} draws on one core", 1e3 * seconds / tests as f64);
    for (name, cases) in toy::PARAMETERS.iter().zip(&cases) {
        let r = calibration_row(name, cases.iter().copied());
        println!(
            "{name:16} R2 {:.3}  coverage 50/68/90/95 {:.3} {:.3} {:.3} {:.3}  SBC KS {:.3}  pull {:+.3} {:.3}",
            r.r_squared,
            r.coverage_50,
            r.coverage_68,
            r.coverage_90,
            r.coverage_95,
            r.sbc_ks,
            r.pull_mean,
            r.pull_sd
        );
    }
    Ok(())
}
