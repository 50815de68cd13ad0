//! Documents in values, whatever their size.

use twinfer::Result;
use twinfer_package::Digest;

use super::{KeyValue, MAX_VALUE_BYTES};

pub(super) const PREFIX: &str = "d/";
/// What the value of a document begins with.
const WHOLE: u8 = b'=';
const CUT: u8 = b'+';

pub(super) fn head(key: &str) -> String {
    format!("{PREFIX}{key}")
}

/// A document that was cut: its digest, and the number of pieces.
struct Cut {
    digest: Digest,
    pieces: u64,
}

impl Cut {
    fn read(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value.strip_prefix(&[CUT])?).ok()?;
        let (digest, pieces) = text.split_once(' ')?;
        Some(Self {
            digest: digest.parse().ok()?,
            pieces: pieces.parse().ok()?,
        })
    }

    fn write(&self) -> Vec<u8> {
        let text = format!("{} {}", self.digest, self.pieces);
        [&[CUT], text.as_bytes()].concat()
    }

    /// Documents are named after their content as well, so that two who write at the same time
    /// do not mix. Half of a digest is enough for that, and keys must not be long.
    fn piece(&self, key: &str, number: u64) -> String {
        format!("c/{key}/{}/{number}", &self.digest.hex()[..32])
    }

    async fn remove(&self, store: &impl KeyValue, key: &str) -> Result<()> {
        for number in 0..self.pieces {
            store.delete(&self.piece(key, number)).await?;
        }
        Ok(())
    }
}

pub(super) async fn get(store: &impl KeyValue, key: &str) -> Result<Option<Vec<u8>>> {
    let Some(mut value) = store.get(&head(key)).await? else {
        return Ok(None);
    };
    if value.first() == Some(&WHOLE) {
        value.remove(0);
        return Ok(Some(value));
    }
    let Some(cut) = Cut::read(&value) else {
        return Ok(None);
    };
    let mut content = Vec::new();
    for number in 0..cut.pieces {
        match store.get(&cut.piece(key, number)).await? {
            Some(piece) => content.extend_from_slice(&piece),
            None => return Ok(None),
        }
    }
    Ok((Digest::of(&content) == cut.digest).then_some(content))
}

pub(super) async fn set(store: &impl KeyValue, key: &str, content: &[u8]) -> Result<()> {
    let before = store.get(&head(key)).await?.and_then(|v| Cut::read(&v));
    let now = match content.len() < MAX_VALUE_BYTES {
        true => {
            store.set(&head(key), &[&[WHOLE], content].concat()).await?;
            None
        }
        false => Some(set_cut(store, key, content).await?),
    };
    match before {
        Some(before) if now != Some(before.digest) => before.remove(store, key).await,
        _ => Ok(()),
    }
}

async fn set_cut(store: &impl KeyValue, key: &str, content: &[u8]) -> Result<Digest> {
    let pieces = content.chunks(MAX_VALUE_BYTES);
    let cut = Cut {
        digest: Digest::of(content),
        pieces: pieces.len() as u64,
    };
    for (number, piece) in (0..).zip(pieces) {
        if let Err(error) = store.set(&cut.piece(key, number), piece).await {
            // What cannot be completed must not take the last room; best effort.
            let _ = cut.remove(store, key).await;
            return Err(error);
        }
    }
    store.set(&head(key), &cut.write()).await?;
    Ok(cut.digest)
}

pub(super) async fn remove(store: &impl KeyValue, key: &str) -> Result<()> {
    let before = store.get(&head(key)).await?.and_then(|v| Cut::read(&v));
    store.delete(&head(key)).await?;
    match before {
        Some(before) => before.remove(store, key).await,
        None => Ok(()),
    }
}
