//! Everything that coordinator and workers agree on: who is who ([`ids`]),
//! what is asked ([`campaign`], [`task`]), what was done ([`outcome`]), where a table is from ([`provenance`]), how it
//! travels ([`codec`]) and what the tables look like ([`tables`]).
//!
//! Nothing here computes; nothing here talks to a queue or a store.

pub mod campaign;
pub mod codec;
pub mod digest;
pub mod flags;
pub mod ids;
pub mod outcome;
pub mod provenance;
pub mod tables;
pub mod task;

/// Version of the stored formats and messages. A change makes new task ids.
pub const FORMAT_VERSION: u32 = 1;

/// Version of the science: raised whenever the same campaign would give other
/// numbers. A change makes new task ids, so old and new results never mix.
pub const SCIENCE_VERSION: u32 = 6;

/// The code version recorded beside results.
pub const CODE_VERSION: &str = env!("CARGO_PKG_VERSION");
