//! The forward model against closed forms.

#![cfg(feature = "bc03")]

use outshine_sps::cosmology::{age_gyr, luminosity_distance_mpc};
use outshine_sps::dust::calzetti_ratio;
use outshine_sps::{
    Components, Filter, FilterSet, ForwardModel, IgmModel, ModelOptions, Parameters, Sfh, SpsError,
    SspLibrary,
};
use std::sync::Arc;

/// A model with one narrow top-hat band at each rest wavelength, seen at `z`.
fn narrow(rest_angstrom: &[f64], z: f64, options: ModelOptions) -> ForwardModel {
    let filters = rest_angstrom.iter().enumerate().map(|(i, rest)| {
        let wave = rest * (1.0 + z);
        let points: [(f64, f64); 4] = [(0.985, 0.0), (0.986, 1.0), (1.014, 1.0), (1.015, 0.0)];
        let table: String = points.iter().map(|(f, t)| format!("{} {t}\n", wave * f)).collect();
        Filter::from_table(&format!("b{i}"), &table).unwrap()
    });
    let library = Arc::new(SspLibrary::embedded().unwrap());
    ForwardModel::new(library, FilterSet::new(filters.collect()).unwrap(), options).unwrap()
}

fn parameters(z: f64, duration_gyr: f64) -> Parameters {
    Parameters {
        sfh: Sfh::Tau { tau_gyr: 0.5, t_i_gyr: age_gyr(z) - duration_gyr },
        log_mass_formed: 9.0,
        metallicity: -0.3,
        a_v: 0.0,
        redshift: z,
    }
}

fn flux(model: &ForwardModel, p: &Parameters, components: Components) -> Vec<f64> {
    let mut flux = vec![0.0; model.bands().len()];
    model.photometry(p, components, &mut model.workspace(), &mut flux).unwrap();
    flux
}

#[test]
fn a_v_is_the_attenuation_at_5500_and_follows_the_law() {
    let waves = [1500.0, 3000.0, 5500.0, 12_000.0];
    let options = ModelOptions { dust_emission: false, ..ModelOptions::default() };
    let model = narrow(&waves, 1.0, options);
    let dusty = Parameters { a_v: 1.7, ..parameters(1.0, 2.0) };
    let with = flux(&model, &dusty, Components::StellarDust);
    let without = flux(&model, &dusty, Components::Stellar);
    for ((with, without), wave) in with.iter().zip(&without).zip(waves) {
        let magnitudes = 2.5 * (without / with).log10();
        // The law bends across a band 3 % wide: below 1 %.
        let expected = 1.7 * calzetti_ratio(wave);
        assert!((magnitudes / expected - 1.0).abs() < 0.01, "{wave}: {magnitudes} {expected}");
    }
}

/// The same stars at two redshifts through bands that follow them:
/// f_nu = (1 + z) L_nu / (4 pi D_L^2).
#[test]
fn flux_scales_with_distance_and_redshift() {
    let options = ModelOptions { igm: IgmModel::None, ..ModelOptions::default() };
    let waves = [2000.0, 6563.0, 11_000.0];
    let at =
        |z: f64| flux(&narrow(&waves, z, options.clone()), &parameters(z, 0.6), Components::Full);
    let (near, far) = (at(0.8), at(3.1));
    let scale = |z: f64| (1.0 + z) / luminosity_distance_mpc(z).powi(2);
    for (near, far) in near.iter().zip(&far) {
        let ratio = near / far / (scale(0.8) / scale(3.1));
        // Bins of 0.2 % meet the band's edges at another phase; sums in single precision.
        assert!((ratio - 1.0).abs() < 1e-3, "{ratio}");
    }
}

#[test]
fn gas_adds_h_alpha_and_dust_re_emits() {
    let model = narrow(&[6563.0, 7000.0, 33_000.0], 0.3, ModelOptions::default());
    let young = Parameters { a_v: 2.0, ..parameters(0.3, 0.03) };
    let full = flux(&model, &young, Components::Full);
    let stars = flux(&model, &young, Components::StellarDust);
    assert!(full[0] / stars[0] > 3.0 * full[1] / stars[1], "H alpha stands out");
    let cold = ModelOptions { dust_emission: false, ..ModelOptions::default() };
    let model = narrow(&[6563.0, 7000.0, 33_000.0], 0.3, cold);
    let cold = flux(&model, &young, Components::Full);
    assert!(full[2] > 1.5 * cold[2], "PAH emission at 3.3 micron");
    assert!((full[1] / cold[1] - 1.0).abs() < 1e-3, "none in the optical");
}

#[test]
fn mass_is_a_factor_and_results_repeat_bit_for_bit() {
    let library = Arc::new(SspLibrary::embedded().unwrap());
    let model = ForwardModel::new(library, FilterSet::jades(), ModelOptions::default()).unwrap();
    let light = Parameters { a_v: 0.7, ..parameters(2.2, 1.0) };
    let heavy = Parameters { log_mass_formed: 11.0, ..light };
    let a = flux(&model, &light, Components::Full);
    let b = flux(&model, &heavy, Components::Full);
    assert!(a.iter().zip(&b).all(|(a, b)| (b / a / 100.0 - 1.0).abs() < 1e-12));
    let mut out = vec![0.0; 19];
    let mut workspace = model.workspace();
    // A workspace used for something else leaves no trace.
    model.photometry(&heavy, Components::Stellar, &mut workspace, &mut out).unwrap();
    let derived = model.photometry(&light, Components::Full, &mut workspace, &mut out).unwrap();
    assert!(a.iter().zip(&out).all(|(a, b)| a.to_bits() == b.to_bits()));
    assert_eq!(derived, model.derive(&light));
    assert!(derived.log_mass_stellar < 9.0 && derived.log_mass_stellar > 8.6);
}

#[test]
fn impossible_parameters_are_named() {
    let library = Arc::new(SspLibrary::embedded().unwrap());
    let set = FilterSet::embedded(&["f200w"]).unwrap();
    let model = ForwardModel::new(library, set, ModelOptions::default()).unwrap();
    let good = parameters(1.0, 2.0);
    for (p, expected) in [
        (Parameters { redshift: 0.0, ..good }, "redshift"),
        (Parameters { redshift: f64::NAN, ..good }, "redshift"),
        (Parameters { metallicity: 3.0, ..good }, "metallicity"),
        (Parameters { a_v: -0.1, ..good }, "a_v"),
        (Parameters { log_mass_formed: f64::INFINITY, ..good }, "log_mass_formed"),
        (Parameters { sfh: Sfh::Tau { tau_gyr: 1.0, t_i_gyr: 9.0 }, ..good }, "t_i_gyr"),
        (Parameters { sfh: Sfh::Tau { tau_gyr: 0.0, t_i_gyr: 1.0 }, ..good }, "tau_gyr"),
    ] {
        let error = model.photometry(&p, Components::Full, &mut model.workspace(), &mut [0.0]);
        assert!(matches!(error, Err(SpsError::OutOfRange { name, .. }) if name == expected));
        assert!(model.derive(&p).log_mass_stellar.is_nan());
    }
}
