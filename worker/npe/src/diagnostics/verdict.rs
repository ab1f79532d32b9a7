//! What passes as calibrated.

use super::NOMINAL;
use super::joint::{DENSITY_RANK, TARP};
use super::strata::Strata;
use super::tally::CalibrationRow;
use outshine_kernels::scalar;
use serde::{Deserialize, Serialize};

/// What passes as calibrated. Each limit is widened by what chance alone does
/// to that many simulations (three standard errors of a share; the upper 0.3 %
/// point of the Kolmogorov-Smirnov distance), so that a small test does not
/// fail a good model and a large one is judged by the limit itself.
///
/// The default is what a campaign asks that names no limits;
/// [`shipped`](Self::shipped) is what the published model aims at.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tolerance {
    /// Largest |measured - nominal| coverage of any interval, of the overall
    /// population ([`Strata::OVERALL`]).
    pub coverage: f64,
    /// The same of every other population.
    pub coverage_stratum: f64,
    /// Largest distance of the ranks of a parameter from uniform, in every
    /// population.
    pub sbc_ks: f64,
    /// The same of the joint tests ([`TARP`], [`DENSITY_RANK`]).
    pub tarp: f64,
    /// Fewest simulations of the overall population: fewer do not pass.
    pub min_simulations: u64,
    /// Fewest simulations by which a stratum is judged; one with fewer is
    /// named in the verdict and fails nothing.
    pub min_stratum: u64,
}

impl Default for Tolerance {
    fn default() -> Self {
        Self {
            coverage: 0.04,
            coverage_stratum: 0.08,
            sbc_ks: 0.05,
            tarp: 0.05,
            min_simulations: 200,
            min_stratum: 200,
        }
    }
}

impl Tolerance {
    /// The aims of the published model.
    #[must_use]
    pub fn shipped() -> Self {
        Self {
            coverage: 0.01,
            coverage_stratum: 0.02,
            sbc_ks: 0.02,
            tarp: 0.02,
            min_simulations: 50_000,
            min_stratum: 20_000,
        }
    }
}

/// Whether a model may be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whether every judged row is within tolerance.
    pub passed: bool,
    /// One sentence per failure.
    pub reasons: Vec<String>,
    /// One sentence per stratum with too few simulations to be judged.
    #[serde(default)]
    pub unjudged: Vec<String>,
}

impl Verdict {
    /// Judges (population, row) pairs, such as those of [`super::Scores::rows`].
    /// Without a row of the overall population nothing passes.
    #[must_use]
    pub fn of<'a>(
        rows: impl IntoIterator<Item = (&'a str, &'a CalibrationRow)>,
        tolerance: &Tolerance,
    ) -> Self {
        let (mut reasons, mut unjudged) = (Vec::new(), Vec::<String>::new());
        let mut any = false;
        for (population, row) in rows {
            let overall = population == Strata::OVERALL;
            any |= overall;
            let mut needed =
                if overall { tolerance.min_simulations } else { tolerance.min_stratum };
            if row.parameter == DENSITY_RANK {
                needed /= FEWER;
            }
            if row.simulations < needed.max(1) {
                let found = format!("{} simulations, {needed} are needed", row.simulations);
                if overall {
                    reasons.push(format!("{population}, {}: {found}", row.parameter));
                    continue;
                }
                let sentence = format!("{population}: {found}");
                if !unjudged.contains(&sentence) {
                    unjudged.push(sentence);
                }
                continue;
            }
            judge(population, row, overall, tolerance, &mut reasons);
        }
        if !any {
            let name = Strata::OVERALL;
            reasons.push(format!("nothing was tested of the overall population, `{name}`"));
        }
        Self { passed: reasons.is_empty(), reasons, unjudged }
    }
}

/// The joint test by density costs far more than the others: a row of it is
/// judged by this part of the simulations that others need.
const FEWER: u64 = 10;

/// Adds what is wrong with a row of enough simulations.
fn judge(
    population: &str,
    row: &CalibrationRow,
    overall: bool,
    tolerance: &Tolerance,
    reasons: &mut Vec<String>,
) {
    let name = format!("{population}, {}", row.parameter);
    let n = row.simulations as f64;
    // P(sqrt(n) D > 1.80) = 2 exp(-2 * 1.80^2) = 0.3 %.
    let chance = 1.80 / scalar::sqrt(n);
    if [TARP, DENSITY_RANK].contains(&row.parameter.as_str()) {
        let limit = tolerance.tarp + chance;
        if exceeds(row.sbc_ks, limit) {
            let off = row.sbc_ks;
            reasons
                .push(format!("{name}: joint ranks are {off:.3} from uniform (limit {limit:.3})"));
        }
        return;
    }
    let coverage = if overall { tolerance.coverage } else { tolerance.coverage_stratum };
    for (nominal, measured) in NOMINAL.into_iter().zip(row.coverage()) {
        let limit = coverage + 3.0 * (nominal * (1.0 - nominal) / n).sqrt();
        if exceeds((measured - nominal).abs(), limit) {
            let kind = if measured < nominal { "overconfident" } else { "underconfident" };
            reasons.push(format!(
                "{name}: {:.1} % of truths in the {:.0} % interval ({kind}; {:.1} % off is the \
                 limit)",
                100.0 * measured,
                100.0 * nominal,
                100.0 * limit
            ));
        }
    }
    let limit = tolerance.sbc_ks + chance;
    if exceeds(row.sbc_ks, limit) {
        reasons.push(format!(
            "{name}: ranks are {:.3} from uniform (mean pull {:+.2}; limit {limit:.3})",
            row.sbc_ks, row.pull_mean
        ));
    }
}

/// Whether a figure is above its limit, or no figure at all.
fn exceeds(figure: f64, limit: f64) -> bool {
    figure.is_nan() || figure > limit
}

#[cfg(test)]
mod tests {
    use super::super::Ranks;
    use super::*;

    /// A row of `n` evenly spread places with these figures put in.
    fn row(parameter: &str, n: u64, coverage_68: f64, sbc_ks: f64) -> CalibrationRow {
        let mut ranks = Ranks::default();
        (0..n).for_each(|i| ranks.add((i as f64 + 0.5) / n as f64));
        CalibrationRow { coverage_68, sbc_ks, ..ranks.row(parameter) }
    }

    fn verdict(rows: &[(&str, CalibrationRow)], tolerance: &Tolerance) -> Verdict {
        Verdict::of(rows.iter().map(|(population, row)| (*population, row)), tolerance)
    }

    /// Each limit of the published model holds and binds, chance added.
    #[test]
    fn each_limit_binds() {
        let tolerance = Tolerance::shipped();
        let n = 90_000u64;
        let share = 3.0 * (0.68 * 0.32 / n as f64).sqrt();
        let distance = 1.8 / (n as f64).sqrt();
        let good = || ("pixel", row("a", n, 0.68, 0.0));
        let sides = [(-1e-6, true), (1e-6, false)];
        for (change, passes) in sides {
            for sign in [-1.0, 1.0] {
                let off = |limit: f64| 0.68 + sign * (limit + share + change);
                let got = verdict(&[("pixel", row("a", n, off(0.01), 0.0))], &tolerance);
                assert_eq!(got.passed, passes, "{:?}", got.reasons);
                for stratum in ["integrated", "snr below 1"] {
                    let rows = [good(), (stratum, row("a", n, off(0.02), 0.0))];
                    let got = verdict(&rows, &tolerance);
                    assert_eq!(got.passed, passes, "{:?}", got.reasons);
                }
            }
            let far = 0.02 + distance + change;
            for population in ["pixel", "integrated"] {
                for parameter in ["a", TARP, DENSITY_RANK] {
                    let rows = [good(), (population, row(parameter, n, 0.68, far))];
                    assert_eq!(verdict(&rows, &tolerance).passed, passes, "{parameter}");
                }
            }
        }
        // A joint test has no central intervals.
        assert!(verdict(&[good(), ("pixel", row(TARP, n, 0.5, 0.0))], &tolerance).passed);
        assert!(!verdict(&[("pixel", row("a", n, f64::NAN, 0.0))], &tolerance).passed);
    }

    /// Too few overall fail; too few in a stratum are named.
    #[test]
    fn few_simulations() {
        let tolerance = Tolerance::default();
        let good = || ("pixel", row("a", 200, 0.68, 0.0));
        assert!(verdict(&[good()], &tolerance).passed);
        assert!(!verdict(&[], &tolerance).passed);
        assert!(!verdict(&[("pixel", row("a", 199, 0.68, 0.0))], &tolerance).passed);
        assert!(!verdict(&[("integrated", row("a", 200, 0.68, 0.0))], &tolerance).passed);
        let few = |parameter| ("integrated", row(parameter, 199, 0.1, 0.9));
        let none = ("snr below 1", row("a", 0, f64::NAN, 0.0));
        let got = verdict(&[good(), few("a"), few("b"), none], &tolerance);
        assert!(got.passed, "{:?}", got.reasons);
        assert_eq!(
            got.unjudged,
            [
                "integrated: 199 simulations, 200 are needed",
                "snr below 1: 0 simulations, 200 are needed"
            ]
        );
        // No fewest number: rows of nothing still hold no figure to judge.
        let any = Tolerance { min_stratum: 0, min_simulations: 0, ..tolerance };
        assert!(!verdict(&[("pixel", row("a", 0, f64::NAN, 0.0))], &any).passed);
    }

    #[test]
    fn settings_are_read_strictly() {
        let read = |text: &str| serde_json::from_str::<Tolerance>(text);
        assert_eq!(read("{}").unwrap(), Tolerance::default());
        let some = read(r#"{"coverage": 0.03, "sbc_ks": 0.03, "min_simulations": 500}"#).unwrap();
        assert_eq!((some.coverage, some.tarp, some.min_simulations), (0.03, 0.05, 500));
        assert!(read(r#"{"coverages": 0.03}"#).is_err());
    }
}
