//! A complete campaign into a database.

use crate::export::{self, Sky};
use crate::stage_graph::StageGraph;
use crate::words::count;
use anyhow::Context;
use futures::{Stream, TryStreamExt, stream};
use outshine_database::{Campaign, Loaded, Survey, Target};
use outshine_schemas::campaign::ResolvedCampaign;
use outshine_schemas::{provenance, tables};
use outshine_store::Store;
use std::sync::Arc;

/// Loads catalogue and summaries. Campaigns of one `survey` mean the same galaxy
/// by the same id; without a name for it, a campaign keeps the one that it has, or
/// those of the same input share one. Galaxies have places where the `sky` is known.
///
/// # Errors
/// A damaged or missing object, or a database that cannot be loaded: it is then
/// as it was before.
pub async fn load(
    store: &Store,
    campaign: &ResolvedCampaign,
    graph: &StageGraph,
    target: &Target,
    survey: Option<&str>,
    sky: &Sky,
) -> anyhow::Result<Loaded> {
    let table = export::catalogue_table(store, graph, sky).await?;
    let campaign = Campaign {
        campaign: campaign.id().to_string(),
        name: campaign.campaign.name.clone(),
        survey: match survey {
            Some(name) => Survey::Named(name.to_owned()),
            None => Survey::Made(campaign.input().short().to_owned()),
        },
        digest: campaign.digest().to_string(),
        model: table.about.get(provenance::MODEL).cloned(),
        definition: serde_json::to_value(campaign).context("the campaign as JSON")?,
        provenance: table.about.clone(),
    };
    let galaxies = (&table.schema, table.batches.as_slice());
    let pixels = pixels(store, graph).map_err(|error| format!("{error:#}"));
    Ok(outshine_database::load(target, &campaign, galaxies, pixels).await?)
}

/// The summaries, with what is said of their columns.
fn pixels<'a>(
    store: &'a Store,
    graph: &'a StageGraph,
) -> impl Stream<Item = anyhow::Result<arrow::array::RecordBatch>> + 'a {
    let tables = export::summary_tables(store, graph);
    tables
        .and_then(|table| async move {
            let schema = Arc::new(tables::described(table.schema(), &tables::every_summary()));
            let batches = export::with_schema(&schema, table.batches())?;
            Ok(stream::iter(batches.into_iter().map(anyhow::Ok)))
        })
        .try_flatten()
}

/// What was loaded, in words.
#[must_use]
pub fn text(target: &Target, loaded: &Loaded) -> String {
    let Loaded { galaxies, pixels, changed, hints } = loaded;
    let mut text = format!(
        "database {}: {}, {}; {} new or changed",
        target.place(),
        count(*galaxies, "galaxy", "galaxies"),
        count(*pixels, "pixel", "pixels"),
        count(*changed, "row", "rows")
    );
    for hint in hints {
        text = format!("{text}\n{hint}");
    }
    text
}
