//! What a task logged before it failed is kept with its failure, and nothing of
//! its neighbours.

use anyhow::Context;
use async_trait::async_trait;
use outshine_observe::{EnvFilter, lines};
use outshine_schemas::task::Stage;
use outshine_tests::campaigns::{TINY, run_with, tiny};
use outshine_tests::processes::outshine_ok;
use outshine_worker::runtime::{Assignment, Kernel};
use outshine_worker::stages::{Outcome, StageError, Stages};
use std::sync::Arc;
use std::time::Duration;

/// The science, but for block 1, which fails; all blocks talk, at the same time.
#[derive(Default)]
struct Talking(Stages);

/// Lines of a task: more than are kept.
const LINES: usize = 2 * lines::MOST_LINES;

#[async_trait]
impl Kernel for Talking {
    async fn run(&self, assignment: Assignment) -> Result<Outcome, StageError> {
        if assignment.task.stage == Stage::Fit {
            let block = assignment.task.shard.start;
            for n in 0..LINES {
                // Some from threads of their own, as where the science computes.
                let span = tracing::Span::current();
                let say = move || span.in_scope(|| tracing::info!("block {block} says {n}"));
                match n % 2 {
                    0 => tokio::task::spawn_blocking(say).await.expect("nothing panics"),
                    _ => say(),
                }
                // Now a neighbour.
                tokio::time::sleep(Duration::from_micros(100)).await;
            }
            if block == 1 {
                return Err(StageError::Permanent("block 1 is bad".to_owned()));
            }
        }
        self.0.run(assignment).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_keeps_the_last_lines_of_its_task_and_of_no_other() -> anyhow::Result<()> {
    // Warnings alone are shown: what is kept does not depend on that.
    let logs = outshine_observe::logs(false, EnvFilter::new("warn"), std::io::sink);
    // For all threads: this test has its program to itself.
    tracing::subscriber::set_global_default(logs)?;
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (toml, place) = (path("tiny.toml"), path("store"));
    std::fs::write(&toml, TINY)?;
    let setting = "execution.blocks_per_task=1";
    let store = outshine_store::open(&place).await?;
    let ran = run_with(&store, tiny(&[setting])?, Arc::new(Talking::default())).await?;
    let graph = ran.graph()?;
    let failure = graph.failures().next().context("one failed")?;
    assert_eq!((failure.stage, failure.shard.start), (Stage::Fit, 1));
    let said: Vec<&String> = failure.log.iter().filter(|l| l.contains(" says ")).collect();
    assert!(said.iter().all(|line| line.contains("block 1 says ")), "a neighbour: {said:?}");
    assert_eq!(failure.log.len(), lines::MOST_LINES);
    let last = format!("block 1 says {}", LINES - 1);
    assert!(said.last().is_some_and(|line| line.ends_with(&last)), "{said:?}");

    let arguments = [&toml, "--store", &place, "--set", setting];
    let command = |name, flag| outshine_ok(&[&[name][..], &arguments, flag].concat(), &[]);
    let text = command("status", &[])?;
    assert!(text.contains("block 1 is bad") && !text.contains("says"), "{text}");
    let text = command("status", &["--logs"])?;
    assert!(text.contains(&last) && !text.contains("block 0 says"), "{text}");
    let json: serde_json::Value = serde_json::from_str(&command("status", &["--json", "--logs"])?)?;
    assert_eq!(json["failures"][0]["log"], serde_json::json!(failure.log));
    let text = command("retry", &["--logs"])?;
    assert!(text.contains(&last) && text.contains("1 failed tasks will be tried"), "{text}");
    Ok(())
}
