//! `outshine photometry` as a user runs it: every family of histories, options,
//! spectra, likelihoods, and errors.

use anyhow::Context;
use arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::Float64Type;
use outshine_store::{Table, parquet};
use outshine_tests::processes::{outshine_error, outshine_ok};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Parameters: one row per family, each with what its family needs and
/// nothing else.
struct Parameters {
    sfh: Vec<&'static str>,
    numbers: BTreeMap<String, Vec<Option<f64>>>,
}

impl Parameters {
    fn one_of_each() -> Self {
        let mut numbers = BTreeMap::new();
        let mut put = |name: &str, values: [Option<f64>; 4]| {
            numbers.insert(name.to_owned(), values.to_vec());
        };
        for (name, value) in
            [("log_mass_formed", 9.5), ("metallicity", -0.3), ("a_v", 0.6), ("redshift", 2.0)]
        {
            put(name, [Some(value); 4]);
        }
        let nan = Some(f64::NAN);
        put("tau_gyr", [Some(0.8), nan, Some(1.5), None]);
        put("t_i_gyr", [Some(1.0), None, None, None]);
        put("log_ssfr", [None, Some(-9.2), nan, nan]);
        for (name, value) in [("t25", 0.3), ("t50", 0.5), ("t75", 0.7)] {
            put(name, [None, Some(value), None, None]);
        }
        put("alpha", [None, None, Some(3.0), None]);
        put("beta", [None, None, Some(1.0), None]);
        for i in 1..=6 {
            put(&format!("log_sfr_ratio_{i}"), [None, None, None, Some(0.1)]);
        }
        Self { sfh: vec!["tau", "dirichlet", "double_power_law", "continuity"], numbers }
    }

    fn write(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        let mut columns: Vec<(String, ArrayRef)> =
            vec![("sfh".into(), Arc::new(StringArray::from(self.sfh.clone())))];
        for (name, values) in &self.numbers {
            columns.push((name.clone(), Arc::new(Float64Array::from(values.clone()))));
        }
        write(&folder.join("parameters.parquet"), columns)
    }
}

fn write(path: &Path, columns: Vec<(String, ArrayRef)>) -> anyhow::Result<PathBuf> {
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, column)| (name, column, true)),
    )?;
    std::fs::write(path, parquet::encode(&batch.schema(), &[batch], &[], 100)?)?;
    Ok(path.to_owned())
}

fn read(path: &Path) -> anyhow::Result<Table> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    Ok(parquet::decode("out", bytes.into(), None)?)
}

/// Runs photometry of one row per family with more arguments; the table that it wrote.
fn photometry(folder: &Path, more: &[&str]) -> anyhow::Result<Table> {
    let parameters = Parameters::one_of_each().write(folder)?;
    let out = folder.join("out.parquet");
    let mut arguments =
        vec!["photometry", parameters.to_str().context("path")?, out.to_str().context("path")?];
    arguments.extend(more);
    outshine_ok(&arguments, &[])?;
    read(&out)
}

fn column(table: &Table, name: &str) -> anyhow::Result<Vec<f64>> {
    Ok(table.float64(name)?.values().to_vec())
}

#[test]
fn every_family_has_fluxes_and_what_derives() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let table = photometry(folder.path(), &[])?;
    assert_eq!(table.rows(), 4);
    for band in ["f435w", "f200w", "f444w"] {
        let flux = column(&table, &format!("flux_njy_{band}"))?;
        assert!(flux.iter().all(|f| *f > 0.0), "{band}: {flux:?}");
        assert!(flux.windows(2).all(|w| w[0] != w[1]), "four histories, four fluxes: {flux:?}");
    }
    let mass = column(&table, "log_mass_stellar")?;
    assert!(mass.iter().all(|m| (9.1..9.5).contains(m)), "less than was formed: {mass:?}");
    let (age, t50) =
        (column(&table, "mass_weighted_age_gyr")?, column(&table, "t50_lookback_gyr")?);
    // The Universe is 3.2 Gyr old at z = 2.
    for (age, t50) in age.iter().zip(&t50) {
        assert!((0.0..3.3).contains(age) && (0.0..3.3).contains(t50), "{age} {t50}");
    }
    // Asked for half of the mass at half of the time: 1.61 Gyr ago, as near as the recipe comes.
    assert!((t50[1] - 1.61).abs() < 0.1, "{}", t50[1]);
    assert_eq!(column(&table, "redshift")?, [2.0; 4], "the columns given are kept");
    Ok(())
}

#[test]
fn options_change_what_they_say() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    let bands = ["--bands", "f435w,f200w"];
    let plain = column(&photometry(folder.path(), &bands)?, "flux_njy_f200w")?;
    let of = |more: &[&str]| -> anyhow::Result<Vec<f64>> {
        let arguments: Vec<&str> = bands.iter().chain(more).copied().collect();
        column(&photometry(folder.path(), &arguments)?, "flux_njy_f200w")
    };
    let differ = |other: &[f64]| other.iter().zip(&plain).any(|(a, b)| (a / b - 1.0).abs() > 1e-4);
    let binned = of(&["--age-binning", "bagpipes"])?;
    assert!(differ(&binned));
    // The option brings the interpolation in Z with it, and gives way to a word on that.
    let linear = of(&["--age-binning", "bagpipes", "--metallicity-scale", "linear-z"])?;
    let log = of(&["--age-binning", "bagpipes", "--metallicity-scale", "log-z"])?;
    assert_eq!(binned, linear);
    assert_ne!(binned, log);
    assert_eq!(of(&["--age-binning", "exact"])?, plain);

    std::fs::write(folder.path().join("model.toml"), "[attenuation.law]\nlaw = \"smc\"\n")?;
    let smc = of(&["--model", &path("model.toml")])?;
    assert!(differ(&smc));
    std::fs::write(folder.path().join("bad.toml"), "dust = 1\n")?;
    let arguments = ["photometry", &path("parameters.parquet"), &path("x"), "--model"];
    let error = outshine_error(&[&arguments[..], &[&path("bad.toml")]].concat(), &[])?;
    assert!(error.contains("bad.toml") && error.contains("dust"), "{error}");

    // A box around F200W as a curve of the user's own.
    std::fs::write(folder.path().join("box.dat"), "17500 0\n17600 1\n22200 1\n22300 0\n")?;
    let own = photometry(folder.path(), &["--bands", &format!("mine={}", path("box.dat"))])?;
    let ratio = column(&own, "flux_njy_mine")?[0] / plain[0];
    assert!((ratio - 1.0).abs() < 0.05, "{ratio}");
    Ok(())
}

#[test]
fn spectra_and_likelihoods_come_beside() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let spectra = folder.path().join("spectra.parquet");
    let path = spectra.display().to_string();
    let table = photometry(
        folder.path(),
        &["--spectra", &path, "--frame", "observed", "--bands", "f200w"],
    )?;
    let spectrum = read(&spectra)?;
    assert_eq!(spectrum.rows(), 4);
    let unit = spectrum.metadata().get("outshine.unit.density").map(String::as_str);
    assert_eq!(unit, Some("erg/s/cm^2/Angstrom"));
    let first = |name: &str| -> anyhow::Result<Vec<f64>> {
        let lists = spectrum.column(name)?;
        Ok(lists.as_fixed_size_list().value(0).as_primitive::<Float64Type>().values().to_vec())
    };
    let (wave, density) = (first("wave_angstrom")?, first("density")?);
    // f_nu at 2 micron from the observed spectrum, erg/s/cm^2/Angstrom, against the band.
    let near = wave.iter().position(|w| *w > 19_900.0).context("no such wavelength")?;
    let around = near - 25..near + 25;
    let mean = density[around.clone()].iter().sum::<f64>() / around.len() as f64;
    let f_nu_njy = mean * 19_900.0 * 19_900.0 / 2.997_924_58e18 * 1e32;
    let flux = column(&table, "flux_njy_f200w")?[0];
    assert!((f_nu_njy / flux - 1.0).abs() < 0.1, "{f_nu_njy} {flux}");

    // Observed exactly as the second row is, in one band; another was not observed.
    let second = column(&table, "flux_njy_f200w")?[1];
    let number = |value: f64| -> ArrayRef { Arc::new(Float64Array::from(vec![value])) };
    let columns: Vec<(String, ArrayRef)> = vec![
        ("flux_njy_f200w".into(), number(second)),
        ("err_njy_f200w".into(), number(0.1 * second)),
        ("flux_njy_f444w".into(), number(0.0)),
        ("err_njy_f444w".into(), number(0.0)),
    ];
    let observed = write(&folder.path().join("observed.parquet"), columns)?.display().to_string();
    let table = photometry(folder.path(), &["--bands", "f200w,f444w", "--observed", &observed])?;
    let log_l = column(&table, "log_likelihood")?;
    let fluxes = column(&table, "flux_njy_f200w")?;
    for (log_l, flux) in log_l.iter().zip(&fluxes) {
        let sigma = 0.1 * second;
        let pull = (second - flux) / sigma;
        let expected = -0.5 * pull * pull - (sigma * std::f64::consts::TAU.sqrt()).ln();
        assert!((log_l - expected).abs() < 1e-9 * expected.abs().max(1.0), "{log_l} {expected}");
    }
    Ok(())
}

#[test]
fn bad_rows_are_named() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("out.parquet").display().to_string();
    let error_of = |change: &dyn Fn(&mut Parameters)| -> anyhow::Result<String> {
        let mut parameters = Parameters::one_of_each();
        change(&mut parameters);
        let path = parameters.write(folder.path())?.display().to_string();
        outshine_error(&["photometry", &path, &out], &[])
    };
    type Change<'a> = (&'a dyn Fn(&mut Parameters), [&'a str; 3]);
    let set = |p: &mut Parameters, name: &str, row: usize, value: Option<f64>| {
        p.numbers.get_mut(name).expect("a column of the table")[row] = value;
    };
    let changes: [Change<'_>; 7] = [
        (&|p| p.sfh[1] = "burst", ["row 1", "burst", "dirichlet"]),
        (&|p| set(p, "tau_gyr", 0, None), ["row 0", "tau_gyr", "finite"]),
        (&|p| set(p, "t75", 1, Some(0.1)), ["row 1", "t50", "outside"]),
        (&|p| set(p, "metallicity", 2, Some(3.0)), ["row 2", "metallicity", "outside"]),
        (&|p| set(p, "redshift", 3, Some(f64::NAN)), ["row 3", "redshift", "finite"]),
        (&|p| set(p, "t_i_gyr", 0, Some(9.0)), ["row 0", "t_i_gyr", "outside"]),
        (&|p| drop(p.numbers.remove("alpha")), ["row 2", "alpha", "no column"]),
    ];
    for (change, words) in changes {
        let error = error_of(change)?;
        assert!(error.contains("parameters.parquet"), "{error}");
        assert!(words.iter().all(|word| error.contains(word)), "{words:?}: {error}");
    }
    let path = Parameters::one_of_each().write(folder.path())?.display().to_string();
    let error = outshine_error(&["photometry", &path, &out, "--bands", "f200w,f999w"], &[])?;
    assert!(error.contains("f999w"), "{error}");
    let error = outshine_error(&["photometry", &path, &out, "--bands", "x=no.dat"], &[])?;
    assert!(error.contains("no.dat"), "{error}");
    assert!(!folder.path().join("out.parquet").exists(), "nothing is written where all failed");
    Ok(())
}
