//! Prints, as CSV, how the forward model differs from FSPS: see `docs/fsps.md`.
//!
//! `cargo run -p outshine-sps --example compare_fsps > fsps.csv`
//!
//! Columns: sample, IGM of our model, how its fluxes are measured, band (or
//! `all` bands pooled, `log_mass_stellar`, `t50`, or rows left out as `unsound`
//! histories or `outside` our metallicities), region, redshift bin, median
//! rest wavelength (Angstrom), number of values, median and scatter of ours
//! minus FSPS (mag at equal IMF; dex for the mass).

use outshine_sps::{FilterSet, IgmModel, SspLibrary};
use std::sync::Arc;

#[path = "../tests/fsps/compare.rs"]
mod compare;
use compare::{Bands, REDSHIFT_EDGES, Spread};

fn main() -> Result<(), outshine_sps::SpsError> {
    let library = Arc::new(SspLibrary::embedded()?);
    let set = FilterSet::jades();
    let Some(samples) = compare::samples(&set, &library) else { return Ok(()) };
    println!("sample,igm,bands,band,region,z_low,z_high,rest_angstrom,n,median,scatter");
    for (igm, bands, name) in [
        (IgmModel::Madau, Bands::Photons, "madau,photons"),
        (IgmModel::Inoue, Bands::Photons, "inoue,photons"),
        (IgmModel::Madau, Bands::Grid, "madau,grid"),
    ] {
        let model = compare::model(&library, igm);
        for sample in &samples {
            let line = |what: &str, bin: (f64, f64), rest: f64, s: &Spread| {
                let Spread { median, scatter, n } = s;
                let (low, high) = bin;
                let head = format!("{},{name},{what}", sample.name);
                println!("{head},{low},{high},{rest:.0},{n},{median:.4},{scatter:.4}");
            };
            let bin = |bin: usize| (REDSHIFT_EDGES[bin], REDSHIFT_EDGES[bin + 1]);
            let all = (REDSHIFT_EDGES[0], REDSHIFT_EDGES[REDSHIFT_EDGES.len() - 1]);
            // How many rows were left out, and why.
            for (what, n) in [("unsound,", sample.unsound), ("outside,", sample.outside)] {
                line(what, all, f64::NAN, &Spread { median: f64::NAN, scatter: f64::NAN, n });
            }
            let comparison = compare::compare(&model, &set, sample, bands);
            line("log_mass_stellar,", all, f64::NAN, &comparison.mass);
            line("t50,", all, f64::NAN, &comparison.t50);
            for (region, b, spread) in comparison.pooled.iter().filter(|(.., s)| s.n > 0) {
                line(&format!("all,{region:?}"), bin(*b), f64::NAN, spread);
            }
            for cell in &comparison.cells {
                let what = format!("{},{:?}", cell.band, cell.region);
                line(&what, bin(cell.bin), cell.rest_angstrom, &cell.spread);
            }
        }
    }
    Ok(())
}
