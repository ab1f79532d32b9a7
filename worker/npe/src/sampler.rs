//! Exact draws and densities of a trained model, without candle.
//!
//! The part of each block that depends on the pixel alone (context, and hidden
//! units of degree 0) is evaluated once per pixel. Draws go through in groups
//! of [`LANES`], one lane each: block after block from the noise, coordinate
//! after coordinate in the block's order, each hidden unit once, when its
//! degree is due. Lanes never mix, so a draw does not depend on its group.

use crate::coordinates::{Coordinates, HALF_LN_TAU};
use crate::error::{NpeError, check_length};
use crate::features::FeatureSpec;
use crate::flow::Architecture;
use crate::flow::maf::LAYERS;
use crate::flow::masks::BlockMask;
use crate::flow::ops::log_scale;
use crate::lane_group::{LANES, layer};
use crate::matmul::{Level, Skip, View, multiply_add};
use crate::model::Model;
use crate::standardisation::Standardisation;
use outshine_kernels::random::Stream;
use outshine_kernels::{lanes, scalar};

/// Bound of the unbounded coordinates in noise space and between blocks.
const WIDEST: f32 = 1e6;

/// A model laid out for drawing.
#[derive(Clone, Debug)]
pub struct Sampler {
    shape: Architecture,
    level: Level,
    coordinates: Coordinates,
    features: FeatureSpec,
    standardisation: Standardisation,
    blocks: Vec<Block>,
    /// Standard deviation of the base noise; 1 for the posterior as trained.
    base_scale: f32,
}

/// Weights of a block; coordinates are in the block's visiting order.
#[derive(Clone, Debug)]
struct Block {
    mask: BlockMask,
    /// From coordinates to the first layer, [d, h].
    seen: Vec<f32>,
    /// From the context to the first layer, [C, h], and its bias [h].
    given: Vec<f32>,
    first_bias: Vec<f32>,
    /// First to second layer, [h, h], and its bias.
    second: Vec<f32>,
    second_bias: Vec<f32>,
    /// Second layer to (shifts, raw log scales), [h, 2 d], and its bias.
    output: Vec<f32>,
    output_bias: Vec<f32>,
}

/// Work space of one thread.
#[derive(Debug, Default)]
pub struct Scratch {
    pixel: Pixel,
    hidden_1: Vec<f32>,
    hidden_2: Vec<f32>,
    /// Coordinates of the group, [d, LANES].
    state: Vec<f32>,
    /// The same in a block's order.
    placed: Vec<f32>,
}

/// What depends on the pixel alone.
#[derive(Debug, Default)]
struct Pixel {
    context: Vec<f32>,
    centre: Vec<f64>,
    scale: Vec<f64>,
    blocks: Vec<PixelBlock>,
}

#[derive(Debug, Default)]
struct PixelBlock {
    /// Inputs of the first layer from context and bias, [h].
    first: Vec<f32>,
    /// Inputs of the second layer from units of degree 0 and bias, [h].
    second: Vec<f32>,
    /// Outputs from units of degree 0 and bias, [2 d].
    output: Vec<f32>,
}

impl Sampler {
    /// Lays out a model for drawing.
    #[must_use]
    pub fn new(model: &Model) -> Self {
        let shape = model.architecture;
        let blocks = model.weights.chunks_exact(LAYERS).enumerate();
        Self {
            shape,
            level: Level::detect(),
            coordinates: model.coordinates.clone(),
            features: model.features.clone(),
            standardisation: model.standardisation.clone(),
            blocks: blocks.map(|(b, w)| Block::new(&shape, b, w)).collect(),
            base_scale: 1.0,
        }
    }

    /// The same flow from base noise of another standard deviation: below 1
    /// an overconfident posterior, above 1 a timid one. For tests of whatever
    /// must notice.
    #[must_use]
    pub fn with_base_scale(mut self, base_scale: f32) -> Self {
        self.base_scale = base_scale;
        self
    }

    /// The prior box of the draws.
    #[must_use]
    pub fn coordinates(&self) -> &Coordinates {
        &self.coordinates
    }

    /// Bands and features.
    #[must_use]
    pub fn features(&self) -> &FeatureSpec {
        &self.features
    }

    /// Draws `n` points from p(theta | flux, err, redshift).
    ///
    /// `flux`, `err`: nJy per band, err 0, negative or NaN = not observed.
    /// Draw k takes the numbers k d .. (k + 1) d of `stream`'s normals. `out`:
    /// [n, d] row-major, in the bounded coordinates; every draw is in the box.
    ///
    /// # Errors
    /// [`NpeError::Pixel`] for input that is not finite or shows nothing;
    /// [`NpeError::Length`] for slices of the wrong length.
    pub fn draw(
        &self,
        flux: &[f32],
        err: &[f32],
        redshift: f64,
        stream: &mut Stream,
        n: usize,
        scratch: &mut Scratch,
        out: &mut [f64],
    ) -> Result<(), NpeError> {
        let d = self.shape.dims;
        check_length("out", out.len(), n * d)?;
        self.features.check(flux, err, redshift)?;
        self.see_pixel(flux, err, redshift, &mut scratch.pixel);
        for group in out.chunks_mut(LANES * d) {
            scratch.state.clear();
            scratch.state.resize(d * LANES, 0.0);
            for k in 0..group.len() / d {
                for i in 0..d {
                    scratch.state[i * LANES + k] = self.base_scale * stream.normal() as f32;
                }
            }
            self.denoise(scratch);
            for (k, draw) in group.chunks_exact_mut(d).enumerate() {
                for i in 0..d {
                    let w = f64::from(scratch.state[i * LANES + k]);
                    let u = scratch.pixel.centre[i] + scratch.pixel.scale[i] * w;
                    draw[i] = self.coordinates.to_box(i, u);
                }
            }
        }
        Ok(())
    }

    /// ln p(theta | flux, err, redshift), a density in the bounded coordinates:
    /// minus infinity outside the box, NaN for a pixel that [`Sampler::draw`]
    /// refuses.
    #[must_use]
    pub fn log_prob(&self, flux: &[f32], err: &[f32], redshift: f64, theta: &[f64]) -> f64 {
        if self.features.check(flux, err, redshift).is_err()
            || theta.len() != self.shape.dims
            || theta.iter().any(|t| t.is_nan())
        {
            return f64::NAN;
        }
        if !self.coordinates.contains(theta) {
            return f64::NEG_INFINITY;
        }
        let mut pixel = Pixel::default();
        self.see_pixel(flux, err, redshift, &mut pixel);
        let (z, log_jacobian) = self.to_noise(&pixel, theta);
        let scale = f64::from(self.base_scale);
        let square = |z: &f32| 0.5 * (f64::from(*z) / scale) * (f64::from(*z) / scale);
        let squares: f64 = z.iter().map(square).sum();
        log_jacobian - squares - (HALF_LN_TAU + scalar::ln(scale)) * z.len() as f64
    }

    /// The noise that a draw came from.
    #[cfg(test)]
    pub(crate) fn noise_of(
        &self,
        flux: &[f32],
        err: &[f32],
        redshift: f64,
        theta: &[f64],
    ) -> Vec<f64> {
        let mut pixel = Pixel::default();
        self.see_pixel(flux, err, redshift, &mut pixel);
        self.to_noise(&pixel, theta).0.into_iter().map(f64::from).collect()
    }

    /// The same sampler on another instruction set.
    #[cfg(test)]
    pub(crate) fn with_level(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    /// Features, crude estimate and the constant part of every block.
    fn see_pixel(&self, flux: &[f32], err: &[f32], redshift: f64, pixel: &mut Pixel) {
        let (d, c, h) = (self.shape.dims, self.shape.features, self.shape.hidden);
        let mut raw = vec![0.0; c];
        self.features.features(flux, err, redshift, &mut raw);
        pixel.context.resize(c, 0.0);
        pixel.centre.resize(d, 0.0);
        pixel.scale.resize(d, 0.0);
        self.standardisation.context(&raw, &mut pixel.context);
        self.standardisation.crude(&pixel.context, &mut pixel.centre, &mut pixel.scale);
        pixel.blocks.resize_with(self.blocks.len(), PixelBlock::default);
        for (block, constant) in self.blocks.iter().zip(&mut pixel.blocks) {
            let free = block.mask.units(0).end;
            constant.first.clone_from(&block.first_bias);
            let (x, w) = (View::new(&pixel.context, c), View::new(&block.given, h));
            self.add((1, c, h), x, w, &mut constant.first, h);

            let mut unit = constant.first[..free].to_vec();
            relu(&mut unit);
            constant.second.clone_from(&block.second_bias);
            let (x, w) = (View::new(&unit, free), View::new(&block.second, h));
            self.add((1, free, h), x, w, &mut constant.second, h);

            unit.copy_from_slice(&constant.second[..free]);
            relu(&mut unit);
            constant.output.clone_from(&block.output_bias);
            let (x, w) = (View::new(&unit, free), View::new(&block.output, 2 * d));
            self.add((1, free, 2 * d), x, w, &mut constant.output, 2 * d);
        }
    }

    fn add(
        &self,
        shape: (usize, usize, usize),
        a: View<'_>,
        b: View<'_>,
        c: &mut [f32],
        width: usize,
    ) {
        multiply_add(self.level, shape, a, b, Skip::Nothing, c, width);
    }

    /// Noise to standardised coordinates, for the group in `scratch.state`.
    fn denoise(&self, scratch: &mut Scratch) {
        let (d, h) = (self.shape.dims, self.shape.hidden);
        scratch.hidden_1.resize(h * LANES, 0.0);
        scratch.hidden_2.resize(h * LANES, 0.0);
        scratch.placed.resize(d * LANES, 0.0);
        for (block, constant) in self.blocks.iter().zip(&scratch.pixel.blocks).rev() {
            let free = block.mask.units(0).end;
            for place in 0..d {
                let units = block.mask.units(place);
                if place > 0 {
                    self.hidden_units(
                        block,
                        constant,
                        place,
                        &scratch.placed,
                        &mut scratch.hidden_1,
                        &mut scratch.hidden_2,
                    );
                }
                // Shift and raw log scale of this place.
                let mut outputs = [0.0f32; 2 * LANES];
                let constants = [constant.output[place], constant.output[d + place]];
                let hidden = &scratch.hidden_2[free * LANES..units.end * LANES];
                let data = block.output.get(free * 2 * d + place..).unwrap_or_default();
                let weights = View { data, rows: d, cols: 2 * d };
                layer(self.level, &constants, weights, hidden, &mut outputs);
                let (shift, raw) = outputs.split_at(LANES);
                let row = block.mask.order[place] * LANES;
                let z = &scratch.state[row..row + LANES];
                let x = &mut scratch.placed[place * LANES..(place + 1) * LANES];
                for l in 0..LANES {
                    let value = z[l] * lanes::exp_f32(log_scale(raw[l])) + shift[l];
                    x[l] = value.clamp(-WIDEST, WIDEST);
                }
            }
            for (place, &coordinate) in block.mask.order.iter().enumerate() {
                scratch.state[coordinate * LANES..(coordinate + 1) * LANES]
                    .copy_from_slice(&scratch.placed[place * LANES..(place + 1) * LANES]);
            }
        }
    }

    /// Both layers' units of one degree, which see the places below it.
    fn hidden_units(
        &self,
        block: &Block,
        constant: &PixelBlock,
        degree: usize,
        placed: &[f32],
        hidden_1: &mut [f32],
        hidden_2: &mut [f32],
    ) {
        let h = self.shape.hidden;
        let free = block.mask.units(0).end;
        let units = block.mask.units(degree);
        let own = units.start * LANES..units.end * LANES;

        let one = &mut hidden_1[own.clone()];
        let weights = View { data: &block.seen[units.start..], rows: 1, cols: h };
        let below = &placed[..degree * LANES];
        layer(self.level, &constant.first[units.clone()], weights, below, one);
        relu(one);

        let two = &mut hidden_2[own];
        let weights = View { data: &block.second[free * h + units.start..], rows: 1, cols: h };
        let below = &hidden_1[free * LANES..units.end * LANES];
        layer(self.level, &constant.second[units], weights, below, two);
        relu(two);
    }

    /// Bounded coordinates to noise, and ln |dz / dtheta|.
    fn to_noise(&self, pixel: &Pixel, theta: &[f64]) -> (Vec<f32>, f64) {
        let (d, h) = (self.shape.dims, self.shape.hidden);
        let mut log_jacobian = 0.0;
        let mut z = Vec::with_capacity(d);
        for i in 0..d {
            let (u, log_du) = self.coordinates.to_unbounded(i, theta[i]);
            z.push(((u - pixel.centre[i]) / pixel.scale[i]) as f32);
            log_jacobian += log_du - scalar::ln(pixel.scale[i]);
        }
        for (block, constant) in self.blocks.iter().zip(&pixel.blocks) {
            let free = block.mask.units(0).end;
            let placed: Vec<f32> = block.mask.order.iter().map(|&c| z[c]).collect();
            let mut one = constant.first.clone();
            self.add((1, d, h), View::new(&placed, d), View::new(&block.seen, h), &mut one, h);
            relu(&mut one);
            let mut two = constant.second.clone();
            let (x, w) =
                (View::new(&one[free..], h - free), View::new(&block.second[free * h..], h));
            self.add((1, h - free, h), x, w, &mut two, h);
            relu(&mut two);
            let mut output = constant.output.clone();
            let width = 2 * d;
            let x = View::new(&two[free..], h - free);
            let w = View::new(&block.output[free * width..], width);
            self.add((1, h - free, width), x, w, &mut output, width);
            for (place, &coordinate) in block.mask.order.iter().enumerate() {
                let a = log_scale(output[d + place]);
                z[coordinate] = (placed[place] - output[place]) * lanes::exp_f32(-a);
                log_jacobian -= f64::from(a);
            }
        }
        (z, log_jacobian)
    }
}

impl Block {
    fn new(shape: &Architecture, block: usize, weights: &[Vec<f32>]) -> Self {
        let (d, c, h) = (shape.dims, shape.features, shape.hidden);
        let mask = shape.mask(block);
        let (first, second, output) = (&weights[0], &weights[1], &weights[2]);
        let seen = mask.order.iter().flat_map(|&i| first[i * h..(i + 1) * h].iter().copied());
        let placed = |row: &[f32]| -> Vec<f32> {
            (0..2).flat_map(|half| mask.order.iter().map(move |&i| row[half * d + i])).collect()
        };
        let output: Vec<f32> = output.chunks_exact(2 * d).flat_map(placed).collect();
        Self {
            seen: seen.collect(),
            given: first[d * h..(d + c) * h].to_vec(),
            first_bias: first[(d + c) * h..].to_vec(),
            second: second[..h * h].to_vec(),
            second_bias: second[h * h..].to_vec(),
            output: output[..h * 2 * d].to_vec(),
            output_bias: output[h * 2 * d..].to_vec(),
            mask,
        }
    }
}

fn relu(values: &mut [f32]) {
    for x in values {
        *x = if *x > 0.0 { *x } else { 0.0 };
    }
}
