//! One truth among its posterior draws.

use super::NOMINAL;
use outshine_kernels::quantile::Selection;
use outshine_kernels::random::Stream;
use outshine_kernels::wide;

/// One simulation, one parameter: the truth and what its posterior says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Case {
    /// The true value.
    pub truth: f64,
    /// Posterior median.
    pub median: f64,
    /// (truth - posterior mean) / posterior standard deviation; NaN where the draws do not vary.
    pub pull: f64,
    /// Place of the truth among the draws, in (0, 1): (rank + uniform) / (draws + 1).
    pub place: f64,
    /// Whether each central interval of [`NOMINAL`] holds the truth.
    pub inside: [bool; 4],
    /// Whether the object is bright enough to count for R^2, bias and scatter.
    pub bright: bool,
}

impl Case {
    /// One case by a [`CaseMaker`] of its own.
    #[must_use]
    pub fn new(truth: f64, draws: &[f32], bright: bool, stream: &mut Stream) -> Self {
        CaseMaker::default().case(truth, draws, bright, stream)
    }
}

/// Makes cases without putting the draws in order; keeps its memory from one
/// to the next.
#[derive(Clone, Debug, Default)]
pub struct CaseMaker {
    selection: Selection,
}

impl CaseMaker {
    /// Ranks the truth among its draws. The truth is rounded to f32 first, as
    /// the draws are; where it equals some of them (an atom of the posterior,
    /// such as a floor), rank and intervals are resolved by chance from
    /// `stream`, as the theory asks.
    #[must_use]
    pub fn case(&mut self, truth: f64, draws: &[f32], bright: bool, stream: &mut Stream) -> Case {
        let value = truth as f32;
        let (mut below, mut ties) = (0u32, 0u32);
        for &draw in draws {
            below += u32::from(draw < value);
            ties += u32::from(draw == value);
        }
        let (below, ties) = (below as usize, ties as usize);
        let place = place_among(below, ties, draws.len(), stream);
        let inside = if ties > 0 {
            NOMINAL.map(|p| (place - 0.5).abs() <= 0.5 * p)
        } else {
            let bounds = Bounds { value, draws, below };
            NOMINAL.map(|p| {
                bounds.compare(0.5 - 0.5 * p, |low, value| low <= value)
                    && bounds.compare(0.5 + 0.5 * p, |high, value| high >= value)
            })
        };
        let mut moments = [0.0; 2];
        wide::moments(draws, &mut moments);
        let n = draws.len() as f64;
        let sd = moments[1] * (n / (n - 1.0)).sqrt();
        let pull = if sd > 0.0 { (truth - moments[0]) / sd } else { f64::NAN };
        let [median] = self.selection.of(draws, [0.5]);
        Case { truth, median, pull, place, inside, bright }
    }
}

/// Place in (0, 1) of a truth with `below` of `count` draws below it and
/// `ties` equal to it: uniform for a calibrated posterior, as the truth's rank
/// among the draws is and chance spreads each rank over its step.
pub(super) fn place_among(below: usize, ties: usize, count: usize, stream: &mut Stream) -> f64 {
    let rank = below as f64 + stream.below(ties as u64 + 1) as f64;
    (rank + stream.uniform()) / (count as f64 + 1.0)
}

/// A value that no draw equals, compared with quantiles of the draws.
struct Bounds<'a> {
    value: f32,
    draws: &'a [f32],
    below: usize,
}

impl Bounds<'_> {
    /// Compares the quantile `p` (type 7, as [`outshine_kernels::quantile`])
    /// with the value. The quantile lies between two order statistics, so the
    /// count below the value mostly decides; only where the value lies between
    /// the same two are they looked for, being its neighbours.
    fn compare(&self, p: f64, holds: impl Fn(f64, f64) -> bool) -> bool {
        let count = self.draws.len();
        if count == 0 {
            return false;
        }
        let position = p * (count - 1) as f64;
        let (rank, fraction) = (position as usize, position - position.floor());
        if self.below <= rank {
            return holds(1.0, 0.0);
        }
        if self.below > rank + 1 || rank + 1 == count {
            return holds(0.0, 1.0);
        }
        let (mut under, mut over) = (f32::NEG_INFINITY, f32::INFINITY);
        for &draw in self.draws {
            if draw < self.value {
                under = under.max(draw);
            } else {
                over = over.min(draw);
            }
        }
        let (under, over) = (f64::from(under), f64::from(over));
        holds(under + fraction * (over - under), f64::from(self.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outshine_kernels::quantile;
    use outshine_kernels::random::Purpose;

    /// The same case by putting the draws in order.
    fn by_sorting(truth: f64, draws: &[f32], stream: &mut Stream) -> Case {
        let mut sorted: Vec<f64> = draws.iter().map(|d| f64::from(*d)).collect();
        quantile::sort(&mut sorted);
        let n = sorted.len() as f64;
        let value = f64::from(truth as f32);
        let below = sorted.partition_point(|d| *d < value);
        let ties = sorted.partition_point(|d| *d <= value) - below;
        let rank = below as f64 + stream.below(ties as u64 + 1) as f64;
        let place = (rank + stream.uniform()) / (n + 1.0);
        let mean = sorted.iter().sum::<f64>() / n;
        let square: f64 = sorted.iter().map(|d| (d - mean) * (d - mean)).sum();
        let sd = (square / (n - 1.0)).sqrt();
        let inside = NOMINAL.map(|p| {
            if ties > 0 {
                return (place - 0.5).abs() <= 0.5 * p;
            }
            let low = quantile::of_sorted(&sorted, 0.5 - 0.5 * p);
            let high = quantile::of_sorted(&sorted, 0.5 + 0.5 * p);
            (low..=high).contains(&value)
        });
        let pull = if sd > 0.0 { (truth - mean) / sd } else { f64::NAN };
        Case { truth, median: quantile::of_sorted(&sorted, 0.5), pull, place, inside, bright: true }
    }

    #[test]
    fn counting_gives_what_sorting_gives() {
        let mut maker = CaseMaker::default();
        let mut s = Stream::new(31, Purpose::Calibration, 0, 0);
        let shapes: [fn(f64, f64) -> f64; 5] = [
            |_, z| 11.3 + 0.003 * z,
            |u, z| if u < 0.3 { -14.0 } else { z },
            |_, z| (4.0 * z).round(),
            |_, _| 3.25,
            |u, z| z / (u * u * u).max(1e-9),
        ];
        let (mut ties, mut edges) = (0, 0);
        for shape in shapes {
            for n in [1, 2, 3, 5, 20, 21, 199, 500] {
                for repeat in 0..200 {
                    let mut one = || shape(s.uniform(), s.normal());
                    let truth = one();
                    let draws: Vec<f32> = (0..n).map(|_| one() as f32).collect();
                    let stream = || Stream::new(32, Purpose::Calibration, n as u64, repeat);
                    let expected = by_sorting(truth, &draws, &mut stream());
                    let got = maker.case(truth, &draws, true, &mut stream());
                    assert_eq!(got.place, expected.place);
                    assert_eq!(got.median, expected.median);
                    assert_eq!(got.inside, expected.inside, "{truth} {draws:?}");
                    // Sums in another order: rounding alone.
                    let (a, b) = (got.pull, expected.pull);
                    let near = (a - b).abs() <= 1e-9 * (1.0 + b.abs());
                    assert!(near || (a.is_nan() && b.is_nan()), "{a} {b}");
                    let equal = draws.contains(&(truth as f32));
                    ties += usize::from(equal);
                    let below = draws.iter().filter(|d| **d < truth as f32).count();
                    let rank = (0.025 * (n - 1) as f64) as usize;
                    edges += usize::from(!equal && below == rank + 1);
                }
            }
        }
        // Both special treatments were met.
        assert!(ties > 1000 && edges > 100, "{ties} {edges}");
    }

    /// Bounds that fall between two draws are found to the last bit.
    #[test]
    fn interpolated_bounds_decide() {
        let draws: Vec<f32> = (0..12).map(|k| k as f32).collect();
        // The central 50 % interval is [2.75, 8.25].
        for (truth, inside) in [(2.74, false), (2.76, true), (8.24, true), (8.26, false)] {
            let mut s = Stream::new(33, Purpose::Calibration, 0, 0);
            assert_eq!(Case::new(truth, &draws, true, &mut s).inside[0], inside, "{truth}");
        }
    }
}
