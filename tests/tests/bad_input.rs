//! What a user gets to read when something is wrong: one clear error that
//! names file, field and mend, or a flag where the rest can go on.

use anyhow::Context;
use arrow::array::{ArrayRef, Float32Array, Float64Array, Int32Array, Int64Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::UInt32Type;
use outshine_schemas::flags;
use outshine_store::{Table, parquet};
use outshine_tests::processes::{files, outshine, outshine_error, outshine_ok};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const BANDS: [&str; 5] = ["f115w", "f200w", "f277w", "f356w", "f444w"];

/// A campaign on a pixel table of its own, and the folder that holds both.
struct Bench {
    folder: tempfile::TempDir,
}

/// Columns of a pixel table: 12 good pixels of galaxy 1 at z = 2.
struct Pixels {
    x: Vec<i32>,
    galaxy: Vec<i64>,
    redshift: Vec<Option<f64>>,
    flux: Vec<Option<f32>>,
    err: Vec<Option<f32>>,
    without: Option<&'static str>,
}

impl Pixels {
    fn good() -> Self {
        Self {
            x: (0..12).collect(),
            galaxy: vec![1; 12],
            redshift: vec![Some(2.0); 12],
            flux: vec![Some(2.0); 12],
            err: vec![Some(0.1); 12],
            without: None,
        }
    }

    fn write(&self, path: &Path) -> anyhow::Result<()> {
        let mut columns: Vec<(String, ArrayRef)> = vec![
            ("x".into(), Arc::new(Int32Array::from(self.x.clone()))),
            ("y".into(), Arc::new(Int32Array::from(vec![0; self.x.len()]))),
            ("galaxy_id".into(), Arc::new(Int64Array::from(self.galaxy.clone()))),
            ("redshift".into(), Arc::new(Float64Array::from(self.redshift.clone()))),
        ];
        for band in BANDS {
            let flux = Arc::new(Float32Array::from(self.flux.clone()));
            let err = Arc::new(Float32Array::from(self.err.clone()));
            columns.push((format!("flux_njy_{band}"), flux));
            columns.push((format!("err_njy_{band}"), err));
        }
        columns.retain(|(name, _)| Some(name.as_str()) != self.without);
        let batch = RecordBatch::try_from_iter(columns)?;
        std::fs::write(path, parquet::encode(&batch.schema(), &[batch], &[], 1000)?)?;
        Ok(())
    }
}

impl Bench {
    fn new(pixels: &Pixels) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        pixels.write(&folder.path().join("pixels.parquet"))?;
        let bench = Self { folder };
        let bands: Vec<String> = BANDS.iter().map(|b| format!("\"{b}\"")).collect();
        bench.campaign(&format!(
            "name = \"bad\"\nestimator = \"train\"\nbands = [{}]\n[field]\npixels = \"pixels.parquet\"\n\
             [simulate]\ncount = 400\n[train]\nblocks = 1\nhidden = 16\nredshift_hidden = 0\nmax_epochs = 1\n\
             [calibrate]\ncount = 50\ndraws = 19\nrequired = false\n[fit]\ndraws = 10\n",
            bands.join(", ")
        ))?;
        Ok(bench)
    }

    fn campaign(&self, text: &str) -> anyhow::Result<()> {
        Ok(std::fs::write(self.path("campaign.toml"), text)?)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn arguments(&self, settings: &[&str]) -> Vec<String> {
        let text = |name: &str| self.path(name).display().to_string();
        let mut all = vec!["run".into(), text("campaign.toml"), "--store".into(), text("store")];
        for setting in settings {
            all.extend(["--set".to_owned(), (*setting).to_owned()]);
        }
        all
    }

    /// The error of a run that must fail; each of `words` must be in it.
    fn refuses(&self, settings: &[&str], words: &[&str]) -> anyhow::Result<()> {
        let arguments = self.arguments(settings);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let error = outshine_error(&arguments, &[])?;
        for word in words {
            anyhow::ensure!(error.contains(word), "`{word}` is not in: {error}");
        }
        anyhow::ensure!(!error.contains("panicked"), "{error}");
        let store = self.path("store");
        if store.is_dir() {
            let done = files(&store)?.into_keys().find(|path| {
                ["/commits/field/", "/commits/catalogue/"].iter().any(|part| path.contains(part))
            });
            anyhow::ensure!(done.is_none(), "{done:?} is visible as done");
        }
        Ok(())
    }
}

#[test]
fn an_unknown_key() -> anyhow::Result<()> {
    let bench = Bench::new(&Pixels::good())?;
    bench.refuses(&["fit.drawz=3"], &["campaign.toml", "drawz"])?;
    bench.refuses(&["train.unit=3"], &["campaign.toml", "train", "unit"])?;
    bench.refuses(&["prior.a_w=[0,1]"], &["campaign.toml", "prior", "a_w"])
}

#[test]
fn a_survey_without_a_database() -> anyhow::Result<()> {
    let bench = Bench::new(&Pixels::good())?;
    let text = |name: &str| bench.path(name).display().to_string();
    let (campaign, store, folder) = (text("campaign.toml"), text("store"), text("out"));
    let run = ["run", &campaign, "--store", &store];
    let export = ["catalogue", "export", &campaign, "--store", &store, "--to", &folder];
    for command in [&run[..], &export[..]] {
        let named = [command, &["--survey", "sky"]].concat();
        for (arguments, environment) in
            [(&named[..], &[][..]), (command, &[("OUTSHINE_SURVEY", "sky".to_owned())][..])]
        {
            let error = outshine_error(arguments, environment)?;
            anyhow::ensure!(
                error.contains("--survey") && error.contains("leave it out"),
                "{error}"
            );
        }
    }
    anyhow::ensure!(!bench.path("store").exists(), "it ran first");
    Ok(())
}

#[test]
fn an_unknown_band() -> anyhow::Result<()> {
    let bench = Bench::new(&Pixels::good())?;
    let bands = "bands=[\"f277w\",\"f356w\",\"f444w\",\"f999w\"]";
    bench.refuses(&[bands], &["campaign.toml", "f999w", "f115w"])
}

#[test]
fn a_missing_column() -> anyhow::Result<()> {
    let bench = Bench::new(&Pixels { without: Some("err_njy_f200w"), ..Pixels::good() })?;
    bench.refuses(&[], &["pixels.parquet", "err_njy_f200w"])?;
    let bench = Bench::new(&Pixels { without: Some("galaxy_id"), ..Pixels::good() })?;
    bench.refuses(&[], &["pixels.parquet", "galaxy_id", "field.sources"])
}

#[test]
fn duplicate_pixels() -> anyhow::Result<()> {
    let mut pixels = Pixels::good();
    pixels.x[5] = 4;
    Bench::new(&pixels)?.refuses(&[], &["pixels.parquet", "x = 4", "twice"])
}

#[test]
fn two_redshifts_of_one_galaxy() -> anyhow::Result<()> {
    let mut pixels = Pixels::good();
    pixels.redshift[3] = Some(2.5);
    Bench::new(&pixels)?.refuses(&[], &["pixels.parquet", "galaxy 1", "2.5"])
}

#[test]
fn a_truncated_table() -> anyhow::Result<()> {
    let bench = Bench::new(&Pixels::good())?;
    let path = bench.path("pixels.parquet");
    let bytes = std::fs::read(&path)?;
    std::fs::write(&path, &bytes[..bytes.len() / 2])?;
    bench.refuses(&[], &["pixels.parquet"])
}

#[test]
fn a_missing_table() -> anyhow::Result<()> {
    let bench = Bench::new(&Pixels::good())?;
    std::fs::remove_file(bench.path("pixels.parquet"))?;
    bench.refuses(&[], &["field.pixels", "pixels.parquet", "No such file"])
}

#[test]
fn a_broker_or_store_that_is_not_there() -> anyhow::Result<()> {
    let bench = Bench::new(&Pixels::good())?;
    let campaign = bench.path("campaign.toml").display().to_string();
    let store = bench.path("store").display().to_string();
    let queue = "amqp://guest:secret@127.0.0.1:1";
    let error = outshine_error(&["run", &campaign, "--store", &store, "--queue", queue], &[])?;
    assert!(error.contains("127.0.0.1:1") && !error.contains("secret"), "{error}");
    let nowhere: Vec<(&str, String)> = vec![
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1".to_owned()),
        ("AWS_ACCESS_KEY_ID", "a".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "b".to_owned()),
    ];
    let error = outshine_error(&["run", &campaign, "--store", "s3://bucket/x"], &nowhere)?;
    assert!(error.contains("127.0.0.1:1"), "{error}");
    let error = outshine_error(&["run", &campaign, "--store", "ftp://a/b"], &[])?;
    assert!(error.contains("ftp"), "{error}");
    Ok(())
}

#[test]
fn a_store_that_cannot_be_written() -> anyhow::Result<()> {
    let bench = Bench::new(&Pixels::good())?;
    let store = bench.path("store").display().to_string();
    std::fs::write(&store, "a file where the folder should be")?;
    bench.refuses(&[], &["store"])
}

#[test]
fn pixels_and_galaxies_that_cannot_be_fitted_are_flagged() -> anyhow::Result<()> {
    let mut pixels = Pixels::good();
    pixels.err[0] = Some(-0.1);
    pixels.err[1] = Some(f32::INFINITY);
    pixels.flux[2] = Some(f32::NAN);
    pixels.flux[3] = None;
    pixels.flux[4] = Some(0.0);
    (pixels.galaxy[9], pixels.redshift[9]) = (2, Some(14.18));
    (pixels.galaxy[10], pixels.redshift[10]) = (3, None);
    (pixels.galaxy[11], pixels.redshift[11]) = (4, Some(f64::NAN));
    let bench = Bench::new(&pixels)?;
    let arguments = bench.arguments(&[]);
    let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let out = bench.path("out").display().to_string();
    arguments.extend(["--export", &out]);
    outshine_ok(&arguments, &[])?;

    let part = |galaxy: i64| -> anyhow::Result<RecordBatch> {
        let part = bench.path(&format!("out/summaries/galaxy_id={galaxy}/part.parquet"));
        let table = parquet::decode("summaries", std::fs::read(part)?.into(), None)?;
        Ok(concat_batches(table.schema(), table.batches())?)
    };
    let parts = (1..=4).map(part).collect::<anyhow::Result<Vec<_>>>()?;
    let table = Table::new("summaries", parts[0].schema(), parts, BTreeMap::new());
    let bits = table.number::<UInt32Type>("flags")?;
    let median = table.float32("log_mass_stellar_p50")?;
    for row in 0..4 {
        assert_ne!(bits.value(row) & flags::INVALID_INPUT, 0, "row {row}");
    }
    assert_eq!(bits.value(4), flags::LOW_SNR);
    // A network this small may find any pixel strange.
    let fitted = |row| bits.value(row) & flags::NOT_FITTED == 0;
    assert!((5..9).all(fitted));
    use arrow::array::Array;
    assert!((0..12).all(|row| median.is_valid(row) == fitted(row)));

    let catalogue = bench.path("out/catalogue.parquet");
    let table = parquet::decode("catalogue", std::fs::read(catalogue)?.into(), None)?;
    let bits = table.number::<UInt32Type>("flags")?;
    assert_eq!(bits.value(0) & !flags::ATYPICAL, flags::PIXELS_LEFT_OUT);
    for (row, why) in
        [(1, flags::REDSHIFT_OUT_OF_RANGE), (2, flags::NO_REDSHIFT), (3, flags::NO_REDSHIFT)]
    {
        let all = why | flags::PIXELS_LEFT_OUT | flags::NO_FITTED_PIXELS;
        assert_eq!(bits.value(row), all, "row {row}: {}", flags::names(bits.value(row)));
    }
    Ok(())
}

/// Triangles of redshift about 2 for galaxies 2 and 3, and about 9 for galaxy 4.
fn distributions(path: &Path, density: f64) -> anyhow::Result<()> {
    let rows = [2, 3, 4].map(|id| {
        let about = if id == 4 { 9.0 } else { 2.0 };
        [(id, about - 0.5, 0.0), (id, about, density), (id, about + 0.5, 0.0)]
    });
    let rows = rows.as_flattened();
    let columns: [(&str, ArrayRef); 3] = [
        ("galaxy_id", Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.0)))),
        ("redshift", Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.1)))),
        ("density", Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.2)))),
    ];
    let batch = RecordBatch::try_from_iter(columns)?;
    Ok(std::fs::write(path, parquet::encode(&batch.schema(), &[batch], &[], 1000)?)?)
}

/// A known redshift comes first, then a given distribution; a posterior needs
/// no fit, which this network has not.
#[test]
fn redshifts_may_be_given_as_distributions() -> anyhow::Result<()> {
    let mut pixels = Pixels::good();
    (pixels.galaxy[8], pixels.redshift[8]) = (2, Some(3.0));
    (pixels.galaxy[9], pixels.redshift[9]) = (3, None);
    (pixels.galaxy[10], pixels.redshift[10]) = (4, None);
    (pixels.galaxy[11], pixels.redshift[11]) = (5, None);
    let bench = Bench::new(&pixels)?;
    let table = bench.path("pz.parquet");
    distributions(&table, -1.0)?;
    let place = format!("field.redshifts.table={}", table.display());
    let meaning = "field.redshifts.meaning=posterior";
    bench.refuses(&[&place, meaning], &["pz.parquet", "galaxy 2", "not negative"])?;
    bench.refuses(&[&place, "field.redshifts.meaning=guess"], &["campaign.toml", "guess"])?;

    distributions(&table, 1.0)?;
    let arguments = bench.arguments(&[&place, meaning]);
    let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let out = bench.path("out").display().to_string();
    arguments.extend(["--export", &out]);
    outshine_ok(&arguments, &[])?;
    let catalogue = bench.path("out/catalogue.parquet");
    let table = parquet::decode("catalogue", std::fs::read(catalogue)?.into(), None)?;
    let bits = table.number::<UInt32Type>("flags")?;
    let how = flags::REDSHIFT_FITTED
        | flags::REDSHIFT_GIVEN
        | flags::REDSHIFT_OUT_OF_RANGE
        | flags::NO_REDSHIFT;
    let expected = [0, 0, flags::REDSHIFT_GIVEN, flags::REDSHIFT_OUT_OF_RANGE, flags::NO_REDSHIFT];
    for (row, expected) in expected.into_iter().enumerate() {
        let found = bits.value(row);
        assert_eq!(found & how, expected, "row {row}: {}", flags::names(found));
    }
    use arrow::array::Array;
    let median = table.float64("redshift_p50")?;
    assert!((median.value(2) - 2.0).abs() < 0.02, "{}", median.value(2));
    assert!([0, 1, 3, 4].into_iter().all(|row| median.is_null(row)));
    Ok(())
}

/// `outshine fit` is a campaign of its own in its folder, and finds the bands.
#[test]
fn a_table_can_be_fitted_at_once() -> anyhow::Result<()> {
    let bench = Bench::new(&Pixels::good())?;
    let text = |name: &str| bench.path(name).display().to_string();
    let (pixels, out) = (text("pixels.parquet"), text("fitted \"here\""));
    let mut arguments = vec!["fit", &pixels, &out];
    for setting in ["calibrate.count=200", "calibrate.required=false", "fit.draws=20"] {
        arguments.extend(["--set", setting]);
    }
    outshine_ok(&arguments, &[])?;
    let said = outshine_ok(&arguments, &[])?;
    assert!(said.contains("catalogue.parquet"), "{said}");
    let catalogue = std::fs::read(Path::new(&out).join("catalogue.parquet"))?;
    assert_eq!(parquet::decode("catalogue", catalogue.into(), None)?.rows(), 1);
    arguments.extend(["--sfh", "dirichlet"]);
    let error = outshine_error(&arguments, &[])?;
    assert!(error.contains("campaign.toml") && error.contains("another fit"), "{error}");
    std::fs::write(bench.path("none.parquet"), b"")?;
    let error = outshine_error(&["fit", &text("none.parquet"), &text("b")], &[])?;
    assert!(error.contains("none.parquet"), "{error}");
    Ok(())
}

#[test]
fn a_failed_task_is_tried_again_on_request_only() -> anyhow::Result<()> {
    let mut pixels = Pixels::good();
    pixels.redshift[3] = Some(2.5);
    let bench = Bench::new(&pixels)?;
    bench.refuses(&[], &["galaxy 1"])?;
    bench.refuses(&[], &["galaxy 1"])?;
    let campaign = bench.path("campaign.toml").display().to_string();
    let store = bench.path("store").display().to_string();
    let said = outshine_ok(&["retry", &campaign, "--store", &store], &[])?;
    assert!(said.starts_with("1 failed"), "{said}");
    // The input is part of the campaign: the mended table is another campaign.
    Pixels::good().write(&bench.path("pixels.parquet"))?;
    let arguments = bench.arguments(&[]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = outshine(&arguments, &[])?;
    let said = String::from_utf8(output.stdout).context("text")?;
    assert!(output.status.success() && said.contains("resolved"), "{said}");
    Ok(())
}
