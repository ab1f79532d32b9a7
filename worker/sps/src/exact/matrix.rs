//! Small symmetric matrices, flat and row by row: (dims, dims).

/// Covariance of rows of `dims` numbers; its lower triangle.
pub fn covariance(rows: &[f64], dims: usize) -> Vec<f64> {
    let d = dims;
    let n = (rows.len() / d) as f64;
    let mut mean = vec![0.0; d];
    for z in rows.chunks_exact(d) {
        mean.iter_mut().zip(z).for_each(|(m, z)| *m += z / n);
    }
    let mut covariance = vec![0.0; d * d];
    for z in rows.chunks_exact(d) {
        for i in 0..d {
            for j in 0..=i {
                covariance[i * d + j] += (z[i] - mean[i]) * (z[j] - mean[j]) / n;
            }
        }
    }
    covariance
}

/// Lower triangle L of a matrix L L^T, of which the lower triangle is looked at;
/// with a width of rounding at least, where it spans no volume.
pub fn factor(matrix: &[f64], dims: usize) -> Vec<f64> {
    let d = dims;
    let mut l = vec![0.0; d * d];
    for i in 0..d {
        for j in 0..=i {
            let mut sum = matrix[i * d + j];
            for k in 0..j {
                sum -= l[i * d + k] * l[j * d + k];
            }
            l[i * d + j] = if i == j {
                sum.max(1e-24 * matrix[i * d + i]).max(1e-300).sqrt()
            } else {
                sum / l[j * d + j]
            };
        }
    }
    l
}

/// L^-1 of a lower triangle L.
pub fn invert(l: &[f64], dims: usize) -> Vec<f64> {
    let d = dims;
    let mut inverse = vec![0.0; d * d];
    for j in 0..d {
        inverse[j * d + j] = 1.0 / l[j * d + j];
        for i in j + 1..d {
            let sum: f64 = (j..i).map(|k| l[i * d + k] * inverse[k * d + j]).sum();
            inverse[i * d + j] = -sum / l[i * d + i];
        }
    }
    inverse
}

/// (L L^T)^-1 of a lower triangle L.
pub fn inverse_of(l: &[f64], dims: usize) -> Vec<f64> {
    let d = dims;
    let inverse = invert(l, d);
    let mut out = vec![0.0; d * d];
    for i in 0..d {
        for j in 0..d {
            out[i * d + j] = (i.max(j)..d).map(|k| inverse[k * d + i] * inverse[k * d + j]).sum();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_times_its_inverse_is_one() {
        let d = 3;
        let matrix = [4.0, 0.0, 0.0, 2.0, 5.0, 0.0, -1.0, 0.5, 2.0];
        let inverse = inverse_of(&factor(&matrix, d), d);
        let whole = |i: usize, j: usize| matrix[i.max(j) * d + i.min(j)];
        for i in 0..d {
            for j in 0..d {
                let sum: f64 = (0..d).map(|k| whole(i, k) * inverse[k * d + j]).sum();
                assert!((sum - f64::from(u8::from(i == j))).abs() < 1e-14, "{i} {j}: {sum}");
            }
        }
    }

    #[test]
    fn points_on_a_line_have_a_covariance_with_a_factor() {
        let rows: Vec<f64> = (0..5).flat_map(|k| [f64::from(k), 2.0 * f64::from(k)]).collect();
        let covariance = covariance(&rows, 2);
        assert_eq!((covariance[0], covariance[2], covariance[3]), (2.0, 4.0, 8.0));
        let l = factor(&covariance, 2);
        assert!(l[3] > 0.0 && l[3] < 1e-5, "{}", l[3]);
        assert!(invert(&l, 2).iter().all(|v| v.is_finite()));
    }
}
