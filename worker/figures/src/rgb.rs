//! Colour images of three bands, after Lupton et al. (2004, PASP 116, 133).
//!
//! With I the mean of the three fluxes, each channel is flux x F(I) / I,
//! F(I) = asinh(I / b) / asinh(I_max / b): the stretch acts on the brightness
//! and leaves the colour. Where a channel exceeds 1, all three are divided by
//! it. I_max is near the brightest pixel's I, b = I_max / 12.
//!
//! Each band is first divided by its sum over the image: colours show where a
//! pixel differs from the galaxy as a whole.

use outshine_kernels::{quantile, scalar};

/// I_max over the softening b.
const SOFTENING: f64 = 12.0;
/// The part of the pixels that are below I_max.
const BRIGHT: f64 = 0.995;

/// Colours of pixels with fluxes in `red`, `green` and `blue`, each `[pixels]`,
/// in one unit; `None` where one is not a finite number (not observed).
///
/// # Panics
/// When the lengths differ.
#[must_use]
pub fn lupton(red: &[f32], green: &[f32], blue: &[f32]) -> Vec<Option<[u8; 3]>> {
    assert!(red.len() == green.len() && red.len() == blue.len(), "three bands per pixel");
    let rows = red.iter().zip(green).zip(blue).map(|((&r, &g), &b)| [r, g, b].map(f64::from));
    let mut pixels: Vec<Option<[f64; 3]>> =
        rows.map(|flux| flux.iter().all(|f| f.is_finite()).then_some(flux)).collect();
    let seen = || pixels.iter().flatten();
    let weights: [f64; 3] = std::array::from_fn(|band| {
        let sum: f64 = seen().map(|flux| flux[band].max(0.0)).sum();
        if sum > 0.0 { 1.0 / sum } else { 0.0 }
    });
    for flux in pixels.iter_mut().flatten() {
        for (value, weight) in flux.iter_mut().zip(weights) {
            *value = (*value * weight).max(0.0);
        }
    }
    let mean = |flux: &[f64; 3]| flux.iter().sum::<f64>() / 3.0;
    let mut bright: Vec<f64> = pixels.iter().flatten().map(mean).collect();
    quantile::sort(&mut bright);
    // Not a number without any pixel, where nothing asks for it.
    let highest = quantile::of_sorted(&bright, BRIGHT);
    let colour = |flux: &[f64; 3]| {
        let intensity = mean(flux);
        if intensity <= 0.0 || highest <= 0.0 {
            return [0; 3];
        }
        let stretched = scalar::asinh(SOFTENING * intensity / highest) / scalar::asinh(SOFTENING);
        let channels = flux.map(|f| f * stretched / intensity);
        let over = channels.iter().copied().fold(1.0, f64::max);
        channels.map(|c| (255.0 * c / over).round() as u8)
    };
    pixels.iter().map(|flux| flux.as_ref().map(colour)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_does_not_depend_on_brightness() {
        // Two equal galaxies of opposite colour, so that the weights are equal,
        // and the same colours ten times fainter.
        let red = [10.0, 2.0, 1.0, 0.2];
        let green = [5.0, 5.0, 0.5, 0.5];
        let blue = [2.0, 10.0, 0.2, 1.0];
        let image = lupton(&red, &green, &blue);
        let ratio = |i: usize, a: usize, b: usize| {
            let colour = image[i].unwrap();
            f64::from(colour[a]) / f64::from(colour[b])
        };
        for (bright, faint) in [(0, 2), (1, 3)] {
            for (a, b) in [(0, 1), (0, 2), (1, 2)] {
                // Channels are rounded to 1/255.
                let (one, two) = (ratio(bright, a, b), ratio(faint, a, b));
                assert!((one / two - 1.0).abs() < 0.05, "{one} {two}");
            }
        }
        let sum = |i: usize| image[i].unwrap().iter().map(|&c| u32::from(c)).sum::<u32>();
        assert!(sum(0) > sum(2) && sum(2) > sum(0) / 10, "the faint is lifted: {image:?}");
    }

    #[test]
    fn bad_pixels_do_no_harm() {
        let nan = f32::NAN;
        let image = lupton(&[1.0, nan, -3.0, 1.0], &[1.0, 1.0, -1.0, 0.0], &[1.0, 1.0, -2.0, -9.0]);
        assert_eq!((image[1], image[2]), (None, Some([0, 0, 0])));
        assert!(image[0].is_some() && image[3].is_some());
        assert!(lupton(&[], &[], &[]).is_empty());
        assert_eq!(lupton(&[0.0], &[0.0], &[0.0]), [Some([0, 0, 0])]);
        assert_eq!(lupton(&[nan], &[nan], &[nan]), [None]);
    }
}
