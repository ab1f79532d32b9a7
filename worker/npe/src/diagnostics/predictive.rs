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
//! bands beyond the directions of the posterior. No direction of
//! the posterior can hide a flux that no population has.
//!
//! Where fluxes bend between the draws, the plane misses them: the weights of
//! the fit ([`Predictive::weights`]) name the point in between to look at
//! next, and [`Predictive::closer`] goes on from its fluxes.

use outshine_kernels::scalar;

/// Squared distance of an object from what its posterior predicts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Misfit {
    /// chi^2.
    pub chi_square: f64,
    /// Observed bands.
    pub bands: usize,
}

impl Misfit {
    /// How unlikely at random, as the standard normal deviate of the same
    /// probability as chi^2 with as many degrees of freedom as bands, by the
    /// cube root of Wilson & Hilferty (1931): comparable between objects, and
    /// free of underflow however far the fluxes lie off.
    ///
    /// 0 without any band.
    #[must_use]
    pub fn deviate(&self) -> f64 {
        if self.bands == 0 {
            return 0.0;
        }
        let n = self.bands as f64;
        let spread = 2.0 / (9.0 * n);
        let root = scalar::pow(self.chi_square.max(0.0) / n, 1.0 / 3.0);
        (root - (1.0 - spread)) / spread.sqrt()
    }
}

/// Compares objects with the fluxes of their draws; reuses its memory.
#[derive(Clone, Debug, Default)]
pub struct Predictive {
    /// Observed bands: position and 1 / sigma.
    seen: Vec<(usize, f64)>,
    /// Mean model fluxes of the observed bands, in units of sigma.
    mean: Vec<f64>,
    /// A, [draws, observed bands].
    spread: Vec<f64>,
    /// w of the latest fit, one per draw.
    moved: Vec<f64>,
    weights: Vec<f64>,
    inflation: f64,
    /// Columns of [A; I / sqrt t], then the right side.
    columns: Vec<f64>,
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
        let draws = model_njy.len() / bands.max(1);
        assert!(draws > 1 && model_njy.len() == draws * bands, "two draws or more of all bands");
        self.inflation = inflation;
        self.seen.clear();
        self.seen.extend(
            err.iter().enumerate().filter(|(_, e)| **e > 0.0).map(|(b, &e)| (b, 1.0 / f64::from(e))),
        );
        let scale = 1.0 / ((draws - 1) as f64).sqrt();
        self.mean.clear();
        self.spread.clear();
        self.spread.resize(draws * self.seen.len(), 0.0);
        for (i, &(band, per_sigma)) in self.seen.iter().enumerate() {
            let of = |k: usize| model_njy[k * bands + band] * per_sigma;
            let mean = (0..draws).map(of).sum::<f64>() / draws as f64;
            for k in 0..draws {
                self.spread[k * self.seen.len() + i] = (of(k) - mean) * scale;
            }
            self.mean.push(mean);
        }
        self.moved.clear();
        self.moved.resize(draws, 0.0);
        self.solve(|i, band, per_sigma, own| f64::from(flux[band]) * per_sigma - own.mean[i])
    }

    /// Misfit from a point between the draws, that of [`Predictive::weights`]:
    /// `model_njy` are its fluxes, one per band. `flux` as for the
    /// latest [`Predictive::misfit`].
    ///
    /// # Panics
    /// When the lengths disagree.
    pub fn closer(&mut self, model_njy: &[f64], flux: &[f32]) -> Misfit {
        assert_eq!(model_njy.len(), flux.len(), "one model flux per flux");
        self.solve(|_, band, per_sigma, _| (f64::from(flux[band]) - model_njy[band]) * per_sigma)
    }

    /// Share of each draw in the point that fits best: 1 in sum, some negative.
    #[must_use]
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// min over v of |r - A v|^2 + |w + v|^2 / t, after which w is w + v.
    fn solve(&mut self, residual: impl Fn(usize, usize, f64, &Self) -> f64) -> Misfit {
        let (n, m) = (self.seen.len(), self.moved.len());
        let rows = n + m;
        let ridge = 1.0 / self.inflation.sqrt();
        let mut columns = std::mem::take(&mut self.columns);
        columns.clear();
        columns.resize(rows * (m + 1), 0.0);
        for k in 0..m {
            columns[k * rows..k * rows + n].copy_from_slice(&self.spread[k * n..(k + 1) * n]);
            columns[k * rows + n + k] = ridge;
        }
        let right = &mut columns[m * rows..];
        for (i, &(band, per_sigma)) in self.seen.iter().enumerate() {
            right[i] = residual(i, band, per_sigma, self);
        }
        for k in 0..m {
            right[n + k] = -ridge * self.moved[k];
        }
        let chi_square = reflect(&mut columns, rows, m, &mut self.weights);
        for (moved, step) in self.moved.iter_mut().zip(&self.weights) {
            *moved += step;
        }
        // m + sum of w_k (m_k - m) / sqrt(M - 1), as a sum over the m_k.
        let scale = 1.0 / ((m - 1) as f64).sqrt();
        let common = (1.0 - scale * self.moved.iter().sum::<f64>()) / m as f64;
        for (weight, moved) in self.weights.iter_mut().zip(&self.moved) {
            *weight = common + scale * moved;
        }
        self.columns = columns;
        Misfit { chi_square, bands: n }
    }
}

/// Least squares by Householder reflections: `columns` are `m` columns of
/// `rows` > m numbers and the right side. Writes the solution and returns the
/// squared residual. The columns must be independent.
fn reflect(columns: &mut [f64], rows: usize, m: usize, solution: &mut Vec<f64>) -> f64 {
    solution.clear();
    solution.resize(m, 0.0);
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
        solution[k] = diagonal;
    }
    let right = m * rows;
    for k in (0..m).rev() {
        let known: f64 = (k + 1..m).map(|j| columns[j * rows + k] * solution[j]).sum();
        solution[k] = (columns[right + k] - known) / solution[k];
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
        assert!((p.weights().iter().sum::<f64>() - 1.0).abs() < 1e-12);
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
            // The 99.5 % point of chi^2 with 11 degrees of freedom is 26.8; the
            // directions add a little.
            let limit = Misfit { chi_square: 32.0, bands: BANDS }.deviate();
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
            assert!(wrong <= 15, "stretch {stretch}: {wrong} of {n} taken for strangers");
            assert!(caught >= 950, "stretch {stretch}: {caught} of {n} caught");
        }
    }

    /// On a parabola the plane through draws far off misses; its best point
    /// does not.
    #[test]
    fn steps_follow_a_bent_model() {
        let bent = |theta: f64| [theta, theta * theta, 1.0 + 0.5 * theta];
        let flux = bent(0.3).map(|f| f as f32);
        let err = [0.02f32; 3];
        let thetas = [0.1, 0.35, 0.6];
        let draws: Vec<f64> = thetas.iter().flat_map(|&t| bent(t)).collect();
        let mut p = Predictive::default();
        let mut misfit = p.misfit(&draws, &flux, &err, 4.0);
        let first = misfit.chi_square;
        for _ in 0..4 {
            let theta: f64 = p.weights().iter().zip(thetas).map(|(w, t)| w * t).sum();
            misfit = p.closer(&bent(theta), &flux);
        }
        assert!(first > 2.0 * misfit.chi_square && misfit.chi_square < 0.2, "{first} {misfit:?}");
    }

    #[test]
    fn deviates_follow_the_chi_square_distribution() {
        // Wilson & Hilferty: within 0.05 from 4 degrees of freedom on.
        for n in [4, 8, 19] {
            for z in [-1.0f64, 0.0, 1.0, 2.0, 3.0] {
                let spread = 2.0 / (9.0 * n as f64);
                let chi_square = n as f64 * (1.0 - spread + z * spread.sqrt()).powi(3);
                let misfit = Misfit { chi_square, bands: n };
                assert!((misfit.deviate() - z).abs() < 1e-9);
                let exact = -scalar::normal_quantile(chi_square_p_value(chi_square, n));
                assert!((exact - z).abs() < 0.05, "{n} {z} {exact}");
            }
        }
        assert_eq!(Misfit { chi_square: 3.0, bands: 0 }.deviate(), 0.0);
        assert!(Misfit { chi_square: 1e300, bands: 5 }.deviate().is_finite());
    }
}
