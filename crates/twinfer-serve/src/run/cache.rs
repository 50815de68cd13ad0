//! Predictions that were made before.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};
use twinfer::{MapKeys, Model, Result, Tensor, Value};

use super::{Run, Values};

/// What an entry costs beside its outputs: keys, names, the tables.
const OVERHEAD: usize = 256;

type Key = [u8; 32];

/// Outputs by package and inputs, in memory, within a number of bytes; the least recently used
/// goes first.
///
/// The key is the SHA-256 digest of the digest of the package and of the model's own inputs, after
/// the steps before it: two files of one picture are one entry. The same inputs give the same
/// outputs, to the bit, so an answer out of it is no other answer.
pub(crate) struct Cache {
    max_bytes: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    entries: HashMap<Key, Entry>,
    /// The entries by when they were used.
    uses: BTreeMap<u64, Key>,
    clock: u64,
    bytes: usize,
}

struct Entry {
    outputs: Arc<Values>,
    bytes: usize,
    used: u64,
}

impl Cache {
    /// One that keeps nothing when `max_bytes` is 0.
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            kept: Mutex::default(),
        }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.max_bytes > 0
    }

    fn get(&self, key: &Key) -> Option<Arc<Values>> {
        let mut kept = self.kept();
        let now = kept.tick();
        let Kept { entries, uses, .. } = &mut *kept;
        let entry = entries.get_mut(key)?;
        uses.remove(&entry.used);
        uses.insert(now, *key);
        entry.used = now;
        Some(entry.outputs.clone())
    }

    fn keep(&self, key: Key, outputs: &Values) {
        let bytes = outputs.iter().map(size).sum::<usize>() + OVERHEAD;
        if bytes > self.max_bytes {
            return;
        }
        let mut kept = self.kept();
        kept.forget(&key);
        while kept.bytes + bytes > self.max_bytes {
            let Some((_, oldest)) = kept.uses.first_key_value() else {
                break;
            };
            let oldest = *oldest;
            kept.forget(&oldest);
        }
        let used = kept.tick();
        kept.uses.insert(used, key);
        kept.bytes += bytes;
        let outputs = Arc::new(outputs.clone());
        let entry = Entry {
            outputs,
            bytes,
            used,
        };
        kept.entries.insert(key, entry);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn forget(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.uses.remove(&entry.used);
            self.bytes -= entry.bytes;
        }
    }
}

/// Looks into a cache before it runs a model.
pub(crate) struct Remembering<'a> {
    run: &'a dyn Run,
    cache: &'a Cache,
    hits: Cell<u32>,
    misses: Cell<u32>,
}

impl<'a> Remembering<'a> {
    pub(crate) fn new(run: &'a dyn Run, cache: &'a Cache) -> Self {
        Self {
            run,
            cache,
            hits: Cell::new(0),
            misses: Cell::new(0),
        }
    }

    /// The value of the header `x-twinfer-cache`: `hit` when no model ran for the request, `miss` when
    /// one did; `None` when the cache was not asked.
    pub(crate) fn outcome(&self) -> Option<&'static str> {
        match (self.hits.get(), self.misses.get()) {
            (0, 0) => None,
            (_, 0) => Some("hit"),
            _ => Some("miss"),
        }
    }
}

impl Run for Remembering<'_> {
    fn run(&self, model: &Model, inputs: Values) -> Result<Values> {
        let key = self.cache.is_on().then(|| key(model.digest(), &inputs));
        let Some(Some(key)) = key else {
            return self.run.run(model, inputs);
        };
        if let Some(outputs) = self.cache.get(&key) {
            self.hits.set(self.hits.get() + 1);
            return Ok(outputs.as_ref().clone());
        }
        let outputs = self.run.run(model, inputs)?;
        self.misses.set(self.misses.get() + 1);
        self.cache.keep(key, &outputs);
        Ok(outputs)
    }
}

/// `None` for values that are no tensors and no maps.
fn key(digest: &str, inputs: &Values) -> Option<Key> {
    // The order in which a client gives them says nothing.
    let mut ordered: Vec<&(String, Value)> = inputs.iter().collect();
    ordered.sort_by(|a, b| a.0.cmp(&b.0));
    let mut hash = Sha256::new();
    text(&mut hash, digest);
    for (name, value) in ordered {
        text(&mut hash, name);
        match value {
            Value::Tensor(value) => tensor(&mut hash, value),
            Value::Maps(maps) => {
                match &maps.keys {
                    MapKeys::Ints(keys) => {
                        keys.iter().for_each(|key| hash.update(key.to_le_bytes()))
                    }
                    MapKeys::Strings(keys) => keys.iter().for_each(|key| text(&mut hash, key)),
                }
                tensor(&mut hash, &maps.values);
            }
            Value::Sequence(_) | Value::Optional(_) => return None,
        }
    }
    Some(hash.finalize().into())
}

/// With its length in front: two texts are never taken for two others.
fn text(hash: &mut Sha256, text: &str) {
    hash.update((text.len() as u64).to_le_bytes());
    hash.update(text.as_bytes());
}

fn tensor(hash: &mut Sha256, tensor: &Tensor) {
    text(hash, tensor.dtype().name());
    hash.update((tensor.shape().len() as u64).to_le_bytes());
    for axis in tensor.shape() {
        hash.update((*axis as u64).to_le_bytes());
    }
    match (tensor.as_bytes(), tensor.strings()) {
        (Some(bytes), _) => hash.update(bytes),
        (None, strings) => strings
            .unwrap_or_default()
            .iter()
            .for_each(|s| text(hash, s)),
    }
}

fn size((name, value): &(String, Value)) -> usize {
    let of = |tensor: &Tensor| match tensor.strings() {
        Some(strings) => strings
            .iter()
            .map(|text| text.len() + size_of::<String>())
            .sum(),
        None => tensor.as_bytes().map_or(0, <[u8]>::len),
    };
    name.len()
        + match value {
            Value::Tensor(tensor) => of(tensor),
            Value::Maps(maps) => of(&maps.values) + maps.keys.len() * 32,
            Value::Sequence(items) => items
                .iter()
                .map(|item| size(&(String::new(), item.clone())))
                .sum(),
            Value::Optional(_) => 64,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, values: Vec<f32>) -> (String, Value) {
        let tensor = Tensor::from_vec(&[1, values.len()], values).unwrap();
        (name.into(), Value::Tensor(tensor))
    }

    #[test]
    fn what_differs_has_another_key() {
        let base = key("d", &vec![named("a", vec![1.0]), named("b", vec![2.0])]);
        let same = key("d", &vec![named("b", vec![2.0]), named("a", vec![1.0])]);
        assert!(base.is_some() && base == same);
        let flat = Tensor::from_vec(&[1], vec![1.0f32]).unwrap();
        for other in [
            key("e", &vec![named("a", vec![1.0]), named("b", vec![2.0])]),
            key("d", &vec![named("a", vec![2.0]), named("b", vec![1.0])]),
            key("d", &vec![named("a", vec![1.0])]),
            key(
                "d",
                &vec![("a".into(), Value::Tensor(flat)), named("b", vec![2.0])],
            ),
            key(
                "d",
                &vec![named("a", vec![1.0]), named("b", vec![2.0, 0.0])],
            ),
        ] {
            assert_ne!(base, other);
        }
        let words = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            let tensor = Tensor::from_strings(&[words.len()], words).unwrap();
            key("d", &vec![("a".into(), Value::Tensor(tensor))])
        };
        assert_ne!(words(&["ab", "c"]), words(&["a", "bc"]));
        assert_eq!(key("d", &vec![("a".into(), Value::Sequence(vec![]))]), None);
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let cache = Cache::new(2 * (OVERHEAD + 1 + 4));
        let outputs = |x: f32| vec![named("y", vec![x])];
        for (at, x) in [1.0, 2.0].into_iter().enumerate() {
            cache.keep([at as u8; 32], &outputs(x));
        }
        assert_eq!(*cache.get(&[0; 32]).unwrap(), outputs(1.0));
        cache.keep([2; 32], &outputs(3.0));
        assert!(cache.get(&[1; 32]).is_none());
        assert!(cache.get(&[0; 32]).is_some() && cache.get(&[2; 32]).is_some());
        // The same again takes no more room; what is too large is not kept.
        cache.keep([2; 32], &outputs(3.0));
        assert!(cache.get(&[0; 32]).is_some());
        cache.keep([3; 32], &vec![named("y", vec![0.0; 1000])]);
        assert!(cache.get(&[3; 32]).is_none() && cache.get(&[0; 32]).is_some());
    }
}
