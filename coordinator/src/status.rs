//! A campaign's progress in figures, for people and for scripts.

use crate::estimate::network::Network;
use crate::failures;
use crate::look::Look;
use crate::stage_graph::{State, TaskCounts};
use crate::words::seconds;
use outshine_broker::{BrokerError, TaskQueue};
use outshine_schemas::campaign::Campaign;
use outshine_schemas::outcome::{CommitRecord, FailureRecord};
use outshine_schemas::task::{Class, Stage};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

/// Time over which the rate is taken.
const WINDOW: Duration = Duration::from_secs(300);
/// Failed tasks, and galaxies of one, that the text lists.
const LISTED: usize = 20;

/// Where a stage is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Waits for earlier stages.
    Blocked,
    /// Can start; no coordinator has planned it yet.
    Ready,
    /// Some tasks are not done.
    Running,
    /// All tasks are done, or have failed and can be done without.
    Complete,
    /// Cannot go on, and why.
    Failed(String),
}

/// One stage in figures.
#[derive(Clone, Debug, PartialEq)]
pub struct StageStatus {
    /// The stage.
    pub stage: Stage,
    /// Where it is.
    pub place: Place,
    /// Tasks that are planned; of training up to now, as it plans span by span.
    pub planned: usize,
    /// Tasks that are committed.
    pub done: usize,
    /// Tasks that failed and will not be tried again.
    pub failed: usize,
    /// Seconds that the committed tasks took.
    pub task_seconds: f64,
    /// Commits per minute over the last minutes; `None` before the second.
    pub rate_per_minute: Option<f64>,
    /// Seconds to the end at that rate, of training at most; `None` where that
    /// is not known.
    pub eta_seconds: Option<f64>,
}

impl StageStatus {
    /// Tasks neither done nor failed: they wait, or are at work.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.planned - self.done - self.failed
    }
}

/// What the broker has of one queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueStatus {
    /// Its name.
    pub name: String,
    /// Messages that no worker has in hand.
    pub waiting: u64,
    /// Slots of workers that take from it: as many tasks can be at work.
    pub slots: u64,
    /// Messages that nobody will get any more.
    pub dead_letters: u64,
}

/// The queues of all classes that a broker has.
///
/// # Errors
/// When the broker does not answer.
pub async fn queues(queue: &dyn TaskQueue) -> Result<Vec<QueueStatus>, BrokerError> {
    let mut all = Vec::new();
    for class in Class::ALL {
        let name = class.queue();
        let load = match queue.load(&name).await {
            Ok(load) => load,
            // Nobody has declared it: no run has given the class its own queue.
            Err(BrokerError::UnknownQueue { .. }) => continue,
            Err(error) => return Err(error),
        };
        let dead_letters = queue.dead_letter_depth(&name).await?;
        let (waiting, slots) = (load.waiting, load.consumers);
        all.push(QueueStatus { name, waiting, slots, dead_letters });
    }
    Ok(all)
}

/// A task that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureStatus {
    /// Its record.
    pub record: FailureRecord,
    /// Galaxies that it touches, where that is known.
    pub galaxies: Vec<i64>,
}

/// A campaign in figures.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// Its name in the store.
    pub campaign: String,
    /// Whether all stages are complete.
    pub complete: bool,
    /// The stages in order.
    pub stages: Vec<StageStatus>,
    /// What failed.
    pub failures: Vec<FailureStatus>,
    /// The queues, where a broker was asked.
    pub queues: Vec<QueueStatus>,
}

/// Tasks that have failed.
#[must_use]
pub fn failed(look: &Look) -> Vec<&FailureRecord> {
    look.graph().states().flat_map(|(_, state)| state.failures()).collect()
}

impl Status {
    /// The figures of what was seen, at the time `now`.
    #[must_use]
    pub fn new(
        look: &Look,
        now: SystemTime,
        galaxies: &BTreeMap<String, Vec<i64>>,
        queues: Vec<QueueStatus>,
    ) -> Self {
        let campaign = &look.campaign().campaign;
        let states = look.graph().states();
        let stages = states.map(|(s, state)| stage(campaign, s, state, now)).collect();
        let failures = failed(look)
            .into_iter()
            .map(|record| FailureStatus {
                record: record.clone(),
                galaxies: galaxies.get(record.task.as_str()).cloned().unwrap_or_default(),
            })
            .collect();
        Self {
            campaign: look.campaign().id().to_string(),
            complete: look.graph().complete(Stage::Catalogue),
            stages,
            failures,
            queues,
        }
    }

    /// As one JSON object; with the `logs` of failed tasks, or without.
    #[must_use]
    pub fn json(&self, logs: bool) -> Value {
        let stages: Vec<Value> = self.stages.iter().map(stage_json).collect();
        let failures: Vec<Value> = self
            .failures
            .iter()
            .map(|f| {
                let mut failure = json!({
                    "task": f.record.task.as_str(), "stage": f.record.stage.name(),
                    "shard": f.record.shard.to_string(), "attempts": f.record.attempts,
                    "worker": f.record.worker, "error": f.record.error, "galaxies": f.galaxies,
                });
                if logs {
                    failure["log"] = json!(f.record.log);
                }
                failure
            })
            .collect();
        let queues: Vec<Value> = self
            .queues
            .iter()
            .map(|q| {
                json!({
                    "name": q.name, "waiting": q.waiting, "slots": q.slots,
                    "dead_letters": q.dead_letters,
                })
            })
            .collect();
        json!({
            "campaign": self.campaign, "complete": self.complete, "stages": stages,
            "task_seconds": self.task_seconds(), "failures": failures, "queues": queues,
        })
    }

    fn task_seconds(&self) -> f64 {
        self.stages.iter().map(|stage| stage.task_seconds).sum()
    }

    /// As text, a line per stage; with the `logs` of failed tasks, or without.
    #[must_use]
    pub fn text(&self, logs: bool) -> String {
        let mut out = format!("campaign {}\n", self.campaign);
        let _ = writeln!(
            out,
            "{:>10} {:>9} {:>9} {:>9} {:>7} {:>11} {:>9} {:>9}",
            "stage", "planned", "done", "pending", "failed", "task hours", "per min", "left"
        );
        for stage in &self.stages {
            let _ = writeln!(out, "{:>10} {}", stage.stage.name(), stage_text(stage));
        }
        let sum = |of: fn(&StageStatus) -> usize| self.stages.iter().map(of).sum::<usize>();
        let _ = writeln!(
            out,
            "{:>10} {:>9} {:>9} {:>9} {:>7} {:>11.3}",
            "all",
            sum(|s| s.planned),
            sum(|s| s.done),
            sum(StageStatus::pending),
            sum(|s| s.failed),
            self.task_seconds() / 3600.0
        );
        for queue in &self.queues {
            let QueueStatus { name, waiting, slots, dead_letters } = queue;
            let _ = writeln!(
                out,
                "queue {name}: {waiting} waiting, {slots} slots at it, {dead_letters} dead letters"
            );
        }
        for failure in self.failures.iter().take(LISTED) {
            let _ = writeln!(out, "failed: {}", failures::text(&failure.record));
            if !failure.galaxies.is_empty() {
                let _ = writeln!(out, "        touches {}", list(&failure.galaxies));
            }
            if logs {
                out.push_str(&failures::log_text(&failure.record));
            }
        }
        if self.failures.len() > LISTED {
            let _ = writeln!(out, "failed: and {} more: --json", self.failures.len() - LISTED);
        }
        out
    }
}

fn list(galaxies: &[i64]) -> String {
    let names: Vec<String> = galaxies.iter().take(LISTED).map(i64::to_string).collect();
    let more = galaxies.len().saturating_sub(LISTED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("galaxies {}{more}", names.join(", "))
}

fn stage(campaign: &Campaign, stage: Stage, state: &State, now: SystemTime) -> StageStatus {
    let TaskCounts { done, pending, failed } = state.counts();
    let place = match state {
        State::Blocked(_) => Place::Blocked,
        State::Ready(_) => Place::Ready,
        State::Running(_) => Place::Running,
        State::Complete(_) => Place::Complete,
        State::Failed(failed) => Place::Failed(failed.reason.clone()),
    };
    let task_seconds = seconds(state.commits());
    let rate = match state {
        State::Running(running) => rate_per_minute(running.written.values(), now),
        _ => None,
    };
    let eta = match state {
        State::Running(running) if stage == Stage::Train => training_left(campaign, &running.done),
        _ => rate.filter(|&rate| rate > 0.0).map(|rate| 60.0 * pending as f64 / rate),
    };
    StageStatus {
        stage,
        place,
        planned: done + pending + failed,
        done,
        failed,
        task_seconds,
        rate_per_minute: rate,
        eta_seconds: eta,
    }
}

/// Seconds that training takes yet, which plans span by span: to its last epoch
/// as long as each took so far. It may stop before.
fn training_left(campaign: &Campaign, done: &[CommitRecord]) -> Option<f64> {
    let epochs = done.last()?.shard.end;
    let seconds: f64 = done.iter().map(|span| span.seconds).sum();
    let left = Network::new(campaign).max_epochs.saturating_sub(epochs);
    Some(seconds / epochs as f64 * left as f64)
}

/// Commits per minute over the last minutes, or since the first commit where
/// that is later.
fn rate_per_minute<'a>(
    written: impl Iterator<Item = &'a SystemTime> + Clone,
    now: SystemTime,
) -> Option<f64> {
    let age = |time: &SystemTime| now.duration_since(*time).unwrap_or_default();
    let oldest = written.clone().map(age).max()?;
    let recent = written.filter(|time| age(time) <= WINDOW).count();
    if oldest > WINDOW {
        return Some(60.0 * recent as f64 / WINDOW.as_secs_f64());
    }
    // From the first commit on: that one is where the clock starts.
    let seconds = oldest.as_secs_f64();
    (recent > 1 && seconds > 0.0).then(|| 60.0 * (recent - 1) as f64 / seconds)
}

fn stage_text(stage: &StageStatus) -> String {
    match &stage.place {
        Place::Blocked => return "waits for earlier stages".to_owned(),
        Place::Ready => return "can start".to_owned(),
        Place::Failed(reason) => return format!("FAILED: {reason}"),
        Place::Running | Place::Complete => {}
    }
    let rate = stage.rate_per_minute.map_or("-".to_owned(), |rate| format!("{rate:.1}"));
    let left = match (&stage.place, stage.eta_seconds) {
        (Place::Complete, _) => "complete".to_owned(),
        (_, Some(seconds)) => crate::words::duration(seconds),
        _ => "-".to_owned(),
    };
    format!(
        "{:>9} {:>9} {:>9} {:>7} {:>11.3} {rate:>9} {left:>9}",
        stage.planned,
        stage.done,
        stage.pending(),
        stage.failed,
        stage.task_seconds / 3600.0
    )
}

fn stage_json(stage: &StageStatus) -> Value {
    let (state, reason) = match &stage.place {
        Place::Blocked => ("blocked", None),
        Place::Ready => ("ready", None),
        Place::Running => ("running", None),
        Place::Complete => ("complete", None),
        Place::Failed(reason) => ("failed", Some(reason)),
    };
    json!({
        "stage": stage.stage.name(), "state": state, "reason": reason,
        "planned": stage.planned, "done": stage.done, "pending": stage.pending(),
        "failed": stage.failed, "task_seconds": stage.task_seconds,
        "rate_per_minute": stage.rate_per_minute, "eta_seconds": stage.eta_seconds,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: &[u64]) -> Vec<SystemTime> {
        seconds.iter().map(|&s| SystemTime::UNIX_EPOCH + Duration::from_secs(s)).collect()
    }

    #[test]
    fn the_rate_is_that_of_the_last_minutes() {
        let now = at(&[10_000])[0];
        let rate = |written: &[u64]| rate_per_minute(at(written).iter(), now);
        assert_eq!(rate(&[]), None);
        assert_eq!(rate(&[9_990]), None, "one commit is no rate");
        // Three in the minute after the first.
        assert_eq!(rate(&[9_940, 9_950, 9_970, 9_999]), Some(3.0));
        // Of a long stage, the last five minutes count: ten commits, not the thousand before.
        let mut long: Vec<u64> = (0..1000).collect();
        long.extend(9_800..9_810);
        assert_eq!(rate(&long), Some(2.0));
        // A stage that stands still has no rate.
        assert_eq!(rate(&[1, 2, 3]), Some(0.0));
        // A store whose clock runs ahead does no harm.
        assert_eq!(rate(&[10_005, 10_006]), None);
    }
}
