//! Labels, decisions and boxes.

use serde_json::{Map, Value as Json, json};

use super::{all_of, boxes_pipeline, config, from_base64, reference, step};
use crate::pipeline::labels;
use crate::{ErrorCode, MapKeys, Maps, ModelConfig, OutputStep, Result, Tensor, Value};

fn floats(shape: &[usize], values: Vec<f32>) -> Value {
    Value::Tensor(Tensor::from_vec(shape, values).unwrap())
}

#[test]
fn decisions_are_those_of_magika() {
    let reference = &reference()["decision"];
    let labels = reference["labels"].as_array().unwrap();
    let pipeline: Json = json!({
        "input": {"kind": "bytes", "name": "content", "tensor": "bytes", "dtype": "FP32", "begin": 4, "end": 3, "block": 8, "padding": 256},
        "parameters": [{"name": "mode", "values": ["high_confidence", "medium_confidence", "best_guess"], "default": "high_confidence"}],
        "outputs": [{
            "kind": "decision", "name": "type", "tensor": "scores", "labels": "types", "parameter": "mode",
            "threshold": reference["threshold"], "thresholds": reference["thresholds"],
            "overwrite": reference["overwrite"], "low_confidence": {"text": "txt", "binary": "unknown"},
        }],
    });
    let mut config = config(pipeline);
    config
        .labels
        .insert("types".into(), step(&reference["labels"]));
    config.check().unwrap();
    let pipeline = config.pipeline.clone().unwrap();
    all_of(reference["cases"].as_array().unwrap(), |case| {
        let at = labels
            .iter()
            .position(|label| label["name"] == case["model_label"])
            .unwrap();
        let mut scores = vec![0f32; reference["classes"].as_u64().unwrap() as usize];
        scores[at] = case["score"].as_f64().unwrap() as f32;
        let values = [("scores".to_string(), floats(&[1, scores.len()], scores))];
        let parameters = pipeline
            .parameters(&step(&json!({"mode": case["mode"]})))
            .unwrap();
        let got = &pipeline.after(&values, None, &parameters, &config).unwrap()["type"];
        let want = json!({
            "label": case["label"], "score": case["score"], "model_label": case["model_label"],
            "overwrite_reason": case["reason"],
        });
        if *got == want {
            Ok(())
        } else {
            Err(format!("{case}: {got}"))
        }
    });
}

fn decide(scores: &[f32]) -> Result<Json> {
    let config = config(super::bytes_pipeline());
    let pipeline = config.pipeline.as_ref().unwrap();
    let OutputStep::Decision(step) = &pipeline.outputs[0] else {
        panic!("another kind")
    };
    labels::decision(
        step,
        &floats(&[scores.len()], scores.to_vec()),
        "best_guess",
        &config,
    )
}

#[test]
fn of_equal_scores_the_first_is_chosen_and_nan_never() {
    assert_eq!(decide(&[0.2, 0.7, 0.7]).unwrap()["model_label"], "b");
    assert_eq!(decide(&[f32::NAN, 0.1, 0.0]).unwrap()["model_label"], "b");
    assert_eq!(
        decide(&[f32::NAN; 3]).unwrap_err().code(),
        ErrorCode::InvalidInput
    );
    assert_eq!(
        decide(&[0.0; 4]).unwrap_err().code(),
        ErrorCode::InvalidPackage
    );
    assert_eq!(decide(&[]).unwrap_err().code(), ErrorCode::InvalidInput);
}

fn abc() -> ModelConfig {
    config(super::record_pipeline())
}

#[test]
fn classes_are_the_best_first_with_their_activation() {
    let cases = [
        (
            "none",
            vec![0.25, 0.5, 0.25],
            2,
            json!([{"label": "b", "score": 0.5}, {"label": "a", "score": 0.25}]),
        ),
        (
            "softmax",
            vec![0.0, 0.0, f32::NEG_INFINITY],
            9,
            json!([
                {"label": "a", "score": 0.5}, {"label": "b", "score": 0.5}, {"label": "c", "score": 0.0},
            ]),
        ),
        (
            "softmax",
            vec![1000.0, -1000.0, 0.0],
            1,
            json!([{"label": "a", "score": 1.0}]),
        ),
        (
            "sigmoid",
            vec![0.0, 100.0, -200.0],
            3,
            json!([
                {"label": "b", "score": 1.0}, {"label": "a", "score": 0.5}, {"label": "c", "score": 0.0},
            ]),
        ),
        (
            "none",
            vec![f32::NAN, 0.5, f32::INFINITY],
            3,
            json!([
                {"label": "c", "score": "Infinity"}, {"label": "b", "score": 0.5}, {"label": "a", "score": "NaN"},
            ]),
        ),
    ];
    all_of(&cases, |(activation, scores, top_k, want)| {
        let step = step(&json!({
            "name": "top", "tensor": "s", "labels": "abc", "top_k": top_k, "activation": activation,
        }));
        let got = labels::classes(&step, &floats(&[1, 3], scores.clone()), &abc()).unwrap();
        if got == *want {
            Ok(())
        } else {
            Err(format!("{activation} {scores:?}: {got}"))
        }
    });
    let step = step(&json!({"name": "top", "tensor": "s", "labels": "abc", "top_k": 1}));
    let error = labels::classes(&step, &floats(&[2, 3], vec![0.0; 6]), &abc()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::WrongShape);
}

#[test]
fn labels_and_probabilities_are_those_of_the_first_row() {
    let strings = Tensor::from_strings(&[2], vec!["benign".into(), "malignant".into()]).unwrap();
    assert_eq!(labels::label(&Value::Tensor(strings)).unwrap(), "benign");
    let ints = Tensor::from_vec(&[1], vec![1i64]).unwrap();
    assert_eq!(labels::label(&Value::Tensor(ints)).unwrap(), 1);
    let maps = |rows: usize| {
        let values = Tensor::from_vec(&[rows, 2], [0.25f32, 0.75].repeat(rows)).unwrap();
        Value::Maps(Maps {
            keys: MapKeys::Ints(vec![0, 1]),
            values,
        })
    };
    assert_eq!(
        labels::probabilities(&maps(2)).unwrap(),
        json!({"0": 0.25, "1": 0.75})
    );
    assert_eq!(
        labels::probabilities(&maps(0)).unwrap_err().code(),
        ErrorCode::WrongShape
    );
    let none = floats(&[0], vec![]);
    assert_eq!(
        labels::label(&none).unwrap_err().code(),
        ErrorCode::WrongShape
    );
    assert_eq!(
        labels::label(&maps(1)).unwrap_err().code(),
        ErrorCode::InvalidPackage
    );
    assert_eq!(
        labels::probabilities(&none).unwrap_err().code(),
        ErrorCode::InvalidPackage
    );
}

/// Boxes `[left, top, right, bottom]` with their scores through a pipeline.
fn find(
    pipeline: Json,
    boxes: &[[f32; 4]],
    scores: &[f32],
    picture: Option<(u32, u32)>,
) -> Result<Vec<Vec<f64>>> {
    let config = config(pipeline);
    config.check()?;
    let pipeline = config.pipeline.clone().unwrap();
    let columns = scores
        .iter()
        .flat_map(|&score| [1.0 - score, score])
        .collect();
    let values = [
        (
            "boxes".to_string(),
            floats(&[1, boxes.len(), 4], boxes.concat()),
        ),
        ("scores".to_string(), floats(&[1, scores.len(), 2], columns)),
    ];
    let answer = pipeline.after(&values, picture, &Map::new(), &config)?;
    let row = |found: &Json| {
        found
            .as_object()
            .unwrap()
            .values()
            .map(|n| n.as_f64().unwrap())
            .collect()
    };
    Ok(answer["boxes"]
        .as_array()
        .unwrap()
        .iter()
        .map(row)
        .collect())
}

#[test]
fn suppression_agrees_with_opencv() {
    let reference = &reference()["suppression"];
    let numbers = |key: &str| -> Vec<f32> {
        from_base64(&reference[key])
            .as_chunks()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect()
    };
    let boxes: Vec<[f32; 4]> = numbers("boxes").as_chunks().0.to_vec();
    let scores = numbers("scores");
    all_of(reference["cases"].as_array().unwrap(), |case| {
        let mut pipeline = boxes_pipeline();
        let output = pipeline["outputs"][0].as_object_mut().unwrap();
        output["score_threshold"] = case["score_threshold"].clone();
        output["iou_threshold"] = case["iou_threshold"].clone();
        let found = find(pipeline, &boxes, &scores, Some((1, 1))).unwrap();
        let want: Vec<f64> = step::<Vec<usize>>(&case["kept"])
            .into_iter()
            .map(|i| scores[i].into())
            .collect();
        let got: Vec<f64> = found.iter().map(|found| found[4]).collect();
        if got == want {
            Ok(())
        } else {
            Err(format!("{case}: {got:?}"))
        }
    });
}

#[test]
fn boxes_are_in_pixels_of_the_picture_clipped_and_without_broken_ones() {
    let nan = f32::NAN;
    let one = |corners: [f32; 4]| vec![(corners, 0.75f32)];
    let cases = [
        (
            "scaled",
            one([0.25, 0.5, 0.5, 1.0]),
            vec![vec![50.0, 50.0, 50.0, 50.0, 0.75]],
        ),
        (
            "clipped",
            one([-1.0, -0.5, 0.5, 2.0]),
            vec![vec![0.0, 0.0, 100.0, 100.0, 0.75]],
        ),
        ("outside", one([1.5, 0.0, 2.0, 1.0]), vec![]),
        ("no width", one([0.5, 0.0, 0.5, 1.0]), vec![]),
        ("turned around", one([0.5, 0.5, 0.25, 0.25]), vec![]),
        ("nan", one([nan, 0.0, 0.5, 1.0]), vec![]),
        ("infinite", one([0.0, 0.0, f32::INFINITY, 1.0]), vec![]),
        (
            "enormous",
            one([-f32::MAX, -f32::MAX, f32::MAX, f32::MAX]),
            vec![vec![0.0, 0.0, 200.0, 100.0, 0.75]],
        ),
        ("score nan", vec![([0.0, 0.0, 1.0, 1.0], nan)], vec![]),
        (
            "score at the threshold",
            vec![([0.0, 0.0, 1.0, 1.0], 0.5)],
            vec![],
        ),
        (
            "the first of equal scores stays",
            vec![([0.0, 0.0, 0.5, 0.5], 0.75), ([0.0, 0.0, 0.5, 0.625], 0.75)],
            vec![vec![0.0, 0.0, 100.0, 50.0, 0.75]],
        ),
    ];
    all_of(&cases, |(name, found, want)| {
        let (corners, scores): (Vec<_>, Vec<_>) = found.iter().copied().unzip();
        let got = find(boxes_pipeline(), &corners, &scores, Some((200, 100))).unwrap();
        if got == *want {
            Ok(())
        } else {
            Err(format!("{name}: {got:?}"))
        }
    });
}

#[test]
fn boxes_follow_the_format_the_steps_and_what_the_caller_gave() {
    let with = |change: &dyn Fn(&mut Json)| {
        let mut pipeline = boxes_pipeline();
        change(&mut pipeline);
        pipeline
    };
    let no_resize = |pipeline: &mut Json| pipeline["input"]["steps"] = json!([]);
    let crop = |pipeline: &mut Json| {
        pipeline["input"]["steps"] = json!([
            {"resize": {"width": 20, "height": 10, "filter": "nearest"}},
            {"center_crop": {"width": 10, "height": 10}},
        ]);
    };
    let pixels = |pipeline: &mut Json| pipeline["outputs"][0]["normalized"] = false.into();
    let center = |pipeline: &mut Json| pipeline["outputs"][0]["format"] = "center".into();
    let cases = [
        (
            "center",
            with(&center),
            [0.5, 0.5, 0.5, 1.0],
            Some((200, 100)),
            [50., 0., 100., 100.],
        ),
        (
            "pixels of the input",
            with(&pixels),
            [2., 1., 4., 2.],
            Some((200, 100)),
            [50., 25., 50., 25.],
        ),
        (
            "cropped",
            with(&crop),
            [0.0, 0.0, 0.5, 1.0],
            Some((200, 100)),
            [50., 0., 50., 100.],
        ),
        (
            "tensors",
            with(&|_| ()),
            [0.25, 0.5, 0.5, 1.0],
            None,
            [2., 2., 2., 2.],
        ),
        (
            "tensors, in pixels",
            with(&pixels),
            [2., 1., 40., 2.],
            None,
            [2., 1., 6., 1.],
        ),
        (
            "tensors, any size",
            with(&no_resize),
            [0.25, 0.5, 0.5, 2.0],
            None,
            [0.25, 0.5, 0.25, 0.5],
        ),
        (
            "tensors, any size, in pixels",
            with(&|p| {
                no_resize(p);
                pixels(p)
            }),
            [2., 1., 40., 2.],
            None,
            [2., 1., 38., 1.],
        ),
    ];
    all_of(&cases, |(name, pipeline, corners, picture, want)| {
        let got = find(pipeline.clone(), &[*corners], &[0.75], *picture).unwrap();
        if got.len() == 1 && got[0][..4] == *want {
            Ok(())
        } else {
            Err(format!("{name}: {got:?}"))
        }
    });
}

#[test]
fn a_million_boxes_above_the_threshold_are_not_compared_all() {
    let boxes: Vec<[f32; 4]> = (0..1_000_000u32)
        .map(|i| {
            let (x, y) = ((i % 1000) as f32, (i / 1000) as f32);
            [x, y, x + 0.5, y + 0.5]
        })
        .collect();
    let scores: Vec<f32> = (0..1_000_000u32)
        .map(|i| 0.5 + (i % 4999) as f32 / 10_000.0)
        .collect();
    let mut pipeline = boxes_pipeline();
    pipeline["outputs"][0]["normalized"] = false.into();
    pipeline["outputs"][0]["max_boxes"] = u32::MAX.into();
    pipeline["input"]["steps"] = json!([]);
    let found = find(pipeline, &boxes, &scores, Some((1000, 1000))).unwrap();
    assert_eq!(found.len(), 10_000);
    assert!(found.is_sorted_by(|a, b| a[4] >= b[4]));
}

#[test]
fn outputs_of_another_shape_or_type_are_errors() {
    let config = config(boxes_pipeline());
    let pipeline = config.pipeline.clone().unwrap();
    let ints = |shape: &[usize]| {
        Value::Tensor(Tensor::from_vec(shape, vec![0i64; shape.iter().product()]).unwrap())
    };
    let zeros = |shape: &[usize]| floats(shape, vec![0.0; shape.iter().product()]);
    let cases = [
        (
            "types",
            ints(&[1, 5, 4]),
            zeros(&[1, 5, 2]),
            ErrorCode::InvalidPackage,
        ),
        (
            "rank",
            zeros(&[20]),
            zeros(&[1, 5, 2]),
            ErrorCode::InvalidPackage,
        ),
        (
            "counts",
            zeros(&[1, 5, 4]),
            zeros(&[1, 6, 2]),
            ErrorCode::InvalidPackage,
        ),
        (
            "coordinates",
            zeros(&[1, 5, 5]),
            zeros(&[1, 5, 2]),
            ErrorCode::InvalidPackage,
        ),
        (
            "class",
            zeros(&[1, 5, 4]),
            zeros(&[1, 5, 1]),
            ErrorCode::InvalidPackage,
        ),
        (
            "batch",
            zeros(&[2, 5, 4]),
            zeros(&[2, 5, 2]),
            ErrorCode::WrongShape,
        ),
    ];
    all_of(&cases, |(name, boxes, scores, code)| {
        let values = [
            ("boxes".to_string(), boxes.clone()),
            ("scores".to_string(), scores.clone()),
        ];
        match pipeline.after(&values, Some((9, 9)), &Map::new(), &config) {
            Err(e) if e.code() == *code && e.message().starts_with("output `boxes`") => Ok(()),
            other => Err(format!("{name}: {other:?}")),
        }
    });
    let error = pipeline.after(&[], None, &Map::new(), &config).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidPackage);
}
