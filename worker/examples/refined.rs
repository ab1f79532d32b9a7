//! Objects as those of the training, of S/N above a limit, by an estimator
//! and refined: coverage of their intervals, the width of one over the other,
//! what counts as odd, and the time an object takes.
//!
//! `cargo run --release -p outshine-worker --example refined -- CAMPAIGN.toml MODEL_DIR [OBJECTS] [OFF] [key=value ...]`
//!
//! OFF: errors by which one band of each object is off (0).
#![allow(missing_docs)]

use outshine_kernels::quantile;
use outshine_kernels::random::{Purpose, Stream};
use outshine_npe::{Object, Sampler, signal_to_noise};
use outshine_schemas::campaign::Campaign;
use outshine_worker::stages::{Drawer, Draws, Refiner, Science, StageError, truth};
use outshine_worker::tools::read_model;
use std::path::Path;
use std::time::Instant;

const DRAWS: usize = 500;
/// Edges of the bins of S/N: the root mean square over all bands.
const EDGES: [f64; 6] = [10.0, 20.0, 60.0, 200.0, 1000.0, f64::INFINITY];
/// Central intervals.
const INTERVALS: [f64; 3] = [0.5, 0.68, 0.95];

/// One object.
struct Case {
    bin: usize,
    integrated: bool,
    /// Per parameter: rank of the truth among draws, by the estimator and refined.
    ranks: Vec<[f64; 2]>,
    /// Per parameter: half-widths of the 68 % intervals.
    widths: Vec<[f64; 2]>,
    odd: bool,
    seconds: [f64; 2],
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(campaign), Some(folder)) = (args.next(), args.next()) else {
        return Err("give CAMPAIGN.toml MODEL_DIR [OBJECTS] [OFF] [key=value ...]".into());
    };
    let objects: usize = args.next().map_or(Ok(400), |n| n.parse())?;
    let off: f32 = args.next().map_or(Ok(0.0), |n| n.parse())?;
    let settings: Vec<String> = args.collect();
    let campaign = Campaign::load(Path::new(&campaign), &settings)?;
    let science = Science::new(&campaign)?;
    let (model, _) = read_model(Path::new(&folder))?;
    let sampler = Sampler::new(&model);
    science.basis()?;
    let cases = std::thread::scope(|scope| {
        let of = |half: usize| {
            let (science, sampler) = (&science, &sampler);
            scope.spawn(move || {
                let mut drawer = Drawer::new(science, sampler);
                let mut refiner = Refiner::new(science)?;
                (half..objects)
                    .step_by(2)
                    .map(|k| case(science, &mut drawer, &mut refiner, k, off))
                    .collect::<Result<Vec<Case>, StageError>>()
            })
        };
        let halves: Vec<_> = [0, 1].map(of).into_iter().collect();
        halves.into_iter().map(|h| h.join().expect("no thread panicked")).collect::<Vec<_>>()
    });
    let mut all = Vec::new();
    for half in cases {
        all.extend(half?);
    }
    for integrated in [false, true] {
        for bin in 0..EDGES.len() - 1 {
            let of = all.iter().filter(|c| c.bin == bin && c.integrated == integrated);
            show(&science, bin, integrated, &of.collect::<Vec<_>>());
        }
        let of = all.iter().filter(|c| c.integrated == integrated).collect::<Vec<_>>();
        println!("all of them: worst deviation {}", worst(&science, &of));
    }
    Ok(())
}

/// Largest deviation of a coverage, by the estimator and refined.
fn worst(science: &Science, cases: &[&Case]) -> String {
    let mut most = [0.0f64; 2];
    for p in 0..science.reported.len() {
        for (way, most) in most.iter_mut().enumerate() {
            for level in INTERVALS {
                *most = most.max((coverage(cases, p, way, level) - level).abs());
            }
        }
    }
    format!("{:.3}, refined {:.3} ({} objects)", most[0], most[1], cases.len())
}

fn coverage(cases: &[&Case], parameter: usize, way: usize, level: f64) -> f64 {
    let inside = |c: &&&Case| (c.ranks[parameter][way] - 0.5).abs() < 0.5 * level;
    cases.iter().filter(inside).count() as f64 / cases.len() as f64
}

fn show(science: &Science, bin: usize, integrated: bool, cases: &[&Case]) {
    let n = cases.len();
    if n == 0 {
        return;
    }
    let kind = if integrated { "integrated" } else { "pixels" };
    let mean = |of: &dyn Fn(&Case) -> f64| cases.iter().map(|c| of(c)).sum::<f64>() / n as f64;
    println!(
        "\nS/N {} to {}, {kind}: {n} objects; ms an object {:.2}, refined {:.1}; odd {:.3}; \
         worst {}",
        EDGES[bin],
        EDGES[bin + 1],
        1e3 * mean(&|c| c.seconds[0]),
        1e3 * mean(&|c| c.seconds[1]),
        mean(&|c| f64::from(u8::from(c.odd))),
        worst(science, cases),
    );
    println!("{:24} {:>23} {:>23}  width", "parameter", "coverage 50 68 95", "refined");
    for (p, name) in science.reported.iter().enumerate() {
        let mut words = format!("{name:24}");
        for way in 0..2 {
            words += "  ";
            for level in INTERVALS {
                words += &format!(" {:6.3}", coverage(cases, p, way, level));
            }
        }
        let ratio = mean(&|c| (c.widths[p][1] / c.widths[p][0]).ln()).exp();
        println!("{words}  {ratio:.2}");
    }
}

/// Object `k`: the first of its series that is bright enough.
fn case(
    science: &Science,
    drawer: &mut Drawer<'_>,
    refiner: &mut Refiner<'_>,
    k: usize,
    off: f32,
) -> Result<Case, StageError> {
    let bands = science.target.features.bands().len();
    let mut workspace = science.forward.workspace();
    for attempt in 0..10_000 {
        let mut stream = Stream::new(11, Purpose::Calibration, k as u64, attempt);
        let one =
            outshine_worker::stages::Simulated::in_full(science, &mut workspace, &mut stream)?;
        let (mut flux, err) = (one.flux, one.err);
        let observed: Vec<usize> = (0..bands).filter(|&b| err[b] > 0.0).collect();
        let band = observed[stream.below(observed.len() as u64) as usize];
        flux[band] += off * err[band];
        let snr = signal_to_noise(&flux, &err);
        let Some(bin) = EDGES.windows(2).position(|e| (e[0]..e[1]).contains(&snr)) else {
            continue;
        };
        let mut free = vec![0.0; science.free.len()];
        science.prior.to_free(&one.parameters, stream.uniform(), &mut free)?;
        let truths = truth(science, &free, &one.parameters, &one.derived);
        let object = Object { flux: &flux, err: &err, redshift: one.parameters.redshift };
        let start = Instant::now();
        let own = drawer.draw_one(&object, DRAWS, &mut stream)?;
        let middle = Instant::now();
        let refined = refiner.refine(drawer, &flux, &err, DRAWS, &mut stream)?;
        let seconds = [(middle - start).as_secs_f64(), middle.elapsed().as_secs_f64()];
        let both = [measure(&own, &truths), measure(&refined.draws, &truths)];
        let of = |i: usize, which: fn(&(f64, f64)) -> f64| [0, 1].map(|w| which(&both[w][i]));
        return Ok(Case {
            bin,
            integrated: one.integrated,
            ranks: (0..truths.len()).map(|i| of(i, |m| m.0)).collect(),
            widths: (0..truths.len()).map(|i| of(i, |m| m.1)).collect(),
            odd: refined.is_odd(),
            seconds,
        });
    }
    Err(StageError::Permanent("no object is bright enough in 10,000 draws".to_owned()))
}

/// Rank of the truth and half-width, per parameter.
fn measure(draws: &Draws, truths: &[f64]) -> Vec<(f64, f64)> {
    let one = |(column, truth): (&[f32], &f64)| {
        let mut values: Vec<f64> = column.iter().map(|v| f64::from(*v)).collect();
        quantile::sort(&mut values);
        let below = values.partition_point(|v| v < truth);
        let width = quantile::of_sorted(&values, 0.84) - quantile::of_sorted(&values, 0.16);
        ((below as f64 + 0.5) / (values.len() + 1) as f64, 0.5 * width)
    };
    draws.columns().zip(truths).map(one).collect()
}
