//! Stage catalogue: the rows of all galaxies joined, and, for mocks, the
//! comparison with truth.

use super::blocks::{self, MASSES};
use super::{Job, Outcome, StageError, compute, fit, reduce, table, upstream};
use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, StringArray, UInt64Array};
use outshine_catalogue::interval::Interval;
use outshine_catalogue::validation::{Case, Scores, scores};
use outshine_schemas::provenance;
use outshine_schemas::tables::{CATALOGUE as CATALOGUE_TITLE, catalogue, validation};
use outshine_schemas::task::{Shard, Stage};
use outshine_store::{Table, parquet};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The catalogue.
pub const CATALOGUE: &str = "catalogue.parquet";
/// The comparison with truth, for mocks.
pub const VALIDATION: &str = "validation.parquet";

pub async fn run(job: &Job) -> Result<Outcome, StageError> {
    upstream::check_inputs(job).await?;
    let mut rows: BTreeMap<Shard, Vec<RecordBatch>> = BTreeMap::new();
    let reduced = upstream::take(job, Stage::Reduce, None).await?;
    for commit in &reduced.commits {
        let bytes = upstream::file(job, commit, reduce::ROWS).await?;
        let table = parquet::decode(reduce::ROWS, bytes, None)?;
        rows.insert(commit.shard, table.batches().to_vec());
    }
    rows.extend(reduce::rows_of_failed(job, &reduced.missing).await?);
    let rows: Vec<RecordBatch> = rows.into_values().flatten().collect();
    let mut cases: Vec<Vec<Case>> = Vec::new();
    if job.science.mock.is_some() {
        let names = job.science.reported;
        cases = vec![Vec::new(); names.len()];
        for commit in upstream::commits_over(job, Stage::Fit, None).await? {
            let bytes = upstream::file(job, &commit, fit::SUMMARIES).await?;
            let table = parquet::decode(fit::SUMMARIES, bytes, None)?;
            pixel_cases(&table, names, &mut cases)?;
        }
    }
    let job = job.clone();
    compute(move || join(&job, &rows, &cases)).await
}

fn join(job: &Job, rows: &[RecordBatch], pixels: &[Vec<Case>]) -> Result<Outcome, StageError> {
    let schema = Arc::new(catalogue());
    // Files lose the columns' own metadata on some readers: the schema is ours.
    let rows: Result<Vec<RecordBatch>, _> = rows
        .iter()
        .map(|batch| RecordBatch::try_new(schema.clone(), batch.columns().to_vec()))
        .collect();
    let rows = rows?;
    let mut about = job.about();
    about.extend(model_of(&rows).map(|digest| (provenance::MODEL.to_owned(), digest)));
    let described = table::votable(CATALOGUE_TITLE, &schema, &rows, &about)?;
    let (bytes, count) = table::encode_batches("catalogue/4", &schema, &rows, &described)?;
    let mut outcome = Outcome::default();
    outcome.file(CATALOGUE, bytes, count);
    outcome.fact("galaxies", count);
    if pixels.is_empty() {
        return Ok(outcome);
    }
    let galaxies = Table::new(CATALOGUE, schema, rows, BTreeMap::new());
    let mut table_rows: Vec<(&str, &str, Scores)> = Vec::new();
    for (column, name) in job.science.reported.iter().enumerate() {
        table_rows.push(("pixel", name, scores(&pixels[column])));
    }
    let all = blocks::parameters();
    let levels = [("resolved", &all[..]), ("correlated", &all[..MASSES]), ("integrated", &all[..])];
    for (level, names) in levels {
        for name in names {
            table_rows.push((level, name, scores(&galaxy_cases(&galaxies, name, level)?)));
        }
    }
    let f = |of: fn(&Scores) -> f64| -> ArrayRef {
        let values = table_rows.iter().map(|r| Some(of(&r.2)).filter(|v| v.is_finite()));
        Arc::new(Float64Array::from_iter(values))
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(table_rows.iter().map(|r| r.0))),
        Arc::new(StringArray::from_iter_values(table_rows.iter().map(|r| r.1))),
        Arc::new(UInt64Array::from_iter_values(table_rows.iter().map(|r| r.2.count))),
        f(|s| s.r_squared),
        f(|s| s.bias),
        f(|s| s.median_bias),
        f(|s| s.scatter),
        f(|s| s.pull_mean),
        f(|s| s.pull_scatter),
        f(|s| s.coverage_68),
        f(|s| s.coverage_95),
    ];
    let (bytes, count) = table::encode("validation/1", validation(), columns, &about)?;
    outcome.file(VALIDATION, bytes, count);
    Ok(outcome)
}

/// The model that all galaxies were fitted with.
fn model_of(rows: &[RecordBatch]) -> Option<String> {
    let models = rows.iter().find(|batch| batch.num_rows() > 0)?.column_by_name("model")?.clone();
    Some(models.as_string_opt::<i32>()?.value(0).to_owned())
}

fn pixel_cases(table: &Table, names: &[&str], cases: &mut [Vec<Case>]) -> Result<(), StageError> {
    for (column, name) in names.iter().enumerate() {
        let of = |what: &str| table.float32(&format!("{name}_{what}"));
        let (p16, p50, p84) = (of("p16")?, of("p50")?, of("p84")?);
        let (truth, rank) = (of("true")?, of("rank")?);
        for row in 0..table.rows() {
            if p50.is_null(row) || truth.is_null(row) {
                continue;
            }
            let value = |c: &arrow::array::Float32Array| f64::from(c.value(row));
            cases[column].push(Case {
                interval: Interval { p16: value(&p16), p50: value(&p50), p84: value(&p84) },
                truth: value(&truth),
                rank: value(&rank),
            });
        }
    }
    Ok(())
}

fn galaxy_cases(table: &Table, name: &str, kind: &str) -> Result<Vec<Case>, StageError> {
    let mut cases = Vec::new();
    let of = |column: String| table.float64(&column);
    let p16 = of(format!("{name}_{kind}_p16"))?;
    let p50 = of(format!("{name}_{kind}_p50"))?;
    let p84 = of(format!("{name}_{kind}_p84"))?;
    let truth = of(format!("{name}_true"))?;
    let rank = of(format!("{name}_{kind}_rank"))?;
    for row in 0..table.rows() {
        if p50.is_null(row) || truth.is_null(row) {
            continue;
        }
        cases.push(Case {
            interval: Interval { p16: p16.value(row), p50: p50.value(row), p84: p84.value(row) },
            truth: truth.value(row),
            rank: rank.value(row),
        });
    }
    Ok(cases)
}
