//! Products of a complete campaign, in a folder that a person opens: the
//! catalogue in several formats, the summaries galaxy by galaxy, the samples
//! tile by tile, the model and its calibration.

mod catalogue;
mod folder;
mod summaries;

pub use catalogue::table as catalogue_table;
pub(crate) use catalogue::with_schema;
pub use folder::Folder;
pub(crate) use summaries::read as summary_tables;

use crate::stage_graph::StageGraph;
use outshine_formats::Format;
use outshine_schemas::outcome::{CommitRecord, FileRecord};
use outshine_schemas::task::Stage;
use outshine_store::Store;
use std::path::Path;

/// Every product as a task made it: its name, and where it lies in the store.
#[must_use]
pub fn products(graph: &StageGraph) -> Vec<(String, FileRecord)> {
    let mut all = Vec::new();
    let mut add = |name: String, commit: &CommitRecord, file: &str| {
        if let Some(record) = commit.file(file) {
            all.push((name, record.clone()));
        }
    };
    for commit in graph.commits(Stage::Catalogue) {
        for file in [catalogue::FILE, "validation.parquet"] {
            add(file.to_owned(), commit, file);
        }
    }
    for commit in graph.commits(Stage::Calibrate) {
        for file in ["calibration.parquet", "calibration-redshift.parquet", "cross-prior.parquet"] {
            add(format!("model/{file}"), commit, file);
        }
    }
    if let Some(commit) = graph.commits(Stage::Train).last() {
        for file in ["model.json", "model.safetensors"] {
            add(format!("model/{file}"), commit, file);
        }
    }
    for commit in graph.commits(Stage::Field) {
        for file in &commit.files {
            add(format!("field/{}", file.name), commit, &file.name);
        }
    }
    for commit in graph.commits(Stage::Fit) {
        for kind in ["samples", "summaries"] {
            let name = format!("{kind}/blocks-{:07}.parquet", commit.shard.start);
            add(name, commit, &format!("{kind}.parquet"));
        }
    }
    all
}

/// Writes every product to `folder`, the catalogue in `formats`; returns how many
/// files were written.
///
/// # Errors
/// A damaged or missing object, or a folder that cannot be written.
pub async fn export(
    store: &Store,
    graph: &StageGraph,
    folder: &Path,
    formats: &[Format],
) -> anyhow::Result<usize> {
    let folder = Folder::make(folder)?;
    let mut count = catalogue::write(store, graph, &folder, formats).await?;
    count += summaries::write(store, graph, &folder).await?;
    let elsewhere = |name: &str| name == catalogue::FILE || name.starts_with("summaries/");
    for (name, record) in products(graph).iter().filter(|(name, _)| !elsewhere(name)) {
        let bytes = store.get_verified(&record.path, &record.sha256, record.bytes).await?;
        folder.put(name, &bytes)?;
        count += 1;
    }
    Ok(count)
}
