//! From a graph to a program.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

use tract_onnx::pb::{AttributeProto, FunctionProto, GraphProto, NodeProto};

use super::control::{self, Control};
use super::engine::{EngineNode, Opsets};
use super::inputs::Inputs;
use super::meter::{Work, bytes_of};
use super::node::Node;
use super::{Does, Program, Step, functions, ops, segment, tensors};
use crate::{Result, Value, bail};

/// Deeper nesting of graphs in graphs, and of functions in functions, than any real export has.
const MAX_DEPTH: usize = 16;

/// Nodes that calls of functions put into a graph, of all calls together: functions that call
/// functions a few times each are a small file, and more nodes than any memory holds.
const MAX_CALLED_NODES: usize = 1 << 18;

/// Bytes that quantised weights of a graph may take as numbers for good: those beyond become numbers
/// in each run.
const MAX_UNPACKED: u64 = 1 << 28;

/// What a graph is read in: versions of operator sets, and functions of the model.
pub(crate) struct Scope<'a> {
    pub(crate) opsets: Opsets,
    functions: &'a [FunctionProto],
    /// The defaults of the attributes of each function.
    defaults: &'a [Vec<AttributeProto>],
    /// Nodes that calls of functions have put in so far.
    called: Rc<Cell<usize>>,
}

impl<'a> Scope<'a> {
    pub(crate) fn new(
        opsets: Opsets,
        functions: &'a [FunctionProto],
        defaults: &'a [Vec<AttributeProto>],
    ) -> Self {
        Self {
            opsets,
            functions,
            defaults,
            called: Rc::default(),
        }
    }
}

/// The program of the graph of a model.
///
/// # Errors
/// `invalid_model` for a malformed graph; `unsupported_operator`.
pub(crate) fn build(graph: &GraphProto, scope: &Scope<'_>) -> Result<Program> {
    let mut builder = Builder::new(scope, 0);
    builder.graph(graph, &mut NoOuter)?;
    builder.finish()
}

/// Where names are looked up that a graph does not have.
trait Outer {
    fn slot(&mut self, name: &str) -> Option<usize>;
}

struct NoOuter;

impl Outer for NoOuter {
    fn slot(&mut self, _name: &str) -> Option<usize> {
        None
    }
}

struct Builder<'a> {
    scope: &'a Scope<'a>,
    depth: usize,
    names: HashMap<String, usize>,
    program: Program,
    /// Bytes that quantised weights take as numbers.
    unpacked: u64,
}

/// The names of a graph, and of those around it.
struct Names<'b> {
    names: &'b mut HashMap<String, usize>,
    slots: &'b mut usize,
    captured: &'b mut Vec<(usize, usize)>,
    outer: &'b mut dyn Outer,
}

impl Outer for Names<'_> {
    fn slot(&mut self, name: &str) -> Option<usize> {
        if let Some(slot) = self.names.get(name) {
            return Some(*slot);
        }
        let outside = self.outer.slot(name)?;
        let slot = *self.slots;
        *self.slots += 1;
        self.names.insert(name.to_owned(), slot);
        self.captured.push((outside, slot));
        Some(slot)
    }
}

impl<'a> Builder<'a> {
    fn new(scope: &'a Scope<'a>, depth: usize) -> Self {
        Self {
            scope,
            depth,
            names: HashMap::new(),
            unpacked: 0,
            program: Program {
                steps: Vec::new(),
                slots: 0,
                constants: Vec::new(),
                inputs: Vec::new(),
                outputs: Vec::new(),
                captured: Vec::new(),
            },
        }
    }

    fn add(&mut self, name: &str) -> usize {
        let slot = self.program.slots;
        self.program.slots += 1;
        self.names.insert(name.to_owned(), slot);
        slot
    }

    fn graph(&mut self, graph: &GraphProto, outer: &mut dyn Outer) -> Result<()> {
        if self.depth >= MAX_DEPTH {
            bail!(InvalidModel, "graphs are nested more than {MAX_DEPTH} deep");
        }
        for tensor in &graph.initializer {
            let value = tensors::read(tensor).map_err(|e| e.context(&tensor.name))?;
            let slot = self.add(&tensor.name);
            self.program.constants.push((slot, Value::Tensor(value)));
        }
        for tensor in &graph.sparse_initializer {
            let name = tensor.values.as_ref().map(|v| v.name.clone());
            let value = tensors::read_sparse(tensor)?;
            let slot = self.add(&name.unwrap_or_default());
            self.program.constants.push((slot, Value::Tensor(value)));
        }
        for input in &graph.input {
            if !self.names.contains_key(&input.name) {
                let slot = self.add(&input.name);
                self.program.inputs.push(slot);
            }
        }
        for node in sorted(&ops::standard(graph)?, &self.names)? {
            self.node(node, outer)?;
        }
        for output in &graph.output {
            let Some(slot) = self.slot(&output.name, outer) else {
                bail!(
                    InvalidModel,
                    "output `{}` is not the result of any node",
                    output.name
                );
            };
            self.program.outputs.push(slot);
        }
        Ok(())
    }

    fn slot(&mut self, name: &str, outer: &mut dyn Outer) -> Option<usize> {
        self.names_in(outer).slot(name)
    }

    fn names_in<'b>(&'b mut self, outer: &'b mut dyn Outer) -> Names<'b> {
        Names {
            names: &mut self.names,
            slots: &mut self.program.slots,
            captured: &mut self.program.captured,
            outer,
        }
    }

    fn node(&mut self, proto: &NodeProto, outer: &mut dyn Outer) -> Result<()> {
        let label = label(proto);
        let mut inputs = Vec::with_capacity(proto.input.len());
        for name in &proto.input {
            inputs.push(match name.as_str() {
                "" => None,
                name => match self.slot(name, outer) {
                    Some(slot) => Some(slot),
                    None => bail!(InvalidModel, "{label} reads `{name}`, which nothing gives"),
                },
            });
        }
        if let Some((function, defaults)) = self.function(proto) {
            return self
                .inline(proto, function, defaults, &inputs)
                .map_err(|e| e.context(label));
        }
        let does = self
            .does(proto, &inputs, outer)
            .map_err(|e| e.context(&label))?;
        let outputs = self.outputs(proto);
        if let Some(value) = self.weight(proto, &does, &inputs)
            && let [Some(slot)] = outputs[..]
        {
            self.program.constants.push((slot, value));
            return Ok(());
        }
        self.program.steps.push(Step {
            label,
            work: Work::of(proto),
            does,
            inputs,
            outputs,
            release: Vec::new(),
        });
        Ok(())
    }

    fn outputs(&mut self, proto: &NodeProto) -> Vec<Option<usize>> {
        let names = proto.output.iter();
        names
            .map(|name| (!name.is_empty()).then(|| self.add(name)))
            .collect()
    }

    fn does(
        &mut self,
        proto: &NodeProto,
        inputs: &[Option<usize>],
        outer: &mut dyn Outer,
    ) -> Result<Does> {
        let version = self.scope.opsets.version(&proto.domain);
        let node = Node::new(proto, version);
        if control::is_control(proto) {
            let mut graphs = Vec::new();
            for graph in control::graphs(&node)? {
                graphs.push(self.inner(graph, outer)?);
            }
            return Ok(Does::Control(Box::new(Control::new(&node, graphs)?)));
        }
        let ours = ops::find(&proto.domain, &proto.op_type);
        let ours = ours.or_else(|| ops::fallback(&proto.domain, &proto.op_type));
        if let Some(make) = ours
            && let Some(kernel) = make(&node)?
        {
            return Ok(Does::Ours(kernel));
        }
        let constants = inputs.iter().map(|slot| self.constant((*slot)?));
        let constants = constants.map(|c| c.cloned()).collect();
        let node = EngineNode::new(proto, &self.scope.opsets, constants)?;
        Ok(Does::Engine(Box::new(node)))
    }

    /// What a node gives in every run, where it makes numbers of a weight: the engine then plans with
    /// them, and nothing is computed twice. Where that fails, a run says why.
    fn weight(
        &mut self,
        proto: &NodeProto,
        does: &Does,
        inputs: &[Option<usize>],
    ) -> Option<Value> {
        let Does::Ours(kernel) = does else {
            return None;
        };
        if proto.op_type != "DequantizeLinear" {
            return None;
        }
        let constants = inputs
            .iter()
            .map(|slot| slot.map(|slot| self.constant(slot)));
        let constants = constants
            .map(|constant| match constant {
                None => Some(None),
                Some(value) => value.map(Some),
            })
            .collect::<Option<Vec<_>>>()?;
        let made = (kernel.0)(&Inputs(&constants)).ok()?.into_iter().next()?;
        let unpacked = self.unpacked.saturating_add(bytes_of(&made));
        if unpacked > MAX_UNPACKED {
            return None;
        }
        self.unpacked = unpacked;
        Some(made)
    }

    fn constant(&self, slot: usize) -> Option<&Value> {
        let mut constants = self.program.constants.iter();
        constants.find_map(|(at, value)| (*at == slot).then_some(value))
    }

    /// The program of a graph inside.
    fn inner(&mut self, graph: &GraphProto, outer: &mut dyn Outer) -> Result<Program> {
        let mut inner = Builder::new(self.scope, self.depth + 1);
        inner.graph(graph, &mut self.names_in(outer))?;
        inner.finish()
    }

    /// The function that a node calls, and the defaults of its attributes.
    fn function(&self, proto: &NodeProto) -> Option<(&'a FunctionProto, &'a [AttributeProto])> {
        let at = self.scope.functions.iter().position(|f| {
            f.name.as_deref() == Some(&proto.op_type)
                && f.domain.as_deref().unwrap_or_default() == proto.domain
        })?;
        let defaults = self.scope.defaults.get(at).map_or(&[][..], Vec::as_slice);
        Some((self.scope.functions.get(at)?, defaults))
    }

    /// Puts the nodes of a function of the model in the place of a call of it.
    fn inline(
        &mut self,
        call: &NodeProto,
        function: &FunctionProto,
        defaults: &[AttributeProto],
        inputs: &[Option<usize>],
    ) -> Result<()> {
        let called = self.scope.called.get().saturating_add(function.node.len());
        if called > MAX_CALLED_NODES {
            bail!(
                ModelTooLarge,
                "the functions of the model are more than {MAX_CALLED_NODES} nodes"
            );
        }
        self.scope.called.set(called);
        let graph = functions::body_of(function, defaults, call);
        let opsets = self.scope.opsets.with(&function.opset_import);
        let scope = Scope {
            opsets,
            functions: self.scope.functions,
            defaults: self.scope.defaults,
            called: self.scope.called.clone(),
        };
        let mut inner = Builder::new(&scope, self.depth + 1);
        inner.graph(&graph, &mut NoOuter)?;
        let body = inner.finish()?;
        let outputs = self.outputs(call);
        self.program.steps.push(Step {
            label: label(call),
            work: Work::None,
            does: Does::Control(Box::new(Control::Call(body))),
            inputs: inputs.to_vec(),
            outputs,
            release: Vec::new(),
        });
        Ok(())
    }

    /// Finds out after which step each value is not needed any more.
    fn finish(mut self) -> Result<Program> {
        let program = &mut self.program;
        let mut last: HashMap<usize, usize> = HashMap::new();
        for (at, step) in program.steps.iter().enumerate() {
            let captured = match &step.does {
                Does::Control(control) => control.captured(),
                _ => Vec::new(),
            };
            for slot in step.inputs.iter().copied().flatten().chain(captured) {
                last.insert(slot, at);
            }
        }
        for output in &program.outputs {
            last.remove(output);
        }
        for (&slot, &at) in &last {
            if let Some(step) = program.steps.get_mut(at) {
                step.release.push(slot);
            }
        }
        let read_after = |slot: usize, at: usize| match last.get(&slot) {
            Some(&last) => last > at,
            None => program.outputs.contains(&slot),
        };
        let steps = std::mem::take(&mut program.steps);
        self.program.steps = segment::join(steps, &read_after);
        Ok(self.program)
    }
}

/// The nodes in an order in which each comes after those that it reads. ONNX demands that order of
/// files, and not all have it.
fn sorted<'g>(
    nodes: &'g [NodeProto],
    known: &HashMap<String, usize>,
) -> Result<Vec<&'g NodeProto>> {
    let mut given: HashMap<&str, usize> = HashMap::new();
    for (at, node) in nodes.iter().enumerate() {
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            if known.contains_key(name) || given.insert(name, at).is_some() {
                bail!(InvalidModel, "`{name}` is given twice");
            }
        }
    }
    let mut reads: Vec<Vec<usize>> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let mut of = Vec::new();
        control::names_read(node, &mut |name| of.extend(given.get(name).copied()));
        of.sort_unstable();
        of.dedup();
        reads.push(of);
    }
    // In the order of the file, as far as that is possible.
    let mut order = Vec::with_capacity(nodes.len());
    let mut state = vec![0u8; nodes.len()];
    for start in 0..nodes.len() {
        let mut stack = vec![(start, 0)];
        while let Some((at, next)) = stack.pop() {
            if state[at] == 2 {
                continue;
            }
            state[at] = 1;
            match reads[at].get(next) {
                Some(&before) => {
                    stack.push((at, next + 1));
                    match state[before] {
                        0 => stack.push((before, 0)),
                        1 => bail!(InvalidModel, "{} reads its own result", label(&nodes[at])),
                        _ => {}
                    }
                }
                None => {
                    state[at] = 2;
                    order.push(&nodes[at]);
                }
            }
        }
    }
    Ok(order)
}

/// A node for people.
fn label(node: &NodeProto) -> String {
    let name = match node.name.as_str() {
        "" => node
            .output
            .iter()
            .find(|o| !o.is_empty())
            .map_or("?", String::as_str),
        name => name,
    };
    format!("node `{name}` ({})", node.op_type)
}
