//! The prior of the parameters and the free coordinates of an estimator.
//!
//! Defaults: Table 2 of the paper for the tau-delayed and Dirichlet families;
//! Carnall et al. (2018) for the double power law and Leja et al. (2019) for
//! the continuity history. Log mass formed, [M/H], A_V and redshift are
//! uniform in their bounds, whatever the family of histories:
//!
//! | family | shape |
//! | --- | --- |
//! | tau | log tau uniform; t_i uniform as a fraction of the cosmic age (no draw starts after the present) |
//! | dirichlet | log sSFR uniform; t25, t50, t75 the running sums of a Dirichlet draw of four shares |
//! | double_power_law | tau uniform as a fraction of the cosmic age; log alpha, log beta uniform |
//! | continuity | each log SFR ratio Student's t with two degrees of freedom, cut to its bounds |

mod cube;
mod free;

pub(crate) use free::dirichlet as dirichlet_free;

use crate::cosmology;
use crate::error::SpsError;
use crate::sfh::{Parameters, Sfh, SfhFamily};
use cube::Source;
use outshine_kernels::random::Stream;
use outshine_kernels::scalar;
use serde::{Deserialize, Serialize};

/// Tries of the Gamma sampler, each accepted in 95 of 100 cases or more.
const GAMMA_TRIES: usize = 100;

/// The prior: a family of histories and bounds, each overridable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Prior {
    /// Family of star-formation histories.
    pub sfh: SfhFamily,
    /// log10 of the mass formed, Msun.
    pub log_mass_formed: (f64, f64),
    /// Tau: log10 of tau, Gyr.
    pub log_tau_gyr: (f64, f64),
    /// Tau: start of star formation as a fraction of the age of the Universe.
    pub t_i_fraction: (f64, f64),
    /// Dirichlet: log10 of the specific star-formation rate, 1/yr.
    pub log_ssfr: (f64, f64),
    /// Dirichlet: concentration of the four shares of cosmic age.
    pub dirichlet_alpha: f64,
    /// Double power law: turnover as a fraction of the age of the Universe.
    pub turnover_fraction: (f64, f64),
    /// Double power law: log10 of the slope of the fall.
    pub log_alpha: (f64, f64),
    /// Double power law: log10 of the slope of the rise.
    pub log_beta: (f64, f64),
    /// Continuity: scale of Student's t distribution, dex.
    pub continuity_scale: f64,
    /// Continuity: where the distribution of a log SFR ratio is cut, dex.
    pub log_sfr_ratio: (f64, f64),
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
            sfh: SfhFamily::Tau,
            log_mass_formed: (4.0, 12.0),
            log_tau_gyr: (-2.0, 2.0),
            t_i_fraction: (0.0, 1.0),
            log_ssfr: (-11.5, -7.5),
            dirichlet_alpha: 1.0,
            turnover_fraction: (0.0, 1.0),
            log_alpha: (-2.0, 3.0),
            log_beta: (-2.0, 3.0),
            continuity_scale: 0.3,
            // Ten scales: 1 % of the distribution lies beyond.
            log_sfr_ratio: (-3.0, 3.0),
            metallicity: (-2.3, 0.4),
            a_v: (0.0, 4.0),
            redshift: (0.0, 7.5),
        }
    }
}

/// A history as drawn, before the cosmic age is known.
enum Shape {
    Tau { log_tau_gyr: f64, t_i_fraction: f64 },
    Turnover { fraction: f64, alpha: f64, beta: f64 },
    Done(Sfh),
}

/// Everything that is drawn but the redshift.
struct Numbers {
    log_mass_formed: f64,
    shape: Shape,
    metallicity: f64,
    a_v: f64,
}

impl Numbers {
    fn at(self, redshift: f64) -> Parameters {
        let sfh = match self.shape {
            Shape::Tau { log_tau_gyr, t_i_fraction } => Sfh::Tau {
                tau_gyr: scalar::exp10(log_tau_gyr),
                t_i_gyr: t_i_fraction * cosmology::age_gyr(redshift),
            },
            Shape::Turnover { fraction, alpha, beta } => Sfh::DoublePowerLaw {
                // The least that can be computed.
                tau_gyr: (fraction * cosmology::age_gyr(redshift)).max(1e-9),
                alpha,
                beta,
            },
            Shape::Done(sfh) => sfh,
        };
        Parameters {
            sfh,
            log_mass_formed: self.log_mass_formed,
            metallicity: self.metallicity,
            a_v: self.a_v,
            redshift,
        }
    }
}

fn uniform(source: &mut impl Source, (low, high): (f64, f64)) -> f64 {
    low + (high - low) * source.unit()
}

/// A draw of the Gamma distribution of unit scale: Marsaglia & Tsang (2000).
fn gamma(stream: &mut Stream, shape: f64) -> f64 {
    if shape < 1.0 {
        // Gamma(a) is Gamma(a + 1) times U^(1/a).
        let boost = scalar::pow(stream.uniform(), 1.0 / shape);
        return gamma(stream, shape + 1.0) * boost;
    }
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    for _ in 0..GAMMA_TRIES {
        let x = stream.normal();
        let v = 1.0 + c * x;
        if v <= 0.0 {
            continue;
        }
        let v = v * v * v;
        if scalar::ln(stream.uniform()) < 0.5 * x * x + d * (1.0 - v + scalar::ln(v)) {
            return d * v;
        }
    }
    // Once in 1e130 draws.
    d
}

/// t25 <= t50 <= t75: running sums of four shares drawn from a symmetric
/// Dirichlet distribution. At concentration 1: three sorted uniform numbers.
fn quantiles(stream: &mut Stream, concentration: f64) -> [f64; 3] {
    if concentration == 1.0 {
        let mut t = [0.0; 3].map(|_| stream.uniform());
        t.sort_by(f64::total_cmp);
        return t;
    }
    let shares = [0.0; 4].map(|_| gamma(stream, concentration));
    let total = shares.iter().sum::<f64>();
    if total <= 0.0 {
        // All four shares vanish in double precision at a low concentration.
        return [0.25, 0.5, 0.75];
    }
    let mut sum = 0.0;
    std::array::from_fn(|i| {
        sum += shares[i];
        (sum / total).min(1.0)
    })
}

/// 2 F - 1 of Student's t with two degrees of freedom.
fn student_position(t: f64) -> f64 {
    t / (2.0 + t * t).sqrt()
}

/// Student's t with two degrees of freedom between two bounds, by its
/// quantile function: with a = 2 F - 1 = t / sqrt(2 + t^2), t = a sqrt(2 / (1 - a^2)).
fn student(source: &mut impl Source, scale: f64, bounds: (f64, f64)) -> f64 {
    let position = |bound: f64| student_position(bound / scale);
    let a = uniform(source, (position(bounds.0), position(bounds.1)));
    let t = a * (2.0 / (1.0 - a * a)).sqrt();
    (scale * t).clamp(bounds.0, bounds.1)
}

impl Prior {
    /// Lowest and highest redshift.
    #[must_use]
    pub fn redshift_range(&self) -> (f64, f64) {
        self.redshift
    }

    /// Checks that every range is finite, rising and physical, those of other
    /// families than the chosen one too.
    ///
    /// # Errors
    /// [`SpsError::Setting`] naming the first bad range or number.
    pub fn validate(&self) -> Result<(), SpsError> {
        for (name, (low, high), (least, most)) in [
            ("log_mass_formed", self.log_mass_formed, (-5.0, 20.0)),
            ("log_tau_gyr", self.log_tau_gyr, (-6.0, 6.0)),
            ("t_i_fraction", self.t_i_fraction, (0.0, 1.0)),
            ("metallicity", self.metallicity, (-5.0, 2.0)),
            ("a_v", self.a_v, (0.0, 100.0)),
            ("redshift", self.redshift, (0.0, 20.0)),
            ("log_ssfr", self.log_ssfr, (-20.0, -6.0)),
            ("turnover_fraction", self.turnover_fraction, (0.0, 100.0)),
            ("log_alpha", self.log_alpha, (-3.9, 3.9)),
            ("log_beta", self.log_beta, (-3.9, 3.9)),
            ("log_sfr_ratio", self.log_sfr_ratio, (-10.0, 10.0)),
        ] {
            if !(low.is_finite() && high.is_finite() && low < high) {
                return Err(SpsError::setting(name, format!("{low} to {high} is no range")));
            }
            if low < least || high > most {
                let problem = format!("{low} to {high} leaves the possible {least} to {most}");
                return Err(SpsError::setting(name, problem));
            }
        }
        for (name, value, least, most) in [
            ("dirichlet_alpha", self.dirichlet_alpha, 0.01, 1000.0),
            ("continuity_scale", self.continuity_scale, 0.001, 10.0),
        ] {
            if !(value >= least && value <= most) {
                let problem = format!("{value} is outside the possible {least} to {most}");
                return Err(SpsError::setting(name, problem));
            }
        }
        Ok(())
    }

    /// Draws parameters, the redshift last.
    pub fn draw(&self, stream: &mut Stream) -> Parameters {
        let numbers = self.draw_numbers(stream);
        let redshift = stream.uniform_in(self.redshift.0, self.redshift.1);
        numbers.at(redshift)
    }

    /// Draws parameters at a given redshift.
    pub fn draw_at(&self, redshift: f64, stream: &mut Stream) -> Parameters {
        self.draw_numbers(stream).at(redshift)
    }

    fn draw_numbers(&self, source: &mut impl Source) -> Numbers {
        let log_mass_formed = uniform(source, self.log_mass_formed);
        let shape = match self.sfh {
            SfhFamily::Tau => Shape::Tau {
                log_tau_gyr: uniform(source, self.log_tau_gyr),
                t_i_fraction: uniform(source, self.t_i_fraction),
            },
            SfhFamily::Dirichlet => {
                let log_ssfr = uniform(source, self.log_ssfr);
                let [t25, t50, t75] = source.times(self.dirichlet_alpha);
                Shape::Done(Sfh::Dirichlet { log_ssfr, t25, t50, t75 })
            }
            SfhFamily::DoublePowerLaw => Shape::Turnover {
                fraction: uniform(source, self.turnover_fraction),
                alpha: scalar::exp10(uniform(source, self.log_alpha)),
                beta: scalar::exp10(uniform(source, self.log_beta)),
            },
            SfhFamily::Continuity => {
                let (scale, bounds) = (self.continuity_scale, self.log_sfr_ratio);
                let log_sfr_ratios = [0.0; 6].map(|_| student(source, scale, bounds));
                Shape::Done(Sfh::Continuity { log_sfr_ratios })
            }
        };
        let metallicity = uniform(source, self.metallicity);
        let a_v = uniform(source, self.a_v);
        Numbers { log_mass_formed, shape, metallicity, a_v }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sfh::Realised;
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
            let (mut free, mut again) = ([0.0; 5], [0.0; 5]);
            prior.to_free(&p, 0.5, &mut free).unwrap();
            prior.to_free(&prior.from_free(&free, p.redshift), 0.5, &mut again).unwrap();
            for i in 0..6 {
                let v = if i < 5 { free[i] } else { p.redshift };
                low[i] = low[i].min(v);
                high[i] = high[i].max(v);
                mean[i] += v / f64::from(n);
                assert!(i == 5 || (again[i] - free[i]).abs() < 1e-12);
            }
        }
        let bounds = prior.free_bounds().unwrap();
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

    /// Five draws of the tau family, coordinate by coordinate, in stream order.
    #[test]
    fn tau_draws_are_uniform_numbers_in_a_fixed_order() {
        let prior = Prior::default();
        let name = |i| Stream::new(3, Purpose::Simulation, i, 0);
        for i in 0..5 {
            let (p, mut s) = (prior.draw(&mut name(i)), name(i));
            let bounds = prior.free_bounds().unwrap();
            let free: Vec<f64> = bounds.iter().map(|b| s.uniform_in(b.0, b.1)).collect();
            let redshift = s.uniform_in(0.0, 7.5);
            let t_i_gyr = free[2] * cosmology::age_gyr(redshift);
            let expected = Parameters {
                sfh: Sfh::Tau { tau_gyr: scalar::exp10(free[1]), t_i_gyr },
                log_mass_formed: free[0],
                metallicity: free[3],
                a_v: free[4],
                redshift,
            };
            assert_eq!(p, expected);
        }
    }

    #[test]
    fn every_family_draws_histories_that_can_be_computed() {
        for sfh in
            [SfhFamily::Tau, SfhFamily::Dirichlet, SfhFamily::DoublePowerLaw, SfhFamily::Continuity]
        {
            let prior = Prior { sfh, ..Prior::default() };
            prior.validate().unwrap();
            let mut stream = Stream::new(4, Purpose::Simulation, 0, 0);
            for _ in 0..300 {
                let p = prior.draw(&mut stream);
                assert_eq!(p.sfh.family(), sfh);
                let age = cosmology::age_gyr(p.redshift);
                let realised = Realised::measure(&p.sfh, age).unwrap();
                assert!(realised.t25 >= -1e-12 && realised.t75 <= 1.0, "{p:?} {realised:?}");
                assert!(realised.log_ssfr_100.is_finite());
            }
        }
    }

    /// Shares of a symmetric Dirichlet draw of four have mean 1/4 and variance
    /// 3 / (16 (4 a + 1)).
    #[test]
    fn quantiles_have_the_moments_of_a_dirichlet_draw() {
        let mut stream = Stream::new(6, Purpose::Simulation, 0, 0);
        for alpha in [0.3, 1.0, 5.0] {
            let n = 40_000;
            let (mut mean, mut square) = ([0.0; 4], [0.0; 4]);
            for _ in 0..n {
                let [a, b, c] = quantiles(&mut stream, alpha);
                for (i, share) in [a, b - a, c - b, 1.0 - c].into_iter().enumerate() {
                    assert!(share >= 0.0);
                    mean[i] += share / f64::from(n);
                    square[i] += (share - 0.25) * (share - 0.25) / f64::from(n);
                }
            }
            let variance = 3.0 / (16.0 * (4.0 * alpha + 1.0));
            for i in 0..4 {
                // Five standard errors; that of the variance is below 3 / sqrt(n) of it.
                let error = 5.0 * (variance / f64::from(n)).sqrt();
                assert!((mean[i] - 0.25).abs() < error, "{alpha}: mean {}", mean[i]);
                assert!((square[i] / variance - 1.0).abs() < 0.075, "{alpha}: {}", square[i]);
            }
        }
    }

    #[test]
    fn ratios_follow_students_distribution_and_keep_their_bounds() {
        let mut stream = Stream::new(7, Purpose::Simulation, 0, 0);
        let n = 40_000;
        let (mut inner, mut outer) = (0, 0);
        for _ in 0..n {
            let ratio = student(&mut stream, 0.3, (-3.0, 3.0));
            assert!(ratio.abs() <= 3.0);
            inner += i32::from(ratio.abs() < 0.3);
            outer += i32::from(ratio.abs() > 1.5);
        }
        // P(|t| < x) = x / sqrt(2 + x^2), over the same at the bounds.
        let within = |x: f64| x / (2.0 + x * x).sqrt() / (10.0 / 102f64.sqrt());
        for (count, p) in [(inner, within(1.0)), (outer, 1.0 - within(5.0))] {
            let error = 5.0 * (p * (1.0 - p) / f64::from(n)).sqrt();
            assert!((f64::from(count) / f64::from(n) - p).abs() < error, "{count} {p}");
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
        assert_eq!(prior.sfh, SfhFamily::Tau, "campaigns without a family are of the tau family");
        let prior: Prior = serde_json::from_str(r#"{"sfh": "double_power_law"}"#).unwrap();
        assert_eq!(prior.sfh, SfhFamily::DoublePowerLaw);
        let prior = Prior { dirichlet_alpha: 0.0, ..Prior::default() };
        assert!(prior.validate().unwrap_err().to_string().contains("dirichlet_alpha"));
        let prior = Prior { log_ssfr: (-12.0, -5.0), ..Prior::default() };
        assert!(prior.validate().unwrap_err().to_string().contains("log_ssfr"));
    }
}
