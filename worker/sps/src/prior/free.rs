//! Free coordinates: what an estimator infers, one value per number that a
//! population is free in, so that their density is regular. All else that is
//! reported follows from them: [`mod@crate::derive`].
//!
//! | family | coordinates |
//! | --- | --- |
//! | tau | log_mass_formed, log_tau_gyr, t_i_fraction (of the cosmic age), metallicity, a_v |
//! | dirichlet | log_mass_formed, log_ssfr_100, t25_over_t50, t50_over_t75, t75, metallicity, a_v |
//!
//! Those of the Dirichlet family are the quantities of the history that is
//! realised ([`Realised`]), which differ from those asked for. Any values in the
//! box stand for t25 <= t50 <= t75 <= 1. The rate is the mean of 100 Myr
//! per mass formed, which cannot exceed 1e-8 / yr. Where it is at its floor
//! of 1e-14 / yr, which many histories may share, the coordinate is spread
//! evenly over the half dex below: a density has no atoms.

use super::{Numbers, Prior, Shape};
use crate::cosmology;
use crate::error::SpsError;
use crate::sfh::{LOG_SSFR_FLOOR, Parameters, Realised, Sfh, SfhFamily};
use outshine_kernels::scalar;

/// Coordinates of the tau family.
const TAU: [&str; 5] = ["log_mass_formed", "log_tau_gyr", "t_i_fraction", "metallicity", "a_v"];
/// Coordinates of the Dirichlet family.
const DIRICHLET: [&str; 7] = [
    "log_mass_formed",
    "log_ssfr_100",
    "t25_over_t50",
    "t50_over_t75",
    "t75",
    "metallicity",
    "a_v",
];
/// Room below the floor of the rate, dex.
const SPREAD_DEX: f64 = 0.5;
/// Highest mean rate of 100 Myr per mass formed: all mass within them.
const MOST_LOG_SSFR: f64 = -8.0;
/// How close to an end of its box a coordinate of the Dirichlet family may
/// come, as a fraction of the box; distinct in single precision.
const EDGE: f64 = 1e-6;

/// `part` of `whole`, inside (0, 1); half where neither is told from zero.
fn share(part: f64, whole: f64) -> f64 {
    let ratio = if whole > 0.0 { part / whole } else { 0.5 };
    ratio.clamp(EDGE, 1.0 - EDGE)
}

impl Prior {
    /// Names of the free coordinates, in the order of [`Prior::to_free`].
    ///
    /// Masses in Msun, times of the tau family in Gyr or as a fraction of the cosmic
    /// age. Those of the Dirichlet family are of the realised history: t75 is a
    /// fraction of the cosmic age, t50 and t25 follow from ratios, and
    /// `log_ssfr_100` is the mean rate of 100 Myr per mass formed, 1/yr.
    ///
    /// # Errors
    /// [`SpsError::Setting`] for a family that no estimator is made for.
    pub fn free_names(&self) -> Result<&'static [&'static str], SpsError> {
        match self.sfh {
            SfhFamily::Tau => Ok(&TAU),
            SfhFamily::Dirichlet => Ok(&DIRICHLET),
            other => Err(no_coordinates(other)),
        }
    }

    /// Bounds of the free coordinates, in the order of [`Prior::free_names`].
    /// Within them the density of the Dirichlet family is not uniform.
    ///
    /// # Errors
    /// [`SpsError::Setting`] for a family that no estimator is made for.
    pub fn free_bounds(&self) -> Result<Vec<(f64, f64)>, SpsError> {
        match self.sfh {
            SfhFamily::Tau => Ok(self.tau_bounds().to_vec()),
            SfhFamily::Dirichlet => {
                let rate = (LOG_SSFR_FLOOR - SPREAD_DEX, MOST_LOG_SSFR);
                let unit = (0.0, 1.0);
                Ok(vec![self.log_mass_formed, rate, unit, unit, unit, self.metallicity, self.a_v])
            }
            other => Err(no_coordinates(other)),
        }
    }

    pub(crate) fn tau_bounds(&self) -> [(f64, f64); 5] {
        [self.log_mass_formed, self.log_tau_gyr, self.t_i_fraction, self.metallicity, self.a_v]
    }

    /// The free coordinates of `parameters`, into `out`: one value per name.
    /// Those of the Dirichlet family are of the realised history, and any has them.
    ///
    /// `spread`: a uniform random number in (0, 1), which places a rate at its
    /// floor; without meaning for the tau family, which has no floor.
    ///
    /// # Errors
    /// [`SpsError::Setting`] for a tau-delayed prior and another history, or for
    /// a prior that no estimator is made for; [`SpsError::OutOfRange`] for
    /// one that cannot be computed.
    ///
    /// # Panics
    /// When `out` has another length than [`Prior::free_names`].
    pub fn to_free(
        &self,
        parameters: &Parameters,
        spread: f64,
        out: &mut [f64],
    ) -> Result<(), SpsError> {
        assert_eq!(out.len(), self.free_names()?.len(), "one value per free coordinate");
        let p = parameters;
        let cosmic_age_gyr = cosmology::age_gyr(p.redshift);
        match (self.sfh, p.sfh) {
            (SfhFamily::Tau, Sfh::Tau { tau_gyr, t_i_gyr }) => out.copy_from_slice(&[
                p.log_mass_formed,
                scalar::log10(tau_gyr),
                t_i_gyr / cosmic_age_gyr,
                p.metallicity,
                p.a_v,
            ]),
            (SfhFamily::Dirichlet, _) => {
                let realised = Realised::measure(&p.sfh, cosmic_age_gyr)?;
                out.copy_from_slice(&dirichlet(p, &realised, spread));
            }
            (own, other) => {
                let family = other.family();
                let problem =
                    format!("a {family:?} history has no coordinates of the {own:?} family");
                return Err(SpsError::setting("sfh", problem));
            }
        }
        Ok(())
    }

    /// The parameters, with a tau-delayed history, at the free coordinates
    /// `free` of the tau family and a redshift.
    ///
    /// # Panics
    /// When `free` has another length than that family has coordinates.
    #[must_use]
    pub fn from_free(&self, free: &[f64], redshift: f64) -> Parameters {
        assert_eq!(free.len(), TAU.len(), "one value per free coordinate");
        let shape = Shape::Tau { log_tau_gyr: free[1], t_i_fraction: free[2] };
        let numbers =
            Numbers { log_mass_formed: free[0], shape, metallicity: free[3], a_v: free[4] };
        numbers.at(redshift)
    }
}

fn no_coordinates(family: SfhFamily) -> SpsError {
    let problem = format!("no estimator infers {family:?} histories: choose tau or dirichlet");
    SpsError::setting("sfh", problem)
}

/// The free coordinates of a realised history of the Dirichlet family.
pub(crate) fn dirichlet(p: &Parameters, realised: &Realised, spread: f64) -> [f64; 7] {
    // Rounding may put a time a little out of order, or before the Big Bang.
    let t75 = share(realised.t75, 1.0);
    let t50 = realised.t50.clamp(0.0, t75);
    let t25 = realised.t25.clamp(0.0, t50);
    let log_ssfr = if realised.log_ssfr_100 > LOG_SSFR_FLOOR {
        realised.log_ssfr_100.min(MOST_LOG_SSFR - EDGE)
    } else {
        LOG_SSFR_FLOOR - SPREAD_DEX * share(spread, 1.0)
    };
    [p.log_mass_formed, log_ssfr, share(t25, t50), share(t50, t75), t75, p.metallicity, p.a_v]
}

#[cfg(test)]
mod tests {
    use super::*;
    use outshine_kernels::random::{Purpose, Stream};

    fn dirichlet_prior() -> Prior {
        Prior { sfh: SfhFamily::Dirichlet, ..Prior::default() }
    }

    #[test]
    fn families_without_an_estimator_are_named() {
        for sfh in [SfhFamily::DoublePowerLaw, SfhFamily::Continuity] {
            let prior = Prior { sfh, ..Prior::default() };
            let errors =
                [prior.free_names().unwrap_err(), prior.free_bounds().map(|_| ()).unwrap_err()];
            for error in errors {
                assert!(error.to_string().contains(&format!("{sfh:?}")), "{error}");
            }
        }
        let p = dirichlet_prior().draw(&mut Stream::new(1, Purpose::Simulation, 0, 0));
        let error = Prior::default().to_free(&p, 0.5, &mut [0.0; 5]).unwrap_err();
        assert!(error.to_string().contains("Dirichlet history"), "{error}");
    }

    /// A delayed exponential has formed 1 - (1 + x) e^-x of its mass, but for
    /// what comes later, x = (t - t_i) / tau after its start.
    #[test]
    fn any_history_has_the_coordinates_of_the_dirichlet_family() {
        let p = Prior::default().draw_at(1.0, &mut Stream::new(2, Purpose::Simulation, 0, 0));
        let age_gyr = cosmology::age_gyr(1.0);
        let (tau_gyr, t_i_gyr) = (0.4, 1.0);
        let p = Parameters { sfh: Sfh::Tau { tau_gyr, t_i_gyr }, ..p };
        let mut free = [0.0; 7];
        dirichlet_prior().to_free(&p, 0.5, &mut free).unwrap();
        let formed = |t_gyr: f64| {
            let x = (t_gyr - t_i_gyr) / tau_gyr;
            1.0 - (1.0 + x) * (-x).exp()
        };
        let (t75, t50) = (free[4], free[4] * free[3]);
        for (t, share) in [(t75, 0.75), (t50, 0.5), (t50 * free[2], 0.25)] {
            let found = formed(t * age_gyr) / formed(age_gyr);
            assert!((found - share).abs() < 1e-4, "{found} {share}");
        }
    }

    /// Measured on 100,000 draws of the default prior: see the README.
    #[test]
    fn dirichlet_coordinates_stay_inside_and_return_the_realised_times() {
        for (prior, n) in [
            (dirichlet_prior(), 100_000),
            (Prior { dirichlet_alpha: 0.05, ..dirichlet_prior() }, 3_000),
            (Prior { log_ssfr: (-20.0, -6.0), ..dirichlet_prior() }, 3_000),
        ] {
            let names = prior.free_names().unwrap();
            let bounds = prior.free_bounds().unwrap();
            assert_eq!((names.len(), bounds.len()), (7, 7));
            let mut values = vec![Vec::new(); 7];
            for i in 0..n {
                let mut stream = Stream::new(9, Purpose::Simulation, i, 0);
                let p = prior.draw(&mut stream);
                let mut free = [0.0; 7];
                prior.to_free(&p, stream.uniform(), &mut free).unwrap();
                for (i, v) in free.iter().enumerate() {
                    let (low, high) = bounds[i];
                    assert!(*v > low && *v < high, "{} = {v} of {p:?}", names[i]);
                    values[i].push(*v);
                }
                let r = Realised::measure(&p.sfh, cosmology::age_gyr(p.redshift)).unwrap();
                // EDGE moves a time by as much at most.
                assert!((free[4] - r.t75).abs() < 2.0 * EDGE);
                assert!((free[3] * free[4] - r.t50).abs() < 3.0 * EDGE);
                assert!((free[2] * free[3] * free[4] - r.t25).abs() < 4.0 * EDGE);
                assert!(
                    r.log_ssfr_100 <= LOG_SSFR_FLOOR || (free[1] - r.log_ssfr_100).abs() < 2e-6
                );
            }
            for (name, v) in names.iter().zip(&mut values) {
                v.sort_by(f64::total_cmp);
                let at = |q: f64| v[((v.len() - 1) as f64 * q) as usize];
                let quantiles = [0.0, 0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999, 1.0];
                println!("{name}: {:.4?}", quantiles.map(at));
            }
            let floored = values[1].iter().filter(|v| **v < LOG_SSFR_FLOOR).count();
            println!("floored: {floored} of {n}");
        }
    }

    #[test]
    fn floored_rates_are_spread_and_degenerate_times_have_coordinates() {
        let p = dirichlet_prior().draw(&mut Stream::new(1, Purpose::Simulation, 0, 0));
        let mut r = Realised::measure(&p.sfh, 3.0).unwrap();
        r.log_ssfr_100 = LOG_SSFR_FLOOR;
        let place = |spread| dirichlet(&p, &r, spread)[1];
        assert!((place(0.5) + 14.25).abs() < 1e-12);
        assert!((place(0.0) + 14.0).abs() < 1e-6 && place(0.0) < -14.0);
        assert!((place(1.0) + 14.5).abs() < 1e-6 && place(1.0) > -14.5);
        for (t25, t50, t75) in [(0.0, 0.0, 0.0), (-1e-13, 0.0, 0.5), (1.0, 1.0, 1.0)] {
            (r.t25, r.t50, r.t75, r.log_ssfr_100) = (t25, t50, t75, MOST_LOG_SSFR);
            let free = dirichlet(&p, &r, 0.5);
            let bounds = dirichlet_prior().free_bounds().unwrap();
            for (v, (low, high)) in free.into_iter().zip(bounds) {
                assert!(v > low && v < high, "{free:?}");
                // Single precision keeps them inside as well.
                assert!((v as f32) > low as f32 && (v as f32) < high as f32, "{free:?}");
            }
        }
    }
}
