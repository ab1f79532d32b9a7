//! Mass per age bin of the library, and weights of its metallicities.

use crate::library::Arrays;
use crate::sfh::History;
use outshine_kernels::scalar;
use serde::{Deserialize, Serialize};

/// How fluxes are interpolated between metallicities of the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetallicityScale {
    /// Linear in log Z.
    #[default]
    LogZ,
    /// Linear in Z, as bagpipes does: for comparison.
    LinearZ,
}

/// How the mass formed is put into the library's age bins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgeBinning {
    /// The exact mass formed in each bin of the library.
    #[default]
    Exact,
    /// As the Python package bagpipes does, for comparison: bins of 0.1 dex,
    /// within which stars form at a constant rate. Its histories are sampled
    /// every 0.0025 dex and a sample on an edge counts for the older bin, so
    /// its edges lie half a sample younger than they say.
    Bagpipes,
}

/// Half of bagpipes' step of sampling a history, dex.
const BAGPIPES_HALF_STEP_DEX: f64 = 0.00125;
/// Edges of bagpipes' age bins: this, then every 0.1 dex, log10 of years.
const BAGPIPES_FIRST_LOG_AGE: f64 = 6.05;
const BAGPIPES_STEP_DEX: f64 = 0.1;

/// The way from a history to the mass per age bin of a library.
pub(super) struct AgeWeights {
    /// Wider bins of which the library's bins are shares, if that is asked for.
    coarse: Option<Coarse>,
}

struct Coarse {
    edges_gyr: Vec<f64>,
    /// Per bin of the library: the coarse bin around it and its share of it.
    shares: Vec<(usize, f64)>,
}

impl AgeWeights {
    pub fn new(binning: AgeBinning, arrays: &Arrays) -> Self {
        let coarse = (binning == AgeBinning::Bagpipes).then(|| Coarse::new(&arrays.age_edges_gyr));
        Self { coarse }
    }

    /// Mass fractions per age bin of the library; returns how many leading
    /// bins can be non-zero.
    pub fn fractions(&self, history: &History, edges_gyr: &[f64], out: &mut [f64]) -> usize {
        let Some(coarse) = &self.coarse else {
            return history.bin_fractions(edges_gyr, out);
        };
        let mut masses = [0.0; 64];
        let masses = &mut masses[..coarse.edges_gyr.len() - 1];
        history.bin_fractions(&coarse.edges_gyr, masses);
        for (out, &(bin, share)) in out.iter_mut().zip(&coarse.shares) {
            *out = masses[bin] * share;
        }
        out.iter().rposition(|&mass| mass > 0.0).map_or(0, |last| last + 1)
    }
}

impl Coarse {
    fn new(fine_gyr: &[f64]) -> Self {
        let oldest = fine_gyr[fine_gyr.len() - 1];
        let nominal: Vec<f64> = (0..60)
            .map(|i| BAGPIPES_FIRST_LOG_AGE + BAGPIPES_STEP_DEX * f64::from(i) - 9.0)
            .map(scalar::exp10)
            .take_while(|&edge| edge < oldest * 0.999)
            .collect();
        let bin_of = |age_gyr: f64| nominal.partition_point(|&edge| edge <= age_gyr);
        let middles: Vec<f64> = fine_gyr.windows(2).map(|w| 0.5 * (w[0] + w[1])).collect();
        let mut widths = vec![0.0; nominal.len() + 1];
        for (middle, w) in middles.iter().zip(fine_gyr.windows(2)) {
            widths[bin_of(*middle)] += w[1] - w[0];
        }
        let shares = middles.iter().zip(fine_gyr.windows(2)).map(|(&middle, w)| {
            let bin = bin_of(middle);
            (bin, (w[1] - w[0]) / widths[bin])
        });
        let shares = shares.collect();
        let shift = scalar::exp10(-BAGPIPES_HALF_STEP_DEX);
        let mut edges_gyr = vec![0.0];
        edges_gyr.extend(nominal.iter().map(|edge| edge * shift));
        edges_gyr.push(oldest);
        Self { edges_gyr, shares }
    }
}

/// The two metallicities around [M/H] in a rising `grid`, with their weights.
pub(super) fn metal_weights(
    scale: MetallicityScale,
    grid: &[f64],
    metallicity: f64,
) -> [(usize, f64); 2] {
    let above = grid.partition_point(|&z| z <= metallicity).clamp(1, grid.len() - 1);
    let (low, high) = (grid[above - 1], grid[above]);
    let part = match scale {
        MetallicityScale::LogZ => (metallicity - low) / (high - low),
        MetallicityScale::LinearZ => {
            let z = [low, high, metallicity].map(scalar::exp10);
            (z[2] - z[0]) / (z[1] - z[0])
        }
    };
    let part = part.clamp(0.0, 1.0);
    [(above - 1, 1.0 - part), (above, part)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The library's edges: 0, then every 0.05 dex from 10^6.05 yr.
    fn edges() -> Vec<f64> {
        let mut edges = vec![0.0];
        edges.extend((0..=82).map(|i| scalar::exp10(6.05 + 0.05 * f64::from(i) - 9.0)));
        edges
    }

    #[test]
    fn coarse_bins_hold_pairs_of_fine_ones() {
        let edges = edges();
        let coarse = Coarse::new(&edges);
        assert_eq!(coarse.shares.len(), 83);
        assert_eq!(coarse.edges_gyr.len() - 1, 42, "bagpipes has 42 bins");
        assert_eq!(coarse.shares[0], (0, 1.0));
        let mut sums = vec![0.0; 42];
        for &(bin, share) in &coarse.shares {
            sums[bin] += share;
        }
        assert!(sums.iter().all(|s| (s - 1.0f64).abs() < 1e-12));
        // 10^0.05 = 1.122: the older half of a bin is wider by as much.
        assert!((coarse.shares[2].1 / coarse.shares[1].1 - 1.122_018).abs() < 1e-5);
    }

    #[test]
    fn weights_are_linear_in_the_scale_asked_for() {
        let grid = [-1.0, 0.0, 0.4];
        let [(a, wa), (b, wb)] = metal_weights(MetallicityScale::LogZ, &grid, -0.5);
        assert_eq!((a, b), (0, 1));
        assert!((wa - 0.5).abs() < 1e-12 && (wb - 0.5).abs() < 1e-12);
        // 10^-0.5 = 0.3162 lies at (0.3162 - 0.1) / 0.9 of the way.
        let [_, (_, wb)] = metal_weights(MetallicityScale::LinearZ, &grid, -0.5);
        assert!((wb - 0.240_253).abs() < 1e-6);
        for beyond in [-1.0 - 1e-12, 0.4 + 1e-12] {
            let [(_, wa), (_, wb)] = metal_weights(MetallicityScale::LogZ, &grid, beyond);
            assert!(wa == 0.0 || wb == 0.0, "clamped at the ends");
        }
    }
}
