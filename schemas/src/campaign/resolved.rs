//! A campaign and the content of its inputs.

use super::{Campaign, Estimator, Execution};
use crate::digest::Digest;
use crate::ids::CampaignId;
use crate::outcome::canonical_json;
use serde::{Deserialize, Serialize};

/// A campaign with the content of its inputs known: what is stored and what
/// has an identity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResolvedCampaign {
    /// [`crate::FORMAT_VERSION`] at the time of writing.
    pub version: u32,
    /// [`crate::SCIENCE_VERSION`] at the time of writing.
    pub science_version: u32,
    /// The campaign; `field.pixels` and `field.sources` hold what the user gave.
    pub campaign: Campaign,
    /// SHA-256 of the pixel table, stored under `inputs`.
    pub pixels: Option<Digest>,
    /// SHA-256 of the source table, stored under `inputs`.
    pub sources: Option<Digest>,
    /// SHA-256 of the table of redshift distributions, stored under `inputs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redshifts: Option<Digest>,
    /// SHA-256 of description and weights of an estimator by folder, stored
    /// under `inputs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimator: Option<[Digest; 2]>,
}

impl ResolvedCampaign {
    /// Joins a campaign and the digests of its inputs.
    #[must_use]
    pub fn new(campaign: Campaign, pixels: Option<Digest>, sources: Option<Digest>) -> Self {
        Self {
            version: crate::FORMAT_VERSION,
            science_version: crate::SCIENCE_VERSION,
            campaign,
            pixels,
            sources,
            redshifts: None,
            estimator: None,
        }
    }

    /// The same with a table of redshift distributions.
    #[must_use]
    pub fn with_redshifts(mut self, digest: Option<Digest>) -> Self {
        self.redshifts = digest;
        self
    }

    /// The same with the estimator of a folder.
    #[must_use]
    pub fn with_estimator(mut self, digests: Option<[Digest; 2]>) -> Self {
        self.estimator = digests;
        self
    }

    /// Digest of all that decides the results: everything but where the
    /// inputs were found, how the work is cut and how the field is drawn.
    ///
    /// # Panics
    /// Never: a campaign is always valid JSON.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut plain = self.clone();
        plain.campaign.execution = Execution::default();
        plain.campaign.field.pixels = None;
        plain.campaign.field.sources = None;
        plain.campaign.field.image = None;
        if let Some(given) = &mut plain.campaign.field.redshifts {
            given.table.clear();
        }
        if plain.estimator.is_some() {
            plain.campaign.estimator = Estimator::Folder(String::new());
        }
        let value = serde_json::to_value(&plain).expect("a campaign is valid JSON");
        Digest::of(canonical_json(&value).as_bytes())
    }

    /// Digest of which galaxies are fitted: of the user's tables of pixels and
    /// sources, or of the settings and seed that a mock follows from.
    #[must_use]
    pub fn input(&self) -> Digest {
        let text =
            |digest: &Option<Digest>| digest.as_ref().map(Digest::to_string).unwrap_or_default();
        let mut parts = vec![text(&self.pixels), text(&self.sources)];
        if let Some(mock) = &self.campaign.field.mock {
            parts.push(canonical_json(&mock.clone().into()));
            parts.push(self.campaign.seed.to_string());
        }
        Digest::of_parts(parts.iter().map(String::as_bytes))
    }

    /// The campaign's name in the store.
    #[must_use]
    pub fn id(&self) -> CampaignId {
        CampaignId::new(&self.campaign.name, &self.digest())
    }
}
