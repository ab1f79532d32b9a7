//! Pixels of a report: how far medians are from the truth of a mock, and how much
//! narrower than the prior posteriors are.
//!
//! Figures are of at most [`MOST`] pixels: every second, fourth, ... of the
//! fitted ones where there are more, so that memory is bounded.

use super::ReportError;
use super::galaxies::flag_rows;
use super::html::Page;
use crate::stages::{Science, truth};
use crate::tools::words::{label, short};
use arrow::array::{Array, Float32Array};
use arrow::datatypes::UInt32Type;
use outshine_catalogue::interval::Interval;
use outshine_figures::chart::{Axis, Bar, Chart, Charts, Dash, Layer, Name};
use outshine_figures::colours::{ColourMap, GUIDE, SERIES};
use outshine_kernels::random::{Purpose, Stream};
use outshine_kernels::{quantile, scalar};
use outshine_schemas::flags::NOT_FITTED;
use outshine_store::Table;
use std::collections::BTreeMap;

/// Pixels that figures are of, at most.
const MOST: usize = 200_000;
/// Edges of the bins of S/N of the residuals; pixels below the first are left out.
const SNR_EDGES: [f64; 4] = [1.0, 5.0, 10.0, f64::INFINITY];
/// Parameters whose residuals are shown, and the least range of each.
const RESIDUALS: [(&str, f64); 5] = [
    ("log_mass_stellar", 0.5),
    ("mass_weighted_age_gyr", 0.5),
    ("t50_lookback_gyr", 0.5),
    ("a_v", 0.5),
    ("log_sfr_100", 1.0),
];
/// Edges of the bins of redshift of the widths.
const REDSHIFT_EDGES: [f64; 6] = [0.0, 1.0, 2.0, 3.0, 5.0, f64::INFINITY];
/// Bins of S/N in a factor of ten, and pixels that one must have.
const PER_DECADE: f64 = 6.0;
const LEAST: usize = 10;
/// Draws of the prior in a bin of redshift.
const PRIOR_DRAWS: u64 = 2000;
/// Minor key of their streams; the calibration's are below.
const SERIES_OF_PRIOR: u64 = 16;

/// p16, p50, p84 and truth of a pixel; not a number where unknown.
type Values = [f32; 4];

/// Fitted pixels, all or an even part of them.
#[derive(Debug)]
pub struct PixelSample {
    names: &'static [&'static str],
    /// One in so many is kept.
    stride: u64,
    /// Fitted pixels so far.
    fitted: u64,
    redshift: Vec<f64>,
    mean_snr: Vec<f64>,
    /// `[parameters][pixels]`.
    values: Vec<Vec<Values>>,
    /// Pixels by their flags, fitted or not.
    flags: BTreeMap<u32, u64>,
}

/// Known redshifts of galaxies, from the table of galaxies of a field.
///
/// # Errors
/// A column that is not there.
pub fn redshifts_of(table: &Table) -> Result<BTreeMap<i64, f64>, ReportError> {
    let (id, redshift) = (table.int64("galaxy_id")?, table.float64("redshift")?);
    let known = (0..table.rows()).filter(|&row| redshift.is_valid(row));
    Ok(known.map(|row| (id.value(row), redshift.value(row))).collect())
}

fn at(column: &Float32Array, row: usize) -> f32 {
    if column.is_null(row) { f32::NAN } else { column.value(row) }
}

impl PixelSample {
    /// No pixels yet, of a campaign that reports these parameters.
    #[must_use]
    pub fn new(science: &Science) -> Self {
        Self::of(science.reported)
    }

    fn of(names: &'static [&'static str]) -> Self {
        Self {
            names,
            stride: 1,
            fitted: 0,
            redshift: Vec::new(),
            mean_snr: Vec::new(),
            values: vec![Vec::new(); names.len()],
            flags: BTreeMap::new(),
        }
    }

    /// Adds the rows of a table of summaries; `redshifts`: of galaxies.
    ///
    /// # Errors
    /// A column that is not there.
    pub fn add(
        &mut self,
        table: &Table,
        redshifts: &BTreeMap<i64, f64>,
    ) -> Result<(), ReportError> {
        let id = table.int64("galaxy_id")?;
        let snr = table.float32("mean_snr")?;
        let flags = table.values::<UInt32Type>("flags")?;
        let mut columns = Vec::new();
        for name in self.names {
            let of = |end: &str| table.float32(&format!("{name}_{end}"));
            let truth =
                if table.has_column(&format!("{name}_true")) { Some(of("true")?) } else { None };
            columns.push((of("p16")?, of("p50")?, of("p84")?, truth));
        }
        for row in 0..table.rows() {
            *self.flags.entry(flags[row]).or_default() += 1;
            if flags[row] & NOT_FITTED != 0 {
                continue;
            }
            self.fitted += 1;
            if !(self.fitted - 1).is_multiple_of(self.stride) {
                continue;
            }
            self.redshift.push(redshifts.get(&id.value(row)).copied().unwrap_or(f64::NAN));
            self.mean_snr.push(f64::from(at(&snr, row)));
            for (values, (p16, p50, p84, truth)) in self.values.iter_mut().zip(&columns) {
                let truth = truth.as_ref().map_or(f32::NAN, |truth| at(truth, row));
                values.push([at(p16, row), at(p50, row), at(p84, row), truth]);
            }
            if self.redshift.len() >= MOST {
                self.thin();
            }
        }
        Ok(())
    }

    /// Leaves every second one out.
    fn thin(&mut self) {
        fn halve<T>(values: &mut Vec<T>) {
            let mut i = 0;
            values.retain(|_| {
                i += 1;
                i % 2 == 1
            });
        }
        halve(&mut self.redshift);
        halve(&mut self.mean_snr);
        self.values.iter_mut().for_each(halve);
        self.stride *= 2;
    }

    /// Pixels that were fitted.
    #[must_use]
    pub fn fitted(&self) -> u64 {
        self.fitted
    }

    /// Columns of a table of summaries that are read.
    #[must_use]
    pub fn columns(science: &Science, has_truth: bool) -> Vec<String> {
        let mut all: Vec<String> = ["galaxy_id", "mean_snr", "flags"].map(str::to_owned).to_vec();
        let ends: &[&str] =
            if has_truth { &["p16", "p50", "p84", "true"] } else { &["p16", "p50", "p84"] };
        for name in science.reported {
            all.extend(ends.iter().map(|end| format!("{name}_{end}")));
        }
        all
    }

    /// Flags of pixels.
    pub fn write_flags(&self, page: &mut Page) {
        if self.flags.is_empty() {
            return;
        }
        page.part("Flags of pixels");
        page.table(
            &flag_rows(&self.flags),
            "Member pixels with a flag, fitted or not. One may have several.",
        );
    }

    /// Says which pixels a figure is of: those `which`, or an even part of them.
    fn shown(&self, which: &str) -> String {
        let part = match self.stride {
            1 => "all".to_owned(),
            n => format!("one in {n} of"),
        };
        format!("Of {} fitted pixels, {part} those {which}.", self.fitted)
    }

    /// Residuals against the truth of a mock; nothing where there is none.
    ///
    /// # Errors
    /// [`ReportError::Figure`].
    pub fn write_residuals(&self, page: &mut Page) -> Result<(), ReportError> {
        let mut begun = false;
        for (name, span) in RESIDUALS {
            let Some(place) = self.names.iter().position(|n| *n == name) else { continue };
            let charts = self.residuals(name, &self.values[place], span);
            if charts.charts.is_empty() {
                continue;
            }
            if !begun {
                page.part("Pixels of the mock against their truth");
                begun = true;
            }
            let caption = format!(
                "Median of the posterior minus truth, in bins of mean S/N; colours: \u{3c3} of the posterior, \
                 its mean where pixels crowd. Dashed and dotted: one and two mean \u{3c3}. \
                 Axes hold the central 98 % of the pixels. {}",
                self.shown(&format!("of mean S/N {} or more", SNR_EDGES[0]))
            );
            page.figure(&charts.svg()?, &caption);
        }
        Ok(())
    }

    fn residuals(&self, name: &str, values: &[Values], span: f64) -> Charts {
        let residual = |v: &Values| f64::from(v[1] - v[3]);
        let sigma = |v: &Values| 0.5 * f64::from(v[2] - v[0]);
        let is_shown =
            |&i: &usize| residual(&values[i]).is_finite() && self.mean_snr[i] >= SNR_EDGES[0];
        let known: Vec<usize> = (0..values.len()).filter(is_shown).collect();
        let all = |of: &dyn Fn(&Values) -> f64| {
            known.iter().map(|&i| of(&values[i])).collect::<Vec<f64>>()
        };
        let truth = |v: &Values| f64::from(v[3]);
        let x = Axis::nearly(&format!("true {}", label(name)), &all(&truth), span);
        let y = Axis::about_zero("median \u{2212} truth", &all(&residual), span);
        // With room above for the note.
        let y = Axis::new(&y.label, y.scale.low, 1.3 * y.scale.high);
        let axis = Axis::nearly(&format!("\u{3c3}({})", short(name)), &all(&sigma), 0.1);
        let bar = Bar { axis, colours: ColourMap::Viridis };
        let mut charts = Charts::new(3, 0.8, Some(bar));
        for bin in SNR_EDGES.windows(2) {
            let inside = |i: &&usize| self.mean_snr[**i] >= bin[0] && self.mean_snr[**i] < bin[1];
            let rows: Vec<usize> = known.iter().filter(inside).copied().collect();
            if rows.is_empty() {
                continue;
            }
            let of = |f: &dyn Fn(&Values) -> f64| {
                rows.iter().map(|&i| f(&values[i])).collect::<Vec<f64>>()
            };
            let n = rows.len() as f64;
            let mean = of(&sigma).iter().sum::<f64>() / n;
            let offset = of(&residual).iter().sum::<f64>() / n;
            let mut layers =
                vec![Layer::Points { x: of(&truth), y: of(&residual), value: of(&sigma) }];
            for (times, dash) in [(0.0, Dash::Solid), (1.0, Dash::Dashed), (2.0, Dash::Dotted)] {
                for sign in if times == 0.0 { &[1.0][..] } else { &[1.0, -1.0] } {
                    let y = sign * times * mean;
                    let points = vec![(x.scale.low, y), (x.scale.high, y)];
                    layers.push(Layer::Curve { points, colour: GUIDE, dash, marked: false });
                }
            }
            let title = match bin[1].is_finite() {
                true => format!("S/N {}\u{2013}{}", bin[0], bin[1]),
                false => format!("S/N over {}", bin[0]),
            };
            charts.charts.push(Chart {
                title,
                notes: vec![
                    format!("n = {}, mean {offset:.3}", rows.len()).replace('-', "\u{2212}"),
                ],
                x: x.clone(),
                y: y.clone(),
                layers,
            });
        }
        charts
    }

    /// Widths of posteriors over those of the prior, against S/N and redshift.
    ///
    /// # Errors
    /// [`ReportError::Figure`], or a prior that cannot be drawn from.
    pub fn write_widths(&self, page: &mut Page, science: &Science) -> Result<(), ReportError> {
        let known = |i: &usize| self.mean_snr[*i] > 0.0 && self.mean_snr[*i].is_finite();
        let snr: Vec<f64> =
            (0..self.mean_snr.len()).filter(known).map(|i| self.mean_snr[i]).collect();
        let Some((low, high)) = ends(&snr) else {
            page.note("No pixel was fitted.");
            return Ok(());
        };
        let (low, high) = (0.95 * low, 1.05 * high);
        let mut charts = Charts::new(4, 0.75, None);
        let mut curves: Vec<Vec<Layer>> = vec![Vec::new(); self.names.len()];
        for (bin, edge) in REDSHIFT_EDGES.windows(2).enumerate() {
            let inside = |i: &usize| self.redshift[*i] >= edge[0] && self.redshift[*i] < edge[1];
            let rows: Vec<usize> = (0..self.redshift.len()).filter(inside).filter(known).collect();
            if rows.len() < LEAST {
                continue;
            }
            let prior = prior_widths(science, (edge[0], edge[1]), bin as u64)?;
            let (colour, dash) = (SERIES[bin], Dash::ALL[bin % 3]);
            let name = match edge[1].is_finite() {
                true => format!("z = {}\u{2013}{}", edge[0], edge[1]),
                false => format!("z > {}", edge[0]),
            };
            charts.key.push(Name { name, colour, dash });
            for (place, curves) in curves.iter_mut().enumerate() {
                let points = self.median_widths(&rows, place, prior[place], low);
                curves.push(Layer::Curve { points, colour, dash, marked: true });
            }
        }
        for (name, layers) in self.names.iter().zip(curves) {
            let most = layers.iter().flat_map(|layer| match layer {
                Layer::Curve { points, .. } => points.clone(),
                _ => Vec::new(),
            });
            let most = most.map(|p| p.1).filter(|w| w.is_finite()).fold(0.0, f64::max);
            charts.charts.push(Chart {
                title: short(name).to_owned(),
                notes: Vec::new(),
                x: Axis::log("mean S/N", low, high),
                y: Axis::new("\u{3c3} over that of prior", 0.0, 1.1 * most.max(0.1)),
                layers,
            });
        }
        let caption = format!(
            "Half of p84 \u{2212} p16 of the posteriors of pixels over that of the prior at the same redshifts: \
             medians in bins of mean S/N. Near 1 the data say nothing that the prior does \
             not; above 1 where a redshift that is fitted along widens the posterior. {} Bins of \
             fewer than {LEAST} are left out.",
            self.shown("of S/N above 0 in galaxies of known redshift")
        );
        page.figure(&charts.svg()?, &caption);
        Ok(())
    }

    /// Medians of a parameter's widths in bins of S/N, over the prior's.
    fn median_widths(&self, rows: &[usize], place: usize, prior: f64, low: f64) -> Vec<(f64, f64)> {
        let mut bins: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
        for &i in rows {
            let [p16, _, p84, _] = self.values[place][i];
            let width = 0.5 * f64::from(p84 - p16) / prior;
            let bin = (PER_DECADE * scalar::log10(self.mean_snr[i] / low)).floor() as i64;
            if width.is_finite() {
                bins.entry(bin).or_default().push(width);
            }
        }
        let middle = |bin: i64| low * scalar::exp10((bin as f64 + 0.5) / PER_DECADE);
        let median = |(bin, mut widths): (i64, Vec<f64>)| {
            quantile::sort(&mut widths);
            (middle(bin), quantile::of_sorted(&widths, 0.5))
        };
        bins.into_iter().filter(|(_, widths)| widths.len() >= LEAST).map(median).collect()
    }
}

fn ends(values: &[f64]) -> Option<(f64, f64)> {
    let fold = |ends: Option<(f64, f64)>, &v: &f64| {
        Some(ends.map_or((v, v), |(low, high)| (low.min(v), high.max(v))))
    };
    values.iter().fold(None, fold)
}

/// Half-widths of the prior in each reported parameter, at redshifts of a bin.
fn prior_widths(science: &Science, bin: (f64, f64), number: u64) -> Result<Vec<f64>, ReportError> {
    let (low, high) = science.prior.redshift_range();
    let (low, high) = (low.max(bin.0).min(high), high.min(bin.1).max(low));
    let mut columns = vec![Vec::new(); science.reported.len()];
    for i in 0..PRIOR_DRAWS {
        let mut stream = Stream::new(0, Purpose::Calibration, i, SERIES_OF_PRIOR + number);
        let redshift = stream.uniform_in(low, high);
        let parameters = science.prior.draw_at(redshift, &mut stream);
        let mut free = vec![0.0; science.free.len()];
        let spread = stream.uniform();
        science
            .prior
            .to_free(&parameters, spread, &mut free)
            .map_err(crate::stages::StageError::from)?;
        let derived = science.forward.derive(&parameters);
        let drawn = truth(science, &free, &parameters, &derived);
        for (column, value) in columns.iter_mut().zip(drawn) {
            column.extend(Some(value).filter(|v| v.is_finite()));
        }
    }
    let width = |mut draws: Vec<f64>| {
        if draws.is_empty() {
            return f64::NAN;
        }
        let interval = Interval::of(&mut draws);
        0.5 * (interval.p84 - interval.p16)
    };
    Ok(columns.into_iter().map(width).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array, RecordBatch, UInt32Array};
    use outshine_store::parquet;
    use std::sync::Arc;

    const NAMES: &[&str] = &["a_v"];

    fn table(rows: std::ops::Range<u32>) -> Table {
        let n = rows.len();
        let float = |of: &dyn Fn(u32) -> f32| -> ArrayRef {
            Arc::new(Float32Array::from_iter_values(rows.clone().map(of)))
        };
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("galaxy_id", Arc::new(Int64Array::from(vec![7; n]))),
            ("mean_snr", float(&|i| i as f32)),
            ("flags", Arc::new(UInt32Array::from_iter_values(rows.clone().map(|i| 2 * (i % 2))))),
            ("a_v_p16", float(&|_| 0.0)),
            ("a_v_p50", float(&|i| i as f32)),
            ("a_v_p84", float(&|_| 2.0)),
            ("a_v_true", float(&|i| i as f32)),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let bytes = parquet::encode(&batch.schema(), &[batch], &[], 1000).unwrap();
        parquet::decode("t", bytes, None).unwrap()
    }

    /// However the rows come, the same even part of them is kept.
    #[test]
    fn many_pixels_are_thinned_evenly() {
        let redshifts = BTreeMap::from([(7, 1.5)]);
        let whole = 5 * MOST as u32;
        let mut at_once = PixelSample::of(NAMES);
        at_once.add(&table(0..whole), &redshifts).unwrap();
        let mut in_parts = PixelSample::of(NAMES);
        for start in (0..whole).step_by(123_456) {
            in_parts.add(&table(start..(start + 123_456).min(whole)), &redshifts).unwrap();
        }
        for sample in [&at_once, &in_parts] {
            assert_eq!(sample.fitted, u64::from(whole) / 2);
            assert!(sample.redshift.len() < MOST && sample.redshift.len() > MOST / 4);
            // Every second row is fitted, of these one in `stride` is kept.
            let expected = |k: usize| (2 * sample.stride as usize * k) as f64;
            assert!(sample.mean_snr.iter().enumerate().all(|(k, snr)| *snr == expected(k)));
            assert_eq!(
                sample.flags,
                BTreeMap::from([(0, u64::from(whole) / 2), (2, u64::from(whole) / 2)])
            );
        }
        assert_eq!(at_once.mean_snr, in_parts.mean_snr);
    }

    /// Of half-widths 1, 2, ... n against a prior of 2, by hand.
    #[test]
    fn widths_are_medians_over_the_prior() {
        let mut sample = PixelSample::of(NAMES);
        for i in 0..11 {
            sample.redshift.push(1.0);
            sample.mean_snr.push(10.0);
            sample.values[0].push([0.0, 1.0, 2.0 * (i as f32 + 1.0), f32::NAN]);
        }
        let rows: Vec<usize> = (0..11).collect();
        let points = sample.median_widths(&rows, 0, 2.0, 1.0);
        assert_eq!(points.len(), 1);
        assert!((points[0].1 - 3.0).abs() < 1e-12, "{points:?}");
        assert!(sample.median_widths(&rows[..5], 0, 2.0, 1.0).is_empty(), "too few");
    }
}
