//! Packages that are not what they should be: each refused with its own code.

use serde_json::{Value as Json, json};
use twinfer::ErrorCode::{self, *};
use twinfer_package::{MemoryStore, Package, PackageReader, Parts, Store, resolve};

use crate::fixture::{Forge, Recipe, layer, reference, with_manifest};

fn refused(store: &MemoryStore, code: ErrorCode, says: &str) {
    let error = Package::open(store, &reference()).expect_err(says);
    assert_eq!(error.code(), code, "{says}: {error}");
    assert!(error.message().starts_with("risk:1.0.0: "), "{error}");
    assert!(
        error.message().contains(says),
        "`{says}` is not in: {error}"
    );
}

fn bad_manifest(code: ErrorCode, says: &str, change: impl FnOnce(&mut Json)) {
    refused(&Forge::new().store(change), code, says);
}

#[test]
fn the_forge_itself_makes_good_packages() {
    Package::open(&Forge::new().store(|_| {}), &reference())
        .unwrap()
        .load()
        .unwrap();
}

#[test]
fn manifests() {
    bad_manifest(UnknownField, "`extra`", |m| m["extra"] = json!(1));
    bad_manifest(UnknownField, "`urls`", |m| {
        m["layers"][0]["urls"] = json!(["x"])
    });
    bad_manifest(UnsupportedFormatVersion, "schemaVersion 3", |m| {
        m["schemaVersion"] = json!(3)
    });
    bad_manifest(InvalidManifest, "schemaVersion", |m| {
        drop(m.as_object_mut().unwrap().remove("schemaVersion"))
    });
    bad_manifest(InvalidManifest, "lists of manifests", |m| {
        m["mediaType"] = json!("application/vnd.oci.image.index.v1+json")
    });
    bad_manifest(InvalidManifest, "not a model package", |m| {
        m["artifactType"] = json!("application/vnd.example")
    });
    bad_manifest(InvalidManifest, "not a model package", |m| {
        drop(m.as_object_mut().unwrap().remove("artifactType"))
    });
    bad_manifest(InvalidManifest, "missing field", |m| {
        drop(m.as_object_mut().unwrap().remove("layers"))
    });
    bad_manifest(InvalidManifest, "the config is", |m| {
        m["config"]["mediaType"] = json!("text/plain")
    });
    bad_manifest(InvalidManifest, "subject", |m| {
        m["subject"] = m["config"].clone()
    });
    bad_manifest(InvalidDigest, "sha512", |m| {
        m["layers"][0]["digest"] = json!(format!("sha512:{}", "0".repeat(128)))
    });
    bad_manifest(InvalidManifest, "invalid", |m| {
        m["layers"][0]["size"] = json!(-1)
    });
}

#[test]
fn layers() {
    bad_manifest(InvalidManifest, "at most 1000", |m| {
        m["layers"] = vec![m["layers"][3].clone(); 10_000].into()
    });
    bad_manifest(InvalidManifest, "bytes; at most", |m| {
        m["layers"][0]["size"] = json!(1u64 << 40)
    });
    bad_manifest(InvalidManifest, "unknown media type", |m| {
        m["layers"][3]["mediaType"] = json!("application/x-sh")
    });
    bad_manifest(InvalidManifest, "archive", |m| {
        m["layers"][3]["mediaType"] = json!("application/vnd.cncf.model.doc.v1.tar+gzip")
    });
    bad_manifest(InvalidManifest, "no file name", |m| {
        m["layers"][3]["annotations"] = json!({})
    });
    bad_manifest(InvalidManifest, "two different", |m| {
        m["layers"][3]["annotations"]["org.cncf.model.filepath"] = json!("x")
    });
    bad_manifest(InvalidPackage, "0 layers for model.onnx", |m| {
        drop(m["layers"].as_array_mut().unwrap().remove(1))
    });
    bad_manifest(InvalidPackage, "0 layers for twinfer.json", |m| {
        drop(m["layers"].as_array_mut().unwrap().remove(0))
    });
    bad_manifest(InvalidPackage, "diffIds", |m| {
        drop(m["layers"].as_array_mut().unwrap().remove(3))
    });
    bad_manifest(InvalidManifest, "two layers", |m| {
        let copy = m["layers"][3].clone();
        m["layers"].as_array_mut().unwrap().push(copy);
    });
}

#[test]
fn a_name_and_another_media_type() {
    let names = [
        "model.onnx",
        "weights/x.bin",
        "twinfer.json",
        "golden.json",
        "baseline.json",
        "metrics.json",
        "provenance.json",
        "README.md",
        "LICENSE",
    ];
    let kinds = ["weight", "weight.config", "dataset", "doc", "code"];
    let mut accepted = 0;
    for name in names {
        for kind in kinds {
            let store = Forge::new().store(|m| {
                // A layer of its own, so that none is there twice.
                let layers = m["layers"].as_array_mut().unwrap();
                layers.retain(|l| l["annotations"]["org.cncf.model.filepath"] != name);
                let mut layer = layers[0].clone();
                layer["mediaType"] = json!(format!("application/vnd.cncf.model.{kind}.v1.raw"));
                layer["annotations"] = json!({"org.cncf.model.filepath": name});
                layers.push(layer);
            });
            let error = Package::open(&store, &reference()).unwrap_err();
            if error.message().contains("has the media type") {
                assert_eq!(error.code(), InvalidManifest, "{name} {kind}");
            } else {
                // Refused for what was done to its layers, but not for the media type.
                accepted += 1;
            }
        }
    }
    assert_eq!(accepted, names.len());
}

#[test]
fn weights_that_are_too_many_together() {
    bad_manifest(InvalidManifest, "the weights have", |m| {
        let layers = m["layers"].as_array_mut().unwrap();
        for index in 0..9 {
            let mut layer = layers[1].clone();
            layer["size"] = json!(2u64 << 30);
            layer["annotations"] =
                json!({"org.cncf.model.filepath": format!("weights/{index}.bin")});
            layers.push(layer);
        }
    });
}

#[test]
fn file_names_that_lead_out_of_the_folder() {
    for name in [
        "../../etc/passwd",
        "/etc/passwd",
        "a/../../b",
        "..",
        ".",
        "",
        "a//b",
        "a/",
        "C:\\x",
        "C:x",
        "a\\..\\b",
        "a\nb",
        "a/..",
        "a/. /b",
        "\0",
    ] {
        bad_manifest(InvalidManifest, "file name", |m| {
            for key in ["org.opencontainers.image.title", "org.cncf.model.filepath"] {
                m["layers"][3]["annotations"][key] = json!(name);
            }
        });
    }
    let long = "x".repeat(300);
    bad_manifest(InvalidManifest, "file name", |m| {
        m["layers"][3]["annotations"] = json!({"org.cncf.model.filepath": long})
    });
}

#[test]
fn manifests_that_are_no_json() {
    let huge = vec![b'['; 5 << 20];
    let deep = "[".repeat(100_000);
    for (bytes, code) in [
        (b"".as_slice(), InvalidManifest),
        (b"<html>", InvalidManifest),
        (b"\xff\xfe", InvalidManifest),
        (deep.as_bytes(), InvalidManifest),
        (&huge, InvalidManifest),
    ] {
        refused(&with_manifest(bytes, &[]), code, "manifest");
    }
}

#[test]
fn configurations() {
    let bad = |code, says, change: &dyn Fn(&mut Forge)| {
        let mut forge = Forge::new();
        change(&mut forge);
        refused(&forge.store(|_| {}), code, says);
    };
    bad(UnsupportedFormatVersion, "update Twinfer", &|f| {
        f.config["format_version"] = json!(2)
    });
    bad(InvalidManifest, "format_version", &|f| {
        f.config["format_version"] = json!("1")
    });
    bad(UnknownField, "`extra`", &|f| f.config["extra"] = json!(1));
    bad(InvalidManifest, "missing field", &|f| {
        drop(f.config.as_object_mut().unwrap().remove("name"))
    });
    bad(InvalidPackage, "not `risk`", &|f| {
        f.config["name"] = json!("other")
    });
    bad(InvalidReference, "../x", &|f| {
        f.config["name"] = json!("../x")
    });
    bad(InvalidPackage, "version is 9.9.9", &|f| {
        f.config["version"] = json!("9.9.9")
    });
    bad(UnknownField, "`extra`", &|f| {
        f.model_pack["extra"] = json!(1)
    });
    bad(UnknownField, "`extra`", &|f| {
        f.model_pack["descriptor"]["extra"] = json!(1)
    });
    bad(InvalidManifest, "modelfs", &|f| {
        f.model_pack["modelfs"]["type"] = json!("other")
    });
    bad(InvalidManifest, "diffIds", &|f| {
        drop(
            f.model_pack["modelfs"]
                .as_object_mut()
                .unwrap()
                .remove("diffIds"),
        )
    });
    bad(InvalidManifest, "golden.json", &|f| {
        f.replace("golden.json", b"{")
    });
    bad(UnknownField, "golden.json", &|f| {
        f.replace("golden.json", br#"{"cases":[],"extra":1}"#)
    });
}

#[test]
fn a_model_that_is_not_the_one_of_the_signature() {
    let mut forge = Forge::new();
    forge.replace("model.onnx", &crate::fixture::model_bytes("types"));
    let package = Package::open(&forge.store(|_| {}), &reference()).unwrap();
    assert_eq!(package.load().unwrap_err().code(), InvalidPackage);
}

#[test]
fn layers_with_other_content_or_none() {
    let store = MemoryStore::new();
    Recipe::new().pack(&store).unwrap();
    for name in ["twinfer.json", "model.onnx", "golden.json", "LICENSE"] {
        let wanted = layer(&store, name);
        let good = store.blob(&wanted).unwrap();
        let mut flipped = good.clone();
        flipped[good.len() / 2] ^= 1;
        let longer = [good.as_slice(), b"!"].concat();
        for (bytes, code) in [
            (Some(flipped), DigestMismatch),
            (Some(good[1..].to_vec()), SizeMismatch),
            (Some(longer), SizeMismatch),
            (Some(Vec::new()), SizeMismatch),
            (None, MissingBlob),
        ] {
            store.corrupt(wanted.digest, bytes);
            refused(&store, code, name);
        }
        store.corrupt(wanted.digest, Some(good));
        Package::open(&store, &reference()).unwrap();
    }
    let manifest = resolve(&store.index().unwrap(), &reference()).unwrap();
    store.corrupt(manifest.digest, Some(vec![b' '; manifest.size as usize]));
    refused(&store, DigestMismatch, "manifest");
    store.corrupt(manifest.digest, None);
    refused(&store, MissingBlob, "manifest");
}

#[test]
fn a_layer_that_was_supplied_wrongly_can_be_supplied_again() {
    let store = MemoryStore::new();
    Recipe::new().pack(&store).unwrap();
    let manifest = resolve(&store.index().unwrap(), &reference()).unwrap();
    let mut reader = PackageReader::new(manifest.clone())
        .unwrap()
        .parts(Parts::Tested);
    assert_eq!(reader.needs(), std::slice::from_ref(&manifest));
    assert_eq!(reader.total_size(), None);
    reader
        .supply(&manifest.digest, store.blob(&manifest).unwrap())
        .unwrap();
    let needs = reader.needs();
    // The ModelPack config, configuration, model and golden examples; no documents.
    assert_eq!(needs.len(), 4);
    assert_eq!(
        reader.total_size(),
        Some(needs.iter().map(|d| d.size).sum())
    );
    assert_eq!(
        reader
            .supply(&needs[1].digest, b"wrong".to_vec())
            .unwrap_err()
            .code(),
        SizeMismatch
    );
    assert_eq!(
        reader.supply(&manifest.digest, vec![]).unwrap_err().code(),
        InvalidRequest
    );
    for wanted in &needs[1..] {
        reader
            .supply(&wanted.digest, store.blob(wanted).unwrap())
            .unwrap();
    }
    assert_eq!(reader.needs(), needs[..1]);
    reader
        .supply(&needs[0].digest, store.blob(&needs[0]).unwrap())
        .unwrap();
    let package = reader.finish().unwrap();
    assert!(package.file("LICENSE").is_none() && package.golden().is_some());
}

#[test]
fn golden_examples_can_come_later() {
    let store = MemoryStore::new();
    Recipe::new().pack(&store).unwrap();
    let mut package = Package::open_parts(&store, &reference(), Parts::Model).unwrap();
    let model = package.load().unwrap();
    assert_eq!(
        package.self_test(&model).unwrap_err().code(),
        InvalidPackage
    );
    let layer = package.golden_descriptor().unwrap().clone();
    assert_eq!(
        package.supply_golden(b"{}").unwrap_err().code(),
        SizeMismatch
    );
    package.supply_golden(&store.blob(&layer).unwrap()).unwrap();
    package.self_test(&model).unwrap().check().unwrap();
}

#[test]
fn an_unfinished_package_does_not_open() {
    let store = MemoryStore::new();
    Recipe::new().pack(&store).unwrap();
    let manifest = resolve(&store.index().unwrap(), &reference()).unwrap();
    assert_eq!(
        PackageReader::new(manifest)
            .unwrap()
            .finish()
            .unwrap_err()
            .code(),
        MissingBlob
    );
}
