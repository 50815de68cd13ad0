//! Attaching something to a package: its contents, the list of what refers to the package, and
//! what the index says of both, in one change.

use twinfer::{Result, bail};

use crate::limits::MAX_MANIFEST_BYTES;
use crate::signing::Referrers;
use crate::{
    DerivedEngine, Descriptor, Index, Reference, Store, Transaction, WritableStore, media,
    referrers_tag,
};

/// Stores the contents, and changes the list of what refers to a package. Gives whether anything
/// was not there before.
///
/// # Errors
/// `invalid_signature` for a list that cannot be read; `storage` when somebody else attached
/// something at the same time; those of reading and writing, and of `edit`.
pub(crate) fn attach(
    store: &dyn WritableStore,
    reference: &Reference,
    package: &Descriptor,
    contents: &[(&Descriptor, &[u8])],
    edit: &mut dyn FnMut(&mut Referrers) -> Result<()>,
) -> Result<bool> {
    let tag = referrers_tag(&package.digest);
    let index = Index::from_json(&store.index_of(reference)?)?;
    let before = index.named(reference.name(), &tag)?;
    let mut referrers = read_list(store, before.as_ref())?;
    edit(&mut referrers)?;
    let list_json = referrers.to_json()?;
    let list = Descriptor::new(media::INDEX, &list_json);
    let mut change = store.begin(reference.name())?;
    let mut index = change.index()?;
    // Read before the change began, so that a store need not be readable during one.
    if index.named(reference.name(), &tag)?.map(|d| d.digest) != before.map(|d| d.digest) {
        bail!(
            Storage,
            "somebody else attached something to {reference} at the same time: do it again"
        );
    }
    for (descriptor, content) in contents {
        put(&mut *change, descriptor, content)?;
    }
    put(&mut *change, &list, &list_json)?;
    let was = index.clone();
    index.name(reference.name(), &tag, &list);
    let engines: Vec<DerivedEngine> = referrers.engines().into_iter().map(|(_, e)| e).collect();
    index.set_engines(&package.digest, &engines)?;
    let is_new = index != was;
    if is_new {
        change.commit(&index)?;
    }
    Ok(is_new)
}

fn put(change: &mut dyn Transaction, descriptor: &Descriptor, content: &[u8]) -> Result<()> {
    match change.has(descriptor)? {
        true => Ok(()),
        false => change.put(descriptor, &mut &content[..]),
    }
}

/// The list of what refers to a package; empty where there is none.
///
/// # Errors
/// `invalid_signature`; those of reading.
pub(crate) fn read_list<S: Store + ?Sized>(
    store: &S,
    entry: Option<&Descriptor>,
) -> Result<Referrers> {
    let Some(entry) = entry else {
        return Ok(Referrers::default());
    };
    if entry.size > MAX_MANIFEST_BYTES {
        bail!(
            InvalidSignature,
            "the list of what is attached to a package has {} bytes; at most {MAX_MANIFEST_BYTES} are read",
            entry.size
        );
    }
    let json = store.blob(entry)?;
    entry.verify(&json)?;
    Referrers::from_json(&json)
}
