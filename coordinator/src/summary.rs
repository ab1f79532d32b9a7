//! The table that ends a run.

use crate::stage_graph::StageGraph;
use arrow::array::{Array, Float64Array, UInt32Array};
use arrow::datatypes::UInt32Type;
use outshine_schemas::flags;
use outshine_schemas::outcome::CommitRecord;
use outshine_schemas::task::Stage;
use outshine_store::{Store, StoreError, Table, commit, parquet};
use std::fmt::Write as _;

/// Galaxies listed; the rest is in the catalogue.
const LISTED: usize = 60;

/// The catalogue as text, and, for mocks, how well it agrees with truth.
///
/// # Errors
/// When the catalogue cannot be read.
pub async fn text(store: &Store, graph: &StageGraph) -> Result<String, StoreError> {
    let mut out = String::new();
    let Some(commit) = graph.commits(Stage::Catalogue).first() else { return Ok(out) };
    if let Some(table) = table(store, commit, "catalogue.parquet").await? {
        catalogue(&table, &mut out)?;
    }
    if let Some(table) = table(store, commit, "validation.parquet").await? {
        validation(&table, &mut out)?;
    }
    Ok(out)
}

async fn table(
    store: &Store,
    record: &CommitRecord,
    name: &str,
) -> Result<Option<Table>, StoreError> {
    let Some(file) = record.file(name) else { return Ok(None) };
    let bytes = commit::read_file(store, file).await?;
    Ok(Some(parquet::decode(name, bytes, None)?))
}

fn number(column: &Float64Array, row: usize, digits: usize) -> String {
    if column.is_null(row) { "-".to_owned() } else { format!("{:.digits$}", column.value(row)) }
}

fn catalogue(table: &Table, out: &mut String) -> Result<(), StoreError> {
    let f = |name: &str| table.float64(name);
    let u = |name: &str| -> Result<UInt32Array, StoreError> { table.number::<UInt32Type>(name) };
    let id = table.int64("galaxy_id")?;
    let (z, truth, delta) =
        (f("redshift")?, f("log_mass_stellar_true")?, f("delta_log_mass_stellar")?);
    let resolved = ["p16", "p50", "p84"].map(|p| f(&format!("log_mass_stellar_resolved_{p}")));
    let integrated = ["p16", "p50", "p84"].map(|p| f(&format!("log_mass_stellar_integrated_{p}")));
    let [r16, r50, r84] = resolved;
    let [i16, i50, i84] = integrated;
    let (r16, r50, r84, i16, i50, i84) = (r16?, r50?, r84?, i16?, i50?, i84?);
    let (used, available, bits) = (u("pixels_used")?, u("pixels_available")?, u("flags")?);
    let _ = writeln!(
        out,
        "\nlog10 of surviving stellar mass in Msun; resolved and integrated as p16 p50 p84. Resolved: its\n\
         pixels as independent; with common errors: log_mass_stellar_correlated of the catalogue\n\
         {:>12} {:>7} {:>13} {:>7} {:>22} {:>22} {:>7}  flags",
        "galaxy", "z", "pixels", "true", "resolved", "integrated", "delta"
    );
    for row in 0..table.rows().min(LISTED) {
        let three = |a: &Float64Array, b: &Float64Array, c: &Float64Array| {
            format!("{} {} {}", number(a, row, 3), number(b, row, 3), number(c, row, 3))
        };
        let _ = writeln!(
            out,
            "{:>12} {:>7} {:>13} {:>7} {:>22} {:>22} {:>7}  {}",
            id.value(row),
            number(&z, row, 3),
            format!("{} of {}", used.value(row), available.value(row)),
            number(&truth, row, 3),
            three(&r16, &r50, &r84),
            three(&i16, &i50, &i84),
            number(&delta, row, 3),
            flags::names(bits.value(row)),
        );
    }
    if table.rows() > LISTED {
        let _ = writeln!(out, "... and {} more in the catalogue", table.rows() - LISTED);
    }
    Ok(())
}

fn validation(table: &Table, out: &mut String) -> Result<(), StoreError> {
    let f = |name: &str| table.float64(name);
    let (level, parameter) = (table.strings("level")?, table.strings("parameter")?);
    let count = table.int64("count")?;
    let columns = [
        ("R2", f("r_squared")?),
        ("bias", f("bias")?),
        ("scatter", f("scatter")?),
        ("pull mean", f("pull_mean")?),
        ("pull sd", f("pull_scatter")?),
        ("in 68 %", f("coverage_68")?),
        ("in 95 %", f("coverage_95")?),
    ];
    let _ = write!(out, "\nagainst the truth of the mock\n{:>10} {:>22} {:>7}", "level", "", "n");
    for (name, _) in &columns {
        let _ = write!(out, " {name:>9}");
    }
    out.push('\n');
    for row in 0..table.rows() {
        let (level, parameter) = (level.value(row), parameter.value(row));
        let _ = write!(out, "{level:>10} {parameter:>22} {:>7}", count.value(row));
        for (_, column) in &columns {
            let _ = write!(out, " {:>9}", number(column, row, 3));
        }
        out.push('\n');
    }
    Ok(())
}
