//! The tables, version by version. A step is never changed once it is released:
//! a later one follows it. Columns of galaxies and pixels are no part of it:
//! they follow the rows (`columns`).

use crate::error::uncommitted;
use crate::{DatabaseError, Target, rights};
use tokio_postgres::{GenericClient, Transaction};

/// Steps from an empty database; number `i` makes version `i + 1`. One that changes
/// what the views show drops these: the next load makes them again.
pub const STEPS: &[&str] = &["
create table outshine.model (
    model text primary key,
    provenance jsonb not null
);
create table outshine.campaign (
    key integer generated always as identity primary key,
    campaign text not null unique,
    name text not null,
    survey text not null,
    digest text not null,
    model text references outshine.model (model),
    definition jsonb not null,
    provenance jsonb not null,
    galaxies bigint not null default 0,
    pixels bigint not null default 0,
    loaded timestamptz not null default now()
);
create table outshine.galaxy (
    campaign_key integer not null references outshine.campaign (key) on delete cascade,
    galaxy_id bigint not null,
    primary key (campaign_key, galaxy_id)
);
create table outshine.pixel (
    campaign_key integer not null,
    galaxy_id bigint not null,
    x integer not null,
    y integer not null,
    primary key (campaign_key, galaxy_id, y, x),
    foreign key (campaign_key, galaxy_id)
        references outshine.galaxy (campaign_key, galaxy_id) on delete cascade
);
create index pixel_place on outshine.pixel (campaign_key, x, y);
comment on table outshine.campaign is 'One row per campaign, newest with the highest key';
comment on column outshine.campaign.survey is
    'Campaigns of one survey mean the same galaxy by the same galaxy_id';
comment on table outshine.model is 'Estimators, by SHA-256';
comment on table outshine.galaxy is 'The catalogue: one row per campaign and galaxy';
comment on table outshine.pixel is 'Posterior percentiles: one row per campaign and pixel';
"];

/// The schema, where nobody has made it for the user.
const SCHEMA: &str = "
create schema outshine;
comment on schema outshine is 'Catalogues of stellar masses and star-formation histories';
";

/// The version that this program makes.
pub const VERSION: i32 = STEPS.len() as i32;

/// The version of the database; 0: it has no tables yet.
pub async fn version(client: &impl GenericClient) -> Result<i32, tokio_postgres::Error> {
    // From the catalogue itself: `to_regclass` may not have heard yet of a table that was made
    // while this session waited for another.
    let known = "select exists (select from pg_tables
         where schemaname = 'outshine' and tablename = 'version')";
    if !client.query_one(known, &[]).await?.get::<_, bool>(0) {
        return Ok(0);
    }
    let version = "select coalesce(max(version), 0) from outshine.version";
    Ok(client.query_one(version, &[]).await?.get(0))
}

/// Whether a program that makes version `known` can load a database of version
/// `found`.
pub fn check(found: i32, known: i32) -> Result<(), DatabaseError> {
    match found > known {
        true => Err(DatabaseError::Version { found, known }),
        false => Ok(()),
    }
}

/// Brings a database to the version that the last of `steps` makes ([`STEPS`]: this
/// program's), with all its rows, or leaves it as it is; loading does so by itself.
///
/// # Errors
/// [`DatabaseError`]; a database of a later version is left alone.
pub async fn migrate(target: &Target, steps: &[&str]) -> Result<(), DatabaseError> {
    let mut client = target.connect().await?;
    rights::check(&client, target).await?;
    let transaction = client.transaction().await.map_err(target.refused("beginning"))?;
    within(&transaction, steps, target.refused("making its tables")).await?;
    transaction.commit().await.map_err(|error| uncommitted(target.place(), &error))
}

/// Takes the steps that the database has not taken; returns whether there were
/// any.
pub async fn within(
    transaction: &Transaction<'_>,
    steps: &[&str],
    refused: impl Fn(tokio_postgres::Error) -> DatabaseError,
) -> Result<bool, DatabaseError> {
    let known = steps.len() as i32;
    // One program at a time: another waits here until this one has ended.
    let lock = "select pg_advisory_xact_lock(hashtext('outshine'))";
    transaction.execute(lock, &[]).await.map_err(&refused)?;
    let found = version(transaction).await.map_err(&refused)?;
    check(found, known)?;
    if found == 0 {
        // `if not exists` would ask for the right to make it all the same.
        let known = "select exists (select from pg_namespace where nspname = 'outshine')";
        let row = transaction.query_one(known, &[]).await.map_err(&refused)?;
        if !row.get::<_, bool>(0) {
            transaction.batch_execute(SCHEMA).await.map_err(&refused)?;
        }
        let first = "create table outshine.version (
                 version integer primary key,
                 applied timestamptz not null default now()
             )";
        transaction.batch_execute(first).await.map_err(&refused)?;
    }
    for (step, version) in steps.iter().zip(1..).filter(|(_, version)| *version > found) {
        transaction.batch_execute(step).await.map_err(&refused)?;
        let done = "insert into outshine.version (version) values ($1)";
        transaction.execute(done, &[&version]).await.map_err(&refused)?;
    }
    Ok(found < known)
}
