//! The field: what is to be fitted, in its one fixed order.

use super::{column, flags_column, mean_snr, parameter, photometry, pixel_key};
use arrow::datatypes::{DataType, Schema};

/// Member pixels, sorted on (`galaxy_id`, `y`, `x`), with the block that each
/// belongs to. Fluxes are background-subtracted.
#[must_use]
pub fn field(bands: &[String]) -> Schema {
    let mut fields = vec![column("block", DataType::UInt32, false, "", "", "block of the sums")];
    fields.extend(pixel_key());
    let redshift = "redshift; null: unknown";
    fields.push(column("redshift", DataType::Float64, true, "", "src.redshift", redshift));
    fields.push(mean_snr());
    fields.push(flags_column());
    fields.extend(photometry(bands, &DataType::Float32));
    Schema::new(fields)
}

/// One row per galaxy of the field, sorted on `galaxy_id`, with the sums of its
/// pixels to fit: what its redshift is fitted to where it is not known.
#[must_use]
pub fn galaxies(bands: &[String]) -> Schema {
    let (redshift, number) = ("redshift; null: unknown", "meta.number");
    let mut fields = vec![
        column("galaxy_id", DataType::Int64, false, "", "meta.id;meta.main", "galaxy"),
        column("redshift", DataType::Float64, true, "", "src.redshift", redshift),
        column("x", DataType::Float64, false, "pixel", "", "mean column of the member pixels"),
        column("y", DataType::Float64, false, "pixel", "", "mean row of the member pixels"),
        column("pixels", DataType::UInt32, false, "", number, "member pixels"),
        column("first_block", DataType::UInt32, false, "", "", "first block of the galaxy"),
        column("blocks", DataType::UInt32, false, "", number, "number of blocks"),
    ];
    fields.extend(photometry(bands, &DataType::Float32));
    Schema::new(fields)
}

/// True parameters of a mock's pixels, row by row as in [`field`].
#[must_use]
pub fn truth(parameters: &[&str]) -> Schema {
    let mut fields = pixel_key();
    for (name, unit, ucd, meaning) in parameters.iter().map(|name| parameter(name)) {
        fields.push(column(*name, DataType::Float64, false, unit, ucd, meaning));
    }
    Schema::new(fields)
}
