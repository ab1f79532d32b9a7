//! Weights and card of a published estimator.

use super::{CARD, WEIGHTS};
use crate::error::NpeError;
use crate::storage::{Arrays, sha256_hex};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

const MEAN: &str = "_embedding_net.0._mean";
const STD: &str = "_embedding_net.0._std";
const SCALE: &str = "t0._scale";
const SHIFT: &str = "t0._shift";
/// More than these are a damaged file, not a network.
const MOST_BLOCKS: usize = 1024;
const MOST_LAYERS: usize = 64;

/// An estimator trained with sbi, as read from its files.
#[derive(Clone, Debug, PartialEq)]
pub struct PublishedModel {
    pub(super) card: Card,
    /// t0, [d] each.
    pub(super) scale: Vec<f32>,
    pub(super) shift: Vec<f32>,
    /// Of the context, [C] each.
    pub(super) mean: Vec<f32>,
    pub(super) std: Vec<f32>,
    pub(super) blocks: Vec<Block>,
}

/// The JSON document beside the weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Card {
    pub(super) source: String,
    pub(super) theta: Vec<String>,
    pub(super) context: String,
    /// In words, for a human reader.
    pub(super) transform: String,
    pub(super) made: String,
    pub(super) box_prior_low: Vec<f64>,
    pub(super) box_prior_high: Vec<f64>,
    /// SHA-256 of `model.safetensors`, once imported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) weights_sha256: Option<String>,
    /// SHA-256 of `vectors.safetensors`, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) vectors_sha256: Option<String>,
}

/// A MADE and the permutation after it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Block {
    /// Initial, hidden and final layer.
    pub(super) layers: Vec<Layer>,
    /// [h, C] and [h].
    pub(super) context: Vec<f32>,
    pub(super) context_bias: Vec<f32>,
    /// `z[i] = y[permutation[i]]`.
    pub(super) permutation: Vec<usize>,
}

/// A masked linear layer; weights are as stored, unmasked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Layer {
    /// [outputs, inputs].
    pub(super) weight: Vec<f32>,
    pub(super) bias: Vec<f32>,
    /// Degree of each output.
    pub(super) degrees: Vec<usize>,
}

impl Layer {
    /// Whether output `j` of the layer sees an input of degree `degree`.
    /// The last layer, `is_final`, must not see the coordinate it is for.
    pub(super) fn sees(&self, j: usize, degree: usize, is_final: bool) -> bool {
        if is_final { self.degrees[j] > degree } else { self.degrees[j] >= degree }
    }
}

/// Degrees of the coordinates: 1 to d.
pub(super) fn input_degrees(dims: usize) -> Vec<usize> {
    (1..=dims).collect()
}

/// Name of layer `k` of `layers` of block `b`.
fn layer_name(b: usize, k: usize, layers: usize) -> String {
    let place = 2 * b + 1;
    if k == 0 {
        format!("t{place}.initial_layer")
    } else if k + 1 == layers {
        format!("t{place}.final_layer")
    } else {
        format!("t{place}.blocks.{}.linear", k - 1)
    }
}

fn bad(what: &'static str, why: String) -> NpeError {
    NpeError::Unreadable { what, why }
}

impl PublishedModel {
    /// Reads `model.json` and the bytes of `model.safetensors`.
    ///
    /// # Errors
    /// [`NpeError::Unreadable`] naming the file, and the tensor that is
    /// missing, unknown, of the wrong shape or not finite.
    pub fn from_files(model_json: &str, safetensors: &[u8]) -> Result<Self, NpeError> {
        let card: Card = serde_json::from_str(model_json).map_err(|e| bad(CARD, e.to_string()))?;
        card.validate()?;
        if card.weights_sha256.as_ref().is_some_and(|d| *d != sha256_hex(safetensors)) {
            let why = "its SHA-256 is not the `weights_sha256` of model.json".to_owned();
            return Err(bad(WEIGHTS, why));
        }
        let mut arrays = Arrays::from_plain_bytes(WEIGHTS, safetensors)?;
        let (blocks, layers) = depth(&arrays)?;
        check_names(&arrays, blocks, layers)?;
        let d = card.theta.len();
        let shape = arrays.shape(MEAN).unwrap_or_default();
        let &[c] = shape else {
            return Err(bad(
                WEIGHTS,
                format!("tensor `{MEAN}` has shape {shape:?}, not [context]"),
            ));
        };
        let mut read = Reader { arrays: &mut arrays, dims: d, context: c, layers };
        let model = Self {
            scale: read.reals(SCALE, &[d])?,
            shift: read.reals(SHIFT, &[d])?,
            mean: read.reals(MEAN, &[c])?,
            std: read.reals(STD, &[c])?,
            blocks: (0..blocks).map(|b| read.block(b)).collect::<Result<_, _>>()?,
            card,
        };
        if model.std.iter().any(|s| *s <= 0.0) {
            return Err(bad(WEIGHTS, format!("tensor `{STD}` must be above 0")));
        }
        if model.scale.contains(&0.0) {
            return Err(bad(WEIGHTS, format!("tensor `{SCALE}` must not hold 0")));
        }
        Ok(model)
    }

    /// Names of the parameters, length d.
    #[must_use]
    pub fn theta(&self) -> &[String] {
        &self.card.theta
    }

    /// Number of parameters d.
    #[must_use]
    pub fn dims(&self) -> usize {
        self.card.theta.len()
    }

    /// Number of context values C.
    #[must_use]
    pub fn context_len(&self) -> usize {
        self.mean.len()
    }

    /// Number of blocks.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Units of the widest hidden layer.
    #[must_use]
    pub fn hidden(&self) -> usize {
        let hidden = |b: &Block| b.layers[..b.layers.len() - 1].iter().map(|l| l.bias.len()).max();
        self.blocks.iter().filter_map(hidden).max().unwrap_or(0)
    }

    /// What the context holds and where the network is from, in words.
    #[must_use]
    pub fn context_and_source(&self) -> (&str, &str) {
        (&self.card.context, &self.card.source)
    }

    /// The box that training draws came from: low and high, (d) each. The flow
    /// leaks beyond it; sbi rejects such draws.
    #[must_use]
    pub fn prior(&self) -> (&[f64], &[f64]) {
        (&self.card.box_prior_low, &self.card.box_prior_high)
    }

    /// Whether `theta`, (d), lies in the prior box.
    #[must_use]
    pub fn prior_contains(&self, theta: &[f64]) -> bool {
        let (low, high) = self.prior();
        theta.len() == low.len()
            && theta.iter().zip(low).zip(high).all(|((t, low), high)| t >= low && t <= high)
    }

    /// SHA-256 of [`PublishedModel::to_safetensors`].
    #[must_use]
    pub fn digest(&self) -> String {
        sha256_hex(&self.to_safetensors())
    }

    /// Checks the bytes of `vectors.safetensors` against the card's digest,
    /// if it has one.
    ///
    /// # Errors
    /// [`NpeError::Unreadable`] when they are others.
    pub fn check_vectors_digest(&self, vectors: &[u8]) -> Result<(), NpeError> {
        if self.card.vectors_sha256.as_ref().is_none_or(|d| *d == sha256_hex(vectors)) {
            return Ok(());
        }
        let why = "its SHA-256 is not the `vectors_sha256` of model.json".to_owned();
        Err(bad(super::VECTORS, why))
    }

    /// `model.json` with the digests of [`PublishedModel::to_safetensors`] and
    /// of the test vectors beside it, if any.
    #[must_use]
    pub fn to_json(&self, vectors: Option<&[u8]>) -> String {
        let card = Card {
            weights_sha256: Some(self.digest()),
            vectors_sha256: vectors.map(sha256_hex),
            ..self.card.clone()
        };
        let mut text = serde_json::to_string_pretty(&card).expect("plain data is always JSON");
        text.push('\n');
        text
    }

    /// The tensors, under nflows' names: the same bytes for the same model,
    /// whoever wrote the file it was read from.
    #[must_use]
    pub fn to_safetensors(&self) -> Vec<u8> {
        let mut arrays = Arrays::default();
        let (d, c) = (self.dims(), self.context_len());
        arrays.put_f32(SCALE, vec![d], &self.scale);
        arrays.put_f32(SHIFT, vec![d], &self.shift);
        arrays.put_f32(MEAN, vec![c], &self.mean);
        arrays.put_f32(STD, vec![c], &self.std);
        for (b, block) in self.blocks.iter().enumerate() {
            let mut degrees = input_degrees(d);
            let layers = block.layers.len();
            for (k, layer) in block.layers.iter().enumerate() {
                let name = layer_name(b, k, layers);
                let shape = vec![layer.bias.len(), degrees.len()];
                let mask: Vec<f32> = (0..layer.bias.len())
                    .flat_map(|j| degrees.iter().map(move |&g| (j, g)))
                    .map(|(j, g)| f32::from(u8::from(layer.sees(j, g, k + 1 == layers))))
                    .collect();
                arrays.put_f32(&format!("{name}.weight"), shape.clone(), &layer.weight);
                arrays.put_f32(&format!("{name}.mask"), shape, &mask);
                arrays.put_f32(&format!("{name}.bias"), vec![layer.bias.len()], &layer.bias);
                let own: Vec<i64> = layer.degrees.iter().map(|&g| g as i64).collect();
                arrays.put_i64(&format!("{name}.degrees"), vec![own.len()], &own);
                degrees.clone_from(&layer.degrees);
            }
            let (place, h) = (2 * b + 1, block.context_bias.len());
            arrays.put_f32(&format!("t{place}.context_layer.weight"), vec![h, c], &block.context);
            arrays.put_f32(&format!("t{place}.context_layer.bias"), vec![h], &block.context_bias);
            let order: Vec<i64> = block.permutation.iter().map(|&i| i as i64).collect();
            arrays.put_i64(&format!("t{}._permutation", place + 1), vec![d], &order);
        }
        arrays.to_plain_bytes()
    }
}

impl Card {
    fn validate(&self) -> Result<(), NpeError> {
        let d = self.theta.len();
        if d == 0 || self.theta.iter().collect::<BTreeSet<_>>().len() != d {
            return Err(bad(CARD, "`theta` must hold names, each once".to_owned()));
        }
        let (low, high) = (&self.box_prior_low, &self.box_prior_high);
        let ordered = || low.iter().zip(high).all(|(l, h)| l.is_finite() && h.is_finite() && l < h);
        if low.len() != d || high.len() != d || !ordered() {
            let why = format!(
                "`box_prior_low` and `box_prior_high` must hold {d} finite numbers each, one per \
                 name in `theta`, low below high"
            );
            return Err(bad(CARD, why));
        }
        Ok(())
    }
}

/// Blocks, and layers of each, as the names of the tensors have them.
fn depth(arrays: &Arrays) -> Result<(usize, usize), NpeError> {
    let (mut last, mut hidden) = (0, 0);
    for name in arrays.names() {
        let mut parts = name.split('.');
        let place = parts.next().and_then(|p| p.strip_prefix('t')?.parse::<usize>().ok());
        last = last.max(place.unwrap_or(0));
        if place.is_some() && parts.next() == Some("blocks") {
            let k = parts.next().and_then(|k| k.parse::<usize>().ok());
            hidden = hidden.max(k.map_or(0, |k| k.saturating_add(1)));
        }
    }
    let blocks = last.div_ceil(2).max(1);
    if blocks > MOST_BLOCKS || hidden > MOST_LAYERS {
        let why = format!(
            "its names speak of {blocks} blocks of {hidden} hidden layers: at most {MOST_BLOCKS} \
             of {MOST_LAYERS} are read"
        );
        return Err(bad(WEIGHTS, why));
    }
    Ok((blocks, hidden + 2))
}

/// Every tensor is there and no other is.
fn check_names(arrays: &Arrays, blocks: usize, layers: usize) -> Result<(), NpeError> {
    let mut expected: BTreeSet<String> = [MEAN, STD, SCALE, SHIFT].map(str::to_owned).into();
    for b in 0..blocks {
        for k in 0..layers {
            let name = layer_name(b, k, layers);
            let parts = ["weight", "bias", "mask", "degrees"];
            expected.extend(parts.map(|part| format!("{name}.{part}")));
        }
        let place = 2 * b + 1;
        expected.insert(format!("t{place}.context_layer.weight"));
        expected.insert(format!("t{place}.context_layer.bias"));
        expected.insert(format!("t{}._permutation", place + 1));
    }
    let found: BTreeSet<String> = arrays.names().map(str::to_owned).collect();
    let list = |names: Vec<&String>| {
        let shown: Vec<String> = names.iter().take(8).map(|n| format!("`{n}`")).collect();
        let more = names.len().saturating_sub(8);
        if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
    };
    let missing: Vec<&String> = expected.difference(&found).collect();
    let unknown: Vec<&String> = found.difference(&expected).collect();
    if !missing.is_empty() {
        return Err(bad(WEIGHTS, format!("missing tensors: {}", list(missing))));
    }
    if !unknown.is_empty() {
        return Err(bad(WEIGHTS, format!("unknown tensors: {}", list(unknown))));
    }
    Ok(())
}

struct Reader<'a> {
    arrays: &'a mut Arrays,
    dims: usize,
    context: usize,
    layers: usize,
}

impl Reader<'_> {
    fn reals(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, NpeError> {
        self.arrays.take_f32(WEIGHTS, name, shape)
    }

    /// Whole numbers, each at most `most`.
    fn places(&mut self, name: &str, shape: &[usize], most: usize) -> Result<Vec<usize>, NpeError> {
        let values = self.arrays.take_i64(WEIGHTS, name, shape)?;
        let place = |&v: &i64| {
            usize::try_from(v).ok().filter(|v| *v <= most).ok_or_else(|| {
                bad(WEIGHTS, format!("tensor `{name}` holds {v}: 0 to {most} is possible"))
            })
        };
        values.iter().map(place).collect()
    }

    fn block(&mut self, b: usize) -> Result<Block, NpeError> {
        let d = self.dims;
        let mut degrees = input_degrees(d);
        let mut layers = Vec::with_capacity(self.layers);
        for k in 0..self.layers {
            let layer = self.layer(b, k, &degrees)?;
            degrees.clone_from(&layer.degrees);
            layers.push(layer);
        }
        let (place, h) = (2 * b + 1, layers[0].bias.len());
        let name = format!("t{}._permutation", place + 1);
        let permutation = self.places(&name, &[d], d - 1)?;
        if permutation.iter().collect::<BTreeSet<_>>().len() != d {
            return Err(bad(WEIGHTS, format!("tensor `{name}` holds a coordinate twice")));
        }
        Ok(Block {
            layers,
            context: self.reals(&format!("t{place}.context_layer.weight"), &[h, self.context])?,
            context_bias: self.reals(&format!("t{place}.context_layer.bias"), &[h])?,
            permutation,
        })
    }

    /// Layer `k`, whose inputs have these degrees.
    fn layer(&mut self, b: usize, k: usize, below: &[usize]) -> Result<Layer, NpeError> {
        let (d, is_final) = (self.dims, k + 1 == self.layers);
        let name = layer_name(b, k, self.layers);
        let weight_name = format!("{name}.weight");
        let found = self.arrays.shape(&weight_name).unwrap_or_default();
        let rows = if is_final { 2 * d } else { found.first().copied().unwrap_or(0).max(1) };
        let shape = [rows, below.len()];
        let weight = self.reals(&weight_name, &shape)?;
        let bias = self.reals(&format!("{name}.bias"), &[rows])?;
        let mask_name = format!("{name}.mask");
        let mask = self.reals(&mask_name, &shape)?;
        let degrees_name = format!("{name}.degrees");
        let most = if is_final { d } else { d - 1 };
        let degrees = self.places(&degrees_name, &[rows], most)?;
        if is_final && degrees.iter().enumerate().any(|(j, &g)| g != j / 2 + 1) {
            let why = format!("tensor `{degrees_name}` must be 1, 1, 2, 2 and so on to {d}");
            return Err(bad(WEIGHTS, why));
        }
        let layer = Layer { weight, bias, degrees };
        for (at, &value) in mask.iter().enumerate() {
            let (j, i) = (at / below.len(), at % below.len());
            if value != f32::from(u8::from(layer.sees(j, below[i], is_final))) {
                let why = format!(
                    "tensor `{mask_name}` is {value} at [{j}, {i}], which the degrees contradict"
                );
                return Err(bad(WEIGHTS, why));
            }
        }
        Ok(layer)
    }
}
