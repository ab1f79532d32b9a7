//! Posterior predictive checks: observed fluxes over those of the draws.

use crate::FigureError;
use crate::axes::{COLOURS, Chart, GREY, Scale, dashed};
use crate::canvas::{
    self, Anchor, Area, Canvas, Figure, INK, Root, disc, line, outline, text_style, write,
};

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
/// Largest residual that is shown as it is.
const MOST_SIGMA: f64 = 50.0;
/// Half the width of a model's bar.
const HALF: i32 = 15;

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
            return Scale { low: low / 1.4, high: high * 1.4, log: true };
        }
        let room = 0.07 * (high - low).max(1e-6);
        Scale::linear(low - room, high + room)
    }

    fn fluxes(&self, root: &Root<'_>, chart: &Chart) -> Result<(), FigureError> {
        let [low2, low, middle, high, high2] = self.model_njy;
        for b in 0..self.bands.len() {
            let x = self.wave_um[b];
            let colour = if self.err_njy[b] > 0.0 { COLOURS[0] } else { GREY };
            chart.bar(root, (x, HALF), (low2[b], high2[b]), colour, 0.18)?;
            chart.bar(root, (x, HALF), (low[b], high[b]), colour, 0.35)?;
            let at = chart.at(x, middle[b]);
            line(root, &[(at.0 - HALF, at.1), (at.0 + HALF, at.1)], colour, 3)?;
        }
        for b in self.observed() {
            let (x, flux, err) = (self.wave_um[b], self.flux_njy[b], self.err_njy[b]);
            line(root, &[chart.at(x, flux - err), chart.at(x, flux + err)], INK, 3)?;
            disc(root, chart.at(x, flux), 7, INK)?;
        }
        chart.left(root, (7, SMALL), true, 0.0)?;
        chart.lower(root, (8, SMALL), false, 0.0)?;
        outline(root, &chart.area, INK)?;
        let centre = chart.area.top + chart.area.height / 2;
        canvas::write_upwards(root, "flux density [nJy]", (45, centre), LABEL)
    }

    /// Observed less median, in errors, over the model's intervals about its median.
    fn residuals(&self, root: &Root<'_>, area: Area, x: Scale) -> Result<(), FigureError> {
        let [low2, low, middle, high, high2] = self.model_njy;
        let of = |b: usize, flux: f64| (flux - middle[b]) / self.err_njy[b];
        let extent = |b: usize| {
            let ends = [of(b, low[b]).abs(), of(b, high[b]).abs()];
            ends.into_iter().fold(of(b, self.flux_njy[b]).abs() + 1.0, f64::max)
        };
        let most = 1.1 * self.observed().map(extent).fold(3.0, f64::max).min(MOST_SIGMA);
        let chart = Chart { area, x, y: Scale::linear(-most, most) };
        for (value, dash) in [(0.0, 0.0), (-2.0, 8.0), (2.0, 8.0)] {
            let ends = [chart.at(x.low, value), chart.at(x.high, value)];
            match dash > 0.0 {
                true => dashed(root, &ends, dash, GREY, 2)?,
                false => line(root, &ends, GREY, 2)?,
            }
        }
        for b in self.observed() {
            let wave = self.wave_um[b];
            for (low, high, alpha) in [(low2[b], high2[b], 0.18), (low[b], high[b], 0.35)] {
                chart.bar(root, (wave, HALF), (of(b, low), of(b, high)), COLOURS[0], alpha)?;
            }
            let residual = of(b, self.flux_njy[b]);
            line(root, &[chart.at(wave, residual - 1.0), chart.at(wave, residual + 1.0)], INK, 3)?;
            disc(root, chart.at(wave, residual), 7, INK)?;
        }
        chart.left(root, (5, SMALL), true, 0.0)?;
        chart.lower(root, (8, SMALL), true, 0.0)?;
        outline(root, &area, INK)?;
        canvas::write_upwards(root, "residual [\u{3c3}]", (45, area.top + area.height / 2), LABEL)?;
        let style = text_style(LABEL, INK, Anchor::Middle);
        let middle = area.left + area.width / 2;
        write(root, "observed wavelength [\u{3bc}m]", (middle, area.bottom() + 95), &style)
    }

    /// Names above the chart, moved apart where bands are close.
    fn names(&self, root: &Root<'_>, chart: &Chart) -> Result<(), FigureError> {
        let mut order: Vec<usize> = (0..self.bands.len()).collect();
        order.sort_by(|&a, &b| self.wave_um[a].total_cmp(&self.wave_um[b]));
        let own: Vec<i32> = order.iter().map(|&b| chart.x(self.wave_um[b])).collect();
        let places = apart(&own, (chart.area.left, chart.area.right()));
        for ((&b, &from), &to) in order.iter().zip(&own).zip(&places) {
            let top = chart.area.top;
            line(root, &[(from, top), (from, top - 8), (to, top - 34)], GREY, 2)?;
            canvas::write_upwards(root, &self.bands[b], (to, top - 90), SMALL)?;
        }
        Ok(())
    }
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
    let x = Scale { low: low / 1.08, high: high * 1.08, log: true };
    Canvas::new((LEFT + WIDTH + RIGHT) as u32, height as u32).finish(|root| {
        write(root, check.title, (40, 50), &text_style(LARGE, INK, Anchor::Left))?;
        write(root, check.note, (40, 100), &text_style(SMALL, GREY, Anchor::Left))?;
        let area = Area { left: LEFT, top: TITLE, width: WIDTH, height: FLUXES };
        let chart = Chart { area, x, y: check.scale() };
        check.names(root, &chart)?;
        check.fluxes(root, &chart)?;
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
        let dark = Check { err_njy: &[0.0; 3], ..check };
        assert!(matches!(draw(&dark), Err(FigureError::Empty)));
    }
}
