//! Which inputs may have missing numbers, since the graph fills them in.

use std::collections::{BTreeSet, HashMap, HashSet};

use tract_onnx::pb::{GraphProto, NodeProto};

/// What hands numbers on as they are.
const HANDED_ON: &[&str] = &[
    "ArrayFeatureExtractor",
    "Cast",
    "Concat",
    "FeatureVectorizer",
    "Flatten",
    "Identity",
    "Reshape",
    "Squeeze",
    "Unsqueeze",
];

/// The inputs of which every number goes to an `Imputer` that replaces NaN before anything computes
/// with it: so skl2onnx exports scikit-learn's `SimpleImputer`.
pub(super) fn imputed(graph: &GraphProto) -> BTreeSet<String> {
    let mut readers: HashMap<&str, Vec<&NodeProto>> = HashMap::new();
    for node in &graph.node {
        for input in &node.input {
            readers.entry(input).or_default().push(node);
        }
    }
    let is_output = |name: &str| graph.output.iter().any(|output| output.name == name);
    let fills = |input: &str| {
        let mut open = vec![input];
        let mut seen = HashSet::from([input]);
        let mut filled = false;
        while let Some(name) = open.pop() {
            if is_output(name) {
                return false;
            }
            for node in readers.get(name).into_iter().flatten() {
                // By now the domain may stand before the name.
                let operator = node.op_type.rsplit('.').next().unwrap_or_default();
                if operator == "Imputer" && replaces_nan(node) {
                    filled = true;
                } else if HANDED_ON.contains(&operator) {
                    let outputs = node.output.iter().map(String::as_str);
                    open.extend(outputs.filter(|output| seen.insert(output)));
                } else {
                    return false;
                }
            }
        }
        filled
    };
    let inputs = graph.input.iter().map(|input| input.name.as_str());
    inputs.filter(|name| fills(name)).map(Into::into).collect()
}

fn replaces_nan(node: &NodeProto) -> bool {
    let mut attributes = node.attribute.iter();
    attributes.any(|a| a.name == "replaced_value_float" && a.f.is_nan())
}
