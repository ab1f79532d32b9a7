//! Two messages of one task at once are one task.

use outshine_broker::TaskQueue;
use outshine_coordinator::prepare::prepare;
use outshine_coordinator::progress;
use outshine_coordinator::stage_graph::StageGraph;
use outshine_schemas::codec;
use outshine_schemas::task::{Class, Stage};
use outshine_tests::campaigns::tiny;
use outshine_worker::runtime::{self, Consumers, Settings, board::Board};
use std::sync::Arc;
use std::time::Duration;

/// Both slots of a worker get the same task: one computes, the other waits and
/// finds it committed, so that one attempt leaves files.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_message_waits_for_the_first() -> anyhow::Result<()> {
    let store = outshine_store::open("memory:").await?;
    let campaign = prepare(&store, tiny(&[])?).await?;
    let mut graph = StageGraph::new(campaign.clone());
    progress::refresh(&store, &campaign.id(), &mut graph).await?;
    let task = graph.pending().into_iter().find(|t| t.stage == Stage::Simulate).cloned();
    let message = bytes::Bytes::from(codec::encode(&task.expect("a simulation"))?);
    let queue: Arc<dyn TaskQueue> = outshine_broker::open("memory:").await?;
    let name = Class::Fit.queue();
    queue.declare(&name).await?;
    queue.publish_all(&name, vec![message.clone(), message.clone(), message]).await?;
    let settings = Settings {
        name: "twice".to_owned(),
        slots: 3,
        threads: 1,
        class: Class::Fit,
        patience: Duration::from_secs(10),
        hang: runtime::HANG,
        board: Board::default(),
        consumers: Consumers::default(),
    };
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let worker = tokio::spawn(runtime::run(queue.clone(), store.clone(), settings, stopped));
    let layout = outshine_store::layout::Layout::new(&campaign.id());
    for _ in 0..600 {
        progress::refresh(&store, &campaign.id(), &mut graph).await?;
        if !store.list(&layout.commits(Stage::Simulate)).await?.is_empty()
            && queue.depth(&name).await? == 0
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    stop.send(true)?;
    worker.await??;
    assert_eq!(queue.depth(&name).await?, 0);
    assert_eq!(store.list(&layout.commits(Stage::Simulate)).await?.len(), 1);
    let files = store.list(&layout.stage_data(Stage::Simulate)).await?;
    assert_eq!(files.len(), 1, "one attempt alone: {files:?}");
    Ok(())
}
