//! Names of quantities on axes and bars; `_{}` and `^{}` lower and raise.

use crate::stages::calibrate::FORMING_ROW;
use outshine_npe::diagnostics::{DENSITY_RANK, TARP};

/// A quantity with its unit; itself where it has no name.
#[must_use]
pub fn label(quantity: &str) -> &str {
    match quantity {
        "log_mass_formed" => "log_{10} M_{formed} [M_{\u{2299}}]",
        "log_mass_stellar" => "log_{10} M_{\u{2605}} [M_{\u{2299}}]",
        "log_mass_stellar_density" => "log_{10} \u{3a3}_{\u{2605}} [M_{\u{2299}} kpc^{\u{2212}2}]",
        "log_sfr_100" => "log_{10} SFR_{100} [M_{\u{2299}} yr^{\u{2212}1}]",
        "log_sfr_100_density" => {
            "log_{10} \u{3a3}_{SFR} [M_{\u{2299}} yr^{\u{2212}1} kpc^{\u{2212}2}]"
        }
        FORMING_ROW => "log_{10} SFR_{100}, forming",
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
        TARP => "TARP, all parameters",
        DENSITY_RANK => "density rank, all parameters",
        other => other,
    }
}

/// As [`label`], for the narrow cells of a corner plot.
#[must_use]
pub fn narrow(quantity: &str) -> &str {
    match quantity {
        "log_sfr_100" => "log_{10} SFR [M_{\u{2299}}/yr]",
        "mass_weighted_age_gyr" => "mean age [Gyr]",
        other => label(other),
    }
}

/// As [`label`], of a quantity per pixel.
#[must_use]
pub fn per_pixel(quantity: &str) -> String {
    format!("{} pixel^{{\u{2212}1}}]", label(quantity).trim_end_matches(']'))
}

/// As [`label`], without the unit.
#[must_use]
pub fn short(quantity: &str) -> &str {
    let label = label(quantity);
    label.rsplit_once(" [").map_or(label, |(name, _)| name)
}

/// The uncertainty of a quantity, with its unit: that of a logarithm is dex.
#[must_use]
pub fn sigma(quantity: &str) -> String {
    let unit = match label(quantity).rsplit_once(" [") {
        Some((name, _)) if name.starts_with("log_") => " [dex]".to_owned(),
        Some((_, unit)) => format!(" [{unit}"),
        None => String::new(),
    };
    format!("\u{3c3}({}){unit}", short(quantity))
}

#[cfg(test)]
mod tests {
    use super::*;
    use outshine_schemas::tables::PROFILED;

    #[test]
    fn units_come_and_go() {
        assert_eq!((short("a_v"), label("no_such")), ("A_{V}", "no_such"));
        assert_eq!(short("metallicity"), "[M/H]");
        assert_eq!(per_pixel("log_mass_stellar").matches(']').count(), 1);
        assert!(per_pixel("log_mass_stellar").ends_with("M_{\u{2299}} pixel^{\u{2212}1}]"));
        assert_eq!(sigma("a_v"), "\u{3c3}(A_{V}) [mag]");
        assert_eq!(sigma("log_tau_gyr"), "\u{3c3}(log_{10} \u{3c4}) [dex]");
        assert_eq!(sigma("t50"), "\u{3c3}(t_{50%} / t_{universe})");
    }

    #[test]
    fn every_quantity_of_a_profile_has_a_name_with_a_unit() {
        for (name, ..) in PROFILED {
            assert!(label(name) != name && label(name).ends_with(']'), "{name}");
        }
    }
}
