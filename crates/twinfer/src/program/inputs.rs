//! What an operator is given, and what it gives.

use std::fmt;

use crate::{DType, Result, Tensor, Value, bail, err};

/// What an operator does: values in, values out. An input that is left out is `None`.
pub(crate) type Run = dyn Fn(&Inputs<'_>) -> Result<Vec<Value>> + Send + Sync;

/// An operator that is ready to run.
pub(crate) struct Kernel(pub(super) Box<Run>);

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kernel")
    }
}

/// An operator of a function.
pub(crate) fn kernel(
    run: impl Fn(&Inputs<'_>) -> Result<Vec<Value>> + Send + Sync + 'static,
) -> Result<Kernel> {
    Ok(Kernel(Box::new(run)))
}

/// An operator with one output, a tensor.
pub(crate) fn tensor_kernel(
    run: impl Fn(&Inputs<'_>) -> Result<Tensor> + Send + Sync + 'static,
) -> Result<Kernel> {
    kernel(move |inputs| Ok(vec![Value::Tensor(run(inputs)?)]))
}

/// The inputs of a node.
pub(crate) struct Inputs<'a>(pub(super) &'a [Option<&'a Value>]);

impl<'a> Inputs<'a> {
    /// How many there are, with those that are left out in between.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// A value, where it is there.
    pub(crate) fn optional(&self, index: usize) -> Option<&'a Value> {
        self.0.get(index).copied().flatten()
    }

    /// A value.
    ///
    /// # Errors
    /// `invalid_model` when it is left out.
    pub(crate) fn value(&self, index: usize) -> Result<&'a Value> {
        self.optional(index)
            .ok_or_else(|| err!(InvalidModel, "input {index} is missing"))
    }

    /// A tensor.
    ///
    /// # Errors
    /// `invalid_model` when it is left out; `invalid_input` when it is no tensor.
    pub(crate) fn tensor(&self, index: usize) -> Result<&'a Tensor> {
        as_tensor(self.value(index)?, index)
    }

    /// A tensor, where it is there. An empty optional counts as left out.
    ///
    /// # Errors
    /// `invalid_input` when it is no tensor.
    pub(crate) fn tensor_opt(&self, index: usize) -> Result<Option<&'a Tensor>> {
        match self.optional(index) {
            None | Some(Value::Optional(None)) => Ok(None),
            Some(value) => as_tensor(value, index).map(Some),
        }
    }

    /// The integers of a tensor of INT32 or INT64, flat.
    ///
    /// # Errors
    /// Those of [`Inputs::tensor`]; `wrong_dtype`.
    pub(crate) fn ints(&self, index: usize) -> Result<Vec<i64>> {
        ints(self.tensor(index)?)
    }

    /// The integers of a tensor, where it is there.
    ///
    /// # Errors
    /// `invalid_input`, `wrong_dtype`.
    pub(crate) fn ints_opt(&self, index: usize) -> Result<Option<Vec<i64>>> {
        self.tensor_opt(index)?.map(ints).transpose()
    }

    /// The only integer of a tensor.
    ///
    /// # Errors
    /// Those of [`Inputs::ints`]; `invalid_input` when there are more or fewer.
    pub(crate) fn int(&self, index: usize) -> Result<i64> {
        match self.ints(index)?[..] {
            [one] => Ok(one),
            ref all => bail!(
                InvalidInput,
                "input {index} is to be one integer, and has {}",
                all.len()
            ),
        }
    }

    /// The only number of a tensor, whatever its type, where it is there.
    ///
    /// # Errors
    /// `wrong_dtype` for strings; `invalid_input` when there are more or fewer.
    pub(crate) fn number_opt(&self, index: usize) -> Result<Option<f64>> {
        let Some(tensor) = self.tensor_opt(index)? else {
            return Ok(None);
        };
        match super::cast::to_f64(tensor)?[..] {
            [one] => Ok(Some(one)),
            ref all => bail!(
                InvalidInput,
                "input {index} is to be one number, and has {}",
                all.len()
            ),
        }
    }

    /// The tensors of a sequence.
    ///
    /// # Errors
    /// `invalid_model` when it is left out; `invalid_input` when it is no sequence.
    pub(crate) fn sequence(&self, index: usize) -> Result<&'a [Value]> {
        match self.value(index)? {
            Value::Sequence(items) => Ok(items),
            Value::Optional(Some(inner)) => match &**inner {
                Value::Sequence(items) => Ok(items),
                _ => bail!(InvalidInput, "input {index} is no sequence"),
            },
            _ => bail!(InvalidInput, "input {index} is no sequence"),
        }
    }
}

fn as_tensor(value: &Value, index: usize) -> Result<&Tensor> {
    match value {
        Value::Tensor(tensor) => Ok(tensor),
        // An optional that has something in it is taken for that.
        Value::Optional(Some(inner)) => as_tensor(inner, index),
        Value::Optional(None) => bail!(InvalidInput, "input {index} is an empty optional"),
        _ => bail!(InvalidInput, "input {index} is no tensor"),
    }
}

/// The integers of a tensor of INT32 or INT64, flat.
///
/// # Errors
/// `wrong_dtype`.
pub(crate) fn ints(tensor: &Tensor) -> Result<Vec<i64>> {
    match tensor.dtype() {
        DType::I32 => Ok(tensor.view::<i32>()?.iter().map(|&i| i.into()).collect()),
        _ => tensor.to_vec::<i64>(),
    }
}

/// An axis that may count from the end.
///
/// # Errors
/// `invalid_input` for one that is not there.
pub(crate) fn axis(axis: i64, rank: usize) -> Result<usize> {
    let counted = if axis < 0 {
        axis.saturating_add(rank as i64)
    } else {
        axis
    };
    match usize::try_from(counted) {
        Ok(at) if at < rank => Ok(at),
        _ => bail!(InvalidInput, "there is no axis {axis} in {rank} axes"),
    }
}
