//! `Imputer` and `Scaler`: one value a column.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::{Parsed, floats};
use crate::ops::kernel::{Kernel, KernelOp};

/// One value for all columns, or one for each.
fn pick<T: Copy>(values: &[T], column: usize) -> T {
    if values.len() == 1 {
        values[0]
    } else {
        values[column]
    }
}

fn check_columns(name: &str, length: usize, shape: &[usize]) -> TractResult<usize> {
    let columns = shape.last().copied().unwrap_or(1);
    ensure!(
        length == 1 || length == columns,
        "{name} has {length} values for {columns} columns"
    );
    Ok(columns)
}

/// `ai.onnx.ml.Scaler`: `(x - offset) * scale`, column by column, as FP32.
#[derive(Debug)]
struct Scaler {
    offset: Vec<f32>,
    scale: Vec<f32>,
}

impl Kernel for Scaler {
    fn name(&self) -> &'static str {
        "Scaler"
    }

    fn outputs(
        &self,
        _dtype: DatumType,
        shape: &[TDim],
    ) -> TractResult<Vec<(DatumType, TVec<TDim>)>> {
        Ok(vec![(f32::datum_type(), shape.into())])
    }

    fn eval(&self, input: &Tensor) -> TractResult<Vec<Tensor>> {
        check_columns("offset of Scaler", self.offset.len(), input.shape())?;
        let columns = check_columns("scale of Scaler", self.scale.len(), input.shape())?;
        let mut output = floats(input)?.into_owned();
        let mut view = output.try_as_plain_ram_mut()?;
        for row in view.as_slice_mut::<f32>()?.chunks_mut(columns.max(1)) {
            for (column, value) in row.iter_mut().enumerate() {
                *value = (*value - pick(&self.offset, column)) * pick(&self.scale, column);
            }
        }
        Ok(vec![output])
    }
}

/// Reads a `Scaler` node.
pub(super) fn scaler(_context: &ParsingContext, node: &NodeProto) -> Parsed {
    let offset = node
        .get_attr_opt_vec("offset")?
        .unwrap_or_else(|| vec![0.0]);
    let scale = node.get_attr_opt_vec("scale")?.unwrap_or_else(|| vec![1.0]);
    ensure!(
        !offset.is_empty() && !scale.is_empty(),
        "Scaler has an empty offset or scale"
    );
    Ok((KernelOp::boxed(Scaler { offset, scale }), vec![]))
}

/// `ai.onnx.ml.Imputer`: `replaced` becomes the value of its column.
#[derive(Debug)]
enum Imputer {
    Floats { replaced: f32, values: Vec<f32> },
    Ints { replaced: i64, values: Vec<i64> },
}

impl Kernel for Imputer {
    fn name(&self) -> &'static str {
        "Imputer"
    }

    fn outputs(
        &self,
        dtype: DatumType,
        shape: &[TDim],
    ) -> TractResult<Vec<(DatumType, TVec<TDim>)>> {
        Ok(vec![(dtype, shape.into())])
    }

    fn eval(&self, input: &Tensor) -> TractResult<Vec<Tensor>> {
        match self {
            Imputer::Floats { replaced, values } if input.datum_type() == f64::datum_type() => {
                let values: Vec<f64> = values.iter().map(|&v| v.into()).collect();
                let is_replaced = is_float(f64::from(*replaced));
                impute(input, &values, is_replaced)
            }
            Imputer::Floats { replaced, values } => {
                let is_replaced = is_float(f64::from(*replaced));
                impute(input, values, move |v: f32| is_replaced(v.into()))
            }
            Imputer::Ints { replaced, values } => impute(input, values, |v: i64| v == *replaced),
        }
    }
}

/// NaN, the usual mark of a missing value, is equal to nothing.
fn is_float(replaced: f64) -> impl Fn(f64) -> bool {
    move |v| v == replaced || (v.is_nan() && replaced.is_nan())
}

fn impute<T: Datum + Copy>(
    input: &Tensor,
    values: &[T],
    is_replaced: impl Fn(T) -> bool,
) -> TractResult<Vec<Tensor>> {
    ensure!(
        input.datum_type() == T::datum_type(),
        "Imputer of {:?} got an input of {:?}",
        T::datum_type(),
        input.datum_type()
    );
    let columns = check_columns("imputed values of Imputer", values.len(), input.shape())?;
    let mut output = input.clone();
    let mut view = output.try_as_plain_ram_mut()?;
    for row in view.as_slice_mut::<T>()?.chunks_mut(columns.max(1)) {
        for (column, value) in row.iter_mut().enumerate() {
            if is_replaced(*value) {
                *value = pick(values, column);
            }
        }
    }
    Ok(vec![output])
}

/// Reads an `Imputer` node.
pub(super) fn imputer(_context: &ParsingContext, node: &NodeProto) -> Parsed {
    let ints: Vec<i64> = node
        .get_attr_opt_vec("imputed_value_int64s")?
        .unwrap_or_default();
    if !ints.is_empty() {
        let replaced = node.get_attr_opt("replaced_value_int64")?.unwrap_or(0);
        return Ok((
            KernelOp::boxed(Imputer::Ints {
                replaced,
                values: ints,
            }),
            vec![],
        ));
    }
    let values: Vec<f32> = node
        .get_attr_opt_vec("imputed_value_floats")?
        .unwrap_or_default();
    ensure!(!values.is_empty(), "Imputer has no imputed values");
    let replaced = node.get_attr_opt("replaced_value_float")?.unwrap_or(0.0);
    Ok((
        KernelOp::boxed(Imputer::Floats { replaced, values }),
        vec![],
    ))
}
