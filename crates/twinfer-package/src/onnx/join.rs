//! A model file and its shards in one file again.

use std::collections::BTreeMap;

use twinfer::{Result, bail};

use super::rewrite::rewrite;
use super::scan::scan;
use super::split::into_file;
use crate::content::Content;
use crate::limits::MAX_MODEL_BYTES;

/// The model file with the weights in it that it has beside it. For a package of ours, these
/// are the bytes that were packed.
///
/// # Errors
/// `invalid_model` for what is no model file, or claims beyond the end of a shard;
/// `model_too_large` for one that no protobuf message can hold; those of `beside`.
pub(crate) fn join(model: &Content, beside: &dyn Fn(&str) -> Result<Content>) -> Result<Content> {
    let model = &model.in_one_place()?;
    let scan = scan(model)?;
    let mut edits = BTreeMap::new();
    for (index, tensor) in scan.tensors.iter().enumerate() {
        let Some(place) = &tensor.place else { continue };
        let shard = beside(&place.location)?;
        let end = match place.length {
            Some(length) => place.offset.checked_add(length),
            None => Some(shard.length()),
        };
        let Some(end) = end.filter(|end| place.offset <= *end && *end <= shard.length()) else {
            bail!(
                InvalidModel,
                "a weight claims bytes beyond the {} of `{}`",
                shard.length(),
                crate::digest::shorten(&place.location)
            );
        };
        edits.insert(index, into_file(tensor, &shard.slice(place.offset, end)));
    }
    let joined = rewrite(model, &scan, edits);
    if joined.length() > MAX_MODEL_BYTES {
        bail!(
            ModelTooLarge,
            "in one file the model has {} bytes; at most {MAX_MODEL_BYTES} fit into one",
            joined.length()
        );
    }
    Ok(joined)
}
