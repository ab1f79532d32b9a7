//! The model at any redshift of a range.

use super::basis::{Basis, SCALE};
use super::{Refined, Scratch, is_in};
use crate::cosmology;
use crate::error::SpsError;
use crate::igm::LYMAN_ALPHA_ANGSTROM;
use crate::model::{Derived, Population, Z_MAX, njy_per_lsun_at};
use crate::sfh::Parameters;
use outshine_kernels::scalar;
use std::sync::OnceLock;

/// Step of the tables in ln(1 + z).
const STEP: f64 = 0.0025;

/// Tables at redshifts spread evenly in ln(1 + z), linear in between. Shared
/// between threads; each is worked out when it is first needed, which takes a
/// millisecond. About 0.3 MB per redshift and 19 bands, 400 per unit of ln(1 + z).
pub struct RedshiftGrid {
    basis: Basis,
    ln_first: f64,
    redshift: (f64, f64),
    nodes: Vec<OnceLock<Node>>,
}

/// What is tabulated at one redshift.
struct Node {
    /// (metallicities, ages, nodes padded).
    table: Vec<f32>,
    /// (bands) dust emission per unit luminosity.
    dust: Vec<f64>,
    /// (strong lines) transmission of the IGM.
    kept: Vec<f64>,
    /// Comoving distance (Mpc) and its slope in ln(1 + z).
    distance: (f64, f64),
}

impl RedshiftGrid {
    /// Ready for redshifts from `redshift.0` to `redshift.1`.
    ///
    /// # Errors
    /// [`SpsError::Setting`] for an impossible range.
    pub fn new(basis: Basis, redshift: (f64, f64)) -> Result<Self, SpsError> {
        let (low, high) = redshift;
        if !(low >= 0.0 && low < high && high <= Z_MAX) {
            let problem = format!("{low} to {high} is not a range within 0 to {Z_MAX}");
            return Err(SpsError::setting("redshift", problem));
        }
        let ln_first = scalar::ln_1p(low);
        let count = ((scalar::ln_1p(high) - ln_first) / STEP).ceil() as usize + 1;
        let nodes = (0..count).map(|_| OnceLock::new()).collect();
        Ok(Self { basis, ln_first, redshift, nodes })
    }

    /// The tables of redshift number `i`.
    fn node(&self, i: usize) -> &Node {
        self.nodes[i].get_or_init(|| {
            let basis = &self.basis;
            let ln = self.ln_first + i as f64 * STEP;
            let z = scalar::expm1(ln);
            let mut table = vec![0.0; basis.table_len()];
            basis.fill(z, &mut table);
            let mut dust = vec![0.0; basis.model.bands().len()];
            basis.dust_emission(z, &mut dust);
            let kept = basis.strong.iter().map(|&l| basis.model.line_transmission(l, z)).collect();
            let comoving = cosmology::luminosity_distance_mpc(z) / (1.0 + z);
            Node { table, dust, kept, distance: (comoving, cosmology::comoving_slope_mpc(ln)) }
        })
    }

    /// Buffers for one thread.
    #[must_use]
    pub fn scratch(&self) -> Scratch {
        Scratch::new(&self.basis)
    }

    /// Noiseless band fluxes of one population, and what derives from it.
    ///
    /// `flux_njy`: one value per band, nJy.
    ///
    /// # Errors
    /// [`SpsError::OutOfRange`] when a parameter cannot be computed, or lies
    /// outside the tables.
    pub fn photometry(
        &self,
        p: &Parameters,
        w: &mut Scratch,
        flux_njy: &mut [f64],
    ) -> Result<Derived, SpsError> {
        let population = self.one(p, w, flux_njy)?;
        Ok(self.basis.model.derived(p, &population, &w.fractions))
    }

    fn one(
        &self,
        p: &Parameters,
        w: &mut Scratch,
        flux_njy: &mut [f64],
    ) -> Result<Population, SpsError> {
        let basis = &self.basis;
        let bands = basis.model.bands().len();
        assert_eq!(flux_njy.len(), bands, "one flux per band");
        let (low, high) = self.redshift;
        if !(p.redshift >= low && p.redshift <= high) {
            return Err(SpsError::OutOfRange { name: "redshift", value: p.redshift, low, high });
        }
        let population = basis.population(p, w)?;
        let ln = scalar::ln_1p(p.redshift);
        let position = ((ln - self.ln_first) / STEP).max(0.0);
        let node = (position as usize).min(self.nodes.len() - 2);
        let part = position - node as f64;

        let (left, right) = (self.node(node), self.node(node + 1));
        let tables = [(1.0 - part, left.table.as_slice()), (part, right.table.as_slice())];
        for (dust, (a, b)) in w.dust.iter_mut().zip(left.dust.iter().zip(&right.dust)) {
            *dust = (1.0 - part) * a + part * b;
        }
        basis.exponents(ln, &mut w.exponents);
        flux_njy.fill(0.0);
        let refined = self.refined(node, part, ln);
        basis.add_continuum(p.a_v, &population, &tables, refined.as_ref(), w, flux_njy);
        basis.strong_lines(p.a_v, &population, &w.weights, &mut w.lines);
        self.add_lines(p.redshift, ln, (node, part), &w.lines, flux_njy);
        let scale = njy_per_lsun_at(p.log_mass_formed, p.redshift, self.comoving_mpc(node, part));
        flux_njy.iter_mut().for_each(|f| *f *= scale / SCALE);
        Ok(population)
    }

    /// Many populations: fluxes (populations, bands) in nJy. The same as one by
    /// one; taken in order of redshift, so that neighbouring tables stay near
    /// the processor.
    ///
    /// # Errors
    /// As [`RedshiftGrid::photometry`], for one of the populations that fail.
    pub fn fluxes(
        &self,
        populations: &[Parameters],
        w: &mut Scratch,
        flux_njy: &mut [f64],
    ) -> Result<(), SpsError> {
        self.in_order(populations, w, flux_njy, |_, _, _| ())
    }

    /// The same with what derives, one per population.
    ///
    /// # Errors
    /// As [`RedshiftGrid::photometry`], for one of the populations that fail.
    pub fn batch(
        &self,
        populations: &[Parameters],
        w: &mut Scratch,
        flux_njy: &mut [f64],
        derived: &mut [Derived],
    ) -> Result<(), SpsError> {
        assert_eq!(derived.len(), populations.len(), "one per population");
        self.in_order(populations, w, flux_njy, |i, population, fractions| {
            derived[i] = self.basis.model.derived(&populations[i], population, fractions);
        })
    }

    fn in_order(
        &self,
        populations: &[Parameters],
        w: &mut Scratch,
        flux_njy: &mut [f64],
        mut each: impl FnMut(usize, &Population, &[f64]),
    ) -> Result<(), SpsError> {
        let bands = self.basis.model.bands().len();
        assert_eq!(flux_njy.len(), populations.len() * bands, "one flux per population and band");
        let mut order: Vec<u32> = (0..populations.len() as u32).collect();
        order.sort_unstable_by(|&a, &b| {
            populations[a as usize].redshift.total_cmp(&populations[b as usize].redshift)
        });
        for i in order {
            let i = i as usize;
            let flux = &mut flux_njy[i * bands..(i + 1) * bands];
            let population = self.one(&populations[i], w, flux)?;
            each(i, &population, &w.fractions);
        }
        Ok(())
    }

    /// Four tables around a redshift, with the weights of the cubic through
    /// them, for the bands that Lyman alpha's break is in; `None` where it is in none.
    fn refined(&self, node: usize, part: f64, ln_one_plus_z: f64) -> Option<Refined<'_>> {
        let ln_break = scalar::ln(LYMAN_ALPHA_ANGSTROM) + ln_one_plus_z;
        if !self.basis.nodes.bands.iter().any(|band| is_in(ln_break, band)) {
            return None;
        }
        let last = self.nodes.len().checked_sub(4)?;
        let first = node.saturating_sub(1).min(last);
        let x = (node - first) as f64 + part;
        let tables = std::array::from_fn(|k| {
            let others = (0..4).filter(|&m| m != k);
            let weight = others.map(|m| (x - m as f64) / (k as f64 - m as f64)).product();
            (weight, self.node(first + k).table.as_slice())
        });
        Some(Refined { ln_break, tables })
    }

    /// Adds the strong lines at their own wavelengths.
    ///
    /// `place`: table below the redshift, and how far to the next.
    fn add_lines(
        &self,
        z: f64,
        ln_one_plus_z: f64,
        (node, part): (usize, f64),
        lines: &[f32],
        flux: &mut [f64],
    ) {
        let basis = &self.basis;
        let kept = self.node(node).kept.iter().zip(&self.node(node + 1).kept);
        for ((&line, &light), (below, above)) in basis.strong.iter().zip(lines).zip(kept) {
            let ln_observed = basis.model.line_ln[line] + ln_one_plus_z;
            let Some(bands) = basis.bands_at(ln_observed) else { continue };
            let kept = (1.0 - part) * below + part * above;
            let strength = f64::from(light) * kept * (1.0 + z) * SCALE;
            if strength == 0.0 {
                continue;
            }
            for &band in bands {
                let band = usize::from(band);
                flux[band] += strength * basis.model.tables[band].line(ln_observed);
            }
        }
    }

    /// Comoving distance by the cubic through two values and slopes: relative
    /// error below 1e-9.
    fn comoving_mpc(&self, node: usize, part: f64) -> f64 {
        let ((d0, s0), (d1, s1)) = (self.node(node).distance, self.node(node + 1).distance);
        let (t, u) = (part, 1.0 - part);
        let values = d0 * (1.0 + 2.0 * t) * u * u + d1 * (1.0 + 2.0 * u) * t * t;
        values + STEP * t * u * (s0 * u - s1 * t)
    }

    /// Products of a mass and a table entry per simulation, if all ages hold mass.
    #[must_use]
    pub fn products_per_simulation(&self) -> usize {
        // Two redshifts and two metallicities.
        4 * self.basis.ages * self.basis.nodes.stride
    }
}
