//! Posteriors of bright objects, drawn together until simulations lie inside
//! their intervals as often as they should.
//!
//! A network learns the density that does best in the mean. Of bright objects that
//! is wider than the errors that the network makes of most of them, since a few
//! are missed by much: central intervals of single parameters hold too many true
//! values. The density q is therefore tilted,
//!
//! q'(u) = q(u) prod_i w_i(t_i) / Z, w_i(t) = exp(-k_i min(t^2, 4) / 2),
//!
//! with t_i = (u_i - centre) / half-width in the unbounded coordinate u_i, centre
//! and half-width of 68 % those of [`PROBES`] draws of fixed noise. Draws of q are
//! kept with probability prod w (over its largest value): none is moved, so that the thin, bent ridges on
//! which parameters of a bright object lie stay as they are. Of all densities with
//! such intervals q' is about the nearest to q (raking: Deming & Stephan 1940, Ann.
//! Math. Statist. 11, 427).
//!
//! The strengths k depend on the coordinate, on S/N (root mean square over
//! observed bands) and redshift, straight in their logarithms between nodes; they
//! are 0 up to the first node, and fitted to simulations ([`recalibrated`]). Z is
//! the mean of prod w over the probes, to a few hundredths.

mod fit;
#[cfg(test)]
pub(crate) mod tests;

pub use fit::recalibrated;

use crate::error::NpeError;
use crate::lane_group::LANES;
use crate::storage::Arrays;
use outshine_kernels::{lanes, scalar};

/// Draws that centre and half-width are of.
pub(crate) const PROBES: usize = 64;
/// Nodes in S/N; nothing is tilted up to the first.
const SNR: [f64; 5] = [60.0, 250.0, 1000.0, 4000.0, 16_000.0];
/// Nodes in redshift, as many evenly in ln(1 + z) over the range of the training.
const REDSHIFTS: usize = 5;
/// Places among sorted probes whose mean is the centre, and those of 16 and 84 %.
const CENTRE: [usize; 2] = [31, 32];
const LOWER: [usize; 2] = [9, 10];
const UPPER: [usize; 2] = [53, 54];
/// Square of t from which w is constant.
const FAR: f32 = 4.0;
/// Range of strengths: beyond, draws would be rejected for ever.
const STRENGTHS: std::ops::RangeInclusive<f64> = -0.5..=1.5;

/// Values of a random word.
const WORDS: f64 = 4_294_967_296.0;

/// Strengths over S/N and redshift.
#[derive(Clone, Debug, PartialEq)]
pub struct Recalibration {
    /// Nodes: ln(S/N) and ln(1 + z), rising.
    ln_snr: Vec<f64>,
    ln_one_plus_z: Vec<f64>,
    /// [coordinates, nodes of S/N, nodes of redshift].
    strength: Vec<f64>,
}

/// The four nodes about an object, and their weights.
type Place = [(usize, f64); 4];

impl Recalibration {
    /// One that changes nothing, of `dims` coordinates, for a range of redshifts.
    fn none(dims: usize, redshift: (f64, f64)) -> Self {
        let (first, last) = (scalar::ln_1p(redshift.0), scalar::ln_1p(redshift.1));
        let step = (last - first) / (REDSHIFTS - 1) as f64;
        Self {
            ln_snr: SNR.iter().map(|s| scalar::ln(*s)).collect(),
            ln_one_plus_z: (0..REDSHIFTS).map(|k| first + step * k as f64).collect(),
            strength: vec![0.0; dims * SNR.len() * REDSHIFTS],
        }
    }

    fn nodes(&self) -> usize {
        self.ln_snr.len() * self.ln_one_plus_z.len()
    }

    /// Whether an object of this S/N is tilted.
    fn reaches(&self, snr: f64) -> bool {
        snr > 0.0 && scalar::ln(snr) > self.ln_snr[0]
    }

    fn place(&self, snr: f64, redshift: f64) -> Place {
        let (s, s_part) = between(&self.ln_snr, scalar::ln(snr));
        let (z, z_part) = between(&self.ln_one_plus_z, scalar::ln_1p(redshift));
        let node = |up: usize, right: usize| {
            let weight = [1.0 - s_part, s_part][up] * [1.0 - z_part, z_part][right];
            ((s + up) * self.ln_one_plus_z.len() + z + right, weight)
        };
        [node(0, 0), node(0, 1), node(1, 0), node(1, 1)]
    }

    /// Strength of coordinate `i` at a place.
    fn strength(&self, i: usize, place: &Place) -> f64 {
        let own = i * self.nodes();
        place.iter().map(|(node, weight)| weight * self.strength[own + node]).sum()
    }

    /// The tilt of an object; `None` where it has none.
    ///
    /// `probes`: called for [coordinates, [`PROBES`]] draws of fixed noise, unbounded.
    pub(crate) fn tilt(
        &self,
        snr: f64,
        redshift: f64,
        probes: impl FnOnce() -> Vec<f32>,
    ) -> Option<Tilt> {
        if !self.reaches(snr) {
            return None;
        }
        let place = self.place(snr, redshift);
        let dims = self.strength.len() / self.nodes();
        let strengths = (0..dims).map(|i| self.strength(i, &place) as f32).collect();
        Some(Tilt::about(&probes(), strengths))
    }

    /// S/N from which densities are tilted, and the largest strength.
    #[must_use]
    pub fn reach(&self) -> (f64, f64) {
        (scalar::exp(self.ln_snr[0]), self.strength.iter().copied().fold(0.0, f64::max))
    }

    /// The strengths, at S/N (columns) and redshift (rows).
    #[must_use]
    pub fn table(&self, names: &[String]) -> String {
        let snr: String = self.ln_snr.iter().map(|s| format!("{:>7.0}", scalar::exp(*s))).collect();
        let (width, depth) = (self.ln_snr.len(), self.ln_one_plus_z.len());
        let mut text = String::new();
        for (i, name) in names.iter().enumerate() {
            text += &format!("{name}\n{:>7}{snr}\n", "z \\ S/N");
            for (z, ln) in self.ln_one_plus_z.iter().enumerate() {
                text += &format!("{:7.2}", scalar::expm1(*ln));
                for s in 0..width {
                    text += &format!("{:7.2}", self.strength[(i * width + s) * depth + z]);
                }
                text += "\n";
            }
        }
        text
    }

    pub(crate) fn put(&self, arrays: &mut Arrays) {
        let (width, depth) = (self.ln_snr.len(), self.ln_one_plus_z.len());
        arrays.put_f64(STORED[0], vec![width], &self.ln_snr);
        arrays.put_f64(STORED[1], vec![depth], &self.ln_one_plus_z);
        let dims = self.strength.len() / self.nodes();
        arrays.put_f64(STORED[2], vec![dims, width, depth], &self.strength);
    }

    /// What [`Recalibration::put`] stored, if it did, of `dims` coordinates.
    pub(crate) fn take(
        what: &'static str,
        arrays: &mut Arrays,
        dims: usize,
    ) -> Result<Option<Self>, NpeError> {
        let count = |name: &str| arrays.shape(name).map(|shape| shape.iter().product::<usize>());
        let (Some(width), Some(depth)) = (count(STORED[0]), count(STORED[1])) else {
            return Ok(None);
        };
        let own = Self {
            ln_snr: arrays.take_f64(what, STORED[0], &[width])?,
            ln_one_plus_z: arrays.take_f64(what, STORED[1], &[depth])?,
            strength: arrays.take_f64(what, STORED[2], &[dims, width, depth])?,
        };
        let rises = |nodes: &[f64]| nodes.len() > 1 && nodes.windows(2).all(|n| n[0] < n[1]);
        let fine = own.strength.iter().all(|k| STRENGTHS.contains(k));
        if rises(&own.ln_snr) && rises(&own.ln_one_plus_z) && fine {
            return Ok(Some(own));
        }
        let why = "its recalibration is no table of strengths".to_owned();
        Err(NpeError::Unreadable { what, why })
    }
}

/// Names of the stored arrays.
const STORED: [&str; 3] = [
    "parameters.recalibration.ln_snr",
    "parameters.recalibration.ln_one_plus_z",
    "parameters.recalibration.strength",
];

/// Interval of rising nodes that `x` lies in, and how far; ends hold beyond.
fn between(nodes: &[f64], x: f64) -> (usize, f64) {
    let k = nodes.partition_point(|n| *n <= x).clamp(1, nodes.len() - 1) - 1;
    (k, ((x - nodes[k]) / (nodes[k + 1] - nodes[k])).clamp(0.0, 1.0))
}

/// Where the posterior of one object lies, and how wide it is, per coordinate.
#[derive(Clone, Debug, PartialEq)]
struct Frame {
    centre: Vec<f32>,
    inverse_width: Vec<f32>,
}

impl Frame {
    fn about(probes: &[f32]) -> Self {
        let (mut centre, mut inverse_width) = (Vec::new(), Vec::new());
        for row in probes.chunks_exact(PROBES) {
            let mut sorted = row.to_vec();
            sorted.sort_unstable_by(f32::total_cmp);
            let mean = |at: [usize; 2]| 0.5 * (sorted[at[0]] + sorted[at[1]]);
            centre.push(mean(CENTRE));
            inverse_width.push(2.0 / (mean(UPPER) - mean(LOWER)).max(1e-6));
        }
        Self { centre, inverse_width }
    }

    /// t of coordinate `i` at `u`.
    fn deviate(&self, i: usize, u: f32) -> f32 {
        (u - self.centre[i]) * self.inverse_width[i]
    }
}

/// How the density of one object is tilted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tilt {
    frame: Frame,
    /// Per coordinate.
    strength: Vec<f32>,
    /// ln Z.
    log_norm: f64,
}

impl Tilt {
    fn about(probes: &[f32], strength: Vec<f32>) -> Self {
        let mut own = Self { frame: Frame::about(probes), strength, log_norm: 0.0 };
        let weight = |k: usize| {
            let at = |i: usize| own.log_weight(i, probes[i * PROBES + k]);
            f64::from(lanes::exp_f32((0..own.strength.len()).map(at).sum()))
        };
        own.log_norm = scalar::ln((0..PROBES).map(weight).sum::<f64>() / PROBES as f64);
        own
    }

    /// ln w of coordinate `i` at `u`; not above 0.
    pub(crate) fn log_weight(&self, i: usize, u: f32) -> f32 {
        log_weight(self.strength[i], self.frame.deviate(i, u))
    }

    /// Keeps draws by their weights: one random word each, against prod w. Moves
    /// those kept to the front of `state`, [coordinates, [`LANES`]], and says how many.
    pub(crate) fn keep(&self, words: &[u32], state: &mut [f32]) -> usize {
        let mut kept = 0;
        for (l, word) in words.iter().enumerate() {
            let rows = state.chunks_exact(LANES).enumerate();
            let log_weight: f32 = rows.map(|(i, row)| self.log_weight(i, row[l])).sum();
            if (f64::from(*word) + 0.5) / WORDS < f64::from(lanes::exp_f32(log_weight)) {
                state.chunks_exact_mut(LANES).for_each(|row| row[kept] = row[l]);
                kept += 1;
            }
        }
        kept
    }

    /// ln Z.
    pub(crate) fn log_norm(&self) -> f64 {
        self.log_norm
    }
}

/// ln w at t, not above 0: where the strength is negative, w is 1 from [`FAR`] on.
#[inline(always)]
fn log_weight(strength: f32, t: f32) -> f32 {
    let most = if strength < 0.0 { FAR } else { 0.0 };
    -0.5 * strength * ((t * t).min(FAR) - most)
}
