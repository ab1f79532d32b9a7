//! Exact draws and densities of a trained model, without candle.
//!
//! What depends on the object alone is computed once per object, for many
//! objects together ([`Sampler::see`]); draws then go through in groups of
//! [`LANES`], one vector lane each ([`Sampler::draw`]). Neither objects nor
//! lanes mix, so a draw depends on its object, its random words and nothing else.

mod coupling;
mod maf;
mod redshift;

pub use redshift::RedshiftPosterior;

use crate::coordinates::Coordinates;
use crate::density::{Density, DensitySpec, Target};
use crate::error::{NpeError, check_length};
use crate::features::{FeatureSpec, signal_to_noise};
use crate::flow::Architecture;
use crate::lane_group::LANES;
use crate::matmul::Level;
use crate::model::Model;
use crate::recalibration::{PROBES, Recalibration, Tilt};
use crate::standardisation::Standardisation;
use coupling::{CouplingSampler, CouplingScratch, Prepared};
use maf::{Constants, MafSampler, MafScratch};
use outshine_kernels::random::{Purpose, Stream};
use outshine_kernels::{scalar, wide};

/// Most draws tried per draw that is kept; one in two or more is.
const MOST_TRIES: usize = 64;
/// Bound of the unbounded coordinates in noise space and between layers.
const WIDEST: f32 = 1e6;

/// A model laid out for drawing.
#[derive(Clone, Debug)]
pub struct Sampler {
    target: Target,
    parameters: Drawable,
    redshift: Option<Drawable>,
    recalibration: Option<Recalibration>,
    /// Random words of the draws that centre and width are of.
    probe_words: Vec<u32>,
    /// Standard deviation of the base noise; 1 for the posterior as trained.
    base_scale: f32,
}

/// One object to fit.
#[derive(Clone, Copy, Debug)]
pub struct Object<'a> {
    /// Fluxes, nJy per band.
    pub flux: &'a [f32],
    /// Errors, nJy per band; 0, negative or NaN = not observed.
    pub err: &'a [f32],
    /// Redshift.
    pub redshift: f64,
}

/// A density laid out for drawing.
#[derive(Clone, Debug)]
struct Drawable {
    spec: DensitySpec,
    standardisation: Standardisation,
    engine: Engine,
}

#[derive(Clone, Debug)]
enum Engine {
    Coupling(Box<CouplingSampler>),
    Maf(Box<MafSampler>),
}

/// What draws need to know of some objects.
#[derive(Debug, Default)]
pub struct Seen {
    /// Centre and scale of the coordinates, [objects, d].
    centre: Vec<f64>,
    scale: Vec<f64>,
    conditions: Vec<Conditions>,
    /// How the density of each object is tilted; empty where no model is.
    tilts: Vec<Option<Tilt>>,
}

#[derive(Debug)]
enum Conditions {
    Coupling(Vec<f32>, Prepared),
    Maf(Constants),
}

/// Work space of one thread.
#[derive(Debug, Default)]
pub struct Scratch {
    words: Vec<u32>,
    bits: Vec<u32>,
    /// Coordinates of the group, [d, LANES].
    state: Vec<f32>,
    coupling: CouplingScratch,
    maf: MafScratch,
}

/// Words of [`PROBES`] draws: a mixture's components as often as they are probable,
/// and each normal number with its negative.
fn probe_words(dims: usize) -> Vec<u32> {
    let mut stream = Stream::new(0, Purpose::Probe, dims as u64, 0);
    let mut words = vec![0; PROBES * (dims + 1)];
    let (half, mirrored) = words.split_at_mut(PROBES / 2 * (dims + 1));
    stream.fill(half);
    let draws = half.chunks_exact_mut(dims + 1).zip(mirrored.chunks_exact_mut(dims + 1));
    for (k, (draw, mirror)) in draws.enumerate() {
        draw[0] = (2 * k as u32 + 1) << (u32::BITS - PROBES.trailing_zeros());
        mirror[0] = draw[0];
        for (mirror, word) in mirror[1..].iter_mut().zip(&draw[1..]) {
            *mirror = !word;
        }
    }
    words
}

impl Seen {
    /// Number of objects.
    #[must_use]
    pub fn len(&self) -> usize {
        self.conditions.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.conditions.is_empty()
    }

    /// How object `i` is tilted.
    pub(crate) fn tilt(&self, i: usize) -> Option<&Tilt> {
        self.tilts.get(i).and_then(Option::as_ref)
    }
}

impl Drawable {
    fn new(density: &Density, level: Level) -> Self {
        let weights = &density.weights;
        let engine = match density.spec.architecture {
            Architecture::Coupling(shape) => {
                Engine::Coupling(Box::new(CouplingSampler::new(shape, weights, level)))
            }
            Architecture::Maf(shape) => {
                Engine::Maf(Box::new(MafSampler::new(shape, weights, level)))
            }
        };
        let standardisation = density.standardisation.clone();
        Self { spec: density.spec.clone(), standardisation, engine }
    }

    /// `features`: [objects, C], of which the leading ones are looked at.
    fn see(&self, features: &[f32], objects: usize) -> Seen {
        let (d, c) = (self.spec.architecture.dims(), self.spec.architecture.context());
        let mut seen = Seen::default();
        seen.centre.resize(objects * d, 0.0);
        seen.scale.resize(objects * d, 0.0);
        let mut contexts = vec![0.0; objects * c];
        let width = features.len() / objects.max(1);
        for (i, context) in contexts.chunks_exact_mut(c).enumerate() {
            self.standardisation.context(&features[i * width..i * width + c], context);
            let own = i * d..(i + 1) * d;
            let (centre, scale) = (&mut seen.centre[own.clone()], &mut seen.scale[own]);
            self.standardisation.crude(context, centre, scale);
        }
        match &self.engine {
            Engine::Coupling(sampler) => {
                let outputs = sampler.outputs(&contexts);
                seen.conditions.extend(outputs.chunks_exact(sampler.width()).map(|outputs| {
                    Conditions::Coupling(outputs.to_vec(), sampler.prepare(outputs))
                }));
            }
            Engine::Maf(sampler) => {
                let contexts = contexts.chunks_exact(c);
                seen.conditions.extend(contexts.map(|x| Conditions::Maf(sampler.see(x))));
            }
        }
        seen
    }

    /// ln density of `theta` in the bounded coordinates, inside the box.
    fn log_prob(&self, seen: &Seen, i: usize, theta: &[f64]) -> f64 {
        let d = theta.len();
        let (mut log_jacobian, mut w, mut point) = (0.0, Vec::with_capacity(d), vec![]);
        for (k, value) in theta.iter().enumerate() {
            let (u, log_du) = self.spec.coordinates.to_unbounded(k, *value);
            let scale = seen.scale[i * d + k];
            w.push(((u - seen.centre[i * d + k]) / scale) as f32);
            log_jacobian += log_du - scalar::ln(scale);
            point.push(u as f32);
        }
        let log_tilt = seen.tilt(i).map_or(0.0, |tilt| {
            let mut log_weight = [0.0];
            tilt.log_weights(&point, &mut log_weight);
            f64::from(log_weight[0]) - tilt.log_norm()
        });
        let log_q = match (&self.engine, &seen.conditions[i]) {
            (Engine::Coupling(s), Conditions::Coupling(outputs, _)) => s.log_density(outputs, &w),
            (Engine::Maf(s), Conditions::Maf(constants)) => s.log_density(constants, &w),
            _ => f64::NAN,
        };
        log_q + log_jacobian + log_tilt
    }
}

impl Sampler {
    /// Lays out a model for drawing.
    #[must_use]
    pub fn new(model: &Model) -> Self {
        Self::at_level(model, Level::detect())
    }

    /// The same on one instruction set.
    pub(crate) fn at_level(model: &Model, level: Level) -> Self {
        let dims = model.target.coordinates.len();
        Self {
            recalibration: model.recalibration.clone(),
            probe_words: probe_words(dims),
            target: model.target.clone(),
            parameters: Drawable::new(&model.densities[0], level),
            redshift: model.densities.get(1).map(|d| Drawable::new(d, level)),
            base_scale: 1.0,
        }
    }

    /// The same densities with draws from base noise of another standard
    /// deviation: below 1 overconfident, above 1 timid. For tests of whatever
    /// must notice.
    #[must_use]
    pub fn with_base_scale(mut self, base_scale: f32) -> Self {
        self.base_scale = base_scale;
        self
    }

    /// The prior box of the draws.
    #[must_use]
    pub fn coordinates(&self) -> &Coordinates {
        &self.target.coordinates
    }

    /// Bands and features.
    #[must_use]
    pub fn features(&self) -> &FeatureSpec {
        &self.target.features
    }

    /// Range of redshifts that training saw.
    #[must_use]
    pub fn redshift_range(&self) -> (f64, f64) {
        self.target.redshift
    }

    /// Runs the network on some objects: best a few dozen at a time.
    ///
    /// # Errors
    /// [`NpeError::Pixel`] for input that is not finite or shows nothing;
    /// [`NpeError::Length`] for slices of the wrong length.
    pub fn see(&self, objects: &[Object<'_>]) -> Result<Seen, NpeError> {
        let spec = &self.target.features;
        let c = spec.len();
        let mut features = vec![0.0; objects.len() * c];
        for (object, features) in objects.iter().zip(features.chunks_exact_mut(c)) {
            spec.check(object.flux, object.err, object.redshift)?;
            spec.features(object.flux, object.err, object.redshift, features);
        }
        let mut seen = self.parameters.see(&features, objects.len());
        if let Some(recalibration) = &self.recalibration {
            let mut scratch = Scratch::default();
            for (i, o) in objects.iter().enumerate() {
                let snr = signal_to_noise(o.flux, o.err);
                let probes = || self.probes(&seen, i, &mut scratch);
                let tilt = recalibration.tilt(snr, o.redshift, probes);
                seen.tilts.push(tilt);
            }
        }
        Ok(seen)
    }

    /// Draws of fixed noise of object `i`, before any recalibration: [d, [`PROBES`]]
    /// unbounded coordinates.
    pub(crate) fn probes(&self, seen: &Seen, i: usize, s: &mut Scratch) -> Vec<f32> {
        let d = self.target.coordinates.len();
        let mut probes = vec![0.0; d * PROBES];
        for (k, words) in self.probe_words.chunks(LANES * (d + 1)).enumerate() {
            self.unbounded(seen, i, words, s);
            let lanes = words.len() / (d + 1);
            for (row, values) in probes.chunks_exact_mut(PROBES).zip(s.state.chunks_exact(LANES)) {
                row[k * LANES..k * LANES + lanes].copy_from_slice(&values[..lanes]);
            }
        }
        probes
    }

    /// [`PROBES`] points of the density before any recalibration, [d, [`PROBES`]], of
    /// fixed noise: point k of object number `which(k)` of `seen`. None where objects
    /// are not tilted, whose draws are of that density.
    pub fn untilted(&self, seen: &Seen, which: impl Fn(usize) -> usize, out: &mut Vec<f32>) {
        out.clear();
        let tilts: Vec<&Tilt> = (0..PROBES).filter_map(|k| seen.tilt(which(k))).collect();
        if tilts.len() < PROBES {
            return;
        }
        for i in 0..self.target.coordinates.len() {
            let start = out.len();
            out.extend(tilts.iter().enumerate().map(|(k, tilt)| tilt.probes()[i * PROBES + k]));
            self.bound(i, &mut out[start..]);
        }
    }

    /// Values of coordinate `i` from unbounded ones.
    fn bound(&self, i: usize, values: &mut [f32]) {
        let (low, high) = (self.coordinates().low()[i], self.coordinates().high()[i]);
        wide::normal_to_range(values, low as f32, high as f32);
    }

    /// Draws `n` points from p(theta | object `i` of `seen`).
    ///
    /// Without tilt, draw k takes the words k (d + 1) .. (k + 1) (d + 1) of `stream`;
    /// with one, it is the k-th that is kept, d + 2 words each. `out`:
    /// [d, n], coordinate after coordinate; every draw is in the box.
    ///
    /// # Errors
    /// [`NpeError::Length`] when `out` has the wrong length.
    ///
    /// # Panics
    /// When there is no object `i`.
    pub fn draw(
        &self,
        seen: &Seen,
        i: usize,
        stream: &mut Stream,
        n: usize,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) -> Result<(), NpeError> {
        check_length("out", out.len(), n * self.target.coordinates.len())?;
        self.draw_part(seen, i, stream, 0..n, n, scratch, out);
        Ok(())
    }

    /// Draws number `range` of `n`, into their places in `out`.
    fn draw_part(
        &self,
        seen: &Seen,
        i: usize,
        stream: &mut Stream,
        range: std::ops::Range<usize>,
        n: usize,
        s: &mut Scratch,
        out: &mut [f32],
    ) {
        let d = self.target.coordinates.len();
        let tilt = seen.tilt(i);
        let mut drawn = std::mem::take(&mut s.words);
        let (mut start, mut tries) = (range.start, MOST_TRIES * (range.len() + LANES));
        while start < range.end {
            let wanted = LANES.min(range.end - start);
            // Where draws are rejected, all lanes are tried, so that a draw does
            // not depend on how many are wanted.
            let mut lanes = if tilt.is_some() { LANES } else { wanted };
            drawn.resize(lanes * (d + 1), 0);
            stream.fill(&mut drawn);
            self.unbounded(seen, i, &drawn, s);
            if let Some(tilt) = tilt {
                drawn.resize(lanes, 0);
                stream.fill(&mut drawn);
                tries = tries.saturating_sub(lanes);
                if tries > 0 {
                    lanes = tilt.keep(&drawn, &mut s.state);
                }
            }
            lanes = lanes.min(wanted);
            for k in 0..d {
                let values = &mut s.state[k * LANES..k * LANES + lanes];
                self.bound(k, values);
                out[k * n + start..k * n + start + lanes].copy_from_slice(values);
            }
            start += lanes;
        }
        s.words = drawn;
    }

    /// Turns random words, d + 1 per draw and [`LANES`] draws at most, into
    /// unbounded coordinates in `s.state`, before any recalibration.
    fn unbounded(&self, seen: &Seen, i: usize, words: &[u32], s: &mut Scratch) {
        let d = self.target.coordinates.len();
        s.state.resize(d * LANES, 0.0);
        s.bits.resize(d * LANES, 0);
        let mut choice = [0u32; LANES];
        for (l, words) in words.chunks_exact(d + 1).enumerate() {
            choice[l] = words[0];
            for k in 0..d {
                s.bits[k * LANES + l] = words[1 + k];
            }
        }
        wide::normals(&s.bits, &mut s.state);
        if self.base_scale != 1.0 {
            s.state.iter_mut().for_each(|z| *z *= self.base_scale);
        }
        match (&self.parameters.engine, &seen.conditions[i]) {
            (Engine::Coupling(sampler), Conditions::Coupling(outputs, prepared)) => {
                sampler.denoise(outputs, prepared, &choice, &mut s.state, &mut s.coupling);
            }
            (Engine::Maf(sampler), Conditions::Maf(constants)) => {
                sampler.denoise(constants, &mut s.state, &mut s.maf);
            }
            _ => unreachable!("objects are seen by the sampler that draws"),
        }
        for k in 0..d {
            let (centre, scale) = (seen.centre[i * d + k] as f32, seen.scale[i * d + k] as f32);
            for w in &mut s.state[k * LANES..(k + 1) * LANES] {
                *w = centre + scale * *w;
            }
        }
    }

    /// Draws `n` points of one object whose redshift is known in distribution:
    /// `seen` holds the object at each of some redshifts, equally probable, in
    /// order; draw k is made at redshift number floor(k m / n) of m.
    ///
    /// # Errors
    /// As [`Sampler::draw`].
    pub fn draw_over(
        &self,
        seen: &Seen,
        stream: &mut Stream,
        n: usize,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) -> Result<(), NpeError> {
        check_length("out", out.len(), n * self.target.coordinates.len())?;
        let m = seen.len();
        let first = |i: usize| (i * n).div_ceil(m.max(1));
        for i in 0..m {
            self.draw_part(seen, i, stream, first(i)..first(i + 1), n, scratch, out);
        }
        Ok(())
    }

    /// ln p(theta | object), a density in the bounded coordinates: minus
    /// infinity outside the box, NaN for an object that [`Sampler::see`] refuses.
    #[must_use]
    pub fn log_prob(&self, object: &Object<'_>, theta: &[f64]) -> f64 {
        if theta.len() != self.coordinates().len() || theta.iter().any(|t| t.is_nan()) {
            return f64::NAN;
        }
        let Ok(seen) = self.see(&[*object]) else { return f64::NAN };
        if !self.coordinates().contains(theta) {
            return f64::NEG_INFINITY;
        }
        self.parameters.log_prob(&seen, 0, theta)
    }

    /// ln p of parameters inside the box, of object `i` of `seen`.
    ///
    /// # Panics
    /// When there is no object `i`, or not one value per coordinate.
    #[must_use]
    pub fn log_prob_of(&self, seen: &Seen, i: usize, theta: &[f64]) -> f64 {
        assert_eq!(theta.len(), self.coordinates().len(), "one value per coordinate");
        self.parameters.log_prob(seen, i, theta)
    }

    /// p(redshift | fluxes): `None` when the model has no such density.
    ///
    /// # Errors
    /// As [`Sampler::see`].
    pub fn redshift(
        &self,
        flux: &[f32],
        err: &[f32],
    ) -> Result<Option<RedshiftPosterior>, NpeError> {
        let spec = &self.target.features;
        let Some(density) = &self.redshift else { return Ok(None) };
        // The features of redshift are the last ones; this density has none.
        spec.check(flux, err, 0.0)?;
        let mut features = vec![0.0; spec.len()];
        spec.features(flux, err, 0.0, &mut features);
        let seen = density.see(&features, 1);
        let (Engine::Coupling(sampler), Conditions::Coupling(outputs, _)) =
            (&density.engine, &seen.conditions[0])
        else {
            return Ok(None);
        };
        let parts = sampler.components(outputs);
        let place = (seen.centre[0], seen.scale[0]);
        let range = self.target.redshift;
        Ok(Some(RedshiftPosterior::new(sampler.tails(), &parts, place, range)))
    }
}
