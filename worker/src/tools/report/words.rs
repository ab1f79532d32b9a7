//! Names of parameters on axes.

/// A parameter with its unit, as axes have it.
pub fn label(parameter: &str) -> &str {
    match parameter {
        "log_mass_formed" => "log_{10} M_{formed} [M_{\u{2299}}]",
        "log_mass_stellar" => "log_{10} M_{\u{2605}} [M_{\u{2299}}]",
        "log_sfr_100" => "log_{10} SFR_{100} [M_{\u{2299}} yr^{\u{2212}1}]",
        "log_sfr_100_forming" => "log_{10} SFR_{100}, forming",
        "log_tau_gyr" => "log_{10} \u{3c4} [Gyr]",
        "tau_gyr" => "\u{3c4} [Gyr]",
        "t_i_gyr" => "t_{i} [Gyr]",
        "t_i_fraction" => "t_{i} / t_{universe}",
        "metallicity" => "[M/H]",
        "a_v" => "A_{V} [mag]",
        "mass_weighted_age_gyr" => "mass-weighted age [Gyr]",
        "t50_lookback_gyr" => "t_{50%} lookback [Gyr]",
        "t25" => "t_{25%} / t_{universe}",
        "t50" => "t_{50%} / t_{universe}",
        "t75" => "t_{75%} / t_{universe}",
        "tarp" => "TARP, all parameters",
        "density_rank" => "density rank, all parameters",
        other => other,
    }
}

/// As [`label`], without the unit.
pub fn short(parameter: &str) -> &str {
    label(parameter)
        .split(" [M_")
        .next()
        .unwrap_or(parameter)
        .split(" [")
        .next()
        .unwrap_or_default()
}
