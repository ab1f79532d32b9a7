//! The coordinator: decides what must be done, publishes it, and knows from
//! the store alone how far a campaign is.
//!
//! Nothing here computes: `plan` and `stage_graph` are pure, `progress` reads
//! commit records, `dispatch` fills the queue. The worker is linked in only by
//! the feature `local`, for the one-machine mode.

pub mod database;
pub mod dispatch;
pub mod estimate;
pub mod export;
pub mod failures;
pub mod gc;
pub mod look;
pub mod metrics;
pub mod plan;
pub mod prepare;
pub mod progress;
pub mod run;
pub mod stage_graph;
pub mod status;
pub mod summary;
pub mod survey;
pub mod touched;
pub mod verify;
pub mod view;
pub mod words;
