//! `outshine gc`.

use super::Place;
use clap::Args;
use outshine_coordinator::gc;
use outshine_store::layout::Layout;
use std::time::Duration;

/// Arguments of `outshine gc`.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Says what would be removed and removes nothing.
    #[arg(long)]
    dry_run: bool,
    /// Keeps what is younger: a number and s, m, h or d.
    #[arg(long, value_name = "AGE", default_value = "1d", value_parser = age)]
    older_than: Duration,
}

fn age(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no age: write a whole number and s, m, h or d, as in 12h");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let count: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    count.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}

pub async fn main(arguments: Arguments) -> anyhow::Result<()> {
    let (store, campaign) = arguments.place.find().await?;
    println!("campaign {}", campaign.id());
    anyhow::ensure!(
        store.exists(&Layout::new(&campaign.id()).campaign()).await?,
        "{}; if its record is lost, see `outshine verify`",
        arguments.place.absent(&campaign)
    );
    let rubbish = gc::find(&store, &campaign, arguments.older_than).await?;
    let word = if arguments.dry_run { "would remove" } else { "removed" };
    let mut show = |entry: &outshine_store::Entry| {
        println!("{word} {} ({} bytes)", entry.path, entry.bytes);
    };
    if arguments.dry_run {
        rubbish.removable.iter().for_each(&mut show);
    } else {
        gc::remove(&store, &rubbish, &mut show).await?;
    }
    println!("{word} {} objects, {} bytes", rubbish.removable.len(), rubbish.bytes());
    if rubbish.young > 0 {
        println!("{} objects are kept until they are older: --older-than", rubbish.young);
    }
    if rubbish.kept > 0 {
        println!(
            "{} objects are kept: their tasks may still be committed, or need `outshine verify`",
            rubbish.kept
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_read_and_others_refused() {
        for (text, seconds) in [("0s", 0), ("90m", 5400), ("12h", 43_200), ("1d", 86_400)] {
            assert_eq!(age(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "d", "5", "1.5h", "-1d", "1w", "3é", "99999999999999999999d"] {
            assert!(age(text).unwrap_err().contains("12h"), "{text}");
        }
    }
}
