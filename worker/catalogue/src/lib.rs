//! From posterior draws of pixels to galaxies: sums that do not depend on how
//! the work was cut ([`sums`]), also of pixels whose errors go together
//! ([`correlated`]), photometry of the whole ([`integrated`]),
//! intervals ([`interval`]), where the mass lies ([`shape`], [`profile`]), draws
//! rounded for storage ([`packing`]), how masses agree ([`agreement`]), from
//! which mass on galaxies are fitted ([`threshold`]) and, for
//! mocks, the comparison with truth ([`validation`]). Pure: no queue, no store, no tables.

pub mod agreement;
pub mod correlated;
pub mod integrated;
pub mod interval;
pub mod packing;
pub mod profile;
pub mod shape;
pub mod sums;
pub mod threshold;
pub mod validation;
