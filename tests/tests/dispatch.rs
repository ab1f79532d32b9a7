//! What a coordinator does about a queue that is gone.

use outshine_broker::{MemoryQueue, TaskQueue};
use outshine_coordinator::dispatch::Dispatch;
use outshine_schemas::campaign::Execution;
use outshine_schemas::digest::Digest;
use outshine_schemas::ids::CampaignId;
use outshine_schemas::task::{Class, Shard, Stage, Task};
use std::sync::Arc;

/// A broker that came back without its queues costs no run and no wait: what
/// was on the queue is published again with what is new.
#[tokio::test]
async fn a_lost_queue_is_declared_and_filled_again() -> anyhow::Result<()> {
    let digest = Digest::of(b"campaign");
    let task = |start| {
        let shard = Shard { start, end: start + 1 };
        let id = CampaignId::new("lost", &digest);
        Task::new(id, digest.clone(), Stage::Fit, shard, digest.clone())
    };
    let (one, two, three) = (task(0), task(1), task(2));
    let queue: Arc<dyn TaskQueue> = Arc::new(MemoryQueue::new());
    let name = Class::Fit.queue();
    let mut dispatch = Dispatch::new(queue.clone(), &name, &Execution::default());
    assert_eq!(dispatch.top_up(&[&one, &two]).await?, 2);
    assert_eq!(dispatch.top_up(&[&one, &two]).await?, 0);
    queue.delete(&name).await?;
    assert_eq!(dispatch.top_up(&[&one, &two, &three]).await?, 3);
    assert_eq!(queue.depth(&name).await?, 3);
    Ok(())
}
