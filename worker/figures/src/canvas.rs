//! A drawing in the making: images of pixels below, lines and words above.
//!
//! plotters draws lines and words, in whole units of the canvas. Words may hold
//! `_{...}` and `^{...}` for what is set lower and higher. Images keep their own
//! pixels: they are not smoothed, in neither format.

use crate::FigureError;
use crate::colours::INK;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use plotters::coord::Shift;
use plotters::prelude::{
    Circle, Color, DrawingArea, FontFamily, FontStyle, IntoDrawingArea, PathElement, Polygon,
    RGBColor, SVGBackend, ShapeStyle, Text, TextStyle,
};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontDesc, FontTransform};
use resvg::{tiny_skia, usvg};
use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

/// What plotters draws on.
pub type Root<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Units of the canvas in an inch of paper.
const UNITS_PER_INCH: f64 = 330.0;
/// In a viewer that does not have the font, any without serifs will do.
const FAMILIES: &str = "DejaVu Sans, Verdana, sans-serif";
/// plotters writes sizes over this as the size of the em.
const EM: f64 = 1.24;

static FONTS: LazyLock<Arc<usvg::fontdb::Database>> = LazyLock::new(|| {
    let mut fonts = usvg::fontdb::Database::new();
    fonts.load_font_data(include_bytes!("../data/dejavu_sans.ttf").to_vec());
    Arc::new(fonts)
});

/// A finished figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    /// As SVG, complete in itself.
    pub svg: String,
    /// As PNG.
    pub png: Vec<u8>,
}

/// An image: `rgb` is `[height, width, 3]`, the top row first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Colours.
    pub rgb: Vec<u8>,
}

/// A rectangle of the canvas, in its units, from its upper left corner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// Left edge.
    pub left: i32,
    /// Upper edge.
    pub top: i32,
    /// Width.
    pub width: i32,
    /// Height.
    pub height: i32,
}

impl Area {
    /// Right edge.
    #[must_use]
    pub fn right(&self) -> i32 {
        self.left + self.width
    }

    /// Lower edge.
    #[must_use]
    pub fn bottom(&self) -> i32 {
        self.top + self.height
    }
}

/// A canvas of a size, in units, and the images on it.
#[derive(Clone, Debug)]
pub struct Canvas {
    width: u32,
    height: u32,
    images: Vec<(Area, Image)>,
}

impl Canvas {
    /// A white canvas.
    #[must_use]
    pub fn new(width: u32, height: u32) -> Self {
        Self { width, height, images: Vec::new() }
    }

    /// Lays an image over an area, below all that is drawn.
    ///
    /// # Panics
    /// When the image is empty, has not the size it says, or the area does not
    /// lie on the canvas.
    pub fn place(&mut self, area: Area, image: Image) {
        assert_eq!(image.rgb.len(), image.width * image.height * 3, "three values per pixel");
        assert!(image.width > 0 && image.height > 0, "an empty image");
        assert!(area.left >= 0 && area.top >= 0 && area.width > 0 && area.height > 0);
        assert!(area.right() as u32 <= self.width && area.bottom() as u32 <= self.height);
        self.images.push((area, image));
    }

    /// Draws the lines and words, and finishes the figure.
    ///
    /// # Errors
    /// [`FigureError::Drawing`].
    pub fn finish(
        self,
        draw: impl FnOnce(&Root<'_>) -> Result<(), FigureError>,
    ) -> Result<Figure, FigureError> {
        let (svg, overlay) = self.draw(draw)?;
        Ok(Figure { svg, png: self.render(&overlay)? })
    }

    /// As [`Canvas::finish`], as SVG alone.
    ///
    /// # Errors
    /// [`FigureError::Drawing`].
    pub fn finish_svg(
        self,
        draw: impl FnOnce(&Root<'_>) -> Result<(), FigureError>,
    ) -> Result<String, FigureError> {
        Ok(self.draw(draw)?.0)
    }

    /// The whole as SVG, and without the images.
    fn draw(
        &self,
        draw: impl FnOnce(&Root<'_>) -> Result<(), FigureError>,
    ) -> Result<(String, String), FigureError> {
        let mut drawn = String::new();
        {
            let size = (self.width, self.height);
            let root = SVGBackend::with_string(&mut drawn, size).into_drawing_area();
            draw(&root)?;
            root.present().map_err(FigureError::drawing)?;
        }
        let (head, body) = drawn
            .split_once(">\n")
            .ok_or_else(|| FigureError::Drawing("plotters wrote no SVG".to_owned()))?;
        let body = raise_and_lower(body);
        let overlay = format!("{head}>\n{body}");
        let mut svg = format!("{head}>\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n");
        for (area, image) in &self.images {
            let data = STANDARD.encode(encode_png(image, None)?);
            let Area { left, top, width, height } = area;
            let _ = writeln!(
                svg,
                "<image x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" \
                 preserveAspectRatio=\"none\" image-rendering=\"pixelated\" \
                 href=\"data:image/png;base64,{data}\"/>"
            );
        }
        svg.push_str(&body);
        Ok((svg, overlay))
    }

    /// The images with `overlay`, an SVG, on top.
    fn render(&self, overlay: &str) -> Result<Vec<u8>, FigureError> {
        let options = usvg::Options { fontdb: FONTS.clone(), ..usvg::Options::default() };
        let tree = usvg::Tree::from_str(overlay, &options).map_err(FigureError::drawing)?;
        let mut pixmap = tiny_skia::Pixmap::new(self.width, self.height)
            .ok_or_else(|| FigureError::Drawing("a canvas without area".to_owned()))?;
        pixmap.fill(tiny_skia::Color::WHITE);
        for (area, image) in &self.images {
            paint(&mut pixmap, area, image);
        }
        resvg::render(&tree, tiny_skia::Transform::identity(), &mut pixmap.as_mut());
        let (width, height) = (self.width as usize, self.height as usize);
        let mut rgb = Vec::with_capacity(3 * width * height);
        for pixel in pixmap.pixels() {
            rgb.extend_from_slice(&[pixel.red(), pixel.green(), pixel.blue()]);
        }
        encode_png(&Image { width, height, rgb }, Some(UNITS_PER_INCH))
    }
}

/// Paints an image over an area, each of its pixels a rectangle of one colour.
fn paint(pixmap: &mut tiny_skia::Pixmap, area: &Area, image: &Image) {
    let stride = pixmap.width() as usize;
    let (width, height) = (area.width as usize, area.height as usize);
    let colour = |row: usize, column: usize| {
        let from = 3 * (row * image.width + column);
        let [red, green, blue] = [image.rgb[from], image.rgb[from + 1], image.rgb[from + 2]];
        tiny_skia::ColorU8::from_rgba(red, green, blue, 255).premultiply()
    };
    let pixels = pixmap.pixels_mut();
    for v in 0..height {
        let row = v * image.height / height;
        let start = (area.top as usize + v) * stride + area.left as usize;
        for (u, pixel) in pixels[start..start + width].iter_mut().enumerate() {
            *pixel = colour(row, u * image.width / width);
        }
    }
}

fn encode_png(image: &Image, per_inch: Option<f64>) -> Result<Vec<u8>, FigureError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, image.width as u32, image.height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    if let Some(per_inch) = per_inch {
        let per_metre = (per_inch / 0.0254).round() as u32;
        let unit = png::Unit::Meter;
        let dims = png::PixelDimensions { xppu: per_metre, yppu: per_metre, unit };
        encoder.set_pixel_dims(Some(dims));
    }
    let mut writer = encoder.write_header().map_err(FigureError::drawing)?;
    writer.write_image_data(&image.rgb).map_err(FigureError::drawing)?;
    writer.finish().map_err(FigureError::drawing)?;
    Ok(bytes)
}

/// Turns `_{...}` and `^{...}` into SVG: small and shifted, and the rest of the
/// text shifted back. By `dy`, as not every browser knows `baseline-shift`.
fn raise_and_lower(svg: &str) -> String {
    let mut out = String::with_capacity(svg.len());
    let mut rest = svg;
    // Elements that are open in the text: of the script, and of what follows it.
    let (mut script, mut after) = (None, false);
    while let Some(at) = rest.find(['_', '^', '}', '<']) {
        let (before, found) = rest.split_at(at);
        out.push_str(before);
        let lower = found.starts_with("_{");
        if (lower || found.starts_with("^{")) && script.is_none() {
            if after {
                out.push_str("</tspan>");
                after = false;
            }
            let shift = if lower { 0.25 } else { -0.5 };
            let _ = write!(out, "<tspan font-size=\"70%\" dy=\"{shift}em\">");
            script = Some(shift);
            rest = &found[2..];
        } else if let (Some(shift), true) = (script, found.starts_with('}')) {
            // In the em of the whole text, of which the script's is 70 %.
            let _ = write!(out, "</tspan><tspan dy=\"{:.3}em\">", -0.7 * shift);
            (script, after) = (None, true);
            rest = &found[1..];
        } else {
            if found.starts_with('<') && (after || script.is_some()) {
                out.push_str("</tspan>");
                (script, after) = (None, false);
            }
            out.push_str(&found[..1]);
            rest = &found[1..];
        }
    }
    out.push_str(rest);
    out
}

/// Where a text stands with respect to its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// It begins there.
    Left,
    /// Its middle is there.
    Middle,
    /// It ends there.
    Right,
}

/// A text style; `em` is the size in units.
#[must_use]
pub fn text_style(em: i32, colour: RGBColor, anchor: Anchor) -> TextStyle<'static> {
    let font = FontDesc::new(FontFamily::Name(FAMILIES), f64::from(em) * EM, FontStyle::Normal);
    let horizontal = match anchor {
        Anchor::Left => HPos::Left,
        Anchor::Middle => HPos::Center,
        Anchor::Right => HPos::Right,
    };
    let mut style = TextStyle::from(font).pos(Pos::new(horizontal, VPos::Center));
    style.color = colour.to_backend_color();
    style
}

/// Writes `text` with its middle height at `at`.
///
/// # Errors
/// [`FigureError::Drawing`].
pub fn write(
    root: &Root<'_>,
    text: &str,
    at: (i32, i32),
    style: &TextStyle<'static>,
) -> Result<(), FigureError> {
    root.draw(&Text::new(text.to_owned(), at, style.clone())).map_err(FigureError::drawing)
}

/// As [`write()`], turned to read upwards.
///
/// # Errors
/// [`FigureError::Drawing`].
pub fn write_upwards(
    root: &Root<'_>,
    text: &str,
    at: (i32, i32),
    em: i32,
) -> Result<(), FigureError> {
    let style = text_style(em, INK, Anchor::Middle).transform(FontTransform::Rotate270);
    write(root, text, at, &style)
}

/// Draws a line through `points`, `width` units wide.
///
/// # Errors
/// [`FigureError::Drawing`].
pub fn line(
    root: &Root<'_>,
    points: &[(i32, i32)],
    colour: RGBColor,
    width: u32,
) -> Result<(), FigureError> {
    let style = ShapeStyle { color: colour.to_rgba(), filled: false, stroke_width: width };
    root.draw(&PathElement::new(points.to_vec(), style)).map_err(FigureError::drawing)
}

/// Draws the outline of an area.
///
/// # Errors
/// [`FigureError::Drawing`].
pub fn outline(root: &Root<'_>, area: &Area, colour: RGBColor) -> Result<(), FigureError> {
    let (left, top, right, bottom) = (area.left, area.top, area.right(), area.bottom());
    // The first side twice, so that the corner closes.
    let corners =
        [(left, top), (right, top), (right, bottom), (left, bottom), (left, top), (right, top)];
    line(root, &corners, colour, 2)
}

/// Fills the polygon of `points`, `alpha` opaque.
///
/// # Errors
/// [`FigureError::Drawing`].
pub fn fill(
    root: &Root<'_>,
    points: &[(i32, i32)],
    colour: RGBColor,
    alpha: f64,
) -> Result<(), FigureError> {
    root.draw(&Polygon::new(points.to_vec(), colour.mix(alpha))).map_err(FigureError::drawing)
}

/// Draws a circle.
///
/// # Errors
/// [`FigureError::Drawing`].
pub fn circle(
    root: &Root<'_>,
    centre: (i32, i32),
    radius: i32,
    colour: RGBColor,
    width: u32,
) -> Result<(), FigureError> {
    let style = ShapeStyle { color: colour.to_rgba(), filled: false, stroke_width: width };
    root.draw(&Circle::new(centre, radius, style)).map_err(FigureError::drawing)
}

/// Draws a disc.
///
/// # Errors
/// [`FigureError::Drawing`].
pub fn disc(
    root: &Root<'_>,
    centre: (i32, i32),
    radius: i32,
    colour: RGBColor,
) -> Result<(), FigureError> {
    root.draw(&Circle::new(centre, radius, colour.filled())).map_err(FigureError::drawing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(text: &str) -> Figure {
        let mut canvas = Canvas::new(200, 100);
        let image = Image { width: 2, height: 1, rgb: vec![255, 0, 0, 0, 0, 255] };
        canvas.place(Area { left: 100, top: 0, width: 100, height: 100 }, image);
        let style = text_style(30, INK, Anchor::Middle);
        canvas.finish(|root| write(root, text, (50, 50), &style)).unwrap()
    }

    fn pixels(figure: &Figure) -> Vec<u8> {
        let mut reader = png::Decoder::new(std::io::Cursor::new(&figure.png)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        pixels
    }

    #[test]
    fn images_and_words_reach_the_png_and_the_same_bytes_come_again() {
        let one = figure("log M_{\u{2299}}");
        assert_eq!(one, figure("log M_{\u{2299}}"));
        let pixels = pixels(&one);
        let at = |x: usize, y: usize| &pixels[3 * (y * 200 + x)..][..3];
        assert_eq!(
            (at(120, 50), at(180, 50), at(2, 2)),
            (&[255, 0, 0][..], &[0, 0, 255][..], &[255; 3][..])
        );
        // Sharp: on either side of the middle the plain colours.
        assert_eq!((at(149, 50), at(150, 50)), (&[255, 0, 0][..], &[0, 0, 255][..]));
        let dark = (0..100).any(|x| at(x, 50)[0] < 100);
        assert!(dark, "no word was drawn");
    }

    /// A sign that the font lacks would be a box, or nothing.
    #[test]
    fn the_font_has_every_sign_that_labels_use() {
        let face = FONTS.faces().next().unwrap();
        assert_eq!(face.families[0].0, "DejaVu Sans");
        let blank = figure(" ");
        for sign in
            "aZ09[]()+\u{2212}\u{b1}\u{d7}\u{3a3}\u{3c3}\u{3bc}\u{2605}\u{2299}\u{2033}\u{2013}=.,"
                .chars()
        {
            assert_ne!(figure(&sign.to_string()).png, blank.png, "`{sign}`");
        }
    }

    #[test]
    fn scripts_become_spans_and_close() {
        assert_eq!(
            raise_and_lower("<text>\na_{b} c^{d}\n</text>"),
            "<text>\na<tspan font-size=\"70%\" dy=\"0.25em\">b</tspan><tspan dy=\"-0.175em\"> c\
             </tspan><tspan font-size=\"70%\" dy=\"-0.5em\">d</tspan><tspan dy=\"0.350em\">\n\
             </tspan></text>"
        );
        for odd in ["<text>a_b ^} { _{</text>", "}", "^", "<text>_{a_{b}}</text>"] {
            let out = raise_and_lower(odd);
            assert_eq!(out.matches("<tspan").count(), out.matches("</tspan>").count(), "{out}");
        }
    }

    #[test]
    fn words_are_escaped() {
        let svg = figure("<script> & \"x\"").svg;
        assert!(svg.contains("&lt;script&gt; &amp; &quot;x&quot;"), "{svg}");
    }
}
