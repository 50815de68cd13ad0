//! Any bytes as a model file: read, loaded, and run.

use twinfer::{DType, Dim, MapKeys, Maps, Session, Tensor, TensorSpec, Value, ValueKind};

/// Inputs with more elements are not given: they take time, and find nothing that fewer do not.
const MAX_ELEMENTS: usize = 1 << 12;

/// Lengths of free axes, one for each run.
const LENGTHS: [usize; 3] = [1, 0, 3];

/// What the file says of itself, and what it gives for inputs of its shapes. Never panics.
pub fn everything(data: &[u8]) {
    let _ = Session::describe(data);
    let Ok(session) = Session::load(data) else {
        return;
    };
    for length in LENGTHS {
        let signature = session.signature();
        // Those that have a default once without it.
        let optional = signature.optional.iter().filter(|_| length != 1);
        let inputs: Option<Vec<(String, Value)>> = (signature.inputs.iter().chain(optional))
            .map(|spec| Some((spec.name.clone(), value(spec, length, data)?)))
            .collect();
        if let Some(inputs) = inputs {
            let _ = session.run_values(inputs);
        }
    }
}

fn value(spec: &TensorSpec, length: usize, data: &[u8]) -> Option<Value> {
    let one = Value::Tensor(tensor(spec, length, data)?);
    Some(match spec.kind {
        ValueKind::Sequence => Value::Sequence(vec![one; length]),
        ValueKind::Optional => Value::Optional((length > 0).then(|| Box::new(one))),
        ValueKind::Maps => maps(spec, length, data)?,
        ValueKind::Tensor => one,
    })
}

/// As many maps, of as many keys.
fn maps(spec: &TensorSpec, length: usize, data: &[u8]) -> Option<Value> {
    let of_two = TensorSpec {
        shape: Some(vec![Dim::Fixed(length); 2]),
        ..spec.clone()
    };
    let keys = match spec.keys {
        Some(DType::I64) => MapKeys::Ints((0..length as i64).collect()),
        _ => MapKeys::Strings((0..length).map(|at| at.to_string()).collect()),
    };
    let values = tensor(&of_two, length, data)?;
    Some(Value::Maps(Maps { keys, values }))
}

/// Elements from the end of the file, so that a mutation of it can change them.
fn tensor(spec: &TensorSpec, length: usize, data: &[u8]) -> Option<Tensor> {
    let axes = spec.shape.clone().unwrap_or_else(|| vec![Dim::Free; 2]);
    let shape: Vec<usize> = (axes.iter())
        .map(|dim| match dim {
            Dim::Fixed(n) => *n,
            Dim::Symbol(_) | Dim::Free => length,
        })
        .collect();
    let count = shape.iter().try_fold(1usize, |all, &n| all.checked_mul(n))?;
    if count > MAX_ELEMENTS {
        return None;
    }
    let bytes = data.iter().rev().copied().cycle();
    if spec.dtype == DType::String {
        let texts = bytes.take(count).map(|byte| char::from(byte).to_string());
        return Tensor::from_strings(&shape, texts.collect()).ok();
    }
    let size = (count * spec.dtype.bits()?).div_ceil(8);
    let bytes = bytes.take(size).map(|byte| match spec.dtype {
        DType::Bool => byte & 1,
        _ => byte,
    });
    Tensor::from_bytes(spec.dtype, &shape, bytes.collect()).ok()
}
