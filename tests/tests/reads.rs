//! What all tasks of a campaign need, a worker reads once.

use anyhow::Context;
use outshine_schemas::task::Stage;
use outshine_store::layout::Layout;
use outshine_tests::campaigns::{run_here, tiny};
use outshine_tests::watched::{Request, watched};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Of a coordinator: whether a plan is there, and what it is.
const BY_COORDINATOR: u64 = 2;

#[tokio::test(flavor = "multi_thread")]
async fn tasks_of_one_worker_share_what_they_read() -> anyhow::Result<()> {
    let reads: Arc<Mutex<BTreeMap<String, u64>>> = Arc::default();
    let seen = reads.clone();
    let watch = move |request: Request, path: &str| {
        if request == Request::Get {
            *seen.lock().expect("no thread panicked").entry(path.to_owned()).or_default() += 1;
        }
        Ok(())
    };
    let store = outshine_store::open("memory:").await?;
    let store = watched(&store, "watched:", Box::new(watch));
    let settings = ["execution.blocks_per_task=1", "execution.galaxies_per_task=1"];
    let ran = run_here(&store, tiny(&settings)?, 2).await?;
    let layout = Layout::new(&ran.campaign.id());
    let graph = ran.graph()?;
    let tasks = |stage| graph.commits(stage).len();
    assert!(tasks(Stage::Fit) >= 6 && tasks(Stage::Reduce) == 6);

    let reads = reads.lock().expect("no thread panicked");
    for stage in [Stage::Field, Stage::Fit, Stage::Reduce, Stage::Calibrate] {
        let ended = graph.ended(stage).context("it is complete")?;
        let path = layout.plan(stage, &ended.plan.inputs);
        assert_eq!(reads.get(&path), Some(&(BY_COORDINATOR + 1)), "{path}");
    }
    let model = graph.commits(Stage::Train).last().context("a model")?;
    for name in ["model.json", "model.safetensors"] {
        let path = &model.file(name).context("its file")?.path;
        assert_eq!(reads.get(path), Some(&1), "{path}");
    }
    Ok(())
}
