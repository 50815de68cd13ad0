//! Pipelines that contradict themselves or their model.

use serde_json::{Value as Json, json};

use super::{
    all_of, audio_pipeline, boxes_pipeline, bytes_pipeline, config, record_pipeline, step,
    text_pipeline,
};
use crate::{ErrorCode, Pipeline, Signature};

/// A pipeline with the value at this JSON pointer changed.
fn with(mut pipeline: Json, pointer: &str, value: Json) -> Json {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match pipeline.pointer_mut(parent).unwrap() {
        Json::Object(map) => {
            map.insert(key.into(), value);
        }
        Json::Array(list) => {
            let at: usize = key.parse().unwrap();
            list.truncate(at);
            list.push(value);
        }
        other => panic!("{other}"),
    }
    pipeline
}

#[test]
fn good_pipelines_pass() {
    for pipeline in [
        bytes_pipeline(),
        boxes_pipeline(),
        record_pipeline(),
        audio_pipeline(),
        text_pipeline(),
    ] {
        config(pipeline).check().unwrap();
    }
}

#[test]
fn pipelines_that_cannot_work_are_refused_when_the_package_is_read() {
    let (b, p, r) = (bytes_pipeline, boxes_pipeline, record_pipeline);
    let crop = |width| json!({"center_crop": {"width": width, "height": 1}});
    let normalize = |mean: Json, std: Json| json!({"normalize": {"mean": mean, "std": std}});
    let classes = |labels: &str, top_k| json!({"kind": "classes", "name": "top", "tensor": "s", "labels": labels, "top_k": top_k});
    let cases = [
        (
            with(b(), "/parameters/0/default", json!("x")),
            "default `x` is not one of its values",
        ),
        (with(b(), "/parameters/0/values", json!([])), "default"),
        (
            with(b(), "/parameters/0/values", json!(["a", "a"])),
            "`a` is there twice",
        ),
        (
            with(b(), "/parameters/0/values/0", json!("best")),
            "default",
        ),
        (
            with(b(), "/parameters/1", b()["parameters"][0].clone()),
            "parameter `mode` is there twice",
        ),
        (with(b(), "/input/name", json!("")), "no name"),
        (with(b(), "/input/begin", json!(0)), "short.below"),
        (with(b(), "/input/begin", json!(u32::MAX)), "begin + end"),
        (with(b(), "/input/block", json!(0)), "block"),
        (with(b(), "/input/block", json!(1)), "short.below"),
        (
            with(b(), "/input/dtype", json!("UINT8")),
            "padding 256 does not fit into UINT8",
        ),
        (
            with(b(), "/input/dtype", json!("BYTES")),
            "cannot become a tensor of BYTES",
        ),
        (with(b(), "/input/short/below", json!(0)), "short.below"),
        (
            with(
                b(),
                "/outputs/0",
                json!({"kind": "tensor", "name": "t", "tensor": "s"}),
            ),
            "needs an output of kind `decision`",
        ),
        (with(r(), "/outputs", json!([])), "no outputs"),
        (
            with(b(), "/outputs/1", b()["outputs"][0].clone()),
            "output `type` is there twice",
        ),
        (
            with(b(), "/outputs/0/labels", json!("abd")),
            "no list of labels `abd`",
        ),
        (
            with(b(), "/outputs/0/thresholds/A", json!(0.5)),
            "`A` is not in the list of labels `abc`; did you mean `a`?",
        ),
        (
            with(b(), "/outputs/0/overwrite/c", json!("zip")),
            "`zip` is not in the list",
        ),
        (
            with(b(), "/outputs/0/parameter", json!("m")),
            "parameter `m` is not declared",
        ),
        (
            with(b(), "/parameters/0/values/3", json!("other")),
            "not `other`",
        ),
        (
            with(p(), "/input/dtype", json!("INT64")),
            "becomes FP32 or UINT8, not INT64",
        ),
        (
            with(p(), "/input/steps/0/resize/width", json!(0)),
            "resize to 0 x 4",
        ),
        (
            with(p(), "/input/steps/0/resize/width", json!(u32::MAX)),
            "from 1 to 16777216 pixels",
        ),
        (with(p(), "/input/steps/1", crop(0)), "center_crop to 0 x 1"),
        (
            with(p(), "/input/steps/1", crop(9)),
            "comes after a resize to 8 x 4, which is smaller",
        ),
        (
            with(p(), "/input/steps/1", normalize(json!([]), json!([1]))),
            "mean must have 1 or 3 numbers, got 0",
        ),
        (
            with(p(), "/input/steps/1", normalize(json!([1]), json!([1, 2]))),
            "std must have 1 or 3 numbers, got 2",
        ),
        (
            with(
                p(),
                "/input/steps/1",
                normalize(json!([1]), json!([1, 0, 1])),
            ),
            "std is divided by",
        ),
        (
            with(p(), "/input/steps/1", normalize(json!([1e300]), json!([1]))),
            "must be a finite number",
        ),
        (
            with(p(), "/outputs/0/iou_threshold", json!(1.5)),
            "iou_threshold must be from 0 to 1, got 1.5",
        ),
        (
            with(p(), "/outputs/0/max_boxes", json!(0)),
            "max_boxes must be at least 1",
        ),
        (
            with(r(), "/outputs/0", p()["outputs"][0].clone()),
            "boxes need a picture as input",
        ),
        (
            with(r(), "/outputs/0", classes("abc", 0)),
            "top_k must be at least 1",
        ),
        (
            with(r(), "/outputs/0", classes("none", 1)),
            "no list of labels `none`",
        ),
        (with(r(), "/outputs/0/name", json!("")), "without a name"),
        (with(r(), "/input/dtype", json!("BOOL")), "not BOOL"),
        (
            with(r(), "/input/dtype", json!("INT64")),
            "INT64 has no NaN",
        ),
        (
            with(
                with(r(), "/input/columns", json!([])),
                "/input/tensor",
                Json::Null,
            ),
            "no columns",
        ),
        (
            with(r(), "/input/columns/1", json!({"name": "mean radius"})),
            "column `mean radius` is there twice",
        ),
    ];
    all_of(&cases, |(pipeline, text)| {
        expect(config(pipeline.clone()).check(), text)
    });
}

fn expect(got: crate::Result<()>, text: &str) -> Result<(), String> {
    match got {
        Err(e) if e.code() == ErrorCode::InvalidPackage && e.message().contains(text) => Ok(()),
        other => Err(format!("expected `{text}`, got {other:?}")),
    }
}

fn signature(input: Json, outputs: &[Json]) -> Signature {
    step(&json!({"inputs": [input], "outputs": outputs}))
}

#[test]
fn pipelines_that_do_not_fit_the_model_are_refused_when_it_is_loaded() {
    let input = |name: &str, dtype: &str, shape: Json| json!({"name": name, "dtype": dtype, "shape": shape});
    let x = |shape: Json| input("x", "FP32", shape);
    let good_x = || x(json!(["N", 3, 4, 8]));
    let boxes = |shape: Json| json!({"name": "boxes", "dtype": "FP32", "shape": shape});
    let scores = |shape: Json| json!({"name": "scores", "dtype": "FP32", "shape": shape});
    let table = |n: usize, columns: usize| json!([1, n, columns]);
    let good = || vec![boxes(table(9, 4)), scores(table(9, 2))];
    let label = || json!({"name": "label", "dtype": "INT64", "shape": ["N"]});
    let maps = || json!({"name": "label", "kind": "maps", "dtype": "FP32", "shape": ["N", 2]});
    let record_x = || input("X", "FP32", json!([null, 2]));
    let map_x = || json!({"name": "X", "kind": "maps", "dtype": "FP32", "keys": "BYTES"});
    let bytes = || input("bytes", "FP32", json!([null, 7]));
    let (b, p, r) = (bytes_pipeline, boxes_pipeline, record_pipeline);
    let output = |kind: &str| json!({"kind": kind, "name": "o", "tensor": "label"});
    let classes =
        json!({"kind": "classes", "name": "o", "tensor": "scores", "labels": "abc", "top_k": 1});
    let no_steps = with(p(), "/input/steps", json!([]));
    let fine = [
        (p(), signature(good_x(), &good())),
        (
            p(),
            signature(
                x(json!([null, null, null, null])),
                &[
                    boxes(json!([null, null, null])),
                    scores(json!(["N", "M", 2])),
                ],
            ),
        ),
        (
            p(),
            signature(
                json!({"name": "x", "dtype": "FP32"}),
                &[
                    boxes(json!([9, 4])),
                    json!({"name": "scores", "dtype": "FP32"}),
                ],
            ),
        ),
        (
            no_steps.clone(),
            signature(x(json!([1, 3, "H", "W"])), &good()),
        ),
        (
            with(p(), "/input/layout", json!("nhwc")),
            signature(x(json!([1, 4, 8, 3])), &good()),
        ),
        (r(), signature(record_x(), &[label()])),
        (
            with(r(), "/input/columns", json!([])),
            signature(map_x(), &[label()]),
        ),
        (b(), signature(bytes(), &[scores(json!([null, 3]))])),
        (b(), signature(bytes(), &[scores(json!([2]))])),
        (
            with(r(), "/outputs/0", output("probabilities")),
            signature(record_x(), &[maps()]),
        ),
        (
            with(r(), "/outputs/0", output("tensor")),
            signature(record_x(), &[maps()]),
        ),
        (
            with(r(), "/outputs/0", classes.clone()),
            signature(record_x(), &[scores(json!([1, 3]))]),
        ),
    ];
    all_of(&fine, |(pipeline, signature)| {
        check(pipeline, signature).map_err(|e| e.to_string())
    });
    let cases = [
        (
            p(),
            signature(input("y", "FP32", json!([1, 3, 4, 8])), &good()),
            "the model has no input `x`; it has `y`",
        ),
        (
            p(),
            signature(input("x", "UINT8", json!([1, 3, 4, 8])), &good()),
            "takes `x` as UINT8, the pipeline makes FP32; set dtype to UINT8",
        ),
        (
            p(),
            signature(x(json!([1, 3, 8, 4])), &good()),
            "of shape [1, 3, 8, 4], the pipeline makes [1, 3, 4, 8]",
        ),
        (
            p(),
            signature(x(json!([2, 3, 4, 8])), &good()),
            "[2, 3, 4, 8]",
        ),
        (p(), signature(x(json!([3, 4, 8])), &good()), "[3, 4, 8]"),
        (
            no_steps,
            signature(good_x(), &good()),
            "makes [1, 3, size of the picture, size of the picture]",
        ),
        (
            p(),
            signature(good_x(), &[boxes(table(9, 4))]),
            "the model has no output `scores`; it has `boxes`",
        ),
        (
            p(),
            signature(good_x(), &[boxes(table(9, 5)), scores(table(9, 2))]),
            "boxes have 4 coordinates",
        ),
        (
            p(),
            signature(good_x(), &[boxes(table(9, 4)), scores(table(8, 2))]),
            "9 boxes and 8 scores",
        ),
        (
            p(),
            signature(good_x(), &[boxes(table(9, 4)), scores(table(9, 1))]),
            "no class 1 in the 1 columns",
        ),
        (
            p(),
            signature(good_x(), &[boxes(json!([4])), scores(table(9, 2))]),
            "it must be [1, boxes, columns]",
        ),
        (
            r(),
            signature(input("X", "FP32", json!([null, 3])), &[label()]),
            "[?, 3], the pipeline makes [1, 2]",
        ),
        (
            r(),
            signature(input("X", "FP64", json!([null, 2])), &[label()]),
            "set dtype to FP64",
        ),
        (
            with(r(), "/input/columns", json!([])),
            signature(record_x(), &[label()]),
            "only a map takes any",
        ),
        (
            r(),
            signature(map_x(), &[label()]),
            "leave its columns empty",
        ),
        (
            r(),
            signature(record_x(), &[maps()]),
            "is maps (ZipMap), this kind needs a tensor",
        ),
        (
            with(r(), "/outputs/0", output("probabilities")),
            signature(record_x(), &[label()]),
            "needs maps (ZipMap)",
        ),
        (
            with(r(), "/outputs/0", classes.clone()),
            signature(record_x(), &[scores(json!([1, 2]))]),
            "2 classes, the list `abc` 3 labels",
        ),
        (
            with(r(), "/outputs/0", classes),
            signature(record_x(), &[json!({"name": "scores", "dtype": "FP64"})]),
            "is FP64, this kind needs FP32",
        ),
        (
            b(),
            signature(bytes(), &[scores(json!([null, 4]))]),
            "4 classes, the list `abc` only 3 labels",
        ),
        (
            b(),
            signature(bytes(), &[scores(json!([1, 1, 3]))]),
            "scores must be [classes] or [1, classes]",
        ),
        (
            b(),
            signature(input("bytes", "FP32", json!([1, 8])), &[scores(json!([3]))]),
            "the pipeline makes [1, 7]",
        ),
    ];
    all_of(&cases, |(pipeline, signature, text)| {
        expect(check(pipeline, signature), text)
    });
    let mut two = signature(record_x(), &[label()]);
    two.inputs.push(step(&x(json!([1]))));
    all_of(&[()], |()| {
        expect(check(&r(), &two), "the model also takes `x`")
    });
}

fn check(pipeline: &Json, signature: &Signature) -> crate::Result<()> {
    let config = config(pipeline.clone());
    config.check()?;
    config
        .pipeline
        .as_ref()
        .unwrap()
        .check_signature(signature, &config)
}

#[test]
fn unknown_fields_are_refused_at_every_level() {
    let places = ["", "/input", "/input/columns/0", "/outputs/0"];
    all_of(&places, |place| {
        let pipeline = with(record_pipeline(), &format!("{place}/surprise"), json!(1));
        let json =
            json!({"format_version": 1, "name": "m", "version": "1.0.0", "pipeline": pipeline});
        match crate::ModelConfig::from_json(json.to_string().as_bytes()) {
            Err(e) if e.code() == ErrorCode::UnknownField && e.message().contains("surprise") => {
                Ok(())
            }
            other => Err(format!("{place}: {other:?}")),
        }
    });
}

#[test]
fn records_of_columns_fit_the_inputs_of_the_model() {
    let columns = json!([
        {"name": "age", "missing": "nan"},
        {"name": "city", "dtype": "BYTES"},
    ]);
    let pipeline = |columns: &Json| {
        json!({
            "input": {"kind": "record", "name": "record", "columns": columns},
            "outputs": [{"kind": "tensor", "name": "y", "tensor": "y"}],
        })
    };
    let wrong = [
        (
            with(columns.clone(), "/1/missing", json!("nan")),
            "BYTES has no NaN",
        ),
        (with(columns.clone(), "/1/dtype", json!("FP16")), "not FP16"),
    ];
    all_of(&wrong, |(columns, text)| {
        expect(config(pipeline(columns)).check(), text)
    });
    let one_tensor = with(pipeline(&columns), "/input/tensor", json!("X"));
    assert_eq!(
        expect(config(one_tensor).check(), "leave out `tensor`"),
        Ok(())
    );

    let input = |name: &str, dtype: &str, width: usize| json!({"name": name, "dtype": dtype, "shape": ["N", width]});
    let fits = |inputs: Json| {
        let outputs = json!([{"name": "y", "dtype": "FP32", "shape": ["N", 1]}]);
        let signature: Signature = step(&json!({"inputs": inputs, "outputs": outputs}));
        check(&pipeline(&columns), &signature)
    };
    let age = || input("age", "FP32", 1);
    let city = || input("city", "BYTES", 1);
    assert_eq!(
        fits(json!([age(), city()])).map_err(|e| e.to_string()),
        Ok(())
    );
    let cases = [
        (json!([age()]), "no input `city`"),
        (json!([age(), input("city", "INT64", 1)]), "as INT64"),
        (json!([age(), input("city", "BYTES", 2)]), "of shape"),
        (
            json!([age(), city(), input("sex", "BYTES", 1)]),
            "also takes `sex`",
        ),
    ];
    all_of(&cases, |(inputs, text)| expect(fits(inputs.clone()), text));
}

#[test]
fn the_pipeline_of_columns_is_that_of_models_with_an_input_for_each() {
    let signature = |inputs: Json| -> Signature {
        let outputs = json!([
            {"name": "label", "dtype": "INT64", "shape": ["N"]},
            {"name": "probabilities", "kind": "maps", "dtype": "FP32", "shape": ["N", 2]},
        ]);
        step(&json!({"inputs": inputs, "outputs": outputs}))
    };
    let column = |name: &str, dtype: &str| json!({"name": name, "dtype": dtype, "shape": ["N", 1]});
    let two = signature(json!([column("age", "FP32"), column("city", "BYTES")]));
    let made = Pipeline::of_columns(&two, |_| true).unwrap();
    let wanted: Pipeline = step(&json!({
        "input": {"kind": "record", "name": "record", "dtype": "FP32", "columns": [
            {"name": "age", "dtype": "FP32", "missing": "nan"},
            {"name": "city", "dtype": "BYTES", "missing": "error"},
        ]},
        "outputs": [
            {"kind": "label", "name": "label", "tensor": "label"},
            {"kind": "probabilities", "name": "probabilities", "tensor": "probabilities"},
        ],
    }));
    assert_eq!(made, wanted);
    let map = json!([{"name": "x", "kind": "maps", "dtype": "FP32", "keys": "BYTES"}]);
    let made = Pipeline::of_records(&signature(map.clone()), |_| true).unwrap();
    let wanted: Pipeline = step(&json!({
        "input": {"kind": "record", "name": "record", "tensor": "x", "dtype": "FP32", "columns": []},
        "outputs": [
            {"kind": "label", "name": "label", "tensor": "label"},
            {"kind": "probabilities", "name": "probabilities", "tensor": "probabilities"},
        ],
    }));
    assert_eq!(made, wanted);
    assert_eq!(Pipeline::of_columns(&signature(map), |_| true), None);
    let others = [
        json!([column("age", "FP32")]),
        json!([column("age", "FP32"), {"name": "x", "dtype": "FP32", "shape": ["N", 3]}]),
        json!([column("age", "FP32"), {"name": "x", "dtype": "FP32"}]),
        json!([column("age", "FP32"), column("x", "FP16")]),
    ];
    for inputs in others {
        let signature = signature(inputs);
        assert_eq!(
            Pipeline::of_columns(&signature, |_| true),
            None,
            "{signature:?}"
        );
    }
}

#[test]
fn sounds_and_texts_that_cannot_be_are_refused_when_the_package_is_read() {
    let a = |key: &str, value: Json| with(audio_pipeline(), &format!("/input/{key}"), value);
    let mel = |key: &str, value: Json| a(&format!("features/mel_spectrogram/{key}"), value);
    let cases = [
        (a("sample_rate", json!(0)), "sample_rate must be from 1"),
        (a("sample_rate", json!(1_000_000)), "sample_rate must be"),
        (a("samples", json!(0)), "samples must be from 1"),
        (a("samples", json!(u32::MAX)), "samples must be from 1"),
        (
            a("samples", json!(100)),
            "100 samples are 7 frames, frames says 25",
        ),
        (a("samples", Json::Null), "frames needs `samples`"),
        (a("scale", json!(1e300)), "must be a finite number"),
        (mel("n_fft", json!(0)), "n_fft must be from 2"),
        (mel("n_fft", json!(1 << 20)), "n_fft must be from 2"),
        (mel("win_length", json!(65)), "win_length from 1 to n_fft"),
        (mel("win_length", json!(0)), "win_length from 1 to n_fft"),
        (mel("hop_length", json!(0)), "hop_length must be"),
        (mel("n_mels", json!(0)), "n_mels must be"),
        (mel("power", json!(3)), "power must be 1"),
        (mel("f_min", json!(-1)), "f_min and f_max"),
        (mel("f_min", json!(7600)), "f_min and f_max"),
        (mel("f_max", json!(8001)), "half of sample_rate"),
        (mel("log/floor", json!(0)), "floor must be over 0"),
        (
            mel("log/reference", json!({"value": 0})),
            "reference must be over 0",
        ),
        (mel("log/range", json!(-1)), "range must not be negative"),
        (mel("log/offset", json!(1e300)), "must be a finite number"),
        (
            mel("normalize/mean", json!([1, 2])),
            "mean must have 1 or 8 numbers, got 2",
        ),
        (mel("normalize/std", json!([0])), "std is divided by"),
        (mel("frames", json!(0)), "frames says 0"),
        (mel("frames", json!(27)), "26 frames, frames says 27"),
        (
            with(text_pipeline(), "/input/max_characters", json!(0)),
            "max_characters must be at least 1",
        ),
    ];
    all_of(&cases, |(pipeline, text)| {
        expect(config(pipeline.clone()).check(), text)
    });
}

#[test]
fn sounds_and_texts_must_fit_the_model() {
    let fits = |pipeline: Json, dtype: &str, shape: Json| {
        let outputs = json!([
            {"name": "scores", "dtype": "FP32", "shape": ["N", 2]},
            {"name": "label", "dtype": "BYTES", "shape": ["N"]},
        ]);
        let inputs = json!([{"name": "x", "dtype": dtype, "shape": shape}]);
        let signature: Signature = step(&json!({"inputs": inputs, "outputs": outputs}));
        check(&pipeline, &signature)
    };
    let mut free = audio_pipeline();
    free["input"].as_object_mut().unwrap().remove("samples");
    free["input"]["features"] = json!({"waveform": {"channel_axis": true}});
    let vector = with(text_pipeline(), "/input/layout", json!("vector"));
    for (pipeline, dtype, shape) in [
        (audio_pipeline(), "FP32", json!([1, 8, 25])),
        (audio_pipeline(), "FP32", json!(["N", 8, "frames"])),
        (free.clone(), "FP32", json!(["N", 1, "samples"])),
        (text_pipeline(), "BYTES", json!(["N", 1])),
        (text_pipeline(), "BYTES", json!([1, 1])),
        (vector.clone(), "BYTES", json!(["N"])),
    ] {
        fits(pipeline, dtype, shape).unwrap();
    }
    let cases = [
        (
            audio_pipeline(),
            "FP32",
            json!([1, 25, 8]),
            "the pipeline makes [1, 8, 25]",
        ),
        (audio_pipeline(), "FP64", json!([1, 8, 25]), "as FP64"),
        (free, "FP32", json!([1, 1, 16000]), "length of the sound"),
        (text_pipeline(), "BYTES", json!(["N"]), "number of texts"),
        (text_pipeline(), "BYTES", json!([2, 1]), "number of texts"),
        (vector, "INT64", json!(["N"]), "the pipeline makes BYTES"),
    ];
    all_of(&cases, |(pipeline, dtype, shape, text)| {
        expect(fits(pipeline.clone(), dtype, shape.clone()), text)
    });
}
