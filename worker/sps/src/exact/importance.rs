//! Importance sampling of a sharp posterior from guesses that are too wide.
//!
//! Points are z, in coordinates where the prior is a standard normal.
//!
//! 1. Some of the guesses are seeds. Each goes downhill (`exact/descent.rs`), held
//!    where it started by the inverse of the guesses' covariance: along what the
//!    data determine better than the guesses do it goes nearly all the way,
//!    along the rest it stays. So seeds come to lie along the ridge of the
//!    posterior, however bent. Where none fits, the best of them, and of
//!    some points of the prior, go on nearly free.
//! 2. About each seed a t distribution lies, as wide as data, prior and
//!    the guesses' spread allow: tiles on the ridge.
//! 3. Points are drawn from the mixture of tiles in rounds, and weighted by
//!    likelihood times prior over the mean density of the rounds' mixtures. After
//!    a round the mixture adapts to the weighted points, and gets a new tile where a
//!    few of them weigh most; until as many count as are wanted, and a little longer.
//!
//! | step | source |
//! | --- | --- |
//! | density of all rounds in the weights | Cornuet et al. (2012), Scandinavian Journal of Statistics 39, 798 |
//! | the mixture adapts | Cappe et al. (2008), Statistics and Computing 18, 447 |
//! | new tiles where points weigh most | Raftery & Bao (2010), Biometrics 66, 1162 |

use super::descent::{Seed, descend};
use super::matrix::{covariance, factor, inverse_of};
use super::mixture::{Component, Mixture};
use super::weights::Weights;
use crate::error::SpsError;
use outshine_kernels::random::Stream;
use outshine_kernels::scalar;

/// Guesses that go downhill, and steps of each.
const SEEDS: usize = 16;
const STEPS: usize = 4;
/// Added to the spread of the guesses, which may be few.
const LEAST_SPREAD: f64 = 0.02;
/// Seeds that go on where none fits, steps of each, and how firmly they are held.
const FREED: usize = 4;
const FREED_STEPS: usize = 20;
const FREED_HOLD: f64 = 1e-3;
/// Points of the prior that are looked at then.
const PRIOR_POINTS: usize = 64;
/// Width of a tile along what the data do not determine, in standard deviations
/// of the guesses.
const TILE: f64 = 1.0;
/// Cost beyond that of the best seed at which a tile's share falls no further.
const WORST: f64 = 20.0;
/// Least share of a seed's tile, relative to the best.
const LEAST_SHARE: f64 = 0.01;
/// New tiles after a round, at most; the weight of a point that may have one; shares.
const NEW: usize = 3;
const HEAVY: f64 = 0.01;
const NEW_SHARE: (f64, f64) = (0.02, 0.1);
/// Rounds at most, and how many of the latest are kept.
const ROUNDS: usize = 40;
const KEPT: usize = 10;
/// Rounds after which enough points count. Weights look most even before the first
/// point of a tail is met: to stop at once makes intervals 1 % too narrow.
const PASSES: usize = 3;
/// Largest weight of a point at the end.
const HEAVIEST: f64 = 0.02;
/// Points per dimension that must count for the mixture to adapt to; weights are
/// flattened until they do.
const ENOUGH: f64 = 20.0;

/// What is sampled: a model with its mass taken out, and data.
pub trait Target {
    /// Bands.
    fn bands(&self) -> usize;
    /// ln of the likelihood, averaged over masses, of points (n, dims); minus
    /// infinity where there is none. Appends what is to be kept of each point.
    fn log_likelihood(
        &mut self,
        z: &[f64],
        out: &mut [f64],
        kept: &mut Vec<f64>,
    ) -> Result<(), SpsError>;
    /// At one point and its best mass: (model - data) / error per band, and
    /// model / error; 0 for bands that are not observed.
    fn pulls(&mut self, z: &[f64], pulls: &mut [f64], flux: &mut [f64]) -> Result<(), SpsError>;
}

/// Weighted points of a posterior.
pub struct Weighted {
    /// (n, dims).
    pub z: Vec<f64>,
    /// What the target keeps of each.
    pub kept: Vec<f64>,
    /// n weights; ln of their mean is that of the evidence, the mean likelihood
    /// under the prior.
    pub weights: Weights,
    /// Whether as many points count as were wanted, none of them too much.
    pub enough: bool,
    /// Rounds taken.
    pub rounds: usize,
}

/// The points of the latest rounds.
#[derive(Default)]
struct Rounds {
    z: Vec<f64>,
    log_likelihood: Vec<f64>,
    kept: Vec<f64>,
    mixtures: Vec<Mixture>,
    /// Of each mixture, ln of its density at all points.
    log_density: Vec<Vec<f64>>,
}

impl Rounds {
    /// Draws `n` points from a mixture.
    fn add(
        &mut self,
        target: &mut dyn Target,
        mixture: Mixture,
        (n, dims): (usize, usize),
        stream: &mut Stream,
    ) -> Result<(), SpsError> {
        if self.mixtures.len() == KEPT {
            let kept = self.kept.len() / KEPT;
            self.z.drain(..n * dims);
            self.log_likelihood.drain(..n);
            self.kept.drain(..kept);
            self.mixtures.remove(0);
            self.log_density.remove(0);
            self.log_density.iter_mut().for_each(|own| drop(own.drain(..n)));
        }
        let (from, first) = (self.z.len(), self.log_likelihood.len());
        self.z.resize(from + n * dims, 0.0);
        self.log_likelihood.resize(first + n, 0.0);
        self.z[from..].chunks_exact_mut(dims).for_each(|z| mixture.draw(stream, z));
        let new = &self.z[from..];
        target.log_likelihood(new, &mut self.log_likelihood[first..], &mut self.kept)?;
        for (mixture, own) in self.mixtures.iter().zip(&mut self.log_density) {
            own.extend(new.chunks_exact(dims).map(|z| mixture.log_density(z)));
        }
        self.log_density.push(self.z.chunks_exact(dims).map(|z| mixture.log_density(z)).collect());
        self.mixtures.push(mixture);
        Ok(())
    }

    /// ln of the weights: likelihood times prior over the rounds' mean density.
    fn log_weights(&self, dims: usize) -> Vec<f64> {
        let norm = 0.5 * dims as f64 * scalar::ln(std::f64::consts::TAU);
        let rounds = self.mixtures.len() as f64;
        let weight = |(i, (z, log_l)): (usize, (&[f64], &f64))| {
            let square: f64 = z.iter().map(|z| z * z).sum();
            let most = self.log_density.iter().map(|own| own[i]).fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = self.log_density.iter().map(|own| scalar::exp(own[i] - most)).sum();
            let log_w = log_l - 0.5 * square - norm - most - scalar::ln(sum / rounds);
            if log_w.is_nan() { f64::NEG_INFINITY } else { log_w }
        };
        self.z.chunks_exact(dims).zip(&self.log_likelihood).enumerate().map(weight).collect()
    }
}

/// Samples near `guesses`, (count, dims): `wanted` points a round, until as many
/// count, or rounds are up.
///
/// # Errors
/// Those of the target.
pub fn sample(
    target: &mut dyn Target,
    guesses: &[f64],
    dims: usize,
    wanted: usize,
    stream: &mut Stream,
) -> Result<Weighted, SpsError> {
    let mut spread = covariance(guesses, dims);
    (0..dims).for_each(|i| spread[i * dims + i] += LEAST_SPREAD * LEAST_SPREAD);
    let mut anchor = inverse_of(&factor(&spread, dims), dims);
    let seeds = seeds(target, guesses, &mut anchor, dims, stream)?;
    let best = seeds.iter().map(|s| s.cost).fold(f64::INFINITY, f64::min);
    let share = |s: &Seed| scalar::exp(-0.5 * (s.cost - best).min(WORST)).max(LEAST_SHARE);
    let mut mixture = Mixture::new(seeds.iter().map(|s| tile(s, &anchor, share(s))).collect());
    let mut rounds = Rounds::default();
    let mut passes = 0;
    for round in 1.. {
        rounds.add(target, mixture, (wanted, dims), stream)?;
        let log_weights = rounds.log_weights(dims);
        let weights = Weights::new(&log_weights, 1.0);
        // The largest weight is 1.
        if weights.effective >= wanted as f64 && weights.sum * HEAVIEST >= 1.0 {
            passes += 1;
        }
        let enough = passes == PASSES;
        if enough || round == ROUNDS {
            return Ok(Weighted { z: rounds.z, kept: rounds.kept, weights, enough, rounds: round });
        }
        let new = new_tiles(target, &rounds.z, &weights, &anchor, dims)?;
        let flat = flattened(&log_weights, ENOUGH * dims as f64);
        let latest = rounds.mixtures.last().expect("that of this round");
        mixture = latest.clone().with(new).adapted(&rounds.z, &flat);
    }
    unreachable!("the last round returns")
}

/// Where descents end. Where none fits, the guesses' covariance says nothing of the
/// posterior's: `anchor` becomes that of the prior.
fn seeds(
    target: &mut dyn Target,
    guesses: &[f64],
    anchor: &mut [f64],
    dims: usize,
    stream: &mut Stream,
) -> Result<Vec<Seed>, SpsError> {
    let count = guesses.len() / dims;
    let mut seeds = Vec::with_capacity(SEEDS + 2 * FREED);
    for k in 0..SEEDS.min(count) {
        let at = k * count / SEEDS.min(count);
        seeds.push(descend(target, &guesses[at * dims..(at + 1) * dims], anchor, STEPS)?);
    }
    seeds.retain(Seed::is_sound);
    seeds.sort_by(|a, b| a.cost.total_cmp(&b.cost));
    // Half of chi^2 is half the bands in the mean, and 10 more once in 1e5 times.
    let fits = 0.5 * target.bands() as f64 + 10.0;
    if seeds.first().is_none_or(|best| best.cost > fits) {
        let mut starts: Vec<Vec<f64>> = seeds.iter().take(FREED).map(|s| s.z.clone()).collect();
        let points: Vec<f64> = (0..PRIOR_POINTS * dims).map(|_| stream.normal()).collect();
        let mut log_l = vec![0.0; PRIOR_POINTS];
        target.log_likelihood(&points, &mut log_l, &mut Vec::new())?;
        let mut order: Vec<usize> = (0..PRIOR_POINTS).collect();
        order.sort_by(|&a, &b| log_l[b].total_cmp(&log_l[a]));
        let point = |&i: &usize| points[i * dims..(i + 1) * dims].to_vec();
        starts.extend(order[..FREED].iter().map(point));
        anchor.fill(0.0);
        (0..dims).for_each(|i| anchor[i * dims + i] = 1.0);
        let loose: Vec<f64> = anchor.iter().map(|a| FREED_HOLD * a).collect();
        for start in starts {
            seeds.push(descend(target, &start, &loose, FREED_STEPS)?);
        }
    }
    seeds.retain(Seed::is_sound);
    if seeds.is_empty() {
        return Err(SpsError::setting("exact.guesses", "none has a likelihood"));
    }
    Ok(seeds)
}

fn tile(seed: &Seed, anchor: &[f64], share: f64) -> Component {
    let d = seed.z.len();
    let mut precision: Vec<f64> =
        seed.curvature.iter().zip(anchor).map(|(c, a)| c + a / (TILE * TILE)).collect();
    (0..d).for_each(|i| precision[i * d + i] += 1.0);
    Component::new(share, seed.z.clone(), &inverse_of(&factor(&precision, d), d))
}

/// Tiles about the heaviest points, no two of them one on the other.
fn new_tiles(
    target: &mut dyn Target,
    z: &[f64],
    weights: &Weights,
    anchor: &[f64],
    dims: usize,
) -> Result<Vec<Component>, SpsError> {
    let weight = |i: usize| weights.relative[i] / weights.sum;
    let mut order: Vec<usize> =
        (0..weights.relative.len()).filter(|&i| weight(i) > HEAVY).collect();
    order.sort_by(|&a, &b| weight(b).total_cmp(&weight(a)));
    let mut tiles: Vec<Component> = Vec::new();
    for i in order {
        let point = &z[i * dims..(i + 1) * dims];
        if tiles.len() < NEW && tiles.iter().all(|t| t.square(point) >= 1.0) {
            let seed = descend(target, point, anchor, 0)?;
            if seed.is_sound() {
                tiles.push(tile(&seed, anchor, weight(i).clamp(NEW_SHARE.0, NEW_SHARE.1)));
            }
        }
    }
    Ok(tiles)
}

/// Weights of sum 1, raised to the largest power, 1 at most, of a few at which
/// `enough` count; evenly where none weighs anything.
fn flattened(log: &[f64], enough: f64) -> Vec<f64> {
    let mut power = 1.0;
    loop {
        let Weights { mut relative, sum, effective, .. } = Weights::new(log, power);
        if sum == 0.0 {
            relative.fill(1.0 / log.len() as f64);
            return relative;
        }
        if effective >= enough || power < 1e-3 {
            relative.iter_mut().for_each(|w| *w /= sum);
            return relative;
        }
        power *= 0.7;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outshine_kernels::random::Purpose;

    /// A thin parabola: ln L = -(y - BEND x^2 - OFF)^2 / (2 THIN^2), one band of data,
    /// and a second one that takes up the mass.
    struct Parabola;

    const BEND: f64 = 1.5;
    const OFF: f64 = -0.5;
    const THIN: f64 = 0.005;

    fn pull(z: &[f64]) -> f64 {
        (z[1] - BEND * z[0] * z[0] - OFF) / THIN
    }

    impl Target for Parabola {
        fn bands(&self) -> usize {
            2
        }

        fn log_likelihood(
            &mut self,
            z: &[f64],
            out: &mut [f64],
            kept: &mut Vec<f64>,
        ) -> Result<(), SpsError> {
            for (z, out) in z.chunks_exact(2).zip(out) {
                *out = -0.5 * pull(z).powi(2);
                kept.push(z[0]);
            }
            Ok(())
        }

        fn pulls(
            &mut self,
            z: &[f64],
            pulls: &mut [f64],
            flux: &mut [f64],
        ) -> Result<(), SpsError> {
            pulls.copy_from_slice(&[pull(z), 0.0]);
            // Far from 0, so that its direction is that of the second band.
            flux.copy_from_slice(&[pull(z), 1e9]);
            Ok(())
        }
    }

    /// The density of x is N(x; 0, 1) N(BEND x^2 + OFF; 0, 1 + THIN^2), times what the
    /// thin direction holds; summed here on a fine grid.
    fn distribution() -> (Vec<(f64, f64)>, f64) {
        let (n, reach) = (20_000, 5.0);
        let step = 2.0 * reach / f64::from(n);
        let mut sum = 0.0;
        let mut table = Vec::new();
        for i in 0..n {
            let x = -reach + (f64::from(i) + 0.5) * step;
            let y = BEND * x * x + OFF;
            let var = 1.0 + THIN * THIN;
            let ln = -0.5 * x * x - 0.5 * y * y / var - std::f64::consts::TAU.ln();
            sum += step * ln.exp() / var.sqrt() * THIN * std::f64::consts::TAU.sqrt();
            table.push((x, sum));
        }
        (table, sum)
    }

    #[test]
    fn a_thin_parabola_is_sampled_to_its_ends() {
        let (table, evidence) = distribution();
        for seed in 0..4 {
            let mut stream = Stream::new(9, Purpose::Calibration, seed, 0);
            // As wide as a network may be, and knowing nothing of the bend.
            let guesses: Vec<f64> =
                (0..64).flat_map(|_| [0.7 * stream.normal(), 0.6 * stream.normal()]).collect();
            let wanted = 2000;
            let found = sample(&mut Parabola, &guesses, 2, wanted, &mut stream).unwrap();
            assert!(
                found.enough && found.weights.effective >= wanted as f64,
                "{}",
                found.weights.effective
            );
            let off = found.weights.log_mean - evidence.ln();
            assert!(off.abs() < 5.0 / found.weights.effective.sqrt(), "ln evidence off by {off}");
            let mut x: Vec<f64> = found
                .weights
                .resample(wanted, &mut stream)
                .iter()
                .map(|&i| found.kept[i])
                .collect();
            x.sort_by(f64::total_cmp);
            let mut distance = 0.0f64;
            for (i, x) in x.iter().enumerate() {
                let at = table.partition_point(|(place, _)| place < x);
                let below = table[at.min(table.len() - 1)].1 / evidence;
                distance = distance.max((below - (i as f64 + 0.5) / wanted as f64).abs());
            }
            println!(
                "{} rounds, {:.0} count, distance {distance:.4}",
                found.rounds, found.weights.effective
            );
            // Exceeded by as many independent draws once in 10,000 times.
            assert!(distance < 2.23 / (wanted as f64).sqrt(), "seed {seed}: {distance}");
        }
    }

    /// Guesses in the wrong place altogether, sharp: prior points lead to the fit.
    #[test]
    fn sharp_guesses_that_are_wrong_do_not_mislead() {
        let mut stream = Stream::new(9, Purpose::Calibration, 10, 0);
        let guesses: Vec<f64> = (0..64)
            .flat_map(|_| [2.0 + 1e-3 * stream.normal(), -2.0 + 1e-3 * stream.normal()])
            .collect();
        let found = sample(&mut Parabola, &guesses, 2, 1000, &mut stream).unwrap();
        let (_, evidence) = distribution();
        assert!(found.enough, "{} of {}", found.weights.effective, found.weights.relative.len());
        assert!((found.weights.log_mean - evidence.ln()).abs() < 0.2, "{}", found.weights.log_mean);
    }

    /// A likelihood that the mixture cannot follow: rounds are bounded, and it is said.
    #[test]
    fn too_few_points_that_count_are_reported() {
        struct Comb;
        impl Target for Comb {
            fn bands(&self) -> usize {
                1
            }
            fn log_likelihood(
                &mut self,
                z: &[f64],
                out: &mut [f64],
                kept: &mut Vec<f64>,
            ) -> Result<(), SpsError> {
                for (z, out) in z.chunks_exact(4).zip(out) {
                    let tooth: f64 = z.iter().map(|z| (1000.0 * z).sin().powi(2)).sum();
                    *out = -1000.0 * tooth;
                    kept.push(z[0]);
                }
                Ok(())
            }
            fn pulls(&mut self, _: &[f64], p: &mut [f64], f: &mut [f64]) -> Result<(), SpsError> {
                p[0] = 0.0;
                f[0] = 1.0;
                Ok(())
            }
        }
        let mut stream = Stream::new(9, Purpose::Calibration, 20, 0);
        let guesses: Vec<f64> = (0..64 * 4).map(|_| stream.normal()).collect();
        let found = sample(&mut Comb, &guesses, 4, 100, &mut stream).unwrap();
        assert!(!found.enough && found.rounds == ROUNDS, "{}", found.weights.effective);
        assert_eq!(found.weights.relative.len(), KEPT * 100);
        // Rounds that are let go take along all that is theirs.
        assert!(found.z.chunks_exact(4).map(|z| z[0]).eq(found.kept.iter().copied()));
    }
}
