//! Slices that end before they start.

use tract_onnx::tract_hir::internal::*;

use super::Known;

/// Ends for a `Slice` (Operators.md, ai.onnx 10 and later) of which one lies before its start, counted
/// in the direction of the steps: the start itself, so that nothing is between them.
pub(in crate::ops) fn ends(inputs: &[Option<Known>]) -> Option<Arc<Tensor>> {
    let input = |at: usize| inputs.get(at).and_then(Option::as_ref);
    let ints = |at: usize| -> Option<Vec<i64>> {
        let value = input(at)?.value.as_ref()?.cast_to::<i64>().ok()?;
        Some(
            value
                .try_as_plain_ram()
                .ok()?
                .as_slice::<i64>()
                .ok()?
                .to_vec(),
        )
    };
    let shape = input(0)?.shape.as_ref()?;
    let (starts, mut ends) = (ints(1)?, ints(2)?);
    let axes = match input(3) {
        Some(_) => ints(3)?,
        None => (0..shape.len() as i64).collect(),
    };
    let steps = match input(4) {
        Some(_) => ints(4)?,
        None => vec![1; starts.len()],
    };
    let mut is_changed = false;
    let places = starts.iter().zip(&mut ends).zip(&axes).zip(&steps);
    for (((&start, end), &axis), &step) in places {
        let axis = if axis < 0 {
            axis.saturating_add(shape.len() as i64)
        } else {
            axis
        };
        let length = (*shape.get(usize::try_from(axis).ok()?)?)?;
        let counted = |at: i64| {
            if at < 0 {
                at.saturating_add(length)
            } else {
                at
            }
        };
        // Where a step back ends in front of the first element, that is place -1.
        let (least, most) = if step > 0 {
            (0, length)
        } else {
            (-1, length - 1)
        };
        let (from, to) = (
            counted(start).clamp(least, most),
            counted(*end).clamp(least, most),
        );
        if (step > 0 && to < from) || (step < 0 && to > from) {
            *end = start;
            is_changed = true;
        }
    }
    let dtype = input(2)?.value.as_ref()?.datum_type();
    let ends = tensor1(&ends).cast_to_dt(dtype).ok()?.into_owned();
    is_changed.then(|| ends.into_arc_tensor())
}
