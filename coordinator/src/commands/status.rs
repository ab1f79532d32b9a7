//! `outshine status`.

use super::Place;
use clap::Args;
use outshine_coordinator::failures;
use outshine_coordinator::stage_graph::State;

/// Arguments of `outshine status`.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
}

pub async fn main(arguments: Arguments) -> anyhow::Result<()> {
    let (_, campaign, graph) = arguments.place.look().await?;
    println!("campaign {}", campaign.id());
    for (stage, state) in graph.states() {
        let text = match state {
            State::Blocked(_) => "waits for earlier stages".to_owned(),
            State::Ready(_) => "ready".to_owned(),
            State::Running(r) => {
                let all = r.done.len() + r.unread.len() + r.pending.len() + r.failed.len();
                format!("{} of {all} tasks done{}", r.done.len(), failed(r.failed.len()))
            }
            State::Complete(c) => {
                let seconds: f64 = c.commits.iter().map(|r| r.seconds).sum();
                let (count, failed) = (c.commits.len(), failed(c.failures.len()));
                format!("complete: {count} tasks, {seconds:.1} task seconds{failed}")
            }
            State::Failed(f) => format!("FAILED: {}", f.reason),
        };
        println!("{:>10}: {text}", stage.name());
    }
    for failure in graph.failures() {
        println!("failed: {}", failures::text(failure));
    }
    Ok(())
}

fn failed(count: usize) -> String {
    if count == 0 { String::new() } else { format!(", {count} failed") }
}
