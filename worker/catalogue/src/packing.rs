//! Draws rounded for storage, within a stated distance.
//!
//! Storing a draw to its last bit keeps noise: 500 draws fix a quantile to a
//! few hundredths of the posterior's width at best. So each draw moves to a
//! number nearby that other draws share. With sigma the width of the pixel's
//! posterior ([`sigma`]),
//!
//! ```text
//! |stored - drawn| <= TOLERANCE sigma,
//! ```
//!
//! hence no order statistic moves by more (of any k values at least as many
//! lie below x + d after moving each by at most d as lay below x before), and
//! neither does a quantile, which lies between two of them, nor the mean. The
//! order of the draws stays, and with it the pairing across parameters and
//! pixels; stored values are plain numbers in the parameter's unit.
//!
//! Pixels are packed in groups ([`order`], [`groups`]) that share few distinct
//! numbers (about 250 or less of one parameter where pixels are alike), so
//! that a draw is stored as a byte that points to its number, and bytes of
//! unequal frequency compress below their 8 bits. The numbers are the fewest
//! that reach every draw of the group, by the classic sweep: the next number
//! is placed as far right as the leftmost draw without one allows. Draws are
//! first counted in bins of an eighth of the smallest tolerance, which costs a
//! sixteenth of the reach and spares the sorting.

use crate::interval::Interval;
use outshine_kernels::wide;
use std::fmt;
use std::ops::Range;

/// Largest distance of a stored draw from the drawn one, in [`sigma`].
pub const TOLERANCE: f64 = 0.02;
/// Most pixels of a group.
pub const GROUP: usize = 48;

/// Part of the tolerance that the sweep uses; the rest covers the rounding of bins in single
/// precision, which is below 1/600 of it.
const USED: f64 = 0.99;
/// Bins per tolerance of the narrowest pixel.
const FINENESS: f64 = 8.0;
/// Most bins.
const BINS: usize = 1 << 16;
/// Least tolerance, in spacings of single precision at the largest draw, that leaves room for
/// rounding.
const ROOM: f64 = 4.0;
/// Least part of the standard deviation that counts as width.
const LEAST_WIDTH: f64 = 0.125;

/// A draw is NaN or infinite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotFinite;

impl fmt::Display for NotFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a draw or the width of a posterior is NaN or infinite and cannot be packed")
    }
}

impl std::error::Error for NotFinite {}

/// Width of the posterior of a pixel in one parameter, from its `draws` and their `interval`: the
/// lesser of the standard deviation and half the central 68 % interval, which a long tail does
/// not stretch; but at least an eighth of the standard deviation, as for most draws at one value.
#[must_use]
pub fn sigma(draws: &[f32], interval: &Interval) -> f64 {
    let mut moments = [0.0; 2];
    wide::moments(draws, &mut moments);
    let deviation = moments[1];
    let half = 0.5 * (interval.p84 - interval.p16);
    half.min(deviation).max(LEAST_WIDTH * deviation)
}

/// Pixels of a block in the order in which they are packed and stored: by the median of a
/// parameter that varies most from pixel to pixel (the stellar mass), so that neighbours share
/// numbers. Pixels of equal median keep their order.
#[must_use]
pub fn order(medians: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..medians.len()).collect();
    order.sort_by(|&a, &b| medians[a].total_cmp(&medians[b]));
    order
}

/// Cuts `pixels` into groups of about equal size, none above [`GROUP`].
pub fn groups(pixels: usize) -> impl Iterator<Item = Range<usize>> {
    let count = pixels.div_ceil(GROUP);
    (0..count).map(move |i| i * pixels / count..(i + 1) * pixels / count)
}

/// Rounds the draws of groups of pixels; keeps its memory from group to group.
#[derive(Clone, Debug, Default)]
pub struct Packer {
    /// Bin of every draw.
    bins: Vec<u16>,
    /// Per bin the least tolerance of its draws; infinite where it has none.
    reach: Vec<f32>,
    /// Per bin the number that its draws become.
    number: Vec<f32>,
    /// Pixels rounded together, widest first.
    together: Vec<usize>,
}

impl Packer {
    /// Rounds the draws of one parameter of a group of pixels.
    ///
    /// `draws`: (pixels, draws per pixel), in the parameter's unit. `sigmas`: the width of each
    /// pixel's posterior. Pixels of no width, or of one near the spacing of single precision,
    /// stay as they are; one far narrower than the range of its group is rounded by itself.
    ///
    /// # Errors
    /// A draw or a width that is not finite; the draws are left as they are.
    ///
    /// # Panics
    /// When `draws` is not a whole number of draws per pixel.
    pub fn pack(&mut self, draws: &mut [f32], sigmas: &[f64]) -> Result<(), NotFinite> {
        if draws.is_empty() {
            return Ok(());
        }
        assert!(!sigmas.is_empty() && draws.len() % sigmas.len() == 0, "as many draws per pixel");
        let finite = draws.iter().fold(true, |all, draw| all & draw.is_finite());
        if !finite || sigmas.iter().any(|sigma| !sigma.is_finite()) {
            return Err(NotFinite);
        }
        let per_pixel = draws.len() / sigmas.len();
        let mut ends = [0.0; 2];
        wide::range(draws, &mut ends);
        let [least, greatest] = ends.map(f64::from);
        let spacing = greatest.abs().max(least.abs()) * f64::from(f32::EPSILON);
        let finest = (greatest - least) / (BINS - 1) as f64;

        self.together.clear();
        let mut narrowest = f64::INFINITY;
        for (pixel, &sigma) in sigmas.iter().enumerate() {
            let tolerance = TOLERANCE * sigma;
            if tolerance < ROOM * spacing || tolerance == 0.0 {
                continue;
            }
            if USED * tolerance / FINENESS < finest {
                alone(&mut draws[pixel * per_pixel..(pixel + 1) * per_pixel], tolerance);
                continue;
            }
            self.together.push(pixel);
            narrowest = narrowest.min(tolerance);
        }
        if self.together.is_empty() {
            return Ok(());
        }
        self.together.sort_by(|&a, &b| sigmas[b].total_cmp(&sigmas[a]));
        let width = USED * narrowest / FINENESS;
        // Never more than `BINS`, as `width` is at least `finest`.
        let bins = ((greatest - least) / width) as usize + 1;
        self.reach.clear();
        self.reach.resize(bins, f32::INFINITY);
        self.number.resize(bins, 0.0);
        self.count(draws, sigmas, per_pixel, least, width);
        self.place(least, width, 2.0 * spacing);
        for &pixel in &self.together {
            let range = pixel * per_pixel..(pixel + 1) * per_pixel;
            for (draw, &bin) in draws[range.clone()].iter_mut().zip(&self.bins[range]) {
                *draw = self.number[usize::from(bin)];
            }
        }
        Ok(())
    }

    /// Finds the bin of every draw, and the least tolerance in every bin.
    fn count(&mut self, draws: &[f32], sigmas: &[f64], per_pixel: usize, least: f64, width: f64) {
        self.bins.resize(draws.len(), 0);
        let last = (self.reach.len() - 1) as u16;
        for &pixel in &self.together {
            let range = pixel * per_pixel..(pixel + 1) * per_pixel;
            let (values, bins) = (&draws[range.clone()], &mut self.bins[range]);
            wide::bins(values, least as f32, (1.0 / width) as f32, last, bins);
            // Widest first: the last one to write is the narrowest.
            let tolerance = (USED * TOLERANCE * sigmas[pixel]) as f32;
            for &bin in &*bins {
                self.reach[usize::from(bin)] = tolerance;
            }
        }
    }

    /// Gives every bin that has draws a number within reach of all of it; `room` is the least
    /// interval that surely holds a number of single precision.
    fn place(&mut self, least: f64, width: f64, room: f64) {
        let (mut first, mut low, mut high) = (0, f64::NEG_INFINITY, f64::INFINITY);
        for (bin, &reach) in self.reach.iter().enumerate() {
            let reach = f64::from(reach);
            if reach == f64::INFINITY {
                continue;
            }
            let start = least + bin as f64 * width;
            let (from, to) = (start + width - reach, start + reach);
            if to.min(high) - from.max(low) < room {
                self.number[first..bin].fill(roundest(low, high) as f32);
                (first, low, high) = (bin, from, to);
            } else {
                (low, high) = (from.max(low), to.min(high));
            }
        }
        self.number[first..].fill(roundest(low, high) as f32);
    }
}

/// Rounds draws of one pixel to the roundest numbers within `tolerance`: multiples of a power of
/// two, even ones where these are near enough.
fn alone(draws: &mut [f32], tolerance: f64) {
    let step = power_of_two_below(2.0 * tolerance);
    for draw in draws {
        let value = f64::from(*draw);
        let even = 2.0 * step * (value / (2.0 * step) + 0.5).floor();
        let near = step * (value / step + 0.5).floor();
        *draw = if (even - value).abs() <= tolerance { even } else { near } as f32;
    }
}

/// The number between `low` and `high` that is a multiple of the largest power of two.
fn roundest(low: f64, high: f64) -> f64 {
    if low <= 0.0 && high >= 0.0 {
        return 0.0;
    }
    let mut step = power_of_two_below(high - low);
    let mut found = step * (high / step).floor();
    loop {
        step *= 2.0;
        let rounder = step * (high / step).floor();
        if rounder < low {
            return found;
        }
        found = rounder;
    }
}

/// The largest power of two that is not above `x` > 0.
fn power_of_two_below(x: f64) -> f64 {
    const EXPONENT: u64 = 0x7ff0_0000_0000_0000;
    f64::from_bits(x.max(f64::MIN_POSITIVE).to_bits() & EXPONENT)
}
