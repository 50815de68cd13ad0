//! A node that the engine runs. It plans for fixed shapes, and wants what it calls shapes, axes and
//! the like as constants: so a node has a plan for each combination that comes.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use tract_onnx::Onnx;
use tract_onnx::pb::{
    GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TypeProto, ValueInfoProto, type_proto,
};
use tract_onnx::prelude::*;

use super::arrange;
use super::cast::{Rules, convert};
use super::inputs::Inputs;
use super::ops;
use crate::ops::named_domain;
use crate::session::{
    Declared, Problem, check_sizes, check_windows, engine_dtype, from_engine, guard, onnx_code,
    runnable, to_engine_value,
};
use crate::{DType, Result, Value, bail, err};

/// Plans that a node or a segment keeps: loops that grow a tensor have another shape in each turn.
pub(super) const MAX_PLANS: usize = 4;

/// Versions of operator sets by domain, and the engine's operators.
#[derive(Clone)]
pub(crate) struct Opsets {
    versions: BTreeMap<String, i64>,
    engine: Arc<Onnx>,
}

impl Opsets {
    pub(crate) fn new(imports: &[OperatorSetIdProto], engine: Arc<Onnx>) -> Self {
        let versions = BTreeMap::new();
        Self { versions, engine }.with(imports)
    }

    /// The same with other versions for the domains that are named.
    pub(super) fn with(&self, imports: &[OperatorSetIdProto]) -> Self {
        let mut all = self.clone();
        for import in imports {
            let domain = domain_of(&import.domain).to_owned();
            all.versions.insert(domain, import.version);
        }
        all
    }

    /// The version of a domain; 1 where the file does not say.
    pub(super) fn version(&self, domain: &str) -> i64 {
        self.versions.get(domain_of(domain)).copied().unwrap_or(1)
    }

    fn imports(&self) -> Vec<OperatorSetIdProto> {
        let all = self.versions.iter();
        all.map(|(domain, version)| OperatorSetIdProto {
            domain: domain.clone(),
            version: *version,
        })
        .collect()
    }
}

/// The standard domain has two names.
fn domain_of(domain: &str) -> &str {
    match domain {
        "ai.onnx" => "",
        other => other,
    }
}

/// A node of the engine.
pub(super) struct EngineNode {
    pub(super) proto: NodeProto,
    pub(super) opsets: Opsets,
    /// The inputs that are the same in every run.
    pub(super) constants: Vec<Option<Arc<Tensor>>>,
    plans: Cache,
}

impl std::fmt::Debug for EngineNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("EngineNode")
            .field(&self.proto.op_type)
            .finish()
    }
}

/// A plan that can run.
pub(super) type Plan = Arc<TypedRunnableModel>;

/// Plans by what they are made for, the most recently used last.
#[derive(Default)]
struct Cache(Mutex<Vec<(Vec<Given>, Plan)>>);

impl Cache {
    /// The plan that was made for this, or what `make` makes.
    fn get(&self, key: Vec<Given>, make: impl FnOnce(&[Given]) -> Result<Plan>) -> Result<Plan> {
        let mut plans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = plans.iter().position(|(known, _)| *known == key) {
            let entry = plans.remove(at);
            let plan = entry.1.clone();
            plans.push(entry);
            return Ok(plan);
        }
        drop(plans);
        let plan = make(&key)?;
        let mut plans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if plans.len() == MAX_PLANS {
            plans.remove(0);
        }
        plans.push((key, plan.clone()));
        Ok(plan)
    }
}

/// What a plan is made for, of an input.
#[derive(Clone, PartialEq)]
pub(super) enum Given {
    /// Left out, or the same in every run.
    Fixed,
    Shape(DType, Vec<usize>),
    Content(crate::Tensor),
}

impl EngineNode {
    pub(super) fn new(
        proto: &NodeProto,
        opsets: &Opsets,
        constants: Vec<Option<Value>>,
    ) -> Result<Self> {
        let mut proto = proto.clone();
        crate::ops::qualify_node(&mut proto);
        // Outputs that are left out at the end need not be named; the engine counts them.
        while proto.output.len() > 1 && proto.output.last().is_some_and(String::is_empty) {
            proto.output.pop();
        }
        let known = opsets.engine.op_register.0.contains_key(&proto.op_type)
            && crate::ops::is_known_in(&proto.domain, &proto.op_type);
        if !known && !ops::is_fused(&proto) {
            bail!(
                UnsupportedOperator,
                "operator `{}` of {} (version {}) is not supported; export the model without it, or run that step outside of the model",
                proto.op_type,
                named_domain(&proto.domain),
                opsets.version(&proto.domain)
            );
        }
        let constants = constants.into_iter().map(|constant| match constant {
            Some(Value::Tensor(tensor)) => {
                let tensor = widened(&tensor)?;
                Ok(Some(to_engine_value(tensor)?.into_arc_tensor()))
            }
            _ => Ok(None),
        });
        Ok(Self {
            proto,
            opsets: opsets.clone(),
            constants: constants.collect::<Result<_>>()?,
            plans: Cache::default(),
        })
    }

    pub(super) fn run(&self, inputs: &Inputs<'_>) -> Result<Vec<Value>> {
        if self.proto.op_type == "MatMul"
            && let (Some(Value::Tensor(a)), Some(Value::Tensor(b))) =
                (inputs.optional(0), inputs.optional(1))
            && let ([length], [_]) = (a.shape(), b.shape())
        {
            // The engine multiplies no vector by a vector, but a row by a vector.
            let row = Value::Tensor(arrange::reshaped(a, &[1, *length])?);
            let made = self.planned(&Inputs(&[Some(&row), inputs.optional(1)]))?;
            let made = made.iter().map(|value| match value {
                Value::Tensor(one) => arrange::reshaped(one, &[]).map(Value::Tensor),
                other => Ok(other.clone()),
            });
            return made.collect();
        }
        if matches!(&*self.proto.op_type, "ReduceMax" | "ReduceMin")
            && let Some(Value::Tensor(flags)) = inputs.optional(0)
            && flags.dtype() == DType::Bool
        {
            // Any and all: the engine has them for numbers only.
            let numbers = Value::Tensor(convert(flags, DType::U8, Rules::default())?);
            let made = self.planned(&Inputs(&[Some(&numbers), inputs.optional(1)]))?;
            let made = made.iter().map(|value| match value {
                Value::Tensor(made) => {
                    convert(made, DType::Bool, Rules::default()).map(Value::Tensor)
                }
                other => Ok(other.clone()),
            });
            return made.collect();
        }
        self.planned(inputs)
    }

    fn planned(&self, inputs: &Inputs<'_>) -> Result<Vec<Value>> {
        let mut key = Vec::with_capacity(inputs.len());
        let mut given = TVec::new();
        let narrow = self.is_narrow(inputs);
        for index in 0..inputs.len() {
            let is_constant = self.constants.get(index).is_some_and(Option::is_some);
            let tensor = inputs.tensor_opt(index)?.filter(|_| !is_constant);
            let tensor = tensor.map(widened).transpose()?;
            key.push(match tensor {
                None => Given::Fixed,
                Some(tensor) if is_parameter(&self.proto.op_type, index) => {
                    Given::Content(self.as_wanted(index, &tensor)?)
                }
                Some(tensor) => {
                    let shape = Given::Shape(tensor.dtype(), tensor.shape().to_vec());
                    given.push(to_engine_value(tensor)?);
                    shape
                }
            });
        }
        let plan = self.plans.get(key, |key| self.make(key))?;
        let outputs = guard(|| plan.run(given)).map_err(|e| self.failed(&e))?;
        // Those that nobody reads are not there.
        let mut made = outputs.into_iter();
        let names = self.proto.output.iter();
        names
            .enumerate()
            .map(|(index, name)| match name.is_empty() {
                true => Ok(Value::Optional(None)),
                false => {
                    let value = made
                        .next()
                        .ok_or_else(|| err!(Internal, "an output is missing"))?;
                    let tensor = from_engine(value.into_tensor())?;
                    self.narrowed(tensor, narrow, index).map(Value::Tensor)
                }
            })
            .collect()
    }

    /// Whether the floating point of the inputs is BF16: that of the first that is any.
    fn is_narrow(&self, inputs: &Inputs<'_>) -> bool {
        let mut dtypes = (0..inputs.len()).filter_map(|at| inputs.tensor_opt(at).ok()?);
        let first = dtypes.find_map(|tensor| match tensor.dtype() {
            DType::BF16 => Some(true),
            DType::F16 | DType::F32 | DType::F64 => Some(false),
            _ => None,
        });
        first.unwrap_or(false)
    }

    /// An output as BF16 where ONNX says that it is of the type of the inputs.
    fn narrowed(&self, output: crate::Tensor, narrow: bool, index: usize) -> Result<crate::Tensor> {
        let of_its_own = match &*self.proto.op_type {
            // Mean and deviation are of the type in which they are computed.
            "LayerNormalization" => index > 0,
            "EyeLike" | "RandomNormalLike" | "RandomUniformLike" => true,
            _ => false,
        };
        match narrow && !of_its_own && output.dtype() == DType::F32 {
            true => convert(&output, DType::BF16, Rules::default()),
            false => Ok(output),
        }
    }

    /// A parameter in the shape that the engine wants: exporters write a scalar as `[1]` too.
    fn as_wanted(&self, index: usize, tensor: &crate::Tensor) -> Result<crate::Tensor> {
        let is_scalar = match self.proto.op_type.as_str() {
            "Range" => true,
            "Pad" => index == 2,
            _ => false,
        };
        match tensor.shape() {
            [1] if is_scalar => arrange::reshaped(tensor, &[]),
            _ => Ok(tensor.clone()),
        }
    }

    fn failed(&self, problem: &Problem) -> crate::Error {
        match problem.is_refusal {
            true => err!(InvalidInput, "{problem}"),
            false => err!(InvalidInput, "the engine cannot compute this: {problem}"),
        }
    }

    /// The error for a node that cannot be planned: it is the node's where the engine does not have
    /// this form of the operator, and else that of what it is given.
    fn refused(&self, (stage, problem): &(Stage, Problem)) -> crate::Error {
        let is_of_form = match stage {
            Stage::Form => true,
            // The engine's rules for types and shapes are also where it counts outputs and says which
            // types it has no code for; it says so in these words only.
            Stage::Shapes => OF_FORM
                .iter()
                .any(|words| problem.to_string().contains(words)),
            Stage::Plan => false,
        };
        if problem.is_refusal || !is_of_form {
            return self.failed(problem);
        }
        err!(
            UnsupportedOperator,
            "operator `{}` of {} (version {}) is not supported in this form: {problem}",
            self.proto.op_type,
            named_domain(&self.proto.domain),
            self.opsets.version(&self.proto.domain)
        )
    }

    fn make(&self, key: &[Given]) -> Result<Plan> {
        let mut node = self.proto.clone();
        let mut inputs = Vec::with_capacity(key.len());
        for (index, given) in key.iter().enumerate() {
            let name = format!("input-{index}");
            let input = match given {
                Given::Fixed => self
                    .constants
                    .get(index)
                    .cloned()
                    .flatten()
                    .map(Input::Constant),
                Given::Content(tensor) => Some(Input::content(tensor)?),
                Given::Shape(dtype, shape) => Some(Input::Shape(*dtype, shape.clone())),
            };
            if let Some(place) = node.input.get_mut(index) {
                *place = input.as_ref().map_or(String::new(), |_| name.clone());
            }
            inputs.extend(input.map(|input| (name, input)));
        }
        let outputs = node.output.iter().filter(|o| !o.is_empty());
        let outputs: Vec<String> = outputs.cloned().collect();
        let ranks: Vec<usize> = key
            .iter()
            .enumerate()
            .map(|(index, given)| match given {
                Given::Fixed => {
                    let constant = self.constants.get(index).and_then(Option::as_ref);
                    constant.map_or(0, |constant| constant.rank())
                }
                Given::Content(tensor) => tensor.shape().len(),
                Given::Shape(_, shape) => shape.len(),
            })
            .collect();
        let nodes = ops::standard_nodes(node, &ranks)?;
        plan_of(&self.opsets, nodes, inputs, &outputs).map_err(|e| self.refused(&e))
    }
}

/// An input of nodes that are planned.
pub(super) enum Input {
    /// It is known.
    Constant(Arc<Tensor>),
    /// Its shape is known.
    Shape(DType, Vec<usize>),
}

impl Input {
    /// A value that is known.
    pub(super) fn content(tensor: &crate::Tensor) -> Result<Self> {
        let tensor = to_engine_value(tensor.clone())?;
        Ok(Self::Constant(tensor.into_arc_tensor()))
    }
}

/// Where the engine stopped on the way to a plan.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stage {
    /// It reads a node, or makes of it what it computes with: that depends on the form of the operator.
    Form,
    /// It works out types and shapes.
    Shapes,
    /// It optimises.
    Plan,
}

/// Words of the engine's errors about types and shapes that are about the form of an operator.
const OF_FORM: [&str; 4] = [
    "Wrong number of outputs",
    "not supported",
    "nsupported",
    "not implemented",
];

/// Plans nodes together. The error is the engine's text, or why a type is none of its.
pub(super) fn plan_of(
    opsets: &Opsets,
    nodes: Vec<NodeProto>,
    inputs: Vec<(String, Input)>,
    outputs: &[String],
) -> Result<Plan, (Stage, Problem)> {
    let say = |e: crate::Error| (Stage::Form, Problem::from(e.message().to_owned()));
    let mut declared = HashMap::new();
    let mut infos = Vec::with_capacity(inputs.len());
    let mut facts = Vec::new();
    for (name, input) in inputs {
        match input {
            Input::Shape(dtype, shape) => {
                let dtype_of_engine = engine_dtype(dtype).map_err(say)?;
                facts.push(InferenceFact::dt_shape(dtype_of_engine, &shape));
                infos.push(info(&name, onnx_code(dtype)));
            }
            Input::Constant(constant) => {
                let dtype = crate::session::our_dtype(constant.datum_type()).map_err(say)?;
                infos.push(info(&name, onnx_code(dtype)));
                declared.insert(name, constant);
            }
        }
    }
    let output = |name: &String| ValueInfoProto {
        name: name.clone(),
        ..ValueInfoProto::default()
    };
    let model = ModelProto {
        ir_version: 10,
        opset_import: opsets.imports(),
        graph: Some(GraphProto {
            node: nodes,
            input: infos,
            output: outputs.iter().map(output).collect(),
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    };
    let at = |stage: Stage| move |problem: Problem| (stage, problem);
    let mut parsed = guard(|| {
        let mut parsed = opsets.engine.parse(&model, None)?;
        Declared::new(declared).put_into(&mut parsed.model)?;
        Ok(parsed.model)
    })
    .map_err(at(Stage::Form))?;
    guard(|| {
        for (index, fact) in facts.into_iter().enumerate() {
            parsed.set_input_fact(index, fact)?;
        }
        parsed.analyse(false)
    })
    .map_err(at(Stage::Shapes))?;
    let typed = guard(|| parsed.into_typed()).map_err(at(Stage::Form))?;
    guard(|| {
        check_sizes(&typed)?;
        check_windows(&typed)?;
        runnable(typed)
    })
    .map_err(at(Stage::Plan))
}

/// BF16 as FP32: the engine computes in that, and the result is rounded at the end.
fn widened(tensor: &crate::Tensor) -> Result<crate::Tensor> {
    match tensor.dtype() {
        DType::BF16 => convert(tensor, DType::F32, Rules::default()),
        _ => Ok(tensor.clone()),
    }
}

fn info(name: &str, code: i32) -> ValueInfoProto {
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(type_proto::Tensor {
                elem_type: code,
                shape: None,
            })),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}

/// Inputs that say how to compute, not with what: the engine wants them when it plans.
pub(super) fn is_parameter(operator: &str, index: usize) -> bool {
    match operator {
        "Reshape" | "Expand" | "Tile" | "TopK" | "Squeeze" | "Unsqueeze" | "Split" | "CumSum"
        | "Trilu" | "OneHot" | "DFT" | "CenterCropPad" => index >= 1,
        "Slice" | "Pad" | "Resize" | "Upsample" | "Clip" | "Dropout" => index >= 1,
        "ConstantOfShape" | "Range" | "BlackmanWindow" | "HannWindow" | "HammingWindow"
        | "MelWeightMatrix" => true,
        "STFT" => index >= 1,
        "QuantizeLinear" | "DequantizeLinear" | "BatchNormalization" => index >= 1,
        "MatMulInteger" | "ConvInteger" => index >= 2,
        "QLinearConv" | "QLinearMatMul" => !matches!(index, 0 | 3),
        "NonMaxSuppression" => index >= 2,
        "LSTM" | "GRU" | "RNN" => matches!(index, 1..=4 | 7),
        _ => operator.starts_with("Reduce") && index >= 1,
    }
}
