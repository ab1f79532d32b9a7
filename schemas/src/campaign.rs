//! The campaign: one TOML file that says what to fit, with which model, and
//! how the work is cut.
//!
//! Sections that only the science understands (`model`, `prior`, `noise`,
//! `coverage`, `train`, `field.mock`, `calibrate.tolerance`) travel through
//! here unread; the worker reads them strictly, key by key.

mod image;
mod resolved;

pub use image::{Image, Keyword};
pub use resolved::ResolvedCampaign;

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The bands over which the S/N is averaged where a campaign names none.
pub const SNR_BANDS: [&str; 3] = ["f277w", "f356w", "f444w"];

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

/// What is fitted: either the user's pixels or a mock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// Parquet table of pixels (a path or URL).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pixels: Option<String>,
    /// Parquet table that says which pixel belongs to which galaxy. Not
    /// needed where the pixel table has the columns itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sources: Option<String>,
    /// Distributions of the redshifts of galaxies where none is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redshifts: Option<GivenRedshifts>,
    /// A mock field with known truth instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mock: Option<Section>,
    /// How the pixels lie on the sky, for maps and figures. No part of the
    /// campaign's identity: it changes no result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// Side of the cells in which the background is measured, in pixels;
    /// absent: the input is taken as background-subtracted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub background_cell_px: Option<u32>,
    /// Systematic error as a fraction of the flux, added in quadrature to the
    /// errors of pixels and of their sums: what zero points, templates and PSF
    /// matching leave. It does not average down over pixels.
    #[serde(default)]
    pub systematic: f64,
    /// Pixels with a lower mean S/N are not fitted.
    #[serde(default = "five")]
    pub min_mean_snr: f64,
    /// The bands over which the S/N is averaged.
    #[serde(default = "snr_bands")]
    pub snr_bands: Vec<String>,
}

/// A table of redshift distributions. A galaxy whose redshift is known has no
/// use for its own; one that is not in the table has its redshift fitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GivenRedshifts {
    /// Parquet table (a path or URL) of `galaxy_id`, `redshift` and `density`,
    /// one row per node; linear between a galaxy's nodes, 0 outside.
    pub table: String,
    /// What they are.
    pub meaning: Meaning,
}

/// What a given distribution of redshift is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Meaning {
    /// Known apart from these fluxes (a number density, a cluster, a grism):
    /// multiplied by what the fluxes say.
    Prior,
    /// Made from these fluxes (a photometric redshift): replaces the fit, as
    /// to multiply by it would count the fluxes twice.
    Posterior,
}

/// Size of the training set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Simulate {
    /// Number of simulations: those of one epoch of training.
    pub count: u64,
    /// Whether every epoch of training makes new ones, as it goes, instead of
    /// observing those of the first epoch anew.
    pub fresh: bool,
}

impl Default for Simulate {
    fn default() -> Self {
        Self { count: 100_000, fresh: true }
    }
}

/// The test that a model must pass before it fits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Calibrate {
    /// Half the number of simulations: about half of them are single pixels,
    /// half integrated galaxies.
    pub count: u64,
    /// Posterior draws per simulation.
    pub draws: u32,
    /// Whether `fit` refuses a model that failed.
    pub required: bool,
    /// What counts as passed.
    pub tolerance: Section,
    /// Simulations of the other family of histories on which the model is
    /// tested; 0: none. No model passes or fails by them.
    pub cross_prior: u64,
}

impl Default for Calibrate {
    fn default() -> Self {
        Self {
            count: 10_000,
            draws: 500,
            required: true,
            tolerance: Section::new(),
            cross_prior: 0,
        }
    }
}

/// Which draws are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeepDraws {
    /// Every parameter.
    All,
    /// The masses and the star-formation rate.
    Masses,
    /// None: the summaries and sums remain, and draws can be made again.
    None,
}

/// Which objects of known redshift have their posterior sampled with the
/// forward model itself, from the estimator's draws as guesses, where the data are
/// sharper than the estimator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Refine {
    /// None: the estimator's draws are the result.
    None,
    /// Galaxies as one object.
    Integrated,
    /// Galaxies as one object, and their pixels.
    All,
}

/// Posterior draws.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fit {
    /// Draws per pixel.
    pub draws: u32,
    /// Which of them are stored.
    pub keep: KeepDraws,
    /// Redshifts, equally probable, over which the draws of a galaxy of
    /// unknown redshift are spread.
    pub redshifts: u32,
    /// Whether summaries say what redshift each pixel would have by itself,
    /// whatever that of its galaxy: another source behind or before it shows.
    pub pixel_redshifts: bool,
    /// What is refined.
    pub refine: Refine,
    /// Mean S/N from which it is.
    pub refine_mean_snr: f64,
}

impl Default for Fit {
    fn default() -> Self {
        Self {
            draws: 500,
            keep: KeepDraws::All,
            redshifts: 50,
            pixel_redshifts: false,
            refine: Refine::None,
            refine_mean_snr: 20.0,
        }
    }
}

/// How the work is cut and done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Execution {
    /// Simulations per task.
    pub simulations_per_task: u64,
    /// Training epochs per task.
    pub epochs_per_task: u64,
    /// Blocks of up to 512 pixels per fit task.
    pub blocks_per_task: u64,
    /// Galaxies per reduce task.
    pub galaxies_per_task: u64,
    /// Tasks on the queue at a time.
    pub queue_window: u64,
    /// Seconds without any commit after which waiting tasks are published
    /// again, should the broker have lost them. Must be above the longest task.
    pub stall_seconds: u64,
    /// How often a task is published again before the campaign gives up.
    pub max_republish: u32,
    /// How often a task may be lost while it is all that its worker does, before
    /// it counts as failed.
    pub max_losses: u32,
    /// How many tasks of fit and of reduce may fail before the campaign stops;
    /// up to that, it ends without what they would have made. 0: it stops at
    /// the first.
    pub max_failed_tasks: u64,
}

impl Default for Execution {
    fn default() -> Self {
        Self {
            simulations_per_task: 5_000,
            epochs_per_task: 10,
            blocks_per_task: 4,
            galaxies_per_task: 16,
            queue_window: 256,
            stall_seconds: 600,
            max_republish: 3,
            max_losses: 3,
            max_failed_tasks: 100,
        }
    }
}

fn one() -> u64 {
    1
}
fn five() -> f64 {
    5.0
}
fn snr_bands() -> Vec<String> {
    SNR_BANDS.map(str::to_owned).to_vec()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    const MINIMAL: &str = "name = \"a\"\n[field]\npixels = \"p.parquet\"\n";

    fn parse(text: &str, settings: &[&str]) -> Result<Campaign, CampaignError> {
        let settings: Vec<String> = settings.iter().map(|s| (*s).to_owned()).collect();
        Campaign::parse(text, "test.toml", Path::new("folder"), &settings)
    }

    #[test]
    fn an_unknown_key_is_named() {
        let error = parse(&format!("{MINIMAL}min_snr = 3\n"), &[]).unwrap_err().to_string();
        assert!(error.contains("test.toml") && error.contains("min_snr"), "{error}");
        let error = parse(MINIMAL, &["fit.draw=3"]).unwrap_err().to_string();
        assert!(error.contains("draw"), "{error}");
    }

    #[test]
    fn settings_reach_every_depth() {
        let c = parse(MINIMAL, &["fit.draws=7", "fit.keep=masses", "train.blocks=2", "seed=5"])
            .unwrap();
        assert_eq!((c.fit.draws, c.fit.keep, c.seed), (7, KeepDraws::Masses, 5));
        assert_eq!(c.train["blocks"], 2);
        assert_eq!(c.field.pixels.as_deref(), Some("folder/p.parquet"));
        let c = parse(MINIMAL, &["field.pixels=q.parquet"]).unwrap();
        assert_eq!(c.field.pixels.as_deref(), Some("q.parquet"));
    }

    #[test]
    fn impossible_values_are_refused() {
        for (setting, named) in [
            ("name=\"a/b\"", "name"),
            ("fit.draws=0", "fit.draws"),
            ("bands=[\"f090w\",\"f090w\"]", "bands"),
            ("field.snr_bands=[\"k\"]", "field.snr_bands"),
            ("field.mock.galaxies=3", "field"),
            ("execution.queue_window=0", "execution.queue_window"),
            ("fit.refine_mean_snr=inf", "fit.refine_mean_snr"),
            ("field.image.pixel_scale_arcsec=-1", "field.image.pixel_scale_arcsec"),
            ("field.image.wcs.CRPIX1=1", "field.image.wcs.CTYPE1"),
        ] {
            let error = parse(MINIMAL, &[setting]).unwrap_err().to_string();
            assert!(error.contains(named), "{setting}: {error}");
        }
        assert!(parse("name = \"a\"\n[field]\n", &[]).is_err());
    }

    #[test]
    fn identity_ignores_how_work_is_cut_and_where_input_lies() {
        let resolve = |c: Campaign| ResolvedCampaign::new(c, Some(Digest::of(b"p")), None);
        let base = resolve(parse(MINIMAL, &[]).unwrap()).digest();
        let settings = [
            "execution.blocks_per_task=1",
            "field.pixels=elsewhere",
            "field.image.psf_fwhm_arcsec=0.2",
        ];
        let same = parse(MINIMAL, &settings);
        assert_eq!(base, resolve(same.unwrap()).digest());
        for other in ["seed=2", "fit.draws=10", "prior.a_v=[0,1]", "field.min_mean_snr=3"] {
            assert_ne!(base, resolve(parse(MINIMAL, &[other]).unwrap()).digest(), "{other}");
        }
        let changed = ResolvedCampaign::new(parse(MINIMAL, &[]).unwrap(), None, None);
        assert_ne!(base, changed.digest());
    }
}
