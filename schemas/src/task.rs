//! The unit of work that travels on the queue.

use crate::digest::Digest;
use crate::ids::{CampaignId, TaskId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What the queues of tasks are called, before their class; the version is that
/// of the messages.
const QUEUE: &str = "outshine.tasks.v1";

/// Kinds of machines that tasks ask for. All tasks travel on the queue of
/// [`Class::Fit`], unless a campaign's run gives a class its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Everything but training: short tasks, many at a time.
    Fit,
    /// Training: one long task after another, with many threads.
    Train,
}

impl Class {
    /// All classes.
    pub const ALL: [Self; 2] = [Self::Fit, Self::Train];

    /// Its name on command lines.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fit => "fit",
            Self::Train => "train",
        }
    }

    /// Its queue.
    #[must_use]
    pub fn queue(self) -> String {
        format!("{QUEUE}.{}", self.name())
    }
}

impl std::str::FromStr for Class {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|class| class.name() == name);
        found.ok_or_else(|| format!("there is no class `{name}`: fit, train"))
    }
}

/// The stages of a campaign, in the order in which they can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Make the table of pixels to fit: from the user's tables, or a mock.
    Field,
    /// Draw parameters from the prior and compute their noiseless photometry.
    Simulate,
    /// Train the posterior estimator, span by span.
    Train,
    /// Test the estimator on simulations that it has not seen.
    Calibrate,
    /// Draw from the posterior of every pixel of a tile.
    Fit,
    /// Sum pixels to galaxies and fit each galaxy as one object.
    Reduce,
    /// Join the galaxies to one catalogue.
    Catalogue,
}

impl Stage {
    /// All stages in order.
    pub const ALL: [Self; 7] = [
        Self::Field,
        Self::Simulate,
        Self::Train,
        Self::Calibrate,
        Self::Fit,
        Self::Reduce,
        Self::Catalogue,
    ];

    /// The stage's name in paths, logs and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Field => "field",
            Self::Simulate => "simulate",
            Self::Train => "train",
            Self::Calibrate => "calibrate",
            Self::Fit => "fit",
            Self::Reduce => "reduce",
            Self::Catalogue => "catalogue",
        }
    }

    /// The machines that its tasks ask for.
    #[must_use]
    pub fn class(self) -> Class {
        match self {
            Self::Train => Class::Train,
            _ => Class::Fit,
        }
    }

    /// Whether later stages go on without what its failed tasks would have
    /// made, and say so galaxy by galaxy.
    #[must_use]
    pub fn may_lack(self) -> bool {
        matches!(self, Self::Fit | Self::Reduce)
    }

    /// The stages whose outcomes this one reads.
    #[must_use]
    pub fn needs(self) -> &'static [Self] {
        match self {
            Self::Field | Self::Simulate => &[],
            Self::Train => &[Self::Simulate],
            Self::Calibrate => &[Self::Train],
            Self::Fit => &[Self::Field, Self::Train, Self::Calibrate],
            Self::Reduce => &[Self::Field, Self::Train, Self::Fit],
            Self::Catalogue => &[Self::Fit, Self::Reduce],
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A half-open range of what a stage is cut along: simulation indices,
/// training spans, blocks of pixels, or galaxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Shard {
    /// First member.
    pub start: u64,
    /// One past the last member.
    pub end: u64,
}

impl Shard {
    /// Shards of a [`Shard::group`]: as many as a listing of an object store
    /// answers at a time.
    pub const GROUP: u64 = 1000;

    /// Cuts 0..`total` into shards of `size` (the last may be shorter).
    ///
    /// # Panics
    /// When `size` is 0.
    #[must_use]
    pub fn cut(total: u64, size: u64) -> Vec<Self> {
        assert!(size > 0, "a shard holds at least one member");
        (0..total.div_ceil(size))
            .map(|i| Self { start: i * size, end: ((i + 1) * size).min(total) })
            .collect()
    }

    /// Number of members.
    #[must_use]
    pub fn len(self) -> u64 {
        self.end - self.start
    }

    /// The group that the shard belongs to: those of this length that follow one
    /// another, a thousand to a group.
    #[must_use]
    pub fn group(self) -> u64 {
        self.start / (Self::GROUP * self.len().max(1))
    }

    /// Whether there is a member that is in both.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// Whether there is no member.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.end == self.start
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

/// One task: everything a stateless worker needs to find its inputs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Where in the store the campaign lies.
    pub campaign: CampaignId,
    /// Digest of the campaign, which the worker checks against what it reads.
    pub campaign_digest: Digest,
    /// This task's name.
    pub id: TaskId,
    /// What to do.
    pub stage: Stage,
    /// Which part of it.
    pub shard: Shard,
    /// Digest over the data of the upstream stages, in order.
    pub inputs: Digest,
}

impl Task {
    /// The task that makes `shard` of `stage`, its id derived.
    #[must_use]
    pub fn new(
        campaign: CampaignId,
        campaign_digest: Digest,
        stage: Stage,
        shard: Shard,
        inputs: Digest,
    ) -> Self {
        let id = TaskId::derive(&campaign_digest, stage, shard, &inputs);
        Self { campaign, campaign_digest, id, stage, shard, inputs }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_cover_all_once() {
        for (total, size) in [(0, 3), (1, 3), (9, 3), (10, 3)] {
            let shards = Shard::cut(total, size);
            assert_eq!(shards.iter().map(|s| s.len()).sum::<u64>(), total);
            assert!(shards.windows(2).all(|w| w[0].end == w[1].start));
            assert!(shards.iter().all(|s| !s.is_empty()));
        }
    }

    #[test]
    fn groups_are_a_thousand_neighbours() {
        let mut sizes = std::collections::BTreeMap::new();
        for shard in Shard::cut(10_000, 4) {
            *sizes.entry(shard.group()).or_insert(0) += 1;
        }
        assert_eq!(sizes.into_iter().collect::<Vec<_>>(), [(0, 1000), (1, 1000), (2, 500)]);
    }

    #[test]
    fn stages_only_need_earlier_ones() {
        for stage in Stage::ALL {
            assert!(stage.needs().iter().all(|&need| need < stage), "{stage}");
        }
    }
}
