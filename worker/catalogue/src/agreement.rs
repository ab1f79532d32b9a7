//! How two estimates of the same mass agree: resolved and integrated, either and
//! the truth of a mock, or those under two priors.
//!
//! An offset is the first median minus the second, in dex. Galaxies are taken
//! together, on either side of a redshift of 3, and below 1e8 Msun.

use crate::interval::Interval;
use outshine_kernels::quantile;
use std::collections::BTreeMap;

/// The redshift that parts near from far.
pub const SPLIT_REDSHIFT: f64 = 3.0;
/// log10 of the mass (Msun) below which a galaxy is of low mass.
pub const LOW_LOG_MASS: f64 = 8.0;
/// An offset beyond this many dex, either way, is an outlier.
pub const OUTLIER_DEX: f64 = 1.0;

/// The surviving masses of a galaxy, as log10 of Msun.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Masses {
    /// The galaxy.
    pub galaxy_id: i64,
    /// Known, or the median of the fitted one.
    pub redshift: Option<f64>,
    /// The sum over its pixels.
    pub resolved: Option<Interval>,
    /// The galaxy as one object.
    pub integrated: Option<Interval>,
    /// True mass in the fitted pixels.
    pub truth: Option<f64>,
}

impl Masses {
    /// The mass that decides whether the galaxy is of low mass: the true one, or
    /// the integrated one where that is not known.
    #[must_use]
    pub fn reference(&self) -> Option<f64> {
        self.truth.or(self.integrated.map(|mass| mass.p50))
    }
}

/// Two estimates of one mass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// The first.
    pub first: Interval,
    /// The second.
    pub second: Interval,
}

impl Pair {
    /// First median minus second, dex.
    #[must_use]
    pub fn offset(&self) -> f64 {
        self.first.p50 - self.second.p50
    }
}

/// What many pairs say, in dex; not a number where there are none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    /// Pairs.
    pub count: u64,
    /// Median of the offsets.
    pub median_offset: f64,
    /// Mean of the offsets.
    pub mean_offset: f64,
    /// Standard deviation of the offsets about their mean.
    pub scatter: f64,
    /// Half of the range of their central 68 %, which outliers do not widen.
    pub half_width: f64,
    /// Offsets beyond [`OUTLIER_DEX`].
    pub outliers: u64,
    /// Median of the first one's sigma, half of p84 - p16.
    pub sigma_first: f64,
    /// The same of the second; 0 for a truth.
    pub sigma_second: f64,
}

/// What `pairs` say; those with a value that is not finite are left out.
#[must_use]
pub fn agreement(pairs: &[Pair]) -> Agreement {
    let sigma = |i: &Interval| 0.5 * (i.p84 - i.p16);
    let finite = |p: &&Pair| {
        p.offset().is_finite() && sigma(&p.first).is_finite() && sigma(&p.second).is_finite()
    };
    let pairs: Vec<&Pair> = pairs.iter().filter(finite).collect();
    let n = pairs.len() as f64;
    let mut offsets: Vec<f64> = pairs.iter().map(|p| p.offset()).collect();
    let mean_offset = offsets.iter().sum::<f64>() / n;
    let squares: f64 = offsets.iter().map(|o| (o - mean_offset).powi(2)).sum();
    quantile::sort(&mut offsets);
    let at = |sorted: &[f64], p: f64| match sorted {
        [] => f64::NAN,
        _ => quantile::of_sorted(sorted, p),
    };
    let median = |mut values: Vec<f64>| {
        quantile::sort(&mut values);
        at(&values, 0.5)
    };
    Agreement {
        count: pairs.len() as u64,
        median_offset: at(&offsets, 0.5),
        mean_offset,
        scatter: (squares / n).sqrt(),
        half_width: 0.5 * (at(&offsets, 0.84) - at(&offsets, 0.16)),
        outliers: offsets.iter().filter(|o| o.abs() > OUTLIER_DEX).count() as u64,
        sigma_first: median(pairs.iter().map(|p| sigma(&p.first)).collect()),
        sigma_second: median(pairs.iter().map(|p| sigma(&p.second)).collect()),
    }
}

/// Which galaxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Population {
    /// All.
    All,
    /// Redshift below [`SPLIT_REDSHIFT`].
    Near,
    /// Redshift at or above it.
    Far,
    /// Mass below [`LOW_LOG_MASS`].
    LowMass,
}

impl Population {
    /// All of them, in the order of tables.
    pub const ALL: [Self; 4] = [Self::All, Self::Near, Self::Far, Self::LowMass];

    /// As tables have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Near => "z < 3",
            Self::Far => "z >= 3",
            Self::LowMass => "below 1e8 Msun",
        }
    }

    fn has(self, galaxy: &Masses) -> bool {
        match self {
            Self::All => true,
            Self::Near => galaxy.redshift.is_some_and(|z| z < SPLIT_REDSHIFT),
            Self::Far => galaxy.redshift.is_some_and(|z| z >= SPLIT_REDSHIFT),
            Self::LowMass => galaxy.reference().is_some_and(|mass| mass < LOW_LOG_MASS),
        }
    }
}

/// A row of a table of agreements.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// First minus second, such as `resolved - integrated`.
    pub comparison: &'static str,
    /// The galaxies.
    pub population: Population,
    /// What they say.
    pub agreement: Agreement,
}

fn exactly(truth: f64) -> Interval {
    Interval { p16: truth, p50: truth, p84: truth }
}

/// The pairs of a comparison, with the galaxies that they are of.
fn rows<'a>(
    comparison: &'static str,
    pairs: impl Iterator<Item = (&'a Masses, Option<Pair>)>,
) -> Vec<Row> {
    let pairs: Vec<(&Masses, Pair)> = pairs.filter_map(|(g, p)| Some((g, p?))).collect();
    let of = |population: Population| {
        let inside = pairs.iter().filter(|(galaxy, _)| population.has(galaxy));
        let inside: Vec<Pair> = inside.map(|(_, pair)| *pair).collect();
        Row { comparison, population, agreement: agreement(&inside) }
    };
    Population::ALL.into_iter().map(of).collect()
}

/// Resolved against integrated masses and, where a truth is known, both against
/// it: a row for each population.
#[must_use]
pub fn within(galaxies: &[Masses]) -> Vec<Row> {
    let pair = |first: Option<Interval>, second: Option<Interval>| {
        first.zip(second).map(|(first, second)| Pair { first, second })
    };
    let all = || galaxies.iter();
    let mut table =
        rows("resolved - integrated", all().map(|g| (g, pair(g.resolved, g.integrated))));
    if galaxies.iter().any(|g| g.truth.is_some()) {
        let truth = |g: &Masses| g.truth.map(exactly);
        table.extend(rows("resolved - true", all().map(|g| (g, pair(g.resolved, truth(g))))));
        table.extend(rows("integrated - true", all().map(|g| (g, pair(g.integrated, truth(g))))));
    }
    table
}

/// The galaxies of `these` that are among `others` too, by id.
#[must_use]
pub fn shared<'a>(these: &'a [Masses], others: &'a [Masses]) -> Vec<(&'a Masses, &'a Masses)> {
    let others: BTreeMap<i64, &Masses> = others.iter().map(|g| (g.galaxy_id, g)).collect();
    these.iter().filter_map(|g| Some((g, *others.get(&g.galaxy_id)?))).collect()
}

/// Masses of the same galaxies by two fits, the first minus the second; the
/// populations are those of the first.
#[must_use]
pub fn between(shared: &[(&Masses, &Masses)]) -> Vec<Row> {
    let pair = |of: fn(&Masses) -> Option<Interval>| {
        shared.iter().map(move |(this, other)| {
            let both = of(this).zip(of(other));
            (*this, both.map(|(first, second)| Pair { first, second }))
        })
    };
    let mut table = rows("resolved: this - other", pair(|g| g.resolved));
    table.extend(rows("integrated: this - other", pair(|g| g.integrated)));
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(p50: f64, sigma: f64) -> Interval {
        Interval { p16: p50 - sigma, p50, p84: p50 + sigma }
    }

    fn galaxy(galaxy_id: i64, redshift: f64, resolved: f64, integrated: f64) -> Masses {
        Masses {
            galaxy_id,
            redshift: Some(redshift),
            resolved: Some(interval(resolved, 0.05)),
            integrated: Some(interval(integrated, 0.2)),
            truth: None,
        }
    }

    fn of<'a>(rows: &'a [Row], comparison: &str, population: Population) -> &'a Agreement {
        let found = rows.iter().find(|r| r.comparison == comparison && r.population == population);
        &found.unwrap().agreement
    }

    /// Offsets 0.1, -0.3, 0.2, 1.4 and 0.6, by hand.
    #[test]
    fn figures_are_those_found_by_hand() {
        let mut galaxies = vec![
            galaxy(1, 0.5, 9.1, 9.0),
            galaxy(2, 1.5, 9.7, 10.0),
            galaxy(3, 2.9, 10.2, 10.0),
            galaxy(4, 3.0, 8.9, 7.5),
            galaxy(5, 5.0, 8.1, 7.5),
        ];
        galaxies.push(Masses { resolved: None, ..galaxy(6, 4.0, 0.0, 9.0) });
        galaxies.push(Masses { redshift: None, ..galaxy(7, 0.0, f64::NAN, 9.0) });
        let table = within(&galaxies);
        assert_eq!(table.len(), 4, "no truth, nothing to compare with it");
        let all = of(&table, "resolved - integrated", Population::All);
        assert_eq!((all.count, all.outliers), (5, 1));
        let close = |a: f64, b: f64| (a - b).abs() < 1e-12;
        assert!(close(all.median_offset, 0.2) && close(all.mean_offset, 0.4), "{all:?}");
        // Squares about 0.4: 0.09 + 0.49 + 0.04 + 1.00 + 0.04 = 1.66; over 5.
        assert!(close(all.scatter, (1.66f64 / 5.0).sqrt()), "{all:?}");
        // In order -0.3 0.1 0.2 0.6 1.4; places 0.64 and 3.36 of 0 to 4:
        // -0.3 + 0.64 0.4 = -0.044 and 0.6 + 0.36 0.8 = 0.888.
        assert!(close(all.half_width, 0.5 * (0.888 + 0.044)), "{all:?}");
        assert!(close(all.sigma_first, 0.05) && close(all.sigma_second, 0.2), "{all:?}");
        let near = of(&table, "resolved - integrated", Population::Near);
        assert!(near.count == 3 && close(near.median_offset, 0.1) && near.outliers == 0);
        let far = of(&table, "resolved - integrated", Population::Far);
        assert!(far.count == 2 && close(far.median_offset, 1.0) && far.outliers == 1);
        let low = of(&table, "resolved - integrated", Population::LowMass);
        assert!(low.count == 2 && close(low.mean_offset, 1.0), "{low:?}");
    }

    #[test]
    fn truth_decides_what_is_of_low_mass() {
        let mut one = galaxy(1, 2.0, 8.5, 8.2);
        one.truth = Some(7.9);
        let table = within(&[one]);
        assert_eq!(table.len(), 12);
        for (comparison, offset, sigma) in [
            ("resolved - integrated", 0.3, 0.2),
            ("resolved - true", 0.6, 0.0),
            ("integrated - true", 0.3, 0.0),
        ] {
            for population in [Population::All, Population::Near, Population::LowMass] {
                let found = of(&table, comparison, population);
                assert_eq!(found.count, 1, "{comparison} {population:?}");
                assert!((found.median_offset - offset).abs() < 1e-12, "{found:?}");
                assert!((found.sigma_second - sigma).abs() < 1e-12, "{found:?}");
            }
            let none = of(&table, comparison, Population::Far);
            assert!(none.count == 0 && none.median_offset.is_nan() && none.outliers == 0);
        }
    }

    #[test]
    fn two_fits_are_compared_galaxy_by_galaxy() {
        let these = [galaxy(1, 1.0, 9.0, 9.3), galaxy(2, 4.0, 10.0, 10.0)];
        let others = [galaxy(2, 4.0, 9.5, 10.1), galaxy(3, 1.0, 1.0, 1.0)];
        let shared = shared(&these, &others);
        assert_eq!(shared.len(), 1);
        let table = between(&shared);
        let resolved = of(&table, "resolved: this - other", Population::Far);
        assert!(resolved.count == 1 && (resolved.median_offset - 0.5).abs() < 1e-12);
        let integrated = of(&table, "integrated: this - other", Population::All);
        assert!(integrated.count == 1 && (integrated.median_offset + 0.1).abs() < 1e-12);
    }
}
