//! The field: what is to be fitted, in its one fixed order.

use super::{column, parameter, photometry, pixel_key};
use arrow::datatypes::{DataType, Schema};

/// Member pixels, sorted on (`galaxy_id`, `y`, `x`), with the block that each
/// belongs to. Fluxes are background-subtracted.
#[must_use]
pub fn field(bands: &[String]) -> Schema {
    let mut fields = vec![column("block", DataType::UInt32, false, "", "block of the sums")];
    fields.extend(pixel_key());
    fields.push(column("redshift", DataType::Float64, true, "", "redshift; null: unknown"));
    fields.push(column("mean_snr", DataType::Float32, false, "", "mean S/N over the S/N bands"));
    fields.push(column("flags", DataType::UInt32, false, "", "why the pixel is not fitted"));
    fields.extend(photometry(bands, &DataType::Float32));
    Schema::new(fields)
}

/// One row per galaxy of the field, sorted on `galaxy_id`, with the sums of its
/// pixels to fit: what its redshift is fitted to where it is not known.
#[must_use]
pub fn galaxies(bands: &[String]) -> Schema {
    let mut fields = vec![
        column("galaxy_id", DataType::Int64, false, "", "galaxy"),
        column("redshift", DataType::Float64, true, "", "redshift; null: unknown"),
        column("x", DataType::Float64, false, "pixel", "mean column of the member pixels"),
        column("y", DataType::Float64, false, "pixel", "mean row of the member pixels"),
        column("pixels", DataType::UInt32, false, "", "member pixels"),
        column("first_block", DataType::UInt32, false, "", "first block of the galaxy"),
        column("blocks", DataType::UInt32, false, "", "number of blocks"),
    ];
    fields.extend(photometry(bands, &DataType::Float32));
    Schema::new(fields)
}

/// True parameters of a mock's pixels, row by row as in [`field`].
#[must_use]
pub fn truth(parameters: &[&str]) -> Schema {
    let mut fields = pixel_key();
    for (name, unit, meaning) in parameters.iter().map(|name| parameter(name)) {
        fields.push(column(*name, DataType::Float64, false, unit, meaning));
    }
    Schema::new(fields)
}
