//! API keys: how they are made, and what is kept of them.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::error::{Result, wrong};

/// What every key that we make begins with, so that tools which look for secrets find them.
const PREFIX: &str = "twk_";
/// Bytes of a SHA-256.
pub(crate) const HASH_BYTES: usize = 32;

/// An API key, which is shown once and never kept.
///
/// It is random with 256 bits, so one SHA-256 is all the hash that it needs: there is nothing to
/// guess as there is with passwords.
pub struct ApiKey(String);

impl ApiKey {
    /// The key of these random bytes.
    pub fn new(random: &[u8; 32]) -> Self {
        Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random)))
    }

    /// The key itself.
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// What settings have of it: its SHA-256 as hexadecimal digits.
    pub fn sha256(&self) -> String {
        let bytes = Hash::of(&self.0).0;
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

/// The hash of a key.
#[derive(Clone, Copy)]
pub(crate) struct Hash([u8; HASH_BYTES]);

impl Hash {
    pub(crate) fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }

    /// From hexadecimal digits.
    ///
    /// # Errors
    /// When there are not 64 of them.
    pub(crate) fn parse(hex: &str) -> Result<Self> {
        let malformed =
            || wrong!("`sha256` must have 64 hexadecimal digits: `twinfer api-key` prints them");
        if hex.len() != 2 * HASH_BYTES || !hex.is_ascii() {
            return Err(malformed());
        }
        let mut bytes = [0; HASH_BYTES];
        for (byte, at) in bytes.iter_mut().zip((0..hex.len()).step_by(2)) {
            let digits = &hex[at..at + 2];
            if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(malformed());
            }
            *byte = u8::from_str_radix(digits, 16).map_err(|_| malformed())?;
        }
        Ok(Self(bytes))
    }

    /// Compares in constant time.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_the_hash_that_it_says() {
        let key = ApiKey::new(&[7; 32]);
        assert!(key.secret().starts_with("twk_") && key.secret().len() == 47);
        let hash = Hash::parse(&key.sha256()).unwrap();
        assert!(hash.is(&Hash::of(key.secret())));
        assert!(!hash.is(&Hash::of("twk_other")));
        assert!(!format!("{key:?}").contains(&key.secret()[4..]));
        // sha256("abc"), FIPS 180-2, appendix B.1
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert!(Hash::parse(known).unwrap().is(&Hash::of("abc")));
        assert!(
            Hash::parse(&known.to_uppercase())
                .unwrap()
                .is(&Hash::of("abc"))
        );
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        for hex in [
            "",
            "00",
            &"0".repeat(63),
            &"g".repeat(64),
            &"+1".repeat(32),
            &"ä".repeat(32),
        ] {
            assert!(Hash::parse(hex).is_err(), "{hex}");
        }
    }
}
