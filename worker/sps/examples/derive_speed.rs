//! Speed of what is derived from the free coordinates of posterior draws.
//!
//! ```text
//! cargo run --release -p outshine-sps --example derive_speed [-- --rounds N]
//! ```
//!
//! Pixels of 500 draws, all from the prior, at one redshift each; nanoseconds
//! per draw of every derived quantity on one thread, the median round. The
//! forward model derives the same draws one by one, and the program fails where
//! surviving masses of the tau family differ by more than 1e-5 dex.

use outshine_kernels::random::{Purpose, Stream};
use outshine_sps::{
    Deriver, FilterSet, ForwardModel, ModelOptions, Parameters, Prior, SfhFamily, SspLibrary,
};
use std::sync::Arc;
use std::time::Instant;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const DRAWS: usize = 500;
const PIXELS: u64 = 20;

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let rounds: usize = match arguments.as_slice() {
        [] => 101,
        [flag, n] if flag == "--rounds" => n.parse()?,
        _ => return Err("use: derive_speed [--rounds N]".into()),
    };
    let library = Arc::new(SspLibrary::embedded()?);
    let filters = FilterSet::embedded(&["f277w"])?;
    let model = ForwardModel::new(library, filters, ModelOptions::default())?;
    for sfh in [SfhFamily::Tau, SfhFamily::Dirichlet] {
        let prior = Prior { sfh, ..Prior::default() };
        let start = Instant::now();
        let deriver = Deriver::new(&model, &prior)?;
        let tables = start.elapsed().as_secs_f64();
        let (d, m) = (deriver.free_columns(), deriver.names().len());
        let (mut single, mut many, mut slow) = (Vec::new(), Vec::new(), Vec::new());
        let mut worst = 0.0f64;
        for pixel in 0..PIXELS {
            let mut stream = Stream::new(51, Purpose::MockPixel, pixel, 0);
            let z = stream.uniform_in(prior.redshift.0.max(0.01), prior.redshift.1);
            let parameters: Vec<Parameters> =
                (0..DRAWS).map(|_| prior.draw_at(z, &mut stream)).collect();
            let (mut free, mut row) = (vec![0f32; d * DRAWS], vec![0.0; d]);
            for (i, p) in parameters.iter().enumerate() {
                prior.to_free(p, stream.uniform(), &mut row)?;
                row.iter().enumerate().for_each(|(c, v)| free[c * DRAWS + i] = *v as f32);
            }
            let noise: Vec<f32> =
                (0..deriver.noise_columns() * DRAWS).map(|_| stream.normal() as f32).collect();
            let mut out = vec![0f32; m * DRAWS];
            let ns = |start: Instant| start.elapsed().as_secs_f64() * 1e9 / DRAWS as f64;
            let own = vec![z; DRAWS];
            for _ in 0..rounds {
                let start = Instant::now();
                deriver.derive(std::hint::black_box(&own), &free, &noise, &mut out);
                many.push(ns(start));
                let start = Instant::now();
                deriver.derive(std::hint::black_box(&[z]), &free, &noise, &mut out);
                single.push(ns(start));
            }
            let start = Instant::now();
            let exact: Vec<f64> =
                parameters.iter().map(|p| model.derive(p).log_mass_stellar).collect();
            slow.push(ns(start));
            for (got, exact) in out.iter().zip(&exact) {
                worst = worst.max((f64::from(*got) - exact).abs());
            }
        }
        println!(
            "{sfh:?}: {:.1} ns per draw at one redshift, {:.1} at one redshift per draw; \
             the forward model {:.0}; tables {:.3} s; surviving mass within {worst:.1e} dex",
            median(&mut single),
            median(&mut many),
            median(&mut slow),
            tables,
        );
        if sfh == SfhFamily::Tau && worst > 1e-5 {
            return Err(format!("surviving masses differ by {worst} dex").into());
        }
    }
    Ok(())
}
