//! Columns of numbers sorted side by side, one vector lane each.

use outshine_kernels::widest;

/// Columns sorted together.
pub(super) const SIDE: usize = 8;

widest! {
    /// Sorts each column of `rows`, ascending: Batcher's odd-even merges (1968), whose
    /// exchanges do not depend on the numbers, so that columns go through them together.
    ///
    /// `rows`: as many as a power of two; numbers, none of them NaN.
    pub fn sort(rows: &mut [[f32; SIDE]]) => sort_body
}

#[inline(always)]
fn sort_body(rows: &mut [[f32; SIDE]]) {
    let n = rows.len();
    debug_assert!(n.is_power_of_two(), "a power of two");
    let mut merged = 1;
    while merged < n {
        let run = 2 * merged;
        let mut apart = merged;
        while apart > 0 {
            let first = apart % merged;
            for start in (first..n - apart).step_by(2 * apart) {
                for i in start..(start + apart).min(n - apart) {
                    // Both in one run.
                    if i / run == (i + apart) / run {
                        exchange(rows, i, i + apart);
                    }
                }
            }
            apart /= 2;
        }
        merged = run;
    }
}

/// Puts the smaller of each column into row `i`, the larger into row `j`.
#[inline(always)]
fn exchange(rows: &mut [[f32; SIDE]], i: usize, j: usize) {
    let (mut low, mut high) = (rows[i], rows[j]);
    for (a, b) in low.iter_mut().zip(&mut high) {
        (*a, *b) = (if *b < *a { *b } else { *a }, if *b < *a { *a } else { *b });
    }
    (rows[i], rows[j]) = (low, high);
}

#[cfg(test)]
mod tests {
    use super::*;
    use outshine_kernels::random::{Purpose, Stream};

    #[test]
    fn every_column_is_sorted() {
        let mut stream = Stream::new(1, Purpose::Draw, 0, 0);
        for n in [1, 2, 4, 8, 64, 256] {
            let mut rows = vec![[0.0f32; SIDE]; n];
            for row in &mut rows {
                for (column, value) in row.iter_mut().enumerate() {
                    // Some columns are mostly of equal numbers, one of a single one.
                    *value = match column {
                        0 => 0.3,
                        1 => (4.0 * stream.uniform()).floor() as f32 - 2.0,
                        _ => stream.normal() as f32,
                    };
                }
            }
            let mut expected = vec![[0.0f32; SIDE]; n];
            for column in 0..SIDE {
                let mut values: Vec<f32> = rows.iter().map(|row| row[column]).collect();
                values.sort_by(f32::total_cmp);
                values.iter().zip(&mut expected).for_each(|(v, row)| row[column] = *v);
            }
            sort(&mut rows);
            assert_eq!(rows, expected, "{n}");
        }
    }

    /// Sorting all of zeros and ones is sorting everything.
    #[test]
    fn all_rows_of_zeros_and_ones_are_sorted() {
        for bits in 0..1u32 << 16 {
            let mut rows: Vec<[f32; SIDE]> =
                (0..16).map(|i| [f32::from((bits >> i & 1) as u8); SIDE]).collect();
            sort(&mut rows);
            assert!(rows.windows(2).all(|pair| pair[0][0] <= pair[1][0]), "{bits:b}");
        }
    }
}
