//! DSSE v1 (<https://github.com/secure-systems-lab/dsse>): a payload with its type, signed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use twinfer::{Result, bail, err};

use super::{PrivateKey, PublicKey, signed_json};

/// Signatures of one envelope that are looked at.
const MAX_SIGNATURES: usize = 16;

/// An envelope: a payload, its type, and signatures over both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// What the payload is.
    pub payload_type: String,
    /// What is signed.
    pub payload: Vec<u8>,
    /// The key's name (where it says one) and the signature in DER.
    pub signatures: Vec<(Option<String>, Vec<u8>)>,
}

/// The form in JSON (`envelope.md` of DSSE, `envelope.schema.json` of OMS).
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct EnvelopeJson {
    payload: String,
    payload_type: String,
    signatures: Vec<SignatureJson>,
}

#[derive(Serialize, Deserialize)]
struct SignatureJson {
    sig: String,
    #[serde(default)]
    keyid: Option<String>,
}

/// The bytes that are signed (DSSE `protocol.md`, "PAE").
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!(
        "DSSEv1 {} {payload_type} {} ",
        payload_type.len(),
        payload.len()
    );
    [head.as_bytes(), payload].concat()
}

impl Envelope {
    /// Signs a payload. The key's name is left out where `named` is false: a bundle says it
    /// elsewhere.
    ///
    /// # Errors
    /// `internal`.
    pub fn sign(
        payload_type: &str,
        payload: Vec<u8>,
        key: &PrivateKey,
        named: bool,
    ) -> Result<Self> {
        let signature = key.sign(&pae(payload_type, &payload))?;
        let name = match named {
            true => Some(key.public()?.hint().to_owned()),
            false => None,
        };
        Ok(Self {
            payload_type: payload_type.into(),
            payload,
            signatures: vec![(name, signature)],
        })
    }

    /// Reads an envelope. Nothing is verified.
    ///
    /// # Errors
    /// `invalid_signature`.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        signed_json::<EnvelopeJson>("envelope (DSSE)", json)?.decode()
    }

    /// The envelope as JSON.
    ///
    /// # Errors
    /// `internal`.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        crate::json::to_json(&self.encode())
    }

    pub(super) fn encode(&self) -> EnvelopeJson {
        let signature = |(name, signature): &(Option<String>, Vec<u8>)| SignatureJson {
            sig: STANDARD.encode(signature),
            keyid: Some(name.clone().unwrap_or_default()),
        };
        EnvelopeJson {
            payload: STANDARD.encode(&self.payload),
            payload_type: self.payload_type.clone(),
            signatures: self.signatures.iter().map(signature).collect(),
        }
    }

    /// The payload, where a signature of it by one of these keys verifies, and the key's
    /// place in the list. `None` when it is signed, but by none of them.
    ///
    /// # Errors
    /// `invalid_signature` for another type of payload, and for a signature that names one
    /// of the keys and does not verify.
    pub fn verify<'a>(
        &'a self,
        payload_type: &str,
        keys: impl Iterator<Item = &'a PublicKey> + Clone,
    ) -> Result<Option<(usize, &'a [u8])>> {
        if self.payload_type != payload_type {
            bail!(
                InvalidSignature,
                "the signed payload is `{}`, expected {payload_type}",
                crate::digest::shorten(&self.payload_type)
            );
        }
        let message = pae(&self.payload_type, &self.payload);
        let mut named = false;
        for (name, signature) in &self.signatures {
            // Names only save work: it is the signature that decides.
            let name = name.as_deref().filter(|name| !name.is_empty());
            for (at, key) in keys.clone().enumerate() {
                if name.is_some_and(|name| name != key.hint()) {
                    continue;
                }
                if key.verifies(&message, signature) {
                    return Ok(Some((at, &self.payload)));
                }
                named |= name.is_some();
            }
        }
        if named {
            bail!(
                InvalidSignature,
                "the signature does not verify with the key that it names: the signed content or the signature was changed"
            );
        }
        Ok(None)
    }
}

impl EnvelopeJson {
    pub(super) fn decode(self) -> Result<Envelope> {
        if self.signatures.is_empty() || self.signatures.len() > MAX_SIGNATURES {
            bail!(
                InvalidSignature,
                "the envelope has {} signatures; from 1 to {MAX_SIGNATURES} are read",
                self.signatures.len()
            );
        }
        let bytes = |what: &str, text: &str| {
            STANDARD
                .decode(text)
                .map_err(|e| err!(InvalidSignature, "the {what} is not base64: {e}"))
        };
        let signatures = self.signatures.into_iter();
        Ok(Envelope {
            payload: bytes("signed payload", &self.payload)?,
            payload_type: self.payload_type,
            signatures: signatures
                .map(|s| Ok((s.keyid, bytes("signature", &s.sig)?)))
                .collect::<Result<_>>()?,
        })
    }
}
