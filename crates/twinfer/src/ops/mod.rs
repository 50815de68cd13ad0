//! Operators that the engine lacks or gets wrong, next to its own, behind its registration.
//!
//! The engine looks operators up by name and ignores the domain. So those of ours are
//! registered under `domain.Name`, and [`qualify`] renames the nodes that are meant.

mod around;
mod checked;
#[cfg(any(test, target_family = "wasm"))]
pub(crate) mod conv;
#[cfg(test)]
mod conv_tests;
pub(crate) mod empty;
mod fence;
pub(crate) mod guard;
pub(crate) mod half;
pub(crate) mod indices;
mod kernel;
#[cfg(any(test, target_family = "wasm"))]
mod lookup;
pub(crate) mod ml;
mod older;
#[cfg(any(test, target_family = "wasm"))]
pub(crate) mod product;
#[cfg(test)]
mod product_tests;
mod recurrent;
mod tanh;
mod valid;
pub(crate) mod zipmap;

use tract_onnx::Onnx;
use tract_onnx::pb::{FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto};

use crate::{Result, TensorSpec, bail, program};

/// The domain of scikit-learn's, LightGBM's and XGBoost's exports.
const ML: &str = "ai.onnx.ml";

/// Deeper nesting of graphs in graphs (`If`, `Loop`) than any real export has.
const MAX_GRAPH_DEPTH: usize = 16;

/// The engine's operators and ours.
pub(crate) fn registry() -> Onnx {
    let mut onnx = tract_onnx::onnx();
    checked::register(&mut onnx);
    empty::register(&mut onnx);
    ml::register(&mut onnx.op_register);
    onnx.op_register
        .insert("Tanh", |_, _| Ok((tanh::op(), vec![])));
    onnx.op_register
        .insert(fence::NAME, |_, _| Ok((fence::op(), vec![])));
    older::register(&mut onnx);
    recurrent::register(&mut onnx);
    half::register(&mut onnx);
    // Last: the others look at what the engine's builders made, and what is guarded passes for that.
    guard::register(&mut onnx);
    onnx
}

/// Writes the nodes of a model as newer operator sets have them, where they are of older forms.
pub(crate) fn renew(model: &mut ModelProto) {
    let version = |imports: &[OperatorSetIdProto]| {
        let mut imports = imports.iter();
        let standard = imports.find(|import| named_domain(&import.domain) == "ai.onnx");
        standard.map_or(1, |import| import.version)
    };
    let of_model = version(&model.opset_import);
    if let Some(graph) = &mut model.graph {
        older::renew(graph, of_model);
    }
}

/// Gives the nodes of our operators their qualified names, in this graph and those inside, and keeps
/// apart what the engine must not join.
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
    program::put_standard(graph)?;
    fence::put(graph);
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

/// Operators of `com.microsoft` that the engine has under their names.
const FUSED: [&str; 6] = [
    "BiasGelu",
    "FastGelu",
    "Gelu",
    "QuickGelu",
    "SimplifiedLayerNormalization",
    "SkipLayerNormalization",
];

/// Whether the engine's operator of this name is that of this domain: it ignores domains.
pub(crate) fn is_known_in(domain: &str, operator: &str) -> bool {
    match domain {
        "" | "ai.onnx" | ML => true,
        "com.microsoft" => FUSED.contains(&operator),
        _ => false,
    }
}

/// An operator that nothing here has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingOperator {
    /// Its name.
    pub operator: String,
    /// Its domain; `ai.onnx` for the standard one.
    pub domain: String,
    /// The version of the operator set that the model imports; `None` where it does not say.
    pub version: Option<i64>,
    /// The nodes that want it: their names, or what they give where they have none.
    pub nodes: Vec<String>,
}

impl std::fmt::Display for MissingOperator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "operator `{}` of {} (version ",
            self.operator, self.domain
        )?;
        match self.version {
            Some(version) => write!(f, "{version}), ")?,
            None => f.write_str("?), ")?,
        }
        let nodes = self.nodes.iter().take(MAX_NODES_NAMED);
        let named: Vec<String> = nodes.map(|node| format!("node `{node}`")).collect();
        f.write_str(&named.join(", "))?;
        match self.nodes.len().saturating_sub(MAX_NODES_NAMED) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// Nodes that a message names of an operator: more say nothing more.
const MAX_NODES_NAMED: usize = 3;

/// What a model has of operators.
#[derive(Debug, Default)]
pub(crate) struct Support {
    /// The engine does not take all of them, or is not right about them as a whole.
    pub needs_program: bool,
    /// Those that nothing here has, in the order of the file.
    pub missing: Vec<MissingOperator>,
}

impl Support {
    /// Looks at every node of a model, also in the graphs inside and in functions.
    /// Weights of these names are inputs that have a default.
    pub(crate) fn of(proto: &ModelProto, optional: &[TensorSpec], onnx: &Onnx) -> Self {
        let mut support = Self::default();
        let of_model = Place {
            onnx,
            imports: &proto.opset_import,
            functions: &proto.functions,
        };
        let mut called = Vec::new();
        if let Some(graph) = &proto.graph {
            support.needs_program = program::needs_program(graph, optional);
            support.nodes(&graph.node, &of_model, &mut called);
        }
        // Those that nobody calls need not run.
        let mut next = 0;
        while let Some(function) = called.get(next).and_then(|&at| proto.functions.get(at)) {
            let of_function = Place {
                imports: &function.opset_import,
                ..of_model
            };
            support.nodes(&function.node, &of_function, &mut called);
            next += 1;
        }
        support
    }

    /// # Errors
    /// `unsupported_operator`, naming operators, domains, versions and nodes.
    pub(crate) fn check(&self) -> Result<()> {
        if self.missing.is_empty() {
            return Ok(());
        }
        let all: Vec<String> = self.missing.iter().map(ToString::to_string).collect();
        let (is, it, step) = match all.len() {
            1 => ("is", "it", "that step"),
            _ => ("are", "them", "those steps"),
        };
        bail!(
            UnsupportedOperator,
            "{} {is} not supported; export the model without {it}, or run {step} outside of the model",
            all.join("; ")
        );
    }

    fn graph(&mut self, graph: &GraphProto, place: &Place<'_>, called: &mut Vec<usize>) {
        self.needs_program |= program::needs_program(graph, &[]);
        self.nodes(&graph.node, place, called);
    }

    /// `called` are the functions that were met so far.
    fn nodes(&mut self, nodes: &[NodeProto], place: &Place<'_>, called: &mut Vec<usize>) {
        for node in nodes {
            if let Some(function) = place.function(node) {
                self.needs_program = true;
                if !called.contains(&function) {
                    called.push(function);
                }
            } else if program::takes(&node.domain, &node.op_type) {
                self.needs_program = true;
            } else if !place.engine_has(node) {
                self.missing(node, place);
            }
            for inner in inner_graphs(node) {
                self.graph(inner, place, called);
            }
        }
    }

    fn missing(&mut self, node: &NodeProto, place: &Place<'_>) {
        let operator = node.op_type.rsplit('.').next().unwrap_or_default();
        let domain = named_domain(&node.domain);
        let name = node_name(node).to_owned();
        let mut known = self.missing.iter_mut();
        match known.find(|m| m.operator == operator && m.domain == domain) {
            Some(missing) => missing.nodes.push(name),
            None => self.missing.push(MissingOperator {
                operator: operator.to_owned(),
                domain: domain.to_owned(),
                version: place.version(domain),
                nodes: vec![name],
            }),
        }
    }
}

/// Where nodes are looked up.
#[derive(Clone, Copy)]
struct Place<'a> {
    onnx: &'a Onnx,
    imports: &'a [OperatorSetIdProto],
    functions: &'a [FunctionProto],
}

impl Place<'_> {
    /// Which function of the model a node calls.
    fn function(&self, node: &NodeProto) -> Option<usize> {
        let called = |function: &FunctionProto| {
            function.domain.as_deref().unwrap_or_default() == node.domain
                && function.name.as_deref() == Some(&node.op_type)
        };
        self.functions.iter().position(called)
    }

    fn engine_has(&self, node: &NodeProto) -> bool {
        is_known_in(&node.domain, &node.op_type)
            && self.onnx.op_register.0.contains_key(&node.op_type)
    }

    fn version(&self, domain: &str) -> Option<i64> {
        let mut imports = self.imports.iter();
        imports
            .find(|import| named_domain(&import.domain) == domain)
            .map(|import| import.version)
    }
}

/// The standard domain by its name.
pub(crate) fn named_domain(domain: &str) -> &str {
    if domain.is_empty() { "ai.onnx" } else { domain }
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
