//! The different elements of a tensor.

use std::cmp::Ordering;

use super::real::{self, Real, with_real};
use crate::program::arrange::pick;
use crate::program::inputs::{Inputs, Kernel, axis, kernel};
use crate::program::node::Node;
use crate::{DType, Result, Tensor, Value};

pub(super) const OPS: super::Table = &[("Unique", make_unique)];

/// `Unique` (Operators.md, ai.onnx 11).
fn make_unique(node: &Node<'_>) -> Result<Option<Kernel>> {
    let (along, sorted) = (node.int_opt("axis"), node.flag("sorted", true));
    let outputs = node.outputs();
    kernel(move |inputs| {
        let mut made = unique(inputs, along, sorted)?;
        made.truncate(outputs);
        Ok(made)
    })
    .map(Some)
}

/// What is compared: the parts of a tensor at the places of an axis, or its elements.
struct Parts {
    outer: usize,
    count: usize,
    inner: usize,
}

impl Parts {
    fn compare<T>(&self, all: &[T], a: usize, b: usize, order: fn(&T, &T) -> Ordering) -> Ordering {
        for row in 0..self.outer {
            let of = |part: usize| {
                let start = (row * self.count + part) * self.inner;
                all.get(start..start + self.inner).unwrap_or_default()
            };
            for (x, y) in of(a).iter().zip(of(b)) {
                match order(x, y) {
                    Ordering::Equal => {}
                    other => return other,
                }
            }
        }
        Ordering::Equal
    }

    /// Which parts are first of their kind, by order of their content, and for each part of which
    /// kind it is.
    fn kinds<T>(&self, all: &[T], order: fn(&T, &T) -> Ordering) -> Result<Kinds> {
        let mut by_content: Vec<usize> = (0..self.count).collect();
        // Stable: the first of a kind stays the first.
        by_content.sort_by(|&a, &b| self.compare(all, a, b, order));
        let mut kinds = Kinds {
            first: Vec::new(),
            of: real::filled(&[self.count], 0usize)?,
            counts: Vec::new(),
        };
        for part in by_content {
            let last = kinds.first.last().copied();
            if last.is_some_and(|last| self.compare(all, last, part, order).is_eq()) {
                if let Some(count) = kinds.counts.last_mut() {
                    *count += 1;
                }
            } else {
                kinds.first.push(part);
                kinds.counts.push(1);
            }
            if let Some(of) = kinds.of.get_mut(part) {
                *of = kinds.first.len() - 1;
            }
        }
        Ok(kinds)
    }
}

struct Kinds {
    first: Vec<usize>,
    of: Vec<usize>,
    counts: Vec<i64>,
}

impl Kinds {
    /// In the order in which they come first.
    fn unsorted(self) -> Self {
        let mut order: Vec<usize> = (0..self.first.len()).collect();
        order.sort_by_key(|&kind| self.first.get(kind).copied());
        let mut places = vec![0; order.len()];
        for (place, &kind) in order.iter().enumerate() {
            if let Some(at) = places.get_mut(kind) {
                *at = place;
            }
        }
        let at = |list: &[usize], i: usize| list.get(i).copied().unwrap_or(0);
        Self {
            first: order.iter().map(|&kind| at(&self.first, kind)).collect(),
            of: self.of.iter().map(|&kind| at(&places, kind)).collect(),
            counts: (order.iter())
                .map(|&kind| self.counts.get(kind).copied().unwrap_or(0))
                .collect(),
        }
    }
}

/// Numbers by size, and what is none behind them.
fn by_size<T: Real>(a: &T, b: &T) -> Ordering {
    a.partial_cmp(b).unwrap_or_else(|| {
        let none = |x: &T| x.to_f64().is_nan();
        none(a).cmp(&none(b))
    })
}

fn unique(inputs: &Inputs<'_>, along: Option<i64>, sorted: bool) -> Result<Vec<Value>> {
    let x = inputs.tensor(0)?;
    let mut shape = match along {
        None => vec![x.len()],
        Some(_) => x.shape().to_vec(),
    };
    let axis = axis(along.unwrap_or(0), shape.len())?;
    let parts = Parts {
        outer: real::product(shape.get(..axis).unwrap_or_default()),
        count: shape.get(axis).copied().unwrap_or(0),
        inner: real::product(shape.get(axis + 1..).unwrap_or_default()),
    };
    if x.is_empty() && parts.count > 0 {
        crate::bail!(InvalidInput, "parts without elements cannot be compared");
    }
    let kinds = match x.dtype() {
        DType::String => parts.kinds(x.strings().unwrap_or_default(), String::cmp),
        DType::Bool => parts.kinds(&x.view::<bool>()?, bool::cmp),
        dtype => with_real!(dtype, T => parts.kinds(&x.view::<T>()?, by_size::<T>)),
    }?;
    let kinds = if sorted { kinds } else { kinds.unsorted() };
    let first = &kinds.first;
    if let Some(length) = shape.get_mut(axis) {
        *length = first.len();
    }
    let places = (0..parts.outer).flat_map(|row| {
        let (count, inner) = (parts.count, parts.inner);
        let parts = first.iter();
        parts.flat_map(move |part| (0..inner).map(move |i| Some((row * count + part) * inner + i)))
    });
    let y = pick(x, &shape, places)?;
    let list = |list: Vec<i64>| Tensor::from_vec(&[list.len()], list).map(Value::Tensor);
    Ok(vec![
        Value::Tensor(y),
        list(first.iter().map(|&at| at as i64).collect())?,
        list(kinds.of.iter().map(|&kind| kind as i64).collect())?,
        list(kinds.counts)?,
    ])
}
