//! Concrete plans: the engine optimises for fixed shapes, so every new combination of input
//! shapes is planned once and kept.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::cnn::{Conv, MaxPool, PaddingSpec, SumPool};

use super::convert::engine_dtype;
use crate::ops::guard::{Refusal, check_size};
use crate::{Dim, Error, ErrorCode, Result, Tensor as Ours, TensorSpec, bail, err};

/// A plan that can run.
pub(super) type Plan = Arc<TypedRunnableModel>;

/// Shapes of all inputs of a call: without an allocation for as few and short as most are.
pub(super) type Shapes = TVec<TVec<usize>>;

/// How many plans are kept for a model with free axes. A plan holds its own copy of the
/// packed weights, so a caller with many shapes must not fill the memory; batch sizes and
/// sequence lengths that alternate stay quick.
const MAX_PLANS: usize = 4;

pub(super) struct Plans {
    /// What new plans are made from; `None` when every axis is fixed, or when it was forgotten.
    source: Option<InferenceModel>,
    dtypes: Vec<DatumType>,
    /// The plan for fixed shapes, or for free axes of length 1.
    first: Option<(Shapes, Plan)>,
    /// Why the first plan must not be used, if so: it is for lengths that nobody may ever ask for.
    misfit: Option<Problem>,
    /// Whether the first plan was ever asked for.
    first_used: AtomicBool,
    /// The most recently used last.
    recent: Mutex<Vec<(Shapes, Plan)>>,
}

impl std::fmt::Debug for Plans {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plans")
            .field("first", &self.first.as_ref().map(|(s, _)| s))
            .finish()
    }
}

/// A model whose types and shapes the engine worked out, and that it has not yet optimised.
pub(super) struct Prepared {
    source: Option<InferenceModel>,
    dtypes: Vec<DatumType>,
    first: Option<(Shapes, TypedModel)>,
}

impl Prepared {
    /// Works out types and shapes: for the fixed shape; for a model with free axes, for a length
    /// of 1 on each, so that what the engine cannot do is known early.
    ///
    /// # Errors
    /// `invalid_model`, `unsupported_dtype`.
    pub(super) fn new(model: InferenceModel, inputs: &[TensorSpec]) -> Result<Self> {
        let dtypes = inputs
            .iter()
            .map(|i| engine_dtype(i.dtype))
            .collect::<Result<Vec<_>>>()?;
        let fixed = inputs.iter().all(|input| {
            input
                .shape
                .as_ref()
                .is_some_and(|s| s.iter().all(|d| matches!(d, Dim::Fixed(_))))
        });
        let shapes: Option<Shapes> = inputs
            .iter()
            .map(|input| {
                let dims = input.shape.as_ref()?.iter();
                Some(
                    dims.map(|d| if let Dim::Fixed(n) = d { *n } else { 1 })
                        .collect(),
                )
            })
            .collect();
        if fixed {
            let shapes = shapes.unwrap_or_default();
            let model = typed(model, &dtypes, &shapes)?;
            return Ok(Self {
                source: None,
                dtypes,
                first: Some((shapes, model)),
            });
        }
        // A length of 1 need not be possible (a kernel may be longer), so a failure here is
        // only one when the shapes of a call fail too.
        let first = shapes.and_then(|s| Some((s.clone(), typed(model.clone(), &dtypes, &s).ok()?)));
        Ok(Self {
            source: Some(model),
            dtypes,
            first,
        })
    }

    /// Whether it is known that the engine can do it, for some shapes at least.
    pub(super) fn is_sure(&self) -> bool {
        self.first.is_some()
    }
}

/// The shapes of the inputs of a call.
pub(super) fn shapes_of(inputs: &[Ours]) -> Shapes {
    inputs.iter().map(shape_of).collect()
}

pub(super) fn shape_of(input: &Ours) -> TVec<usize> {
    input.shape().into()
}

impl Plans {
    /// Plans of which none is made before it is asked for.
    pub(super) fn of(model: InferenceModel, dtypes: Vec<DatumType>) -> Self {
        Self {
            source: Some(model),
            dtypes,
            first: None,
            misfit: None,
            first_used: AtomicBool::new(false),
            recent: Mutex::default(),
        }
    }

    /// Optimises the first plan.
    ///
    /// # Errors
    /// `invalid_model` where all axes are fixed and that fails.
    pub(super) fn new(prepared: Prepared) -> Result<Self> {
        let Prepared {
            source,
            dtypes,
            first,
        } = prepared;
        let is_fixed = source.is_none();
        let misfit = (first.as_ref()).and_then(|(_, model)| guard(|| check_windows(model)).err());
        if let Some(misfit) = misfit.as_ref().filter(|_| is_fixed) {
            bail!(InvalidModel, "{misfit}");
        }
        let first = match first.map(|(shapes, model)| Ok((shapes, optimised(model)?))) {
            Some(Err(error)) if is_fixed => return Err(error),
            first => first.and_then(Result::ok),
        };
        Ok(Self {
            source,
            dtypes,
            first,
            misfit,
            first_used: AtomicBool::new(is_fixed),
            recent: Mutex::default(),
        })
    }

    /// What the engine knows of an output, from the first plan.
    pub(super) fn output_fact(&self, index: usize) -> Option<TypedFact> {
        let (_, plan) = self.first.as_ref()?;
        plan.model().output_fact(index).ok().cloned()
    }

    /// The plan for these shapes.
    ///
    /// # Errors
    /// `invalid_input` when the engine cannot plan for them; `engine_function_missing` after
    /// [`Plans::forget_source`].
    pub(super) fn get(&self, shapes: &Shapes) -> Result<Plan> {
        if let Some((known, plan)) = &self.first
            && known == shapes
        {
            if let Some(misfit) = &self.misfit {
                bail!(InvalidInput, "{misfit}");
            }
            self.first_used.store(true, Ordering::Relaxed);
            return Ok(plan.clone());
        }
        if let Some(plan) = self.recent(shapes) {
            return Ok(plan);
        }
        let Some(source) = &self.source else {
            bail!(
                EngineFunctionMissing,
                "this engine is not prepared for inputs of shape {shapes:?}, only for those of the golden examples; the full engine takes them"
            );
        };
        // Planned outside the lock: it can take a second, and others go on meanwhile.
        let made = plan(source.clone(), &self.dtypes, shapes).map_err(|e| {
            Error::new(ErrorCode::InvalidInput, e.message().to_owned())
                .context(format!("inputs of shape {shapes:?} do not fit this model"))
        })?;
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() == MAX_PLANS {
            recent.remove(0);
        }
        recent.push((shapes.clone(), made.clone()));
        Ok(made)
    }

    /// Keeps the plans that were used so far, and forgets what further ones are made from: in
    /// memory that is a second copy of the weights.
    pub(super) fn forget_source(&mut self) {
        self.source = None;
        if !*self.first_used.get_mut() {
            self.first = None;
        }
    }

    fn recent(&self, shapes: &Shapes) -> Option<Plan> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let at = recent.iter().position(|(known, _)| known == shapes)?;
        let entry = recent.remove(at);
        let plan = entry.1.clone();
        recent.push(entry);
        Some(plan)
    }
}

fn plan(model: InferenceModel, dtypes: &[DatumType], shapes: &Shapes) -> Result<Plan> {
    let model = typed(model, dtypes, shapes)?;
    guard(|| check_windows(&model)).map_err(cannot)?;
    optimised(model)
}

/// Types and shapes for these inputs.
fn typed(mut model: InferenceModel, dtypes: &[DatumType], shapes: &Shapes) -> Result<TypedModel> {
    guard(move || {
        for (index, (dtype, shape)) in dtypes.iter().zip(shapes).enumerate() {
            let fact = InferenceFact::dt_shape(*dtype, shape.as_slice());
            model.set_input_fact(index, fact)?;
        }
        let model = model.into_typed()?;
        check_sizes(&model)?;
        Ok(model)
    })
    .map_err(cannot)
}

/// Whether no value between nodes is larger than any may be. (Weights have a limit of their own.)
pub(crate) fn check_sizes(model: &TypedModel) -> TractResult<()> {
    for node in model.nodes.iter().filter(|node| !node.inputs.is_empty()) {
        for output in &node.outputs {
            if let Some(shape) = output.fact.shape.as_concrete() {
                check_size(&shape.into(), output.fact.datum_type)?;
            }
        }
    }
    Ok(())
}

/// Whether every window fits into what it moves over: of others the engine gives nothing.
pub(crate) fn check_windows(model: &TypedModel) -> TractResult<()> {
    for node in &model.nodes {
        let window = if let Some(op) = node.op_as::<Conv>() {
            &op.pool_spec
        } else if let Some(op) = node.op_as::<MaxPool>() {
            &op.pool_spec
        } else if let Some(op) = node.op_as::<SumPool>() {
            &op.pool_spec
        } else {
            continue;
        };
        let Some(input) = node.inputs.first() else {
            continue;
        };
        let Some(given) = model.outlet_fact(*input)?.shape.as_concrete() else {
            continue;
        };
        let axes = window.data_format.shape(given.to_vec())?;
        for (at, (&length, &size)) in axes.hw_dims().iter().zip(&window.kernel_shape).enumerate() {
            let padding = match &window.padding {
                PaddingSpec::Explicit(before, after)
                | PaddingSpec::ExplicitOnnxPool(before, after, _) => {
                    let pad = |pads: &[usize]| pads.get(at).copied().unwrap_or(0);
                    pad(before).saturating_add(pad(after))
                }
                PaddingSpec::Valid => 0,
                // As much as is needed.
                PaddingSpec::SameUpper | PaddingSpec::SameLower => continue,
            };
            let dilation = window.dilations.as_ref().and_then(|all| all.get(at));
            let span = (size.saturating_sub(1)).saturating_mul(dilation.copied().unwrap_or(1));
            if length > 0 && span >= length.saturating_add(padding) {
                return Err(Refusal(format!(
                    "node `{}`: a window of {:?} is larger than its input of shape {given:?} with its padding",
                    node.name, window.kernel_shape
                ))
                .into());
            }
        }
    }
    Ok(())
}

fn optimised(model: TypedModel) -> Result<Plan> {
    guard(move || runnable(model)).map_err(cannot)
}

/// Optimises a model, with our kernels where they are better.
pub(crate) fn runnable(mut model: TypedModel) -> TractResult<Plan> {
    crate::ops::half::join(&mut model)?;
    #[cfg(target_family = "wasm")]
    {
        crate::ops::conv::replace(&mut model)?;
        crate::ops::product::replace(&mut model)?;
    }
    crate::ops::empty::replace(&mut model)?;
    model.declutter()?;
    model.optimize()?;
    crate::ops::indices::replace(&mut model);
    model.into_runnable()
}

fn cannot(problem: Problem) -> Error {
    err!(
        InvalidModel,
        "the engine cannot prepare this model: {problem}"
    )
}

/// What the engine has against something.
#[derive(Debug)]
pub(crate) struct Problem {
    text: String,
    /// It is ours to say, and about the node or what it is given.
    pub(crate) is_refusal: bool,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<String> for Problem {
    fn from(text: String) -> Self {
        Self {
            text,
            is_refusal: false,
        }
    }
}

/// Runs the engine, turning an error or a panic in it into text. (On wasm a panic ends the
/// instance; its shell replaces it.)
pub(crate) fn guard<T>(work: impl FnOnce() -> TractResult<T>) -> Result<T, Problem> {
    // Nothing that the closure could leave half changed outlives it: plans are immutable.
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(match error.root_cause().downcast_ref::<Refusal>() {
            Some(Refusal(text)) => Problem {
                text: text.clone(),
                is_refusal: true,
            },
            None => {
                let all: Vec<String> = error.chain().map(ToString::to_string).collect();
                all.join(": ").into()
            }
        }),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(ToString::to_string);
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            Err(format!("the engine failed: {}", text.unwrap_or_default()).into())
        }
    }
}
