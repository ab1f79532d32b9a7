//! The Dirichlet history against curves made by dense_basis 0.1.9 itself.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Float64Type;
use outshine_sps::{Realised, Sfh, sfh};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::path::PathBuf;

struct Curve {
    sfh: Sfh,
    log_mass_formed: f64,
    time_gyr: Vec<f64>,
    sfr_msun_per_yr: Vec<f64>,
}

/// The reference curves; `None`, said aloud, where the file is absent.
fn curves() -> Option<Vec<Curve>> {
    let folder = std::env::var_os("OUTSHINE_REFERENCE").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/reference"),
        PathBuf::from,
    );
    let path = folder.join("dense_basis_sfh.parquet");
    let Ok(file) = std::fs::File::open(&path) else {
        println!("SKIPPED: no {} (set OUTSHINE_REFERENCE)", path.display());
        return None;
    };
    let mut curves = Vec::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap() {
        let batch: RecordBatch = batch.unwrap();
        let number = |name: &str, i: usize| {
            batch.column_by_name(name).unwrap().as_primitive::<Float64Type>().value(i)
        };
        let list = |name: &str, i: usize| {
            let list = batch.column_by_name(name).unwrap().as_list::<i32>().value(i);
            list.as_primitive::<Float64Type>().values().to_vec()
        };
        for i in 0..batch.num_rows() {
            curves.push(Curve {
                sfh: Sfh::Dirichlet {
                    log_ssfr: number("log_ssfr", i),
                    t25: number("t25", i),
                    t50: number("t50", i),
                    t75: number("t75", i),
                },
                log_mass_formed: number("log_mass_formed", i),
                time_gyr: list("time_gyr", i),
                sfr_msun_per_yr: list("sfr_msun_per_yr", i),
            });
        }
    }
    assert_eq!(curves.len(), 100, "the reference holds 100 curves");
    Some(curves)
}

#[test]
fn cumulative_mass_agrees_with_dense_basis() {
    let Some(curves) = curves() else { return };
    let mut differences = Vec::new();
    let mut offsets = Vec::new();
    for curve in &curves {
        let times = &curve.time_gyr;
        let t_univ = times[times.len() - 1];
        // Their mass by the trapezoid rule, from the Big Bang.
        let mut theirs = vec![0.0];
        for (t, rate) in times.windows(2).zip(curve.sfr_msun_per_yr.windows(2)) {
            let mass = 0.5 * (rate[0] + rate[1]) * (t[1] - t[0]) * 1e9;
            theirs.push(theirs[theirs.len() - 1] + mass);
        }
        let total = theirs[theirs.len() - 1];
        // Ours in bins between the same times, seen from the end.
        let edges: Vec<f64> = times.iter().rev().map(|t| t_univ - t).collect();
        let mut fractions = vec![0.0; edges.len() - 1];
        sfh::mass_per_bin(&curve.sfh, t_univ, &edges, &mut fractions).unwrap();
        let mut younger = 0.0;
        let mut worst = 0.0f64;
        for (i, fraction) in fractions.iter().enumerate() {
            younger += fraction;
            let theirs = theirs[theirs.len() - 2 - i] / total;
            worst = worst.max((1.0 - younger - theirs).abs());
        }
        differences.push(worst);
        let realised = Realised::measure(&curve.sfh, t_univ).unwrap();
        let offset = total.log10() - curve.log_mass_formed;
        offsets.push((realised.log_mass_offset - offset).abs());
        assert!((-0.02..0.09).contains(&realised.log_mass_offset), "{realised:?}");
    }
    differences.sort_by(f64::total_cmp);
    offsets.sort_by(f64::total_cmp);
    println!(
        "cumulative mass fraction: worst {:.1e}, median {:.1e}",
        differences[99], differences[50]
    );
    println!("realised mass: worst {:.1e} dex, median {:.1e}", offsets[99], offsets[50]);
    // Their process solves an ill-conditioned system: at high sSFR the last
    // points lie 1e-4 apart. An exact solution is as far from theirs.
    assert!(differences[99] < 0.002 && differences[50] < 1e-6);
    assert!(offsets[99] < 1e-3 && offsets[50] < 1e-6);
}
