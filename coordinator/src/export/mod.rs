//! Products of a complete campaign, in a folder that a person opens: the
//! catalogue in several formats, the summaries galaxy by galaxy, the samples
//! tile by tile, the model and its calibration.

mod catalogue;
mod folder;
mod sky;
mod summaries;

pub use catalogue::table as catalogue_table;
pub(crate) use catalogue::with_schema;
pub use folder::Folder;
pub use sky::Sky;
pub(crate) use summaries::read as summary_tables;

use crate::stage_graph::StageGraph;
use outshine_formats::Format;
use outshine_schemas::outcome::{CommitRecord, FileRecord};
use outshine_schemas::task::Stage;
use outshine_store::{Store, commit};
use std::path::Path;

const VALIDATION: &str = "validation.parquet";

/// Folders of products that are copied, and the stage that decides what is in
/// them once it is complete.
const FOLDERS: [(&str, Stage); 3] =
    [("field", Stage::Field), ("model", Stage::Train), ("samples", Stage::Fit)];

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
        for file in [catalogue::FILE, VALIDATION] {
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

/// Writes every product to `folder`, the catalogue in `formats` and, where the `sky`
/// is known, with the galaxies' places; returns how many
/// files were written. What an older export left there of the stages that are
/// complete is replaced, also by nothing; what later stages make stays.
///
/// # Errors
/// A damaged or missing object, or a folder that cannot be written.
pub async fn export(
    store: &Store,
    graph: &StageGraph,
    folder: &Path,
    formats: &[Format],
    sky: &Sky,
) -> anyhow::Result<usize> {
    let folder = Folder::make(folder)?;
    let mut count = catalogue::write(store, graph, &folder, formats, sky).await?;
    count += summaries::write(store, graph, &folder).await?;
    let products = products(graph);
    for (name, _) in FOLDERS.iter().filter(|(_, stage)| graph.ended(*stage).is_some()) {
        let prefix = format!("{name}/");
        let within = products
            .iter()
            .filter_map(|(path, record)| Some((path.strip_prefix(&prefix)?, record)));
        count += copy(store, &folder, name, within).await?;
    }
    match products.iter().find(|(name, _)| name == VALIDATION) {
        Some((name, record)) => {
            folder.put(name, &commit::read_file(store, record).await?)?;
            count += 1;
        }
        None if graph.ended(Stage::Catalogue).is_some() => folder.remove(VALIDATION)?,
        None => {}
    }
    Ok(count)
}

/// Makes the folder `name` of `folder` one of these files alone; returns how many.
async fn copy<'a>(
    store: &Store,
    folder: &Folder,
    name: &str,
    files: impl Iterator<Item = (&'a str, &'a FileRecord)>,
) -> anyhow::Result<usize> {
    let begun = folder.begin(name)?;
    let mut count = 0;
    for (file, record) in files {
        begun.put(file, &commit::read_file(store, record).await?)?;
        count += 1;
    }
    folder.finish(name, begun)?;
    if count == 0 {
        folder.remove(name)?;
    }
    Ok(count)
}
