//! Bytes, records and parameters.

use serde_json::{Map, Value as Json, json};

use super::{
    all_of, bytes_pipeline, config, from_base64, record_pipeline, reference, step, text_pipeline,
};
use crate::pipeline::{Before, Input, bytes};
use crate::{BytesInput, ErrorCode, Limits, Picture, RecordInput, Tensor, Tensors};

#[test]
fn bytes_become_the_tokens_that_magika_makes_of_them() {
    let reference = &reference()["bytes"];
    let step: BytesInput = step(&json!({
        "name": "content", "tensor": "bytes", "dtype": "FP32", "strip_whitespace": true,
        "begin": reference["begin"], "end": reference["end"], "block": reference["block"],
        "padding": reference["padding"],
        "short": {"below": reference["below"], "empty": "empty", "text": "txt", "binary": "unknown", "undefined": "undefined"},
    }));
    all_of(reference["cases"].as_array().unwrap(), |case| {
        let content = from_base64(&case["content"]);
        let got = match bytes::before(&step, &content, &Limits::default()).unwrap() {
            Before::Short(answer) => json!({"label": answer.label}),
            Before::Tensors { tensors, .. } => {
                let tokens = tensors[0].1.to_vec::<f32>().unwrap();
                json!({"tokens": tokens.iter().map(|t| *t as u32).collect::<Vec<_>>()})
            }
            Before::Values(_) => panic!("bytes became no tensor"),
        };
        let mut want = case.clone();
        want.as_object_mut().unwrap().shift_remove("content");
        if got == want {
            Ok(())
        } else {
            Err(format!("{content:?}: {got}, not {want}"))
        }
    });
}

#[test]
fn tokens_have_the_declared_type_and_white_space_stays_where_it_is_not_stripped() {
    for dtype in [
        "UINT8", "UINT16", "UINT32", "UINT64", "INT16", "INT32", "INT64", "FP32", "FP64",
    ] {
        let step: BytesInput = step(&json!({
            "name": "content", "tensor": "t", "dtype": dtype, "begin": 3, "end": 2, "block": 9, "padding": 7,
        }));
        let Before::Tensors { tensors, .. } =
            bytes::before(&step, b" \xff", &Limits::default()).unwrap()
        else {
            panic!("{dtype}: no tensors")
        };
        let json = crate::value_to_json(&crate::Value::Tensor(tensors[0].1.clone())).unwrap();
        let tokens: Vec<f64> = json[0]
            .as_array()
            .unwrap()
            .iter()
            .map(|t| t.as_f64().unwrap())
            .collect();
        assert_eq!(tokens, [32.0, 255.0, 7.0, 32.0, 255.0], "{dtype}");
        assert_eq!(tensors[0].1.dtype().name(), dtype);
    }
}

#[test]
fn bytes_over_the_limit_are_refused() {
    let config = config(bytes_pipeline());
    let limits = Limits {
        max_bytes: 5,
        ..Limits::default()
    };
    let error = config
        .pipeline
        .unwrap()
        .before(Input::Bytes(vec![0; 6]), &limits)
        .err()
        .unwrap();
    assert_eq!(error.code(), ErrorCode::BodyTooLarge);
}

#[test]
fn short_bytes_are_answered_without_the_model() {
    let mut pipeline = bytes_pipeline();
    pipeline["outputs"]
        .as_array_mut()
        .unwrap()
        .push(json!({"kind": "tensor", "name": "raw", "tensor": "scores"}));
    let pipeline = config(pipeline).pipeline.unwrap();
    let Before::Short(answer) = pipeline
        .before(Input::Bytes(b"\xff".to_vec()), &Limits::default())
        .unwrap()
    else {
        panic!("the model is asked")
    };
    assert_eq!(
        Json::Object(pipeline.answer_short(&answer)),
        json!({
            "type": {"label": "bin", "score": 1.0, "model_label": "undefined", "overwrite_reason": "none"},
            "raw": null,
        })
    );
}

fn object(json: Json) -> Map<String, Json> {
    step(&json)
}

fn columns(dtype: &str, missing: &str) -> RecordInput {
    step(&json!({
        "name": "record", "tensor": "X", "dtype": dtype,
        "columns": [{"name": "mean radius"}, {"name": "mean texture", "missing": missing}],
    }))
}

/// The one tensor that a record becomes.
fn only(tensors: Tensors) -> Tensor {
    let [(_, tensor)] = <[_; 1]>::try_from(tensors).unwrap();
    tensor
}

#[test]
fn records_become_a_tensor_for_each_column_where_the_model_takes_them_so() {
    let step: RecordInput = step(&json!({"name": "record", "columns": [
        {"name": "age", "missing": "nan"},
        {"name": "city", "dtype": "BYTES"},
        {"name": "children", "dtype": "INT64"},
        {"name": "member", "dtype": "BOOL"},
    ]}));
    let full = json!({"age": 3.5, "city": "Zürich", "children": 2, "member": true});
    let one = |tensor: Result<Tensor, _>| tensor.unwrap();
    let wanted = |age: f32| {
        [
            ("age", one(Tensor::from_vec(&[1, 1], vec![age]))),
            (
                "city",
                one(Tensor::from_strings(&[1, 1], vec!["Zürich".into()])),
            ),
            ("children", one(Tensor::from_vec(&[1, 1], vec![2i64]))),
            ("member", one(Tensor::from_vec(&[1, 1], vec![true]))),
        ]
        .map(|(name, tensor)| (name.to_owned(), tensor))
    };
    assert_eq!(step.tensors(&object(full.clone())).unwrap(), wanted(3.5));
    let changed = |key: &str, value: Json| {
        let mut record = object(full.clone());
        record.insert(key.into(), value);
        step.tensors(&record)
    };
    let missing = changed("age", Json::Null).unwrap();
    assert!(missing[0].1.to_vec::<f32>().unwrap()[0].is_nan());
    let cases = [
        ("city", json!(8000), "column `city`: expected a text"),
        ("city", Json::Null, "needs a text there"),
        ("children", json!(0.5), "expected a whole number"),
        ("member", json!("yes"), "expected true or false"),
        ("town", json!("x"), "does not take"),
    ];
    all_of(&cases, |(key, value, text)| {
        match changed(key, value.clone()) {
            Err(e) if e.code() == ErrorCode::InvalidRecord && e.message().contains(text) => Ok(()),
            other => Err(format!("{key}: {other:?}")),
        }
    });
}

#[test]
fn records_become_rows_in_the_order_of_the_columns() {
    let bits = |tensor: Tensor| tensor.as_bytes().unwrap().to_vec();
    let row = |step: &RecordInput, json| bits(only(step.tensors(&object(json)).unwrap()));
    let floats = columns("FP32", "nan");
    let f32s = |values: [f32; 2]| bits(Tensor::from_vec(&[1, 2], values.to_vec()).unwrap());
    assert_eq!(
        row(&floats, json!({"mean texture": 0.1, "mean radius": 17})),
        f32s([17.0, 0.1])
    );
    assert_eq!(
        row(&floats, json!({"mean texture": null, "mean radius": true})),
        f32s([1.0, f32::NAN])
    );
    assert_eq!(
        row(&floats, json!({"mean radius": -1e-60})),
        f32s([-0.0, f32::NAN])
    );
    let doubles = columns("FP64", "nan");
    let f64s = |values: [f64; 2]| bits(Tensor::from_vec(&[1, 2], values.to_vec()).unwrap());
    assert_eq!(
        row(&doubles, json!({"mean radius": 1e300, "mean texture": 0.1})),
        f64s([1e300, 0.1])
    );
    let ints = columns("INT64", "error");
    let i64s = |values: [i64; 2]| bits(Tensor::from_vec(&[1, 2], values.to_vec()).unwrap());
    let exact = json!({"mean radius": i64::MAX, "mean texture": false});
    assert_eq!(row(&ints, exact), i64s([i64::MAX, 0]));
    assert_eq!(
        row(
            &ints,
            json!({"mean radius": 5.0, "mean texture": -9007199254740992.0})
        ),
        i64s([5, -9007199254740992])
    );
}

#[test]
fn records_with_anything_but_numbers_are_refused_naming_the_column() {
    let ok = 1.5;
    let cases = [
        (
            "FP32",
            json!({"mean texture": ok}),
            "`mean radius` is missing",
        ),
        (
            "FP32",
            json!({"mean radius": null}),
            "`mean radius` is null",
        ),
        ("FP32", json!({}), "`mean radius` is missing"),
        (
            "FP32",
            json!({"mean radius": "17.99", "mean texture": ok}),
            "`mean radius`: expected a number, got the text \"17.99\"",
        ),
        (
            "FP32",
            json!({"mean radius": ok, "mean texture": "NaN"}),
            "`mean texture`: expected a number, got the text \"NaN\"; for a missing value give null",
        ),
        (
            "FP32",
            json!({"mean radius": [1.0], "mean texture": ok}),
            "`mean radius`: expected a number, got a list of 1",
        ),
        (
            "FP32",
            json!({"mean radius": {}, "mean texture": ok}),
            "got an object",
        ),
        (
            "FP32",
            json!({"mean radius": 1e39, "mean texture": ok}),
            "`mean radius`: 1e39 is out of the range of FP32",
        ),
        (
            "FP32",
            json!({"mean radius": ok, "mean_texture": ok}),
            "a column `mean_texture` that this model does not take; did you mean `mean texture`?",
        ),
        (
            "FP32",
            json!({"mean radius": ok, "x": 1, "y": 2, "z": 3}),
            "a column `x` (and 2 more that are not known)",
        ),
        (
            "INT64",
            json!({"mean radius": 1.5, "mean texture": 1}),
            "`mean radius`: expected a whole number, got 1.5",
        ),
        (
            "INT64",
            json!({"mean radius": 1e19, "mean texture": 1}),
            "out of the range of INT64",
        ),
        (
            "INT64",
            json!({"mean radius": u64::MAX, "mean texture": 1}),
            "out of the range of INT64",
        ),
        (
            "INT64",
            json!({"mean radius": 9007199254740994.0, "mean texture": 1}),
            "not exact",
        ),
    ];
    all_of(&cases, |(dtype, json, text)| {
        let missing = if *dtype == "INT64" { "error" } else { "nan" };
        match columns(dtype, missing).tensors(&object(json.clone())) {
            Err(e) if e.code() == ErrorCode::InvalidRecord && e.message().contains(text) => Ok(()),
            other => Err(format!("{json}: {other:?}")),
        }
    });
}

#[test]
fn another_kind_of_input_is_refused() {
    let pipeline = config(record_pipeline()).pipeline.unwrap();
    for input in [
        Input::Bytes(vec![1]),
        Input::Picture(Picture::Encoded(vec![1])),
    ] {
        let kind = input.kind();
        let error = pipeline.before(input, &Limits::default()).err().unwrap();
        assert_eq!(error.code(), ErrorCode::InvalidInput);
        assert!(
            error.message().contains("takes record") && error.message().contains(kind),
            "{error}"
        );
    }
}

#[test]
fn only_declared_parameters_and_values_are_taken() {
    let pipeline = config(bytes_pipeline()).pipeline.unwrap();
    let value = |given: Json| pipeline.parameters(&object(given)).map(Json::Object);
    assert_eq!(
        value(json!({})).unwrap(),
        json!({"mode": "high_confidence"})
    );
    assert_eq!(
        value(json!({"mode": "best_guess"})).unwrap(),
        json!({"mode": "best_guess"})
    );
    let cases = [
        (
            json!({"mod": "best_guess"}),
            ErrorCode::UnknownParameter,
            "this model has `mode`; did you mean `mode`?",
        ),
        (
            json!({"mode": "guess"}),
            ErrorCode::InvalidParameter,
            "`medium_confidence`, `best_guess`, got \"guess\"",
        ),
        (json!({"mode": 1}), ErrorCode::InvalidParameter, "got 1"),
        (
            json!({"mode": null}),
            ErrorCode::InvalidParameter,
            "got null",
        ),
    ];
    all_of(&cases, |(given, code, text)| match value(given.clone()) {
        Err(e) if e.code() == *code && e.message().contains(text) => Ok(()),
        other => Err(format!("{given}: {other:?}")),
    });
    let none = config(record_pipeline()).pipeline.unwrap();
    let error = none.parameters(&object(json!({"mode": "x"}))).unwrap_err();
    assert!(error.message().contains("this model has none"), "{error}");
}

#[test]
fn texts_become_the_strings_of_the_model() {
    let pipeline = |layout: &str| {
        let mut json = text_pipeline();
        json["input"]["layout"] = layout.into();
        config(json).pipeline.unwrap()
    };
    let texts = || Input::Text(vec!["größer".into(), String::new()]);
    for (layout, shape) in [("column", vec![2, 1]), ("vector", vec![2])] {
        let made = pipeline(layout)
            .before(texts(), &Limits::default())
            .unwrap();
        let Before::Tensors { tensors, .. } = made else {
            panic!("{layout}: no tensors")
        };
        let wanted = Tensor::from_strings(&shape, vec!["größer".into(), String::new()]).unwrap();
        assert_eq!(tensors, [("x".to_string(), wanted)]);
    }
    let one = |bytes: &[u8]| Input::text_from_utf8(bytes.to_vec());
    assert_eq!(
        one(b"\xef\xbb\xbfa\r\n").unwrap(),
        Input::Text(vec!["a\r\n".into()])
    );
    let error = one(b"abc\xff").unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidText);
    assert!(error.message().contains("byte 3"), "{error}");
}

#[test]
fn several_texts_are_one_call_where_the_answer_has_them_all() {
    let several = Input::Text(vec!["a".into(), "b".into()]);
    let label = config(text_pipeline()).pipeline.unwrap();
    let error = label.check_several(&several).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidInput);
    assert!(error.message().contains("2 texts"), "{error}");
    label.check_several(&Input::Text(vec!["a".into()])).unwrap();
    let mut json = text_pipeline();
    json["outputs"][0]["kind"] = "tensor".into();
    let tensor = config(json).pipeline.unwrap();
    tensor.check_several(&several).unwrap();
}

#[test]
fn texts_that_are_too_long_or_none_are_refused() {
    let pipeline = config(text_pipeline()).pipeline.unwrap();
    let code = |texts: Vec<String>, max_bytes| {
        let limits = Limits {
            max_bytes,
            ..Limits::default()
        };
        let refused = pipeline.before(Input::Text(texts), &limits);
        refused.err().map(|error| error.code())
    };
    // Characters, not bytes, of each of them.
    assert_eq!(code(vec!["é".repeat(20), "é".repeat(20)], 1000), None);
    assert_eq!(
        code(vec!["a".into(), "é".repeat(21)], 1000),
        Some(ErrorCode::BodyTooLarge)
    );
    assert_eq!(
        code(vec!["é".repeat(20)], 39),
        Some(ErrorCode::BodyTooLarge)
    );
    assert_eq!(code(Vec::new(), 1000), Some(ErrorCode::InvalidText));
    assert_eq!(
        code(vec![String::new(); 70_000], 1000),
        Some(ErrorCode::BodyTooLarge)
    );
}
