//! Star-formation histories: the mass formed per age bin, exactly.
//!
//! Every family answers the same questions through `History`: mass per age
//! bin, mean age, quantiles. A history has no mass of its own: fractions are
//! of all mass formed.

mod continuity;
mod dirichlet;
mod double_power_law;
mod steps;
mod tau;

use crate::error::SpsError;
use outshine_kernels::scalar;
use serde::{Deserialize, Serialize};
use steps::Steps;
use tau::TauHistory;

/// A star-formation history, without its mass.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Sfh {
    /// SFR ~ (t - t_i) exp(-(t - t_i) / tau) for t >= t_i.
    Tau {
        /// Timescale, Gyr.
        tau_gyr: f64,
        /// Cosmic time at which star formation starts, Gyr.
        t_i_gyr: f64,
    },
    /// The smooth curve of Dense Basis (Iyer et al. 2019) through three
    /// quantiles of mass. What it realises differs from what is asked here:
    /// see [`Realised`].
    Dirichlet {
        /// log10 of the specific star-formation rate at the end, 1/yr.
        log_ssfr: f64,
        /// Fraction of the cosmic age at which a quarter of the mass had formed.
        t25: f64,
        /// The same for half of the mass.
        t50: f64,
        /// The same for three quarters.
        t75: f64,
    },
    /// SFR ~ [ (t / tau)^alpha + (t / tau)^-beta ]^-1 (Carnall et al. 2018).
    DoublePowerLaw {
        /// Cosmic time of the turnover, Gyr.
        tau_gyr: f64,
        /// Slope of the fall.
        alpha: f64,
        /// Slope of the rise.
        beta: f64,
    },
    /// Constant rates in seven bins of lookback time (Leja et al. 2019): 0, 30
    /// and 100 Myr, four bins even in log age to 0.85 of the cosmic age, and
    /// the rest. Where 100 Myr is more than 0.425 of the cosmic age, that
    /// takes its place, and 0.3 of it that of 30 Myr.
    Continuity {
        /// log10 of SFR(bin i) / SFR(bin i + 1), bin 0 the youngest: positive
        /// where star formation rises towards the present.
        log_sfr_ratios: [f64; 6],
    },
}

/// The families of star-formation histories.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SfhFamily {
    /// [`Sfh::Tau`].
    #[default]
    Tau,
    /// [`Sfh::Dirichlet`].
    Dirichlet,
    /// [`Sfh::DoublePowerLaw`].
    DoublePowerLaw,
    /// [`Sfh::Continuity`].
    Continuity,
}

/// The parameters of one stellar population.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parameters {
    /// Star-formation history.
    pub sfh: Sfh,
    /// log10 of the stellar mass ever formed, Msun.
    pub log_mass_formed: f64,
    /// [M/H] = log10(Z / Zsun), Zsun that of the SSP library; constant in time.
    pub metallicity: f64,
    /// Attenuation at 5500 A, mag.
    pub a_v: f64,
    /// Redshift.
    pub redshift: f64,
}

fn within(name: &'static str, value: f64, low: f64, high: f64) -> Result<(), SpsError> {
    if value >= low && value <= high {
        return Ok(());
    }
    Err(SpsError::OutOfRange { name, value, low, high })
}

impl Sfh {
    /// The family that the history belongs to.
    #[must_use]
    pub fn family(&self) -> SfhFamily {
        match self {
            Self::Tau { .. } => SfhFamily::Tau,
            Self::Dirichlet { .. } => SfhFamily::Dirichlet,
            Self::DoublePowerLaw { .. } => SfhFamily::DoublePowerLaw,
            Self::Continuity { .. } => SfhFamily::Continuity,
        }
    }

    /// Checks that the history can be computed at a cosmic age.
    ///
    /// # Errors
    /// [`SpsError::OutOfRange`] naming the parameter.
    pub fn check(&self, cosmic_age_gyr: f64) -> Result<(), SpsError> {
        within("cosmic_age_gyr", cosmic_age_gyr, 1e-6, 1e3)?;
        match *self {
            Self::Tau { tau_gyr, t_i_gyr } => {
                within("tau_gyr", tau_gyr, 1e-9, 1e9)?;
                // The largest double below the cosmic age.
                within("t_i_gyr", t_i_gyr, 0.0, cosmic_age_gyr * (1.0 - f64::EPSILON))
            }
            Self::Dirichlet { log_ssfr, t25, t50, t75 } => {
                within("log_ssfr", log_ssfr, -20.0, -6.0)?;
                within("t75", t75, 0.0, 1.0)?;
                within("t50", t50, 0.0, t75)?;
                within("t25", t25, 0.0, t50)
            }
            Self::DoublePowerLaw { tau_gyr, alpha, beta } => {
                within("tau_gyr", tau_gyr, 1e-9, 1e9)?;
                within("alpha", alpha, 1e-4, 1e4)?;
                within("beta", beta, 1e-4, 1e4)
            }
            Self::Continuity { log_sfr_ratios } => log_sfr_ratios
                .iter()
                .try_for_each(|&ratio| within("log_sfr_ratios", ratio, -10.0, 10.0)),
        }
    }
}

/// A history seen from one redshift.
#[derive(Clone, Debug)]
pub(crate) enum History {
    Tau(TauHistory),
    Steps(Steps),
}

impl History {
    /// # Errors
    /// [`SpsError::OutOfRange`] naming the parameter that cannot be computed.
    pub fn new(sfh: &Sfh, cosmic_age_gyr: f64) -> Result<Self, SpsError> {
        sfh.check(cosmic_age_gyr)?;
        Ok(match *sfh {
            Sfh::Tau { tau_gyr, t_i_gyr } => {
                Self::Tau(TauHistory::new(tau_gyr, cosmic_age_gyr - t_i_gyr))
            }
            Sfh::Dirichlet { log_ssfr, t25, t50, t75 } => {
                Self::Steps(dirichlet::history(log_ssfr, [t25, t50, t75], cosmic_age_gyr))
            }
            Sfh::DoublePowerLaw { tau_gyr, alpha, beta } => {
                Self::Steps(double_power_law::history(tau_gyr, alpha, beta, cosmic_age_gyr))
            }
            Sfh::Continuity { log_sfr_ratios } => {
                Self::Steps(continuity::history(&log_sfr_ratios, cosmic_age_gyr))
            }
        })
    }

    /// Age of the oldest stars, Gyr.
    pub fn duration_gyr(&self) -> f64 {
        match self {
            Self::Tau(tau) => tau.duration_gyr,
            Self::Steps(steps) => steps.duration_gyr(),
        }
    }

    /// Fraction of all mass formed with ages from `young_gyr` to `old_gyr`.
    pub fn mass_fraction(&self, young_gyr: f64, old_gyr: f64) -> f64 {
        match self {
            Self::Tau(tau) => tau.mass_fraction(young_gyr, old_gyr),
            Self::Steps(steps) => steps.mass_fraction(young_gyr, old_gyr),
        }
    }

    /// Mass fractions of consecutive age bins; the last one also takes what
    /// is older than the last edge.
    ///
    /// `edges_gyr`: n + 1 rising ages, the first 0; `fractions`: n, summing to 1.
    /// Returns how many leading bins can be non-zero.
    pub fn bin_fractions(&self, edges_gyr: &[f64], fractions: &mut [f64]) -> usize {
        match self {
            Self::Tau(tau) => tau.bin_fractions(edges_gyr, fractions),
            Self::Steps(steps) => steps.bin_fractions(edges_gyr, fractions),
        }
    }

    /// Mass-weighted age, Gyr.
    pub fn mean_age_gyr(&self) -> f64 {
        match self {
            Self::Tau(tau) => tau.mean_age_gyr(),
            Self::Steps(steps) => steps.mean_age_gyr(),
        }
    }

    /// Age by which the fraction `f` of all mass had formed, Gyr: the median
    /// formation time, as a lookback time, at 0.5.
    pub fn age_at_fraction(&self, f: f64) -> f64 {
        match self {
            Self::Tau(tau) => tau.age_at_fraction(f),
            Self::Steps(steps) => steps.age_at_fraction(f),
        }
    }

    /// Star-formation rate per mass formed at an age, 1/Gyr.
    fn rate_per_gyr(&self, age_gyr: f64) -> f64 {
        match self {
            Self::Tau(tau) => tau.rate_per_gyr(age_gyr),
            Self::Steps(steps) => steps.rate_per_gyr(age_gyr),
        }
    }

    /// Mass formed over the mass asked for.
    fn realised_mass(&self) -> f64 {
        match self {
            Self::Tau(_) => 1.0,
            Self::Steps(steps) => steps.total(),
        }
    }
}

/// The floor of log10 of the specific star-formation rate (SFR_100 per mass formed), 1/yr.
pub const LOG_SSFR_FLOOR: f64 = -14.0;

/// log10 of `value` minus `shift`, floored, and whether the floor was used.
pub(crate) fn floored(value: f64, shift: f64) -> (f64, bool) {
    let log_ssfr = if value > 0.0 { scalar::log10(value) - shift } else { f64::NEG_INFINITY };
    if log_ssfr < LOG_SSFR_FLOOR { (LOG_SSFR_FLOOR, true) } else { (log_ssfr, false) }
}

/// log10 of (mass fraction formed in the last 100 Myr) / 100 Myr, floored at
/// [`LOG_SSFR_FLOOR`], and whether the floor was used.
pub(crate) fn log_ssfr_100(history: &History) -> (f64, bool) {
    floored(history.mass_fraction(0.0, 0.1), 8.0)
}

/// What a history amounts to once realised. For [`Sfh::Dirichlet`] this
/// differs from what was asked, and is what can be inferred; the other
/// families realise what they are asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Realised {
    /// Fraction of the cosmic age at which a quarter of the mass had formed.
    pub t25: f64,
    /// The same for half of the mass.
    pub t50: f64,
    /// The same for three quarters.
    pub t75: f64,
    /// log10 of the mean specific star-formation rate of the last 100 Myr,
    /// 1/yr per mass formed; at least [`LOG_SSFR_FLOOR`].
    pub log_ssfr_100: f64,
    /// The same at the present: for histories made of steps, in the youngest.
    pub log_ssfr_now: f64,
    /// Age of the oldest stars, Gyr.
    pub duration_gyr: f64,
    /// log10 of the mass that the recipe realises over the mass asked for.
    /// Photometry rescales the whole curve, which takes this offset out.
    pub log_mass_offset: f64,
}

impl Realised {
    /// Measures a history at a cosmic age.
    ///
    /// # Errors
    /// [`SpsError::OutOfRange`] naming the parameter that cannot be computed.
    pub fn measure(sfh: &Sfh, cosmic_age_gyr: f64) -> Result<Self, SpsError> {
        Ok(Self::of(&History::new(sfh, cosmic_age_gyr)?, sfh, cosmic_age_gyr))
    }

    /// Measures the history of `sfh`.
    pub(crate) fn of(history: &History, sfh: &Sfh, cosmic_age_gyr: f64) -> Self {
        let quantile = |f: f64| 1.0 - history.age_at_fraction(f) / cosmic_age_gyr;
        let offset = match sfh {
            Sfh::Dirichlet { .. } => scalar::log10(history.realised_mass()),
            _ => 0.0,
        };
        Self {
            t25: quantile(0.25),
            t50: quantile(0.5),
            t75: quantile(0.75),
            log_ssfr_100: log_ssfr_100(history).0,
            log_ssfr_now: floored(history.rate_per_gyr(0.0), 9.0).0,
            duration_gyr: history.duration_gyr(),
            log_mass_offset: offset,
        }
    }
}

/// Fractions of all mass formed in consecutive age bins; the last one also
/// takes what is older than the last edge.
///
/// `edges_gyr`: n + 1 rising ages, the first 0; `fractions`: n, summing to 1.
/// Returns how many leading bins can be non-zero.
///
/// # Errors
/// [`SpsError::OutOfRange`] naming the parameter that cannot be computed.
pub fn mass_per_bin(
    sfh: &Sfh,
    cosmic_age_gyr: f64,
    edges_gyr: &[f64],
    fractions: &mut [f64],
) -> Result<usize, SpsError> {
    Ok(History::new(sfh, cosmic_age_gyr)?.bin_fractions(edges_gyr, fractions))
}

/// Fraction of all mass that had formed by the cosmic time `time_gyr`.
///
/// # Errors
/// [`SpsError::OutOfRange`] for a history that cannot be computed.
pub fn formed_before(sfh: &Sfh, cosmic_age_gyr: f64, time_gyr: f64) -> Result<f64, SpsError> {
    let history = History::new(sfh, cosmic_age_gyr)?;
    let young_gyr = (cosmic_age_gyr - time_gyr).clamp(0.0, cosmic_age_gyr);
    Ok(history.mass_fraction(young_gyr, cosmic_age_gyr.max(history.duration_gyr())))
}

/// Star-formation rate at cosmic times, Msun/yr per Msun formed by
/// `cosmic_age_gyr`; zero outside 0 to that age.
///
/// `times_gyr`: n cosmic times in any order; returns n values.
///
/// # Errors
/// [`SpsError::OutOfRange`] naming the parameter that cannot be computed.
pub fn sfr_curve(sfh: &Sfh, cosmic_age_gyr: f64, times_gyr: &[f64]) -> Result<Vec<f64>, SpsError> {
    let history = History::new(sfh, cosmic_age_gyr)?;
    Ok(times_gyr.iter().map(|t| history.rate_per_gyr(cosmic_age_gyr - t) * 1e-9).collect())
}

/// Rates at given ages, to a common factor, as a code that samples histories
/// would take them: those of [`Sfh::Dirichlet`] linear between its own samples.
pub(crate) fn sampled_rates(sfh: &Sfh, history: &History, ages_gyr: &[f64], age: f64) -> Vec<f64> {
    match *sfh {
        Sfh::Dirichlet { log_ssfr, t25, t50, t75 } => {
            dirichlet::rates_at(log_ssfr, [t25, t50, t75], age, ages_gyr)
        }
        _ => ages_gyr.iter().map(|&at| history.rate_per_gyr(at)).collect(),
    }
}

#[cfg(test)]
mod tests;
