//! Splitting and joining anything: an error or a value, never a panic, and never other bytes.

use twinfer::{ErrorCode, Result, bail};

use super::wire::{bytes_head, varint};
use super::{Split, join, split};
use crate::content::Content;
use crate::limits::{MIN_SHARD_BYTES, MIN_SHARDED_BYTES};

fn field(number: u64, value: &[u8]) -> Vec<u8> {
    [&bytes_head(number, value.len() as u64), value].concat()
}

fn no_files(location: &str) -> Result<Content> {
    bail!(InvalidModel, "no {location}")
}

fn split_bytes(model: &[u8]) -> Result<Split> {
    split(&model.to_vec().into(), &mut no_files)
}

fn join_split(split: &Split) -> Result<Vec<u8>> {
    let beside = |location: &str| {
        let shard = split.shards.iter().find(|s| s.name == location);
        shard.map_or_else(|| no_files(location), |s| Ok(s.content.clone()))
    };
    join(&split.model, &beside)?.to_vec()
}

/// One large tensor, a small one, and one outside of the file where it is said.
fn model(outside: Option<&[u8]>) -> Vec<u8> {
    let large: Vec<u8> = (0..MIN_SHARDED_BYTES).map(|i| (i % 251) as u8).collect();
    let tensor =
        |name: &[u8], rest: Vec<u8>| field(5, &[vec![8, 3, 16, 1], field(8, name), rest].concat());
    let mut graph = [
        field(1, b"node"),
        tensor(b"large", field(9, &large)),
        tensor(b"small", field(9, &[1; 12])),
    ]
    .concat();
    if let Some(location) = outside {
        let pair = [field(1, b"location"), field(2, location)].concat();
        graph.extend(tensor(
            b"outside",
            [field(13, &pair), vec![14 << 3, 1]].concat(),
        ));
    }
    [vec![8, 8], field(7, &graph), field(20, b"end")].concat()
}

#[test]
fn what_is_split_is_joined_to_the_same_bytes() {
    let model = model(None);
    let split = split_bytes(&model).unwrap();
    assert_eq!(split.shards.len(), 1);
    assert_eq!(split.shards[0].content.length(), MIN_SHARDED_BYTES);
    assert!(split.model.length() < 300);
    assert!(join_split(&split).unwrap() == model);
}

/// The model without the bytes of its large tensor, so that every byte can be tried.
fn skeleton(outside: Option<&[u8]>) -> Vec<u8> {
    let beside = &mut |_: &str| Ok(Content::from(vec![7; MIN_SHARD_BYTES as usize]));
    let split = split(&model(outside).into(), beside).unwrap();
    split.model.to_vec().unwrap()
}

#[test]
fn models_cut_off_or_changed_at_every_byte() {
    let whole = skeleton(Some(b"elsewhere"));
    let beside = |_: &str| Ok(Content::from(vec![7; 100]));
    let try_both = |bytes: &[u8]| {
        let content = Content::from(bytes.to_vec());
        let joined = join(&content, &beside).map(|joined| joined.to_vec());
        if let Ok(split) = split(&content, &mut |location| beside(location)) {
            assert_eq!(
                split.model.to_vec().unwrap().len() as u64,
                split.model.length()
            );
        }
        if let Ok(joined) = joined {
            joined.unwrap();
        }
    };
    for at in 0..whole.len() {
        // Whole fields: before the graph there is none, after it the last may go.
        let good = join(&whole[..at].to_vec().into(), &beside).is_ok();
        assert!(!good || at + 6 == whole.len(), "{at} of {}", whole.len());
        try_both(&whole[..at]);
        for value in [0, 1, 0x7f, 0x80, 0xff, whole[at] ^ 1, whole[at] ^ 8] {
            let mut changed = whole.clone();
            changed[at] = value;
            try_both(&changed);
        }
    }
}

#[test]
fn a_large_model_cut_off_anywhere_is_kept_as_it_is() {
    let model = model(None);
    let ends = (0..200).chain((200..model.len()).step_by(40_009));
    for end in ends.chain(model.len() - 200..model.len()) {
        let split = split_bytes(&model[..end]).unwrap();
        // Without the last field, which is no part of the graph, it is a whole model.
        if split.shards.is_empty() {
            assert!(split.model.to_vec().unwrap() == model[..end]);
        } else {
            assert!(join_split(&split).unwrap() == model[..end]);
        }
    }
}

#[test]
fn lengths_that_lie() {
    for claimed in [1 << 20, 1 << 40, u64::MAX >> 1, u64::MAX] {
        for number in [5, 7, 9] {
            let mut bytes = varint(number << 3 | 2);
            bytes.extend(varint(claimed));
            for bytes in [bytes.clone(), field(7, &bytes), field(7, &field(5, &bytes))] {
                let content = Content::from(bytes);
                let error = join(&content, &no_files).unwrap_err();
                assert_eq!(error.code(), ErrorCode::InvalidModel);
                assert!(split(&content, &mut no_files).unwrap().shards.is_empty());
            }
        }
    }
    // A number that never ends, one that is too large, a group, the field 0.
    for bytes in [
        vec![0xff; 20],
        [vec![0x08], vec![0xff; 9], vec![0x02]].concat(),
        vec![0x0b],
        vec![0x00, 0x00],
    ] {
        assert!(join(&bytes.into(), &no_files).is_err());
    }
}

#[test]
fn places_outside_are_followed_or_refused() {
    let model = model(Some(b"file"));
    let large = vec![9; MIN_SHARD_BYTES as usize];
    let files = |bytes: Vec<u8>| {
        let model = Content::from(model.clone());
        split(&model, &mut |location| {
            assert_eq!(location, "file");
            Ok(bytes.clone().into())
        })
    };
    assert_eq!(files(large).unwrap().shards.len(), 2);
    // A small one comes into the file.
    let split = files(vec![9; 12]).unwrap();
    assert_eq!(split.shards.len(), 1);
    let joined = join_split(&split).unwrap();
    assert!(joined.windows(14).any(|w| w == field(9, &[9; 12])));
    assert_eq!(
        split_bytes(&model).unwrap_err().code(),
        ErrorCode::InvalidModel
    );
}
