//! The structure of one mock galaxy.

use super::MockField;
use outshine_kernels::random::{Purpose, Stream};
use outshine_kernels::scalar;

/// The golden ratio less one: its multiples fill the unit interval evenly.
const GOLDEN: f64 = 0.618_033_988_749_894_9;

/// A bump of younger stars.
struct Clump {
    dx: f64,
    dy: f64,
    width: f64,
    strength: f64,
}

/// The structure of one galaxy.
pub struct Shape {
    pub redshift: f64,
    log_mass: f64,
    sersic: f64,
    radius_pixels: f64,
    axis_ratio: f64,
    cosine: f64,
    sine: f64,
    clumps: Vec<Clump>,
    /// Central value and change per r_e of: t_i fraction, log tau, [M/H].
    t_i: (f64, f64),
    log_tau: (f64, f64),
    metallicity: (f64, f64),
    /// Central A_V, mag, and its scale length in r_e.
    a_v: (f64, f64),
}

impl Shape {
    pub fn draw(field: &MockField, seed: u64, index: usize) -> Self {
        let mut s = Stream::new(seed, Purpose::MockGalaxy, index as u64, 0);
        let between = |(low, high): (f64, f64), part: f64| low + (high - low) * part;
        let redshift =
            between(field.redshift, (index as f64 + s.uniform()) / field.galaxies as f64);
        let part = (index as f64 * GOLDEN + 0.15 * s.uniform()).fract();
        let rise = field.log_mass_per_redshift * (redshift - field.redshift.0);
        let lowest = (field.log_mass.0 + rise).min(field.log_mass.1);
        let log_mass = between((lowest, field.log_mass.1), part);
        // More massive galaxies are larger and more concentrated.
        let size = 0.6 * part + 0.4 * s.uniform();
        let radius_pixels = between(field.radius_pixels, size);
        let sersic = between((0.8, 2.5), 0.5 * part + 0.5 * s.uniform());
        let axis_ratio = s.uniform_in(0.4, 0.95);
        let angle = s.uniform_in(0.0, std::f64::consts::PI);
        let clumps = (0..5)
            .map(|_| {
                let (distance, direction) = (
                    radius_pixels * s.uniform_in(0.4, 1.8),
                    s.uniform_in(0.0, std::f64::consts::TAU),
                );
                Clump {
                    dx: distance * scalar::cos(direction),
                    dy: distance * scalar::sin(direction),
                    width: s.uniform_in(1.2, 2.5),
                    strength: s.uniform_in(0.2, 0.8),
                }
            })
            .collect();
        Self {
            redshift,
            log_mass,
            sersic,
            radius_pixels,
            axis_ratio,
            cosine: scalar::cos(angle),
            sine: scalar::sin(angle),
            clumps,
            t_i: (s.uniform_in(0.05, 0.3), s.uniform_in(0.08, 0.2)),
            log_tau: (s.uniform_in(-0.9, 0.1), s.uniform_in(0.1, 0.3)),
            metallicity: (s.uniform_in(-0.3, 0.25), -s.uniform_in(0.1, 0.35)),
            a_v: (s.uniform_in(0.3, 2.0), s.uniform_in(0.8, 2.0)),
        }
    }

    /// Offset of a pixel's centre from the galaxy's, pixels.
    pub fn offset(&self, x: usize, y: usize, stamp: usize) -> (f64, f64) {
        let middle = 0.5 * (stamp as f64 - 1.0);
        (x as f64 - middle, y as f64 - middle)
    }

    /// Elliptical radius in units of r_e.
    pub fn radius(&self, dx: f64, dy: f64) -> f64 {
        let along = dx * self.cosine + dy * self.sine;
        let across = (dy * self.cosine - dx * self.sine) / self.axis_ratio;
        (along * along + across * across).sqrt() / self.radius_pixels
    }

    /// Smooth mass at a radius, arbitrary unit; softened over half a pixel.
    pub fn profile(&self, radius: f64) -> f64 {
        let soft = 0.5 / self.radius_pixels;
        let radius = (radius * radius + soft * soft).sqrt();
        let b = 2.0 * self.sersic - 1.0 / 3.0;
        scalar::exp(-b * (scalar::pow(radius, 1.0 / self.sersic) - 1.0))
    }

    /// Mass in clumps over smooth mass.
    pub fn clumpiness(&self, dx: f64, dy: f64) -> f64 {
        let mut sum = 0.0;
        for clump in &self.clumps {
            let (a, b) = ((dx - clump.dx) / clump.width, (dy - clump.dy) / clump.width);
            sum += clump.strength * scalar::exp(-0.5 * (a * a + b * b));
        }
        sum
    }

    pub fn mass(&self, dx: f64, dy: f64) -> f64 {
        self.profile(self.radius(dx, dy)) * (1.0 + self.clumpiness(dx, dy))
    }

    /// Sum of [`Shape::mass`] over the stamp.
    pub fn total(&self, stamp: usize) -> f64 {
        let mut sum = 0.0;
        for y in 0..stamp {
            for x in 0..stamp {
                let (dx, dy) = self.offset(x, y, stamp);
                sum += self.mass(dx, dy);
            }
        }
        sum
    }

    /// Free coordinates ([`Prior::free_names`]) at a radius; `share` of the galaxy's
    /// mass. The scatter of a pixel comes from `stream`, none without it.
    pub fn free(
        &self,
        radius: f64,
        clump: f64,
        share: f64,
        stream: Option<&mut Stream>,
    ) -> [f64; 5] {
        let scatter: [f64; 4] = match stream {
            Some(stream) => std::array::from_fn(|_| stream.normal()),
            None => [0.0; 4],
        };
        let r = radius.min(3.0);
        [
            self.log_mass + scalar::log10(share) + 0.03 * scatter[0],
            self.log_tau.0 + self.log_tau.1 * r + 0.03 * scatter[1],
            (self.t_i.0 + self.t_i.1 * r + 0.3 * clump).min(0.9),
            self.metallicity.0 + self.metallicity.1 * r + 0.03 * scatter[2],
            self.a_v.0 * scalar::exp(-r / self.a_v.1) * scalar::exp(0.1 * scatter[3]),
        ]
    }
}
