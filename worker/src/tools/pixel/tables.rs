//! The tables behind a pixel's figures.

use super::{Model, PixelError, Prediction};
use crate::stages::StageError;
use crate::stages::again::Spot;
use crate::stages::table::{encode, encode_batches, list_f64, plain};
use arrow::array::{
    ArrayRef, Float32Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    UInt32Array,
};
use bytes::Bytes;
use outshine_formats::Table;
use outshine_schemas::tables::{PREDICTIVE, pixel_draws, predictive, predictive_bands};
use std::sync::Arc;

fn numbers(values: impl IntoIterator<Item = f64>) -> ArrayRef {
    Arc::new(Float64Array::from_iter_values(values))
}

fn key(spots: &[Spot]) -> Vec<ArrayRef> {
    vec![
        Arc::new(Int64Array::from_iter_values(spots.iter().map(|s| s.galaxy_id))),
        Arc::new(Int32Array::from_iter_values(spots.iter().map(|s| s.x))),
        Arc::new(Int32Array::from_iter_values(spots.iter().map(|s| s.y))),
    ]
}

/// The draws as a Parquet table.
pub(super) fn draws(model: &Model<'_>) -> Result<Bytes, StageError> {
    let names = model.science.reported;
    let column = |values: &[f32]| -> ArrayRef {
        Arc::new(Float32Array::from_iter_values(values.iter().copied()))
    };
    let mut columns: Vec<ArrayRef> = model.pixel.draws.columns().map(column).collect();
    columns.push(numbers((0..model.count()).map(|k| model.redshift(k))));
    let about = &model.science.provenance;
    Ok(encode("pixel_draws/1", pixel_draws(names), columns, about)?.0)
}

/// The check band by band, as Parquet and as CSV.
pub(super) fn bands(
    model: &Model<'_>,
    prediction: &Prediction,
) -> Result<(Bytes, Vec<u8>), PixelError> {
    let (pixel, check) = (model.pixel, &prediction.check);
    let bands = model.science.target.features.bands();
    let n = bands.len();
    let pivots = model.science.forward.pivots_angstrom();
    let observed = |b: usize| pixel.err_njy[b] > 0.0;
    let seen = |of: &dyn Fn(usize) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter((0..n).map(|b| observed(b).then(|| of(b)))))
    };
    let (flux, err) =
        (|b: usize| f64::from(pixel.flux_njy[b]), |b: usize| f64::from(pixel.err_njy[b]));
    let mut columns = key(&vec![pixel.spot; n]);
    columns.push(Arc::new(StringArray::from_iter_values(bands)));
    columns.push(numbers(pivots.iter().map(|angstrom| angstrom * 1e-4)));
    columns.push(seen(&flux));
    columns.push(seen(&err));
    for values in &prediction.percentiles_njy {
        columns.push(numbers(values.iter().copied()));
    }
    columns.push(seen(&|b| (flux(b) - prediction.percentiles_njy[2][b]) / err(b)));
    columns.push(Arc::new(UInt32Array::from_value(check.bands as u32, n)));
    columns.push(Arc::new(Float64Array::from_value(check.least, n)));
    columns.push(Arc::new(Float64Array::from_value(check.p_value, n)));
    let schema = Arc::new(predictive_bands());
    let batch = RecordBatch::try_new(schema.clone(), columns).map_err(StageError::from)?;
    let batches = std::slice::from_ref(&batch);
    let about = &model.science.provenance;
    let (bytes, _) = encode_batches("predictive_bands/1", &schema, batches, about)?;
    let table = Table {
        name: PREDICTIVE.0.to_owned(),
        description: PREDICTIVE.1.to_owned(),
        schema,
        batches: vec![batch],
        about: plain(),
    };
    let csv = outshine_formats::csv(&table).map_err(|e| StageError::Permanent(e.to_string()))?;
    Ok((bytes, csv))
}

/// The checks of pixels, which have the same number of draws, one row each: where they
/// are, their mean S/N, and what was predicted.
///
/// # Errors
/// When the table cannot be made.
pub fn predictive_table(rows: &[(Spot, f32, Prediction)]) -> Result<Bytes, StageError> {
    let spots: Vec<Spot> = rows.iter().map(|row| row.0).collect();
    let checks = || rows.iter().map(|row| &row.2.check);
    let draws = checks().next().map_or(0, |check| check.chi_square.len());
    let mut columns = key(&spots);
    columns.push(Arc::new(Float32Array::from_iter_values(rows.iter().map(|row| row.1))));
    columns.push(Arc::new(UInt32Array::from_iter_values(checks().map(|c| c.bands as u32))));
    columns.push(numbers(checks().map(|c| c.least)));
    columns.push(numbers(checks().map(|c| c.p_value)));
    let all = checks().flat_map(|c| c.chi_square.iter().copied()).collect();
    columns.push(list_f64(all, draws)?);
    Ok(encode("predictive/1", predictive(draws), columns, &plain())?.0)
}
