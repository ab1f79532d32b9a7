//! Campaigns that take over an estimator instead of training one.

use bytes::Bytes;
use outshine_schemas::campaign::Campaign;
use outshine_schemas::digest::Digest;
use outshine_schemas::provenance;
use outshine_schemas::task::Stage;
use outshine_store::parquet;
use outshine_tests::campaigns::{TINY, differences, products, run_here, tiny};
use std::collections::BTreeMap;
use std::path::Path;

/// [`TINY`] without its training, with the estimator of `folder`.
fn taking(folder: &Path, settings: &[&str]) -> anyhow::Result<Campaign> {
    let (before, rest) = TINY.split_once("[simulate]").expect("a section");
    let (_, after) = rest.split_once("[calibrate]").expect("a section");
    let text = format!("{before}[calibrate]{after}");
    let mut all = vec![format!("estimator={}", folder.display())];
    all.extend(settings.iter().map(|s| (*s).to_owned()));
    Ok(Campaign::parse(&text, "tiny.toml", Path::new("."), &all)?)
}

async fn exported(folder: &Path, settings: &[&str]) -> anyhow::Result<BTreeMap<String, Bytes>> {
    let store = outshine_store::open("memory:").await?;
    let graph = run_here(&store, tiny(settings)?, 2).await?.graph()?;
    let files = products(&store, &graph).await?;
    for name in ["model.json", "model.safetensors"] {
        std::fs::write(folder.join(name), &files[&format!("model/{name}")])?;
    }
    Ok(files)
}

/// Tables without what they say of their campaign; other files as they are.
fn contents(files: BTreeMap<String, Bytes>) -> anyhow::Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    for (name, bytes) in files {
        if !name.ends_with(".parquet") {
            all.insert(name, Digest::of(&bytes).to_string());
            continue;
        }
        let table = parquet::decode(&name, bytes, None)?;
        let said = table.metadata().iter().map(|(key, value)| {
            let lines = value.lines().filter(|line| !line.contains(provenance::CAMPAIGN));
            (key.as_str(), lines.collect::<String>())
        });
        let is_own =
            |key: &str| ![provenance::CAMPAIGN, provenance::CAMPAIGN_DIGEST].contains(&key);
        let said: Vec<_> = said.filter(|(key, _)| is_own(key)).collect();
        let rows = parquet::encode(table.schema(), table.batches(), &[], 4096)?;
        all.insert(name, format!("{said:?} {}", Digest::of(&rows)));
    }
    Ok(all)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_estimator_by_folder_fits_as_where_it_was_trained() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let trained = exported(folder.path(), &[]).await?;
    let store = outshine_store::open("memory:").await?;
    let ran = run_here(&store, taking(folder.path(), &[])?, 2).await?;
    let (campaign, graph) = (ran.campaign.clone(), ran.graph()?);
    assert!(graph.commits(Stage::Simulate).is_empty());
    let taken = products(&store, &graph).await?;
    assert_eq!(differences(&contents(trained)?, &contents(taken)?), Vec::<String>::new());

    // The campaign holds its own copy: another file in the folder is another campaign.
    let weights = folder.path().join("model.safetensors");
    let mut bytes = std::fs::read(&weights)?;
    *bytes.last_mut().expect("no empty file") ^= 1;
    std::fs::write(&weights, bytes)?;
    let ran = run_here(&store, taking(folder.path(), &[])?, 2).await?;
    assert_ne!(ran.campaign.id(), campaign.id());
    let error = ran.graph().unwrap_err().to_string();
    assert!(
        error.contains("do not belong together") || error.contains("cannot be read"),
        "{error}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_estimator_of_something_else_is_refused() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let few = "bands=[\"f115w\", \"f200w\", \"f277w\", \"f356w\", \"f444w\"]";
    exported(folder.path(), &[few, "train.max_epochs=1"]).await?;
    for (setting, words) in [
        ("prior.a_v=[0.0, 3.0]", "its prior is"),
        ("model.log_u=-3.0", "its forward model is"),
        ("seed=7", "`f435w` is none of the bands that it knows: f115w, f200w"),
        ("train.hidden=64", "the campaign trains nothing"),
    ] {
        let store = outshine_store::open("memory:").await?;
        let ran = run_here(&store, taking(folder.path(), &[setting])?, 2).await?;
        let error = ran.graph().unwrap_err().to_string();
        assert!(error.contains(words), "{setting}: {error}");
        assert!(error.contains("estimator = \"train\""), "{setting}: {error}");
    }
    let missing = taking(&folder.path().join("nowhere"), &[])?;
    let store = outshine_store::open("memory:").await?;
    let error = format!("{:#}", run_here(&store, missing, 2).await.err().expect("no such folder"));
    assert!(error.contains("estimator") && error.contains("nowhere"), "{error}");
    Ok(())
}

/// Fewer bands than the estimator knows: the others count as not observed.
#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_may_have_some_of_the_bands() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    exported(folder.path(), &[]).await?;
    let store = outshine_store::open("memory:").await?;
    let bands = "bands=[\"f444w\", \"f356w\", \"f277w\", \"f200w\", \"f115w\", \"f814w\"]";
    let graph = run_here(&store, taking(folder.path(), &[bands])?, 2).await?.graph()?;
    assert!(!graph.commits(Stage::Fit).is_empty());
    Ok(())
}
