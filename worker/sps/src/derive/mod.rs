//! What follows from free coordinates, for many draws of one pixel at once.
//!
//! The same quantities as [`ForwardModel::derive`] and
//! [`ForwardModel::t50_lookback_gyr`] give one by one, from columns of free
//! coordinates ([`Prior::free_names`]), in single precision, in loops that
//! vector instructions can follow and with the same bits on every processor.
//!
//! | family | quantities |
//! | --- | --- |
//! | tau | log_mass_stellar, log_sfr_100, mass_weighted_age_gyr, t50_lookback_gyr |
//! | dirichlet | log_mass_stellar, log_sfr_100, t25, t50, t75, mass_weighted_age_gyr, t50_lookback_gyr |
//!
//! Those of the tau family are exact: the history in closed form meets every
//! age bin of the library. Against the forward model, over the whole default
//! prior: masses within 2e-6 dex, rates 4e-6 dex, mean ages 4e-5 and median
//! formation times 3e-6 of themselves (`tests/derive.rs`).
//!
//! Of the Dirichlet family rate and times are coordinates. Surviving mass and
//! mean age are not functions of the coordinates: they follow from a curve
//! through them and a scatter around it, measured once on draws of the prior:
//! `residual`, with its figures.
//!
//! Surviving mass. With F(a) the fraction of all mass formed that is older
//! than a, and k_b what a Msun of stars in bin b has left, linear in Z between
//! the library's metallicities:
//!
//! remaining = k_0 + sum over b >= 1 of (k_b - k_(b-1)) F(edge b)

mod curve;
mod remaining;
mod residual;
mod tau;

use crate::cosmology;
use crate::error::SpsError;
use crate::model::{AgeBinning, ForwardModel};
use crate::prior::Prior;
use crate::sfh::SfhFamily;
use remaining::Remaining;
use residual::Residual;
use std::ops::{Deref, DerefMut};

/// Draws computed together.
const LANES: usize = 32;
/// Most free coordinates, and most quantities.
const MOST: usize = 7;
/// Random numbers per draw of the Dirichlet family.
const NOISE: usize = 2;

/// One number per draw of a chunk, on a line of the cache of its own.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Lanes([f32; LANES]);

impl Lanes {
    #[inline(always)]
    const fn all(value: f32) -> Self {
        Self([value; LANES])
    }
}

impl Deref for Lanes {
    type Target = [f32; LANES];
    #[inline(always)]
    fn deref(&self) -> &[f32; LANES] {
        &self.0
    }
}

impl DerefMut for Lanes {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [f32; LANES] {
        &mut self.0
    }
}

const TAU: [&str; 4] =
    ["log_mass_stellar", "log_sfr_100", "mass_weighted_age_gyr", "t50_lookback_gyr"];
const DIRICHLET: [&str; 7] = [
    "log_mass_stellar",
    "log_sfr_100",
    "t25",
    "t50",
    "t75",
    "mass_weighted_age_gyr",
    "t50_lookback_gyr",
];

/// The draws of a chunk: cosmic age, free coordinates, standard normal numbers.
struct Chunk {
    age_gyr: Lanes,
    free: [Lanes; MOST],
    noise: [Lanes; NOISE],
}

impl Chunk {
    /// 0, or NaN where a coordinate is not finite: minima and maxima lose it.
    fn poison(&self) -> Lanes {
        let mut poison = Lanes::all(0.0);
        for lanes in self.free.iter().chain(&self.noise).chain([&self.age_gyr]) {
            for j in 0..LANES {
                poison[j] += 0.0 * lanes[j];
            }
        }
        poison
    }
}

enum Family {
    Tau,
    Dirichlet(Box<Residual>),
}

/// Derives quantities from the free coordinates of one family. Shared between
/// threads; its tables take a moment.
pub struct Deriver {
    remaining: Remaining,
    family: Family,
}

impl Deriver {
    /// A deriver for the family of `prior`. That of the Dirichlet family
    /// realises 16,384 draws of the prior, 0.1 s.
    ///
    /// # Errors
    /// [`SpsError::Setting`] for a family that no estimator is made for, and
    /// for a model that puts mass into age bins as bagpipes does.
    pub fn new(model: &ForwardModel, prior: &Prior) -> Result<Self, SpsError> {
        if model.options().age_binning != AgeBinning::Exact {
            let problem = "draws of an estimator are derived with exact age bins alone";
            return Err(SpsError::setting("age_binning", problem));
        }
        prior.free_names()?;
        let remaining = Remaining::new(model.library().arrays());
        let family = match prior.sfh {
            SfhFamily::Dirichlet => {
                Family::Dirichlet(Box::new(Residual::measure(model, prior, &remaining)?))
            }
            _ => Family::Tau,
        };
        Ok(Self { remaining, family })
    }

    /// Names of the quantities, in the order of the columns of
    /// [`Deriver::derive`]. Units: log10 Msun, log10 Msun/yr, Gyr; t25, t50
    /// and t75 are fractions of the cosmic age.
    #[must_use]
    pub fn names(&self) -> &'static [&'static str] {
        match self.family {
            Family::Tau => &TAU,
            Family::Dirichlet(_) => &DIRICHLET,
        }
    }

    /// Number of free coordinates per draw.
    #[must_use]
    pub fn free_columns(&self) -> usize {
        match self.family {
            Family::Tau => 5,
            Family::Dirichlet(_) => 7,
        }
    }

    /// Standard normal numbers per draw: 0 for the tau family, 2 for the
    /// Dirichlet family.
    #[must_use]
    pub fn noise_columns(&self) -> usize {
        match self.family {
            Family::Tau => 0,
            Family::Dirichlet(_) => NOISE,
        }
    }

    /// The quantities of n draws. All arrays are stored column by column.
    ///
    /// `redshift`: 1 for all draws, or n; `free`: ([`Deriver::free_columns`], n);
    /// `noise`: ([`Deriver::noise_columns`], n), standard normal, independent;
    /// `out`: ([`Deriver::names`], n). Coordinates beyond what can be computed
    /// are taken as the nearest that can; what is not finite gives NaN.
    ///
    /// # Panics
    /// When a slice has another length.
    pub fn derive(&self, redshift: &[f64], free: &[f32], noise: &[f32], out: &mut [f32]) {
        let (d, m) = (self.free_columns(), self.names().len());
        let n = free.len() / d;
        assert_eq!(free.len(), d * n, "whole columns of free coordinates");
        assert_eq!(out.len(), m * n, "one column per quantity");
        assert_eq!(noise.len(), self.noise_columns() * n, "one column per kind of noise");
        assert!(redshift.len() == 1 || redshift.len() == n, "one redshift, or one per draw");
        if n == 0 {
            return;
        }
        let mut older = self.remaining.scratch();
        let mut chunk = Chunk {
            age_gyr: Lanes::all(cosmology::age_gyr(redshift[0]) as f32),
            free: [Lanes::all(0.0); MOST],
            noise: [Lanes::all(0.0); NOISE],
        };
        let mut quantities = [Lanes::all(0.0); MOST];
        for at in (0..n).step_by(LANES) {
            let count = LANES.min(n - at);
            for (lanes, column) in chunk.free.iter_mut().zip(free.chunks_exact(n)) {
                fill(lanes, &column[at..at + count]);
            }
            for (lanes, column) in chunk.noise.iter_mut().zip(noise.chunks_exact(n)) {
                fill(lanes, &column[at..at + count]);
            }
            if redshift.len() > 1 {
                let mut ages = Lanes::all(0.0);
                for (age, z) in ages.iter_mut().zip(&redshift[at..at + count]) {
                    *age = cosmology::age_gyr(*z) as f32;
                }
                fill(&mut chunk.age_gyr, &ages[..count]);
            }
            match &self.family {
                Family::Tau => tau::derive(&self.remaining, &chunk, &mut older, &mut quantities),
                Family::Dirichlet(residual) => {
                    let remaining = &self.remaining;
                    residual::derive(remaining, residual, &chunk, &mut older, &mut quantities);
                }
            }
            let poison = chunk.poison();
            for (lanes, column) in quantities.iter().zip(out.chunks_exact_mut(n)) {
                for (j, value) in column[at..at + count].iter_mut().enumerate() {
                    *value = lanes[j] + poison[j];
                }
            }
        }
    }
}

/// Copies `values`, the last of them as often as there is room.
fn fill(lanes: &mut Lanes, values: &[f32]) {
    lanes[..values.len()].copy_from_slice(values);
    lanes[values.len()..].fill(values[values.len() - 1]);
}

/// log10(x) for normal positive x.
#[inline(always)]
fn log10(x: f32) -> f32 {
    outshine_kernels::lanes::ln_f32(x) * std::f32::consts::LOG10_E
}

/// 10^x.
#[inline(always)]
fn exp10(x: f32) -> f32 {
    outshine_kernels::lanes::exp_f32(x * std::f32::consts::LN_10)
}

#[cfg(test)]
#[cfg(feature = "bc03")]
mod tests {
    use super::*;
    use crate::{FilterSet, ModelOptions, SspLibrary};
    use outshine_kernels::random::{Purpose, Stream};
    use std::sync::Arc;

    /// The dispatched loops give the bits of plain ones.
    #[test]
    fn quantities_do_not_depend_on_the_width_of_vectors() {
        let library = Arc::new(SspLibrary::embedded().unwrap());
        let filters = FilterSet::embedded(&["f277w"]).unwrap();
        let model = ForwardModel::new(library, filters, ModelOptions::default()).unwrap();
        for sfh in [SfhFamily::Tau, SfhFamily::Dirichlet] {
            let prior = Prior { sfh, ..Prior::default() };
            let deriver = Deriver::new(&model, &prior).unwrap();
            let bounds = prior.free_bounds().unwrap();
            let remaining = &deriver.remaining;
            let mut older = [remaining.scratch(), remaining.scratch()];
            for i in 0..100 {
                let mut stream = Stream::new(61, Purpose::Draw, i, 0);
                let mut chunk = Chunk {
                    age_gyr: Lanes::all(0.0),
                    free: [Lanes::all(0.0); MOST],
                    noise: [Lanes::all(0.0); NOISE],
                };
                for j in 0..LANES {
                    chunk.age_gyr[j] = stream.uniform_in(0.5, 13.5) as f32;
                    for (lanes, (low, high)) in chunk.free.iter_mut().zip(&bounds) {
                        lanes[j] = stream.uniform_in(*low, *high) as f32;
                    }
                    for lanes in &mut chunk.noise {
                        lanes[j] = stream.normal() as f32;
                    }
                }
                let [mut wide, mut plain] = [[Lanes::all(0.0); MOST]; 2];
                let [a, b] = &mut older;
                match &deriver.family {
                    Family::Tau => {
                        tau::derive(remaining, &chunk, a, &mut wide);
                        tau::derive_body(remaining, &chunk, b, &mut plain);
                    }
                    Family::Dirichlet(residual) => {
                        residual::derive(remaining, residual, &chunk, a, &mut wide);
                        residual::derive_body(remaining, residual, &chunk, b, &mut plain);
                    }
                }
                for (wide, plain) in wide.iter().zip(&plain) {
                    assert_eq!(wide.map(f32::to_bits), plain.map(f32::to_bits), "{sfh:?}");
                }
            }
        }
    }
}
