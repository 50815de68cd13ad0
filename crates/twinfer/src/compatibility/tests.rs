use super::*;
use serde_json::{Value as Json, json};

fn base() -> Json {
    json!({
        "format_version": 1, "name": "m", "version": "1.0.0",
        "signature": {
            "inputs": [
                {"name": "x", "dtype": "FP32", "shape": ["N", 3, null]},
                {"name": "y", "dtype": "INT64", "shape": ["M"]},
            ],
            "outputs": [
                {"name": "a", "kind": "tensor", "dtype": "FP32", "shape": ["N", 2]},
                {"name": "b", "kind": "tensor", "dtype": "INT64"},
            ],
        },
        "pipeline": {
            "input": {"kind": "record", "name": "record", "tensor": "x", "columns": [
                {"name": "age"}, {"name": "height", "missing": "nan"}]},
            "outputs": [{"kind": "tensor", "name": "a", "tensor": "a"}, {"kind": "label", "name": "b", "tensor": "b"}],
            "parameters": [{"name": "mode", "values": ["fast", "good"], "default": "fast"}],
        },
        "labels": {"classes": [{"name": "cat"}, {"name": "dog"}]},
        "limits": {"max_pixels": 100, "max_bytes": 100},
    })
}

fn changes(change: impl FnOnce(&mut Json)) -> Vec<(String, bool)> {
    let old: ModelConfig = serde_json::from_value(base()).unwrap();
    let mut new = base();
    change(&mut new);
    let new: ModelConfig = serde_json::from_value(new).unwrap();
    compatibility(&old, &new)
        .into_iter()
        .map(|c| (format!("{} {}", c.what, c.text), c.breaking))
        .collect()
}

#[test]
fn nothing_changed() {
    assert_eq!(changes(|_| {}), []);
    assert_eq!(changes(|c| c["version"] = json!("2.0.0")), []);
}

/// Where in the configuration, what is put there, what is said, whether it breaks callers.
type Case = (&'static str, Json, &'static str, bool);

#[test]
fn each_change_has_its_verdict() {
    let column = |name: &str, missing: &str| json!({"name": name, "missing": missing});
    let cases: Vec<Case> = vec![
        (
            "/signature/inputs/0/dtype",
            json!("FP64"),
            "input `x` FP32 became FP64",
            true,
        ),
        (
            "/signature/inputs/0/shape",
            json!(["N", 3, 7]),
            "input `x` [N, 3, ?] became [N, 3, 7]",
            true,
        ),
        (
            "/signature/inputs/0/shape",
            json!(["N", 4, null]),
            "input `x` [N, 3, ?] became [N, 4, ?]",
            true,
        ),
        (
            "/signature/inputs/0/shape",
            json!(["N", 3]),
            "input `x` [N, 3, ?] became [N, 3]",
            true,
        ),
        (
            "/signature/inputs/0/shape",
            json!(["N", null, null]),
            "input `x` [N, 3, ?] became [N, ?, ?]",
            false,
        ),
        (
            "/signature/inputs/0/shape",
            json!(null),
            "input `x` [N, 3, ?] became [any rank]",
            false,
        ),
        (
            "/signature/inputs/1/shape",
            json!(["N"]),
            "input `y` axis 0 must now be as long as axis 0 of `x`",
            true,
        ),
        (
            "/signature/inputs/0/name",
            json!("z"),
            "input `x` is now called `z`",
            true,
        ),
        (
            "/signature/outputs/0/shape",
            json!(["N", 3]),
            "output `a` [N, 2] became [N, 3]",
            true,
        ),
        (
            "/signature/outputs/0/dtype",
            json!("FP64"),
            "output `a` FP32 became FP64",
            true,
        ),
        (
            "/signature/outputs/0/kind",
            json!("maps"),
            "output `a` tensor became maps",
            true,
        ),
        (
            "/signature/outputs/1/name",
            json!("c"),
            "output `b` is now called `c`",
            true,
        ),
        (
            "/pipeline",
            json!(null),
            "pipeline is gone: only tensors are taken now",
            true,
        ),
        (
            "/pipeline/input/name",
            json!("row"),
            "input `record` is now called `row`",
            true,
        ),
        (
            "/pipeline/input/columns/0",
            column("years", "error"),
            "column `age` is now called `years`, or was exchanged for it",
            true,
        ),
        (
            "/pipeline/input/columns/0",
            column("age", "nan"),
            "column `age` may now be missing",
            false,
        ),
        (
            "/pipeline/input/columns/1",
            column("height", "error"),
            "column `height` is now required",
            true,
        ),
        (
            "/pipeline/outputs/0/tensor",
            json!("c"),
            "answer `a` is made in another way",
            false,
        ),
        (
            "/pipeline/outputs/0/kind",
            json!("label"),
            "answer `a` was tensor, is label",
            true,
        ),
        (
            "/pipeline/parameters/0/default",
            json!("good"),
            "parameter `mode` is `good` instead of `fast` by default",
            false,
        ),
        (
            "/pipeline/parameters/0/values",
            json!(["fast", "good", "best"]),
            "parameter `mode` has the new value `best`",
            false,
        ),
        (
            "/pipeline/parameters/0/values",
            json!(["fast"]),
            "parameter `mode` has no value `good` any more",
            true,
        ),
        (
            "/pipeline/parameters",
            json!([]),
            "parameter `mode` is gone",
            true,
        ),
        (
            "/labels/classes/1/name",
            json!("cow"),
            "labels `classes` number 1 was `dog` and is `cow`",
            true,
        ),
        (
            "/labels/classes",
            json!([{"name": "cat"}]),
            "labels `classes` `dog` is gone",
            true,
        ),
        (
            "/labels/classes",
            json!([{"name": "cat"}, {"name": "dog"}, {"name": "cow"}]),
            "labels `classes` 1 are new",
            false,
        ),
        ("/labels", json!({}), "labels `classes` are gone", true),
        (
            "/limits/max_pixels",
            json!(50),
            "limit max_pixels 100 became 50",
            true,
        ),
        (
            "/limits/max_bytes",
            json!(200),
            "limit max_bytes 100 became 200",
            false,
        ),
    ];
    for (path, value, text, breaking) in cases {
        let got = changes(|c| *c.pointer_mut(path).unwrap() = value.clone());
        assert_eq!(got, [(text.to_owned(), breaking)], "{path} = {value}");
    }
}

#[test]
fn names_of_free_axes_do_not_matter() {
    let got = changes(|c| {
        c["signature"]["inputs"][0]["shape"] = json!(["batch", 3, "length"]);
        c["signature"]["outputs"][0]["shape"] = json!(["batch", 2]);
    });
    assert_eq!(got, []);
}

#[test]
fn what_is_added_and_removed() {
    let got = changes(|c| {
        let list = |c: &'_ mut Json, path: &str, item: Json| {
            c.pointer_mut(path)
                .unwrap()
                .as_array_mut()
                .unwrap()
                .push(item);
        };
        list(
            c,
            "/signature/inputs",
            json!({"name": "z", "dtype": "FP32"}),
        );
        list(
            c,
            "/signature/outputs",
            json!({"name": "z", "dtype": "FP32"}),
        );
        list(c, "/pipeline/input/columns", json!({"name": "weight"}));
        list(
            c,
            "/pipeline/input/columns",
            json!({"name": "size", "missing": "nan"}),
        );
        list(
            c,
            "/pipeline/outputs",
            json!({"kind": "tensor", "name": "z", "tensor": "z"}),
        );
        list(
            c,
            "/pipeline/parameters",
            json!({"name": "p", "values": ["1"], "default": "1"}),
        );
    });
    let want = [
        (
            "input `z` is new, and every input of a model is required",
            true,
        ),
        ("output `z` is new", false),
        ("column `weight` is new and required", true),
        ("column `size` is new and may be missing", false),
        ("answer `z` is new", false),
        ("parameter `p` is new", false),
    ];
    assert_eq!(
        got,
        want.map(|(text, breaking)| (text.to_owned(), breaking))
    );
    let got = changes(|c| {
        for path in [
            "/signature/inputs",
            "/signature/outputs",
            "/pipeline/outputs",
        ] {
            c.pointer_mut(path)
                .unwrap()
                .as_array_mut()
                .unwrap()
                .remove(0);
        }
    });
    let gone = |what: &str| (format!("{what} is gone"), true);
    assert_eq!(
        got,
        [gone("input `x`"), gone("output `a`"), gone("answer `a`")]
    );
}

#[test]
fn another_kind_of_input() {
    let got = changes(|c| {
        c["pipeline"]["input"] =
            json!({"kind": "picture", "name": "record", "tensor": "x", "steps": []});
    });
    assert_eq!(
        got,
        [("input `record` was a record, is a picture".to_owned(), true)]
    );
}
