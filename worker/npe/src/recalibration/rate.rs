//! The star-formation rate that coordinates of a delayed exponential history
//! stand for: derived, but reported, and of bright objects known much better than
//! any of the coordinates it follows from.
//!
//! psi(t) = t exp(-t / tau), t the time since the start. Intervals depend on the
//! order of rates alone, so that a rate at one moment stands for the mean of the
//! last 100 Myr: that of 50 Myr ago, or half way since the start.

use crate::coordinates::Coordinates;
use outshine_kernels::{lanes, scalar, widest};

/// Coordinates that a rate follows from: log10 of the mass formed and of tau in
/// Gyr, and the cosmic time of the start over that of the object.
const NAMES: [&str; 3] = ["log_mass_formed", "log_tau_gyr", "t_i_fraction"];
/// Time before that of the object, Gyr.
const AGO_GYR: f32 = 0.05;
/// Floor of log10 of the rate per mass formed, 1/yr.
const FLOOR: f32 = -14.0;
/// Shortest history, Gyr.
const SHORTEST_GYR: f32 = 1e-4;
/// Matter density and 1 / H0 in Gyr of the flat universe whose age is meant.
const OMEGA_M: f64 = 0.3;
const HUBBLE_TIME_GYR: f64 = 13.968;

/// The rate over unbounded coordinates, at one redshift.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rate {
    /// Which coordinates, and low end and width of each.
    places: [usize; 3],
    range: [(f32, f32); 3],
    age_gyr: f32,
}

impl Rate {
    /// Of coordinates that have one; at redshift 0.
    pub(crate) fn of(coordinates: &Coordinates) -> Option<Self> {
        let mut places = [0; 3];
        for (place, name) in places.iter_mut().zip(NAMES) {
            *place = coordinates.names().iter().position(|n| n == name)?;
        }
        let (low, high) = (coordinates.low(), coordinates.high());
        let range = places.map(|i| (low[i] as f32, (high[i] - low[i]) as f32));
        Some(Self { places, range, age_gyr: age_gyr(0.0) })
    }

    /// The same at another redshift.
    pub(crate) fn at(self, redshift: f64) -> Self {
        Self { age_gyr: age_gyr(redshift), ..self }
    }

    /// log10 of the rates (solar masses per year) of points `u`, [coordinates, n].
    pub(crate) fn log_rates(&self, u: &[f32], out: &mut [f32]) {
        let n = out.len();
        log_rates(self, self.places.map(|i| &u[i * n..(i + 1) * n]), out);
    }

    #[inline(always)]
    fn log_rate(&self, u: [f32; 3]) -> f32 {
        let value = |i: usize| {
            let (low, width) = self.range[i];
            low + width * lanes::normal_cdf_f32(u[i])
        };
        let (log_mass, ln_tau, start) = (value(0), std::f32::consts::LN_10 * value(1), value(2));
        let inverse = lanes::exp_f32(-ln_tau);
        let since = (self.age_gyr * (1.0 - start)).max(SHORTEST_GYR);
        let then = (since - AGO_GYR).max(0.5 * since);
        let ln_rate = lanes::ln_f32(then) - then * inverse - 2.0 * ln_tau;
        let ln_formed = lanes::ln_f32(formed(since * inverse));
        let per_year = (ln_rate - ln_formed) * std::f32::consts::LOG10_E - 9.0;
        log_mass + per_year.max(FLOOR)
    }
}

widest! {
    /// The rates of points whose coordinates are [`NAMES`], one column each.
    pub fn log_rates(rate: &Rate, u: [&[f32]; 3], out: &mut [f32]) => log_rates_body
}

#[inline(always)]
fn log_rates_body(rate: &Rate, u: [&[f32]; 3], out: &mut [f32]) {
    let [mass, tau, start] = u;
    for (((out, mass), tau), start) in out.iter_mut().zip(mass).zip(tau).zip(start) {
        *out = rate.log_rate([*mass, *tau, *start]);
    }
}

/// 1 - (1 + x) exp(-x): mass formed in x times tau over tau squared.
#[inline(always)]
fn formed(x: f32) -> f32 {
    let terms = [1.0 / 144.0, -1.0 / 30.0, 0.125, -1.0 / 3.0, 0.5];
    let series = x * x * terms.iter().fold(-1.0 / 840.0, |sum, term| sum * x + term);
    let closed = 1.0 - (1.0 + x) * lanes::exp_f32(-x);
    if x < 0.5 { series } else { closed }
}

/// Age of the universe, Gyr, in closed form for matter and a constant.
fn age_gyr(redshift: f64) -> f32 {
    let lambda = 1.0 - OMEGA_M;
    let a = 1.0 / (1.0 + redshift);
    let x = (lambda / OMEGA_M).sqrt() * a * a.sqrt();
    (2.0 / (3.0 * lambda.sqrt()) * HUBBLE_TIME_GYR * scalar::asinh(x)) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mass_formed_is_smooth_and_right() {
        for k in 1..2000 {
            let x = 1e-6 * 1.01f64.powi(k);
            // By parts, without the difference of near ones.
            let exact = if x < 0.01 {
                x * x * (0.5 - x / 3.0 + x * x / 8.0)
            } else {
                1.0 - (1.0 + x) * (-x).exp()
            };
            assert!((f64::from(formed(x as f32)) / exact - 1.0).abs() < 2e-5, "{x}");
        }
    }

    /// Against the mean of the last 100 Myr, by summing the history.
    #[test]
    fn rates_are_those_of_the_history() {
        let names = ["a_v", "t_i_fraction", "log_tau_gyr", "log_mass_formed"];
        let names = names.map(str::to_owned).to_vec();
        let (low, high) = (vec![0.0, 0.0, -2.0, 4.0], vec![4.0, 1.0, 2.0, 12.0]);
        let coordinates = Coordinates::new(names, low, high).unwrap();
        let rate = Rate::of(&coordinates).unwrap().at(1.0);
        // astropy 6, FlatLambdaCDM(70, 0.3).
        assert!((f64::from(rate.age_gyr) / 5.7514 - 1.0).abs() < 1e-3, "{}", rate.age_gyr);
        for (log_tau, start) in [(0.0, 0.3), (1.5, 0.1), (-0.5, 0.7), (0.2, 0.9), (-1.5, 0.2)] {
            let theta = [1.0, start, log_tau, 9.5];
            let u: Vec<f32> =
                (0..4).map(|i| coordinates.to_unbounded(i, theta[i]).0 as f32).collect();
            let mut found = [0.0];
            rate.log_rates(&u, &mut found);
            let (tau, since) = (10f64.powf(log_tau), f64::from(rate.age_gyr) * (1.0 - start));
            let (mut all, mut recent, steps) = (0.0, 0.0, 200_000);
            for k in 0..steps {
                let t = (k as f64 + 0.5) / steps as f64 * since;
                let psi = t * (-t / tau).exp();
                all += psi;
                recent += if t > since - 0.1 { psi } else { 0.0 };
            }
            let exact = 9.5 + (recent / all / 1e8).log10().max(-14.0);
            // The middle stands for the mean: x^2 / 24 of the slope.
            assert!((f64::from(found[0]) - exact).abs() < 0.03, "{theta:?}: {found:?} {exact}");
        }
        let mut others = coordinates.names().to_vec();
        others[2] = "log_ssfr_100".to_owned();
        let others = Coordinates::new(others, vec![0.0; 4], vec![1.0; 4]).unwrap();
        assert_eq!(Rate::of(&others), None);
    }
}
