//! The continuity history, Leja et al. (2019): seven bins of lookback time
//! with a constant star-formation rate each, described by the logarithms of
//! the ratios of rates of neighbouring bins.
//!
//! Edges: 0, 30 Myr, 100 Myr, four bins even in log age up to 0.85 T, and T,
//! the cosmic age. Where 100 Myr is more than half of 0.85 T, the second and
//! third edge shrink to 0.3 and 1 times 0.425 T: edges always rise.
//! log_sfr_ratios[i] = log10(SFR of bin i / SFR of bin i + 1), bin 0 the
//! youngest: positive ratios are rising histories.

use super::steps::Steps;
use outshine_kernels::scalar;

/// Number of bins.
const BINS: usize = 7;

/// Edges of the bins in lookback time, Gyr, strictly rising.
fn edges(cosmic_age_gyr: f64) -> [f64; BINS + 1] {
    let last = 0.85 * cosmic_age_gyr;
    let second = f64::min(0.1, 0.5 * last);
    let step = (last / second).sqrt().sqrt();
    [
        0.0,
        0.3 * second,
        second,
        second * step,
        second * step * step,
        second * step * step * step,
        last,
        cosmic_age_gyr,
    ]
}

/// The history at a cosmic age.
pub(super) fn history(log_sfr_ratios: &[f64; BINS - 1], cosmic_age_gyr: f64) -> Steps {
    let edges = edges(cosmic_age_gyr);
    let mut rates = [1.0; BINS];
    for i in 1..BINS {
        rates[i] = rates[i - 1] * scalar::exp10(-log_sfr_ratios[i - 1]);
    }
    let masses: [f64; BINS] = std::array::from_fn(|i| rates[i] * (edges[i + 1] - edges[i]));
    Steps::listed(edges.to_vec(), &masses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_those_of_the_paper_and_always_rise() {
        let e = edges(10.0);
        assert!((e[1] - 0.03).abs() < 1e-15 && e[2] == 0.1 && e[7] == 10.0);
        for i in 2..6 {
            // Four bins even in log age up to 8.5 Gyr.
            assert!((e[i + 1] / e[i] - 85f64.powf(0.25)).abs() < 1e-12);
        }
        for t in [1e-3, 0.1, 0.2, 0.24, 0.5, 13.5] {
            assert!(edges(t).windows(2).all(|w| w[0] < w[1]), "{t}");
        }
    }

    #[test]
    fn equal_rates_are_a_constant_history_and_ratios_have_their_sign() {
        let constant = history(&[0.0; 6], 4.0);
        assert!((constant.mean_age_gyr() - 2.0).abs() < 1e-12);
        assert!((constant.mass_fraction(0.02, 1.7) - 1.68 / 4.0).abs() < 1e-12);
        let rising = history(&[1.0, 0.0, 0.0, 0.0, 0.0, 0.0], 4.0);
        let ratio = rising.rate_per_gyr(0.01) / rising.rate_per_gyr(0.05);
        assert!((ratio - 10.0).abs() < 1e-9, "the youngest bin forms ten times as many stars");
    }
}
