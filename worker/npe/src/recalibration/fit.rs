//! How strong the tilt must be for simulations to lie in intervals as often as
//! they should.
//!
//! Objects count at the four nodes about them by their weights there. All
//! strengths are moved together, [`ROUNDS`] times, each by how far coverage of
//! the central 50 and 68 % intervals of its quantity is off at its node, over
//! what a unit of strength changes for a normal distribution. Weighting draws
//! stands for rejecting them. A node with few objects stays near 0. A strength
//! may be negative: drawing A_V together draws the start of star formation along.

use super::{Frame, Place, Recalibration, STRENGTHS, ceiling, log_weight};
use crate::error::NpeError;
use crate::examples::Examples;
use crate::features::signal_to_noise;
use crate::model::Model;
use crate::sampler::{Object, Sampler, Scratch};
use crate::train::parallel;
use outshine_kernels::lanes;
use outshine_kernels::random::{Purpose, Stream};

/// Draws per object.
const DRAWS: usize = 128;
/// Objects seen together.
const TOGETHER: usize = 64;
/// Objects per piece of work.
const PIECE: usize = 4096;
/// Central intervals, and the change of their coverage per unit of strength:
/// that per ln of the width, 0.43 and 0.48, times d ln(width) = -dk / 2.
const LEVELS: [(f64, f64); 2] = [(0.5, -0.21), (0.68, -0.24)];
/// Rounds of the fit, and the share of the way that each goes.
const ROUNDS: usize = 25;
const STEP: f64 = 0.6;
/// Objects' worth of no tilt at every node.
const PRIOR: f64 = 500.0;
/// Most examples of a pass: some 250 MB are kept of as many, most of them tilted.
const MOST_EXAMPLES: u64 = 200_000;
/// Far from epochs that a training has.
const FIRST_EPOCH: u64 = 1 << 32;
/// Steps of a stored deviate, and its bound.
const STEPS: f32 = 2048.0;
const BOUND: f32 = 15.9;

/// Objects that a tilt reaches.
#[derive(Default)]
struct Bright {
    places: Vec<Place>,
    /// [objects, quantities, true value and draws] deviates t, in [`STEPS`].
    deviates: Vec<i16>,
}

impl Bright {
    fn object(&self, k: usize, quantities: usize) -> &[i16] {
        let size = quantities * (DRAWS + 1);
        &self.deviates[k * size..(k + 1) * size]
    }
}

/// The model with a tilt such that its intervals hold the true values of
/// simulations as often as they should, fitted to `passes` passes over `data`,
/// observed afresh; no pass, no tilt, and none up to `snr`. Neither threads nor
/// processors change a byte.
///
/// # Errors
/// [`NpeError::Example`] for an example that cannot be made; as [`Sampler::see`].
pub fn recalibrated(
    mut model: Model,
    data: &dyn Examples,
    passes: u32,
    snr: f64,
    threads: usize,
) -> Result<Model, NpeError> {
    model.recalibration = None;
    model.training.config.recalibration_passes = passes;
    model.training.config.recalibration_snr = snr;
    if passes == 0 {
        return Ok(model);
    }
    let sampler = Sampler::new(&model);
    let mut found = Recalibration::none(model.coordinates(), snr, model.redshift_range());
    let mut bright = Bright::default();
    let examples = data.len().min(MOST_EXAMPLES);
    for epoch in (FIRST_EPOCH..).take(passes as usize) {
        data.begin(epoch, threads)?;
        let look = |piece: usize| {
            let from = (piece * PIECE) as u64;
            let range = from..(from + PIECE as u64).min(examples);
            look(&sampler, &found, data, epoch, range)
        };
        for part in parallel(threads, examples.div_ceil(PIECE as u64) as usize, look) {
            let mut part = part?;
            bright.places.append(&mut part.places);
            bright.deviates.append(&mut part.deviates);
        }
    }
    for _ in 0..ROUNDS {
        round(&mut found, &bright, threads);
    }
    model.recalibration = Some(found);
    Ok(model)
}

/// Draws of those objects `range` of `epoch` that a tilt reaches.
fn look(
    sampler: &Sampler,
    nodes: &Recalibration,
    data: &dyn Examples,
    epoch: u64,
    range: std::ops::Range<u64>,
) -> Result<Bright, NpeError> {
    let (d, bands) = (sampler.coordinates().len(), sampler.features().bands().len());
    let mut rows = Vec::new();
    for index in range {
        let (mut theta, mut flux, mut err) = (vec![0.0; d], vec![0.0; bands], vec![0.0; bands]);
        let redshift = data.fill(index, epoch, &mut theta, &mut flux, &mut err);
        let snr = signal_to_noise(&flux, &err);
        if nodes.reaches(snr) {
            rows.push((index, snr, redshift, theta, flux, err));
        }
    }
    let mut done = Bright::default();
    let mut scratch = Scratch::default();
    let mut draws = vec![0.0f32; d * DRAWS];
    for rows in rows.chunks(TOGETHER) {
        let objects: Vec<Object<'_>> = rows
            .iter()
            .map(|(_, _, redshift, _, flux, err)| Object { flux, err, redshift: *redshift })
            .collect();
        let seen = sampler.see(&objects)?;
        for (k, (index, snr, redshift, theta, _, _)) in rows.iter().enumerate() {
            done.places.push(nodes.place(*snr, *redshift));
            let rate = nodes.rate.map(|rate| rate.at(*redshift));
            let frame = Frame::about(&sampler.probes(&seen, k, &mut scratch), rate);
            let mut stream = Stream::new(epoch, Purpose::Recalibration, *index, 0);
            sampler.draw(&seen, k, &mut stream, DRAWS, &mut scratch, &mut draws)?;
            // The true value, and the draws.
            let mut points = Vec::with_capacity(d * (DRAWS + 1));
            for (i, draws) in draws.chunks_exact(DRAWS).enumerate() {
                let values = std::iter::once(theta[i]).chain(draws.iter().map(|v| f64::from(*v)));
                points.extend(values.map(|v| sampler.coordinates().to_unbounded(i, v).0 as f32));
            }
            frame.deviates(&points, DRAWS + 1, |_, deviates| {
                let stored = deviates.iter().map(|t| (t.clamp(-BOUND, BOUND) * STEPS) as i16);
                done.deviates.extend(stored);
            });
        }
    }
    Ok(done)
}

/// Moves all strengths once.
fn round(found: &mut Recalibration, bright: &Bright, threads: usize) {
    let (nodes, quantities) = (found.nodes(), found.quantities());
    let current = &*found;
    let count = bright.places.len();
    let sums = parallel(threads, count.div_ceil(PIECE), |piece| {
        let mut weight = vec![0.0f64; nodes];
        let mut inside = vec![[0.0f64; 2]; quantities * nodes];
        for k in piece * PIECE..((piece + 1) * PIECE).min(count) {
            let place = &bright.places[k];
            place.iter().for_each(|&(node, w)| weight[node] += w);
            for (i, rank) in ranks(current, place, bright.object(k, quantities)).enumerate() {
                for (level, (share, _)) in LEVELS.iter().enumerate() {
                    if (rank - 0.5).abs() < 0.5 * share {
                        for &(node, w) in place {
                            inside[i * nodes + node][level] += w;
                        }
                    }
                }
            }
        }
        (weight, inside)
    });
    let (mut weight, mut inside) = (vec![0.0; nodes], vec![[0.0; 2]; quantities * nodes]);
    for (part_weight, part_inside) in sums {
        weight.iter_mut().zip(part_weight).for_each(|(sum, w)| *sum += w);
        for (sum, part) in inside.iter_mut().zip(part_inside) {
            sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
    }
    // Nodes at the limit of the reach stay without.
    for at in (0..quantities * nodes).filter(|at| at % nodes >= found.ln_one_plus_z.len()) {
        let total = weight[at % nodes] + PRIOR;
        let mut push = 0.0;
        for (level, (share, slope)) in LEVELS.iter().enumerate() {
            // Objects of the prior, that lie inside as often as they should if not tilted.
            let prior = PRIOR * (share + slope * found.strength[at]);
            push += 0.5 * (share - (inside[at][level] + prior) / total) / slope;
        }
        found.strength[at] =
            (found.strength[at] + STEP * push).clamp(*STRENGTHS.start(), *STRENGTHS.end());
    }
}

/// Rank of the true value of each quantity among the weighted draws.
fn ranks(found: &Recalibration, place: &Place, deviates: &[i16]) -> impl Iterator<Item = f64> {
    let mut weights = [0.0f32; DRAWS];
    let rows = || deviates.chunks_exact(DRAWS + 1);
    for (i, row) in rows().enumerate() {
        let strength = found.strength(i, place) as f32;
        for (weight, &t) in weights.iter_mut().zip(&row[1..]) {
            *weight += log_weight(strength, f32::from(t) / STEPS);
        }
    }
    let ceiling = ceiling(&mut weights.clone());
    weights.iter_mut().for_each(|w| *w = lanes::exp_f32((*w - ceiling).min(0.0)));
    let total: f64 = weights.iter().map(|w| f64::from(*w)).sum();
    rows().map(move |row| {
        let draws = row[1..].iter().zip(&weights);
        let share = |t: i16, w: f32| match t.cmp(&row[0]) {
            std::cmp::Ordering::Less => f64::from(w),
            std::cmp::Ordering::Equal => 0.5 * f64::from(w),
            std::cmp::Ordering::Greater => 0.0,
        };
        draws.map(|(t, w)| share(*t, *w)).sum::<f64>() / total
    })
}
