//! What comes after an object's draws were made: refining them where the
//! campaign asks for it, and judging whether the object is one of those that the
//! model describes.

use super::calibrate::{mean_snr, snr_positions};
use super::draws::{Drawer, Draws};
use super::refine::Refiner;
use super::typical::{Limits, Typical};
use super::{Job, StageError};
use outshine_kernels::random::Stream;
use outshine_schemas::campaign::Refine;

/// Judges objects; reuses its memory.
pub struct Judge<'a> {
    job: &'a Job,
    typical: Typical<'a>,
    limits: &'a Limits,
    /// Where objects of this kind are refined.
    refiner: Option<Refiner<'a>>,
    snr_bands: Vec<usize>,
}

/// An object that was judged.
pub struct Judged {
    /// Its draws, refined or as they were.
    pub draws: Draws,
    /// How far its fluxes lie from the model, about as a standard normal deviate.
    pub misfit: f64,
    /// Whether that is further than nearly all objects lie that the model describes.
    pub odd: bool,
}

impl<'a> Judge<'a> {
    /// Of single pixels.
    ///
    /// # Errors
    /// [`StageError::Campaign`] when the prior leaves what can be tabulated.
    pub fn of_pixels(job: &'a Job, limits: &'a Limits) -> Result<Self, StageError> {
        Self::new(job, limits, &[Refine::All])
    }

    /// Of galaxies as one object.
    ///
    /// # Errors
    /// As [`Judge::of_pixels`].
    pub fn of_galaxies(job: &'a Job, limits: &'a Limits) -> Result<Self, StageError> {
        Self::new(job, limits, &[Refine::Integrated, Refine::All])
    }

    fn new(job: &'a Job, limits: &'a Limits, refined: &[Refine]) -> Result<Self, StageError> {
        let campaign = &job.campaign.campaign;
        let is_refined = refined.contains(&campaign.fit.refine);
        Ok(Self {
            job,
            typical: Typical::new(&job.science, &job.science.simulator()?),
            limits,
            refiner: is_refined.then(|| Refiner::new(&job.science)).transpose()?,
            snr_bands: snr_positions(campaign),
        })
    }

    /// Judges an object by `draws`, which are the latest of `drawer`, and refines
    /// them where it is bright enough and they are at one redshift.
    ///
    /// `flux`, `err`: nJy, one per band of the campaign; error 0: not observed.
    ///
    /// # Errors
    /// [`StageError`] of the forward model.
    pub fn judge(
        &mut self,
        drawer: &Drawer<'_>,
        draws: Draws,
        flux: &[f32],
        err: &[f32],
        stream: &mut Stream,
    ) -> Result<Judged, StageError> {
        let fit = &self.job.campaign.campaign.fit;
        // Not a number where none of these bands is observed.
        let snr = mean_snr(flux, err, &self.snr_bands);
        if let Some(refiner) = &mut self.refiner
            && drawer.one_redshift()
            && snr >= fit.refine_mean_snr
        {
            // Some of them take seconds.
            self.job.board.beat(&self.job.task.id);
            let refined = refiner.refine(drawer, flux, err, fit.draws as usize, stream)?;
            let odd = refined.is_odd();
            return Ok(Judged { draws: refined.draws, misfit: refined.misfit, odd });
        }
        let misfit = self.typical.misfit(drawer, flux, err)?;
        let odd = self.limits.exceeded(drawer, flux, err, misfit);
        Ok(Judged { draws, misfit, odd })
    }
}
