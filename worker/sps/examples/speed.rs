//! Speed of the forward model on one core.
//!
//! ```text
//! cargo run --release -p outshine-sps --example speed
//! ```

use outshine_kernels::random::{Purpose, Stream};
use outshine_sps::{Components, FilterSet, ForwardModel, ModelOptions, Prior, SspLibrary};
use std::sync::Arc;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let start = Instant::now();
    let library = Arc::new(SspLibrary::embedded()?);
    let model = ForwardModel::new(library, FilterSet::jades(), ModelOptions::default())?;
    println!("library and tables: {:.3} s", start.elapsed().as_secs_f64());

    let prior = Prior::default();
    let draw = |i| prior.draw(&mut Stream::new(1, Purpose::Simulation, i, 0));
    let parameters: Vec<_> = (0..20_000).map(draw).collect();
    let mut workspace = model.workspace();
    let mut flux = vec![0.0; model.bands().len()];
    for components in [Components::Full, Components::StellarDust, Components::Stellar] {
        let (start, mut sum) = (Instant::now(), 0.0);
        for p in &parameters {
            model.photometry(p, components, &mut workspace, &mut flux)?;
            sum += flux[0];
        }
        let rate = parameters.len() as f64 / start.elapsed().as_secs_f64();
        println!("{components:?}: {rate:.0} simulations/s (checksum {sum:.6e})");
    }
    let (start, mut sum) = (Instant::now(), 0.0);
    for p in &parameters {
        sum += model.derive(p).log_mass_stellar;
    }
    let each = start.elapsed().as_secs_f64() / parameters.len() as f64;
    println!("derive: {:.2} us (checksum {sum:.6e})", each * 1e6);
    Ok(())
}
