//! Bundles of OpenSSF Model Signing v1.0, key method.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};
use twinfer::{Result, bail, err};

use super::dsse::EnvelopeJson;
use super::{Envelope, PrivateKey, PublicKey, signed_json};
use crate::digest::shorten;
use crate::limits::MAX_BUNDLE_BYTES;
use crate::{Descriptor, Digest, Manifest, media};

/// Type of the payload (in-toto attestation framework, `spec/v1/envelope.md`).
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
const PREDICATE_TYPE: &str = "https://model_signing/signature/v1.0";

/// A bundle: a signature over the names and digests of files. Reading one verifies nothing.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// The key's name; absent in bundles of model-signing before 1.1.
    hint: Option<String>,
    /// Signed with a bare key, not with a certificate.
    by_key: bool,
    envelope: Envelope,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct BundleJson {
    media_type: String,
    verification_material: Material,
    dsse_envelope: EnvelopeJson,
}

/// What is in it depends on the method (`sigstore_bundle.proto`); fields that we do not use
/// are not looked at.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    public_key: Option<KeyJson>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    x509_certificate_chain: Option<Json>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    certificate: Option<Json>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tlog_entries: Option<Vec<Json>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyJson {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    raw_bytes: Option<String>,
}

/// in-toto Statement v1 with the predicate of OMS.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StatementJson {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    predicate_type: String,
    predicate: Json,
}

#[derive(Serialize, Deserialize)]
struct Subject {
    name: String,
    digest: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Predicate {
    resources: Vec<Resource>,
    serialization: Serialization,
}

#[derive(Serialize, Deserialize)]
struct Resource {
    name: String,
    algorithm: String,
    digest: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Serialization {
    method: String,
    hash_type: String,
    allow_symlinks: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shard_size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ignore_paths: Option<Vec<String>>,
}

/// What a verified bundle says: these files, with these digests, and no others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    files: BTreeMap<String, Digest>,
}

impl Bundle {
    /// Signs the files of a package. The same key and package always give the same bytes.
    ///
    /// # Errors
    /// `invalid_manifest` for a package without files; `internal`.
    pub fn sign(name: &str, manifest: &Manifest, key: &PrivateKey) -> Result<Vec<u8>> {
        let statement = Statement::of(manifest)?;
        let payload = crate::json::to_json(&statement.to_json(name)?)?;
        let envelope = Envelope::sign(PAYLOAD_TYPE, payload, key, false)?;
        crate::json::to_json(&BundleJson {
            media_type: media::BUNDLE.into(),
            verification_material: Material {
                public_key: Some(KeyJson {
                    hint: Some(key.public()?.hint().into()),
                    raw_bytes: None,
                }),
                x509_certificate_chain: None,
                certificate: None,
                // The reference tool writes it, and until 1.1.1 needs it.
                tlog_entries: Some(Vec::new()),
            },
            dsse_envelope: envelope.encode(),
        })
    }

    /// Reads a bundle. Nothing is verified.
    ///
    /// # Errors
    /// `invalid_signature`.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        if json.len() as u64 > MAX_BUNDLE_BYTES {
            bail!(
                InvalidSignature,
                "the signature bundle has {} bytes; at most {MAX_BUNDLE_BYTES} are read",
                json.len()
            );
        }
        let bundle: BundleJson = signed_json("signature bundle", json)?;
        if bundle.media_type != media::BUNDLE {
            bail!(
                InvalidSignature,
                "the signature bundle is `{}`, expected {}",
                shorten(&bundle.media_type),
                media::BUNDLE
            );
        }
        let material = bundle.verification_material;
        let hint = match &material.public_key {
            Some(KeyJson {
                hint: None,
                raw_bytes: None,
            }) => bail!(
                InvalidSignature,
                "the signature bundle has a publicKey with neither hint nor rawBytes"
            ),
            key => key.as_ref().and_then(|key| key.hint.clone()),
        };
        let certified = material.certificate.is_some() || material.x509_certificate_chain.is_some();
        if material.certificate.is_some() && material.tlog_entries.is_none() {
            bail!(
                InvalidSignature,
                "the signature bundle has a certificate but no tlogEntries"
            );
        }
        if material.public_key.is_none() && !certified {
            bail!(
                InvalidSignature,
                "the signature bundle says neither a key nor a certificate"
            );
        }
        let mut envelope = bundle.dsse_envelope.decode()?;
        if envelope.signatures.len() != 1 {
            bail!(
                InvalidSignature,
                "the signature bundle has {} signatures, expected 1",
                envelope.signatures.len()
            );
        }
        // OMS does not use `keyid` (4.1): the key is named by `publicKey`.
        for (name, _) in &mut envelope.signatures {
            *name = None;
        }
        Ok(Self {
            hint,
            by_key: !certified,
            envelope,
        })
    }

    /// What is signed, not verified.
    pub(super) fn payload(&self) -> &[u8] {
        &self.envelope.payload
    }

    /// The name of the key that it says it was signed with.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref().filter(|hint| !hint.is_empty())
    }

    /// Whether it can be by this key: it says so, or does not say by which.
    pub fn may_be_by(&self, key: &PublicKey) -> bool {
        self.by_key && self.hint().is_none_or(|hint| hint == key.hint())
    }

    /// What it says, when it was signed by this key.
    ///
    /// # Errors
    /// `untrusted_key` when it says that it is by another; `invalid_signature` when it does
    /// not verify, or says something else than OMS v1.0 with whole files and SHA-256.
    pub fn verify(&self, key: &PublicKey) -> Result<Statement> {
        if !self.may_be_by(key) {
            bail!(
                UntrustedKey,
                "the signature is by another key ({}), not by {}",
                shorten(self.hint().unwrap_or("a certificate")),
                key.hint()
            );
        }
        match self.envelope.verify(PAYLOAD_TYPE, std::iter::once(key))? {
            Some((_, payload)) => Statement::from_json(payload),
            None => bail!(
                InvalidSignature,
                "the signature does not verify with the key {}: the signed content or the signature was changed",
                key.hint()
            ),
        }
    }
}

impl Statement {
    /// What a signature of this package says.
    ///
    /// # Errors
    /// `invalid_manifest` for a package without files.
    pub fn of(manifest: &Manifest) -> Result<Self> {
        let file = |layer: &Descriptor| Some((layer.file_name()?.to_owned(), layer.digest));
        let files: BTreeMap<String, Digest> = manifest.layers.iter().filter_map(file).collect();
        if files.is_empty() || files.len() != manifest.layers.len() {
            bail!(
                InvalidManifest,
                "the package has no files, or files without names of their own: there is nothing to sign"
            );
        }
        Ok(Self { files })
    }

    fn root(&self) -> String {
        let mut hasher = Sha256::new();
        for digest in self.files.values() {
            hasher.update(digest.bytes());
        }
        crate::digest::hex(&hasher.finalize())
    }

    fn to_json(&self, name: &str) -> Result<StatementJson> {
        // The order of a BTreeMap is that of UTF-8, which is that of code points (OMS 5.2.1).
        let resources = self.files.iter().map(|(name, digest)| Resource {
            name: name.clone(),
            algorithm: SHA256.into(),
            digest: digest.hex(),
        });
        let predicate = Predicate {
            resources: resources.collect(),
            serialization: Serialization {
                method: "files".into(),
                hash_type: SHA256.into(),
                allow_symlinks: false,
                shard_size: None,
                ignore_paths: Some(IGNORED.map(Into::into).to_vec()),
            },
        };
        Ok(StatementJson {
            kind: STATEMENT_TYPE.into(),
            subject: vec![Subject {
                name: name.into(),
                digest: [(SHA256.to_owned(), self.root())].into(),
            }],
            predicate_type: PREDICATE_TYPE.into(),
            predicate: serde_json::to_value(predicate)
                .map_err(|e| err!(Internal, "a statement has no form in JSON: {e}"))?,
        })
    }

    /// Reads a payload that was verified.
    ///
    /// # Errors
    /// `invalid_signature`.
    pub fn from_json(payload: &[u8]) -> Result<Self> {
        let statement: StatementJson = signed_json("signed statement", payload)?;
        // The types first: under another type the predicate means something else.
        for (what, got, expected) in [
            ("_type", &statement.kind, STATEMENT_TYPE),
            ("predicateType", &statement.predicate_type, PREDICATE_TYPE),
        ] {
            if got != expected {
                bail!(
                    InvalidSignature,
                    "the signed statement has {what} `{}`, expected {expected}",
                    shorten(got)
                );
            }
        }
        let predicate: Predicate = serde_json::from_value(statement.predicate)
            .map_err(|e| err!(InvalidSignature, "the signed statement is malformed: {e}"))?;
        let how = &predicate.serialization;
        if how.method != "files" || how.hash_type != SHA256 || how.shard_size.is_some() {
            bail!(
                InvalidSignature,
                "the signature is over `{}` with `{}`; only whole files with sha256 are verified",
                shorten(&how.method),
                shorten(&how.hash_type)
            );
        }
        let statement_of = Self {
            files: files(&predicate.resources)?,
        };
        let root = statement_of.root();
        match &statement.subject[..] {
            [subject] if !subject.name.is_empty() && subject.digest.get(SHA256) == Some(&root) => {
                Ok(statement_of)
            }
            _ => bail!(
                InvalidSignature,
                "the subject of the signed statement is not the root digest of its files"
            ),
        }
    }

    /// Checks that the signed files are the layers of the package: all of them, no others,
    /// with the same names and digests.
    ///
    /// # Errors
    /// `invalid_signature`, naming the first file that differs.
    pub fn covers(&self, manifest: &Manifest) -> Result<()> {
        let there = Self::of(manifest).map_err(|e| err!(InvalidSignature, "{e}"))?;
        for (name, digest) in &there.files {
            match self.files.get(name) {
                Some(signed) if signed == digest => {}
                Some(_) => bail!(
                    InvalidSignature,
                    "the layer `{}` is not the one that was signed",
                    shorten(name)
                ),
                None => bail!(
                    InvalidSignature,
                    "the layer `{}` was not signed: it was added or renamed, or the signature is of another package",
                    shorten(name)
                ),
            }
        }
        match self
            .files
            .keys()
            .find(|name| !there.files.contains_key(*name))
        {
            None => Ok(()),
            Some(name) => bail!(
                InvalidSignature,
                "the signed file `{}` is missing: it was removed or renamed, or the signature is of another package",
                shorten(name)
            ),
        }
    }
}

const SHA256: &str = "sha256";
/// What the reference tool leaves out of a folder by default (OMS 6.2).
const IGNORED: [&str; 4] = [".git", ".gitattributes", ".github", ".gitignore"];

/// Checks order, names and digests of the signed files.
fn files(resources: &[Resource]) -> Result<BTreeMap<String, Digest>> {
    if resources.is_empty() || resources.windows(2).any(|w| w[0].name >= w[1].name) {
        bail!(
            InvalidSignature,
            "the signed files are none, double, or not in the order of their names"
        );
    }
    let file = |resource: &Resource| {
        if resource.algorithm != SHA256 {
            bail!(
                InvalidSignature,
                "a signed file has a `{}` digest, expected sha256",
                shorten(&resource.algorithm)
            );
        }
        let digest = format!("sha256:{}", resource.digest).parse();
        let digest: Digest = digest.map_err(|e| err!(InvalidSignature, "a signed file: {e}"))?;
        Ok((resource.name.clone(), digest))
    };
    resources.iter().map(file).collect()
}
