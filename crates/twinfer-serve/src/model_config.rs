//! A model as Triton's model configuration extension says it
//! (triton-inference-server/server, `docs/protocol/extension_model_configuration.md`;
//! triton-inference-server/common, `protobuf/model_config.proto`).

use serde_json::{Value, json};
use twinfer::DType;

use crate::app::Described;
use crate::metadata;

/// `GET /v2/models/{m}/config`, as far as there is something true to say: `max_batch_size` is 0, as of every
/// model whose shapes have all their axes.
pub(crate) fn of(described: &Described) -> Value {
    let (inputs, outputs) = metadata::tensors(&described.signature);
    let tensor = |tensor: metadata::Tensor| {
        json!({
            "name": tensor.name,
            "data_type": data_type(tensor.dtype),
            "dims": tensor.shape,
        })
    };
    json!({
        "name": described.config.name,
        "platform": "onnx_onnxv1",
        "backend": "twinfer",
        "version_policy": {"all": {}},
        "max_batch_size": 0,
        "input": inputs.into_iter().map(tensor).collect::<Vec<_>>(),
        "output": outputs.into_iter().map(tensor).collect::<Vec<_>>(),
        "parameters": {"digest": {"string_value": described.digest.to_string()}},
    })
}

/// The names of `DataType` of the protocol buffers. What Triton has no name for has `TYPE_INVALID`.
fn data_type(dtype: DType) -> &'static str {
    match dtype {
        DType::Bool => "TYPE_BOOL",
        DType::U8 => "TYPE_UINT8",
        DType::U16 => "TYPE_UINT16",
        DType::U32 => "TYPE_UINT32",
        DType::U64 => "TYPE_UINT64",
        DType::I8 => "TYPE_INT8",
        DType::I16 => "TYPE_INT16",
        DType::I32 => "TYPE_INT32",
        DType::I64 => "TYPE_INT64",
        DType::F16 => "TYPE_FP16",
        DType::BF16 => "TYPE_BF16",
        DType::F32 => "TYPE_FP32",
        DType::F64 => "TYPE_FP64",
        DType::String => "TYPE_STRING",
        _ => "TYPE_INVALID",
    }
}
