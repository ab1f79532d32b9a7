//! The forward model against photometry made by bagpipes 1.3.6 at ten times
//! its usual spectral sampling: another code on the same stellar populations.

#![cfg(feature = "bc03")]

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Float64Type;
use outshine_sps::model::MetallicityScale;
use outshine_sps::{
    Components, Filter, FilterSet, ForwardModel, ModelOptions, Parameters, Sfh, SspLibrary,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::path::PathBuf;
use std::sync::Arc;

struct Row {
    components: Components,
    parameters: Parameters,
    flux_ujy: Vec<f64>,
    log_mass_stellar: f64,
    log_sfr_100: f64,
    age_gyr: f64,
}

fn reference_folder() -> PathBuf {
    std::env::var_os("OUTSHINE_REFERENCE").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/reference"),
        PathBuf::from,
    )
}

/// The tau rows; `None`, said aloud, where the file is absent.
fn rows(bands: &[String]) -> Option<Vec<Row>> {
    let path = reference_folder().join("bagpipes_highres.parquet");
    let Ok(file) = std::fs::File::open(&path) else {
        println!("SKIPPED: no {} (set OUTSHINE_REFERENCE)", path.display());
        return None;
    };
    let mut rows = Vec::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap() {
        let batch: RecordBatch = batch.unwrap();
        let text = |name: &str| batch.column_by_name(name).unwrap().as_string::<i64>().clone();
        let number =
            |name: &str| batch.column_by_name(name).unwrap().as_primitive::<Float64Type>().clone();
        let (sfh, components) = (text("sfh"), text("components"));
        let flux: Vec<_> = bands.iter().map(|b| number(&format!("flux_ujy_{b}"))).collect();
        let get = |name: &str, i: usize| number(name).value(i);
        for i in (0..batch.num_rows()).filter(|&i| sfh.value(i) == "tau") {
            rows.push(Row {
                components: match components.value(i) {
                    "full" => Components::Full,
                    "stellar_dust" => Components::StellarDust,
                    "stellar" => Components::Stellar,
                    other => panic!("components {other}"),
                },
                parameters: Parameters {
                    sfh: Sfh::Tau { tau_gyr: get("tau_gyr", i), t_i_gyr: get("t_i_gyr", i) },
                    log_mass_formed: get("log_mass_formed", i),
                    metallicity: get("metallicity", i),
                    a_v: get("a_v", i),
                    redshift: get("redshift", i),
                },
                flux_ujy: flux.iter().map(|f| f.value(i)).collect(),
                log_mass_stellar: get("log_mass_stellar", i),
                log_sfr_100: get("sfr_100_msun_per_yr", i).log10(),
                age_gyr: get("mass_weighted_age_gyr", i),
            });
        }
    }
    assert_eq!(rows.len(), 300, "the reference holds 300 tau rows");
    Some(rows)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    if values.is_empty() { f64::NAN } else { values[values.len() / 2] }
}

const COMPONENTS: [(Components, &str); 3] = [
    (Components::Full, "full"),
    (Components::StellarDust, "stellar_dust"),
    (Components::Stellar, "stellar"),
];

/// Prints median |delta mag| per band and components; returns (worst, median of all).
fn compare(title: &str, model: &ForwardModel, rows: &[Row]) -> (f64, f64) {
    let bands = model.bands();
    let mut workspace = model.workspace();
    let mut flux = vec![0.0; bands.len()];
    let mut table = vec![[Vec::new(), Vec::new(), Vec::new()]; bands.len()];
    let mut signed = table.clone();
    for row in rows {
        let c = COMPONENTS.iter().position(|(c, _)| *c == row.components).unwrap();
        model.photometry(&row.parameters, row.components, &mut workspace, &mut flux).unwrap();
        let brightest = row.flux_ujy.iter().copied().fold(0.0, f64::max);
        for b in 0..bands.len() {
            if row.flux_ujy[b] > 1e-3 * brightest {
                let delta = -2.5 * (flux[b] * 1e-3 / row.flux_ujy[b]).log10();
                if title == "bagpipes binning" && delta.abs() > 0.02 {
                    println!(
                        "TAIL {} {:?} z {:.3} av {:.2} d {:+.3} met {:.2} {:?} age {:.3}",
                        bands[b],
                        row.components,
                        row.parameters.redshift,
                        row.parameters.a_v,
                        delta,
                        row.parameters.metallicity,
                        row.parameters.sfh,
                        row.age_gyr
                    );
                }
                table[b][c].push(delta.abs());
                signed[b][c].push(delta);
            }
        }
    }
    println!("{title}: median |delta mag| (median delta, 95 %, n)");
    let (mut worst, mut all) = (0.0f64, Vec::new());
    for b in 0..bands.len() {
        print!("{:7}", bands[b]);
        for c in 0..3 {
            all.extend_from_slice(&table[b][c]);
            let n = table[b][c].len();
            let m = median(&mut table[b][c]);
            let high = table[b][c][n * 95 / 100];
            worst = worst.max(m);
            let name = COMPONENTS[c].1;
            print!("  {name} {m:.4} ({:+.4}, {high:.3}, {n})", median(&mut signed[b][c]));
        }
        println!();
    }
    for c in 0..3 {
        let mut pooled: Vec<f64> = table.iter().flat_map(|t| t[c].iter().copied()).collect();
        pooled.sort_by(f64::total_cmp);
        println!("{title}: {} pooled 95 % {:.4}", COMPONENTS[c].1, pooled[pooled.len() * 95 / 100]);
    }
    let overall = median(&mut all);
    println!("{title}: worst median {worst:.4}, median of all {overall:.4}");
    (worst, overall)
}

#[test]
fn photometry_agrees_with_bagpipes() {
    let library = Arc::new(SspLibrary::embedded().unwrap());
    let set = FilterSet::jades();
    let Some(rows) = rows(set.names()) else { return };
    let model = ForwardModel::new(library.clone(), set.clone(), ModelOptions::default()).unwrap();
    let (worst, overall) = compare("log Z", &model, &rows);

    let linear =
        ModelOptions { metallicity_scale: MetallicityScale::LinearZ, ..ModelOptions::default() };
    let (worst_linear, overall_linear) = compare(
        "linear Z",
        &ForwardModel::new(library.clone(), set.clone(), linear.clone()).unwrap(),
        &rows,
    );

    // The reference's own curves, where they lie beside it.
    let folder = reference_folder().join("../data/filters");
    let own: Option<Vec<Filter>> = set
        .names()
        .iter()
        .map(|b| {
            let text = std::fs::read_to_string(folder.join(format!("{b}.dat"))).ok()?;
            Some(Filter::from_table(b, &text).unwrap())
        })
        .collect();
    if let Some(own) = own {
        let own = FilterSet::new(own).unwrap();
        compare(
            "linear Z, reference's filters",
            &ForwardModel::new(library.clone(), own.clone(), linear.clone()).unwrap(),
            &rows,
        );
        let bp = ModelOptions { age_binning: outshine_sps::AgeBinning::Bagpipes, ..linear };
        compare("bagpipes binning", &ForwardModel::new(library, own, bp).unwrap(), &rows);
    } else {
        println!("SKIPPED: no filter curves in {}", folder.display());
    }
    // Another code on the same SSPs. What differs on purpose: interpolation in
    // log Z, age bins half as wide, exact line wavelengths and mass per bin.
    assert!(worst <= 0.05, "log Z: worst median {worst}");
    assert!(overall <= 0.02, "log Z: median of all {overall}");
    assert!(worst_linear <= 0.05 && overall_linear <= 0.02, "{worst_linear} {overall_linear}");
}

#[test]
fn masses_rates_and_ages_agree_with_bagpipes() {
    let library = Arc::new(SspLibrary::embedded().unwrap());
    let set = FilterSet::jades();
    let Some(rows) = rows(set.names()) else { return };
    let model = ForwardModel::new(library, set, ModelOptions::default()).unwrap();
    let (mut mass, mut sfr, mut age) = (Vec::new(), Vec::new(), Vec::new());
    for row in &rows {
        let derived = model.derive(&row.parameters);
        mass.push((derived.log_mass_stellar - row.log_mass_stellar).abs());
        age.push((derived.mass_weighted_age_gyr / row.age_gyr - 1.0).abs());
        // The reference has SFRs of exactly 0 where all stars are old.
        if !derived.sfr_floored && row.log_sfr_100 > row.parameters.log_mass_formed - 13.0 {
            sfr.push((derived.log_sfr_100 - row.log_sfr_100).abs());
        }
    }
    for (name, values) in [("log mass", &mut mass), ("log sfr", &mut sfr), ("age", &mut age)] {
        let m = median(values);
        let n = values.len();
        println!(
            "{name}: median {m:.5}, 95 % {:.5}, worst {:.5} of {n}",
            values[n * 95 / 100],
            values[n - 1]
        );
    }
    // bagpipes sums the history over time steps of 0.0025 dex: medians are far
    // below these bounds; the tails are histories that start within a step.
    assert!(median(&mut mass) < 0.005 && median(&mut age) < 0.01 && median(&mut sfr) < 0.02);
}
