//! What a person sees while a campaign runs: bars in a terminal, plain lines
//! elsewhere.

use crate::plan;
use crate::stage_graph::{Complete, Running, StageGraph, State, TaskCounts};
use crate::words::seconds;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use outshine_schemas::ids::TaskId;
use outshine_schemas::task::{Stage, Task};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Looks at a campaign from time to time.
pub trait View: Send {
    /// The campaign is at this point.
    fn show(&mut self, graph: &StageGraph);

    /// Whether a task is at work where the view can see it: in this process.
    fn sees(&self, _: &TaskId) -> bool {
        false
    }
}

/// More tasks than a process works at.
const AT_HAND: usize = 256;

/// How far a task in this process is: fraction done, and a few words.
pub type StepOf = Box<dyn Fn(&TaskId) -> Option<(f64, String)> + Send>;

/// The view that fits: bars where standard error is a terminal, else lines.
#[must_use]
pub fn fitting(step: StepOf) -> Box<dyn View> {
    if std::io::stderr().is_terminal() {
        Box::new(Bars { all: MultiProgress::new(), bars: BTreeMap::new(), step })
    } else {
        Box::new(Lines { last: BTreeMap::new(), step })
    }
}

/// Shows nothing.
pub struct Silent;

impl View for Silent {
    fn show(&mut self, _: &StageGraph) {}
}

/// Fraction of a running stage, counting what running tasks tell. A span of
/// training tells how far the whole training is: how many spans follow is not
/// known.
fn fraction(running: &Running, step: &StepOf) -> f64 {
    if running.plan.stage == Stage::Train {
        let told = at_hand(running).find_map(|t| step(&t.id));
        return told.map_or(0.0, |(fraction, _)| fraction);
    }
    let done = running.plan.shards.len() - running.pending.len();
    let part: f64 = at_hand(running).filter_map(|t| step(&t.id)).map(|(part, _)| part).sum();
    (done as f64 + part) / running.plan.shards.len().max(1) as f64
}

/// The tasks that may be at work here: those that were published first.
fn at_hand(running: &Running) -> impl Iterator<Item = Task> {
    running.tasks().take(AT_HAND)
}

fn words(running: &Running, step: &StepOf) -> String {
    at_hand(running).find_map(|t| step(&t.id).map(|s| s.1)).unwrap_or_default()
}

fn unit(stage: Stage) -> &'static str {
    match stage {
        Stage::Simulate => "simulations",
        Stage::Train => "epochs",
        Stage::Fit => "blocks",
        Stage::Reduce => "galaxies",
        Stage::Field | Stage::Calibrate | Stage::Catalogue => "tasks",
    }
}

struct Bars {
    all: MultiProgress,
    bars: BTreeMap<Stage, ProgressBar>,
    step: StepOf,
}

impl View for Bars {
    fn sees(&self, task: &TaskId) -> bool {
        (self.step)(task).is_some()
    }

    fn show(&mut self, graph: &StageGraph) {
        for (stage, state) in graph.states() {
            if matches!(state, State::Blocked(_) | State::Ready(_)) {
                continue;
            }
            let all = &self.all;
            let bar = self.bars.entry(stage).or_insert_with(|| {
                let bar = all.add(ProgressBar::new(1000));
                let line = "{prefix:>10} [{bar:32}] {elapsed_precise} {msg}";
                if let Ok(style) = ProgressStyle::with_template(line) {
                    bar.set_style(style.progress_chars("=> "));
                }
                bar.set_prefix(stage.name());
                bar.enable_steady_tick(Duration::from_millis(500));
                bar
            });
            match state {
                State::Running(running) => {
                    bar.set_position((1000.0 * fraction(running, &self.step)) as u64);
                    let text = match words(running, &self.step) {
                        text if text.is_empty() => {
                            let TaskCounts { done, pending, failed } = state.counts();
                            format!("{done} of {} tasks", done + pending + failed)
                        }
                        text => text,
                    };
                    bar.set_message(text);
                }
                State::Complete(complete) if !bar.is_finished() => {
                    bar.set_position(1000);
                    bar.finish_with_message(ended(stage, complete));
                }
                State::Failed(failed) => bar.abandon_with_message(failed.reason.clone()),
                _ => {}
            }
        }
    }
}

fn ended(stage: Stage, complete: &Complete) -> String {
    let commits = &complete.commits;
    let members: u64 = commits.iter().map(|c| c.shard.len()).sum();
    let epochs = commits.iter().rfind(|c| plan::finished(c)).and_then(|c| c.count("epochs"));
    let count = epochs.unwrap_or(members);
    let failed = match complete.failures.len() {
        0 => String::new(),
        failed => format!(", {failed} tasks FAILED"),
    };
    format!("{count} {}, {:.1} task seconds{failed}", unit(stage), seconds(commits))
}

struct Lines {
    last: BTreeMap<Stage, (Instant, String)>,
    step: StepOf,
}

impl Lines {
    const PAUSE: Duration = Duration::from_secs(10);
}

impl View for Lines {
    fn sees(&self, task: &TaskId) -> bool {
        (self.step)(task).is_some()
    }

    #[allow(clippy::print_stderr)]
    fn show(&mut self, graph: &StageGraph) {
        for (stage, state) in graph.states() {
            let text = match state {
                State::Blocked(_) | State::Ready(_) => continue,
                State::Running(running) => {
                    let percent = 100.0 * fraction(running, &self.step);
                    format!("{percent:3.0} % {}", words(running, &self.step))
                }
                State::Complete(complete) => format!("done: {}", ended(stage, complete)),
                State::Failed(failed) => format!("failed: {}", failed.reason),
            };
            let now = Instant::now();
            let due = self.last.get(&stage).is_none_or(|(when, shown)| {
                *shown != text
                    && (!matches!(state, State::Running(_)) || now - *when >= Self::PAUSE)
            });
            if due {
                eprintln!("{:>10}: {text}", stage.name());
                self.last.insert(stage, (now, text));
            }
        }
    }
}
