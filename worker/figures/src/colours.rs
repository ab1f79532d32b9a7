//! The colours of all figures, distinct with any colour vision and in print; and
//! colour maps, perceptually uniform.

use plotters::style::RGBColor;
use std::sync::LazyLock;

/// Nearly black: for lines and words.
pub const INK: RGBColor = RGBColor(20, 20, 20);
/// Paper.
pub const WHITE: RGBColor = RGBColor(255, 255, 255);
/// Bands, marks and what is not observed.
pub const GREY: RGBColor = RGBColor(120, 120, 120);
/// Lines to compare with.
pub const GUIDE: RGBColor = RGBColor(90, 90, 90);
/// Colours of curves, distinct with any colour vision (Okabe & Ito 2008).
pub const SERIES: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(0, 0, 0),
];
/// Names of the bands shown as red, green and blue: dark enough for white paper,
/// and told apart by lightness too.
pub const CHANNELS: [RGBColor; 3] =
    [RGBColor(190, 30, 30), RGBColor(20, 130, 60), RGBColor(40, 70, 200)];

/// A pale tint of a colour.
#[must_use]
pub fn pale(colour: RGBColor) -> RGBColor {
    let tint = |c: u8| (0.3 * f64::from(c) + 0.7 * 255.0).round() as u8;
    RGBColor(tint(colour.0), tint(colour.1), tint(colour.2))
}

/// Colours of a map.
const STEPS: usize = 256;
/// A pixel that was not fitted.
pub const UNFITTED: [u8; 3] = [176, 176, 176];
/// Outside of a galaxy.
pub const OUTSIDE: [u8; 3] = [255, 255, 255];

/// A colour map; the order is that of the columns of the data file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColourMap {
    /// Blue over green to yellow.
    Viridis,
    /// Black over purple to white.
    Magma,
    /// Blue over red to yellow.
    Plasma,
    /// Black over red to yellow.
    Inferno,
}

/// Steps of the four maps, from low to high.
static TABLES: LazyLock<Vec<[[u8; 3]; 4]>> = LazyLock::new(|| {
    let text = include_str!("../data/colour_maps.txt");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let colour = |hex: &str| {
        let value = u32::from_str_radix(hex, 16).unwrap_or_default();
        [(value >> 16) as u8, (value >> 8) as u8, value as u8]
    };
    let row = |line: &str| {
        let mut colours = line.split(' ').map(colour);
        std::array::from_fn(|_| colours.next().unwrap_or_default())
    };
    lines.map(row).collect()
});

impl ColourMap {
    /// The colour at `place`, 0 (low) to 1 (high); beyond, that of the end.
    #[must_use]
    pub fn at(self, place: f64) -> [u8; 3] {
        let step = (place * STEPS as f64).clamp(0.0, (STEPS - 1) as f64) as usize;
        TABLES[step][self as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance (Rec. 709, linear light).
    fn luminance(colour: [u8; 3]) -> f64 {
        let linear = |c: u8| (f64::from(c) / 255.0).powf(2.2);
        0.2126 * linear(colour[0]) + 0.7152 * linear(colour[1]) + 0.0722 * linear(colour[2])
    }

    #[test]
    fn maps_are_whole_and_lighten_from_low_to_high() {
        assert_eq!(TABLES.len(), STEPS);
        for map in [ColourMap::Viridis, ColourMap::Magma, ColourMap::Plasma, ColourMap::Inferno] {
            let steps: Vec<f64> = (0..32).map(|i| luminance(map.at(f64::from(i) / 31.0))).collect();
            // In print and without colour vision, lightness alone tells high from low.
            assert!(steps.windows(2).all(|pair| pair[1] > pair[0]), "{map:?} {steps:?}");
            assert_eq!((map.at(-5.0), map.at(7.0)), (map.at(0.0), map.at(1.0)));
        }
        // The published ends of viridis.
        assert_eq!(ColourMap::Viridis.at(0.0), [0x44, 0x01, 0x54]);
        assert_eq!(ColourMap::Viridis.at(1.0), [0xfd, 0xe7, 0x24]);
    }
}
