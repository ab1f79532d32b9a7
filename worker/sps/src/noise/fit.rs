//! Fits the noise model to the fluxes and errors of real pixels.
//!
//! Per band: the errors of pixels without detected flux fall into one or two
//! exposure depths (split where the variance between the two classes of
//! log10 error is largest, kept only if they are well apart); each depth gets
//! its median; the growth with flux is the median slope of
//! (sigma/s0)^2 - 1 over flux in bright pixels; the scatter is the robust
//! spread of what remains.

use super::{BandNoise, ExposureNoise, FORMAT_VERSION, NoiseModel};
use crate::error::SpsError;
use outshine_kernels::scalar;

/// Fewest usable pixels of a band.
const MIN_PIXELS: usize = 50;
/// Two depths are kept when their medians differ by this many dex, ...
const MIN_SEPARATION_DEX: f64 = 0.1;
/// ... by this many times the scatter within them, ...
const MIN_SEPARATION_SCATTERS: f64 = 3.0;
/// ... and the rarer holds this share of the pixels.
const MIN_SHARE: f64 = 0.05;
/// Growth is measured on pixels brighter than this many sigma0.
const BRIGHT_SIGMAS: f64 = 5.0;
/// Fewest bright pixels for a growth of their own.
const MIN_BRIGHT: usize = 20;
/// Doubling flux, in sigma0, where bright pixels show no growth.
const NO_GROWTH_SIGMAS: f64 = 1e4;
/// Doubling flux, in sigma0, of bands without bright pixels, and scatter (dex)
/// of bands known by their depth alone: rounded medians of the JADES bands
/// where both can be measured.
const TYPICAL_DOUBLING_SIGMAS: f64 = 100.0;
const TYPICAL_SCATTER_DEX: f64 = 0.03;

/// 5-sigma depths per pixel of the paper's Table 1, nJy: what is known of a
/// band that has no pixels.
pub const JADES_FIVE_SIGMA_NJY: [(&str, f64); 19] = [
    ("f435w", 0.394),
    ("f606w", 0.611),
    ("f775w", 0.376),
    ("f814w", 1.388),
    ("f850lp", 0.724),
    ("f090w", 0.601),
    ("f115w", 0.496),
    ("f150w", 0.489),
    ("f182m", 1.361),
    ("f200w", 0.509),
    ("f210m", 0.987),
    ("f277w", 0.367),
    ("f335m", 0.616),
    ("f356w", 0.416),
    ("f410m", 0.547),
    ("f430m", 1.327),
    ("f444w", 0.472),
    ("f460m", 1.813),
    ("f480m", 1.351),
];

/// Fits a noise model to pixels.
///
/// `bands`: names; `columns`: per band, flux and error of every pixel, nJy (a
/// pixel with error 0, NaN or null was not observed); `background`: pixels
/// known to hold no source, or `None` to take those below 3 sigma;
/// `five_sigma_njy`: depths to fall back on for bands without pixels.
///
/// # Errors
/// [`SpsError::NoiseFit`] naming a band with too few pixels and no depth.
pub fn fit_noise(
    bands: &[String],
    columns: &[(&[f32], &[f32])],
    background: Option<&[bool]>,
    five_sigma_njy: &[(&str, f64)],
) -> Result<NoiseModel, SpsError> {
    assert_eq!(bands.len(), columns.len(), "one pair of columns per band");
    let mut noise = Vec::with_capacity(bands.len());
    for (band, (flux, err)) in bands.iter().zip(columns) {
        assert_eq!(flux.len(), err.len(), "one error per flux");
        let is_background = |i: usize, pixel: &Pixel| match background {
            Some(mask) => mask[i],
            None => pixel.flux < 3.0 * pixel.err,
        };
        let mut dark = Vec::new();
        let mut all = Vec::new();
        for i in 0..flux.len() {
            let pixel = Pixel { flux: f64::from(flux[i]), err: f64::from(err[i]) };
            if pixel.err > 0.0 && pixel.err.is_finite() && pixel.flux.is_finite() {
                all.push(pixel);
                if is_background(i, &pixel) {
                    dark.push(scalar::log10(pixel.err));
                }
            }
        }
        if dark.len() >= MIN_PIXELS {
            let exposures = fit_band(&all, dark);
            let source = format!("fitted to {} pixels", all.len());
            noise.push(BandNoise { band: band.clone(), exposures, source });
            continue;
        }
        let known = five_sigma_njy.iter().find(|(name, _)| name == band);
        let Some((_, five_sigma)) = known else {
            let problem = format!(
                "{} usable background pixels where {MIN_PIXELS} are needed, and no depth is known",
                dark.len()
            );
            return Err(SpsError::NoiseFit { band: band.clone(), problem });
        };
        let sigma0_njy = five_sigma / 5.0;
        let exposures = vec![ExposureNoise {
            sigma0_njy,
            doubling_flux_njy: TYPICAL_DOUBLING_SIGMAS * sigma0_njy,
            scatter_dex: TYPICAL_SCATTER_DEX,
            share: 1.0,
        }];
        let source = "published 5-sigma depth; growth and scatter of other bands".to_owned();
        noise.push(BandNoise { band: band.clone(), exposures, source });
    }
    let model = NoiseModel { version: FORMAT_VERSION, noise };
    model.validate()?;
    Ok(model)
}

#[derive(Clone, Copy)]
struct Pixel {
    flux: f64,
    err: f64,
}

fn fit_band(pixels: &[Pixel], mut dark: Vec<f64>) -> Vec<ExposureNoise> {
    dark.sort_by(f64::total_cmp);
    let classes = split(&dark);
    let mut exposures: Vec<ExposureNoise> = classes
        .iter()
        .map(|class| {
            let sigma0_njy = scalar::exp10(median_sorted(class));
            ExposureNoise {
                sigma0_njy,
                doubling_flux_njy: TYPICAL_DOUBLING_SIGMAS * sigma0_njy,
                scatter_dex: 0.0,
                share: class.len() as f64 / dark.len() as f64,
            }
        })
        .collect();
    // Bright pixels belong to the depth that predicts their error best, which
    // depends on the growth, which depends on who belongs: a few rounds settle.
    for _ in 0..5 {
        let mut slopes: Vec<Vec<f64>> = vec![Vec::new(); exposures.len()];
        for pixel in pixels {
            let class = nearest(&exposures, pixel);
            let s0 = exposures[class].sigma0_njy;
            if pixel.flux > BRIGHT_SIGMAS * s0 {
                let ratio = pixel.err / s0;
                slopes[class].push((ratio * ratio - 1.0) / pixel.flux);
            }
        }
        let growth: Vec<Option<f64>> = slopes
            .iter_mut()
            .map(|slopes| {
                slopes.sort_by(f64::total_cmp);
                (slopes.len() >= MIN_BRIGHT).then(|| median_sorted(slopes))
            })
            .collect();
        // Background and source variance both scale with exposure time: a depth
        // without bright pixels takes the slope of another.
        let any = growth.iter().copied().flatten().next();
        for (e, slope) in exposures.iter_mut().zip(growth) {
            let least = 1.0 / (NO_GROWTH_SIGMAS * e.sigma0_njy);
            let typical = 1.0 / (TYPICAL_DOUBLING_SIGMAS * e.sigma0_njy);
            e.doubling_flux_njy = 1.0 / slope.or(any).unwrap_or(typical).max(least);
        }
    }
    let mut residuals: Vec<Vec<f64>> = vec![Vec::new(); exposures.len()];
    for pixel in pixels {
        let class = nearest(&exposures, pixel);
        residuals[class].push(residual_dex(&exposures[class], pixel).abs());
    }
    for (e, residuals) in exposures.iter_mut().zip(&mut residuals) {
        residuals.sort_by(f64::total_cmp);
        // Median absolute deviation to standard deviation of a normal distribution.
        e.scatter_dex = if residuals.is_empty() { 0.0 } else { 1.4826 * median_sorted(residuals) };
    }
    exposures
}

/// log10 of the error over the error that the exposure predicts.
fn residual_dex(e: &ExposureNoise, pixel: &Pixel) -> f64 {
    let growth = 1.0 + pixel.flux.max(0.0) / e.doubling_flux_njy;
    scalar::log10(pixel.err / (e.sigma0_njy * growth.sqrt()))
}

fn nearest(exposures: &[ExposureNoise], pixel: &Pixel) -> usize {
    let distance = |e: &ExposureNoise| residual_dex(e, pixel).abs();
    let order =
        |a: &usize, b: &usize| distance(&exposures[*a]).total_cmp(&distance(&exposures[*b]));
    (0..exposures.len()).min_by(order).unwrap_or(0)
}

fn median_sorted(values: &[f64]) -> f64 {
    values[values.len() / 2]
}

fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n;
    (mean, variance.sqrt())
}

/// Splits sorted values in one or two classes.
fn split(sorted: &[f64]) -> Vec<&[f64]> {
    let n = sorted.len();
    let total: f64 = sorted.iter().sum();
    let (mut sum, mut best, mut at) = (0.0, 0.0, 0);
    for i in 1..n {
        sum += sorted[i - 1];
        let (left, right) = (i as f64, (n - i) as f64);
        let gap = sum / left - (total - sum) / right;
        let between = left * right * gap * gap;
        if between > best && sorted[i] > sorted[i - 1] {
            (best, at) = (between, i);
        }
    }
    let (low, high) = sorted.split_at(at);
    if low.is_empty() {
        return vec![sorted];
    }
    let ((m0, s0), (m1, s1)) = (mean_and_deviation(low), mean_and_deviation(high));
    let apart = m1 - m0 > MIN_SEPARATION_DEX.max(MIN_SEPARATION_SCATTERS * s0.max(s1));
    let both = low.len().min(high.len()) as f64 >= MIN_SHARE * n as f64;
    if apart && both { vec![low, high] } else { vec![sorted] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Conditions;
    use outshine_kernels::random::{Purpose, Stream};

    fn truth() -> NoiseModel {
        let exposure = |sigma0_njy, doubling_flux_njy, scatter_dex, share| ExposureNoise {
            sigma0_njy,
            doubling_flux_njy,
            scatter_dex,
            share,
        };
        let band = |band: &str, exposures| BandNoise {
            band: band.to_owned(),
            exposures,
            source: String::new(),
        };
        NoiseModel {
            version: FORMAT_VERSION,
            noise: vec![
                band("two", vec![exposure(0.05, 2.0, 0.02, 0.6), exposure(0.15, 2.0, 0.02, 0.4)]),
                band("one", vec![exposure(0.2, 5.0, 0.03, 1.0)]),
            ],
        }
    }

    #[test]
    fn a_known_model_comes_back_from_its_own_pixels() {
        let truth = truth();
        let n = 20_000;
        let mut columns = vec![(vec![0f32; n], vec![0f32; n]); 2];
        for i in 0..n {
            let mut stream = Stream::new(5, Purpose::Observation, i as u64, 0);
            // A tenth of the pixels are bright.
            let flux = if i % 10 == 0 { 3.0 * stream.uniform() } else { 0.0 };
            let class = u8::from(stream.uniform() > 0.6);
            let conditions = Conditions { exposure: vec![class; 2], ..Conditions::nominal(&truth) };
            let (mut f, mut e) = ([0f32; 2], [0f32; 2]);
            truth.observe(&[flux; 2], &conditions, &mut stream, &mut f, &mut e);
            for b in 0..2 {
                (columns[b].0[i], columns[b].1[i]) = (f[b], e[b]);
            }
        }
        let bands = ["two".to_owned(), "one".to_owned()];
        let slices: Vec<(&[f32], &[f32])> =
            columns.iter().map(|(f, e)| (f.as_slice(), e.as_slice())).collect();
        let fitted = fit_noise(&bands, &slices, None, &[]).unwrap();
        for (got, want) in fitted.noise.iter().zip(&truth.noise) {
            assert_eq!(got.exposures.len(), want.exposures.len(), "{got:?}");
            for (g, w) in got.exposures.iter().zip(&want.exposures) {
                // Medians of thousands of errors with 5 to 7 % scatter.
                assert!((g.sigma0_njy / w.sigma0_njy - 1.0).abs() < 0.01, "{g:?}");
                assert!((g.share - w.share).abs() < 0.03, "{g:?}");
                // The slope is taken at observed, not true, flux; a few percent.
                assert!((g.doubling_flux_njy / w.doubling_flux_njy - 1.0).abs() < 0.15, "{g:?}");
                assert!((g.scatter_dex - w.scatter_dex).abs() < 0.005, "{g:?}");
            }
        }
    }

    #[test]
    fn bands_without_pixels_need_a_depth() {
        let bands = ["f480m".to_owned()];
        let empty: (&[f32], &[f32]) = (&[0.0; 100], &[0.0; 100]);
        let error = fit_noise(&bands, &[empty], None, &[]).unwrap_err().to_string();
        assert!(error.contains("f480m"), "{error}");
        let model = fit_noise(&bands, &[empty], None, &JADES_FIVE_SIGMA_NJY).unwrap();
        assert!((model.noise[0].exposures[0].sigma0_njy - 0.2702).abs() < 1e-12);
    }
}
