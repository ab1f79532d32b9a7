//! What users take away: the catalogue, and how far to trust it.

use super::{column, flags_column, percentiles};
use arrow::datatypes::{DataType, Field, Schema};

/// One row per galaxy, sorted on `galaxy_id`. Masses are null where `flags`
/// says why; truth is null outside mocks.
#[must_use]
pub fn catalogue() -> Schema {
    let (x, y) = ("pos.cartesian.x;instr.pixel", "pos.cartesian.y;instr.pixel");
    let (redshift, number) = ("redshift; null: unknown", "meta.number");
    let bands = "bands in the integrated fit";
    let above = "share of the member pixels whose mean S/N is above the limit";
    let snr = "mean S/N of the galaxy as one object over the S/N bands";
    let mut fields = vec![
        column("galaxy_id", DataType::Int64, false, "", "meta.id;meta.main", "galaxy"),
        column("x", DataType::Float64, false, "pixel", x, "mean column of the member pixels"),
        column("y", DataType::Float64, false, "pixel", y, "mean row of the member pixels"),
        column("redshift", DataType::Float64, true, "", "src.redshift", redshift),
    ];
    let (kind, fitted) = (DataType::Float64, "fitted redshift");
    fields.extend(percentiles("redshift", &kind, "", "src.redshift.phot", fitted));
    fields.extend([
        column("pixels_available", DataType::UInt32, false, "", number, "member pixels"),
        column("pixels_used", DataType::UInt32, false, "", number, "fitted pixels"),
        column("fraction_above_snr", kind.clone(), true, "", number, above),
        column("bands_integrated", DataType::UInt32, false, "", number, bands),
        column("mean_snr_integrated", kind.clone(), true, "", "stat.snr", snr),
    ]);
    for (name, unit, ucd, meaning) in [
        ("log_mass_stellar", "log10(Msun)", "phys.mass", "surviving mass"),
        ("log_mass_formed", "log10(Msun)", "phys.mass", "formed mass"),
        (
            "log_sfr_100",
            "log10(Msun/yr)",
            "phys.SFR",
            "mean star-formation rate of the last 100 Myr",
        ),
        (
            "mass_weighted_age_gyr",
            "Gyr",
            "time.age;stat.mean",
            "mass-weighted age (resolved: mean over pixels, weighted by the mass formed)",
        ),
        (
            "a_v",
            "mag",
            "phys.absorption;em.opt.V",
            "attenuation at 5500 Angstrom (resolved: mean over pixels, weighted by the mass formed)",
        ),
    ] {
        for which in ["resolved", "integrated"] {
            let (name, what) = (format!("{name}_{which}"), format!("{meaning}, {which}"));
            fields.extend(percentiles(&name, &kind, unit, ucd, &what));
        }
        let what = format!("{meaning}: resolved minus integrated median");
        let is_log = name.starts_with("log_");
        let delta = format!("delta_{name}");
        let step = if is_log { "dex" } else { unit };
        fields.push(column(delta, kind.clone(), true, step, &format!("{ucd};arith.diff"), &what));
        let what = format!("{meaning}: truth in the fitted pixels (mocks)");
        let (truth, ucd) = (format!("{name}_true"), format!("{ucd};meta.modelled"));
        fields.push(column(truth, kind.clone(), true, unit, &ucd, &what));
        for which in ["resolved", "integrated"] {
            let what = format!("{meaning}: fraction of {which} draws below the truth");
            let (name, ucd) = (format!("{name}_{which}_rank"), "stat.probability");
            fields.push(column(name, kind.clone(), true, "", ucd, &what));
        }
    }
    for (name, meaning) in
        [("log_mass_stellar", "surviving mass"), ("log_mass_formed", "formed mass")]
    {
        let what = format!("{meaning}, resolved, errors of pixels correlated");
        let name = format!("{name}_correlated");
        fields.extend(percentiles(&name, &kind, "log10(Msun)", "phys.mass", &what));
        let what = format!("{what}: fraction of draws below the truth");
        fields.push(column(
            format!("{name}_rank"),
            kind.clone(),
            true,
            "",
            "stat.probability",
            &what,
        ));
    }
    fields.extend(extent());
    fields.push(flags_column());
    let text = |name, ucd, meaning| column(name, DataType::Utf8, false, "", ucd, meaning);
    let input =
        "SHA-256 of the tables of pixels and sources, or of the settings and seed of a mock";
    fields.push(text("model", "meta.checksum", "SHA-256 of the model"));
    fields.push(text("input", "meta.checksum", input));
    fields.push(text("code_version", "meta.version", "version of the program"));
    Schema::new(fields)
}

/// Where a galaxy is on the sky. No stage writes these: how a field lies on the sky
/// is no part of a campaign's identity. They are added when a catalogue is exported
/// with a campaign file that has the image's WCS.
#[must_use]
pub fn sky() -> [Field; 2] {
    let (ra, dec) = ("pos.eq.ra;meta.main", "pos.eq.dec;meta.main");
    let place = "at the mean column and row of the member pixels";
    [("ra", ra, "right ascension"), ("dec", dec, "declination")].map(|(name, ucd, what)| {
        column(name, DataType::Float64, true, "deg", ucd, &format!("{what} {place}"))
    })
}

/// Where the mass of a galaxy lies, by the medians of its pixels.
fn extent() -> Vec<Field> {
    let kind = DataType::Float64;
    let (x, y) = ("pos.cartesian.x;instr.pixel", "pos.cartesian.y;instr.pixel");
    let mut fields = vec![
        column("peak_x", DataType::Int32, true, "pixel", x, "column of the pixel of most mass"),
        column("peak_y", DataType::Int32, true, "pixel", y, "row of the pixel of most mass"),
        column(
            "half_mass_radius_pixel",
            kind.clone(),
            true,
            "pixel",
            "phys.angSize",
            "radius about the peak that holds half of the surviving mass",
        ),
    ];
    for (name, unit, ucd, meaning) in [
        ("log_mass_stellar", "log10(Msun)", "phys.mass", "surviving mass"),
        ("mass_weighted_age_gyr", "Gyr", "time.age;stat.mean", "age, weighted by surviving mass"),
        (
            "a_v",
            "mag",
            "phys.absorption;em.opt.V",
            "attenuation at 5500 Angstrom, weighted by surviving mass",
        ),
    ] {
        for (place, what) in [
            ("central", "in the pixel of most mass"),
            ("inside", "within the half-mass radius"),
            ("outside", "beyond the half-mass radius"),
        ] {
            let meaning = format!("{meaning}, {what}");
            fields.push(column(format!("{name}_{place}"), kind.clone(), true, unit, ucd, &meaning));
        }
    }
    fields
}

/// The calibration of fitted redshifts, mean S/N > 5: one row.
#[must_use]
pub fn redshift_calibration() -> Schema {
    let mut fields = vec![column("simulations", DataType::UInt64, false, "", "", "simulations")];
    for (name, meaning) in [
        ("sigma_nmad", "1.48 times the median of |e - median of e|, e = (median - z) / (1 + z)"),
        ("outlier_fraction", "|e| > 0.15"),
        ("bias", "median of e"),
        ("pit_ks", "largest deviation of the distribution of PIT values from uniform"),
        ("pit_p", "its p-value"),
    ] {
        fields.push(column(name, DataType::Float64, false, "", "", meaning));
    }
    let item = arrow::datatypes::Field::new("item", DataType::UInt32, true);
    let kind = DataType::List(std::sync::Arc::new(item));
    fields.push(column("pit_histogram", kind, false, "", "", "PIT values in equal bins"));
    Schema::new(fields)
}

/// The calibration of a model: one row per population and parameter, and per
/// joint test (`tarp`, `density_rank`), whose coverages are those of its places.
#[must_use]
pub fn calibration() -> Schema {
    let mut fields = vec![
        column(
            "population",
            DataType::Utf8,
            false,
            "",
            "",
            "pixel (all), a stratum, or integrated",
        ),
        column("parameter", DataType::Utf8, false, "", "", "parameter"),
        column("simulations", DataType::UInt64, false, "", "", "simulations"),
        column("bright", DataType::UInt64, false, "", "", "of these, mean S/N > 1"),
    ];
    for (name, meaning) in [
        ("r_squared", "coefficient of determination of the medians, mean S/N > 1"),
        ("bias", "mean of median minus truth, mean S/N > 1"),
        ("scatter", "standard deviation of median minus truth, mean S/N > 1"),
        ("coverage_50", "truths inside the central 50 % interval"),
        ("coverage_68", "truths inside the central 68 % interval"),
        ("coverage_90", "truths inside the central 90 % interval"),
        ("coverage_95", "truths inside the central 95 % interval"),
        ("sbc_ks", "largest deviation of the distribution of ranks from uniform"),
        ("sbc_p", "its p-value"),
    ] {
        fields.push(column(name, DataType::Float64, true, "", "", meaning));
    }
    let item = arrow::datatypes::Field::new("item", DataType::UInt32, true);
    let kind = DataType::List(std::sync::Arc::new(item));
    fields.push(column("sbc_histogram", kind, false, "", "", "ranks in equal bins"));
    Schema::new(fields)
}

/// The estimator on objects of the other family of histories: one row per object.
#[must_use]
pub fn cross_prior() -> Schema {
    let kind = DataType::Float64;
    let mass = ("log_mass_stellar", "log10(Msun)", "phys.mass");
    let snr = "mean S/N over the S/N bands";
    let mut fields = vec![
        column("redshift", kind.clone(), false, "", "src.redshift", "redshift"),
        column("mean_snr", kind.clone(), true, "", "stat.snr", snr),
        column("log_mass_stellar_true", kind.clone(), false, mass.1, mass.2, "true surviving mass"),
    ];
    fields.extend(percentiles(mass.0, &kind, mass.1, mass.2, "surviving mass"));
    let rank = "fraction of draws below the truth";
    fields.push(column("log_mass_stellar_rank", kind.clone(), false, "", "stat.probability", rank));
    let before =
        "fraction of the mass of the Dirichlet history formed before t_i of the tau-delayed one";
    fields.push(column("mass_before_t_i", kind, true, "", "phys.mass;arith.ratio", before));
    Schema::new(fields)
}

/// A mock campaign against its truth: one row per level and parameter.
#[must_use]
pub fn validation() -> Schema {
    let mut fields = vec![
        column("level", DataType::Utf8, false, "", "", "pixel, resolved, correlated or integrated"),
        column("parameter", DataType::Utf8, false, "", "", "parameter"),
        column("count", DataType::UInt64, false, "", "", "pixels or galaxies"),
    ];
    for (name, meaning) in [
        ("r_squared", "coefficient of determination of the medians"),
        ("bias", "mean of median minus truth"),
        ("median_bias", "median of median minus truth"),
        ("scatter", "standard deviation of median minus truth"),
        ("pull_mean", "mean of (median - truth) / half the 68 % width"),
        ("pull_scatter", "standard deviation of the pull"),
        ("coverage_68", "truths inside the central 68 % interval"),
        ("coverage_95", "truths inside the central 95 % interval"),
    ] {
        fields.push(column(name, DataType::Float64, true, "", "", meaning));
    }
    Schema::new(fields)
}
