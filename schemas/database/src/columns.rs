//! Columns of tables, from those of the rows to load.

use crate::cells::{kind, sql};
use crate::{DatabaseError, literal, name};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use outshine_schemas::tables::{DESCRIPTION_KEY, UCD_KEY, UNIT_KEY, units};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use tokio_postgres::Transaction;

/// A table that follows the columns of its rows.
#[derive(Clone, Copy, Debug)]
pub struct Followed {
    /// Its name in the schema `outshine`.
    pub table: &'static str,
    /// The columns that tell a campaign's rows apart, and their types.
    pub key: &'static [(&'static str, DataType)],
}

impl Followed {
    /// The columns that tell a campaign's rows apart.
    pub fn keys(&self) -> impl Iterator<Item = &'static str> {
        self.key.iter().map(|(column, _)| *column)
    }

    /// Columns of no rows.
    pub fn without_rows(&self) -> SchemaRef {
        let fields = self.key.iter().map(|(column, kind)| Field::new(*column, kind.clone(), false));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }
}

/// One row per galaxy.
pub const GALAXY: Followed = Followed { table: "galaxy", key: &[("galaxy_id", DataType::Int64)] };
/// One row per pixel.
pub const PIXEL: Followed = Followed {
    table: "pixel",
    key: &[("galaxy_id", DataType::Int64), ("y", DataType::Int32), ("x", DataType::Int32)],
};

/// The newest campaign's rows, survey by survey. New columns come last, as a
/// view's columns keep their places.
const VIEWS: &str = "
create or replace view outshine.galaxy_newest as
    select distinct on (c.survey, g.galaxy_id) c.survey, c.campaign, g.*
    from outshine.galaxy g join outshine.campaign c on c.key = g.campaign_key
    order by c.survey, g.galaxy_id, c.key desc;
create or replace view outshine.pixel_newest as
    select g.survey, g.campaign, p.*
    from outshine.galaxy_newest g
    join outshine.pixel p on p.campaign_key = g.campaign_key and p.galaxy_id = g.galaxy_id;
";

/// Adds the columns of `schema` that the table lacks, with what is said of them;
/// returns whether there were such.
pub async fn follow(
    transaction: &Transaction<'_>,
    followed: Followed,
    schema: &Schema,
    refused: &impl Fn(tokio_postgres::Error) -> DatabaseError,
) -> Result<bool, DatabaseError> {
    let table = followed.table;
    let there = "select column_name::text, data_type::text from information_schema.columns
         where table_schema = 'outshine' and table_name = $1";
    let rows = transaction.query(there, &[&table]).await.map_err(refused)?;
    let there: BTreeMap<String, String> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let mut added = String::new();
    for field in schema.fields() {
        let given = sql(kind(table, field)?);
        match there.get(field.name()) {
            Some(found) if found == given => continue,
            Some(found) => {
                let (column, found) = (field.name().clone(), found.clone());
                return Err(DatabaseError::ColumnType { table, column, found, given });
            }
            None => {}
        }
        let column = name(field.name());
        // A campaign of before has no value there.
        let _ = write!(added, "alter table outshine.{table} add column {column} {given};");
        let about = literal(&about(field));
        let _ = write!(added, "comment on column outshine.{table}.{column} is {about};");
    }
    if !added.is_empty() {
        transaction.batch_execute(&added).await.map_err(refused)?;
    }
    Ok(!added.is_empty())
}

/// What is said of a column, its unit in the standard form that other formats have,
/// where it has one.
fn about(field: &Field) -> String {
    let text = |key: &str| field.metadata().get(key).map(String::as_str);
    let unit = text(UNIT_KEY).map(|unit| units::standard(unit).unwrap_or(unit));
    let parts = [("", text(DESCRIPTION_KEY)), ("unit: ", unit), ("ucd: ", text(UCD_KEY))];
    let parts = parts.into_iter().filter_map(|(title, text)| Some(format!("{title}{}", text?)));
    parts.collect::<Vec<_>>().join("; ")
}

/// Makes the views with all columns that there are, if that is `due` or one is
/// missing: readers wait for it.
pub async fn make_views(
    transaction: &Transaction<'_>,
    due: bool,
) -> Result<(), tokio_postgres::Error> {
    let count = "select count(*) from pg_views where schemaname = 'outshine'
         and viewname in ('galaxy_newest', 'pixel_newest')";
    if due || transaction.query_one(count, &[]).await?.get::<_, i64>(0) < 2 {
        transaction.batch_execute(VIEWS).await?;
    }
    Ok(())
}
