//! What is fitted.

use super::{Image, Section};
use serde::{Deserialize, Serialize};

/// The bands over which the S/N is averaged where a campaign names none.
pub const SNR_BANDS: [&str; 3] = ["f277w", "f356w", "f444w"];

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
    /// How the pixels lie on the sky, for maps, figures, and `ra` and `dec` of exported
    /// catalogues. No part of the campaign's identity: it changes no result.
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

fn five() -> f64 {
    5.0
}

fn snr_bands() -> Vec<String> {
    SNR_BANDS.map(str::to_owned).to_vec()
}
