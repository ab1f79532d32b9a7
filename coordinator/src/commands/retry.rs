//! `outshine retry`.

use super::Place;
use clap::Args;
use outshine_coordinator::failures;

/// Arguments of `outshine retry`.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
}

pub async fn main(arguments: Arguments) -> anyhow::Result<()> {
    let (store, look) = arguments.place.look().await?;
    let count = failures::forget(&store, &look.campaign().id()).await?;
    println!("{count} failed tasks will be tried again by the next `outshine run`");
    Ok(())
}
