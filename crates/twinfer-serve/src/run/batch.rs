//! Rows of several requests in one run.

use twinfer::{Dim, Maps, Model, Result, Tensor, Value, ValueKind, bail};

use super::Values;

/// Whether the signature allows that rows of several requests run as one: every input is a tensor
/// with a free first axis, and so is every output.
pub(crate) fn allows(model: &Model) -> bool {
    let signature = model.signature();
    let free = |shape: &Option<Vec<Dim>>| {
        let first = shape.as_deref().and_then(<[Dim]>::first);
        matches!(first, Some(Dim::Free | Dim::Symbol(_)))
    };
    let inputs = signature.inputs.iter();
    let outputs = signature.outputs.iter();
    !signature.inputs.is_empty()
        && signature.optional.is_empty()
        && inputs
            .clone()
            .all(|spec| spec.kind == ValueKind::Tensor && free(&spec.shape))
        && outputs.clone().all(|spec| match spec.kind {
            ValueKind::Tensor => free(&spec.shape),
            // One map for each row.
            ValueKind::Maps => true,
            ValueKind::Sequence | ValueKind::Optional => false,
        })
}

/// What must be equal for inputs to run together: name, type, and all axes but the first.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Form(Vec<(String, &'static str, Vec<usize>)>);

/// Form and rows of inputs. `None` where they are no batch: no tensors, or of different lengths.
pub(crate) fn form(inputs: &Values) -> Option<(Form, usize)> {
    let mut rows = None;
    let mut parts = Vec::with_capacity(inputs.len());
    for (name, value) in inputs {
        let Value::Tensor(tensor) = value else {
            return None;
        };
        let (first, rest) = tensor.shape().split_first()?;
        let whole_bytes = tensor.dtype().bits().is_none_or(|bits| bits % 8 == 0);
        if *rows.get_or_insert(*first) != *first || *first == 0 || !whole_bytes {
            return None;
        }
        parts.push((name.clone(), tensor.dtype().name(), rest.to_vec()));
    }
    parts.sort();
    Some((Form(parts), rows?))
}

/// Inputs of one form behind each other.
///
/// # Errors
/// `internal` when they are not of one form.
pub(crate) fn join(all: &[&Values]) -> Result<Values> {
    let Some((first, rest)) = all.split_first() else {
        return Ok(Vec::new());
    };
    let joined = |(name, value): &(String, Value)| {
        let mut parts = vec![value];
        for other in rest {
            let found = other.iter().find(|(known, _)| known == name);
            parts.extend(found.map(|(_, value)| value));
        }
        let tensors = parts.iter().map(|part| part.tensor());
        let tensor = join_tensors(&tensors.collect::<Result<Vec<_>>>()?)?;
        Ok((name.clone(), Value::Tensor(tensor)))
    };
    first.iter().map(joined).collect()
}

fn join_tensors(parts: &[&Tensor]) -> Result<Tensor> {
    let Some(first) = parts.first() else {
        bail!(Internal, "nothing to join");
    };
    let mut shape = first.shape().to_vec();
    if let Some(rows) = shape.first_mut() {
        *rows = parts.iter().filter_map(|part| part.shape().first()).sum();
    }
    if first.strings().is_some() {
        let strings = parts.iter().filter_map(|part| part.strings()).flatten();
        return Tensor::from_strings(&shape, strings.cloned().collect());
    }
    let bytes: Vec<&[u8]> = parts.iter().filter_map(|part| part.as_bytes()).collect();
    Tensor::from_bytes(first.dtype(), &shape, bytes.concat())
}

/// The outputs of `rows` rows, from row `from` on; `None` where they have no axis of `all` rows.
pub(crate) fn cut(outputs: &Values, from: usize, rows: usize, all: usize) -> Option<Values> {
    let part = |(name, value): &(String, Value)| {
        let value = match value {
            Value::Tensor(tensor) => Value::Tensor(cut_tensor(tensor, from, rows, all)?),
            Value::Maps(maps) => Value::Maps(Maps {
                keys: maps.keys.clone(),
                values: cut_tensor(&maps.values, from, rows, all)?,
            }),
            Value::Sequence(_) | Value::Optional(_) => return None,
        };
        Some((name.clone(), value))
    };
    outputs.iter().map(part).collect()
}

fn cut_tensor(tensor: &Tensor, from: usize, rows: usize, all: usize) -> Option<Tensor> {
    let (first, rest) = tensor.shape().split_first()?;
    if *first != all {
        return None;
    }
    let mut shape = vec![rows];
    shape.extend(rest);
    let width: usize = rest.iter().product();
    let elements = from * width..(from + rows) * width;
    if let Some(strings) = tensor.strings() {
        return Tensor::from_strings(&shape, strings.get(elements)?.to_vec()).ok();
    }
    let size = tensor.dtype().bits()? / 8;
    let bytes = tensor
        .as_bytes()?
        .get(elements.start * size..elements.end * size)?;
    Tensor::from_bytes(tensor.dtype(), &shape, bytes.to_vec()).ok()
}

/// Whether two outputs are the same to the bit.
pub(crate) fn same_bits(a: &Values, b: &Values) -> bool {
    let same = |a: &Tensor, b: &Tensor| {
        a.dtype() == b.dtype()
            && a.shape() == b.shape()
            && a.as_bytes() == b.as_bytes()
            && a.strings() == b.strings()
    };
    a.len() == b.len()
        && a.iter().zip(b).all(|((name_a, a), (name_b, b))| {
            name_a == name_b
                && match (a, b) {
                    (Value::Tensor(a), Value::Tensor(b)) => same(a, b),
                    (Value::Maps(a), Value::Maps(b)) => {
                        a.keys == b.keys && same(&a.values, &b.values)
                    }
                    _ => false,
                }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(rows: usize, first: f32) -> Values {
        let numbers = (0..rows * 2).map(|at| first + at as f32).collect();
        let words = (0..rows).map(|at| format!("{first}{at}")).collect();
        vec![
            (
                "x".into(),
                Value::Tensor(Tensor::from_vec(&[rows, 2], numbers).unwrap()),
            ),
            (
                "w".into(),
                Value::Tensor(Tensor::from_strings(&[rows], words).unwrap()),
            ),
        ]
    }

    #[test]
    fn what_was_joined_can_be_cut_again() {
        let (a, b) = (inputs(1, 1.0), inputs(3, 9.0));
        assert_eq!(form(&a).unwrap().0, form(&b).unwrap().0);
        let joined = join(&[&a, &b]).unwrap();
        assert_eq!(form(&joined).unwrap().1, 4);
        assert!(same_bits(&cut(&joined, 0, 1, 4).unwrap(), &a));
        assert!(same_bits(&cut(&joined, 1, 3, 4).unwrap(), &b));
        assert!(!same_bits(&cut(&joined, 0, 3, 4).unwrap(), &b));
        assert!(cut(&joined, 0, 1, 5).is_none());
    }

    #[test]
    fn what_is_no_batch_has_no_form() {
        let mut uneven = inputs(1, 0.0);
        uneven[1] = inputs(2, 0.0).remove(1);
        assert_eq!(form(&uneven), None);
        let scalar = Tensor::from_vec(&[], vec![1f32]).unwrap();
        assert_eq!(form(&vec![("x".into(), Value::Tensor(scalar))]), None);
        assert_eq!(form(&vec![("x".into(), Value::Sequence(vec![]))]), None);
        assert_eq!(form(&inputs(0, 0.0)), None);
    }
}
