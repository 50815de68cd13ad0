//! Putting tensors together and taking them apart, whatever their elements are.

use crate::{DType, Result, Tensor, bail, element_count, err};

/// A tensor without elements.
///
/// # Errors
/// `invalid_model` for a shape that has some.
pub(crate) fn empty(dtype: DType, shape: &[usize]) -> Result<Tensor> {
    if element_count(shape)? != 0 {
        bail!(InvalidModel, "the shape {shape:?} is not empty");
    }
    match dtype {
        DType::String => Tensor::from_strings(shape, Vec::new()),
        _ => Tensor::from_slice(dtype, shape, &[]),
    }
}

/// Tensors of one type and shape along a new axis.
///
/// # Errors
/// `invalid_input` where they are not of one type and shape.
pub(crate) fn stack(tensors: &[Tensor], axis: usize) -> Result<Tensor> {
    let Some(first) = tensors.first() else {
        bail!(InvalidInput, "nothing cannot be stacked");
    };
    let with_axis: Vec<Tensor> = tensors
        .iter()
        .map(|tensor| {
            let mut shape = tensor.shape().to_vec();
            shape.insert(axis.min(shape.len()), 1);
            reshaped(tensor, &shape)
        })
        .collect::<Result<_>>()?;
    if tensors.iter().any(|tensor| tensor.shape() != first.shape()) {
        bail!(
            InvalidInput,
            "tensors of different shapes cannot be stacked"
        );
    }
    concat(&with_axis, axis)
}

/// Tensors one after the other along an axis.
///
/// # Errors
/// `invalid_input` where types or the other axes differ, and for none.
pub(crate) fn concat(tensors: &[Tensor], axis: usize) -> Result<Tensor> {
    let Some(first) = tensors.first() else {
        bail!(InvalidInput, "nothing cannot be put together");
    };
    let mut shape = first.shape().to_vec();
    if axis >= shape.len() {
        bail!(
            InvalidInput,
            "there is no axis {axis} in {} axes",
            shape.len()
        );
    }
    let mut length = 0usize;
    for tensor in tensors {
        let mut other = tensor.shape().to_vec();
        if tensor.dtype() != first.dtype() || other.len() != shape.len() {
            bail!(
                InvalidInput,
                "tensors of different types or ranks cannot be put together"
            );
        }
        length = length.saturating_add(std::mem::replace(&mut other[axis], shape[axis]));
        if other != shape {
            bail!(
                InvalidInput,
                "{:?} does not fit to {shape:?}",
                tensor.shape()
            );
        }
    }
    shape[axis] = length;
    let outer: usize = shape[..axis].iter().product();
    element_count(&shape)?;
    if first.strings().is_some() {
        let mut all = Vec::new();
        for row in 0..outer {
            for tensor in tensors {
                let strings = tensor.strings().unwrap_or_default();
                let size = strings.len() / outer.max(1);
                all.extend_from_slice(
                    strings
                        .get(row * size..(row + 1) * size)
                        .unwrap_or_default(),
                );
            }
        }
        return Tensor::from_strings(&shape, all);
    }
    whole_bytes(first.dtype())?;
    let mut all = Vec::new();
    for row in 0..outer {
        for tensor in tensors {
            let bytes = tensor.as_bytes().unwrap_or_default();
            let size = bytes.len() / outer.max(1);
            all.extend_from_slice(bytes.get(row * size..(row + 1) * size).unwrap_or_default());
        }
    }
    Tensor::from_slice(first.dtype(), &shape, &all)
}

/// The part of a tensor at one place of an axis, without that axis.
///
/// # Errors
/// `invalid_input` for an axis or a place that is not there.
pub(crate) fn at(tensor: &Tensor, axis: usize, place: usize) -> Result<Tensor> {
    let part = range(tensor, axis, place, 1)?;
    let mut shape = part.shape().to_vec();
    shape.remove(axis);
    reshaped(&part, &shape)
}

/// The part of a tensor from a place of an axis on.
///
/// # Errors
/// `invalid_input` for an axis or a place that is not there.
pub(crate) fn range(tensor: &Tensor, axis: usize, start: usize, length: usize) -> Result<Tensor> {
    let mut shape = tensor.shape().to_vec();
    let inside = |end: usize| shape.get(axis).is_some_and(|&axis| end <= axis);
    let Some(end) = start.checked_add(length).filter(|&end| inside(end)) else {
        bail!(
            InvalidInput,
            "{start} and {length} more are outside of axis {axis} of {shape:?}"
        );
    };
    let all = shape[axis];
    shape[axis] = length;
    let inner: usize = shape[axis + 1..].iter().product();
    let outer: usize = shape[..axis].iter().product();
    let places = (0..outer).map(|row| (row * all + start) * inner..(row * all + end) * inner);
    if let Some(strings) = tensor.strings() {
        let parts = places.flat_map(|place| strings.get(place).unwrap_or_default());
        return Tensor::from_strings(&shape, parts.cloned().collect());
    }
    let size = whole_bytes(tensor.dtype())?;
    let bytes = tensor.as_bytes().unwrap_or_default();
    let mut taken = Vec::with_capacity(outer * length * inner * size);
    for place in places {
        taken.extend_from_slice(
            bytes
                .get(place.start * size..place.end * size)
                .unwrap_or_default(),
        );
    }
    Tensor::from_slice(tensor.dtype(), &shape, &taken)
}

/// The same elements in another shape.
///
/// # Errors
/// `wrong_shape` where it has another number of elements.
pub(crate) fn reshaped(tensor: &Tensor, shape: &[usize]) -> Result<Tensor> {
    match (tensor.strings(), tensor.as_bytes()) {
        (Some(strings), _) => Tensor::from_strings(shape, strings.to_vec()),
        (None, Some(bytes)) => Tensor::from_slice(tensor.dtype(), shape, bytes),
        (None, None) => Err(err!(Internal, "a tensor without elements")),
    }
}

/// Bytes of an element.
fn whole_bytes(dtype: DType) -> Result<usize> {
    match dtype.bits() {
        Some(bits) if bits % 8 == 0 => Ok(bits / 8),
        _ => bail!(
            UnsupportedDtype,
            "elements of {dtype} cannot be moved one by one"
        ),
    }
}

/// Of each row of `columns` elements those that are chosen, which are to be inside, in this shape.
///
/// # Errors
/// `wrong_shape` for a shape that does not have as many.
pub(crate) fn columns(
    tensor: &Tensor,
    columns: usize,
    chosen: &[usize],
    shape: &[usize],
) -> Result<Tensor> {
    if let Some(strings) = tensor.strings() {
        let rows = strings.chunks_exact(columns.max(1));
        let all = rows.flat_map(|row| chosen.iter().filter_map(|&at| row.get(at)));
        return Tensor::from_strings(shape, all.cloned().collect());
    }
    let size = whole_bytes(tensor.dtype())?;
    let bytes = tensor.as_bytes().unwrap_or_default();
    let mut all = Vec::with_capacity(element_count(shape)?.saturating_mul(size));
    for row in bytes.chunks_exact((columns * size).max(1)) {
        for &at in chosen {
            all.extend_from_slice(row.get(at * size..(at + 1) * size).unwrap_or_default());
        }
    }
    Tensor::from_slice(tensor.dtype(), shape, &all)
}
