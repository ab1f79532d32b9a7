//! Posterior predictive checks: observed fluxes over those of the draws.

use crate::FigureError;
use crate::axes::{Axes, Dash, Marks, Pen, Side, name, rounded};
use crate::canvas::{
    self, Anchor, Area, Canvas, Figure, Root, disc, fill, line, outline, text_style, write,
};
use crate::colours::{GREY, INK, SERIES};
use crate::scale::Scale;
use plotters::style::RGBColor;

const WIDTH: i32 = 1500;
const FLUXES: i32 = 680;
const RESIDUALS: i32 = 300;
const LEFT: i32 = 200;
const RIGHT: i32 = 60;
const TITLE: i32 = 270;
const GAP: i32 = 24;
const BELOW: i32 = 140;
const LARGE: i32 = 40;
const LABEL: i32 = 35;
const SMALL: i32 = 29;
/// Least distance of two names of bands.
const APART: i32 = 36;
/// Largest residual that is shown as it is; an arrow stands for one beyond.
const MOST_SIGMA: f64 = 50.0;
/// Half the width of a model's bar.
const HALF: i32 = 15;
/// Half the width of an observed flux.
const POINT: i32 = 7;

/// Fluxes of an object and of the draws of its posterior, `[bands]` each.
#[derive(Clone, Debug)]
pub struct Check<'a> {
    /// First line.
    pub title: &'a str,
    /// Second line.
    pub note: &'a str,
    /// Names.
    pub bands: &'a [String],
    /// Pivot wavelengths, micrometres.
    pub wave_um: &'a [f64],
    /// Observed fluxes, nJy.
    pub flux_njy: &'a [f64],
    /// Their errors; 0: not observed.
    pub err_njy: &'a [f64],
    /// Percentiles of the model fluxes: 2.5, 16, 50, 84, 97.5; nJy.
    pub model_njy: [&'a [f64]; 5],
}

impl Check<'_> {
    fn observed(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.bands.len()).filter(|&b| self.err_njy[b] > 0.0)
    }

    /// Limits of the fluxes; on a logarithmic scale where all are well above 0.
    fn scale(&self) -> Scale {
        let all = || {
            let seen = self.observed().flat_map(|b| {
                [self.flux_njy[b] - self.err_njy[b], self.flux_njy[b] + self.err_njy[b]]
            });
            seen.chain(self.model_njy[0].iter().copied()).chain(self.model_njy[4].iter().copied())
        };
        let low = all().fold(f64::INFINITY, f64::min);
        let high = all().fold(f64::NEG_INFINITY, f64::max);
        if low > 0.0 && high > 5.0 * low {
            return Scale::log(low / 1.4, high * 1.4);
        }
        let room = 0.07 * (high - low).max(1e-6);
        Scale::linear(low - room, high + room)
    }

    fn fluxes(&self, root: &Root<'_>, axes: &Axes) -> Result<(), FigureError> {
        for b in 0..self.bands.len() {
            let colour = if self.err_njy[b] > 0.0 { SERIES[0] } else { GREY };
            let levels = self.model_njy.map(|model| model[b]);
            model(root, axes, self.wave_um[b], levels, colour)?;
        }
        for b in self.observed() {
            point(root, axes, self.wave_um[b], self.flux_njy[b], self.err_njy[b])?;
        }
        axes.left(root, &Marks::inward(7, SMALL))?;
        axes.lower(root, &Marks { named: false, ..Marks::inward(8, SMALL) })?;
        outline(root, &axes.area, INK)?;
        name(root, &axes.area, Side::Left, "flux density [nJy]", (LABEL, 155))
    }

    /// Observed less median, in errors, over the model's intervals about its median.
    fn residuals(&self, root: &Root<'_>, area: Area, x: Scale) -> Result<(), FigureError> {
        let of = |b: usize, flux: f64| (flux - self.model_njy[2][b]) / self.err_njy[b];
        let extent = |b: usize| {
            let ends = [self.model_njy[1][b], self.model_njy[3][b]].map(|flux| of(b, flux).abs());
            ends.into_iter().fold(of(b, self.flux_njy[b]).abs() + 1.0, f64::max)
        };
        let most = 1.1 * self.observed().map(extent).fold(3.0, f64::max).min(MOST_SIGMA);
        let axes = Axes { area, x, y: Scale::linear(-most, most) };
        for (value, dash) in [(0.0, Dash::Solid), (-2.0, Dash::Dashed), (2.0, Dash::Dashed)] {
            let pen = Pen { colour: GREY, dash, width: 2 };
            axes.curve(root, [(x.low, value), (x.high, value)], pen)?;
        }
        for b in self.observed() {
            let levels = self.model_njy.map(|model| of(b, model[b]));
            model(root, &axes, self.wave_um[b], levels, SERIES[0])?;
            point(root, &axes, self.wave_um[b], of(b, self.flux_njy[b]), 1.0)?;
        }
        axes.left(root, &Marks::inward(5, SMALL))?;
        axes.lower(root, &Marks::inward(8, SMALL))?;
        outline(root, &area, INK)?;
        name(root, &area, Side::Left, "residual [\u{3c3}]", (LABEL, 155))?;
        name(root, &area, Side::Lower, "observed wavelength [\u{3bc}m]", (LABEL, 95))
    }

    /// Names above the chart, moved apart where bands are close.
    fn names(&self, root: &Root<'_>, axes: &Axes) -> Result<(), FigureError> {
        let mut order: Vec<usize> = (0..self.bands.len()).collect();
        order.sort_by(|&a, &b| self.wave_um[a].total_cmp(&self.wave_um[b]));
        order.retain(|&b| axes.at((self.wave_um[b], axes.y.low)).is_some());
        let place = |&b: &usize| axes.at((self.wave_um[b], axes.y.low)).map(|at| rounded(at).0);
        let own: Vec<i32> = order.iter().filter_map(place).collect();
        let (area, top) = (&axes.area, axes.area.top);
        let places = apart(&own, (area.left, area.right()));
        for ((&b, &from), &to) in order.iter().zip(&own).zip(&places) {
            line(root, &[(from, top), (from, top - 8), (to, top - 34)], GREY, 2)?;
            canvas::write_upwards(root, &self.bands[b], (to, top - 90), SMALL)?;
        }
        Ok(())
    }
}

/// The intervals and the median of a model, at their percentiles.
fn model(
    root: &Root<'_>,
    axes: &Axes,
    wave_um: f64,
    [low2, low, middle, high, high2]: [f64; 5],
    colour: RGBColor,
) -> Result<(), FigureError> {
    let at = |value: f64| axes.held((wave_um, value)).map(rounded);
    for (ends, alpha) in [([low2, high2], 0.18), ([low, high], 0.35)] {
        let [Some((x, low)), Some((_, high))] = ends.map(at) else { continue };
        let corners = [(x - HALF, low), (x + HALF, low), (x + HALF, high), (x - HALF, high)];
        fill(root, &corners, colour, alpha)?;
    }
    match axes.inside((wave_um, middle)).map(rounded) {
        Some((x, y)) => line(root, &[(x - HALF, y), (x + HALF, y)], colour, 3),
        None => Ok(()),
    }
}

/// A value and its error; an arrow at the edge where it lies beyond.
fn point(
    root: &Root<'_>,
    axes: &Axes,
    wave_um: f64,
    value: f64,
    err: f64,
) -> Result<(), FigureError> {
    axes.curve(root, [(wave_um, value - err), (wave_um, value + err)], Pen::solid(INK, 3))?;
    if let Some(place) = axes.inside((wave_um, value)) {
        return disc(root, rounded(place), POINT, INK);
    }
    let Some((x, y)) = axes.held((wave_um, value)).map(rounded) else { return Ok(()) };
    let back = if value > axes.y.high { 2 * POINT } else { -2 * POINT };
    fill(root, &[(x, y), (x - POINT, y + back), (x + POINT, y + back)], INK, 1.0)
}

/// Rising places at least [`APART`] from each other where there is room, near `own`.
fn apart(own: &[i32], (first, last): (i32, i32)) -> Vec<i32> {
    let gap = APART.min((last - first) / own.len().max(1) as i32);
    let mut places = own.to_vec();
    // Pushed to the right, then what leaves back to the left; the mean of that and of
    // its mirror image keeps the distances and the middle.
    for i in 1..places.len() {
        places[i] = places[i].max(places[i - 1] + gap);
    }
    let mut mirror = own.to_vec();
    for i in (1..mirror.len()).rev() {
        mirror[i - 1] = mirror[i - 1].min(mirror[i] - gap);
    }
    let mut places: Vec<i32> = places.iter().zip(&mirror).map(|(a, b)| (a + b) / 2).collect();
    let mut limit = last;
    for place in places.iter_mut().rev() {
        *place = (*place).min(limit);
        limit = *place - gap;
    }
    let mut limit = first;
    for place in &mut places {
        *place = (*place).max(limit);
        limit = *place + gap;
    }
    places
}

/// Draws a check.
///
/// # Errors
/// [`FigureError::Drawing`]; [`FigureError::Empty`] without an observed band.
pub fn draw(check: &Check<'_>) -> Result<Figure, FigureError> {
    if check.observed().next().is_none() {
        return Err(FigureError::Empty);
    }
    let height = TITLE + FLUXES + GAP + RESIDUALS + BELOW;
    let low = check.wave_um.iter().copied().fold(f64::INFINITY, f64::min);
    let high = check.wave_um.iter().copied().fold(0.0, f64::max);
    let x = Scale::log(low / 1.08, high * 1.08);
    Canvas::new((LEFT + WIDTH + RIGHT) as u32, height as u32).finish(|root| {
        write(root, check.title, (40, 50), &text_style(LARGE, INK, Anchor::Left))?;
        write(root, check.note, (40, 100), &text_style(SMALL, GREY, Anchor::Left))?;
        let area = Area { left: LEFT, top: TITLE, width: WIDTH, height: FLUXES };
        let axes = Axes { area, x, y: check.scale() };
        check.names(root, &axes)?;
        check.fluxes(root, &axes)?;
        let top = area.bottom() + GAP;
        check.residuals(root, Area { top, height: RESIDUALS, ..area }, x)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_distance_and_their_order() {
        let places = apart(&[100, 101, 102, 400, 1000], (0, 1000));
        assert!(places.windows(2).all(|p| p[1] - p[0] >= APART - 1), "{places:?}");
        assert_eq!((places[1], places[3], places[4]), (101, 400, 1000));
        let many = apart(&[500; 100], (0, 1000));
        assert!(many.windows(2).all(|p| p[1] > p[0]), "{many:?}");
    }

    #[test]
    fn bands_that_were_not_observed_are_drawn_and_negative_fluxes_too() {
        let bands: Vec<String> = ["f090w", "f200w", "f444w"].map(str::to_owned).to_vec();
        let model =
            [[1.0, 2.0, 3.0], [1.1, 2.1, 3.1], [1.2, 2.2, 3.2], [1.3, 2.3, 3.3], [1.4, 2.4, 3.4]];
        let check = Check {
            title: "Pixel",
            note: "p",
            bands: &bands,
            wave_um: &[0.9, 2.0, 4.4],
            flux_njy: &[-0.5, 2.0, 0.0],
            err_njy: &[1.0, 0.1, 0.0],
            model_njy: [&model[0], &model[1], &model[2], &model[3], &model[4]],
        };
        let figure = draw(&check).unwrap();
        assert_eq!(figure, draw(&check).unwrap());
        assert!(figure.svg.contains("f444w") && figure.svg.contains("residual"));
        // What no residual can show is still a point above, and an arrow below.
        let far = draw(&Check { flux_njy: &[-0.5, 90.0, 0.0], ..check.clone() }).unwrap();
        let count = |figure: &Figure, shape: &str| figure.svg.matches(shape).count();
        assert_eq!((count(&figure, "<circle"), count(&far, "<circle")), (4, 3));
        assert_eq!(count(&far, "<polygon"), count(&figure, "<polygon") + 1);
        let dark = Check { err_njy: &[0.0; 3], ..check };
        assert!(matches!(draw(&dark), Err(FigureError::Empty)));
    }
}
