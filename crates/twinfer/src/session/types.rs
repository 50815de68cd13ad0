//! Types of inputs and outputs that are no tensors (onnx.proto, `TypeProto`): the engine's reader
//! drops them.

use std::collections::HashMap;

use prost::Message;
use tract_onnx::pb::AttributeProto;

use super::graph::onnx_dtype;
use crate::{DType, Result, ValueKind, err};

/// Deeper types (a sequence of optionals of sequences …) are not looked into.
const MAX_DEPTH: usize = 4;

#[derive(Message)]
struct Model {
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
}

/// Of the functions of a model, the attributes that have a default (onnx.proto, `FunctionProto`).
#[derive(Message)]
struct Library {
    #[prost(message, repeated, tag = "25")]
    functions: Vec<Function>,
}

#[derive(Message)]
struct Function {
    #[prost(message, repeated, tag = "11")]
    attribute_proto: Vec<AttributeProto>,
}

#[derive(Message)]
struct Graph {
    #[prost(message, repeated, tag = "11")]
    input: Vec<Info>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<Info>,
}

#[derive(Message)]
struct Info {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    kind: Option<Type>,
}

#[derive(Message)]
struct Type {
    #[prost(message, optional, tag = "1")]
    tensor: Option<Tensor>,
    #[prost(message, optional, boxed, tag = "4")]
    sequence: Option<Box<Of>>,
    #[prost(message, optional, boxed, tag = "5")]
    map: Option<Box<Map>>,
    #[prost(message, optional, boxed, tag = "9")]
    optional: Option<Box<Of>>,
}

#[derive(Message)]
struct Tensor {
    #[prost(int32, tag = "1")]
    elem_type: i32,
}

#[derive(Message)]
struct Of {
    #[prost(message, optional, boxed, tag = "1")]
    elem_type: Option<Box<Type>>,
}

#[derive(Message)]
struct Map {
    #[prost(int32, tag = "1")]
    key_type: i32,
    #[prost(message, optional, boxed, tag = "2")]
    value_type: Option<Box<Type>>,
}

impl Type {
    fn dtype(&self, depth: usize) -> Option<DType> {
        if depth == MAX_DEPTH {
            return None;
        }
        if let Some(tensor) = &self.tensor {
            return onnx_dtype(tensor.elem_type);
        }
        let inner =
            (self.sequence.iter().chain(&self.optional)).find_map(|of| of.elem_type.as_ref());
        let inner = inner.or_else(|| self.map.iter().find_map(|map| map.value_type.as_ref()));
        inner?.dtype(depth + 1)
    }

    fn kind(&self) -> Option<ValueKind> {
        match (self.maps(), &self.sequence, &self.optional) {
            (Some(_), _, _) => Some(ValueKind::Maps),
            (None, Some(_), _) => Some(ValueKind::Sequence),
            (None, None, Some(_)) => Some(ValueKind::Optional),
            (None, None, None) => None,
        }
    }

    /// The map that it is, or that it is a sequence of.
    fn maps(&self) -> Option<&Map> {
        let item = || self.sequence.as_ref()?.elem_type.as_ref()?.map.as_deref();
        self.map.as_deref().or_else(item)
    }
}

/// An input or output that is no tensor.
#[derive(Clone, Copy)]
pub(super) struct Other {
    pub kind: ValueKind,
    /// The type of the elements.
    pub dtype: DType,
    /// Of maps, the type of the keys.
    pub keys: Option<DType>,
}

/// The defaults of the attributes of each function of a model, in the order of the file.
///
/// # Errors
/// `invalid_model` for what is no ONNX file.
pub(super) fn defaults(onnx: &[u8]) -> Result<Vec<Vec<AttributeProto>>> {
    let library =
        Library::decode(onnx).map_err(|e| err!(InvalidModel, "the functions of the model: {e}"))?;
    let functions = library.functions.into_iter();
    Ok(functions.map(|f| f.attribute_proto).collect())
}

/// The inputs and outputs that are maps, sequences or optionals.
///
/// # Errors
/// `invalid_model` for what is no ONNX file.
pub(super) fn others(onnx: &[u8]) -> Result<HashMap<String, Other>> {
    let model =
        Model::decode(onnx).map_err(|e| err!(InvalidModel, "the types of the graph: {e}"))?;
    let graph = model.graph.into_iter();
    let infos = graph.flat_map(|graph| graph.input.into_iter().chain(graph.output));
    let typed = infos.filter_map(|info| {
        let kind = info.kind?;
        let other = Other {
            kind: kind.kind()?,
            // Nothing is known of the elements of an optional without a type.
            dtype: kind.dtype(0).unwrap_or(DType::F32),
            keys: kind.maps().and_then(|map| onnx_dtype(map.key_type)),
        };
        Some((info.name, other))
    });
    Ok(typed.collect())
}
