//! Operators of `com.microsoft` that ONNX Runtime's optimisers make of some standard ones, as those
//! again, for the engine to plan: `FusedConv`, `FusedGemm`, `FusedMatMul`,
//! `SkipSimplifiedLayerNormalization`; and the product with the weights in front of `Attention` and
//! `QAttention`.

use std::borrow::Cow;
use std::collections::HashMap;

use tract_onnx::pb::{
    AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto,
    attribute_proto::AttributeType, type_proto,
};

use super::super::node::Node;
use super::attention::PROJECTED;
use crate::{Result, bail};

/// What `com.microsoft` has of them. The engine gets what [`nodes`] makes of them.
pub(super) const MICROSOFT: super::Table = &[
    ("FusedConv", |_| Ok(None)),
    ("FusedGemm", |_| Ok(None)),
    ("FusedMatMul", |_| Ok(None)),
    ("QAttention", |_| Ok(None)),
    ("SkipSimplifiedLayerNormalization", |_| Ok(None)),
];

/// Whether this is one of them, or an `Attention` with its weights.
pub(in super::super) fn is_fused(node: &NodeProto) -> bool {
    let is_whole = node.op_type == "Attention" && !Node::new(node, 1).has(PROJECTED);
    let is_ours = || MICROSOFT.iter().any(|(name, _)| *name == node.op_type);
    node.domain == "com.microsoft" && (is_whole || is_ours())
}

/// Puts standard nodes in the place of those of a graph, where it says what has to be known of their
/// inputs. Others are left for a program, which knows it in each run.
///
/// # Errors
/// Those of [`nodes`].
pub(crate) fn put_standard(graph: &mut GraphProto) -> Result<()> {
    if let Cow::Owned(nodes) = standard(graph)? {
        graph.node = nodes;
    }
    Ok(())
}

/// The nodes of a graph, with standard ones in the place of those.
///
/// # Errors
/// Those of [`nodes`].
pub(in super::super) fn standard(graph: &GraphProto) -> Result<Cow<'_, [NodeProto]>> {
    if !graph.node.iter().any(is_fused) {
        return Ok(Cow::Borrowed(&graph.node));
    }
    let declared = graph.input.iter().chain(&graph.value_info);
    let declared = declared.filter_map(|value| Some((&*value.name, rank_of(value)?)));
    let weights = graph.initializer.iter();
    let weights = weights.map(|weight| (&*weight.name, weight.dims.len()));
    let ranks: HashMap<&str, usize> = declared.chain(weights).collect();
    let mut made = Vec::with_capacity(graph.node.len());
    for node in &graph.node {
        let known = node.input.iter().map(|name| ranks.get(&**name).copied());
        let known: Vec<Option<usize>> = known.collect();
        let is_open = |(at, letter): (usize, char)| {
            let read = Node::new(node, 1);
            let turns = ["trans", "transBatch"].map(|name| format!("{name}{letter}"));
            known.get(at).copied().flatten().is_none()
                && turns.iter().any(|name| read.flag(name, false))
        };
        if node.op_type == "FusedMatMul" && [(0, 'A'), (1, 'B')].into_iter().any(is_open) {
            made.push(node.clone());
            continue;
        }
        let ranks: Vec<usize> = known.iter().map(|rank| rank.unwrap_or(0)).collect();
        made.extend(nodes(node.clone(), &ranks)?);
    }
    Ok(Cow::Owned(made))
}

/// How many axes a declared tensor has.
fn rank_of(value: &ValueInfoProto) -> Option<usize> {
    let type_proto::Value::TensorType(tensor) = value.r#type.as_ref()?.value.as_ref()?;
    Some(tensor.shape.as_ref()?.dim.len())
}

/// The standard nodes that are the same as a node whose inputs have so many axes; any other node as
/// it is.
///
/// # Errors
/// `invalid_model` for attributes that do not go together; `unsupported_operator` for an activation
/// that is not one of the standard.
pub(in super::super) fn nodes(node: NodeProto, ranks: &[usize]) -> Result<Vec<NodeProto>> {
    if !is_fused(&node) {
        return Ok(vec![node]);
    }
    match &*node.op_type {
        "FusedMatMul" => mat_mul(&node, ranks),
        "FusedGemm" => gemm(&node),
        "Attention" => Ok(attention(&node)),
        "QAttention" => Ok(quantised_attention(&node)),
        "SkipSimplifiedLayerNormalization" => normalization(&node),
        _ => conv(&node),
    }
}

/// A chain of nodes: each reads what the one before gives.
struct Chain {
    name: String,
    made: Vec<NodeProto>,
}

impl Chain {
    fn new(node: &NodeProto) -> Self {
        let name = node.output.first().cloned().unwrap_or_default();
        Self {
            name,
            made: Vec::new(),
        }
    }

    /// Adds a node, and gives the name of its output.
    fn add(&mut self, operator: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> String {
        let output = format!("{}/{}", self.name, self.made.len());
        self.made.push(NodeProto {
            op_type: operator.to_owned(),
            name: output.clone(),
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: vec![output.clone()],
            attribute: attributes,
            ..NodeProto::default()
        });
        output
    }

    fn number(&mut self, value: f32) -> String {
        let tensor = TensorProto {
            data_type: 1,
            float_data: vec![value],
            ..TensorProto::default()
        };
        let value = AttributeProto {
            name: "value".to_owned(),
            r#type: AttributeType::Tensor as i32,
            t: Some(tensor),
            ..AttributeProto::default()
        };
        self.add("Constant", &[], vec![value])
    }

    /// The last node gives what the fused one gave.
    fn finish(mut self) -> Vec<NodeProto> {
        if let Some(output) = self
            .made
            .last_mut()
            .and_then(|node| node.output.first_mut())
        {
            *output = self.name;
        }
        self.made
    }
}

fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Float as i32,
        f: value,
        ..AttributeProto::default()
    }
}

fn input(node: &NodeProto, index: usize) -> &str {
    node.input.get(index).map_or("", String::as_str)
}

/// `FusedMatMul` (ContribOperators.md, com.microsoft 1).
fn mat_mul(node: &NodeProto, ranks: &[usize]) -> Result<Vec<NodeProto>> {
    let read = Node::new(node, 1);
    let mut chain = Chain::new(node);
    let factor = |chain: &mut Chain, index: usize, letter: char| {
        let name = input(node, index).to_owned();
        let rank = ranks.get(index).copied().unwrap_or(0);
        let turns = read.flag(&format!("trans{letter}"), false);
        let turns_batch = read.flag(&format!("transBatch{letter}"), false);
        if (!turns && !turns_batch) || rank < 2 {
            return name;
        }
        let mut order: Vec<i64> = (0..rank as i64).collect();
        if turns_batch {
            // The first axis behind those of the batch.
            order.get_mut(..rank - 1).unwrap_or_default().rotate_left(1);
        }
        if turns {
            order.swap(rank - 2, rank - 1);
        }
        let order = AttributeProto {
            name: "perm".to_owned(),
            r#type: AttributeType::Ints as i32,
            ints: order,
            ..AttributeProto::default()
        };
        chain.add("Transpose", &[&name], vec![order])
    };
    let a = factor(&mut chain, 0, 'A');
    let b = factor(&mut chain, 1, 'B');
    let product = chain.add("MatMul", &[&a, &b], Vec::new());
    let alpha = read.float("alpha", 1.0);
    if alpha != 1.0 {
        let alpha = chain.number(alpha);
        chain.add("Mul", &[&product, &alpha], Vec::new());
    }
    Ok(chain.finish())
}

/// `SkipSimplifiedLayerNormalization` (ContribOperators.md, com.microsoft 1).
fn normalization(node: &NodeProto) -> Result<Vec<NodeProto>> {
    let read = Node::new(node, 1);
    if [1, 2].into_iter().any(|index| read.has_output(index)) {
        return read.unsupported("an output of mean or deviation");
    }
    let mut chain = Chain::new(node);
    let mut sum = chain.add("Add", &[input(node, 0), input(node, 1)], Vec::new());
    if !input(node, 3).is_empty() {
        sum = chain.add("Add", &[&sum, input(node, 3)], Vec::new());
    }
    if let Some(output) = node.output.get(3).filter(|name| !name.is_empty()) {
        // The sum itself is wanted, too.
        if let Some(place) = chain.made.last_mut().and_then(|add| add.output.first_mut()) {
            place.clone_from(output);
        }
        sum.clone_from(output);
    }
    let mut attributes = own(node);
    if !read.has("epsilon") {
        attributes.push(float("epsilon", 1e-12));
    }
    chain.add(
        "SimplifiedLayerNormalization",
        &[&sum, input(node, 2)],
        attributes,
    );
    Ok(chain.finish())
}

/// `Attention` (ContribOperators.md, com.microsoft 1).
fn attention(node: &NodeProto) -> Vec<NodeProto> {
    let mut chain = Chain::new(node);
    let mut x = chain.add("MatMul", &[input(node, 0), input(node, 1)], Vec::new());
    if !input(node, 2).is_empty() {
        x = chain.add("Add", &[&x, input(node, 2)], Vec::new());
    }
    let others = [3, 4, 5, 6].map(|index| input(node, index));
    projected(chain, node, &x, others)
}

/// `QAttention` (ContribOperators.md, com.microsoft 1).
fn quantised_attention(node: &NodeProto) -> Vec<NodeProto> {
    let mut chain = Chain::new(node);
    let inputs = [0, 1, 3, 4, 6, 7, 2].map(|index| input(node, index));
    let x = chain.add("MatMulIntegerToFloat", &inputs, Vec::new());
    if let Some(product) = chain.made.last_mut() {
        node.domain.clone_into(&mut product.domain);
    }
    projected(chain, node, &x, [input(node, 5), input(node, 8), "", ""])
}

/// The attention behind the product with the weights: mask, past, bias and length of the past.
fn projected(mut chain: Chain, node: &NodeProto, x: &str, others: [&str; 4]) -> Vec<NodeProto> {
    let mut attributes = node.attribute.clone();
    attributes.push(AttributeProto {
        name: PROJECTED.to_owned(),
        r#type: AttributeType::Int as i32,
        i: 1,
        ..AttributeProto::default()
    });
    let [mask, past, bias, length] = others;
    chain.add(
        "Attention",
        &[x, "", "", mask, past, bias, length],
        attributes,
    );
    if let Some(attention) = chain.made.last_mut() {
        node.domain.clone_into(&mut attention.domain);
        node.name.clone_into(&mut attention.name);
        attention.output.extend(node.output.iter().skip(1).cloned());
    }
    chain.finish()
}

/// The attributes of a node but those of its activation.
fn own(node: &NodeProto) -> Vec<AttributeProto> {
    let all = node.attribute.iter();
    all.filter(|a| !a.name.starts_with("activation"))
        .cloned()
        .collect()
}

/// `FusedGemm` (ContribOperators.md, com.microsoft 1).
fn gemm(node: &NodeProto) -> Result<Vec<NodeProto>> {
    let read = Node::new(node, 1);
    let mut chain = Chain::new(node);
    let inputs: Vec<&str> = node.input.iter().map(String::as_str).collect();
    let sum = chain.add("Gemm", &inputs, own(node));
    let parameters: Vec<f32> = ["activation_alpha", "activation_beta"]
        .iter()
        .filter_map(|name| read.float_opt(name))
        .collect();
    activation(&mut chain, &read, &sum, &parameters)?;
    Ok(chain.finish())
}

/// `FusedConv` (ContribOperators.md, com.microsoft 1): a fourth input is added before the activation.
fn conv(node: &NodeProto) -> Result<Vec<NodeProto>> {
    let read = Node::new(node, 1);
    let mut chain = Chain::new(node);
    let mut inputs: Vec<&str> = node.input.iter().take(3).map(String::as_str).collect();
    if inputs.last() == Some(&"") {
        inputs.pop();
    }
    let mut sum = chain.add("Conv", &inputs, own(node));
    if !input(node, 3).is_empty() {
        sum = chain.add("Add", &[&sum, input(node, 3)], Vec::new());
    }
    let parameters = read.floats("activation_params").unwrap_or_default();
    activation(&mut chain, &read, &sum, parameters)?;
    Ok(chain.finish())
}

/// Adds an activation with its parameters, where the node has one.
fn activation(chain: &mut Chain, node: &Node<'_>, x: &str, parameters: &[f32]) -> Result<()> {
    let (first, second) = (parameters.first().copied(), parameters.get(1).copied());
    let name = node.text("activation", "")?;
    match name {
        "" => return Ok(()),
        "Relu" | "Tanh" | "Sigmoid" => {
            chain.add(name, &[x], Vec::new());
        }
        "LeakyRelu" => {
            chain.add(name, &[x], vec![float("alpha", first.unwrap_or(0.01))]);
        }
        "HardSigmoid" => {
            let alpha = float("alpha", first.unwrap_or(0.2));
            let beta = float("beta", second.unwrap_or(0.5));
            chain.add(name, &[x], vec![alpha, beta]);
        }
        "Clip" => {
            let (Some(low), Some(high)) = (first, second) else {
                bail!(InvalidModel, "`Clip` has two parameters");
            };
            let (low, high) = (chain.number(low), chain.number(high));
            let above = chain.add("Max", &[x, &low], Vec::new());
            chain.add("Min", &[&above, &high], Vec::new());
        }
        other => return node.unsupported(format_args!("the activation `{other}`")),
    }
    Ok(())
}
