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
    /// Notes that a package is used, and what belongs to it.
    pub(crate) async fn note_package(
        &self,
        digest: &Digest,
        name: &str,
        manifest_size: u64,
        needs: &[Descriptor],
    ) -> Result<()> {
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
        let belongs = needs
            .iter()
            .map(|d| (d.digest, d.size))
            .chain([(*digest, manifest_size)]);
        for (blob, size) in belongs {
            if record.blobs.iter().all(|(known, _)| *known != blob) {
                record.blobs.push((blob, size));
            }
        }
        self.backend.set_document(&key, &write(&record)?).await
    }

    /// Notes a further layer of a package that is noted already.
    pub(crate) async fn note_part(&self, package: &Digest, part: &Descriptor) -> Result<()> {
        let key = PackageRecord::key(package);
        let name_of_lock = format!("package-{}", package.hex());
        let _lock = self
            .wait_for(&name_of_lock, LockMode::Exclusive, || {})
            .await?;
        let document = self.backend.document(&key).await?;
        let Some(mut record) = document.and_then(|d| read::<PackageRecord>(&d)) else {
            return Ok(());
        };
        if record.blobs.iter().any(|(known, _)| *known == part.digest) {
            return Ok(());
        }
        record.blobs.push((part.digest, part.size));
        self.backend.set_document(&key, &write(&record)?).await
    }

    /// Makes room for what of this is not there yet.
    ///
    /// # Errors
    /// `out_of_space` when it cannot fit; `storage`.
    pub(crate) async fn make_room(&self, needs: &[Descriptor]) -> Result<()> {
        let mut missing = 0u64;
        for descriptor in needs {
            if self.backend.size(&descriptor.digest).await? != Some(descriptor.size) {
                missing = missing.saturating_add(descriptor.size);
            }
        }
        if missing == 0 {
            return Ok(());
        }
        let space = self.backend.space().await?;
        let free = space.available.unwrap_or(u64::MAX);
        let held = match self.options.quota {
            Some(_) => self.held().await?,
            None => 0,
        };
        let within = self.options.quota.unwrap_or(u64::MAX);
        let over_quota = held.saturating_add(missing).saturating_sub(within);
        let over_free = missing.saturating_sub(free);
        let over = over_quota.max(over_free);
        if over == 0 {
            return Ok(());
        }
        if missing > within {
            bail!(
                OutOfSpace,
                "the package needs {missing} bytes, and the quota of the cache is {within}: raise the quota"
            );
        }
        let removed = self.evict(over, Reach::Unpinned).await?;
        if removed.bytes < over {
            bail!(
                OutOfSpace,
                "the package needs {missing} bytes, of which {} are missing in {}, and what is left there is in use or the active or previous version of a tag: free some space, or clear the cache",
                over - removed.bytes,
                self.backend.label()
            );
        }
        Ok(())
    }

    /// Bytes of everything that is kept.
    async fn held(&self) -> Result<u64> {
        let blobs = self.backend.blobs().await?;
        let partials = self.backend.partials().await?;
        Ok(blobs.iter().chain(&partials).map(|(_, size)| size).sum())
    }

    /// Removes at least this many bytes, where that many may be removed.
    pub(crate) async fn evict(&self, bytes: u64, reach: Reach) -> Result<Removed> {
        let _lock = self.wait_for(EVICTION, LockMode::Exclusive, || {}).await?;
        let mut packages = self.packages().await?;
        packages.sort_by_key(|package| (package.used, package.digest));
        let pinned = match reach {
            Reach::Unpinned => self.pinned().await?,
            Reach::Everything => BTreeSet::new(),
        };
        let mut removed = Removed::default();
        self.remove_left_overs(&packages, &mut removed).await?;
        // How many packages have a blob in common.
        let mut holders: BTreeMap<Digest, usize> = BTreeMap::new();
        for (blob, _) in packages.iter().flat_map(|package| &package.blobs) {
            *holders.entry(*blob).or_default() += 1;
        }
        for package in &packages {
            if removed.bytes >= bytes {
                break;
            }
            if pinned.contains(&package.digest) {
                continue;
            }
            self.remove_package(package, &mut holders, &mut removed)
                .await?;
        }
        self.count(|statistics| statistics.evicted += removed.blobs);
        Ok(removed)
    }

    async fn remove_package(
        &self,
        package: &PackageRecord,
        holders: &mut BTreeMap<Digest, usize>,
        removed: &mut Removed,
    ) -> Result<()> {
        let name = use_lock(&package.digest);
        let Some(_alone) = self.backend.lock(&name, LockMode::Exclusive, false).await? else {
            return Ok(());
        };
        // First the note: blobs that are left after a crash are left-overs.
        self.backend
            .remove_document(&PackageRecord::key(&package.digest))
            .await?;
        removed.packages.push(package.digest);
        for (blob, _) in &package.blobs {
            let others = holders.entry(*blob).or_default();
            *others = others.saturating_sub(1);
            if *others == 0 {
                self.remove_blob(blob, removed).await?;
            }
        }
        Ok(())
    }

    /// Blobs that belong to no package, such as after a crash.
    async fn remove_left_overs(
        &self,
        packages: &[PackageRecord],
        removed: &mut Removed,
    ) -> Result<()> {
        let owned: BTreeSet<Digest> = packages
            .iter()
            .flat_map(|p| &p.blobs)
            .map(|(d, _)| *d)
            .collect();
        let blobs = self.backend.blobs().await?;
        let partials = self.backend.partials().await?;
        for (digest, _) in blobs.iter().chain(&partials) {
            if owned.contains(digest) {
                continue;
            }
            // Perhaps a manifest of a load that has just begun.
            let name = use_lock(digest);
            if let Some(_alone) = self.backend.lock(&name, LockMode::Exclusive, false).await? {
                self.remove_blob(digest, removed).await?;
            }
        }
        Ok(())
    }

    async fn remove_blob(&self, digest: &Digest, removed: &mut Removed) -> Result<()> {
        let name = blob_lock(digest);
        let Some(_alone) = self.backend.lock(&name, LockMode::Exclusive, false).await? else {
            return Ok(());
        };
        let mut size = self.backend.size(digest).await?;
        if size.is_none() {
            let partials = self.backend.partials().await?;
            size = partials
                .into_iter()
                .find(|(d, _)| d == digest)
                .map(|(_, size)| size);
        }
        let Some(size) = size else { return Ok(()) };
        self.backend.remove(digest).await?;
        removed.blobs += 1;
        removed.bytes = removed.bytes.saturating_add(size);
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
