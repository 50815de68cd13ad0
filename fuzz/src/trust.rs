//! Any bytes, in every place where something about trust is read.

use serde_json::{Value, json};
use twinfer_package::{
    Admission, Bundle, Curve, Descriptor, Digest, Envelope, PrivateKey, PublicKey, REF_NAME,
    Reference, Seen, SignedTags, TITLE, TrustPolicy, media,
};

/// Where the bytes are put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The list of what is attached to the package.
    Referrers,
    /// The manifest of a signature.
    Signature,
    /// The bundle in it.
    Bundle,
    /// The payload of a bundle, signed with the key that is accepted.
    Statement,
    /// The manifest of signed tags.
    TagsManifest,
    /// The envelope in it.
    Tags,
    /// The payload of the envelope, signed with the key that is accepted.
    TagsPayload,
    /// The manifest of the package.
    Manifest,
    /// The index of the registry.
    Index,
}

/// All of them.
pub const PLACES: [Place; 9] = [
    Place::Referrers,
    Place::Signature,
    Place::Bundle,
    Place::Statement,
    Place::TagsManifest,
    Place::Tags,
    Place::TagsPayload,
    Place::Manifest,
    Place::Index,
];

/// Reads the bytes as everything they could be. Never panics.
pub fn everything(data: &[u8]) {
    let _ = TrustPolicy::from_json(data);
    let _ = SignedTags::from_json(data);
    if let Ok(bundle) = Bundle::from_json(data) {
        let _ = key().public().and_then(|key| bundle.verify(&key));
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = PublicKey::from_pem(text);
        let _ = PrivateKey::from_pem(text);
    }
    for place in PLACES {
        let _ = admit(place, data);
    }
}

/// Decides on a package with these bytes in one place, and everything else as it should be.
/// True when it is admitted.
///
/// # Errors
/// Those of [`Admission`].
pub fn admit(place: Place, data: &[u8]) -> twinfer::Result<bool> {
    let world = World::new(place, data)?;
    let policy = TrustPolicy::of_key(&key().public()?)?;
    let reference: Reference = "a:1.0.0".parse()?;
    let mut admission = Admission::new(&world.index, &reference, &policy, Seen::default())?;
    loop {
        let needs = admission.needs();
        let Some(wanted) = needs.first() else {
            return admission.finish().map(|_| true);
        };
        let blob = world
            .blobs
            .iter()
            .find(|(digest, _)| *digest == wanted.digest);
        let Some((digest, bytes)) = blob else {
            return Ok(false);
        };
        admission.supply(digest, bytes.clone())?;
    }
}

/// The bytes that are right in a place: what mutations begin with.
///
/// # Errors
/// None that can happen.
pub fn right(place: Place) -> twinfer::Result<Vec<u8>> {
    let world = World::new(Place::Index, &[])?;
    let right = world.right.into_iter().find(|(at, _)| *at == place);
    Ok(right.map(|(_, bytes)| bytes).unwrap_or_default())
}

fn key() -> &'static PrivateKey {
    static KEY: std::sync::OnceLock<PrivateKey> = std::sync::OnceLock::new();
    KEY.get_or_init(make_key)
}

fn make_key() -> PrivateKey {
    PrivateKey::generate(Curve::P256, |bytes| {
        bytes.fill(7);
        Ok(())
    })
    .unwrap_or_else(|e| unreachable!("{e}"))
}

struct World {
    index: Vec<u8>,
    blobs: Vec<(Digest, Vec<u8>)>,
    /// What is right in each place.
    right: Vec<(Place, Vec<u8>)>,
}

impl World {
    fn new(place: Place, data: &[u8]) -> twinfer::Result<Self> {
        let mut blobs = Vec::new();
        let mut all_right = Vec::new();
        let mut pick = |at: Place, right: Vec<u8>| {
            all_right.push((at, right.clone()));
            let bytes = if at == place { data.to_vec() } else { right };
            blobs.push((Digest::of(&bytes), bytes.clone()));
            bytes
        };
        let manifest = pick(Place::Manifest, text(&manifest()));
        let package = Descriptor::new(media::MANIFEST, &manifest);

        let payload = match Bundle::sign("a", &good_manifest()?, key()) {
            Ok(bundle) => payload_of(&bundle),
            Err(_) => Vec::new(),
        };
        let payload = pick(Place::Statement, payload);
        let envelope = Envelope::sign("application/vnd.in-toto+json", payload, key(), false)?;
        let envelope: Value = serde_json::from_slice(&envelope.to_json()?).unwrap_or_default();
        let bundle = json!({
            "mediaType": media::BUNDLE,
            "verificationMaterial": {"publicKey": {"hint": key().public()?.hint()}},
            "dsseEnvelope": envelope,
        });
        let bundle = pick(Place::Bundle, text(&bundle));
        let artifact = |kind: &str, layer: &str, bytes: &[u8], subject: Option<&Descriptor>| {
            let mut manifest = json!({
                "schemaVersion": 2, "mediaType": media::MANIFEST, "artifactType": kind,
                "config": Descriptor::new(media::EMPTY, b"{}"),
                "layers": [Descriptor::new(layer, bytes)],
            });
            if let Some(subject) = subject {
                manifest["subject"] = json!(subject);
            }
            text(&manifest)
        };
        let signature = artifact(media::BUNDLE, media::BUNDLE, &bundle, Some(&package));
        let signature = pick(Place::Signature, signature);
        let mut link = Descriptor::new(media::MANIFEST, &signature);
        link.artifact_type = Some(media::BUNDLE.into());
        let referrers = json!({"schemaVersion": 2, "mediaType": media::INDEX, "manifests": [link]});
        let referrers = pick(Place::Referrers, text(&referrers));

        let tags = [("1.0.0".to_owned(), package.digest)].into();
        let list = SignedTags::new("a", 1, 0, 1000, tags)?;
        let list = pick(
            Place::TagsPayload,
            serde_json::to_vec(&list).unwrap_or_default(),
        );
        let tags = Envelope::sign(media::TAGS, list, key(), true)?.to_json()?;
        let tags = pick(Place::Tags, tags);
        let tags = artifact(media::TAGS, media::DSSE, &tags, None);
        let tags = pick(Place::TagsManifest, tags);

        let entry = |name: String, descriptor: Descriptor| {
            let mut descriptor = descriptor;
            descriptor.annotations.insert(REF_NAME.into(), name);
            descriptor
        };
        let index = json!({"schemaVersion": 2, "manifests": [
            entry("a:1.0.0".into(), package.clone()),
            entry(format!("a:sha256-{}", package.digest.hex()), Descriptor::new(media::INDEX, &referrers)),
            entry("a:twinfer-tags".into(), Descriptor::new(media::MANIFEST, &tags)),
        ]});
        let index = pick(Place::Index, text(&index));
        Ok(Self {
            index,
            blobs,
            right: all_right,
        })
    }
}

fn text(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn good_manifest() -> twinfer::Result<twinfer_package::Manifest> {
    twinfer_package::Manifest::from_json(&text(&manifest()))
}

fn manifest() -> Value {
    let layer = |kind: &str, name: &str| {
        let mut layer = Descriptor::new(kind, name.as_bytes());
        layer.annotations.insert(TITLE.into(), name.into());
        layer
    };
    json!({
        "schemaVersion": 2, "mediaType": media::MANIFEST, "artifactType": media::ARTIFACT,
        "config": Descriptor::new(media::MODEL_CONFIG, b"{}"),
        "layers": [
            layer(media::WEIGHT_CONFIG, media::CONFIG_NAME),
            layer(media::WEIGHT, media::MODEL_NAME),
        ],
    })
}

/// The payload of a bundle, by reading its base64 (no dependency for one use).
fn payload_of(bundle: &[u8]) -> Vec<u8> {
    let bundle: Value = serde_json::from_slice(bundle).unwrap_or_default();
    let envelope = bundle["dsseEnvelope"].to_string();
    Envelope::from_json(envelope.as_bytes())
        .map(|envelope| envelope.payload)
        .unwrap_or_default()
}
