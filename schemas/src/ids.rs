//! Identities: the same work always has the same name.

use crate::digest::Digest;
use crate::task::{Shard, Stage};
use crate::{FORMAT_VERSION, SCIENCE_VERSION};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Name of a campaign in the store: its own name and the start of the digest
/// of all that decides its results.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CampaignId(String);

impl CampaignId {
    /// `name-0123456789abcdef`.
    #[must_use]
    pub fn new(name: &str, digest: &Digest) -> Self {
        Self(format!("{name}-{}", digest.short()))
    }

    /// An id as read from a path.
    #[must_use]
    pub fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CampaignId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Name of a task: the hash of all that decides what it makes. The same
/// campaign always plans the same ids.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskId(String);

impl TaskId {
    /// The id of the task that makes `shard` of `stage` from `inputs`.
    #[must_use]
    pub fn derive(campaign: &Digest, stage: Stage, shard: Shard, inputs: &Digest) -> Self {
        Self::of_versions(campaign, stage, shard, inputs, FORMAT_VERSION, SCIENCE_VERSION)
    }

    /// The same for given versions of format and science.
    pub(crate) fn of_versions(
        campaign: &Digest,
        stage: Stage,
        shard: Shard,
        inputs: &Digest,
        format: u32,
        science: u32,
    ) -> Self {
        let digest = Digest::of_parts([
            campaign.as_str().as_bytes(),
            stage.name().as_bytes(),
            &shard.start.to_le_bytes(),
            &shard.end.to_le_bytes(),
            inputs.as_str().as_bytes(),
            &format.to_le_bytes(),
            &science.to_le_bytes(),
        ]);
        Self(digest.as_str()[..32].to_owned())
    }

    /// The id as text: 32 hexadecimal digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ingredient_changes_the_id() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let shard = Shard { start: 0, end: 10 };
        let id = TaskId::derive(&a, Stage::Fit, shard, &b);
        assert_eq!(id, TaskId::derive(&a, Stage::Fit, shard, &b));
        assert_eq!(id.as_str().len(), 32);
        assert_ne!(id, TaskId::derive(&b, Stage::Fit, shard, &b));
        assert_ne!(id, TaskId::derive(&a, Stage::Reduce, shard, &b));
        assert_ne!(id, TaskId::derive(&a, Stage::Fit, Shard { start: 0, end: 11 }, &b));
        assert_ne!(id, TaskId::derive(&a, Stage::Fit, shard, &a));
    }
}
