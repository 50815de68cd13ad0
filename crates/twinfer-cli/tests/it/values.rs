//! Inputs and outputs that are no tensors, and every type of NumPy: `run` and `predict`.

use std::fs;

use serde_json::json;

use crate::onnx_file::{Type, dict_vectorizer, identity};
use crate::support::{Place, npy};

const FLOAT: u64 = 1;

#[test]
fn maps_are_json() {
    let place = Place::new();
    place.write("words.onnx", dict_vectorizer(&["a", "b", "c"]));
    place.write("maps.json", r#"[{"a": 1, "b": 0.5}, {"c": -1}]"#);
    place.good(&[
        "run",
        "words.onnx",
        "--input",
        "x=maps.json",
        "--output-dir",
        "out",
    ]);
    let file = fs::read(place.path("out/y.npy")).unwrap();
    assert!(String::from_utf8_lossy(&file).contains("'shape': (2, 3)"));
    let numbers = [1f32, 0.5, 0.0, 0.0, 0.0, -1.0].map(f32::to_le_bytes);
    assert!(file.ends_with(&numbers.concat()));
    place.good(&[
        "run",
        "words.onnx",
        "--input",
        r#"x={"b": 2}"#,
        "--output-dir",
        "out",
    ]);
    let file = fs::read(place.path("out/y.npy")).unwrap();
    assert!(file.ends_with(&[0f32, 2.0, 0.0].map(f32::to_le_bytes).concat()));
    place.bad(
        &[
            "run",
            "words.onnx",
            "--input",
            r#"x={"b": "2"}"#,
            "--output-dir",
            "out",
        ],
        "invalid_input",
        1,
    );
    let json = place.json(&["inspect", "words.onnx", "--can-run"]);
    assert_eq!(json["can_run"]["unknown_cost"], json!(null), "{json:#}");
    let text = place.good(&["inspect", "words.onnx"]);
    assert!(text.contains("x  map from BYTES to FP32"), "{text}");
    // A package of it takes records, and its own input by name.
    place.good(&["pack", "words.onnx", "--name", "words"]);
    for input in [r#"record={"a": 1}"#, r#"x={"a": 1}"#] {
        let answer = place.json(&["predict", "words", "--input", input]);
        assert_eq!(
            answer["outputs"],
            json!({"y": [[1.0, 0.0, 0.0]]}),
            "{input}"
        );
    }
}

#[test]
fn maps_come_out_as_numbers_and_keys() {
    let place = Place::new();
    let maps = Type::Sequence(Box::new(Type::Map(7, FLOAT)));
    place.write("maps.onnx", identity(&maps));
    place.good(&[
        "run",
        "maps.onnx",
        "-i",
        r#"x=[{"-1": 0.5, "7": 1}]"#,
        "-o",
        "out",
    ]);
    let numbers = fs::read(place.path("out/y.npy")).unwrap();
    assert!(numbers.ends_with(&[0.5f32, 1.0].map(f32::to_le_bytes).concat()));
    let keys = fs::read(place.path("out/y.keys.npy")).unwrap();
    assert!(keys.ends_with(b"-\0\0\x001\0\0\x007\0\0\0\0\0\0\0"));
}

#[test]
fn sequences_and_optionals_are_json_both_ways() {
    let place = Place::new();
    place.write(
        "s.onnx",
        identity(&Type::Sequence(Box::new(Type::Tensor(FLOAT)))),
    );
    place.write(
        "o.onnx",
        identity(&Type::Optional(Box::new(Type::Tensor(FLOAT)))),
    );
    place.write("s.json", r#"[[1.5, "NaN"], [2]]"#);
    for (model, input, want) in [
        ("s.onnx", "x=s.json", r#"[[1.5,"NaN"],[2.0]]"#),
        ("s.onnx", "x=[]", "[]"),
        ("o.onnx", "x=null", "null"),
        ("o.onnx", "x=[3]", "[3.0]"),
    ] {
        let json = place.json(&["run", model, "-i", input, "-o", "out"]);
        assert_eq!(
            json["outputs"],
            json!([{"file": "out/y.json"}]),
            "{model} {input}"
        );
        let got = fs::read_to_string(place.path("out/y.json")).unwrap();
        assert_eq!(got.trim_end(), want, "{model} {input}");
    }
    place.write("x.npy", npy("<f4", "(1,)", &[0; 4]));
    place.bad(
        &["run", "s.onnx", "-i", "x=x.npy", "-o", "out"],
        "invalid_input",
        1,
    );
}

/// Number of the type, its name in NumPy, two elements.
const TYPES: [(u64, &str, &[u8]); 19] = [
    (9, "|b1", &[1, 0]),
    (2, "|u1", &[0, 255]),
    (4, "<u2", &[1, 0, 255, 255]),
    (12, "<u4", &[1, 0, 0, 0, 255, 255, 255, 255]),
    (
        13,
        "<u8",
        &[
            1, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255,
        ],
    ),
    (3, "|i1", &[128, 127]),
    (5, "<i2", &[0, 128, 255, 127]),
    (6, "<i4", &[0, 0, 0, 128, 255, 255, 255, 127]),
    (
        7,
        "<i8",
        &[
            0, 0, 0, 0, 0, 0, 0, 128, 255, 255, 255, 255, 255, 255, 255, 127,
        ],
    ),
    (10, "<f2", &[0, 0x3c, 0, 0xfc]),
    (1, "<f4", &[0, 0, 128, 63, 0, 0, 128, 127]),
    (
        11,
        "<f8",
        &[0, 0, 0, 0, 0, 0, 240, 63, 0, 0, 0, 0, 0, 0, 240, 127],
    ),
    (8, "<U1", &[b'a', 0, 0, 0, 0xe9, 0, 0, 0]),
    // As NumPy writes the types of ml_dtypes.
    (16, "<V2", &[0x80, 0x3f, 0, 0xbf]),
    (17, "|V1", &[0x38, 0xb0]),
    (18, "|V1", &[0x40, 0xb8]),
    (19, "|V1", &[0x3c, 0xb8]),
    (20, "|V1", &[0x40, 0xbc]),
    (24, "|V1", &[0x7f, 0x7e]),
];

#[test]
fn every_type_of_numpy_goes_in_and_comes_out() {
    let place = Place::new();
    for (element, descr, data) in TYPES {
        place.write("m.onnx", identity(&Type::Tensor(element)));
        place.write("x.npy", npy(descr, "(2,)", data));
        place.good(&["run", "m.onnx", "-i", "x=x.npy", "-o", "out"]);
        let file = fs::read(place.path("out/y.npy")).unwrap();
        let head = format!("'descr': '{descr}', 'fortran_order': False, 'shape': (2,)");
        assert!(
            String::from_utf8_lossy(&file).contains(&head),
            "{element} {descr}"
        );
        assert!(file.ends_with(data), "{element} {descr}");
    }
    let place = Place::new();
    place.write("m.onnx", identity(&Type::Tensor(7)));
    place.good(&["run", "m.onnx", "-i", "x=[9007199254740993]", "-o", "out"]);
    let file = fs::read(place.path("out/y.npy")).unwrap();
    assert!(file.ends_with(&9_007_199_254_740_993i64.to_le_bytes()));
    place.bad(
        &["run", "m.onnx", "-i", "x=[1, 1.5]", "-o", "out"],
        "invalid_input",
        1,
    );
}
