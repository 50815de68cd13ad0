//! The algorithms: ES256, ES384, RS256 (RFC 7518, section 3) and EdDSA with Ed25519 (RFC 8037).

use p256::ecdsa::signature::Verifier;
use rsa::BoxedUint;
use rsa::pkcs1v15;

use crate::error::{Result, wrong};

/// Fewer bits can be broken; more cost too much time for each request.
const RSA_BITS: std::ops::RangeInclusive<u32> = 2048..=4096;

/// A key that verifies one algorithm.
pub(super) enum PublicKey {
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
    Rsa(pkcs1v15::VerifyingKey<sha2::Sha256>),
    Ed25519(ed25519_dalek::VerifyingKey),
}

/// Whether an algorithm is one of ours.
pub(super) fn is_known(algorithm: &str) -> bool {
    // RFC 9864 gives `EdDSA` with Ed25519 a name of its own.
    matches!(algorithm, "ES256" | "ES384" | "RS256" | "EdDSA" | "Ed25519")
}

impl PublicKey {
    pub(super) fn p256(x: &[u8], y: &[u8]) -> Result<Self> {
        let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(&point(x, y, 32)?);
        key.map(Self::P256)
            .map_err(|_| wrong!("`x` and `y` are no point of P-256"))
    }

    pub(super) fn p384(x: &[u8], y: &[u8]) -> Result<Self> {
        let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(&point(x, y, 48)?);
        key.map(Self::P384)
            .map_err(|_| wrong!("`x` and `y` are no point of P-384"))
    }

    pub(super) fn rsa(n: &[u8], e: &[u8]) -> Result<Self> {
        let (first, last) = (RSA_BITS.start(), RSA_BITS.end());
        let size = || wrong!("an RSA key must have {first} to {last} bits");
        // Before anything is computed with it.
        if n.len() > (*last as usize) / 8 || e.is_empty() || e.len() > 4 {
            return Err(size());
        }
        let (n, e) = (
            BoxedUint::from_be_slice_vartime(n),
            BoxedUint::from_be_slice_vartime(e),
        );
        if !RSA_BITS.contains(&n.bit_width_vartime()) {
            return Err(size());
        }
        let key = rsa::PublicKey::new(n, e).map_err(|e| wrong!("no RSA key: {e}"))?;
        Ok(Self::Rsa(pkcs1v15::VerifyingKey::new(key)))
    }

    pub(super) fn ed25519(x: &[u8]) -> Result<Self> {
        let malformed = || wrong!("`x` is no key of Ed25519");
        let bytes = x.try_into().map_err(|_| malformed())?;
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| malformed())?;
        Ok(Self::Ed25519(key))
    }

    /// Whether it verifies this algorithm.
    pub(super) fn is_for(&self, algorithm: &str) -> bool {
        match self {
            Self::P256(_) => algorithm == "ES256",
            Self::P384(_) => algorithm == "ES384",
            Self::Rsa(_) => algorithm == "RS256",
            Self::Ed25519(_) => matches!(algorithm, "EdDSA" | "Ed25519"),
        }
    }

    /// Whether a signature is over this message.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::P256(key) => p256::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            Self::P384(key) => p384::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            Self::Rsa(key) => pkcs1v15::Signature::try_from(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            Self::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()),
        }
    }
}

/// The uncompressed form of SEC 1, section 2.3.3.
fn point(x: &[u8], y: &[u8], bytes: usize) -> Result<Vec<u8>> {
    if x.len() != bytes || y.len() != bytes {
        return Err(wrong!("`x` and `y` must have {bytes} bytes"));
    }
    Ok([&[4], x, y].concat())
}
