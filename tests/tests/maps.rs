//! Maps, panels and profiles in the hands of others: astropy reads the maps,
//! and bad input costs one galaxy, not the rest.

use anyhow::{Context, ensure};
use arrow::array::{ArrayRef, Float32Array, Float64Array, Int32Array, Int64Array, RecordBatch};
use outshine_store::parquet;
use outshine_tests::bench::Bench;
use outshine_tests::processes::{files, outshine_ok};
use outshine_tests::reference;
use outshine_tests::servers::{or_skip, python};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// The sky of the mock: turned by 30 degrees and far from the equator, so that
/// nothing falls into place by chance.
const WCS: [(&str, &str); 10] = [
    ("CTYPE1", "\"RA---TAN\""),
    ("CTYPE2", "\"DEC--TAN\""),
    ("CRPIX1", "1234.25"),
    ("CRPIX2", "-57"),
    ("CRVAL1", "53.16"),
    ("CRVAL2", "-67.79"),
    ("CD1_1", "-7.216878364870322e-6"),
    ("CD1_2", "4.166666666666667e-6"),
    ("CD2_1", "4.166666666666667e-6"),
    ("CD2_2", "7.216878364870322e-6"),
];

const MOCK: &str = r#"
name = "maps"
seed = 5

[field.mock]
kind = "prior"
galaxies = 3
columns = 2
stamp = 40
log_mass = [9.5, 10.5]
radius_pixels = [3.0, 5.0]

[calibrate]
count = 200
draws = 99
required = false

[fit]
draws = 40

[execution]
blocks_per_task = 1
"#;

/// Has astropy read the maps in a folder, beside the exported products.
fn read_by_astropy(python: &Path, maps: &str, products: &str, wcs: &str) -> anyhow::Result<String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/maps.py");
    let arguments = [script, maps, products, wcs];
    let output = Command::new(python).args(arguments).output().context("python")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}{error}");
    ensure!(said.contains("astropy agrees"), "{said}{error}");
    Ok(said)
}

fn partial(folder: &Path) -> anyhow::Result<Vec<String>> {
    Ok(files(folder)?.into_keys().filter(|name| name.contains("partial")).collect())
}

#[test]
fn astropy_reads_maps_of_both_families_and_their_wcs() -> anyhow::Result<()> {
    let Some(python) = or_skip(python()) else { return Ok(()) };
    let header: BTreeMap<&str, serde_json::Value> = WCS
        .iter()
        .map(|&(key, text)| Ok((key, serde_json::from_str(text)?)))
        .collect::<anyhow::Result<_>>()?;
    let header = serde_json::to_string(&header)?;
    for family in ["tau", "dirichlet"] {
        let bench = Bench::new(&format!("{MOCK}\n[prior]\nsfh = \"{family}\"\n"))?;
        let (out, maps) = (bench.text("out"), bench.text("maps"));
        bench.ok("run", &["--export", &out])?;
        // Without any sky: pixels alone. The sky is given afterwards.
        bench.ok("maps", &["--to", &bench.text("plain")])?;
        read_by_astropy(&python, &bench.text("plain"), &out, "none")?;
        let settings: Vec<String> =
            WCS.iter().map(|(key, value)| format!("field.image.wcs.{key}={value}")).collect();
        let mut more = vec!["--to", &maps, "--set", "field.image.psf_fwhm_arcsec=0.15"];
        for setting in &settings {
            more.extend(["--set", setting.as_str()]);
        }
        let said = bench.ok("maps", &more)?;
        ensure!(said.contains("maps of 3 galaxies"), "{said}");
        read_by_astropy(&python, &maps, &out, &header)?;
        ensure!(partial(&bench.path("maps"))?.is_empty(), "half-written files");
        // The same bytes again, over what is there and elsewhere; a galaxy by itself too.
        let first = files(&bench.path("maps"))?;
        bench.ok("maps", &more)?;
        ensure!(first == files(&bench.path("maps"))?, "other bytes the second time");
        let again = bench.text("again");
        more[1] = &again;
        more.extend(["--galaxy", "2"]);
        bench.ok("maps", &more)?;
        let alone = files(&bench.path("again"))?;
        let of_galaxy = |name: &&String| name.starts_with("galaxy-");
        ensure!(alone.keys().filter(of_galaxy).count() == 5, "{:?}", alone.keys());
        for name in alone.keys().filter(of_galaxy) {
            ensure!(first.get(name) == alone.get(name), "{name}: other bytes alone");
        }
    }
    Ok(())
}

#[test]
fn what_cannot_be_mapped_is_said_before_anything_is_written() -> anyhow::Result<()> {
    let bench = Bench::new(MOCK)?;
    let maps = bench.text("maps");
    let refused = |more: &[&str], words: &str| -> anyhow::Result<()> {
        let mut all = vec!["--to", maps.as_str()];
        all.extend(more);
        let error = bench.error("maps", &all)?;
        ensure!(error.contains(words), "`{words}` is not in: {error}");
        ensure!(!error.contains("panicked"), "{error}");
        ensure!(!bench.path("maps").exists(), "something was written");
        Ok(())
    };
    refused(&[], "there is no folder")?;
    ensure!(!bench.path("store").exists(), "a store was made");
    refused(&["--set", "field.image.wcs.A_ORDER=2"], "field.image.wcs.A_ORDER: is none of")?;
    refused(&["--set", "field.image.rgb=[\"f090w\",\"f115w\",\"k\"]"], "`k` is not among `bands`")?;
    bench.ok("run", &["--until", "field"])?;
    refused(&["--galaxy", "77"], "--galaxy 77: not among the 3 galaxies")?;
    // What is complete: nothing yet.
    let output = bench.output("maps", &["--to", &maps])?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(!output.status.success() && said.contains("are not fitted"), "{said}");
    ensure!(said.contains("maps of 0 galaxies"), "{said}");
    ensure!(!bench.path("maps").exists(), "something was written");
    // A place that cannot be written: a file where a folder should be.
    bench.ok("run", &["--until", "fit"])?;
    std::fs::write(bench.path("file"), "")?;
    let error = bench.error("maps", &["--to", &bench.text("file")])?;
    ensure!(error.contains(&bench.text("file")), "{error}");
    // Read-only for anybody.
    let error = bench.error("maps", &["--to", "/proc/outshine-maps"])?;
    ensure!(error.contains("/proc/outshine-maps"), "{error}");
    // The fit is complete, the catalogue is not: these redshifts are known.
    bench.ok("maps", &["--to", &maps])?;
    ensure!(bench.path("maps/galaxy-1/maps.fits").is_file());
    // A damaged object in the store costs its galaxy.
    let name = bench.damage("/summaries.parquet")?;
    let output = bench.output("maps", &["--to", &bench.text("rest")])?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(error.contains("1 of 3 galaxies have no maps"), "{error}");
    ensure!(said.contains(name.as_str()) && said.contains("maps of 2 galaxies"), "{said}");
    let made = files(&bench.path("rest"))?;
    ensure!(made.keys().filter(|name| name.ends_with("maps.fits")).count() == 2);
    Ok(())
}

const BANDS: [&str; 5] = ["f115w", "f200w", "f277w", "f356w", "f444w"];

/// A pixel of a table.
struct Pixel {
    galaxy: i64,
    x: i32,
    y: i32,
    redshift: Option<f64>,
    flux: f32,
    err: [f32; 5],
}

fn table(pixels: &[Pixel], path: &Path) -> anyhow::Result<()> {
    let mut columns: Vec<(String, ArrayRef)> = vec![
        ("x".into(), Arc::new(Int32Array::from_iter_values(pixels.iter().map(|p| p.x)))),
        ("y".into(), Arc::new(Int32Array::from_iter_values(pixels.iter().map(|p| p.y)))),
        (
            "galaxy_id".into(),
            Arc::new(Int64Array::from_iter_values(pixels.iter().map(|p| p.galaxy))),
        ),
        ("redshift".into(), Arc::new(Float64Array::from_iter(pixels.iter().map(|p| p.redshift)))),
    ];
    for (i, band) in BANDS.iter().enumerate() {
        let flux = Float32Array::from_iter_values(pixels.iter().map(|p| p.flux));
        let err = Float32Array::from_iter_values(pixels.iter().map(|p| p.err[i]));
        columns.push((format!("flux_njy_{band}"), Arc::new(flux)));
        columns.push((format!("err_njy_{band}"), Arc::new(err)));
    }
    let batch = RecordBatch::try_from_iter(columns)?;
    Ok(std::fs::write(path, parquet::encode(&batch.schema(), &[batch], &[], 1000)?)?)
}

#[test]
fn odd_galaxies_get_maps_or_a_reason_and_the_rest_goes_on() -> anyhow::Result<()> {
    let Some(python) = or_skip(python()) else { return Ok(()) };
    let bands: Vec<String> = BANDS.iter().map(|b| format!("\"{b}\"")).collect();
    let campaign = format!(
        "name = \"odd\"\nbands = [{}]\n[field]\npixels = \"pixels.parquet\"\n\
         [field.image]\npixel_scale_arcsec = 0.03\npsf_fwhm_arcsec = 9\n\
         [calibrate]\ncount = 200\ndraws = 99\nrequired = false\n[fit]\ndraws = 20\n",
        bands.join(", ")
    );
    let bench = Bench::new(&campaign)?;
    let good = |galaxy: i64, x: i32, y: i32| Pixel {
        galaxy,
        x,
        y,
        redshift: Some(2.0),
        flux: 2.0,
        err: [0.1; 5],
    };
    let mut pixels = Vec::new();
    // A million pixels apart.
    pixels.extend([good(-7, -500_000, 0), good(-7, 500_000, 1_000_000)]);
    // One pixel, at the end of what a position can be.
    pixels.push(good(3, i32::MAX, i32::MIN));
    // Too faint, and errors that cannot be used.
    pixels.extend((0..4).map(|x| Pixel { flux: 0.01, ..good(4, x, 10) }));
    pixels.push(Pixel { err: [f32::INFINITY; 5], ..good(4, 4, 10) });
    pixels.push(Pixel { flux: f32::NAN, ..good(4, 5, 10) });
    // A redshift that is not known, and bands that half of the pixels lack: one
    // that stays below what is shown, and in the other half all but three.
    for x in 0..6 {
        let mut pixel = good(5, x, 20);
        pixel.redshift = None;
        if x < 3 {
            pixel.err[0] = 0.0;
        }
        pixels.push(pixel);
    }
    pixels.push(Pixel { redshift: None, err: [0.0, 0.1, 0.1, 0.1, 0.0], ..good(5, 6, 20) });
    table(&pixels, &bench.path("pixels.parquet"))?;
    let out = bench.text("out");
    bench.ok("run", &["--export", &out])?;

    // Signs that shells, paths and FITS have their own ideas of.
    let odd = "a [1] (x)+!'\u{e9}\u{2299}";
    let output = bench.output("maps", &["--to", &bench.text(odd)])?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(!output.status.success() && error.contains("1 of 4 galaxies have no maps"), "{error}");
    ensure!(said.contains("maps of 3 galaxies"), "{said}");
    ensure!(said.contains("galaxy -7: its 2 pixels span 1000001 x 1000001 cells"), "{said}");
    ensure!(said.contains("galaxy 4: no pixel was fitted"), "{said}");
    let made: Vec<String> = files(&bench.path(odd))?.into_keys().collect();
    ensure!(!made.iter().any(|name| name.contains("galaxy--7") || name.contains("partial")));
    ensure!(!made.iter().any(|name| name.contains("galaxy-4/profile")), "{made:?}");
    for id in [3, 4, 5] {
        ensure!(made.contains(&format!("galaxy-{id}/maps.fits")), "{made:?}");
        ensure!(made.contains(&format!("galaxy-{id}/panel.png")), "{made:?}");
    }
    let panel =
        |id: i64| std::fs::read_to_string(bench.path(odd).join(format!("galaxy-{id}/panel.svg")));
    ensure!(panel(4)?.contains("no fitted pixel"), "the panel of galaxy 4");
    ensure!(panel(5)?.contains("(fitted)"), "the panel of galaxy 5");

    // astropy reads those that there are.
    let all = std::fs::read(bench.path("out/catalogue.parquet"))?;
    let table = parquet::decode("catalogue", all.into(), None)?;
    let batch = arrow::compute::concat_batches(table.schema(), table.batches())?;
    let rest = batch.slice(1, batch.num_rows() - 1);
    ensure!(table.int64("galaxy_id")?.value(0) == -7);
    let bytes = parquet::encode(&rest.schema(), &[rest], &[], 1000)?;
    std::fs::write(bench.path("out/catalogue.parquet"), bytes)?;
    read_by_astropy(&python, &bench.text(odd), &out, "none")?;
    Ok(())
}

/// Real JADES pixels, where the reference data lie beside the project.
#[test]
fn the_cutout_has_maps() -> anyhow::Result<()> {
    let Some(python) = or_skip(python()) else { return Ok(()) };
    let pixels = reference::file("jades_gs_cutout_pixels.parquet");
    let sources = reference::file("jades_gs_cutout_sources.parquet");
    let (Some(pixels), Some(sources)) = (pixels, sources) else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    let campaign = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/campaigns/jades-cutout.toml");
    let (store, out, maps) = (path("store"), path("out"), path("maps"));
    let settings = [
        format!("field.pixels={}", pixels.display()),
        format!("field.sources={}", sources.display()),
        "calibrate.count=200".to_owned(),
        "calibrate.draws=99".to_owned(),
        "calibrate.required=false".to_owned(),
        "fit.draws=50".to_owned(),
    ];
    let run = |command: &str, place: &str, value: &str| {
        let mut arguments = vec![command, campaign, "--store", &store, place, value];
        arguments.extend(settings.iter().flat_map(|s| ["--set", s.as_str()]));
        outshine_ok(&arguments, &[])
    };
    run("run", "--export", &out)?;
    let said = run("maps", "--to", &maps)?;
    ensure!(said.contains("maps of 6 galaxies"), "{said}");
    // Out of the range of redshifts: nothing to map but the image.
    ensure!(said.contains("galaxy 183348: no pixel was fitted"), "{said}");
    read_by_astropy(&python, &maps, &out, "none")?;
    Ok(())
}
