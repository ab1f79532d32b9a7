//! Quantities of tau-delayed histories.
//!
//! With D the time since star formation started, x = D / tau and the
//! integrals P(x) = 1 - (1 + x) e^-x and K(x) = x - 2 + (x + 2) e^-x:
//!
//! - F(a) = P((D - a) / tau) / P(x)
//! - mean age = tau K(x) / P(x)
//! - younger than a: e^-z [z (1 - e^-d) + P(d)] / P(x), z = (D - a) / tau, d = a / tau,
//!   a sum of positive terms
//! - half of the mass had formed at y tau, P(y) = P(x) / 2: a polynomial in
//!   sqrt(P(x)) within 4e-5 of y, then one step of Newton's.

use super::remaining::Remaining;
use super::{Chunk, LANES, Lanes, MOST, exp10, log10};
use crate::sfh::LOG_SSFR_FLOOR;
use outshine_kernels::lanes::{decay_f32, exp_f32};

/// Shortest time since the start of star formation, Gyr.
const LEAST_GYR: f32 = 1e-9;
/// Lowest D / tau; the history of a lower one is the same straight line.
const LEAST_X: f32 = 1e-6;
/// Where exp(-z) no longer matters: far below the floor of the rate.
const MOST_Z: f32 = 80.0;
/// Length of recent star formation, Gyr.
const RECENT_GYR: f32 = 0.1;
/// y / s as a polynomial of s = sqrt(2 P(y)), 0 to 1: fitted at Chebyshev's points.
const HALF: [f32; 7] =
    [1.000_037, 0.329_934_2, 0.202_948_3, -0.190_843_1, 0.708_991_8, -0.743_824_2, 0.371_039_7];

outshine_kernels::widest! {
    /// Quantities of a chunk, in the order of [`super::TAU`].
    pub fn derive(
        remaining: &Remaining,
        chunk: &Chunk,
        older: &mut [Lanes],
        out: &mut [Lanes; MOST],
    ) => derive_body
}

#[inline(always)]
pub(super) fn derive_body(
    remaining: &Remaining,
    chunk: &Chunk,
    older: &mut [Lanes],
    out: &mut [Lanes; MOST],
) {
    let [log_mass, log_tau, t_i, metallicity, ..] = &chunk.free;
    let [log_stellar, log_sfr, mean_age, t50, ..] = out;
    let mut duration = Lanes::all(0.0);
    let mut per_tau = Lanes::all(0.0);
    let mut scale = Lanes::all(0.0);
    for j in 0..LANES {
        let d = (chunk.age_gyr[j] * (1.0 - t_i[j])).max(LEAST_GYR);
        let rate = exp10(-log_tau[j]).max(LEAST_X / d);
        let x = d * rate;
        let all = decay_f32(x);
        duration[j] = d;
        per_tau[j] = rate;
        scale[j] = 1.0 / all.rising;
    }
    for j in 0..LANES {
        let all = decay_f32(duration[j] * per_tau[j]);
        mean_age[j] = all.moment * scale[j] / per_tau[j];
        let s = all.rising.sqrt();
        let y = s * HALF.iter().rev().fold(0.0, |sum, c| sum * s + c);
        let at = decay_f32(y);
        let y = y - (at.rising - 0.5 * all.rising) / (y * at.exp);
        t50[j] = duration[j] - y / per_tau[j];
    }
    for j in 0..LANES {
        let recent = decay_f32(duration[j].min(RECENT_GYR) * per_tau[j]);
        let z = (duration[j] - RECENT_GYR).max(0.0) * per_tau[j];
        let young = exp_f32(-z.min(MOST_Z)) * (z * recent.plain + recent.rising) * scale[j];
        // 1e-14 / yr is 1e-6 of all mass in 100 Myr.
        let log_ssfr = (log10(young) - 8.0).max(LOG_SSFR_FLOOR as f32);
        log_sfr[j] = log_mass[j] + log_ssfr;
    }
    let edges = remaining.edges_below(&duration);
    let older = &mut older[..edges];
    for (older, &edge) in older.iter_mut().zip(&remaining.edges_gyr) {
        for j in 0..LANES {
            let x = (duration[j] - edge).max(0.0) * per_tau[j];
            older[j] = decay_f32(x).rising;
        }
    }
    let left = remaining.fraction(older, &scale, metallicity);
    for j in 0..LANES {
        log_stellar[j] = log_mass[j] + log10(left[j]);
    }
}
