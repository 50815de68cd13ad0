//! `RNN`, `GRU` and `LSTM` in the forms that the engine reads over or gets wrong: from the last step to
//! the first, sequences of different lengths, other activations, a clip, coupled gates.
//!
//! The engine's builder looks at none of `direction`, `activations`, `clip` and `input_forget`, and its
//! loop fails where `LSTM` is to give its last cells and has no first ones. What it does right it does.

mod activation;
mod cells;

use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::{AttributeProto, NodeProto};
use tract_onnx::tract_hir::internal::*;

use self::activation::Activation;
use self::cells::{Direction, Kind, Sizes};

use crate::ops::around;

/// What the engine's own builders are registered as.
const ENGINE: &str = "engine.recurrent.";

const OPERATORS: [(&str, Kind); 3] = [("RNN", Kind::Rnn), ("GRU", Kind::Gru), ("LSTM", Kind::Lstm)];

/// Puts ours before the engine's builders.
pub(super) fn register(onnx: &mut Onnx) {
    around::put(onnx, ENGINE, OPERATORS.map(|(name, _)| name), build);
}

fn build(context: &ParsingContext, node: &NodeProto) -> around::Built {
    let known = OPERATORS.iter().find(|(name, _)| *name == node.op_type);
    let Some(&(_, kind)) = known else {
        bail!("{} is not known", node.op_type);
    };
    let (operator, closures) = around::inner(context, node, ENGINE)?;
    let recurrent = Recurrent::read(node, kind)?;
    let inner = operator.as_op().downcast_ref::<Box<dyn Expansion>>();
    match inner {
        Some(inner) if recurrent.is_ours() => {
            let inner = inner.clone();
            Ok((expand(Ours { inner, recurrent }), closures))
        }
        _ => Ok((operator, closures)),
    }
}

/// What a node says.
#[derive(Debug, Clone, PartialEq)]
struct Recurrent {
    kind: Kind,
    batch_first: bool,
    /// Whether each direction goes from the last step to the first.
    reversed: Vec<bool>,
    /// Of each direction.
    activations: Vec<[Activation; 3]>,
    clip: Option<f64>,
    input_forget: bool,
    linear_before_reset: bool,
    /// Where the inputs are that may be left out: bias, lengths, states, cells, peepholes.
    places: [Option<usize>; 5],
    /// Which of all steps, last states and last cells are wanted.
    wanted: [bool; 3],
}

impl Eq for Recurrent {}

impl Recurrent {
    fn read(node: &NodeProto, kind: Kind) -> TractResult<Self> {
        let find = |name: &str| node.attribute.iter().find(|a| a.name == name);
        let flag = |name: &str| find(name).is_some_and(|a| a.i != 0);
        let reversed = match find("direction").map(|a| &*a.s) {
            None | Some(b"forward") => vec![false],
            Some(b"reverse") => vec![true],
            Some(b"bidirectional") => vec![false, true],
            Some(other) => bail!("`{}` is no direction", String::from_utf8_lossy(other)),
        };
        let list = |attribute: Option<&AttributeProto>| {
            attribute.map(|a| a.floats.clone()).unwrap_or_default()
        };
        let activations = activation::read(
            find("activations").map_or(&[][..], |a| &a.strings),
            list(find("activation_alpha")),
            list(find("activation_beta")),
            kind,
            reversed.len(),
        )?;
        let mut count = 3;
        let places = [3, 4, 5, 6, 7].map(|index: usize| {
            let is_given = node.input.get(index).is_some_and(|name| !name.is_empty());
            is_given.then(|| {
                count += 1;
                count - 1
            })
        });
        let is_wanted = |index: usize| node.output.get(index).is_some_and(|name| !name.is_empty());
        Ok(Self {
            kind,
            batch_first: flag("layout"),
            reversed,
            activations,
            clip: find("clip")
                .map(|a| f64::from(a.f))
                .filter(|clip| *clip > 0.0),
            input_forget: flag("input_forget"),
            linear_before_reset: flag("linear_before_reset"),
            places,
            wanted: [0, 1, 2].map(is_wanted),
        })
    }

    /// Whether the engine does it otherwise, or not at all.
    fn is_ours(&self) -> bool {
        let usual = activation::usual(self.kind);
        let [_, lengths, states, cells, _] = self.places;
        let without_first = states.is_none() || cells.is_none();
        self.reversed == [true]
            || self.activations.iter().any(|a| *a != usual)
            || self.clip.is_some()
            || self.input_forget
            || lengths.is_some()
            || (self.kind == Kind::Lstm && self.wanted[2] && without_first)
    }
}

/// The operator before types are known: its rules are the engine's.
#[derive(Debug, Clone)]
struct Ours {
    inner: Box<dyn Expansion>,
    recurrent: Recurrent,
}

impl Expansion for Ours {
    fn name(&self) -> StaticName {
        self.inner.name()
    }

    fn validation(&self) -> Validation {
        self.inner.validation()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        self.inner.as_ref().nboutputs()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        self.inner.rules(s, inputs, outputs)
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        model.wire_node(prefix, self.recurrent.clone(), inputs)
    }
}

impl Op for Recurrent {
    fn name(&self) -> StaticName {
        "Recurrent".into()
    }

    op_as_typed_op!();
}

impl TypedOp for Recurrent {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let &[x, w, r, ..] = inputs else {
            bail!("a recurrent operator has {} inputs", inputs.len());
        };
        let (steps, batch) = match (&*x.shape, self.batch_first) {
            ([batch, steps, _], true) | ([steps, batch, _], false) => (steps, batch),
            _ => bail!("a sequence has three axes"),
        };
        let ([directions, ..], [.., hidden]) = (&*w.shape, &*r.shape) else {
            bail!("weights have three axes");
        };
        let [all, last] = match self.batch_first {
            true => [
                tvec![batch, steps, directions, hidden],
                tvec![batch, directions, hidden],
            ],
            false => [
                tvec![steps, directions, batch, hidden],
                tvec![directions, batch, hidden],
            ],
        };
        let fact = |shape: &TVec<&TDim>| {
            let shape: TVec<TDim> = shape.iter().map(|&dim| dim.clone()).collect();
            x.datum_type.fact(shape)
        };
        let shapes = [&all, &last, &last].into_iter().zip(self.wanted);
        Ok(shapes
            .filter(|(_, is_wanted)| *is_wanted)
            .map(|(shape, _)| fact(shape))
            .collect())
    }
}

impl EvalOp for Recurrent {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let Some(x) = inputs.first() else {
            bail!("a recurrent operator has no input");
        };
        let dtype = x.datum_type();
        let sizes = Sizes::of(x.shape(), inputs.get(1), inputs.get(2), self)?;
        let doubles = |place: Option<usize>| -> TractResult<Vec<f64>> {
            let Some(tensor) = place.and_then(|place| inputs.get(place)) else {
                return Ok(Vec::new());
            };
            let tensor = tensor.cast_to::<f64>()?;
            Ok(tensor.try_as_plain_ram()?.as_slice::<f64>()?.to_vec())
        };
        let [bias, lengths, states, cells, peepholes] = self.places;
        let given = cells::Given {
            x: doubles(Some(0))?,
            w: doubles(Some(1))?,
            r: doubles(Some(2))?,
            bias: doubles(bias)?,
            states: doubles(states)?,
            cells: doubles(cells)?,
            peepholes: doubles(peepholes)?,
            lengths: sizes.lengths(&doubles(lengths)?)?,
        };
        given.check(&sizes, self.kind)?;
        let mut made = cells::Made::of(&sizes);
        for (index, (&reversed, activations)) in
            self.reversed.iter().zip(&self.activations).enumerate()
        {
            let direction = Direction {
                recurrent: self,
                sizes: &sizes,
                given: &given,
                index,
                reversed,
                activations: *activations,
            };
            direction.run(&mut made);
        }
        let [all, last] = sizes.shapes();
        let outputs = [(made.all, &all), (made.states, &last), (made.cells, &last)];
        let outputs = outputs
            .into_iter()
            .zip(self.wanted)
            .filter(|(_, is_wanted)| *is_wanted);
        outputs
            .map(|((numbers, shape), _)| {
                let tensor = Tensor::from_shape(shape, &numbers)?;
                Ok(tensor.cast_to_dt(dtype)?.into_owned().into_tvalue())
            })
            .collect()
    }
}
