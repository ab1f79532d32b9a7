//! The model integrated through the bands beforehand, for any redshift of a
//! range, against the model at the library's full resolution.

#![cfg(feature = "bc03")]

mod common;

use common::{FAMILIES, differences, draw, model, photometry, quantile};
use outshine_sps::{
    Basis, Components, FilterSet, ForwardModel, ModelOptions, Parameters, Prior, RedshiftGrid,
    SpsError,
};
use std::sync::{Arc, OnceLock};

const A_V_MAX: f64 = 4.0;

fn build(model: Arc<ForwardModel>, redshift: (f64, f64)) -> RedshiftGrid {
    let basis = Basis::new(model, Components::Full, A_V_MAX).unwrap();
    RedshiftGrid::new(basis, redshift).unwrap()
}

fn jades() -> Arc<ForwardModel> {
    static MODEL: OnceLock<Arc<ForwardModel>> = OnceLock::new();
    MODEL.get_or_init(|| model(FilterSet::jades(), ModelOptions::default())).clone()
}

/// The grid of the default prior, worked out once.
fn grid() -> &'static RedshiftGrid {
    static GRID: OnceLock<RedshiftGrid> = OnceLock::new();
    GRID.get_or_init(|| build(jades(), (0.0, 7.5)))
}

/// Compares `count` draws. What derives must be equal to the bit; of |delta mag|
/// of fluxes that are not faint, the median, and all but one in a thousand, must
/// be below 0.001 and `most`.
fn compare(title: &str, grid: &RedshiftGrid, prior: &Prior, count: u64, most: f64) {
    let model = jades();
    let mut scratch = grid.scratch();
    let mut got = vec![0.0; model.bands().len()];
    // |delta mag|, share of the brightest band, band, draw.
    let mut all: Vec<(f64, f64, usize, u64)> = Vec::new();
    for i in 0..count {
        let p = draw(prior, i);
        let derived = grid.photometry(&p, &mut scratch, &mut got).unwrap();
        let (exact, expected) = photometry(&model, &p, Components::Full);
        assert_eq!(derived, expected, "{p:?}");
        let brightest = exact.iter().copied().fold(0.0, f64::max);
        let found = differences(&got, &exact).into_iter();
        all.extend(found.map(|(size, band)| (size, exact[band] / brightest, band, i)));
    }
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let sizes: Vec<f64> = all.iter().map(|d| d.0).collect();
    let [median, high, highest, max] = [0.5, 0.99, 0.999, 1.0].map(|q| quantile(&sizes, q));
    println!(
        "{title}: |delta mag| of {} fluxes: median {median:.1e}, 99 % {high:.1e}, \
         99.9 % {highest:.1e}, max {max:.1e}",
        sizes.len()
    );
    let (size, share, band, i) = all[all.len() - 1];
    println!("  {size:.4} at {share:.4} of the brightest: {} {:?}", model.bands()[band], {
        draw(prior, i)
    });
    assert!(sizes.len() as u64 > 8 * count);
    assert!(median < 1e-3 && highest < most, "{title}");
    // A band that Lyman alpha is just leaving sees the galaxy through the red
    // wing of its filter alone, which falls too steeply for a straight line
    // between tables; its flux is a small share by then.
    let bright = all.iter().filter(|d| d.1 > 0.02).map(|d| d.0).fold(0.0, f64::max);
    println!("  above 0.02 of the brightest: {bright:.4} at most");
    assert!(bright < 0.0075 && max < 0.06, "{title}: {bright} {max}");
}

#[test]
fn every_family_agrees_with_the_full_model() {
    for sfh in FAMILIES {
        let prior = Prior { sfh, ..Prior::default() };
        compare(&format!("{sfh:?}"), grid(), &prior, 1500, 0.005);
    }
}

#[test]
fn the_first_galaxies_agree_with_the_full_model() {
    let range = (7.0, 15.0);
    let grid = build(jades(), range);
    for sfh in FAMILIES {
        let prior = Prior { sfh, redshift: range, ..Prior::default() };
        // Three bands meet Lyman alpha here, and few see anything: that wing counts more.
        compare(&format!("{sfh:?}, z 7 to 15"), &grid, &prior, 500, 0.02);
    }
}

#[test]
fn a_batch_is_the_same_as_one_by_one_in_any_order() {
    let grid = grid();
    let bands = jades().bands().len();
    let populations: Vec<Parameters> = (0..400)
        .map(|i| draw(&Prior { sfh: FAMILIES[i as usize % 4], ..Prior::default() }, i))
        .collect();
    let run = |populations: &[Parameters]| {
        let mut flux = vec![f64::NAN; populations.len() * bands];
        let mut derived = vec![jades().derive(&populations[0]); populations.len()];
        grid.batch(populations, &mut grid.scratch(), &mut flux, &mut derived).unwrap();
        (flux, derived)
    };
    let (flux, derived) = run(&populations);
    let reversed: Vec<Parameters> = populations.iter().rev().copied().collect();
    let (back, derived_back) = run(&reversed);
    let mut one = vec![0.0; bands];
    for (i, p) in populations.iter().enumerate() {
        // Buffers that have seen nothing else.
        let alone = grid.photometry(p, &mut grid.scratch(), &mut one).unwrap();
        let j = populations.len() - 1 - i;
        assert!(alone == derived[i] && alone == derived_back[j], "{p:?}");
        for (band, one) in one.iter().enumerate() {
            assert_eq!(one.to_bits(), flux[i * bands + band].to_bits(), "{p:?}");
            assert_eq!(one.to_bits(), back[j * bands + band].to_bits(), "{p:?}");
        }
    }
}

#[test]
fn what_lies_outside_the_tables_is_refused() {
    let narrow = build(jades(), (1.0, 1.1));
    let mut scratch = narrow.scratch();
    let mut flux = vec![0.0; jades().bands().len()];
    let inside = Prior::default().from_free(&[9.0, 0.0, 0.3, -0.5, 1.0], 1.05);
    let mut name_of = |p: &Parameters| match narrow.photometry(p, &mut scratch, &mut flux) {
        Ok(_) => "",
        Err(SpsError::OutOfRange { name, .. }) => name,
        Err(other) => panic!("{other}"),
    };
    assert_eq!(name_of(&inside), "");
    for redshift in [1.0, 1.1] {
        assert_eq!(name_of(&Parameters { redshift, ..inside }), "", "the ends belong to it");
    }
    assert_eq!(name_of(&Parameters { a_v: A_V_MAX, ..inside }), "");
    for redshift in [0.999_999, 1.100_001, f64::NAN, 0.0, -1.0] {
        assert_eq!(name_of(&Parameters { redshift, ..inside }), "redshift", "{redshift}");
    }
    for a_v in [A_V_MAX + 1e-9, -1e-9, f64::NAN, f64::INFINITY] {
        assert_eq!(name_of(&Parameters { a_v, ..inside }), "a_v", "{a_v}");
    }
    assert_eq!(name_of(&Parameters { metallicity: 5.0, ..inside }), "metallicity");

    let mut fluxes = vec![0.0; 2 * flux.len()];
    let mut derived = vec![jades().derive(&inside); 2];
    let outside = Parameters { redshift: 2.0, ..inside };
    let batch = narrow.batch(&[inside, outside], &mut narrow.scratch(), &mut fluxes, &mut derived);
    assert!(matches!(batch, Err(SpsError::OutOfRange { name: "redshift", .. })));
    for (low, high) in [(1.0, 1.0), (2.0, 1.0), (-0.1, 1.0), (1.0, 21.0), (f64::NAN, 1.0)] {
        let basis = Basis::new(jades(), Components::Full, A_V_MAX).unwrap();
        assert!(matches!(RedshiftGrid::new(basis, (low, high)), Err(SpsError::Setting { .. })));
    }
    for a_v_max in [0.0, -1.0, 20.1, f64::NAN] {
        let basis = Basis::new(jades(), Components::Full, a_v_max);
        assert!(matches!(basis, Err(SpsError::Setting { .. })), "{a_v_max}");
    }
}
