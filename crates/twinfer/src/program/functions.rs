//! Functions of a model: a call of one is the graph of its body.

use std::collections::HashSet;

use tract_onnx::pb::{AttributeProto, FunctionProto, GraphProto, NodeProto, ValueInfoProto};

/// The graph of a function for one call: with the attributes of the call, or their defaults, and
/// without the inputs
/// that it leaves out.
pub(super) fn body_of(
    function: &FunctionProto,
    defaults: &[AttributeProto],
    call: &NodeProto,
) -> GraphProto {
    let mut nodes = function.node.clone();
    let attributes: Vec<&AttributeProto> = call.attribute.iter().chain(defaults).collect();
    let is_left_out = |index: usize| call.input.get(index).is_none_or(String::is_empty);
    let left_out: HashSet<&str> = (function.input.iter().enumerate())
        .filter(|(index, _)| is_left_out(*index))
        .map(|(_, name)| name.as_str())
        .collect();
    for node in &mut nodes {
        fill(node, &attributes, &left_out);
    }
    let info = |name: &String| ValueInfoProto {
        name: name.clone(),
        ..Default::default()
    };
    GraphProto {
        node: nodes,
        input: function.input.iter().map(info).collect(),
        output: function.output.iter().map(info).collect(),
        ..GraphProto::default()
    }
}

fn fill(node: &mut NodeProto, attributes: &[&AttributeProto], left_out: &HashSet<&str>) {
    for name in &mut node.input {
        if left_out.contains(name.as_str()) {
            name.clear();
        }
    }
    node.attribute.retain_mut(|attribute| {
        if !attribute.ref_attr_name.is_empty() {
            let given = attributes
                .iter()
                .find(|a| a.name == attribute.ref_attr_name);
            let Some(given) = given else {
                return false;
            };
            let name = std::mem::take(&mut attribute.name);
            *attribute = (*given).clone();
            attribute.name = name;
        }
        for graph in attribute.g.iter_mut().chain(&mut attribute.graphs) {
            for inner in &mut graph.node {
                fill(inner, attributes, left_out);
            }
        }
        true
    });
}
