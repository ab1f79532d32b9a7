//! The sky background of a field, per band: the median over cells of the
//! clipped median of pixels that belong to no galaxy. Its uncertainty is the
//! standard deviation between cells, which is added to every error in
//! quadrature: sqrt(sigma^2 + sigma_b^2).

use outshine_kernels::quantile;
use std::collections::BTreeMap;

/// Background of one band.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Background {
    /// Level, in nJy per pixel.
    pub level_njy: f64,
    /// Its uncertainty, in nJy per pixel; 0 for a single cell.
    pub sigma_njy: f64,
}

/// Pixels that a cell needs to count.
const MIN_PIXELS: usize = 50;
/// Rounds of clipping, and the limit in units of the robust scatter.
const ROUNDS: usize = 10;
const CLIP: f64 = 3.0;

/// Background of (x, y, flux in nJy) of sky pixels in cells of `cell_px`
/// pixels; `None` where no cell has enough of them.
pub fn measure(sky: &[(i32, i32, f32)], cell_px: u32) -> Option<Background> {
    let side = i32::try_from(cell_px).unwrap_or(i32::MAX);
    let mut cells: BTreeMap<(i32, i32), Vec<f64>> = BTreeMap::new();
    for &(x, y, flux) in sky {
        let cell = (y.div_euclid(side), x.div_euclid(side));
        cells.entry(cell).or_default().push(f64::from(flux));
    }
    let mut medians: Vec<f64> =
        cells.into_values().filter(|c| c.len() >= MIN_PIXELS).map(clipped_median).collect();
    if medians.is_empty() {
        return None;
    }
    let n = medians.len() as f64;
    let mean = medians.iter().sum::<f64>() / n;
    let square = medians.iter().map(|m| (m - mean) * (m - mean)).sum::<f64>();
    let sigma_njy = if n > 1.0 { (square / (n - 1.0)).sqrt() } else { 0.0 };
    quantile::sort(&mut medians);
    Some(Background { level_njy: quantile::of_sorted(&medians, 0.5), sigma_njy })
}

fn clipped_median(mut values: Vec<f64>) -> f64 {
    quantile::sort(&mut values);
    for _ in 0..ROUNDS {
        let median = quantile::of_sorted(&values, 0.5);
        // Half the 68 % width is robust against what is clipped.
        let scatter =
            0.5 * (quantile::of_sorted(&values, 0.84) - quantile::of_sorted(&values, 0.16));
        let before = values.len();
        values.retain(|v| (v - median).abs() <= CLIP * scatter);
        if values.len() == before {
            break;
        }
    }
    quantile::of_sorted(&values, 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;
    use outshine_kernels::random::{Purpose, Stream};

    #[test]
    fn level_and_uncertainty_survive_sources() {
        let mut stream = Stream::new(1, Purpose::MockPixel, 0, 0);
        let mut sky = Vec::new();
        for y in 0..120 {
            for x in 0..120 {
                // Cells of 40 with levels 0.04, 0.05 and 0.06 in the three columns.
                let level = 0.04 + 0.01 * f64::from(x / 40);
                let source = if stream.uniform() < 0.03 { 5.0 } else { 0.0 };
                sky.push((x, y, (level + 0.02 * stream.normal() + source) as f32));
            }
        }
        let found = measure(&sky, 40).unwrap();
        // Error of a cell's median: 1.25 * 0.02 / sqrt(1600) = 0.0006.
        assert!((found.level_njy - 0.05).abs() < 0.002, "{found:?}");
        assert!((found.sigma_njy - 0.0087).abs() < 0.002, "{found:?}");
        assert_eq!(measure(&sky[..10], 40), None);
    }
}
