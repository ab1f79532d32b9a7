//! What several tests of the forward model share.

#![allow(dead_code, reason = "each test binary uses a part")]

use outshine_kernels::random::{Purpose, Stream};
use outshine_sps::cosmology::age_gyr;
use outshine_sps::library::Arrays;
use outshine_sps::{
    Components, Derived, Filter, FilterSet, ForwardModel, ModelOptions, Parameters, Prior, Sfh,
    SfhFamily, SspLibrary,
};
use std::sync::{Arc, OnceLock};

/// Every family of histories.
pub const FAMILIES: [SfhFamily; 4] =
    [SfhFamily::Tau, SfhFamily::Dirichlet, SfhFamily::DoublePowerLaw, SfhFamily::Continuity];

/// A band fainter than this share of the brightest is in no comparison: what
/// leaks through the wings of filters far below the Lyman break is no signal.
pub const FAINT: f64 = 1e-3;

static LIBRARY: OnceLock<Arc<SspLibrary>> = OnceLock::new();

/// The embedded library, read once per test binary.
pub fn library() -> &'static Arc<SspLibrary> {
    LIBRARY.get_or_init(|| Arc::new(SspLibrary::embedded().unwrap()))
}

/// The arrays of the embedded library.
pub fn arrays() -> &'static Arrays {
    library().arrays()
}

/// A model of given bands.
pub fn model(filters: FilterSet, options: ModelOptions) -> Arc<ForwardModel> {
    Arc::new(ForwardModel::new(library().clone(), filters, options).unwrap())
}

/// Top-hat bands around observed wavelengths, `half` (relative) to either side.
pub fn top_hats(waves_angstrom: &[f64], half: f64) -> FilterSet {
    let filters = waves_angstrom.iter().enumerate().map(|(i, wave)| {
        let edge = 1e-4;
        let points = [(-half - edge, 0), (-half, 1), (half, 1), (half + edge, 0)];
        let line = |(off, t): &(f64, i32)| format!("{:.6} {t}\n", wave * (1.0 + off));
        let table: String = points.iter().map(line).collect();
        Filter::from_table(&format!("b{i}"), &table).unwrap()
    });
    FilterSet::new(filters.collect()).unwrap()
}

/// Draw `index` of a prior.
pub fn draw(prior: &Prior, index: u64) -> Parameters {
    prior.draw(&mut Stream::new(11, Purpose::Simulation, index, 0))
}

/// Draw `index` of a prior at a redshift.
pub fn draw_at(prior: &Prior, redshift: f64, index: u64) -> Parameters {
    prior.draw_at(redshift, &mut Stream::new(12, Purpose::Simulation, index, 0))
}

/// The population whose oldest stars have an age at a redshift, tau-delayed.
pub fn tau_delayed(redshift: f64, tau_gyr: f64, duration_gyr: f64) -> Parameters {
    Parameters {
        sfh: Sfh::Tau { tau_gyr, t_i_gyr: age_gyr(redshift) - duration_gyr },
        log_mass_formed: 9.0,
        metallicity: 0.0,
        a_v: 0.0,
        redshift,
    }
}

/// Fluxes (nJy) and what derives, at the library's full resolution.
pub fn photometry(
    model: &ForwardModel,
    p: &Parameters,
    components: Components,
) -> (Vec<f64>, Derived) {
    let mut flux = vec![0.0; model.bands().len()];
    let derived = model.photometry(p, components, &mut model.workspace(), &mut flux).unwrap();
    (flux, derived)
}

/// |delta mag| and band of those bands of `exact` that are not faint.
pub fn differences(got: &[f64], exact: &[f64]) -> Vec<(f64, usize)> {
    let limit = FAINT * exact.iter().copied().fold(0.0, f64::max);
    let bright = (0..exact.len()).filter(|&b| exact[b] > limit);
    bright.map(|b| ((2.5 * (got[b] / exact[b]).log10()).abs(), b)).collect()
}

/// The value below which a share of sorted values lies.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share) as usize]
}
