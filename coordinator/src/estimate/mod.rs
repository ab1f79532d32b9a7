//! What a campaign will take before anything runs: tasks, processor time, bytes
//! and requests. Tasks are those that [`crate::plan`] would make; what a member
//! costs is in [`rates`], or measured by the campaign's own commits. Pure.

pub mod counts;
pub mod network;
pub mod rates;
pub mod requests;
pub mod size;
pub mod text;

pub use counts::{Counts, Source};
pub use requests::Requests;

use crate::plan::{self, Ended, PlanError};
use crate::stage_graph::{StageGraph, State};
use crate::words;
use network::Network;
use outshine_schemas::FORMAT_VERSION;
use outshine_schemas::campaign::{Estimator, Refine, ResolvedCampaign};
use outshine_schemas::digest::Digest;
use outshine_schemas::ids::TaskId;
use outshine_schemas::outcome::{CommitRecord, StagePlan};
use outshine_schemas::task::{Shard, Stage};
use serde_json::json;
use size::{Made, Size};

/// The machines that would do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machines {
    /// Cores in all.
    pub cores: u64,
    /// Cores of one machine, which tasks of several threads use.
    pub threads: u64,
}

/// One stage.
#[derive(Clone, Debug, PartialEq)]
pub struct StageEstimate {
    /// The stage.
    pub stage: Stage,
    /// Its tasks.
    pub tasks: u64,
    /// Whether there may be fewer.
    pub at_most: bool,
    /// Tasks that are committed already.
    pub done: u64,
    /// What its tasks are about, in number.
    pub members: u64,
    /// What they are.
    pub unit: &'static str,
    /// Whether there may be fewer members.
    pub members_at_most: bool,
    /// Seconds of one core.
    pub core_seconds: f64,
    /// Whether time and bytes follow from the campaign's own commits.
    pub measured: bool,
    /// Seconds from its first task to its last.
    pub wall_seconds: f64,
    /// Bytes that it writes.
    pub bytes: u64,
    /// Requests to the store.
    pub requests: Requests,
}

/// A campaign.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// The stages in order.
    pub stages: Vec<StageEstimate>,
    /// Bytes of the user's tables and of a model, which are copied.
    pub input_bytes: u64,
}

impl Estimate {
    /// Seconds of one core.
    #[must_use]
    pub fn core_seconds(&self) -> f64 {
        self.stages.iter().map(|stage| stage.core_seconds).sum()
    }

    /// Seconds from beginning to end, one stage after the other.
    #[must_use]
    pub fn wall_seconds(&self) -> f64 {
        self.stages.iter().map(|stage| stage.wall_seconds).sum()
    }

    /// Bytes written.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.input_bytes + self.stages.iter().map(|stage| stage.bytes).sum::<u64>()
    }

    /// Requests to the store; the campaign's own record is among them.
    #[must_use]
    pub fn requests(&self) -> Requests {
        let mut all = Requests { put: 1, get: 1, list: 0 };
        self.stages.iter().for_each(|stage| all += stage.requests);
        all
    }
}

/// What is known of a campaign.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The campaign.
    pub campaign: &'a ResolvedCampaign,
    /// What is fitted.
    pub counts: &'a Counts,
    /// Sizes of its inputs.
    pub inputs: &'a [u64],
    /// Its stages in the store, if it is there.
    pub graph: Option<&'a StageGraph>,
}

/// Estimates a campaign.
///
/// # Errors
/// [`PlanError`], as planning itself.
pub fn estimate(known: Known<'_>, machines: Machines) -> Result<Estimate, PlanError> {
    let spec = &known.campaign.campaign;
    let trained = spec.estimator == Estimator::Train;
    let network = Network::new(spec);
    let mut plans = Vec::new();
    for stage in Stage::ALL {
        plans.push(tasks(known, &network, stage)?);
    }
    let of = |stage: Stage| plans[stage as usize];
    // A folder's description and weights come last.
    let folder: u64 = known.inputs.iter().rev().take(2).sum();
    let made = Made {
        campaign: spec,
        network: trained.then_some(&network),
        counts: known.counts,
        estimator: matches!(spec.estimator, Estimator::Folder(_)).then_some(folder),
    };
    let facts = requests::Facts {
        tasks: &|stage| of(stage).0,
        inputs: known.inputs.len() as u64,
        window: spec.execution.queue_window,
        trained,
        mock: spec.field.mock.is_some(),
        free: known.counts.free > 0,
        workers: machines.cores.div_ceil(machines.threads.max(1)),
    };
    let stage = |stage: Stage| {
        let (tasks, at_most) = of(stage);
        let (members, unit, members_at_most) = members(known, &network, stage);
        let Size { files, bytes } = made.size(stage, tasks);
        let mut estimate = StageEstimate {
            stage,
            tasks,
            at_most,
            done: 0,
            members,
            unit,
            members_at_most,
            core_seconds: core_seconds(known, &network, stage, tasks),
            measured: false,
            wall_seconds: 0.0,
            bytes: bytes as u64,
            requests: Requests::default(),
        };
        measure(known, machines, &mut estimate);
        estimate.wall_seconds = wall_seconds(&estimate, machines);
        estimate.requests = facts.of(stage, files, estimate.wall_seconds);
        estimate
    };
    let stages = Stage::ALL.into_iter().map(stage).collect();
    Ok(Estimate { stages, input_bytes: known.inputs.iter().sum() })
}

/// How many tasks a stage has, and whether there may be fewer: those of its
/// plan in the store, or those that would be planned.
fn tasks(known: Known<'_>, network: &Network, stage: Stage) -> Result<(u64, bool), PlanError> {
    let state = known.graph.map(|graph| graph.state(stage));
    let stored = match state {
        Some(State::Complete(complete)) => Some(&complete.plan),
        Some(State::Running(running)) => Some(&running.plan),
        _ => None,
    };
    let counts = known.counts;
    let plan = match stored {
        Some(plan) => plan.clone(),
        None => planned(known.campaign, stage, counts)?,
    };
    let cut = plan.shards.len() as u64;
    let by_counts = matches!(stage, Stage::Fit | Stage::Reduce);
    let trained = known.campaign.campaign.estimator == Estimator::Train;
    Ok(match (stage, state) {
        (Stage::Train, Some(State::Complete(complete))) => (complete.commits.len() as u64, false),
        // The first span of several.
        (Stage::Train, _) if trained => {
            let span = plan.shards.first().map_or(1, |first| first.len());
            (network.max_epochs.div_ceil(span), network.may_stop)
        }
        (Stage::Reduce, _) if counts.source == Source::Mock => (cut, false),
        _ => (cut, by_counts && stored.is_none() && counts.at_most),
    })
}

/// The plan that the planner itself makes, given outcomes of the stages before
/// that have these counts.
fn planned(
    campaign: &ResolvedCampaign,
    stage: Stage,
    counts: &Counts,
) -> Result<StagePlan, PlanError> {
    let before = Stage::ALL.map(|stage| outcome(stage, counts));
    plan::stage(stage, campaign, &|of| before.iter().find(|ended| ended.plan.stage == of))
}

/// A stage that went well.
fn outcome(stage: Stage, counts: &Counts) -> Ended {
    let facts = match stage {
        Stage::Field => json!({"blocks": counts.blocks, "galaxies": counts.galaxies}),
        Stage::Calibrate => json!({"passed": true}),
        _ => json!({}),
    };
    let facts = facts.as_object().cloned().unwrap_or_default();
    let inputs = Digest::of(b"");
    let shard = Shard { start: 0, end: 1 };
    let commit = CommitRecord {
        version: FORMAT_VERSION,
        task: TaskId::derive(&inputs, stage, shard, &inputs),
        stage,
        shard,
        inputs: inputs.clone(),
        data_digest: inputs.clone(),
        files: Vec::new(),
        facts,
        code_version: String::new(),
        seconds: 0.0,
        worker: String::new(),
    };
    let plan = StagePlan {
        version: FORMAT_VERSION,
        stage,
        inputs: inputs.clone(),
        data: inputs,
        sources: Vec::new(),
        shards: vec![shard],
    };
    Ended { plan, commits: vec![commit], failures: Vec::new() }
}

fn members(known: Known<'_>, network: &Network, stage: Stage) -> (u64, &'static str, bool) {
    let (spec, counts) = (&known.campaign.campaign, known.counts);
    let trained = spec.estimator == Estimator::Train;
    match stage {
        Stage::Field => (counts.pixels, "pixels", counts.at_most),
        Stage::Simulate if !trained => (0, "simulations", false),
        Stage::Simulate => (spec.simulate.count, "simulations", false),
        Stage::Train if !trained => (0, "epochs", false),
        Stage::Train => (network.max_epochs, "epochs", network.may_stop),
        Stage::Calibrate => (2 * spec.calibrate.count, "simulations", false),
        Stage::Fit => (counts.fitted, "pixels", counts.fitted_at_most),
        Stage::Reduce | Stage::Catalogue => (counts.galaxies, "galaxies", false),
    }
}

/// By the rates alone.
fn core_seconds(known: Known<'_>, network: &Network, stage: Stage, tasks: u64) -> f64 {
    let (spec, counts) = (&known.campaign.campaign, known.counts);
    let bands = spec.bands.len() as f64;
    let draws = f64::from(spec.fit.draws);
    let trained = spec.estimator == Estimator::Train;
    let refined = rates::REFINED[usize::from(size::is_dirichlet(spec))];
    let own = match stage {
        Stage::Field => counts.pixels as f64 * bands * rates::FIELD_BAND,
        Stage::Simulate if !trained => 0.0,
        Stage::Simulate => {
            let each = rates::SIMULATION + bands * rates::SIMULATION_BAND;
            spec.simulate.count as f64 * each
        }
        Stage::Train if !trained => 0.0,
        Stage::Train => {
            let each = rates::EXAMPLE + network.weights() as f64 * rates::EXAMPLE_WEIGHT;
            (network.max_epochs * spec.simulate.count) as f64 * each
        }
        Stage::Calibrate => {
            let simulations = 2.0 * spec.calibrate.count as f64;
            let draw = rates::CALIBRATION_DRAW + simulations * rates::CALIBRATED_DRAW;
            f64::from(spec.calibrate.draws) * draw
        }
        Stage::Fit => {
            let values = draws * size::reported(spec).len() as f64;
            let redshifts = counts.free as f64 * f64::from(spec.fit.redshifts);
            counts.fitted as f64 * (rates::PIXEL + values * rates::PIXEL_DRAW)
                + redshifts * rates::PIXEL_REDSHIFT
                // Which of them are bright is not known.
                + match spec.fit.refine {
                    Refine::All => counts.fitted.saturating_sub(counts.free) as f64 * refined,
                    Refine::None | Refine::Integrated => 0.0,
                }
        }
        Stage::Reduce => {
            // Those of unknown redshift are not refined; pixels tell how many they are.
            let known = 1.0 - counts.free as f64 / counts.pixels.max(1) as f64;
            let refined = if spec.fit.refine == Refine::None { 0.0 } else { known * refined };
            counts.galaxies as f64 * (rates::GALAXY + refined)
        }
        Stage::Catalogue => counts.galaxies as f64 * rates::ROW,
    };
    own + tasks as f64 * rates::TASK
}

/// Whether a task of the stage uses all cores of a machine.
fn is_threaded(stage: Stage) -> bool {
    matches!(stage, Stage::Field | Stage::Train | Stage::Calibrate)
}

/// Puts what the campaign's own commits say in the place of rates: time and
/// bytes per member of the shards that are done. A task of several threads is
/// taken to have used all those of a machine.
fn measure(known: Known<'_>, machines: Machines, estimate: &mut StageEstimate) {
    let commits = match known.graph.map(|graph| graph.state(estimate.stage)) {
        Some(State::Complete(complete)) => &complete.commits,
        Some(State::Running(running)) => &running.done,
        _ => return,
    };
    if commits.is_empty() {
        return;
    }
    estimate.done = commits.len() as u64;
    estimate.measured = true;
    let of_plan = |plan: &StagePlan| plan.shards.iter().map(|shard| shard.len()).sum::<u64>();
    let done: u64 = commits.iter().map(|commit| commit.shard.len()).sum();
    let all = match known.graph.map(|graph| graph.state(estimate.stage)) {
        Some(State::Running(_)) if estimate.stage == Stage::Train => estimate.members,
        Some(State::Running(running)) => of_plan(&running.plan),
        _ => done,
    };
    let scale = all as f64 / done.max(1) as f64;
    let threads = if is_threaded(estimate.stage) { machines.threads as f64 } else { 1.0 };
    estimate.core_seconds = scale * threads * words::seconds(commits);
    let files = |commit: &CommitRecord| {
        let bytes: u64 = commit.files.iter().map(|file| file.bytes).sum();
        let record = serde_json::to_vec_pretty(commit).map_or(0, |text| text.len());
        (bytes + record as u64) as f64 + rates::SHARD_BYTES
    };
    estimate.bytes = (scale * commits.iter().map(files).sum::<f64>()) as u64;
}

/// Tasks of one core side by side; those of several threads one by one.
fn wall_seconds(estimate: &StageEstimate, machines: Machines) -> f64 {
    let cores = machines.cores.max(1);
    if estimate.tasks == 0 {
        return 0.0;
    }
    if is_threaded(estimate.stage) {
        return estimate.core_seconds / machines.threads.clamp(1, cores) as f64;
    }
    let each = estimate.core_seconds / estimate.tasks as f64;
    each * estimate.tasks.div_ceil(cores) as f64
}

#[cfg(test)]
mod tests;
