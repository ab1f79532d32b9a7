//! The invariants: what must hold of a disturbed campaign.

use super::CAMPAIGN;
use super::lane::Lane;
use super::schedule::Schedule;
use crate::campaigns::differences;
use crate::processes::{files, outshine_ok};
use anyhow::{Context, ensure};
use bytes::Bytes;
use outshine_schemas::outcome::CommitRecord;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The campaign as it comes out where nothing happens.
pub struct Reference {
    /// The campaign file.
    pub campaign: PathBuf,
    /// Its folder in any store.
    pub root: String,
    /// What every task made: path of the commit record and digest of its data.
    pub commits: BTreeMap<String, String>,
    products: BTreeMap<String, Bytes>,
}

impl Reference {
    /// Runs the campaign in one process on a folder.
    ///
    /// # Errors
    /// When it fails.
    pub fn make(folder: &Path) -> anyhow::Result<Self> {
        let campaign = folder.join("chaos.toml");
        std::fs::write(&campaign, CAMPAIGN)?;
        let text = |path: &Path| path.display().to_string();
        let (file, store, out) =
            (text(&campaign), text(&folder.join("store")), text(&folder.join("products")));
        outshine_ok(&["run", &file, "--store", &store, "--export", &out], &[])?;
        let mut commits = BTreeMap::new();
        for (path, bytes) in files(&folder.join("store"))? {
            if is_commit(&path) {
                commits.insert(path.clone(), digest(&path, &bytes)?);
            }
        }
        let first = commits.keys().next().context("the campaign has no commits")?;
        let root = first.split("/commits/").next().unwrap_or_default().to_owned();
        let products = files(&folder.join("products"))?;
        ensure!(products.contains_key("catalogue.parquet"), "no catalogue: {:?}", products.keys());
        Ok(Self { campaign, root, commits, products })
    }

    /// Products in `folder` that are not, byte for byte, those of this campaign;
    /// any that are missing or too many.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn other_products(&self, folder: &Path) -> anyhow::Result<Vec<String>> {
        Ok(differences(&self.products, &files(folder)?))
    }

    /// Number of its tasks.
    #[must_use]
    pub fn tasks(&self) -> u64 {
        self.commits.len() as u64
    }
}

fn is_commit(path: &str) -> bool {
    path.contains("/commits/") && path.ends_with(".json")
}

fn digest(path: &str, bytes: &[u8]) -> anyhow::Result<String> {
    let record: CommitRecord = serde_json::from_slice(bytes).with_context(|| path.to_owned())?;
    Ok(record.data_digest.to_string())
}

/// Holds the campaign that a schedule has run to the undisturbed one: the same
/// tasks with the same data and no others, nothing damaged, missing or failed,
/// no dead letter, and the same bytes in every product.
///
/// # Errors
/// What does not hold.
pub fn check(
    lane: &Lane,
    schedule: &Schedule,
    reference: &Reference,
    folder: &Path,
) -> anyhow::Result<()> {
    let store = lane.open(schedule)?;
    let mut commits = BTreeMap::new();
    for entry in lane.block(store.list(&format!("{}/commits", reference.root)))? {
        let bytes = lane.block(store.get(&entry.path))?;
        commits.insert(entry.path.clone(), digest(&entry.path, &bytes)?);
    }
    let other = differences(&reference.commits, &commits);
    ensure!(other.is_empty(), "commits that are not those of the undisturbed campaign: {other:?}");

    let campaign = reference.campaign.to_str().context("a path that is no text")?;
    let environment = lane.environment(schedule);
    let url = Lane::store_url(schedule);
    let said = outshine_ok(&["verify", campaign, "--store", &url], &environment)?;
    let odd = odd_lines(&said);
    ensure!(odd.is_empty(), "`outshine verify` says: {odd:?}");

    let dead = lane.dead_letters()?;
    ensure!(dead == 0, "{dead} dead letters");

    let out = folder.join("products");
    let to = out.display().to_string();
    outshine_ok(&["catalogue", "export", campaign, "--store", &url, "--to", &to], &environment)?;
    let other = reference.other_products(&out)?;
    ensure!(other.is_empty(), "products that differ from the undisturbed ones: {other:?}");
    std::fs::remove_dir_all(&out)?;
    Ok(())
}

/// What `outshine verify` said besides orphans and that all is well.
#[must_use]
pub fn odd_lines(said: &str) -> Vec<&str> {
    let orphan = |line: &str| line.trim_start().starts_with("orphan ");
    let well =
        |line: &str| line.starts_with("campaign ") || line.ends_with("; 0 planned tasks wait");
    said.lines().filter(|line| !orphan(line) && !well(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_commits_are_noticed() {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
        };
        let one = map(&[("a", "1"), ("b", "2")]);
        assert!(differences(&one, &one.clone()).is_empty());
        assert_eq!(differences(&one, &map(&[("a", "1")])), ["b"]);
        assert_eq!(differences(&map(&[("a", "1")]), &one), ["b"]);
        assert_eq!(differences(&one, &map(&[("a", "1"), ("b", "3")])), ["b"]);
    }

    #[test]
    fn findings_other_than_orphans_are_noticed() {
        let well = "campaign chaos-1\n    orphan  data/a: left\n4 commit records and 5 files (9 bytes) \
                    were checked; 0 planned tasks wait\n";
        assert!(odd_lines(well).is_empty());
        for odd in [
            "    failed  failures/a: no",
            "     stray  commits/a: x",
            "1 file; 3 planned tasks wait",
        ] {
            assert_eq!(odd_lines(&format!("{well}{odd}\n")), [odd]);
        }
    }
}
