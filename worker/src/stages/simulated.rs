//! Simulated objects that a model has not seen, drawn and observed as those of
//! its training are.

use super::{Science, StageError};
use outshine_kernels::random::Stream;
use outshine_sps::grid::Scratch;
use outshine_sps::model::Workspace;
use outshine_sps::{Components, Derived, Parameters, Prior, RedshiftGrid};

/// An object counts as a pixel up to this depth factor, and as an integrated
/// galaxy beyond.
const PIXEL_LIMIT: f64 = 3.0;

/// A simulated object, observed.
pub struct Simulated {
    /// What it is.
    pub parameters: Parameters,
    /// What derives from it.
    pub derived: Derived,
    /// Fluxes, nJy per band.
    pub flux: Vec<f32>,
    /// Errors, nJy per band; 0 where not observed.
    pub err: Vec<f32>,
    /// Whether it is as deep as many pixels together.
    pub integrated: bool,
}

impl Simulated {
    /// By the forward model at full resolution.
    pub fn in_full(
        science: &Science,
        workspace: &mut Workspace,
        stream: &mut Stream,
    ) -> Result<Self, StageError> {
        Self::of_prior(science, &science.prior, workspace, stream)
    }

    /// As [`Simulated::in_full`], of another prior than the campaign's.
    pub fn of_prior(
        science: &Science,
        prior: &Prior,
        workspace: &mut Workspace,
        stream: &mut Stream,
    ) -> Result<Self, StageError> {
        Self::by(science, prior, stream, |parameters, noiseless| {
            science.forward.photometry(parameters, Components::Full, workspace, noiseless)
        })
    }

    /// By the tables that make the simulations of the training.
    pub fn by_tables(
        science: &Science,
        grid: &RedshiftGrid,
        scratch: &mut Scratch,
        stream: &mut Stream,
    ) -> Result<Self, StageError> {
        Self::by(science, &science.prior, stream, |parameters, noiseless| {
            grid.photometry(parameters, scratch, noiseless)
        })
    }

    fn by(
        science: &Science,
        prior: &Prior,
        stream: &mut Stream,
        photometry: impl FnOnce(&Parameters, &mut [f64]) -> Result<Derived, outshine_sps::SpsError>,
    ) -> Result<Self, StageError> {
        let parameters = prior.draw(stream);
        let mut noiseless = vec![0.0; science.target.features.bands().len()];
        let derived = photometry(&parameters, &mut noiseless)?;
        let (flux, err, integrated) = observe(science, &noiseless, stream);
        Ok(Self { parameters, derived, flux, err, integrated })
    }
}

/// Fluxes and errors of one observation as those of the training are, and
/// whether it counts as integrated.
pub fn observe(
    science: &Science,
    noiseless: &[f64],
    stream: &mut Stream,
) -> (Vec<f32>, Vec<f32>, bool) {
    let conditions = science.coverage.draw(&science.noise, stream);
    let (mut flux, mut err) = (vec![0.0; noiseless.len()], vec![0.0; noiseless.len()]);
    science.noise.observe(noiseless, &conditions, stream, &mut flux, &mut err);
    (flux, err, conditions.depth_factor > PIXEL_LIMIT)
}
