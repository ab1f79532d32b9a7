//! The embedded curves and their names.

use super::FilterSet;

/// All bands, from the MIT-licensed Python package hostphot: see `data/README.md`.
const EMBEDDED: &str = include_str!("../../data/filters.txt");

/// What full names begin with, in the order in which a short name is looked for.
const INSTRUMENTS: [&str; 4] = ["nircam", "acs_wfc", "wfc3_ir", "wfc3_uvis"];

/// The 19 JADES bands: NIRCam by wavelength, then ACS.
pub(super) const JADES: [&str; 19] = [
    "f090w", "f115w", "f150w", "f182m", "f200w", "f210m", "f277w", "f335m", "f356w", "f410m",
    "f430m", "f444w", "f460m", "f480m", "f435w", "f606w", "f775w", "f814w", "f850lp",
];

/// (full name, two-column table) of each curve: blocks headed `band NAME`.
pub(super) fn index() -> Vec<(&'static str, &'static str)> {
    EMBEDDED.split("band ").skip(1).filter_map(|block| block.split_once('\n')).collect()
}

/// Full name and table of a band given by full or short name, in lower case.
pub(super) fn find(
    index: &[(&'static str, &'static str)],
    name: &str,
) -> Option<(&'static str, &'static str)> {
    let at = |prefix: &str, rest: &str| {
        let full = |n: &str| n.strip_prefix(prefix).is_some_and(|n| n == rest);
        index.iter().copied().find(|(n, _)| full(n))
    };
    let short = || INSTRUMENTS.iter().find_map(|i| at(&format!("{i}_"), name));
    at("", name).or_else(short)
}

/// What an unknown band may have meant: one line per instrument, or the one
/// instrument it names.
pub(super) fn known(name: &str) -> String {
    let names = FilterSet::embedded_names();
    let asked = INSTRUMENTS.iter().any(|i| name.starts_with(i));
    let mut known = String::new();
    for instrument in INSTRUMENTS.iter().filter(|i| !asked || name.starts_with(**i)) {
        let prefix = format!("{instrument}_");
        let bands: Vec<&str> = names.iter().filter_map(|n| n.strip_prefix(&prefix)).collect();
        known += &format!("\n  {prefix}: {}", bands.join(" "));
    }
    known
}

#[cfg(test)]
mod tests {
    use crate::{Filter, FilterSet, filters::split_spec};

    fn pivot(name: &str) -> f64 {
        FilterSet::embedded(&[name]).unwrap().filters()[0].pivot_angstrom()
    }

    /// Pivot wavelengths (micron) of the JWST user documentation, NIRCam filters.
    #[test]
    fn nircam_bands_at_their_published_pivots() {
        #[rustfmt::skip]
        let published = [
            ("f070w", 0.704), ("f090w", 0.901), ("f115w", 1.154), ("f140m", 1.404),
            ("f150w", 1.501), ("f162m", 1.626), ("f164n", 1.644), ("f150w2", 1.671),
            ("f182m", 1.845), ("f187n", 1.874), ("f200w", 1.990), ("f210m", 2.093),
            ("f212n", 2.120), ("f250m", 2.503), ("f277w", 2.786), ("f300m", 2.996),
            ("f322w2", 3.247), ("f323n", 3.237), ("f335m", 3.365), ("f356w", 3.563),
            ("f360m", 3.621), ("f405n", 4.055), ("f410m", 4.092), ("f430m", 4.280),
            ("f444w", 4.421), ("f460m", 4.624), ("f466n", 4.654), ("f470n", 4.707),
            ("f480m", 4.834),
        ];
        let names = FilterSet::embedded_names();
        assert_eq!(names.iter().filter(|n| n.starts_with("nircam_")).count(), published.len());
        for (name, micron) in published {
            // The documentation gives in-flight throughputs, the curves are an
            // earlier version: F277W lies 0.9 % bluer, F150W2 0.7 %, F322W2 0.5 %, others 0.4 % at most.
            let ratio = pivot(&format!("nircam_{name}")) * 1e-4 / micron;
            assert!((ratio - 1.0).abs() < 0.009, "{name}: {ratio}");
        }
    }

    /// PHOTPLAM (Angstrom) of the STScI tables of ACS and WFC3 zero points.
    #[test]
    fn hubble_bands_at_their_published_pivots() {
        #[rustfmt::skip]
        let published = [
            ("acs_wfc_f435w", 4329.9), ("acs_wfc_f475w", 4746.9), ("acs_wfc_f555w", 5361.0),
            ("acs_wfc_f606w", 5921.9), ("acs_wfc_f625w", 6311.8), ("acs_wfc_f775w", 7693.5),
            ("acs_wfc_f814w", 8045.5), ("acs_wfc_f850lp", 9031.5),
            ("wfc3_ir_f098m", 9864.7), ("wfc3_ir_f105w", 10551.0), ("wfc3_ir_f110w", 11534.5),
            ("wfc3_ir_f125w", 12486.1), ("wfc3_ir_f140w", 13922.9), ("wfc3_ir_f160w", 15369.2),
            ("wfc3_uvis_f218w", 2228.0), ("wfc3_uvis_f225w", 2372.1), ("wfc3_uvis_f275w", 2709.7),
            ("wfc3_uvis_f336w", 3354.5), ("wfc3_uvis_f390w", 3923.7), ("wfc3_uvis_f438w", 4326.2),
            ("wfc3_uvis_f475w", 4773.1), ("wfc3_uvis_f555w", 5308.4), ("wfc3_uvis_f606w", 5889.2),
            ("wfc3_uvis_f775w", 7651.4), ("wfc3_uvis_f814w", 8039.1), ("wfc3_uvis_f850lp", 9176.1),
        ];
        for (name, angstrom) in published {
            // Versions of the throughputs differ by 0.02 % at most; F218W loses its
            // blue end at 1990 A (0.13 %).
            let ratio = pivot(name) / angstrom;
            let tolerance = if name.ends_with("f218w") { 2e-3 } else { 5e-4 };
            assert!((ratio - 1.0).abs() < tolerance, "{name}: {ratio}");
        }
    }

    #[test]
    fn every_embedded_curve_is_a_filter_of_its_name() {
        let names = FilterSet::embedded_names();
        assert_eq!(names.len(), 99);
        let set = FilterSet::embedded(&names).unwrap();
        for filter in set.filters() {
            let (_, short) = filter.name().rsplit_once('_').unwrap();
            let digits: String = short[1..].chars().take_while(char::is_ascii_digit).collect();
            let number: f64 = digits.parse().unwrap();
            // Hubble counts in nm below 1 micron and in 10 nm above, as Webb always does.
            let scale = match () {
                () if filter.name().starts_with("nircam") => 100.0,
                () if filter.name().starts_with("wfc3_ir") => 100.0,
                () => 10.0,
            };
            // Long-pass filters are named by their edge.
            if !short.ends_with("lp") {
                let ratio = filter.pivot_angstrom() / (number * scale);
                assert!((ratio - 1.0).abs() < 0.12, "{}: {ratio}", filter.name());
            }
        }
    }

    #[test]
    fn names_are_short_or_full_in_any_case() {
        let set = FilterSet::embedded(&["F277W", "ACS_WFC_F814W", "f160w", "f336w"]).unwrap();
        assert_eq!(set.names(), ["f277w", "acs_wfc_f814w", "f160w", "f336w"]);
        let full = ["nircam_f277w", "acs_wfc_f814w", "wfc3_ir_f160w", "wfc3_uvis_f336w"];
        let by_full = FilterSet::embedded(&full).unwrap();
        for (short, full) in set.filters().iter().zip(by_full.filters()) {
            assert_eq!(short.pivot_angstrom().to_bits(), full.pivot_angstrom().to_bits());
        }
        // ACS before WFC3; the two cameras' F814W are not the same.
        assert_eq!(pivot("f814w").to_bits(), pivot("acs_wfc_f814w").to_bits());
        assert!((pivot("wfc3_uvis_f814w") - pivot("f814w")).abs() > 1.0);
        assert!(FilterSet::embedded(&["f814w", "wfc3_uvis_f814w"]).is_ok());
    }

    #[test]
    fn wrong_names_are_named() {
        let error = FilterSet::embedded(&["f999w"]).unwrap_err().to_string();
        assert!(error.contains("f999w") && error.contains("f814w"), "{error}");
        assert_eq!(error.lines().count(), 5, "one line per instrument: {error}");
        let error = FilterSet::embedded(&["wfc3_ir_f999w"]).unwrap_err().to_string();
        assert!(error.contains("f160w") && !error.contains("f444w"), "{error}");
        for twice in [["f090w", "f090w"], ["f277w", "nircam_f277w"], ["f090w", "F090W"]] {
            let error = FilterSet::embedded(&twice).unwrap_err().to_string();
            assert!(error.contains("same band"), "{error}");
        }
        assert!(FilterSet::embedded::<&str>(&[]).is_err());
    }

    #[test]
    fn own_curves_stand_beside_embedded_ones() {
        assert_eq!(split_spec("f277w"), ("f277w", None));
        assert_eq!(split_spec("f277w = my curve.dat"), ("f277w", Some("my curve.dat")));
        let table = || Some("20000 0\n21000 1\n30000 0\n".to_owned());
        let specs = [("F277W".to_owned(), table()), ("f444w".to_owned(), None)];
        let set = FilterSet::resolve(&specs).unwrap();
        assert_eq!(set.names(), ["f277w", "f444w"]);
        assert_eq!(set.filters()[0], Filter::from_table("f277w", &table().unwrap()).unwrap());
        assert!(FilterSet::resolve(&[("a b".to_owned(), table())]).is_err());
        assert!(
            FilterSet::resolve(&[("x".to_owned(), table()), ("x".to_owned(), table())]).is_err()
        );
    }
}
