//! Graphs that only a program runs, although the engine knows the names of all operators in it.

use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, ValueInfoProto, type_proto};

use crate::session::{engine_dtype, onnx_dtype};
use crate::{DType, TensorSpec};

/// Whether a graph has types that the engine does not have, or forms of operators that it gets
/// wrong without a word.
/// Weights of the names in `optional` may be given. Graphs inside of it are not looked at.
pub(crate) fn needs_program(graph: &GraphProto, optional: &[TensorSpec]) -> bool {
    let values = graph.input.iter().chain(&graph.output);
    let foreign_value = values
        .chain(&graph.value_info)
        .any(|value| declared(value).is_some_and(|dtype| engine_dtype(dtype).is_err()));
    let foreign_weight = graph.initializer.iter().any(|t| is_foreign(t.data_type));
    if foreign_value || foreign_weight {
        return true;
    }
    let mut attributes = graph.node.iter().flat_map(|node| &node.attribute);
    attributes.any(names_foreign)
        || quantises_otherwise(graph)
        || casts_text(graph)
        || graph
            .node
            .iter()
            .any(|node| is_told_how(graph, optional, node))
}

/// Whether inputs of the model or its weights say of a node what the engine only takes otherwise: where
/// a slice is, and that `Dropout` drops.
fn is_told_how(graph: &GraphProto, optional: &[TensorSpec], node: &NodeProto) -> bool {
    let is_weight = |name: &String| optional.iter().all(|spec| spec.name != *name);
    let weight = |name: &String| {
        let mut all = graph.initializer.iter();
        all.find(|t| t.name == *name && is_weight(name))
    };
    let comes_in = |name: &String| graph.input.iter().any(|i| i.name == *name);
    let input = |index: usize| node.input.get(index).filter(|name| !name.is_empty());
    match &*node.op_type {
        "Slice" => {
            let mut places = [1, 2].into_iter().filter_map(input);
            places.any(|name| comes_in(name) && weight(name).is_none())
        }
        "Dropout" => input(2).is_some_and(|name| match weight(name) {
            Some(flag) => flag.raw_data.iter().any(|&b| b != 0) || flag.int32_data.contains(&1),
            None => true,
        }),
        _ => false,
    }
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
    let kind = value.r#type.as_ref().and_then(|kind| kind.value.as_ref());
    let Some(type_proto::Value::TensorType(tensor)) = kind else {
        return None;
    };
    onnx_dtype(tensor.elem_type)
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

/// Quantisation to or from a type of its own, or in a precision of its own: the engine does not
/// read these attributes. What it refuses in words needs no look here.
fn quantises_otherwise(graph: &GraphProto) -> bool {
    let is_one =
        |node: &&NodeProto| matches!(&*node.op_type, "QuantizeLinear" | "DequantizeLinear");
    let mut attributes = (graph.node.iter().filter(is_one)).flat_map(|node| &node.attribute);
    attributes.any(|a| matches!(&*a.name, "output_dtype" | "precision") && a.i != 0)
}
