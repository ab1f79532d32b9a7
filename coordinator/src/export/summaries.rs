//! The summaries of all pixels, one file per galaxy, as pyarrow and DuckDB read
//! partitioned data: `summaries/galaxy_id=7/part.parquet`. What is in memory is
//! one galaxy and one task's pixels.

use super::catalogue::provenance;
use super::folder::Folder;
use crate::stage_graph::StageGraph;
use anyhow::{Context, bail};
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, SchemaRef};
use futures::{Stream, TryStreamExt, stream};
use outshine_formats::parquet_metadata;
use outshine_schemas::tables::{self, SUMMARIES};
use outshine_schemas::task::Stage;
use outshine_store::{Store, Table, commit, parquet};
use std::collections::BTreeMap;
use std::sync::Arc;

const NAME: &str = "summaries";
/// The column that says which file a row is in.
const KEY: &str = "galaxy_id";
/// Rows per row group.
const ROW_GROUP: usize = 65_536;

/// Writes the summaries; returns how many files it took. Those of an older export
/// stay until the pixels are fitted.
pub async fn write(store: &Store, graph: &StageGraph, folder: &Folder) -> anyhow::Result<usize> {
    if graph.ended(Stage::Fit).is_none() {
        return Ok(0);
    }
    let begun = folder.begin(NAME)?;
    let mut open: Option<Galaxy> = None;
    let mut count = 0;
    let mut tables = std::pin::pin!(read(store, graph));
    while let Some(table) = tables.try_next().await? {
        for batch in table.batches() {
            for (id, rows) in by_galaxy(batch)? {
                match &mut open {
                    Some(galaxy) if galaxy.id == id => galaxy.rows.push(rows),
                    Some(galaxy) if galaxy.id > id => {
                        bail!("summaries are out of order: galaxy {id} after {}", galaxy.id);
                    }
                    _ => {
                        let new = Galaxy::new(id, rows, &table);
                        if let Some(done) = open.replace(new) {
                            done.write(&begun)?;
                            count += 1;
                        }
                    }
                }
            }
        }
    }
    if let Some(last) = open {
        last.write(&begun)?;
        count += 1;
    }
    folder.finish(NAME, begun)?;
    if count == 0 {
        folder.remove(NAME)?;
    }
    Ok(count)
}

/// The summaries of every task, in order of galaxy, one task at a time.
pub(crate) fn read<'a>(
    store: &'a Store,
    graph: &'a StageGraph,
) -> impl Stream<Item = anyhow::Result<Table>> + 'a {
    let files = graph.commits(Stage::Fit).iter();
    let files = files.filter_map(|commit| commit.file("summaries.parquet"));
    stream::iter(files.map(anyhow::Ok)).and_then(move |record| async move {
        let bytes = commit::read_file(store, record).await?;
        Ok(parquet::decode(&record.path, bytes, None)?)
    })
}

/// Runs of rows of one galaxy.
fn by_galaxy(batch: &RecordBatch) -> anyhow::Result<Vec<(i64, RecordBatch)>> {
    let ids = batch.column_by_name(KEY).context("summaries without `galaxy_id`")?;
    let ids = ids.as_primitive_opt::<Int64Type>().context("`galaxy_id` is no int64")?.values();
    let mut runs = Vec::new();
    let mut start = 0;
    for run in ids.chunk_by(|a, b| a == b) {
        runs.push((run[0], batch.slice(start, run.len())));
        start += run.len();
    }
    Ok(runs)
}

/// A galaxy whose pixels are being gathered.
struct Galaxy {
    id: i64,
    rows: Vec<RecordBatch>,
    schema: SchemaRef,
    about: BTreeMap<String, String>,
    units: Option<String>,
}

impl Galaxy {
    fn new(id: i64, rows: RecordBatch, table: &Table) -> Self {
        let mut about = provenance(table.metadata());
        about.insert("outshine.galaxy_id".to_owned(), id.to_string());
        let units = table.metadata().get(tables::UNITS_KEY).cloned();
        Self { id, rows: vec![rows], schema: table.schema().clone(), about, units }
    }

    fn write(self, folder: &Folder) -> anyhow::Result<()> {
        // The folder's name says it; a column of the same name would be another.
        let kept: Vec<usize> = (0..self.schema.fields().len())
            .filter(|&i| self.schema.field(i).name() != KEY)
            .collect();
        let schema = self.schema.project(&kept)?;
        let rows =
            self.rows.iter().map(|rows| rows.project(&kept)).collect::<Result<Vec<_>, _>>()?;
        let described = outshine_formats::Table {
            name: SUMMARIES.0.to_owned(),
            description: SUMMARIES.1.to_owned(),
            schema: Arc::new(tables::described(&schema, &tables::every_summary())),
            batches: Vec::new(),
            about: self.about,
        };
        let votable = parquet_metadata(&described)?;
        let mut metadata: Vec<(&str, &str)> =
            described.about.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        metadata.extend(votable.iter().map(|(key, value)| (*key, value.as_str())));
        metadata.extend(self.units.as_deref().map(|units| (tables::UNITS_KEY, units)));
        let bytes = parquet::encode(&schema, &rows, &metadata, ROW_GROUP)?;
        folder.put(&format!("{KEY}={}/part.parquet", self.id), &bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array};
    use arrow::datatypes::{DataType, Field, Schema};

    fn batch(ids: Vec<i64>) -> RecordBatch {
        let schema = Schema::new(vec![Field::new(KEY, DataType::Int64, false)]);
        let ids: ArrayRef = Arc::new(Int64Array::from(ids));
        RecordBatch::try_new(Arc::new(schema), vec![ids]).unwrap()
    }

    #[test]
    fn rows_are_cut_where_the_galaxy_changes() {
        let runs = by_galaxy(&batch(vec![-3, -3, 5, 6, 6])).unwrap();
        let cut: Vec<_> = runs.iter().map(|(id, rows)| (*id, rows.num_rows())).collect();
        assert_eq!(cut, [(-3, 2), (5, 1), (6, 2)]);
        assert!(by_galaxy(&batch(vec![])).unwrap().is_empty());
        let other = batch(vec![1]).project(&[]).unwrap();
        assert!(by_galaxy(&other).unwrap_err().to_string().contains("galaxy_id"));
    }
}
