//! The catalogue in the formats that astronomers open.

use super::folder::Folder;
use crate::stage_graph::StageGraph;
use anyhow::Context;
use bytes::Bytes;
use outshine_formats::{Format, Table, csv, csv_description, fits, votable};
use outshine_schemas::tables::{self, CATALOGUE};
use outshine_schemas::task::Stage;
use outshine_store::{Store, parquet};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The catalogue as the campaign makes it.
pub const FILE: &str = "catalogue.parquet";

/// Writes the catalogue; returns how many files it took.
pub async fn write(
    store: &Store,
    graph: &StageGraph,
    folder: &Folder,
    formats: &[Format],
) -> anyhow::Result<usize> {
    let Some(bytes) = read(store, graph).await? else { return Ok(0) };
    let table = as_table(bytes.clone())?;
    let mut count = 0;
    for &format in formats {
        let name = format!("{}.{}", CATALOGUE.0, format.extension());
        count += 1;
        match format {
            Format::Parquet => folder.put(&name, &bytes)?,
            Format::Fits => folder.put(&name, &fits(&table)?)?,
            Format::Votable => folder.put(&name, &votable(&table)?)?,
            Format::Csv => {
                folder.put(&name, &csv(&table)?)?;
                let description = format!("{name}-metadata.json");
                folder.put(&description, &csv_description(&table, &name)?)?;
                count += 1;
            }
        }
    }
    Ok(count)
}

/// The catalogue of a campaign whose stage `catalogue` is complete.
///
/// # Errors
/// When it is not complete, or the catalogue is missing or damaged.
pub async fn table(store: &Store, graph: &StageGraph) -> anyhow::Result<Table> {
    let bytes = read(store, graph).await?.context("the campaign has no catalogue: run it first")?;
    as_table(bytes)
}

async fn read(store: &Store, graph: &StageGraph) -> anyhow::Result<Option<Bytes>> {
    let commit = graph.commits(Stage::Catalogue).first();
    let Some(record) = commit.and_then(|commit| commit.file(FILE)) else { return Ok(None) };
    Ok(Some(store.get_verified(&record.path, &record.sha256, record.bytes).await?))
}

fn as_table(bytes: Bytes) -> anyhow::Result<Table> {
    let table = parquet::decode(FILE, bytes, None)?;
    let schema = Arc::new(tables::described(table.schema(), &tables::catalogue()));
    Ok(Table {
        name: CATALOGUE.0.to_owned(),
        description: CATALOGUE.1.to_owned(),
        batches: with_schema(&schema, table.batches())?,
        schema,
        about: provenance(table.metadata()),
    })
}

/// `batches` with what is said of their columns.
pub fn with_schema(
    schema: &arrow::datatypes::SchemaRef,
    batches: &[arrow::array::RecordBatch],
) -> anyhow::Result<Vec<arrow::array::RecordBatch>> {
    let described = |batch: &arrow::array::RecordBatch| {
        arrow::array::RecordBatch::try_new(schema.clone(), batch.columns().to_vec())
    };
    Ok(batches.iter().map(described).collect::<Result<_, _>>()?)
}

/// What a file's metadata say of where it comes from, without what they say of
/// its columns.
pub fn provenance(metadata: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let of_columns =
        |key: &str| key == tables::UNITS_KEY || key.starts_with("IVOA.VOTable-Parquet.");
    let own = metadata.iter().filter(|(key, _)| !of_columns(key));
    own.map(|(key, value)| (key.clone(), value.clone())).collect()
}
