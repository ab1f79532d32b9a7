//! The model at one redshift against the model at the library's full
//! resolution: fluxes and likelihoods.

#![cfg(feature = "bc03")]

mod common;

use common::{FAMILIES, differences, draw_at, model, photometry, tau_delayed};
use outshine_sps::{
    Attenuation, AttenuationLaw, Basis, BirthClouds, Components, FilterSet, FixedRedshift,
    IgmModel, ModelOptions, Observation, Parameters, Prior, Sfh, SpsError,
};
use std::sync::Arc;

const A_V_MAX: f64 = 4.0;
const REDSHIFTS: [f64; 10] = [0.05, 0.37, 1.0, 1.9, 3.1, 4.6, 6.463, 6.5, 9.0, 15.0];

/// Largest |delta mag| over every family of histories and redshift.
fn worst(title: &str, options: ModelOptions, components: Components, draws: u64) -> f64 {
    let model = model(FilterSet::jades(), options);
    let basis = Arc::new(Basis::new(model.clone(), components, A_V_MAX).unwrap());
    let mut worst = (0.0, 0, None);
    let mut got = vec![0.0; model.bands().len()];
    for z in REDSHIFTS {
        let fixed = FixedRedshift::new(basis.clone(), z).unwrap();
        let mut scratch = fixed.scratch();
        for sfh in FAMILIES {
            let prior = Prior { sfh, ..Prior::default() };
            for i in 0..draws {
                let mut p = draw_at(&prior, z, i);
                // The ends of the range of A_V are where errors are largest.
                if i < 2 {
                    p.a_v = A_V_MAX * i as f64;
                }
                let derived = fixed.photometry(&p, &mut scratch, &mut got).unwrap();
                let (exact, expected) = photometry(&model, &p, components);
                assert_eq!(derived, expected);
                for (size, band) in differences(&got, &exact) {
                    if size > worst.0 {
                        worst = (size, band, Some(p));
                    }
                }
            }
        }
    }
    let (size, band, p) = worst;
    println!("{title}, {components:?}: {size:.4} mag in {} at {p:?}", model.bands()[band]);
    size
}

/// The two differ in nothing but attenuation between the nodes of a band, below
/// 0.005 mag, and single precision. Calzetti's law jumps by 0.7 % at 6300 A, by
/// 0.028 mag at the largest A_V: medium bands with that in their middle (F460M at
/// z = 6.46) are as much as 0.007 mag off.
const TOLERANCE_MAG: f64 = 0.0075;

#[test]
fn fluxes_agree_with_the_full_model() {
    for components in [Components::Full, Components::StellarDust, Components::Stellar] {
        let size = worst("default", ModelOptions::default(), components, 40);
        assert!(size < TOLERANCE_MAG, "{components:?}: {size}");
    }
}

#[test]
fn fluxes_agree_with_other_dust_and_igm() {
    let clouds = BirthClouds::default();
    let thick = BirthClouds { ratio: 2.0, max_age_gyr: 0.1, law: AttenuationLaw::Calzetti };
    for (law, birth_clouds, igm) in [
        (AttenuationLaw::Calzetti, Some(clouds), IgmModel::Inoue),
        (AttenuationLaw::Smc, None, IgmModel::Inoue),
        (AttenuationLaw::Cardelli, None, IgmModel::Inoue),
        (AttenuationLaw::Calzetti, None, IgmModel::None),
        (AttenuationLaw::Salim { slope: -0.5, bump: 3.0 }, None, IgmModel::Madau),
        (AttenuationLaw::PowerLaw { slope: -0.7 }, Some(thick), IgmModel::Madau),
    ] {
        let title = format!("{law:?}, {birth_clouds:?}, {igm:?}");
        let attenuation = Attenuation { law, birth_clouds };
        let options = ModelOptions { attenuation, igm, ..ModelOptions::default() };
        let size = worst(&title, options, Components::Full, 20);
        assert!(size < TOLERANCE_MAG, "{title}: {size}");
    }
}

/// ln of a normal density, summed over the bands with an error above zero.
fn direct(flux: &[f64], err: &[f64], model: &[f64]) -> f64 {
    let bands = flux.iter().zip(err).zip(model).filter(|((_, err), _)| **err > 0.0);
    bands
        .map(|((flux, err), model)| {
            let pull = (flux - model) / err;
            -0.5 * pull * pull - (err * (2.0 * std::f64::consts::PI).sqrt()).ln()
        })
        .sum()
}

#[test]
fn likelihoods_are_those_of_the_full_model() {
    let z = 1.7;
    let model = model(FilterSet::jades(), ModelOptions::default());
    let bands = model.bands().len();
    let basis = Arc::new(Basis::new(model.clone(), Components::Full, A_V_MAX).unwrap());
    let fixed = FixedRedshift::new(basis, z).unwrap();
    let truth = Parameters { a_v: 0.8, ..tau_delayed(z, 0.5, 2.0) };
    let (light, _) = photometry(&model, &truth, Components::Full);
    let mut err: Vec<f64> = light.iter().map(|f| 0.1 * f).collect();
    let mut flux: Vec<f64> = light
        .iter()
        .zip(&err)
        .enumerate()
        .map(|(b, (f, e))| f + e * (b as f64 - 9.0) / 6.0)
        .collect();
    // Three ways of not being observed; their fluxes mean nothing.
    (err[2], flux[2]) = (0.0, f64::NAN);
    (err[7], flux[7]) = (f64::NAN, 1e30);
    (err[11], flux[11]) = (-0.0, f64::INFINITY);
    flux[16] = -flux[16];

    let late = Parameters { sfh: Sfh::Tau { tau_gyr: 1.0, t_i_gyr: 13.0 }, ..truth };
    let populations = [
        truth,
        late,
        Parameters { a_v: 0.9, ..truth },
        Parameters { redshift: 1.8, ..truth },
        Parameters { a_v: A_V_MAX + 0.1, ..truth },
        Parameters { metallicity: f64::NAN, ..truth },
        Parameters { log_mass_formed: 8.9, metallicity: -0.5, ..truth },
    ];
    let possible = [true, false, true, false, false, false, true];
    let observed = Observation { flux_njy: &flux, err_njy: &err };
    let mut scratch = fixed.scratch();
    let mut got = vec![0.0; populations.len()];
    let mut predicted = vec![0.0; populations.len() * bands];
    let out = Some(predicted.as_mut_slice());
    fixed.log_likelihood(observed, &populations, &mut scratch, &mut got, out).unwrap();
    for (i, p) in populations.iter().enumerate() {
        let own = &predicted[i * bands..(i + 1) * bands];
        if !possible[i] {
            assert_eq!(got[i], f64::NEG_INFINITY, "{p:?}");
            assert!(own.iter().all(|f| f.is_nan()), "{p:?}");
            continue;
        }
        // The sum itself, from the same fluxes: rounding alone.
        let expected = direct(&flux, &err, own);
        assert!((got[i] - expected).abs() < 1e-9 * expected.abs(), "{} {expected}", got[i]);
        // From the full model: chi moves by 0.003 mag / 0.1 = 0.03 at most, times
        // pulls of order 1 in 16 bands (one of 20, of the band with a flipped sign).
        let (exact, _) = photometry(&model, p, Components::Full);
        let expected = direct(&flux, &err, &exact);
        println!("ln L {:.4}, full model {expected:.4}", got[i]);
        assert!((got[i] - expected).abs() < 0.3, "{} {expected}", got[i]);
        let mut flux = vec![0.0; bands];
        fixed.photometry(p, &mut scratch, &mut flux).unwrap();
        assert_eq!(flux, own);
    }
    // The same without asking for fluxes.
    let mut again = vec![0.0; populations.len()];
    fixed.log_likelihood(observed, &populations, &mut scratch, &mut again, None).unwrap();
    assert_eq!(got, again);
}

#[test]
fn observations_that_are_none_are_refused() {
    let model = model(FilterSet::embedded(&["f150w", "f277w"]).unwrap(), ModelOptions::default());
    let basis = Arc::new(Basis::new(model, Components::Full, A_V_MAX).unwrap());
    let fixed = FixedRedshift::new(basis.clone(), 2.0).unwrap();
    let p = [tau_delayed(2.0, 0.5, 2.0)];
    let run = |flux: [f64; 2], err: [f64; 2]| {
        let observed = Observation { flux_njy: &flux, err_njy: &err };
        fixed.log_likelihood(observed, &p, &mut fixed.scratch(), &mut [0.0], None)
    };
    run([1.0, f64::NAN], [1.0, 0.0]).unwrap();
    run([f64::INFINITY, -3.0], [f64::NAN, 1.0]).unwrap();
    for (flux, err, field) in [
        ([1.0, 1.0], [1.0, -0.1], "observation.f277w"),
        ([1.0, 1.0], [f64::INFINITY, 1.0], "observation.f150w"),
        ([1.0, 1.0], [f64::NEG_INFINITY, 1.0], "observation.f150w"),
        ([1.0, f64::NAN], [1.0, 1.0], "observation.f277w"),
        ([f64::INFINITY, 1.0], [1.0, 1.0], "observation.f150w"),
        ([1.0, 1.0], [0.0, f64::NAN], "observation"),
    ] {
        match run(flux, err) {
            Err(SpsError::Setting { field: named, .. }) => assert_eq!(named, field),
            other => panic!("{flux:?} {err:?}: {other:?}"),
        }
    }
    for z in [0.0, -1.0, 20.5, f64::NAN] {
        let refused = FixedRedshift::new(basis.clone(), z);
        assert!(matches!(refused, Err(SpsError::OutOfRange { name: "redshift", .. })), "{z}");
    }
}
