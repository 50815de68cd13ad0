//! Weights in layers of their own.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use twinfer::{ErrorCode, Model, Session, Tensor, Value};
use twinfer_package::limits::{MAX_SHARDS, MIN_SHARD_BYTES, MIN_SHARDED_BYTES};
use twinfer_package::{
    Built, Digest, MemoryStore, PackOptions, Package, PackageDiff, Packed, Parts, Role, Store,
    role, unpack,
};

use crate::onnx::{self, Elements, HIDDEN, INPUTS, OUTPUTS, body, head, little_endian, whole};

/// A folder with a model file.
fn folder(model: &[u8]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("net.onnx"), model).unwrap();
    folder
}

fn pack_file(folder: &Path, version: &str, store: &MemoryStore) -> twinfer::Result<Packed> {
    Built::from_file(&folder.join("net.onnx"), "net", version)?.pack(store, PackOptions::default())
}

fn pack(model: &[u8]) -> (MemoryStore, Package) {
    let store = MemoryStore::new();
    pack_file(folder(model).path(), "1.0.0", &store).unwrap();
    let package = Package::open(&store, &"net".parse().unwrap()).unwrap();
    (store, package)
}

fn shards(package: &Package) -> Vec<(&str, u64)> {
    let shards = package.layers().iter().filter(|l| role(l) == Role::Shard);
    shards.map(|l| (l.file_name().unwrap(), l.size)).collect()
}

fn name_of(values: &[f32]) -> String {
    let hex = Digest::of(&little_endian(values)).hex();
    format!("weights/{}.bin", &hex[..16])
}

fn answer(model: &Session) -> Vec<u8> {
    let x = Tensor::from_vec(&[2, INPUTS], onnx::values(2 * INPUTS, 7)).unwrap();
    let values = model.run(vec![("x".into(), x)]).unwrap();
    let [(_, Value::Tensor(y))] = &values[..] else {
        panic!("{values:?}")
    };
    y.as_bytes().unwrap().to_vec()
}

fn joined(store: &MemoryStore, reference: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("joined");
    unpack(store, &reference.parse().unwrap(), &target, true).unwrap();
    assert!(!target.join("weights").exists());
    fs::read(target.join("model.onnx")).unwrap()
}

#[test]
fn large_tensors_are_layers_named_after_their_content() {
    let original = whole(2);
    let (store, package) = pack(&original);
    let (body, head) = (body(), head(2));
    let bytes = |values: &[f32]| values.len() as u64 * 4;
    assert_eq!(
        shards(&package),
        [
            (name_of(&body).as_str(), bytes(&body)),
            (name_of(&head).as_str(), bytes(&head))
        ]
    );
    assert_eq!(package.file(&name_of(&head)).unwrap(), little_endian(&head));
    assert!(package.model_bytes().len() < 1000);
    let whole = Session::load(&original).unwrap();
    assert_eq!(answer(&package.session().unwrap()), answer(&whole));
    assert_eq!(joined(&store, "net"), original);
}

#[test]
fn a_new_head_is_all_that_is_loaded_for_a_new_version() {
    let store = MemoryStore::new();
    let folder = folder(&whole(2));
    pack_file(folder.path(), "1.0.0", &store).unwrap();
    fs::write(folder.path().join("net.onnx"), whole(3)).unwrap();
    pack_file(folder.path(), "1.1.0", &store).unwrap();
    let open = |tag: &str| {
        let reference = format!("net:{tag}").parse().unwrap();
        Package::open_parts(&store, &reference, Parts::Description).unwrap()
    };
    let diff = PackageDiff::of(&open("1.0.0"), &open("1.1.0"));
    let (body, head) = (INPUTS * HIDDEN * 4, HIDDEN * OUTPUTS * 4);
    assert!(diff.total.bytes as usize > body + head, "{diff:?}");
    let rest = diff.to_load.bytes as usize - head;
    assert!(rest < 5000, "{rest}");
    // The head, the graph that names it, twinfer.json, provenance, configuration, manifest.
    assert_eq!(diff.to_load.parts, 6, "{diff:?}");
    assert_eq!(diff.changes, []);
    let changed: Vec<&str> = diff.layers.iter().map(|l| l.name.as_str()).collect();
    let mut wanted = vec![
        "model.onnx".to_owned(),
        "provenance.json".into(),
        "twinfer.json".into(),
        name_of(&onnx::head(2)),
        name_of(&onnx::head(3)),
    ];
    wanted.sort();
    assert_eq!(changed, wanted);
}

#[test]
fn equal_tensors_share_a_layer() {
    // The body once more, in another shape.
    let mut graph = graph_of(&whole(2));
    let copy = onnx::tensor("copy", &[(INPUTS * HIDDEN) as u64], &Elements::Raw(body()));
    graph.extend(onnx::bytes(5, &copy));
    let original = onnx::model(&graph);
    let (store, package) = pack(&original);
    package.session().unwrap();
    assert_eq!(shards(&package).len(), 2);
    assert_eq!(joined(&store, "net"), original);
}

#[test]
fn numbers_in_typed_fields_are_taken_out_too() {
    let original = onnx::network(&Elements::Typed(body()), &Elements::Raw(head(2)));
    let (store, package) = pack(&original);
    // The same layers as those of raw data.
    assert_eq!(shards(&package)[0].0, name_of(&body()));
    assert_eq!(joined(&store, "net"), original);
    let whole = Session::load(&original).unwrap();
    assert_eq!(answer(&package.session().unwrap()), answer(&whole));
}

#[test]
fn small_models_and_small_tensors_stay_whole() {
    let small = onnx::network(&Elements::Raw(body()), &Elements::Raw(head(2)));
    assert!(small.len() as u64 >= MIN_SHARDED_BYTES);
    let (_, package) = pack(&crate::fixture::model_bytes("mlp_binary"));
    assert_eq!(shards(&package), []);
    assert_eq!(
        package.model_bytes(),
        crate::fixture::model_bytes("mlp_binary")
    );
    assert!((HIDDEN * OUTPUTS * 4) as u64 >= MIN_SHARD_BYTES);
}

#[test]
fn what_would_not_be_given_back_stays_whole() {
    // The length of the graph written with a byte more than it needs.
    let original = whole(2);
    let graph = onnx::bytes(7, &graph_of(&original));
    let at = find(&original, &graph[..8]);
    let mut long = original[..at + 1].to_vec();
    let length = onnx::varint(graph_of(&original).len() as u64);
    long.extend(&length[..length.len() - 1]);
    long.extend([length[length.len() - 1] | 0x80, 0]);
    long.extend(&original[at + 1 + length.len()..]);
    let (_, package) = pack(&long);
    assert_eq!(shards(&package), []);
    assert_eq!(package.model_bytes(), long);
    assert_eq!(
        answer(&package.session().unwrap()),
        answer(&Session::load(&original).unwrap())
    );
}

fn find(bytes: &[u8], part: &[u8]) -> usize {
    bytes.windows(part.len()).position(|w| w == part).unwrap()
}

/// The graph of a model of ours.
fn graph_of(model: &[u8]) -> Vec<u8> {
    let head = onnx::model(&[]);
    let before = find(&head, &onnx::bytes(7, &[]));
    let after = head.len() - before - 2;
    let mut length = 0;
    let mut at = before + 1;
    for shift in (0..).step_by(7) {
        length |= usize::from(model[at] & 0x7f) << shift;
        at += 1;
        if model[at - 1] & 0x80 == 0 {
            break;
        }
    }
    assert_eq!(at + length + after, model.len());
    model[at..at + length].to_vec()
}

#[test]
fn there_are_not_more_shards_than_may_be() {
    let count = MAX_SHARDS + 20;
    let elements = MIN_SHARD_BYTES as usize / 4;
    let mut graph = graph_of(&onnx::network(
        &Elements::Raw(body()),
        &Elements::Raw(head(2)),
    ));
    for index in 0..count {
        // Larger ones last: they are the ones that are taken.
        let tensor = onnx::tensor(
            &format!("unused{index}"),
            &[(elements + index) as u64],
            &Elements::Raw(vec![index as f32; elements + index]),
        );
        graph.extend(onnx::bytes(5, &tensor));
    }
    let original = onnx::model(&graph);
    let (store, package) = pack(&original);
    let shards = shards(&package);
    assert_eq!(shards.len(), MAX_SHARDS);
    assert!(shards.iter().all(|(_, size)| *size > MIN_SHARD_BYTES));
    assert_eq!(joined(&store, "net"), original);
    package.session().unwrap();
}

/// The network with its weights in `net.data`.
fn external(entries: [Vec<(&'static str, String)>; 2]) -> TempDir {
    let [body_place, head_place] = entries;
    let folder = folder(&onnx::network(
        &Elements::External(body_place),
        &Elements::External(head_place),
    ));
    let data = [little_endian(&body()), little_endian(&head(2))].concat();
    fs::write(folder.path().join("net.data"), data).unwrap();
    folder
}

fn place(location: &str, offset: usize, length: usize) -> Vec<(&'static str, String)> {
    vec![
        ("location", location.into()),
        ("offset", offset.to_string()),
        ("length", length.to_string()),
    ]
}

const BODY: usize = INPUTS * HIDDEN * 4;
const HEAD: usize = HIDDEN * OUTPUTS * 4;

#[test]
fn files_beside_a_model_are_packed_as_the_same_layers() {
    let folder = external([place("net.data", 0, BODY), place("./net.data", BODY, HEAD)]);
    let store = MemoryStore::new();
    pack_file(folder.path(), "1.0.0", &store).unwrap();
    let package = Package::open(&store, &"net".parse().unwrap()).unwrap();
    let (_, whole_package) = pack(&whole(2));
    assert_eq!(shards(&package), shards(&whole_package));
    assert_eq!(
        answer(&package.session().unwrap()),
        answer(&Session::load(&whole(2)).unwrap())
    );
    assert_eq!(joined(&store, "net"), whole(2));
    let inputs = &package.provenance().unwrap().inputs;
    let names: Vec<&str> = inputs.iter().map(|i| i.name.as_str()).collect();
    assert_eq!(names, ["net.data", "net.onnx"]);
}

#[test]
fn files_elsewhere_or_too_short_are_not_read() {
    let outside = tempfile::NamedTempFile::new().unwrap();
    fs::write(outside.path(), vec![0; BODY]).unwrap();
    let absolute = outside.path().to_str().unwrap().to_owned();
    let cases = [
        (
            place("../net.data", 0, BODY),
            "only files in its own folder",
        ),
        (
            place("a/../../net.data", 0, BODY),
            "only files in its own folder",
        ),
        (place(&absolute, 0, BODY), "only files in its own folder"),
        (
            place("C:\\net.data", 0, BODY),
            "only files in its own folder",
        ),
        (place("link.data", 0, BODY), "out of its folder"),
        (place("nothing.data", 0, BODY), "there is no file"),
        (place(".", 0, BODY), "is not a file"),
        (place("net.data", BODY + HEAD + 1, 1), "which has"),
        (place("net.data", HEAD + 1, BODY), "which has"),
        (place("net.data", usize::MAX, usize::MAX), "which has"),
        (place("net.data", 0, BODY - 4), "needs"),
        (place("net.data", 0, BODY + 4), "needs"),
    ];
    for (entries, says) in cases {
        let shown = format!("{entries:?}");
        let folder = external([entries, place("net.data", BODY, HEAD)]);
        #[cfg(unix)]
        std::os::unix::fs::symlink(outside.path(), folder.path().join("link.data")).unwrap();
        let store = MemoryStore::new();
        let error = pack_file(folder.path(), "1.0.0", &store).expect_err(&shown);
        assert_eq!(error.code(), ErrorCode::InvalidModel, "{shown}: {error}");
        assert!(error.message().contains(says), "{shown}: {error}");
        assert_eq!(store.index().unwrap(), MemoryStore::new().index().unwrap());
    }
    for key in ["offset", "length"] {
        let entries = vec![("location", "net.data".into()), (key, "-1".to_owned())];
        let folder = external([entries, place("net.data", BODY, HEAD)]);
        let error = pack_file(folder.path(), "1.0.0", &MemoryStore::new()).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidModel, "{error}");
    }
}

#[test]
fn a_model_in_memory_has_no_folder() {
    let model = onnx::network(
        &Elements::External(place("net.data", 0, BODY)),
        &Elements::Raw(head(2)),
    );
    for error in [
        Session::load(&model).unwrap_err(),
        Built::from_model("net", "1.0.0", model).unwrap_err(),
    ] {
        assert_eq!(error.code(), ErrorCode::InvalidModel);
        assert!(error.message().contains("net.data"), "{error}");
    }
}

/// A package whose model claims its weights so.
fn claims(
    body_place: Vec<(&'static str, String)>,
    head_place: Vec<(&'static str, String)>,
) -> twinfer::Result<Model> {
    let mut forge = crate::fixture::Forge::of(folder_recipe().path());
    forge.replace(
        "model.onnx",
        &onnx::network(
            &Elements::External(body_place),
            &Elements::External(head_place),
        ),
    );
    Package::open(&forge.store(|_| {}), &crate::fixture::reference())?.load()
}

/// The sharded network as the recipe of `risk:1.0.0`.
fn folder_recipe() -> TempDir {
    let folder = folder(&whole(2));
    fs::write(
        folder.path().join("twinfer.toml"),
        "[package]\nname = \"risk\"\nversion = \"1.0.0\"\ncreated = \"2026-11-25T00:00:00Z\"\n[model]\nfile = \"net.onnx\"\n",
    )
    .unwrap();
    folder
}

#[test]
fn claims_of_a_package_are_checked() {
    let (body, head) = (name_of(&body()), name_of(&head(2)));
    let at = |name: &str| vec![("location", name.to_owned())];
    claims(at(&body), at(&head)).unwrap();
    claims(place(&body, 0, BODY), place(&body, 0, HEAD)).unwrap_err();
    // A part of another shard, apart from the other claim.
    let cases = [
        (
            at("weights/nothing.bin"),
            at(&head),
            ErrorCode::InvalidPackage,
            "no layer",
        ),
        (
            at("twinfer.json"),
            at(&head),
            ErrorCode::InvalidPackage,
            "no layer",
        ),
        (at("../x"), at(&head), ErrorCode::InvalidPackage, "no layer"),
        (
            at("/etc/passwd"),
            at(&head),
            ErrorCode::InvalidPackage,
            "no layer",
        ),
        (at(&head), at(&body), ErrorCode::InvalidModel, "needs"),
        (
            place(&body, 4, BODY),
            at(&head),
            ErrorCode::InvalidModel,
            "beyond",
        ),
        (
            place(&body, usize::MAX, 1),
            at(&head),
            ErrorCode::InvalidModel,
            "beyond",
        ),
        (
            place(&body, 0, BODY),
            place(&body, 8, HEAD),
            ErrorCode::InvalidModel,
            "overlapping",
        ),
        (
            [at(&body), at(&body)].concat(),
            at(&head),
            ErrorCode::InvalidModel,
            "twice",
        ),
        (
            vec![("offset", "0".into())],
            at(&head),
            ErrorCode::InvalidModel,
            "no location",
        ),
    ];
    for (body_place, head_place, code, says) in cases {
        let shown = format!("{body_place:?} {head_place:?}");
        let error = claims(body_place, head_place).unwrap_err();
        assert_eq!(error.code(), code, "{shown}: {error}");
        assert!(error.message().contains(says), "{shown}: {error}");
    }
}

#[test]
fn a_shard_that_is_damaged_or_not_there() {
    let (store, package) = pack(&whole(2));
    let layer = package
        .layers()
        .iter()
        .find(|l| role(l) == Role::Shard)
        .unwrap();
    let good = store.blob(layer).unwrap();
    let mut flipped = good.clone();
    flipped[0] ^= 1;
    for (bytes, code) in [
        (Some(flipped), ErrorCode::DigestMismatch),
        (Some(good[1..].to_vec()), ErrorCode::SizeMismatch),
        (None, ErrorCode::MissingBlob),
    ] {
        store.corrupt(layer.digest, bytes);
        let reference = "net".parse().unwrap();
        let error = Package::open_parts(&store, &reference, Parts::Model).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        // Neither is anything unpacked of it.
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("x");
        let error = unpack(&store, &reference, &target, false).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
    // A description needs no weights.
    Package::open_parts(&store, &"net".parse().unwrap(), Parts::Description).unwrap();
}

#[test]
fn shards_without_their_layers_in_the_manifest() {
    let mut forge = crate::fixture::Forge::of(folder_recipe().path());
    forge.remove(&name_of(&head(2)));
    let package = Package::open(&forge.store(|_| {}), &crate::fixture::reference()).unwrap();
    let error = package.load().unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidPackage);
    assert!(error.message().contains("no layer"), "{error}");
}
