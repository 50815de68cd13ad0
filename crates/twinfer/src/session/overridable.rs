//! Inputs with a default: initializers that a graph lists as inputs (IR.md, "Graphs": an initializer
//! of the name of an input is its default value).
//!
//! Calls that leave all of them out run the model with constants in their places, as if they were not
//! listed. Others run plans of their own, which are made when they are asked for.

use std::sync::{Arc, Mutex, PoisonError};

use tract_onnx::pb::{GraphProto, ModelProto, TensorProto};
use tract_onnx::prelude::*;

use super::constants::Declared;
use super::convert::{engine_dtype, shared, to_engine_value};
use super::graph::{onnx_dtype, tensor_type};
use super::plans::{Plan, Plans, Shapes, guard, shape_of, shapes_of};
use crate::program::read_tensor;
use crate::{Result, Tensor as Ours, TensorSpec, ValueKind, bail, err};

/// The first version of the format in which an initializer need not be an input (IR.md). In older files
/// that it is one says nothing, and onnxruntime does not take it for a default either.
const FIRST_IR: i64 = 4;

/// A graph that lists more than this lists all of its weights, as many exporters did long after they
/// had to. Nobody means to give them, and what is done with constants could not be done.
const MOST: usize = 16;

/// The inputs with a default, in the order of the file.
///
/// # Errors
/// `unsupported_dtype` for a type that is none of ONNX.
pub(crate) fn specs(model: &ModelProto) -> Result<Vec<TensorSpec>> {
    let Some(graph) = (model.graph.as_ref()).filter(|_| model.ir_version >= FIRST_IR) else {
        return Ok(Vec::new());
    };
    let mut specs: Vec<TensorSpec> = Vec::new();
    for input in &graph.input {
        let mut named = graph.initializer.iter().filter(|t| t.name == input.name);
        // Of two with one name neither is the default.
        let (Some(tensor), None) = (named.next(), named.next()) else {
            continue;
        };
        let Some((dtype, shape)) = tensor_type(input)? else {
            continue;
        };
        let is_listed = specs.iter().any(|spec| spec.name == input.name);
        if onnx_dtype(tensor.data_type) != Some(dtype) || is_listed {
            continue;
        }
        if specs.len() == MOST {
            return Ok(Vec::new());
        }
        specs.push(TensorSpec {
            name: input.name.clone(),
            kind: ValueKind::Tensor,
            keys: None,
            dtype,
            shape,
        });
    }
    Ok(specs)
}

/// Takes the defaults out of a graph, so that only inputs are left, after all others.
pub(super) fn take_out(graph: &mut GraphProto, specs: &[TensorSpec]) -> Vec<TensorProto> {
    let place = |name: &str| specs.iter().position(|spec| spec.name == name);
    let mut defaults = Vec::with_capacity(specs.len());
    for spec in specs {
        let at = graph.initializer.iter().position(|t| t.name == spec.name);
        defaults.extend(at.map(|at| graph.initializer.remove(at)));
    }
    // Stable: the order of the others stays.
    graph.input.sort_by_key(|input| match place(&input.name) {
        Some(at) => at + 1,
        None => 0,
    });
    defaults
}

/// Reads what was taken out of a graph.
///
/// # Errors
/// Those of malformed tensors.
pub(super) fn read(defaults: &[TensorProto]) -> Result<Vec<Ours>> {
    let one = |tensor: &TensorProto| read_tensor(tensor).map_err(|e| e.context(&tensor.name));
    defaults.iter().map(one).collect()
}

/// The defaults of a graph for the engine.
pub(super) struct Defaults {
    names: Vec<String>,
    constants: Vec<Arc<Tensor>>,
}

impl Defaults {
    /// Takes them out of a graph, and of the weights that were taken out before.
    ///
    /// # Errors
    /// Those of malformed tensors.
    pub(super) fn of(
        graph: &mut GraphProto,
        declared: &mut Declared,
        specs: &[TensorSpec],
    ) -> Result<Self> {
        let left = take_out(graph, specs);
        let mut constants = Vec::with_capacity(specs.len());
        for spec in specs {
            let constant = match declared.take(&spec.name) {
                Some(large) => large,
                None => {
                    let small = left.iter().find(|tensor| tensor.name == spec.name);
                    let small = small.ok_or_else(|| err!(Internal, "a default is lost"))?;
                    let mut read = read(std::slice::from_ref(small))?;
                    let Some(read) = read.pop() else {
                        bail!(Internal, "a default was not read");
                    };
                    to_engine_value(read)?.into_arc_tensor()
                }
            };
            constants.push(constant);
        }
        Ok(Self {
            names: specs.iter().map(|spec| spec.name.clone()).collect(),
            constants,
        })
    }

    pub(super) fn tensors(&self) -> Result<Vec<Ours>> {
        self.constants.iter().map(shared).collect()
    }

    /// Makes constants of the inputs that have a default; what is left is for calls that give some of
    /// them.
    pub(super) fn put_into(
        self,
        model: &mut InferenceModel,
        inputs: &[TensorSpec],
        specs: &[TensorSpec],
    ) -> Result<Option<Open>> {
        if self.names.is_empty() {
            return Ok(None);
        }
        let dtypes = |specs: &[TensorSpec]| -> Result<Vec<DatumType>> {
            specs.iter().map(|spec| engine_dtype(spec.dtype)).collect()
        };
        let required = dtypes(inputs)?;
        let mut all = required.clone();
        all.extend(dtypes(specs)?);
        let open = Open {
            plans: Plans::of(model.clone(), all),
            model: model.clone(),
            required,
            names: self.names.clone(),
            fixed: Mutex::default(),
        };
        declared(&self.names, self.constants)
            .put_into(model)
            .map_err(|e| err!(InvalidModel, "the graph is malformed: {e}"))?;
        Ok(Some(open))
    }
}

fn declared(names: &[String], constants: Vec<Arc<Tensor>>) -> Declared {
    Declared::new(names.iter().cloned().zip(constants).collect())
}

/// A model whose inputs with a default are inputs as others.
pub(super) struct Open {
    /// The inputs with a default are the last ones.
    model: InferenceModel,
    required: Vec<DatumType>,
    names: Vec<String>,
    plans: Plans,
    /// Plans for the values of the last call whose shapes alone the engine could not plan for.
    fixed: Mutex<Option<(Vec<Ours>, Arc<Plans>)>>,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Open").field(&self.names).finish()
    }
}

impl Open {
    /// A plan, and whether it takes the optional inputs too. Otherwise it is made for these values of
    /// them: shapes, axes and the like the engine wants to know when it plans.
    ///
    /// # Errors
    /// `invalid_input` when the engine cannot plan for them.
    pub(super) fn plan(&self, required: &[Ours], optional: &[Ours]) -> Result<(Plan, bool)> {
        let all: Shapes = required.iter().chain(optional).map(shape_of).collect();
        if let Ok(plan) = self.plans.get(&all) {
            return Ok((plan, true));
        }
        let plan = self.fixed(optional)?.get(&shapes_of(required))?;
        Ok((plan, false))
    }

    fn fixed(&self, values: &[Ours]) -> Result<Arc<Plans>> {
        let mut fixed = self.fixed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, plans)) = &*fixed
            && known == values
        {
            return Ok(plans.clone());
        }
        let constants = values.iter().cloned().map(to_engine_value);
        let constants = constants.map(|value| Ok(value?.into_arc_tensor()));
        let declared = declared(&self.names, constants.collect::<Result<_>>()?);
        let mut model = self.model.clone();
        guard(|| declared.put_into(&mut model)).map_err(|e| err!(InvalidInput, "{e}"))?;
        let plans = Arc::new(Plans::of(model, self.required.clone()));
        *fixed = Some((values.to_vec(), plans.clone()));
        Ok(plans)
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use tract_onnx::pb::{GraphProto, ModelProto, NodeProto};

    use super::super::test_models::{info, int, model, node, open, weights};
    use crate::{ErrorCode, NoWeights, Session, Tensor};

    /// `x` plus as many weights as there are, all listed as inputs, through these nodes.
    fn listed(count: usize, nodes: Vec<NodeProto>) -> Vec<u8> {
        let mut initializer: Vec<_> = (0..count)
            .map(|at| weights(&format!("w{at}"), &[2]))
            .collect();
        for weight in &mut initializer {
            weight.raw_data = [1f32, 2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        }
        let names = (0..count).map(|at| format!("w{at}"));
        let mut input: Vec<_> = names.map(|name| info(&name, &[2])).collect();
        // In front of what has to be given, too.
        input.insert(count / 2, info("x", &[-1, 2]));
        model(GraphProto {
            name: "g".into(),
            input,
            output: vec![open("y")],
            initializer,
            node: nodes,
            ..GraphProto::default()
        })
    }

    fn sum(count: usize) -> Vec<NodeProto> {
        let from = |at: usize| {
            if at == 0 {
                "x".into()
            } else {
                format!("s{at}")
            }
        };
        let to = |at: usize| {
            if at + 1 == count {
                "y".into()
            } else {
                from(at + 1)
            }
        };
        let one = |at| node("Add", &[&from(at), &format!("w{at}")], &to(at));
        (0..count).map(one).collect()
    }

    fn run(session: &Session, given: &[(&str, &[f32])]) -> crate::Result<Vec<f32>> {
        let mut inputs = vec![("x".to_owned(), Tensor::from_vec(&[1, 2], vec![0f32; 2])?)];
        for (name, values) in given {
            let tensor = Tensor::from_vec(&[values.len()], values.to_vec())?;
            inputs.push(((*name).to_owned(), tensor));
        }
        session.run(inputs)?[0].1.tensor()?.to_vec()
    }

    #[test]
    fn what_is_left_out_is_the_default() {
        let mut cumulated = sum(2);
        cumulated[1].output = vec!["s".into()];
        let mut last = node("CumProd", &["s", "axis"], "y");
        last.attribute = vec![int("exclusive", 0)];
        let mut axis = node("Constant", &[], "axis");
        axis.attribute = vec![int("value_int", 0)];
        cumulated.extend([axis, last]);
        // As a whole, and node by node.
        for nodes in [sum(2), cumulated] {
            let session = Session::load(&listed(2, nodes)).unwrap();
            let names = |specs: &[crate::TensorSpec]| -> Vec<String> {
                specs.iter().map(|spec| spec.name.clone()).collect()
            };
            assert_eq!(names(&session.signature().inputs), ["x"]);
            assert_eq!(names(&session.signature().optional), ["w0", "w1"]);
            assert_eq!(run(&session, &[]).unwrap(), [2.0, 4.0]);
            let both: &[(&str, &[f32])] = &[("w1", &[0.5, 0.0]), ("w0", &[10.0, 20.0])];
            assert_eq!(run(&session, &both[..1]).unwrap(), [1.5, 2.0]);
            assert_eq!(run(&session, both).unwrap(), [10.5, 20.0]);
            assert_eq!(run(&session, &[]).unwrap(), [2.0, 4.0]);
            let error = run(&session, &[("w0", &[1.0])]).unwrap_err();
            assert_eq!(error.code(), ErrorCode::WrongShape, "{error}");
            let error = run(&session, &[("w2", &[1.0, 1.0])]).unwrap_err();
            assert_eq!(error.code(), ErrorCode::UnknownInput, "{error}");
            assert!(error.message().contains("`w1`"), "{error}");
        }
    }

    #[test]
    fn a_description_and_an_assessment_know_them() {
        let file = listed(2, sum(2));
        let described = Session::describe(&file).unwrap().signature.unwrap();
        let session = Session::load(&file).unwrap();
        assert_eq!(described.optional, session.signature().optional);
        let cost = Session::assess(&file, &NoWeights).unwrap().cost.unwrap();
        assert_eq!((cost.inputs.len(), cost.weight_bytes), (1, 16));
    }

    #[test]
    fn a_list_of_all_weights_is_none_of_defaults() {
        let session = Session::load(&listed(17, sum(17))).unwrap();
        assert!(session.signature().optional.is_empty());
        assert_eq!(run(&session, &[]).unwrap(), [17.0, 34.0]);
        let mut old = ModelProto::decode(&listed(1, sum(1))[..]).unwrap();
        old.ir_version = 3;
        let session = Session::load(&old.encode_to_vec()).unwrap();
        assert!(session.signature().optional.is_empty());
        let error = run(&session, &[("w0", &[1.0, 1.0])]).unwrap_err();
        assert_eq!(error.code(), ErrorCode::UnknownInput, "{error}");
    }

    #[test]
    fn an_engine_for_its_examples_keeps_to_the_defaults() {
        let mut session = Session::load(&listed(1, sum(1))).unwrap();
        run(&session, &[]).unwrap();
        session.keep_used_plans_only();
        assert_eq!(run(&session, &[]).unwrap(), [1.0, 2.0]);
        let error = run(&session, &[("w0", &[1.0, 1.0])]).unwrap_err();
        assert_eq!(error.code(), ErrorCode::EngineFunctionMissing, "{error}");
    }
}
