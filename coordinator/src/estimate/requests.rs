//! Requests to the store, as the code makes them. A worker's reads are those of
//! its stage (`worker/src/stages`); a coordinator looks at what runs every
//! half second ([`super::rates::POLL`]).

use super::rates::POLL;
use super::size::is_indexed;
use outshine_schemas::task::{Shard, Stage};

/// Requests by kind; what asks whether an object is there counts as a read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// Writes.
    pub put: u64,
    /// Reads.
    pub get: u64,
    /// Listings.
    pub list: u64,
}

impl std::ops::AddAssign for Requests {
    fn add_assign(&mut self, other: Self) {
        self.put += other.put;
        self.get += other.get;
        self.list += other.list;
    }
}

/// Tasks of every stage, and what else the reads depend on.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// Tasks of a stage.
    pub tasks: &'a dyn Fn(Stage) -> u64,
    /// Tables of the user.
    pub inputs: u64,
    /// Tasks that are published at a time.
    pub window: u64,
    /// Whether the estimator is trained in the campaign.
    pub trained: bool,
    /// Whether there is truth to compare with.
    pub mock: bool,
    /// Whether redshifts are fitted.
    pub free: bool,
    /// Workers: each reads once what all of its tasks need.
    pub workers: u64,
}

impl Facts<'_> {
    /// Requests for the `tasks` of a stage that leave `files` files in all and
    /// take `seconds`.
    #[must_use]
    pub fn of(&self, stage: Stage, files: u64, seconds: f64) -> Requests {
        let tasks = (self.tasks)(stage);
        let looks = (seconds / POLL).ceil() as u64 + 1;
        // Failures, and the groups of what is published, at each look; once the
        // indexes, and which groups there are.
        let groups = tasks.min(self.window).div_ceil(Shard::GROUP) + 1;
        let coordinator = looks * (1 + groups) + 2;
        let spans = (self.tasks)(Stage::Train);
        // Who reads the model lists the spans of training to find the last one.
        let network = matches!(stage, Stage::Calibrate | Stage::Fit | Stage::Reduce);
        let once = tasks.min(self.workers);
        let worker = if network { once } else { self.spans(stage, spans) };
        let indexes = if is_indexed(stage, tasks) { tasks.div_ceil(Shard::GROUP) } else { 0 };
        Requests {
            put: files + tasks + 1 + indexes,
            // Whether it is done already, and the record that the coordinator reads.
            get: tasks * (2 + self.reads(stage))
                + once * self.reads_once(stage)
                + self.training(stage)
                + 2,
            list: coordinator + worker,
        }
    }

    /// Reads of one task; those of training are in [`Facts::training`].
    fn reads(&self, stage: Stage) -> u64 {
        let tasks = |of| (self.tasks)(of);
        match stage {
            Stage::Field => self.inputs,
            Stage::Simulate | Stage::Train | Stage::Calibrate => 0,
            // The field's commit and pixels; truth; galaxies.
            Stage::Fit => 2 + u64::from(self.mock) + u64::from(self.free),
            // The field's commit and galaxies; the commits, blocks and summaries of its own.
            Stage::Reduce => {
                let overlapping = tasks(Stage::Fit) / tasks(stage).max(1) + 1;
                2 + 3 * overlapping
            }
            Stage::Catalogue => {
                let truth = if self.mock { 2 * tasks(Stage::Fit) } else { 0 };
                2 * tasks(Stage::Reduce) + truth
            }
        }
    }

    /// Reads of the first task of a stage that a worker does: what the others
    /// need, too. The model is counted once, of calibrate or of fit.
    fn reads_once(&self, stage: Stage) -> u64 {
        // Commits of the training and the model's two files.
        let model = (self.tasks)(Stage::Train) + 2;
        match stage {
            Stage::Field | Stage::Simulate | Stage::Train => 0,
            // Its plan.
            Stage::Calibrate => 1 + model,
            // Its plan, that of the field, and the limits' plan and commit.
            Stage::Fit if self.workers == 1 => 3,
            Stage::Fit => 4 + model,
            // Its plan and that of fit.
            Stage::Reduce => 2,
            // Its plan, and that of reduce.
            Stage::Catalogue => 2,
        }
    }

    /// Reads of all spans of training: each reads every simulation, and what
    /// the span before left.
    fn training(&self, stage: Stage) -> u64 {
        if stage != Stage::Train {
            return 0;
        }
        if !self.trained {
            return 2;
        }
        let spans = (self.tasks)(stage);
        let before = spans * spans.saturating_sub(1) / 2 + spans.saturating_sub(1);
        spans * (1 + 2 * (self.tasks)(Stage::Simulate)) + before
    }

    fn spans(&self, stage: Stage, spans: u64) -> u64 {
        if stage == Stage::Train && self.trained { spans.saturating_sub(1) } else { 0 }
    }
}
