//! The seam between plumbing and science: what is done with a task.

use super::board::Board;
use super::plans::Plans;
use crate::stages::{Outcome, StageError};
use async_trait::async_trait;
use outshine_schemas::campaign::ResolvedCampaign;
use outshine_schemas::task::Task;
use outshine_store::Store;
use std::sync::Arc;

/// A task and where its inputs are.
#[derive(Clone, Debug)]
pub struct Assignment {
    /// Where inputs are read.
    pub store: Store,
    /// What to do.
    pub task: Task,
    /// The campaign it belongs to.
    pub campaign: Arc<ResolvedCampaign>,
    /// Threads that the task may use.
    pub threads: usize,
    /// Where it tells how far it is.
    pub board: Board,
    /// Plans that other tasks of the process have read.
    pub plans: Plans,
}

/// Does tasks. It reads what earlier stages committed, writes nothing to the
/// store, and gives the same bytes for the same task, whoever does it.
#[async_trait]
pub trait Kernel: Send + Sync {
    /// Does one task.
    ///
    /// # Errors
    /// [`StageError`], whose class says whether another try may help.
    async fn run(&self, assignment: Assignment) -> Result<Outcome, StageError>;
}
