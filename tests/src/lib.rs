//! What the tests share.

pub mod campaigns;
pub mod processes;
pub mod reference;
pub mod servers;
pub mod simulation;
