//! The parts of an index that belong to one name each, for those who take over names one by one.

use std::collections::{BTreeMap, BTreeSet};

use super::{Entry, Index};
use crate::oci::REF_NAME;

impl Index {
    /// The names of which both do not say the same: their tags, signed tags or signatures.
    pub fn changed_names(&self, other: &Self) -> BTreeSet<String> {
        let (ours, theirs) = (self.by_name(), other.by_name());
        let names = ours.keys().chain(theirs.keys());
        let changed = names.filter(|name| ours.get(*name) != theirs.get(*name));
        changed.map(|name| (*name).to_owned()).collect()
    }

    /// Exchanges all entries of these names for those that another index has. Packages that
    /// lose their tags by that are no longer reachable.
    pub fn take_names(&mut self, names: &BTreeSet<String>, from: &Self) {
        let taken = |entry: &Entry| name_of(entry).is_some_and(|name| names.contains(name));
        self.manifests.retain(|entry| !taken(entry));
        let theirs = from.manifests.iter().filter(|entry| taken(entry));
        self.manifests.extend(theirs.cloned());
    }

    /// Adds the entries without a name that another index has: what moved tags pointed to
    /// before stays reachable by its digest.
    pub fn take_nameless(&mut self, from: &Self) {
        let there: BTreeSet<String> = self.manifests.iter().map(|e| e.digest.clone()).collect();
        let theirs = from.manifests.iter().filter(|e| name_of(e).is_none());
        let added = theirs.filter(|entry| !there.contains(&entry.digest));
        self.manifests.extend(added.cloned());
    }

    /// In an order that is the same whatever that of the file is.
    fn by_name(&self) -> BTreeMap<&str, Vec<(&str, &str)>> {
        let mut names: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
        for entry in &self.manifests {
            if let (Some(name), Some(full)) = (name_of(entry), entry.annotations.get(REF_NAME)) {
                names.entry(name).or_default().push((full, &entry.digest));
            }
        }
        for entries in names.values_mut() {
            entries.sort_unstable();
        }
        names
    }
}

fn name_of(entry: &Entry) -> Option<&str> {
    let (name, _) = entry.annotations.get(REF_NAME)?.split_once(':')?;
    Some(name)
}
