//! Room: quota, least recent use, and what is pinned.

use std::collections::{BTreeMap, BTreeSet};

use twinfer::{Result, bail};
use twinfer_package::{Descriptor, Digest};

use crate::cache::{blob_lock, use_lock};
use crate::record::{PACKAGES, PackageRecord, REFERENCES, ReferenceRecord, read, write};
use crate::{Backend, Cache, Env, LockMode};

const EVICTION: &str = "eviction";

/// What an eviction may remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Only what nothing pins.
    Unpinned,
    /// Also active and previous versions, unless they are in use this moment.
    Everything,
}

/// What an eviction is for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Goal {
    pub bytes: u64,
    pub reach: Reach,
    /// Where the bytes cannot be had, no package is removed in vain.
    pub all_or_nothing: bool,
}

impl Goal {
    pub fn of(bytes: u64) -> Self {
        Self {
            bytes,
            reach: Reach::Unpinned,
            all_or_nothing: false,
        }
    }
}

/// An eviction under way.
struct Eviction {
    /// Of what is there, whole or begun.
    sizes: BTreeMap<Digest, u64>,
    /// How many packages have a blob in common.
    holders: BTreeMap<Digest, usize>,
    removed: Removed,
}

impl Eviction {
    fn new(
        packages: &[PackageRecord],
        blobs: Vec<(Digest, u64)>,
        partials: Vec<(Digest, u64)>,
    ) -> Self {
        let mut sizes = BTreeMap::new();
        for (digest, size) in blobs.into_iter().chain(partials) {
            let sum: &mut u64 = sizes.entry(digest).or_default();
            *sum = sum.saturating_add(size);
        }
        Self {
            sizes,
            holders: holders(packages),
            removed: Removed::default(),
        }
    }

    /// Bytes that these packages have, and no others.
    fn bytes_only_of(&self, packages: &[PackageRecord]) -> u64 {
        let of_these = holders(packages);
        let only = of_these
            .iter()
            .filter(|(blob, count)| self.holders.get(blob) == Some(count));
        only.filter_map(|(blob, _)| self.sizes.get(blob)).sum()
    }
}

fn holders(packages: &[PackageRecord]) -> BTreeMap<Digest, usize> {
    let mut holders = BTreeMap::new();
    for (blob, _) in packages.iter().flat_map(|package| &package.blobs) {
        *holders.entry(*blob).or_default() += 1;
    }
    holders
}

/// What was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Removed {
    /// Manifests of the packages that are not kept any more.
    pub packages: Vec<Digest>,
    /// How many blobs, whole or begun.
    pub blobs: u64,
    /// How many bytes they had.
    pub bytes: u64,
}

impl<B: Backend, E: Env> Cache<B, E> {
    /// For those who get the content of a package one by one, instead of loading it: notes that
    /// the package is used and what of it is wanted, and makes room for that. It is not evicted
    /// while the lock lives, and afterwards like any other package. What was never held belongs
    /// to no package, and is the first to go.
    ///
    /// # Errors
    /// `out_of_space` when it cannot fit; `storage`.
    pub async fn hold(
        &self,
        name: &str,
        manifest: &Descriptor,
        needs: &[Descriptor],
    ) -> Result<B::Lock> {
        let lease = self
            .wait_for(&use_lock(&manifest.digest), LockMode::Shared, || {})
            .await?;
        let of = |d: &Descriptor| (d.digest, d.size);
        let blobs: Vec<_> = needs.iter().chain([manifest]).map(of).collect();
        self.note_package(&manifest.digest, name, &blobs).await?;
        self.make_room(needs).await?;
        Ok(lease)
    }

    /// Notes that a package is used, and what belongs to it.
    pub(crate) async fn note_package(
        &self,
        digest: &Digest,
        name: &str,
        blobs: &[(Digest, u64)],
    ) -> Result<()> {
        // An eviction under way has made its list, and must not remove what is added now.
        let _no_eviction = self.wait_for(EVICTION, LockMode::Shared, || {}).await?;
        let key = PackageRecord::key(digest);
        let name_of_lock = format!("package-{}", digest.hex());
        let _lock = self
            .wait_for(&name_of_lock, LockMode::Exclusive, || {})
            .await?;
        let known = self
            .backend
            .document(&key)
            .await?
            .and_then(|d| read::<PackageRecord>(&d));
        let now = self.env.now();
        let mut record = known.unwrap_or_else(|| PackageRecord::new(*digest, name, now));
        record.used = now;
        let mut known: BTreeSet<Digest> = record.blobs.iter().map(|(blob, _)| *blob).collect();
        record
            .blobs
            .extend(blobs.iter().filter(|(blob, _)| known.insert(*blob)));
        self.backend.set_document(&key, &write(&record)?).await
    }

    /// Makes room for what of this is not there yet; false when all of it is.
    ///
    /// # Errors
    /// `out_of_space` when it cannot fit: nothing is evicted then; `storage`.
    pub(crate) async fn make_room(&self, needs: &[Descriptor]) -> Result<bool> {
        let mut missing = BTreeMap::new();
        for descriptor in needs {
            if self.backend.size(&descriptor.digest).await? != Some(descriptor.size) {
                missing.insert(descriptor.digest, descriptor.size);
            }
        }
        if missing.is_empty() {
            return Ok(false);
        }
        let bytes = missing.values().fold(0u64, |a, b| a.saturating_add(*b));
        let begun = self.backend.partials().await?;
        let begun = begun.iter().filter_map(|(digest, there)| {
            let wanted = missing.get(digest)?;
            Some(*there.min(wanted))
        });
        let coming = bytes.saturating_sub(begun.sum());
        let free = self.backend.space().await?.available.unwrap_or(u64::MAX);
        let over_quota = match self.options.quota {
            Some(quota) if bytes > quota => bail!(
                OutOfSpace,
                "the package needs {bytes} bytes, and the quota of the cache is {quota}: raise the quota"
            ),
            Some(quota) => self
                .held()
                .await?
                .saturating_add(coming)
                .saturating_sub(quota),
            None => 0,
        };
        let over = over_quota.max(coming.saturating_sub(free));
        if over == 0 {
            return Ok(true);
        }
        let goal = Goal {
            bytes: over,
            reach: Reach::Unpinned,
            all_or_nothing: true,
        };
        let removed = self.evict(goal).await?;
        if removed.bytes < over {
            bail!(
                OutOfSpace,
                "the package needs {bytes} bytes, of which {} are missing in {}, and what is left there is in use or the active or previous version of a tag: free some space, or clear the cache",
                over - removed.bytes,
                self.backend.label()
            );
        }
        Ok(true)
    }

    /// Brings the cache under its quota again: several loads can have made room at the same
    /// time, each for itself.
    pub(crate) async fn shrink(&self) -> Result<()> {
        let Some(quota) = self.options.quota else {
            return Ok(());
        };
        let over = self.held().await?.saturating_sub(quota);
        if over > 0 {
            self.evict(Goal::of(over)).await?;
        }
        Ok(())
    }

    /// Bytes of everything that is kept.
    pub(crate) async fn held(&self) -> Result<u64> {
        let blobs = self.backend.blobs().await?;
        let partials = self.backend.partials().await?;
        Ok(blobs.iter().chain(&partials).map(|(_, size)| size).sum())
    }

    /// Removes at least this many bytes, where that many may be removed.
    pub(crate) async fn evict(&self, goal: Goal) -> Result<Removed> {
        let _lock = self.wait_for(EVICTION, LockMode::Exclusive, || {}).await?;
        let mut packages = self.packages().await?;
        packages.sort_by_key(|package| (package.used, package.digest));
        let pinned = match goal.reach {
            Reach::Unpinned => self.pinned().await?,
            Reach::Everything => BTreeSet::new(),
        };
        let mut eviction = Eviction::new(
            &packages,
            self.backend.blobs().await?,
            self.backend.partials().await?,
        );
        self.remove_left_overs(&mut eviction).await?;
        packages.retain(|package| !pinned.contains(&package.digest));
        let missing = goal.bytes.saturating_sub(eviction.removed.bytes);
        if !goal.all_or_nothing || eviction.bytes_only_of(&packages) >= missing {
            for package in &packages {
                if eviction.removed.bytes >= goal.bytes {
                    break;
                }
                self.remove_package(package, &mut eviction).await?;
            }
        }
        self.count(|statistics| statistics.evicted += eviction.removed.blobs);
        Ok(eviction.removed)
    }

    async fn remove_package(&self, package: &PackageRecord, eviction: &mut Eviction) -> Result<()> {
        let name = use_lock(&package.digest);
        let Some(_alone) = self.backend.lock(&name, LockMode::Exclusive, false).await? else {
            return Ok(());
        };
        // First the note: blobs that are left after a crash are left-overs.
        self.backend
            .remove_document(&PackageRecord::key(&package.digest))
            .await?;
        eviction.removed.packages.push(package.digest);
        for (blob, _) in &package.blobs {
            let others = eviction.holders.entry(*blob).or_default();
            *others = others.saturating_sub(1);
            if *others == 0 {
                self.remove_blob(blob, eviction).await?;
            }
        }
        Ok(())
    }

    /// Blobs that belong to no package, such as after a crash.
    async fn remove_left_overs(&self, eviction: &mut Eviction) -> Result<()> {
        let all = eviction.sizes.keys();
        let left: Vec<Digest> = all
            .filter(|digest| !eviction.holders.contains_key(digest))
            .copied()
            .collect();
        for digest in left {
            // Perhaps a manifest of a load that has just begun.
            let name = use_lock(&digest);
            if let Some(_alone) = self.backend.lock(&name, LockMode::Exclusive, false).await? {
                self.remove_blob(&digest, eviction).await?;
            }
        }
        Ok(())
    }

    async fn remove_blob(&self, digest: &Digest, eviction: &mut Eviction) -> Result<()> {
        let Some(size) = eviction.sizes.get(digest).copied() else {
            return Ok(());
        };
        let name = blob_lock(digest);
        let Some(_alone) = self.backend.lock(&name, LockMode::Exclusive, false).await? else {
            return Ok(());
        };
        self.backend.remove(digest).await?;
        eviction.sizes.remove(digest);
        eviction.removed.blobs += 1;
        eviction.removed.bytes = eviction.removed.bytes.saturating_add(size);
        Ok(())
    }

    pub(crate) async fn packages(&self) -> Result<Vec<PackageRecord>> {
        let documents = self.backend.documents(PACKAGES).await?;
        Ok(documents
            .iter()
            .filter_map(|(_, document)| read(document))
            .collect())
    }

    pub(crate) async fn references(&self) -> Result<Vec<ReferenceRecord>> {
        let documents = self.backend.documents(REFERENCES).await?;
        Ok(documents
            .iter()
            .filter_map(|(_, document)| read(document))
            .collect())
    }

    /// Active and previous versions of the tags that were used not too long ago.
    pub(crate) async fn pinned(&self) -> Result<BTreeSet<Digest>> {
        let now = self.env.now();
        let mut pinned = BTreeSet::new();
        for reference in self.references().await? {
            // A clock that was set back makes nothing older.
            if now.saturating_sub(reference.used) <= self.options.pin {
                pinned.insert(reference.active);
                pinned.extend(reference.previous);
            }
        }
        Ok(pinned)
    }
}
