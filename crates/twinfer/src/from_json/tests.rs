use serde_json::json;

use super::*;
use crate::{ErrorCode, value_to_json};

fn spec(kind: ValueKind, dtype: DType, keys: Option<DType>) -> TensorSpec {
    TensorSpec {
        name: "x".into(),
        kind,
        dtype,
        shape: None,
        keys,
    }
}

#[test]
fn what_is_written_is_read() {
    let (text, int) = (Some(DType::String), Some(DType::I64));
    for (kind, dtype, keys, json) in [
        (
            ValueKind::Tensor,
            DType::F32,
            None,
            json!([[0.5, "NaN"], [1.0, "-Infinity"]]),
        ),
        (
            ValueKind::Tensor,
            DType::F16,
            None,
            json!([0.5, "Infinity"]),
        ),
        (ValueKind::Tensor, DType::I64, None, json!(i64::MIN)),
        (ValueKind::Tensor, DType::U64, None, json!([u64::MAX])),
        (
            ValueKind::Tensor,
            DType::Bool,
            None,
            json!([[true], [false]]),
        ),
        (ValueKind::Tensor, DType::String, None, json!([[], []])),
        (
            ValueKind::Sequence,
            DType::F32,
            None,
            json!([[1.0], [[2.0, 3.0]], 4.0]),
        ),
        (ValueKind::Sequence, DType::F32, None, json!([])),
        (ValueKind::Optional, DType::F64, None, json!(null)),
        (ValueKind::Optional, DType::String, None, json!(["a"])),
        (
            ValueKind::Maps,
            DType::F32,
            text,
            json!([{"a": 1.0, "b": 2.0}]),
        ),
        (
            ValueKind::Maps,
            DType::I64,
            int,
            json!([{"-1": 1, "7": 2}, {"-1": 0, "7": 9}]),
        ),
    ] {
        let value = value_from_json(&spec(kind, dtype, keys), &json).unwrap();
        assert_eq!(value_to_json(&value).unwrap(), json, "{kind:?} {dtype}");
    }
}

#[test]
fn objects_say_what_nesting_does_not() {
    let tensor = json!({"shape": [0, 3], "data": []});
    let value = value_from_json(&spec(ValueKind::Tensor, DType::F32, None), &tensor).unwrap();
    assert_eq!(value.tensor().unwrap().shape(), [0, 3]);
    let nested = json!([[{"shape": [1], "data": [1]}], [2.0]]);
    let value = value_from_json(&spec(ValueKind::Sequence, DType::F32, None), &nested).unwrap();
    let Value::Sequence(items) = value else {
        panic!("no sequence");
    };
    assert!(matches!(items[0], Value::Sequence(_)));
    assert!(matches!(items[1], Value::Tensor(_)));
}

#[test]
fn keys_that_a_map_lacks_are_zero_and_one_map_is_a_row() {
    let spec = spec(ValueKind::Maps, DType::F32, Some(DType::String));
    let value = value_from_json(&spec, &json!([{"a": 1}, {}, {"b": 2}])).unwrap();
    let Value::Maps(maps) = value else {
        panic!("no maps");
    };
    assert_eq!(maps.keys, MapKeys::Strings(vec!["a".into(), "b".into()]));
    assert_eq!(maps.values.shape(), [3, 2]);
    let values = maps.values.to_vec::<f32>().unwrap();
    assert_eq!(values, [1.0, 0.0, 0.0, 0.0, 0.0, 2.0]);
    let one = value_from_json(&spec, &json!({})).unwrap();
    assert_eq!(one.tensor().unwrap().shape(), [1, 0]);
}

#[test]
fn what_does_not_fit_is_named() {
    let text = Some(DType::String);
    let int = Some(DType::I64);
    let (wrong, uneven) = (ErrorCode::InvalidInput, ErrorCode::WrongShape);
    for (kind, dtype, keys, json, code, words) in [
        (
            ValueKind::Tensor,
            DType::U8,
            None,
            json!([1, 256]),
            wrong,
            "element 1 is 256",
        ),
        (
            ValueKind::Tensor,
            DType::I64,
            None,
            json!([1.5]),
            wrong,
            "element 0 is 1.5",
        ),
        (
            ValueKind::Tensor,
            DType::F32,
            None,
            json!([1e39]),
            wrong,
            "no FP32",
        ),
        (
            ValueKind::Tensor,
            DType::F32,
            None,
            json!([[1], [1, 2]]),
            uneven,
            "unevenly",
        ),
        (
            ValueKind::Tensor,
            DType::F32,
            None,
            json!([[1], 2]),
            uneven,
            "unevenly",
        ),
        (
            ValueKind::Tensor,
            DType::F32,
            None,
            json!({"a": 1}),
            wrong,
            "object with `a`",
        ),
        (
            ValueKind::Tensor,
            DType::F32,
            None,
            json!({"data": 1}),
            wrong,
            "`shape`",
        ),
        (
            ValueKind::Sequence,
            DType::F32,
            None,
            json!(1),
            wrong,
            "got a number",
        ),
        (
            ValueKind::Sequence,
            DType::F32,
            None,
            json!([[1], ["x"]]),
            wrong,
            "item 1",
        ),
        (
            ValueKind::Maps,
            DType::F32,
            text,
            json!([{"a": 1}, 2]),
            wrong,
            "map 1",
        ),
        (
            ValueKind::Maps,
            DType::F32,
            text,
            json!({"a": "x"}),
            wrong,
            "value of `a`",
        ),
        (
            ValueKind::Maps,
            DType::F32,
            text,
            json!([{}, {"a": null}]),
            wrong,
            "of map 1",
        ),
        (
            ValueKind::Maps,
            DType::F32,
            int,
            json!({"a": 1}),
            wrong,
            "`a` is no",
        ),
        (
            ValueKind::Maps,
            DType::F32,
            int,
            json!({"01": 1}),
            wrong,
            "`01` is no",
        ),
        (
            ValueKind::Maps,
            DType::F32,
            text,
            json!(null),
            wrong,
            "got null",
        ),
    ] {
        let error = value_from_json(&spec(kind, dtype, keys), &json).unwrap_err();
        assert_eq!(error.code(), code, "{json}: {error}");
        assert!(error.message().contains(words), "{json}: {error}");
    }
}
