//! OpenSSF Model Signing: the vectors of the specification and of the reference tool, and the
//! reference tool itself.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use twinfer::ErrorCode;
use twinfer_package::{
    Bundle, Curve, Descriptor, Digest, Manifest, MemoryStore, Package, PrivateKey, PublicKey,
    Signer, TITLE, attach_signature, media,
};

use crate::fixture::{Recipe, reference};
use crate::signing::key;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/oms")
        .join(name)
}

fn bundles(folder: &str) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(data(folder)).unwrap();
    let mut bundles: Vec<_> = entries
        .map(|entry| entry.unwrap())
        .map(|entry| {
            (
                entry.file_name().to_string_lossy().into_owned(),
                fs::read(entry.path()).unwrap(),
            )
        })
        .collect();
    bundles.sort();
    assert!(!bundles.is_empty());
    bundles
}

#[test]
fn vectors_of_the_specification() {
    let public =
        PublicKey::from_pem(&fs::read_to_string(data("signing-key-pub.pem")).unwrap()).unwrap();
    for (name, json) in bundles("spec/valid") {
        let bundle = Bundle::from_json(&json).unwrap_or_else(|e| panic!("{name}: {e}"));
        let by_key = name.starts_with("key");
        assert_eq!(bundle.may_be_by(&public), by_key, "{name}");
        // The key vector is signed with the key of the reference tool's tests.
        assert_eq!(bundle.verify(&public).is_ok(), by_key, "{name}");
    }
    for (name, json) in bundles("spec/invalid") {
        let error = Bundle::from_json(&json).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidSignature, "{name}: {error}");
    }
    for (name, json) in bundles("spec/invalid-payload") {
        let error = Bundle::from_json(&json)
            .unwrap()
            .verify(&public)
            .unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidSignature, "{name}: {error}");
    }
}

/// A manifest with these files as layers.
fn manifest_of(folder: &Path, files: &[&str]) -> Manifest {
    let layer = |name: &&str| {
        let bytes = fs::read(folder.join(name)).unwrap();
        let mut layer = Descriptor::new(media::DOC, &bytes);
        layer.annotations.insert(TITLE.into(), (*name).into());
        layer
    };
    Manifest {
        schema_version: 2,
        media_type: media::MANIFEST.into(),
        artifact_type: media::ARTIFACT.into(),
        config: Descriptor::new(media::MODEL_CONFIG, b"{}"),
        layers: files.iter().map(layer).collect(),
        subject: None,
        annotations: Default::default(),
    }
}

#[test]
fn signatures_of_older_reference_tools() {
    let text = fs::read_to_string(data("signing-key-pub.pem")).unwrap();
    let public = PublicKey::from_pem(&text).unwrap();
    assert_eq!(public.curve(), Curve::P384);
    let other = key(1, Curve::P384).public().unwrap();
    let read = |folder: &str| {
        Bundle::from_json(&fs::read(data(folder).join("model.sig")).unwrap()).unwrap()
    };

    let bundle = read("v1.1.0-elliptic-key");
    assert_eq!(bundle.hint(), Some(public.hint()));
    assert_eq!(
        bundle.verify(&other).unwrap_err().code(),
        ErrorCode::UntrustedKey
    );
    let statement = bundle.verify(&public).unwrap();
    let mut manifest = manifest_of(&data("v1.1.0-elliptic-key"), &["signme-1", "signme-2"]);
    statement.covers(&manifest).unwrap();
    manifest.layers[0].digest = Digest::of(b"changed");
    assert_eq!(
        statement.covers(&manifest).unwrap_err().code(),
        ErrorCode::InvalidSignature
    );
    manifest.layers.remove(0);
    assert!(statement.covers(&manifest).is_err());

    // `rawBytes` in the place of `hint`. It calls its one file `.`, which no layer is called.
    let bundle = read("v1.0.0-elliptic-key");
    assert_eq!(bundle.hint(), None);
    assert_eq!(
        bundle.verify(&other).unwrap_err().code(),
        ErrorCode::InvalidSignature
    );
    let statement = bundle.verify(&public).unwrap();
    let manifest = manifest_of(&data("v1.0.0-elliptic-key"), &["signme-1"]);
    assert!(statement.covers(&manifest).is_err());
}

/// A Python with the packages of `tests/python/requirements.txt`.
fn python(test: &str) -> Option<Command> {
    match std::env::var_os("TWINFER_TEST_PYTHON") {
        Some(python) => Some(Command::new(python)),
        None => {
            let _ = writeln!(
                std::io::stderr(),
                "SKIPPED {test}: TWINFER_TEST_PYTHON is missing"
            );
            assert!(
                std::env::var_os("TWINFER_TEST_ALL").is_none(),
                "{test} was skipped"
            );
            None
        }
    }
}

fn run(mut command: Command, arguments: &[&str], folder: &Path) -> bool {
    let said = command
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    println!("{}", String::from_utf8_lossy(&said.stdout));
    println!("{}", String::from_utf8_lossy(&said.stderr));
    said.status.success()
}

/// A package in a registry, and its files in `folder/unpacked`.
fn unpacked(folder: &Path) -> MemoryStore {
    let store = MemoryStore::new();
    Recipe::new().pack(&store).unwrap();
    let package = Package::open(&store, &reference()).unwrap();
    for layer in package.layers() {
        let name = layer.file_name().unwrap();
        let path = folder.join("unpacked").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, package.file(name).unwrap()).unwrap();
    }
    store
}

const MODULE: [&str; 2] = ["-m", "model_signing"];

#[test]
fn the_reference_tool_verifies_what_we_sign() {
    const TEST: &str = "the_reference_tool_verifies_what_we_sign";
    if python(TEST).is_none() {
        return;
    }
    for (number, curve) in [(1, Curve::P256), (2, Curve::P384)] {
        let folder = tempfile::tempdir().unwrap();
        let store = unpacked(folder.path());
        let package = Package::open(&store, &reference()).unwrap();
        let private = key(number, curve);
        let bundle = Bundle::sign("risk", package.manifest(), &private).unwrap();
        fs::write(folder.path().join("model.sig"), &bundle).unwrap();
        let pem = private.public().unwrap().to_pem().unwrap();
        fs::write(folder.path().join("key.pub"), pem).unwrap();
        let verify: Vec<&str> = MODULE
            .into_iter()
            .chain([
                "verify",
                "key",
                "--signature",
                "model.sig",
                "--public_key",
                "key.pub",
                "unpacked",
            ])
            .collect();
        assert!(
            run(python(TEST).unwrap(), &verify, folder.path()),
            "{curve:?}"
        );
        // It does look: one more file, and it fails.
        fs::write(folder.path().join("unpacked/more"), "more").unwrap();
        assert!(
            !run(python(TEST).unwrap(), &verify, folder.path()),
            "{curve:?}"
        );
    }
}

#[test]
fn we_verify_what_the_reference_tool_signs() {
    const TEST: &str = "we_verify_what_the_reference_tool_signs";
    if python(TEST).is_none() {
        return;
    }
    for (number, curve) in [(1, Curve::P256), (2, Curve::P384)] {
        let folder = tempfile::tempdir().unwrap();
        let store = unpacked(folder.path());
        let private = key(number, curve);
        fs::write(folder.path().join("key"), private.to_pem().unwrap()).unwrap();
        let sign: Vec<&str> = MODULE
            .into_iter()
            .chain([
                "sign",
                "key",
                "--signature",
                "model.sig",
                "--private_key",
                "key",
                "unpacked",
            ])
            .collect();
        assert!(run(python(TEST).unwrap(), &sign, folder.path()));
        let bundle = fs::read(folder.path().join("model.sig")).unwrap();
        let attached = attach_signature(&store, &reference(), Signer::Bundle(&bundle)).unwrap();
        let public = private.public().unwrap();
        assert_eq!(attached.key.as_deref(), Some(public.hint()));
        let policy = twinfer_package::TrustPolicy::of_key(&public).unwrap();
        let admitted =
            twinfer_package::admit(&store, &reference(), &policy, Default::default()).unwrap();
        assert_eq!(
            admitted.decision.verdict,
            twinfer_package::Verdict::Allowed {
                keys: vec!["key".into()]
            }
        );
    }
}

/// Our bundles, against the JSON schemas of the specification, by Python's validator.
#[test]
fn our_bundles_fit_the_schemas_of_the_specification() {
    const TEST: &str = "our_bundles_fit_the_schemas_of_the_specification";
    const SCRIPT: &str = r#"
import base64, json, pathlib, sys
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
folder = pathlib.Path(sys.argv[1])
schemas = [json.loads(p.read_text()) for p in folder.glob("*.schema.json")]
registry = Registry().with_resources([(s["$id"], Resource.from_contents(s)) for s in schemas])
def check(name, value):
    Draft202012Validator({"$ref": f"https://model_signing/{name}/v1.0/schema"}, registry=registry).validate(value)
bundle = json.loads(pathlib.Path("model.sig").read_text())
check("bundle", bundle)
check("statement", json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"])))
"#;
    if python(TEST).is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let store = unpacked(folder.path());
    let package = Package::open(&store, &reference()).unwrap();
    let bundle = Bundle::sign("risk", package.manifest(), &key(1, Curve::P256)).unwrap();
    fs::write(folder.path().join("model.sig"), &bundle).unwrap();
    let schemas = data("spec/schemas");
    let arguments = ["-c", SCRIPT, schemas.to_str().unwrap()];
    assert!(run(python(TEST).unwrap(), &arguments, folder.path()));
}

#[test]
fn keys_of_openssl_are_read() {
    let sec1 = fs::read_to_string(data("../keys/p256.sec1.pem")).unwrap();
    let pkcs8 = fs::read_to_string(data("../keys/p256.pkcs8.pem")).unwrap();
    let public = fs::read_to_string(data("../keys/p256.pub.pem")).unwrap();
    let wide = fs::read_to_string(data("../keys/p384.sec1.pem")).unwrap();
    let wide_public = fs::read_to_string(data("../keys/p384.pub.pem")).unwrap();
    for (private, public, curve) in [
        (&sec1, &public, Curve::P256),
        (&pkcs8, &public, Curve::P256),
        (&wide, &wide_public, Curve::P384),
    ] {
        let key = PrivateKey::from_pem(private).unwrap();
        let own = key.public().unwrap();
        assert_eq!(own, PublicKey::from_pem(public).unwrap());
        assert_eq!(
            (own.curve(), own.to_pem().unwrap()),
            (curve, public.clone())
        );
        // The name of a key is the digest of the text of its file.
        assert_eq!(
            format!("sha256:{}", own.hint()),
            Digest::of(public.as_bytes()).to_string()
        );
        let again = PrivateKey::from_pem(&key.to_pem().unwrap()).unwrap();
        assert_eq!(again.public().unwrap(), own);
    }
}
