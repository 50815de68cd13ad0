//! Forms of operators that newer operator sets do not have (Operators.md and Changelog.md, ai.onnx 1 to 6):
//! as newer ones, where they can be written so, and else with what the engine lacks for them.

use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto};
use tract_onnx::tract_hir::internal::*;

use super::around;

/// What the builders of newer forms are registered as.
const NEWER: &str = "newer.";

/// Operators that had `broadcast` and `axis`, and whether they give booleans.
const BINARY: [(&str, bool); 11] = [
    ("Add", false),
    ("Sub", false),
    ("Mul", false),
    ("Div", false),
    ("Pow", false),
    ("And", true),
    ("Or", true),
    ("Xor", true),
    ("Equal", true),
    ("Greater", true),
    ("Less", true),
];

/// Operators that the engine knows from a later version on, and that one.
const LATER: [(&str, i64); 2] = [("Clip", 6), ("Pad", 2)];

/// Writes the nodes of a graph, and of those inside, as newer operator sets have them.
pub(crate) fn renew(graph: &mut GraphProto, version: i64) {
    let mut constants = Vec::new();
    for node in &mut graph.node {
        if matches!(&*node.domain, "" | "ai.onnx") {
            renew_node(node, version, &mut constants);
        }
        for attribute in &mut node.attribute {
            for inner in attribute.g.iter_mut().chain(&mut attribute.graphs) {
                renew(inner, version);
            }
        }
    }
    graph.initializer.extend(constants);
}

fn renew_node(node: &mut NodeProto, version: i64, constants: &mut Vec<TensorProto>) {
    match (&*node.op_type, version) {
        ("Cast", ..6) => {
            for to in node.attribute.iter_mut().filter(|a| a.name == "to") {
                if let Some(code) = type_of_name(&to.s) {
                    *to = int("to", code);
                }
            }
        }
        ("Concat", ..4) if find(node, "axis").is_none() => node.attribute.push(int("axis", 1)),
        ("Pad", ..2) => {
            for pads in node.attribute.iter_mut().filter(|a| a.name == "paddings") {
                "pads".clone_into(&mut pads.name);
            }
        }
        ("Slice", ..10) if find(node, "axes").is_none() => {
            let count = find(node, "starts").map_or(0, |starts| starts.ints.len());
            node.attribute
                .push(ints("axes", (0..count as i64).collect()));
        }
        ("TopK", ..10) => {
            let k = find(node, "k").map(|k| k.i);
            if let (Some(k), [_], Some(output)) = (k, &node.input[..], node.output.first()) {
                let name = format!("{output}/k");
                constants.push(TensorProto {
                    name: name.clone(),
                    dims: vec![1],
                    data_type: 7,
                    int64_data: vec![k],
                    ..TensorProto::default()
                });
                node.input.push(name);
            }
        }
        ("Upsample", ..7) => {
            let scale = |name| find(node, name).map(|scale| scale.f);
            if let (Some(height), Some(width)) = (scale("height_scale"), scale("width_scale")) {
                node.attribute.push(AttributeProto {
                    name: "scales".to_owned(),
                    r#type: AttributeType::Floats as i32,
                    floats: vec![1.0, 1.0, height, width],
                    ..AttributeProto::default()
                });
            }
        }
        _ => {}
    }
}

fn find<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|a| a.name == name)
}

fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Int as i32,
        i,
        ..AttributeProto::default()
    }
}

fn ints(name: &str, ints: Vec<i64>) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Ints as i32,
        ints,
        ..AttributeProto::default()
    }
}

/// The code of a type that is named as in `TensorProto.DataType` (onnx.proto).
fn type_of_name(name: &[u8]) -> Option<i64> {
    const NAMES: [&str; 16] = [
        "FLOAT",
        "UINT8",
        "INT8",
        "UINT16",
        "INT16",
        "INT32",
        "INT64",
        "STRING",
        "BOOL",
        "FLOAT16",
        "DOUBLE",
        "UINT32",
        "UINT64",
        "COMPLEX64",
        "COMPLEX128",
        "BFLOAT16",
    ];
    let at = (NAMES.iter()).position(|known| known.as_bytes().eq_ignore_ascii_case(name))?;
    Some(at as i64 + 1)
}

/// Puts the builders of older forms before the engine's.
pub(super) fn register(onnx: &mut Onnx) {
    let binary = BINARY.iter().map(|(name, _)| *name);
    around::put(
        onnx,
        NEWER,
        binary.chain(LATER.iter().map(|(name, _)| *name)),
        build,
    );
}

fn build(context: &ParsingContext, node: &NodeProto) -> around::Built {
    let later = LATER.iter().find(|(name, _)| *name == node.op_type);
    if let Some(&(_, version)) = later
        && context.onnx_operator_set_version < version
    {
        let mut context = context.clone();
        context.onnx_operator_set_version = version;
        return around::inner(&context, node, NEWER);
    }
    let (operator, closures) = around::inner(context, node, NEWER)?;
    let is = |name: &str| find(node, name).map(|a| a.i);
    let (Some(1), Some(axis)) = (is("broadcast"), is("axis")) else {
        return Ok((operator, closures));
    };
    let binary = BINARY.iter().find(|(name, _)| *name == node.op_type);
    let inner = operator.as_op().downcast_ref::<Box<dyn Expansion>>();
    match (inner, binary) {
        (Some(inner), Some(&(_, is_test))) if context.onnx_operator_set_version < 7 => {
            let inner = inner.clone();
            let aligned = Aligned {
                inner,
                axis,
                is_test,
            };
            Ok((expand(aligned), closures))
        }
        _ => Ok((operator, closures)),
    }
}

/// An operator of two inputs whose second one has its first axis at `axis` of the first one.
#[derive(Debug, Clone)]
struct Aligned {
    inner: Box<dyn Expansion>,
    axis: i64,
    is_test: bool,
}

impl Expansion for Aligned {
    fn name(&self) -> StaticName {
        self.inner.name()
    }

    fn validation(&self) -> Validation {
        self.inner.validation()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 2)?;
        check_output_arity(outputs, 1)?;
        s.equals(&inputs[0].datum_type, &inputs[1].datum_type)?;
        if self.is_test {
            s.equals(&outputs[0].datum_type, DatumType::Bool)?;
        } else {
            s.equals(&inputs[0].datum_type, &outputs[0].datum_type)?;
        }
        s.equals(&inputs[0].shape, &outputs[0].shape)
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let &[first, mut second] = inputs else {
            bail!("{} has {} inputs", self.name(), inputs.len());
        };
        let (rank, count) = (
            model.outlet_fact(first)?.rank(),
            model.outlet_fact(second)?.rank(),
        );
        let axis = if self.axis < 0 {
            self.axis + rank as i64
        } else {
            self.axis
        };
        let end = usize::try_from(axis)
            .ok()
            .and_then(|axis| axis.checked_add(count));
        let Some(missing) = end.and_then(|end| rank.checked_sub(end)) else {
            bail!("{count} axes do not begin at axis {} of {rank}", self.axis);
        };
        for i in 0..missing {
            let name = format!("{prefix}.axis-{i}");
            second = model.wire_node(name, AxisOp::Add(count + i), &[second])?[0];
        }
        self.inner.wire(prefix, model, &[first, second])
    }
}
