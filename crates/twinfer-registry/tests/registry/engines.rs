//! Derived engines go with their package, and are checked.

use twinfer::ErrorCode;
use twinfer_package::{
    Curve, DerivedEngine, Digest, ENGINES, EngineKind, EngineTarget, FolderStore, Index,
    MemoryStore, Package, PrivateKey, Store, TrustPolicy, WritableStore, attach_engine,
    attached_engines, engine_signatures, move_alias, remove, sign_engines, verify_engines,
};
use twinfer_registry::{MirrorOptions, mirror};

use crate::support::{Place, attach, copy_one, reference};

fn engine(package: Digest, wasm: &[u8]) -> DerivedEngine {
    DerivedEngine {
        kind: EngineKind::Slim,
        target: EngineTarget::Page,
        digest: Digest::of(wasm),
        size: wasm.len() as u64,
        engine: Digest::of(b"full"),
        version: "0.1.0".into(),
        packages: [(package, Digest::of(b"profile"))].into(),
        signatures: Vec::new(),
    }
}

fn attached(store: &dyn WritableStore, wasm: &[u8]) -> DerivedEngine {
    let small = reference("small:1.0.0");
    let package = *Package::open(store, &small).unwrap().digest();
    let engine = engine(package, wasm);
    attach_engine(store, &small, &engine, wasm).unwrap();
    engine
}

/// The annotations of the entries of `small`, by tag.
fn said(store: &dyn Store) -> Vec<(String, Vec<DerivedEngine>)> {
    let index = Index::from_json(&store.index().unwrap()).unwrap();
    let tags = index.tags().into_iter();
    tags.map(|t| (t.tag, index.engines(&t.digest))).collect()
}

#[test]
fn an_engine_is_attached_once_and_said_of_every_tag() {
    let place = Place::new();
    let store = place.pack("1.0.0", 10);
    move_alias(&store, &reference("small:1.0.0"), "before", false).unwrap();
    let engine = attached(&store, b"wasm");
    move_alias(&store, &reference("small:1.0.0"), "after", false).unwrap();
    let entries = store.index().unwrap();
    let all = [engine.clone()];
    assert_eq!(
        said(&store),
        ["1.0.0", "after", "before"].map(|tag| (tag.to_owned(), all.to_vec()))
    );
    let again = attach_engine(&store, &reference("small"), &engine, b"wasm").unwrap();
    assert!(!again.added);
    assert_eq!(store.index().unwrap(), entries);
    assert_eq!(verify_engines(&store, &reference("small")).unwrap(), all);
    // The package is what it was.
    Package::open(&store, &reference("small:after")).unwrap();
}

#[test]
fn another_engine_of_its_kind_takes_its_place_and_the_old_one_is_collected() {
    let place = Place::new();
    let store = place.pack("1.0.0", 10);
    attach(&store, "small:1.0.0", b"signature");
    let old = attached(&store, b"old wasm");
    let new = attached(&store, b"new wasm");
    let small = reference("small:1.0.0");
    let fused = DerivedEngine {
        kind: EngineKind::Fused,
        ..new.clone()
    };
    attach_engine(&store, &small, &fused, b"new wasm").unwrap();
    let mut found = attached_engines(&store, &small).unwrap();
    found.sort_by_key(|engine| engine.kind);
    assert_eq!(found, [new, fused]);
    let blob = |digest: &Digest| place.path("registry/blobs/sha256").join(digest.hex());
    assert!(blob(&old.digest).exists());
    store.collect_garbage(false, false).unwrap();
    assert!(!blob(&old.digest).exists() && blob(&found[0].digest).exists());
    assert_eq!(verify_engines(&store, &small).unwrap().len(), 2);
    // Gone with its package.
    remove(&store, &small, false).unwrap();
    store.collect_garbage(false, false).unwrap();
    assert!(!blob(&found[0].digest).exists());
}

#[test]
fn engines_go_with_copies_and_mirrors() {
    let (here, there) = (Place::new(), Place::new());
    let source = here.pack("1.0.0", 10);
    let old = there.pack("1.0.0", 10);
    attached(&old, b"theirs");
    attach(&old, "small:1.0.0", b"signature of another list");
    attached(&old, b"theirs");
    let engine = attached(&source, b"ours");
    let memory = MemoryStore::new();
    for dest in [&memory as &dyn WritableStore, &old] {
        copy_one(&source, dest, "small:1.0.0").unwrap();
        // The one that is copied stays of two.
        let found = verify_engines(dest, &reference("small")).unwrap();
        assert_eq!(found, std::slice::from_ref(&engine));
        assert!(copy_one(&source, dest, "small:1.0.0").unwrap().unchanged);
    }
    let folder = here.path("mirror");
    mirror(&source, &folder, MirrorOptions::default(), &mut |_| ()).unwrap();
    let mirrored = FolderStore::new(&folder);
    assert_eq!(said(&mirrored), [("1.0.0".to_owned(), vec![engine])]);
    assert_eq!(
        verify_engines(&mirrored, &reference("small"))
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn an_engine_that_is_not_what_is_said_is_found_out() {
    let place = Place::new();
    let store = place.pack("1.0.0", 10);
    let small = reference("small:1.0.0");
    let package = *Package::open(&store, &small).unwrap().digest();
    let good = engine(package, b"wasm");
    let other = engine(Digest::of(b"another package"), b"wasm");
    let refused = |engine: &DerivedEngine, wasm: &[u8]| {
        let error = attach_engine(&store, &small, engine, wasm).unwrap_err();
        error.code()
    };
    assert_eq!(refused(&other, b"wasm"), ErrorCode::InvalidRequest);
    assert_eq!(refused(&good, b"WASM"), ErrorCode::DigestMismatch);
    assert_eq!(refused(&good, b"longer wasm"), ErrorCode::SizeMismatch);
    assert_eq!(said(&store)[0].1, []);
    attach_engine(&store, &small, &good, b"wasm").unwrap();
    let index = place.path("registry/index.json");
    let text = std::fs::read_to_string(&index).unwrap();
    assert!(text.contains(ENGINES));
    std::fs::write(&index, text.replace("0.1.0", "0.1.1")).unwrap();
    let error = verify_engines(&store, &small).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidManifest, "{error}");
    std::fs::write(&index, text).unwrap();
    let blob = place.path("registry/blobs/sha256").join(good.digest.hex());
    std::fs::write(&blob, b"mask").unwrap();
    let error = verify_engines(&store, &small).unwrap_err();
    assert_eq!(error.code(), ErrorCode::DigestMismatch, "{error}");
    std::fs::remove_file(&blob).unwrap();
    let error = verify_engines(&store, &small).unwrap_err();
    assert_eq!(error.code(), ErrorCode::MissingBlob, "{error}");
}

fn key(byte: u8) -> PrivateKey {
    let fill = |bytes: &mut [u8]| {
        bytes.fill(byte);
        Ok(())
    };
    PrivateKey::generate(Curve::P256, fill).unwrap()
}

fn judged(store: &dyn Store, policy: &TrustPolicy) -> Result<Vec<String>, ErrorCode> {
    let small = reference("small");
    let [engine] = &verify_engines(store, &small).unwrap()[..] else {
        panic!("one engine");
    };
    let signatures = engine_signatures(store, &small, engine).unwrap();
    let signers = policy.engine_signers("small", engine, &signatures);
    signers.map_err(|e| e.code())
}

#[test]
fn an_engine_is_signed_by_the_keys_that_sign_its_package() {
    let (here, there) = (Place::new(), Place::new());
    let store = here.pack("1.0.0", 10);
    let small = reference("small:1.0.0");
    let policy = TrustPolicy::of_key(&key(1).public().unwrap()).unwrap();
    assert_eq!(sign_engines(&store, &small, &key(1)).unwrap().len(), 0);
    let engine = attached(&store, b"wasm");
    assert_eq!(judged(&store, &policy), Err(ErrorCode::UnsignedPackage));
    sign_engines(&store, &small, &key(2)).unwrap();
    assert_eq!(judged(&store, &policy), Err(ErrorCode::UntrustedKey));
    let signed = sign_engines(&store, &small, &key(1)).unwrap();
    let signatures = |store: &dyn Store| said(store)[0].1[0].signatures.clone();
    assert!(signed[0].added && signed[0].engine == engine && signatures(&store).len() == 2);
    let by_key = vec!["key".to_owned()];
    assert_eq!(judged(&store, &policy), Ok(by_key.clone()));
    let entries = store.index().unwrap();
    assert!(!sign_engines(&store, &small, &key(1)).unwrap()[0].added);
    assert!(
        !attach_engine(&store, &small, &engine, b"wasm")
            .unwrap()
            .added
    );
    assert_eq!(store.index().unwrap(), entries);
    // They go where the engine goes.
    let memory = MemoryStore::new();
    copy_one(&store, &memory, "small:1.0.0").unwrap();
    let folder = there.path("mirror");
    mirror(&store, &folder, MirrorOptions::default(), &mut |_| ()).unwrap();
    let mirrored = FolderStore::new(&folder);
    for dest in [&memory as &dyn Store, &mirrored] {
        assert_eq!(judged(dest, &policy), Ok(by_key.clone()));
        assert_eq!(signatures(dest), signatures(&store));
    }
    store.collect_garbage(false, false).unwrap();
    assert_eq!(judged(&store, &policy), Ok(by_key));
    // And they go with it: another engine is unsigned.
    let blob = |digest: &Digest| here.path("registry/blobs/sha256").join(digest.hex());
    let [envelope, _] = signatures(&store)[..] else {
        panic!("two signatures");
    };
    assert!(blob(&envelope).exists());
    attached(&store, b"other wasm");
    assert_eq!(judged(&store, &policy), Err(ErrorCode::UnsignedPackage));
    store.collect_garbage(false, false).unwrap();
    assert!(!blob(&envelope).exists());
}

#[test]
fn a_signature_is_of_one_engine_for_its_packages_and_may_be_revoked() {
    let place = Place::new();
    let store = place.pack("1.0.0", 10);
    let small = reference("small:1.0.0");
    let engine = attached(&store, b"wasm");
    sign_engines(&store, &small, &key(1)).unwrap();
    let public = key(1).public().unwrap();
    let policy = TrustPolicy::of_key(&public).unwrap();
    let signatures = engine_signatures(&store, &small, &engine).unwrap();
    let package = *Package::open(&store, &small).unwrap().digest();
    let mut more = engine.clone();
    more.packages
        .insert(Digest::of(b"another package"), Digest::of(b"profile"));
    for other in [self::engine(package, b"other"), more] {
        let error = policy.engine_signers("small", &other, &signatures);
        assert_eq!(error.unwrap_err().code(), ErrorCode::InvalidSignature);
    }
    let mut forged = signatures.clone();
    forged[0].signatures[0].1[20] ^= 1;
    let error = policy.engine_signers("small", &engine, &forged);
    assert_eq!(error.unwrap_err().code(), ErrorCode::InvalidSignature);
    // The engine itself may be revoked.
    let mut policy: serde_json::Value = serde_json::from_str(policy.json()).unwrap();
    policy["revoked"] = serde_json::json!([engine.digest]);
    let policy = TrustPolicy::from_json(policy.to_string().as_bytes()).unwrap();
    let error = policy.engine_signers("small", &engine, &signatures);
    assert_eq!(error.unwrap_err().code(), ErrorCode::RevokedPackage);
    // What is in the list of the package is looked at, too.
    let [digest] = attached_engines(&store, &small).unwrap()[0].signatures[..] else {
        panic!("one signature");
    };
    std::fs::write(place.path("registry/blobs/sha256").join(digest.hex()), "{}").unwrap();
    let error = verify_engines(&store, &small).unwrap_err();
    assert_eq!(error.code(), ErrorCode::SizeMismatch, "{error}");
}
