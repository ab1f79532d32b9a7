//! A model's whole calibration: every parameter in every stratum.

use super::case::Case;
use super::joint::{DENSITY_RANK, TARP};
use super::ranks::Ranks;
use super::strata::Strata;
use super::tally::{CalibrationRow, Tally};

/// Places of one truth by the joint tests that were made ([`super::Tarp`],
/// [`super::density_place`]).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct JointPlaces {
    /// By distance from a random point.
    pub tarp: Option<f64>,
    /// By density.
    pub density: Option<f64>,
}

/// Tallies of all parameters in all strata: about 1 MB, however many objects.
/// As with [`Tally`], the rows do not depend on the objects' order, nor on how
/// they were split over scores that were merged.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    strata: Strata,
    parameters: Vec<String>,
    of_stratum: Vec<Stratum>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Stratum {
    tallies: Vec<Tally>,
    tarp: Ranks,
    density: Ranks,
}

impl Stratum {
    fn new(parameters: usize) -> Self {
        Self { tallies: vec![Tally::default(); parameters], ..Self::default() }
    }

    fn merge(&mut self, other: &Self) {
        for (mine, more) in self.tallies.iter_mut().zip(&other.tallies) {
            mine.merge(more);
        }
        self.tarp.merge(&other.tarp);
        self.density.merge(&other.density);
    }

    /// One row per parameter, and one per joint test that was made.
    fn rows<'a>(&'a self, parameters: &'a [String]) -> impl Iterator<Item = CalibrationRow> + 'a {
        let single = parameters.iter().zip(&self.tallies).map(|(name, tally)| tally.row(name));
        let joint = [(TARP, &self.tarp), (DENSITY_RANK, &self.density)];
        let made = joint.into_iter().filter(|(_, ranks)| ranks.count() > 0);
        single.chain(made.map(|(name, ranks)| ranks.row(name)))
    }
}

impl Scores {
    /// No objects yet, of these parameters.
    #[must_use]
    pub fn new<N: AsRef<str>>(strata: Strata, parameters: &[N]) -> Self {
        Self {
            strata,
            parameters: parameters.iter().map(|name| name.as_ref().to_owned()).collect(),
            of_stratum: vec![Stratum::new(parameters.len()); Strata::COUNT],
        }
    }

    /// The cut points.
    #[must_use]
    pub fn strata(&self) -> &Strata {
        &self.strata
    }

    /// Counts an object of the stratum of an index of [`Strata::index`]: one
    /// case per parameter, in their order.
    ///
    /// # Panics
    /// When there is no such stratum, or not one case per parameter.
    pub fn add(&mut self, stratum: usize, cases: &[Case], joint: JointPlaces) {
        assert_eq!(cases.len(), self.parameters.len(), "one case per parameter");
        let stratum = &mut self.of_stratum[stratum];
        for (tally, case) in stratum.tallies.iter_mut().zip(cases) {
            tally.add(case);
        }
        joint.tarp.into_iter().for_each(|place| stratum.tarp.add(place));
        joint.density.into_iter().for_each(|place| stratum.density.add(place));
    }

    /// Counts the objects of `other` too.
    ///
    /// # Panics
    /// When it has other strata or parameters.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(self.strata, other.strata, "scores of the same strata");
        assert_eq!(self.parameters, other.parameters, "scores of the same parameters");
        for (mine, more) in self.of_stratum.iter_mut().zip(&other.of_stratum) {
            mine.merge(more);
        }
    }

    /// Objects of each stratum.
    pub fn counts(&self) -> impl Iterator<Item = u64> + '_ {
        self.of_stratum.iter().map(|s| s.tallies.first().map_or(0, Tally::count))
    }

    /// (population, row): all single pixels first ([`Strata::OVERALL`]), then
    /// stratum after stratum, those without objects too, so that a verdict can
    /// name them; in each the parameters in order and the joint tests made.
    #[must_use]
    pub fn rows(&self) -> Vec<(String, CalibrationRow)> {
        self.rows_with(&Self::new(self.strata, &self.parameters))
    }

    /// The same where single strata have `more` objects, which do not count
    /// overall: there each kind has the share that it has in nature.
    ///
    /// # Panics
    /// When `more` has other strata or parameters.
    #[must_use]
    pub fn rows_with(&self, more: &Self) -> Vec<(String, CalibrationRow)> {
        let mut overall = Stratum::new(self.parameters.len());
        for (index, stratum) in self.of_stratum.iter().enumerate() {
            if Strata::is_pixel(index) {
                overall.merge(stratum);
            }
        }
        let mut all = self.clone();
        all.merge(more);
        let names = (0..Strata::COUNT).map(|index| self.strata.name(index));
        let populations = names.zip(&all.of_stratum);
        std::iter::once((Strata::OVERALL.to_owned(), &overall))
            .chain(populations)
            .flat_map(|(name, s)| s.rows(&self.parameters).map(move |row| (name.clone(), row)))
            .collect()
    }
}
