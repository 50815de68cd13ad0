//! Neighbouring nodes of the engine that it plans together, so that it can do with them what it does
//! with a whole graph: fuse, fold, lay out. What it does not take together runs node by node.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use tract_onnx::pb::{NodeProto, TensorProto};
use tract_onnx::prelude::*;

use super::engine::{EngineNode, Given, Input, MAX_PLANS, Opsets, Plan, is_parameter, plan_of};
use super::inputs::Inputs;
use super::{Does, Step};
use crate::session::{from_engine, guard, to_engine_value};
use crate::{DType, Result, Value};

/// Nodes of the engine without any other step in between.
pub(super) struct Segment {
    /// The nodes one by one.
    pub(super) steps: Vec<Step>,
    nodes: Vec<NodeProto>,
    opsets: Opsets,
    /// Names of what comes from outside and changes, and whether the engine wants to know it when
    /// it plans.
    inputs: Vec<(String, bool)>,
    constants: Vec<(String, Arc<Tensor>)>,
    outputs: Vec<String>,
    plans: Mutex<Plans>,
}

/// Plans by what they are made for, the most recently used last; `None` where the engine has none.
#[derive(Default)]
struct Plans {
    known: Vec<(Vec<Given>, Option<Plan>)>,
    /// How many were made since one was found.
    misses: usize,
    /// What was asked for last and not planned.
    last: Option<Vec<Given>>,
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Segment").field(&self.steps).finish()
    }
}

/// Puts neighbouring nodes of the engine together. `read_after` says whether a slot is read by a
/// step after this one, or is an output.
pub(super) fn join(steps: Vec<Step>, read_after: &dyn Fn(usize, usize) -> bool) -> Vec<Step> {
    let mut joined = Vec::with_capacity(steps.len());
    let mut group = Vec::new();
    for (at, step) in steps.into_iter().enumerate() {
        let joins = matches!(&step.does, Does::Engine(node) if can_join(node));
        if !joins {
            close(&mut group, at, read_after, &mut joined);
            joined.push(step);
        } else {
            group.push(step);
        }
    }
    close(&mut group, usize::MAX, read_after, &mut joined);
    joined
}

/// Whether a node means the same beside others: those are left out that the program helps with
/// (BF16, scalars that are written as `[1]`), and what is another one in each run.
fn can_join(node: &EngineNode) -> bool {
    let operator = node.proto.op_type.as_str();
    let narrow = |tensor: &TensorProto| tensor.data_type == BF16;
    !matches!(operator, "Range" | "Pad")
        && !super::ops::is_fused(&node.proto)
        && !operator.starts_with("Random")
        && !node.proto.attribute.iter().flat_map(|a| &a.t).any(narrow)
}

/// `TensorProto.BFLOAT16` (onnx.proto).
const BF16: i32 = 16;

/// Makes a segment of a group that ends before step `end`, where it is worth one.
fn close(
    group: &mut Vec<Step>,
    end: usize,
    read_after: &dyn Fn(usize, usize) -> bool,
    joined: &mut Vec<Step>,
) {
    let steps = std::mem::take(group);
    let last = end.saturating_sub(1);
    let first = match &steps[..] {
        [first, _, ..] => &first.does,
        _ => return joined.extend(steps),
    };
    match first {
        Does::Engine(node) => {
            let opsets = node.opsets.clone();
            let is_wanted = |slot| read_after(slot, last);
            joined.push(Segment::step(steps, opsets, &is_wanted));
        }
        _ => joined.extend(steps),
    }
}

impl Segment {
    /// The nodes of a graph, which all have the same operator sets.
    fn step(steps: Vec<Step>, opsets: Opsets, is_wanted: &dyn Fn(usize) -> bool) -> Step {
        let mut segment = Parts::default();
        for step in &steps {
            if let Does::Engine(node) = &step.does {
                segment.add(step, node, is_wanted);
            }
        }
        let inputs = segment.order.iter().map(|slot| {
            let is_parameter = segment.parameters.contains(slot);
            (name(*slot), is_parameter)
        });
        Step {
            label: String::new(),
            work: super::meter::Work::None,
            inputs: segment.order.iter().copied().map(Some).collect(),
            outputs: segment.outputs.iter().copied().map(Some).collect(),
            release: steps.iter().flat_map(|s| s.release.clone()).collect(),
            does: Does::Segment(Box::new(Self {
                nodes: segment.nodes,
                opsets,
                inputs: inputs.collect(),
                constants: segment
                    .constants
                    .into_iter()
                    .map(|(slot, c)| (name(slot), c))
                    .collect(),
                outputs: segment.outputs.iter().copied().map(name).collect(),
                plans: Mutex::default(),
                steps,
            })),
        }
    }

    /// The outputs; nothing where the nodes have to run one by one.
    pub(super) fn run(&self, inputs: &Inputs<'_>) -> Option<Vec<Value>> {
        let mut key = Vec::with_capacity(self.inputs.len());
        let mut given = TVec::new();
        for (index, (_, is_parameter)) in self.inputs.iter().enumerate() {
            let Some(Value::Tensor(tensor)) = inputs.optional(index) else {
                return None;
            };
            if tensor.dtype() == DType::BF16 {
                return None;
            }
            key.push(if *is_parameter {
                Given::Content(tensor.clone())
            } else {
                given.push(to_engine_value(tensor.clone()).ok()?);
                Given::Shape(tensor.dtype(), tensor.shape().to_vec())
            });
        }
        let plan = self.plan(key)?;
        let outputs = guard(|| plan.run(given)).ok()?;
        let outputs = outputs.into_iter();
        outputs
            .map(|output| from_engine(output.into_tensor()).map(Value::Tensor).ok())
            .collect()
    }

    fn plan(&self, key: Vec<Given>) -> Option<Plan> {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = plans.known.iter().position(|(known, _)| *known == key) {
            let entry = plans.known.remove(at);
            let plan = entry.1.clone();
            plans.known.push(entry);
            plans.misses = 0;
            return plan;
        }
        // A loop that grows a tensor has other shapes in each turn. Its nodes have plans of which
        // most fit; the segment would be planned anew each time.
        if plans.misses >= MAX_PLANS && plans.last.as_ref() != Some(&key) {
            plans.last = Some(key);
            return None;
        }
        plans.misses += 1;
        let plan = self.make(&key).ok().flatten();
        if plans.known.len() == MAX_PLANS {
            plans.known.remove(0);
        }
        plans.known.push((key, plan.clone()));
        plan
    }

    /// The inner result is nothing where the engine does not take the nodes together.
    fn make(&self, key: &[Given]) -> Result<Option<Plan>> {
        let mut inputs = Vec::with_capacity(key.len() + self.constants.len());
        for ((name, _), given) in self.inputs.iter().zip(key) {
            let input = match given {
                Given::Content(tensor) => Input::content(tensor)?,
                Given::Shape(dtype, shape) => Input::Shape(*dtype, shape.clone()),
                Given::Fixed => continue,
            };
            inputs.push((name.clone(), input));
        }
        let constants = self.constants.iter();
        inputs.extend(constants.map(|(name, c)| (name.clone(), Input::Constant(c.clone()))));
        Ok(plan_of(&self.opsets, self.nodes.clone(), inputs, &self.outputs).ok())
    }
}

/// What a segment is made of, by slot.
#[derive(Default)]
struct Parts {
    nodes: Vec<NodeProto>,
    /// Slots from outside, in the order in which they are met.
    order: Vec<usize>,
    parameters: HashSet<usize>,
    constants: HashMap<usize, Arc<Tensor>>,
    /// Slots that nodes of the segment give.
    made: HashSet<usize>,
    outputs: Vec<usize>,
}

impl Parts {
    fn add(&mut self, step: &Step, node: &EngineNode, is_wanted: &dyn Fn(usize) -> bool) {
        let mut proto = node.proto.clone();
        for (index, slot) in step.inputs.iter().enumerate() {
            let Some(slot) = *slot else { continue };
            if let Some(place) = proto.input.get_mut(index) {
                *place = name(slot);
            }
            match node.constants.get(index).cloned().flatten() {
                Some(constant) => {
                    self.constants.insert(slot, constant);
                }
                None if self.made.contains(&slot) => {}
                None => {
                    if !self.order.contains(&slot) {
                        self.order.push(slot);
                    }
                    if is_parameter(&node.proto.op_type, index) {
                        self.parameters.insert(slot);
                    }
                }
            }
        }
        for (place, slot) in proto.output.iter_mut().zip(&step.outputs) {
            let Some(slot) = *slot else { continue };
            *place = name(slot);
            // Names of nodes need not be unique in a file.
            proto.name.clone_from(place);
            self.made.insert(slot);
            if is_wanted(slot) {
                self.outputs.push(slot);
            }
        }
        self.nodes.push(proto);
    }
}

/// The name of a slot for the engine.
fn name(slot: usize) -> String {
    format!("v{slot}")
}

#[cfg(test)]
mod tests {
    use tract_onnx::pb::GraphProto;

    use super::super::{Meter, Opsets, Program, Scope, build};
    use super::*;
    use crate::session::test_models::{info, int, node, open, weights};
    use crate::{Tensor as Ours, ops};

    fn program(graph: &GraphProto) -> Program {
        let import = tract_onnx::pb::OperatorSetIdProto {
            domain: String::new(),
            version: 17,
        };
        let scope = Scope::new(Opsets::new(&[import], Arc::new(ops::registry())), &[], &[]);
        build(graph, &scope).unwrap()
    }

    /// Three nodes of the engine, one of ours, two of the engine; a value of the first part is read
    /// in the last one, and another one is an output.
    fn graph() -> GraphProto {
        let mut product = weights("w", &[4, 4]);
        let numbers = (0..16u8).flat_map(|i| (f32::from(i) / 7.0 - 1.0).to_le_bytes());
        product.raw_data = numbers.collect();
        let mut nodes = vec![
            node("MatMul", &["x", "w"], "a"),
            node("Relu", &["a"], "b"),
            node("Mul", &["b", "b"], "c"),
            node("CumProd", &["c", "axis"], "d"),
            node("Add", &["d", "a"], "e"),
            node("Tanh", &["e"], "y"),
        ];
        nodes[3].attribute = vec![int("exclusive", 0)];
        let mut axis = weights("axis", &[]);
        axis.data_type = 7;
        axis.raw_data = 1i64.to_le_bytes().to_vec();
        GraphProto {
            name: "g".into(),
            input: vec![info("x", &[-1, 4])],
            output: vec![open("y"), open("b")],
            initializer: vec![product, axis],
            node: nodes,
            ..GraphProto::default()
        }
    }

    fn rows(count: usize) -> Vec<Value> {
        let numbers = (0..count * 4).map(|i| (i as f32).sin()).collect();
        vec![Value::Tensor(Ours::from_vec(&[count, 4], numbers).unwrap())]
    }

    fn segments(program: &Program) -> Vec<&Segment> {
        let steps = program.steps.iter();
        steps
            .filter_map(|step| match &step.does {
                Does::Segment(segment) => Some(&**segment),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn neighbours_run_together_and_give_the_same() {
        let program = program(&graph());
        let found = segments(&program);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].steps.len(), found[1].steps.len()), (3, 2));
        // What is read later or is an output comes out, and nothing else.
        assert_eq!((found[0].outputs.len(), found[1].outputs.len()), (3, 1));
        for count in 1..=3 {
            let together = program.run(rows(count)).unwrap();
            let apart = program.measure(rows(count), &Meter::default()).unwrap();
            assert_eq!(together, apart);
        }
        for segment in segments(&program) {
            let plans = segment.plans.lock().unwrap();
            assert!(plans.known.iter().all(|(_, plan)| plan.is_some()));
            assert_eq!(plans.known.len(), 3);
        }
    }

    #[test]
    fn shapes_that_never_come_again_are_not_planned_for_ever() {
        let program = program(&graph());
        for count in 1..=20 {
            program.run(rows(count)).unwrap();
        }
        let newest = |program: &Program| {
            let plans = segments(program)[0].plans.lock().unwrap();
            let (key, _) = plans.known.last().unwrap();
            match &key[0] {
                Given::Shape(_, shape) => shape[0],
                _ => 0,
            }
        };
        assert_eq!(newest(&program), MAX_PLANS);
        // One that does come again is.
        program.run(rows(20)).unwrap();
        assert_eq!(newest(&program), 20);
    }

    #[test]
    fn what_the_engine_does_not_take_together_runs_one_by_one() {
        let mut graph = graph();
        // A vector with a vector: a node of the program can, the engine alone cannot.
        graph.input = vec![info("x", &[4])];
        graph.initializer[0].dims = vec![4];
        graph.initializer[0].raw_data.truncate(16);
        graph.initializer[1].raw_data = 0i64.to_le_bytes().to_vec();
        graph.node[3] = node("NonZero", &["c"], "z");
        graph.node.truncate(4);
        graph.node.push(node("Cast", &["z"], "y"));
        graph.node[4].attribute = vec![int("to", 1)];
        let program = program(&graph);
        let given = vec![Value::Tensor(Ours::from_vec(&[4], vec![-1f32; 4]).unwrap())];
        let made = program.run(given).unwrap();
        let Value::Tensor(product) = &made[1] else {
            panic!("{made:?}");
        };
        assert_eq!(product.shape(), [0usize; 0]);
    }
}
