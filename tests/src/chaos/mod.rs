//! Campaigns under faults: real processes, a real broker and a real object
//! store, disturbed by a [`schedule`] that is made from one seed.
//!
//! A [`lane`] is a broker and a store with the proxies before them; the
//! [`supervisor`] keeps a campaign's processes running as Kubernetes would and
//! brings the faults about; [`checks`] says whether the campaign came out as if
//! nothing had happened. What is known of a seed is kept in [`results`].

pub mod checks;
pub mod lane;
pub mod proxy;
pub mod results;
pub mod schedule;
pub mod supervisor;

/// A mock field that takes about ten seconds undisturbed: some forty tasks, the
/// shipped estimator, few messages on the queue at a time, and lost ones soon
/// published again.
pub const CAMPAIGN: &str = r#"
name = "chaos"
seed = 7

[field.mock]
galaxies = 16
columns = 4
stamp = 40
log_mass = [9.5, 10.5]
radius_pixels = [3.0, 5.0]

[calibrate]
count = 20
draws = 19
required = false

[fit]
draws = 400
keep = "masses"
redshifts = 5

[execution]
blocks_per_task = 1
galaxies_per_task = 1
queue_window = 6
max_losses = 15
stall_seconds = 3
max_republish = 1000
"#;
