//! Indexes on the sky, where an extension for them is installed.

use crate::columns::{GALAXY, PIXEL};
use tokio_postgres::Transaction;

/// Extension, the end of its index's name, and what is indexed; `{}` is the
/// schema that it lies in.
const EXTENSIONS: [(&str, &str, &str); 2] = [
    ("q3c", "q3c", "({}.q3c_ang2ipix(ra, dec))"),
    ("pg_sphere", "sphere", "using gist ({}.spoint(radians(ra), radians(dec)))"),
];

/// Makes the indexes of every table with places in columns `ra` and `dec`; returns hints
/// of what would make it faster.
pub async fn index(transaction: &Transaction<'_>) -> Result<Vec<String>, tokio_postgres::Error> {
    let placed = "select table_name::text from information_schema.columns
         where table_schema = 'outshine' and column_name in ('ra', 'dec')
             and table_name = any($1) group by table_name having count(*) = 2 order by 1";
    let tables = transaction.query(placed, &[&vec![GALAXY.table, PIXEL.table]]).await?;
    let named: Vec<String> = tables.iter().map(|row| row.get(0)).collect();
    let mut tables = Vec::new();
    for table in named {
        // Columns without a place in them are of no survey whose sky is known.
        let any = format!("select exists (select from outshine.{table} where ra is not null)");
        if transaction.query_one(&any, &[]).await?.get(0) {
            tables.push(table);
        }
    }
    let mut hints = Vec::new();
    if tables.is_empty() {
        return Ok(hints);
    }
    for (extension, end, what) in EXTENSIONS {
        let installed = "select quote_ident(n.nspname) from pg_extension e
             join pg_namespace n on n.oid = e.extnamespace where e.extname = $1";
        let Some(row) = transaction.query_opt(installed, &[&extension]).await? else {
            let there = "select exists (select from pg_available_extensions where name = $1)";
            if transaction.query_one(there, &[&extension]).await?.get(0) {
                hints.push(format!(
                    "extension {extension} is available: `create extension {extension}`, then \
                     loading again, indexes ra and dec"
                ));
            }
            continue;
        };
        let what = what.replace("{}", row.get(0));
        for table in &tables {
            let sql =
                format!("create index if not exists {table}_{end} on outshine.{table} {what}");
            transaction.batch_execute(&sql).await?;
        }
    }
    Ok(hints)
}
