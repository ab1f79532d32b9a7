//! A nonlinear 19-band toy of a galaxy: five parameters, of which one leaves
//! next to no trace in the fluxes.

use outshine_kernels::random::{Purpose, Stream};
use outshine_kernels::scalar::{exp, exp10, ln};
use outshine_npe::{Coordinates, Examples, FeatureSpec, HELD_OUT, Target};

pub const BANDS: usize = 19;
pub const PARAMETERS: [&str; 5] =
    ["log_mass_formed", "log_tau_gyr", "t_i_fraction", "metallicity", "a_v"];

/// Simulations with fluxes per unit mass, observed afresh in every epoch.
pub struct Toy {
    seed: u64,
    theta: Vec<[f64; 5]>,
    redshift: Vec<f64>,
    unit_flux: Vec<[f64; BANDS]>,
}

pub fn coordinates() -> Coordinates {
    Coordinates::new(
        PARAMETERS.map(String::from).to_vec(),
        vec![5.0, -1.0, 0.0, -2.0, 0.0],
        vec![12.0, 1.0, 1.0, 0.4, 3.0],
    )
    .expect("the box is sane")
}

pub fn target() -> Target {
    Target { coordinates: coordinates(), redshift: (0.0, 7.5), features: features() }
}

pub fn features() -> FeatureSpec {
    let sigma = (0..BANDS).map(depth_njy).collect();
    FeatureSpec::new((0..BANDS).map(|b| format!("b{b:02}")).collect(), sigma).expect("sane")
}

fn depth_njy(band: usize) -> f64 {
    0.05 + 0.01 * (band % 5) as f64
}

fn wavelength_um(band: usize) -> f64 {
    exp(ln(0.4) + (ln(5.0) - ln(0.4)) * band as f64 / (BANDS - 1) as f64)
}

impl Toy {
    /// `n` simulations.
    pub fn new(seed: u64, n: usize) -> Self {
        let mut toy = Self { seed, theta: vec![], redshift: vec![], unit_flux: vec![] };
        let c = coordinates();
        for index in 0..n {
            let mut s = Stream::new(seed, Purpose::Simulation, index as u64, 0);
            let theta: [f64; 5] = std::array::from_fn(|i| s.uniform_in(c.low()[i], c.high()[i]));
            let z = s.uniform_in(0.3, 7.5);
            toy.unit_flux.push(spectrum(&theta, z));
            toy.theta.push(theta);
            toy.redshift.push(z);
        }
        toy
    }
}

/// nJy at log mass 0: a sum of an old and a young population with dust, a
/// break at 4000 A and absorption below Lyman alpha.
fn spectrum(theta: &[f64; 5], z: f64) -> [f64; BANDS] {
    let [_, log_tau, t_i, metallicity, a_v] = *theta;
    let universe_gyr = 13.5 * exp(-1.4 * ln(1.0 + z) + 0.2 * ln(1.0 + z) * (1.0 - z / 10.0));
    let age = (universe_gyr * (1.0 - t_i)).max(0.02);
    let x = age / exp10(log_tau);
    let young = (x + 0.05) * exp(-x) / (1.0 - (1.0 + x) * exp(-x) + 0.02);
    std::array::from_fn(|b| {
        let rest = wavelength_um(b) / (1.0 + z);
        let old = exp(-0.5 / rest) / (0.3 + age)
            * if rest < 0.4 { exp(-1.0 - 0.3 * metallicity - 0.2 * ln(age)) } else { 1.0 };
        let blue = 2.0 * young * exp(-0.05 / rest) / (0.05 + rest);
        let line = if (rest - 0.6563).abs() < 0.02 { 1.5 * young } else { 0.0 };
        let dust = exp(-0.921 * a_v * exp(-0.8 * ln(rest / 0.55)));
        let igm = if rest < 0.1216 { exp(-0.6 * z) } else { 1.0 };
        let tilt = exp(0.15 * metallicity * ln(rest / 0.6));
        2e-8 * (old + blue + line) * dust * igm * tilt / (z * z * (1.0 + 0.2 * z)) * (1.0 + z)
    })
}

impl Examples for Toy {
    fn len(&self) -> u64 {
        self.theta.len() as u64
    }

    fn fill(
        &self,
        index: u64,
        epoch: u64,
        theta: &mut [f64],
        flux: &mut [f32],
        err: &mut [f32],
    ) -> f64 {
        let k = index as usize;
        let mut s = Stream::new(self.seed, Purpose::Observation, index, epoch);
        let c = coordinates();
        theta.copy_from_slice(&self.theta[k]);
        if epoch != HELD_OUT {
            // The mass scale costs nothing: draw it afresh.
            theta[0] = s.uniform_in(c.low()[0], c.high()[0]);
        }
        let mass = exp10(theta[0]);
        let depth = exp10(s.uniform_in(-0.52, 2.48));
        let missing = s.below(4) == 0;
        for b in 0..BANDS {
            let clean = mass * self.unit_flux[k][b];
            let background = depth_njy(b) * depth * exp(0.15 * s.normal());
            let sigma = (background * background + 0.0004 * clean * clean).sqrt();
            let noisy = clean + sigma * s.normal();
            let seen = !(missing && s.below(5) == 0);
            flux[b] = if seen { noisy as f32 } else { 0.0 };
            err[b] = if seen { sigma as f32 } else { 0.0 };
        }
        self.redshift[k]
    }
}
