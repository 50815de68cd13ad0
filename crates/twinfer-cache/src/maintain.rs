//! What people do with a cache: look into it, check it, make it smaller, empty it.

use std::collections::BTreeMap;

use serde::Serialize;
use twinfer::Result;
use twinfer_package::Digest;

use crate::evict::{Goal, Reach};
use crate::local::Checked;
use crate::record::{INDEXES, PACKAGES, PackageRecord, REFERENCES, STATISTICS};
use crate::{Backend, Cache, Env, Removed, Space, Statistics, Wanted};

/// What a cache holds.
#[derive(Debug, Clone, Serialize)]
pub struct Listing {
    /// The packages, the last used first.
    pub packages: Vec<PackageListing>,
    /// The tags that were used.
    pub references: Vec<ReferenceListing>,
    /// Blobs, and those that were begun.
    pub blobs: u64,
    /// Bytes of all blobs.
    pub bytes: u64,
    /// Bytes of what was begun.
    pub partial_bytes: u64,
    /// The quota in bytes; absent without one.
    pub quota: Option<u64>,
    /// Bytes that can still be written; absent where nobody says.
    pub available: Option<u64>,
    /// What was counted.
    pub statistics: Statistics,
}

/// A package of which something is kept.
#[derive(Debug, Clone, Serialize)]
pub struct PackageListing {
    /// Of the manifest.
    pub digest: Digest,
    /// The name of the model.
    pub name: String,
    /// Bytes that are there.
    pub bytes: u64,
    /// Bytes that were wanted so far.
    pub of: u64,
    /// Milliseconds since 1970.
    pub used: u64,
    /// It is the active or the previous version of a tag.
    pub pinned: bool,
}

/// A tag that was used.
#[derive(Debug, Clone, Serialize)]
pub struct ReferenceListing {
    /// The registry.
    pub registry: String,
    /// `name` or `name:tag`.
    pub reference: String,
    /// What it is used with.
    pub active: Digest,
    /// What it was used with before.
    pub previous: Option<Digest>,
    /// Milliseconds since 1970.
    pub used: u64,
}

/// What a verification of the whole cache found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Verified {
    /// Blobs that are what they should be.
    pub good: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Blobs that were not, and were removed where they could be: they are fetched again when
    /// they are wanted.
    pub damaged: Vec<Digest>,
}

impl<B: Backend, E: Env> Cache<B, E> {
    /// What is there.
    ///
    /// # Errors
    /// `storage`.
    pub async fn list(&self) -> Result<Listing> {
        let blobs: BTreeMap<Digest, u64> = self.backend.blobs().await?.into_iter().collect();
        let partials = self.backend.partials().await?;
        let pinned = self.pinned().await?;
        let mut packages: Vec<PackageListing> = self
            .packages()
            .await?
            .into_iter()
            .map(|package| PackageListing {
                pinned: pinned.contains(&package.digest),
                bytes: package.blobs.iter().filter_map(|(d, _)| blobs.get(d)).sum(),
                of: package.blobs.iter().map(|(_, size)| size).sum(),
                digest: package.digest,
                name: package.name,
                used: package.used,
            })
            .collect();
        packages.sort_by_key(|package| (std::cmp::Reverse(package.used), package.digest));
        let mut references: Vec<ReferenceListing> = self
            .references()
            .await?
            .into_iter()
            .map(|reference| ReferenceListing {
                registry: reference.registry,
                reference: reference.reference,
                active: reference.active,
                previous: reference.previous,
                used: reference.used,
            })
            .collect();
        references.sort_by(|a, b| (&a.registry, &a.reference).cmp(&(&b.registry, &b.reference)));
        let Space { available, .. } = self.backend.space().await?;
        Ok(Listing {
            packages,
            references,
            blobs: blobs.len() as u64,
            bytes: blobs.values().sum(),
            partial_bytes: partials.iter().map(|(_, size)| size).sum(),
            quota: self.options.quota,
            available,
            statistics: self.statistics().await?,
        })
    }

    /// Reads every blob and removes what is damaged.
    ///
    /// # Errors
    /// `storage`.
    pub async fn verify(&self) -> Result<Verified> {
        let mut verified = Verified::default();
        for (digest, _) in self.backend.blobs().await? {
            match self.hash(&digest).await {
                Ok(Some(size)) => {
                    verified.good += 1;
                    verified.bytes += size;
                }
                // Removed meanwhile.
                Ok(None) => {}
                Err(_) => {
                    // Under its lock once more: somebody may have mended it.
                    let wanted = Wanted::manifest(digest);
                    match self.recheck(&wanted, &|_| {}).await {
                        Ok(Checked::Right | Checked::Missing) => {}
                        // A folder that cannot be written cannot be locked.
                        Ok(Checked::Damaged) | Err(_) => verified.damaged.push(digest),
                    }
                }
            }
        }
        self.save_statistics().await;
        Ok(verified)
    }

    /// Removes what was not used lately until at most this many bytes are left, and what
    /// crashes left behind. What is pinned or in use stays.
    ///
    /// # Errors
    /// `storage`.
    pub async fn prune(&self, to_bytes: u64) -> Result<Removed> {
        let held = self.held().await?;
        let removed = self.evict(Goal::of(held.saturating_sub(to_bytes))).await?;
        self.save_statistics().await;
        Ok(removed)
    }

    /// Removes everything but what is in use this moment: packages, tags, counts.
    ///
    /// # Errors
    /// `storage`.
    pub async fn clear(&self) -> Result<Removed> {
        for prefix in [INDEXES, REFERENCES] {
            for (key, _) in self.backend.documents(prefix).await? {
                self.backend.remove_document(&key).await?;
            }
        }
        let everything = Goal {
            reach: Reach::Everything,
            ..Goal::of(u64::MAX)
        };
        let removed = self.evict(everything).await?;
        // What is left of damaged notes.
        for (key, document) in self.backend.documents(PACKAGES).await? {
            if crate::record::read::<PackageRecord>(&document).is_none() {
                self.backend.remove_document(&key).await?;
            }
        }
        self.count(|statistics| *statistics = Statistics::default());
        self.backend.remove_document(STATISTICS).await?;
        Ok(removed)
    }
}
