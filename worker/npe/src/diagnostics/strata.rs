//! Kinds of objects whose calibration is looked at apart.

use crate::error::NpeError;
use serde::{Deserialize, Serialize};

/// Cells of single pixels: 3 of S/N, 3 of redshift, 3 of numbers of bands.
const CELLS: usize = 27;
/// Index of the stratum of pixels fainter than every cell.
const FAINT: usize = CELLS;
/// Index of the stratum of integrated objects.
const INTEGRATED: usize = CELLS + 1;

/// Cut points between strata. Calibration holds for objects told apart by what
/// can be observed or is given (S/N, bands), and on average over a prior
/// within a range of redshifts.
///
/// A pixel belongs to one of 27 cells or, of too low an S/N, to a stratum of
/// its own; an integrated object to another.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Strata {
    /// Mean S/N at which the three ranges of S/N begin; below the first a
    /// pixel is faint.
    pub snr: [f64; 3],
    /// Redshift at which the second and the third range begin.
    pub redshift: [f64; 2],
    /// Most observed bands of the first and the second range.
    pub bands: [usize; 2],
}

/// Mean S/N of 1 to 5, 5 to 20 and above 20; redshift below 1.5, 1.5 to 3.5
/// and above; up to 14 bands, 15 or 16, and 17 or more. Of 19 bands, the
/// default coverage of the simulations leaves that many in 25, 32 and 44 % of
/// the objects; 14 is what is left without the five of HST.
impl Default for Strata {
    fn default() -> Self {
        Self { snr: [1.0, 5.0, 20.0], redshift: [1.5, 3.5], bands: [14, 16] }
    }
}

impl Strata {
    /// Number of strata.
    pub const COUNT: usize = CELLS + 2;
    /// Name of all single pixels together, the overall population.
    pub const OVERALL: &'static str = "pixel";

    /// Checks that cut points are finite and ascend.
    ///
    /// # Errors
    /// [`NpeError::Config`] naming the field.
    pub fn validate(&self) -> Result<(), NpeError> {
        let ascend = |cuts: &[f64]| {
            cuts.iter().all(|c| c.is_finite()) && cuts.windows(2).all(|pair| pair[0] < pair[1])
        };
        let wrong = |field, found| {
            Err(NpeError::Config { field, found, mend: "cut points must be finite and ascend" })
        };
        if !ascend(&self.snr) {
            return wrong("strata.snr", format!("{:?}", self.snr));
        }
        if !ascend(&self.redshift) {
            return wrong("strata.redshift", format!("{:?}", self.redshift));
        }
        if self.bands[0] >= self.bands[1] {
            return wrong("strata.bands", format!("{:?}", self.bands));
        }
        Ok(())
    }

    /// Index of an object's stratum, below [`COUNT`](Self::COUNT): its mean S/N
    /// (NaN where no band of the mean is observed: faint), true redshift,
    /// number of observed bands, and whether it is integrated.
    #[must_use]
    pub fn index(&self, mean_snr: f64, redshift: f64, bands: usize, integrated: bool) -> usize {
        if integrated {
            return INTEGRATED;
        }
        let snr = self.snr.iter().filter(|&&start| mean_snr >= start).count();
        if snr == 0 {
            return FAINT;
        }
        let redshift = self.redshift.iter().filter(|&&start| redshift >= start).count();
        let bands = self.bands.iter().filter(|&&most| bands > most).count();
        9 * (snr - 1) + 3 * redshift + bands
    }

    /// Whether the stratum is part of the overall population: single pixels.
    #[must_use]
    pub fn is_pixel(index: usize) -> bool {
        index < INTEGRATED
    }

    /// Name of a stratum, as tables and verdicts have it, such as
    /// `snr 5-20 z 1.5-3.5 bands 15-16`, `snr below 1` or `integrated`.
    ///
    /// # Panics
    /// When there is no such stratum.
    #[must_use]
    pub fn name(&self, index: usize) -> String {
        assert!(index < Self::COUNT, "there are {} strata", Self::COUNT);
        if index == INTEGRATED {
            return "integrated".to_owned();
        }
        let ([first, second, third], [near, far]) = (self.snr, self.redshift);
        if index == FAINT {
            return format!("snr below {first}");
        }
        let [few, some] = self.bands;
        let snr = [format!("{first}-{second}"), format!("{second}-{third}"), format!("{third}+")];
        let redshift = [format!("0-{near}"), format!("{near}-{far}"), format!("{far}+")];
        let bands = [format!("1-{few}"), format!("{}-{some}", few + 1), format!("{}+", some + 1)];
        let (s, z, b) = (&snr[index / 9], &redshift[index / 3 % 3], &bands[index % 3]);
        format!("snr {s} z {z} bands {b}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_find_their_stratum() {
        let strata = Strata::default();
        let name = |snr, z, bands| strata.name(strata.index(snr, z, bands, false));
        assert_eq!(name(1.0, 0.0, 4), "snr 1-5 z 0-1.5 bands 1-14");
        assert_eq!(name(4.999, 1.5, 14), "snr 1-5 z 1.5-3.5 bands 1-14");
        assert_eq!(name(5.0, 1.5, 15), "snr 5-20 z 1.5-3.5 bands 15-16");
        assert_eq!(name(20.0, 3.5, 17), "snr 20+ z 3.5+ bands 17+");
        assert_eq!(name(1e4, 7.5, 19), "snr 20+ z 3.5+ bands 17+");
        assert_eq!(name(0.999, 3.0, 19), "snr below 1");
        assert_eq!(name(-3.0, 3.0, 19), "snr below 1");
        assert_eq!(name(f64::NAN, 3.0, 19), "snr below 1");
        assert_eq!(strata.name(strata.index(0.1, 3.0, 19, true)), "integrated");
    }

    #[test]
    fn names_are_distinct_and_none_is_the_overall_one() {
        let names: std::collections::BTreeSet<String> =
            (0..Strata::COUNT).map(|i| Strata::default().name(i)).collect();
        assert_eq!(names.len(), Strata::COUNT);
        assert!(!names.contains(Strata::OVERALL));
    }

    #[test]
    fn cut_points_that_do_not_ascend_are_refused() {
        let good = Strata::default();
        good.validate().unwrap();
        for bad in [
            Strata { snr: [1.0, 1.0, 20.0], ..good },
            Strata { redshift: [1.5, f64::NAN], ..good },
            Strata { bands: [16, 14], ..good },
        ] {
            assert!(bad.validate().is_err(), "{bad:?}");
        }
    }
}
