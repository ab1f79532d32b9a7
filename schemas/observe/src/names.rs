//! Names of the metrics. Their comments say kind, labels and the values of those
//! in one form, which `deploy/check.py` reads.

use metrics::{describe_counter, describe_gauge, describe_histogram};

/// Gauge by `stage` and `state` (planned, done, pending, failed): tasks of the
/// campaign that a coordinator runs.
pub const TASKS: &str = "outshine_tasks";
/// Gauge by `stage`: seconds until it is done at the present rate.
pub const ETA: &str = "outshine_stage_eta_seconds";
/// Counter by `stage` and `outcome` (done, retried, failed, stopped, unreadable):
/// messages that a worker has dealt with. What is unreadable is of stage `unknown`.
pub const WORKER_TASKS: &str = "outshine_worker_tasks_total";
/// Histogram by `stage`: seconds that a committed task took.
pub const WORKER_SECONDS: &str = "outshine_worker_task_seconds";
/// Gauge: seconds since the quietest running task told how far it is; 0 where none runs.
pub const PROGRESS_AGE: &str = "outshine_worker_progress_age_seconds";
/// Counter: deliveries that were not ours any more when they were settled.
pub const LOST: &str = "outshine_settlements_lost_total";
/// Counter: connections to the broker made again.
pub const RECONNECTS: &str = "outshine_broker_reconnects_total";

/// Upper bounds of the histogram's buckets, seconds.
pub const BUCKETS: [f64; 10] = [0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0];

pub(crate) fn describe() {
    describe_gauge!(TASKS, "tasks of the campaign, by stage and state");
    describe_gauge!(ETA, "seconds until a stage is done at the present rate");
    describe_counter!(WORKER_TASKS, "messages dealt with, by stage and outcome");
    describe_histogram!(WORKER_SECONDS, "seconds that a committed task took, by stage");
    describe_gauge!(PROGRESS_AGE, "seconds since the quietest running task told how far it is");
    describe_counter!(LOST, "deliveries that were not ours any more when they were settled");
    describe_counter!(RECONNECTS, "connections to the broker made again");
}
