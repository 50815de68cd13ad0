//! Tests of the pipeline: against the reference (see `tests/reference/pipeline_reference.py`),
//! of every error, and with hostile input.

mod checks;
mod hostile;
mod inputs;
mod outputs;

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};

use crate::ModelConfig;

/// What the reference implementations give.
pub(crate) fn reference() -> &'static Json {
    static REFERENCE: OnceLock<Json> = OnceLock::new();
    REFERENCE.get_or_init(|| {
        serde_json::from_str(include_str!("../../../tests/reference/pipeline.json")).unwrap()
    })
}

pub(crate) fn from_base64(text: &Json) -> Vec<u8> {
    STANDARD.decode(text.as_str().unwrap()).unwrap()
}

/// A declaration from its JSON.
pub(crate) fn step<T: DeserializeOwned>(json: &Json) -> T {
    serde_json::from_value(json.clone()).unwrap()
}

/// Runs every case and reports all that fail.
#[track_caller]
pub(crate) fn all_of<T>(cases: &[T], check: impl Fn(&T) -> Result<(), String>) {
    assert!(!cases.is_empty());
    let failed: Vec<String> = cases.iter().filter_map(|case| check(case).err()).collect();
    assert!(
        failed.is_empty(),
        "{} of {} failed:\n{}",
        failed.len(),
        cases.len(),
        failed.join("\n")
    );
}

/// A configuration with this pipeline, and `abc` as a list of labels of which `b` is text.
pub(crate) fn config(pipeline: Json) -> ModelConfig {
    step(&json!({
        "format_version": 1, "name": "m", "version": "1.0.0", "pipeline": pipeline,
        "labels": {"abc": [{"name": "a"}, {"name": "b", "text": true}, {"name": "c"}]},
    }))
}

/// A pipeline for bytes with a decision.
pub(crate) fn bytes_pipeline() -> Json {
    json!({
        "input": {
            "kind": "bytes", "name": "content", "tensor": "bytes", "dtype": "FP32",
            "begin": 4, "end": 3, "block": 8, "strip_whitespace": true, "padding": 256,
            "short": {"below": 2, "empty": "empty", "text": "txt", "binary": "bin", "undefined": "undefined"},
        },
        "parameters": [{"name": "mode", "values": ["high_confidence", "medium_confidence", "best_guess"], "default": "high_confidence"}],
        "outputs": [{
            "kind": "decision", "name": "type", "tensor": "scores", "labels": "abc", "parameter": "mode",
            "threshold": 0.5, "thresholds": {"a": 0.9}, "overwrite": {"c": "b"},
            "low_confidence": {"text": "txt", "binary": "bin"},
        }],
    })
}

/// A pipeline for pictures with boxes.
pub(crate) fn boxes_pipeline() -> Json {
    json!({
        "input": {
            "kind": "picture", "name": "picture", "tensor": "x",
            "steps": [{"resize": {"width": 8, "height": 4, "filter": "bilinear"}}, {"normalize": {"mean": [127], "std": [128]}}],
        },
        "outputs": [{
            "kind": "boxes", "name": "boxes", "boxes": "boxes", "scores": "scores", "format": "corners",
            "normalized": true, "class": 1, "score_threshold": 0.5, "iou_threshold": 0.3, "max_boxes": 200,
        }],
    })
}

/// A pipeline for records with a label.
pub(crate) fn record_pipeline() -> Json {
    json!({
        "input": {
            "kind": "record", "name": "record", "tensor": "X",
            "columns": [{"name": "mean radius"}, {"name": "mean texture", "missing": "nan"}],
        },
        "outputs": [{"kind": "label", "name": "label", "tensor": "label"}],
    })
}

/// A pipeline for sounds with their samples.
pub(crate) fn audio_pipeline() -> Json {
    json!({
        "input": {
            "kind": "audio", "name": "audio", "tensor": "x", "sample_rate": 16000, "samples": 400,
            "features": {"mel_spectrogram": {
                "n_fft": 64, "hop_length": 16, "win_length": 50, "n_mels": 8, "f_min": 20.0, "f_max": 7600.0, "power": 2,
                "log": {"scale": "decibel", "floor": 1e-10, "offset": 0.0, "reference": {"value": 1.0}, "range": 80.0},
                "normalize": {"mean": [-20.0], "std": [10.0]}, "frames": 25,
            }},
        },
        "outputs": [{"kind": "tensor", "name": "scores", "tensor": "scores"}],
    })
}

/// A pipeline for texts with a label.
pub(crate) fn text_pipeline() -> Json {
    json!({
        "input": {"kind": "text", "name": "text", "tensor": "x", "max_characters": 20},
        "outputs": [{"kind": "label", "name": "label", "tensor": "label"}],
    })
}
