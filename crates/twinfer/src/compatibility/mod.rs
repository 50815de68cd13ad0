//! What a new version of a model changes for those who call the old one.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::signature::show_shape;
use crate::{
    Column, DType, Dim, InputStep, Label, Missing, ModelConfig, OutputSpec, OutputStep, Pipeline,
    RecordInput, Signature, TensorSpec, TextInput,
};

/// A difference between two versions of a model that a caller can notice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Change {
    /// What changed: "input `x`", "column `age`", "labels `classes`".
    pub what: String,
    /// How it changed.
    pub text: String,
    /// Whether a call that the old version answers can fail with the new one, or be answered
    /// in another form.
    pub breaking: bool,
}

/// Compares what two versions of a model take and give: the signature of the model file, and
/// the declared steps that a caller sees. Empty when nothing of that changed.
///
/// Breaking are: inputs (of the model, columns of a record, choices of parameters) that are
/// gone, new and required, renamed, of another type, or narrower; outputs that are gone,
/// renamed, or of another type or shape; labels that are gone or in another place; another
/// kind of input; lower limits. Compatible are wider axes of inputs, new columns that may be
/// missing, new parameters, outputs and labels, and other thresholds and steps in between.
pub fn compatibility(old: &ModelConfig, new: &ModelConfig) -> Vec<Change> {
    let mut changes = Changes::default();
    if let (Some(old), Some(new)) = (&old.signature, &new.signature) {
        signatures(&mut changes, old, new);
    }
    match (&old.pipeline, &new.pipeline) {
        (Some(old), Some(new)) => pipelines(&mut changes, old, new),
        (Some(_), None) => changes.breaking("pipeline", "is gone: only tensors are taken now"),
        (None, Some(_)) => changes.breaking("pipeline", "is new: answers have another form now"),
        (None, None) => {}
    }
    labels(&mut changes, &old.labels, &new.labels);
    for (what, before, after) in [
        (
            "limit max_pixels",
            old.limits.max_pixels,
            new.limits.max_pixels,
        ),
        (
            "limit max_bytes",
            old.limits.max_bytes,
            new.limits.max_bytes,
        ),
        (
            "limit max_samples",
            old.limits.max_samples,
            new.limits.max_samples,
        ),
    ] {
        if before != after {
            changes.add(what, format!("{before} became {after}"), after < before);
        }
    }
    changes.0
}

#[derive(Default)]
struct Changes(Vec<Change>);

impl Changes {
    fn add(&mut self, what: impl Into<String>, text: impl Into<String>, breaking: bool) {
        self.0.push(Change {
            what: what.into(),
            text: text.into(),
            breaking,
        });
    }

    fn breaking(&mut self, what: impl Into<String>, text: impl Into<String>) {
        self.add(what, text, true);
    }

    fn compatible(&mut self, what: impl Into<String>, text: impl Into<String>) {
        self.add(what, text, false);
    }
}

fn signatures(changes: &mut Changes, old: &Signature, new: &Signature) {
    let renamed = renamed(
        &old.inputs,
        &new.inputs,
        |i| &i.name,
        |a, b| a.dtype == b.dtype && a.shape == b.shape,
    );
    for before in &old.inputs {
        let what = format!("input `{}`", before.name);
        match new.inputs.iter().find(|i| i.name == before.name) {
            Some(after) => input(changes, &what, before, after),
            None if renamed.is_some_and(|(from, _)| from == before.name) => {}
            None => changes.breaking(what, "is gone"),
        }
    }
    for after in &new.inputs {
        let known = old.inputs.iter().any(|i| i.name == after.name);
        if !known && renamed.is_none_or(|(_, to)| to != after.name) {
            changes.breaking(
                format!("input `{}`", after.name),
                "is new, and every input of a model is required",
            );
        }
    }
    if let Some((from, to)) = renamed {
        changes.breaking(format!("input `{from}`"), format!("is now called `{to}`"));
    }
    tied_axes(changes, old, new);
    outputs(changes, &old.outputs, &new.outputs);
}

/// The one name that went and the one that came in its place, where all else is the same.
fn renamed<'a, T>(
    old: &'a [T],
    new: &'a [T],
    name: impl Fn(&'a T) -> &'a str,
    same: impl Fn(&T, &T) -> bool,
) -> Option<(&'a str, &'a str)> {
    let only = |from: &'a [T], other: &'a [T]| {
        let mut left = from
            .iter()
            .filter(|a| other.iter().all(|b| name(a) != name(b)));
        left.next().filter(|_| left.next().is_none())
    };
    let (went, came) = (only(old, new)?, only(new, old)?);
    same(went, came).then(|| (name(went), name(came)))
}

fn input(changes: &mut Changes, what: &str, old: &TensorSpec, new: &TensorSpec) {
    if old.dtype != new.dtype {
        changes.breaking(what, format!("{} became {}", old.dtype, new.dtype));
    }
    let text = || {
        format!(
            "{} became {}",
            show_shape(&old.shape),
            show_shape(&new.shape)
        )
    };
    match (&old.shape, &new.shape) {
        (_, None) if old.shape.is_some() => changes.compatible(what, text()),
        (None, Some(_)) => changes.breaking(what, text()),
        (Some(before), Some(after)) if before.len() != after.len() => {
            changes.breaking(what, text());
        }
        (Some(before), Some(after)) => {
            let mut axes = before.iter().zip(after);
            let narrower = axes.any(|(b, a)| matches!(a, Dim::Fixed(n) if *b != Dim::Fixed(*n)));
            let mut axes = before.iter().zip(after);
            let wider =
                axes.any(|(b, a)| matches!(b, Dim::Fixed(_)) && !matches!(a, Dim::Fixed(_)));
            if narrower || wider {
                changes.add(what, text(), narrower);
            }
        }
        _ => {}
    }
}

/// Axes that must now be equal, and had not to be before: narrower too, though each by itself
/// is as free as it was.
fn tied_axes(changes: &mut Changes, old: &Signature, new: &Signature) {
    let mut seen: Vec<(&str, &str, usize)> = Vec::new();
    for input in &new.inputs {
        for (axis, dim) in input.shape.iter().flatten().enumerate() {
            let Dim::Symbol(symbol) = dim else { continue };
            if let Some((_, other, at)) = seen.iter().find(|(known, _, _)| known == symbol) {
                let before = (old_axis(old, other, *at), old_axis(old, &input.name, axis));
                if let (Some(first), Some(second)) = before
                    && (first != second || *first == Dim::Free)
                    // Where one of them was fixed, the change is reported as that of its shape.
                    && !matches!((first, second), (Dim::Fixed(_), _) | (_, Dim::Fixed(_)))
                {
                    changes.breaking(
                        format!("input `{}`", input.name),
                        format!("axis {axis} must now be as long as axis {at} of `{other}`"),
                    );
                }
            } else {
                seen.push((symbol, &input.name, axis));
            }
        }
    }
}

fn old_axis<'a>(old: &'a Signature, input: &str, axis: usize) -> Option<&'a Dim> {
    let input = old.inputs.iter().find(|i| i.name == input)?;
    input.shape.as_ref()?.get(axis)
}

fn outputs(changes: &mut Changes, old: &[OutputSpec], new: &[OutputSpec]) {
    let renamed = renamed(
        old,
        new,
        |o| &o.name,
        |a, b| a.kind == b.kind && a.dtype == b.dtype && same_shape(a, b),
    );
    for before in old {
        let what = format!("output `{}`", before.name);
        let Some(after) = new.iter().find(|o| o.name == before.name) else {
            match renamed.filter(|(from, _)| *from == before.name) {
                Some((_, to)) => changes.breaking(what, format!("is now called `{to}`")),
                None => changes.breaking(what, "is gone"),
            }
            continue;
        };
        if before.kind != after.kind {
            changes.breaking(
                &what,
                format!("{:?} became {:?}", before.kind, after.kind).to_lowercase(),
            );
        }
        if before.dtype != after.dtype {
            changes.breaking(&what, format!("{} became {}", before.dtype, after.dtype));
        }
        if !same_shape(before, after) {
            let shapes = (show_shape(&before.shape), show_shape(&after.shape));
            changes.breaking(&what, format!("{} became {}", shapes.0, shapes.1));
        }
    }
    for after in new {
        let known = old.iter().any(|o| o.name == after.name);
        if !known && renamed.is_none_or(|(_, to)| to != after.name) {
            changes.compatible(format!("output `{}`", after.name), "is new");
        }
    }
}

/// Equal but for the names of free axes.
fn same_shape(old: &OutputSpec, new: &OutputSpec) -> bool {
    let fixed = |dim: &Dim| match dim {
        Dim::Fixed(n) => Some(*n),
        Dim::Symbol(_) | Dim::Free => None,
    };
    match (&old.shape, &new.shape) {
        (Some(a), Some(b)) => a.iter().map(fixed).eq(b.iter().map(fixed)),
        (a, b) => a.is_none() && b.is_none(),
    }
}

fn pipelines(changes: &mut Changes, old: &Pipeline, new: &Pipeline) {
    let what = format!("input `{}`", old.input.name());
    if old.input.kind() != new.input.kind() {
        changes.breaking(
            &what,
            format!("was a {}, is a {}", old.input.kind(), new.input.kind()),
        );
    } else if old.input.name() != new.input.name() {
        changes.breaking(&what, format!("is now called `{}`", new.input.name()));
    }
    match (&old.input, &new.input) {
        (InputStep::Record(old), InputStep::Record(new)) => columns(changes, old, new),
        (InputStep::Text(old), InputStep::Text(new))
            if old.max_characters != new.max_characters =>
        {
            let most = |step: &TextInput| step.max_characters.unwrap_or(u32::MAX);
            changes.add(
                &what,
                match new.max_characters {
                    Some(most) => format!("now takes {most} characters at the most"),
                    None => "now takes texts of any length".into(),
                },
                most(new) < most(old),
            );
        }
        (old, new) if old != new && old.kind() == new.kind() => {
            changes.compatible(&what, "is prepared in another way");
        }
        _ => {}
    }
    for before in &old.outputs {
        let what = format!("answer `{}`", before.name());
        match new.outputs.iter().find(|o| o.name() == before.name()) {
            None => changes.breaking(what, "is gone"),
            Some(after) if kind(before) != kind(after) => {
                changes.breaking(what, format!("was {}, is {}", kind(before), kind(after)))
            }
            Some(after) if before != after => changes.compatible(what, "is made in another way"),
            Some(_) => {}
        }
    }
    for after in &new.outputs {
        if old.outputs.iter().all(|o| o.name() != after.name()) {
            changes.compatible(format!("answer `{}`", after.name()), "is new");
        }
    }
    parameters(changes, old, new);
}

fn kind(step: &OutputStep) -> &'static str {
    match step {
        OutputStep::Tensor(_) => "tensor",
        OutputStep::Label(_) => "label",
        OutputStep::Probabilities(_) => "probabilities",
        OutputStep::Classes(_) => "classes",
        OutputStep::Decision(_) => "decision",
        OutputStep::Boxes(_) => "boxes",
    }
}

fn is_text(step: &RecordInput, column: &Column) -> bool {
    step.dtype_of(column) == DType::String
}

fn columns(changes: &mut Changes, old: &RecordInput, new: &RecordInput) {
    let renamed = renamed(
        &old.columns,
        &new.columns,
        |c| &c.name,
        |a, b| a.missing == b.missing && old.dtype_of(a) == new.dtype_of(b),
    );
    for before in &old.columns {
        let what = format!("column `{}`", before.name);
        match new.columns.iter().find(|c| c.name == before.name) {
            None => match renamed.filter(|(from, _)| *from == before.name) {
                Some((_, to)) => changes.breaking(
                    what,
                    format!("is now called `{to}`, or was exchanged for it"),
                ),
                None => changes.breaking(what, "is gone: records that have it are refused"),
            },
            Some(after) if is_text(old, before) != is_text(new, after) => {
                let text = match is_text(new, after) {
                    true => "was a number, is a text",
                    false => "was a text, is a number",
                };
                changes.breaking(what, text);
            }
            Some(after) if before.missing == after.missing => {}
            Some(after) => {
                let required = after.missing == Missing::Error;
                let text = if required {
                    "is now required"
                } else {
                    "may now be missing"
                };
                changes.add(what, text, required);
            }
        }
    }
    for after in &new.columns {
        let known = old.columns.iter().any(|c| c.name == after.name);
        if !known && renamed.is_none_or(|(_, to)| to != after.name) {
            let required = after.missing == Missing::Error;
            let text = if required {
                "is new and required"
            } else {
                "is new and may be missing"
            };
            changes.add(format!("column `{}`", after.name), text, required);
        }
    }
}

fn parameters(changes: &mut Changes, old: &Pipeline, new: &Pipeline) {
    for before in &old.parameters {
        let what = format!("parameter `{}`", before.name);
        let Some(after) = new.parameters.iter().find(|p| p.name == before.name) else {
            changes.breaking(what, "is gone");
            continue;
        };
        for value in &before.values {
            if !after.values.contains(value) {
                changes.breaking(&what, format!("has no value `{value}` any more"));
            }
        }
        for value in &after.values {
            if !before.values.contains(value) {
                changes.compatible(&what, format!("has the new value `{value}`"));
            }
        }
        if before.default != after.default {
            changes.compatible(
                &what,
                format!(
                    "is `{}` instead of `{}` by default",
                    after.default, before.default
                ),
            );
        }
    }
    for after in &new.parameters {
        if old.parameters.iter().all(|p| p.name != after.name) {
            changes.compatible(format!("parameter `{}`", after.name), "is new");
        }
    }
}

type Labels = BTreeMap<String, Vec<Label>>;

fn labels(changes: &mut Changes, old: &Labels, new: &Labels) {
    for (key, before) in old {
        let what = format!("labels `{key}`");
        let Some(after) = new.get(key) else {
            // Which list an answer uses is its own affair; what it answers with is not.
            changes.breaking(what, "are gone");
            continue;
        };
        let names = |list: &'_ [Label]| list.iter().map(|l| l.name.clone()).collect::<Vec<_>>();
        let (before, after) = (names(before), names(after));
        if let Some(at) = before.iter().zip(&after).position(|(b, a)| b != a) {
            let pair = (before.get(at), after.get(at));
            if let (Some(b), Some(a)) = pair {
                changes.breaking(what, format!("number {at} was `{b}` and is `{a}`"));
            }
        } else if let Some(gone) = before.get(after.len()) {
            changes.breaking(what, format!("`{gone}` is gone"));
        } else if after.len() > before.len() {
            changes.compatible(what, format!("{} are new", after.len() - before.len()));
        }
    }
}

#[cfg(test)]
mod tests;
