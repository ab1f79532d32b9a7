//! Integrals of one band over spectra, tabulated.

use super::{Filter, LIGHT_ANGSTROM_S};
use outshine_kernels::scalar;

/// A band's integral over spectra on a grid uniform in ln(wavelength).
pub(crate) struct BandTable {
    /// ln of the wavelength of the first node.
    ln_first: f64,
    /// Distance of nodes in ln(wavelength): the grid's step / [`BandTable::PER_BIN`].
    ln_step: f64,
    /// int T lambda dlambda up to each node, over c int T dlambda / lambda.
    cumulative: Vec<f64>,
    /// T lambda / (c int T dlambda / lambda) at each node: what a line counts for.
    density: Vec<f64>,
}

impl BandTable {
    /// Nodes per bin of the spectral grid: half-widths of filter edges span many nodes.
    pub const PER_BIN: usize = 8;

    pub fn new(filter: &Filter, ln_bin: f64) -> Self {
        let ln_step = ln_bin / Self::PER_BIN as f64;
        let (blue, red) = filter.range_angstrom();
        let ln_first = scalar::ln(blue) - ln_step;
        let nodes = ((scalar::ln(red) - ln_first) / ln_step) as usize + 3;
        let scale = 1.0 / (LIGHT_ANGSTROM_S * filter.norm());
        let wave = |node: usize| scalar::exp(ln_first + node as f64 * ln_step);
        let cumulative = (0..nodes).map(|i| filter.cumulative(wave(i)) * scale).collect();
        let density = (0..nodes).map(|i| filter.throughput_at(wave(i)) * wave(i) * scale).collect();
        Self { ln_first, ln_step, cumulative, density }
    }

    /// ln of the blue and of the red end, Angstrom.
    pub fn ln_range(&self) -> (f64, f64) {
        (self.ln_first, self.ln_first + (self.cumulative.len() - 1) as f64 * self.ln_step)
    }

    /// The same, without ends that hold less than `share` of the band each.
    pub fn ln_range_without(&self, share: f64) -> (f64, f64) {
        let total = self.cumulative[self.cumulative.len() - 1];
        let below = |fraction: f64| self.cumulative.partition_point(|&c| c < fraction * total);
        let ln = |node: usize| self.ln_first + node as f64 * self.ln_step;
        (ln(below(share).saturating_sub(1)), ln(below(1.0 - share)))
    }

    /// <f_nu> of a spectrum of bin means f_lambda, per unit f_lambda (per Angstrom).
    ///
    /// `ln_edge`: ln of the observed blue edge of bin 0; bins are
    /// `PER_BIN` nodes wide.
    pub fn integrate(&self, ln_edge: f64, spectrum: &[f32]) -> f64 {
        let mut sum = 0.0;
        self.for_bins(ln_edge, spectrum.len(), |bin, weight| {
            sum += f64::from(spectrum[bin]) * weight;
        });
        sum
    }

    /// Calls `each` with the bins that the band sees, of `bins` in all, and the
    /// weight of their mean f_lambda in <f_nu>.
    #[inline(always)]
    pub fn for_bins(&self, ln_edge: f64, bins: usize, mut each: impl FnMut(usize, f64)) {
        let (blue, red) = self.ln_range();
        let bin = self.ln_step * Self::PER_BIN as f64;
        let first = (((blue - ln_edge) / bin).max(0.0)) as usize;
        let last = ((((red - ln_edge) / bin).max(0.0)) as usize + 1).min(bins);
        if first >= last {
            return;
        }
        let position = (ln_edge + first as f64 * bin - blue) / self.ln_step;
        let floor = position.floor();
        let part = position - floor;
        let mut node = floor as i64;
        let mut left = self.at(node, part);
        for i in first..last {
            node += Self::PER_BIN as i64;
            let right = self.at(node, part);
            each(i, right - left);
            left = right;
        }
    }

    /// Cumulative integral at `node` + `part`, held constant beyond both ends.
    #[inline]
    fn at(&self, node: i64, part: f64) -> f64 {
        let last = self.cumulative.len() - 1;
        if node < 0 {
            return self.cumulative[0];
        }
        let node = node as usize;
        if node >= last {
            return self.cumulative[last];
        }
        let (a, b) = (self.cumulative[node], self.cumulative[node + 1]);
        a + part * (b - a)
    }

    /// <f_nu> of a line of unit flux at an observed wavelength.
    pub fn line(&self, ln_observed: f64) -> f64 {
        let position = (ln_observed - self.ln_first) / self.ln_step;
        if position < 0.0 {
            return 0.0;
        }
        let node = position as usize;
        if node + 1 >= self.density.len() {
            return 0.0;
        }
        let part = position - node as f64;
        self.density[node] * (1.0 - part) + self.density[node + 1] * part
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FilterSet;

    #[test]
    fn a_flat_f_nu_spectrum_has_its_own_flux() {
        // f_lambda = c / lambda^2 is f_nu = 1; bin means of 1 / lambda^2 are 1 / (a b).
        let ln_bin = 0.002;
        for filter in FilterSet::embedded(&FilterSet::embedded_names()).unwrap().filters() {
            let table = BandTable::new(filter, ln_bin);
            for shift in [0.0, 0.000_3, 0.001_7] {
                let ln_edge = 7.5 + shift;
                let spectrum: Vec<f32> = (0..2000)
                    .map(|i| {
                        let a = (ln_edge + f64::from(i) * ln_bin).exp();
                        (LIGHT_ANGSTROM_S / (a * a * ln_bin.exp())) as f32
                    })
                    .collect();
                let flux = table.integrate(ln_edge, &spectrum);
                // Single precision of the spectrum, and bins 0.2 % wide; the narrowest
                // bands (F656N: 0.3 %) span few of them.
                let (blue, red) = filter.range_angstrom();
                let tolerance = if red / blue > 1.021 { 1e-5 } else { 3e-4 };
                assert!((flux - 1.0).abs() < tolerance, "{}: {flux}", filter.name());
            }
        }
    }

    #[test]
    fn a_line_counts_as_a_narrow_box() {
        let set = FilterSet::embedded(&["f444w"]).unwrap();
        let table = BandTable::new(&set.filters()[0], 0.002);
        let ln_edge = 44_000f64.ln();
        let width = 44_000.0 * (0.002f64.exp() - 1.0);
        let mut spectrum = [0.0f32; 1];
        spectrum[0] = (1.0 / width) as f32;
        let box_flux = table.integrate(ln_edge, &spectrum);
        let line = table.line(ln_edge + 0.001);
        assert!((box_flux / line - 1.0).abs() < 1e-3, "{box_flux} {line}");
    }
}
