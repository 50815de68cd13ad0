//! Tensors of a model in the Open Inference Protocol.

use serde_json::{Value, json};
use twinfer::{DType, Dim, OutputSpec, Signature, TensorSpec, ValueKind};

use super::common::{element, object, reference_to, text};

/// What `infer` takes of a model of this signature.
pub(crate) fn infer_request(signature: &Signature) -> Value {
    let required = signature.inputs.len();
    let all = signature.inputs.iter().chain(&signature.optional);
    let inputs: Vec<Value> = all.map(input).collect();
    let names: Vec<&str> = signature.outputs.iter().map(|o| o.name.as_str()).collect();
    let output = object(
        &[
            ("name", json!({"enum": names})),
            ("parameters", reference_to("Parameters")),
        ],
        &["name"],
    );
    object(
        &[
            ("id", text("Comes back in the answer.")),
            ("parameters", reference_to("Parameters")),
            (
                "inputs",
                json!({"type": "array", "minItems": required, "maxItems": inputs.len(), "items": one_of(inputs)}),
            ),
            (
                "outputs",
                json!({"type": "array", "items": output, "description": "What is wanted; all of them when it is left out."}),
            ),
        ],
        &["inputs"],
    )
}

fn one_of(mut schemas: Vec<Value>) -> Value {
    match schemas.len() {
        1 => schemas.remove(0),
        _ => json!({ "oneOf": schemas }),
    }
}

fn input(spec: &TensorSpec) -> Value {
    let (dtype, dims) = match spec.kind {
        ValueKind::Tensor => (spec.dtype, spec.shape.as_deref()),
        // Its JSON, as a text.
        _ => (DType::String, None),
    };
    let mut fields = vec![
        ("name", json!({"const": spec.name})),
        ("datatype", json!({"const": dtype.name()})),
        ("shape", shape(dims)),
    ];
    let mut required = vec!["name", "datatype", "shape"];
    if has_json(dtype) {
        fields.push(("data", data(dtype, dims)));
        required.push("data");
    } else {
        // No number of JSON: only behind it, as bytes.
        let size = object(
            &[("binary_data_size", json!({"type": "integer", "minimum": 0}))],
            &["binary_data_size"],
        );
        fields.push(("parameters", size));
        required.push("parameters");
    }
    object(&fields, &required)
}

fn has_json(dtype: DType) -> bool {
    use DType::{Bool, F32, F64, I8, I16, I32, I64, String, U8, U16, U32, U64};
    let there = [Bool, U8, U16, U32, U64, I8, I16, I32, I64, F32, F64, String];
    there.contains(&dtype)
}

fn fixed(dims: &[Dim]) -> Option<Vec<usize>> {
    let length = |dim: &Dim| match dim {
        Dim::Fixed(length) => Some(*length),
        _ => None,
    };
    dims.iter().map(length).collect()
}

fn shape(dims: Option<&[Dim]>) -> Value {
    let free = json!({"type": "integer", "minimum": 0});
    let Some(dims) = dims else {
        return json!({"type": "array", "items": free});
    };
    if let Some(lengths) = fixed(dims) {
        return json!({ "const": lengths });
    }
    let axis = |dim: &Dim| match dim {
        Dim::Fixed(length) => json!({"const": length}),
        Dim::Symbol(name) => json!({"type": "integer", "minimum": 0, "title": name}),
        Dim::Free => free.clone(),
    };
    json!({
        "type": "array", "minItems": dims.len(), "maxItems": dims.len(),
        "prefixItems": dims.iter().map(axis).collect::<Vec<_>>(),
    })
}

/// Flat, in row-major order, or nested as the shape says.
fn data(dtype: DType, dims: Option<&[Dim]>) -> Value {
    let mut flat = json!({"type": "array", "items": element(dtype)});
    let Some(dims) = dims else {
        return flat;
    };
    if let Some(count) = fixed(dims).map(|lengths| lengths.iter().product::<usize>()) {
        flat["minItems"] = count.into();
        flat["maxItems"] = count.into();
    }
    if dims.len() < 2 {
        return flat;
    }
    json!({"description": "Row-major: flat, or nested as the shape says.", "anyOf": [flat, nested(dtype, dims)]})
}

/// Arrays in arrays, one for each axis. Without a shape, any arrays.
pub(super) fn nested(dtype: DType, dims: &[Dim]) -> Value {
    dims.iter().rev().fold(element(dtype), |inner, dim| {
        let mut array = json!({"type": "array", "items": inner});
        if let Dim::Fixed(length) = dim {
            array["minItems"] = (*length).into();
            array["maxItems"] = (*length).into();
        }
        array
    })
}

/// What `infer` gives.
pub(crate) fn infer_response(signature: &Signature) -> Value {
    let output = |spec: &OutputSpec| {
        let dtype = match spec.kind {
            ValueKind::Tensor | ValueKind::Maps => spec.dtype,
            _ => DType::String,
        };
        object(
            &[
                ("name", json!({"const": spec.name})),
                ("datatype", json!({"const": dtype.name()})),
            ],
            &["name", "datatype", "shape"],
        )
    };
    let outputs = one_of(signature.outputs.iter().map(output).collect());
    json!({"allOf": [
        reference_to("InferResponse"),
        object(&[("outputs", json!({"type": "array", "items": outputs}))], &[]),
    ]})
}
