//! The status of a model, and its signatures, in the JSON of TensorFlow's messages
//! (`GetModelStatusResponse`, `GetModelMetadataResponse`).

use bytes::Bytes;
use http::Response;
use serde_json::{Map, Value as Json, json};
use twinfer::{
    DType, Dim, InputStep, OutputStep, Pipeline, RecordInput, Result, Signature as ModelSignature,
    ValueKind,
};
use twinfer_package::tag_version;

use super::Signature;
use crate::target::Target;
use crate::{App, metadata, reply};

/// The versions that there are, or the one that is asked for. A version is loaded by the first
/// request for it, so all that the registry has are available.
///
/// # Errors
/// `unknown_model`, `unknown_version`, and those of a trust policy for the one that is asked for.
pub(super) fn status(app: &App, target: &Target) -> Result<Response<Bytes>> {
    let index = app.index()?;
    let reference = app.reference(target, &index)?;
    let versions = match reference.tag().is_some() || reference.digest().is_some() {
        true => vec![app.describe(target)?.config.version],
        false => {
            // Says what is not there.
            index.resolve(&reference)?;
            metadata::versions(&index, reference.name())
        }
    };
    let one = |version: String| {
        json!({
            "version": number(&version),
            "state": "AVAILABLE",
            "status": {"error_code": "OK", "error_message": ""},
        })
    };
    let list: Vec<Json> = versions.into_iter().map(one).collect();
    Ok(reply::json(&json!({"model_version_status": list})))
}

/// A version as TensorFlow Serving has it, which is a number: that of `3.0.0`. Others stay as they
/// are.
fn number(version: &str) -> String {
    match tag_version(version) {
        Some(v) if v.minor == 0 && v.patch == 0 && v.pre.is_empty() && v.build.is_empty() => {
            v.major.to_string()
        }
        _ => version.to_owned(),
    }
}

/// The signatures.
///
/// # Errors
/// Those of [`App::describe`].
pub(super) fn metadata(app: &App, target: &Target) -> Result<Response<Bytes>> {
    let described = app.describe(target)?;
    let config = &described.config;
    let tensors = of_model(&described.signature);
    let mut signatures = Map::new();
    match &config.pipeline {
        Some(pipeline) => {
            let default = of_pipeline(pipeline, &described.signature);
            signatures.insert(Signature::DEFAULT.into(), default);
            signatures.insert(Signature::TENSORS.into(), tensors);
        }
        None => {
            signatures.insert(Signature::DEFAULT.into(), tensors);
        }
    }
    Ok(reply::json(&json!({
        "model_spec": {
            "name": config.name,
            "signature_name": "",
            "version": number(&config.version),
        },
        "metadata": {"signature_def": {"signature_def": signatures}},
    })))
}

fn signature_def(inputs: Map<String, Json>, outputs: Map<String, Json>) -> Json {
    json!({
        "inputs": inputs,
        "outputs": outputs,
        "method_name": "tensorflow/serving/predict",
        "defaults": {},
    })
}

fn of_model(signature: &ModelSignature) -> Json {
    let inputs = signature.inputs.iter().chain(&signature.optional);
    let inputs = inputs.map(|i| {
        (
            i.name.clone(),
            tensor(&i.name, i.kind, i.dtype, i.shape.as_deref()),
        )
    });
    let outputs = signature.outputs.iter();
    let outputs = outputs.map(|o| {
        (
            o.name.clone(),
            tensor(&o.name, o.kind, o.dtype, o.shape.as_deref()),
        )
    });
    signature_def(inputs.collect(), outputs.collect())
}

fn of_pipeline(pipeline: &Pipeline, signature: &ModelSignature) -> Json {
    let column = |name: &str, dtype| {
        (
            name.to_owned(),
            tensor(name, ValueKind::Tensor, dtype, Some(&[Dim::Free])),
        )
    };
    let inputs: Map<String, Json> = match &pipeline.input {
        InputStep::Record(step) if !step.columns.is_empty() => {
            let columns = step.columns.iter();
            columns
                .map(|c| column(&c.name, dtype_of(step, c)))
                .collect()
        }
        InputStep::Record(step) => Map::from_iter([(
            step.name.clone(),
            tensor(&step.name, ValueKind::Maps, step.dtype, None),
        )]),
        step => Map::from_iter([column(step.name(), DType::String)]),
    };
    let output = |step: &OutputStep| {
        let of = |name: &str| signature.outputs.iter().find(|o| o.name == name);
        let one = match step {
            OutputStep::Label(plain) => {
                let dtype = of(&plain.tensor).map_or(DType::String, |o| o.dtype);
                column(&plain.name, dtype).1
            }
            OutputStep::Tensor(plain) => match of(&plain.tensor) {
                Some(o) => tensor(&plain.name, o.kind, o.dtype, o.shape.as_deref()),
                None => tensor(&plain.name, ValueKind::Maps, DType::F32, None),
            },
            // Objects, and lists of them, which TensorFlow has no type for.
            _ => tensor(step.name(), ValueKind::Maps, DType::F32, None),
        };
        (step.name().to_owned(), one)
    };
    signature_def(inputs, pipeline.outputs.iter().map(output).collect())
}

fn dtype_of(step: &RecordInput, column: &twinfer::Column) -> DType {
    match step.tensor {
        Some(_) => step.dtype,
        None => column.dtype.unwrap_or(step.dtype),
    }
}

/// A `TensorInfo`. What is no tensor is a variant of unknown rank.
fn tensor(name: &str, kind: ValueKind, dtype: DType, shape: Option<&[Dim]>) -> Json {
    let (dtype, shape) = match kind {
        ValueKind::Tensor => (name_of(dtype), shape),
        _ => ("DT_VARIANT", None),
    };
    let size = |dim: &Dim| {
        let size = match dim {
            Dim::Fixed(length) => length.to_string(),
            _ => "-1".to_owned(),
        };
        // 64-bit numbers are texts in the JSON of protocol buffers.
        json!({"size": size, "name": ""})
    };
    let dims: Vec<Json> = shape.unwrap_or_default().iter().map(size).collect();
    json!({
        "dtype": dtype,
        "tensor_shape": {"dim": dims, "unknown_rank": shape.is_none()},
        "name": format!("{name}:0"),
    })
}

/// TensorFlow's name of a type (`tensorflow/core/framework/types.proto`).
fn name_of(dtype: DType) -> &'static str {
    match dtype {
        DType::Bool => "DT_BOOL",
        DType::U8 => "DT_UINT8",
        DType::U16 => "DT_UINT16",
        DType::U32 => "DT_UINT32",
        DType::U64 => "DT_UINT64",
        DType::I8 => "DT_INT8",
        DType::I16 => "DT_INT16",
        DType::I32 => "DT_INT32",
        DType::I64 => "DT_INT64",
        DType::F16 => "DT_HALF",
        DType::BF16 => "DT_BFLOAT16",
        DType::F32 => "DT_FLOAT",
        DType::F64 => "DT_DOUBLE",
        DType::String => "DT_STRING",
        _ => "DT_VARIANT",
    }
}
