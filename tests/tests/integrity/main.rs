//! `outshine verify` and `outshine gc` on finished and broken campaigns.

mod damage;
mod gc;
mod mend;
mod unreadable;

use bytes::Bytes;
use outshine_coordinator::verify::{Kind, Report, verify};
use outshine_schemas::campaign::ResolvedCampaign;
use outshine_schemas::task::Stage;
use outshine_store::Store;
use outshine_store::layout::Layout;
use outshine_tests::campaigns::{TINY, products, run_here, tiny};
use outshine_tests::processes::files;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tokio::sync::OnceCell;

/// A finished campaign, made once: every test breaks a copy of its own.
struct Finished {
    campaign: ResolvedCampaign,
    objects: BTreeMap<String, Bytes>,
    products: BTreeMap<String, Bytes>,
}

async fn finished() -> anyhow::Result<&'static Finished> {
    static FINISHED: OnceCell<Finished> = OnceCell::const_new();
    let make = || async {
        let folder = tempfile::tempdir()?;
        let store = outshine_store::open(&folder.path().display().to_string()).await?;
        let ran = run_here(&store, tiny(&[])?, 2).await?;
        let campaign = ran.campaign.clone();
        let products = products(&store, &ran.graph()?).await?;
        anyhow::Ok(Finished { campaign, objects: files(folder.path())?, products })
    };
    FINISHED.get_or_try_init(make).await
}

/// A copy of the finished campaign in a folder, to be broken.
struct Copy {
    folder: TempDir,
    store: Store,
    campaign: ResolvedCampaign,
    layout: Layout,
}

impl Copy {
    async fn new() -> anyhow::Result<Self> {
        let finished = finished().await?;
        let folder = tempfile::tempdir()?;
        for (path, bytes) in &finished.objects {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap_or(folder.path()))?;
            std::fs::write(path, bytes)?;
        }
        let campaign = finished.campaign.clone();
        let layout = Layout::new(&campaign.id());
        let store = outshine_store::open(&folder.path().display().to_string()).await?;
        Ok(Self { folder, store, campaign, layout })
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn url(&self) -> String {
        self.folder.path().display().to_string()
    }

    /// All objects: path and content.
    fn objects(&self) -> anyhow::Result<BTreeMap<String, Bytes>> {
        files(self.folder.path())
    }

    /// The first object below the campaign's folder that `wanted` picks.
    fn first(&self, below: &str, wanted: &str) -> anyhow::Result<String> {
        let folder = format!("{}/{below}/", self.layout.root());
        let all = self.objects()?;
        let found = all.keys().find(|p| p.starts_with(&folder) && p.contains(wanted));
        found.cloned().ok_or_else(|| anyhow::anyhow!("nothing like {wanted} in {folder}"))
    }

    /// Flips one bit in the middle of an object.
    fn flip(&self, path: &str) -> anyhow::Result<()> {
        flip(&self.at(path))
    }

    /// Flips one bit of what follows `text` in an object.
    fn flip_after(&self, path: &str, text: &str) -> anyhow::Result<()> {
        let mut bytes = std::fs::read(self.at(path))?;
        let found = String::from_utf8_lossy(&bytes).find(text);
        let at = found.ok_or_else(|| anyhow::anyhow!("no {text} in {path}"))? + text.len();
        bytes[at] ^= 1;
        Ok(std::fs::write(self.at(path), bytes)?)
    }

    fn remove(&self, path: &str) -> anyhow::Result<()> {
        Ok(std::fs::remove_file(self.at(path))?)
    }

    async fn verify(&self) -> anyhow::Result<Report> {
        Ok(verify(&self.store, &self.campaign, &mut |_| {}).await?)
    }

    /// The paths of the damage found, with its kind.
    async fn damage(&self) -> anyhow::Result<Vec<(Kind, String)>> {
        let report = self.verify().await?;
        Ok(report.damage().map(|f| (f.kind, f.path.clone())).collect())
    }
}

fn flip(path: &Path) -> anyhow::Result<()> {
    let mut bytes = std::fs::read(path)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    Ok(std::fs::write(path, bytes)?)
}

/// The campaign's file, for the command line.
fn campaign_file(folder: &Path) -> anyhow::Result<String> {
    let path = folder.join("tiny.toml");
    std::fs::write(&path, TINY)?;
    Ok(path.display().to_string())
}

/// The task id in the path of a commit record.
fn task_of(commit: &str) -> &str {
    let name = commit.rsplit('/').next().unwrap_or_default();
    name.strip_suffix(".json").unwrap_or_default()
}

/// Every stage that has data.
const STAGES: [Stage; 7] = Stage::ALL;
