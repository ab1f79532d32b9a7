//! What can be checked without another reader; those are asked in
//! `tests/tests/formats.rs`.

use super::*;
use arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array, ListArray,
    StringArray, UInt32Array, UInt64Array,
};
use arrow::datatypes::{Float32Type, Schema};
use fitsio_pure::bintable::{BinaryColumnData, read_binary_column};
use fitsio_pure::checksum::{verify_checksum, verify_datasum};
use fitsio_pure::hdu::parse_fits;
use fitsio_pure::value::Value;
use std::collections::HashMap;
use std::sync::Arc;

fn table_of(columns: Vec<(Field, ArrayRef)>) -> Table {
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(schema.clone(), arrays).unwrap();
    let about = BTreeMap::from([
        (provenance::CAMPAIGN.to_owned(), "field-0123".to_owned()),
        ("outshine.prior".to_owned(), format!("{{\"a\": \"{}\"}}", "x".repeat(200))),
        ("strange.key".to_owned(), "it's <odd> & \u{3b1}\u{1}".to_owned()),
    ]);
    Table {
        name: "catalogue".to_owned(),
        description: "a test".to_owned(),
        schema,
        batches: vec![batch],
        about,
    }
}

/// Three rows with every kind of null.
fn sample() -> Table {
    let about = |unit: &str| {
        HashMap::from([
            (UNIT_KEY.to_owned(), unit.to_owned()),
            (UCD_KEY.to_owned(), "phys.mass".to_owned()),
            (DESCRIPTION_KEY.to_owned(), "a mass".to_owned()),
        ])
    };
    let mass = Field::new("mass", DataType::Float64, true).with_metadata(about("log10(Msun)"));
    let delta = Field::new("delta", DataType::Float32, true).with_metadata(about("dex"));
    table_of(vec![
        (
            Field::new("id", DataType::Int64, false),
            Arc::new(Int64Array::from(vec![i64::MAX, 2, -3])),
        ),
        (mass, Arc::new(Float64Array::from(vec![Some(0.1), None, Some(f64::NEG_INFINITY)]))),
        (delta, Arc::new(Float32Array::from(vec![Some(f32::NAN), Some(0.1), None]))),
        (
            Field::new("count", DataType::UInt32, true),
            Arc::new(UInt32Array::from(vec![Some(u32::MAX), None, Some(0)])),
        ),
        (
            Field::new("x", DataType::Int32, true),
            Arc::new(Int32Array::from(vec![None, Some(-7), Some(0)])),
        ),
        (
            Field::new("good", DataType::Boolean, true),
            Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])),
        ),
        (
            Field::new("text", DataType::Utf8, true),
            Arc::new(StringArray::from(vec![Some("a,\"b\" <c>"), None, Some("\u{3b1}")])),
        ),
    ])
}

#[test]
fn bytes_do_not_depend_on_how_rows_are_cut() {
    let whole = sample();
    let mut cut = whole.clone();
    let batch = whole.batches[0].clone();
    cut.batches = vec![batch.slice(0, 1), batch.slice(1, 0), batch.slice(1, 2)];
    assert_eq!(fits(&whole).unwrap(), fits(&cut).unwrap());
    assert_eq!(votable(&whole).unwrap(), votable(&cut).unwrap());
    assert_eq!(csv(&whole).unwrap(), csv(&cut).unwrap());
}

#[test]
fn fits_keeps_every_value_and_says_what_is_null() {
    let bytes = fits(&sample()).unwrap();
    assert_eq!(bytes.len() % 2880, 0);
    let file = parse_fits(&bytes).unwrap();
    let hdu = file.get(1).unwrap();
    assert!(verify_checksum(&bytes, hdu) && verify_datasum(&bytes, hdu));
    assert!(verify_checksum(&bytes, file.primary()));
    let column = |index| read_binary_column(&bytes, hdu, index).unwrap();
    assert_eq!(column(0), BinaryColumnData::Long(vec![i64::MAX, 2, -3]));
    let BinaryColumnData::Double(mass) = column(1) else { panic!("{:?}", column(1)) };
    assert!(mass[0] == 0.1 && mass[1].is_nan() && mass[2] == f64::NEG_INFINITY);
    assert_eq!(column(3), BinaryColumnData::Long(vec![i64::from(u32::MAX), i64::MIN, 0]));
    assert_eq!(column(4), BinaryColumnData::Int(vec![i32::MIN, -7, 0]));
    assert_eq!(
        column(6),
        BinaryColumnData::Ascii(vec!["a,\"b\" <c>".into(), "".into(), "?".into()])
    );
    let value = |keyword: &str| {
        let found = hdu.cards.iter().find(|card| card.keyword_str() == keyword);
        found.and_then(|card| card.value.clone())
    };
    let text = |text: &str| Some(Value::String(text.to_owned()));
    assert_eq!(value("TFORM6"), text("1L"));
    assert_eq!(value("TUNIT2"), text("log(solMass)"));
    assert_eq!(value("TUNIT3"), None);
    assert_eq!(value("TCOMM3"), text("a mass [dex]"));
    assert_eq!(value("TUCD2"), text("phys.mass"));
    assert_eq!(value("TNULL1"), None);
    assert_eq!(value("TNULL5"), Some(Value::Integer(i64::from(i32::MIN))));
    assert_eq!(value("CAMPAIGN"), text("field-0123"));
    let comments = hdu.cards.iter().filter(|card| card.is_commentary());
    let comments: Vec<_> = comments.filter_map(|card| card.comment.clone()).collect();
    assert!(comments.contains(&"strange.key = it's <odd> & ??".to_owned()), "{comments:?}");
}

#[test]
fn votable_escapes_and_leaves_nulls_empty() {
    let text = String::from_utf8(votable(&sample()).unwrap()).unwrap();
    for part in [
        "<TR><TD>9223372036854775807</TD><TD>0.1</TD><TD>NaN</TD><TD>4294967295</TD><TD></TD>",
        "<TD>2</TD><TD></TD><TD>0.1</TD><TD></TD><TD>-7</TD><TD>F</TD><TD></TD>",
        "<TD>-Inf</TD>",
        "<TD>a,&quot;b&quot; &lt;c&gt;</TD>",
        "unit=\"log(solMass)\" ucd=\"phys.mass\"",
        "name=\"text\" datatype=\"unicodeChar\" arraysize=\"9\"",
        "value=\"it&apos;s &lt;odd&gt; &amp; \u{3b1}\u{fffd}\"",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let [version, (key, content)] = parquet_metadata(&sample()).unwrap();
    assert_eq!((version, key), ((PARQUET_VERSION, "1.0".to_owned()), PARQUET_CONTENT));
    assert!(content.contains("<FIELD name=\"mass\"") && !content.contains("<DATA>"));
}

#[test]
fn csv_quotes_and_leaves_nulls_empty() {
    let text = String::from_utf8(csv(&sample()).unwrap()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "id,mass,delta,count,x,good,text");
    assert_eq!(lines[1], "9223372036854775807,0.1,NaN,4294967295,,true,\"a,\"\"b\"\" <c>\"");
    assert_eq!(lines[2], "2,,0.1,,-7,false,");
    let mut empty = sample();
    empty.batches.clear();
    assert_eq!(csv(&empty).unwrap(), b"id,mass,delta,count,x,good,text\n");
    let description = csv_description(&sample(), "t.csv").unwrap();
    let description: serde_json::Value = serde_json::from_slice(&description).unwrap();
    let column = &description["tableSchema"]["columns"][1];
    assert_eq!(
        (&column["schema:unitText"], &column["datatype"]),
        (&"log(solMass)".into(), &"double".into())
    );
    assert_eq!(description["notes"][0]["outshine.campaign"], "field-0123");
}

#[test]
fn a_table_without_rows_is_a_table() {
    let mut empty = sample();
    empty.batches.clear();
    let bytes = fits(&empty).unwrap();
    assert_eq!(parse_fits(&bytes).unwrap().len(), 2);
    let text = String::from_utf8(votable(&empty).unwrap()).unwrap();
    assert!(text.contains("<TABLEDATA></TABLEDATA>"), "{text}");
}

#[test]
fn what_a_format_cannot_hold_is_named() {
    let big = UInt64Array::from(vec![1, u64::MAX]);
    let table = table_of(vec![(Field::new("big", DataType::UInt64, false), Arc::new(big))]);
    let error = fits(&table).unwrap_err().to_string();
    assert!(error.contains("`big`") && error.contains("18446744073709551615"), "{error}");
    let lists = ListArray::from_iter_primitive::<Float32Type, _, _>([Some([Some(1.0)])]);
    let field = Field::new("lists", arrow::array::Array::data_type(&lists).clone(), true);
    let table = table_of(vec![(field, Arc::new(lists))]);
    for error in [fits(&table), votable(&table), csv(&table)] {
        let error = error.unwrap_err().to_string();
        assert!(error.contains("`lists`"), "{error}");
    }
}
