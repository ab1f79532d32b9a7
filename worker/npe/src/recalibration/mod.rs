//! Posteriors of bright objects, drawn together until simulations lie inside
//! their intervals as often as they should.
//!
//! A network learns the density that does best in the mean. Of bright objects that
//! is wider than the errors that the network makes of most of them, since a few
//! are missed by much: central intervals of single parameters hold too many true
//! values. The density q is therefore tilted,
//!
//! q'(u) = q(u) min(W(u), c) / Z, W = prod_i exp(-k_i min(t_i^2, 4) / 2),
//!
//! with t_i = (u_i - centre) / half-width in the unbounded coordinate u_i and, after
//! the coordinates of a delayed history, in its star-formation rate; centre and
//! half-width of 68 % are those of [`PROBES`] draws of fixed noise, and c is what one
//! in eight of their weights exceeds. Draws of q are kept with probability
//! min(W / c, 1): none is moved, so that the thin, bent ridges on which parameters of
//! a bright object lie stay as they are. Of all densities with such intervals q' is
//! about the nearest to q (raking: Deming & Stephan 1940, Ann. Math. Statist. 11, 427).
//!
//! The strengths k depend on the quantity, on S/N (root mean square over
//! observed bands) and redshift, straight in their logarithms between nodes; they
//! are 0 up to the first node, and fitted to simulations ([`recalibrated`]). Z is
//! the mean weight of the probes, to a few hundredths.

mod columns;
mod fit;
mod rate;
#[cfg(test)]
pub(crate) mod tests;

pub use fit::recalibrated;

use crate::coordinates::Coordinates;
use crate::error::NpeError;
use crate::lane_group::LANES;
use crate::storage::Arrays;
use columns::SIDE;
use outshine_kernels::{lanes, scalar};
use rate::Rate;

/// Draws of fixed noise that centre and half-width are of.
pub const PROBES: usize = 64;
/// Ratio of neighbouring nodes in S/N, and the S/N beyond which none is.
const SNR_RATIO: f64 = 4.0;
const MOST_SNR: f64 = 16_000.0;
/// Nodes in redshift, as many evenly in ln(1 + z) over the range of the training.
const REDSHIFTS: usize = 5;
/// Places among sorted probes whose mean is the centre, and those of 16 and 84 %.
const CENTRE: [usize; 2] = [31, 32];
const LOWER: [usize; 2] = [9, 10];
const UPPER: [usize; 2] = [53, 54];
/// Square of t from which weights are constant.
const FAR: f32 = 4.0;
/// Range of strengths: beyond, draws would be rejected for ever.
const STRENGTHS: std::ops::RangeInclusive<f64> = -0.5..=1.5;
/// Most points looked at together.
const MOST_POINTS: usize = 160;
/// Share of probes whose weights are cut, so that few draws are rejected for the
/// sake of rare ones.
const CUT: f64 = 0.125;
/// Values of a random word.
const WORDS: f64 = 4_294_967_296.0;

/// Strengths over S/N and redshift.
#[derive(Clone, Debug, PartialEq)]
pub struct Recalibration {
    /// Nodes: ln(S/N) and ln(1 + z), rising.
    ln_snr: Vec<f64>,
    ln_one_plus_z: Vec<f64>,
    /// [quantities, nodes of S/N, nodes of redshift].
    strength: Vec<f64>,
    /// The quantity after the coordinates.
    rate: Option<Rate>,
}

/// The four nodes about an object, and their weights.
type Place = [(usize, f64); 4];

impl Recalibration {
    /// One that changes nothing, from a S/N on and for a range of redshifts.
    fn none(coordinates: &Coordinates, snr: f64, redshift: (f64, f64)) -> Self {
        let rate = Rate::of(coordinates);
        let quantities = coordinates.len() + usize::from(rate.is_some());
        let (first, last) = (scalar::ln_1p(redshift.0), scalar::ln_1p(redshift.1));
        let step = (last - first) / (REDSHIFTS - 1) as f64;
        let rise = |snr: &f64| Some(snr * SNR_RATIO).filter(|snr| *snr <= MOST_SNR);
        let ln_snr: Vec<f64> = std::iter::successors(Some(snr), rise).map(scalar::ln).collect();
        Self {
            ln_one_plus_z: (0..REDSHIFTS).map(|k| first + step * k as f64).collect(),
            strength: vec![0.0; quantities * ln_snr.len() * REDSHIFTS],
            ln_snr,
            rate,
        }
    }

    fn nodes(&self) -> usize {
        self.ln_snr.len() * self.ln_one_plus_z.len()
    }

    /// Quantities that are tilted: the coordinates and, where they have one, the rate.
    fn quantities(&self) -> usize {
        self.strength.len() / self.nodes()
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

    /// Strength of quantity `i` at a place.
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
        let strengths = (0..self.quantities()).map(|i| self.strength(i, &place) as f32).collect();
        Some(Tilt::about(probes(), self.rate.map(|rate| rate.at(redshift)), strengths))
    }

    /// S/N from which densities are tilted, and the largest strength.
    #[must_use]
    pub fn reach(&self) -> (f64, f64) {
        (scalar::exp(self.ln_snr[0]), self.strength.iter().copied().fold(0.0, f64::max))
    }

    /// The strengths, at S/N (columns) and redshift (rows); `names` of the coordinates.
    #[must_use]
    pub fn table(&self, names: &[String]) -> String {
        let snr: String = self.ln_snr.iter().map(|s| format!("{:>7.1}", scalar::exp(*s))).collect();
        let (width, depth) = (self.ln_snr.len(), self.ln_one_plus_z.len());
        let mut text = String::new();
        for (i, name) in
            names.iter().map(String::as_str).chain(self.rate.map(|_| "rate")).enumerate()
        {
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
        arrays.put_f64(STORED[2], vec![self.quantities(), width, depth], &self.strength);
    }

    /// What [`Recalibration::put`] stored, if it did.
    pub(crate) fn take(
        what: &'static str,
        arrays: &mut Arrays,
        coordinates: &Coordinates,
    ) -> Result<Option<Self>, NpeError> {
        let count = |name: &str| arrays.shape(name).map(|shape| shape.iter().product::<usize>());
        let (Some(width), Some(depth)) = (count(STORED[0]), count(STORED[1])) else {
            return Ok(None);
        };
        // A table without a row for the rate leaves the rate alone.
        let nodes = (width * depth).max(1);
        let with_rate = count(STORED[2]).is_some_and(|n| n > coordinates.len() * nodes);
        let rate = Rate::of(coordinates).filter(|_| with_rate);
        let quantities = coordinates.len() + usize::from(rate.is_some());
        let own = Self {
            ln_snr: arrays.take_f64(what, STORED[0], &[width])?,
            ln_one_plus_z: arrays.take_f64(what, STORED[1], &[depth])?,
            strength: arrays.take_f64(what, STORED[2], &[quantities, width, depth])?,
            rate,
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

/// Hands every quantity of points `u`, [coordinates, n], to `each`, in order; at
/// most [`MOST_POINTS`] points.
fn each_quantity(rate: Option<Rate>, u: &[f32], n: usize, mut each: impl FnMut(usize, &[f32])) {
    u.chunks_exact(n).enumerate().for_each(|(i, row)| each(i, row));
    if let Some(rate) = rate {
        let mut row = [0.0; MOST_POINTS];
        rate.log_rates(u, &mut row[..n]);
        each(u.len() / n, &row[..n]);
    }
}

/// Where the posterior of one object lies, and how wide it is, per quantity.
#[derive(Clone, Debug, PartialEq)]
struct Frame {
    rate: Option<Rate>,
    centre: Vec<f32>,
    inverse_width: Vec<f32>,
}

impl Frame {
    /// `probes`: [coordinates, [`PROBES`]].
    fn about(probes: &[f32], rate: Option<Rate>) -> Self {
        let mut columns: Vec<[[f32; SIDE]; PROBES]> = Vec::new();
        let mut count = 0;
        each_quantity(rate, probes, PROBES, |i, row| {
            if i % SIDE == 0 {
                columns.push([[0.0; SIDE]; PROBES]);
            }
            columns[i / SIDE].iter_mut().zip(row).for_each(|(side, u)| side[i % SIDE] = *u);
            count = i + 1;
        });
        columns.iter_mut().for_each(|rows| columns::sort(rows));
        let mean = |i: usize, at: [usize; 2]| {
            let [one, other] = at.map(|k| columns[i / SIDE][k][i % SIDE]);
            0.5 * (one + other)
        };
        let width = |i| (mean(i, UPPER) - mean(i, LOWER)).max(1e-6);
        let centre = (0..count).map(|i| mean(i, CENTRE)).collect();
        let inverse_width = (0..count).map(|i| 2.0 / width(i)).collect();
        Self { rate, centre, inverse_width }
    }

    /// Hands t of every quantity of points `u`, [coordinates, n], to `each`, in order.
    fn deviates(&self, u: &[f32], n: usize, mut each: impl FnMut(usize, &[f32])) {
        let mut deviates = [0.0; MOST_POINTS];
        each_quantity(self.rate, u, n, |i, row| {
            let (centre, inverse_width) = (self.centre[i], self.inverse_width[i]);
            for (t, u) in deviates.iter_mut().zip(row) {
                *t = (u - centre) * inverse_width;
            }
            each(i, &deviates[..n]);
        });
    }
}

/// How the density of one object is tilted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tilt {
    frame: Frame,
    /// Per quantity.
    strength: Vec<f32>,
    /// Unbounded coordinates of draws of fixed noise, [coordinates, [`PROBES`]].
    probes: Vec<f32>,
    /// ln c.
    ceiling: f32,
    /// ln Z.
    log_norm: f64,
}

impl Tilt {
    fn about(probes: Vec<f32>, rate: Option<Rate>, strength: Vec<f32>) -> Self {
        let frame = Frame::about(&probes, rate);
        let mut own = Self { frame, strength, probes, ceiling: 0.0, log_norm: 0.0 };
        let mut log_weights = [0.0; PROBES];
        own.uncut(&own.probes, &mut log_weights);
        own.ceiling = ceiling(&mut log_weights.clone());
        own.cut(&mut log_weights);
        let sum: f64 = log_weights.iter().map(|w| f64::from(lanes::exp_f32(*w))).sum();
        own.log_norm = scalar::ln(sum / PROBES as f64);
        own
    }

    /// ln W of points `u`, [coordinates, n].
    fn uncut(&self, u: &[f32], out: &mut [f32]) {
        out.fill(0.0);
        self.frame.deviates(u, out.len(), |i, deviates| {
            let strength = self.strength[i];
            for (out, t) in out.iter_mut().zip(deviates) {
                *out += log_weight(strength, *t);
            }
        });
    }

    /// ln of min(W / c, 1) of values of ln W.
    fn cut(&self, log_weights: &mut [f32]) {
        log_weights.iter_mut().for_each(|w| *w = (*w - self.ceiling).min(0.0));
    }

    /// ln of min(W / c, 1) of points `u`, [coordinates, n].
    pub(crate) fn log_weights(&self, u: &[f32], out: &mut [f32]) {
        self.uncut(u, out);
        self.cut(out);
    }

    /// Keeps draws by their weights: one random word each. Moves those kept to the
    /// front of `state`, [coordinates, [`LANES`]], and says how many.
    pub(crate) fn keep(&self, words: &[u32], state: &mut [f32]) -> usize {
        let mut log_weights = [0.0; LANES];
        self.log_weights(state, &mut log_weights);
        let mut kept = 0;
        for (l, (word, log_weight)) in words.iter().zip(log_weights).enumerate() {
            if (f64::from(*word) + 0.5) / WORDS < f64::from(lanes::exp_f32(log_weight)) {
                state.chunks_exact_mut(LANES).for_each(|row| row[kept] = row[l]);
                kept += 1;
            }
        }
        kept
    }

    /// The draws of fixed noise that the tilt is set by, unbounded and not tilted:
    /// [coordinates, [`PROBES`]].
    pub(crate) fn probes(&self) -> &[f32] {
        &self.probes
    }

    /// ln Z.
    pub(crate) fn log_norm(&self) -> f64 {
        self.log_norm
    }
}

/// ln c of a sample of ln W, which it mixes.
fn ceiling(log_weights: &mut [f32]) -> f32 {
    let last = log_weights.len() - 1;
    let place = (last as f64 * (1.0 - CUT)) as usize;
    *log_weights.select_nth_unstable_by(place, f32::total_cmp).1
}

/// One factor of W: its ln at t.
#[inline(always)]
fn log_weight(strength: f32, t: f32) -> f32 {
    -0.5 * strength * (t * t).min(FAR)
}
