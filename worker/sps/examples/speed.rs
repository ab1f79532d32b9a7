//! temp
use outshine_kernels::random::{Purpose, Stream};
use outshine_sps::*;
use std::sync::Arc;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let start = Instant::now();
    let library = Arc::new(SspLibrary::embedded()?);
    let model = Arc::new(ForwardModel::new(library, FilterSet::jades(), ModelOptions::default())?);
    println!("library and tables: {:.3} s", start.elapsed().as_secs_f64());
    let start = Instant::now();
    let prior = Prior::default();
    let basis = Basis::new(model.clone(), Components::Full, prior.a_v.1)?;
    println!("basis: {:.3} s", start.elapsed().as_secs_f64());
    let start = Instant::now();
    let grid = RedshiftGrid::new(basis, prior.redshift_range())?;
    println!("grid: {:.3} s", start.elapsed().as_secs_f64());
    println!("{:?}", grid.probe());
    let draw = |i| prior.draw(&mut Stream::new(1, Purpose::Simulation, i, 0));
    let n = 50_000;
    let start = Instant::now();
    let parameters: Vec<_> = (0..n as u64).map(draw).collect();
    println!("draw: {:.3} us", start.elapsed().as_secs_f64() / n as f64 * 1e6);
    let bands = model.bands().len();
    let mut workspace = model.workspace();
    let (mut exact, mut got) = (vec![0.0; n * bands], vec![0.0; n * bands]);
    let start = Instant::now();
    for (p, f) in parameters.iter().zip(exact.chunks_mut(bands)) {
        model.photometry(p, Components::Full, &mut workspace, f)?;
    }
    println!("full: {:.3} us", start.elapsed().as_secs_f64() / n as f64 * 1e6);
    let mut scratch = grid.scratch();
    let start = Instant::now();
    for (p, f) in parameters.iter().zip(got.chunks_mut(bands)) {
        grid.photometry(p, &mut scratch, f)?;
    }
    println!("one by one: {:.3} us", start.elapsed().as_secs_f64() / n as f64 * 1e6);
    let mut derived = vec![model.derive(&parameters[0]); n];
    let start = Instant::now();
    for (i, chunk) in parameters.chunks(10_000).enumerate() {
        let at = i * 10_000;
        grid.batch(
            chunk,
            &mut scratch,
            &mut got[at * bands..(at + chunk.len()) * bands],
            &mut derived[at..at + chunk.len()],
        )?;
    }
    println!("batch: {:.3} us", start.elapsed().as_secs_f64() / n as f64 * 1e6);
    let start = Instant::now();
    let mut s = 0.0;
    for p in &parameters {
        s += model.derive(p).log_mass_stellar;
    }
    println!("derive: {:.3} us {s}", start.elapsed().as_secs_f64() / n as f64 * 1e6);
    let mut all = vec![];
    let mut per = vec![vec![]; bands];
    for i in 0..n {
        let e = &exact[i * bands..(i + 1) * bands];
        let max = e.iter().copied().fold(0.0, f64::max);
        for b in 0..bands {
            if e[b] > 1e-3 * max {
                let d = (-2.5 * (got[i * bands + b] / e[b]).log10()).abs();
                all.push(d);
                per[b].push(d);
                if d > 0.05 {
                    if all.len() % 50 == 0 {
                        println!("{} {:?} {d}", model.bands()[b], parameters[i]);
                    }
                }
            }
        }
    }
    let q = |v: &mut Vec<f64>, f: f64| {
        v.sort_by(f64::total_cmp);
        v[((v.len() - 1) as f64 * f) as usize]
    };
    println!(
        "all: median {:.2e} 99% {:.2e} 99.9% {:.2e} max {:.2e}; share over 0.005: {:.2e}",
        q(&mut all, 0.5),
        q(&mut all, 0.99),
        q(&mut all, 0.999),
        q(&mut all, 1.0),
        all.iter().filter(|d| **d > 0.005).count() as f64 / all.len() as f64
    );
    for (b, v) in per.iter_mut().enumerate() {
        println!(
            "{} median {:.2e} 99.9% {:.2e} max {:.2e}",
            model.bands()[b],
            q(v, 0.5),
            q(v, 0.999),
            q(v, 1.0)
        );
    }
    Ok(())
}
