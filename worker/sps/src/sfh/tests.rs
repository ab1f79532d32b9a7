use super::*;

const FAMILIES: [Sfh; 5] = [
    Sfh::Tau { tau_gyr: 0.7, t_i_gyr: 0.6 },
    Sfh::Dirichlet { log_ssfr: -9.5, t25: 0.3, t50: 0.5, t75: 0.8 },
    Sfh::Dirichlet { log_ssfr: -8.2, t25: 0.05, t50: 0.1, t75: 0.95 },
    Sfh::DoublePowerLaw { tau_gyr: 1.0, alpha: 3.0, beta: 2.0 },
    Sfh::Continuity { log_sfr_ratios: [0.3, -0.5, 1.0, 0.0, -1.0, 0.2] },
];

/// Ages with bins of 0.05 dex from 1 Myr to 20 Gyr, the first from 0.
fn edges() -> Vec<f64> {
    let mut edges = vec![0.0];
    edges.extend((0..86).map(|i| 1e-3 * 10f64.powf(0.05 * f64::from(i))));
    edges
}

fn bins(history: &History) -> Vec<f64> {
    let edges = edges();
    let mut fractions = vec![f64::NAN; edges.len() - 1];
    history.bin_fractions(&edges, &mut fractions);
    fractions
}

#[test]
fn quiescent_histories_are_floored() {
    let tau = |tau_gyr, duration_gyr| History::Tau(TauHistory::new(tau_gyr, duration_gyr));
    assert_eq!(log_ssfr_100(&tau(0.01, 5.0)), (LOG_SSFR_FLOOR, true));
    let (log_ssfr, floored) = log_ssfr_100(&tau(1000.0, 0.05));
    assert!((log_ssfr + 8.0).abs() < 1e-12 && !floored, "all mass in the last 100 Myr");
}

#[test]
fn what_cannot_be_computed_is_named() {
    let power = |tau_gyr, alpha, beta| Sfh::DoublePowerLaw { tau_gyr, alpha, beta };
    let dirichlet = |log_ssfr, t25, t50, t75| Sfh::Dirichlet { log_ssfr, t25, t50, t75 };
    let nan = f64::NAN;
    for (sfh, expected) in [
        (Sfh::Tau { tau_gyr: 1.0, t_i_gyr: 5.0 }, "t_i_gyr"),
        (Sfh::Tau { tau_gyr: 0.0, t_i_gyr: 1.0 }, "tau_gyr"),
        (Sfh::Tau { tau_gyr: nan, t_i_gyr: 1.0 }, "tau_gyr"),
        (dirichlet(nan, 0.1, 0.2, 0.3), "log_ssfr"),
        (dirichlet(-5.0, 0.1, 0.2, 0.3), "log_ssfr"),
        (dirichlet(-9.0, 0.3, 0.2, 0.4), "t25"),
        (dirichlet(-9.0, 0.1, 0.5, 0.4), "t50"),
        (dirichlet(-9.0, 0.1, nan, 0.4), "t50"),
        (dirichlet(-9.0, 0.1, 0.5, 1.1), "t75"),
        (power(1.0, 0.0, 1.0), "alpha"),
        (power(1.0, 1.0, 1e5), "beta"),
        (power(-1.0, 1.0, 1.0), "tau_gyr"),
        (Sfh::Continuity { log_sfr_ratios: [0.0, 0.0, nan, 0.0, 0.0, 0.0] }, "log_sfr_ratios"),
    ] {
        let error = History::new(&sfh, 5.0).unwrap_err();
        assert!(matches!(error, SpsError::OutOfRange { name, .. } if name == expected), "{error}");
    }
    let error = Realised::measure(&FAMILIES[3], 0.0).unwrap_err();
    assert!(error.to_string().contains("cosmic_age_gyr"));
}

#[test]
fn every_family_is_consistent_with_itself() {
    let t_univ = 3.3;
    for sfh in FAMILIES {
        let h = History::new(&sfh, t_univ).unwrap();
        let fractions = bins(&h);
        assert!((fractions.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{sfh:?}");
        for (i, w) in edges().windows(2).enumerate() {
            assert!(fractions[i] >= 0.0);
            assert!((h.mass_fraction(w[0], w[1]) - fractions[i]).abs() < 1e-13, "{sfh:?} {i}");
        }
        for f in [0.05, 0.25, 0.5, 0.9] {
            let older = h.mass_fraction(h.age_at_fraction(f), 20.0);
            assert!((older - f).abs() < 1e-9, "{sfh:?}: {older} at {f}");
        }
        // The curve integrates to one, and its mean age is that of the history.
        let n = 400_000;
        let step = t_univ / f64::from(n);
        let times: Vec<f64> = (0..n).map(|i| (f64::from(i) + 0.5) * step).collect();
        let curve = sfr_curve(&sfh, t_univ, &times).unwrap();
        let mass: f64 = curve.iter().sum::<f64>() * step * 1e9;
        let age: f64 =
            times.iter().zip(&curve).map(|(t, r)| (t_univ - t) * r).sum::<f64>() * step * 1e9;
        // A step of the sum may straddle the edge of a step of the history.
        assert!((mass - 1.0).abs() < 1e-3, "{sfh:?}: {mass}");
        assert!((h.mean_age_gyr() / age - 1.0).abs() < 1e-3, "{sfh:?}");
        assert!(sfr_curve(&sfh, t_univ, &[-0.1, 3.4]).unwrap() == [0.0, 0.0]);
        assert!(h.duration_gyr() <= t_univ * (1.0 + 1e-15));
    }
}

/// Mass per bin moves smoothly as edges pass over bins and steps: a shift of
/// an edge moves no more mass than the highest rate times the shift.
#[test]
fn mass_per_bin_has_no_jumps() {
    for sfh in FAMILIES {
        let t_univ = 2.2;
        let h = History::new(&sfh, t_univ).unwrap();
        let rates: Vec<f64> =
            (0..=22_000).map(|i| h.rate_per_gyr(t_univ * f64::from(i) / 22_000.0)).collect();
        let highest = rates.iter().copied().fold(0.0, f64::max);
        let shift = 1e-4;
        let mut before = 0.0;
        for i in 1..22_500 {
            let now = h.mass_fraction(0.0, f64::from(i) * shift);
            assert!(now >= before - 1e-15, "{sfh:?}");
            assert!(now - before <= 1.05 * highest * shift + 1e-13, "{sfh:?} at {i}");
            before = now;
        }
        assert!((before - 1.0).abs() < 1e-12);
    }
}

#[test]
fn a_later_start_moves_mass_smoothly() {
    // t_i sweeps the ages from 1.1 Gyr to nothing through dozens of bin edges.
    let at = |t_i_gyr| bins(&History::new(&Sfh::Tau { tau_gyr: 0.5, t_i_gyr }, 2.2).unwrap());
    let step = 1e-5;
    let mut before = at(1.1);
    for i in 1..110_000 {
        let duration = 1.1 - f64::from(i) * step;
        let now = at(2.2 - duration);
        let moved: f64 = now.iter().zip(&before).map(|(a, b)| (a - b).abs()).sum();
        // Rates are below 3 / duration for a history that begins with a rise;
        // a shift of all ages by `step` passes at most that twice per edge.
        let bound = 6.0 * 87.0 * step / duration;
        assert!(moved < bound.min(2.0), "{duration}: {moved}");
        before = now;
    }
    let last = History::new(&Sfh::Tau { tau_gyr: 0.5, t_i_gyr: 2.2 * (1.0 - 1e-15) }, 2.2).unwrap();
    assert!((bins(&last)[0] - 1.0).abs() < 1e-12 && last.mean_age_gyr() >= 0.0);
}

#[test]
fn degenerate_dirichlet_histories_are_finite() {
    let tiny = 1e-12;
    let mut seen = 0;
    for t_univ in [0.18, 0.7, 5.0, 13.5] {
        for log_ssfr in [-20.0, -11.5, -9.0, -7.5, -6.0] {
            for [t25, t50, t75] in [
                [0.0, 0.0, 0.0],
                [0.0, 0.0, 1.0],
                [1.0, 1.0, 1.0],
                [0.01, 0.01, 0.01],
                [0.5, 0.5, 0.5],
                [0.5, 0.5 + tiny, 0.5 + 2.0 * tiny],
                [0.97, 0.98, 0.99],
                [0.2, 0.4, 1.0 - tiny],
                [0.999_999, 0.999_999_9, 1.0],
            ] {
                let sfh = Sfh::Dirichlet { log_ssfr, t25, t50, t75 };
                let h = History::new(&sfh, t_univ).unwrap();
                let r = Realised::measure(&sfh, t_univ).unwrap();
                let all = [r.t25, r.t50, r.t75, r.log_ssfr_100, r.log_ssfr_now, r.log_mass_offset];
                assert!(all.iter().all(|v| v.is_finite()), "{sfh:?} {t_univ}: {r:?}");
                assert!(r.t25 <= r.t50 && r.t50 <= r.t75, "{sfh:?} {t_univ}: {r:?}");
                assert!((bins(&h).iter().sum::<f64>() - 1.0).abs() < 1e-11, "{sfh:?} {t_univ}");
                assert!(h.mean_age_gyr() >= 0.0 && h.mean_age_gyr() <= t_univ);
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 180);
}

/// Evenly spaced quantiles and the matching rate ask for a constant history.
#[test]
fn a_constant_dirichlet_history() {
    let t_univ = 4.0f64;
    let log_ssfr = -(t_univ * 1e9).log10();
    let sfh = Sfh::Dirichlet { log_ssfr, t25: 0.25, t50: 0.5, t75: 0.75 };
    let r = Realised::measure(&sfh, t_univ).unwrap();
    for (got, expected) in [(r.t25, 0.25), (r.t50, 0.5), (r.t75, 0.75)] {
        // The recipe starts at 1 % of the cosmic age and smooths around it.
        assert!((got - expected).abs() < 0.01, "{r:?}");
    }
    assert!((r.log_ssfr_100 - log_ssfr).abs() < 0.05, "{r:?}");
    assert!(r.log_mass_offset > -0.02 && r.log_mass_offset < 0.09, "{r:?}");
}

#[test]
fn histories_survive_json() {
    for sfh in FAMILIES {
        let text = serde_json::to_string(&sfh).unwrap();
        assert_eq!(serde_json::from_str::<Sfh>(&text).unwrap(), sfh);
    }
    assert_eq!(serde_json::to_string(&SfhFamily::DoublePowerLaw).unwrap(), "\"double_power_law\"");
}

/// A delayed exponential has formed 1 - (1 + x) e^-x of what it ever will,
/// x = (t - t_i) / tau; other histories have realised quantiles.
#[test]
fn what_was_formed_by_a_time_is_the_share_of_the_history_before_it() {
    let (age, tau_gyr, t_i_gyr) = (5.8, 0.4, 1.0);
    let tau = Sfh::Tau { tau_gyr, t_i_gyr };
    let ever = |t: f64| {
        let x = (t - t_i_gyr) / tau_gyr;
        1.0 - (1.0 + x) * (-x).exp()
    };
    for t in [1.1, 1.5, 2.0, 4.0] {
        let found = formed_before(&tau, age, t).unwrap();
        assert!((found - ever(t) / ever(age)).abs() < 1e-9, "{t}: {found}");
    }
    for (t, share) in [(0.5, 0.0), (age, 1.0), (age + 1.0, 1.0)] {
        assert!((formed_before(&tau, age, t).unwrap() - share).abs() < 1e-12);
    }
    let bent = Sfh::Dirichlet { log_ssfr: -9.5, t25: 0.3, t50: 0.45, t75: 0.8 };
    let realised = Realised::measure(&bent, age).unwrap();
    for (t, share) in [(realised.t25, 0.25), (realised.t50, 0.5), (realised.t75, 0.75)] {
        let found = formed_before(&bent, age, t * age).unwrap();
        assert!((found - share).abs() < 1e-6, "{found} {share}");
    }
}
