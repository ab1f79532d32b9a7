//! Directions in which the gradients of a matrix of weights vary.

use crate::matmul::{Level, Skip, View, multiply_add};
use outshine_kernels::widest;

/// Share of the old covariance that a new gradient leaves.
const MEMORY: f32 = 0.9;
/// Directions that vary less than this share of all variance stay as they are:
/// rounding hides where they point.
const UNSEEN: f32 = 1e-7;
/// Rows made orthogonal to each other one by one; blocks of them at once.
const BLOCK: usize = 16;

/// Running covariance of the rows (or of the columns) of a gradient, and its
/// directions.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Turn {
    /// Covariance, [n, n].
    pub covariance: Vec<f32>,
    /// Directions, one per row, from much to little variance: [n, n].
    pub directions: Vec<f32>,
}

/// The product of two matrices, [m, n].
pub(super) fn product(
    level: Level,
    (m, k, n): (usize, usize, usize),
    a: View<'_>,
    b: View<'_>,
) -> Vec<f32> {
    let mut c = vec![0.0; m * n];
    multiply_add(level, (m, k, n), a, b, Skip::Nothing, &mut c, n);
    c
}

impl Turn {
    /// No gradient seen yet: the directions are the axes.
    pub fn new(n: usize) -> Self {
        let mut directions = vec![0.0; n * n];
        directions.iter_mut().step_by(n + 1).for_each(|x| *x = 1.0);
        Self { covariance: vec![0.0; n * n], directions }
    }

    /// Takes a gradient's covariance into the running one.
    pub fn see(&mut self, covariance: &[f32], first: bool) {
        let (old, new) = if first { (0.0, 1.0) } else { (MEMORY, 1.0 - MEMORY) };
        for (c, x) in self.covariance.iter_mut().zip(covariance) {
            *c = old * *c + new * x;
        }
    }

    /// One step of orthogonal iteration towards the eigenvectors of the
    /// covariance. Returns for each new direction the old one that it comes
    /// from, or nothing when there is no variance to follow.
    pub fn refresh(&mut self, level: Level) -> Option<Vec<usize>> {
        let n = self.covariance.len().isqrt();
        let shape = (n, n, n);
        let (old, covariance) = (View::new(&self.directions, n), View::new(&self.covariance, n));
        let trace: f32 = self.covariance.iter().step_by(n + 1).sum();
        if !(trace.is_normal() && trace > 0.0) {
            return None;
        }
        let mut moved = product(level, shape, old, covariance);
        let mut variance = Vec::with_capacity(n);
        for (moved, old) in moved.chunks_exact_mut(n).zip(self.directions.chunks_exact(n)) {
            let along: f32 = moved.iter().zip(old).map(|(a, b)| a * b).sum();
            variance.push(along);
            for (m, o) in moved.iter_mut().zip(old) {
                *m = *m / trace + UNSEEN * o;
            }
        }
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|&a, &b| variance[b].total_cmp(&variance[a]));
        let mut directions = Vec::with_capacity(n * n);
        order.iter().for_each(|&i| directions.extend_from_slice(&moved[i * n..(i + 1) * n]));
        if !orthonormalise(level, &mut directions, n) {
            return None;
        }
        self.directions = directions;
        Some(order)
    }
}

/// Makes the rows of [n, n] orthogonal to those before them and of length 1.
/// False when a row has nothing of its own.
fn orthonormalise(level: Level, rows: &mut [f32], n: usize) -> bool {
    let mut lengths_are_fine = 1.0;
    for start in (0..n).step_by(BLOCK) {
        let (before, rest) = rows.split_at_mut(start * n);
        let height = BLOCK.min(n - start);
        let block = &mut rest[..height * n];
        unit_rows(block, n, &mut lengths_are_fine);
        // Twice: the first pass leaves rounding errors of what it takes away.
        for _ in 0..2 {
            if start > 0 {
                let done = View::new(before, n);
                let mut shares = product(level, (height, n, start), View::new(block, n), done.t());
                shares.iter_mut().for_each(|s| *s = -*s);
                let shares = View::new(&shares, start);
                multiply_add(level, (height, start, n), shares, done, Skip::Nothing, block, n);
            }
            gram_schmidt(block, n, &mut lengths_are_fine);
        }
    }
    lengths_are_fine > 0.0
}

widest! {
    /// Scales rows of `n` values to length 1; `fine` becomes 0 where one has none.
    pub fn unit_rows(rows: &mut [f32], n: usize, fine: &mut f32) => unit_rows_body
}

#[inline(always)]
fn unit_rows_body(rows: &mut [f32], n: usize, fine: &mut f32) {
    for row in rows.chunks_exact_mut(n) {
        unit(row, fine);
    }
}

widest! {
    /// Gram-Schmidt on a few rows of `n` values; `fine` becomes 0 where one
    /// has nothing of its own.
    pub fn gram_schmidt(rows: &mut [f32], n: usize, fine: &mut f32) => gram_schmidt_body
}

#[inline(always)]
fn gram_schmidt_body(rows: &mut [f32], n: usize, fine: &mut f32) {
    for i in 0..rows.len() / n {
        let (before, rest) = rows.split_at_mut(i * n);
        let row = &mut rest[..n];
        for other in before.chunks_exact(n) {
            let share = dot(row, other);
            for (x, y) in row.iter_mut().zip(other) {
                *x -= share * y;
            }
        }
        unit(row, fine);
    }
}

#[inline(always)]
fn unit(row: &mut [f32], fine: &mut f32) {
    let length = dot(row, row).sqrt();
    if !(length.is_normal()) {
        *fine = 0.0;
        return;
    }
    let inverse = 1.0 / length;
    row.iter_mut().for_each(|x| *x *= inverse);
}

/// Sum of products, in 16 interleaved sums.
#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 16];
    let (a, b) = (a.chunks_exact(16), b.chunks_exact(16));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a.zip(b) {
        for l in 0..16 {
            sums[l] += x[l] * y[l];
        }
    }
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use outshine_kernels::random::{Purpose, Stream};

    /// A covariance of known eigenvectors, a million from largest to smallest
    /// variance, is found from gradients of it, and every level gives the same bits.
    #[test]
    fn directions_are_found() {
        let n = 50;
        let mut stream = Stream::new(7, Purpose::Weights, 0, 0);
        let mut truth: Vec<f32> = (0..n * n).map(|_| stream.normal() as f32).collect();
        assert!(orthonormalise(Level::detect(), &mut truth, n));
        let variance = |i: usize| 10f32.powf(-6.0 * i as f32 / (n - 1) as f32);
        let scaled: Vec<f32> = truth.iter().enumerate().map(|(k, x)| x * variance(k / n)).collect();
        let level = Level::detect();
        let covariance = product(level, (n, n, n), View::new(&truth, n).t(), View::new(&scaled, n));
        let mut results = Vec::new();
        for &level in Level::available() {
            let mut turn = Turn::new(n);
            turn.see(&covariance, true);
            for _ in 0..60 {
                assert!(turn.refresh(level).is_some());
            }
            // Neighbours differ by a factor 1.33 in variance: 60 steps leave
            // 1.33^-60 = 4e-8 of one in the other; rounding does the rest.
            for i in 0..30 {
                let row = |m: &[f32]| m[i * n..(i + 1) * n].to_vec();
                let along = dot(&row(&turn.directions), &row(&truth)).abs();
                assert!(along > 0.99, "direction {i}: cosine {along}");
            }
            results.push(turn.directions);
        }
        assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
    }

    /// Directions stay orthonormal where the covariance has nothing to say.
    #[test]
    fn directions_without_variance_stay() {
        let (n, level) = (37, Level::detect());
        let mut turn = Turn::new(n);
        assert_eq!(turn.refresh(level), None);
        let mut covariance = vec![0.0; n * n];
        covariance[3 * n + 3] = 2.0;
        turn.see(&covariance, true);
        for _ in 0..5 {
            turn.refresh(level).unwrap();
        }
        let q = View::new(&turn.directions, n);
        let gram = product(level, (n, n, n), q, q.t());
        for (k, x) in gram.iter().enumerate() {
            let expected = if k % (n + 1) == 0 { 1.0 } else { 0.0 };
            assert!((x - expected).abs() < 1e-5, "{k}: {x}");
        }
        assert!((turn.directions[3].abs() - 1.0).abs() < 1e-5);
    }
}
