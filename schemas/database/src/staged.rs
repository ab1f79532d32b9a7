//! Rows on their way: copied into temporary tables, checked there, then merged.

use crate::cells::{cell, kind, sql, wire};
use crate::columns::Followed;
use crate::{DatabaseError, Target, name};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::{Stream, TryStreamExt};
use outshine_schemas::tables::Values;
use std::pin::pin;
use tokio_postgres::Transaction;
use tokio_postgres::binary_copy::BinaryCopyInWriter;

/// Rows named where they come twice.
const NAMED: i64 = 5;

/// Rows for a table, in one of this transaction.
pub struct Staged {
    /// The table that they are for.
    pub followed: Followed,
    /// Their columns.
    pub schema: SchemaRef,
    /// How many there are.
    pub count: u64,
}

/// Copies rows into a table of this transaction; each is there once.
pub async fn copy(
    target: &Target,
    transaction: &Transaction<'_>,
    followed: Followed,
    schema: &SchemaRef,
    rows: impl Stream<Item = Result<RecordBatch, DatabaseError>>,
) -> Result<Staged, DatabaseError> {
    let mut kinds = Vec::new();
    for field in schema.fields() {
        kinds.push(kind(followed.table, field)?);
    }
    let mut staged = Staged { followed, schema: schema.clone(), count: 0 };
    let (table, columns) = (staged.table(), staged.columns());
    let defined: Vec<String> = columns
        .iter()
        .zip(&kinds)
        .map(|(column, kind)| format!("{column} {}", sql(*kind)))
        .collect();
    let copying = target.refused("copying rows");
    let create = format!("create temp table {table} ({}) on commit drop", defined.join(", "));
    transaction.batch_execute(&create).await.map_err(&copying)?;
    let from = format!("copy {table} ({}) from stdin binary", columns.join(", "));
    let sink = transaction.copy_in(&from).await.map_err(&copying)?;
    let wire: Vec<_> = kinds.iter().map(|kind| wire(*kind)).collect();
    let mut writer = pin!(BinaryCopyInWriter::new(sink, &wire));
    let mut rows = pin!(rows);
    while let Some(batch) = rows.try_next().await? {
        let mut values = Vec::new();
        for (index, kind) in kinds.iter().enumerate() {
            let found = Values::of(batch.column(index), *kind);
            values.push(found.map_err(|error| {
                DatabaseError::Rows(format!("column {}: {error}", columns[index]).into())
            })?);
        }
        for row in 0..batch.num_rows() {
            let cells = values.iter().map(|values| cell(values, row));
            writer.as_mut().write_raw(cells).await.map_err(&copying)?;
        }
    }
    staged.count = writer.finish().await.map_err(&copying)?;
    staged.check(target, transaction).await?;
    Ok(staged)
}

/// Makes the campaign's rows those that are staged; returns how many rows were
/// removed, added or changed. Pixels refer to their galaxies.
pub async fn merge(
    transaction: &Transaction<'_>,
    key: i32,
    galaxies: &Staged,
    pixels: &Staged,
) -> Result<u64, tokio_postgres::Error> {
    let mut changed = 0;
    for staged in [pixels, galaxies] {
        changed += transaction.execute(&staged.removal(key), &[]).await?;
    }
    for staged in [galaxies, pixels] {
        changed += transaction.execute(&staged.addition(key), &[]).await?;
    }
    Ok(changed)
}

impl Staged {
    fn table(&self) -> String {
        format!("staged_{}", self.followed.table)
    }

    fn columns(&self) -> Vec<String> {
        self.schema.fields().iter().map(|field| name(field.name())).collect()
    }

    fn keys(&self) -> String {
        self.followed.keys().collect::<Vec<_>>().join(", ")
    }

    /// Every row is there once.
    async fn check(
        &self,
        target: &Target,
        transaction: &Transaction<'_>,
    ) -> Result<(), DatabaseError> {
        let checking = target.refused("checking rows");
        let (table, key) = (self.table(), self.keys());
        let sql = format!("analyze {table}");
        transaction.batch_execute(&sql).await.map_err(&checking)?;
        let text: Vec<String> =
            self.followed.keys().map(|column| format!("'{column} ' || {column}")).collect();
        let sql = format!(
            "select {} from {table} group by {key} having count(*) > 1 order by {key} limit {NAMED}",
            text.join(" || ' ' || ")
        );
        let twice = transaction.query(&sql, &[]).await.map_err(&checking)?;
        if twice.is_empty() {
            return Ok(());
        }
        let rows: Vec<Option<String>> = twice.iter().map(|row| row.get(0)).collect();
        let rows: Vec<String> = rows.into_iter().flatten().collect();
        Err(DatabaseError::Duplicate { table: self.followed.table, rows: rows.join(", ") })
    }

    /// Removes the campaign's rows that are not staged.
    fn removal(&self, key: i32) -> String {
        let (table, staging) = (self.followed.table, self.table());
        let same: Vec<String> =
            self.followed.keys().map(|column| format!("s.{column} = t.{column}")).collect();
        format!(
            "delete from outshine.{table} t where t.campaign_key = {key}
             and not exists (select from {staging} s where {})",
            same.join(" and ")
        )
    }

    /// Adds the rows that are not there, and changes those that differ.
    fn addition(&self, key: i32) -> String {
        let (table, staging, columns) = (self.followed.table, self.table(), self.columns());
        let is_key = |column: &&String| self.followed.keys().any(|key| name(key) == **column);
        let values: Vec<&String> = columns.iter().filter(|column| !is_key(column)).collect();
        let of = |whose: &str| -> String {
            let named: Vec<String> = values.iter().map(|c| format!("{whose}.{c}")).collect();
            named.join(", ")
        };
        let conflict = if values.is_empty() {
            "do nothing".to_owned()
        } else {
            let set: Vec<String> = values.iter().map(|c| format!("{c} = excluded.{c}")).collect();
            format!(
                "do update set {} where ({}) is distinct from ({})",
                set.join(", "),
                of("t"),
                of("excluded")
            )
        };
        let (list, keys) = (columns.join(", "), self.keys());
        // In the order of the key, which the index likes.
        format!(
            "insert into outshine.{table} as t (campaign_key, {list})
             select {key}, {list} from {staging} order by {keys}
             on conflict (campaign_key, {keys}) {conflict}"
        )
    }
}
