//! A row of the catalogue, and its columns.

use super::Galaxy;
use super::extent::Extent;
use crate::stages::Job;
use crate::stages::blocks::{MASSES, QUANTITIES};
use crate::stages::model::Trained;
use crate::stages::redshifts::Redshifts;
use arrow::array::{ArrayRef, Float64Array, Int32Array, Int64Array, StringArray, UInt32Array};
use outshine_catalogue::interval::Interval;
use outshine_schemas::CODE_VERSION;
use std::sync::Arc;

/// One quantity of a galaxy.
#[derive(Clone, Copy, Default)]
pub struct Quantity {
    /// From its pixels.
    pub resolved: Option<Interval>,
    /// As one object.
    pub integrated: Option<Interval>,
    /// In its fitted pixels, for mocks.
    pub truth: Option<f64>,
    /// Share of the draws below the truth.
    pub resolved_rank: Option<f64>,
    /// The same as one object.
    pub integrated_rank: Option<f64>,
}

/// One row of the catalogue.
#[derive(Default)]
pub struct Row {
    /// Fitted pixels.
    pub used: u32,
    /// Bands of the integrated fit.
    pub bands: u32,
    /// Mean S/N as one object.
    pub mean_snr: Option<f64>,
    /// Those of [`crate::stages::blocks::parameters`].
    pub quantities: [Quantity; QUANTITIES],
    /// The masses if errors of pixels go together, and the share of the draws below
    /// the truth.
    pub correlated: [Option<(Interval, Option<f64>)>; MASSES],
    /// Where its mass lies.
    pub extent: Extent,
    /// Flag bits.
    pub flags: u32,
}

/// Columns of the catalogue.
pub fn columns(
    job: &Job,
    trained: &Trained,
    galaxies: &[Galaxy],
    redshifts: &Redshifts,
    rows: &[Row],
) -> Vec<ArrayRef> {
    let number = |of: &dyn Fn(&Row) -> Option<f64>| -> ArrayRef {
        Arc::new(Float64Array::from_iter(rows.iter().map(of)))
    };
    let above = galaxies
        .iter()
        .zip(rows)
        .map(|(g, row)| Some(f64::from(row.extent.above_snr?) / f64::from(g.pixels)));
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(galaxies.iter().map(|g| g.galaxy_id))),
        Arc::new(Float64Array::from_iter_values(galaxies.iter().map(|g| g.x))),
        Arc::new(Float64Array::from_iter_values(galaxies.iter().map(|g| g.y))),
        Arc::new(Float64Array::from_iter(galaxies.iter().map(|g| g.redshift))),
        fitted_redshift(galaxies, redshifts, |i| i.p16),
        fitted_redshift(galaxies, redshifts, |i| i.p50),
        fitted_redshift(galaxies, redshifts, |i| i.p84),
        Arc::new(UInt32Array::from_iter_values(galaxies.iter().map(|g| g.pixels))),
        Arc::new(UInt32Array::from_iter_values(rows.iter().map(|r| r.used))),
        Arc::new(Float64Array::from_iter(above)),
        Arc::new(UInt32Array::from_iter_values(rows.iter().map(|r| r.bands))),
        number(&|row| row.mean_snr),
    ];
    for i in 0..QUANTITIES {
        let mut push = |of: &dyn Fn(&Quantity) -> Option<f64>| {
            columns.push(number(&|row| of(&row.quantities[i])));
        };
        push(&|q| q.resolved.map(|v| v.p16));
        push(&|q| q.resolved.map(|v| v.p50));
        push(&|q| q.resolved.map(|v| v.p84));
        push(&|q| q.integrated.map(|v| v.p16));
        push(&|q| q.integrated.map(|v| v.p50));
        push(&|q| q.integrated.map(|v| v.p84));
        push(&|q| Some(q.resolved?.p50 - q.integrated?.p50));
        push(&|q| q.truth);
        push(&|q| q.resolved_rank);
        push(&|q| q.integrated_rank);
    }
    for i in 0..MASSES {
        columns.push(number(&|row| Some(row.correlated[i]?.0.p16)));
        columns.push(number(&|row| Some(row.correlated[i]?.0.p50)));
        columns.push(number(&|row| Some(row.correlated[i]?.0.p84)));
        columns.push(number(&|row| row.correlated[i]?.1));
    }
    let circles = || rows.iter().map(|row| row.extent.circle);
    columns.push(Arc::new(Int32Array::from_iter(circles().map(|c| Some(c?.x)))));
    columns.push(Arc::new(Int32Array::from_iter(circles().map(|c| Some(c?.y)))));
    columns.push(number(&|row| Some(row.extent.circle?.radius_px)));
    for i in 0..3 {
        columns.push(number(&|row| row.extent.means[i].central));
        columns.push(number(&|row| row.extent.means[i].inside));
        columns.push(number(&|row| row.extent.means[i].outside));
    }
    columns.push(Arc::new(UInt32Array::from_iter_values(rows.iter().map(|r| r.flags))));
    let (model, input) = (trained.digest.as_str(), job.campaign.input());
    let input = input.as_str();
    columns.push(Arc::new(StringArray::from_iter_values(rows.iter().map(|_| model))));
    columns.push(Arc::new(StringArray::from_iter_values(rows.iter().map(|_| input))));
    columns.push(Arc::new(StringArray::from_iter_values(rows.iter().map(|_| CODE_VERSION))));
    columns
}

/// A quantile of the redshifts of the galaxies where none is known.
fn fitted_redshift(
    galaxies: &[Galaxy],
    redshifts: &Redshifts,
    of: fn(Interval) -> f64,
) -> ArrayRef {
    let value = |g: &Galaxy| Some(of(Interval::of(&mut redshifts.get(&g.galaxy_id)?.clone())));
    Arc::new(Float64Array::from_iter(galaxies.iter().map(value)))
}
