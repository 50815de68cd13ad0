//! `ai.onnx.ml.ZipMap`: a sequence of maps, which the engine has no type for. The node is
//! taken out of the graph, the scores become the output, and the session puts the keys back.

use std::collections::HashSet;

use tract_onnx::pb::{GraphProto, NodeProto, ValueInfoProto};

use super::{ML, node_name};
use crate::{MapKeys, Result, bail};

/// Takes every ZipMap at the end of the graph out of it. Gives the keys for each output of
/// the graph, in their order. One whose maps a node reads stays: that graph is run as a program.
///
/// # Errors
/// `invalid_model` for a ZipMap without labels.
pub(crate) fn take_out(graph: &mut GraphProto) -> Result<Vec<Option<MapKeys>>> {
    let all = std::mem::take(&mut graph.node);
    let is_read: HashSet<String> = (all.iter())
        .filter(|node| !is_zipmap(node))
        .flat_map(|node| node.input.iter().cloned())
        .collect();
    let is_last = |node: &NodeProto| {
        is_zipmap(node) && !node.output.iter().any(|name| is_read.contains(name))
    };
    let (maps, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(is_last);
    graph.node = rest;
    let mut keys = vec![None; graph.output.len()];
    for node in maps {
        let ([scores], [result]) = (node.input.as_slice(), node.output.as_slice()) else {
            bail!(
                InvalidModel,
                "ZipMap `{}` needs one input and one output",
                node_name(&node)
            );
        };
        let labels = labels(&node)?;
        for (output, keys) in graph.output.iter_mut().zip(&mut keys) {
            if output.name == *result {
                // No type: the engine infers that of the scores.
                *output = ValueInfoProto {
                    name: scores.clone(),
                    ..Default::default()
                };
                *keys = Some(labels.clone());
            }
        }
    }
    Ok(keys)
}

fn is_zipmap(node: &NodeProto) -> bool {
    node.domain == ML && node.op_type == "ZipMap"
}

fn labels(node: &NodeProto) -> Result<MapKeys> {
    for attribute in &node.attribute {
        if attribute.name == "classlabels_int64s" && !attribute.ints.is_empty() {
            return Ok(MapKeys::Ints(attribute.ints.clone()));
        }
        if attribute.name == "classlabels_strings" && !attribute.strings.is_empty() {
            let strings = attribute.strings.iter();
            return Ok(MapKeys::Strings(
                strings
                    .map(|s| String::from_utf8_lossy(s).into_owned())
                    .collect(),
            ));
        }
    }
    bail!(
        InvalidModel,
        "ZipMap `{}` has no class labels",
        node_name(node)
    );
}
