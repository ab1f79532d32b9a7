//! Fields of mock galaxies with known truth.
//!
//! `structured`: each galaxy is a Sersic mass map,
//! Sigma ~ exp(-b_n ((r/r_e)^(1/n) - 1)), b_n = 2 n - 1/3, with clumps, and
//! gradients with radius: younger, less dusty and poorer in metals outwards.
//! `prior`: the pixels of a galaxy share its redshift and are otherwise
//! independent draws from the prior; for calibration.
//!
//! Galaxies lie on stamps of one common frame that do not overlap. All of
//! it follows from (seed, galaxy, pixel).

mod shape;

use crate::error::SpsError;
use crate::model::{Components, ForwardModel};
use crate::noise::{BandGroup, Conditions, NoiseModel};
use crate::prior::Prior;
use crate::sfh::Parameters;
use outshine_kernels::random::{Purpose, Stream};
use serde::{Deserialize, Serialize};
use shape::Shape;

/// Bands whose mean S/N decides which pixels are fitted.
pub const SNR_BANDS: [&str; 3] = ["f277w", "f356w", "f444w"];
/// Radii, in r_e, beyond which no light is put.
const MAX_RADII: f64 = 4.0;
/// Steps in which the radius of the S/N cut is searched.
const CUT_STEPS: usize = 24;

/// What the galaxies of a mock field are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MockKind {
    /// Sersic mass maps with gradients.
    #[default]
    Structured,
    /// Independent draws from the prior.
    Prior,
}

/// A part of the field where bands are missing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MissingRegion {
    /// Bands that were not observed there.
    pub bands: Vec<String>,
    /// First and last x, as a fraction of the field's width.
    pub x: (f64, f64),
    /// First and last y, as a fraction of the field's height.
    pub y: (f64, f64),
}

/// A mock field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MockField {
    /// What the galaxies are made of.
    pub kind: MockKind,
    /// Number of galaxies.
    pub galaxies: usize,
    /// Side of a galaxy's stamp, pixels.
    pub stamp: usize,
    /// Stamps side by side.
    pub columns: usize,
    /// Redshifts, spread evenly (`structured`; `prior` takes the prior's).
    pub redshift: (f64, f64),
    /// log10 of the mass formed per galaxy, Msun, spread evenly (`structured`).
    pub log_mass: (f64, f64),
    /// By how much the lowest log mass rises per unit of redshift: distant
    /// dwarfs would leave no pixel.
    pub log_mass_per_redshift: f64,
    /// Half-mass radii along the major axis, pixels (`structured`).
    pub radius_pixels: (f64, f64),
    /// Pixels whose predicted mean S/N falls below this are left out (`structured`).
    pub cut_snr: f64,
    /// Pixels per galaxy (`prior`).
    pub pixels_per_galaxy: usize,
    /// Fraction of the field's width at which the deeper exposure ends.
    pub deep_until: f64,
    /// Parts of the field where bands are missing.
    pub missing: Vec<MissingRegion>,
}

impl Default for MockField {
    fn default() -> Self {
        let names = |bands: &[&str]| bands.iter().map(|&b| b.to_owned()).collect();
        Self {
            kind: MockKind::Structured,
            galaxies: 28,
            stamp: 48,
            columns: 7,
            redshift: (0.5, 6.0),
            log_mass: (8.5, 11.3),
            log_mass_per_redshift: 0.25,
            radius_pixels: (2.0, 5.5),
            cut_snr: 2.0,
            pixels_per_galaxy: 25,
            deep_until: 0.5,
            missing: vec![
                MissingRegion {
                    bands: names(&["f430m", "f460m", "f480m"]),
                    x: (0.0, 1.0),
                    y: (0.625, 1.0),
                },
                MissingRegion {
                    bands: names(&["f435w", "f606w", "f775w", "f814w", "f850lp"]),
                    x: (0.93, 1.0),
                    y: (0.0, 1.0),
                },
            ],
        }
    }
}

/// One pixel of a mock galaxy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MockPixel {
    /// Column in the field.
    pub x: i32,
    /// Row in the field.
    pub y: i32,
    /// True parameters.
    pub parameters: Parameters,
}

/// One mock galaxy.
#[derive(Clone, Debug, PartialEq)]
pub struct MockGalaxy {
    /// Identifier, from 1.
    pub galaxy_id: i64,
    /// Redshift.
    pub redshift: f64,
    /// Pixels, sorted by (y, x).
    pub pixels: Vec<MockPixel>,
}

impl MockField {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`SpsError::Setting`] naming the field.
    pub fn validate(&self) -> Result<(), SpsError> {
        let bad =
            |field: &str, problem: &str| Err(SpsError::setting(&format!("mock.{field}"), problem));
        if self.galaxies == 0 || self.galaxies > 1_000_000 {
            return bad("galaxies", "must be 1 to 1,000,000");
        }
        if self.columns == 0 || self.stamp == 0 || self.stamp > 10_000 {
            return bad("stamp", "stamp and columns must be positive, stamp at most 10,000");
        }
        if self.field_size().is_none() {
            return bad("columns", "the field is wider or higher than 2^31 pixels");
        }
        if self.pixels_per_galaxy == 0 || self.pixels_per_galaxy > self.stamp * self.stamp {
            return bad("pixels_per_galaxy", "must be at least 1 and fit on a stamp");
        }
        let rising = |(low, high): (f64, f64)| low < high && low.is_finite() && high.is_finite();
        if !rising(self.redshift) || self.redshift.0 <= 0.0 || self.redshift.1 > 20.0 {
            return bad("redshift", "must rise and lie between 0 and 20");
        }
        if !rising(self.log_mass) || !self.log_mass_per_redshift.is_finite() {
            return bad("log_mass", "must rise and be finite");
        }
        if !rising(self.radius_pixels) || self.radius_pixels.0 < 0.5 {
            return bad("radius_pixels", "must rise from at least 0.5");
        }
        if !(self.cut_snr >= 0.0 && self.cut_snr.is_finite()) {
            return bad("cut_snr", "must be at least 0");
        }
        let fraction = |v: f64| (0.0..=1.0).contains(&v);
        if !fraction(self.deep_until) {
            return bad("deep_until", "must be 0 to 1");
        }
        for region in &self.missing {
            if ![region.x.0, region.x.1, region.y.0, region.y.1].into_iter().all(fraction) {
                return bad("missing", "x and y are fractions, 0 to 1");
            }
        }
        Ok(())
    }

    /// Width and height of the field, pixels; `None` when beyond i32.
    fn field_size(&self) -> Option<(i32, i32)> {
        let columns = self.columns.min(self.galaxies);
        let rows = self.galaxies.div_ceil(self.columns);
        let side = |n: usize| n.checked_mul(self.stamp).and_then(|n| i32::try_from(n).ok());
        Some((side(columns)?, side(rows)?))
    }

    /// How the pixel at (`x`, `y`) is observed.
    #[must_use]
    pub fn conditions(&self, noise: &NoiseModel, x: i32, y: i32) -> Conditions {
        let (width, height) = self.field_size().unwrap_or((1, 1));
        let u = (f64::from(x) + 0.5) / f64::from(width);
        let v = (f64::from(y) + 0.5) / f64::from(height);
        let mut conditions = Conditions::nominal(noise);
        conditions.exposure.fill(u8::from(u > self.deep_until));
        for region in &self.missing {
            if u >= region.x.0 && u <= region.x.1 && v >= region.y.0 && v <= region.y.1 {
                let group = BandGroup { bands: region.bands.clone(), probability: 1.0 };
                conditions.drop_group(noise, &group);
            }
        }
        conditions
    }

    /// The galaxies, in order of their identifier.
    ///
    /// # Errors
    /// [`SpsError::Setting`] for a bad field or a prior that does not hold its
    /// redshifts, [`SpsError::UnknownBand`] when no band of [`SNR_BANDS`] is in use.
    pub fn galaxies(
        &self,
        seed: u64,
        prior: &Prior,
        model: &ForwardModel,
        noise: &NoiseModel,
    ) -> Result<Vec<MockGalaxy>, SpsError> {
        self.validate()?;
        let (least, most) = prior.redshift_range();
        if self.kind == MockKind::Structured && (self.redshift.0 < least || self.redshift.1 > most)
        {
            let problem = format!("leaves the prior's {least} to {most}");
            return Err(SpsError::setting("mock.redshift", problem));
        }
        (0..self.galaxies)
            .map(|index| match self.kind {
                MockKind::Structured => self.structured(seed, index, prior, model, noise),
                MockKind::Prior => Ok(self.prior_draws(seed, index, prior)),
            })
            .collect()
    }

    /// Corner of a galaxy's stamp.
    fn corner(&self, index: usize) -> (i32, i32) {
        let side = self.stamp as i32;
        ((index % self.columns) as i32 * side, (index / self.columns) as i32 * side)
    }

    fn prior_draws(&self, seed: u64, index: usize, prior: &Prior) -> MockGalaxy {
        let (low, high) = prior.redshift_range();
        let redshift =
            Stream::new(seed, Purpose::MockGalaxy, index as u64, 0).uniform_in(low, high);
        let side = (1..).find(|side| side * side >= self.pixels_per_galaxy).unwrap_or(1);
        let (x0, y0) = self.corner(index);
        let pixels = (0..self.pixels_per_galaxy)
            .map(|i| {
                let name = (index as u64, 1 + i as u64);
                let mut stream = Stream::new(seed, Purpose::MockGalaxy, name.0, name.1);
                MockPixel {
                    x: x0 + (i % side) as i32,
                    y: y0 + (i / side) as i32,
                    parameters: prior.draw_at(redshift, &mut stream),
                }
            })
            .collect();
        MockGalaxy { galaxy_id: index as i64 + 1, redshift, pixels }
    }

    fn structured(
        &self,
        seed: u64,
        index: usize,
        prior: &Prior,
        model: &ForwardModel,
        noise: &NoiseModel,
    ) -> Result<MockGalaxy, SpsError> {
        let shape = Shape::draw(self, seed, index);
        let (x0, y0) = self.corner(index);
        let total = shape.total(self.stamp);
        let cut = self.cut_radius(&shape, total, prior, model, noise, (x0, y0))?;
        let mut pixels = Vec::new();
        for y in 0..self.stamp {
            for x in 0..self.stamp {
                let (dx, dy) = shape.offset(x, y, self.stamp);
                let radius = shape.radius(dx, dy);
                if radius > cut {
                    continue;
                }
                let key = 1 + (y * self.stamp + x) as u64;
                let mut stream = Stream::new(seed, Purpose::MockGalaxy, index as u64, key);
                let mass = shape.mass(dx, dy) / total;
                let free = shape.free(radius, shape.clumpiness(dx, dy), mass, Some(&mut stream));
                let parameters = prior.from_free(&inside(free, prior), shape.redshift);
                pixels.push(MockPixel { x: x0 + x as i32, y: y0 + y as i32, parameters });
            }
        }
        Ok(MockGalaxy { galaxy_id: index as i64 + 1, redshift: shape.redshift, pixels })
    }

    /// Elliptical radius, in r_e, up to which the predicted mean S/N of the
    /// smooth galaxy stays above the cut.
    fn cut_radius(
        &self,
        shape: &Shape,
        total: f64,
        prior: &Prior,
        model: &ForwardModel,
        noise: &NoiseModel,
        corner: (i32, i32),
    ) -> Result<f64, SpsError> {
        let half = (self.stamp / 2) as i32;
        let mut conditions = self.conditions(noise, corner.0 + half, corner.1 + half);
        conditions.observed.fill(true);
        let bands: Vec<usize> = SNR_BANDS
            .iter()
            .filter_map(|name| model.bands().iter().position(|b| b == name))
            .collect();
        if bands.is_empty() {
            let known = model.bands().join(", ");
            return Err(SpsError::UnknownBand { band: SNR_BANDS.join(", "), known });
        }
        let mut workspace = model.workspace();
        let mut flux = vec![0.0; model.bands().len()];
        let mut kept = 0.0;
        for step in 0..CUT_STEPS {
            let radius = MAX_RADII * (step as f64 + 0.5) / CUT_STEPS as f64;
            let free = shape.free(radius, 0.0, shape.profile(radius) / total, None);
            let parameters = prior.from_free(&inside(free, prior), shape.redshift);
            model.photometry(&parameters, Components::Full, &mut workspace, &mut flux)?;
            let ratio = |&b: &usize| flux[b] / noise.sigma_njy(b, flux[b], &conditions);
            if bands.iter().map(ratio).sum::<f64>() / (bands.len() as f64) < self.cut_snr {
                break;
            }
            kept = MAX_RADII * (step as f64 + 1.0) / CUT_STEPS as f64;
        }
        Ok(kept)
    }
}

/// Coordinates pulled a little inside the bounds of the prior.
fn inside(free: [f64; 5], prior: &Prior) -> [f64; 5] {
    let bounds = prior.tau_bounds();
    std::array::from_fn(|i| {
        let (low, high) = bounds[i];
        let margin = 1e-3 * (high - low);
        free[i].clamp(low + margin, high - margin)
    })
}

#[cfg(test)]
#[cfg(feature = "bc03")]
mod tests {
    use super::*;
    use crate::{FilterSet, ModelOptions, SspLibrary};
    use std::collections::HashSet;
    use std::sync::Arc;

    fn model() -> ForwardModel {
        let library = Arc::new(SspLibrary::embedded().unwrap());
        ForwardModel::new(library, FilterSet::jades(), ModelOptions::default()).unwrap()
    }

    #[test]
    fn the_default_field_is_large_enough_to_learn_from() {
        let (field, prior, model) = (MockField::default(), Prior::default(), model());
        let noise = NoiseModel::embedded().unwrap().for_bands(model.bands()).unwrap();
        let galaxies = field.galaxies(1, &prior, &model, &noise).unwrap();
        assert_eq!(galaxies.len(), 28);
        let snr_bands: Vec<usize> = SNR_BANDS
            .iter()
            .map(|name| model.bands().iter().position(|b| b == name).unwrap())
            .collect();
        let mut workspace = model.workspace();
        let mut flux = vec![0.0; model.bands().len()];
        let (mut positions, mut good, mut all) = (HashSet::new(), 0, 0);
        let (mut exposures, mut missing) = (HashSet::new(), HashSet::new());
        for galaxy in &galaxies {
            let mut own = 0;
            let mut mass = 0.0;
            for pixel in &galaxy.pixels {
                assert!(positions.insert((pixel.x, pixel.y)), "stamps overlap");
                let p = &pixel.parameters;
                let mut free = [0.0; 5];
                prior.to_free(p, 0.5, &mut free).unwrap();
                for (v, (low, high)) in free.iter().zip(prior.free_bounds().unwrap()) {
                    assert!(*v > low && *v < high);
                }
                mass += 10f64.powf(p.log_mass_formed);
                model.photometry(p, Components::Full, &mut workspace, &mut flux).unwrap();
                let c = field.conditions(&noise, pixel.x, pixel.y);
                exposures.insert(c.exposure[0]);
                missing.insert(c.observed.iter().filter(|&&o| !o).count());
                let snr: f64 =
                    snr_bands.iter().map(|&b| flux[b] / noise.sigma_njy(b, flux[b], &c)).sum();
                own += usize::from(snr / 3.0 >= 5.0);
            }
            println!(
                "galaxy {:2} z {:.2} log mass {:.2}: {} of {} pixels with S/N >= 5",
                galaxy.galaxy_id,
                galaxy.redshift,
                mass.log10(),
                own,
                galaxy.pixels.len()
            );
            assert!(own >= 20, "galaxy {} has {own} pixels to fit", galaxy.galaxy_id);
            assert!(mass.log10() > 8.0 && mass.log10() < 11.5);
            good += own;
            all += galaxy.pixels.len();
        }
        println!("{good} of {all} pixels with S/N >= 5");
        assert!((10_000..=16_000).contains(&good), "{good} pixels");
        assert_eq!(exposures.len(), 2);
        assert_eq!(missing, HashSet::from([0, 3, 5, 8]));
        assert_eq!(galaxies, field.galaxies(1, &prior, &model, &noise).unwrap());
        assert_ne!(galaxies[0], field.galaxies(2, &prior, &model, &noise).unwrap()[0]);
    }

    #[test]
    fn prior_galaxies_hold_prior_draws_at_one_redshift() {
        let (prior, model) = (Prior::default(), model());
        let noise = NoiseModel::embedded().unwrap();
        let field = MockField {
            kind: MockKind::Prior,
            galaxies: 400,
            stamp: 6,
            columns: 20,
            ..MockField::default()
        };
        let galaxies = field.galaxies(1, &prior, &model, &noise).unwrap();
        let mut masses = Vec::new();
        for galaxy in &galaxies {
            assert_eq!(galaxy.pixels.len(), 25);
            for pixel in &galaxy.pixels {
                assert_eq!(pixel.parameters.redshift, galaxy.redshift);
                masses.push(pixel.parameters.log_mass_formed);
            }
        }
        let mean = masses.iter().sum::<f64>() / masses.len() as f64;
        // Uniform from 4 to 12: standard error of 10,000 draws 0.023; five of them.
        assert!((mean - 8.0).abs() < 0.12, "{mean}");
    }

    #[test]
    fn bad_fields_are_named() {
        for (json, name) in [
            (r#"{"galaxies": 0}"#, "galaxies"),
            (r#"{"redshift": [3, 2]}"#, "redshift"),
            (r#"{"deep_until": 2}"#, "deep_until"),
        ] {
            let field: MockField = serde_json::from_str(json).unwrap();
            assert!(field.validate().unwrap_err().to_string().contains(name));
        }
        assert!(serde_json::from_str::<MockField>(r#"{"stars": 3}"#).is_err());
    }
}
