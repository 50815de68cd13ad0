//! From the bytes of an ONNX file to a graph that the engine takes: checks first, then the
//! parts that the engine has no words for.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use tract_onnx::Onnx;
use tract_onnx::pb::{GraphProto, ModelProto, ValueInfoProto, tensor_shape_proto, type_proto};
use tract_onnx::prelude::*;

use super::constants::Constants;
use super::convert::our_dtype;
use super::imputed::imputed;
use super::overridable::{self, Defaults, Open};
use super::plans::{Prepared, guard};
use super::types;
use super::weights::{self, Weights};
use super::wire::{self, Lightened};
use super::{Description, MAX_MODEL_BYTES};
use crate::ops::{self, MissingOperator, Support, zipmap};
use crate::program::{self, Opsets, Program, Scope};
use crate::{
    DType, Dim, Error, MapKeys, OutputSpec, Result, Signature, Tensor, TensorSpec, ValueKind, bail,
    err,
};

/// A model file that the engine can take.
pub(super) struct Graph {
    pub source: Source,
    pub inputs: Vec<TensorSpec>,
    /// Inputs with a default, and the defaults.
    pub optional: Vec<TensorSpec>,
    pub defaults: Vec<Tensor>,
    pub outputs: Vec<GraphOutput>,
    pub opsets: Vec<String>,
}

/// What runs the graph.
pub(super) enum Source {
    /// The engine takes it as a whole; where it is not sure for which shapes, there is a program
    /// for the others.
    Whole(Box<Whole>, Option<Box<Program>>),
    Program(Box<Program>),
}

/// What the engine takes as a whole.
pub(super) struct Whole {
    pub prepared: Prepared,
    /// For calls that give inputs with a default.
    pub open: Option<Open>,
    defaults: Vec<Tensor>,
}

/// An output as the file declares it.
pub(super) struct GraphOutput {
    name: String,
    kind: ValueKind,
    dtype: Option<DType>,
    shape: Option<Vec<Dim>>,
    /// The keys, where the output is a sequence of maps.
    pub keys: Option<MapKeys>,
}

impl GraphOutput {
    /// The output in the signature: as declared, completed by what the engine inferred.
    pub(super) fn spec(&self, fact: Option<TypedFact>) -> Result<OutputSpec> {
        let inferred = fact.as_ref().map(|f| our_dtype(f.datum_type)).transpose()?;
        // What ZipMap takes, where the file says nothing.
        let scores = self.keys.as_ref().map(|_| DType::F32);
        let Some(dtype) = self.dtype.or(inferred).or(scores) else {
            bail!(
                InvalidModel,
                "output `{}` has no type, and none can be inferred",
                self.name
            );
        };
        let kind = if self.keys.is_some() {
            ValueKind::Maps
        } else {
            self.kind
        };
        Ok(OutputSpec {
            name: self.name.clone(),
            kind,
            dtype,
            shape: self.shape.clone(),
        })
    }
}

/// Reads an ONNX file, and the weights that are outside of it. Of the weights there is one copy
/// afterwards, which borrows nothing.
pub(super) fn read(onnx: &[u8], weights: &dyn Weights) -> Result<Graph> {
    let onnx = &*wire::readable(onnx);
    let mut checked = check(onnx)?;
    let whole = match checked.whole {
        true => prepare(onnx, weights, &mut checked)?,
        false => Err(None),
    };
    let (registry, optional) = (checked.registry, checked.optional);
    // While the file is at hand: what the engine does not take as a whole runs node by node.
    let program = || program_of(onnx, weights, &optional, registry);
    let (source, defaults) = match whole {
        Ok(mut whole) => {
            let defaults = std::mem::take(&mut whole.defaults);
            let program = match whole.prepared.is_sure() {
                true => None,
                false => program().ok().map(|(program, _)| Box::new(program)),
            };
            (Source::Whole(Box::new(whole), program), defaults)
        }
        Err(problem) => {
            // What the engine has against it says more than that a program does not do either.
            let (program, defaults) = program().map_err(|error| problem.unwrap_or(error))?;
            (Source::Program(Box::new(program)), defaults)
        }
    };
    Ok(Graph {
        source,
        inputs: checked.inputs,
        optional,
        defaults,
        outputs: checked.outputs,
        opsets: checked.opsets,
    })
}

/// Reads a graph for the engine, as a whole. The inner error says why it does not take it so; the
/// outer one is about the file.
fn prepare(
    onnx: &[u8],
    weights: &dyn Weights,
    checked: &mut Checked,
) -> Result<Result<Whole, Option<Error>>> {
    let proto = &mut checked.proto;
    let mut declared = None;
    if let Some(graph) = proto.graph.as_mut() {
        let mut constants = Constants::of(graph);
        for (index, place) in std::mem::take(&mut checked.left_out) {
            let bytes = onnx.get(place).unwrap_or_default();
            constants.give(graph, index, bytes.into())?;
        }
        weights::fill(graph, weights, &mut constants)?;
        let mut constants = constants.declare(graph);
        let defaults = Defaults::of(graph, &mut constants, &checked.optional)?;
        declared = Some((constants, defaults));
    }
    let Some((constants, defaults)) = declared else {
        bail!(InvalidModel, "this is not an ONNX model: it has no graph");
    };
    let parsed = guard(|| {
        let mut parsed = checked.registry.parse(proto, None)?;
        constants.put_into(&mut parsed.model)?;
        Ok(parsed)
    });
    let mut parsed = match parsed {
        Ok(parsed) => parsed,
        Err(e) => return Ok(Err(Some(err!(InvalidModel, "the graph is malformed: {e}")))),
    };
    if let Some(name) = parsed.unresolved_inputs.first() {
        bail!(InvalidModel, "a node reads `{name}`, which nothing gives");
    }
    let tensors = defaults.tensors()?;
    let open = defaults.put_into(&mut parsed.model, &checked.inputs, &checked.optional)?;
    let prepared = Prepared::new(parsed.model, &checked.inputs).map_err(Some);
    Ok(prepared.map(|prepared| Whole {
        prepared,
        open,
        defaults: tensors,
    }))
}

/// The program of an ONNX file that the engine does not take as a whole, and the defaults of the
/// inputs that have one: it takes them after the others.
pub(super) fn program_of(
    onnx: &[u8],
    weights: &dyn Weights,
    optional: &[TensorSpec],
    registry: Onnx,
) -> Result<(Program, Vec<Tensor>)> {
    let onnx = &*wire::readable(onnx);
    let mut proto = guard(|| Onnx::default().proto_model_for_read(&mut &*onnx))
        .map_err(|e| err!(InvalidModel, "the graph is malformed: {e}"))?;
    ops::renew(&mut proto);
    let Some(graph) = proto.graph.as_mut() else {
        bail!(InvalidModel, "this is not an ONNX model: it has no graph");
    };
    zipmap::take_out(graph)?;
    weights::fill(graph, weights, &mut Constants::none())?;
    let taken_out = overridable::take_out(graph, optional);
    let tensors = overridable::read(&taken_out)?;
    let opsets = Opsets::new(&proto.opset_import, Arc::new(registry));
    let defaults = match proto.functions.is_empty() {
        true => Vec::new(),
        false => types::defaults(onnx)?,
    };
    let scope = Scope::new(opsets, &proto.functions, &defaults);
    Ok((program::build(graph, &scope)?, tensors))
}

/// What an ONNX file says of itself; no weights are looked at.
pub(super) fn describe(onnx: &[u8]) -> Result<Description> {
    let onnx = &*wire::readable(onnx);
    let checked = check(onnx)?;
    let declared = checked.outputs.iter().all(|output| output.dtype.is_some());
    let outputs = match declared {
        true => Some(
            checked
                .outputs
                .iter()
                .map(|output| output.spec(None))
                .collect::<Result<Vec<_>>>()?,
        ),
        false => None,
    };
    let inputs = checked.inputs;
    Ok(Description {
        imputed: checked
            .proto
            .graph
            .as_ref()
            .map(imputed)
            .unwrap_or_default(),
        signature: outputs.map(|outputs| Signature {
            inputs,
            optional: checked.optional,
            outputs,
        }),
        opsets: checked.opsets,
        producer: Some((checked.proto.producer_name, checked.proto.producer_version))
            .filter(|(name, _)| !name.is_empty()),
    })
}

/// The operators of a file that nothing here has, all of them.
pub(super) fn missing(onnx: &[u8]) -> Result<Vec<MissingOperator>> {
    let onnx = &*wire::readable(onnx);
    let (mut proto, _) = decode(onnx)?;
    if let Some(graph) = proto.graph.as_mut() {
        zipmap::take_out(graph)?;
        ops::qualify(graph)?;
    }
    Ok(Support::of(&proto, &[], &ops::registry()).missing)
}

/// A model file that passed the checks that need no weights.
struct Checked {
    proto: ModelProto,
    /// The engine has all of its operators, and is right about them.
    whole: bool,
    /// Initializers that have their elements in the file only, and where.
    left_out: Places,
    registry: Onnx,
    inputs: Vec<TensorSpec>,
    /// Inputs with a default.
    optional: Vec<TensorSpec>,
    outputs: Vec<GraphOutput>,
    opsets: Vec<String>,
}

fn check(onnx: &[u8]) -> Result<Checked> {
    let (mut proto, left_out) = decode(onnx)?;
    let opsets = opsets(&proto);
    let registry = ops::registry();
    ops::renew(&mut proto);
    let optional = overridable::specs(&proto)?;
    let Some(graph) = proto.graph.as_mut() else {
        bail!(InvalidModel, "this is not an ONNX model: it has no graph");
    };
    // A second look at the file, only where there is something that the first one did not see.
    let is_tensor = |info: &ValueInfoProto| info.r#type.as_ref().is_some_and(|t| t.value.is_some());
    let others = match graph.input.iter().chain(&graph.output).all(is_tensor) {
        true => HashMap::new(),
        false => types::others(onnx)?,
    };
    let inputs = inputs(graph, &others)?;
    let mut outputs = outputs(graph, &others)?;
    for (output, keys) in outputs.iter_mut().zip(zipmap::take_out(graph)?) {
        output.keys = keys;
    }
    ops::qualify(graph)?;
    let support = Support::of(&proto, &optional, &registry);
    support.check()?;
    let whole = !support.needs_program
        && inputs.iter().all(|input| input.kind.is_tensor())
        && outputs.iter().all(|output| output.kind.is_tensor());
    Ok(Checked {
        whole,
        proto,
        left_out,
        registry,
        inputs,
        optional,
        outputs,
        opsets,
    })
}

/// Inputs and outputs that are no tensors.
type Others = HashMap<String, types::Other>;

type Places = Vec<(usize, Range<usize>)>;

/// The message, without the elements of large weights, and where these are.
fn decode(onnx: &[u8]) -> Result<(ModelProto, Places)> {
    if onnx.is_empty() {
        bail!(InvalidModel, "the model file is empty");
    }
    if onnx.len() > MAX_MODEL_BYTES {
        bail!(
            ModelTooLarge,
            "the model file has {} bytes, at most {MAX_MODEL_BYTES} can be loaded",
            onnx.len()
        );
    }
    if onnx.trim_ascii_start().first() == Some(&b'<') {
        bail!(
            InvalidModel,
            "this is an HTML or XML page, not an ONNX model: check the address"
        );
    }
    let (light, left_out) = match wire::lighten(onnx) {
        Some(Lightened { file, left_out }) => (Cow::Owned(file), left_out),
        None => (Cow::Borrowed(onnx), Vec::new()),
    };
    // Its default has no operators, so that it costs nothing to make; decoding needs none.
    let proto = guard(|| Onnx::default().proto_model_for_read(&mut &*light)).map_err(|e| {
        err!(
            InvalidModel,
            "the {} bytes are not a whole ONNX model (truncated, or another format): {e}",
            onnx.len()
        )
    })?;
    Ok((proto, left_out))
}

fn opsets(proto: &ModelProto) -> Vec<String> {
    let name = |domain: &str| if domain.is_empty() { "ai.onnx" } else { domain }.to_string();
    let mut all: Vec<String> = proto
        .opset_import
        .iter()
        .map(|o| format!("{}:{}", name(&o.domain), o.version))
        .collect();
    all.sort();
    all
}

/// The inputs that a caller gives: those without an initializer (older files list weights as
/// inputs too).
fn inputs(graph: &GraphProto, others: &Others) -> Result<Vec<TensorSpec>> {
    let weights: HashSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
    let mut seen = HashSet::new();
    let given = graph
        .input
        .iter()
        .filter(|input| !weights.contains(input.name.as_str()));
    given
        .map(|input| {
            if !seen.insert(input.name.as_str()) {
                bail!(InvalidModel, "input `{}` is declared twice", input.name);
            }
            if let Some(other) = others.get(&input.name) {
                return Ok(TensorSpec {
                    name: input.name.clone(),
                    kind: other.kind,
                    dtype: other.dtype,
                    shape: None,
                    keys: other.keys,
                });
            }
            let Some((dtype, shape)) = tensor_type(input)? else {
                bail!(
                    InvalidModel,
                    "input `{}` is not a tensor, or has no type",
                    input.name
                );
            };
            Ok(TensorSpec {
                name: input.name.clone(),
                kind: ValueKind::Tensor,
                dtype,
                shape,
                keys: None,
            })
        })
        .collect()
}

fn outputs(graph: &GraphProto, others: &Others) -> Result<Vec<GraphOutput>> {
    if graph.output.is_empty() {
        bail!(InvalidModel, "the graph has no outputs");
    }
    let given: HashSet<&str> = graph
        .node
        .iter()
        .flat_map(|n| n.output.iter())
        .chain(graph.input.iter().map(|i| &i.name))
        .chain(graph.initializer.iter().map(|i| &i.name))
        .map(String::as_str)
        .collect();
    graph
        .output
        .iter()
        .map(|output| {
            if !given.contains(output.name.as_str()) {
                bail!(
                    InvalidModel,
                    "output `{}` is not the result of any node",
                    output.name
                );
            }
            let other = others.get(&output.name);
            let (dtype, shape) = tensor_type(output)?.unzip();
            Ok(GraphOutput {
                name: output.name.clone(),
                kind: other.map(|other| other.kind).unwrap_or_default(),
                dtype: dtype.or(other.map(|other| other.dtype)),
                shape: shape.flatten(),
                keys: None,
            })
        })
        .collect()
}

type TensorType = (DType, Option<Vec<Dim>>);

pub(super) fn tensor_type(info: &ValueInfoProto) -> Result<Option<TensorType>> {
    let Some(type_proto::Value::TensorType(tensor)) =
        info.r#type.as_ref().and_then(|t| t.value.as_ref())
    else {
        return Ok(None);
    };
    let Some(dtype) = onnx_dtype(tensor.elem_type) else {
        bail!(
            UnsupportedDtype,
            "`{}` has element type {}, which is not one of ONNX",
            info.name,
            tensor.elem_type
        );
    };
    let shape = tensor.shape.as_ref().map(|shape| {
        use tensor_shape_proto::dimension::Value::{DimParam, DimValue};
        let dims = shape.dim.iter().map(|dim| match &dim.value {
            Some(DimValue(n)) => usize::try_from(*n).map_or(Dim::Free, Dim::Fixed),
            Some(DimParam(name)) if !name.is_empty() && name != "?" => Dim::Symbol(name.clone()),
            _ => Dim::Free,
        });
        dims.collect()
    });
    Ok(Some((dtype, shape)))
}

/// `TensorProto.DataType` (onnx.proto, message TensorProto).
pub(crate) fn onnx_dtype(code: i32) -> Option<DType> {
    Some(match code {
        1 => DType::F32,
        2 => DType::U8,
        3 => DType::I8,
        4 => DType::U16,
        5 => DType::I16,
        6 => DType::I32,
        7 => DType::I64,
        8 => DType::String,
        9 => DType::Bool,
        10 => DType::F16,
        11 => DType::F64,
        12 => DType::U32,
        13 => DType::U64,
        14 => DType::Complex64,
        15 => DType::Complex128,
        16 => DType::BF16,
        17 => DType::F8E4M3FN,
        18 => DType::F8E4M3FNUZ,
        19 => DType::F8E5M2,
        20 => DType::F8E5M2FNUZ,
        21 => DType::U4,
        22 => DType::I4,
        23 => DType::F4E2M1,
        24 => DType::F8E8M0,
        25 => DType::U2,
        26 => DType::I2,
        _ => return None,
    })
}

/// The code of a type in `TensorProto.DataType`.
pub(crate) fn onnx_code(dtype: DType) -> i32 {
    (1..=26)
        .find(|&code| onnx_dtype(code) == Some(dtype))
        .unwrap_or(0)
}
