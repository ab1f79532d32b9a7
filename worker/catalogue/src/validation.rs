//! Posteriors against known truth: how good, how biased, how honest.

use crate::interval::Interval;

/// One posterior of a quantity whose truth is known.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Its interval.
    pub interval: Interval,
    /// The truth.
    pub truth: f64,
    /// Fraction of draws below the truth.
    pub rank: f64,
}

/// Statistics over many cases. Not-a-number where there are too few cases.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scores {
    /// Number of cases.
    pub count: u64,
    /// 1 - sum (truth - median)^2 / sum (truth - mean truth)^2.
    pub r_squared: f64,
    /// Mean of median minus truth.
    pub bias: f64,
    /// Median of median minus truth.
    pub median_bias: f64,
    /// Standard deviation of median minus truth.
    pub scatter: f64,
    /// Mean pull: (median - truth) over half the 68 % width.
    pub pull_mean: f64,
    /// Standard deviation of the pull: 1 for honest Gaussian posteriors.
    pub pull_scatter: f64,
    /// Fraction of truths inside the central 68 % interval.
    pub coverage_68: f64,
    /// Fraction of truths inside the central 95 % interval.
    pub coverage_95: f64,
}

/// Scores of `cases`.
#[must_use]
pub fn scores(cases: &[Case]) -> Scores {
    let n = cases.len() as f64;
    let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / n;
    let mean_truth = mean(&mut cases.iter().map(|c| c.truth));
    let total: f64 = cases.iter().map(|c| (c.truth - mean_truth).powi(2)).sum();
    let mut residuals: Vec<f64> = cases.iter().map(|c| c.interval.p50 - c.truth).collect();
    let bias = mean(&mut residuals.iter().copied());
    let squares: f64 = residuals.iter().map(|r| r * r).sum();
    let pulls: Vec<f64> = cases
        .iter()
        .map(|c| (c.interval.p50 - c.truth) / (0.5 * (c.interval.p84 - c.interval.p16)))
        .collect();
    let pull_mean = mean(&mut pulls.iter().copied());
    let spread = |values: &[f64], about: f64| {
        (values.iter().map(|v| (v - about).powi(2)).sum::<f64>() / n).sqrt()
    };
    let scatter = spread(&residuals, bias);
    outshine_kernels::quantile::sort(&mut residuals);
    let inside = |level: f64| {
        let tail = 0.5 * (1.0 - level);
        cases.iter().filter(|c| c.rank >= tail && c.rank <= 1.0 - tail).count() as f64 / n
    };
    Scores {
        count: cases.len() as u64,
        r_squared: 1.0 - squares / total,
        bias,
        median_bias: outshine_kernels::quantile::of_sorted(&residuals, 0.5),
        scatter,
        pull_mean,
        pull_scatter: spread(&pulls, pull_mean),
        coverage_68: inside(0.68),
        coverage_95: inside(0.95),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outshine_kernels::random::{Purpose, Stream};

    /// Gaussian posteriors whose stated width is `claimed` times the true one.
    fn cases(claimed: f64) -> Vec<Case> {
        let mut stream = Stream::new(3, Purpose::MockPixel, 1, 2);
        (0..4000)
            .map(|_| {
                let truth = 3.0 * stream.normal();
                let p50 = truth + 0.1 * stream.normal();
                let width = 0.1 * claimed;
                let z = (truth - p50) / width;
                // Normal distribution function by the logistic approximation of
                // Bowling et al. (2009), good to 1.4e-4.
                let rank = outshine_kernels::scalar::logistic(1.5976 * z + 0.07056 * z * z * z);
                let interval = Interval { p16: p50 - width, p50, p84: p50 + width };
                Case { interval, truth, rank }
            })
            .collect()
    }

    #[test]
    fn honest_posteriors_score_as_theory_says() {
        let s = scores(&cases(1.0));
        // Four binomial standard errors of 4000 cases: 0.030 and 0.014.
        assert!((s.coverage_68 - 0.68).abs() < 0.030, "{s:?}");
        assert!((s.coverage_95 - 0.95).abs() < 0.014, "{s:?}");
        assert!((s.pull_scatter - 1.0).abs() < 0.05, "{s:?}");
        assert!((s.r_squared - (1.0 - 0.01 / 9.0)).abs() < 2e-4, "{s:?}");
        assert!((s.scatter - 0.1).abs() < 0.005 && s.bias.abs() < 0.01, "{s:?}");
    }

    #[test]
    fn overconfidence_shows() {
        let s = scores(&cases(0.5));
        assert!(s.coverage_68 < 0.45 && s.pull_scatter > 1.8, "{s:?}");
    }
}
