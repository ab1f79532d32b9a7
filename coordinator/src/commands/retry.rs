//! `outshine retry`.

use super::Place;
use clap::Args;
use outshine_coordinator::failures;
use outshine_schemas::task::Stage;

/// Arguments of `outshine retry`.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Prints what failed before it is forgotten, with the last lines that each
    /// task logged.
    #[arg(long)]
    logs: bool,
}

pub async fn main(arguments: Arguments) -> anyhow::Result<()> {
    let (store, look) = arguments.place.look().await?;
    if arguments.logs {
        for stage in Stage::ALL {
            for failure in failures::list(&store, &look.campaign().id(), stage).await? {
                println!("failed: {}", failures::text(&failure));
                print!("{}", failures::log_text(&failure));
            }
        }
    }
    let count = failures::forget(&store, &look.campaign().id()).await?;
    println!("{count} failed tasks will be tried again by the next `outshine run`");
    Ok(())
}
