//! A table in memory, with columns by name and type.

use std::collections::BTreeMap;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, FixedSizeListArray, PrimitiveArray,
    RecordBatch, StringArray,
};
use arrow::compute::{CastOptions, cast_with_options, concat};
use arrow::datatypes::{
    DataType, Field, Float32Type, Float64Type, Int32Type, Int64Type, SchemaRef,
};
use arrow::util::display::FormatOptions;

use crate::StoreError;
use crate::parquet::column_index;

/// A table as read from a file. Its columns are found by name and given as the type asked for where
/// that loses nothing:
///
/// - integers as wider integers, as narrower ones where every value fits, and as floating-point
///   numbers that hold every value exactly;
/// - `float32` as `float64`; `float64` as `float32`, rounded to nearest, where no finite value
///   overflows (float32 is what fluxes have here, whatever width they came in);
/// - dictionaries, large and view strings as strings.
///
/// Everything else is an error that names file, column, and the types expected and found.
#[derive(Clone, Debug)]
pub struct Table {
    name: String,
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    metadata: BTreeMap<String, String>,
}

impl Table {
    /// A table of `batches` that all have `schema`; `name` is what error messages call it.
    pub fn new(
        name: &str,
        schema: SchemaRef,
        batches: Vec<RecordBatch>,
        metadata: BTreeMap<String, String>,
    ) -> Self {
        Self { name: name.to_owned(), schema, batches, metadata }
    }

    /// What error messages call it: its path.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its fields, without metadata.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Its rows.
    pub fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }

    /// The file's key-value pairs.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// Whether there is a column of this name.
    pub fn has_column(&self, column: &str) -> bool {
        self.schema.index_of(column).is_ok()
    }

    /// A column as it is, all rows in one array.
    pub fn column(&self, column: &str) -> Result<ArrayRef, StoreError> {
        let index = column_index(&self.name, &self.schema, column)?;
        let parts: Vec<&dyn Array> =
            self.batches.iter().map(|batch| batch.column(index).as_ref()).collect();
        let data_type = self.schema.field(index).data_type();
        match parts.as_slice() {
            [] => Ok(arrow::array::new_empty_array(data_type)),
            parts => {
                concat(parts).map_err(|error| self.mismatch(column, data_type, error.to_string()))
            }
        }
    }

    /// A column of float64, nulls kept.
    pub fn float64(&self, column: &str) -> Result<PrimitiveArray<Float64Type>, StoreError> {
        self.number(column)
    }

    /// A column of float32, nulls kept.
    pub fn float32(&self, column: &str) -> Result<PrimitiveArray<Float32Type>, StoreError> {
        self.number(column)
    }

    /// A column of int64, nulls kept.
    pub fn int64(&self, column: &str) -> Result<PrimitiveArray<Int64Type>, StoreError> {
        self.number(column)
    }

    /// A column of int32, nulls kept.
    pub fn int32(&self, column: &str) -> Result<PrimitiveArray<Int32Type>, StoreError> {
        self.number(column)
    }

    /// A column of any number type, nulls kept.
    pub fn number<T: ArrowPrimitiveType>(
        &self,
        column: &str,
    ) -> Result<PrimitiveArray<T>, StoreError> {
        let array = self.cast(column, &T::DATA_TYPE)?;
        Ok(array.as_primitive::<T>().clone())
    }

    /// The values of a number column that must have no nulls.
    pub fn values<T: ArrowPrimitiveType>(
        &self,
        column: &str,
    ) -> Result<Vec<T::Native>, StoreError> {
        let array = self.number::<T>(column)?;
        self.no_nulls(column, &T::DATA_TYPE, &array)?;
        Ok(array.values().to_vec())
    }

    /// A column of strings, nulls kept.
    pub fn strings(&self, column: &str) -> Result<StringArray, StoreError> {
        Ok(self.cast(column, &DataType::Utf8)?.as_string::<i32>().clone())
    }

    /// A column of booleans, nulls kept.
    pub fn booleans(&self, column: &str) -> Result<BooleanArray, StoreError> {
        Ok(self.cast(column, &DataType::Boolean)?.as_boolean().clone())
    }

    /// A column of float32 lists, each of the same length `n`: the values, rows x n, row by row.
    /// Neither lists nor members may be null.
    pub fn float32_lists(&self, column: &str) -> Result<(Vec<f32>, usize), StoreError> {
        let array = self.column(column)?;
        let expected = DataType::new_fixed_size_list(DataType::Float32, -1, true);
        let Some(lists) = array.as_any().downcast_ref::<FixedSizeListArray>() else {
            return Err(self.mismatch(column, &expected, describe(array.data_type())));
        };
        let Some(members) = lists.values().as_any().downcast_ref::<PrimitiveArray<Float32Type>>()
        else {
            return Err(self.mismatch(column, &expected, describe(array.data_type())));
        };
        self.no_nulls(column, &expected, lists)?;
        let length = usize::try_from(lists.value_length()).unwrap_or(0);
        let start = lists.offset() * length;
        let members = members.slice(start, lists.len() * length);
        self.no_nulls(column, &expected, &members)?;
        Ok((members.values().to_vec(), length))
    }

    fn no_nulls(
        &self,
        column: &str,
        expected: &DataType,
        array: &dyn Array,
    ) -> Result<(), StoreError> {
        match array.null_count() {
            0 => Ok(()),
            nulls => Err(StoreError::ColumnType {
                file: self.name.clone(),
                column: column.to_owned(),
                expected: format!("{} without nulls", describe(expected)),
                found: format!("{nulls} nulls in {} rows", array.len()),
            }),
        }
    }

    fn mismatch(&self, column: &str, expected: &DataType, found: String) -> StoreError {
        StoreError::ColumnType {
            file: self.name.clone(),
            column: column.to_owned(),
            expected: describe(expected),
            found,
        }
    }

    fn cast(&self, column: &str, target: &DataType) -> Result<ArrayRef, StoreError> {
        let array = self.column(column)?;
        let found = array.data_type().clone();
        if found == *target {
            return Ok(array);
        }
        let refused = || self.mismatch(column, target, describe(&found));
        let plain = match &found {
            DataType::Dictionary(_, values) => values.as_ref(),
            other => other,
        };
        if !may_cast(plain, target) {
            return Err(refused());
        }
        // Not safe: what does not fit is an error, not a null.
        let options = CastOptions { safe: false, format_options: FormatOptions::default() };
        let cast = cast_with_options(&array, target, &options).map_err(|error| {
            self.mismatch(column, target, format!("{} with {error}", describe(&found)))
        })?;
        if let Some(row) = changed_row(&array, &cast, plain, target, &options) {
            let found = format!("{} with a value that does not fit (row {row})", describe(&found));
            return Err(self.mismatch(column, target, found));
        }
        Ok(cast)
    }
}

fn may_cast(from: &DataType, to: &DataType) -> bool {
    let text =
        |t: &DataType| matches!(t, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    from == to
        || (text(from) && text(to))
        || (from.is_integer() && (to.is_integer() || to.is_floating()))
        || (from.is_floating() && to.is_floating())
}

/// The first row whose value a cast between number types changed more than rounding may.
fn changed_row(
    before: &ArrayRef,
    after: &ArrayRef,
    from: &DataType,
    to: &DataType,
    options: &CastOptions<'_>,
) -> Option<usize> {
    if from.is_integer() && to.is_floating() {
        // Exact if the way back gives the same integers; past the ends the way back gives nulls.
        let before = cast_with_options(before, from, options).ok()?;
        let safe = CastOptions { safe: true, ..options.clone() };
        let back = cast_with_options(after, from, &safe).ok()?;
        if before.to_data() == back.to_data() {
            return None;
        }
        return (0..before.len())
            .find(|&row| before.slice(row, 1).to_data() != back.slice(row, 1).to_data());
    }
    if *from == DataType::Float64 && *to == DataType::Float32 {
        let wide = cast_with_options(before, &DataType::Float64, options).ok()?;
        let (wide, narrow) =
            (wide.as_primitive::<Float64Type>(), after.as_primitive::<Float32Type>());
        return (0..wide.len()).find(|&row| {
            wide.is_valid(row) && wide.value(row).is_finite() && !narrow.value(row).is_finite()
        });
    }
    None
}

/// The type in a user's words: `float32`, `list of float32`.
fn describe(data_type: &DataType) -> String {
    let of = |field: &Field| describe(field.data_type());
    match data_type {
        DataType::Utf8 => "string".to_owned(),
        DataType::FixedSizeList(item, -1) => format!("fixed-size list of {}", of(item)),
        DataType::FixedSizeList(item, n) => format!("fixed-size list of {n} {}", of(item)),
        DataType::List(item) | DataType::LargeList(item) => format!("list of {}", of(item)),
        DataType::Dictionary(_, values) => format!("dictionary of {}", describe(values)),
        other => other.to_string().to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        DictionaryArray, Float32Array, Float64Array, Int32Array, Int64Array, LargeStringArray,
    };
    use arrow::datatypes::Schema;

    use super::*;

    fn table(columns: Vec<(&str, ArrayRef)>) -> Table {
        let batch = RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(name, array)| (name, array, true)),
        )
        .unwrap();
        Table::new("in.parquet", batch.schema(), vec![batch], BTreeMap::new())
    }

    #[test]
    fn lossless_casts_are_made() {
        let words: DictionaryArray<Int32Type> = ["a", "b", "a"].into_iter().collect();
        let table = table(vec![
            ("f32", Arc::new(Float32Array::from(vec![Some(0.5), None, Some(f32::NAN)]))),
            ("f64", Arc::new(Float64Array::from(vec![Some(0.1), None, Some(f64::INFINITY)]))),
            ("i64", Arc::new(Int64Array::from(vec![Some(1), None, Some(i64::from(i32::MIN))]))),
            ("dictionary", Arc::new(words)),
            ("large", Arc::new(LargeStringArray::from(vec![Some("x"), None, Some("z")]))),
        ]);
        let f64s = table.float64("f32").unwrap();
        assert_eq!((f64s.value(0), f64s.is_null(1), f64s.value(2).is_nan()), (0.5, true, true));
        let f32s = table.float32("f64").unwrap();
        assert_eq!((f32s.value(0), f32s.is_null(1), f32s.value(2)), (0.1, true, f32::INFINITY));
        assert_eq!(
            table.int32("i64").unwrap(),
            Int32Array::from(vec![Some(1), None, Some(i32::MIN)])
        );
        assert_eq!(table.float64("i64").unwrap().value(2), f64::from(i32::MIN));
        assert_eq!(table.strings("dictionary").unwrap(), StringArray::from(vec!["a", "b", "a"]));
        let expected = StringArray::from(vec![Some("x"), None, Some("z")]);
        assert_eq!(table.strings("large").unwrap(), expected);
    }

    #[test]
    fn lossy_casts_are_refused_by_name() {
        let table = table(vec![
            ("f64", Arc::new(Float64Array::from(vec![1.0, 1e300]))),
            ("i64", Arc::new(Int64Array::from(vec![1, (1 << 53) + 1]))),
            ("large", Arc::new(LargeStringArray::from(vec!["x", "y"]))),
        ]);
        let cases = [
            table.float32("f64").unwrap_err(),
            table.int64("f64").unwrap_err(),
            table.int32("i64").unwrap_err(),
            table.float64("i64").unwrap_err(),
            table.float64("large").unwrap_err(),
            table.strings("i64").unwrap_err(),
            table.float32_lists("f64").unwrap_err(),
        ];
        for error in cases {
            assert!(matches!(error, StoreError::ColumnType { .. }), "{error}");
        }
        let error = table.float32("f64").unwrap_err().to_string();
        for part in ["`in.parquet`", "`f64`", "expected float32", "found float64", "row 1"] {
            assert!(error.contains(part), "{part} in {error}");
        }
        let error = table.float32("flux").unwrap_err().to_string();
        assert_eq!(error, "`in.parquet` has no column `flux`; it has f64, i64, large");
    }

    #[test]
    fn nulls_are_refused_where_values_are_wanted() {
        let table = table(vec![("x", Arc::new(Int32Array::from(vec![Some(1), None])))]);
        let error = table.values::<Int32Type>("x").unwrap_err().to_string();
        assert!(error.contains("1 nulls in 2 rows"), "{error}");
        assert_eq!(table.rows(), 2);
        assert!(table.has_column("x") && !table.has_column("y"));
    }

    #[test]
    fn tables_without_batches_have_empty_columns() {
        let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, false)]));
        let table = Table::new("empty", schema, Vec::new(), BTreeMap::new());
        assert_eq!(table.int64("x").unwrap().len(), 0);
    }
}
