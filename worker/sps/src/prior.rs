//! The prior of the parameters and the free coordinates of an estimator.
//!
//! Defaults: Table 2 of the paper, tau-delayed column. All coordinates are
//! uniform in their bounds: log mass formed, log tau, t_i as a fraction of the
//! cosmic age (no draw starts after the present), [M/H], A_V, redshift.

use crate::cosmology;
use crate::error::SpsError;
use crate::sfh::{Parameters, Sfh};
use outshine_kernels::random::Stream;
use outshine_kernels::scalar;
use serde::{Deserialize, Serialize};

/// Bounds of a uniform prior, each overridable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Prior {
    /// log10 of the mass formed, Msun.
    pub log_mass_formed: (f64, f64),
    /// log10 of tau, Gyr.
    pub log_tau_gyr: (f64, f64),
    /// Start of star formation as a fraction of the age of the Universe.
    pub t_i_fraction: (f64, f64),
    /// [M/H].
    pub metallicity: (f64, f64),
    /// Attenuation at 5500 A, mag.
    pub a_v: (f64, f64),
    /// Redshift.
    pub redshift: (f64, f64),
}

impl Default for Prior {
    fn default() -> Self {
        Self {
            log_mass_formed: (4.0, 12.0),
            log_tau_gyr: (-2.0, 2.0),
            t_i_fraction: (0.0, 1.0),
            metallicity: (-2.3, 0.4),
            a_v: (0.0, 4.0),
            redshift: (0.0, 7.5),
        }
    }
}

impl Prior {
    /// Names of the free coordinates, in the order of [`Prior::to_free`].
    pub const FREE: [&'static str; 5] =
        ["log_mass_formed", "log_tau_gyr", "t_i_fraction", "metallicity", "a_v"];

    /// Bounds of the free coordinates, in the order of [`Prior::FREE`].
    #[must_use]
    pub fn bounds(&self) -> [(f64, f64); 5] {
        [self.log_mass_formed, self.log_tau_gyr, self.t_i_fraction, self.metallicity, self.a_v]
    }

    /// Lowest and highest redshift.
    #[must_use]
    pub fn redshift_range(&self) -> (f64, f64) {
        self.redshift
    }

    /// Checks that every range is finite, rising and physical.
    ///
    /// # Errors
    /// [`SpsError::Setting`] naming the first bad range.
    pub fn validate(&self) -> Result<(), SpsError> {
        let limits = [(-5.0, 20.0), (-6.0, 6.0), (0.0, 1.0), (-5.0, 2.0), (0.0, 100.0)];
        let ranges = Self::FREE.iter().copied().zip(self.bounds()).zip(limits);
        for ((name, (low, high)), (least, most)) in
            ranges.chain([(("redshift", self.redshift), (0.0, 20.0))])
        {
            if !(low.is_finite() && high.is_finite() && low < high) {
                return Err(SpsError::setting(name, format!("{low} to {high} is no range")));
            }
            if low < least || high > most {
                let problem = format!("{low} to {high} leaves the possible {least} to {most}");
                return Err(SpsError::setting(name, problem));
            }
        }
        Ok(())
    }

    /// Draws parameters, the redshift last.
    pub fn draw(&self, stream: &mut Stream) -> Parameters {
        let free = self.draw_free(stream);
        let redshift = stream.uniform_in(self.redshift.0, self.redshift.1);
        self.from_free(&free, redshift)
    }

    /// Draws parameters at a given redshift.
    pub fn draw_at(&self, redshift: f64, stream: &mut Stream) -> Parameters {
        let free = self.draw_free(stream);
        self.from_free(&free, redshift)
    }

    fn draw_free(&self, stream: &mut Stream) -> [f64; 5] {
        self.bounds().map(|(low, high)| stream.uniform_in(low, high))
    }

    /// The free coordinates of `parameters`.
    #[must_use]
    pub fn to_free(&self, parameters: &Parameters) -> [f64; 5] {
        let Sfh::Tau { tau_gyr, t_i_gyr } = parameters.sfh;
        [
            parameters.log_mass_formed,
            scalar::log10(tau_gyr),
            t_i_gyr / cosmology::age_gyr(parameters.redshift),
            parameters.metallicity,
            parameters.a_v,
        ]
    }

    /// The parameters at the free coordinates `free` and a redshift.
    #[must_use]
    pub fn from_free(&self, free: &[f64], redshift: f64) -> Parameters {
        assert_eq!(free.len(), Self::FREE.len(), "one value per free coordinate");
        Parameters {
            sfh: Sfh::Tau {
                tau_gyr: scalar::exp10(free[1]),
                t_i_gyr: free[2] * cosmology::age_gyr(redshift),
            },
            log_mass_formed: free[0],
            metallicity: free[3],
            a_v: free[4],
            redshift,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outshine_kernels::random::Purpose;

    #[test]
    fn draws_stay_inside_and_fill_their_bounds() {
        let prior = Prior::default();
        prior.validate().unwrap();
        let mut stream = Stream::new(1, Purpose::Simulation, 0, 0);
        let (mut low, mut high, mut mean) = ([f64::MAX; 6], [f64::MIN; 6], [0.0; 6]);
        let n = 20_000;
        for _ in 0..n {
            let p = prior.draw(&mut stream);
            let free = prior.to_free(&p);
            let again = prior.to_free(&prior.from_free(&free, p.redshift));
            for i in 0..6 {
                let v = if i < 5 { free[i] } else { p.redshift };
                low[i] = low[i].min(v);
                high[i] = high[i].max(v);
                mean[i] += v / f64::from(n);
                assert!(i == 5 || (again[i] - free[i]).abs() < 1e-12);
            }
        }
        let bounds = prior.bounds();
        for i in 0..6 {
            let (a, b) = if i < 5 { bounds[i] } else { prior.redshift_range() };
            // Rounding through 10^x and back may exceed a bound by one part in 1e12.
            assert!(low[i] > a - 1e-9 && high[i] < b + 1e-9, "coordinate {i}");
            assert!(low[i] < a + 0.01 * (b - a) && high[i] > b - 0.01 * (b - a));
            // Five standard errors of the mean of a uniform distribution.
            let error = (b - a) / (12.0 * f64::from(n)).sqrt();
            assert!((mean[i] - 0.5 * (a + b)).abs() < 5.0 * error, "mean of {i}");
        }
    }

    #[test]
    fn bad_ranges_are_named() {
        let mut prior = Prior { a_v: (1.0, 1.0), ..Prior::default() };
        assert!(prior.validate().unwrap_err().to_string().contains("a_v"));
        prior = Prior { redshift: (0.0, f64::NAN), ..Prior::default() };
        assert!(prior.validate().unwrap_err().to_string().contains("redshift"));
        assert!(serde_json::from_str::<Prior>(r#"{"dust": [0, 1]}"#).is_err());
        let prior: Prior = serde_json::from_str(r#"{"a_v": [0, 2]}"#).unwrap();
        assert_eq!((prior.a_v, prior.metallicity), ((0.0, 2.0), (-2.3, 0.4)));
    }
}
