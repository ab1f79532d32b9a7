//! What is known of seeds, in a file of one JSON object per line, so that a long
//! run can be cut off and gone on with.

use anyhow::Context;
use outshine_schemas::digest::Digest;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

/// A file of results. Without a file nothing is kept.
pub struct Results {
    file: Option<PathBuf>,
    code: String,
}

/// Digest of what is tested: programs of other code have other results.
///
/// # Errors
/// When one of them cannot be read.
pub fn code_version(programs: &[PathBuf]) -> anyhow::Result<String> {
    let mut all = String::new();
    for program in programs {
        let bytes = std::fs::read(program).with_context(|| program.display().to_string())?;
        all.push_str(Digest::of(&bytes).as_str());
    }
    Ok(Digest::of(all.as_bytes()).as_str()[..16].to_owned())
}

impl Results {
    /// The results in `file` of the code of that version.
    #[must_use]
    pub fn new(file: Option<PathBuf>, code: String) -> Self {
        Self { file, code }
    }

    /// Seeds that have passed with this code.
    ///
    /// # Errors
    /// When the file cannot be read, or a line of it is no result.
    pub fn passed(&self) -> anyhow::Result<BTreeSet<u64>> {
        let Some(file) = self.file.as_deref().filter(|file| file.exists()) else {
            return Ok(BTreeSet::new());
        };
        let name = file.display();
        let text = std::fs::read_to_string(file).with_context(|| name.to_string())?;
        // The last line was cut off where a run was killed in the middle of it.
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        let mut passed = BTreeSet::new();
        for (number, line) in whole.lines().enumerate() {
            let place = || format!("{name}, line {}: no result; remove the line", number + 1);
            let result: Value = serde_json::from_str(line).with_context(place)?;
            let seed = result["seed"].as_u64().with_context(place)?;
            if result["code"] == self.code.as_str() && result["passed"] == true {
                passed.insert(seed);
            }
        }
        Ok(passed)
    }

    /// Adds what came of a seed.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn add(&self, seed: u64, passed: bool, more: Value) -> anyhow::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let place = || file.display().to_string();
        mend_end(file).with_context(place)?;
        let mut line = json!({"seed": seed, "code": self.code, "passed": passed});
        if let (Some(line), Value::Object(more)) = (line.as_object_mut(), more) {
            line.extend(more);
        }
        let mut file =
            OpenOptions::new().create(true).append(true).open(file).with_context(place)?;
        file.write_all(format!("{line}\n").as_bytes()).with_context(place)?;
        Ok(file.sync_all()?)
    }
}

/// Removes a last line that has no end.
fn mend_end(file: &Path) -> std::io::Result<()> {
    let Ok(bytes) = std::fs::read(file) else { return Ok(()) };
    let end = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
    if end == bytes.len() {
        return Ok(());
    }
    OpenOptions::new().write(true).open(file)?.set_len(end as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_passed_with_the_same_code_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("results");
        let of = |code: &str| Results::new(Some(file.clone()), code.to_owned());
        assert!(of("a").passed().unwrap().is_empty());
        of("a").add(1, true, json!({"fired": ["x"]})).unwrap();
        of("a").add(2, false, json!({})).unwrap();
        of("b").add(3, true, json!({})).unwrap();
        assert_eq!(of("a").passed().unwrap(), BTreeSet::from([1]));
        // Killed while it wrote: the line does not count and is in nobody's way.
        let mut text = std::fs::read_to_string(&file).unwrap();
        text.push_str("{\"seed\": 4, \"co");
        std::fs::write(&file, &text).unwrap();
        assert_eq!(of("a").passed().unwrap(), BTreeSet::from([1]));
        of("a").add(5, true, json!({})).unwrap();
        assert_eq!(of("a").passed().unwrap(), BTreeSet::from([1, 5]));
        std::fs::write(&file, "{}\n").unwrap();
        let error = of("a").passed().unwrap_err().to_string();
        assert!(error.contains("results, line 1"), "{error}");
        assert!(Results::new(None, String::new()).passed().unwrap().is_empty());
    }
}
