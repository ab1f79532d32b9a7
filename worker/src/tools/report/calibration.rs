//! How far the model can be trusted: its calibration, on simulations that it has
//! not seen.

use super::ReportError;
use super::html::{Page, Rows, number};
use super::words::{label, short};
use arrow::array::{Array, AsArray, Float64Array, StringArray};
use arrow::datatypes::{UInt32Type, UInt64Type};
use outshine_figures::chart::{
    Axis, Bar, Chart, Charts, Dash, FULL_WIDTH, GUIDE, Layer, Name, SERIES,
};
use outshine_figures::colours::ColourMap;
use outshine_kernels::quantile;
use outshine_schemas::outcome::Facts;
use outshine_store::Table;

/// Populations that figures are of: pixels, and galaxies as one object.
const POPULATIONS: [&str; 2] = ["pixel", "integrated"];
/// Joint tests, of all parameters together.
const JOINT: [&str; 2] = ["tarp", "density_rank"];
/// Rows that repeat the ranks of another parameter.
const REPEATED: [&str; 2] = ["log_sfr_100_forming", "tau_gyr"];
const LEVELS: [(f64, &str); 4] =
    [(0.50, "coverage_50"), (0.68, "coverage_68"), (0.90, "coverage_90"), (0.95, "coverage_95")];
/// Standard deviations, and deviation of a distribution times the root of the
/// number, that 99 % of calibrated models keep within.
const SIGMAS_99: f64 = 2.576;
const KOLMOGOROV_99: f64 = 1.628;
/// Least mean S/N of the objects of the cross-prior test that are shown.
const LEAST_SNR: f64 = 1.0;

/// What stage calibrate has left.
#[derive(Debug, Default)]
pub struct Calibration {
    /// Of each population and parameter.
    pub rows: Option<Table>,
    /// Of fitted redshifts.
    pub redshifts: Option<Table>,
    /// Objects of the other family of histories.
    pub cross_prior: Option<Table>,
    /// What the stage said.
    pub facts: Facts,
}

/// One row.
struct Row {
    population: String,
    parameter: String,
    simulations: u64,
    r_squared: f64,
    bias: f64,
    scatter: f64,
    coverage: [f64; 4],
    ks: f64,
    p: f64,
    histogram: Vec<f64>,
}

fn read(table: &Table) -> Result<Vec<Row>, ReportError> {
    let (population, parameter): (StringArray, StringArray) =
        (table.strings("population")?, table.strings("parameter")?);
    let simulations = table.values::<UInt64Type>("simulations")?;
    let f = |name: &str| table.float64(name);
    let (r_squared, bias, scatter) = (f("r_squared")?, f("bias")?, f("scatter")?);
    let (ks, p) = (f("sbc_ks")?, f("sbc_p")?);
    let [c50, c68, c90, c95] = LEVELS.map(|(_, name)| f(name));
    let coverage = [c50?, c68?, c90?, c95?];
    let histogram = table.column("sbc_histogram")?;
    let row = |i: usize| Row {
        population: population.value(i).to_owned(),
        parameter: parameter.value(i).to_owned(),
        simulations: simulations[i],
        r_squared: at(&r_squared, i),
        bias: at(&bias, i),
        scatter: at(&scatter, i),
        coverage: coverage.each_ref().map(|c| at(c, i)),
        ks: at(&ks, i),
        p: at(&p, i),
        histogram: counts(histogram.as_ref(), i),
    };
    Ok((0..table.rows()).map(row).collect())
}

fn at(column: &Float64Array, row: usize) -> f64 {
    if column.is_null(row) { f64::NAN } else { column.value(row) }
}

/// Counts of a row of a column of lists; none where it is no such column.
fn counts(column: &dyn Array, row: usize) -> Vec<f64> {
    let Some(lists) = column.as_list_opt::<i32>().filter(|lists| !lists.is_null(row)) else {
        return Vec::new();
    };
    let members = lists.value(row);
    let Some(members) = members.as_primitive_opt::<UInt32Type>() else { return Vec::new() };
    members.values().iter().map(|&n| f64::from(n)).collect()
}

/// Writes the table of a mock's validation.
///
/// # Errors
/// A column that is not there.
pub fn validation(page: &mut Page, table: &Table) -> Result<(), ReportError> {
    let (level, parameter) = (table.strings("level")?, table.strings("parameter")?);
    let count = table.values::<UInt64Type>("count")?;
    let names = [
        "r_squared",
        "median_bias",
        "bias",
        "scatter",
        "pull_mean",
        "pull_scatter",
        "coverage_68",
        "coverage_95",
    ];
    let columns: Vec<Float64Array> =
        names.iter().map(|name| table.float64(name)).collect::<Result<_, _>>()?;
    let mut rows = Rows::new(
        &[
            "level",
            "parameter",
            "n",
            "R\u{b2}",
            "median bias",
            "bias",
            "scatter",
            "pull",
            "pull scatter",
            "in 68 %",
            "in 95 %",
        ],
        2,
    );
    for row in 0..table.rows() {
        let mut cells = vec![
            level.value(row).to_owned(),
            parameter.value(row).to_owned(),
            count[row].to_string(),
        ];
        cells.extend(columns.iter().map(|column| number(at(column, row), 3)));
        rows.add(cells);
    }
    page.part("The mock against its truth");
    page.table(
        &rows,
        "Fitted pixels, and galaxies resolved and integrated. Bias: median \u{2212} truth; pull: the same over half of \
         p84 \u{2212} p16, whose scatter is 1 for honest posteriors of Gaussian shape.",
    );
    Ok(())
}

/// Writes tables and figures of the calibration.
///
/// # Errors
/// A column that is not there, or a figure that cannot be drawn.
pub fn calibration(page: &mut Page, calibration: &Calibration) -> Result<(), ReportError> {
    verdict(page, &calibration.facts);
    if let Some(table) = &calibration.rows {
        let rows = read(table)?;
        tables(page, &rows);
        sbc(page, &rows)?;
        coverage(page, &rows)?;
        joint(page, &rows)?;
        strata(page, &rows);
    }
    if let Some(table) = &calibration.redshifts {
        redshifts(page, table)?;
    }
    if let Some(table) = &calibration.cross_prior {
        cross_prior(page, table, &calibration.facts)?;
    }
    Ok(())
}

fn verdict(page: &mut Page, facts: &Facts) {
    let texts = |key: &str| -> Vec<&str> {
        let list = facts.get(key).and_then(|v| v.as_array());
        list.into_iter().flatten().filter_map(|v| v.as_str()).collect()
    };
    match facts.get("passed").and_then(serde_json::Value::as_bool) {
        Some(true) => page.say("The model passed its calibration."),
        Some(false) => {
            let reasons = texts("reasons");
            let shown = reasons.iter().take(8).copied().collect::<Vec<_>>().join("; ");
            let more = reasons.len().saturating_sub(8);
            let more = if more > 0 { format!("; and {more} more") } else { String::new() };
            page.warn(&format!("The model did not pass its calibration: {shown}{more}."));
        }
        None => {}
    }
    let unjudged = texts("unjudged").len();
    if unjudged > 0 {
        page.note(&format!("{unjudged} populations have too few simulations to be judged."));
    }
}

fn of<'a>(rows: &'a [Row], population: &str) -> Vec<&'a Row> {
    rows.iter().filter(|r| r.population == population).collect()
}

fn is_parameter(row: &Row) -> bool {
    !JOINT.contains(&row.parameter.as_str())
}

fn tables(page: &mut Page, rows: &[Row]) {
    for population in POPULATIONS {
        let mut table = Rows::new(
            &[
                "parameter",
                "simulations",
                "R\u{b2}",
                "bias",
                "scatter",
                "in 50 %",
                "in 68 %",
                "in 90 %",
                "in 95 %",
                "SBC deviation",
                "p",
            ],
            1,
        );
        for row in of(rows, population) {
            let mut cells = vec![row.parameter.clone(), row.simulations.to_string()];
            cells.extend([row.r_squared, row.bias, row.scatter].map(|v| number(v, 3)));
            cells.extend(row.coverage.map(|v| number(v, 3)));
            cells.extend([row.ks, row.p].map(|v| number(v, 3)));
            table.add(cells);
        }
        if table.is_empty() {
            continue;
        }
        page.part(&format!("Calibration: {}", name_of(population)));
        page.table(
            &table,
            "Simulations that training did not see. R\u{b2}, bias (mean of median \u{2212} truth) and scatter \
             of objects of mean S/N above 1; shares of truths in central intervals; largest deviation of \
             the distribution of ranks from uniform and its p-value. tarp and density_rank test all \
             parameters together.",
        );
    }
}

fn name_of(population: &str) -> &str {
    match population {
        "pixel" => "single pixels",
        "integrated" => "integrated objects",
        other => other,
    }
}

/// Names of the two populations' curves.
fn population_key() -> Vec<Name> {
    let name = |i: usize| Name {
        name: name_of(POPULATIONS[i]).to_owned(),
        colour: SERIES[i],
        dash: Dash::ALL[i],
    };
    vec![name(0), name(1)]
}

fn sbc(page: &mut Page, rows: &[Row]) -> Result<(), ReportError> {
    let mut charts = Charts::new(4, 0.7, None);
    charts.key = population_key();
    for row in of(rows, POPULATIONS[0]) {
        if !is_parameter(row) || REPEATED.contains(&row.parameter.as_str()) {
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
        let mut most = 1.0 + spread;
        for (i, population) in POPULATIONS.iter().enumerate() {
            let Some(row) = of(rows, population).into_iter().find(|r| r.parameter == row.parameter)
            else {
                continue;
            };
            let mean = row.simulations as f64 / row.histogram.len() as f64;
            let heights: Vec<f64> = row.histogram.iter().map(|n| n / mean).collect();
            most = heights.iter().copied().filter(|h| h.is_finite()).fold(most, f64::max);
            notes.push(format!("deviation {}", number(row.ks, 3)));
            layers.push(Layer::Steps { heights, colour: SERIES[i], dash: Dash::ALL[i] });
        }
        charts.charts.push(Chart {
            title: short(&row.parameter).to_owned(),
            notes,
            x: Axis::new("rank of the truth", 0.0, 1.0),
            y: Axis::new("over uniform", 0.0, 1.45 * most),
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
    page.figure(&charts.svg()?, FULL_WIDTH, caption);
    Ok(())
}

/// A level line.
fn level(low: f64, high: f64, at: f64) -> Layer {
    let points = vec![(low, at), (high, at)];
    Layer::Curve { points, colour: GUIDE, dash: Dash::Solid, marked: false }
}

fn coverage(page: &mut Page, rows: &[Row]) -> Result<(), ReportError> {
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
        let shown =
            rows.iter().filter(|r| is_parameter(r) && !REPEATED.contains(&r.parameter.as_str()));
        for (i, row) in shown.enumerate() {
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
    page.figure(&charts.svg()?, FULL_WIDTH, caption);
    Ok(())
}

fn joint(page: &mut Page, rows: &[Row]) -> Result<(), ReportError> {
    let mut charts = Charts::new(3, 1.0, None);
    charts.key = population_key();
    for test in JOINT {
        let found = |population: &str| {
            let row = of(rows, population).into_iter().find(|r| r.parameter == test);
            row.filter(|r| r.simulations > 0 && !r.histogram.is_empty())
        };
        let Some(first) = POPULATIONS.iter().find_map(|p| found(p)) else { continue };
        let spread = KOLMOGOROV_99 / (first.simulations as f64).sqrt();
        let ends = |at: f64| (at, at - spread, at + spread);
        let mut layers = vec![
            Layer::Band { points: vec![ends(0.0), ends(1.0)] },
            Layer::Curve {
                points: vec![(0.0, 0.0), (1.0, 1.0)],
                colour: GUIDE,
                dash: Dash::Solid,
                marked: false,
            },
        ];
        let mut notes = Vec::new();
        for (i, population) in POPULATIONS.iter().enumerate() {
            let Some(row) = found(population) else { continue };
            let total: f64 = row.histogram.iter().sum();
            let mut sum = 0.0;
            let mut points = vec![(0.0, 0.0)];
            for (bin, count) in row.histogram.iter().enumerate() {
                sum += count;
                points.push(((bin + 1) as f64 / row.histogram.len() as f64, sum / total));
            }
            notes.push(format!("deviation {}", number(row.ks, 3)));
            layers.push(Layer::Curve {
                points,
                colour: SERIES[i],
                dash: Dash::ALL[i],
                marked: false,
            });
        }
        charts.charts.push(Chart {
            title: if test == "tarp" { "TARP" } else { "density rank" }.to_owned(),
            notes,
            x: Axis::new("credibility level", 0.0, 1.0),
            y: Axis::new("expected coverage", 0.0, 1.0),
            layers,
        });
    }
    if charts.charts.is_empty() {
        return Ok(());
    }
    page.part("All parameters together");
    let caption = "Expected coverage of credible regions about random points (TARP) and of highest density, all \
        parameters together; calibrated models follow the diagonal. Grey: 99 % of them. Deviations: single \
        pixels above, integrated objects below.";
    page.figure(&charts.svg()?, FULL_WIDTH * charts.charts.len() as i32 / 3, caption);
    Ok(())
}

/// The worst of each stratum.
fn strata(page: &mut Page, rows: &[Row]) {
    let mut names: Vec<&str> = Vec::new();
    for row in rows.iter().filter(|r| !POPULATIONS.contains(&r.population.as_str())) {
        if names.last() != Some(&row.population.as_str()) {
            names.push(&row.population);
        }
    }
    let mut table = Rows::new(
        &[
            "stratum",
            "worst parameter",
            "interval",
            "simulations",
            "measured",
            "largest SBC deviation",
        ],
        3,
    );
    for name in names {
        let rows = of(rows, name);
        let all = rows.iter().filter(|r| is_parameter(r)).flat_map(|row| {
            (0..LEVELS.len()).map(move |i| (row, i, (row.coverage[i] - LEVELS[i].0).abs()))
        });
        let worst = all.filter(|(_, _, off)| off.is_finite()).max_by(|a, b| a.2.total_cmp(&b.2));
        let Some((row, i, _)) = worst else { continue };
        let ks = rows.iter().map(|r| r.ks).filter(|ks| ks.is_finite()).fold(0.0, f64::max);
        table.add(vec![
            name.to_owned(),
            row.parameter.clone(),
            format!("{} %", number(100.0 * LEVELS[i].0, 0)),
            row.simulations.to_string(),
            format!("{} %", number(100.0 * row.coverage[i], 1)),
            number(ks, 3),
        ]);
    }
    if !table.is_empty() {
        page.part("Strata of pixels");
        page.table(&table, "The interval that is furthest from what it promises, in each stratum of S/N, redshift and number of bands.");
    }
}

fn redshifts(page: &mut Page, table: &Table) -> Result<(), ReportError> {
    if table.rows() == 0 {
        return Ok(());
    }
    let f = |name: &str| table.float64(name).map(|c| at(&c, 0));
    let simulations = table.values::<UInt64Type>("simulations")?[0] as f64;
    let histogram = counts(table.column("pit_histogram")?.as_ref(), 0);
    page.part("Fitted redshifts");
    page.say(&format!(
        "{} simulations of mean S/N above 5: \u{3c3}(NMAD) {}, {} % beyond 0.15 (1 + z), median offset {} (1 + z); \
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
    page.figure(&charts.svg()?, FULL_WIDTH / 2, caption);
    Ok(())
}

fn cross_prior(page: &mut Page, table: &Table, facts: &Facts) -> Result<(), ReportError> {
    let fact = facts.get("cross_prior");
    let figure = |key: &str| fact.and_then(|f| f.get(key)?.as_f64()).unwrap_or(f64::NAN);
    let family = fact.and_then(|f| f.get("simulations_of")?.as_str()).unwrap_or("the other family");
    page.part("Cross-prior test");
    page.say(&format!(
        "The model on {} simulations of {family} histories (mean S/N above {}): surviving masses are {} dex off in \
         the mean and {} in the median, scatter {} dex, {} % of true masses inside the central 68 %; \
         correlation of the offset with the mass formed before t_i: {}.",
        number(figure("objects"), 0),
        number(figure("least_mean_snr"), 0),
        number(figure("offset_mean_dex"), 3),
        number(figure("offset_median_dex"), 3),
        number(figure("scatter_dex"), 3),
        number(100.0 * figure("coverage_68"), 1),
        number(figure("correlation_with_mass_before_t_i"), 2)
    ));
    let f = |name: &str| table.float64(name);
    let (truth, median) = (f("log_mass_stellar_true")?, f("log_mass_stellar_p50")?);
    let (before, snr) = (f("mass_before_t_i")?, f("mean_snr")?);
    let seen: Vec<usize> = (0..table.rows()).filter(|&i| at(&snr, i) > LEAST_SNR).collect();
    let column = |c: &Float64Array| -> Vec<f64> { seen.iter().map(|&i| at(c, i)).collect() };
    let (truth, median, before) = (column(&truth), column(&median), column(&before));
    let offset: Vec<f64> = median.iter().zip(&truth).map(|(m, t)| m - t).collect();
    if !offset.iter().any(|o| o.is_finite()) {
        return Ok(());
    }
    let bar = Bar {
        label: "mass formed before t_{i}".to_owned(),
        low: 0.0,
        high: 1.0,
        colours: ColourMap::Plasma,
    };
    let mut charts = Charts::new(2, 0.7, Some(bar));
    let axis = Axis::nearly("fitted \u{2212} true log_{10} M_{\u{2605}} [dex]", &offset, 0.5);
    let most = axis.low.abs().max(axis.high.abs());
    let y = Axis::new(&axis.label, -most, most);
    let x =
        Axis::around(&format!("true {}", label("log_mass_stellar")), truth.iter().copied(), 1.0);
    let (low, high) = (x.low, x.high);
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
        x: Axis::new("mass formed before t_{i}", 0.0, 1.0),
        y,
        layers: vec![cloud(&before), level(0.0, 1.0, 0.0), medians(&before, &offset)],
    });
    let caption = "Offset of the mass of simulations of the other family of histories, coloured by the fraction \
        of the mass of the Dirichlet history that formed before t_i of the tau-delayed one. Line: medians in \
        tenths of that fraction.";
    page.figure(&charts.svg()?, FULL_WIDTH, caption);
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
