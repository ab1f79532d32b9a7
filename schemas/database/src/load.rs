//! A campaign into the database, in one transaction.

use crate::cells::{Column, sql_type, wire_type};
use crate::columns::{Followed, GALAXY, PIXEL, follow, make_views};
use crate::{Campaign, DatabaseError, Survey, Target, check_with, migrations, name, positions};
use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use std::error::Error;
use std::pin::pin;
use tokio_postgres::Transaction;
use tokio_postgres::binary_copy::BinaryCopyInWriter;

/// Rows named where they come twice.
const NAMED: i64 = 5;

/// What loading did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Galaxies of the campaign.
    pub galaxies: u64,
    /// Pixels of the campaign.
    pub pixels: u64,
    /// Rows that were added, changed or removed; 0: it was all there.
    pub changed: u64,
    /// What would serve the database better.
    pub hints: Vec<String>,
}

/// Loads a campaign: its galaxies, and the pixels of all batches of a stream
/// that have one schema. A campaign that is there is replaced.
///
/// # Errors
/// [`DatabaseError`]; the database is then as it was before.
pub async fn load<S, E>(
    target: &Target,
    campaign: &Campaign,
    (schema, galaxies): (&SchemaRef, &[RecordBatch]),
    pixels: S,
) -> Result<Loaded, DatabaseError>
where
    S: Stream<Item = Result<RecordBatch, E>>,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    let mut client = target.connect().await?;
    check_with(&client, target).await?;
    let begun = target.refused("beginning");
    let transaction = client.transaction().await.map_err(begun)?;
    migrations::migrate(&transaction, target.refused("making its tables")).await?;
    let key = announce(&transaction, campaign).await.map_err(target.refused("naming it"))?;

    let columns = target.refused("adding columns");
    follow(&transaction, GALAXY, schema, &columns).await?;
    let rows = stream::iter(galaxies.iter().cloned().map(Ok::<_, DatabaseError>));
    let loading = Loading { target, transaction: &transaction, key };
    let (galaxies, mut changed) = loading.load(GALAXY, schema, rows).await?;

    let mut pixels = pin!(pixels.map_err(|error| DatabaseError::Rows(error.into())).peekable());
    let schema = match pixels.as_mut().peek().await {
        Some(Ok(first)) => first.schema(),
        // None: those of an earlier load go.
        _ => PIXEL.without_rows(),
    };
    follow(&transaction, PIXEL, &schema, &columns).await?;
    let (count, merged) = loading.load(PIXEL, &schema, pixels).await?;
    changed += merged;
    let ending = target.refused("making views and indexes");
    make_views(&transaction).await.map_err(&ending)?;
    let hints = positions::index(&transaction).await.map_err(&ending)?;
    let counts = "update outshine.campaign set galaxies = $2, pixels = $3 where key = $1";
    let (g, p) = (galaxies as i64, count as i64);
    transaction.execute(counts, &[&key, &g, &p]).await.map_err(&ending)?;
    transaction.commit().await.map_err(target.refused("committing"))?;
    Ok(Loaded { galaxies, pixels: count, changed, hints })
}

/// The campaign's row; returns its key.
async fn announce(
    transaction: &Transaction<'_>,
    campaign: &Campaign,
) -> Result<i32, tokio_postgres::Error> {
    let provenance = serde_json::to_string(&campaign.provenance).unwrap_or_default();
    let definition = campaign.definition.to_string();
    let model = "insert into outshine.model (model, provenance) values ($1, $2::text::jsonb)
         on conflict (model) do nothing";
    if let Some(digest) = &campaign.model {
        transaction.execute(model, &[digest, &provenance]).await?;
    }
    let row = "insert into outshine.campaign
             (campaign, name, survey, digest, model, definition, provenance)
         values ($1, $2, $3, $4, $5, $6::text::jsonb, $7::text::jsonb)
         on conflict (campaign) do update set
             survey = case when $8 then excluded.survey else campaign.survey end,
             model = excluded.model, definition = excluded.definition,
             provenance = excluded.provenance, loaded = now()
         returning key";
    let Campaign { campaign: id, name, digest, model, .. } = campaign;
    let (survey, named) = match &campaign.survey {
        Survey::Named(survey) => (survey, true),
        Survey::Made(survey) => (survey, false),
    };
    let row = transaction
        .query_one(row, &[id, name, survey, digest, model, &definition, &provenance, &named])
        .await?;
    Ok(row.get(0))
}

struct Loading<'a> {
    target: &'a Target,
    transaction: &'a Transaction<'a>,
    key: i32,
}

impl Loading<'_> {
    /// Copies rows into a table of this transaction, checks them there, and
    /// merges them into `followed`. Returns how many there are, and how many
    /// rows of `followed` they changed.
    async fn load(
        &self,
        followed: Followed,
        schema: &Schema,
        rows: impl Stream<Item = Result<RecordBatch, DatabaseError>>,
    ) -> Result<(u64, u64), DatabaseError> {
        let table = followed.table;
        let mut types = Vec::new();
        let mut columns = Vec::new();
        for field in schema.fields() {
            types.push(sql_type(table, field)?);
            columns.push(name(field.name()));
        }
        let defined: Vec<String> =
            columns.iter().zip(&types).map(|(column, kind)| format!("{column} {kind}")).collect();
        let staging = format!("staged_{table}");
        let list = columns.join(", ");
        let copying = self.target.refused("copying rows");
        let sql = format!("create temp table {staging} ({}) on commit drop", defined.join(", "));
        self.transaction.batch_execute(&sql).await.map_err(&copying)?;
        let sql = format!("copy {staging} ({list}) from stdin binary");
        let sink = self.transaction.copy_in(&sql).await.map_err(&copying)?;
        let wire: Vec<_> = types.iter().map(|kind| wire_type(kind)).collect();
        let mut writer = pin!(BinaryCopyInWriter::new(sink, &wire));
        let mut rows = pin!(rows);
        while let Some(batch) = rows.try_next().await? {
            let cells: Vec<Column> = types
                .iter()
                .enumerate()
                .map(|(index, kind)| Column::of(&batch, index, kind))
                .collect::<Result<_, _>>()
                .map_err(|error| DatabaseError::Rows(Box::new(error)))?;
            for row in 0..batch.num_rows() {
                let cells = cells.iter().map(|column| column.cell(row));
                writer.as_mut().write_raw(cells).await.map_err(&copying)?;
            }
        }
        let count = writer.finish().await.map_err(&copying)?;
        self.check(followed, &staging).await?;
        let changed = self.merge(followed, &staging, &columns).await;
        Ok((count, changed.map_err(self.target.refused("merging rows"))?))
    }

    /// Every row is there once.
    async fn check(&self, followed: Followed, staging: &str) -> Result<(), DatabaseError> {
        let checking = self.target.refused("checking rows");
        let sql = format!("analyze {staging}");
        self.transaction.batch_execute(&sql).await.map_err(&checking)?;
        let key = followed.keys().collect::<Vec<_>>().join(", ");
        let text: Vec<String> =
            followed.keys().map(|column| format!("'{column} ' || {column}")).collect();
        let sql = format!(
            "select {} from {staging} group by {key} having count(*) > 1 order by {key} limit {NAMED}",
            text.join(" || ' ' || ")
        );
        let twice = self.transaction.query(&sql, &[]).await.map_err(&checking)?;
        if twice.is_empty() {
            return Ok(());
        }
        let rows: Vec<Option<String>> = twice.iter().map(|row| row.get(0)).collect();
        let rows: Vec<String> = rows.into_iter().flatten().collect();
        Err(DatabaseError::Duplicate { table: followed.table, rows: rows.join(", ") })
    }

    /// Removes the campaign's rows that are not staged, adds those that are not
    /// there, and changes those that differ.
    async fn merge(
        &self,
        followed: Followed,
        staging: &str,
        columns: &[String],
    ) -> Result<u64, tokio_postgres::Error> {
        let (table, key) = (followed.table, self.key);
        let same: Vec<String> =
            followed.keys().map(|column| format!("s.{column} = t.{column}")).collect();
        let sql = format!(
            "delete from outshine.{table} t where t.campaign_key = {key}
             and not exists (select from {staging} s where {})",
            same.join(" and ")
        );
        let removed = self.transaction.execute(&sql, &[]).await?;
        let is_key = |column: &&String| followed.keys().any(|key| name(key) == **column);
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
        let list = columns.join(", ");
        let keys = followed.keys().collect::<Vec<_>>().join(", ");
        // In the order of the key, which the index likes.
        let sql = format!(
            "insert into outshine.{table} as t (campaign_key, {list})
             select {key}, {list} from {staging} order by {keys}
             on conflict (campaign_key, {keys}) {conflict}"
        );
        Ok(removed + self.transaction.execute(&sql, &[]).await?)
    }
}
