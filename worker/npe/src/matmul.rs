//! Matrix products whose bits do not depend on the processor.
//!
//! C += A B in single precision. Each element of C is one chain of fused
//! multiply-adds over k in ascending order, starting from the value already
//! there. Vector lanes run over columns of C and never share a sum, so the
//! width of the vectors, the size of the tiles and the instruction set cannot
//! change a bit. Zeros in A or B (masked weights) leave a chain as it is, which
//! is why whole ranges of k known to be zero may be left out.

use std::cell::RefCell;

/// Instruction sets that a product can run on; all give the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// No vector intrinsics: any processor, slow where it lacks a fused multiply-add.
    Portable,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512F.
    Avx512,
}

impl Level {
    /// The best level of this processor.
    #[must_use]
    pub fn detect() -> Self {
        Self::available().last().copied().unwrap_or(Self::Portable)
    }

    /// All levels of this processor, slowest first.
    #[must_use]
    pub fn available() -> &'static [Self] {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            if avx2 && is_x86_feature_detected!("avx512f") {
                return &[Self::Portable, Self::Avx2, Self::Avx512];
            }
            if avx2 {
                return &[Self::Portable, Self::Avx2];
            }
        }
        &[Self::Portable]
    }
}

/// A matrix inside a slice: element (i, j) is `data[i * rows + j * cols]`.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The values.
    pub data: &'a [f32],
    /// Distance between rows.
    pub rows: usize,
    /// Distance between columns.
    pub cols: usize,
}

impl<'a> View<'a> {
    /// A row-major matrix with `width` columns.
    #[must_use]
    pub fn new(data: &'a [f32], width: usize) -> Self {
        Self { data, rows: width, cols: 1 }
    }

    /// The transposed matrix.
    #[must_use]
    pub fn t(self) -> Self {
        Self { data: self.data, rows: self.cols, cols: self.rows }
    }

    fn holds(&self, rows: usize, cols: usize) -> bool {
        rows == 0 || cols == 0 || (rows - 1) * self.rows + (cols - 1) * self.cols < self.data.len()
    }
}

/// Where the staircase of a mask leaves zeros that need not be visited.
#[derive(Clone, Copy)]
pub enum Skip<'a> {
    /// Nothing is known to be zero.
    Nothing,
    /// Column j of B is zero from row `end[j]` on.
    After(&'a [usize]),
    /// Column j of B is zero before row `start[j]`.
    Before(&'a [usize]),
}

impl Skip<'_> {
    /// The rows of B to visit for columns `from..to`.
    fn range(&self, from: usize, to: usize, k: usize) -> (usize, usize) {
        match self {
            Self::Nothing => (0, k),
            Self::After(end) => (0, end[from..to].iter().copied().max().unwrap_or(0).min(k)),
            Self::Before(start) => (start[from..to].iter().copied().min().unwrap_or(k).min(k), k),
        }
    }
}

/// C += A B, with A of shape [m, k], B of shape [k, n] and C row-major with
/// `c_width` values per row.
///
/// # Panics
/// When a slice is too short for its shape.
pub fn multiply_add(
    level: Level,
    (m, k, n): (usize, usize, usize),
    a: View<'_>,
    b: View<'_>,
    skip: Skip<'_>,
    c: &mut [f32],
    c_width: usize,
) {
    assert!(a.holds(m, k) && b.holds(k, n), "operand too short");
    assert!(m == 0 || n == 0 || (n <= c_width && (m - 1) * c_width + n <= c.len()), "C too short");
    assert!(Level::available().contains(&level), "{level:?} is not available here");
    if m == 0 || n == 0 {
        return;
    }
    let job = Job { m, k, n, a, b, skip, c_width };
    match level {
        Level::Portable => portable(&job, c),
        // SAFETY: the level was found among those that this processor has.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { avx2(&job, c) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { avx512(&job, c) },
        #[cfg(not(target_arch = "x86_64"))]
        _ => portable(&job, c),
    }
}

struct Job<'a> {
    m: usize,
    k: usize,
    n: usize,
    a: View<'a>,
    b: View<'a>,
    skip: Skip<'a>,
    c_width: usize,
}

fn portable(job: &Job<'_>, c: &mut [f32]) {
    // SAFETY: the portable vector needs no processor feature; bounds were checked.
    unsafe { run::<[f32; 8], 4>(job, c) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(job: &Job<'_>, c: &mut [f32]) {
    // SAFETY: this function's features are those that __m256 needs; bounds were checked.
    unsafe { run::<std::arch::x86_64::__m256, 6>(job, c) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn avx512(job: &Job<'_>, c: &mut [f32]) {
    // SAFETY: this function's features are those that __m512 needs; bounds were checked.
    unsafe { run::<std::arch::x86_64::__m512, 8>(job, c) }
}

/// One register of f32 lanes.
trait Lanes: Copy {
    const WIDTH: usize;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    unsafe fn splat(x: f32) -> Self;
    /// self * b + c, rounded once.
    unsafe fn fma(self, b: Self, c: Self) -> Self;
}

impl Lanes for [f32; 8] {
    const WIDTH: usize = 8;
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller owns 8 values there.
        unsafe { from.cast::<Self>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller owns 8 values there.
        unsafe { to.cast::<Self>().write_unaligned(self) }
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        [x; 8]
    }
    #[inline(always)]
    unsafe fn fma(self, b: Self, c: Self) -> Self {
        std::array::from_fn(|l| self[l].mul_add(b[l], c[l]))
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Lanes;
    use std::arch::x86_64::{
        __m256, __m512, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_storeu_ps,
        _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_storeu_ps,
    };

    macro_rules! lanes {
        ($vector:ty, $width:literal, $load:ident, $store:ident, $splat:ident, $fma:ident) => {
            impl Lanes for $vector {
                const WIDTH: usize = $width;
                #[inline(always)]
                unsafe fn load(from: *const f32) -> Self {
                    // SAFETY: the caller owns WIDTH values there and has the feature.
                    unsafe { $load(from) }
                }
                #[inline(always)]
                unsafe fn store(self, to: *mut f32) {
                    // SAFETY: the caller owns WIDTH values there and has the feature.
                    unsafe { $store(to, self) }
                }
                #[inline(always)]
                unsafe fn splat(x: f32) -> Self {
                    // SAFETY: the caller has the feature.
                    unsafe { $splat(x) }
                }
                #[inline(always)]
                unsafe fn fma(self, b: Self, c: Self) -> Self {
                    // SAFETY: the caller has the feature.
                    unsafe { $fma(self, b, c) }
                }
            }
        };
    }
    lanes!(__m256, 8, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_set1_ps, _mm256_fmadd_ps);
    lanes!(__m512, 16, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_set1_ps, _mm512_fmadd_ps);
}

/// Rows of C above which it pays to copy a panel of B together, unless its
/// rows lie within so few panels' widths of each other.
const PACK_FROM_ROWS: usize = 48;
const CLOSE_PANELS: usize = 4;

thread_local! {
    static PANEL: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// # Safety
/// The processor has the features of `V`, and the job's slices hold their shapes.
#[inline(always)]
unsafe fn run<V: Lanes, const MR: usize>(job: &Job<'_>, c: &mut [f32]) {
    // Taken out rather than borrowed in a closure: a closure would be compiled
    // without the instruction set of the caller.
    let mut panel = PANEL.take();
    let mut j = 0;
    while j < job.n {
        let left = job.n - j;
        // SAFETY: as of this function.
        unsafe {
            if left > V::WIDTH {
                columns::<V, MR, 2>(job, c, &mut panel, j, left.min(2 * V::WIDTH));
            } else {
                columns::<V, MR, 1>(job, c, &mut panel, j, left);
            }
        }
        j += 2 * V::WIDTH;
    }
    PANEL.set(panel);
}

/// Columns `j..j + width` of C.
#[inline(always)]
unsafe fn columns<V: Lanes, const MR: usize, const NV: usize>(
    job: &Job<'_>,
    c: &mut [f32],
    panel: &mut Vec<f32>,
    j: usize,
    width: usize,
) {
    let full = NV * V::WIDTH;
    let (from, to) = job.skip.range(j, j + width, job.k);
    if from >= to {
        return;
    }
    let depth = to - from;
    let close = job.m < PACK_FROM_ROWS || job.b.rows <= CLOSE_PANELS * full;
    let direct = width == full && job.b.cols == 1 && close;
    let (b, b_rows) = if direct {
        (&job.b.data[from * job.b.rows + j..], job.b.rows)
    } else {
        panel.clear();
        panel.resize(depth * full, 0.0);
        pack(job, (from, depth), (j, width), panel);
        (panel.as_slice(), full)
    };
    let a = &job.a.data[from * job.a.cols..];
    let mut i = 0;
    while i < job.m {
        let rows = match job.m - i {
            left if left >= MR => MR,
            4.. => 4,
            2.. => 2,
            _ => 1,
        };
        let mut edge = [0.0f32; 256];
        let in_place = width == full;
        let (target, target_width) = if in_place {
            (c[i * job.c_width + j..].as_mut_ptr(), job.c_width)
        } else {
            for r in 0..rows {
                let at = (i + r) * job.c_width + j;
                edge[r * full..r * full + width].copy_from_slice(&c[at..at + width]);
            }
            (edge.as_mut_ptr(), full)
        };
        // SAFETY: A, B and the target hold `rows` x `depth` x `full` values at
        // these distances; the processor has the features.
        unsafe {
            let a = a.as_ptr().add(i * job.a.rows);
            let b = b.as_ptr();
            let (a_rows, a_cols) = (job.a.rows, job.a.cols);
            macro_rules! tile {
                ($rows:expr) => {
                    tile::<V, $rows, NV>(depth, a, a_rows, a_cols, b, b_rows, target, target_width)
                };
            }
            match rows {
                _ if rows == MR => tile!(MR),
                4 => tile!(4),
                2 => tile!(2),
                _ => tile!(1),
            }
        }
        if !in_place {
            for r in 0..rows {
                let at = (i + r) * job.c_width + j;
                c[at..at + width].copy_from_slice(&edge[r * full..r * full + width]);
            }
        }
        i += rows;
    }
}

/// Copies columns `j..j + width` of rows `from..from + depth` of B together.
#[inline(always)]
fn pack(job: &Job<'_>, (from, depth): (usize, usize), (j, width): (usize, usize), to: &mut [f32]) {
    let (data, rows, cols) = (job.b.data, job.b.rows, job.b.cols);
    let full = to.len() / depth;
    if cols == 1 {
        for (p, row) in to.chunks_exact_mut(full).enumerate() {
            let base = (from + p) * rows + j;
            row[..width].copy_from_slice(&data[base..base + width]);
        }
        return;
    }
    // Down the columns of a transposed matrix, which are contiguous.
    for l in 0..width {
        let column = &data[from * rows + (j + l) * cols..];
        for p in 0..depth {
            to[p * full + l] = column[p * rows];
        }
    }
}

/// `MR` rows by `NV` registers of C, held in registers over all of k.
#[inline(always)]
unsafe fn tile<V: Lanes, const MR: usize, const NV: usize>(
    depth: usize,
    a: *const f32,
    a_rows: usize,
    a_cols: usize,
    b: *const f32,
    b_rows: usize,
    c: *mut f32,
    c_width: usize,
) {
    // SAFETY: the caller owns the memory at these distances and has the features.
    unsafe {
        let mut sum = [[V::splat(0.0); NV]; MR];
        for i in 0..MR {
            for v in 0..NV {
                sum[i][v] = V::load(c.add(i * c_width + v * V::WIDTH));
            }
        }
        for p in 0..depth {
            let row = b.add(p * b_rows);
            let mut lanes = [V::splat(0.0); NV];
            for v in 0..NV {
                lanes[v] = V::load(row.add(v * V::WIDTH));
            }
            for i in 0..MR {
                let x = V::splat(*a.add(i * a_rows + p * a_cols));
                for v in 0..NV {
                    sum[i][v] = x.fma(lanes[v], sum[i][v]);
                }
            }
        }
        for i in 0..MR {
            for v in 0..NV {
                sum[i][v].store(c.add(i * c_width + v * V::WIDTH));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outshine_kernels::random::{Purpose, Stream};

    fn random(n: usize, key: u64) -> Vec<f32> {
        let mut stream = Stream::new(5, Purpose::Weights, key, 0);
        (0..n).map(|_| stream.normal() as f32).collect()
    }

    /// The definition: one chain of fused multiply-adds per element.
    fn plain(m: usize, k: usize, n: usize, a: View<'_>, b: View<'_>, c: &mut [f32]) {
        for i in 0..m {
            for j in 0..n {
                for p in 0..k {
                    let x = a.data[i * a.rows + p * a.cols];
                    let y = b.data[p * b.rows + j * b.cols];
                    c[i * n + j] = x.mul_add(y, c[i * n + j]);
                }
            }
        }
    }

    #[test]
    fn every_level_gives_the_bits_of_the_definition() {
        for (case, &(m, k, n)) in
            [(1, 1, 1), (3, 7, 5), (128, 80, 128), (26, 128, 32), (50, 33, 43), (9, 40, 17)]
                .iter()
                .enumerate()
        {
            let (a, b) = (random(m * k, case as u64), random(k * n, 50 + case as u64));
            let start = random(m * n, 99);
            for (a, b) in [
                (View::new(&a, k), View::new(&b, n)),
                (View::new(&a, m).t(), View::new(&b, n)),
                (View::new(&a, k), View::new(&b, k).t()),
            ] {
                let mut expected = start.clone();
                plain(m, k, n, a, b, &mut expected);
                for &level in Level::available() {
                    let mut c = start.clone();
                    multiply_add(level, (m, k, n), a, b, Skip::Nothing, &mut c, n);
                    assert!(
                        c.iter().zip(&expected).all(|(x, y)| x.to_bits() == y.to_bits()),
                        "{level:?} {m} {k} {n}"
                    );
                }
            }
        }
    }

    #[test]
    fn skipping_zeros_changes_nothing() {
        let (m, k, n) = (17, 60, 70);
        let a = random(m * k, 1);
        let end: Vec<usize> = (0..n).map(|j| j * k / n).collect();
        let start: Vec<usize> = (0..n).map(|j| j * k / n).collect();
        for (skip, zero) in [
            (Skip::After(&end), (|p, e| p >= e) as fn(usize, usize) -> bool),
            (Skip::Before(&start), |p, s| p < s),
        ] {
            let mut b = random(k * n, 2);
            for p in 0..k {
                for j in 0..n {
                    if zero(p, end[j]) {
                        b[p * n + j] = 0.0;
                    }
                }
            }
            let mut full = random(m * n, 3);
            let mut skipped = full.clone();
            let (a, b) = (View::new(&a, k), View::new(&b, n));
            multiply_add(Level::detect(), (m, k, n), a, b, Skip::Nothing, &mut full, n);
            multiply_add(Level::detect(), (m, k, n), a, b, skip, &mut skipped, n);
            assert!(full.iter().zip(&skipped).all(|(x, y)| x.to_bits() == y.to_bits()));
        }
    }
}
