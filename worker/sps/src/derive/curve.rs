//! A history of the Dirichlet family from its free coordinates.
//!
//! C(a), the fraction of mass younger than age a, is known at 0, at 100 Myr, at the
//! three quantiles, and at the cosmic age. Ages and fractions are sorted each
//! by itself, so that coordinates which contradict each other still make a
//! rising curve. Between two points C is a cubic with the harmonic mean of
//! the neighbours' slopes at the points (Fritsch & Butland 1984: it never
//! falls), the chord's own slope at the present, and none at the Big Bang.

use super::remaining::Remaining;
use super::{Chunk, LANES, Lanes, exp10, log10};
use crate::sfh::LOG_SSFR_FLOOR;

/// Pieces of the curve.
const PIECES: usize = 5;
/// Shortest piece, Gyr.
const LEAST_GYR: f32 = 1e-7;
/// Length of recent star formation, Gyr.
const RECENT_GYR: f32 = 0.1;

/// What the curves of a chunk amount to.
pub(super) struct Curves {
    /// log10 of the mass left per mass formed.
    pub log_left: Lanes,
    /// Mean age, Gyr.
    pub mean_age_gyr: Lanes,
    /// The mean age of the youngest and oldest of all curves through the points, Gyr.
    pub age_range_gyr: (Lanes, Lanes),
    /// t25, t50, t75 as fractions of the cosmic age.
    pub quantiles: [Lanes; 3],
    /// log10 of the rate per mass formed, 1/yr, floored.
    pub log_ssfr: Lanes,
}

/// Sorts `value` into three rising ones.
#[inline(always)]
fn sorted(three: [f32; 3], value: f32) -> [f32; 4] {
    let [a, b, c] = three;
    [a.min(value), a.max(b.min(value)), b.max(c.min(value)), c.max(value)]
}

/// The curves of a chunk.
#[inline(always)]
pub(super) fn curves(remaining: &Remaining, chunk: &Chunk, older: &mut [Lanes]) -> Curves {
    let [_, log_ssfr, t25_over_t50, t50_over_t75, t75, metallicity, _] = &chunk.free;
    let mut curves = Curves {
        log_left: Lanes::all(0.0),
        mean_age_gyr: Lanes::all(0.0),
        age_range_gyr: (Lanes::all(0.0), Lanes::all(0.0)),
        quantiles: [Lanes::all(0.0); 3],
        log_ssfr: Lanes::all(0.0),
    };
    // Per piece: t = a x slope + shift, cut to 0 to 1; C = t (p + t (q + t r)).
    let [mut slope, mut shift] = [[Lanes::all(0.0); PIECES]; 2];
    let [mut p, mut q, mut r] = [[Lanes::all(0.0); PIECES]; 3];
    for j in 0..LANES {
        let age = chunk.age_gyr[j];
        let t75 = t75[j].clamp(0.0, 1.0);
        let t50 = t75 * t50_over_t75[j].clamp(0.0, 1.0);
        let t25 = t50 * t25_over_t50[j].clamp(0.0, 1.0);
        let log_ssfr = log_ssfr[j].clamp(LOG_SSFR_FLOOR as f32, -8.0);
        let ages = [t75, t50, t25].map(|t| age * (1.0 - t));
        let [a, b, c, d] = sorted(ages, age.min(RECENT_GYR));
        let knots = [0.0, a, b, c, d, age];
        let [a, b, c, d] = sorted([0.25, 0.5, 0.75], exp10(log_ssfr + 8.0));
        let masses = [0.0, a, b, c, d, 1.0];

        let (mut length, mut mass, mut chord) = ([0.0; PIECES], [0.0; PIECES], [0.0; PIECES]);
        for i in 0..PIECES {
            length[i] = (knots[i + 1] - knots[i]).max(LEAST_GYR);
            mass[i] = masses[i + 1] - masses[i];
            chord[i] = mass[i] / length[i];
        }
        let (mut mean, mut youngest, mut oldest) = (0.0, 0.0, 0.0);
        for i in 0..PIECES {
            // Slopes at either end, in units of the chord's.
            let near = |other: f32| 2.0 * other / (chord[i] + other).max(1e-20);
            let from = if i == 0 { 1.0 } else { near(chord[i - 1]) };
            let to = if i + 1 == PIECES { 0.0 } else { near(chord[i + 1]) };
            slope[i][j] = 1.0 / length[i];
            shift[i][j] = -knots[i] / length[i];
            p[i][j] = mass[i] * from;
            q[i][j] = mass[i] * (3.0 - 2.0 * from - to);
            r[i][j] = mass[i] * (from + to - 2.0);
            let part = 0.5 + (from - to) * (1.0 / 12.0);
            mean += mass[i] * (knots[i + 1] - length[i] * part);
            youngest += mass[i] * knots[i];
            oldest += mass[i] * knots[i + 1];
        }
        curves.mean_age_gyr[j] = mean;
        curves.age_range_gyr.0[j] = youngest;
        curves.age_range_gyr.1[j] = oldest;
        curves.quantiles[0][j] = t25;
        curves.quantiles[1][j] = t50;
        curves.quantiles[2][j] = t75;
        curves.log_ssfr[j] = log_ssfr;
    }
    let edges = remaining.edges_below(&chunk.age_gyr);
    let older = &mut older[..edges];
    for (older, &edge) in older.iter_mut().zip(&remaining.edges_gyr) {
        let mut sum = Lanes::all(1.0);
        for i in 0..PIECES {
            for j in 0..LANES {
                let t = (edge * slope[i][j] + shift[i][j]).clamp(0.0, 1.0);
                sum[j] -= t * (p[i][j] + t * (q[i][j] + t * r[i][j]));
            }
        }
        *older = sum;
    }
    let left = remaining.fraction(older, &Lanes::all(1.0), metallicity);
    for j in 0..LANES {
        curves.log_left[j] = log10(left[j]);
    }
    curves
}
