//! `outshine status`.

use super::Place;
use clap::Args;
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
                format!("{} of {} tasks done", r.done.len(), r.done.len() + r.pending.len())
            }
            State::Complete(c) => {
                let seconds: f64 = c.commits.iter().map(|r| r.seconds).sum();
                format!("complete: {} tasks, {seconds:.1} task seconds", c.commits.len())
            }
            State::Failed(f) => format!("FAILED: {}", f.reason),
        };
        println!("{:>10}: {text}", stage.name());
    }
    Ok(())
}
