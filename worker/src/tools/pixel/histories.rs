//! Star-formation histories of the draws of a pixel.
//!
//! Those of the tau-delayed family are exact. Of the Dirichlet family draws hold
//! the times at which a quarter, half and three quarters of the mass had formed
//! and the mean rate of the last 100 Myr, all of the realised history: the curve
//! shown is the family's own with these as what is asked for, and its last 10 Myr
//! have the mean rate of 100 Myr. It is close to the one that was drawn, not the same.

use super::{Model, PixelError};
use outshine_kernels::{quantile, scalar};
use outshine_sps::sfh::sfr_curve;
use outshine_sps::{Parameters, cosmology};

/// Times at which rates are worked out.
const TIMES: usize = 400;
/// Single draws that are shown.
const SHOWN: usize = 40;

/// Histories of a posterior.
pub struct Histories {
    /// Gyr, rising, `[times]`.
    pub lookback_gyr: Vec<f64>,
    /// Rates of some draws, Msun/yr, `[draws][times]`.
    pub draws: Vec<Vec<f64>>,
    /// 16th percentile, median and 84th percentile of all draws.
    pub band: [Vec<f64>; 3],
    /// The true one.
    pub truth: Option<Vec<f64>>,
}

/// Rates of a population at lookback times, Msun/yr.
fn rates(p: &Parameters, lookback_gyr: &[f64]) -> Result<Vec<f64>, PixelError> {
    let age_gyr = cosmology::age_gyr(p.redshift);
    let times: Vec<f64> = lookback_gyr.iter().map(|back| age_gyr - back).collect();
    let mass = scalar::exp10(p.log_mass_formed);
    Ok(sfr_curve(&p.sfh, age_gyr, &times)?.into_iter().map(|rate| mass * rate).collect())
}

/// The histories of a pixel.
pub fn of(model: &Model<'_>) -> Result<Histories, PixelError> {
    let n = model.count();
    let ages = model.pixel.redshift.iter().map(|&z| cosmology::age_gyr(z));
    let oldest = ages.fold(0.0, f64::max);
    let lookback_gyr: Vec<f64> =
        (0..TIMES).map(|i| oldest * i as f64 / (TIMES - 1) as f64).collect();
    let mut all = Vec::with_capacity(n);
    for k in 0..n {
        all.push(rates(&model.population(k, |mean| mean), &lookback_gyr)?);
    }
    let mut band = [const { Vec::new() }; 3];
    let mut column = vec![0.0; n];
    for i in 0..TIMES {
        for (value, draw) in column.iter_mut().zip(&all) {
            *value = draw[i];
        }
        quantile::sort(&mut column);
        for (curve, p) in band.iter_mut().zip([0.16, 0.5, 0.84]) {
            curve.push(quantile::of_sorted(&column, p));
        }
    }
    let truth = match model.true_population() {
        Some(p) => Some(rates(&p, &lookback_gyr)?),
        None => None,
    };
    let shown = SHOWN.min(n);
    let draws = (0..shown).map(|k| all[k * n / shown].clone()).collect();
    Ok(Histories { lookback_gyr, draws, band, truth })
}

#[cfg(test)]
mod tests {
    use super::*;
    use outshine_sps::Sfh;

    /// Rates summed over time, from the beginning on: fractions of the mass formed
    /// by each time, and the whole, Msun.
    fn formed(sfh: Sfh) -> (Vec<f64>, f64, f64) {
        let redshift = 1.0;
        let p = Parameters { sfh, log_mass_formed: 9.5, metallicity: -0.5, a_v: 0.3, redshift };
        let age = cosmology::age_gyr(redshift);
        let n = 40_001;
        let back: Vec<f64> = (0..n).map(|i| age * i as f64 / (n - 1) as f64).collect();
        let rates = rates(&p, &back).unwrap();
        let step = 1e9 * age / (n - 1) as f64;
        let mut sum = 0.0;
        let mut sums: Vec<f64> = rates
            .windows(2)
            .rev()
            .map(|pair| {
                sum += 0.5 * (pair[0] + pair[1]) * step;
                sum
            })
            .collect();
        sums.iter_mut().for_each(|s| *s /= sum);
        (sums, sum, age)
    }

    #[test]
    fn histories_form_their_mass_and_by_the_times_that_draws_hold() {
        let (t25, t50, t75) = (0.2, 0.5, 0.7);
        let (parts, mass, _) = formed(Sfh::Dirichlet { log_ssfr: -9.6, t25, t50, t75 });
        // The curve is smooth through these times, not a polygon of them.
        assert!((mass / 10f64.powf(9.5) - 1.0).abs() < 0.01, "{mass:e}");
        for (time, part) in [(t25, 0.25), (t50, 0.5), (t75, 0.75)] {
            let found = parts[(time * parts.len() as f64) as usize - 1];
            assert!((found - part).abs() < 0.02, "{found} of the mass by {time}, not {part}");
        }
        // t exp(-t / tau) from t_i on, in closed form.
        let (tau_gyr, t_i_gyr) = (1.0, 1.5);
        let (parts, mass, age) = formed(Sfh::Tau { tau_gyr, t_i_gyr });
        assert!((mass / 10f64.powf(9.5) - 1.0).abs() < 1e-4, "{mass:e}");
        let whole = |t: f64| 1.0 - (1.0 + t) * (-t).exp();
        for time in [2.0, 3.0, 5.0] {
            let found = parts[(time / age * parts.len() as f64) as usize - 1];
            let part = whole(time - t_i_gyr) / whole(age - t_i_gyr);
            assert!((found - part).abs() < 1e-3, "{found} of the mass by {time} Gyr, not {part}");
        }
    }
}
