//! The frame around an operator of ours: what the engine needs to know of it.

use std::sync::Arc;

use tract_onnx::tract_hir::internal::*;

/// An operator of one input, with outputs whose types and shapes follow from the input's.
pub(crate) trait Kernel: std::fmt::Debug + Send + Sync + 'static {
    /// The name in messages and dumps.
    fn name(&self) -> &'static str;

    /// Type and shape of every output.
    fn outputs(
        &self,
        dtype: DatumType,
        shape: &[TDim],
    ) -> TractResult<Vec<(DatumType, TVec<TDim>)>>;

    /// How many outputs there are.
    fn output_count(&self) -> usize {
        1
    }

    /// The outputs for an input.
    fn eval(&self, input: &Tensor) -> TractResult<Vec<Tensor>>;
}

/// A kernel as a node of the engine's graph.
#[derive(Debug, Clone)]
pub(crate) struct KernelOp(pub Arc<dyn Kernel>);

// Two nodes are the same only when they are the same node: comparing weights costs more than
// it could save.
impl PartialEq for KernelOp {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for KernelOp {}

impl KernelOp {
    pub(crate) fn boxed(kernel: impl Kernel) -> Box<dyn InferenceOp> {
        expand(Self(Arc::new(kernel)))
    }
}

impl Expansion for KernelOp {
    fn name(&self) -> StaticName {
        self.0.name().into()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(self.0.output_count())
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 1)?;
        ensure!(outputs.len() <= self.0.output_count(), "too many outputs");
        s.given_2(
            &inputs[0].datum_type,
            &inputs[0].shape,
            move |s, dtype, shape| {
                let facts = self.0.outputs(dtype, &shape)?;
                for (output, (dtype, shape)) in outputs.iter().zip(facts) {
                    s.equals(&output.datum_type, dtype)?;
                    s.equals(&output.shape, shape)?;
                }
                Ok(())
            },
        )
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        model.wire_node(prefix, self.clone(), inputs)
    }
}

impl Op for KernelOp {
    fn name(&self) -> StaticName {
        self.0.name().into()
    }

    op_as_typed_op!();
}

impl EvalOp for KernelOp {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = args_1!(inputs);
        Ok(self
            .0
            .eval(&input)?
            .into_iter()
            .map(Tensor::into_tvalue)
            .collect())
    }
}

impl TypedOp for KernelOp {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let facts = self
            .0
            .outputs(inputs[0].datum_type, &inputs[0].shape.to_tvec())?;
        Ok(facts
            .into_iter()
            .map(|(dtype, shape)| dtype.fact(&*shape))
            .collect())
    }

    as_op!();
}
