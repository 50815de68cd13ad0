//! Engines that were derived for packages: slim ones, and fused ones with the model in them.
//!
//! A derived engine is an OCI artifact whose `subject` is the package, so it is found as a
//! referrer, and goes with the package from registry to registry. Its manifest has this config
//! and one layer, the wasm. An `index.json` repeats the config in an annotation of the package's
//! entry, so that a page knows with one request what it will fetch.

mod attach;
mod signatures;

pub use attach::{
    AttachedEngine, attach_engine, attached_engines, listed_engines, unite_engines, verify_engines,
};
pub use signatures::{SignedEngine, engine_signatures, sign_engines};

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use twinfer::{Result, err};

use crate::Digest;
use crate::json::from_json;

/// The annotation of a package's entry in `index.json`: a JSON list of [`DerivedEngine`].
pub const ENGINES: &str = "ai.twinfer.engines";
/// The annotation of an engine's signature: the digest of the engine's config.
pub(crate) const SIGNED_ENGINE: &str = "ai.twinfer.engine";
/// The annotation of an engine's signature: the digest of the envelope in it.
pub(crate) const ENVELOPE: &str = "ai.twinfer.envelope";

/// What was done to the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "kebab-case")]
pub enum EngineKind {
    /// Only the functions that the packages' golden examples enter. Another one, when it is
    /// called after all, is answered by the full engine.
    Slim,
    /// A snapshot of memory with the package loaded in it; only the functions that are needed
    /// after that.
    Fused,
}

/// What runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "kebab-case")]
pub enum EngineTarget {
    /// The npm package: a core module for the glue of wasm-bindgen.
    Page,
    /// A host of WASI HTTP components.
    Component,
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Slim => "slim",
            Self::Fused => "fused",
        })
    }
}

impl fmt::Display for EngineTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Page => "page",
            Self::Component => "component",
        })
    }
}

/// An engine that was made from the full engine for one package or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DerivedEngine {
    /// What was done to it.
    pub kind: EngineKind,
    /// What runs it.
    pub target: EngineTarget,
    /// Digest of the wasm file: what is fetched, verified and cached.
    pub digest: Digest,
    /// Bytes of the wasm file.
    #[cfg_attr(feature = "schema", ts(type = "number"))]
    pub size: u64,
    /// Digest of the full engine's wasm file from which it was made. It fits the glue, and can be
    /// replaced by the full engine, only where that one is this.
    pub engine: Digest,
    /// Version of Twinfer that the full engine has.
    pub version: String,
    /// The packages (digests of their manifests) that it was made for, each with the digest of
    /// its profile: which functions its golden examples enter. A fused engine has one package.
    pub packages: BTreeMap<Digest, Digest>,
    /// Digests of the envelopes (DSSE) in which it was signed. They are in lists of engines, and
    /// no part of what is signed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", ts(as = "Option<Vec<String>>", optional))]
    pub signatures: Vec<Digest>,
}

impl DerivedEngine {
    /// Everything but the signatures: what its artifact says of it, and what is signed.
    pub fn unsigned(&self) -> Self {
        Self {
            signatures: Vec::new(),
            ..self.clone()
        }
    }

    /// The config of its artifact.
    ///
    /// # Errors
    /// `internal`.
    pub(crate) fn config(&self) -> Result<Vec<u8>> {
        crate::json::to_json(&self.unsigned())
    }

    /// Whether it was made from this full engine, and for this package.
    pub fn fits(&self, engine: &Digest, package: &Digest) -> bool {
        self.engine == *engine && self.packages.contains_key(package)
    }

    /// Reads the list in the annotation [`ENGINES`]. What this version does not know is left out:
    /// a kind or target of a later version is no reason to refuse the package.
    ///
    /// # Errors
    /// `invalid_manifest` when it is no JSON list.
    pub fn list(annotation: &str) -> Result<Vec<Self>> {
        let entries: Vec<serde_json::Value> = from_json(ENGINES, annotation.as_bytes())?;
        Ok(entries
            .into_iter()
            .filter_map(|entry| serde_json::from_value(entry).ok())
            .collect())
    }

    /// The annotation's text, in a fixed order.
    ///
    /// # Errors
    /// `internal`.
    pub fn annotation(engines: &[Self]) -> Result<String> {
        let mut engines: Vec<&Self> = engines.iter().collect();
        engines.sort_by_key(|e| (e.target, e.kind, e.digest.to_string()));
        serde_json::to_string(&engines).map_err(|e| err!(Internal, "{ENGINES}: {e}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine(kind: EngineKind) -> DerivedEngine {
        DerivedEngine {
            kind,
            target: EngineTarget::Page,
            digest: Digest::of(b"wasm"),
            size: 4,
            engine: Digest::of(b"full"),
            version: "0.1.0".into(),
            packages: [(Digest::of(b"package"), Digest::of(b"profile"))].into(),
            signatures: Vec::new(),
        }
    }

    #[test]
    fn a_list_survives_its_annotation_in_one_order_and_ignores_what_is_newer() {
        let engines = [engine(EngineKind::Fused), engine(EngineKind::Slim)];
        let text = DerivedEngine::annotation(&engines).unwrap();
        let [fused, slim] = engines;
        assert_eq!(DerivedEngine::list(&text).unwrap(), [slim.clone(), fused]);
        let newer = text.replace("\"fused\"", "\"distilled\"");
        assert_eq!(DerivedEngine::list(&newer).unwrap(), [slim]);
        assert!(DerivedEngine::list("{").is_err());
    }

    #[test]
    fn it_fits_its_own_engine_and_package_only() {
        let slim = engine(EngineKind::Slim);
        let (full, package) = (Digest::of(b"full"), Digest::of(b"package"));
        assert!(slim.fits(&full, &package));
        assert!(!slim.fits(&Digest::of(b"other"), &package));
        assert!(!slim.fits(&full, &Digest::of(b"other")));
    }
}
