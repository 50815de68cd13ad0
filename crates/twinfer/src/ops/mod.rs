//! Operators that the engine lacks or gets wrong, next to its own, behind its registration.
//!
//! The engine looks operators up by name and ignores the domain. So those of ours are
//! registered under `domain.Name`, and [`qualify`] renames the nodes that are meant.

#[cfg(any(test, target_family = "wasm"))]
pub(crate) mod conv;
#[cfg(test)]
mod conv_tests;
mod kernel;
#[cfg(any(test, target_family = "wasm"))]
mod lookup;
pub(crate) mod ml;
#[cfg(any(test, target_family = "wasm"))]
pub(crate) mod product;
#[cfg(test)]
mod product_tests;
mod tanh;
pub(crate) mod zipmap;

use tract_onnx::Onnx;
use tract_onnx::pb::{GraphProto, NodeProto};

use crate::{Result, bail, program};

/// The domain of scikit-learn's, LightGBM's and XGBoost's exports.
const ML: &str = "ai.onnx.ml";

/// Deeper nesting of graphs in graphs (`If`, `Loop`) than any real export has.
const MAX_GRAPH_DEPTH: usize = 16;

/// The engine's operators and ours.
pub(crate) fn registry() -> Onnx {
    let mut onnx = tract_onnx::onnx();
    ml::register(&mut onnx.op_register);
    onnx.op_register
        .insert("Tanh", |_, _| Ok((tanh::op(), vec![])));
    onnx
}

/// Gives the nodes of our operators their qualified names, in this graph and those inside.
///
/// # Errors
/// `invalid_model` for graphs that are nested too deeply.
pub(crate) fn qualify(graph: &mut GraphProto) -> Result<()> {
    qualify_at(graph, 0)
}

fn qualify_at(graph: &mut GraphProto, depth: usize) -> Result<()> {
    if depth == MAX_GRAPH_DEPTH {
        bail!(
            InvalidModel,
            "graphs are nested more than {MAX_GRAPH_DEPTH} deep"
        );
    }
    for node in &mut graph.node {
        qualify_node(node);
        for attribute in &mut node.attribute {
            for inner in attribute.g.iter_mut().chain(&mut attribute.graphs) {
                qualify_at(inner, depth + 1)?;
            }
        }
    }
    Ok(())
}

/// Gives a node of one of our operators its qualified name.
pub(crate) fn qualify_node(node: &mut NodeProto) {
    if node.op_type == "ConstantOfShape" && node.attribute.iter().all(|a| a.name != "value") {
        // The engine takes FP64 where the standard says FP32.
        node.attribute.push(tract_onnx::pb::AttributeProto {
            name: "value".to_owned(),
            r#type: tract_onnx::pb::attribute_proto::AttributeType::Tensor as i32,
            t: Some(tract_onnx::pb::TensorProto {
                dims: vec![1],
                data_type: 1,
                float_data: vec![0.0],
                ..Default::default()
            }),
            ..Default::default()
        });
    }
    if node.domain == ML && ml::OURS.contains(&node.op_type.as_str()) {
        node.op_type = format!("{ML}.{}", node.op_type);
    }
}

/// Whether the engine's operators are of this domain: it ignores domains.
pub(crate) fn is_known_domain(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx" | ML)
}

/// Checks that every node has an operator, before the engine sees the graph. Gives whether the
/// engine takes all of them, so that it can run the graph as a whole.
///
/// # Errors
/// `unsupported_operator`, naming operator, domain, version and node.
pub(crate) fn check_supported(
    graph: &GraphProto,
    onnx: &Onnx,
    opsets: &[String],
    functions: &[(String, String)],
) -> Result<bool> {
    let mut whole = !program::needs_program(graph);
    for node in &graph.node {
        let called =
            |(domain, name): &(String, String)| *domain == node.domain && *name == node.op_type;
        let engine =
            is_known_domain(&node.domain) && onnx.op_register.0.contains_key(&node.op_type);
        if functions.iter().any(called) || program::takes(&node.domain, &node.op_type) {
            whole = false;
        } else if !engine {
            let domain = if node.domain.is_empty() {
                "ai.onnx"
            } else {
                &node.domain
            };
            let name = node.op_type.rsplit('.').next().unwrap_or_default();
            let prefix = format!("{domain}:");
            let version = opsets
                .iter()
                .find_map(|o| o.strip_prefix(&prefix))
                .unwrap_or("?");
            bail!(
                UnsupportedOperator,
                "operator `{name}` of {domain} (version {version}), node `{}`, is not supported; export the model without it, or run that step outside of the model",
                node_name(node)
            );
        }
        for inner in inner_graphs(node) {
            whole &= check_supported(inner, onnx, opsets, functions)?;
        }
    }
    Ok(whole)
}

fn inner_graphs(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute
        .iter()
        .flat_map(|a| a.g.iter().chain(&a.graphs))
}

/// A node for people: its name, or what it gives.
fn node_name(node: &NodeProto) -> &str {
    if node.name.is_empty() {
        node.output.first().map_or("?", String::as_str)
    } else {
        &node.name
    }
}
