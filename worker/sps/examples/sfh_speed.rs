//! Speed of the star-formation histories on one core.
//!
//! ```text
//! cargo run --release -p outshine-sps --example sfh_speed
//! ```

use outshine_kernels::random::{Purpose, Stream};
use outshine_sps::sfh::SfhFamily;
use outshine_sps::{Parameters, Prior, Realised, SpsError, cosmology, sfh};
use std::time::Instant;

fn main() -> Result<(), SpsError> {
    // 84 bins of 0.05 dex from 1 Myr, the first from 0.
    let mut edges = vec![0.0, 0.001];
    edges.extend((1..84).map(|i| 0.001 * 10f64.powf(0.05 * f64::from(i))));
    let mut fractions = vec![0.0; edges.len() - 1];
    for family in
        [SfhFamily::Tau, SfhFamily::Dirichlet, SfhFamily::DoublePowerLaw, SfhFamily::Continuity]
    {
        let prior = Prior { sfh: family, ..Prior::default() };
        let draw = |i| prior.draw(&mut Stream::new(1, Purpose::Simulation, i, 0));
        let drawn: Vec<Parameters> = (0..20_000).map(draw).collect();
        let ages: Vec<f64> = drawn.iter().map(|p| cosmology::age_gyr(p.redshift)).collect();
        let each = 1e6 / drawn.len() as f64;

        let (start, mut sum) = (Instant::now(), 0.0);
        for (p, &age) in drawn.iter().zip(&ages) {
            sfh::mass_per_bin(&p.sfh, age, &edges, &mut fractions)?;
            sum += fractions[40];
        }
        let bins_us = start.elapsed().as_secs_f64() * each;

        let (start, mut median) = (Instant::now(), 0.0);
        for (p, &age) in drawn.iter().zip(&ages) {
            median += Realised::measure(&p.sfh, age)?.t50;
        }
        let measure_us = start.elapsed().as_secs_f64() * each;
        println!(
            "{family:?}: history and {} bins {bins_us:.2} us (checksum {sum:.9e}); \
             history and quantiles {measure_us:.2} us (checksum {median:.9e})",
            fractions.len()
        );
    }
    Ok(())
}
