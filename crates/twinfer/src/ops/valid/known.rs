//! What is checked of a node, as far as its inputs are known.

use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::*;

/// A node with what is known of its inputs.
pub(super) struct Of<'n, S, V> {
    pub(super) node: &'n NodeProto,
    pub(super) version: i64,
    pub(super) shape: S,
    pub(super) value: V,
}

impl<'a, S, V> Of<'a, S, V>
where
    S: Fn(usize) -> Option<&'a [Option<i64>]>,
    V: Fn(usize) -> Option<&'a Tensor>,
{
    pub(super) fn shape(&self, at: usize) -> Option<&'a [Option<i64>]> {
        (self.shape)(at)
    }

    pub(super) fn rank(&self) -> Option<i64> {
        self.shape(0).map(|shape| shape.len() as i64)
    }

    /// An input as integers, where it is known and has no symbols in it.
    pub(super) fn ints(&self, at: usize) -> Option<Vec<i64>> {
        let value = (self.value)(at)?.cast_to::<i64>().ok()?;
        let value = value.try_as_plain_ram().ok()?;
        Some(value.as_slice::<i64>().ok()?.to_vec())
    }

    fn numbers(&self, at: usize) -> Option<Vec<f64>> {
        let value = (self.value)(at)?.cast_to::<f64>().ok()?;
        let value = value.try_as_plain_ram().ok()?;
        Some(value.as_slice::<f64>().ok()?.to_vec())
    }

    /// The attribute `axis`; it may be one of `more` axes than there are.
    pub(super) fn axis(&self, default: i64, more: i64) -> TractResult<()> {
        let axis = find(self.node, "axis").map_or(default, |a| a.i);
        self.is_axis(axis, more)
    }

    fn is_axis(&self, axis: i64, more: i64) -> TractResult<()> {
        // A single number is taken for a list of one, but by those that choose from an axis.
        let chooses = ["Gather", "Scatter", "Concat", "CumSum", "Split"];
        let least = match chooses
            .iter()
            .any(|name| self.node.op_type.starts_with(name))
        {
            true => 0,
            false => 1,
        };
        match self.rank().map(|rank| rank.max(least)) {
            Some(rank) if axis < -rank - more || axis >= rank + more => {
                refuse!("axis {axis} of an input of {rank} axes")
            }
            _ => Ok(()),
        }
    }

    /// The attribute or the input with axes; what is squeezed is of length 1.
    pub(super) fn axes(&self, at: usize, more: i64, squeezed: bool) -> TractResult<()> {
        let axes = match self.ints(at) {
            Some(axes) => axes,
            None => match find(self.node, "axes") {
                Some(axes) => axes.ints.clone(),
                None => return Ok(()),
            },
        };
        for &axis in &axes {
            self.is_axis(axis, more)?;
            let shape = self.shape(0).filter(|_| squeezed).unwrap_or_default();
            let place = if axis < 0 {
                axis + shape.len() as i64
            } else {
                axis
            };
            let length = usize::try_from(place).ok().and_then(|at| *shape.get(at)?);
            if length.is_some_and(|length| length != 1) {
                refuse!("axis {axis} of {} cannot be taken out", shown(shape));
            }
        }
        Ok(())
    }

    pub(super) fn unsqueeze(&self) -> TractResult<()> {
        let axes = match self.ints(1) {
            Some(axes) => axes,
            None => find(self.node, "axes").map_or(Vec::new(), |a| a.ints.clone()),
        };
        let more = axes.len() as i64;
        let Some(rank) = self.rank().map(|rank| rank + more) else {
            return Ok(());
        };
        let mut places = Vec::with_capacity(axes.len());
        for &axis in &axes {
            let place = if axis < 0 {
                axis.saturating_add(rank)
            } else {
                axis
            };
            if !(0..rank).contains(&place) || places.contains(&place) {
                refuse!("axes {axes:?} of a result of {rank} axes");
            }
            places.push(place);
        }
        Ok(())
    }

    pub(super) fn same_rank(&self, a: usize, b: usize) -> TractResult<()> {
        match (self.shape(a), self.shape(b)) {
            (Some(a), Some(b)) if a.len() != b.len() => {
                refuse!("{} and {} have another number of axes", shown(a), shown(b))
            }
            _ => Ok(()),
        }
    }

    /// The length of the axis that the attribute `axis` says.
    fn length(&self, default: i64) -> Option<i64> {
        let axis = find(self.node, "axis").map_or(default, |a| a.i);
        let axis = if axis < 0 {
            axis.saturating_add(self.rank()?)
        } else {
            axis
        };
        *self.shape(0)?.get(usize::try_from(axis).ok()?)?
    }

    pub(super) fn top_k(&self) -> TractResult<()> {
        self.axis(-1, 0)?;
        let k = match self.ints(1) {
            Some(k) => k.first().copied(),
            None => find(self.node, "k").map(|a| a.i),
        };
        match (k, self.length(-1)) {
            (Some(k), _) if k < 0 => refuse!("k is {k}"),
            (Some(k), Some(length)) if k > length => {
                refuse!("the {k} largest of {length} elements")
            }
            _ => Ok(()),
        }
    }

    pub(super) fn split(&self) -> TractResult<()> {
        let sizes = match self.ints(1) {
            Some(sizes) => sizes,
            None => match find(self.node, "split") {
                Some(sizes) => sizes.ints.clone(),
                None => return Ok(()),
            },
        };
        let sum = sizes.iter().fold(0i64, |sum, &n| sum.saturating_add(n));
        if sizes.iter().any(|&n| n < 0) || self.length(0).is_some_and(|length| length != sum) {
            let length = self.length(0).unwrap_or(sum);
            refuse!("an axis of {length} elements is not split into {sizes:?}");
        }
        Ok(())
    }

    pub(super) fn one_hot(&self) -> TractResult<()> {
        self.axis(-1, 1)?;
        if let Some(depth) = self.ints(1)
            && !matches!(depth[..], [0..=MAX_LENGTH])
        {
            refuse!("a depth of {depth:?}");
        }
        match self.shape(2) {
            Some([Some(2)] | [None]) | None => Ok(()),
            Some(shape) => refuse!("values of shape {} are not off and on", shown(shape)),
        }
    }

    pub(super) fn gather_nd(&self) -> TractResult<()> {
        let (Some(data), Some(indices)) = (self.shape(0), self.shape(1)) else {
            return Ok(());
        };
        let batch = find(self.node, "batch_dims").map_or(0, |a| a.i);
        let least = data.len().min(indices.len()) as i64;
        let (Some(&last), true) = (indices.last(), (0..=least).contains(&batch)) else {
            refuse!(
                "indices {} of {}, batch_dims {batch}",
                shown(indices),
                shown(data)
            );
        };
        let batch = batch as usize;
        let differs = |(a, b): (&Option<i64>, &Option<i64>)| a.is_some() && b.is_some() && a != b;
        let is_deeper = last.is_some_and(|last| last > (data.len() - batch) as i64);
        let is_last = batch >= indices.len();
        if is_deeper || is_last || data.iter().zip(indices).take(batch).any(differs) {
            refuse!(
                "indices {} of {}, batch_dims {batch}",
                shown(indices),
                shown(data)
            );
        }
        let (Some(all), Some(last)) = (self.ints(1), last) else {
            return Ok(());
        };
        let lengths = data.get(batch..).unwrap_or_default();
        // Before anything counts from the end for the engine (`indices`), it computes with constants.
        for tuple in all.chunks(usize::try_from(last).unwrap_or(0).max(1)) {
            for (&index, &length) in tuple.iter().zip(lengths) {
                if index < 0 || length.is_some_and(|length| index >= length) {
                    refuse!("a constant index {index} into {}", shown(data));
                }
            }
        }
        Ok(())
    }

    pub(super) fn scatter_nd(&self) -> TractResult<()> {
        let (Some(data), Some(indices)) = (self.shape(0), self.shape(1)) else {
            return Ok(());
        };
        let Some((last, front)) = indices.split_last() else {
            refuse!("indices of no axis");
        };
        let Some(last) = *last else { return Ok(()) };
        let rest = usize::try_from(last).ok().and_then(|last| data.get(last..));
        let Some(rest) = rest else {
            refuse!("indices {} of {}", shown(indices), shown(data));
        };
        let Some(updates) = self.shape(2) else {
            return Ok(());
        };
        let wanted = front.iter().chain(rest);
        let is_same = |(a, b): (&Option<i64>, &Option<i64>)| a.is_none() || b.is_none() || a == b;
        if wanted.clone().count() != updates.len() || !wanted.zip(updates).all(is_same) {
            refuse!(
                "updates {} for indices {} of {}",
                shown(updates),
                shown(indices),
                shown(data)
            );
        }
        Ok(())
    }

    pub(super) fn range(&self) -> TractResult<()> {
        match ((self.value)(0), (self.value)(1), (self.value)(2)) {
            (Some(start), Some(end), Some(step)) => range(start, end, step),
            _ => Ok(()),
        }
    }

    /// Indices that are known, of an axis that is.
    pub(super) fn indices(&self) -> TractResult<()> {
        let (Some(indices), Some(length)) = (self.ints(1), self.length(0)) else {
            return Ok(());
        };
        let is_outside = |index: &&i64| **index < -length || **index >= length;
        match indices.iter().find(is_outside) {
            Some(index) => refuse!("index {index} is out of range: the axis has {length} elements"),
            None => Ok(()),
        }
    }

    pub(super) fn compress(&self) -> TractResult<()> {
        let whole = |shape: &[Option<i64>]| shape.iter().copied().product::<Option<i64>>();
        let length = match find(self.node, "axis") {
            Some(_) => self.length(0),
            None => self.shape(0).and_then(whole),
        };
        match (self.shape(1), length) {
            (Some([Some(condition)]), Some(length)) if *condition > length => {
                refuse!("a condition of {condition} for {length} elements")
            }
            _ => Ok(()),
        }
    }

    pub(super) fn divisor(&self) -> TractResult<()> {
        match (self.value)(1) {
            Some(divisor) => check_divisor(divisor),
            None => Ok(()),
        }
    }

    pub(super) fn frames(&self) -> TractResult<()> {
        let one = |at| self.ints(at).and_then(|all| all.first().copied());
        if let Some(step) = one(1).filter(|&step| step < 1) {
            refuse!("a frame_step of {step}");
        }
        let signal = self.shape(0).and_then(|shape| *shape.get(1)?);
        let most = signal.map_or(MAX_FRAME, |length| length.min(MAX_FRAME));
        match one(3) {
            Some(length) if !(1..=most).contains(&length) => {
                refuse!("a frame_length of {length}; the signal has {most}")
            }
            _ => Ok(()),
        }
    }

    /// What the padding of a `ConvTranspose` takes away is there.
    pub(super) fn transposed(&self) -> TractResult<()> {
        let ints = |name: &str| {
            find(self.node, name)
                .map(|a| &a.ints[..])
                .unwrap_or_default()
        };
        let (Some([_, _, input @ ..]), Some([_, _, kernel @ ..])) = (self.shape(0), self.shape(1))
        else {
            return Ok(());
        };
        let pads = ints("pads");
        for (at, (input, kernel)) in input.iter().zip(kernel).enumerate() {
            let (Some(input), Some(kernel)) = (input, kernel) else {
                continue;
            };
            let of = |name: &str, default: i64| i128::from(*ints(name).get(at).unwrap_or(&default));
            let pad = |at: usize| i128::from(pads.get(at).copied().unwrap_or(0));
            let span = (i128::from(*kernel) - 1) * of("dilations", 1) + 1;
            let steps = of("strides", 1) * (i128::from(*input) - 1);
            let whole = steps + of("output_padding", 0) + span;
            if *input > 0 && pad(at) + pad(at + pads.len() / 2) >= whole {
                refuse!("pads {pads:?} take away all {whole} of axis {}", at + 2);
            }
        }
        Ok(())
    }

    /// An input that is a shape.
    pub(super) fn lengths(&self, at: usize) -> TractResult<()> {
        match self.ints(at) {
            Some(shape) if shape.iter().any(|n| !(0..=MAX_LENGTH).contains(n)) => {
                refuse!("{shape:?} is no shape, or a too large one")
            }
            _ => Ok(()),
        }
    }

    pub(super) fn tile(&self) -> TractResult<()> {
        // That of version 1 repeats along one axis.
        if self.version < 6 {
            return Ok(());
        }
        self.lengths(1)?;
        match (self.ints(1), self.rank()) {
            (Some(times), Some(rank)) if times.len() as i64 != rank => {
                refuse!("{times:?} times an input of {rank} axes")
            }
            _ => Ok(()),
        }
    }

    pub(super) fn pad(&self) -> TractResult<()> {
        let pads = match self.ints(1) {
            Some(pads) => pads,
            None => match find(self.node, "pads") {
                Some(pads) => pads.ints.clone(),
                None => return Ok(()),
            },
        };
        if pads.iter().any(|n| !(-MAX_LENGTH..=MAX_LENGTH).contains(n)) {
            refuse!("pads of {pads:?}");
        }
        let Some(shape) = self.shape(0) else {
            return Ok(());
        };
        let axes = match self.ints(3) {
            Some(axes) => axes,
            None => (0..shape.len() as i64).collect(),
        };
        if pads.len() != 2 * axes.len() {
            refuse!("{} pads for {} axes", pads.len(), axes.len());
        }
        let (before, after) = pads.split_at(axes.len());
        let constant = find(self.node, "mode").is_none_or(|a| a.s == b"constant");
        for ((&axis, &before), &after) in axes.iter().zip(before).zip(after) {
            self.is_axis(axis, 0)?;
            let place = if axis < 0 {
                axis + shape.len() as i64
            } else {
                axis
            };
            let length = usize::try_from(place).ok().and_then(|at| *shape.get(at)?);
            let Some(length) = length else { continue };
            let is_copied = !constant && (before > 0 || after > 0);
            if length + before.min(0) + after.min(0) < 0 || (is_copied && length == 0) {
                refuse!("pads {before} and {after} of an axis of {length} elements");
            }
        }
        Ok(())
    }

    pub(super) fn resize(&self, scales: usize, sizes: usize) -> TractResult<()> {
        let scales = match self.numbers(scales) {
            Some(scales) => scales,
            None => find(self.node, "scales")
                .map_or(Vec::new(), |a| a.floats.iter().map(|&x| x.into()).collect()),
        };
        let is_scale = |x: &f64| x.is_finite() && *x > 0.0;
        if !scales.iter().all(is_scale) {
            refuse!("scales of {scales:?}");
        }
        for (scale, length) in scales.iter().zip(self.shape(0).unwrap_or_default()) {
            if length.is_some_and(|length| scale * length as f64 > MAX_LENGTH as f64) {
                refuse!("scales of {scales:?} make too large an axis");
            }
        }
        self.lengths(sizes)
    }

    /// The weights of a recurrent layer are for as many units as the attribute says.
    pub(super) fn hidden_size(&self) -> TractResult<()> {
        let size = find(self.node, "hidden_size").map(|a| a.i);
        match (size, self.shape(2)) {
            (Some(size), Some([_, _, Some(units)])) if size != *units => {
                refuse!("hidden_size is {size}, and the weights are for {units}")
            }
            _ => Ok(()),
        }
    }
}
