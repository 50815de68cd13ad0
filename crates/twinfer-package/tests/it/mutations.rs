//! Every reader on damaged text: an error or a value, never a panic.

use twinfer::ModelConfig;
use twinfer_package::{
    Golden, Index, Manifest, MemoryStore, ModelPackConfig, Package, Reference, Store,
};

use crate::fixture::{Recipe, reference};

/// Calls the reader with every byte exchanged for others that mean something in JSON, with
/// every end cut off, and with parts doubled.
fn mutate<T>(json: &[u8], read: impl Fn(&[u8]) -> twinfer::Result<T>) {
    assert!(read(json).is_ok());
    let mut accepted = 0;
    for at in 0..json.len() {
        assert!(read(&json[..at]).is_err(), "cut at {at}");
        for byte in *b"\0\"\\{}[],:-0x9e.\xff" {
            let mut changed = json.to_vec();
            changed[at] = byte;
            accepted += usize::from(read(&changed).is_ok());
        }
        let doubled = [&json[..at], &json[at / 2..]].concat();
        let _ = read(&doubled);
    }
    // Texts may say anything; the structure may not.
    assert!(accepted < json.len() * 16);
}

#[test]
fn readers_of_json() {
    let store = MemoryStore::new();
    Recipe::new().pack(&store).unwrap();
    let package = Package::open(&store, &reference()).unwrap();
    mutate(&store.index().unwrap(), |json| {
        let index = Index::from_json(json)?;
        let _ = index.resolve(&reference());
        index.tags();
        index.to_json()
    });
    mutate(
        &serde_json::to_vec(package.manifest()).unwrap(),
        Manifest::from_json,
    );
    mutate(
        &serde_json::to_vec(package.model_pack()).unwrap(),
        ModelPackConfig::from_json,
    );
    mutate(
        &serde_json::to_vec(package.config()).unwrap(),
        ModelConfig::from_json,
    );
    let golden = serde_json::to_vec(package.golden().unwrap()).unwrap();
    mutate(&golden[..], |json| {
        let golden = Golden::from_json(json)?;
        golden
            .cases
            .iter()
            .for_each(|case| drop(case.input.to_input()));
        Ok(())
    });
}

#[test]
fn references_of_any_characters() {
    let good = format!("a.b_c:1.0.0@sha256:{}", "0a".repeat(32));
    for at in 0..good.len() {
        for character in [' ', '/', ':', '@', '.', '-', '_', 'A', 'é', '\0', '日'] {
            let changed: String = good
                .char_indices()
                .map(|(i, c)| if i == at { character } else { c })
                .collect();
            if let Ok(reference) = changed.parse::<Reference>() {
                assert_eq!(reference.to_string(), changed);
            }
            let _ = good[..at].parse::<Reference>();
        }
    }
}
