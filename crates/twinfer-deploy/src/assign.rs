//! Who gets what.

use sha2::{Digest as _, Sha256};

use crate::{Deployment, Role, Variant};

/// The basis points of everything.
pub const ALL: u16 = 10_000;

/// The bucket of a key, from 0 to 9,999: the first 8 bytes (big endian) of SHA-256 over the salt, a
/// zero byte and the key, modulo 10,000. That the remainder is not quite even is less than one in
/// 10^15.
///
/// ```
/// assert_eq!(twinfer_deploy::bucket("face-detector", "user-1"), 293);
/// ```
pub fn bucket(salt: &str, key: &str) -> u16 {
    let mut hasher = Sha256::new();
    hasher.update(salt.as_bytes());
    hasher.update([0]);
    hasher.update(key.as_bytes());
    let digest: [u8; 32] = hasher.finalize().into();
    let [a, b, c, d, e, f, g, h, ..] = digest;
    reduced(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
}

/// The variant that answers a caller with this key: the same wherever this document is read.
///
/// `None` only for a document that no check has seen.
pub fn assign<'a>(deployment: &'a Deployment, key: &str) -> Option<&'a Variant> {
    deployment.at(bucket(&deployment.sticky.salt, key))
}

impl Deployment {
    /// The variant of a bucket. Candidates have the buckets from 0 on, in their order, and the
    /// primary has the rest: so a candidate that grows keeps the callers that it had.
    pub fn at(&self, bucket: u16) -> Option<&Variant> {
        let mut end = 0;
        let others = self.variants.iter().filter(|v| v.role != Role::Primary);
        for variant in others {
            end += u32::from(variant.weight);
            if u32::from(bucket) < end {
                return Some(variant);
            }
        }
        self.primary()
    }

    /// The variant of a caller without a key, for any random number.
    pub fn by_chance(&self, random: u64) -> Option<&Variant> {
        self.at(reduced(random))
    }
}

fn reduced(number: u64) -> u16 {
    // Below 10,000.
    (number % u64::from(ALL)) as u16
}
