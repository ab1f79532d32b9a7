//! The forward model integrated through the bands beforehand.
//!
//! The flux in a band is linear in the mass per age bin and metallicity. What
//! is not, attenuation, is smooth within a band: it is evaluated at a few
//! nodes (`grid/nodes.rs`). So for one redshift the whole model is a small matrix,
//! (SSPs) x (nodes), worked out once; a population costs one product of its
//! mass per age bin with the rows of its two metallicities, and one
//! exponential per node. The energy that dust absorbs is linear in the mass
//! as well, and tabulated over A_V.
//!
//! | | redshift | for |
//! | --- | --- | --- |
//! | [`RedshiftGrid`] | any within a range: two neighbouring tables, linear in ln(1 + z); bright lines apart, at their exact wavelength | simulations |
//! | [`FixedRedshift`] | one | likelihoods and posterior predictions |
//!
//! Errors against [`ForwardModel::photometry`] are stated and tested in
//! `tests/grid.rs` and `examples/speed.rs`.
//!
//! [`ForwardModel::photometry`]: crate::ForwardModel::photometry

mod basis;
mod fixed;
mod nodes;
mod redshifts;

pub use basis::Basis;
pub use fixed::FixedRedshift;
pub use redshifts::RedshiftGrid;

use crate::error::SpsError;
use crate::model::{Components, Population};
use crate::sfh::Parameters;
use nodes::BandNodes;
use outshine_kernels::wide;

/// Bands in which a spectral break lies, whose flux bends too much with
/// redshift for a straight line between two tables: four tables instead.
struct Refined<'a> {
    /// ln of the observed wavelength of the break, Angstrom.
    ln_break: f64,
    /// Tables with their shares.
    tables: [(f64, &'a [f32]); 4],
}

/// How far in ln(wavelength) from a band a break still matters to it.
const MARGIN: f64 = 0.02;

/// Whether a break at `ln_break` matters to a band.
fn is_in(ln_break: f64, band: &BandNodes) -> bool {
    let (blue, red) = (band.ln[0], band.ln[band.ln.len() - 1]);
    ln_break > blue - MARGIN && ln_break < red + MARGIN
}

/// Buffers of one thread, so that no call allocates.
pub struct Scratch {
    fractions: Vec<f64>,
    weights: Vec<f32>,
    scaled: Vec<f32>,
    /// Node values, diffuse dust and birth clouds; and their exponents.
    sums: [Vec<f32>; 2],
    exponents: [Vec<f32>; 2],
    lines: Vec<f32>,
    dust: Vec<f64>,
}

impl Scratch {
    fn new(basis: &Basis) -> Self {
        let nodes = || vec![0.0; basis.nodes.stride];
        Self {
            fractions: vec![0.0; basis.ages],
            weights: vec![0.0; basis.ages],
            scaled: vec![0.0; basis.ages],
            sums: [nodes(), nodes()],
            exponents: [nodes(), nodes()],
            lines: vec![0.0; basis.strong_len()],
            dust: vec![0.0; basis.model.bands().len()],
        }
    }
}

impl Basis {
    /// Checks that a population lies within the tables, and works out its mass
    /// per age bin.
    fn population(&self, p: &Parameters, w: &mut Scratch) -> Result<Population, SpsError> {
        if self.components != Components::Stellar && p.a_v > self.a_v_max {
            let (name, value, high) = ("a_v", p.a_v, self.a_v_max);
            return Err(SpsError::OutOfRange { name, value, low: 0.0, high });
        }
        let population = self.model.population(p, &mut w.fractions)?;
        for (weight, fraction) in w.weights.iter_mut().zip(&w.fractions) {
            *weight = *fraction as f32;
        }
        Ok(population)
    }

    /// Sums tables (each with a share) over SSPs, attenuates at the nodes, adds
    /// dust emission (`w.dust`, per unit luminosity) and joins nodes to bands.
    ///
    /// `w.exponents` hold those of the redshift. `flux`: in units of 1 / `basis::SCALE`.
    fn add_continuum(
        &self,
        a_v: f64,
        population: &Population,
        tables: &[(f64, &[f32])],
        refined: Option<&Refined<'_>>,
        w: &mut Scratch,
        flux: &mut [f64],
    ) {
        let a_v = if self.components == Components::Stellar { 0.0 } else { a_v };
        let stride = self.nodes.stride;
        let young = match &self.model.screens.young {
            Some((ages, _)) if a_v > 0.0 => (*ages).min(population.ages),
            _ => 0,
        };
        let [diffuse, clouds] = &mut w.sums;
        let weights = &w.weights[..population.ages];
        let mut sum = |tables: &[(f64, &[f32])], first: usize, last: usize| {
            let (diffuse, clouds) = (&mut diffuse[first..last], &mut clouds[first..last]);
            diffuse.fill(0.0);
            clouds.fill(0.0);
            for &(share, table) in tables {
                for (z, metal) in population.metal {
                    let factor = (share * metal) as f32;
                    if factor == 0.0 {
                        continue;
                    }
                    for (scaled, weight) in w.scaled.iter_mut().zip(weights) {
                        *scaled = factor * weight;
                    }
                    let rows = &table[z * self.ages * stride + first..];
                    let old = &w.scaled[young..population.ages];
                    wide::weighted_sum(old, &rows[young * stride..], stride, diffuse);
                    wide::weighted_sum(&w.scaled[..young], rows, stride, clouds);
                }
            }
        };
        sum(tables, 0, stride);
        if let Some(refined) = refined {
            for band in self.nodes.bands.iter().filter(|band| is_in(refined.ln_break, band)) {
                // Whole registers: what lies beyond the band is refined as well.
                let last = (band.first + band.ln.len().next_multiple_of(8)).min(stride);
                sum(&refined.tables, band.first, last);
            }
        }
        if a_v > 0.0 {
            wide::decay(diffuse, &w.exponents[0], a_v as f32);
            if young > 0 {
                wide::decay(clouds, &w.exponents[1], a_v as f32);
            }
        }
        let absorbed = self.absorbed(a_v, population, &w.fractions);
        for ((flux, nodes), dust) in flux.iter_mut().zip(&self.nodes.bands).zip(&w.dust) {
            let range = nodes.first..nodes.first + nodes.ln.len();
            let values = diffuse[range.clone()].iter().zip(&clouds[range]);
            let sum: f64 = values.map(|(a, b)| f64::from(*a) + f64::from(*b)).sum();
            *flux += sum + absorbed * dust;
        }
    }

    /// Exponents at the nodes for a redshift.
    fn exponents(&self, ln_one_plus_z: f64, out: &mut [Vec<f32>; 2]) {
        let screens = &self.model.screens;
        self.nodes.exponents(self.bins, &screens.diffuse.bins, ln_one_plus_z, &mut out[0]);
        if let Some((_, screen)) = &screens.young {
            self.nodes.exponents(self.bins, &screen.bins, ln_one_plus_z, &mut out[1]);
        }
    }
}
