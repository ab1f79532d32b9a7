//! A campaign into the database, in one transaction.

use crate::columns::{GALAXY, PIXEL, follow, make_views};
use crate::error::uncommitted;
use crate::staged::{copy, merge};
use crate::{Campaign, DatabaseError, Survey, Target, check_with, migrations, positions};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use outshine_schemas::provenance::OF_MODEL;
use std::collections::BTreeMap;
use std::error::Error;
use std::pin::pin;
use tokio_postgres::Transaction;

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
/// [`DatabaseError`]; the database is then as it was before, or has the campaign
/// whole.
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
    let rows = stream::iter(galaxies.iter().cloned().map(Ok::<_, DatabaseError>));
    let galaxies = copy(target, &transaction, GALAXY, schema, rows).await?;
    let mut rows = pin!(pixels.map_err(|error| DatabaseError::Rows(error.into())).peekable());
    let schema = match rows.as_mut().peek().await {
        Some(Ok(first)) => first.schema(),
        // None: those of an earlier load go.
        _ => PIXEL.without_rows(),
    };
    let pixels = copy(target, &transaction, PIXEL, &schema, rows).await?;

    // Only from here on may readers have to wait: all that takes long is done.
    let making = target.refused("making its tables");
    let migrated = migrations::within(&transaction, migrations::STEPS, making).await?;
    let key = announce(&transaction, campaign).await.map_err(target.refused("naming it"))?;
    let columns = target.refused("adding columns");
    let mut changed_shape = migrated;
    for staged in [&galaxies, &pixels] {
        changed_shape |= follow(&transaction, staged.followed, &staged.schema, &columns).await?;
    }
    let merging = target.refused("merging rows");
    let changed = merge(&transaction, key, &galaxies, &pixels).await.map_err(merging)?;
    let ending = target.refused("making views and indexes");
    make_views(&transaction, changed_shape).await.map_err(&ending)?;
    let hints = positions::index(&transaction).await.map_err(&ending)?;
    let counts = "update outshine.campaign set galaxies = $2, pixels = $3 where key = $1";
    let (g, p) = (galaxies.count as i64, pixels.count as i64);
    transaction.execute(counts, &[&key, &g, &p]).await.map_err(&ending)?;
    transaction.commit().await.map_err(|error| uncommitted(target.place(), &error))?;
    Ok(Loaded { galaxies: galaxies.count, pixels: pixels.count, changed, hints })
}

/// The campaign's row; returns its key.
async fn announce(
    transaction: &Transaction<'_>,
    campaign: &Campaign,
) -> Result<i32, tokio_postgres::Error> {
    let provenance = json(&campaign.provenance, |_| true);
    // A model is of no campaign: the first that has loaded it must not name it.
    let of_model = json(&campaign.provenance, |key| OF_MODEL.contains(&key));
    let definition = campaign.definition.to_string();
    let model = "insert into outshine.model (model, provenance) values ($1, $2::text::jsonb)
         on conflict (model) do nothing";
    if let Some(digest) = &campaign.model {
        transaction.execute(model, &[digest, &of_model]).await?;
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

/// The entries with the keys that are `wanted`.
fn json(entries: &BTreeMap<String, String>, wanted: impl Fn(&str) -> bool) -> String {
    let wanted = entries.iter().filter(|(key, _)| wanted(key));
    let wanted = wanted.map(|(key, value)| (key.clone(), serde_json::Value::from(value.as_str())));
    serde_json::Value::Object(wanted.collect()).to_string()
}
