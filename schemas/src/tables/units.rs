//! Units of columns in the form that IVOA's VOUnits and the FITS standard
//! share. `log(...)` is the decimal logarithm there.

/// Our unit, and its standard form; none: the standards have no word for it,
/// and it becomes part of the description.
const UNITS: [(&str, Option<&str>); 16] = [
    ("pixel", Some("pixel")),
    ("nJy", Some("nJy")),
    ("mag", Some("mag")),
    ("Gyr", Some("Gyr")),
    ("Msun", Some("solMass")),
    ("Msun/yr", Some("solMass/yr")),
    ("Msun.Gyr", Some("solMass.Gyr")),
    ("Msun.mag", Some("solMass.mag")),
    ("log10(Msun)", Some("log(solMass)")),
    ("log10(Msun/yr)", Some("log(solMass/yr)")),
    ("log10(Msun/kpc^2)", Some("log(solMass/kpc**2)")),
    ("log10(Msun/(yr kpc^2))", Some("log(solMass/(yr.kpc**2))")),
    ("log10(Gyr)", Some("log(Gyr)")),
    ("log10(1/yr)", Some("log(yr**-1)")),
    ("log10(Z/Zsun)", None),
    ("dex", None),
];

/// The standard form of a unit; itself where the list does not have it, as
/// units of angle and length (deg, arcsec, kpc) are standard already.
#[must_use]
pub fn standard(unit: &str) -> Option<&str> {
    match UNITS.iter().find(|(ours, _)| *ours == unit) {
        Some((_, standard)) => *standard,
        None if unit.is_empty() => None,
        None => Some(unit),
    }
}
