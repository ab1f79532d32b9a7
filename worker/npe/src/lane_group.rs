//! Draws that go through a flow together, one vector lane each.
//!
//! Values of a unit or coordinate are [`LANES`] numbers side by side. Lanes
//! never mix, so a draw does not depend on its group.

use crate::matmul::{Level, Skip, View, multiply_add};

/// Draws of a group.
pub(crate) const LANES: usize = 64;

/// Units of a masked layer, before their nonlinearity.
///
/// `out`: [units, LANES] = `constants` [units] + `weights` [units, depth] times
/// `inputs` [depth, LANES], the inputs that the mask lets these units see.
pub(crate) fn layer(
    level: Level,
    constants: &[f32],
    weights: View<'_>,
    inputs: &[f32],
    out: &mut [f32],
) {
    for (row, value) in out.chunks_exact_mut(LANES).zip(constants) {
        row.fill(*value);
    }
    let shape = (constants.len(), inputs.len() / LANES, LANES);
    multiply_add(level, shape, weights, View::new(inputs, LANES), Skip::Nothing, out, LANES);
}
