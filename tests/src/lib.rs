//! What the tests share.

pub mod campaigns;
pub mod chaos;
pub mod processes;
pub mod reference;
pub mod servers;
pub mod simulation;
pub mod watched;
