//! Whole campaigns in one process.

use arrow::array::Array;
use outshine_schemas::flags;
use outshine_schemas::task::Stage;
use outshine_store::parquet;
use outshine_tests::campaigns::{differences, look, products, run_here, run_until, tiny};

#[tokio::test(flavor = "multi_thread")]
async fn a_mock_campaign_ends_with_a_catalogue_that_knows_its_truth() -> anyhow::Result<()> {
    let store = outshine_store::open("memory:").await?;
    let graph = run_here(&store, tiny(&[])?, 2).await?.graph()?;
    let files = products(&store, &graph).await?;
    let catalogue = parquet::decode("catalogue", files["catalogue.parquet"].clone(), None)?;
    assert_eq!(catalogue.rows(), 6);
    let used = catalogue.number::<arrow::datatypes::UInt32Type>("pixels_used")?;
    let truth = catalogue.float64("log_mass_stellar_true")?;
    let resolved = catalogue.float64("log_mass_stellar_resolved_p50")?;
    let fitted = (0..6).filter(|&row| used.value(row) > 0).count();
    assert!(fitted >= 4, "only {fitted} galaxies have fitted pixels");
    for row in 0..6 {
        assert_eq!(used.value(row) > 0, resolved.is_valid(row), "row {row}");
        assert_eq!(used.value(row) > 0, truth.is_valid(row), "row {row}");
        if used.value(row) > 0 {
            // A network trained for seconds is rough, but knows brightness:
            // within a factor of ten, where the prior spans eight decades.
            let off = resolved.value(row) - truth.value(row);
            assert!(off.abs() < 1.0, "row {row}: {off}");
        }
    }
    let validation = parquet::decode("validation", files["validation.parquet"].clone(), None)?;
    assert_eq!(validation.rows(), 9 + 12);
    let samples = files.keys().filter(|n| n.starts_with("samples/")).count();
    assert_eq!(samples, graph.commits(Stage::Fit).len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn results_do_not_depend_on_workers_or_on_how_work_was_cut() -> anyhow::Result<()> {
    let one = outshine_store::open("memory:").await?;
    let graph = run_here(&one, tiny(&[])?, 1).await?.graph()?;
    let first = products(&one, &graph).await?;

    let two = outshine_store::open("memory:").await?;
    let graph = run_here(&two, tiny(&[])?, 2).await?.graph()?;
    assert_eq!(differences(&first, &products(&two, &graph).await?), Vec::<String>::new());

    // Other shards make other files, but the same model and the same rows.
    let cut = outshine_store::open("memory:").await?;
    let settings = [
        "execution.blocks_per_task=5",
        "execution.galaxies_per_task=1",
        "execution.simulations_per_task=700",
        "execution.epochs_per_task=6",
    ];
    let graph = run_here(&cut, tiny(&settings)?, 2).await?.graph()?;
    let other = products(&cut, &graph).await?;
    for name in ["model/model.json", "model/model.safetensors", "catalogue.parquet"] {
        assert_eq!(first[name], other[name], "{name}");
    }
    let draws = |files: &std::collections::BTreeMap<String, bytes::Bytes>| {
        let mut all = Vec::new();
        for (name, bytes) in files.iter().filter(|(n, _)| n.starts_with("samples/")) {
            let table = parquet::decode(name, bytes.clone(), None)?;
            all.extend(table.float32_lists("log_mass_stellar")?.0);
        }
        anyhow::Ok(all)
    };
    assert_eq!(draws(&first)?, draws(&other)?);
    Ok(())
}

/// One galaxy of 36 pixels, about half of them above the limit: those, and only
/// those, differ from what the estimator says, whichever way the work is cut.
#[tokio::test(flavor = "multi_thread")]
async fn bright_pixels_are_refined() -> anyhow::Result<()> {
    let settings = [
        "field.mock={kind=\"prior\",galaxies=3,pixels_per_galaxy=12}",
        "prior.log_mass_formed=[6.5,9.5]",
        "fit.refine_mean_snr=15",
    ];
    let of = |more: &[&'static str]| tiny(&[&settings[..], more].concat());
    let mut rows = Vec::new();
    for more in [
        &["fit.refine=\"none\""][..],
        &["fit.refine=\"all\"", "execution.blocks_per_task=1"],
        &["fit.refine=\"all\"", "execution.galaxies_per_task=1"],
        &["fit.refine=\"integrated\""],
    ] {
        let store = outshine_store::open("memory:").await?;
        let graph = run_here(&store, of(more)?, 2).await?.graph()?;
        let files = products(&store, &graph).await?;
        let mut pixels = Vec::new();
        for (name, bytes) in files.iter().filter(|(name, _)| name.starts_with("summaries/")) {
            let table = parquet::decode(name, bytes.clone(), None)?;
            let (snr, p50) = (table.float32("mean_snr")?, table.float32("a_v_p50")?);
            let fitted = (0..table.rows()).filter(|&row| p50.is_valid(row));
            pixels.extend(fitted.map(|row| (snr.value(row), p50.value(row))));
        }
        rows.push((files["catalogue.parquet"].clone(), pixels));
    }
    let [none, all, cut, integrated] = &rows[..] else { unreachable!("four campaigns") };
    let bright = none.1.iter().filter(|(snr, _)| *snr >= 15.0).count();
    assert!(bright > 3 && bright < none.1.len(), "{bright} of {}", none.1.len());
    for (own, refined) in none.1.iter().zip(&all.1) {
        assert_eq!(own.0.to_bits(), refined.0.to_bits());
        assert_eq!(own.0 >= 15.0, own.1.to_bits() != refined.1.to_bits(), "{own:?} {refined:?}");
    }
    let bits = |v: &[(f32, f32)]| v.iter().map(|(_, p50)| p50.to_bits()).collect::<Vec<u32>>();
    assert_eq!(bits(&none.1), bits(&integrated.1));
    assert_eq!(bits(&all.1), bits(&cut.1));
    let masses = |bytes: &bytes::Bytes, column: &str| -> anyhow::Result<Vec<Option<f64>>> {
        let table = parquet::decode("catalogue", bytes.clone(), None)?;
        Ok(table.float64(column)?.iter().collect())
    };
    for column in ["log_mass_stellar_resolved_p50", "log_mass_stellar_integrated_p50"] {
        let of = |at: &(bytes::Bytes, _)| masses(&at.0, column);
        assert_eq!(of(all)?, of(cut)?, "{column}");
        assert_ne!(of(all)?, of(none)?, "{column}");
        assert_eq!(of(integrated)? == of(none)?, column.contains("resolved"), "{column}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_campaign_is_not_computed_again() -> anyhow::Result<()> {
    let store = outshine_store::open("memory:").await?;
    let first = run_here(&store, tiny(&[])?, 2).await?;
    let campaign = first.campaign.clone();
    let before = first.graph()?;
    let again = run_here(&store, tiny(&["execution.blocks_per_task=9"])?, 2).await?;
    assert_eq!(again.campaign.id(), campaign.id());
    let after = again.graph()?;
    for stage in Stage::ALL {
        assert_eq!(before.commits(stage), after.commits(stage), "{stage}");
    }
    let seen = look(&store, &campaign).await?;
    assert!(seen.complete(Stage::Catalogue));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_may_end_after_a_stage_and_go_on_later() -> anyhow::Result<()> {
    let store = outshine_store::open("memory:").await?;
    let part = run_until(&store, tiny(&[])?, 2, Stage::Simulate).await?.graph()?;
    assert!(part.complete(Stage::Simulate) && !part.commits(Stage::Simulate).is_empty());
    assert!(Stage::ALL[2..].iter().all(|&stage| part.commits(stage).is_empty()));
    let whole = run_here(&store, tiny(&[])?, 2).await?.graph()?;
    assert!(whole.complete(Stage::Catalogue));
    assert_eq!(part.commits(Stage::Simulate), whole.commits(Stage::Simulate));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_not_calibrated_does_not_fit() -> anyhow::Result<()> {
    let store = outshine_store::open("memory:").await?;
    // After one epoch the network is far from calibrated.
    let settings =
        ["calibrate.required=true", "train.max_epochs=1", "calibrate.tolerance.coverage=0.001"];
    let ran = run_here(&store, tiny(&settings)?, 2).await?;
    let campaign = ran.campaign.clone();
    let error = ran.graph().unwrap_err().to_string();
    assert!(error.contains("not calibrated"), "{error}");
    let seen = look(&store, &campaign).await?;
    assert_eq!(seen.commits(Stage::Calibrate).len(), 1);
    assert!(seen.commits(Stage::Fit).is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pixels_that_are_left_out_say_why() -> anyhow::Result<()> {
    let store = outshine_store::open("memory:").await?;
    let graph = run_here(&store, tiny(&["field.min_mean_snr=1e9"])?, 2).await?.graph()?;
    let files = products(&store, &graph).await?;
    let catalogue = parquet::decode("catalogue", files["catalogue.parquet"].clone(), None)?;
    let bits = catalogue.number::<arrow::datatypes::UInt32Type>("flags")?;
    let mass = catalogue.float64("log_mass_stellar_resolved_p50")?;
    for row in 0..catalogue.rows() {
        assert_ne!(bits.value(row) & flags::NO_FITTED_PIXELS, 0);
        assert!(mass.is_null(row));
    }
    Ok(())
}

/// Columns by their names, made again from summaries and draws: mean ages and
/// attenuations draw by draw, and where the mass lies.
#[tokio::test(flavor = "multi_thread")]
async fn the_catalogue_is_what_its_columns_are_called() -> anyhow::Result<()> {
    let store = outshine_store::open("memory:").await?;
    let graph = run_here(&store, tiny(&[])?, 2).await?.graph()?;
    let files = products(&store, &graph).await?;
    let catalogue = parquet::decode("catalogue", files["catalogue.parquet"].clone(), None)?;
    let id = catalogue.int64("galaxy_id")?;
    let used = catalogue.number::<arrow::datatypes::UInt32Type>("pixels_used")?;
    let row = (0..6).max_by_key(|&row| used.value(row)).expect("six galaxies");
    let value = |name: &str| -> anyhow::Result<f64> { Ok(catalogue.float64(name)?.value(row)) };
    let median = |values: &mut Vec<f64>| {
        values.sort_by(f64::total_cmp);
        let n = values.len();
        0.5 * (values[(n - 1) / 2] + values[n / 2])
    };

    // Draws: as many as 40 a pixel.
    let mut sums = vec![[0.0; 3]; 40];
    let mut sorted = vec![0.0; 40];
    for (name, bytes) in files.iter().filter(|(name, _)| name.starts_with("samples/")) {
        let table = parquet::decode(name, bytes.clone(), None)?;
        let galaxy = table.int64("galaxy_id")?;
        let lists = ["log_mass_formed", "mass_weighted_age_gyr", "a_v"]
            .map(|name| table.float32_lists(name).map(|(values, _)| values));
        let [mass, age, a_v] = lists;
        let (mass, age, a_v) = (mass?, age?, a_v?);
        for pixel in (0..table.rows()).filter(|&p| galaxy.value(p) == id.value(row)) {
            let mut rising = mass[pixel * 40..(pixel + 1) * 40].to_vec();
            rising.sort_by(f32::total_cmp);
            for (sum, log) in sorted.iter_mut().zip(rising) {
                *sum += 10f64.powf(f64::from(log));
            }
            for (k, sum) in sums.iter_mut().enumerate() {
                let i = pixel * 40 + k;
                let weight = 10f64.powf(f64::from(mass[i]));
                sum[0] += weight;
                sum[1] += weight * f64::from(age[i]);
                sum[2] += weight * f64::from(a_v[i]);
            }
        }
    }
    for (name, of) in [("mass_weighted_age_gyr", 1), ("a_v", 2)] {
        let mut means: Vec<f64> = sums.iter().map(|sum| sum[of] / sum[0]).collect();
        let (found, expected) = (value(&format!("{name}_resolved_p50"))?, median(&mut means));
        assert!((found / expected - 1.0).abs() < 1e-9, "{name}: {found} {expected}");
    }
    let mut formed: Vec<f64> = sums.iter().map(|sum| sum[0].log10()).collect();
    let found = value("log_mass_formed_resolved_p50")?;
    assert!((found - median(&mut formed)).abs() < 1e-9, "{found}");
    // Errors with a correlation of 0.1: of the variance when all go together a tenth, and
    // of that when none does the rest. Half widths of 40 draws are good to 30 %.
    let variance = |logs: &[f64]| {
        let mean = logs.iter().sum::<f64>() / 40.0;
        logs.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 40.0
    };
    let together: Vec<f64> = sorted.iter().map(|sum: &f64| sum.log10()).collect();
    let expected = (0.1 * variance(&together) + 0.9 * variance(&formed)).sqrt();
    let width = |name: &str| -> anyhow::Result<f64> {
        Ok(0.5 * (value(&format!("{name}_p84"))? - value(&format!("{name}_p16"))?))
    };
    let (found, alone) = (width("log_mass_formed_correlated")?, width("log_mass_formed_resolved")?);
    assert!(
        (found / expected - 1.0).abs() < 0.3 && found > 2.0 * alone,
        "{found} {expected} {alone}"
    );
    let middle = value("log_mass_formed_correlated_p50")?;
    assert!((middle - value("log_mass_formed_resolved_p50")?).abs() < found, "{middle}");

    // Medians of the pixels: x, y, mass, age, A_V.
    let mut pixels: Vec<[f64; 5]> = Vec::new();
    for (name, bytes) in files.iter().filter(|(name, _)| name.starts_with("summaries/")) {
        let table = parquet::decode(name, bytes.clone(), None)?;
        let (galaxy, x, y) = (table.int64("galaxy_id")?, table.int32("x")?, table.int32("y")?);
        let [mass, age, a_v] = ["log_mass_stellar_p50", "mass_weighted_age_gyr_p50", "a_v_p50"]
            .map(|n| table.float32(n));
        let (mass, age, a_v) = (mass?, age?, a_v?);
        for p in (0..table.rows()).filter(|&p| galaxy.value(p) == id.value(row) && mass.is_valid(p))
        {
            let (x, y) = (f64::from(x.value(p)), f64::from(y.value(p)));
            let mass = 10f64.powf(f64::from(mass.value(p)));
            pixels.push([x, y, mass, f64::from(age.value(p)), f64::from(a_v.value(p))]);
        }
    }
    let peak = *pixels.iter().max_by(|a, b| a[2].total_cmp(&b[2])).expect("fitted pixels");
    let peak_x = catalogue.int32("peak_x")?.value(row);
    let peak_y = catalogue.int32("peak_y")?.value(row);
    assert_eq!([f64::from(peak_x), f64::from(peak_y)], [peak[0], peak[1]]);
    let radius = value("half_mass_radius_pixel")?;
    let distance = |p: &[f64; 5]| (p[0] - peak[0]).hypot(p[1] - peak[1]);
    let total: f64 = pixels.iter().map(|p| p[2]).sum();
    let within = |r: f64| pixels.iter().filter(|p| distance(p) <= r).map(|p| p[2]).sum::<f64>();
    // Pixels are squares of a side of 1, the radius is that of a smooth curve.
    assert!(within(radius - 1.0) < 0.5 * total && within(radius + 1.0) > 0.5 * total, "{radius}");
    for (name, of) in [("mass_weighted_age_gyr", 3), ("a_v", 4)] {
        let mean = |keep: &dyn Fn(&[f64; 5]) -> bool| {
            let kept = || pixels.iter().filter(|p| keep(p));
            kept().map(|p| p[2] * p[of]).sum::<f64>() / kept().map(|p| p[2]).sum::<f64>()
        };
        for (place, expected) in [
            ("central", peak[of]),
            ("inside", mean(&|p| distance(p) <= radius)),
            ("outside", mean(&|p| distance(p) > radius)),
        ] {
            let found = value(&format!("{name}_{place}"))?;
            assert!((found / expected - 1.0).abs() < 1e-9, "{name} {place}: {found} {expected}");
        }
    }
    for (place, expected) in
        [("central", peak[2]), ("inside", within(radius)), ("outside", total - within(radius))]
    {
        let found = value(&format!("log_mass_stellar_{place}"))?;
        assert!((found - expected.log10()).abs() < 1e-9, "{place}: {found} {expected}");
    }
    Ok(())
}
