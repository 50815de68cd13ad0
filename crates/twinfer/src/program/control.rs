//! Control flow: graphs inside of a graph.

mod scan;

use std::cell::Cell;
use std::collections::HashSet;

use tract_onnx::pb::{GraphProto, NodeProto, type_proto};

use self::scan::Scan;
use super::inputs::{self, Inputs};
use super::node::Node;
use super::ops::Flex;
use super::{Around, Program, Values, arrange};
use crate::session::onnx_dtype;
use crate::{DType, Result, Tensor, Value, bail, err};

/// More turns than any model takes, in all loops of a run together: a condition that never turns
/// false must end, and loops in loops too. A turn takes tens of microseconds at least: what has no end
/// is told within seconds, in a page within a minute.
const MAX_TURNS: usize = 1 << 18;

/// The turns that the loops of a run have taken.
#[derive(Debug, Default)]
pub(super) struct Turns(Cell<usize>);

impl Turns {
    fn one_more(&self) -> Result<()> {
        let turns = self.0.get() + 1;
        if turns > MAX_TURNS {
            bail!(
                InvalidInput,
                "the loops of the model do not end within {MAX_TURNS} turns"
            );
        }
        self.0.set(turns);
        Ok(())
    }
}

/// A node with graphs in it.
#[derive(Debug)]
pub(super) enum Control {
    If {
        then: Program,
        otherwise: Program,
    },
    Loop {
        body: Program,
        /// Values that are carried from turn to turn.
        carried: usize,
        /// Types of what is collected, for when there is no turn.
        collected: Vec<Option<Element>>,
    },
    Scan(Box<Scan>),
    /// `SequenceMap`: the body for each element.
    Map {
        body: Program,
    },
    /// `FlexAttention` with graphs that change its scores and its probabilities.
    Flex {
        attention: Flex,
        score: Option<Program>,
        probability: Option<Program>,
    },
    /// A function of the model.
    Call(Program),
}

/// What a graph says of an output: type, and axes where they are known.
type Element = (DType, Vec<usize>);

/// Whether a node is one of these.
pub(super) fn is_control(node: &NodeProto) -> bool {
    let has_graph = || node.attribute.iter().any(|a| a.g.is_some());
    let is_flex = node.domain == "ai.onnx.preview" && node.op_type == "FlexAttention";
    (is_standard(&node.domain) && takes(&node.op_type)) || (is_flex && has_graph())
}

/// Whether an operator of the standard domain is one of these.
pub(super) fn takes(operator: &str) -> bool {
    matches!(operator, "If" | "Loop" | "Scan" | "SequenceMap")
}

fn is_standard(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}

/// The graphs in a node, in the order in which [`Control::new`] takes their programs.
pub(super) fn graphs<'a>(node: &Node<'a>) -> Result<Vec<&'a GraphProto>> {
    let names: &[&str] = match node.operator() {
        "If" => &["then_branch", "else_branch"],
        "FlexAttention" => {
            let both = ["score_mod", "prob_mod"];
            return Ok(both.iter().filter_map(|name| node.graph(name)).collect());
        }
        _ => &["body"],
    };
    let graph = |name: &&str| node.required(name, node.graph(name));
    names.iter().map(graph).collect()
}

impl Control {
    pub(super) fn new(node: &Node<'_>, programs: Vec<Program>) -> Result<Self> {
        let mut programs = programs.into_iter();
        let mut next = || {
            let program = programs.next();
            program.ok_or_else(|| err!(InvalidModel, "a graph is missing"))
        };
        Ok(match node.operator() {
            "If" => Self::If {
                then: next()?,
                otherwise: next()?,
            },
            "Loop" => {
                let body = next()?;
                let Some(carried) = body.inputs.len().checked_sub(2) else {
                    bail!(InvalidModel, "the body of a Loop needs two inputs or more");
                };
                if body.outputs.len() < carried + 1 {
                    bail!(InvalidModel, "the body of a Loop has too few outputs");
                }
                Self::Loop {
                    collected: types(node, carried + 1),
                    body,
                    carried,
                }
            }
            "Scan" => Self::Scan(Box::new(Scan::new(node, next()?)?)),
            "SequenceMap" => Self::Map { body: next()? },
            "FlexAttention" => {
                let mut graph = |name: &str| node.graph(name).map(|_| next()).transpose();
                Self::Flex {
                    attention: Flex::new(node)?,
                    score: graph("score_mod")?,
                    probability: graph("prob_mod")?,
                }
            }
            other => bail!(Internal, "{other} is no control flow"),
        })
    }

    /// Slots of the graph around it that the graphs inside read.
    pub(super) fn captured(&self) -> Vec<usize> {
        let captured = self.graphs().flat_map(|program| &program.captured);
        captured.map(|(outer, _)| *outer).collect()
    }

    /// The graphs inside.
    pub(super) fn graphs(&self) -> impl Iterator<Item = &Program> {
        let (one, other) = match self {
            Self::If { then, otherwise } => (Some(then), Some(otherwise)),
            Self::Loop { body, .. } | Self::Map { body } | Self::Call(body) => (Some(body), None),
            Self::Scan(scan) => (Some(&scan.body), None),
            Self::Flex {
                score, probability, ..
            } => (score.as_ref(), probability.as_ref()),
        };
        [one, other].into_iter().flatten()
    }

    pub(super) fn run(&self, inputs: &Inputs<'_>, values: &Values<'_>) -> Result<Vec<Value>> {
        match self {
            Self::If { then, otherwise } => {
                let branch = match is_true(inputs.tensor(0)?)? {
                    true => then,
                    false => otherwise,
                };
                branch.run_in(Vec::new(), &outer(branch, values)?)
            }
            Self::Loop {
                body,
                carried,
                collected,
            } => turns(body, *carried, collected, inputs, &outer(body, values)?),
            Self::Scan(scan) => scan.run(inputs, &outer(&scan.body, values)?),
            Self::Map { body } => map(body, inputs, &outer(body, values)?),
            Self::Flex {
                attention,
                score,
                probability,
            } => {
                let score = score.as_ref().map(|p| move |t| modified(p, t, values));
                let probability = probability
                    .as_ref()
                    .map(|p| move |t| modified(p, t, values));
                let made = attention.run(
                    inputs,
                    score.as_ref().map(|f| f as _),
                    probability.as_ref().map(|f| f as _),
                )?;
                Ok(vec![Value::Tensor(made)])
            }
            Self::Call(body) => {
                // What a call leaves out, the function takes for left out as well.
                let given = (0..body.inputs.len()).map(|index| {
                    inputs
                        .optional(index)
                        .cloned()
                        .unwrap_or(Value::Optional(None))
                });
                body.run_in(given.collect(), &outer(body, values)?)
            }
        }
    }
}

/// The values that a graph captures.
fn outer<'m>(program: &Program, values: &Values<'m>) -> Result<Around<'m>> {
    let value = |(slot, _): &(usize, usize)| {
        let value = values.get(*slot).cloned();
        value.ok_or_else(|| err!(InvalidModel, "a graph reads a value that is not there"))
    };
    Ok(Around {
        values: program.captured.iter().map(value).collect::<Result<_>>()?,
        meter: values.meter,
        turns: values.turns,
    })
}

/// What a graph of `FlexAttention` makes of scores or of probabilities.
fn modified(program: &Program, tensor: Tensor, values: &Values<'_>) -> Result<Tensor> {
    let outer = outer(program, values)?;
    match &program.run_in(vec![Value::Tensor(tensor)], &outer)?[..] {
        [Value::Tensor(made)] => Ok(made.clone()),
        _ => bail!(InvalidModel, "a graph of FlexAttention makes one tensor"),
    }
}

fn is_true(tensor: &Tensor) -> Result<bool> {
    match tensor.view::<bool>()?[..] {
        [condition] => Ok(condition),
        ref all => bail!(
            InvalidInput,
            "a condition is one boolean, not {}",
            all.len()
        ),
    }
}

/// `Loop` (Operators.md, ai.onnx 1 to 25).
fn turns(
    body: &Program,
    carried: usize,
    collected: &[Option<Element>],
    inputs: &Inputs<'_>,
    outer: &Around<'_>,
) -> Result<Vec<Value>> {
    let most = match inputs.tensor_opt(0)? {
        Some(tensor) => match inputs::ints(tensor)?[..] {
            [most] => most,
            _ => bail!(InvalidInput, "the number of turns is no single integer"),
        },
        None => i64::MAX,
    };
    let mut goes_on = match inputs.tensor_opt(1)? {
        Some(tensor) => is_true(tensor)?,
        None => true,
    };
    let mut state: Vec<Value> = (2..2 + carried)
        .map(|index| inputs.value(index).cloned())
        .collect::<Result<_>>()?;
    let count = body.outputs.len() - 1 - carried;
    let mut rows: Vec<Vec<Value>> = vec![Vec::new(); count];
    let mut turn = 0;
    while goes_on && turn < most {
        outer.turns.one_more()?;
        let mut given = vec![
            Value::Tensor(Tensor::from_vec(&[], vec![turn])?),
            Value::Tensor(Tensor::from_vec(&[], vec![goes_on])?),
        ];
        given.append(&mut state);
        let mut made = body.run_in(given, outer)?.into_iter();
        goes_on = match made.next() {
            Some(Value::Tensor(tensor)) => is_true(&tensor)?,
            _ => bail!(InvalidModel, "the condition of a Loop is no tensor"),
        };
        state.extend(made.by_ref().take(carried));
        for (rows, value) in rows.iter_mut().zip(made) {
            rows.push(value);
        }
        turn += 1;
    }
    for (rows, kind) in rows.into_iter().zip(collected) {
        state.push(Value::Tensor(stacked(rows, kind.as_ref(), 0)?));
    }
    Ok(state)
}

/// What was collected, along a new axis.
fn stacked(rows: Vec<Value>, kind: Option<&Element>, axis: i64) -> Result<Tensor> {
    let mut tensors = Vec::with_capacity(rows.len());
    for row in rows {
        match row {
            Value::Tensor(tensor) => tensors.push(tensor),
            _ => bail!(
                InvalidModel,
                "only tensors can be collected from turn to turn"
            ),
        }
    }
    if tensors.is_empty() {
        let Some((dtype, shape)) = kind else {
            bail!(
                InvalidInput,
                "no turn was taken, and the type of what it would give is not known"
            );
        };
        let at = inputs::axis(axis, shape.len() + 1)?;
        let mut shape = shape.clone();
        shape.insert(at, 0);
        return arrange::empty(*dtype, &shape);
    }
    let rank = tensors[0].shape().len();
    arrange::stack(&tensors, inputs::axis(axis, rank + 1)?)
}

/// What the graph says of its outputs from `skip` on.
fn types(node: &Node<'_>, skip: usize) -> Vec<Option<Element>> {
    let outputs = node
        .graph("body")
        .map(|graph| &graph.output[..])
        .unwrap_or_default();
    let kind = |info: &tract_onnx::pb::ValueInfoProto| {
        let Some(type_proto::Value::TensorType(tensor)) = info.r#type.as_ref()?.value.as_ref()
        else {
            return None;
        };
        use tract_onnx::pb::tensor_shape_proto::dimension::Value::DimValue;
        let dims = tensor.shape.iter().flat_map(|shape| &shape.dim);
        let axes = dims.map(|dim| match dim.value {
            Some(DimValue(axis)) => usize::try_from(axis).unwrap_or(0),
            _ => 0,
        });
        Some((onnx_dtype(tensor.elem_type)?, axes.collect()))
    };
    outputs.iter().skip(skip).map(kind).collect()
}

/// `SequenceMap`: the body for each element of the first input; other sequences go along, tensors
/// stay the same.
fn map(body: &Program, inputs: &Inputs<'_>, outer: &Around<'_>) -> Result<Vec<Value>> {
    let length = inputs.sequence(0)?.len();
    let mut made: Vec<Vec<Value>> = vec![Vec::new(); body.outputs.len()];
    for turn in 0..length {
        outer.turns.one_more()?;
        let mut given = Vec::with_capacity(inputs.len());
        for index in 0..inputs.len() {
            given.push(match inputs.value(index)? {
                Value::Sequence(items) => match items.get(turn) {
                    Some(item) => item.clone(),
                    None => bail!(InvalidInput, "sequence {index} is shorter than the first"),
                },
                other => other.clone(),
            });
        }
        for (all, value) in made.iter_mut().zip(body.run_in(given, outer)?) {
            all.push(value);
        }
    }
    Ok(made.into_iter().map(Value::Sequence).collect())
}

/// The names that a node reads, also in the graphs inside of it.
pub(super) fn names_read<'a>(node: &'a NodeProto, read: &mut dyn FnMut(&'a str)) {
    for name in node.input.iter().filter(|name| !name.is_empty()) {
        read(name);
    }
    for graph in node
        .attribute
        .iter()
        .flat_map(|a| a.g.iter().chain(&a.graphs))
    {
        let own: HashSet<&str> = (graph.node.iter().flat_map(|n| &n.output))
            .chain(graph.input.iter().map(|i| &i.name))
            .chain(graph.initializer.iter().map(|i| &i.name))
            .map(String::as_str)
            .collect();
        let mut outside = |name: &'a str| {
            if !own.contains(name) {
                read(name);
            }
        };
        for inner in &graph.node {
            names_read(inner, &mut outside);
        }
        for output in &graph.output {
            outside(&output.name);
        }
    }
}
