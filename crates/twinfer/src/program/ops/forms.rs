//! Graphs that only a program runs, although the engine knows the names of all operators in it.

use std::collections::HashMap;

use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, ValueInfoProto, type_proto};

use crate::DType;
use crate::session::{engine_dtype, onnx_dtype};

/// Whether a graph has types that the engine does not have, or forms of operators that it refuses.
/// Graphs inside of it are not looked at.
pub(crate) fn needs_program(graph: &GraphProto) -> bool {
    let values = graph.input.iter().chain(&graph.output);
    let foreign_value = values
        .chain(&graph.value_info)
        .any(|value| declared(value).is_some_and(|dtype| engine_dtype(dtype).is_err()));
    let foreign_weight = graph.initializer.iter().any(|t| is_foreign(t.data_type));
    if foreign_value || foreign_weight {
        return true;
    }
    let mut attributes = graph.node.iter().flat_map(|node| &node.attribute);
    attributes.any(names_foreign) || refuses_any(graph) || casts_text(graph)
}

/// Numbers to and from text: the engine does not read all that ONNX says, and writes some otherwise.
fn casts_text(graph: &GraphProto) -> bool {
    let mut casts = graph.node.iter().filter(|node| node.op_type == "Cast");
    casts.any(|node| {
        let mut of_type = node.attribute.iter().filter(|a| a.name == "to");
        let values = graph.input.iter().chain(&graph.value_info);
        let mut given = values.filter(|value| node.input.first() == Some(&value.name));
        of_type.any(|a| i32::try_from(a.i).ok().and_then(onnx_dtype) == Some(DType::String))
            || given.any(|value| declared(value) == Some(DType::String))
    })
}

/// The type of the elements of a tensor.
fn declared(value: &ValueInfoProto) -> Option<DType> {
    match value.r#type.as_ref()?.value.as_ref()? {
        type_proto::Value::TensorType(tensor) => onnx_dtype(tensor.elem_type),
        _ => None,
    }
}

/// A type of ONNX that the engine does not have.
fn is_foreign(code: i32) -> bool {
    onnx_dtype(code).is_some_and(|dtype| engine_dtype(dtype).is_err())
}

fn names_foreign(attribute: &AttributeProto) -> bool {
    let is_type = matches!(
        &*attribute.name,
        "to" | "dtype" | "output_dtype" | "precision"
    );
    (is_type && i32::try_from(attribute.i).is_ok_and(is_foreign))
        || attribute
            .t
            .as_ref()
            .is_some_and(|t| is_foreign(t.data_type))
}

/// The types of constants by name.
type Constants<'a> = HashMap<&'a str, Option<DType>>;

fn refuses_any(graph: &GraphProto) -> bool {
    let mut quantised = graph
        .node
        .iter()
        .filter(|node| is_quantisation(node))
        .peekable();
    if quantised.peek().is_none() {
        return false;
    }
    let mut constants: Constants<'_> = (graph.initializer.iter())
        .map(|t| (&*t.name, onnx_dtype(t.data_type)))
        .collect();
    for node in graph.node.iter().filter(|node| node.op_type == "Constant") {
        if let Some(name) = node.output.first() {
            let tensor = node.attribute.iter().find_map(|a| a.t.as_ref());
            let other = || {
                let is_float = node
                    .attribute
                    .iter()
                    .any(|a| a.name.starts_with("value_float"));
                is_float.then_some(DType::F32)
            };
            let dtype = tensor.map_or_else(other, |t| onnx_dtype(t.data_type));
            constants.insert(name, dtype);
        }
    }
    let declared: Constants<'_> = (graph.input.iter().chain(&graph.value_info))
        .map(|value| (&*value.name, declared(value)))
        .chain(constants.iter().map(|(name, dtype)| (*name, *dtype)))
        .collect();
    quantised.any(|node| refuses(node, &constants, &declared))
}

fn is_quantisation(node: &NodeProto) -> bool {
    matches!(&*node.domain, "" | "ai.onnx")
        && matches!(
            &*node.op_type,
            "QuantizeLinear" | "DequantizeLinear" | "QLinearMatMul"
        )
}

/// The engine wants scales of FP32 and zero points of 8 bits that are there when it plans.
fn refuses(node: &NodeProto, constants: &Constants<'_>, declared: &Constants<'_>) -> bool {
    if node.op_type == "QLinearMatMul" {
        // Its scales need not be constant.
        let scales = [1, 4, 6].into_iter().filter_map(|at| node.input.get(at));
        let mut dtypes = scales.filter_map(|name| declared.get(name.as_str()).copied()?);
        return dtypes.any(|dtype| dtype != DType::F32);
    }
    let says = |name: &str| node.attribute.iter().any(|a| a.name == name && a.i != 0);
    let constant = |at: usize| {
        let name = node.input.get(at).filter(|name| !name.is_empty());
        name.map(|name| constants.get(name.as_str()).copied().flatten())
    };
    let is_byte = |dtype| matches!(dtype, Some(DType::U8 | DType::I8 | DType::I32));
    says("block_size")
        || says("output_dtype")
        || says("precision")
        || constant(1) != Some(Some(DType::F32))
        || constant(2).is_some_and(|dtype| !is_byte(dtype))
}
