//! Galaxies of a report: resolved against integrated masses, and how much of
//! each galaxy is fitted.

use super::ReportError;
use super::html::{Page, Rows, number};
use arrow::array::Array;
use arrow::datatypes::UInt32Type;
use outshine_catalogue::agreement::{self, Masses, Row};
use outshine_catalogue::interval::Interval;
use outshine_catalogue::threshold::crossing;
use outshine_figures::chart::{Axis, Bar, Chart, Charts, Dash, FULL_WIDTH, GUIDE, Layer, SERIES};
use outshine_figures::colours::ColourMap;
use outshine_schemas::flags;
use outshine_store::Table;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A redshift bar is at least this long, a mass axis this wide.
const LEAST_REDSHIFTS: f64 = 0.5;
const LEAST_DEX: f64 = 1.0;
/// Offsets of at least so many dex are shown, and at most.
const OFFSETS: (f64, f64) = (0.6, 2.0);
/// Bins of redshift in which thresholds are looked for: at most, and galaxies in one.
const THRESHOLD_BINS: usize = 8;
const THRESHOLD_GALAXIES: usize = 30;
/// Galaxies that are named in a text, at most.
const NAMED: usize = 20;

/// What the catalogue says of all galaxies, in its order.
#[derive(Clone, Debug, Default)]
pub struct Galaxies {
    /// Masses.
    pub masses: Vec<Masses>,
    /// Share of the member pixels above the limit of S/N.
    pub fraction_above_snr: Vec<f64>,
    /// Flag bits.
    pub flags: Vec<u32>,
}

/// Table of agreements, for the page and for a terminal.
#[must_use]
pub fn agreement_rows(rows: &[Row]) -> Rows {
    let mut table = Rows::new(
        &[
            "masses",
            "galaxies",
            "n",
            "median offset",
            "mean offset",
            "scatter",
            "68 % half-width",
            "over 1 dex",
            "median \u{3c3} of first",
            "of second",
        ],
        2,
    );
    for Row { comparison, population, agreement: a } in rows {
        let sigma_second = if a.sigma_second > 0.0 { a.sigma_second } else { f64::NAN };
        let outliers = if a.count > 0 { a.outliers.to_string() } else { number(f64::NAN, 0) };
        table.add(vec![
            comparison.replace('-', "\u{2212}"),
            population.name().replace(">=", "\u{2265}"),
            a.count.to_string(),
            number(a.median_offset, 3),
            number(a.mean_offset, 3),
            number(a.scatter, 3),
            number(a.half_width, 3),
            outliers,
            number(a.sigma_first, 3),
            number(sigma_second, 3),
        ]);
    }
    table
}

/// The same for programs.
#[must_use]
pub fn agreement_json(rows: &[Row]) -> Value {
    let some = |value: f64| value.is_finite().then_some(value);
    let one = |row: &Row| {
        let a = &row.agreement;
        json!({
            "comparison": row.comparison, "population": row.population.name(), "count": a.count,
            "median_offset_dex": some(a.median_offset), "mean_offset_dex": some(a.mean_offset),
            "scatter_dex": some(a.scatter), "half_width_68_dex": some(a.half_width),
            "outliers_over_1_dex": a.outliers, "median_sigma_first_dex": some(a.sigma_first),
            "median_sigma_second_dex": some(a.sigma_second),
        })
    };
    Value::Array(rows.iter().map(one).collect())
}

const TABLE_CAPTION: &str = "log10 of surviving masses, in dex. Offset: first median minus second; \
    scatter: standard deviation of the offsets, and half of the range of their central 68 %; \
    \u{3c3}: half of p84 \u{2212} p16 of a posterior. Low masses by the true mass where it is known, \
    by the integrated one otherwise.";

impl Galaxies {
    /// From the table of a catalogue.
    ///
    /// # Errors
    /// A column that is not there.
    pub fn read(table: &Table) -> Result<Self, ReportError> {
        let id = table.int64("galaxy_id")?;
        let f = |name: &str| table.float64(name);
        let (known, fitted) = (f("redshift")?, f("redshift_p50")?);
        let truth = f("log_mass_stellar_true")?;
        let columns = |which: &str| {
            let of = |p: &str| f(&format!("log_mass_stellar_{which}_{p}"));
            Ok::<_, ReportError>([of("p16")?, of("p50")?, of("p84")?])
        };
        let (resolved, integrated) = (columns("resolved")?, columns("integrated")?);
        let at = |column: &arrow::array::Float64Array, row: usize| {
            (!column.is_null(row)).then(|| column.value(row))
        };
        let interval = |columns: &[arrow::array::Float64Array; 3], row: usize| {
            let [p16, p50, p84] = columns.each_ref().map(|c| at(c, row));
            Some(Interval { p16: p16?, p50: p50?, p84: p84? })
        };
        let above = f("fraction_above_snr")?;
        let masses = |row: usize| Masses {
            galaxy_id: id.value(row),
            redshift: at(&known, row).or(at(&fitted, row)),
            resolved: interval(&resolved, row),
            integrated: interval(&integrated, row),
            truth: at(&truth, row),
        };
        Ok(Self {
            masses: (0..table.rows()).map(masses).collect(),
            fraction_above_snr: (0..table.rows())
                .map(|row| at(&above, row).unwrap_or(f64::NAN))
                .collect(),
            flags: table.values::<UInt32Type>("flags")?,
        })
    }

    /// Ids of galaxies with a flag.
    #[must_use]
    pub fn flagged(&self, bit: u32) -> Vec<i64> {
        let with = self.masses.iter().zip(&self.flags).filter(|(_, flags)| *flags & bit != 0);
        with.map(|(galaxy, _)| galaxy.galaxy_id).collect()
    }

    /// Ids of the galaxies of highest mass.
    #[must_use]
    pub fn most_massive(&self, count: usize) -> Vec<i64> {
        let mass = |g: &Masses| g.resolved.or(g.integrated).map_or(f64::NEG_INFINITY, |m| m.p50);
        let mut all: Vec<&Masses> = self.masses.iter().filter(|g| g.resolved.is_some()).collect();
        all.sort_by(|a, b| mass(b).total_cmp(&mass(a)).then(a.galaxy_id.cmp(&b.galaxy_id)));
        all.iter().take(count).map(|g| g.galaxy_id).collect()
    }

    /// Flags of galaxies, and which galaxies have no mass.
    pub fn write_flags(&self, page: &mut Page) {
        page.part("Flags of galaxies");
        let mut counts = BTreeMap::new();
        for flags in &self.flags {
            *counts.entry(*flags).or_default() += 1;
        }
        page.table(&flag_rows(&counts), "Galaxies with a flag. One may have several.");
        let bare: Vec<i64> =
            self.masses.iter().filter(|g| g.resolved.is_none()).map(|g| g.galaxy_id).collect();
        if !bare.is_empty() {
            page.warn(&format!("Without a resolved mass: {}.", list(&bare)));
        }
    }

    /// Resolved against integrated masses, and both against the truth.
    ///
    /// # Errors
    /// [`ReportError::Figure`].
    pub fn write_masses(&self, page: &mut Page) -> Result<Vec<Row>, ReportError> {
        let table = agreement::within(&self.masses);
        page.table(&agreement_rows(&table), TABLE_CAPTION);
        let (resolved, integrated) = (self.p50(|g| g.resolved), self.p50(|g| g.integrated));
        if !resolved.iter().zip(&integrated).any(|(r, i)| (r + i).is_finite()) {
            page.note("No galaxy has both masses.");
            return Ok(table);
        }
        let names = [
            "integrated log_{10} M_{\u{2605}} [M_{\u{2299}}]",
            "resolved log_{10} M_{\u{2605}} [M_{\u{2299}}]",
        ];
        let offset = "resolved \u{2212} integrated [dex]";
        let mut charts = self.pair(&[&integrated, &resolved], names, offset);
        let truth: Vec<f64> = self.masses.iter().map(|g| g.truth.unwrap_or(f64::NAN)).collect();
        let is_mock = truth.iter().any(|t| t.is_finite());
        if is_mock {
            charts.charts.truncate(1);
            let label = "true log_{10} M_{\u{2605}} [M_{\u{2299}}]";
            for (mass, name) in [
                (&resolved, "resolved \u{2212} true [dex]"),
                (&integrated, "integrated \u{2212} true [dex]"),
            ] {
                charts.charts.push(self.offsets(&truth, mass, label, name));
            }
            charts = Charts { charts: charts.charts, ..Charts::new(3, 0.9, charts.bar) };
        }
        let caption = "Surviving masses of galaxies; true ones of mocks are those in the fitted pixels. Solid: equal; dashed and dotted: 0.5 and 1 dex apart.";
        page.figure(&charts.svg()?, caption);
        Ok(table)
    }

    /// One mass against another, and their offset.
    fn pair(&self, masses: &[&[f64]; 2], names: [&str; 2], offset: &str) -> Charts {
        let [x, y] = masses;
        let mut charts = Charts::new(2, 0.75, Some(self.redshift_bar()));
        let both = || x.iter().chain(y.iter()).copied();
        let axis = |name: &str| Axis::around(name, both(), LEAST_DEX);
        let (low, high) = (axis("").low, axis("").high);
        let guide = |by: f64, dash: Dash| Layer::Curve {
            points: vec![(low, low + by), (high, high + by)],
            colour: GUIDE,
            dash,
            marked: false,
        };
        let mut layers = vec![self.points(x, y)];
        layers.extend(guides(guide));
        charts.charts.push(Chart {
            title: String::new(),
            notes: Vec::new(),
            x: axis(names[0]),
            y: axis(names[1]),
            layers,
        });
        charts.charts.push(self.offsets(x, y, names[0], offset));
        charts
    }

    /// The offset of `mass` from `from`.
    fn offsets(&self, from: &[f64], mass: &[f64], label: &str, offset: &str) -> Chart {
        let offsets: Vec<f64> = mass.iter().zip(from).map(|(m, f)| m - f).collect();
        let x = Axis::around(
            label,
            from.iter().zip(&offsets).filter(|(_, o)| o.is_finite()).map(|(f, _)| *f),
            LEAST_DEX,
        );
        let finite = offsets.iter().filter(|o| o.is_finite());
        let most = finite.fold(OFFSETS.0, |most, o| most.max(1.1 * o.abs())).min(OFFSETS.1);
        let beyond = offsets.iter().filter(|o| o.abs() > most).count();
        let (low, high) = (x.low, x.high);
        let guide = |by: f64, dash: Dash| Layer::Curve {
            points: vec![(low, by), (high, by)],
            colour: GUIDE,
            dash,
            marked: false,
        };
        let mut layers = vec![self.points(from, &offsets)];
        layers.extend(guides(guide));
        let notes = if beyond > 0 { vec![format!("{beyond} beyond")] } else { Vec::new() };
        Chart { title: String::new(), notes, x, y: Axis::new(offset, -most, most), layers }
    }

    fn points(&self, x: &[f64], y: &[f64]) -> Layer {
        Layer::Points { x: x.to_vec(), y: y.to_vec(), value: self.redshifts() }
    }

    fn redshifts(&self) -> Vec<f64> {
        self.masses.iter().map(|g| g.redshift.unwrap_or(f64::NAN)).collect()
    }

    fn redshift_bar(&self) -> Bar {
        let shown = self.masses.iter().filter(|g| g.resolved.is_some());
        let redshifts: Vec<f64> = shown.filter_map(|g| g.redshift).collect();
        let axis = Axis::nearly("redshift", &redshifts, LEAST_REDSHIFTS);
        Bar { label: axis.label, low: axis.low, high: axis.high, colours: ColourMap::Plasma }
    }

    fn p50(&self, of: fn(&Masses) -> Option<Interval>) -> Vec<f64> {
        self.masses.iter().map(|g| of(g).map_or(f64::NAN, |i| i.p50)).collect()
    }

    /// How much of the galaxies is fitted, over mass and redshift.
    ///
    /// # Errors
    /// [`ReportError::Figure`].
    pub fn write_fractions(&self, page: &mut Page) -> Result<(), ReportError> {
        let (redshift, mass) = (self.redshifts(), self.p50(|g| g.integrated));
        if !redshift.iter().zip(&mass).any(|(z, m)| (z + m).is_finite()) {
            page.note("No galaxy has both an integrated mass and a redshift.");
            return Ok(());
        }
        let label = "pixels above the S/N limit".to_owned();
        let bar = Bar { label, low: 0.0, high: 1.0, colours: ColourMap::Viridis };
        let mut charts = Charts::new(1, 0.5, Some(bar));
        charts.width = FULL_WIDTH / 2;
        charts.height = charts.width * 7 / 10;
        let shown = || redshift.iter().zip(&mass).filter(|(z, m)| (*z + *m).is_finite());
        let value = self.fraction_above_snr.clone();
        let mut layers = vec![Layer::Points { x: redshift.clone(), y: mass.clone(), value }];
        for (level, dash) in [(0.2, Dash::Dashed), (0.8, Dash::Dotted)] {
            let points = self.thresholds(level);
            layers.push(Layer::Curve { points, colour: SERIES[1], dash, marked: true });
        }
        charts.charts.push(Chart {
            title: String::new(),
            notes: Vec::new(),
            x: Axis::around("redshift", shown().map(|p| *p.0), LEAST_REDSHIFTS),
            y: Axis::around(
                "integrated log_{10} M_{\u{2605}} [M_{\u{2299}}]",
                shown().map(|p| *p.1),
                LEAST_DEX,
            ),
            layers,
        });
        let caption = "Galaxies over integrated mass and redshift, coloured by the fraction of their member \
            pixels whose mean S/N is above the limit of the campaign. Lines: the mass from which on that fraction \
            is 0.2 (dashed) and 0.8 (dotted) on average, in bins of redshift that reach it.";
        page.figure(&charts.svg()?, caption);
        Ok(())
    }

    /// Median redshift and the mass from which on the fraction of pixels above the
    /// limit of S/N is `level` on average, in bins of equal numbers of galaxies.
    fn thresholds(&self, level: f64) -> Vec<(f64, f64)> {
        let (redshift, mass) = (self.redshifts(), self.p50(|g| g.integrated));
        let mut order: Vec<usize> = (0..redshift.len()).collect();
        order.retain(|&i| (redshift[i] + mass[i] + self.fraction_above_snr[i]).is_finite());
        order.sort_by(|&a, &b| redshift[a].total_cmp(&redshift[b]).then(a.cmp(&b)));
        let bins = (order.len() / THRESHOLD_GALAXIES).clamp(1, THRESHOLD_BINS);
        let line = (0..bins).filter_map(|bin| {
            let own = &order[bin * order.len() / bins..(bin + 1) * order.len() / bins];
            let of = |values: &[f64]| own.iter().map(|&i| values[i]).collect::<Vec<f64>>();
            let middle = redshift[*own.get(own.len() / 2)?];
            Some((middle, crossing(&of(&mass), &of(&self.fraction_above_snr), level)?))
        });
        line.collect()
    }

    /// Masses of the same galaxies by another campaign.
    ///
    /// # Errors
    /// [`ReportError::Other`] where it has none of these galaxies, or mocks of
    /// other masses.
    pub fn write_other(
        &self,
        other: &Self,
        names: [&str; 2],
        page: &mut Page,
    ) -> Result<Vec<Row>, ReportError> {
        let shared = agreement::shared(&self.masses, &other.masses);
        if shared.is_empty() {
            let problem = format!("--other: {} has none of the galaxies of {}", names[1], names[0]);
            return Err(ReportError::Other(problem));
        }
        for (this, that) in &shared {
            if let (Some(a), Some(b)) = (this.truth, that.truth)
                && (a - b).abs() > 0.3
            {
                return Err(ReportError::Other(format!(
                    "--other: galaxy {} has a true mass of 10^{a:.2} Msun in {} and of 10^{b:.2} in {}: \
                     the two mocks are not of the same galaxies",
                    this.galaxy_id, names[0], names[1]
                )));
            }
        }
        let table = agreement::between(&shared);
        page.say(&format!(
            "{} of {} galaxies are in both: this campaign is {}, the other {}.",
            shared.len(),
            self.masses.len(),
            names[0],
            names[1]
        ));
        page.table(&agreement_rows(&table), TABLE_CAPTION);
        let these = Self { masses: shared.iter().map(|p| *p.0).collect(), ..Self::default() };
        let those = Self { masses: shared.iter().map(|p| *p.1).collect(), ..Self::default() };
        let mut all: Option<Charts> = None;
        for (what, of) in [
            ("resolved", (|g: &Masses| g.resolved) as fn(&Masses) -> Option<Interval>),
            ("integrated", |g: &Masses| g.integrated),
        ] {
            let axes = ["this", "other"]
                .map(|c| format!("{what} log_{{10}} M_{{\u{2605}}}, {c} [M_{{\u{2299}}}]"));
            let (x, y) = (those.p50(of), these.p50(of));
            let charts = these.pair(&[&x, &y], [&axes[1], &axes[0]], "this \u{2212} other [dex]");
            match &mut all {
                None => all = Some(charts),
                Some(all) => all.charts.extend(charts.charts),
            }
        }
        if let Some(charts) = all {
            let caption = "Masses of the same galaxies by the two campaigns. Solid: equal; dashed and \
                dotted: 0.5 and 1 dex apart.";
            page.figure(&charts.svg()?, caption);
        }
        Ok(table)
    }
}

/// Lines of equality, and 0.5 and 1 dex from it.
fn guides(guide: impl Fn(f64, Dash) -> Layer) -> Vec<Layer> {
    let by = [(0.0, Dash::Solid), (0.5, Dash::Dashed), (1.0, Dash::Dotted)];
    let ends = by.iter().flat_map(|&(by, dash)| {
        if by == 0.0 { vec![(by, dash)] } else { vec![(by, dash), (-by, dash)] }
    });
    ends.map(|(by, dash)| guide(by, dash)).collect()
}

/// Flags by name; `all`: how many objects have which sum of bits.
pub(super) fn flag_rows(all: &BTreeMap<u32, u64>) -> Rows {
    let mut rows = Rows::new(&["flag", "meaning", "n", "of all"], 2);
    let total: u64 = all.values().sum();
    let share = |n: u64| format!("{} %", number(100.0 * n as f64 / total as f64, 1));
    for (bit, name, meaning) in flags::ALL {
        let n: u64 = all.iter().filter(|(flags, _)| *flags & bit != 0).map(|(_, n)| n).sum();
        if n > 0 {
            rows.add(vec![name.to_owned(), meaning.to_owned(), n.to_string(), share(n)]);
        }
    }
    let none = all.get(&0).copied().unwrap_or_default();
    rows.add(vec!["none".to_owned(), "all is well".to_owned(), none.to_string(), share(none)]);
    rows
}

/// Galaxies by id, the first of them.
#[must_use]
pub fn list(ids: &[i64]) -> String {
    let names: Vec<String> = ids.iter().take(NAMED).map(i64::to_string).collect();
    let more = ids.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let word = if ids.len() == 1 { "galaxy" } else { "galaxies" };
    format!("{word} {}{more}", names.join(", "))
}
