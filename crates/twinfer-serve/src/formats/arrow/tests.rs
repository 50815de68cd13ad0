use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::types::{Int8Type, Int64Type};
use arrow_array::{
    ArrayRef, BooleanArray, DictionaryArray, FixedSizeListArray, Float32Array, Float64Array,
    Int32Array, ListArray, StringArray, StructArray, TimestampSecondArray, UInt64Array,
};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::Field;
use serde_json::json;
use twinfer::ErrorCode;

use super::*;

fn stream(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.write(&batch.slice(0, 1)).unwrap();
    writer.into_inner().unwrap()
}

fn read(dtype: DType, body: Vec<u8>) -> Result<Json> {
    rows(&Columns::Map(dtype), &Bytes::from(body)).map(Json::Array)
}

#[test]
fn numbers_of_all_types_with_nulls_and_nan() {
    let body = stream(vec![
        ("i", Arc::new(Int32Array::from(vec![Some(-1), None]))),
        ("u", Arc::new(UInt64Array::from(vec![u64::MAX, 0]))),
        ("f", Arc::new(Float32Array::from(vec![0.5, f32::NAN]))),
        ("b", Arc::new(BooleanArray::from(vec![true, false]))),
        (
            "l",
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([
                Some(vec![Some(1), None]),
                None,
            ])),
        ),
    ]);
    let first = json!({"i": -1, "u": u64::MAX, "f": 0.5, "b": true, "l": [1, null]});
    let second = json!({"i": null, "u": 0, "f": null, "b": false, "l": null});
    assert_eq!(
        read(DType::F32, body).unwrap(),
        json!([first, second, first])
    );
}

#[test]
fn texts_and_categories() {
    let category: DictionaryArray<Int8Type> = vec![Some("x"), None].into_iter().collect();
    let body = stream(vec![
        ("s", Arc::new(StringArray::from(vec!["a", "é"]))),
        ("c", Arc::new(category)),
    ]);
    let first = json!({"s": "a", "c": "x"});
    let second = json!({"s": "é", "c": null});
    assert_eq!(
        read(DType::String, body).unwrap(),
        json!([first, second, first])
    );
}

#[test]
fn types_that_do_not_fit_are_named() {
    let times: ArrayRef = Arc::new(TimestampSecondArray::from(vec![1, 2]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["1", "2"]));
    let numbers: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 2.0]));
    let inner = Arc::new(Field::new("n", DataType::Float64, true));
    let structs: ArrayRef = Arc::new(StructArray::from(vec![(inner.clone(), numbers.clone())]));
    let nested: ArrayRef = Arc::new(
        FixedSizeListArray::try_new(
            Arc::new(Field::new("item", times.data_type().clone(), true)),
            1,
            times.clone(),
            None,
        )
        .unwrap(),
    );
    for (dtype, array) in [
        (DType::F32, &times),
        (DType::F32, &texts),
        (DType::String, &numbers),
        (DType::Bool, &numbers),
        (DType::F32, &structs),
        (DType::F32, &nested),
    ] {
        let error = read(dtype, stream(vec![("the column", array.clone())])).unwrap_err();
        assert_eq!(error.code(), ErrorCode::WrongDtype, "{error}");
        assert!(error.message().contains("`the column`"), "{error}");
    }
}

#[test]
fn one_text_many_times_is_no_way_to_fill_the_memory() {
    let long = "x".repeat(1 << 20);
    let column: DictionaryArray<Int8Type> = std::iter::repeat_n(Some(&*long), 100).collect();
    let error = read(DType::String, stream(vec![("c", Arc::new(column))])).unwrap_err();
    assert_eq!(error.code(), ErrorCode::BodyTooLarge);
}

#[test]
fn what_is_written_is_read_again() {
    let item = |json: Json| json.as_object().unwrap().clone();
    let items = [
        item(json!({"label": "a", "p": {"x": 0.25}, "n": 1, "v": [1.5, 2], "o": [{}], "t": true})),
        item(json!({"label": null, "p": {"x": "Infinity"}, "n": 2, "v": [], "o": "x", "t": null})),
    ];
    let metadata = HashMap::from([("model".to_owned(), "m".to_owned())]);
    let body = write(&items, metadata).unwrap();
    let wanted = json!([
        {"label": "a", "p.x": 0.25, "n": 1, "v": [1.5, 2.0], "o": "[{}]", "t": true},
        {"label": null, "p.x": "Infinity", "n": 2, "v": [], "o": "x", "t": null},
    ]);
    // The reader minds types by the model: each column is read as what it is.
    let columns = Columns::Inputs(&[]);
    let found = rows(&columns, &Bytes::from(body)).unwrap();
    assert_eq!(Json::Array(found), wanted);
    assert_eq!(
        rows(&columns, &Bytes::from(write(&[], HashMap::new()).unwrap())).unwrap(),
        Vec::<Json>::new()
    );
}

#[test]
fn damaged_streams_are_errors() {
    let category: DictionaryArray<Int8Type> = vec![Some("x"), None].into_iter().collect();
    let good = stream(vec![
        ("s", Arc::new(StringArray::from(vec!["a", "é"]))),
        ("c", Arc::new(category)),
        ("f", Arc::new(Float32Array::from(vec![0.5, f32::NAN]))),
        (
            "l",
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([
                Some(vec![Some(1), None]),
                None,
            ])),
        ),
    ]);
    let columns = Columns::Inputs(&[]);
    assert!(rows(&columns, &Bytes::from(good.clone())).is_ok());
    for bad in [&b""[..], b"x", b"not arrow at all", &[0xff; 64], &[0; 4]] {
        let error = rows(&columns, &Bytes::copy_from_slice(bad)).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidRequest, "{bad:?}");
    }
    // Cut off anywhere, and with every byte changed in several ways: none of them may be a panic.
    let mut panics = Vec::new();
    let mut attempt = |what: String, bad: Vec<u8>| {
        let read = || drop(rows(&columns, &Bytes::from(bad)));
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(read)).is_err() {
            panics.push(what);
        }
    };
    for end in 0..good.len() {
        attempt(format!("cut at {end}"), good[..end].to_vec());
    }
    for at in 0..good.len() {
        for change in [0x00, 0x01, 0x03, 0x0f, 0x7f, 0x80, 0xff] {
            let mut bad = good.clone();
            bad[at] = if bad[at] == change { 0x55 } else { change };
            attempt(format!("byte {at} is {}", bad[at]), bad);
        }
    }
    assert!(panics.is_empty(), "{panics:?}");
}
