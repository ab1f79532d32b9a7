//! Which interpolation between metallicities is better: each metallicity of the
//! embedded library but the first and the last is predicted from its two
//! neighbours, linearly in log Z and linearly in Z.
//!
//! ```text
//! cargo run --release -p outshine-sps --example metallicity
//! ```
//!
//! Prints the rms over ages (1 Myr to 13.8 Gyr) and nine windows from 1300 A
//! to 2.4 micron of the magnitude difference, and over ages that of log
//! surviving mass.

use outshine_sps::SspLibrary;

/// Windows in rest wavelength, Angstrom.
const WINDOWS: [(f64, f64); 9] = [
    (1300.0, 1700.0),
    (1900.0, 2500.0),
    (2800.0, 3400.0),
    (3500.0, 4000.0),
    (4100.0, 5000.0),
    (5200.0, 6200.0),
    (7000.0, 9000.0),
    (11_000.0, 13_000.0),
    (20_000.0, 24_000.0),
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let library = SspLibrary::embedded()?;
    let a = library.arrays();
    let (ages, waves) = (a.age_edges_gyr.len() - 1, a.wave_edges_angstrom.len() - 1);
    let edges = &a.wave_edges_angstrom;
    // Luminosity of an SSP in a window.
    let light = |z: usize, age: usize, (blue, red): (f64, f64)| -> f64 {
        let row = &a.stellar[(z * ages + age) * waves..][..waves];
        let inside = (0..waves).filter(|&j| edges[j] >= blue && edges[j + 1] <= red);
        inside.map(|j| f64::from(row[j]) * (edges[j + 1] - edges[j])).sum()
    };
    let head = ["[M/H]", "log Z (mag)", "Z (mag)", "log Z (dex)", "Z (dex)"];
    println!("{:>8} {:>12} {:>12} {:>12} {:>12}", head[0], head[1], head[2], head[3], head[4]);
    for z in 1..a.metallicity.len() - 1 {
        let [low, this, high] = [-1, 0, 1].map(|d| a.metallicity[z.wrapping_add_signed(d)]);
        let part_log = (this - low) / (high - low);
        let [low, this, high] = [low, this, high].map(|m| 10f64.powf(m));
        let part_linear = (this - low) / (high - low);
        let mut squares = [0.0; 2];
        let (mut n, mut masses, mut m) = (0.0, [0.0; 2], 0.0);
        for age in (0..ages).filter(|&age| a.age_edges_gyr[age] >= 1e-3) {
            let kept = |z: usize| a.remaining_mass[z * ages + age];
            for (sum, part) in masses.iter_mut().zip([part_log, part_linear]) {
                let predicted = kept(z - 1) * (1.0 - part) + kept(z + 1) * part;
                *sum += (predicted / kept(z)).log10().powi(2);
            }
            m += 1.0;
            for window in WINDOWS {
                let of = |z| light(z, age, window);
                for (sum, part) in squares.iter_mut().zip([part_log, part_linear]) {
                    let predicted = of(z - 1) * (1.0 - part) + of(z + 1) * part;
                    *sum += (2.5 * (predicted / of(z)).log10()).powi(2);
                }
                n += 1.0;
            }
        }
        let [log, linear] = squares.map(|sum: f64| (sum / n).sqrt());
        let [mass_log, mass_linear] = masses.map(|sum: f64| (sum / m).sqrt());
        println!(
            "{:>8.3} {log:>12.3} {linear:>12.3} {mass_log:>12.4} {mass_linear:>12.4}",
            a.metallicity[z]
        );
    }
    Ok(())
}
