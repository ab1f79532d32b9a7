//! The mass left in stars and remnants, from the fraction of mass older than
//! each edge of the library's age bins.

use super::{LANES, Lanes, exp10};
use crate::library::Arrays;
use outshine_kernels::scalar;

/// Rows summed together, and draws: their sums fit into vector registers.
const GROUP: usize = 4;
const BLOCK: usize = 16;

/// Rises of the remaining mass over age and metallicity.
///
/// Between metallicities Z_m of the library remaining mass is linear in Z: row
/// 0 plus, for every m >= 1, row m less row m - 1 times how far Z is from
/// Z_(m-1) to Z_m, cut to 0 to 1.
pub(super) struct Remaining {
    /// (ages - 1) inner edges of the age bins, Gyr, rising.
    pub edges_gyr: Vec<f32>,
    /// Per m >= 1: Z_(m-1) / Zsun, and 1 / (Z_m - Z_(m-1)).
    metals: Vec<(f32, f32)>,
    /// (groups, 1 + edges): per row of a group its value in the first age bin,
    /// then its rise at every edge. Rows that fill up the last group are 0.
    rises: Vec<Vec<[f32; GROUP]>>,
}

impl Remaining {
    pub fn new(arrays: &Arrays) -> Self {
        let ages = arrays.age_edges_gyr.len() - 1;
        let z: Vec<f64> = arrays.metallicity.iter().map(|&m| scalar::exp10(m)).collect();
        let step = |w: &[f64]| (w[0] as f32, (1.0 / (w[1] - w[0])) as f32);
        let value = |m: usize, age: usize| {
            let at = |m: usize| arrays.remaining_mass[m * ages + age];
            if m == 0 { at(0) } else { at(m) - at(m - 1) }
        };
        let row = |m: usize, age: usize| {
            if m >= z.len() {
                return 0.0;
            }
            let before = if age == 0 { 0.0 } else { value(m, age - 1) };
            (value(m, age) - before) as f32
        };
        let group = |first: usize| {
            (0..ages).map(|age| std::array::from_fn(|i| row(first + i, age))).collect()
        };
        Self {
            edges_gyr: arrays.age_edges_gyr[1..ages].iter().map(|&edge| edge as f32).collect(),
            metals: z.windows(2).map(step).collect(),
            rises: (0..z.len()).step_by(GROUP).map(group).collect(),
        }
    }

    /// Room for the fraction older than every edge.
    pub fn scratch(&self) -> Vec<Lanes> {
        vec![Lanes::all(0.0); self.edges_gyr.len()]
    }

    /// How many leading edges are younger than the oldest of `ages_gyr`.
    #[inline(always)]
    pub fn edges_below(&self, ages_gyr: &Lanes) -> usize {
        let oldest = ages_gyr.iter().fold(0.0f32, |a, &b| if b > a { b } else { a });
        self.edges_gyr.partition_point(|&edge| edge < oldest)
    }

    /// Mass left per mass formed, at least 1e-6. `older` times `scale`: the
    /// fraction of mass older than leading edges, none being older than the others.
    #[inline(always)]
    pub fn fraction(&self, older: &[Lanes], scale: &Lanes, metallicity: &Lanes) -> Lanes {
        let mut z = Lanes::all(0.0);
        for j in 0..LANES {
            z[j] = exp10(metallicity[j]);
        }
        let mut total = Lanes::all(0.0);
        for (group, rises) in self.rises.iter().enumerate() {
            let mut sums = [Lanes::all(0.0); GROUP];
            for block in 0..LANES / BLOCK {
                let at = block * BLOCK;
                let own = block_sums(&rises[1..], older, at);
                for i in 0..GROUP {
                    for j in 0..BLOCK {
                        sums[i][at + j] = rises[0][i] + scale[at + j] * own[i][j];
                    }
                }
            }
            for (i, sums) in sums.iter().enumerate() {
                match (group * GROUP + i).checked_sub(1) {
                    None => total = *sums,
                    Some(m) if m < self.metals.len() => {
                        let (below, per_z) = self.metals[m];
                        for j in 0..LANES {
                            let part = ((z[j] - below) * per_z).clamp(0.0, 1.0);
                            total[j] += part * sums[j];
                        }
                    }
                    Some(_) => {}
                }
            }
        }
        // A library whose stars leave nothing has no logarithm.
        for j in 0..LANES {
            total[j] = total[j].max(1e-6);
        }
        total
    }
}

/// Per row of a group and draw from `at` on: the sum of rises over the edges.
#[inline(always)]
fn block_sums(rises: &[[f32; GROUP]], older: &[Lanes], at: usize) -> [[f32; BLOCK]; GROUP] {
    let mut sums = [[0.0f32; BLOCK]; GROUP];
    for (older, rise) in older.iter().zip(rises) {
        let older: &[f32; BLOCK] = older[at..].first_chunk().expect("a block within the lanes");
        for i in 0..GROUP {
            for j in 0..BLOCK {
                sums[i][j] += rise[i] * older[j];
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two, four and five metallicities: less, as much and more than one group holds.
    #[test]
    fn masses_are_linear_in_age_shares_and_in_z() {
        for metals in [2usize, 4, 5] {
            let ages = 6;
            let grid: Vec<f64> = (0..metals).map(|m| -1.5 + 0.45 * m as f64).collect();
            let kept: Vec<f64> =
                (0..metals * ages).map(|i| 0.2 + ((i * 37 + 5) % 29) as f64 / 40.0).collect();
            let arrays = Arrays {
                metallicity: grid.clone(),
                age_edges_gyr: vec![0.0, 0.1, 0.3, 1.0, 2.0, 5.0, 9.0],
                remaining_mass: kept.clone(),
                ..Arrays::default()
            };
            let remaining = Remaining::new(&arrays);
            assert_eq!(remaining.edges_gyr, [0.1, 0.3, 1.0, 2.0, 5.0]);
            assert_eq!(remaining.edges_below(&Lanes::all(1.5)), 3);
            // Nothing is older than 2 Gyr: masses per age bin of 0.4, 0.3, 0.2, 0.1.
            let masses = [0.4, 0.3, 0.2, 0.1, 0.0, 0.0];
            let older = [0.6, 0.3, 0.1].map(|f: f32| Lanes::all(2.0 * f));
            let mut metallicity = Lanes::all(0.0);
            for j in 0..LANES {
                metallicity[j] = -1.6 + 0.07 * j as f32;
            }
            let got = remaining.fraction(&older, &Lanes::all(0.5), &metallicity);
            for j in 0..LANES {
                let row = |m: usize| -> f64 {
                    kept[m * ages..][..ages].iter().zip(masses).map(|(k, m)| k * m).sum()
                };
                let z = 10f64.powf(f64::from(metallicity[j]));
                let nodes: Vec<f64> = grid.iter().map(|m| 10f64.powf(*m)).collect();
                let above = nodes.partition_point(|&n| n <= z).clamp(1, metals - 1);
                let part = (z - nodes[above - 1]) / (nodes[above] - nodes[above - 1]);
                let part = part.clamp(0.0, 1.0);
                let expected = (1.0 - part) * row(above - 1) + part * row(above);
                // Single precision.
                assert!((f64::from(got[j]) - expected).abs() < 2e-6, "{metals} {j}");
            }
        }
    }
}
