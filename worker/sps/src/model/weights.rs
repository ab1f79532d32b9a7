//! Mass per age bin of the library, and weights of its metallicities.

use crate::library::Arrays;
use crate::sfh::{History, Sfh, sampled_rates};
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
    /// As the Python package bagpipes does, for comparison: the rate is sampled
    /// every 0.0025 dex in age, samples are summed in bins of 0.1 dex, and stars
    /// form at a constant rate within a bin. Ages and rates are those of the samples.
    Bagpipes,
}

/// bagpipes' samples of a history: from 1 Myr, log10 of years, and their step.
const FIRST_LOG_AGE: f64 = 6.0;
const STEP_DEX: f64 = 0.0025;
/// Samples per age bin, 0.1 dex; the first bin ends after half as many.
const PER_BIN: usize = 40;
/// Its age of the Universe, where the last sample ends, Gyr.
const LAST_GYR: f64 = 13.467;

/// The way from a history to the mass per age bin of a library.
pub(super) struct AgeWeights {
    /// bagpipes' samples and bins, if they are asked for.
    sampled: Option<Sampled>,
}

/// What follows from a history that was sampled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moments {
    pub mean_age_gyr: f64,
    /// Share of the mass formed in the last 100 Myr, per Gyr.
    pub recent_per_gyr: f64,
}

struct Sampled {
    ages_gyr: Vec<f64>,
    widths_gyr: Vec<f64>,
    /// Per bin of the library: the bin of samples around it and its share of it.
    shares: Vec<(usize, f64)>,
}

impl AgeWeights {
    pub fn new(binning: AgeBinning, arrays: &Arrays) -> Self {
        let sampled =
            (binning == AgeBinning::Bagpipes).then(|| Sampled::new(&arrays.age_edges_gyr));
        Self { sampled }
    }

    /// Mass fractions per age bin of the library; returns how many leading
    /// bins can be non-zero, and the moments of a sampled history.
    pub fn fractions(
        &self,
        sfh: &Sfh,
        cosmic_age_gyr: f64,
        history: &History,
        edges_gyr: &[f64],
        out: &mut [f64],
    ) -> (usize, Option<Moments>) {
        let samples =
            self.sampled.as_ref().and_then(|s| s.apply(sfh, cosmic_age_gyr, history, out));
        match samples {
            Some(moments) => {
                let last = out.iter().rposition(|&mass| mass > 0.0);
                (last.map_or(0, |last| last + 1), Some(moments))
            }
            None => (history.bin_fractions(edges_gyr, out), None),
        }
    }
}

impl Sampled {
    fn new(fine_gyr: &[f64]) -> Self {
        let log_last = scalar::log10(LAST_GYR) + 9.0;
        let count = ((log_last + 2.0 * STEP_DEX - FIRST_LOG_AGE) / STEP_DEX).ceil() as usize;
        let gyr = |log_age: f64| scalar::exp10(log_age - 9.0);
        let ages_gyr: Vec<f64> =
            (0..count).map(|k| gyr(FIRST_LOG_AGE + STEP_DEX * k as f64)).collect();
        let mut edges = vec![0.0];
        edges.extend((1..count).map(|k| gyr(FIRST_LOG_AGE + STEP_DEX * (k as f64 - 0.5))));
        edges.push(LAST_GYR);
        let widths_gyr = edges.windows(2).map(|w| (w[1] - w[0]).max(0.0)).collect();

        // Edges of the bins of samples, between which the library's bins lie.
        let edge =
            |bin: usize| gyr(FIRST_LOG_AGE + STEP_DEX * (PER_BIN * bin + PER_BIN / 2) as f64);
        let bins: Vec<f64> = (0..=count / PER_BIN).map(edge).collect();
        let middles: Vec<f64> = fine_gyr.windows(2).map(|w| 0.5 * (w[0] + w[1])).collect();
        let bin_of = |age_gyr: f64| bins.partition_point(|&edge| edge <= age_gyr);
        let mut total = vec![0.0; bins.len() + 1];
        for (middle, w) in middles.iter().zip(fine_gyr.windows(2)) {
            total[bin_of(*middle)] += w[1] - w[0];
        }
        let shares = middles.iter().zip(fine_gyr.windows(2)).map(|(&middle, w)| {
            let bin = bin_of(middle);
            (bin, (w[1] - w[0]) / total[bin])
        });
        Self { ages_gyr, widths_gyr, shares: shares.collect() }
    }

    /// `None` where no sample holds mass: star formation younger than the first.
    fn apply(
        &self,
        sfh: &Sfh,
        cosmic_age_gyr: f64,
        history: &History,
        out: &mut [f64],
    ) -> Option<Moments> {
        let mut masses = sampled_rates(sfh, history, &self.ages_gyr, cosmic_age_gyr);
        for (mass, width) in masses.iter_mut().zip(&self.widths_gyr) {
            *mass *= width;
        }
        let total: f64 = masses.iter().sum();
        if !(total > 0.0 && total.is_finite()) {
            return None;
        }
        let mut bins = vec![0.0; self.shares.iter().map(|s| s.0 + 1).max().unwrap_or(1)];
        let last = bins.len() - 1;
        for (k, mass) in masses.iter().enumerate() {
            bins[((k + PER_BIN / 2) / PER_BIN).min(last)] += mass / total;
        }
        for (out, &(bin, share)) in out.iter_mut().zip(&self.shares) {
            *out = bins[bin] * share;
        }
        let dot = |values: &[f64]| -> f64 { values.iter().zip(&masses).map(|(v, m)| v * m).sum() };
        let recent = self.ages_gyr.partition_point(|&age| age < 0.1);
        let formed: f64 = masses[..recent].iter().sum();
        let time: f64 = self.widths_gyr[..recent].iter().sum();
        Some(Moments {
            mean_age_gyr: dot(&self.ages_gyr) / total,
            recent_per_gyr: formed / total / time,
        })
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
    fn samples_fill_pairs_of_bins() {
        let edges = edges();
        let sampled = Sampled::new(&edges);
        assert_eq!(sampled.shares.len(), 83);
        let bins = sampled.shares.iter().map(|s| s.0).max().unwrap() + 1;
        assert_eq!(bins, 42, "bagpipes has 42 bins");
        assert_eq!(sampled.shares[0], (0, 1.0));
        let mut sums = vec![0.0; bins];
        for &(bin, share) in &sampled.shares {
            sums[bin] += share;
        }
        assert!(sums.iter().all(|s| (s - 1.0f64).abs() < 1e-12));
        // 10^0.05 = 1.122: the older half of a bin is wider by as much.
        assert!((sampled.shares[2].1 / sampled.shares[1].1 - 1.122_018).abs() < 1e-5);
        // Samples tile the time since the Big Bang, to one of them (0.6 %).
        assert!((sampled.widths_gyr.iter().sum::<f64>() / LAST_GYR - 1.0).abs() < 6e-3);
    }

    /// A smooth history, sampled, is nearly the exact one.
    #[test]
    fn sampled_moments_are_near_the_exact_ones() {
        let sfh = Sfh::Tau { tau_gyr: 2.0, t_i_gyr: 1.0 };
        let history = History::new(&sfh, 6.0).unwrap();
        let edges = edges();
        let mut out = vec![0.0; 83];
        let moments = Sampled::new(&edges).apply(&sfh, 6.0, &history, &mut out).unwrap();
        assert!((out.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        assert!((moments.mean_age_gyr / history.mean_age_gyr() - 1.0).abs() < 1e-4);
        let exact = history.mass_fraction(0.0, 0.1) / 0.1;
        assert!((moments.recent_per_gyr / exact - 1.0).abs() < 2e-3, "0.1 Gyr ends in a sample");
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
