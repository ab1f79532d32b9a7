//! Figures of the calibration: ranks and coverage of single parameters and of all
//! together, and redshifts.

use super::ReportError;
use super::calibration::{JOINT, LEVELS, POPULATIONS, Row, at, counts, is_shown, name_of, of};
use super::html::{Page, number};
use crate::stages::calibrate::REDSHIFT_SNR;
use crate::tools::words::short;
use arrow::datatypes::UInt64Type;
use outshine_figures::chart::{Axis, Chart, Charts, Dash, Layer, Name};
use outshine_figures::colours::{GUIDE, SERIES};
use outshine_npe::diagnostics::TARP;
use outshine_store::Table;

/// Standard deviations, and deviation of a distribution times the root of the
/// number, that 99 % of calibrated models keep within.
const SIGMAS_99: f64 = 2.576;
const KOLMOGOROV_99: f64 = 1.628;
/// Ranks over uniform of at least so much either way are shown.
const LEAST_UNEVENNESS: f64 = 0.2;

/// Names of the two populations' curves.
fn population_key() -> Vec<Name> {
    let name = |i: usize| Name {
        name: name_of(POPULATIONS[i]).to_owned(),
        colour: SERIES[i],
        dash: Dash::ALL[i],
    };
    vec![name(0), name(1)]
}

pub(super) fn sbc(page: &mut Page, rows: &[Row]) -> Result<(), ReportError> {
    let mut charts = Charts::new(4, 0.7, None);
    charts.key = population_key();
    for row in of(rows, POPULATIONS[0]) {
        if !is_shown(row) || row.simulations == 0 || row.histogram.is_empty() {
            continue;
        }
        let (mut layers, mut notes) = (Vec::new(), Vec::new());
        let bins = row.histogram.len() as f64;
        let expected = row.simulations as f64 / bins;
        // Binomial, relative to the expected count.
        let spread = SIGMAS_99 * ((1.0 - 1.0 / bins) / expected).sqrt();
        layers.push(Layer::Band {
            points: vec![(0.0, 1.0 - spread, 1.0 + spread), (1.0, 1.0 - spread, 1.0 + spread)],
        });
        layers.push(level(0.0, 1.0, 1.0));
        let mut most = spread.max(LEAST_UNEVENNESS);
        for (i, population) in POPULATIONS.iter().enumerate() {
            let Some(row) = of(rows, population).into_iter().find(|r| r.parameter == row.parameter)
            else {
                continue;
            };
            let mean = row.simulations as f64 / row.histogram.len() as f64;
            let heights: Vec<f64> = row.histogram.iter().map(|n| n / mean).collect();
            let off = heights.iter().map(|h| (h - 1.0).abs()).filter(|off| off.is_finite());
            most = off.fold(most, f64::max);
            notes.push(format!("deviation {}", number(row.ks, 3)));
            layers.push(Layer::Steps { heights, colour: SERIES[i], dash: Dash::ALL[i] });
        }
        charts.charts.push(Chart {
            title: short(&row.parameter).to_owned(),
            notes,
            x: Axis::new("rank of the truth", 0.0, 1.0),
            // With room above for the notes.
            y: Axis::new("over uniform", 1.0 - 1.1 * most, 1.0 + 2.4 * most),
            layers,
        });
    }
    if charts.charts.is_empty() {
        return Ok(());
    }
    page.part("Simulation-based calibration");
    let caption = "Ranks of true values among their posterior draws, over what is expected of uniform ranks. \
        Grey: 99 % of the histograms of calibrated single pixels. Deviation: largest of the distribution of \
        ranks from uniform, single pixels above, integrated objects below.";
    page.figure(&charts.svg()?, caption);
    Ok(())
}

/// A level line.
pub(super) fn level(low: f64, high: f64, at: f64) -> Layer {
    let points = vec![(low, at), (high, at)];
    Layer::Curve { points, colour: GUIDE, dash: Dash::Solid, marked: false }
}

pub(super) fn coverage(page: &mut Page, rows: &[Row]) -> Result<(), ReportError> {
    let mut charts = Charts::new(2, 0.55, None);
    let mut most: f64 = 2.0;
    for population in POPULATIONS {
        let rows = of(rows, population);
        let Some(n) = rows.first().map(|r| r.simulations) else { continue };
        let band = |level: f64| {
            let spread = 100.0 * SIGMAS_99 * (level * (1.0 - level) / n as f64).sqrt();
            (100.0 * level, -spread, spread)
        };
        let mut layers = vec![
            Layer::Band { points: LEVELS.iter().map(|(level, _)| band(*level)).collect() },
            level(45.0, 100.0, 0.0),
        ];
        let mut key = Vec::new();
        for (i, row) in rows.iter().filter(|r| is_shown(r)).enumerate() {
            let (colour, dash) = (SERIES[i % SERIES.len()], Dash::ALL[i / SERIES.len() % 3]);
            let off = |(i, (level, _)): (usize, &(f64, &str))| {
                (100.0 * level, 100.0 * (row.coverage[i] - level))
            };
            let points: Vec<(f64, f64)> = LEVELS.iter().enumerate().map(off).collect();
            let finite = points.iter().filter(|p| p.1.is_finite());
            most = finite.fold(most, |most, p| most.max(1.15 * p.1.abs()));
            key.push(Name { name: short(&row.parameter).to_owned(), colour, dash });
            layers.push(Layer::Curve { points, colour, dash, marked: true });
        }
        charts.key = key;
        charts.charts.push(Chart {
            title: name_of(population).to_owned(),
            notes: Vec::new(),
            x: Axis::new("nominal coverage [%]", 45.0, 100.0),
            y: Axis::new("measured \u{2212} nominal [%]", -1.0, 1.0),
            layers,
        });
    }
    for chart in &mut charts.charts {
        chart.y = Axis::new(&chart.y.label, -most, most);
    }
    if charts.charts.is_empty() {
        return Ok(());
    }
    page.part("Coverage");
    let caption = "Shares of true values inside central intervals, less what the intervals promise: above 0 they \
        are too wide, below too narrow. Grey: 99 % of what calibrated models measure on as many simulations.";
    page.figure(&charts.svg()?, caption);
    Ok(())
}

pub(super) fn joint(page: &mut Page, rows: &[Row]) -> Result<(), ReportError> {
    let mut charts = Charts::new(2, 0.5, None);
    charts.key = population_key();
    for test in JOINT {
        let found = |population: &str| {
            let row = of(rows, population).into_iter().find(|r| r.parameter == test);
            row.filter(|r| r.simulations > 0 && !r.histogram.is_empty())
        };
        let Some(first) = POPULATIONS.iter().find_map(|p| found(p)) else { continue };
        let spread = KOLMOGOROV_99 / (first.simulations as f64).sqrt();
        let mut layers = vec![
            Layer::Band { points: vec![(0.0, -spread, spread), (1.0, -spread, spread)] },
            level(0.0, 1.0, 0.0),
        ];
        let (mut notes, mut most) = (Vec::new(), spread);
        for (i, population) in POPULATIONS.iter().enumerate() {
            let Some(row) = found(population) else { continue };
            let total: f64 = row.histogram.iter().sum();
            let mut sum = 0.0;
            let mut points = vec![(0.0, 0.0)];
            for (bin, count) in row.histogram.iter().enumerate() {
                sum += count;
                let place = (bin + 1) as f64 / row.histogram.len() as f64;
                points.push((place, sum / total - place));
                most = most.max((sum / total - place).abs());
            }
            notes.push(format!("deviation {}", number(row.ks, 3)));
            let (colour, dash) = (SERIES[i], Dash::ALL[i]);
            layers.push(Layer::Curve { points, colour, dash, marked: false });
        }
        let title = if test == TARP { "TARP" } else { "density rank" };
        charts.charts.push(Chart {
            title: title.to_owned(),
            notes,
            x: Axis::new("place of the truth among the draws", 0.0, 1.0),
            y: Axis::new("cumulative \u{2212} uniform", -1.1 * most, 1.9 * most),
            layers,
        });
    }
    if charts.charts.is_empty() {
        return Ok(());
    }
    page.part("All parameters together");
    let caption = "Distribution of the place of the truth among its draws, all parameters together, less that of \
        calibrated models: by distance from a random point (TARP) and by posterior density. Grey: 99 % of \
        calibrated models, for single pixels. Deviations: single pixels above, integrated objects below.";
    page.figure(&charts.svg()?, caption);
    Ok(())
}

pub(super) fn redshifts(page: &mut Page, table: &Table) -> Result<(), ReportError> {
    if table.rows() == 0 {
        return Ok(());
    }
    let f = |name: &str| table.float64(name).map(|c| at(&c, 0));
    let simulations = table.values::<UInt64Type>("simulations")?[0] as f64;
    let histogram = counts(table.column("pit_histogram")?.as_ref(), 0);
    page.part("Fitted redshifts");
    page.say(&format!(
        "{} simulations of mean S/N above {REDSHIFT_SNR}: \u{3c3}(NMAD) {}, {} % beyond 0.15 (1 + z), median offset {} (1 + z); \
         PIT values up to {} from uniform.",
        number(simulations, 0),
        number(f("sigma_nmad")?, 4),
        number(100.0 * f("outlier_fraction")?, 1),
        number(f("bias")?, 4),
        number(f("pit_ks")?, 3)
    ));
    let expected = simulations / histogram.len() as f64;
    let spread = SIGMAS_99 * ((1.0 - 1.0 / histogram.len() as f64) / expected).sqrt();
    let heights: Vec<f64> = histogram.iter().map(|n| n / expected).collect();
    let most = heights.iter().copied().filter(|h| h.is_finite()).fold(1.0 + spread, f64::max);
    if !most.is_finite() {
        return Ok(());
    }
    let mut charts = Charts::new(2, 0.5, None);
    charts.charts.push(Chart {
        title: "redshift".to_owned(),
        notes: Vec::new(),
        x: Axis::new("PIT value of the true redshift", 0.0, 1.0),
        y: Axis::new("over uniform", 0.0, 1.1 * most),
        layers: vec![
            Layer::Band {
                points: vec![(0.0, 1.0 - spread, 1.0 + spread), (1.0, 1.0 - spread, 1.0 + spread)],
            },
            level(0.0, 1.0, 1.0),
            Layer::Steps { heights, colour: SERIES[0], dash: Dash::Solid },
        ],
    });
    let caption = "Posterior probability of a lower redshift than the true one. Grey: 99 % of the histograms of \
        calibrated models.";
    page.figure(&charts.svg()?, caption);
    Ok(())
}
