//! A history as steps of constant star-formation rate.
//!
//! What is stored is C(a), the mass formed at ages below a, at the knots
//! between steps; between knots it is linear. Mass per age bin, mean age and
//! quantiles of the steps follow exactly. C counts from the youngest age, so
//! that little recent star formation keeps its relative precision.

/// Where the knots lie in age.
#[derive(Clone, Debug)]
enum Grid {
    /// Equal steps from age 0.
    Uniform { step_gyr: f64, steps_per_gyr: f64 },
    /// Any rising ages, Gyr; the first 0.
    Listed(Vec<f64>),
}

/// A history of steps.
#[derive(Clone, Debug)]
pub(crate) struct Steps {
    grid: Grid,
    /// C at each knot; 0 at the first, positive at the last.
    younger: Vec<f64>,
    /// Index of the first knot that has all mass younger than itself.
    end: usize,
}

/// Sum in a fixed order that vector instructions can follow.
pub(super) fn sum(values: &[f64]) -> f64 {
    let chunks = values.chunks_exact(4);
    let rest: f64 = chunks.remainder().iter().sum();
    let mut lanes = [0.0; 4];
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += value;
        }
    }
    (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]) + rest
}

impl Steps {
    /// Equal steps. `younger`: C at each knot in any unit, from 0 at age 0.
    pub fn uniform(step_gyr: f64, younger: Vec<f64>) -> Self {
        Self::new(Grid::Uniform { step_gyr, steps_per_gyr: 1.0 / step_gyr }, younger)
    }

    /// Steps of any length. `ages_gyr`: n + 1 strictly rising, the first 0;
    /// `masses`: n, not negative, not all zero. The mass is normalised to 1.
    pub fn listed(ages_gyr: Vec<f64>, masses: &[f64]) -> Self {
        assert_eq!(ages_gyr.len(), masses.len() + 1, "n steps have n + 1 knots");
        let scale = 1.0 / masses.iter().sum::<f64>();
        let mut younger = Vec::with_capacity(ages_gyr.len());
        let mut mass = 0.0;
        younger.push(mass);
        for m in masses {
            mass += m * scale;
            younger.push(mass);
        }
        Self::new(Grid::Listed(ages_gyr), younger)
    }

    fn new(grid: Grid, younger: Vec<f64>) -> Self {
        let total = younger[younger.len() - 1];
        assert!(total > 0.0 && total.is_finite(), "a history forms some mass");
        let end = younger.partition_point(|&mass| mass < total);
        Self { grid, younger, end }
    }

    /// All mass, in the unit in which the steps were given.
    pub fn total(&self) -> f64 {
        self.younger[self.younger.len() - 1]
    }

    fn knot(&self, i: usize) -> f64 {
        match &self.grid {
            Grid::Uniform { step_gyr, .. } => i as f64 * step_gyr,
            Grid::Listed(ages) => ages[i],
        }
    }

    /// Age of the oldest stars, Gyr.
    pub fn duration_gyr(&self) -> f64 {
        self.knot(self.end)
    }

    /// C at an age; `cursor` is a step at or before it, and moves there.
    fn younger_than(&self, age_gyr: f64, cursor: &mut usize) -> f64 {
        let last = self.younger.len() - 2;
        let (i, part) = match &self.grid {
            Grid::Uniform { steps_per_gyr, .. } => {
                let position = (age_gyr * steps_per_gyr).max(0.0);
                let i = (position as usize).min(last);
                (i, position - i as f64)
            }
            Grid::Listed(ages) => {
                while *cursor < last && ages[*cursor + 1] <= age_gyr {
                    *cursor += 1;
                }
                let (low, high) = (ages[*cursor], ages[*cursor + 1]);
                (*cursor, (age_gyr - low) / (high - low))
            }
        };
        let (low, high) = (self.younger[i], self.younger[i + 1]);
        low + (high - low) * part.clamp(0.0, 1.0)
    }

    /// As [`super::History::mass_fraction`].
    pub fn mass_fraction(&self, young_gyr: f64, old_gyr: f64) -> f64 {
        let mut cursor = 0;
        let young = self.younger_than(young_gyr, &mut cursor);
        let old = self.younger_than(old_gyr, &mut cursor);
        ((old - young) / self.total()).max(0.0)
    }

    /// As [`super::History::bin_fractions`].
    pub fn bin_fractions(&self, edges_gyr: &[f64], fractions: &mut [f64]) -> usize {
        let n = fractions.len();
        assert_eq!(edges_gyr.len(), n + 1, "n bins have n + 1 edges");
        fractions.fill(0.0);
        let (total, duration_gyr) = (self.total(), self.duration_gyr());
        let scale = 1.0 / total;
        let (mut young, mut cursor) = (0.0, 0);
        for i in 0..n {
            if edges_gyr[i] >= duration_gyr {
                return i;
            }
            let old =
                if i + 1 == n { total } else { self.younger_than(edges_gyr[i + 1], &mut cursor) };
            fractions[i] = (old - young).max(0.0) * scale;
            young = old;
        }
        n
    }

    /// Mass-weighted age, Gyr: the oldest age minus the integral of C.
    pub fn mean_age_gyr(&self) -> f64 {
        let last = self.younger.len() - 1;
        let integral = match &self.grid {
            Grid::Uniform { step_gyr, .. } => {
                step_gyr * (sum(&self.younger) - 0.5 * self.younger[last])
            }
            Grid::Listed(ages) => (0..last)
                .map(|i| 0.5 * (self.younger[i] + self.younger[i + 1]) * (ages[i + 1] - ages[i]))
                .sum(),
        };
        self.knot(last) - integral / self.total()
    }

    /// As [`super::History::age_at_fraction`]; the older end of a pause in
    /// which no star formed.
    pub fn age_at_fraction(&self, f: f64) -> f64 {
        let wanted = (1.0 - f) * self.total();
        let above = self.younger.partition_point(|&mass| mass <= wanted);
        let above = above.clamp(1, self.end);
        let (low, high) = (self.younger[above - 1], self.younger[above]);
        let part = if high > low { ((wanted - low) / (high - low)).clamp(0.0, 1.0) } else { 1.0 };
        let (young, old) = (self.knot(above - 1), self.knot(above));
        young + (old - young) * part
    }

    /// Star-formation rate per mass formed at an age, 1/Gyr; zero at ages that
    /// no step holds.
    pub fn rate_per_gyr(&self, age_gyr: f64) -> f64 {
        let last = self.younger.len() - 1;
        if !(age_gyr >= 0.0 && age_gyr <= self.knot(last)) {
            return 0.0;
        }
        let i = match &self.grid {
            Grid::Uniform { steps_per_gyr, .. } => (age_gyr * steps_per_gyr) as usize,
            Grid::Listed(ages) => ages.partition_point(|&knot| knot <= age_gyr).max(1) - 1,
        };
        let i = i.min(last - 1);
        let mass = self.younger[i + 1] - self.younger[i];
        mass / (self.total() * (self.knot(i + 1) - self.knot(i)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same three steps on either grid: rates 2, 0, 1 per step.
    fn both() -> [Steps; 2] {
        [
            Steps::uniform(0.5, vec![0.0, 2.0, 2.0, 3.0]),
            Steps::listed(vec![0.0, 0.5, 1.0, 1.5], &[2.0, 0.0, 1.0]),
        ]
    }

    #[test]
    fn steps_by_hand() {
        for steps in both() {
            assert_eq!(steps.duration_gyr(), 1.5);
            assert!((steps.mass_fraction(0.25, 1.25) - 0.5).abs() < 1e-15);
            // Two thirds at 0.25 Gyr, one third at 1.25 Gyr.
            assert!((steps.mean_age_gyr() - (0.5 + 1.25) / 3.0).abs() < 1e-15);
            assert!((steps.age_at_fraction(0.5) - 0.375).abs() < 1e-15);
            assert!((steps.age_at_fraction(1.0 / 6.0) - 1.25).abs() < 1e-15);
            assert_eq!((steps.age_at_fraction(0.0), steps.age_at_fraction(1.0)), (1.5, 0.0));
            let rates = [0.2, 0.7, 1.2, 1.6].map(|age| steps.rate_per_gyr(age));
            for (got, expected) in rates.iter().zip([4.0 / 3.0, 0.0, 2.0 / 3.0, 0.0]) {
                assert!((got - expected).abs() < 1e-15);
            }
            let mut bins = [9.0; 4];
            assert_eq!(steps.bin_fractions(&[0.0, 0.1, 0.4, 1.1, 20.0], &mut bins), 4);
            let expected = [0.4 / 3.0, 1.2 / 3.0, 0.6 / 3.0, 0.8 / 3.0];
            assert!(bins.iter().zip(expected).all(|(got, e)| (got - e).abs() < 1e-15));
            // The last bin takes what is older than its edge; bins beyond are empty.
            assert_eq!(steps.bin_fractions(&[0.0, 0.5, 1.0], &mut bins[..2]), 2);
            assert!((bins[1] - 1.0 / 3.0).abs() < 1e-15);
            assert_eq!(steps.bin_fractions(&[0.0, 1.5, 2.0, 3.0], &mut bins[..3]), 1);
            assert_eq!(bins[..3], [1.0, 0.0, 0.0]);
        }
    }

    #[test]
    fn a_start_within_the_grid_is_the_duration() {
        let steps = Steps::uniform(0.5, vec![0.0, 1.0, 2.0, 2.0, 2.0]);
        assert_eq!((steps.duration_gyr(), steps.age_at_fraction(0.0)), (1.0, 1.0));
        assert_eq!(steps.mean_age_gyr(), 0.5);
    }
}
