//! From a campaign file to a campaign in the store: inputs are copied under
//! their checksum, so that what was fitted can always be looked at again.

use anyhow::Context;
use bytes::Bytes;
use outshine_schemas::campaign::{Campaign, Estimator, MODEL_FILES, ResolvedCampaign};
use outshine_schemas::digest::Digest;
use outshine_store::Store;
use outshine_store::layout::Layout;

/// Reads the inputs, stores campaign and inputs, and returns the campaign as
/// stored. An existing campaign of the same identity is kept as it is.
///
/// # Errors
/// An input that cannot be read or a store that cannot be written.
pub async fn prepare(store: &Store, campaign: Campaign) -> anyhow::Result<ResolvedCampaign> {
    let (resolved, inputs) = resolve(campaign).await?;
    let layout = Layout::new(&resolved.id());
    for bytes in inputs {
        let path = layout.input(&Digest::of(&bytes));
        if !store.exists(&path).await? {
            store.put(&path, bytes).await?;
        }
    }
    let path = layout.campaign();
    let text = serde_json::to_vec_pretty(&resolved)?;
    let _either = store.put_new(&path, text.into()).await?;
    let stored: ResolvedCampaign = serde_json::from_slice(&store.get(&path).await?)
        .with_context(|| format!("{path}: not a campaign of this version"))?;
    anyhow::ensure!(
        stored.digest() == resolved.digest(),
        "{path}: the stored campaign was changed by hand; restore it or use another store"
    );
    Ok(stored)
}

/// Reads the inputs, which give the campaign its identity; stores nothing.
/// Returns the campaign and its inputs.
///
/// # Errors
/// An input that cannot be read.
pub async fn resolve(campaign: Campaign) -> anyhow::Result<(ResolvedCampaign, Vec<Bytes>)> {
    let pixels = fetch(campaign.field.pixels.as_deref(), "field.pixels").await?;
    let sources = fetch(campaign.field.sources.as_deref(), "field.sources").await?;
    let given = campaign.field.redshifts.as_ref().map(|given| given.table.as_str());
    let redshifts = fetch(given, "field.redshifts.table").await?;
    let digest = |bytes: &Option<Bytes>| bytes.as_ref().map(|b| Digest::of(b));
    let estimator = match &campaign.estimator {
        Estimator::Folder(folder) => {
            let file = |name: &str| format!("{}/{name}", folder.trim_end_matches('/'));
            let [description, weights] = MODEL_FILES.map(file);
            [
                fetch(Some(&description), "estimator").await?,
                fetch(Some(&weights), "estimator").await?,
            ]
        }
        _ => [None, None],
    };
    let resolved = ResolvedCampaign::new(campaign, digest(&pixels), digest(&sources))
        .with_redshifts(digest(&redshifts));
    let [description, weights] = &estimator;
    let digests = digest(description).zip(digest(weights)).map(|(a, b)| [a, b]);
    let resolved = resolved.with_estimator(digests);
    let inputs = [pixels, sources, redshifts].into_iter().chain(estimator).flatten();
    Ok((resolved, inputs.collect()))
}

async fn fetch(place: Option<&str>, key: &str) -> anyhow::Result<Option<Bytes>> {
    let Some(place) = place else { return Ok(None) };
    let what = || format!("{key} = \"{place}\"");
    let bytes = match place.rsplit_once('/') {
        Some((folder, name)) if place.contains("://") => {
            let store = outshine_store::open(folder).await.with_context(what)?;
            store.get(name).await.with_context(what)?
        }
        _ => Bytes::from(tokio::fs::read(place).await.with_context(what)?),
    };
    Ok(Some(bytes))
}
