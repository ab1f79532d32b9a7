//! Radial profiles of galaxies.

use super::column;
use arrow::datatypes::{DataType, Schema};

/// What a profile is of: name, unit, UCD and meaning.
pub const PROFILED: [(&str, &str, &str, &str); 7] = [
    (
        "log_mass_stellar_density",
        "log10(Msun/kpc^2)",
        "phys.density;phys.mass",
        "surviving stellar mass per proper area",
    ),
    (
        "log_sfr_100_density",
        "log10(Msun/(yr kpc^2))",
        "phys.SFR",
        "star-formation rate of 100 Myr per proper area",
    ),
    ("log_mass_stellar", "log10(Msun)", "phys.mass", "surviving stellar mass per pixel"),
    ("log_sfr_100", "log10(Msun/yr)", "phys.SFR", "star-formation rate of 100 Myr per pixel"),
    ("mass_weighted_age_gyr", "Gyr", "time.age;stat.mean", "mass-weighted age"),
    ("t50_lookback_gyr", "Gyr", "time.age", "time since half of the mass had formed"),
    ("a_v", "mag", "phys.absorption;em.opt.V", "attenuation at 5500 Angstrom"),
];

/// One row per galaxy and elliptical annulus about the pixel of the highest
/// mass, from the inside. Null: not known, or no pixel.
#[must_use]
pub fn profiles() -> Schema {
    let size = "phys.angSize.smajAxis";
    let mut fields = vec![column("galaxy_id", DataType::Int64, false, "", "meta.id", "galaxy")];
    for (name, nullable, unit, ucd, meaning) in [
        ("semi_major_inner_px", false, "pixel", size, "inner semi-major axis of the annulus"),
        ("semi_major_outer_px", false, "pixel", size, "outer semi-major axis of the annulus"),
        ("semi_major_px", false, "pixel", size, "semi-major axis of the middle of the annulus"),
        ("semi_major_arcsec", true, "arcsec", size, "the same"),
        ("semi_major_kpc", true, "kpc", "phys.size.smajAxis", "the same, proper"),
        (
            "semi_major_half_mass",
            true,
            "",
            "phys.size.smajAxis;arith.ratio",
            "the same over the half-mass radius",
        ),
        ("axis_ratio", true, "", "phys.size.axisRatio", "minor over major axis of the annuli"),
        ("angle_deg", true, "deg", "pos.posAng", "direction of the major axis from +x to +y"),
    ] {
        fields.push(column(name, DataType::Float64, nullable, unit, ucd, meaning));
    }
    let meaning = "fitted pixels in the annulus";
    fields.push(column("pixels", DataType::UInt32, false, "", "meta.number", meaning));
    for (name, unit, ucd, meaning) in PROFILED {
        for (end, word, what) in [
            ("p16", "stat.min", "median of the pixels' 16th percentiles"),
            ("p50", "stat.median", "median of the pixels' medians"),
            ("p84", "stat.max", "median of the pixels' 84th percentiles"),
            ("low", "stat.min", "16th percentile of the pixels' medians"),
            ("high", "stat.max", "84th percentile of the pixels' medians"),
        ] {
            let ucd = format!("{ucd};{word}");
            let what = format!("{meaning}: {what}");
            let name = format!("{name}_{end}");
            fields.push(column(&name, DataType::Float64, true, unit, &ucd, &what));
        }
    }
    Schema::new(fields)
}
