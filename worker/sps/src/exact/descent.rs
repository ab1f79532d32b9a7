//! Downhill to where the data are fitted: damped Gauss-Newton steps on
//!
//! C(z) = sum over bands of pull^2 / 2 + (z - z_0)^T A (z - z_0) / 2,
//!
//! a pull being (model - data) / error at the mass that fits best, and A the
//! anchor: how firmly z is held at its start z_0.
//!
//! The mass is taken out of the derivatives as well (Kaufman 1975, BIT 15, 49):
//! J is what is left of them across the direction of the fluxes themselves.

use super::MOST_DIMS;
use super::importance::Target;
use super::matrix::{factor, inverse_of};
use crate::error::SpsError;

/// Least and largest step of a derivative.
const DIFFERENCE: (f64, f64) = (1e-3, 0.03);
/// The same in widths of what data and anchor allow.
const DIFFERENCE_WIDTHS: f64 = 0.2;
/// Longest step along a coordinate, and farthest place.
const LONGEST: f64 = 1.0;
const FARTHEST: f64 = 4.0;
/// Tries of a step, each shorter.
const TRIES: usize = 3;

/// Where a descent ends.
pub struct Seed {
    /// (dims).
    pub z: Vec<f64>,
    /// (dims, dims) J^T J there.
    pub curvature: Vec<f64>,
    /// Misfit and prior: sum of pull^2 / 2 + z^2 / 2.
    pub cost: f64,
}

impl Seed {
    /// Whether the model has fluxes there and nearby.
    pub fn is_sound(&self) -> bool {
        self.cost.is_finite() && self.curvature.iter().all(|c| c.is_finite())
    }
}

/// A point and the model there.
struct Place {
    z: Vec<f64>,
    pulls: Vec<f64>,
    flux: Vec<f64>,
}

impl Place {
    fn new(target: &mut dyn Target, z: Vec<f64>) -> Result<Self, SpsError> {
        let bands = target.bands();
        let (mut pulls, mut flux) = (vec![0.0; bands], vec![0.0; bands]);
        target.pulls(&z, &mut pulls, &mut flux)?;
        Ok(Self { z, pulls, flux })
    }

    fn misfit(&self) -> f64 {
        0.5 * self.pulls.iter().map(|p| p * p).sum::<f64>()
    }
}

/// Goes downhill from `start` in so many steps; with none, the curvature there.
///
/// `anchor`: (dims, dims) A, symmetric.
///
/// # Errors
/// Those of the model.
pub fn descend(
    target: &mut dyn Target,
    start: &[f64],
    anchor: &[f64],
    steps: usize,
) -> Result<Seed, SpsError> {
    let d = start.len();
    let held = |z: &[f64]| {
        let mut gradient = [0.0; MOST_DIMS];
        let mut cost = 0.0;
        for i in 0..d {
            gradient[i] = (0..d).map(|j| anchor[i * d + j] * (z[j] - start[j])).sum();
            cost += 0.5 * gradient[i] * (z[i] - start[i]);
        }
        (gradient, cost)
    };
    let mut here = Place::new(target, start.to_vec())?;
    let mut cost = here.misfit();
    let mut damping = 0.0;
    let mut curvature = vec![0.0; d * d];
    for step in 0..=steps {
        let jacobian = derivatives(target, &here, anchor, &curvature)?;
        let rows = || jacobian.chunks_exact(here.pulls.len());
        for (i, a) in rows().enumerate() {
            for (j, b) in rows().enumerate() {
                curvature[i * d + j] = a.iter().zip(b).map(|(a, b)| a * b).sum();
            }
        }
        if step == steps {
            break;
        }
        let (mut gradient, _) = held(&here.z);
        for (g, row) in gradient.iter_mut().zip(rows()) {
            *g += row.iter().zip(&here.pulls).map(|(j, p)| j * p).sum::<f64>();
        }
        for _ in 0..TRIES {
            let mut matrix: Vec<f64> = curvature.iter().zip(anchor).map(|(c, a)| c + a).collect();
            (0..d).for_each(|i| matrix[i * d + i] *= 1.0 + damping);
            let inverse = inverse_of(&factor(&matrix, d), d);
            let mut z = here.z.clone();
            for (z, row) in z.iter_mut().zip(inverse.chunks_exact(d)) {
                let step: f64 = row.iter().zip(&gradient).map(|(m, g)| m * g).sum();
                *z = (*z - step.clamp(-LONGEST, LONGEST)).clamp(-FARTHEST, FARTHEST);
            }
            let there = Place::new(target, z)?;
            let new = there.misfit() + held(&there.z).1;
            if new < cost {
                (here, cost) = (there, new);
                damping *= 0.2;
                break;
            }
            damping = (10.0 * damping).max(0.1);
        }
    }
    let square: f64 = here.z.iter().map(|z| z * z).sum();
    Ok(Seed { cost: here.misfit() + 0.5 * square, z: here.z, curvature })
}

/// J, (dims, bands), by differences towards the middle of the prior.
///
/// `curvature`: J^T J of a place nearby, or 0.
fn derivatives(
    target: &mut dyn Target,
    here: &Place,
    anchor: &[f64],
    curvature: &[f64],
) -> Result<Vec<f64>, SpsError> {
    let (d, bands) = (here.z.len(), here.pulls.len());
    let norm = here.flux.iter().map(|f| f * f).sum::<f64>().max(f64::MIN_POSITIVE);
    let mut jacobian = Vec::with_capacity(d * bands);
    for i in 0..d {
        let known = (anchor[i * d + i] + curvature[i * d + i]).sqrt();
        let step = (DIFFERENCE_WIDTHS / known).clamp(DIFFERENCE.0, DIFFERENCE.1);
        let step = if here.z[i] > 0.0 { -step } else { step };
        let mut z = here.z.clone();
        z[i] += step;
        let there = Place::new(target, z)?;
        let slope = there.flux.iter().zip(&here.flux).map(|(there, here)| (there - here) / step);
        jacobian.extend(slope);
        let row = &mut jacobian[i * bands..];
        let along = row.iter().zip(&here.flux).map(|(r, f)| r * f).sum::<f64>() / norm;
        row.iter_mut().zip(&here.flux).for_each(|(r, f)| *r -= along * f);
    }
    Ok(jacobian)
}
