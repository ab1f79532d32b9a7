//! Quantiles of draws, one definition for every summary in the project.

use crate::wide;

/// Bins of a [`Selection`]: about one value each for a few hundred draws.
const BINS: usize = 512;

/// Puts finite values in order; the total order of IEEE 754, so the result
/// does not depend on the order of arrival.
pub fn sort(values: &mut [f64]) {
    values.sort_unstable_by(f64::total_cmp);
}

/// The quantile `p` in [0, 1] of values in order, by linear interpolation
/// between order statistics (type 7 of Hyndman & Fan 1996, the default of
/// numpy and R). NaN for no values.
#[must_use]
pub fn of_sorted(values: &[f64], p: f64) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    let (below, fraction) = place(values.len(), p);
    match values.get(below + 1) {
        Some(above) => values[below] + fraction * (above - values[below]),
        None => values[below],
    }
}

/// Order statistic at or below the quantile `p` of `count` > 0 values, and how
/// far the quantile lies beyond it on the way to the next.
fn place(count: usize, p: f64) -> (usize, f64) {
    let position = p.clamp(0.0, 1.0) * (count - 1) as f64;
    let below = position as usize;
    (below, position - below as f64)
}

/// Quantiles without sorting: values are counted in bins over their range, and
/// only the bins that hold a wanted order statistic are put in order. Gives
/// the bits of [`sort`] and [`of_sorted`]; keeps its memory from call to call.
#[derive(Clone, Debug)]
pub struct Selection {
    bins: Vec<u16>,
    counts: Vec<u32>,
    /// Members of the bin looked into last, in order.
    members: Vec<f32>,
}

impl Default for Selection {
    fn default() -> Self {
        Self { bins: Vec::new(), counts: vec![0; BINS], members: Vec::new() }
    }
}

impl Selection {
    /// The quantiles `p` of finite `values`, which stay as they are; NaN for
    /// no values. Fastest with `p` ascending.
    pub fn of<const N: usize>(&mut self, values: &[f32], p: [f64; N]) -> [f64; N] {
        if values.is_empty() {
            return [f64::NAN; N];
        }
        self.count(values);
        let (mut bin, mut before) = (0, 0);
        let mut gathered = usize::MAX;
        p.map(|p| {
            let (below, fraction) = place(values.len(), p);
            let mut statistic = |rank: usize| {
                while rank < before {
                    bin -= 1;
                    before -= self.counts[bin] as usize;
                }
                while rank >= before + self.counts[bin] as usize {
                    before += self.counts[bin] as usize;
                    bin += 1;
                }
                if gathered != bin {
                    gathered = bin;
                    self.gather(values, bin);
                }
                f64::from(self.members[rank - before])
            };
            let low = statistic(below);
            if below + 1 == values.len() {
                return low;
            }
            low + fraction * (statistic(below + 1) - low)
        })
    }

    /// Counts values by bin. Bins ascend with the value, as every step from
    /// the one to the other is monotonic, rounding included.
    fn count(&mut self, values: &[f32]) {
        let mut range = [0.0; 2];
        wide::range(values, &mut range);
        let per_value = BINS as f32 / (range[1] - range[0]);
        self.bins.clear();
        self.bins.resize(values.len(), 0);
        // No range, or one too narrow or too wide for its inverse: all in one bin.
        if per_value.is_normal() {
            wide::bins(values, range[0], per_value, BINS as u16 - 1, &mut self.bins);
        }
        self.counts.fill(0);
        for &bin in &self.bins {
            self.counts[usize::from(bin) % BINS] += 1;
        }
    }

    fn gather(&mut self, values: &[f32], bin: usize) {
        let count = self.counts[bin] as usize;
        self.members.clear();
        let bin = bin as u16;
        let mut start = 0;
        while self.members.len() < count {
            // Most chunks have no member: one comparison of many lanes tells.
            let end = (start + 64).min(values.len());
            let chunk = &self.bins[start..end];
            if chunk.iter().fold(false, |any, &b| any | (b == bin)) {
                for (&value, &b) in values[start..end].iter().zip(chunk) {
                    if b == bin {
                        self.members.push(value);
                    }
                }
            }
            start = end;
        }
        self.members.sort_unstable_by(f32::total_cmp);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, Stream};

    #[test]
    fn matches_the_textbook_definition() {
        let mut values = [15.0, 20.0, 35.0, 40.0, 50.0];
        values.reverse();
        sort(&mut values);
        // numpy.quantile([15, 20, 35, 40, 50], [0, 0.05, 0.3, 0.5, 1]).
        for (p, expected) in [(0.0, 15.0), (0.05, 16.0), (0.3, 23.0), (0.5, 35.0), (1.0, 50.0)] {
            assert!((of_sorted(&values, p) - expected).abs() < 1e-12, "{p}");
        }
        assert!(of_sorted(&[], 0.5).is_nan());
        assert_eq!(of_sorted(&[3.0], 0.16), 3.0);
    }

    /// Selection gives the bits of sorting, whatever the shape and the length.
    #[test]
    fn selects_what_sorting_gives() {
        const P: [f64; 9] = [0.0, 0.001, 0.025, 0.16, 0.5, 0.84, 0.975, 0.5, 1.0];
        let mut stream = Stream::new(7, Purpose::Draw, 1, 2);
        let mut selection = Selection::default();
        let shapes: [fn(f64, f64) -> f32; 9] = [
            |_, z| (11.3 + 0.003 * z) as f32,
            |u, z| (if u < 0.3 { z } else { 40.0 + 0.1 * z }) as f32,
            |u, z| if u < 0.5 { -8.0 } else { z as f32 },
            |u, _| if u < 0.5 { -0.0 } else { 0.0 },
            |_, _| 3.25,
            |u, z| if u < 0.01 { f32::MAX } else { z as f32 },
            |u, z| if u < 0.5 { f32::MAX } else { z as f32 - f32::MAX },
            |_, z| f32::from_bits((z.abs() * 5.0) as u32),
            |u, z| (z / (u * u * u).max(1e-9)) as f32,
        ];
        for shape in shapes {
            for n in [1, 2, 3, 7, 63, 64, 65, 500, 1001] {
                let values: Vec<f32> =
                    (0..n).map(|_| shape(stream.uniform(), stream.normal())).collect();
                let mut sorted: Vec<f64> = values.iter().map(|&v| f64::from(v)).collect();
                sort(&mut sorted);
                let expected = P.map(|p| of_sorted(&sorted, p).to_bits());
                assert_eq!(selection.of(&values, P).map(f64::to_bits), expected, "{values:?}");
            }
        }
        assert!(selection.of(&[], [0.5])[0].is_nan());
    }
}
