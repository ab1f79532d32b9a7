//! What depends neither on redshift nor on parameters.

use super::nodes::{Bins, Nodes};
use crate::error::SpsError;
use crate::gas::Emission;
use crate::model::{Components, ForwardModel, IgmModel, Population};
use outshine_kernels::{scalar, wide};
use std::sync::Arc;

/// Values of node tables are scaled by this, so that f32 holds them.
pub(super) const SCALE: f64 = 1e20;
/// Smaller values (in units of 1 / SCALE) become zero: they cannot matter, and
/// sums of subnormal numbers are slow.
const LEAST: f32 = 1e-25;
/// Attenuations at which the absorbed energy is tabulated, mag.
const A_V_STEP: f64 = 0.05;
/// A line at least this bright, of the brightest of its SSP, is placed at its exact wavelength.
const STRONG_LINE: f32 = 0.003;
/// Width in ln(wavelength) of the cells that say which bands a line can be in.
const CELL: f64 = 0.01;

/// Bands, library and attenuation nodes: the common part of tables at any redshift.
pub struct Basis {
    pub(super) model: Arc<ForwardModel>,
    pub(super) components: Components,
    pub(super) nodes: Nodes,
    pub(super) bins: Bins,
    pub(super) a_v_max: f64,
    /// (metallicities, ages) SSPs.
    pub(super) metals: usize,
    pub(super) ages: usize,
    /// (uniform bins, SSPs padded): the library, a bin's SSPs side by side.
    by_bin: Vec<f32>,
    by_bin_stride: usize,
    /// (A_V, metallicities, ages): luminosity absorbed per A_V, Lsun per Msun and mag.
    absorbed: Vec<f32>,
    /// Strong lines: their index, and (metallicities, gas ages, strong) luminosities.
    pub(super) strong: Vec<usize>,
    strong_light: Vec<f32>,
    strong_stride: usize,
    /// (strong, padded) exponents of attenuation per A_V.
    strong_exponents: Vec<f32>,
    /// Bands that see a line, per cell of ln(observed wavelength).
    cells: Vec<Vec<u16>>,
}

impl Basis {
    /// Works out what any redshift needs; about a tenth of a second.
    ///
    /// `a_v_max`: the largest A_V that will be asked for, mag.
    ///
    /// # Errors
    /// [`SpsError::Setting`] for an impossible `a_v_max`.
    pub fn new(
        model: Arc<ForwardModel>,
        components: Components,
        a_v_max: f64,
    ) -> Result<Self, SpsError> {
        if !(a_v_max > 0.0 && a_v_max <= 20.0) {
            let problem = format!("{a_v_max} is not between 0 and 20 mag");
            return Err(SpsError::setting("a_v_max", problem));
        }
        model.check_components(components)?;
        let arrays = model.library().arrays();
        let (metals, ages) = (arrays.metallicity.len(), arrays.age_edges_gyr.len() - 1);
        let bins = Bins { ln_edge: model.ln_edge, ln_step: model.ln_step, tail: model.tail };
        let screens = &model.screens;
        let mut all = vec![&screens.diffuse];
        all.extend(screens.young.as_ref().map(|(_, screen)| screen));
        let nodes = {
            let igm = model.options().igm != IgmModel::None;
            Nodes::new(&model.tables, &all, bins, a_v_max, igm)
        };
        let mut basis = Self {
            nodes,
            bins,
            a_v_max,
            metals,
            ages,
            by_bin: Vec::new(),
            by_bin_stride: (metals * ages).next_multiple_of(16),
            absorbed: Vec::new(),
            strong: Vec::new(),
            strong_light: Vec::new(),
            strong_stride: 0,
            strong_exponents: Vec::new(),
            cells: Vec::new(),
            components,
            model,
        };
        basis.transpose();
        basis.tabulate_absorption();
        basis.choose_lines();
        basis.sort_bands();
        Ok(basis)
    }

    fn gas(&self) -> Option<&Emission> {
        (self.components == Components::Full).then_some(&self.model.gas)
    }

    /// The spectrum of an SSP over all bins, tail included.
    fn ssp(&self, z: usize, age: usize) -> &[f32] {
        let waves = self.model.width.len();
        match self.gas() {
            Some(gas) if age < gas.ages => &gas.young[(z * gas.ages + age) * waves..][..waves],
            _ => &self.model.library().arrays().stellar[(z * self.ages + age) * waves..][..waves],
        }
    }

    /// Lines of an SSP, Lsun per Msun.
    fn lines_of(&self, z: usize, age: usize) -> &[f32] {
        let lines = self.model.line_ln.len();
        match self.gas() {
            Some(gas) if age < gas.ages => &gas.lines[(z * gas.ages + age) * lines..][..lines],
            _ => &[],
        }
    }

    fn transpose(&mut self) {
        let (tail, stride) = (self.bins.tail, self.by_bin_stride);
        let waves = self.model.width.len() - tail;
        let mut by_bin = vec![0.0; waves * stride];
        for z in 0..self.metals {
            for age in 0..self.ages {
                let ssp = z * self.ages + age;
                for (bin, &value) in self.ssp(z, age)[tail..].iter().enumerate() {
                    by_bin[bin * stride + ssp] = value;
                }
            }
        }
        self.by_bin = by_bin;
    }

    fn tabulate_absorption(&mut self) {
        if self.components == Components::Stellar || !self.model.options().dust_emission {
            return;
        }
        let steps = (self.a_v_max / A_V_STEP).ceil() as usize + 1;
        let screens = &self.model.screens;
        let width = &self.model.width;
        let mut absorbed = Vec::with_capacity(steps * self.metals * self.ages);
        for step in 0..steps {
            // The limit of (1 - exp(-k A)) / A where A is 0.
            let a_v = (A_V_STEP * step as f64).max(1e-3);
            let loss = |exponents: &[f32]| -> Vec<f64> {
                let lost = |&x: &f32| -scalar::expm1(a_v * f64::from(x)) / a_v;
                exponents.iter().map(lost).collect()
            };
            let per_bin = |exponents: &[f32]| -> Vec<f64> {
                let lost = loss(exponents).into_iter().zip(width);
                lost.map(|(lost, width)| lost * f64::from(*width)).collect()
            };
            let diffuse = per_bin(&screens.diffuse.bins);
            let young = screens.young.as_ref().map(|(ages, s)| (*ages, per_bin(&s.bins)));
            let of_lines = loss(&screens.of_gas().lines);
            for z in 0..self.metals {
                for age in 0..self.ages {
                    let lost = match &young {
                        Some((ages, lost)) if age < *ages => lost,
                        _ => &diffuse,
                    };
                    let dot = |values: &[f32], lost: &[f64]| -> f64 {
                        values.iter().zip(lost).map(|(v, l)| f64::from(*v) * l).sum()
                    };
                    let sum = dot(self.ssp(z, age), lost) + dot(self.lines_of(z, age), &of_lines);
                    absorbed.push(sum as f32);
                }
            }
        }
        self.absorbed = absorbed;
    }

    fn choose_lines(&mut self) {
        let Some(gas) = self.gas() else { return };
        let lines = self.model.line_ln.len();
        let mut strong = vec![false; lines];
        for row in gas.lines.chunks_exact(lines.max(1)) {
            let brightest = row.iter().copied().fold(0.0f32, f32::max);
            for (strong, &light) in strong.iter_mut().zip(row) {
                *strong |= light > STRONG_LINE * brightest;
            }
        }
        let strong: Vec<usize> = (0..lines).filter(|&l| strong[l]).collect();
        if strong.is_empty() {
            return;
        }
        let stride = strong.len().next_multiple_of(16);
        let mut light = Vec::with_capacity(self.metals * gas.ages * stride);
        for row in gas.lines.chunks_exact(lines.max(1)) {
            light.extend(strong.iter().map(|&l| row[l]));
            light.resize(light.len().next_multiple_of(stride), 0.0);
        }
        let of_gas = &self.model.screens.of_gas().lines;
        let mut exponents: Vec<f32> = strong.iter().map(|&l| of_gas[l]).collect();
        exponents.resize(stride, 0.0);
        self.strong_exponents = exponents;
        (self.strong, self.strong_light, self.strong_stride) = (strong, light, stride);
    }

    fn sort_bands(&mut self) {
        let (blue, red) = self.model.ln_range;
        let count = ((red - blue) / CELL) as usize + 1;
        self.cells = (0..count)
            .map(|cell| {
                let low = blue + cell as f64 * CELL;
                let sees = |range: (f64, f64)| range.0 <= low + CELL && range.1 >= low;
                let bands = self.model.tables.iter().enumerate();
                bands.filter(|(_, t)| sees(t.ln_range())).map(|(b, _)| b as u16).collect()
            })
            .collect();
    }

    /// Length of a table: (metallicities, ages, nodes padded).
    pub(super) fn table_len(&self) -> usize {
        self.metals * self.ages * self.nodes.stride
    }

    /// Fills a table with the node integrals of every SSP but for its strong
    /// lines at a redshift, per Lsun and before distance, in units of 1 / SCALE.
    pub(super) fn fill(&self, z: f64, table: &mut [f32]) {
        assert_eq!(table.len(), self.table_len(), "one value per SSP and node");
        table.fill(0.0);
        let model = &self.model;
        let ln_one_plus_z = scalar::ln_1p(z);
        let ln_edge = self.bins.ln_edge + ln_one_plus_z;
        let waves = model.width.len() - self.bins.tail;
        let kept = model.transmission(z, 0, waves);
        let stride = self.nodes.stride;
        let mut sums = vec![0.0f32; self.metals * self.ages];
        let mut polynomials = [0.0; 16];
        for (band, nodes) in model.tables.iter().zip(&self.nodes.bands) {
            let count = nodes.ln.len();
            let mut first = waves;
            let mut weights: Vec<Vec<f32>> = vec![Vec::new(); count];
            band.for_bins(ln_edge, waves, |bin, weight| {
                first = first.min(bin);
                let centre = ln_edge + (bin as f64 + 0.5) * self.bins.ln_step;
                nodes.polynomials(centre, &mut polynomials[..count]);
                let weight = weight * SCALE * f64::from(kept[bin]);
                for (column, polynomial) in weights.iter_mut().zip(&polynomials) {
                    column.push((weight * polynomial) as f32);
                }
            });
            if first == waves {
                continue;
            }
            let rows = &self.by_bin[first * self.by_bin_stride..];
            for (n, column) in weights.iter().enumerate() {
                sums.fill(0.0);
                wide::weighted_sum(column, rows, self.by_bin_stride, &mut sums);
                for (row, &sum) in table.chunks_exact_mut(stride).zip(&sums) {
                    row[nodes.first + n] = if sum.abs() < LEAST { 0.0 } else { sum };
                }
            }
        }
        self.add_weak_lines(z, table);
    }

    fn add_weak_lines(&self, z: f64, table: &mut [f32]) {
        let Some(gas) = self.gas() else { return };
        let model = &self.model;
        let ln_one_plus_z = scalar::ln_1p(z);
        let mut polynomials = [0.0; 16];
        for (line, &ln_rest) in model.line_ln.iter().enumerate() {
            if self.strong.contains(&line) {
                continue;
            }
            let ln_observed = ln_rest + ln_one_plus_z;
            let Some(bands) = self.bands_at(ln_observed) else { continue };
            let kept = model.line_transmission(line, z) * (1.0 + z) * SCALE;
            for &band in bands {
                let strength = kept * model.tables[usize::from(band)].line(ln_observed);
                if strength == 0.0 {
                    continue;
                }
                let nodes = &self.nodes.bands[usize::from(band)];
                nodes.polynomials(ln_observed, &mut polynomials[..nodes.ln.len()]);
                for z in 0..self.metals {
                    for age in 0..gas.ages {
                        let light = f64::from(self.lines_of(z, age)[line]);
                        let row = (z * self.ages + age) * self.nodes.stride + nodes.first;
                        for (value, p) in
                            table[row..].iter_mut().zip(&polynomials[..nodes.ln.len()])
                        {
                            *value += (light * strength * p) as f32;
                        }
                    }
                }
            }
        }
    }

    /// Strong lines in the bands at a redshift: (strong line, band, flux in the
    /// band per unit luminosity, in units of 1 / SCALE).
    pub(super) fn strong_in_bands(&self, z: f64) -> Vec<(usize, usize, f64)> {
        let ln_one_plus_z = scalar::ln_1p(z);
        let mut all = Vec::new();
        for (strong, &line) in self.strong.iter().enumerate() {
            let ln_observed = self.model.line_ln[line] + ln_one_plus_z;
            let Some(bands) = self.bands_at(ln_observed) else { continue };
            let kept = self.model.line_transmission(line, z) * (1.0 + z) * SCALE;
            for band in bands.iter().map(|&band| usize::from(band)) {
                let strength = kept * self.model.tables[band].line(ln_observed);
                if strength > 0.0 {
                    all.push((strong, band, strength));
                }
            }
        }
        all
    }

    /// Bands that may see a line at an observed wavelength.
    #[inline(always)]
    pub(super) fn bands_at(&self, ln_observed: f64) -> Option<&[u16]> {
        let position = (ln_observed - self.model.ln_range.0) / CELL;
        if position < 0.0 {
            return None;
        }
        self.cells.get(position as usize).map(Vec::as_slice)
    }

    /// Luminosity that dust absorbs, Lsun per Msun formed.
    pub(super) fn absorbed(&self, a_v: f64, population: &Population, fractions: &[f64]) -> f64 {
        if self.absorbed.is_empty() || a_v == 0.0 {
            return 0.0;
        }
        let position = a_v / A_V_STEP;
        let per_step = self.metals * self.ages;
        let step = (position as usize).min(self.absorbed.len() / per_step - 2);
        let part = position - step as f64;
        let mut sum = 0.0;
        for (z, metal) in population.metal {
            for (step, share) in [(step, 1.0 - part), (step + 1, part)] {
                let row = &self.absorbed[step * per_step + z * self.ages..];
                sum += metal * share * dot(&fractions[..population.ages], row);
            }
        }
        sum * a_v
    }

    /// Luminosities of the strong lines behind the dust, Lsun per Msun formed.
    ///
    /// `weights`: the mass per age bin; `out`: one per strong line, padded.
    pub(super) fn strong_lines(
        &self,
        a_v: f64,
        population: &Population,
        weights: &[f32],
        out: &mut [f32],
    ) {
        out.fill(0.0);
        let Some(gas) = self.gas() else { return };
        let ages = population.ages.min(gas.ages);
        for (z, metal) in population.metal {
            let metal = metal as f32;
            let mut scaled = [0.0f32; 128];
            for (out, weight) in scaled.iter_mut().zip(&weights[..ages]) {
                *out = metal * weight;
            }
            let rows = &self.strong_light[z * gas.ages * self.strong_stride..];
            wide::weighted_sum(&scaled[..ages], rows, self.strong_stride, out);
        }
        wide::decay(out, &self.strong_exponents, a_v as f32);
    }

    /// Number of strong lines, padded.
    pub(super) fn strong_len(&self) -> usize {
        self.strong_stride
    }

    /// Dust emission per unit absorbed luminosity in each band at a redshift,
    /// in units of 1 / SCALE.
    pub(super) fn dust_emission(&self, z: f64, out: &mut [f64]) {
        let model = &self.model;
        let template = &model.library().arrays().dust_emission[self.bins.tail..];
        let ln_edge = self.bins.ln_edge + scalar::ln_1p(z);
        for (out, band) in out.iter_mut().zip(&model.tables) {
            *out = if self.absorbed.is_empty() {
                0.0
            } else {
                band.integrate(ln_edge, template) * SCALE
            };
        }
    }
}

/// Sum of products in eight chains, joined in a fixed order.
fn dot(a: &[f64], b: &[f32]) -> f64 {
    let mut sums = [0.0; 8];
    let mut chunks = a.chunks_exact(8).zip(b.chunks_exact(8));
    for (a, b) in &mut chunks {
        for lane in 0..8 {
            sums[lane] += a[lane] * f64::from(b[lane]);
        }
    }
    let done = a.len() / 8 * 8;
    let rest: f64 = a[done..].iter().zip(&b[done..]).map(|(a, b)| a * f64::from(*b)).sum();
    let [s0, s1, s2, s3, s4, s5, s6, s7] = sums;
    ((s0 + s4) + (s2 + s6)) + ((s1 + s5) + (s3 + s7)) + rest
}
