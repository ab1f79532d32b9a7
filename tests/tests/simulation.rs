//! Campaigns under faults, from seeds: see `outshine_tests::simulation`.

use outshine_tests::simulation::{Fault, Options, Sabotage, simulate, sweep};

fn seeds() -> anyhow::Result<u64> {
    Ok(std::env::var("OUTSHINE_SIMULATION_SEEDS").map_or(Ok(2_000), |n| n.parse())?)
}

#[test]
fn every_seed_ends_with_the_undisturbed_catalogue() -> anyhow::Result<()> {
    let seeds = seeds()?;
    let sweep = sweep(0..seeds, Options::default(), |_| {})?;
    assert!(
        sweep.broken.is_empty(),
        "{:#?}\nreplay: cargo run -p outshine-tests --example simulate -- --seed SEED --trace",
        sweep.broken
    );
    let silent: Vec<Fault> = Fault::ALL
        .into_iter()
        .filter(|fault| sweep.fired.get(fault).is_none_or(|count| *count == 0))
        .collect();
    assert!(silent.is_empty() || seeds < 1_000, "these faults never struck: {silent:?}");
    Ok(())
}

#[test]
fn a_seed_is_always_the_same_run() -> anyhow::Result<()> {
    let mut digests = std::collections::BTreeSet::new();
    for seed in 0..60 {
        let options = Options { trace: true, ..Options::default() };
        let (one, two) = (simulate(seed, options)?, simulate(seed, options)?);
        let differ = one.trace.iter().zip(&two.trace).find(|(a, b)| a != b);
        assert_eq!(differ, None, "seed {seed}");
        assert_eq!((one.digest, one.steps), (two.digest, two.steps), "seed {seed}");
        assert!(one.steps > 100 && one.trace.len() as u64 == one.steps, "seed {seed}");
        digests.insert(one.digest);
    }
    assert_eq!(digests.len(), 60, "each seed is a run of its own");
    Ok(())
}

/// Plants a bug, and expects that a seed breaks in one of the ways given that is sound
/// without the bug.
fn finds(sabotage: Sabotage, how: &[&str]) -> anyhow::Result<()> {
    let planted = Options { sabotage: Some(sabotage), ..Options::default() };
    for seed in 0..400 {
        if let Some(violation) = simulate(seed, planted)?.violation {
            assert!(how.iter().any(|how| violation.contains(how)), "seed {seed}: {violation}");
            assert_eq!(simulate(seed, Options::default())?.violation, None, "seed {seed}");
            return Ok(());
        }
    }
    panic!("400 seeds do not find {sabotage:?}");
}

#[test]
fn an_ack_before_the_commit_is_found() -> anyhow::Result<()> {
    finds(Sabotage::AckBeforeCommit, &["acked before its commit"])
}

#[test]
fn commits_that_overwrite_each_other_are_found() -> anyhow::Result<()> {
    finds(Sabotage::NoCreateOnly, &["changed"])
}

#[test]
fn a_dropped_redelivery_is_found() -> anyhow::Result<()> {
    finds(Sabotage::DroppedRedelivery, &["not complete"])
}

#[test]
fn a_compaction_that_deletes_commits_is_found() -> anyhow::Result<()> {
    finds(Sabotage::CompactionDeletes, &["vanished"])
}

#[test]
fn a_swallowed_error_of_the_store_is_found() -> anyhow::Result<()> {
    // Which put fails first decides how it shows.
    let ways = ["acked before its commit", "no file", "is not in the store", "dead letter"];
    finds(Sabotage::SwallowedError, &ways)
}

#[test]
fn readers_of_uncommitted_files_are_found() -> anyhow::Result<()> {
    finds(Sabotage::ReadsUncommitted, &["dead letter"])
}

#[test]
fn publishing_without_a_window_is_found() -> anyhow::Result<()> {
    finds(Sabotage::NoWindow, &["waited in one queue"])
}

#[test]
fn publishing_again_and_again_is_found() -> anyhow::Result<()> {
    finds(Sabotage::PublishesAgain, &["publications of"])
}

#[test]
fn losses_that_are_not_written_down_are_found() -> anyhow::Result<()> {
    finds(Sabotage::ForgetsLosses, &["not complete"])
}
