//! Putting derived engines into a registry, beside the packages that they were made for.

use serde::Serialize;
use twinfer::{Error, ErrorCode, Result, bail};

use super::{DerivedEngine, ENGINES, engine_signatures};
use crate::attachment::{attach, read_list};
use crate::limits::MAX_MODEL_BYTES;
use crate::signing::{Artifact, Referrers};
use crate::{Descriptor, Digest, Index, Reference, Store, WritableStore, media, referrers_tag};

/// File name of the engine in its artifact.
const ENGINE_NAME: &str = "engine.wasm";

/// What was attached.
#[derive(Debug, Clone, Serialize)]
pub struct AttachedEngine {
    /// The package.
    pub package: Digest,
    /// The manifest of the artifact.
    pub artifact: Digest,
    /// Whether it was not there before.
    pub added: bool,
}

/// Attaches an engine to a package of a registry: as an artifact whose `subject` is the package,
/// and, so that a page knows of it with the first request, in the annotation [`ENGINES`] of the
/// package's entries in the index. Another engine of the same kind, target and full engine that
/// the package has is replaced. Attaching it again changes nothing.
///
/// # Errors
/// `invalid_request` for an engine that was not made for this package; `digest_mismatch`,
/// `size_mismatch` when `wasm` is not that engine; those of finding the package and of writing.
pub fn attach_engine(
    store: &dyn WritableStore,
    reference: &Reference,
    engine: &DerivedEngine,
    wasm: &[u8],
) -> Result<AttachedEngine> {
    let index = Index::from_json(&store.index_of(reference)?)?;
    let package = Descriptor {
        annotations: Default::default(),
        ..index.resolve(reference)?
    };
    if !engine.packages.contains_key(&package.digest) {
        bail!(
            InvalidRequest,
            "the engine {} was not made for {reference} ({}): make one with `twinfer slim` or `twinfer fuse`",
            engine.digest,
            package.digest
        );
    }
    let engine = engine.unsigned();
    let layer = Artifact::file(media::WASM, ENGINE_NAME, wasm);
    Descriptor {
        digest: engine.digest,
        size: engine.size,
        ..layer.clone()
    }
    .verify(wasm)?;
    let config_json = engine.config()?;
    let config = Descriptor::new(media::ENGINE_CONFIG, &config_json);
    let said = DerivedEngine::annotation(std::slice::from_ref(&engine))?;
    let annotations = [(ENGINES.to_owned(), said)].into();
    let (artifact, artifact_json) =
        Artifact::write_with(media::ENGINE, &config, &layer, Some(&package), annotations)?;
    let contents = [
        (&layer, wasm),
        (&config, &config_json[..]),
        (&artifact, &artifact_json[..]),
    ];
    let added = attach(store, reference, &package, &contents, &mut |referrers| {
        referrers.replace_engines(&engine);
        referrers.add(&artifact);
        Ok(())
    });
    Ok(AttachedEngine {
        package: package.digest,
        artifact: artifact.digest,
        added: added.map_err(malformed)?,
    })
}

/// The engines that are attached to a package, as the list of its referrers says; not verified.
///
/// # Errors
/// Those of finding the package and of reading the list.
pub fn attached_engines(store: &dyn Store, reference: &Reference) -> Result<Vec<DerivedEngine>> {
    let index = Index::from_json(&store.index_of(reference)?)?;
    let package = index.resolve(reference)?;
    let entry = index.named(reference.name(), &referrers_tag(&package.digest))?;
    let engines = read_list(store, entry.as_ref())
        .map_err(malformed)?
        .engines();
    Ok(engines.into_iter().map(|(_, engine)| engine).collect())
}

/// Checks the engines that are attached to a package: that the artifact, its config and its file are
/// what they are said to be, that it is attached to this package and made for it, that its
/// signatures are over it (by whom is a question for a [`crate::TrustPolicy`]), and that the
/// annotation in the index says the same. Gives them.
///
/// # Errors
/// `invalid_manifest`, `invalid_signature`, `digest_mismatch`, `size_mismatch`, `missing_blob`;
/// those of reading.
pub fn verify_engines(store: &dyn Store, reference: &Reference) -> Result<Vec<DerivedEngine>> {
    let index = Index::from_json(&store.index_of(reference)?)?;
    let package = index.resolve(reference)?;
    let entry = index.named(reference.name(), &referrers_tag(&package.digest))?;
    let engines = read_list(store, entry.as_ref())
        .map_err(malformed)?
        .engines();
    for (artifact, engine) in &engines {
        verify_engine(store, &package.digest, artifact, engine)
            .and_then(|()| engine_signatures(store, reference, engine).map(drop))
            .map_err(|e| e.context(format!("the engine {}", engine.digest)))?;
    }
    let engines: Vec<_> = engines.into_iter().map(|(_, engine)| engine).collect();
    // An OCI registry has no place for it: there the list alone counts.
    if let Some(said) = package.annotations.get(ENGINES)
        && *said != DerivedEngine::annotation(&engines)?
    {
        bail!(
            InvalidManifest,
            "the annotation {ENGINES} of {reference} in the index is not what is attached to it: attach the engine again"
        );
    }
    Ok(engines)
}

fn verify_engine(
    store: &dyn Store,
    package: &Digest,
    descriptor: &Descriptor,
    engine: &DerivedEngine,
) -> Result<()> {
    let json = store.blob(descriptor)?;
    descriptor.verify(&json)?;
    let artifact = Artifact::from_json(&json, media::ENGINE, media::WASM, MAX_MODEL_BYTES)
        .map_err(malformed)?;
    let config = match artifact.config {
        Some(config) if config.media_type == media::ENGINE_CONFIG => config,
        _ => bail!(InvalidManifest, "its config is no {}", media::ENGINE_CONFIG),
    };
    let config_json = store.blob(&config)?;
    config.verify(&config_json)?;
    let said: DerivedEngine = crate::json::from_json("engine config", &config_json)?;
    if said != engine.unsigned()
        || (artifact.layer.digest, artifact.layer.size) != (said.digest, said.size)
    {
        bail!(
            InvalidManifest,
            "its config, its file and the list of the package do not agree"
        );
    }
    if artifact.subject != Some(*package) || !said.packages.contains_key(package) {
        bail!(InvalidManifest, "it was not made for the package {package}");
    }
    artifact.layer.verify(&store.blob(&artifact.layer)?)
}

/// The readers of artifacts were made for signatures.
fn malformed(error: Error) -> Error {
    match error.code() {
        ErrorCode::InvalidSignature => {
            Error::new(ErrorCode::InvalidManifest, error.message().to_owned())
        }
        _ => error,
    }
}

/// A list of what is attached to a package after it was united with another one: of two engines
/// that replace each other, the one of `newer` stays. Lists of other tools stay as they are.
pub fn unite_engines(united: Vec<u8>, newer: &[u8]) -> Vec<u8> {
    let newer = listed_engines(newer);
    let Ok(mut list) = Referrers::from_json(&united) else {
        return united;
    };
    let before = list.engines().len();
    for engine in &newer {
        list.replace_engines(engine);
    }
    match list.engines().len() == before {
        true => united,
        false => list.to_json().unwrap_or(united),
    }
}

/// What a list of referrers says of derived engines; nothing, where it is no list.
pub fn listed_engines(list: &[u8]) -> Vec<DerivedEngine> {
    let engines = Referrers::from_json(list).map(|list| list.engines());
    let engines = engines.unwrap_or_default().into_iter();
    engines.map(|(_, engine)| engine).collect()
}
