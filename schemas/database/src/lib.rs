//! Catalogues in PostgreSQL: tables of campaigns, models, galaxies and pixels
//! in the schema `outshine`, made or migrated as needed.
//!
//! [`load`] is one transaction: rows are copied into tables of its own, checked
//! and then merged, so that whoever reads sees a campaign as it was before or as
//! it is after, whatever dies in between. Loading the same campaign again
//! changes nothing. Columns follow the schema of the rows: one that the database
//! has not seen is added.

mod cells;
mod columns;
mod error;
mod load;
mod migrations;
mod positions;
mod rights;
mod staged;
mod target;

pub use error::DatabaseError;
pub use load::{Loaded, load};
pub use migrations::{STEPS, migrate};
pub use target::Target;

use std::collections::BTreeMap;
use tokio_postgres::Client;

/// A campaign, as the database tells it from others.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// Its name in the store.
    pub campaign: String,
    /// The name that its file gives it.
    pub name: String,
    /// The survey that it is of.
    pub survey: Survey,
    /// Digest of all that decides its results.
    pub digest: String,
    /// SHA-256 of its model.
    pub model: Option<String>,
    /// Its definition, as it is stored.
    pub definition: serde_json::Value,
    /// Where its tables come from.
    pub provenance: BTreeMap<String, String>,
}

/// A survey: its campaigns mean the same galaxy by the same id, and of these,
/// views show the newest campaign's row.
#[derive(Clone, Debug)]
pub enum Survey {
    /// By the name that a user gives it.
    Named(String),
    /// By a name made for it; a campaign that is there keeps the one it has.
    Made(String),
}

/// Whether the database can be reached and loaded.
///
/// # Errors
/// [`DatabaseError`]: it is away, or of a later version, or the user may not
/// make its tables or change them.
pub async fn check(target: &Target) -> Result<(), DatabaseError> {
    check_with(&target.connect().await?, target).await
}

async fn check_with(client: &Client, target: &Target) -> Result<(), DatabaseError> {
    // Without them not even the version can be asked for.
    rights::check(client, target).await?;
    let found = migrations::version(client).await.map_err(target.refused("asking its version"))?;
    migrations::check(found, migrations::VERSION)
}

/// A name in SQL.
fn name(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// A text in SQL.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
