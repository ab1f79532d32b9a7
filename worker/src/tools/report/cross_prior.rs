//! The cross-prior test: the model on simulations of the other family of
//! histories.

use super::ReportError;
use super::calibration::at;
use super::html::{Page, number};
use super::ranks::level;
use crate::tools::words::{label, short};
use arrow::array::Float64Array;
use outshine_figures::chart::{Axis, Bar, Chart, Charts, Dash, Layer};
use outshine_figures::colours::{ColourMap, SERIES};
use outshine_kernels::quantile;
use outshine_schemas::outcome::Facts;
use outshine_store::Table;

/// Writes its figures and what the stage says of it.
///
/// # Errors
/// A column that is not there, or a figure that cannot be drawn.
pub(super) fn write(page: &mut Page, table: &Table, facts: &Facts) -> Result<(), ReportError> {
    let fact = facts.get("cross_prior");
    let figure = |key: &str| fact.and_then(|f| f.get(key)?.as_f64()).unwrap_or(f64::NAN);
    let family = fact.and_then(|f| f.get("simulations_of")?.as_str()).unwrap_or("the other family");
    // That of the objects that the stage judges by.
    let least_snr = figure("least_mean_snr");
    page.part("Cross-prior test");
    page.say(&format!(
        "The model on {} simulations of {family} histories (mean S/N above {}): surviving masses are {} dex off in \
         the mean and {} in the median, scatter {} dex, {} % of true masses inside the central 68 %; \
         correlation of the offset with the mass formed before t_i: {}.",
        number(figure("objects"), 0),
        number(least_snr, 0),
        number(figure("offset_mean_dex"), 3),
        number(figure("offset_median_dex"), 3),
        number(figure("scatter_dex"), 3),
        number(100.0 * figure("coverage_68"), 1),
        number(figure("correlation_with_mass_before_t_i"), 2)
    ));
    let f = |name: &str| table.float64(name);
    let (truth, median) = (f("log_mass_stellar_true")?, f("log_mass_stellar_p50")?);
    let (before, snr) = (f("mass_before_t_i")?, f("mean_snr")?);
    let seen: Vec<usize> = (0..table.rows()).filter(|&i| at(&snr, i) > least_snr).collect();
    let column = |c: &Float64Array| -> Vec<f64> { seen.iter().map(|&i| at(c, i)).collect() };
    let (truth, median, before) = (column(&truth), column(&median), column(&before));
    let offset: Vec<f64> = median.iter().zip(&truth).map(|(m, t)| m - t).collect();
    if !offset.iter().any(|o| o.is_finite()) {
        return Ok(());
    }
    let fraction = Axis::new("mass formed before t_{i}", 0.0, 1.0);
    let bar = Bar { axis: fraction.clone(), colours: ColourMap::Plasma };
    let mut charts = Charts::new(2, 0.7, Some(bar));
    let y = format!("fitted \u{2212} true {} [dex]", short("log_mass_stellar"));
    let y = Axis::about_zero(&y, &offset, 0.5);
    let x =
        Axis::around(&format!("true {}", label("log_mass_stellar")), truth.iter().copied(), 1.0);
    let (low, high) = (x.scale.low, x.scale.high);
    let cloud =
        |x: &[f64]| Layer::Points { x: x.to_vec(), y: offset.clone(), value: before.clone() };
    charts.charts.push(Chart {
        title: String::new(),
        notes: Vec::new(),
        x,
        y: y.clone(),
        layers: vec![cloud(&truth), level(low, high, 0.0)],
    });
    charts.charts.push(Chart {
        title: String::new(),
        notes: Vec::new(),
        x: fraction,
        y,
        layers: vec![cloud(&before), level(0.0, 1.0, 0.0), medians(&before, &offset)],
    });
    let caption = "Offset of the mass of simulations of the other family of histories, coloured by the fraction \
        of the mass of the Dirichlet history that formed before t_i of the tau-delayed one. Line: medians in \
        tenths of that fraction.";
    page.figure(&charts.svg()?, caption);
    Ok(())
}

/// Medians of `y` in tenths of `x`.
fn medians(x: &[f64], y: &[f64]) -> Layer {
    let median = |i: usize| {
        let inside = |x: f64| ((x * 10.0) as usize).min(9) == i && x.is_finite();
        let mut values: Vec<f64> = x
            .iter()
            .zip(y)
            .filter(|(x, y)| inside(**x) && y.is_finite())
            .map(|(_, y)| *y)
            .collect();
        if values.is_empty() {
            return None;
        }
        quantile::sort(&mut values);
        Some((0.1 * i as f64 + 0.05, quantile::of_sorted(&values, 0.5)))
    };
    let points = (0..10).filter_map(median).collect();
    Layer::Curve { points, colour: SERIES[6], dash: Dash::Solid, marked: true }
}
