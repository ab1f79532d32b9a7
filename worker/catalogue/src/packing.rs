//! Draws rounded for storage, within a stated distance.
//!
//! Storing a draw to its last bit keeps noise: 500 draws fix a quantile to a
//! few hundredths of the posterior's width at best. So each draw moves to a
//! number nearby that other draws share. With sigma the standard deviation of
//! the pixel's posterior,
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
//! numbers (about 250 or less of one parameter where pixels are alike and
//! tails are short), so that a draw can be stored as a byte that points to its
//! number, and bytes of unequal frequency compress below their 8 bits. The
//! numbers are the fewest that reach every draw of the group, by the classic
//! sweep: the next number is placed as far right as the leftmost draw without
//! one allows. Draws are first counted in bins of a 64th of the smallest
//! tolerance, which costs a 128th of the reach and spares the sorting. A draw
//! of a wide posterior that reaches several numbers takes the one whose place
//! in their row has the most factors of two, and so one of few.

use outshine_kernels::wide;
use std::fmt;
use std::hint::select_unpredictable;
use std::ops::Range;

/// Largest distance of a stored draw from the drawn one, in [`sigma`].
pub const TOLERANCE: f64 = 0.02;
/// Most pixels of a group.
pub const GROUP: usize = 32;

/// Part of the tolerance that the sweep uses; the rest covers the rounding of bins in single
/// precision, which is below 0.3 % of it.
const USED: f64 = 0.996;
/// Bins per tolerance of the narrowest pixel.
const FINENESS: f64 = 64.0;
/// Least bins per tolerance, where the range is long for the narrowest pixel.
const LEAST_FINENESS: f64 = 4.0;
/// Most bins.
const BINS: usize = 1 << 16;
/// Least tolerance, in spacings of single precision at the largest draw, that leaves room for
/// rounding.
const ROOM: f64 = 4.0;
/// A draw is NaN or infinite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotFinite;

impl fmt::Display for NotFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a draw or the width of a posterior is NaN or infinite and cannot be packed")
    }
}

impl std::error::Error for NotFinite {}

/// Standard deviation of the `draws` of a pixel in one parameter.
#[must_use]
pub fn sigma(draws: &[f32]) -> f64 {
    let mut moments = [0.0; 2];
    wide::moments(draws, &mut moments);
    moments[1]
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
    /// The numbers, ascending.
    numbers: Vec<f32>,
    /// Per bin that has draws the place of a number that all of them reach.
    own: Vec<u16>,
    /// Per bin how many numbers lie below its lower edge; one more at the end.
    below: Vec<u16>,
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
        assert!(
            !sigmas.is_empty() && draws.len().is_multiple_of(sigmas.len()),
            "as many draws per pixel"
        );
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
            if USED * tolerance / LEAST_FINENESS < finest {
                alone(&mut draws[pixel * per_pixel..(pixel + 1) * per_pixel], tolerance);
                continue;
            }
            self.together.push(pixel);
            narrowest = narrowest.min(tolerance);
        }
        let width = (USED * narrowest / FINENESS).max(finest);
        // Bins are found in single precision, which the range and the bins must not leave.
        let in_range =
            ((1.0 / width) as f32).is_normal() && ((greatest - least) as f32).is_finite();
        if self.together.is_empty() || !in_range {
            return Ok(());
        }
        self.together.sort_by(|&a, &b| sigmas[b].total_cmp(&sigmas[a]));
        // Never more than `BINS`, as `width` is at least `finest`.
        let bins = ((greatest - least) / width) as usize + 1;
        self.reach.clear();
        self.reach.resize(bins, f32::INFINITY);
        self.count(draws, sigmas, per_pixel, least, width);
        self.place(least, width, 2.0 * spacing);
        for &pixel in &self.together {
            let range = pixel * per_pixel..(pixel + 1) * per_pixel;
            // Whole bins on either side that are within reach.
            let reach = (USED * TOLERANCE * sigmas[pixel] / width) as usize;
            for (draw, &bin) in draws[range.clone()].iter_mut().zip(&self.bins[range]) {
                *draw = self.numbers[self.choose(usize::from(bin), reach)];
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

    /// Finds numbers such that every bin that has draws has one within reach of all of it; `room`
    /// is the least interval that surely holds a number of single precision.
    fn place(&mut self, least: f64, width: f64, room: f64) {
        self.numbers.clear();
        self.own.clear();
        self.own.resize(self.reach.len(), 0);
        let (mut low, mut high) = (f64::NEG_INFINITY, f64::INFINITY);
        for ((bin, &reach), own) in self.reach.iter().enumerate().zip(&mut self.own) {
            if reach == f32::INFINITY {
                continue;
            }
            let reach = f64::from(reach);
            let start = least + bin as f64 * width;
            let (from, to) = (start + width - reach, start + reach);
            if to.min(high) - from.max(low) < room {
                self.numbers.push(roundest(low, high) as f32);
                (low, high) = (from, to);
            } else {
                (low, high) = (from.max(low), to.min(high));
            }
            *own = self.numbers.len() as u16;
        }
        self.numbers.push(roundest(low, high) as f32);

        // From number to number, as there are fewer of these than bins.
        self.below.clear();
        let edges = self.reach.len() + 1;
        for (count, &number) in self.numbers.iter().enumerate() {
            let number = f64::from(number);
            let is_below = |edge: usize| number < least + edge as f64 * width;
            // The first edge that the number is below, or none.
            let mut first = (((number - least) / width).max(0.0) as usize).min(edges);
            while first > 0 && is_below(first - 1) {
                first -= 1;
            }
            while first < edges && !is_below(first) {
                first += 1;
            }
            self.below.resize(first.max(self.below.len()), count as u16);
        }
        self.below.resize(edges, self.numbers.len() as u16);
    }

    /// Place of the number for a draw of a bin that reaches `reach` whole bins: of those within
    /// reach the one whose place has the most factors of two.
    fn choose(&self, bin: usize, reach: usize) -> usize {
        let last = self.below.len() - 1;
        let from = usize::from(self.below[(bin + 1).saturating_sub(reach)]);
        let to = usize::from(self.below[(bin + reach).min(last)]);
        let own = usize::from(self.own[bin]);
        // The bits that from - 1 and to - 1 share, and the first in which they differ; number 0,
        // where it is among them, shares none.
        let (before, end) = (from.wrapping_sub(1), to.wrapping_sub(1));
        let differ = ((before ^ end) | 1).ilog2();
        // Whether any is within reach is as good as random.
        select_unpredictable(from < to, end >> differ << differ, own)
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

#[cfg(test)]
mod tests {
    use super::*;
    use outshine_kernels::quantile;
    use outshine_kernels::random::{Purpose, Stream};

    const DRAWS: usize = 500;

    /// Of a uniform and two normal numbers.
    type Shape = fn(f64, f64, f64) -> f64;

    /// Shapes of posteriors.
    const SHAPES: [(&str, Shape); 13] = [
        ("normal", |_, z, _| z),
        ("narrow at a large offset", |_, z, _| 11.3 + 0.003 * z),
        ("near single precision", |_, z, _| 11.3 + 3e-6 * z),
        ("bimodal", |u, z, w| if u < 0.4 { -3.0 + 0.1 * z } else { 2.0 + 0.5 * w }),
        ("piled up at a bound", |_, z, _| (0.3 * z).max(0.0)),
        ("atom and tail", |u, z, _| if u < 0.5 { -8.0 } else { -1.0 - z.abs() }),
        ("mostly an atom", |u, z, _| if u < 0.9 { -8.0 } else { z }),
        ("heavy tail", |u, z, _| z / u.max(1e-3)),
        ("flat", |u, _, _| 4.0 * u),
        ("tiny", |_, z, _| 1e-30 * z),
        ("below normal numbers", |_, z, _| 1e-41 * z),
        ("as wide as can be", |u, z, _| if u < 0.5 { 3e38 } else { 1e36 * z - 3e38 }),
        ("of one value", |_, _, _| 0.1),
    ];

    fn draws(shape: Shape, shift: f64, key: u64) -> Vec<f32> {
        let mut stream = Stream::new(3, Purpose::Draw, key, 0);
        let mut next = || shape(stream.uniform(), stream.normal(), stream.normal());
        (0..DRAWS).map(|_| (shift + next()) as f32).collect()
    }

    fn sigmas(draws: &[f32]) -> Vec<f64> {
        draws.chunks(DRAWS).map(sigma).collect()
    }

    /// Counted bin by bin.
    #[test]
    fn numbers_below_every_bin_are_counted() {
        for (k, (name, shape)) in SHAPES.iter().enumerate() {
            let mut packer = Packer { reach: vec![f32::INFINITY; 3000], ..Packer::default() };
            let values = draws(*shape, 0.0, k as u64);
            let [low, high] = [f32::min, f32::max].map(|end| values.iter().copied().fold(0.0, end));
            let width = (f64::from(high) - f64::from(low)) / 2999.0;
            for value in values {
                let bin = (f64::from(value) - f64::from(low)) / width;
                packer.reach[bin as usize] = (8.0 * width) as f32;
            }
            packer.place(f64::from(low), width, 0.0);
            assert!(packer.numbers.windows(2).all(|n| n[0] <= n[1]), "{name}");
            assert_eq!(packer.below.len(), 3001, "{name}");
            for (bin, &below) in packer.below.iter().enumerate() {
                let edge = f64::from(low) + bin as f64 * width;
                let counted = packer.numbers.iter().filter(|n| f64::from(**n) < edge).count();
                assert_eq!(usize::from(below), counted, "{name}: bin {bin}");
            }
        }
    }

    /// Largest shift of any draw, quantile or mean of a pixel, in standard deviations worked out
    /// apart from the code under test.
    fn largest_shift(before: &[f32], after: &[f32]) -> f64 {
        let sorted = |values: &[f32]| {
            let mut values: Vec<f64> = values.iter().map(|&v| f64::from(v)).collect();
            values.sort_unstable_by(f64::total_cmp);
            values
        };
        let (a, b) = (sorted(before), sorted(after));
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let square = a.iter().map(|v| (v - mean(&a)).powi(2)).sum::<f64>() / a.len() as f64;
        let width = square.sqrt();
        let mut shift = (mean(&a) - mean(&b)).abs();
        for step in 0..=1000 {
            let p = f64::from(step) / 1000.0;
            shift = shift.max((quantile::of_sorted(&a, p) - quantile::of_sorted(&b, p)).abs());
        }
        for (x, y) in before.iter().zip(after) {
            shift = shift.max((f64::from(*x) - f64::from(*y)).abs());
        }
        if shift == 0.0 { 0.0 } else { shift / width }
    }

    #[test]
    fn no_draw_and_no_quantile_moves_beyond_the_tolerance() {
        let mut packer = Packer::default();
        for (name, shape) in SHAPES {
            for pixels in [1, 5, 48] {
                let before: Vec<f32> =
                    (0..pixels).flat_map(|i| draws(shape, 0.0, i as u64)).collect();
                let mut after = before.clone();
                packer.pack(&mut after, &sigmas(&before)).unwrap();
                for (a, b) in before.chunks(DRAWS).zip(after.chunks(DRAWS)) {
                    let shift = largest_shift(a, b);
                    assert!(shift <= TOLERANCE, "{name}, {pixels} pixels: {shift}");
                }
            }
        }
    }

    #[test]
    fn unlike_pixels_of_a_group_keep_their_own_tolerance() {
        let before: Vec<f32> = SHAPES
            .iter()
            .enumerate()
            .flat_map(|(i, (_, shape))| draws(*shape, 0.3 * i as f64, i as u64))
            .collect();
        let mut after = before.clone();
        Packer::default().pack(&mut after, &sigmas(&before)).unwrap();
        for ((a, b), (name, _)) in before.chunks(DRAWS).zip(after.chunks(DRAWS)).zip(SHAPES) {
            let shift = largest_shift(a, b);
            assert!(shift <= TOLERANCE, "{name}: {shift}");
        }
    }

    /// A normal of 500 draws spans about 6 sigma, of which a number reaches 0.04: some 150 numbers
    /// cover it without a gap, the fewest for the draws are less; many pixels of equal posteriors
    /// span 9 sigma.
    #[test]
    fn like_pixels_share_few_numbers() {
        let before: Vec<f32> = (0..GROUP as u64).flat_map(|i| draws(SHAPES[1].1, 0.0, i)).collect();
        let mut after = before.clone();
        Packer::default().pack(&mut after, &sigmas(&before)).unwrap();
        let distinct = |values: &[f32]| {
            let mut bits: Vec<u32> = values.iter().map(|v| v.to_bits()).collect();
            bits.sort_unstable();
            bits.dedup();
            bits.len()
        };
        // The narrowest pixel of the group, some 8 % below the mean, sets the spacing: 9 sigma /
        // (0.04 * 0.92 * 31 / 32 * 0.99 sigma) = 255 at most.
        assert!(distinct(&after) <= 255, "{}", distinct(&after));
        assert!(distinct(&after[..DRAWS]) <= 150, "{}", distinct(&after[..DRAWS]));
        assert!(distinct(&before) > 5_000);
    }

    #[test]
    fn the_result_depends_on_the_group_alone() {
        let before: Vec<f32> = (0..20).flat_map(|i| draws(SHAPES[3].1, 0.01, i)).collect();
        let widths = sigmas(&before);
        let (mut one, mut two) = (before.clone(), before.clone());
        Packer::default().pack(&mut one, &widths).unwrap();
        let mut used = Packer::default();
        used.pack(&mut draws(SHAPES[7].1, 5.0, 1), &[0.1]).unwrap();
        used.pack(&mut two, &widths).unwrap();
        assert!(one.iter().zip(&two).all(|(a, b)| a.to_bits() == b.to_bits()));
        assert_ne!(one, before);
        // Packing again changes nothing beyond the tolerance, and nothing of no width.
        let mut constant = vec![0.1; 2 * DRAWS];
        used.pack(&mut constant, &[0.0, 0.0]).unwrap();
        assert_eq!(constant, vec![0.1; 2 * DRAWS]);
        used.pack(&mut [], &[]).unwrap();
    }

    #[test]
    fn what_is_not_finite_is_refused() {
        for bad in [f32::NAN, f32::INFINITY] {
            let mut values = [1.0, 2.0, bad, 3.0];
            assert_eq!(Packer::default().pack(&mut values, &[0.5, 0.5]), Err(NotFinite));
            assert_eq!((values[0], values[3]), (1.0, 3.0));
        }
        assert_eq!(Packer::default().pack(&mut [1.0, 2.0], &[f64::NAN]), Err(NotFinite));
    }

    #[test]
    fn groups_are_even_and_in_order_of_the_median() {
        assert_eq!(order(&[3.0, 1.0, 2.0, 1.0]), [1, 3, 2, 0]);
        assert_eq!(groups(0).count(), 0);
        for pixels in [1, 47, 48, 49, 256] {
            let all: Vec<Range<usize>> = groups(pixels).collect();
            assert_eq!((all[0].start, all[all.len() - 1].end), (0, pixels));
            assert!(all.windows(2).all(|pair| pair[0].end == pair[1].start));
            assert!(all.iter().all(|g| g.len() <= GROUP && g.len() >= pixels.min(GROUP / 2)));
        }
    }
}
