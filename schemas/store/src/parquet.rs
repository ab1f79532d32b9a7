//! Tables to bytes and back. The same table always gives the same bytes.
//!
//! Files are zstd-compressed Parquet with page statistics; floating-point columns are stored as
//! byte streams, which compress better than dictionaries where values are all different; lists of
//! numbers rounded to be shared ([`encode_shared`]) are stored as dictionaries. Readable by pyarrow
//! and DuckDB.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ::parquet::arrow::ArrowSchemaConverter;
use ::parquet::arrow::ArrowWriter;
use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use ::parquet::basic::{Compression, Encoding, Type, ZstdLevel};
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::KeyValue;
use ::parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use ::parquet::schema::types::ColumnPath;
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use bytes::Bytes;

use crate::{StoreError, Table};

/// Written into every file in place of the library's name and version, which would change the
/// bytes with each update of the library.
const CREATED_BY: &str = "outshine";
/// Good compression at hundreds of megabytes per second.
const ZSTD_LEVEL: i32 = 3;
/// Bytes of a dictionary of a list column; one that grows beyond is given up for byte streams.
/// Room for 1024 numbers, as the bits of an index do not compress where they are not whole bytes.
const DICTIONARY_BYTES: usize = 4096;
/// Values per page of a list column stored as a dictionary: a page is compressed by the
/// frequencies of its own numbers, so it should be short, but for the cost of their table.
const DICTIONARY_PAGE_VALUES: usize = 8192;
/// Rows decoded at a time.
const BATCH_ROWS: usize = 8192;
/// What arrow's own schema is stored under; no user metadata.
const ARROW_SCHEMA_KEY: &str = "ARROW:schema";

/// Writes a table of `batches`, which must have the fields of `schema`.
///
/// `metadata` becomes key-value pairs of the file, sorted by key; metadata in the schema and its
/// fields is dropped, as its order is not stable. `row_group_rows` is the number of rows per row
/// group (the last one may be shorter) and must not be 0. How the rows are cut into batches does
/// not change the bytes.
pub fn encode(
    schema: &Schema,
    batches: &[RecordBatch],
    metadata: &[(&str, &str)],
    row_group_rows: usize,
) -> Result<Bytes, StoreError> {
    if row_group_rows == 0 {
        return Err(StoreError::Encode { reason: "row groups of 0 rows".to_owned() });
    }
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let mut row_groups = vec![row_group_rows; rows / row_group_rows];
    row_groups.push(rows % row_group_rows);
    write(schema, batches, properties(schema, metadata)?, &row_groups)
}

/// As [`encode`], for fixed-size lists of single precision (draws) whose numbers are shared by many
/// rows of a row group: these columns become dictionaries. `row_groups` is the number of rows of
/// each row group, and must add up to the rows of the table. Any numbers can be stored; those that
/// are not shared take a little more room than by [`encode`].
pub fn encode_shared(
    schema: &Schema,
    batches: &[RecordBatch],
    metadata: &[(&str, &str)],
    row_groups: &[usize],
) -> Result<Bytes, StoreError> {
    let mut properties = properties(schema, metadata)?;
    for field in schema.fields() {
        let DataType::FixedSizeList(item, width) = field.data_type() else { continue };
        if *item.data_type() != DataType::Float32 {
            continue;
        }
        // As the columns of the file are called.
        let leaf = ["list", item.name()].map(str::to_owned);
        let path = ColumnPath::new([field.name().clone()].into_iter().chain(leaf).collect());
        let values_per_row = usize::try_from(*width).unwrap_or(0).max(1);
        let page_rows = (DICTIONARY_PAGE_VALUES / values_per_row).max(1);
        properties = properties
            .set_column_dictionary_enabled(path.clone(), true)
            .set_column_dictionary_page_size_limit(path.clone(), DICTIONARY_BYTES)
            .set_column_data_page_row_count_limit(path.clone(), page_rows)
            // Nobody looks for a page by the range of its draws.
            .set_column_statistics_enabled(path, EnabledStatistics::None);
    }
    // Nor where one lies: a row group holds a few.
    properties =
        properties.set_statistics_enabled(EnabledStatistics::Chunk).set_offset_index_disabled(true);
    write(schema, batches, properties, row_groups)
}

fn write(
    schema: &Schema,
    batches: &[RecordBatch],
    properties: WriterPropertiesBuilder,
    row_groups: &[usize],
) -> Result<Bytes, StoreError> {
    let schema = Arc::new(without_metadata(schema));
    // One batch per row group: pages are cut at batch ends too, and the caller's batches must not
    // show in the file.
    let renamed: Vec<RecordBatch> = batches
        .iter()
        .map(|batch| RecordBatch::try_new(schema.clone(), batch.columns().to_vec()))
        .collect::<Result<_, _>>()
        .map_err(encode_error)?;
    let whole = arrow::compute::concat_batches(&schema, &renamed).map_err(encode_error)?;
    if row_groups.iter().sum::<usize>() != whole.num_rows() {
        let reason = format!("row groups of {row_groups:?} rows for {} rows", whole.num_rows());
        return Err(StoreError::Encode { reason });
    }

    // Row groups end where they are flushed.
    let properties = properties.set_max_row_group_row_count(None).build();
    let mut bytes = Vec::new();
    let mut writer =
        ArrowWriter::try_new(&mut bytes, schema, Some(properties)).map_err(encode_error)?;
    let mut start = 0;
    for &rows in row_groups.iter().filter(|&&rows| rows > 0) {
        writer.write(&whole.slice(start, rows)).map_err(encode_error)?;
        writer.flush().map_err(encode_error)?;
        start += rows;
    }
    writer.close().map_err(encode_error)?;
    Ok(Bytes::from(bytes))
}

fn encode_error(error: impl std::error::Error + 'static) -> StoreError {
    StoreError::Encode { reason: crate::error::full_text(&error) }
}

fn properties(
    schema: &Schema,
    metadata: &[(&str, &str)],
) -> Result<WriterPropertiesBuilder, StoreError> {
    let sorted: BTreeMap<&str, &str> = metadata.iter().copied().collect();
    if sorted.len() != metadata.len() {
        return Err(StoreError::Encode { reason: "a metadata key is given twice".to_owned() });
    }
    let pairs = sorted
        .into_iter()
        .map(|(key, value)| KeyValue::new(key.to_owned(), value.to_owned()))
        .collect();
    let level = ZstdLevel::try_new(ZSTD_LEVEL).map_err(encode_error)?;
    let mut builder = WriterProperties::builder()
        .set_created_by(CREATED_BY.to_owned())
        .set_compression(Compression::ZSTD(level))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_key_value_metadata(Some(pairs));
    let stored =
        ArrowSchemaConverter::new().convert(&without_metadata(schema)).map_err(encode_error)?;
    for column in stored.columns() {
        if matches!(column.physical_type(), Type::FLOAT | Type::DOUBLE) {
            builder = builder
                .set_column_dictionary_enabled(column.path().clone(), false)
                .set_column_encoding(column.path().clone(), Encoding::BYTE_STREAM_SPLIT);
        }
    }
    Ok(builder)
}

fn without_metadata(schema: &Schema) -> Schema {
    Schema::new(schema.fields().iter().map(plain_field).collect::<Vec<FieldRef>>())
}

fn plain_field(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::List(item) => DataType::List(plain_field(item)),
        DataType::LargeList(item) => DataType::LargeList(plain_field(item)),
        DataType::FixedSizeList(item, length) => {
            DataType::FixedSizeList(plain_field(item), *length)
        }
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(plain_field).collect()),
        other => other.clone(),
    };
    Arc::new(Field::new(field.name(), data_type, field.is_nullable()))
}

/// Reads a table; `name` is what error messages call it. `columns` picks columns by name, in the
/// file's order; `None` reads all.
pub fn decode(name: &str, bytes: Bytes, columns: Option<&[&str]>) -> Result<Table, StoreError> {
    let corrupt = |reason: String| StoreError::Corrupt { path: name.to_owned(), reason };
    if bytes.is_empty() {
        return Err(corrupt("the file is empty".to_owned()));
    }
    // Damaged bytes can lead the library to an assertion of its own.
    catch_unwind(AssertUnwindSafe(|| read(name, bytes, columns)))
        .unwrap_or_else(|_| Err(corrupt("no readable Parquet file".to_owned())))
}

fn read(name: &str, bytes: Bytes, columns: Option<&[&str]>) -> Result<Table, StoreError> {
    let size = bytes.len();
    let corrupt = |error: &ParquetError| StoreError::Corrupt {
        path: name.to_owned(),
        reason: format!("no readable Parquet file of {size} bytes, truncated perhaps: {error}"),
    };
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(|e| corrupt(&e))?;
    let metadata = user_metadata(&builder);
    let schema = builder.schema().clone();
    let mask = match columns {
        None => ProjectionMask::all(),
        Some(columns) => {
            let roots = columns
                .iter()
                .map(|column| column_index(name, &schema, column))
                .collect::<Result<Vec<_>, _>>()?;
            ProjectionMask::roots(builder.parquet_schema(), roots)
        }
    };
    let reader = builder
        .with_projection(mask)
        .with_batch_size(BATCH_ROWS)
        .build()
        .map_err(|e| corrupt(&e))?;
    let schema = Arc::new(without_metadata(&arrow::array::RecordBatchReader::schema(&reader)));
    let mut batches = Vec::new();
    for batch in reader {
        let batch = batch
            .and_then(|batch| RecordBatch::try_new(schema.clone(), batch.columns().to_vec()))
            .map_err(|error| corrupt(&ParquetError::from(error)))?;
        batches.push(batch);
    }
    Ok(Table::new(name, schema, batches, metadata))
}

fn user_metadata(builder: &ParquetRecordBatchReaderBuilder<Bytes>) -> BTreeMap<String, String> {
    let pairs = builder.metadata().file_metadata().key_value_metadata();
    pairs
        .into_iter()
        .flatten()
        .filter(|pair| pair.key != ARROW_SCHEMA_KEY)
        .map(|pair| (pair.key.clone(), pair.value.clone().unwrap_or_default()))
        .collect()
}

pub(crate) fn column_index(
    file: &str,
    schema: &SchemaRef,
    column: &str,
) -> Result<usize, StoreError> {
    schema.index_of(column).map_err(|_| {
        let found: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        StoreError::MissingColumn {
            file: file.to_owned(),
            column: column.to_owned(),
            found: found.join(", "),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use arrow::array::{ArrayRef, FixedSizeListArray, Float32Array, Int64Array};
    use outshine_schemas::digest::Digest;

    use super::*;

    const DRAWS: usize = 7;

    /// `rows` rows of an id, a nullable flux and a fixed-size list of draws.
    fn sample(rows: usize) -> RecordBatch {
        let ids = Int64Array::from_iter_values((0..rows as i64).map(|i| i * i));
        let flux: Float32Array =
            (0..rows).map(|i| (i % 5 != 0).then_some(i as f32 * 0.25 - 3.0)).collect();
        let members: Float32Array =
            (0..rows * DRAWS).map(|i| Some((i as f32 * 0.618).fract())).collect();
        let member = Arc::new(Field::new("item", DataType::Float32, false));
        let lists = FixedSizeListArray::new(member, DRAWS as i32, Arc::new(members), None);
        let schema = Schema::new(vec![
            Field::new("galaxy_id", DataType::Int64, false),
            Field::new("flux_njy", DataType::Float32, true),
            Field::new("log_mass", lists_type(), false),
        ]);
        let columns: Vec<ArrayRef> = vec![Arc::new(ids), Arc::new(flux), Arc::new(lists)];
        RecordBatch::try_new(Arc::new(schema), columns).unwrap()
    }

    fn lists_type() -> DataType {
        let member = Arc::new(Field::new("item", DataType::Float32, false));
        DataType::FixedSizeList(member, DRAWS as i32)
    }

    #[test]
    fn tables_come_back_whole() {
        let batch = sample(1000);
        let pairs = [("unit", "nJy"), ("model", "abc")];
        let bytes = encode(&batch.schema(), std::slice::from_ref(&batch), &pairs, 300).unwrap();
        let table = decode("t.parquet", bytes.clone(), None).unwrap();
        assert_eq!(table.schema(), &batch.schema());
        let read = arrow::compute::concat_batches(table.schema(), table.batches()).unwrap();
        assert_eq!(read, batch);
        assert_eq!(table.metadata()["unit"], "nJy");
        assert_eq!(table.metadata().len(), 2);
        let (members, length) = table.float32_lists("log_mass").unwrap();
        assert_eq!((members.len(), length), (1000 * DRAWS, DRAWS));

        let some = decode("t.parquet", bytes.clone(), Some(&["flux_njy"])).unwrap();
        assert_eq!((some.rows(), some.schema().fields().len()), (1000, 1));
        let error = decode("t.parquet", bytes, Some(&["flux"])).unwrap_err();
        assert!(matches!(error, StoreError::MissingColumn { .. }), "{error}");
    }

    #[test]
    fn bytes_depend_on_the_rows_alone() {
        let batch = sample(1000);
        let one =
            encode(&batch.schema(), std::slice::from_ref(&batch), &[("a", "1"), ("b", "2")], 256)
                .unwrap();
        let cut = [batch.slice(0, 1), batch.slice(1, 600), batch.slice(601, 399)];
        let noisy: HashMap<String, String> =
            (0..20).map(|i| (format!("key {i}"), "value".to_owned())).collect();
        let schema = batch.schema().as_ref().clone().with_metadata(noisy);
        let two = encode(&schema, &cut, &[("b", "2"), ("a", "1")], 256).unwrap();
        assert_eq!(Digest::of(&one), Digest::of(&two));
        let other = encode(&schema, &cut, &[("b", "2"), ("a", "2")], 256).unwrap();
        assert_ne!(Digest::of(&one), Digest::of(&other));
    }

    /// Rows of lists drawn from `numbers` numbers, and the bytes of their table both ways.
    fn shared(rows: usize, numbers: u64) -> (RecordBatch, Bytes, Bytes) {
        let batch = sample(rows);
        // Without a period for the compression to find.
        let number = |i: u64| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15).swap_bytes() >> 16) % numbers;
        let members: Float32Array =
            (0..(rows * DRAWS) as u64).map(|i| Some(number(i) as f32 * 0.37)).collect();
        let member = Arc::new(Field::new("item", DataType::Float32, false));
        let lists = FixedSizeListArray::new(member, DRAWS as i32, Arc::new(members), None);
        let mut columns = batch.columns().to_vec();
        columns[2] = Arc::new(lists);
        let batch = RecordBatch::try_new(batch.schema(), columns).unwrap();
        let groups = [rows / 2, 0, rows - rows / 2];
        let whole = std::slice::from_ref(&batch);
        let shared = encode_shared(&batch.schema(), whole, &[], &groups).unwrap();
        let plain = encode(&batch.schema(), whole, &[], rows).unwrap();
        (batch, shared, plain)
    }

    #[test]
    fn shared_numbers_are_stored_once_per_row_group() {
        let (batch, bytes, plain) = shared(20_000, 211);
        assert!(bytes.len() < plain.len(), "{} {}", bytes.len(), plain.len());
        // Numbers that are not shared cost a dictionary that is given up, and no more.
        let (many, unshared, streams) = shared(20_000, 100_003);
        assert!(unshared.len() < streams.len() * 11 / 10, "{} {}", unshared.len(), streams.len());
        for (batch, bytes) in [(batch, bytes), (many, unshared)] {
            let table = decode("t", bytes, None).unwrap();
            let read = arrow::compute::concat_batches(table.schema(), table.batches()).unwrap();
            assert_eq!(read, batch);
        }
    }

    #[test]
    fn bytes_of_shared_numbers_depend_on_rows_and_row_groups_alone() {
        let batch = sample(100);
        let whole = std::slice::from_ref(&batch);
        let one = encode_shared(&batch.schema(), whole, &[], &[60, 40]).unwrap();
        let cut = [batch.slice(0, 1), batch.slice(1, 99)];
        assert_eq!(one, encode_shared(&batch.schema(), &cut, &[], &[60, 40]).unwrap());
        assert_ne!(one, encode_shared(&batch.schema(), &cut, &[], &[40, 60]).unwrap());
        let error = encode_shared(&batch.schema(), &cut, &[], &[60, 41]).unwrap_err();
        assert!(error.to_string().contains("100 rows"), "{error}");
        let none = encode_shared(&batch.schema(), &[], &[], &[]).unwrap();
        assert_eq!(decode("t", none, None).unwrap().schema(), &batch.schema());
    }

    #[test]
    fn empty_tables_keep_their_schema() {
        let batch = sample(3);
        let bytes = encode(&batch.schema(), &[], &[], 10).unwrap();
        let table = decode("t", bytes, None).unwrap();
        assert_eq!((table.rows(), table.schema()), (0, &batch.schema()));
    }

    #[test]
    fn unfit_input_is_an_error() {
        let batch = sample(3);
        encode(&batch.schema(), std::slice::from_ref(&batch), &[], 0).unwrap_err();
        encode(&batch.schema(), std::slice::from_ref(&batch), &[("a", "1"), ("a", "2")], 10)
            .unwrap_err();
        let other = Schema::new(vec![Field::new("x", DataType::Int32, false)]);
        encode(&other, &[batch], &[], 10).unwrap_err();
    }

    #[test]
    fn damaged_files_are_named() {
        let batch = sample(200);
        let bytes = encode(&batch.schema(), &[batch], &[], 50).unwrap();
        for length in (0..bytes.len()).step_by(17) {
            let error = decode("cut.parquet", bytes.slice(..length), None).unwrap_err();
            assert!(matches!(error, StoreError::Corrupt { .. }), "{length}: {error}");
            assert!(error.to_string().contains("`cut.parquet`"), "{error}");
        }
        // A changed byte may go unseen here (checksums are the commit record's), but never panics.
        for position in (0..bytes.len()).step_by(3) {
            let mut changed = bytes.to_vec();
            changed[position] ^= 0x55;
            if let Err(error) = decode("changed.parquet", Bytes::from(changed), None) {
                assert!(matches!(error, StoreError::Corrupt { .. }), "{position}: {error}");
            }
        }
    }
}
