//! Real JADES pixels, where the reference data lie beside the project.

use arrow::array::Array;
use arrow::datatypes::UInt32Type;
use outshine_schemas::flags;
use outshine_store::parquet;
use outshine_tests::processes::outshine_ok;
use outshine_tests::reference;

/// Few draws: this is a test of the way, not of the numbers.
const QUICK: [&str; 4] =
    ["calibrate.count=200", "calibrate.draws=99", "calibrate.required=false", "fit.draws=50"];

#[test]
fn the_cutout_gives_samples_and_a_catalogue_that_says_what_it_lacks() -> anyhow::Result<()> {
    let pixels = reference::file("jades_gs_cutout_pixels.parquet");
    let sources = reference::file("jades_gs_cutout_sources.parquet");
    let (Some(pixels), Some(sources)) = (pixels, sources) else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    let campaign = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/campaigns/jades-cutout.toml");
    let (store, out) = (path("store"), path("out"));
    let mut settings = vec![
        format!("field.pixels={}", pixels.display()),
        format!("field.sources={}", sources.display()),
    ];
    settings.extend(QUICK.map(str::to_owned));
    let mut arguments = vec!["run", campaign, "--store", &store, "--export", &out];
    for setting in &settings {
        arguments.extend(["--set", setting.as_str()]);
    }
    outshine_ok(&arguments, &[])?;

    let read = |name: &str| -> anyhow::Result<outshine_store::Table> {
        let bytes = std::fs::read(folder.path().join("out").join(name))?;
        Ok(parquet::decode(name, bytes.into(), None)?)
    };
    let catalogue = read("catalogue.parquet")?;
    let id = catalogue.int64("galaxy_id")?;
    let bits = catalogue.number::<UInt32Type>("flags")?;
    let used = catalogue.number::<UInt32Type>("pixels_used")?;
    let available = catalogue.number::<UInt32Type>("pixels_available")?;
    let resolved = catalogue.float64("log_mass_stellar_resolved_p50")?;
    let integrated = catalogue.float64("log_mass_stellar_integrated_p50")?;
    let redshift = catalogue.float64("redshift")?;
    let fitted = catalogue.float64("redshift_p50")?;
    let mut unknown = 0;
    for row in 0..catalogue.rows() {
        let has = resolved.is_valid(row);
        match id.value(row) {
            183_349 => {
                assert_eq!(used.value(row), available.value(row), "every pixel is fitted");
                assert!(has && integrated.is_valid(row));
                // A z = 3.475 galaxy of some hundred pixels near 1 nJy each.
                assert!((7.0..12.0).contains(&resolved.value(row)), "{}", resolved.value(row));
                let samples = read("samples/blocks-0000000.parquet")?;
                let owners = samples.int64("galaxy_id")?;
                let own = owners.values().iter().filter(|id| **id == 183_349).count();
                assert_eq!(own, available.value(row) as usize, "draws of every pixel");
                let (draws, n) = samples.float32_lists("log_mass_stellar")?;
                assert_eq!((n, draws.len()), (50, 50 * samples.rows()));
                assert!(draws.iter().all(|draw| draw.is_finite()));
            }
            183_348 => {
                assert_ne!(bits.value(row) & flags::REDSHIFT_OUT_OF_RANGE, 0);
                assert!(!has);
            }
            _ => {
                assert_ne!(bits.value(row) & flags::REDSHIFT_FITTED, 0);
                assert!(has && redshift.is_null(row));
                assert!((0.0..7.5).contains(&fitted.value(row)));
                unknown += 1;
            }
        }
    }
    assert_eq!((catalogue.rows(), unknown), (6, 4));
    Ok(())
}
