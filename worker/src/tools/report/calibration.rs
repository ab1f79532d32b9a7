//! How far the model can be trusted: its calibration, on simulations that it has
//! not seen.

use super::ReportError;
use super::html::{Page, Rows, number};
use super::{cross_prior, ranks};
use crate::stages::calibrate::FORMING_ROW;
use arrow::array::{Array, AsArray, Float64Array, StringArray};
use arrow::datatypes::{UInt32Type, UInt64Type};
use outshine_npe::diagnostics::{DENSITY_RANK, TARP};
use outshine_schemas::outcome::Facts;
use outshine_store::Table;

/// Populations that figures are of: pixels, and galaxies as one object.
pub(super) const POPULATIONS: [&str; 2] = ["pixel", "integrated"];
/// Joint tests, of all parameters together.
pub(super) const JOINT: [&str; 2] = [TARP, DENSITY_RANK];
/// Rows that repeat the ranks of another parameter.
const REPEATED: [&str; 2] = [FORMING_ROW, "tau_gyr"];
/// Probabilities of central intervals and the columns of their coverage.
pub(super) const LEVELS: [(f64, &str); 4] =
    [(0.50, "coverage_50"), (0.68, "coverage_68"), (0.90, "coverage_90"), (0.95, "coverage_95")];

/// Reasons of a verdict that are listed.
const REASONS: usize = 4;

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
pub(super) struct Row {
    pub(super) population: String,
    pub(super) parameter: String,
    pub(super) simulations: u64,
    pub(super) r_squared: f64,
    pub(super) bias: f64,
    pub(super) scatter: f64,
    pub(super) coverage: [f64; 4],
    pub(super) ks: f64,
    pub(super) p: f64,
    pub(super) histogram: Vec<f64>,
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

pub(super) fn at(column: &Float64Array, row: usize) -> f64 {
    if column.is_null(row) { f64::NAN } else { column.value(row) }
}

/// Counts of a row of a column of lists; none where it is no such column.
pub(super) fn counts(column: &dyn Array, row: usize) -> Vec<f64> {
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
        ranks::sbc(page, &rows)?;
        ranks::coverage(page, &rows)?;
        ranks::joint(page, &rows)?;
        strata(page, &rows);
    }
    if let Some(table) = &calibration.redshifts {
        ranks::redshifts(page, table)?;
    }
    if let Some(table) = &calibration.cross_prior {
        cross_prior::write(page, table, &calibration.facts)?;
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
            let shown = reasons.iter().take(REASONS).copied().collect::<Vec<_>>().join("; ");
            let more = reasons.len().saturating_sub(REASONS);
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

pub(super) fn of<'a>(rows: &'a [Row], population: &str) -> Vec<&'a Row> {
    rows.iter().filter(|r| r.population == population).collect()
}

/// Rows of parameters that have curves of their own.
pub(super) fn is_shown(row: &Row) -> bool {
    is_parameter(row) && !REPEATED.contains(&row.parameter.as_str())
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

pub(super) fn name_of(population: &str) -> &str {
    match population {
        "pixel" => "single pixels",
        "integrated" => "integrated objects",
        other => other,
    }
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
