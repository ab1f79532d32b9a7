//! The worker: takes one task at a time from the queue, does it, commits the
//! outcome to the store and only then acknowledges.
//!
//! [`runtime`] is plumbing and knows no science; [`stages`] joins tasks to the
//! pure science crates, one file per kind of task; [`tools`] are the science
//! subcommands that run without a campaign.

pub mod runtime;
pub mod stages;
pub mod tools;
