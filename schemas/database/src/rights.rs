//! What the user may do in a database.

use crate::columns::{GALAXY, PIXEL};
use crate::{DatabaseError, Target};
use tokio_postgres::Client;

/// What loading makes or changes in the schema `outshine`: PostgreSQL lets none
/// but an owner add columns to a table, or remake a view.
const OWNED: [&str; 7] =
    ["version", "model", "campaign", GALAXY.table, PIXEL.table, "galaxy_newest", "pixel_newest"];

/// The user may load: make the schema or its tables, change those that are there,
/// and keep rows in temporary ones.
pub async fn check(client: &Client, target: &Target) -> Result<(), DatabaseError> {
    let may = "select has_database_privilege(current_database(), 'CREATE'),
             has_database_privilege(current_database(), 'TEMP'),
             (select has_schema_privilege(oid, 'CREATE') and has_schema_privilege(oid, 'USAGE')
              from pg_namespace where nspname = 'outshine'),
             (select string_agg(c.relname::text, ', ' order by c.relname)
              from pg_class c join pg_namespace n on n.oid = c.relnamespace
              where n.nspname = 'outshine' and c.relname::text = any($1)
                  and not pg_has_role(c.relowner, 'USAGE'))";
    let asking = target.refused("asking its rights");
    let row = client.query_one(may, &[&OWNED.as_slice()]).await.map_err(asking)?;
    let (create, temporary): (bool, bool) = (row.get(0), row.get(1));
    let (schema, others): (Option<bool>, Option<String>) = (row.get(2), row.get(3));
    let lacking = |what: &'static str, mend: String| {
        Err(DatabaseError::Rights { place: target.place(), what, mend })
    };
    match (schema, others) {
        (None, _) if !create => lacking(
            "make the schema `outshine`",
            "grant create on the database, or make the schema and grant usage, create on it"
                .to_owned(),
        ),
        (Some(false), _) => lacking(
            "make tables in the schema `outshine`",
            "grant usage, create on schema outshine".to_owned(),
        ),
        (_, Some(others)) => lacking(
            "change what is in the schema `outshine`",
            format!("load as the owner of {others}, or grant that role to this user"),
        ),
        _ if !temporary => {
            lacking("make temporary tables", "grant temporary on the database".to_owned())
        }
        _ => Ok(()),
    }
}
