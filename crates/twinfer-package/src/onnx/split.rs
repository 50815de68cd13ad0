//! A model file in shards: large tensors become files of their own.

use std::collections::{BTreeMap, BTreeSet};

use twinfer::{Result, bail};

use super::join::join;
use super::rewrite::{Edit, rewrite};
use super::scan::{EXTERNAL_DATA, RAW_DATA, Scan, TensorFields, scan};
use super::wire::bytes_head;
use crate::content::Content;
use crate::limits::{MAX_MODEL_BYTES, MAX_SHARDS, MIN_SHARD_BYTES, MIN_SHARDED_BYTES};
use crate::{Digest, media};

/// A model file and its shards.
#[derive(Debug)]
pub(crate) struct Split {
    /// `model.onnx`.
    pub model: Content,
    /// The large tensors, by file name, in the order in which the model file names them first.
    pub shards: Vec<Shard>,
}

/// A large tensor.
#[derive(Debug)]
pub(crate) struct Shard {
    pub name: String,
    pub digest: Digest,
    pub content: Content,
}

/// `data_location: EXTERNAL`, as a field.
const IS_EXTERNAL: &[u8] = &[14 << 3, 1];

/// Splits a model file. What its tensors keep in files beside it comes from `beside`.
///
/// A file is kept whole where nothing is gained, and where joining would not give its bytes
/// back: one with numbers that are written longer than need be, or one that is no model.
///
/// # Errors
/// `storage`; those of `beside`; `model_too_large` where too much is left in `model.onnx`.
pub(crate) fn split(
    model: &Content,
    beside: &mut dyn FnMut(&str) -> Result<Content>,
) -> Result<Split> {
    let whole = || Split {
        model: model.clone(),
        shards: Vec::new(),
    };
    // What cannot be read is said by the engine, which reads it with the whole schema.
    let Ok(scan) = scan(model) else {
        return Ok(whole());
    };
    let tensors = contents(model, &scan, beside)?;
    let outside = scan.tensors.iter().any(|tensor| tensor.place.is_some());
    let beside_bytes: u64 = match outside {
        true => tensors.iter().flatten().map(Content::length).sum(),
        false => 0,
    };
    if model.length() + beside_bytes < MIN_SHARDED_BYTES && !outside {
        return Ok(whole());
    }
    let (edits, shards) = plan(&scan, &tensors)?;
    let split = Split {
        model: rewrite(model, &scan, edits),
        shards,
    };
    if outside {
        if split.model.length() > MAX_MODEL_BYTES {
            bail!(
                ModelTooLarge,
                "the graph and the weights that are no shards have {} bytes; at most {MAX_MODEL_BYTES} can be packed",
                split.model.length()
            );
        }
        return Ok(split);
    }
    match split.shards.is_empty() || !gives_back(&split, model)? {
        true => Ok(whole()),
        false => Ok(split),
    }
}

/// The elements of each tensor, where they are bytes that can be taken out.
fn contents(
    model: &Content,
    scan: &Scan,
    beside: &mut dyn FnMut(&str) -> Result<Content>,
) -> Result<Vec<Option<Content>>> {
    let mut one = |tensor: &TensorFields| match &tensor.place {
        None => Ok(tensor
            .elements()
            .filter(|_| tensor.outside.is_empty())
            .map(|field| model.slice(field.value, field.end))),
        Some(place) => {
            let file = beside(&place.location)?;
            let rest = file.length().checked_sub(place.offset);
            let length = place.length.or(rest).unwrap_or(u64::MAX);
            if rest.is_none_or(|rest| length > rest) {
                bail!(
                    InvalidModel,
                    "a weight has {length} bytes from {} on in `{}`, which has {}",
                    place.offset,
                    crate::digest::shorten(&place.location),
                    file.length()
                );
            }
            Ok(Some(file.slice(place.offset, place.offset + length)))
        }
    };
    scan.tensors.iter().map(&mut one).collect()
}

/// Which tensors become shards: the largest, as many as there may be.
fn chosen(tensors: &[Option<Content>]) -> BTreeSet<usize> {
    let mut sizes: Vec<(u64, usize)> = tensors
        .iter()
        .enumerate()
        .filter_map(|(index, content)| Some((content.as_ref()?.length(), index)))
        .filter(|(length, _)| *length >= MIN_SHARD_BYTES)
        .collect();
    sizes.sort_by_key(|(length, index)| (std::cmp::Reverse(*length), *index));
    sizes.truncate(MAX_SHARDS);
    sizes.into_iter().map(|(_, index)| index).collect()
}

fn plan(scan: &Scan, tensors: &[Option<Content>]) -> Result<(BTreeMap<usize, Edit>, Vec<Shard>)> {
    let chosen = chosen(tensors);
    let mut edits = BTreeMap::new();
    let mut shards: Vec<Shard> = Vec::new();
    let mut known: BTreeMap<String, Digest> = BTreeMap::new();
    for (index, (tensor, content)) in scan.tensors.iter().zip(tensors).enumerate() {
        let Some(content) = content else { continue };
        if chosen.contains(&index) {
            let digest = content.digest()?;
            let name = shard_name(&digest);
            // Equal tensors share a shard. Two that differ, but not in the first 64 bits of
            // their digests, are not for one package: the second stays where it is.
            let other = known.get(&name);
            if other.is_none() {
                known.insert(name.clone(), digest);
                shards.push(Shard {
                    name: name.clone(),
                    digest,
                    content: content.clone(),
                });
            }
            if known.get(&name) == Some(&digest) {
                edits.insert(index, to_shard(tensor, &name));
                continue;
            }
        }
        if tensor.place.is_some() {
            edits.insert(index, into_file(tensor, content));
        }
    }
    Ok((edits, shards))
}

/// The file name of a shard: its content decides, so that a tensor has one name in every
/// version of a model.
fn shard_name(digest: &Digest) -> String {
    format!("{}{}.bin", media::SHARDS, &digest.hex()[..16])
}

/// A tensor that says where its shard is. The order of the two fields says in which one its
/// elements were: `external_data` first for `raw_data`, `data_location` first for the typed
/// field. Readers of protobuf take both orders.
fn to_shard(tensor: &TensorFields, name: &str) -> Edit {
    let mut pair = bytes_head(1, 8);
    pair.extend(b"location");
    pair.extend(bytes_head(2, name.len() as u64));
    pair.extend(name.as_bytes());
    let mut entry = bytes_head(EXTERNAL_DATA, pair.len() as u64);
    entry.extend(pair);
    let typed = tensor.elements().is_some_and(|f| f.number != RAW_DATA);
    let fields = match typed {
        true => [IS_EXTERNAL, &entry].concat(),
        false => [&entry, IS_EXTERNAL].concat(),
    };
    let cut = match tensor.place {
        Some(_) => tensor.outside.clone(),
        None => tensor.payload.clone(),
    };
    Edit {
        cut,
        insert: vec![fields.into()],
    }
}

/// A tensor with its elements in the model file again.
pub(super) fn into_file(tensor: &TensorFields, content: &Content) -> Edit {
    let located_first = tensor
        .outside
        .first()
        .is_some_and(|f| f.number != EXTERNAL_DATA);
    let number = match tensor.typed() {
        Some(typed) if located_first => typed,
        _ => RAW_DATA,
    };
    Edit {
        cut: tensor.outside.clone(),
        insert: vec![bytes_head(number, content.length()).into(), content.clone()],
    }
}

/// Whether joining gives the bytes of the model file.
fn gives_back(split: &Split, model: &Content) -> Result<bool> {
    let beside = |location: &str| {
        let shard = split.shards.iter().find(|s| s.name == location);
        match shard {
            Some(shard) => Ok(shard.content.clone()),
            None => bail!(Internal, "there is no shard {location}"),
        }
    };
    // Of a model with large weights in fields that are not taken out, this is large too.
    join(&split.model, &beside)?.equals(model)
}
