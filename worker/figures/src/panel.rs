//! The panel of a galaxy: its colour image and three maps with their
//! uncertainties below.

use crate::FigureError;
use crate::axes::{Marks, Side, marks, name};
use crate::canvas::{
    self, Anchor, Area, Canvas, Figure, Image, Root, line, outline, text_style, write,
};
use crate::colours::{CHANNELS, ColourMap, INK, OUTSIDE, UNFITTED, WHITE};
use crate::frame::Frame;
use crate::scale::{Scale, limits, round_below};

/// Side of a map, in units of the canvas.
const SIDE: i32 = 540;
/// Between neighbouring maps, and at the edges.
const GAP: i32 = 56;
/// From the top of the canvas to the first row.
const TITLE: i32 = 96;
/// Below a map: its bar, numbers and label.
const BELOW: i32 = 150;
/// Between the two rows.
const ROWS: i32 = 26;
/// Sizes of text.
const LARGE: i32 = 40;
const LABEL: i32 = 35;
const SMALL: i32 = 30;
/// An image has at most this many cells on a side; a larger one is thinned.
const MOST_CELLS: usize = 2 * SIDE as usize;

/// What is known of the sky: scales and resolution.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sky {
    /// Side of a pixel, in arcsec.
    pub pixel_arcsec: Option<f64>,
    /// Proper length of an arcsec at the galaxy, in kpc.
    pub kpc_per_arcsec: Option<f64>,
    /// Full width at half maximum of the PSF, in arcsec.
    pub psf_fwhm_arcsec: Option<f64>,
}

/// A quantity to show; values are `[pixels]`, not a number where not fitted.
#[derive(Clone, Debug)]
pub struct Layer<'a> {
    /// Label with unit; `_{}` and `^{}` lower and raise.
    pub label: &'a str,
    /// Label of the uncertainty, with unit.
    pub sigma_label: &'a str,
    /// Medians.
    pub median: &'a [f32],
    /// Uncertainties.
    pub sigma: &'a [f32],
    /// Least difference between the ends of the colour bar.
    pub least_span: f64,
    /// Colours of the medians.
    pub colours: ColourMap,
}

/// A galaxy's panel. All slices are `[pixels]`.
#[derive(Clone, Debug)]
pub struct Panel<'a> {
    /// First line.
    pub title: &'a str,
    /// At the right of the first line.
    pub note: &'a str,
    /// The frame of the galaxy.
    pub frame: &'a Frame,
    /// Columns.
    pub x: &'a [i32],
    /// Rows.
    pub y: &'a [i32],
    /// Colours, `None` where a band was not observed.
    pub rgb: &'a [Option<[u8; 3]>],
    /// Names of the bands shown as red, green and blue; empty without colours.
    pub bands: &'a [String],
    /// Mean S/N.
    pub mean_snr: &'a [f32],
    /// The three maps.
    pub layers: [Layer<'a>; 3],
    /// Scales.
    pub sky: Sky,
}

/// The square cut around a galaxy that every map of its panel shows.
#[derive(Clone, Copy)]
struct View {
    x0: i64,
    y0: i64,
    cells: usize,
}

impl View {
    /// With room for the scale bar, and for a PSF that is no larger than the
    /// galaxy.
    fn around(frame: &Frame, sky: &Sky) -> Self {
        let longest = frame.width.max(frame.height);
        let psf_px = sky.psf_fwhm_arcsec.zip(sky.pixel_arcsec).map_or(0.0, |(f, s)| f / s);
        let for_psf = ((4.0 * psf_px) as usize).min(3 * longest);
        let cells = (longest + longest / 3 + 4).max(for_psf);
        let before = |size: usize| ((cells - size) / 2) as i64;
        // A little above the middle, as they are below.
        let raised = (cells / 12) as i64;
        Self {
            x0: i64::from(frame.x0) - before(frame.width),
            y0: i64::from(frame.y0) - before(frame.height) - raised,
            cells,
        }
    }

    /// An image with `colour(i)` at pixel i and `outside` elsewhere.
    fn image(
        &self,
        x: &[i32],
        y: &[i32],
        outside: [u8; 3],
        colour: impl Fn(usize) -> [u8; 3],
    ) -> Image {
        let side = self.cells.min(MOST_CELLS);
        let mut rgb: Vec<u8> = outside.repeat(side * side);
        let place =
            |value: i32, start: i64| (i64::from(value) - start) as usize * side / self.cells;
        for i in 0..x.len() {
            let (column, row) = (place(x[i], self.x0), place(y[i], self.y0));
            // The first row of an image is the upper one.
            let at = 3 * ((side - 1 - row) * side + column);
            rgb[at..at + 3].copy_from_slice(&colour(i));
        }
        Image { width: side, height: side, rgb }
    }

    /// Units of the canvas in a pixel.
    fn units_per_pixel(&self) -> f64 {
        f64::from(SIDE) / self.cells as f64
    }
}

/// A map with its bar.
struct Tile<'a> {
    area: Area,
    label: &'a str,
    scale: Option<Scale>,
    colours: ColourMap,
    /// What is said where there is nothing to show.
    lacking: &'static str,
}

impl Tile<'_> {
    fn new<'a>(
        (row, column): (i32, i32),
        label: &'a str,
        scale: Option<Scale>,
        colours: ColourMap,
    ) -> Tile<'a> {
        let area = Area {
            left: GAP + column * (SIDE + GAP),
            top: TITLE + row * (SIDE + BELOW + ROWS),
            width: SIDE,
            height: SIDE,
        };
        Tile { area, label, scale, colours, lacking: "no fitted pixel" }
    }

    fn colour(&self, value: f32) -> [u8; 3] {
        match self.scale.filter(|_| !value.is_nan()) {
            Some(scale) => self.colours.at(scale.place(scale.nearest(value.into()))),
            None => UNFITTED,
        }
    }

    fn bar(&self) -> Area {
        let Area { left, width, .. } = self.area;
        Area { left, top: self.area.bottom() + 14, width, height: 24 }
    }

    fn lay(&self, canvas: &mut Canvas, image: Image) {
        canvas.place(self.area, image);
        if self.scale.is_some() {
            let steps = 256;
            let at = |i: usize| self.colours.at((i as f64 + 0.5) / steps as f64);
            let rgb = (0..steps).flat_map(at).collect();
            canvas.place(self.bar(), Image { width: steps, height: 1, rgb });
        }
    }

    fn draw(&self, root: &Root<'_>) -> Result<(), FigureError> {
        outline(root, &self.area, INK)?;
        let bar = self.bar();
        let middle = self.area.left + SIDE / 2;
        name(root, &bar, Side::Lower, self.label, (LABEL, 82))?;
        let Some(scale) = &self.scale else {
            let style = text_style(SMALL, INK, Anchor::Middle);
            return write(root, self.lacking, (middle, self.area.top + 40), &style);
        };
        outline(root, &bar, INK)?;
        let most = if scale.log { 8 } else { 5 };
        marks(root, &bar, Side::Lower, scale, &Marks::outward(most, SMALL))
    }
}

/// Draws the panel.
///
/// # Errors
/// [`FigureError::Drawing`].
pub fn draw(panel: &Panel<'_>) -> Result<Figure, FigureError> {
    let width = 4 * (SIDE + GAP) + GAP;
    let height = TITLE + 2 * (SIDE + BELOW) + ROWS;
    let mut canvas = Canvas::new(width as u32, height as u32);
    let view = View::around(panel.frame, &panel.sky);
    let (x, y) = (panel.x, panel.y);

    let image = Tile::new((0, 0), "", None, ColourMap::Viridis);
    let colour = |i: usize| panel.rgb.get(i).copied().flatten().unwrap_or(UNFITTED);
    canvas.place(image.area, view.image(x, y, [0; 3], colour));

    let mut tiles = Vec::new();
    let snr = snr_scale(panel.mean_snr);
    let mut tile = Tile::new((1, 0), "mean S/N", snr, ColourMap::Viridis);
    tile.lacking = "no S/N above 0";
    tiles.push((tile, panel.mean_snr));
    for (column, layer) in panel.layers.iter().enumerate() {
        let at = |row| (row, column as i32 + 1);
        let scale = |values, span| limits(values, span).map(|(low, high)| Scale::linear(low, high));
        let median = scale(layer.median, layer.least_span);
        tiles.push((Tile::new(at(0), layer.label, median, layer.colours), layer.median));
        let sigma = scale(layer.sigma, 0.02);
        let tile = Tile::new(at(1), layer.sigma_label, sigma, ColourMap::Inferno);
        tiles.push((tile, layer.sigma));
    }
    for (tile, values) in &tiles {
        tile.lay(&mut canvas, view.image(x, y, OUTSIDE, |i| tile.colour(values[i])));
    }
    canvas.finish(|root| {
        let right = width - GAP;
        let style = text_style(LARGE, INK, Anchor::Left);
        write(root, panel.title, (GAP, TITLE / 2), &style)?;
        write(root, panel.note, (right, TITLE / 2), &text_style(SMALL, INK, Anchor::Right))?;
        outline(root, &image.area, INK)?;
        bands(root, panel, &image.area)?;
        psf(root, panel, view, &image.area)?;
        scale_bar(root, panel, view, &image.area)?;
        tiles.iter().try_for_each(|(tile, _)| tile.draw(root))
    })
}

/// The scale of the S/N above 0; logarithmic where they are far apart.
fn snr_scale(values: &[f32]) -> Option<Scale> {
    let positive: Vec<f32> = values.iter().copied().filter(|v| *v > 0.0).collect();
    let (low, high) = limits(&positive, 0.0)?;
    let near = if high > 1.1 * low {
        Scale::linear(low, high)
    } else {
        Scale::linear(0.95 * low, 1.05 * high)
    };
    Some(if high > 4.0 * low { Scale::log(low, high) } else { near })
}

/// The names of the bands, each in its colour, below the image.
fn bands(root: &Root<'_>, panel: &Panel<'_>, area: &Area) -> Result<(), FigureError> {
    let middle = area.left + area.width / 2;
    let y = area.bottom() + 40;
    if panel.bands.is_empty() {
        let style = text_style(SMALL, INK, Anchor::Middle);
        return write(root, "fewer than three bands observed", (middle, y), &style);
    }
    let step = area.width / 3;
    for (i, (band, colour)) in panel.bands.iter().zip(CHANNELS).enumerate() {
        let at = (area.left + step / 2 + step * i as i32, y);
        write(root, &band.to_uppercase(), at, &text_style(LABEL, colour, Anchor::Middle))?;
    }
    Ok(())
}

/// A circle of the width of the PSF, at the lower left.
fn psf(root: &Root<'_>, panel: &Panel<'_>, view: View, area: &Area) -> Result<(), FigureError> {
    let (Some(fwhm), Some(scale)) = (panel.sky.psf_fwhm_arcsec, panel.sky.pixel_arcsec) else {
        return Ok(());
    };
    let radius = 0.5 * fwhm / scale * view.units_per_pixel();
    // One that fills the image would hide it.
    if radius > f64::from(SIDE) / 4.0 {
        return Ok(());
    }
    let radius = radius.round().max(1.0) as i32;
    let inset = 24 + radius;
    let centre = (area.left + inset, area.bottom() - inset);
    // Dark around the white, to be seen on a bright galaxy.
    canvas::circle(root, centre, radius, INK, 8)?;
    canvas::circle(root, centre, radius, WHITE, 3)?;
    let at = (area.left + 24 + 2 * radius + 14, centre.1);
    write(root, "PSF", at, &text_style(SMALL, WHITE, Anchor::Left))
}

/// A bar of round length at the lower right, in arcsec and kpc where known.
fn scale_bar(
    root: &Root<'_>,
    panel: &Panel<'_>,
    view: View,
    area: &Area,
) -> Result<(), FigureError> {
    let pixels = 0.3 * view.cells as f64;
    let (length_px, above, below) = match (panel.sky.pixel_arcsec, panel.sky.kpc_per_arcsec) {
        (Some(scale), kpc) => {
            let arcsec = round_below(pixels * scale);
            let below = kpc.map(|kpc| {
                let length = arcsec * kpc;
                if length < 9.95 { format!("{length:.1} kpc") } else { format!("{length:.0} kpc") }
            });
            (arcsec / scale, format!("{arcsec}\u{2033}"), below)
        }
        _ => {
            let length = round_below(pixels).max(1.0);
            (length, format!("{length} px"), None)
        }
    };
    let length = (length_px * view.units_per_pixel()).round() as i32;
    let (right, y) = (area.right() - 28, area.bottom() - 62);
    line(root, &[(right - length - 3, y), (right + 3, y)], INK, 12)?;
    line(root, &[(right - length, y), (right, y)], WHITE, 6)?;
    let middle = right - length / 2;
    // A text that is longer than the bar ends where the bar does.
    let (anchor, x) = if length < 150 { (Anchor::Right, right) } else { (Anchor::Middle, middle) };
    let style = text_style(SMALL, WHITE, anchor);
    write(root, &above, (x, y - 26), &style)?;
    match below {
        Some(below) => write(root, &below, (x, y + 30), &style),
        None => Ok(()),
    }
}
