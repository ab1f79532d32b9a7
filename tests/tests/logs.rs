//! What a worker logs of a task says which one, and which attempt.

use anyhow::Context;
use async_trait::async_trait;
use outshine_broker::{MemoryQueue, TaskQueue};
use outshine_observe::EnvFilter;
use outshine_schemas::task::Stage;
use outshine_store::StoreError;
use outshine_tests::campaigns::{run_by, settings, tiny};
use outshine_worker::runtime::{Assignment, Kernel};
use outshine_worker::stages::{Outcome, StageError};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

/// Everything that was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no thread panicked").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn lines(&self) -> anyhow::Result<Vec<Value>> {
        let bytes = self.0.lock().expect("no thread panicked").clone();
        let text = String::from_utf8(bytes)?;
        text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }
}

/// Fails once in a way that may pass, and says something on the way.
#[derive(Default)]
struct Stumbles(AtomicU32);

#[async_trait]
impl Kernel for Stumbles {
    async fn run(&self, _: Assignment) -> Result<Outcome, StageError> {
        tracing::debug!("the science says something");
        match self.0.fetch_add(1, Ordering::SeqCst) {
            0 => Err(StageError::Store(StoreError::Unreachable {
                url: "test".to_owned(),
                reason: "a hiccup".to_owned(),
            })),
            _ => Ok(Outcome::default()),
        }
    }
}

/// The field stage alone, of which the first try fails; returns what was logged.
async fn logged(level: &str) -> anyhow::Result<Vec<Value>> {
    let log = Log::default();
    let writer = log.clone();
    let logs = outshine_observe::logs(true, EnvFilter::new(level), move || writer.clone());
    // All is done on the test's own thread.
    let _guard = tracing::subscriber::set_default(logs);
    let store = outshine_store::open("memory:").await?;
    let queue: Arc<dyn TaskQueue> = Arc::new(MemoryQueue::new());
    let campaign = tiny(&["estimator=shipped", "train={}"])?;
    let settings = settings("logger", 1, Arc::new(Stumbles::default()));
    let ran = run_by(&store, queue, campaign, settings, Stage::Field).await?;
    anyhow::ensure!(ran.graph()?.complete(Stage::Field));
    log.lines()
}

/// Texts of the lines that have one, with their spans.
fn by_text<'a>(lines: &'a [Value], text: &str) -> Vec<&'a Value> {
    let is = |line: &&Value| line["fields"]["message"].as_str().is_some_and(|m| m.contains(text));
    lines.iter().filter(is).collect()
}

#[tokio::test(start_paused = true)]
async fn every_line_of_a_task_names_campaign_stage_task_and_attempt() -> anyhow::Result<()> {
    let lines = logged("outshine_worker=debug,logs=debug").await?;
    for text in ["start", "the science says something", "will be tried again", "committed"] {
        assert!(!by_text(&lines, text).is_empty(), "no line `{text}` among {lines:#?}");
    }
    let mut attempts = BTreeSet::new();
    for line in &lines {
        let span = &line["span"];
        assert!(span["campaign"].as_str().is_some_and(|c| c.starts_with("tiny-")), "{line}");
        assert!(span["stage"].is_string() && span["task"].is_string(), "{line}");
        let id = span["attempt_id"].as_str().context("an attempt")?.to_owned();
        attempts.insert((span["attempt"].as_u64().context("a number")?, id));
    }
    // Each attempt has one number and one id.
    let numbers: Vec<u64> = attempts.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [1, 2], "{attempts:?}");
    let of = |text: &str| by_text(&lines, text)[0]["span"]["attempt"].as_u64();
    assert_eq!((of("will be tried again"), of("committed")), (Some(1), Some(2)));
    Ok(())
}

/// A program that logs warnings alone still says what they are about.
#[tokio::test(start_paused = true)]
async fn warnings_name_their_task_where_nothing_else_is_logged() -> anyhow::Result<()> {
    let lines = logged("warn").await?;
    let again = by_text(&lines, "will be tried again");
    assert_eq!(again.len(), 1, "{lines:#?}");
    assert_eq!(again[0]["span"]["attempt"], 1);
    assert_eq!(again[0]["span"]["stage"], "field");
    Ok(())
}
