//! Where in each band attenuation is evaluated.
//!
//! Within a band, exp(-A(lambda)) is smooth: it is replaced by the polynomial
//! through a few Chebyshev nodes in ln(lambda). Then
//!
//! int f T exp(-A) dlambda = sum over nodes n of exp(-A_n) int f T L_n dlambda,
//!
//! L_n the Lagrange polynomials, and the integrals on the right know nothing
//! of dust. A polynomial of degree n - 1 through Chebyshev nodes is off by at
//! most 2 (a/2)^n / n! for an exponential that changes by exp(2 a) across the band.

use crate::filters::BandTable;
use crate::model::Screen;
use outshine_kernels::scalar;

/// Largest error of the polynomial, relative to the band's mean transmission,
/// at which a band gets no more nodes. Reached at the largest A_V alone, and
/// where a law has a kink: Calzetti's jumps by 0.7 % at 6300 A.
const TOLERANCE: f64 = 3e-3;
/// Share of a band that may lie outside its nodes at either end: polynomials
/// reach a little beyond them.
const OUTSIDE: f64 = 5e-4;
/// Bluest rest wavelength, Angstrom, whose light reaches a band through the IGM.
const BLUEST_ANGSTROM: f64 = 920.0;
/// Fewest and most nodes per band.
const NODES: (usize, usize) = (2, 16);
/// Rows of node values are padded to a multiple of this.
const LANES: usize = 16;
/// Rest-frame shifts at which a band's nodes are tried.
const TRIALS: usize = 400;

/// Chebyshev nodes of one band.
#[derive(Clone, Debug)]
pub(super) struct BandNodes {
    /// Index of the first of them.
    pub first: usize,
    /// ln of the observed wavelength of each, Angstrom.
    pub ln: Vec<f64>,
    /// 1 / prod over m != n of (x_n - x_m).
    scale: Vec<f64>,
}

impl BandNodes {
    fn new(first: usize, (blue, red): (f64, f64), count: usize) -> Self {
        let (middle, half) = (0.5 * (blue + red), 0.5 * (red - blue));
        let ln: Vec<f64> = (0..count)
            .map(|k| {
                let angle = std::f64::consts::PI * (2 * k + 1) as f64 / (2 * count) as f64;
                middle - half * scalar::cos(angle)
            })
            .collect();
        let product = |n: usize| -> f64 {
            ln.iter().enumerate().filter(|&(m, _)| m != n).map(|(_, x)| ln[n] - x).product()
        };
        let scale = (0..count).map(|n| 1.0 / product(n)).collect();
        Self { first, ln, scale }
    }

    /// Values of the Lagrange polynomials at an observed wavelength.
    pub fn polynomials(&self, ln_observed: f64, out: &mut [f64]) {
        for (n, (out, scale)) in out.iter_mut().zip(&self.scale).enumerate() {
            let mut product = *scale;
            for (m, x) in self.ln.iter().enumerate() {
                if m != n {
                    product *= ln_observed - x;
                }
            }
            *out = product;
        }
    }
}

/// The nodes of all bands.
pub(super) struct Nodes {
    pub bands: Vec<BandNodes>,
    /// Length of a row of node values: their number, padded.
    pub stride: usize,
}

/// A grid of rest-frame bins that a [`Screen`] is given on.
#[derive(Clone, Copy)]
pub(super) struct Bins {
    /// ln of the first edge of the uniform bins, and their width.
    pub ln_edge: f64,
    pub ln_step: f64,
    /// Index of the first uniform bin.
    pub tail: usize,
}

impl Bins {
    /// Exponent per unit A_V at a rest wavelength: linear between bin centres.
    #[inline(always)]
    pub fn exponent(&self, screen: &[f32], ln_rest: f64) -> f32 {
        let uniform = &screen[self.tail..];
        let last = uniform.len() - 2;
        let position =
            ((ln_rest - self.ln_edge) / self.ln_step - 0.5).clamp(0.0, last as f64 + 1.0);
        let bin = (position as usize).min(last);
        let part = (position - bin as f64) as f32;
        uniform[bin] * (1.0 - part) + uniform[bin + 1] * part
    }
}

impl Nodes {
    /// As many nodes per band as attenuations up to `a_v_max` need.
    ///
    /// `igm`: whether the IGM absorbs what is bluer than the Lyman limit.
    pub fn new(
        tables: &[BandTable],
        screens: &[&Screen],
        bins: Bins,
        a_v_max: f64,
        igm: bool,
    ) -> Self {
        let ln_bluest = if igm { scalar::ln(BLUEST_ANGSTROM) } else { bins.ln_edge };
        let mut bands = Vec::with_capacity(tables.len());
        let mut first = 0;
        for table in tables {
            let range = table.ln_range_without(OUTSIDE);
            let mut nodes = BandNodes::new(first, range, NODES.0);
            for count in NODES.0..=NODES.1 {
                nodes = BandNodes::new(first, range, count);
                let error =
                    |screen: &&Screen| worst(&nodes, table, &screen.bins, bins, a_v_max, ln_bluest);
                if screens.iter().map(error).fold(0.0, f64::max) < TOLERANCE {
                    break;
                }
            }
            first += nodes.ln.len();
            bands.push(nodes);
        }
        Self { bands, stride: first.next_multiple_of(LANES) }
    }

    /// Exponents per unit A_V at every node for a redshift.
    pub fn exponents(&self, bins: Bins, screen: &[f32], ln_one_plus_z: f64, out: &mut [f32]) {
        for band in &self.bands {
            for (out, ln) in out[band.first..].iter_mut().zip(&band.ln) {
                *out = bins.exponent(screen, ln - ln_one_plus_z);
            }
        }
    }
}

/// Largest error over redshift of a flat spectrum's transmission, relative to it.
fn worst(
    nodes: &BandNodes,
    table: &BandTable,
    screen: &[f32],
    bins: Bins,
    a_v: f64,
    ln_bluest: f64,
) -> f64 {
    const STEPS: usize = 64;
    let (blue, red) = table.ln_range();
    let ln_red_end = bins.ln_edge + (screen.len() - bins.tail) as f64 * bins.ln_step;
    let span = blue - ln_bluest;
    let mut polynomials = vec![0.0; nodes.ln.len()];
    let mut worst = 0.0f64;
    for trial in 0..TRIALS {
        let shift = span * (trial as f64 + 0.5) / TRIALS as f64;
        if red - shift > ln_red_end {
            continue;
        }
        let kept = |ln: f64| scalar::exp(a_v * f64::from(bins.exponent(screen, ln - shift)));
        let at_nodes: Vec<f64> = nodes.ln.iter().map(|&ln| kept(ln)).collect();
        let (mut exact, mut got) = (0.0, 0.0);
        for step in 0..STEPS {
            let ln = blue + (red - blue) * (step as f64 + 0.5) / STEPS as f64;
            let weight = table.line(ln);
            nodes.polynomials(ln, &mut polynomials);
            exact += weight * kept(ln);
            got += weight * polynomials.iter().zip(&at_nodes).map(|(l, e)| l * e).sum::<f64>();
        }
        worst = worst.max((got / exact - 1.0).abs());
    }
    worst
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polynomials_through_the_nodes_are_exact() {
        let nodes = BandNodes::new(0, (9.0, 9.4), 5);
        let f = |x: f64| 1.0 + x * (2.0 - x * (0.5 + x * 0.01));
        let mut l = [0.0; 5];
        for x in [9.0, 9.13, 9.4] {
            nodes.polynomials(x, &mut l);
            let sum: f64 = l.iter().zip(&nodes.ln).map(|(l, &n)| l * f(n)).sum();
            assert!((sum - f(x)).abs() < 1e-9 * f(x).abs());
            assert!((l.iter().sum::<f64>() - 1.0).abs() < 1e-10);
        }
    }
}
