//! Is an object one of those that the model was trained on? The distance of
//! its fluxes from those of its own posterior.
//!
//! Fluxes f with errors sigma; model fluxes m_k of M posterior draws, their mean
//! m. In units of sigma, over the observed bands: r = (f - m) / sigma and
//! A_k = (m_k - m) / sigma / sqrt(M - 1). A new observation of the object would
//! scatter about m with the covariance I + A A^T (noise and posterior), so that
//!
//!   chi^2 = r^T (I + t A A^T)^-1 r = min over w of |r - A w|^2 + |w|^2 / t
//!
//! with an inflation t for posteriors that are wider, or known less well from
//! few draws, than exact ones. The right side is the fit of a plane through the
//! draws to the fluxes, each draw's direction priced; it is solved by
//! Householder reflections of [A; I / sqrt t], which lose no digits when the
//! posterior is much wider than the noise, as normal equations would.
//!
//! For a linear model and the exact posterior under a broad prior, chi^2
//! follows the chi^2 distribution of as many degrees of freedom as there are
//! bands beyond the directions of the posterior: however wide a posterior, it
//! does not cover fluxes that no population has. A single wrong band is found
//! sooner by the part of chi^2 that would go with it.

use outshine_kernels::scalar;

/// A band that decides the fit to this part alone cannot be judged.
const LEAST_FREE: f64 = 1e-3;

/// Squared distance of an object from what its posterior predicts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Misfit {
    /// chi^2.
    pub chi_square: f64,
    /// Observed bands.
    pub bands: usize,
    /// What chi^2 would lose, at most, without one of the bands: the square of
    /// a standard normal deviate for a band that is like the others.
    pub outlier: f64,
}

impl Misfit {
    /// How unlikely at random, about as a standard normal deviate: the larger
    /// of that of chi^2, with as many degrees of freedom as bands, by the cube
    /// root of Wilson & Hilferty (1931), and that of the worst of n bands,
    /// sqrt(z^2 - 2 ln n), negative where that square is. Comparable between objects, and free of underflow
    /// however far the fluxes lie off.
    ///
    /// 0 without any band.
    #[must_use]
    pub fn deviate(&self) -> f64 {
        if self.bands == 0 {
            return 0.0;
        }
        let square = self.outlier - 2.0 * scalar::ln(self.bands as f64);
        self.deviate_of_all().max(square.abs().sqrt().copysign(square))
    }

    /// That of chi^2 alone.
    fn deviate_of_all(&self) -> f64 {
        let n = self.bands.max(1) as f64;
        let spread = 2.0 / (9.0 * n);
        let root = scalar::pow(self.chi_square.max(0.0) / n, 1.0 / 3.0);
        (root - (1.0 - spread)) / spread.sqrt()
    }
}

/// Compares objects with the fluxes of their draws; reuses its memory.
#[derive(Clone, Debug, Default)]
pub struct Predictive {
    /// r of the observed bands.
    residual: Vec<f64>,
    /// A, [draws, observed bands].
    spread: Vec<f64>,
    /// [A; I / sqrt t] and [r; 0], column after column.
    columns: Vec<f64>,
    /// w, then one number per draw.
    work: Vec<f64>,
}

impl Predictive {
    /// Misfit of an object to its draws.
    ///
    /// `model_njy`: fluxes of the draws, [draws, bands]; `flux`, `err`: one
    /// value per band, nJy; an err that is 0, negative or NaN says that the
    /// band was not observed. `inflation`: t, above 0.
    ///
    /// # Panics
    /// When the lengths disagree or there are fewer than two draws.
    pub fn misfit(
        &mut self,
        model_njy: &[f64],
        flux: &[f32],
        err: &[f32],
        inflation: f64,
    ) -> Misfit {
        let bands = flux.len();
        assert_eq!(err.len(), bands, "one error per flux");
        let m = model_njy.len() / bands.max(1);
        assert!(m > 1 && model_njy.len() == m * bands, "two draws or more of all bands");
        let n = err.iter().filter(|e| **e > 0.0).count();
        let scale = 1.0 / ((m - 1) as f64).sqrt();
        self.residual.clear();
        self.spread.resize(m * n, 0.0);
        for (band, (&f, &e)) in flux.iter().zip(err).enumerate().filter(|(_, (_, e))| **e > 0.0) {
            let i = self.residual.len();
            let of = |k: usize| model_njy[k * bands + band] / f64::from(e);
            let mean = (0..m).map(of).sum::<f64>() / m as f64;
            for k in 0..m {
                self.spread[k * n + i] = (of(k) - mean) * scale;
            }
            self.residual.push(f64::from(f) / f64::from(e) - mean);
        }
        let rows = n + m;
        self.columns.clear();
        self.columns.resize(rows * (m + 1), 0.0);
        let (left, right) = self.columns.split_at_mut(rows * m);
        for (k, column) in left.chunks_exact_mut(rows).enumerate() {
            column[..n].copy_from_slice(&self.spread[k * n..(k + 1) * n]);
            column[n + k] = 1.0 / inflation.sqrt();
        }
        right[..n].copy_from_slice(&self.residual);
        self.work.resize(2 * m, 0.0);
        let (w, y) = self.work.split_at_mut(m);
        let chi_square = reflect(&mut self.columns, rows, w);

        // Without band i chi^2 is less by e_i^2 / (1 - h_i): e = r - A w and
        // h_i = a_i^T (R^T R)^-1 a_i, with a_i the row of A and R^T y = a_i.
        let mut outlier = 0.0f64;
        for i in 0..n {
            let (mut e, mut free) = (self.residual[i], 1.0);
            for k in 0..m {
                let a = self.spread[k * n + i];
                let r = &self.columns[k * rows..(k + 1) * rows];
                let known: f64 = r.iter().zip(y[..k].iter()).map(|(r, y)| r * y).sum();
                y[k] = (a - known) / r[k];
                free -= y[k] * y[k];
                e -= a * w[k];
            }
            outlier = outlier.max(e * e / free.max(LEAST_FREE));
        }
        Misfit { chi_square, bands: n, outlier }
    }
}

/// Least squares by Householder reflections: `columns` are those of an
/// independent matrix and, last, the right side, of `rows` numbers each, more
/// than there are columns. Writes the solution, leaves R in their upper
/// triangle, and returns the squared residual.
fn reflect(columns: &mut [f64], rows: usize, solution: &mut [f64]) -> f64 {
    let m = solution.len();
    for k in 0..m {
        let (left, rest) = columns.split_at_mut((k + 1) * rows);
        let v = &mut left[k * rows + k..];
        let length = v.iter().map(|x| x * x).sum::<f64>().sqrt();
        let diagonal = if v[0] > 0.0 { -length } else { length };
        v[0] -= diagonal;
        let norm = v.iter().map(|x| x * x).sum::<f64>();
        for column in rest.chunks_exact_mut(rows) {
            let tail = &mut column[k..];
            let along = v.iter().zip(tail.iter()).map(|(a, b)| a * b).sum::<f64>();
            let factor = 2.0 * along / norm;
            tail.iter_mut().zip(v.iter()).for_each(|(x, a)| *x -= factor * a);
        }
        columns[k * rows + k] = diagonal;
    }
    let right = m * rows;
    for k in (0..m).rev() {
        let known: f64 = (k + 1..m).map(|j| columns[j * rows + k] * solution[j]).sum();
        solution[k] = (columns[right + k] - known) / columns[k * rows + k];
    }
    columns[right + m..].iter().map(|x| x * x).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostics::{chi_square_p_value, kolmogorov_smirnov, kolmogorov_smirnov_p_value};
    use outshine_kernels::random::{Purpose, Stream};

    const BANDS: usize = 16;
    const D: usize = 5;
    const DRAWS: usize = D + 2;

    /// A linear model f = J theta + noise with its exact posterior under a
    /// flat prior: theta ~ N((J^T J)^-1 J^T f, (J^T J)^-1). J has orthogonal
    /// columns of length `gain`, so the covariance is I / gain^2.
    struct Linear {
        j: Vec<[f64; BANDS]>,
        gain: f64,
    }

    impl Linear {
        fn new(gain: f64) -> Self {
            let mut s = Stream::new(5, Purpose::Draw, 0, 0);
            let mut j: Vec<[f64; BANDS]> = Vec::new();
            for _ in 0..D {
                let mut v: [f64; BANDS] = std::array::from_fn(|_| s.normal());
                for u in &j {
                    let along: f64 = u.iter().zip(&v).map(|(a, b)| a * b).sum::<f64>();
                    let length: f64 = u.iter().map(|a| a * a).sum();
                    v.iter_mut().zip(u).for_each(|(x, a)| *x -= along / length * a);
                }
                let length = v.iter().map(|a| a * a).sum::<f64>().sqrt();
                j.push(v.map(|x| x * gain / length));
            }
            Self { j, gain }
        }

        fn flux(&self, theta: &[f64]) -> [f64; BANDS] {
            std::array::from_fn(|b| self.j.iter().zip(theta).map(|(j, t)| j[b] * t).sum())
        }

        /// Fluxes of draws from the posterior, its widths times `stretch`.
        fn draws(&self, flux: &[f32], stretch: f64, s: &mut Stream) -> Vec<f64> {
            let mean: Vec<f64> = self
                .j
                .iter()
                .map(|j| {
                    let along: f64 = j.iter().zip(flux).map(|(a, f)| a * f64::from(*f)).sum();
                    along / (self.gain * self.gain)
                })
                .collect();
            (0..DRAWS)
                .flat_map(|_| {
                    let theta: Vec<f64> =
                        mean.iter().map(|m| m + stretch / self.gain * s.normal()).collect();
                    self.flux(&theta)
                })
                .collect()
        }

        /// Fluxes with errors of 1 of object `i`.
        fn observe(&self, s: &mut Stream) -> Vec<f32> {
            let theta: Vec<f64> = (0..D).map(|_| 10.0 * s.normal()).collect();
            self.flux(&theta).map(|f| (f + s.normal()) as f32).to_vec()
        }
    }

    fn stream(i: u64) -> Stream {
        Stream::new(6, Purpose::Draw, i, 1)
    }

    #[test]
    fn it_is_the_quadratic_form() {
        // Two draws, two bands: (I + t A A^T)^-1 by hand. m = (1, 2),
        // A = +-(1, -1) / 1 (sqrt(M - 1) = 1), A A^T = 2 [[1, -1], [-1, 1]].
        let mut p = Predictive::default();
        let model = [2.0, 1.0, 0.0, 3.0];
        let got = p.misfit(&model, &[2.0, 4.0], &[1.0, 1.0], 3.0);
        // r = (1, 2); I + 6 [[1, -1], [-1, 1]] = [[7, -6], [-6, 7]], determinant 13.
        let expected = (7.0 * 1.0 + 7.0 * 4.0 + 12.0 * 2.0) / 13.0;
        assert!((got.chi_square - expected).abs() < 1e-12 && got.bands == 2, "{got:?}");
        // S^-1 r = (7 + 12, 6 + 14) / 13, (S^-1)_ii = 7 / 13.
        assert!((got.outlier - 20.0 * 20.0 / 13.0 / 7.0).abs() < 1e-12, "{got:?}");
        // The best without the second band: r_1^2 / S_11 = 1 / 7.
        assert!((got.chi_square - got.outlier - 1.0 / 7.0).abs() < 1e-12);
        // A band that was not observed changes nothing, whatever it holds.
        for err in [0.0, -1.0, f32::NAN] {
            let model = [2.0, 9.0, 1.0, 0.0, -5.0, 3.0];
            let again = p.misfit(&model, &[2.0, f32::NAN, 4.0], &[1.0, err, 1.0], 3.0);
            assert!((again.chi_square - expected).abs() < 1e-12 && again.bands == 2);
        }
    }

    /// The exact posterior: the directions of the plane are fitted, the other
    /// 11 leave chi^2. Of the fitted ones the mean of 7 draws leaves 5 / 7
    /// of a unit at most, which the spread of the draws absorbs in part.
    #[test]
    fn an_exact_posterior_leaves_chi_square() {
        let model = Linear::new(30.0);
        let n = 4000;
        let mut p = Predictive::default();
        let mut places = Vec::new();
        let mut mean = 0.0;
        for i in 0..n {
            let mut s = stream(i);
            let flux = model.observe(&mut s);
            let draws = model.draws(&flux, 1.0, &mut s);
            // Next to no price on the directions: they are fitted away.
            let free = p.misfit(&draws, &flux, &[1.0; BANDS], 1e12);
            places.push(chi_square_p_value(free.chi_square, BANDS - D));
            mean += p.misfit(&draws, &flux, &[1.0; BANDS], 4.0).chi_square / n as f64;
        }
        let ks = kolmogorov_smirnov(&places);
        assert!(kolmogorov_smirnov_p_value(ks, n as usize) > 0.001, "{ks}");
        // Standard error sqrt(2 * 11 / 4000) = 0.07.
        let dof = (BANDS - D) as f64;
        assert!(mean > dof - 0.25 && mean < dof + 5.0 / 7.0, "{mean}");
    }

    /// A posterior ten times too wide, or of any width, does not look like an
    /// object that does not fit; a flux 10 sigma off does.
    #[test]
    fn width_is_forgiven_and_a_corrupted_band_is_not() {
        let model = Linear::new(30.0);
        let mut p = Predictive::default();
        let n = 1000;
        for stretch in [1.0, 3.0, 10.0] {
            let (mut wrong, mut caught) = (0, 0);
            // Above 3: 0.13 % of chi^2, and of 16 deviates beyond 3.8 0.23 %.
            let limit = 3.0;
            for i in 0..n {
                let mut s = stream(i);
                let mut flux = model.observe(&mut s);
                let draws = model.draws(&flux, stretch, &mut s);
                wrong += u32::from(p.misfit(&draws, &flux, &[1.0; BANDS], 4.0).deviate() > limit);
                let band = s.below(BANDS as u64) as usize;
                flux[band] += if s.uniform() < 0.5 { 10.0 } else { -10.0 };
                let draws = model.draws(&flux, stretch, &mut s);
                caught += u32::from(p.misfit(&draws, &flux, &[1.0; BANDS], 4.0).deviate() > limit);
            }
            assert!(wrong <= 12, "stretch {stretch}: {wrong} of {n} taken for strangers");
            assert!(caught >= 950, "stretch {stretch}: {caught} of {n} caught");
        }
    }

    #[test]
    fn deviates_follow_the_chi_square_distribution() {
        // Wilson & Hilferty: within 0.05 from 4 degrees of freedom on.
        for n in [4, 8, 19] {
            for z in [-1.0f64, 0.0, 1.0, 2.0, 3.0] {
                let spread = 2.0 / (9.0 * n as f64);
                let chi_square = n as f64 * (1.0 - spread + z * spread.sqrt()).powi(3);
                let misfit = Misfit { chi_square, bands: n, outlier: 0.0 };
                assert!((misfit.deviate_of_all() - z).abs() < 1e-9);
                let exact = -scalar::normal_quantile(chi_square_p_value(chi_square, n));
                assert!((exact - z).abs() < 0.05, "{n} {z} {exact}");
            }
        }
        assert_eq!(Misfit { chi_square: 3.0, bands: 0, outlier: 9.0 }.deviate(), 0.0);
        assert!(Misfit { chi_square: 1e300, bands: 5, outlier: 1e300 }.deviate().is_finite());
    }
}
