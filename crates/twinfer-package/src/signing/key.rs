//! Keys: ECDSA on P-256 and P-384, as PEM text.

use std::fmt;

use p256::pkcs8::{DecodePublicKey, EncodePrivateKey, EncodePublicKey, LineEnding};
use sha2::{Digest as _, Sha256};
use twinfer::{Result, bail, err};

/// An elliptic curve, and with it the hash of what is signed (as in the reference tool: the
/// one of the curve's size).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    /// NIST P-256 with SHA-256.
    P256,
    /// NIST P-384 with SHA-384.
    P384,
}

#[derive(Clone, PartialEq, Eq)]
enum Public {
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
}

/// A key that verifies.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    key: Public,
    hint: String,
}

impl PublicKey {
    /// Reads a `PUBLIC KEY` in PEM (SubjectPublicKeyInfo, RFC 5280 and RFC 7468).
    ///
    /// # Errors
    /// `invalid_request` for anything else, saying what it is where that is known.
    pub fn from_pem(pem: &str) -> Result<Self> {
        if pem.contains("PRIVATE KEY-----") {
            bail!(
                InvalidRequest,
                "this is a private key; the public one belongs here (the file that ends in .pub)"
            );
        }
        // Some tools write what is in the key as text before it (RFC 7468, section 2).
        let start = pem.find("-----BEGIN").unwrap_or_default();
        let pem = pem[start..].trim();
        let key = p256::ecdsa::VerifyingKey::from_public_key_pem(pem)
            .map(Public::P256)
            .or_else(|_| p384::ecdsa::VerifyingKey::from_public_key_pem(pem).map(Public::P384));
        match key {
            Ok(key) => Self::new(key),
            Err(_) => bail!(
                InvalidRequest,
                "this is not a public key in PEM on P-256 or P-384 (-----BEGIN PUBLIC KEY-----)"
            ),
        }
    }

    fn new(key: Public) -> Result<Self> {
        let pem = pem_of(&key)?;
        let hint = crate::digest::hex(&Sha256::digest(pem.as_bytes()));
        Ok(Self { key, hint })
    }

    /// The curve.
    pub fn curve(&self) -> Curve {
        match self.key {
            Public::P256(_) => Curve::P256,
            Public::P384(_) => Curve::P384,
        }
    }

    /// The name of the key in signatures: the SHA-256 of its PEM text in hexadecimal digits,
    /// as the reference tool writes it into `publicKey.hint`.
    pub fn hint(&self) -> &str {
        &self.hint
    }

    /// The key in PEM.
    ///
    /// # Errors
    /// `internal`.
    pub fn to_pem(&self) -> Result<String> {
        pem_of(&self.key)
    }

    /// Whether this is a signature (DER, RFC 3279) of this message by this key.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.key {
            Public::P256(key) => {
                use p256::ecdsa::signature::Verifier as _;
                p256::ecdsa::Signature::from_der(signature)
                    .is_ok_and(|signature| key.verify(message, &signature).is_ok())
            }
            Public::P384(key) => {
                use p384::ecdsa::signature::Verifier as _;
                p384::ecdsa::Signature::from_der(signature)
                    .is_ok_and(|signature| key.verify(message, &signature).is_ok())
            }
        }
    }
}

fn pem_of(key: &Public) -> Result<String> {
    match key {
        Public::P256(key) => key.to_public_key_pem(LineEnding::LF),
        Public::P384(key) => key.to_public_key_pem(LineEnding::LF),
    }
    .map_err(|e| err!(Internal, "a public key has no PEM form: {e}"))
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({:?}, {})", self.curve(), self.hint)
    }
}

/// A key that signs. It is wiped from memory when it is dropped.
pub struct PrivateKey {
    key: Private,
}

enum Private {
    P256(p256::SecretKey),
    P384(p384::SecretKey),
}

impl PrivateKey {
    /// Makes a key from random bytes; `fill` must be a source that is fit for keys.
    ///
    /// # Errors
    /// Those of `fill`; `internal` when what it gives is not random.
    pub fn generate(curve: Curve, mut fill: impl FnMut(&mut [u8]) -> Result<()>) -> Result<Self> {
        // A value out of range has a chance of 2^-32 on P-256; eight in a row do not happen.
        for _ in 0..8 {
            let mut bytes = [0; 48];
            let key = match curve {
                Curve::P256 => {
                    fill(&mut bytes[..32])?;
                    p256::SecretKey::from_slice(&bytes[..32])
                        .ok()
                        .map(Private::P256)
                }
                Curve::P384 => {
                    fill(&mut bytes)?;
                    p384::SecretKey::from_slice(&bytes).ok().map(Private::P384)
                }
            };
            if let Some(key) = key {
                return Ok(Self { key });
            }
        }
        bail!(
            Internal,
            "the source of random numbers gives none that make a key"
        );
    }

    /// Reads a private key in PEM: `PRIVATE KEY` (PKCS #8, RFC 5958) or `EC PRIVATE KEY`
    /// (SEC 1, RFC 5915), the latter also after the `EC PARAMETERS` that OpenSSL writes.
    ///
    /// # Errors
    /// `invalid_request` for anything else.
    pub fn from_pem(pem: &str) -> Result<Self> {
        if pem.contains("ENCRYPTED") {
            bail!(
                InvalidRequest,
                "the private key is encrypted: write it out with `openssl pkcs8 -topk8 -nocrypt` to a place that only you can read"
            );
        }
        let start = pem
            .find("-----BEGIN EC PRIVATE KEY-----")
            .unwrap_or_default();
        let pem = pem[start..].trim();
        let key = p256::SecretKey::from_pem(pem)
            .map(Private::P256)
            .or_else(|_| p384::SecretKey::from_pem(pem).map(Private::P384));
        match key {
            Ok(key) => Ok(Self { key }),
            Err(_) => bail!(
                InvalidRequest,
                "this is not a private key in PEM on P-256 or P-384: make one with `twinfer keygen`"
            ),
        }
    }

    /// The key in PEM, PKCS #8.
    ///
    /// # Errors
    /// `internal`.
    pub fn to_pem(&self) -> Result<String> {
        let pem = match &self.key {
            Private::P256(key) => key.to_pkcs8_pem(LineEnding::LF),
            Private::P384(key) => key.to_pkcs8_pem(LineEnding::LF),
        };
        pem.map(|pem| pem.to_string())
            .map_err(|e| err!(Internal, "a private key has no PEM form: {e}"))
    }

    /// The key that verifies what this one signs.
    ///
    /// # Errors
    /// `internal`.
    pub fn public(&self) -> Result<PublicKey> {
        PublicKey::new(match &self.key {
            Private::P256(key) => Public::P256(key.public_key().into()),
            Private::P384(key) => Public::P384(key.public_key().into()),
        })
    }

    /// Signs a message: DER, and always the same for the same message (RFC 6979).
    ///
    /// # Errors
    /// `internal`.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let failed = |e: &dyn fmt::Display| err!(Internal, "signing failed: {e}");
        match &self.key {
            Private::P256(key) => {
                use p256::ecdsa::signature::Signer as _;
                let signature: p256::ecdsa::Signature = p256::ecdsa::SigningKey::from(key)
                    .try_sign(message)
                    .map_err(|e| failed(&e))?;
                Ok(signature.to_der().as_bytes().to_vec())
            }
            Private::P384(key) => {
                use p384::ecdsa::signature::Signer as _;
                let signature: p384::ecdsa::Signature = p384::ecdsa::SigningKey::from(key)
                    .try_sign(message)
                    .map_err(|e| failed(&e))?;
                Ok(signature.to_der().as_bytes().to_vec())
            }
        }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(…)")
    }
}
