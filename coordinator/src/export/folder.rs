//! A folder of products. What lies in it is whole: files and folders are
//! written beside their place, then moved there.

use anyhow::Context;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// What a name has while it is written.
const PARTIAL: &str = ".partial";

/// A folder to write to.
pub struct Folder(PathBuf);

impl Folder {
    /// Makes the folder, if it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make(path: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(path).with_context(|| cannot("be made", path))?;
        Ok(Self(path.to_owned()))
    }

    /// Writes a file; `name` may have folders.
    ///
    /// # Errors
    /// When it cannot be written: what was there before stays.
    pub fn put(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let path = self.0.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).with_context(|| cannot("be made", parent))?;
        }
        let partial = self.0.join(format!("{name}{PARTIAL}"));
        // On the disk first: a name that outlives a power cut would else be of a file cut short.
        let written = File::create(&partial).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
        written.with_context(|| cannot("be written", &partial))?;
        std::fs::rename(&partial, &path).with_context(|| cannot("be written", &path))
    }

    /// A folder in this one, under way; what an earlier try left of it goes.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn begin(&self, name: &str) -> anyhow::Result<Self> {
        let partial = self.0.join(format!("{name}{PARTIAL}"));
        remove(&partial)?;
        Self::make(&partial)
    }

    /// Puts what [`Folder::begin`] began in its place, instead of what is there.
    ///
    /// # Errors
    /// When it cannot be moved.
    pub fn finish(&self, name: &str, begun: Self) -> anyhow::Result<()> {
        let path = self.0.join(name);
        remove(&path)?;
        std::fs::rename(&begun.0, &path).with_context(|| cannot("be written", &path))
    }

    /// Removes a file or a folder, if it is there.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self, name: &str) -> anyhow::Result<()> {
        let path = self.0.join(name);
        if path.is_dir() {
            return remove(&path);
        }
        gone(std::fs::remove_file(&path), &path)
    }
}

fn remove(folder: &Path) -> anyhow::Result<()> {
    gone(std::fs::remove_dir_all(folder), folder)
}

/// What was not there is gone as well.
fn gone(removed: std::io::Result<()>, path: &Path) -> anyhow::Result<()> {
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| cannot("be removed", path))
        }
        _ => Ok(()),
    }
}

fn cannot(what: &str, path: &Path) -> String {
    format!(
        "{} cannot {what}: name a folder that you may write to, on a disk with room",
        path.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_under_way_replaces_the_old_one_when_it_is_done() {
        let root = std::env::temp_dir().join(format!("outshine-folder-{}", std::process::id()));
        let folder = Folder::make(&root).unwrap();
        folder.put("parts/old", b"1").unwrap();
        // A try that ended early leaves nothing to the next.
        folder.begin("parts").unwrap().put("rubbish", b"2").unwrap();
        let begun = folder.begin("parts").unwrap();
        begun.put("new", b"3").unwrap();
        assert!(root.join("parts/old").exists() && !root.join("parts/new").exists());
        folder.finish("parts", begun).unwrap();
        let names: Vec<_> = std::fs::read_dir(root.join("parts")).unwrap().flatten().collect();
        assert_eq!(names.len(), 1);
        assert!(root.join("parts/new").exists() && !root.join("parts.partial").exists());
        for name in ["parts/new", "parts", "parts"] {
            folder.remove(name).unwrap();
            assert!(!root.join(name).exists());
        }
        folder.put("parts/new", b"3").unwrap();
        let error = folder.put("parts/new/below", b"4").unwrap_err().to_string();
        assert!(error.contains("parts/new") && error.contains("name a folder"), "{error}");
        std::fs::remove_dir_all(root).unwrap();
    }
}
