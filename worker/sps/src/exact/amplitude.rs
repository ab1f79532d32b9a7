//! The mass integrated out: fluxes are proportional to it.
//!
//! With the fluxes f_b of a population of some mass, and data d_b with errors
//! sigma_b, the log likelihood of a times that mass is
//!
//! ln L(a) = ln L(a^) - C (a - a^)^2 / 2, with
//! C = sum (f / sigma)^2, a^ = sum d f / sigma^2 / C,
//!
//! and under a prior uniform in x = ln a from x0 to x1 the likelihood of all
//! else is the integral of L(e^x) dx / (x1 - x0): Simpson's rule over where L
//! is above e^-20 of its largest value, with steps well below its width. The
//! mass is then drawn from L(e^x), given all else, so that both are exact.

use crate::likelihood::Observation;
use outshine_kernels::random::Stream;
use outshine_kernels::{lanes, scalar};

/// How far below its largest value, in ln, the likelihood is neglected.
const DEPTH: f64 = 20.0;
/// Steps of the integral in widths of the likelihood.
const STEP: f64 = 0.3;
/// Steps of the distribution that masses are drawn from; a density that is
/// linear between them is wider by STEP^2 / 12 of its width.
const FINE_STEP: f64 = 0.05;
/// Most steps; the widest prior takes fewer.
const MOST_STEPS: f64 = 20_000.0;

/// Data of one object, for the amplitude of models.
pub(super) struct Amplitude {
    /// (band, flux, 1 / sigma) of the bands observed.
    bands: Vec<(usize, f64, f64)>,
    /// Sum of ln(sigma sqrt(2 pi)).
    norm: f64,
    /// x0, x1.
    range: (f64, f64),
    /// The likelihood on a grid of x, relative to its largest value.
    grid: Vec<f64>,
}

/// The likelihood of one model over ln a.
struct Curve {
    /// Largest log likelihood in the range.
    most: f64,
    /// Where it is not negligible.
    from: f64,
    to: f64,
    /// Steps, an even number.
    steps: usize,
}

impl Amplitude {
    /// `observed`: one that [`crate::FixedRedshift::log_likelihood`] accepts;
    /// `range`: of ln a.
    pub fn new(observed: Observation<'_>, range: (f64, f64)) -> Self {
        let (mut bands, mut norm) = (Vec::new(), 0.0);
        for (band, (&flux, &err)) in observed.flux_njy.iter().zip(observed.err_njy).enumerate() {
            if err > 0.0 {
                bands.push((band, flux, 1.0 / err));
                norm += scalar::ln(err * std::f64::consts::TAU.sqrt());
            }
        }
        Self { bands, norm, range, grid: Vec::new() }
    }

    /// C, and sum of d f / sigma^2.
    fn products(&self, flux_njy: &[f64]) -> (f64, f64) {
        let (mut square, mut product) = (0.0, 0.0);
        for &(band, flux, inverse) in &self.bands {
            let model = flux_njy[band] * inverse;
            square += model * model;
            product += model * flux * inverse;
        }
        (square, product)
    }

    /// At a^, or 0 where that is negative: (model - data) / error and model / error, 0
    /// in bands that are not observed.
    pub fn pulls(&self, flux_njy: &[f64], pulls: &mut [f64], model: &mut [f64]) {
        let (square, product) = self.products(flux_njy);
        let best = if square == 0.0 { 0.0 } else { (product / square).max(0.0) };
        pulls.fill(0.0);
        model.fill(0.0);
        for &(band, flux, inverse) in &self.bands {
            model[band] = best * (flux_njy[band] * inverse);
            pulls[band] = model[band] - flux * inverse;
        }
    }

    /// Works out the curve of a model with fluxes `flux_njy` at ln a = 0, and
    /// fills the grid, in steps of `step` widths.
    fn curve(&mut self, flux_njy: &[f64], step: f64) -> Curve {
        let (square, product) = self.products(flux_njy);
        let (x0, x1) = self.range;
        let (a0, a1) = (scalar::exp(x0), scalar::exp(x1));
        // Without flux every mass is as likely.
        let best = if square > 0.0 { product / square } else { 0.0 };
        let top = best.clamp(a0, a1);
        let mut chi2 = 0.0;
        for &(band, flux, inverse) in &self.bands {
            let pull = (flux - top * flux_njy[band]) * inverse;
            chi2 += pull * pull;
        }
        let excess = best - top;
        let reach = (excess * excess + 2.0 * DEPTH / square).sqrt();
        let (low, high) = (best - reach, best + reach);
        let from = if low > a0 { scalar::ln(low) } else { x0 };
        let to = if high < a1 { scalar::ln(high) } else { x1 };
        // One in ln a, the width of the peak, or that of a decay from an end.
        let inverse_width = 1f64.max(top * square.sqrt()).max((square * top * excess).abs());
        let intervals = ((to - from) * inverse_width / step).min(MOST_STEPS).ceil();
        let steps = 2 * ((0.5 * intervals).ceil() as usize).max(1);
        let width = (to - from) / steps as f64;
        let (mut a, factor) = (scalar::exp(from), scalar::exp(width));
        self.grid.clear();
        for _ in 0..=steps {
            let far = a - best;
            self.grid.push(-0.5 * square * (far * far - excess * excess));
            a *= factor;
        }
        self.grid.iter_mut().for_each(|g| *g = lanes::exp_f64(*g));
        Curve { most: -0.5 * chi2 - self.norm, from, to, steps }
    }

    /// ln of the likelihood averaged over the range of ln a.
    pub fn log_mean(&mut self, flux_njy: &[f64]) -> f64 {
        let curve = self.curve(flux_njy, STEP);
        let (mut odd, mut even) = (0.0, 0.0);
        for pair in self.grid[..curve.steps].chunks_exact(2) {
            even += pair[0];
            odd += pair[1];
        }
        let ends = self.grid[curve.steps] - self.grid[0];
        let width = (curve.to - curve.from) / curve.steps as f64;
        let integral = width / 3.0 * (4.0 * odd + 2.0 * even + ends);
        curve.most + scalar::ln(integral / (self.range.1 - self.range.0))
    }

    /// ln a drawn from the likelihood, by the inverse of its distribution.
    pub fn draw(&mut self, flux_njy: &[f64], stream: &mut Stream) -> f64 {
        let curve = self.curve(flux_njy, FINE_STEP);
        let total: f64 = self.grid.windows(2).map(|pair| 0.5 * (pair[0] + pair[1])).sum();
        let mut rest = stream.uniform() * total;
        let mut cell = 0;
        while cell + 1 < curve.steps {
            let area = 0.5 * (self.grid[cell] + self.grid[cell + 1]);
            if rest < area {
                break;
            }
            rest -= area;
            cell += 1;
        }
        // In the cell: p t + (q - p) t^2 / 2 = rest, in the form that does not cancel.
        let (p, q) = (self.grid[cell], self.grid[cell + 1]);
        let root = (p * p + 2.0 * (q - p) * rest).max(0.0).sqrt();
        let t = if p + root > 0.0 { (2.0 * rest / (p + root)).min(1.0) } else { 0.5 };
        curve.from + (cell as f64 + t) * (curve.to - curve.from) / curve.steps as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outshine_kernels::random::Purpose;

    /// Data, errors and model of 4 bands, brighter and fainter.
    const ERR: [f64; 4] = [1.0, 2.0, 0.0, 0.5];
    const MODEL: [f64; 4] = [1.0, 3.0, 2.0, 0.7];

    fn direct(data: &[f64], model: &[f64], x: f64) -> f64 {
        let mut sum = 0.0;
        for b in [0, 1, 3] {
            let pull = (data[b] - x.exp() * model[b]) / ERR[b];
            sum -= 0.5 * pull * pull + (ERR[b] * std::f64::consts::TAU.sqrt()).ln();
        }
        sum
    }

    /// Cases: signal to noise 0, -3, 1, 4, 30, 1e4, and peaks beyond either end.
    fn cases() -> Vec<([f64; 4], (f64, f64))> {
        let range = (-9.0, 9.5);
        let data = |s: f64| [s * 1.02, s * 3.1, f64::NAN, s * 0.69];
        vec![
            (data(0.0), range),
            (data(-1.5), range),
            (data(0.5), range),
            (data(2.0), range),
            (data(15.0), range),
            (data(5000.0), range),
            (data(30.0), (-9.0, 3.2)),
            (data(30.0), (3.6, 9.0)),
            (data(5000.0), (8.0, 8.5299)),
            (data(100.0), (-40.0, 20.0)),
        ]
    }

    /// Against sums over a million equal steps, relative to the largest value.
    #[test]
    fn the_mean_over_masses_is_the_integral() {
        for (data, range) in cases() {
            let observed = Observation { flux_njy: &data, err_njy: &ERR };
            let got = Amplitude::new(observed, range).log_mean(&MODEL);
            let n = 1_000_000;
            let at = |i: usize| range.0 + (range.1 - range.0) * (i as f64 + 0.5) / n as f64;
            let values: Vec<f64> = (0..n).map(|i| direct(&data, &MODEL, at(i))).collect();
            let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let mean = values.iter().map(|v| (v - most).exp()).sum::<f64>() / n as f64;
            let expected = most + mean.ln();
            // Simpson's rule at these steps; the sum is cruder at 1e4.
            assert!((got - expected).abs() < 2e-4, "{data:?}, {range:?}: {got} {expected}");
        }
    }

    /// Drawn masses against the same sums: each tenth holds a tenth of them.
    #[test]
    fn masses_are_drawn_from_the_likelihood() {
        for (case, (data, range)) in cases().into_iter().enumerate() {
            let observed = Observation { flux_njy: &data, err_njy: &ERR };
            let mut amplitude = Amplitude::new(observed, range);
            let mut stream = Stream::new(5, Purpose::Draw, case as u64, 0);
            let n = 1_000_000;
            let step = (range.1 - range.0) / n as f64;
            let most = (0..n)
                .map(|i| direct(&data, &MODEL, range.0 + step * (i as f64 + 0.5)))
                .fold(f64::NEG_INFINITY, f64::max);
            let mut cumulative = vec![0.0];
            for i in 0..n {
                let x = range.0 + step * (i as f64 + 0.5);
                cumulative.push(cumulative[i] + (direct(&data, &MODEL, x) - most).exp());
            }
            let draws = 4_000;
            let mut ranks: Vec<f64> = (0..draws)
                .map(|_| {
                    let x = amplitude.draw(&MODEL, &mut stream);
                    assert!(x >= range.0 && x <= range.1);
                    let place = ((x - range.0) / step).clamp(0.0, n as f64);
                    let i = (place as usize).min(n - 1);
                    let (low, high) = (cumulative[i], cumulative[i + 1]);
                    (low + (place - i as f64) * (high - low)) / cumulative[n]
                })
                .collect();
            ranks.sort_by(f64::total_cmp);
            let mut distance = 0.0f64;
            for (i, rank) in ranks.iter().enumerate() {
                distance = distance.max((rank - (i as f64 + 0.5) / draws as f64).abs());
            }
            // Exceeded once in 3,000 times: 2.1 / sqrt(n).
            assert!(distance < 2.1 / (draws as f64).sqrt(), "case {case}: {distance}");
        }
    }

    #[test]
    fn a_population_without_flux_says_nothing_of_its_mass() {
        let data = [1.0, 2.0, 0.0, 0.5];
        let observed = Observation { flux_njy: &data, err_njy: &ERR };
        let got = Amplitude::new(observed, (-3.0, 3.0)).log_mean(&[0.0; 4]);
        assert!((got - direct(&data, &[0.0; 4], 0.0)).abs() < 1e-12);
    }
}
