//! How training draws the conditions of an observation: wide enough that
//! single pixels, integrated galaxies, other depths and other sets of bands
//! all lie inside.

use super::{Conditions, NoiseModel};
use crate::error::SpsError;
use outshine_kernels::random::Stream;
use outshine_kernels::scalar;
use serde::{Deserialize, Serialize};

/// Bands that are missing together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BandGroup {
    /// Names of the bands.
    pub bands: Vec<String>,
    /// Probability that none of them was observed.
    pub probability: f64,
}

/// The distribution of [`Conditions`] in training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Coverage {
    /// Range of the depth factor; log-uniform.
    pub depth_factor: (f64, f64),
    /// Share of draws whose depth factor is 1 instead: single pixels.
    pub pixel_share: f64,
    /// Probability that the bands share one draw of the exposure depth, rather
    /// than drawing one each.
    pub common_exposure: f64,
    /// Standard deviation of an extra log10 of sigma per band, dex.
    pub extra_scatter_dex: f64,
    /// Probability that a single band was not observed.
    pub drop_band: f64,
    /// Groups of bands that are missing together.
    pub drop_groups: Vec<BandGroup>,
    /// Fewest bands observed; bands are put back at random below it.
    pub minimum_bands: usize,
}

impl Default for Coverage {
    fn default() -> Self {
        let group = |bands: &[&str], probability| BandGroup {
            bands: bands.iter().map(|&b| b.to_owned()).collect(),
            probability,
        };
        Self {
            depth_factor: (0.3, 300.0),
            pixel_share: 0.3,
            common_exposure: 0.7,
            extra_scatter_dex: 0.15,
            drop_band: 0.05,
            drop_groups: vec![
                group(&["f435w", "f606w", "f775w", "f814w", "f850lp"], 0.1),
                group(&["f430m", "f460m", "f480m"], 0.4),
                group(&["f182m", "f210m"], 0.15),
                group(&["f335m", "f410m"], 0.1),
            ],
            minimum_bands: 4,
        }
    }
}

impl Coverage {
    /// Checks ranges and probabilities.
    ///
    /// # Errors
    /// [`SpsError::Setting`] naming the field.
    pub fn validate(&self) -> Result<(), SpsError> {
        let (low, high) = self.depth_factor;
        if !(low > 0.0 && low < high && high.is_finite()) {
            let problem = format!("{low} to {high} is no range of positive numbers");
            return Err(SpsError::setting("coverage.depth_factor", problem));
        }
        let groups = self.drop_groups.iter().map(|g| ("drop_groups", g.probability));
        for (field, p) in [
            ("pixel_share", self.pixel_share),
            ("common_exposure", self.common_exposure),
            ("drop_band", self.drop_band),
        ]
        .into_iter()
        .chain(groups)
        {
            if !(0.0..=1.0).contains(&p) {
                let field = format!("coverage.{field}");
                return Err(SpsError::setting(&field, format!("{p} is no probability")));
            }
        }
        if !(self.extra_scatter_dex >= 0.0 && self.extra_scatter_dex < 3.0) {
            return Err(SpsError::setting("coverage.extra_scatter_dex", "must be 0 to 3 dex"));
        }
        Ok(())
    }

    /// Draws the conditions of one object. The stream is advanced by an amount
    /// that depends on `noise` and `self` alone, but for putting bands back.
    pub fn draw(&self, noise: &NoiseModel, stream: &mut Stream) -> Conditions {
        let n = noise.noise.len();
        let is_pixel = stream.uniform() < self.pixel_share;
        let (low, high) = (scalar::ln(self.depth_factor.0), scalar::ln(self.depth_factor.1));
        let log_depth = stream.uniform_in(low, high);
        let growth_exponent = stream.uniform();
        let depth_factor = if is_pixel { 1.0 } else { scalar::exp(log_depth) };
        // Between a bright pixel in a shallow exposure (1) and a sum of pixels (1 / n).
        let growth_factor = scalar::pow(depth_factor.max(1.0), -2.0 * growth_exponent);

        let common = stream.uniform() < self.common_exposure;
        let common_draw = stream.uniform();
        let mut conditions =
            Conditions { depth_factor, growth_factor, ..Conditions::nominal(noise) };
        for band in 0..n {
            let own_draw = stream.uniform();
            let draw = if common { common_draw } else { own_draw };
            conditions.exposure[band] = pick(&noise.noise[band].exposures, draw);
            conditions.extra_dex[band] = self.extra_scatter_dex * stream.normal();
            conditions.observed[band] = stream.uniform() >= self.drop_band;
        }
        for group in &self.drop_groups {
            if stream.uniform() < group.probability {
                conditions.drop_group(noise, group);
            }
        }
        let mut seen = conditions.observed.iter().filter(|&&o| o).count();
        if seen < self.minimum_bands {
            for band in stream.permutation(n) {
                let observed = &mut conditions.observed[band as usize];
                if seen < self.minimum_bands && !*observed {
                    *observed = true;
                    seen += 1;
                }
            }
        }
        conditions
    }
}

/// The exposure whose share of the unit interval holds `draw`.
fn pick(exposures: &[super::ExposureNoise], draw: f64) -> u8 {
    let total: f64 = exposures.iter().map(|e| e.share).sum();
    let mut sum = 0.0;
    for (i, e) in exposures.iter().enumerate() {
        sum += e.share / total;
        if draw < sum {
            return i as u8;
        }
    }
    (exposures.len() - 1) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use outshine_kernels::random::Purpose;

    #[test]
    fn draws_follow_their_probabilities() {
        let noise = NoiseModel::embedded().unwrap();
        let coverage = Coverage::default();
        coverage.validate().unwrap();
        let n = 20_000u32;
        let index = |name: &str| noise.bands().iter().position(|b| *b == name).unwrap();
        let (f480m, f444w) = (index("f480m"), index("f444w"));
        let (mut missing, mut pixels, mut log_depth, mut wide) = ([0u32; 2], 0u32, 0.0, 0u32);
        for i in 0..n {
            let mut stream = Stream::new(3, Purpose::Observation, u64::from(i), 0);
            let c = coverage.draw(&noise, &mut stream);
            missing[0] += u32::from(!c.observed[f480m]);
            missing[1] += u32::from(!c.observed[f444w]);
            assert!(c.observed.iter().filter(|&&o| o).count() >= 4);
            assert!(c.depth_factor >= 0.3 && c.depth_factor <= 300.0);
            assert!(c.growth_factor <= 1.0 && c.growth_factor >= 1.0 / 90_000.0 * 0.999);
            if c.depth_factor == 1.0 {
                pixels += 1;
            } else {
                wide += 1;
                log_depth += c.depth_factor.log10();
            }
        }
        let share = |count: u32| f64::from(count) / f64::from(n);
        // Five standard errors of a share of 20,000.
        assert!((share(missing[0]) - (1.0 - 0.95 * 0.6)).abs() < 0.018);
        assert!((share(missing[1]) - 0.05).abs() < 0.008);
        assert!((share(pixels) - 0.3).abs() < 0.017);
        // Log-uniform over 3 dex from -0.52: mean 0.977, standard error 0.007.
        assert!((log_depth / f64::from(wide) - 0.977).abs() < 0.037);
    }

    #[test]
    fn at_least_the_minimum_of_bands_stays() {
        let noise = NoiseModel::embedded().unwrap();
        let coverage = Coverage { drop_band: 1.0, minimum_bands: 6, ..Coverage::default() };
        let mut stream = Stream::new(3, Purpose::Observation, 0, 0);
        let c = coverage.draw(&noise, &mut stream);
        assert_eq!(c.observed.iter().filter(|&&o| o).count(), 6);
    }

    #[test]
    fn bad_settings_are_named() {
        let bad = Coverage { drop_band: 1.5, ..Coverage::default() };
        assert!(bad.validate().unwrap_err().to_string().contains("drop_band"));
        let bad = Coverage { depth_factor: (0.0, 1.0), ..Coverage::default() };
        assert!(bad.validate().unwrap_err().to_string().contains("depth_factor"));
        assert!(serde_json::from_str::<Coverage>(r#"{"depth": 1}"#).is_err());
    }
}
