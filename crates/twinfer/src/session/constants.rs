//! Large weights on their way into the engine, around its own reader of ONNX, which would hold
//! each of them three times: in the message, in the tensor, and in the file.
//!
//! The graph is read with an input in the place of each weight; then the inputs become the
//! constants. So there is one copy from the file to the tensor, and the file can be dropped
//! before the engine begins to optimise.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tract_onnx::pb::{GraphProto, TypeProto, ValueInfoProto, type_proto};
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::InferenceFact;
use tract_onnx::tract_hir::internal::SpecialOps;
use tract_onnx::tract_hir::ops::konst::Const;

use super::convert::engine_dtype;
use super::graph::onnx_dtype;
use crate::{DType, Result, err};

/// The weights of a graph that were taken out of its message.
#[derive(Default)]
pub(super) struct Constants {
    /// Initializers that no input can stand for: without a name, or with that of another.
    nameless: HashSet<usize>,
    /// All stay in the message.
    keep: bool,
    /// Position in the list of initializers, and the elements.
    taken: Vec<(usize, Arc<Tensor>)>,
}

impl Constants {
    pub(super) fn of(graph: &GraphProto) -> Self {
        let mut seen: HashMap<&str, usize> = HashMap::new();
        let mut nameless = HashSet::new();
        for (index, tensor) in graph.initializer.iter().enumerate() {
            if let Some(other) = seen.insert(&tensor.name, index) {
                nameless.extend([other, index]);
            }
            if tensor.name.is_empty() {
                nameless.insert(index);
            }
        }
        Self {
            nameless,
            keep: false,
            taken: Vec::new(),
        }
    }

    /// Takes nothing out: each initializer gets its elements in the message.
    pub(super) fn none() -> Self {
        Self {
            keep: true,
            ..Self::default()
        }
    }

    /// Gives an initializer its elements: little-endian bytes, as `raw_data` has them.
    ///
    /// # Errors
    /// `invalid_model` when they are not as many as the shape needs.
    pub(super) fn give(
        &mut self,
        graph: &mut GraphProto,
        index: usize,
        bytes: std::borrow::Cow<'_, [u8]>,
    ) -> Result<()> {
        let Some(tensor) = graph.initializer.get_mut(index) else {
            return Err(err!(Internal, "there is no weight {index}"));
        };
        // Booleans are any bytes in ONNX, 0 or 1 in the engine.
        let dtype = onnx_dtype(tensor.data_type)
            .filter(|&dtype| dtype != DType::Bool)
            .and_then(|dtype| engine_dtype(dtype).ok())
            .filter(|dtype| dtype.is_copy());
        let shape = tensor.dims.iter().map(|&axis| usize::try_from(axis).ok());
        let (Some(dtype), Some(shape), false) = (
            dtype,
            shape.collect::<Option<Vec<usize>>>(),
            self.keep || bytes.len() < super::wire::LEAST || self.nameless.contains(&index),
        ) else {
            tensor.raw_data = bytes.into_owned();
            return Ok(());
        };
        let same = |other: &&Arc<Tensor>| {
            other.datum_type() == dtype && other.shape() == shape && other.as_bytes() == &*bytes
        };
        let known = self.taken.iter().map(|(_, tensor)| tensor).find(same);
        let made = match known {
            Some(known) => known.clone(),
            // SAFETY: every pattern of bits is a value of these types, and the engine compares
            // the length and aligns the memory itself.
            None => unsafe { Tensor::from_raw_dt(dtype, &shape, &bytes) }
                .map_err(|e| err!(InvalidModel, "weight `{}`: {e}", tensor.name))?
                .into_arc_tensor(),
        };
        self.taken.push((index, made));
        Ok(())
    }

    /// Puts inputs into the places of the weights.
    pub(super) fn declare(self, graph: &mut GraphProto) -> Declared {
        let places: HashSet<usize> = self.taken.iter().map(|(index, _)| *index).collect();
        let mut declared = HashMap::new();
        let mut missing = Vec::new();
        for (index, constant) in self.taken {
            let Some(tensor) = graph.initializer.get_mut(index) else {
                continue;
            };
            let kind = Some(TypeProto {
                value: Some(type_proto::Value::TensorType(type_proto::Tensor {
                    elem_type: tensor.data_type,
                    shape: None,
                })),
                ..TypeProto::default()
            });
            // Older files list weights as inputs too.
            let mut listed = false;
            for input in graph.input.iter_mut().filter(|i| i.name == tensor.name) {
                input.r#type.clone_from(&kind);
                listed = true;
            }
            if !listed {
                missing.push(ValueInfoProto {
                    name: tensor.name.clone(),
                    r#type: kind,
                    ..ValueInfoProto::default()
                });
            }
            declared.insert(std::mem::take(&mut tensor.name), constant);
        }
        missing.sort_by(|a, b| a.name.cmp(&b.name));
        graph.input.extend(missing);
        let mut index = 0;
        graph.initializer.retain(|_| {
            index += 1;
            !places.contains(&(index - 1))
        });
        Declared(declared)
    }
}

/// The weights by the names of the inputs that stand for them.
pub(crate) struct Declared(HashMap<String, Arc<Tensor>>);

impl Declared {
    pub(crate) fn new(constants: HashMap<String, Arc<Tensor>>) -> Self {
        Self(constants)
    }

    /// Takes one out, so that its input stays one.
    pub(super) fn take(&mut self, name: &str) -> Option<Arc<Tensor>> {
        self.0.remove(name)
    }

    /// Makes constants of the inputs.
    pub(crate) fn put_into(self, model: &mut InferenceModel) -> TractResult<()> {
        let mut replaced = HashSet::new();
        for node in &mut model.nodes {
            if InferenceModel::is_source(&node.op)
                && let Some(constant) = self.0.get(&node.name)
                && let Some(output) = node.outputs.first_mut()
            {
                let fact = TypedFact::try_from(constant.clone())?;
                output.fact = InferenceFact::from(&fact);
                node.op = Box::new(Const::new(constant.clone())?);
                replaced.insert(node.id);
            }
        }
        model.inputs.retain(|input| !replaced.contains(&input.node));
        Ok(())
    }
}
