//! Tests of all parameters together.
//!
//! Ranks of single parameters cannot see a posterior whose margins are right
//! and whose correlations are wrong. Two places of the truth among its draws
//! can; each is uniform where truth and draws come from the same posterior:
//!
//! TARP (Lemos et al. 2023, "Sampling-Based Accuracy Testing of Posterior
//! Estimators for General Inference"): by distance from a random reference
//! point theta_r,
//! f = (rank + uniform) / (draws + 1), rank = #{draws: |theta - theta_r| < |theta* - theta_r|}.
//! The expected coverage of credibility a is P(f < a). With reference points
//! that do not depend on the data, as here, a posterior that ignores the data
//! and returns the prior passes: R^2 and widths tell that.
//!
//! Density rank: by ln q, rank = #{draws: ln q(theta) > ln q(theta*)}. Places
//! below a are truths within the region of highest density of probability a.

use super::case::place_among;
use outshine_kernels::random::Stream;

/// Name of the row of the test of random points.
pub const TARP: &str = "tarp";
/// Name of the row of density ranks.
pub const DENSITY_RANK: &str = "density_rank";

/// Places of truths by their distance from a random point of the prior box;
/// keeps its memory from one to the next.
#[derive(Clone, Debug)]
pub struct Tarp {
    low: Vec<f64>,
    per_width: Vec<f64>,
    distances: Vec<f64>,
}

impl Tarp {
    /// For a prior box with bounds `low` and `high`, one per parameter.
    /// Distances are Euclidean in units of its sides.
    ///
    /// # Panics
    /// When the lengths differ.
    #[must_use]
    pub fn new(low: &[f64], high: &[f64]) -> Self {
        assert_eq!(low.len(), high.len(), "two bounds per parameter");
        let per_width = low.iter().zip(high).map(|(low, high)| 1.0 / (high - low)).collect();
        Self { low: low.to_vec(), per_width, distances: Vec::new() }
    }

    /// Place in (0, 1) of the truth among its draws, nearest to the random
    /// point first.
    ///
    /// `truth` (parameters) is rounded to f32, as the draws are; `draws`
    /// (parameters, draws). The point and ties are from `stream`.
    ///
    /// # Panics
    /// When there is not one value and one column per parameter, or columns
    /// differ in length.
    pub fn place<D: AsRef<[f32]>>(
        &mut self,
        truth: &[f64],
        draws: &[D],
        stream: &mut Stream,
    ) -> f64 {
        let d = self.low.len();
        assert!(truth.len() == d && draws.len() == d, "{d} parameters are expected");
        let count = draws.first().map_or(0, |column| column.as_ref().len());
        self.distances.clear();
        self.distances.resize(count, 0.0);
        let mut own = 0.0;
        for i in 0..d {
            let scale = self.per_width[i];
            let origin = stream.uniform() + self.low[i] * scale;
            let square = |value: f32| {
                let along = f64::from(value) * scale - origin;
                along * along
            };
            own += square(truth[i] as f32);
            let column = draws[i].as_ref();
            assert_eq!(column.len(), count, "columns of draws of one length");
            for (distance, &value) in self.distances.iter_mut().zip(column) {
                *distance += square(value);
            }
        }
        place_by(own, &self.distances, stream)
    }
}

/// Place in (0, 1) of a truth of log density `truth` among draws of log
/// density `draws` under the same posterior, densest first. Ties are resolved
/// by chance from `stream`.
#[must_use]
pub fn density_place(truth: f64, draws: &[f64], stream: &mut Stream) -> f64 {
    // The place from the sparse end, turned round: ranks are spread alike.
    1.0 - place_by(truth, draws, stream)
}

fn place_by(own: f64, others: &[f64], stream: &mut Stream) -> f64 {
    let (mut below, mut ties) = (0usize, 0usize);
    for &other in others {
        below += usize::from(other < own);
        ties += usize::from(other == own);
    }
    place_among(below, ties, others.len(), stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use outshine_kernels::random::Purpose;

    #[test]
    fn distances_are_in_units_of_the_box() {
        // Draws are the truth moved by 0.1 of the box along one side or the
        // other: the same place, whatever the units.
        let place = |unit: [f64; 2]| {
            let mut tarp = Tarp::new(&[-unit[0], 0.0], &[unit[0], 3.0 * unit[1]]);
            let mut s = Stream::new(61, Purpose::Calibration, 0, 0);
            let truth = [0.25 * unit[0], 1.5 * unit[1]];
            let draws: [Vec<f32>; 2] = [
                [0.25, 0.45, 0.05].map(|v| (v * unit[0]) as f32).to_vec(),
                [1.8, 1.5, 1.5].map(|v| (v * unit[1]) as f32).to_vec(),
            ];
            tarp.place(&truth, &draws, &mut s)
        };
        assert_eq!(place([1.0, 1.0]), place([1024.0, 1.0 / 64.0]));
    }

    /// All draws on the truth: the place is spread by chance alone.
    #[test]
    fn ties_are_spread() {
        let mut tarp = Tarp::new(&[0.0; 2], &[1.0; 2]);
        let mut s = Stream::new(62, Purpose::Calibration, 0, 0);
        let draws = [vec![0.3f32; 9], vec![0.6; 9]];
        let n = 10_000;
        let mean = (0..n).map(|_| tarp.place(&[0.3, 0.6], &draws, &mut s)).sum::<f64>();
        // Five standard errors of a uniform's mean: 5 * 0.289 / 100.
        assert!((mean / f64::from(n) - 0.5).abs() < 0.0145);
    }

    #[test]
    fn the_densest_point_comes_first() {
        let mut s = Stream::new(63, Purpose::Calibration, 0, 0);
        let draws: Vec<f64> = (0..9).map(f64::from).collect();
        for (truth, from, to) in [(9.5, 0.0, 0.1), (-1.0, 0.9, 1.0), (4.5, 0.4, 0.5)] {
            let place = density_place(truth, &draws, &mut s);
            assert!(place > from && place < to, "{truth} at {place}");
        }
    }
}
