//! Whole figures: what must be on them, whatever the galaxy.

use outshine_figures::canvas::Figure;
use outshine_figures::colours::{ColourMap, UNFITTED};
use outshine_figures::frame::Frame;
use outshine_figures::panel::{self, Layer, Panel, Sky};
use outshine_figures::profile::{self, Axis, Profiles, Series};
use std::io::Cursor;

const SKY: Sky =
    Sky { pixel_arcsec: Some(0.03), kpc_per_arcsec: Some(7.3), psf_fwhm_arcsec: Some(0.16) };

/// The colours of a PNG, each once.
fn colours(figure: &Figure) -> std::collections::BTreeSet<[u8; 3]> {
    let mut reader = png::Decoder::new(Cursor::new(&figure.png)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();
    pixels.as_chunks().0.iter().copied().collect()
}

/// A panel of pixels at `x`, `y` whose maps have `values`.
fn panel(x: &[i32], y: &[i32], values: &[f32], sky: Sky) -> Figure {
    let frame = Frame::around(x, y).unwrap();
    let sigma: Vec<f32> = values.iter().map(|v| 0.1 + 0.01 * v.abs()).collect();
    let layer = |label, colours| Layer {
        label,
        sigma_label: "\u{3c3}",
        median: values,
        sigma: &sigma,
        least_span: 0.1,
        colours,
    };
    let rgb: Vec<Option<[u8; 3]>> =
        (0..x.len()).map(|i| (i % 5 > 0).then_some([200, 120, 40])).collect();
    let snr: Vec<f32> = (0..x.len()).map(|i| 3.0 + i as f32).collect();
    panel::draw(&Panel {
        title: "Galaxy 7, z = 1.5",
        note: "a note",
        frame: &frame,
        x,
        y,
        rgb: &rgb,
        bands: &["r".to_owned(), "g".to_owned(), "b".to_owned()],
        mean_snr: &snr,
        layers: [
            layer("first", ColourMap::Viridis),
            layer("second", ColourMap::Plasma),
            layer("third", ColourMap::Magma),
        ],
        sky,
    })
    .unwrap()
}

fn disc(radius: i32) -> (Vec<i32>, Vec<i32>) {
    let inside = |&(x, y): &(i32, i32)| x * x + y * y <= radius * radius;
    let all = (-radius..=radius).flat_map(|y| (-radius..=radius).map(move |x| (x, y)));
    all.filter(inside).unzip()
}

#[test]
fn a_panel_shows_its_maps_scales_and_words() {
    let (x, y) = disc(8);
    let mut values: Vec<f32> = x.iter().map(|&x| 8.0 + 0.1 * x as f32).collect();
    values[3] = f32::NAN;
    let one = panel(&x, &y, &values, SKY);
    assert_eq!(one, panel(&x, &y, &values, SKY), "the same bytes");
    for word in ["Galaxy 7", "a note", "first", "third", "mean S/N", "kpc", "\u{2033}", "PSF"] {
        assert!(one.svg.contains(word), "`{word}`");
    }
    assert_eq!(one.svg.matches("<image ").count(), 8 + 7, "maps and bars");
    let seen = colours(&one);
    assert!(seen.contains(&UNFITTED), "the pixel that was not fitted");
    assert!(seen.contains(&[200, 120, 40]), "the colour image");
    // The ends of the scale are the pixels at the limits.
    for map in [ColourMap::Viridis, ColourMap::Plasma, ColourMap::Magma] {
        assert!(seen.contains(&map.at(0.0)) && seen.contains(&map.at(1.0)), "{map:?}");
    }
    let no_sky = panel(&x, &y, &values, Sky::default());
    assert!(no_sky.svg.contains(" px") && !no_sky.svg.contains("kpc"));
    assert!(!no_sky.svg.contains("PSF"));
}

#[test]
fn panels_of_odd_galaxies_are_drawn() {
    // One pixel, at the end of the world.
    let one = panel(&[i32::MAX], &[i32::MIN], &[9.0], SKY);
    assert!(!one.svg.contains("no fitted pixel"));
    // None fitted.
    let none = panel(&[0, 1], &[0, 0], &[f32::NAN; 2], SKY);
    assert_eq!(none.svg.matches("no fitted pixel").count(), 6);
    // Two ends of a long line, which thinning must not lose.
    let line = panel(&[0, 16_000], &[0, 0], &[7.0, 9.0], SKY);
    let seen = colours(&line);
    assert!(
        seen.contains(&ColourMap::Viridis.at(1.0)) && seen.contains(&ColourMap::Viridis.at(0.0))
    );
    // Values that no scale can hold, and a PSF that would fill the image.
    let wide = Sky { psf_fwhm_arcsec: Some(100.0), ..SKY };
    let wild = panel(&[0, 1, 2], &[0, 1, 2], &[f32::MAX, f32::MIN, f32::INFINITY], wide);
    assert!(!wild.svg.contains("NaN") && !wild.svg.contains("PSF"));
}

#[test]
fn a_profile_shows_its_axes_and_marks() {
    let radius = [0.5, 1.5, 2.5, 3.5];
    let p50 = [9.0, 8.5, f64::NAN, 7.5];
    let shift = |by: f64| p50.map(|v| v + by);
    let (p16, p84, low, high) = (shift(-0.2), shift(0.3), shift(-0.1), shift(0.1));
    let series = |label| Series { label, p16: &p16, p50: &p50, p84: &p84, low: &low, high: &high };
    let draw = |series: &[Series<'_>], last_px| {
        profile::draw(&Profiles {
            title: "Galaxy 7",
            radius_px: &radius,
            last_px,
            lower: Axis { label: "radius [kpc]", per_pixel: 0.22 },
            upper: Some(Axis { label: "radius [arcsec]", per_pixel: 0.03 }),
            psf_px: Some(1.1),
            half_mass_px: Some(40.0),
            series,
        })
        .unwrap()
    };
    let four = ["one", "two", "three", "four"].map(series);
    let figure = draw(&four, 4.0);
    assert_eq!(figure, draw(&four, 4.0), "the same bytes");
    for word in ["Galaxy 7", "radius [kpc]", "radius [arcsec]", "one", "four", "PSF", "half-mass"] {
        assert!(figure.svg.contains(word), "`{word}`");
    }
    assert!(!figure.svg.contains("NaN"));
    // Three annuli have a point, in each of four charts.
    assert_eq!(figure.svg.matches("<circle").count(), 12);
    // Nothing to show.
    let nothing = [f64::NAN; 4];
    let n = &nothing;
    let empty = Series { label: "none", p16: n, p50: n, p84: n, low: n, high: n };
    assert_eq!(draw(&[empty], 4.0).svg.matches("<circle").count(), 0);
}
