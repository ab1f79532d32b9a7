//! Where the conditioner's outputs and the couplings' weights lie.

use super::CouplingShape;
use crate::flow::Layer;
use std::ops::Range;

/// Bound of the log scale of one coupling.
pub(crate) const COUPLING_SCALE_LIMIT: f32 = 2.0;
/// Bound of the log inverse widths of the mixture.
pub(crate) const MIXTURE_SCALE_LIMIT: f32 = 8.0;
/// Bound of the coordinates that a coupling looks at.
pub(crate) const COUPLING_INPUT_LIMIT: f32 = 30.0;

/// One coupling layer.
#[derive(Clone, Debug)]
pub struct Split {
    /// Coordinates that it looks at.
    pub given: Vec<usize>,
    /// Coordinates that it moves.
    pub moved: Vec<usize>,
    /// Among the conditioner's outputs: constants of the units.
    pub units: Range<usize>,
    /// Among the conditioner's outputs: constants of (raw log scales, shifts).
    pub affine: Range<usize>,
    /// Among the couplings' weights: U, [given, units].
    pub inward: Range<usize>,
    /// Among the couplings' weights: V, [2 moved, units].
    pub outward: Range<usize>,
}

/// Places of everything that a [`CouplingShape`] implies.
///
/// The conditioner's outputs start with one record per component of the
/// mixture: logit, d means, d raw log inverse widths, and d (d - 1) / 2
/// entries t_ij of a unit lower triangle, row by row. Noise of a component:
/// z_i = exp(a_i) (r_i + sum over j < i of t_ij r_j) with r = w - mean.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The shape.
    pub shape: CouplingShape,
    /// Values of one component's record.
    pub record: usize,
    /// Couplings, from data to noise.
    pub splits: Vec<Split>,
    /// Outputs of the conditioner.
    pub outputs: usize,
    /// Weights of all couplings.
    pub weights: usize,
}

impl Layout {
    /// Lays out a shape.
    #[must_use]
    pub fn new(shape: CouplingShape) -> Self {
        let d = shape.dims;
        let record = 1 + 2 * d + d * (d - 1) / 2;
        let (mut outputs, mut weights) = (shape.components * record, 0);
        let take = |from: &mut usize, n: usize| {
            *from += n;
            *from - n..*from
        };
        let mut splits = Vec::new();
        for l in 0..if d > 1 { shape.couplings } else { 0 } {
            let (given, moved): (Vec<usize>, Vec<usize>) =
                (0..d).partition(|&i| inner(i, d) == (l % 2 == 1));
            splits.push(Split {
                units: take(&mut outputs, shape.units),
                affine: take(&mut outputs, 2 * moved.len()),
                inward: take(&mut weights, given.len() * shape.units),
                outward: take(&mut weights, 2 * moved.len() * shape.units),
                given,
                moved,
            });
        }
        Self { shape, record, splits, outputs, weights }
    }

    /// Shapes of all weight matrices, in the order in which they are kept. The
    /// last row of a layer of the conditioner is its bias.
    #[must_use]
    pub fn layers(&self) -> Vec<Layer> {
        let (c, h) = (self.shape.context, self.shape.hidden);
        let layer = |name: String, rows, cols| Layer { name, rows, cols, masked: false };
        let mut layers = vec![layer("conditioner.input".into(), c + 1, h)];
        for block in 0..self.shape.blocks {
            layers.push(layer(format!("conditioner.{block:02}.first"), h + 1, h));
            layers.push(layer(format!("conditioner.{block:02}.second"), h + 1, h));
        }
        layers.push(layer("conditioner.output".into(), h + 1, self.outputs));
        if self.weights > 0 {
            layers.push(layer("couplings".into(), 1, self.weights));
        }
        layers
    }
}

/// Whether a coordinate is moved by the even couplings: all but the first and
/// the last two, which are the shape of the history between mass, metallicity
/// and attenuation; every other one where there are too few for that.
fn inner(i: usize, d: usize) -> bool {
    if d >= 4 { i > 0 && i + 2 < d } else { i % 2 == 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::coupling::Tails;

    #[test]
    fn every_place_is_taken_once() {
        for (dims, components, couplings) in [(1, 3, 4), (2, 1, 2), (3, 2, 3), (5, 4, 6), (7, 2, 4)]
        {
            let shape = CouplingShape {
                dims,
                context: 3,
                blocks: 1,
                hidden: 8,
                components,
                couplings,
                units: 5,
                tails: Tails::Normal,
            };
            let layout = Layout::new(shape);
            assert_eq!(layout.splits.len(), if dims > 1 { couplings } else { 0 });
            let (mut output, mut weight) = (components * layout.record, 0);
            for split in &layout.splits {
                assert!(!split.given.is_empty() && !split.moved.is_empty());
                assert_eq!((split.units.start, split.inward.start), (output, weight));
                assert_eq!(split.affine.start, split.units.end);
                assert_eq!(split.outward.start, split.inward.end);
                (output, weight) = (split.affine.end, split.outward.end);
                let mut all = [split.given.clone(), split.moved.clone()].concat();
                all.sort_unstable();
                assert_eq!(all, (0..dims).collect::<Vec<_>>());
            }
            assert_eq!((layout.outputs, layout.weights), (output, weight));
        }
    }
}
