//! Which galaxies a failed task touches.

use crate::stage_graph::StageGraph;
use arrow::datatypes::UInt32Type;
use outshine_schemas::outcome::FailureRecord;
use outshine_schemas::task::{Shard, Stage};
use outshine_store::{Store, StoreError, commit, parquet};
use std::collections::BTreeMap;

/// The table of galaxies among the files of stage field.
const GALAXIES: &str = "galaxies.parquet";

/// The galaxies of each failed task of fit or reduce, by task id. Costs one
/// read, and none where nothing failed.
///
/// # Errors
/// When the table of galaxies cannot be read.
pub async fn touched(
    store: &Store,
    graph: &StageGraph,
    failures: &[&FailureRecord],
) -> Result<BTreeMap<String, Vec<i64>>, StoreError> {
    let field = graph.commits(Stage::Field).first();
    let Some(file) = field.and_then(|field| field.file(GALAXIES)) else {
        return Ok(BTreeMap::new());
    };
    if failures.is_empty() {
        return Ok(BTreeMap::new());
    }
    let bytes = commit::read_file(store, file).await?;
    let columns = ["galaxy_id", "first_block", "blocks"];
    let table = parquet::decode(GALAXIES, bytes, Some(&columns))?;
    let id = table.int64("galaxy_id")?;
    let first = table.number::<UInt32Type>("first_block")?;
    let count = table.number::<UInt32Type>("blocks")?;
    let rows: Vec<(i64, Shard)> = (0..table.rows())
        .map(|row| {
            let start = u64::from(first.value(row));
            (id.value(row), Shard { start, end: start + u64::from(count.value(row)) })
        })
        .collect();
    let of = |failure: &FailureRecord| galaxies(&rows, failure.stage, failure.shard);
    Ok(failures.iter().map(|f| (f.task.as_str().to_owned(), of(f))).collect())
}

/// Galaxies of a shard; `rows`: each galaxy and its blocks, in order.
fn galaxies(rows: &[(i64, Shard)], stage: Stage, shard: Shard) -> Vec<i64> {
    let inside = |row: usize, blocks: Shard| match stage {
        Stage::Fit => shard.start < blocks.end && blocks.start < shard.end,
        Stage::Reduce => (shard.start..shard.end).contains(&(row as u64)),
        _ => false,
    };
    let numbered = rows.iter().enumerate();
    numbered.filter(|(row, (_, blocks))| inside(*row, *blocks)).map(|(_, (id, _))| *id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_rows_are_turned_into_galaxies() {
        let blocks = |start, end| Shard { start, end };
        let rows = [(11, blocks(0, 2)), (12, blocks(2, 3)), (13, blocks(3, 7))];
        assert_eq!(galaxies(&rows, Stage::Fit, blocks(1, 3)), [11, 12]);
        assert_eq!(galaxies(&rows, Stage::Fit, blocks(4, 5)), [13]);
        assert_eq!(galaxies(&rows, Stage::Reduce, blocks(1, 3)), [12, 13]);
        assert!(galaxies(&rows, Stage::Simulate, blocks(0, 9)).is_empty());
    }
}
