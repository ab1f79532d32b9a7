//! The few types of values that tables outside the project have: FITS, VOTable,
//! CSV and PostgreSQL share them.

use arrow::array::{
    Array, AsArray, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array, StringArray,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

/// The type of a column's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// True or false.
    Boolean,
    /// An integer of 32 bits.
    Int,
    /// An integer of 64 bits.
    Long,
    /// A number in single precision.
    Float,
    /// A number in double precision.
    Double,
    /// A text.
    Text,
}

impl Kind {
    /// The type that holds values of one of Arrow's; none for those that are no
    /// single value.
    #[must_use]
    pub fn of(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Boolean => Self::Boolean,
            DataType::Int8 | DataType::UInt8 | DataType::Int16 | DataType::UInt16 => Self::Int,
            DataType::Int32 => Self::Int,
            // Outside, integers have a sign.
            DataType::UInt32 | DataType::Int64 | DataType::UInt64 => Self::Long,
            DataType::Float32 => Self::Float,
            DataType::Float64 => Self::Double,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Text,
            _ => return None,
        })
    }
}

/// All values of a column, row by row.
#[derive(Clone, Debug)]
pub enum Values {
    /// Of [`Kind::Boolean`].
    Boolean(BooleanArray),
    /// Of [`Kind::Int`].
    Int(Int32Array),
    /// Of [`Kind::Long`].
    Long(Int64Array),
    /// Of [`Kind::Float`].
    Float(Float32Array),
    /// Of [`Kind::Double`].
    Double(Float64Array),
    /// Of [`Kind::Text`].
    Text(StringArray),
}

impl Values {
    /// The values of a column, as they are or as those of a wider type.
    ///
    /// # Errors
    /// A value that `kind` cannot hold.
    pub fn of(array: &dyn Array, kind: Kind) -> Result<Self, ArrowError> {
        // What does not fit is an error, and no null.
        let options = CastOptions { safe: false, ..CastOptions::default() };
        let to = |data_type| cast_with_options(array, &data_type, &options);
        Ok(match kind {
            Kind::Boolean => Self::Boolean(to(DataType::Boolean)?.as_boolean().clone()),
            Kind::Int => Self::Int(to(DataType::Int32)?.as_primitive().clone()),
            Kind::Long => Self::Long(to(DataType::Int64)?.as_primitive().clone()),
            Kind::Float => Self::Float(to(DataType::Float32)?.as_primitive().clone()),
            Kind::Double => Self::Double(to(DataType::Float64)?.as_primitive().clone()),
            Kind::Text => Self::Text(to(DataType::Utf8)?.as_string().clone()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{UInt16Array, UInt64Array};

    #[test]
    fn values_are_widened_and_never_lost() {
        let small = UInt16Array::from(vec![Some(65_535), None]);
        let kind = Kind::of(small.data_type()).unwrap();
        let Values::Int(values) = Values::of(&small, kind).unwrap() else { panic!("{kind:?}") };
        assert_eq!(values.iter().collect::<Vec<_>>(), [Some(65_535), None]);
        let large = UInt64Array::from(vec![1 << 63]);
        let kind = Kind::of(large.data_type()).unwrap();
        assert!(Values::of(&large, kind).unwrap_err().to_string().contains("9223372036854775808"));
        let list = DataType::new_list(DataType::Int32, true);
        assert_eq!(Kind::of(&list), None);
    }
}
