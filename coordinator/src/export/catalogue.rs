//! The catalogue in the formats that astronomers open.

use super::folder::Folder;
use super::sky::Sky;
use crate::stage_graph::StageGraph;
use anyhow::Context;
use bytes::Bytes;
use outshine_formats::{
    Format, PARQUET_CONTENT, PARQUET_VERSION, Table, csv, csv_description, fits, parquet_metadata,
    votable,
};
use outshine_schemas::tables::{self, CATALOGUE};
use outshine_schemas::task::Stage;
use outshine_store::{Store, commit, parquet};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The catalogue as the campaign makes it.
pub const FILE: &str = "catalogue.parquet";
/// Rows per row group.
const ROW_GROUP: usize = 4096;

/// Writes the catalogue, and removes what an older export left of it in other
/// formats; returns how many files it took.
pub async fn write(
    store: &Store,
    graph: &StageGraph,
    folder: &Folder,
    formats: &[Format],
    sky: &Sky,
) -> anyhow::Result<usize> {
    let Some(bytes) = read(store, graph).await? else { return Ok(0) };
    let mut table = as_table(bytes.clone())?;
    let mut bytes = bytes;
    if sky.frame().is_some() {
        sky.add(&mut table)?;
        bytes = as_parquet(&table)?;
    }
    let mut count = 0;
    for format in Format::ALL {
        let name = format!("{}.{}", CATALOGUE.0, format.extension());
        let files: Vec<(String, Bytes)> = match format {
            _ if !formats.contains(&format) => Vec::new(),
            Format::Parquet => vec![(name.clone(), bytes.clone())],
            Format::Fits => vec![(name.clone(), fits(&table)?.into())],
            Format::Votable => vec![(name.clone(), votable(&table)?.into())],
            Format::Csv => vec![
                (name.clone(), csv(&table)?.into()),
                (description(&name), csv_description(&table, &name)?.into()),
            ],
        };
        if files.is_empty() {
            folder.remove(&name)?;
            folder.remove(&description(&name))?;
        }
        count += files.len();
        for (name, bytes) in files {
            folder.put(&name, &bytes)?;
        }
    }
    Ok(count)
}

/// A catalogue that is no longer as it was made, with all that the made one says.
fn as_parquet(table: &Table) -> anyhow::Result<Bytes> {
    let (units, votable) = (tables::units_of(&table.schema), parquet_metadata(table)?);
    let own = table.about.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let votable = votable.iter().map(|(key, value)| (*key, value.as_str()));
    let metadata: Vec<(&str, &str)> =
        own.chain(votable).chain([(tables::UNITS_KEY, units.as_str())]).collect();
    Ok(parquet::encode(&table.schema, &table.batches, &metadata, ROW_GROUP)?)
}

/// What describes the file `name`, where its format cannot.
fn description(name: &str) -> String {
    format!("{name}-metadata.json")
}

/// The catalogue of a campaign whose stage `catalogue` is complete, with the galaxies'
/// places: null where the sky is not known.
///
/// # Errors
/// When it is not complete, or the catalogue is missing or damaged.
pub async fn table(store: &Store, graph: &StageGraph, sky: &Sky) -> anyhow::Result<Table> {
    let bytes = read(store, graph).await?.context("the campaign has no catalogue: run it first")?;
    let mut table = as_table(bytes)?;
    sky.add(&mut table)?;
    Ok(table)
}

async fn read(store: &Store, graph: &StageGraph) -> anyhow::Result<Option<Bytes>> {
    let made = graph.commits(Stage::Catalogue).first();
    let Some(record) = made.and_then(|made| made.file(FILE)) else { return Ok(None) };
    Ok(Some(commit::read_file(store, record).await?))
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
    let of_columns = [tables::UNITS_KEY, PARQUET_VERSION, PARQUET_CONTENT];
    let own = metadata.iter().filter(|(key, _)| !of_columns.contains(&key.as_str()));
    own.map(|(key, value)| (key.clone(), value.clone())).collect()
}
