//! Closed forms: what the model must give where the answer is known.

#![cfg(feature = "bc03")]

mod common;

use common::{arrays, model, photometry, tau_delayed, top_hats};
use outshine_sps::cosmology::{age_gyr, luminosity_distance_mpc};
use outshine_sps::{
    Attenuation, AttenuationLaw, BirthClouds, Components, FilterSet, ForwardModel, Frame, IgmModel,
    ModelOptions, Parameters, Sfh, sfh,
};

const LSUN_ERG_S: f64 = 3.828e33;
const CM_PER_MPC: f64 = 3.085_677_581_491_367e24;
const LIGHT_ANGSTROM_S: f64 = 2.997_924_58e18;

fn fractions(history: &Sfh, cosmic_age_gyr: f64, edges_gyr: &[f64]) -> Vec<f64> {
    let mut out = vec![0.0; edges_gyr.len() - 1];
    sfh::mass_per_bin(history, cosmic_age_gyr, edges_gyr, &mut out).unwrap();
    out
}

/// tau to infinity: SFR ~ t - t_i, so that (1 - age / duration)^2 of the mass is older.
#[test]
fn a_history_without_decline_is_a_quadratic() {
    let edges = &arrays().age_edges_gyr;
    for (cosmic_age, t_i) in [(13.0, 0.0), (5.0, 1.0), (0.7, 0.6999)] {
        let got = fractions(&Sfh::Tau { tau_gyr: 1e8, t_i_gyr: t_i }, cosmic_age, edges);
        let duration = cosmic_age - t_i;
        let older = |age: f64| (1.0 - age / duration).max(0.0).powi(2);
        for (got, e) in got.iter().zip(edges.windows(2)) {
            // exp(-t / tau) is 1 to 1.3e-7 here.
            assert!((got - (older(e[0]) - older(e[1]))).abs() < 2e-7, "{cosmic_age} {e:?}");
        }
    }
}

#[test]
fn equal_rates_put_mass_in_proportion_to_the_width_of_a_bin() {
    let edges = &arrays().age_edges_gyr;
    for cosmic_age in [13.4, 3.0, 0.2] {
        let got = fractions(&Sfh::Continuity { log_sfr_ratios: [0.0; 6] }, cosmic_age, edges);
        for (got, e) in got.iter().zip(edges.windows(2)) {
            let width = (e[1].min(cosmic_age) - e[0]).max(0.0);
            assert!((got - width / cosmic_age).abs() < 1e-12, "{cosmic_age} {e:?}");
        }
    }
}

/// A burst within age bin `bin`: all stars are born in 1 % of its width.
fn burst(bin: usize, redshift: f64) -> Parameters {
    let edges = &arrays().age_edges_gyr;
    let (young, old) = (edges[bin], edges[bin + 1]);
    // 90 tau of time before the bin's young edge: (1 + 90) exp(-90) of the mass is left.
    tau_delayed(redshift, 0.01 * (old - young), old - 0.1 * (old - young))
}

#[test]
fn a_burst_is_in_the_bin_of_its_age() {
    let edges = &arrays().age_edges_gyr;
    let cosmic_age = age_gyr(0.1);
    let bins = edges.partition_point(|&edge| edge < cosmic_age) - 1;
    assert!(bins > 70);
    for bin in 0..bins {
        let got = fractions(&burst(bin, 0.1).sfh, cosmic_age, edges);
        for (i, mass) in got.iter().enumerate() {
            let expected = if i == bin { 1.0 } else { 0.0 };
            assert!((mass - expected).abs() < 1e-12, "bin {bin}, {i}: {mass}");
        }
    }
}

/// <f_nu> of f_lambda = L_lambda / (4 pi D_L^2 (1 + z)) by a plain midpoint sum
/// over the raw curve and the library's own array.
fn ssp_flux_njy(filters: &FilterSet, band: usize, ssp: usize, z: f64, mass: f64) -> f64 {
    const STEPS: usize = 40_000;
    let a = arrays();
    let waves = a.wave_edges_angstrom.len() - 1;
    let spectrum = &a.stellar[ssp * waves..][..waves];
    let distance_cm = luminosity_distance_mpc(z) * CM_PER_MPC;
    let dilution =
        LSUN_ERG_S / (4.0 * std::f64::consts::PI * distance_cm * distance_cm * (1.0 + z));
    let filter = &filters.filters()[band];
    let (blue, red) = filter.range_angstrom();
    let step = (red - blue) / STEPS as f64;
    let (mut sum, mut norm, mut bin) = (0.0, 0.0, 0);
    for i in 0..STEPS {
        let wave = blue + (i as f64 + 0.5) * step;
        while a.wave_edges_angstrom[bin + 1] <= wave / (1.0 + z) {
            bin += 1;
        }
        let throughput = filter.throughput_at(wave);
        sum += f64::from(spectrum[bin]) * throughput * wave * step;
        norm += throughput / wave * step;
    }
    mass * dilution * sum / (LIGHT_ANGSTROM_S * norm) * 1e32
}

#[test]
fn photometry_of_a_burst_is_that_of_its_ssp() {
    let filters = FilterSet::jades();
    let options = ModelOptions { igm: IgmModel::None, ..ModelOptions::default() };
    let model = model(filters.clone(), options);
    let a = arrays();
    let ages = a.age_edges_gyr.len() - 1;
    let mut worst = 0.0f64;
    for (bin, metal, z) in [(0, 4, 0.05), (10, 1, 2.0), (35, 4, 0.5), (50, 2, 4.0), (70, 3, 0.1)] {
        let p = Parameters { metallicity: a.metallicity[metal], ..burst(bin, z) };
        let (flux, derived) = photometry(&model, &p, Components::Stellar);
        for (band, flux) in flux.iter().enumerate() {
            let expected = ssp_flux_njy(&filters, band, metal * ages + bin, z, 1e9);
            worst = worst.max((flux / expected - 1.0).abs());
        }
        let kept = a.remaining_mass[metal * ages + bin];
        assert!((derived.log_mass_stellar - 9.0 - kept.log10()).abs() < 1e-9);
        // Ages of mass lie 2 tau after the start, tau being 1 % of the bin's width.
        let (young, old) = (a.age_edges_gyr[bin], a.age_edges_gyr[bin + 1]);
        let age = old - 0.12 * (old - young);
        assert!((derived.mass_weighted_age_gyr / age - 1.0).abs() < 1e-9);
    }
    println!("burst against its SSP: {worst:.1e}");
    // Bands are integrated in steps of 0.025 % of wavelength, with single precision fluxes.
    assert!(worst < 1e-4, "{worst}");
}

/// `FlatLambdaCDM(70, 0.3)` of astropy 8.0: redshift, age (Gyr), distance (Mpc).
const ASTROPY: [(f64, f64, f64); 8] = [
    (0.01, 13.328_306_024_087, 43.158_235_07),
    (0.5, 8.426_346_017_752, 2_832.938_093_90),
    (2.0, 3.226_627_060_064, 15_539.586_223_23),
    (4.0, 1.516_001_603_290, 35_851.832_072_32),
    (6.5, 0.826_999_465_248, 63_350.474_240_35),
    (10.0, 0.465_887_238_154, 103_842.745_890_40),
    (15.0, 0.265_628_978_931, 163_925.970_278_50),
    (20.0, 0.176_664_575_563, 225_588.226_993_99),
];

#[test]
fn ages_and_distances_are_those_of_astropy() {
    for (z, age, distance) in ASTROPY {
        assert!((age_gyr(z) / age - 1.0).abs() < 1e-9, "age at {z}: {}", age_gyr(z));
        let got = luminosity_distance_mpc(z);
        assert!((got / distance - 1.0).abs() < 1e-9, "distance at {z}: {got}");
    }
}

/// The light that reaches the observer over 4 pi D_L^2 is all that left the galaxy.
#[test]
fn energy_is_conserved_over_distance_and_mass_is_a_factor() {
    let options = ModelOptions { igm: IgmModel::None, ..ModelOptions::default() };
    let model = model(FilterSet::jades(), options);
    for z in [0.02, 1.3, 9.0] {
        let p = Parameters { a_v: 0.6, ..tau_delayed(z, 0.3, 0.4) };
        let bolometric = |frame| {
            let s = model.spectrum(&p, Components::Full, frame, &mut model.workspace()).unwrap();
            // Bins are even in ln(wavelength): widths are in proportion to wavelength.
            let step = (s.wave_angstrom[1] / s.wave_angstrom[0]).ln();
            s.density.iter().zip(&s.wave_angstrom).map(|(d, w)| d * w * step).sum::<f64>()
        };
        let distance_cm = luminosity_distance_mpc(z) * CM_PER_MPC;
        let sphere = 4.0 * std::f64::consts::PI * distance_cm * distance_cm;
        let ratio = bolometric(Frame::Observed) * sphere / (bolometric(Frame::Rest) * LSUN_ERG_S);
        assert!((ratio - 1.0).abs() < 1e-9, "{z}: {ratio}");

        let (one, light) = photometry(&model, &p, Components::Full);
        let heavy = Parameters { log_mass_formed: p.log_mass_formed + 1.3, ..p };
        let (many, heavy) = photometry(&model, &heavy, Components::Full);
        let factor = 10f64.powf(1.3);
        assert!(one.iter().zip(&many).all(|(a, b)| (b - a * factor).abs() <= 1e-12 * b));
        assert!((heavy.log_mass_stellar - light.log_mass_stellar - 1.3).abs() < 1e-12);
        assert!((heavy.log_sfr_100 - light.log_sfr_100 - 1.3).abs() < 1e-12);
        assert_eq!(heavy.mass_weighted_age_gyr, light.mass_weighted_age_gyr);
    }
}

/// Equation 4 of Calzetti et al. (2000), A(lambda) / A_V.
fn calzetti(wave_angstrom: f64) -> f64 {
    let x = 1e4 / wave_angstrom;
    let k = if wave_angstrom < 6300.0 {
        2.659 * (-2.156 + 1.509 * x - 0.198 * x.powi(2) + 0.011 * x.powi(3)) + 4.05
    } else {
        2.659 * (-1.857 + 1.040 * x) + 4.05
    };
    k / 4.05
}

#[test]
fn a_v_is_recovered_in_narrow_bands() {
    let waves = [1500.0, 2900.0, 5500.0, 12_000.0];
    let z = 0.8;
    let observed = waves.map(|wave| wave * (1.0 + z));
    for (law, at_5500) in [
        (AttenuationLaw::Calzetti, 0.9995),
        (AttenuationLaw::Smc, 1.0),
        (AttenuationLaw::Cardelli, 0.9989),
        (AttenuationLaw::PowerLaw { slope: -0.7 }, 1.0),
        (AttenuationLaw::Salim { slope: -0.4, bump: 2.0 }, 0.9995),
    ] {
        let attenuation = Attenuation { law, birth_clouds: None };
        let options = ModelOptions { attenuation, dust_emission: false, ..ModelOptions::default() };
        let model = model(top_hats(&observed, 0.004), options);
        let free = tau_delayed(z, 1.0, 3.0);
        let (light, _) = photometry(&model, &free, Components::StellarDust);
        for a_v in [0.1, 1.0, 3.7] {
            let (dusty, _) =
                photometry(&model, &Parameters { a_v, ..free }, Components::StellarDust);
            let magnitudes: Vec<f64> =
                dusty.iter().zip(&light).map(|(d, l)| -2.5 * (d / l).log10()).collect();
            // Bins are 0.2 % wide and hold the law at their centres: 0.1 % of a
            // wavelength moves A / A_V by up to 0.0015.
            if law == AttenuationLaw::Calzetti {
                for (got, wave) in magnitudes.iter().zip(waves) {
                    let expected = a_v * calzetti(wave);
                    assert!((got - expected).abs() < 1e-3 * expected, "{wave} {a_v}: {got}");
                }
            }
            let got = magnitudes[2];
            let drude = match law {
                // The bump's wing at 5500 A: B D(5500) / R_V,mod.
                AttenuationLaw::Salim { slope, bump } => {
                    let r_v = 4.05 / (5.05 * (4400.0f64 / 5500.0).powf(slope) - 4.05);
                    let width = 350.0 * 5500.0f64;
                    let off = 5500.0f64.powi(2) - 2175.0f64.powi(2);
                    bump * width.powi(2) / (off.powi(2) + width.powi(2)) / r_v
                }
                _ => 0.0,
            };
            let expected = a_v * (at_5500 + drude);
            assert!((got - expected).abs() < 1e-3 * a_v.max(1.0), "{law:?} {a_v}: {got}");
        }
    }
}

/// Luminosity (Lsun) that dust takes and no spectrum shows: from the tail bins,
/// and from lines beyond either end of the spectrum.
fn lost_unseen(model: &ForwardModel, p: &Parameters, components: Components) -> f64 {
    let a = arrays();
    let options = model.options();
    let (ages, waves) = (a.age_edges_gyr.len() - 1, a.wave_edges_angstrom.len() - 1);
    let metal = a.metallicity.iter().position(|&m| (m - p.metallicity).abs() < 1e-9).unwrap();
    let log_u = a.log_u.iter().position(|&u| u == options.log_u).unwrap();
    let shown = a.wave_edges_angstrom[a.tail_waves]..a.wave_edges_angstrom[waves];
    let taken = |ratio: f64| 1.0 - 10f64.powf(-0.4 * p.a_v * ratio);
    let mut lost = 0.0;
    for (age, mass) in fractions(&p.sfh, age_gyr(p.redshift), &a.age_edges_gyr).iter().enumerate() {
        let middle = 0.5 * (a.age_edges_gyr[age] + a.age_edges_gyr[age + 1]);
        let mut light = &a.stellar[(metal * ages + age) * waves..][..waves];
        if components == Components::Full && middle < options.nebular_max_age_gyr {
            // Young stars lose all of the Lyman continuum to the gas.
            let edges = &a.nebular_age_edges_gyr;
            let bin = edges.partition_point(|&edge| edge <= middle) - 1;
            let row = (log_u * a.metallicity.len() + metal) * (edges.len() - 1) + bin;
            light = &a.nebular_continuum[row * waves..][..waves];
            let lines = &a.nebular_lines[row * a.line_angstrom.len()..];
            for (&light, wave) in lines.iter().zip(&a.line_angstrom) {
                if !shown.contains(wave) {
                    let ratio = options.attenuation.young_ratio(*wave);
                    lost += mass * f64::from(light) * taken(ratio);
                }
            }
        }
        let clouds = options.attenuation.birth_clouds.as_ref();
        let in_clouds = clouds.is_some_and(|c| middle < c.max_age_gyr);
        for (light, edges) in light.iter().zip(a.wave_edges_angstrom.windows(2)).take(a.tail_waves)
        {
            let wave = (edges[0] * edges[1]).sqrt();
            let ratio = if in_clouds {
                options.attenuation.young_ratio(wave)
            } else {
                options.attenuation.diffuse_ratio(wave)
            };
            lost += mass * f64::from(*light) * (edges[1] - edges[0]) * taken(ratio);
        }
    }
    lost * 10f64.powf(p.log_mass_formed)
}

/// What dust takes is what it emits.
#[test]
fn energy_is_balanced() {
    let a = arrays();
    let edges = &a.wave_edges_angstrom[a.tail_waves..];
    let template = &a.dust_emission[a.tail_waves..];
    let inside: f64 =
        template.iter().zip(edges.windows(2)).map(|(t, e)| f64::from(*t) * (e[1] - e[0])).sum();
    // The tables of Draine & Li (q_PAH between 1.77 and 2.37 %, U_min = 1, gamma =
    // 0.01) by the trapezoid rule: this share is bluer than the grid's red end.
    assert!((inside / 0.008_826 - 1.0).abs() < 1e-3, "{inside}");
    let brightest = template.iter().copied().fold(0.0, f32::max);
    let clouds = BirthClouds { ratio: 1.5, max_age_gyr: 0.03, ..BirthClouds::default() };
    let (mut worst, mut compared) = ((0.0f64, 0.0f64), 0);
    for law in [
        AttenuationLaw::Calzetti,
        AttenuationLaw::Smc,
        AttenuationLaw::Cardelli,
        AttenuationLaw::PowerLaw { slope: -1.3 },
        AttenuationLaw::Salim { slope: -0.3, bump: 3.0 },
    ] {
        for birth_clouds in [None, Some(clouds.clone())] {
            let attenuation = Attenuation { law, birth_clouds };
            let options = |dust_emission| ModelOptions {
                attenuation: attenuation.clone(),
                dust_emission,
                ..ModelOptions::default()
            };
            let filters = || FilterSet::embedded(&["f444w"]).unwrap();
            let warm = model(filters(), options(true));
            let cold = model(filters(), options(false));
            for components in [Components::Full, Components::StellarDust] {
                for (a_v, tau, duration) in [(0.02, 1.0, 0.05), (0.8, 0.01, 0.006), (3.0, 1.0, 6.0)]
                {
                    let p = Parameters { a_v, ..tau_delayed(0.5, tau, duration) };
                    let see = |model: &ForwardModel, p: &Parameters| {
                        let mut w = model.workspace();
                        model.spectrum(p, components, Frame::Rest, &mut w).unwrap().density
                    };
                    let (with, without) = (see(&warm, &p), see(&cold, &p));
                    let free = see(&cold, &Parameters { a_v: 0.0, ..p });
                    let lost: f64 = (0..free.len())
                        .map(|j| (free[j] - without[j]) * (edges[j + 1] - edges[j]))
                        .sum();
                    let lost = lost + lost_unseen(&cold, &p, components);
                    for j in 0..free.len() {
                        let added = with[j] - without[j];
                        if template[j] < 1e-2 * brightest || added < 0.01 * without[j] {
                            assert!(template[j] > 0.0 || added == 0.0);
                            continue;
                        }
                        let emitted = added / f64::from(template[j]);
                        let off = emitted / lost - 1.0;
                        worst = (worst.0.min(off), worst.1.max(off));
                        compared += 1;
                        // Single precision, of which the smallest A_V leaves four digits.
                        assert!(off.abs() < 1e-4, "{law:?} {components:?} {p:?}: {off}");
                    }
                }
            }
        }
    }
    println!("emitted over absorbed, minus 1: {:.1e} to {:.1e}", worst.0, worst.1);
    assert!(compared > 10_000, "{compared} bins");
}
