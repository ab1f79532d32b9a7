//! Products of a complete campaign, copied to a folder that a person opens:
//! the catalogue, the samples and summaries tile by tile, the model and its
//! calibration.

use crate::stage_graph::StageGraph;
use anyhow::Context;
use outshine_schemas::outcome::{CommitRecord, FileRecord};
use outshine_schemas::task::Stage;
use outshine_store::Store;
use std::path::Path;

/// Every product: its name in the folder, and where it lies in the store.
#[must_use]
pub fn products(graph: &StageGraph) -> Vec<(String, FileRecord)> {
    let mut all = Vec::new();
    let mut add = |name: String, commit: &CommitRecord, file: &str| {
        if let Some(record) = commit.file(file) {
            all.push((name, record.clone()));
        }
    };
    for commit in graph.commits(Stage::Catalogue) {
        for file in ["catalogue.parquet", "validation.parquet"] {
            add(file.to_owned(), commit, file);
        }
    }
    for commit in graph.commits(Stage::Calibrate) {
        for file in ["calibration.parquet", "calibration-redshift.parquet"] {
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

/// Copies every product to `folder`; returns how many files were written.
///
/// # Errors
/// A damaged or missing object, or a folder that cannot be written.
pub async fn export(store: &Store, graph: &StageGraph, folder: &Path) -> anyhow::Result<usize> {
    let products = products(graph);
    for (name, record) in &products {
        let path = folder.join(name);
        let bytes = store.get_verified(&record.path, &record.sha256, record.bytes).await?;
        write_whole(&path, &bytes).await?;
    }
    Ok(products.len())
}

/// Writes a file whole or not at all, beside first and then renamed, and the
/// folders that it is in.
///
/// # Errors
/// A place that cannot be written.
pub async fn write_whole(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let parent = path.parent().unwrap_or(Path::new("."));
    tokio::fs::create_dir_all(parent).await.with_context(|| parent.display().to_string())?;
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let written = tokio::fs::write(&partial, bytes).await;
    let renamed = match written {
        Ok(()) => tokio::fs::rename(&partial, path).await,
        Err(error) => Err(error),
    };
    if renamed.is_err() {
        // Of no use to anybody, and may not be there.
        let _ = tokio::fs::remove_file(&partial).await;
    }
    renamed.with_context(|| path.display().to_string())
}
