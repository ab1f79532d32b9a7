//! The campaign: one TOML file that says what to fit, with which model, and
//! how the work is cut.
//!
//! Sections that only the science understands (`model`, `prior`, `noise`,
//! `coverage`, `train`, `field.mock`, `calibrate.tolerance`) travel through
//! here unread; the worker reads them strictly, key by key.

mod field;
mod image;
mod resolved;
mod steps;
#[cfg(test)]
mod tests;

pub use field::{Field, GivenRedshifts, Meaning, SNR_BANDS};
pub use image::{Image, Keyword};
pub use resolved::ResolvedCampaign;
pub use steps::{Calibrate, Execution, Fit, KeepDraws, Reduce, Refine, Simulate};

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A section that the science reads.
pub type Section = serde_json::Map<String, serde_json::Value>;

/// What a user writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Campaign {
    /// Short name: letters, digits, `-` and `_`. Part of every path.
    pub name: String,
    /// Seed of every random number.
    #[serde(default = "one")]
    pub seed: u64,
    /// The bands the model is trained for, in order. Default: the 19 of JADES.
    #[serde(default = "jades_bands")]
    pub bands: Vec<String>,
    /// What is fitted.
    pub field: Field,
    /// Where the estimator comes from.
    #[serde(default)]
    pub estimator: Estimator,
    /// Forward model.
    #[serde(default)]
    pub model: Section,
    /// Prior.
    #[serde(default)]
    pub prior: Section,
    /// Noise model: empty for the embedded one.
    #[serde(default)]
    pub noise: Section,
    /// Which depths and band subsets the model is trained for.
    #[serde(default)]
    pub coverage: Section,
    /// Training set.
    #[serde(default)]
    pub simulate: Simulate,
    /// Training.
    #[serde(default)]
    pub train: Section,
    /// Calibration.
    #[serde(default)]
    pub calibrate: Calibrate,
    /// Posterior draws.
    #[serde(default)]
    pub fit: Fit,
    /// Pixels to galaxies.
    #[serde(default)]
    pub reduce: Reduce,
    /// How the work is cut and done. No part of the campaign's identity: it
    /// changes no result.
    #[serde(default)]
    pub execution: Execution,
}

/// Files of an estimator: description and weights.
pub const MODEL_FILES: [&str; 2] = ["model.json", "model.safetensors"];

/// Where the estimator comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Estimator {
    /// `shipped`: the one that comes with the program, for the prior's family.
    #[default]
    Shipped,
    /// `train`: simulated for and trained in this campaign.
    Train,
    /// A folder (a path or URL) with `model.json` and `model.safetensors`.
    Folder(String),
}

impl From<String> for Estimator {
    fn from(text: String) -> Self {
        match text.as_str() {
            "shipped" => Self::Shipped,
            "train" => Self::Train,
            _ => Self::Folder(text),
        }
    }
}

impl From<Estimator> for String {
    fn from(estimator: Estimator) -> Self {
        match estimator {
            Estimator::Shipped => "shipped".into(),
            Estimator::Train => "train".into(),
            Estimator::Folder(folder) => folder,
        }
    }
}

fn one() -> u64 {
    1
}
fn jades_bands() -> Vec<String> {
    [
        "f435w", "f606w", "f775w", "f814w", "f850lp", "f090w", "f115w", "f150w", "f182m", "f200w",
        "f210m", "f277w", "f335m", "f356w", "f410m", "f430m", "f444w", "f460m", "f480m",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// What is wrong with a campaign file; always names the file.
#[derive(Debug, thiserror::Error)]
pub enum CampaignError {
    /// The file cannot be read.
    #[error("{file}: cannot be read: {source}")]
    Unreadable {
        /// The file.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no TOML, or has an unknown, missing or mistyped key.
    #[error("{file}: {message}")]
    Malformed {
        /// The file.
        file: String,
        /// The parser's words, with line and key.
        message: String,
    },
    /// A key's value cannot be used.
    #[error("{file}: {key}: {problem}")]
    Invalid {
        /// The file.
        file: String,
        /// The key, dotted.
        key: String,
        /// What is wrong and how to mend it.
        problem: String,
    },
}

impl Campaign {
    /// Reads a campaign file and applies `key=value` settings on top.
    /// Relative input paths in the file are relative to the file's folder;
    /// those given as settings are relative to the working directory.
    ///
    /// # Errors
    /// [`CampaignError`], naming file, key and mend.
    pub fn load(path: &Path, settings: &[String]) -> Result<Self, CampaignError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|source| CampaignError::Unreadable { file: file.clone(), source })?;
        let folder = path.parent().unwrap_or(Path::new("."));
        Self::parse(&text, &file, folder, settings)
    }

    /// As [`Campaign::load`], from text.
    ///
    /// # Errors
    /// [`CampaignError`], naming file, key and mend.
    pub fn parse(
        text: &str,
        file: &str,
        folder: &Path,
        settings: &[String],
    ) -> Result<Self, CampaignError> {
        let malformed = |message: String| CampaignError::Malformed { file: file.into(), message };
        let mut table: toml::Table = text
            .parse()
            .map_err(|e: toml::de::Error| malformed(e.to_string().trim_end().to_owned()))?;
        for key in ["pixels", "sources"] {
            if let Some(toml::Value::String(path)) =
                table.get_mut("field").and_then(|f| f.get_mut(key))
            {
                *path = relative_to(folder, path);
            }
        }
        if let Some(toml::Value::String(path)) =
            table.get_mut("field").and_then(|f| f.get_mut("redshifts")?.get_mut("table"))
        {
            *path = relative_to(folder, path);
        }
        if let Some(toml::Value::String(name)) = table.get_mut("estimator")
            && !["shipped", "train"].contains(&name.as_str())
        {
            *name = relative_to(folder, name);
        }
        for setting in settings {
            apply_setting(&mut table, setting).map_err(|problem| CampaignError::Invalid {
                file: file.into(),
                key: format!("--set {setting}"),
                problem,
            })?;
        }
        // Through text, so that the error shows the key in its section.
        let campaign: Self = toml::Value::Table(table)
            .try_into()
            .map_err(|e: toml::de::Error| malformed(e.to_string().trim_end().to_owned()))?;
        campaign.check(file)?;
        Ok(campaign)
    }

    fn check(&self, file: &str) -> Result<(), CampaignError> {
        let invalid = |key: &str, problem: String| {
            Err(CampaignError::Invalid { file: file.into(), key: key.into(), problem })
        };
        let good_name = !self.name.is_empty()
            && self.name.len() <= 64
            && self.name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        if !good_name {
            return invalid("name", "use 1 to 64 letters, digits, `-` or `_`".into());
        }
        match (&self.field.pixels, &self.field.mock) {
            (None, None) => {
                return invalid(
                    "field",
                    "say what to fit: `pixels = \"table.parquet\"`, or a `[field.mock]` section"
                        .into(),
                );
            }
            (Some(_), Some(_)) => {
                return invalid("field", "`pixels` and `mock` exclude each other".into());
            }
            _ => {}
        }
        if self.field.sources.is_some() && self.field.pixels.is_none() {
            return invalid("field.sources", "needs `field.pixels`".into());
        }
        let mut seen = std::collections::BTreeSet::new();
        for band in &self.bands {
            if !seen.insert(band) {
                return invalid("bands", format!("`{band}` is listed twice"));
            }
        }
        if self.bands.is_empty() {
            return invalid("bands", "list at least one band".into());
        }
        if self.field.snr_bands.is_empty() {
            return invalid("field.snr_bands", "list at least one band".into());
        }
        for band in &self.field.snr_bands {
            if !seen.contains(band) {
                return invalid(
                    "field.snr_bands",
                    format!("`{band}` is not among `bands`: add it there or leave it out here"),
                );
            }
        }
        if let Some(image) = &self.field.image
            && let Err((key, problem)) = image.check(&self.bands)
        {
            return invalid(&format!("field.image.{key}"), problem);
        }
        if !(0.0..=1.0).contains(&self.field.systematic) {
            return invalid("field.systematic", "must be a fraction, 0 to 1".into());
        }
        if !self.field.min_mean_snr.is_finite() {
            return invalid("field.min_mean_snr", "must be a finite number".into());
        }
        if !self.fit.refine_mean_snr.is_finite() {
            return invalid("fit.refine_mean_snr", "must be a finite number".into());
        }
        if !(0.0..=1.0).contains(&self.reduce.pixel_correlation) {
            return invalid("reduce.pixel_correlation", "must be from 0 to 1".into());
        }
        if self.calibrate.cross_prior > 10_000_000 {
            return invalid("calibrate.cross_prior", "must be at most 10000000".into());
        }
        let e = &self.execution;
        for (key, value, limit) in [
            ("simulate.count", self.simulate.count, 1_000_000_000),
            ("calibrate.count", self.calibrate.count, 10_000_000),
            ("calibrate.draws", self.calibrate.draws.into(), 100_000),
            ("fit.draws", self.fit.draws.into(), 100_000),
            ("fit.redshifts", self.fit.redshifts.into(), 10_000),
            (
                "field.background_cell_px",
                self.field.background_cell_px.unwrap_or(1).into(),
                100_000,
            ),
            ("execution.simulations_per_task", e.simulations_per_task, u64::MAX),
            ("execution.epochs_per_task", e.epochs_per_task, 100_000),
            // The draws of a tile are in memory together: 9 MB a block.
            ("execution.blocks_per_task", e.blocks_per_task, 32),
            ("execution.galaxies_per_task", e.galaxies_per_task, u64::MAX),
            ("execution.queue_window", e.queue_window, 100_000),
            ("execution.max_losses", e.max_losses.into(), 15),
            ("execution.stall_seconds", e.stall_seconds, 1_000_000),
        ] {
            if value == 0 || value > limit {
                return invalid(key, format!("must be between 1 and {limit}, not {value}"));
            }
        }
        Ok(())
    }
}

fn relative_to(folder: &Path, path: &str) -> String {
    if path.contains("://") || Path::new(path).is_absolute() {
        return path.to_owned();
    }
    let joined: PathBuf = folder.join(path);
    joined.display().to_string()
}

/// Sets a dotted key. The value is read as TOML, or as text where it is none.
fn apply_setting(table: &mut toml::Table, setting: &str) -> Result<(), String> {
    let (key, text) = setting.split_once('=').ok_or("write it as key=value")?;
    let value = format!("v = {text}")
        .parse::<toml::Table>()
        .ok()
        .and_then(|mut t| if t.len() == 1 { t.remove("v") } else { None })
        .unwrap_or_else(|| toml::Value::String(text.to_owned()));
    let mut parts: Vec<&str> = key.trim().split('.').collect();
    let last = parts.pop().filter(|p| !p.is_empty()).ok_or("the key is empty")?;
    let mut section = table;
    for part in parts {
        section = section
            .entry(part)
            .or_insert_with(|| toml::Value::Table(toml::Table::new()))
            .as_table_mut()
            .ok_or_else(|| format!("`{part}` is a value, not a section"))?;
    }
    section.insert(last.to_owned(), value);
    Ok(())
}
