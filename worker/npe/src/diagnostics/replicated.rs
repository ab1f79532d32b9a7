//! Do populations of the posterior make the fluxes that were observed? The
//! posterior predictive check of Gelman, Meng & Stern (1996), Statistica Sinica 6, 733,
//! with chi^2 as the discrepancy.
//!
//! Fluxes f with errors sigma; model fluxes m_k of draw k. Data replicated at draw k,
//! m_k + sigma times normal numbers, lie at a chi^2 from m_k that follows the
//! chi^2 distribution of as many degrees as there are bands n. So the share of
//! replicated data that lie further from their draw than the observed
//!
//!   p = mean over k of P(chi^2_n > chi_k^2), chi_k^2 = sum of ((f - m_k) / sigma)^2,
//!
//! needs no random numbers.
//!
//! For a model that is right, chi_k^2 at one draw of the exact posterior follows
//! chi^2_n, and P at that draw is uniform. Their mean over the draws of one object is
//! less scattered: of chi_k^2 = chi_min^2 + chi^2_d, with d parameters determined by the
//! fluxes, only the first part belongs to the object. p is uniform for d = 0 and
//! draws together about 1/2 as d grows towards n: a small p is the more remarkable.
//! A posterior that is wider than the fluxes allow (an estimator's) makes p small, too.

use super::chi_square_p_value;

/// How the fluxes of draws compare with those observed.
#[derive(Clone, Debug, PartialEq)]
pub struct Replicated {
    /// chi^2 at each draw, `[draws]`.
    pub chi_square: Vec<f64>,
    /// The smallest.
    pub least: f64,
    /// Observed bands.
    pub bands: usize,
    /// Posterior predictive p-value.
    pub p_value: f64,
}

impl Replicated {
    /// Compares an object with the fluxes of draws; `None` without draws or bands.
    ///
    /// `model`: `[draws, bands]`; `flux`, `err`: `[bands]`, all in one unit; error 0: not
    /// observed.
    ///
    /// # Panics
    /// When the lengths do not fit.
    #[must_use]
    pub fn of(model: &[f64], flux: &[f32], err: &[f32]) -> Option<Self> {
        assert_eq!(flux.len(), err.len(), "one error per flux");
        assert_eq!(model.len() % flux.len().max(1), 0, "one model flux per band");
        let bands = err.iter().filter(|e| **e > 0.0).count();
        if bands == 0 || model.is_empty() {
            return None;
        }
        let of_draw = |fluxes: &[f64]| {
            let observed = fluxes.iter().zip(flux.iter().zip(err)).filter(|(_, (_, e))| **e > 0.0);
            let terms = observed.map(|(m, (f, e))| ((f64::from(*f) - m) / f64::from(*e)).powi(2));
            terms.sum::<f64>()
        };
        let chi_square: Vec<f64> = model.chunks_exact(flux.len()).map(of_draw).collect();
        let p = |chi: &f64| chi_square_p_value(*chi, bands);
        let p_value = chi_square.iter().map(p).sum::<f64>() / chi_square.len() as f64;
        let least = chi_square.iter().copied().fold(f64::INFINITY, f64::min);
        Some(Self { chi_square, least, bands, p_value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostics::{kolmogorov_smirnov, kolmogorov_smirnov_p_value};
    use outshine_kernels::random::{Purpose, Stream};

    const BANDS: usize = 12;
    const CASES: u64 = 2000;

    /// `determined` parameters, each the flux of one band under a flat prior: the
    /// posterior is the observed flux and its error there, the truth (0) elsewhere.
    fn case(i: u64, determined: usize, draws: usize, off: f64) -> Replicated {
        let mut stream = Stream::new(3, Purpose::Calibration, i, determined as u64);
        let err = [0.5; BANDS];
        let flux: Vec<f32> = err.iter().map(|e| (e * stream.normal() + off * e) as f32).collect();
        let mut model = vec![0.0; BANDS * draws];
        for draw in model.chunks_exact_mut(BANDS) {
            for (m, f) in draw.iter_mut().zip(&flux).take(determined) {
                *m = f64::from(*f) + 0.5 * stream.normal();
            }
        }
        Replicated::of(&model, &flux, &err.map(|e| e as f32)).unwrap()
    }

    /// One draw of a right model: uniform, whatever is fitted. A chance of 1e-4 each.
    #[test]
    fn at_one_draw_p_is_uniform() {
        for determined in [0, 3, 8] {
            let p: Vec<f64> = (0..CASES).map(|i| case(i, determined, 1, 0.0).p_value).collect();
            let distance = kolmogorov_smirnov(&p);
            let chance = kolmogorov_smirnov_p_value(distance, p.len());
            assert!(chance > 1e-4, "{determined} fitted: {distance}, {chance}");
        }
        // And it would show if it were not.
        let p: Vec<f64> = (0..CASES).map(|i| case(i, 3, 1, 0.5).p_value).collect();
        assert!(kolmogorov_smirnov_p_value(kolmogorov_smirnov(&p), p.len()) < 1e-9);
    }

    /// Over many draws the mean stays 1/2 and the scatter falls: with d of n
    /// determined the mean over draws keeps about the share 1 - d / n of the variance 1/12.
    #[test]
    fn over_many_draws_p_gathers_about_a_half() {
        for determined in [0, 6] {
            let p: Vec<f64> = (0..600).map(|i| case(i, determined, 60, 0.0).p_value).collect();
            let mean = p.iter().sum::<f64>() / 600.0;
            let variance = p.iter().map(|p| (p - mean).powi(2)).sum::<f64>() / 600.0;
            let expected = (1.0 - determined as f64 / BANDS as f64) / 12.0;
            // Standard error of the mean at most 0.012; the share is itself good to 10 %.
            assert!((mean - 0.5).abs() < 0.05, "{determined}: {mean}");
            assert!((variance / expected - 1.0).abs() < 0.25, "{determined}: {variance}");
        }
    }

    #[test]
    fn numbers_of_a_small_case() {
        // Bands: 1 and 2 errors off; the third is not observed.
        let model = [1.0, 2.0, 7.0, 0.0, 0.0, 9.0];
        let check = Replicated::of(&model, &[2.0, 4.0, 100.0], &[1.0, 1.0, 0.0]).unwrap();
        assert_eq!(check.chi_square, [5.0, 20.0]);
        assert_eq!((check.least, check.bands), (5.0, 2));
        // Of two degrees the survival function is exp(-chi^2 / 2).
        let expected = 0.5 * ((-2.5f64).exp() + (-10.0f64).exp());
        assert!((check.p_value - expected).abs() < 1e-12);
        assert!(Replicated::of(&model, &[1.0; 3], &[0.0; 3]).is_none());
        assert!(Replicated::of(&[], &[1.0], &[1.0]).is_none());
    }
}
