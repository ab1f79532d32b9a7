//! The forward model against simulations made with FSPS: another code on other
//! isochrones. `docs/fsps.md` holds the table, the figure and the reasons.

#![cfg(feature = "bc03")]

#[path = "fsps/compare.rs"]
mod compare;

use compare::{Bands, Comparison, REDSHIFT_EDGES, Region, Sample};
use outshine_sps::{FilterSet, IgmModel, SspLibrary};
use std::sync::Arc;

/// Cells of fewer values say nothing of a median.
const LEAST: usize = 10;

/// Largest median that other isochrones, nebular grids and dust emission may
/// make, mag; a lost factor of 1 + z makes 0.3 to 2.1.
fn bound(region: Region) -> f64 {
    match region {
        Region::Forest => f64::INFINITY,
        Region::Ultraviolet => 0.4,
        Region::Optical => 0.2,
    }
}

fn comparisons(bands: Bands) -> Option<Vec<(IgmModel, Sample, Comparison)>> {
    let library = Arc::new(SspLibrary::embedded().unwrap());
    let set = FilterSet::jades();
    let mut all = Vec::new();
    for igm in [IgmModel::Madau, IgmModel::Inoue] {
        let model = compare::model(&library, igm);
        for sample in compare::samples(&set, &library)? {
            let comparison = compare::compare(&model, &set, &sample, bands);
            all.push((igm, sample, comparison));
        }
    }
    Some(all)
}

/// Prints a comparison by region and redshift.
fn print(igm: IgmModel, sample: &Sample, comparison: &Comparison) {
    let Sample { name, rows, unsound, outside } = sample;
    println!("{name}, {igm:?}: {} rows ({unsound} unsound, {outside} outside)", rows.len());
    println!("  mass {:?}, t50 {:?}", comparison.mass, comparison.t50);
    for (region, bin, s) in comparison.pooled.iter().filter(|(.., s)| s.n > 0) {
        let (low, high) = (REDSHIFT_EDGES[*bin], REDSHIFT_EDGES[bin + 1]);
        let (median, scatter, n) = (s.median, s.scatter, s.n);
        println!("  {region:?} z {low} to {high}: {median:+.3} ({scatter:.3}, {n})");
    }
}

/// Asserts the bounds cell by cell in the regions given; returns how many cells.
fn check_cells(name: &str, comparison: &Comparison, regions: &[Region]) -> usize {
    let mut checked = 0;
    for cell in comparison.cells.iter().filter(|c| c.spread.n >= LEAST) {
        if regions.contains(&cell.region) {
            checked += 1;
            let (band, z, median) = (&cell.band, REDSHIFT_EDGES[cell.bin], cell.spread.median);
            let at = format!("{name} {band} from z {z}, rest {:.0} A", cell.rest_angstrom);
            assert!(median.abs() <= bound(cell.region), "{at}: median {median:+.3} mag");
        }
    }
    checked
}

#[test]
fn photometry_agrees_with_fsps_measured_alike() {
    let Some(comparisons) = comparisons(Bands::Grid) else { return };
    for (igm, sample, comparison) in &comparisons {
        print(*igm, sample, comparison);
        let checked = check_cells(sample.name, comparison, &[Region::Ultraviolet, Region::Optical]);
        assert!(checked >= 80, "{}: {checked} cells hold {LEAST} values", sample.name);
    }
}

#[test]
fn photon_counting_differs_where_the_grid_of_fsps_is_uneven() {
    let Some(photons) = comparisons(Bands::Photons) else { return };
    let Some(grid) = comparisons(Bands::Grid) else { return };
    for ((igm, sample, ours), (_, _, alike)) in photons.iter().zip(&grid) {
        print(*igm, sample, ours);
        check_cells(sample.name, ours, &[Region::Optical]);
        for ((region, bin, photons), (_, _, grid)) in ours.pooled.iter().zip(&alike.pooled) {
            if photons.n >= LEAST {
                assert!(photons.median.abs() <= bound(*region), "{} {region:?}", sample.name);
            }
            // Bands across 3600 A at rest: the reference weighs what lies redward of it
            // 22 times more, beyond the break, and is brighter for it by far.
            if *region == Region::Ultraviolet && *bin < 2 {
                let shift = photons.median - grid.median;
                assert!(shift > 0.1, "{}: bin {bin} moves by {shift:.3} mag", sample.name);
            }
        }
    }
}

#[test]
fn masses_and_histories_agree_with_fsps() {
    let Some(comparisons) = comparisons(Bands::Photons) else { return };
    for (_, sample, comparison) in &comparisons {
        // Rows that the reference's own documentation leaves out.
        let unsound = match sample.name {
            "tau" => 33,
            "dirichlet" => 75,
            _ => 1,
        };
        assert_eq!(sample.unsound, unsound, "{}", sample.name);
        let mass = comparison.mass;
        assert_eq!(mass.n, sample.rows.len());
        assert!(mass.median.abs() <= 0.05 && mass.scatter <= 0.03, "{} {mass:?}", sample.name);
        // The reference gives quantiles in steps of 0.001 of the cosmic age.
        let t50 = comparison.t50;
        if t50.n > 0 {
            assert!(t50.median.abs() <= 1e-3 && t50.scatter <= 1e-3, "{} {t50:?}", sample.name);
        }
    }
}
