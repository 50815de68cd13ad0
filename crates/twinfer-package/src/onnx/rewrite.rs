//! A model file with some fields of some tensors exchanged.

use std::collections::BTreeMap;

use super::scan::{GRAPH, INITIALIZER, Scan};
use super::wire::{Field, bytes_head};
use crate::content::Content;

/// What happens to a tensor: these fields go, and others come where the first of them was.
pub(super) struct Edit {
    pub cut: Vec<Field>,
    pub insert: Vec<Content>,
}

/// The changed file: parts of the old one and of what is inserted. Only the lengths around
/// the changes are written anew.
pub(super) fn rewrite(model: &Content, scan: &Scan, edits: BTreeMap<usize, Edit>) -> Content {
    if edits.is_empty() {
        return model.clone();
    }
    let mut inside = Vec::new();
    let mut at = scan.graph.value;
    for (index, edit) in edits {
        let Some(tensor) = scan.tensors.get(index) else {
            continue;
        };
        let body = edited(model, &tensor.field, edit);
        inside.push(model.slice(at, tensor.field.start));
        inside.push(bytes_head(INITIALIZER, body.length()).into());
        inside.push(body);
        at = tensor.field.end;
    }
    inside.push(model.slice(at, scan.graph.end));
    let inside = Content::Joined(inside);
    Content::Joined(vec![
        model.slice(0, scan.graph.start),
        bytes_head(GRAPH, inside.length()).into(),
        inside,
        model.slice(scan.graph.end, model.length()),
    ])
}

fn edited(model: &Content, tensor: &Field, edit: Edit) -> Content {
    let mut parts = Vec::new();
    let mut insert = Some(edit.insert);
    let mut at = tensor.value;
    for field in edit.cut {
        parts.push(model.slice(at, field.start));
        parts.extend(insert.take().unwrap_or_default());
        at = field.end;
    }
    parts.push(model.slice(at, tensor.end));
    parts.extend(insert.unwrap_or_default());
    Content::Joined(parts)
}
