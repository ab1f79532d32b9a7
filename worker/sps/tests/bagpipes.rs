//! The forward model against photometry made by bagpipes 1.3.6 at ten times
//! its usual spectral sampling: another code on the same stellar populations.

#![cfg(feature = "bc03")]

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Float64Type;
use outshine_sps::model::MetallicityScale;
use outshine_sps::{
    AgeBinning, Components, FilterSet, ForwardModel, ModelOptions, Parameters, Sfh, SspLibrary,
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

/// The rows of a family; `None`, said aloud, where the file is absent.
fn rows(family: &str, bands: &[String]) -> Option<Vec<Row>> {
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
        for i in (0..batch.num_rows()).filter(|&i| sfh.value(i) == family) {
            rows.push(Row {
                components: match components.value(i) {
                    "full" => Components::Full,
                    "stellar_dust" => Components::StellarDust,
                    "stellar" => Components::Stellar,
                    other => panic!("components {other}"),
                },
                parameters: Parameters {
                    sfh: match family {
                        "tau" => {
                            Sfh::Tau { tau_gyr: get("tau_gyr", i), t_i_gyr: get("t_i_gyr", i) }
                        }
                        _ => Sfh::Dirichlet {
                            log_ssfr: get("log_ssfr", i),
                            t25: get("t25", i),
                            t50: get("t50", i),
                            t75: get("t75", i),
                        },
                    },
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
    let expected = if family == "tau" { 300 } else { 200 };
    assert_eq!(rows.len(), expected, "rows of family {family}");
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

/// Figures of one comparison, each the largest over components.
struct Figures {
    /// Largest median |delta mag| of a band.
    median: f64,
    /// 95th percentile of |delta mag|, all bands together.
    percentile_95: f64,
}

/// Prints median |delta mag| per band and components, and what they amount to.
fn compare(title: &str, model: &ForwardModel, rows: &[Row]) -> Figures {
    let bands = model.bands();
    let mut workspace = model.workspace();
    let mut flux = vec![0.0; bands.len()];
    let mut table = vec![[Vec::new(), Vec::new(), Vec::new()]; bands.len()];
    for row in rows {
        let c = COMPONENTS.iter().position(|(c, _)| *c == row.components).unwrap();
        model.photometry(&row.parameters, row.components, &mut workspace, &mut flux).unwrap();
        let brightest = row.flux_ujy.iter().copied().fold(0.0, f64::max);
        for b in 0..bands.len() {
            if row.flux_ujy[b] > 1e-3 * brightest {
                table[b][c].push((-2.5 * (flux[b] * 1e-3 / row.flux_ujy[b]).log10()).abs());
            }
        }
    }
    println!("{title}: median |delta mag| (95 %, n)");
    let mut figures = Figures { median: 0.0, percentile_95: 0.0 };
    for b in 0..bands.len() {
        print!("{:7}", bands[b]);
        for c in 0..3 {
            let n = table[b][c].len();
            let m = median(&mut table[b][c]);
            figures.median = figures.median.max(m);
            print!("  {} {m:.4} ({:.3}, {n})", COMPONENTS[c].1, table[b][c][n * 95 / 100]);
        }
        println!();
    }
    for c in 0..3 {
        let mut pooled: Vec<f64> = table.iter().flat_map(|t| t[c].iter().copied()).collect();
        pooled.sort_by(f64::total_cmp);
        let high = pooled[pooled.len() * 95 / 100];
        figures.percentile_95 = figures.percentile_95.max(high);
        println!("{title}, {}: all bands 95 % {high:.4}", COMPONENTS[c].1);
    }
    println!(
        "{title}: worst median {:.4}, worst 95 % {:.4}",
        figures.median, figures.percentile_95
    );
    figures
}

/// The same SSPs in another code: with its age bins and its interpolation
/// between metallicities the two differ by a constant 0.0008 mag, which is its
/// Sun (3.826e33 erg/s) and megaparsec (3.086e24 cm).
#[test]
fn photometry_agrees_with_bagpipes() {
    let library = Arc::new(SspLibrary::embedded().unwrap());
    let set = FilterSet::jades();
    for family in ["tau", "dirichlet"] {
        let Some(rows) = rows(family, set.names()) else { return };
        let with = |options: ModelOptions| {
            ForwardModel::new(library.clone(), set.clone(), options).unwrap()
        };
        let linear = ModelOptions {
            metallicity_scale: MetallicityScale::LinearZ,
            ..ModelOptions::default()
        };
        let alike = ModelOptions { age_binning: AgeBinning::Bagpipes, ..linear.clone() };
        let got = compare(&format!("{family}, as bagpipes"), &with(alike), &rows);
        assert!(got.median <= 0.003 && got.percentile_95 <= 0.005, "{family}, as bagpipes");
        // Exact ages: a constant 0.004 mag from the sample counted for the older
        // bin, and more where all stars are older than 1 Gyr: bins of 0.1 dex are
        // 0.2 to 3 Gyr wide there, and a history changes within one.
        let got = compare(&format!("{family}, exact ages, linear in Z"), &with(linear), &rows);
        assert!(got.median <= 0.01 && got.percentile_95 <= 0.07, "{family}, exact ages");
        // The default: linear in log Z as well. Between metallicities up to a
        // factor of ten apart this is another model, not another precision.
        let default = ModelOptions::default();
        let got = compare(&format!("{family}, default"), &with(default), &rows);
        assert!(got.median <= 0.03 && got.percentile_95 <= 0.15, "{family}, default");
    }
}

#[test]
fn masses_rates_and_ages_agree_with_bagpipes() {
    let library = Arc::new(SspLibrary::embedded().unwrap());
    let set = FilterSet::jades();
    let model = ForwardModel::new(library, set.clone(), ModelOptions::default()).unwrap();
    for family in ["tau", "dirichlet"] {
        let Some(rows) = rows(family, set.names()) else { return };
        let (mut mass, mut sfr, mut age) = (Vec::new(), Vec::new(), Vec::new());
        for row in &rows {
            let derived = model.derive(&row.parameters);
            mass.push((derived.log_mass_stellar - row.log_mass_stellar).abs());
            age.push((derived.mass_weighted_age_gyr / row.age_gyr - 1.0).abs());
            if row.log_sfr_100 > -4.0 {
                sfr.push((derived.log_sfr_100 - row.log_sfr_100).abs());
            }
        }
        for (name, values, bound) in
            [("log mass", &mut mass, 0.005), ("log sfr", &mut sfr, 0.02), ("age", &mut age, 0.01)]
        {
            let m = median(values);
            let n = values.len();
            let inside = values.iter().filter(|v| **v < bound).count() as f64 / n as f64;
            println!(
                "{family}, {name}: median {m:.5}, 95 % {:.5}, 99 % {:.5}, worst {:.5} of {n}; \
                 below {bound}: {:.1} %",
                values[n * 95 / 100],
                values[n * 99 / 100],
                values[n - 1],
                100.0 * inside
            );
            let (least, most) = if family == "dirichlet" && name == "age" {
                (0.98, 0.02)
            } else if name == "log sfr" {
                (0.99, 1.0)
            } else {
                (0.99, 2.0 * bound)
            };
            // bagpipes samples the rate at ages 0.0025 dex apart, 58 Myr at 10
            // Gyr: steps that begin or end within one, and Dirichlet curves that
            // rise and fall within one, differ. Summed the same way, half of
            // the Dirichlet ages agree to 1e-7.
            let worst = values[n - 1];
            assert!(inside >= least && worst < most, "{family} {name}: {inside} {worst}");
        }
    }
}
