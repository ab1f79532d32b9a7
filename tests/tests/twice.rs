//! Two messages of one task at once are one task.

use async_trait::async_trait;
use outshine_broker::{Priority, TaskQueue};
use outshine_coordinator::prepare::prepare;
use outshine_coordinator::progress::{self, By};
use outshine_coordinator::stage_graph::StageGraph;
use outshine_schemas::codec;
use outshine_schemas::task::{Class, Stage};
use outshine_tests::campaigns::{settings, tiny};
use outshine_worker::runtime::{self, Assignment, Kernel, Settings, board::Board};
use outshine_worker::stages::{Outcome, StageError, Stages};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The science, and how often it was asked.
#[derive(Default)]
struct Counted {
    science: Stages,
    runs: AtomicU32,
}

#[async_trait]
impl Kernel for Counted {
    async fn run(&self, assignment: Assignment) -> Result<Outcome, StageError> {
        self.runs.fetch_add(1, Ordering::SeqCst);
        self.science.run(assignment).await
    }
}

/// A task that another slot of the process has in hand is not done beside it:
/// its messages wait, and are done with once it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_message_waits_for_the_first() -> anyhow::Result<()> {
    let store = outshine_store::open("memory:").await?;
    let campaign = prepare(&store, tiny(&[])?).await?;
    let mut graph = StageGraph::new(campaign.clone());
    progress::look(&store, &campaign.id(), &mut graph, By::Runner(&[])).await?;
    let task = graph.pending().find(|t| t.stage == Stage::Simulate);
    let task = task.expect("a simulation");
    let message = bytes::Bytes::from(codec::encode(&task)?);
    let queue: Arc<dyn TaskQueue> = outshine_broker::open("memory:").await?;
    let name = Class::Fit.queue();
    queue.declare(&name).await?;
    queue.publish_all(&name, vec![message.clone(), message], Priority::Normal).await?;
    // The slot that has it in hand is this test.
    let board = Board::default();
    assert!(board.begin(&task.id));
    let kernel = Arc::new(Counted::default());
    let settings = Settings { board: board.clone(), ..settings("twice", 2, kernel.clone()) };
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let worker = tokio::spawn(runtime::run(queue.clone(), store.clone(), settings, stopped));
    let layout = outshine_store::layout::Layout::new(&campaign.id());
    // Long enough to do it several times over.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(queue.depth(&name).await?, 0, "both messages were taken");
    assert!(store.list(&layout.commits(Stage::Simulate)).await?.is_empty(), "done beside the slot");
    board.clear(&task.id);
    for _ in 0..600 {
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
    assert_eq!(kernel.runs.load(Ordering::SeqCst), 1, "the second message found the commit");
    Ok(())
}
