//! The same campaign on a real broker and a real object store, with workers
//! as processes of their own, disturbed and undisturbed.

use anyhow::{Context, ensure};
use outshine_tests::campaigns::{TINY, differences};
use outshine_tests::processes::{Process, files, log_ends, outshine, outshine_ok};
use outshine_tests::servers::{RabbitMq, S3, or_skip};
use std::path::Path;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(120);

/// Exports a finished campaign and returns its files.
fn exported(
    campaign: &str,
    store: &str,
    environment: &[(&str, String)],
    folder: &Path,
) -> anyhow::Result<std::collections::BTreeMap<String, bytes::Bytes>> {
    let to = folder.display().to_string();
    outshine_ok(&["catalogue", "export", campaign, "--store", store, "--to", &to], environment)?;
    files(folder)
}

/// Waits until `stage` has a commit.
fn wait_for_commit(
    campaign: &str,
    store: &str,
    environment: &[(&str, String)],
    stage: &str,
) -> anyhow::Result<()> {
    let started = Instant::now();
    while started.elapsed() < LONG {
        let status = outshine(&["status", campaign, "--store", store, "--json"], environment)?;
        // Before its record is stored, there is nothing to see of a campaign.
        if status.status.success() {
            let status: serde_json::Value = serde_json::from_slice(&status.stdout)?;
            let stages = status["stages"].as_array().context("stages")?;
            if stages.iter().any(|s| s["stage"] == stage && s["done"].as_u64() > Some(0)) {
                return Ok(());
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    anyhow::bail!("stage {stage} never had a commit")
}

#[test]
fn workers_on_a_broker_and_s3_give_the_bytes_of_one_process() -> anyhow::Result<()> {
    let (Some(broker), Some(s3)) = (or_skip(RabbitMq::start()), or_skip(S3::start())) else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let result = disturbed_equals_undisturbed(&broker, &s3, folder.path());
    result.with_context(|| log_ends(folder.path()))
}

fn disturbed_equals_undisturbed(broker: &RabbitMq, s3: &S3, folder: &Path) -> anyhow::Result<()> {
    let file = folder.join("tiny.toml");
    std::fs::write(&file, TINY)?;
    let campaign = file.to_str().context("a temporary path is text")?;
    let environment = s3.environment();
    let log = |name: &str| folder.join(name);

    // Undisturbed, in one process, on a folder.
    let local = log("local").display().to_string();
    outshine_ok(&["run", campaign, "--store", &local], &[])?;
    let expected = exported(campaign, &local, &[], &log("local-products"))?;
    ensure!(expected.keys().any(|n| n.starts_with("samples/")), "no samples: {expected:?}");

    // Two workers on a real broker and a real object store; one is killed in
    // the middle of the simulations and replaced, one in the middle of training.
    let (queue, store) = (broker.url(), s3.url("campaign"));
    let arguments = ["run", campaign, "--store", &store, "--queue", &queue, "--workers", "0"];
    let coordinator = Process::outshine(&arguments, &environment, &log("coordinator.log"))?;
    let start = |name: &str| Process::worker(&queue, &store, &environment, &log(name));
    let (one, two) = (start("one.log")?, start("two.log")?);
    wait_for_commit(campaign, &store, &environment, "simulate")?;
    one.kill9()?;
    let three = start("three.log")?;
    wait_for_commit(campaign, &store, &environment, "train")?;
    two.kill9()?;
    let four = start("four.log")?;
    let said = std::fs::read_to_string(log("coordinator.log"))?;
    ensure!(coordinator.wait(LONG)?, "the coordinator failed: {said}");
    let disturbed = exported(campaign, &store, &environment, &log("products"))?;
    assert_eq!(differences(&expected, &disturbed), Vec::<String>::new());

    // Once more: nothing is computed, so nobody needs to be there to do it.
    ensure!(three.terminate(LONG)? && four.terminate(LONG)?, "a worker did not drain");
    let again = Process::outshine(&arguments, &environment, &log("again.log"))?;
    ensure!(again.wait(Duration::from_secs(60))?, "the finished campaign did not end by itself");
    Ok(())
}

/// Spans of training go to workers of their class alone, everything else to
/// the others; a coordinator that is asked to stop does so, and the next goes on.
#[test]
fn training_goes_to_workers_of_its_class() -> anyhow::Result<()> {
    let Some(broker) = or_skip(RabbitMq::start()) else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let result = with_two_classes(&broker, folder.path());
    result.with_context(|| log_ends(folder.path()))
}

fn with_two_classes(broker: &RabbitMq, folder: &Path) -> anyhow::Result<()> {
    let file = folder.join("tiny.toml");
    std::fs::write(&file, TINY)?;
    let campaign = file.to_str().context("a temporary path is text")?;
    let store = folder.join("store").display().to_string();
    // A vhost without a name is the default one.
    let queue = format!("{}/", broker.url());
    let log = |name: &str| folder.join(name);
    let variables = |all: &[(&'static str, &str)]| -> Vec<(&'static str, String)> {
        all.iter().map(|(key, value)| (*key, (*value).to_owned())).collect()
    };
    let start = |class: &str| {
        let own = [("OUTSHINE_CLASS", class), ("OUTSHINE_WORKER_NAME", class)];
        Process::worker(&queue, &store, &variables(&own), &log(&format!("{class}.log")))
    };
    let coordinate = |name: &str| {
        let arguments = ["run", campaign, "--store", &store, "--queue", &queue];
        Process::outshine(&arguments, &variables(&[("OUTSHINE_OWN_QUEUE", "train")]), &log(name))
    };
    let (fit, train) = (start("fit")?, start("train")?);
    let first = coordinate("first.log")?;
    wait_for_commit(campaign, &store, &[], "simulate")?;
    ensure!(!first.terminate(Duration::from_secs(30))?, "a stopped run says so by its status");
    let second = coordinate("second.log")?;
    ensure!(second.wait(LONG)?, "the coordinator failed");
    ensure!(fit.terminate(LONG)? && train.terminate(LONG)?, "a worker did not drain");
    let mut spans = 0;
    for (path, bytes) in files(Path::new(&store))? {
        if !path.contains("/commits/") {
            continue;
        }
        let record: serde_json::Value = serde_json::from_slice(&bytes)?;
        let class = if path.contains("/commits/train/") { "train/" } else { "fit/" };
        let worker = record["worker"].as_str().unwrap_or_default();
        ensure!(worker.starts_with(class), "{path} was done by {worker}");
        spans += usize::from(class == "train/");
    }
    ensure!(spans > 0, "no span of training");
    Ok(())
}

#[test]
fn a_killed_one_process_run_goes_on_to_the_same_bytes() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("tiny.toml");
    std::fs::write(&file, TINY)?;
    let campaign = file.to_str().context("a temporary path is text")?;
    let path = |name: &str| folder.path().join(name);
    let whole = path("whole").display().to_string();
    outshine_ok(&["run", campaign, "--store", &whole], &[])?;
    let expected = exported(campaign, &whole, &[], &path("whole-products"))?;

    let store = path("killed").display().to_string();
    for stage in ["simulate", "train", "fit"] {
        let run = Process::outshine(&["run", campaign, "--store", &store], &[], &path("log"))?;
        wait_for_commit(campaign, &store, &[], stage)?;
        run.kill9()?;
    }
    outshine_ok(&["run", campaign, "--store", &store], &[])?;
    let resumed = exported(campaign, &store, &[], &path("killed-products"))?;
    assert_eq!(differences(&expected, &resumed), Vec::<String>::new());
    Ok(())
}
