//! Pixels that are named by what they are.

use crate::stages::again::Spot;
use outshine_catalogue::shape;
use outshine_kernels::random::{Purpose, Stream};
use outshine_kernels::scalar;
use outshine_schemas::flags;

/// A pixel of a galaxy.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Where it is.
    pub spot: Spot,
    /// Mean S/N.
    pub mean_snr: f32,
    /// Flag bits.
    pub flags: u32,
    /// log10 of its surviving mass, Msun, if it was fitted.
    pub log_mass: Option<f64>,
}

impl Candidate {
    fn is_fitted(&self) -> bool {
        self.flags & flags::NOT_FITTED == 0 && self.log_mass.is_some()
    }
}

/// The fitted pixel of the highest mean S/N; of equal ones the first.
#[must_use]
pub fn brightest(pixels: &[Candidate]) -> Option<Spot> {
    let mut best: Option<&Candidate> = None;
    for pixel in pixels.iter().filter(|p| p.is_fitted()) {
        if best.is_none_or(|best| pixel.mean_snr > best.mean_snr) {
            best = Some(pixel);
        }
    }
    best.map(|pixel| pixel.spot)
}

/// A fitted pixel outside of the circle about the pixel of the highest mass that
/// holds half of the mass: any, keyed by `seed` and galaxy.
#[must_use]
pub fn outside(pixels: &[Candidate], seed: u64) -> Option<Spot> {
    let fitted: Vec<&Candidate> = pixels.iter().filter(|p| p.is_fitted()).collect();
    let x: Vec<i32> = fitted.iter().map(|p| p.spot.x).collect();
    let y: Vec<i32> = fitted.iter().map(|p| p.spot.y).collect();
    let mass: Vec<f64> = fitted.iter().map(|p| p.log_mass.map_or(0.0, scalar::exp10)).collect();
    let circle = shape::half_mass(&x, &y, &mass)?;
    let mut beyond: Vec<Spot> = fitted.iter().map(|p| p.spot).collect();
    beyond.retain(|spot| !circle.contains(spot.x, spot.y));
    beyond.sort_by_key(|spot| (spot.y, spot.x));
    let galaxy = beyond.first()?.galaxy_id as u64;
    let mut stream = Stream::new(seed, Purpose::PixelCheck, galaxy, u64::MAX);
    Some(beyond[stream.below(beyond.len() as u64) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pixels() -> Vec<Candidate> {
        let of = |x: i32| Candidate {
            spot: Spot { galaxy_id: 4, x, y: 0 },
            mean_snr: 30.0 - x.abs() as f32,
            flags: if x == 0 { flags::LOW_SNR } else { 0 },
            log_mass: (x != 0).then(|| 8.0 - f64::from(x.abs())),
        };
        (-6..=6).map(of).collect()
    }

    #[test]
    fn pixels_are_chosen_among_the_fitted_ones_and_the_same_each_time() {
        let pixels = pixels();
        assert_eq!(brightest(&pixels).map(|s| s.x), Some(-1));
        let far = outside(&pixels, 3).unwrap();
        assert_eq!(Some(far), outside(&pixels, 3));
        let found: std::collections::BTreeSet<i32> =
            (0..200).filter_map(|seed| outside(&pixels, seed)).map(|s| s.x).collect();
        assert!(found.len() > 5 && !found.contains(&0) && !found.contains(&-1), "{found:?}");
        assert!(brightest(&pixels[6..7]).is_none() && outside(&pixels[6..7], 1).is_none());
    }
}
