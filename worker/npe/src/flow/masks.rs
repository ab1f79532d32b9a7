//! Which unit may see which coordinate.
//!
//! A block visits the coordinates in an order of its own. The coordinate at
//! place r of that order may depend on the context and on the coordinates at
//! places below r. Hidden units carry a degree g in 0..d and see the places
//! below g; degree 0 sees the context alone. Units are stored sorted by degree,
//! so that a mask is a staircase and the sampler can evaluate degree after
//! degree.

use outshine_kernels::random::{Purpose, Stream};
use std::ops::Range;

/// Masks of one block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockMask {
    /// Coordinate at each place, length d.
    pub order: Vec<usize>,
    /// Place of each coordinate, length d.
    pub place: Vec<usize>,
    /// Degree of each hidden unit, ascending, length h; the same in both layers.
    pub degree: Vec<usize>,
    /// First unit of each degree, length d + 1.
    start: Vec<usize>,
}

impl BlockMask {
    /// The mask of block `block` for `dims` coordinates and `hidden` units.
    #[must_use]
    pub fn new(block: usize, dims: usize, hidden: usize) -> Self {
        let order = visiting_order(block, dims);
        let mut place = vec![0; dims];
        for (r, &coordinate) in order.iter().enumerate() {
            place[coordinate] = r;
        }
        let degree: Vec<usize> = (0..hidden).map(|j| j * dims / hidden).collect();
        let start = (0..=dims).map(|g| degree.partition_point(|&x| x < g)).collect();
        Self { order, place, degree, start }
    }

    /// Units of degree `g`.
    #[must_use]
    pub fn units(&self, g: usize) -> Range<usize> {
        self.start[g]..self.start[g + 1]
    }

    /// Whether hidden unit `j` of the first layer may see coordinate `i`.
    #[must_use]
    pub fn input(&self, i: usize, j: usize) -> bool {
        self.place[i] < self.degree[j]
    }

    /// Whether hidden unit `j` of the second layer may see unit `i` of the first.
    #[must_use]
    pub fn hidden(&self, i: usize, j: usize) -> bool {
        self.degree[i] <= self.degree[j]
    }

    /// Whether the outputs of coordinate `c` may see hidden unit `i`.
    #[must_use]
    pub fn output(&self, i: usize, c: usize) -> bool {
        self.degree[i] <= self.place[c]
    }
}

/// Even blocks permute, the odd block after each visits in reverse. The first
/// pair keeps the natural order; later ones are keyed by the block's number
/// alone, so the order is part of the architecture.
fn visiting_order(block: usize, dims: usize) -> Vec<usize> {
    let mut order: Vec<usize> = if block < 2 {
        (0..dims).collect()
    } else {
        let mut stream = Stream::new(0, Purpose::Weights, u64::MAX, block as u64 / 2);
        stream.permutation(dims).into_iter().map(|c| c as usize).collect()
    };
    if block % 2 == 1 {
        order.reverse();
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_degree_has_units_and_ranges_cover_them() {
        for (dims, hidden) in [(1, 4), (2, 5), (5, 128), (7, 50)] {
            for block in 0..6 {
                let m = BlockMask::new(block, dims, hidden);
                let mut next = 0;
                for g in 0..dims {
                    let units = m.units(g);
                    assert_eq!(units.start, next);
                    assert!(!units.is_empty());
                    assert!(units.clone().all(|j| m.degree[j] == g));
                    next = units.end;
                }
                assert_eq!(next, hidden);
                let mut sorted = m.order.clone();
                sorted.sort_unstable();
                assert_eq!(sorted, (0..dims).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn paths_respect_the_order() {
        let m = BlockMask::new(3, 5, 40);
        for from in 0..5 {
            for to in 0..5 {
                let path = (0..40).any(|i| {
                    m.input(from, i) && (0..40).any(|j| m.hidden(i, j) && m.output(j, to))
                });
                assert_eq!(path, m.place[from] < m.place[to], "{from} -> {to}");
            }
        }
    }
}
