//! How much memory loading and running take, counted by the allocator: no clock, and no noise
//! of other processes.

// Helpers of tests: a failure in them is a failed test. `onnx` has more than is used here.
#![allow(clippy::unwrap_used, clippy::panic, dead_code)]

mod counting;
#[path = "../it/onnx.rs"]
mod onnx;

use counting::{Measured, measure, serial};
use onnx::{bytes, little_endian, model, node, tensor, value_info, values};
use twinfer::{DType, ModelConfig, Session, Tensor, Tensors, Value};
use twinfer_package::{Built, MemoryStore, PackOptions, Package, Parts};

const MIB: usize = 1 << 20;

/// What loading may take at most, the bytes of the model included.
fn most(file: usize) -> usize {
    file * 5 / 2 + 4 * MIB
}

/// A chain of square products of `side` by `side`, each with a rectifier: `layers` times
/// `4 * side * side` bytes of weights.
fn chain(layers: usize, side: usize) -> Vec<u8> {
    let mut graph = Vec::new();
    for layer in 0..layers {
        let from = if layer == 0 {
            "x".into()
        } else {
            format!("r{}", layer - 1)
        };
        let to = if layer + 1 == layers {
            "y".into()
        } else {
            format!("r{layer}")
        };
        let (weight, product) = (format!("w{layer}"), format!("p{layer}"));
        graph.extend(bytes(1, &node("MatMul", &[&from, &weight], &product)));
        graph.extend(bytes(1, &node("Relu", &[&product], &to)));
    }
    graph.extend(bytes(2, b"chain"));
    for layer in 0..layers {
        let elements = onnx::Elements::Raw(values(side * side, layer as u32 + 1));
        let dims = [side as u64, side as u64];
        graph.extend(bytes(5, &tensor(&format!("w{layer}"), &dims, &elements)));
    }
    graph.extend(bytes(11, &value_info("x", side as u64)));
    graph.extend(bytes(12, &value_info("y", side as u64)));
    model(&graph)
}

/// Models of about 1, 10 and 100 MiB.
const SIZES: [(usize, usize); 3] = [(1, 512), (10, 512), (25, 1024)];

fn says(what: &str, file: usize, measured: &Measured) {
    assert!(
        measured.peak <= most(file),
        "{what} of {file} bytes took {} ({:.2} times the file), at most {} are allowed",
        measured.peak,
        measured.peak as f64 / file as f64,
        most(file)
    );
    println!(
        "{what} of {file} bytes: peak {:.2}, kept {:.2} times the file",
        measured.peak as f64 / file as f64,
        measured.kept as f64 / file as f64
    );
}

fn packed(file: &[u8]) -> (MemoryStore, usize) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.onnx");
    std::fs::write(&path, file).unwrap();
    let store = MemoryStore::new();
    let built = Built::from_file(&path, "net", "1.0.0").unwrap();
    built.pack(&store, PackOptions::default()).unwrap();
    let package = Package::open(&store, &"net".parse().unwrap()).unwrap();
    let shards = package.layers().iter().filter(|layer| {
        layer
            .file_name()
            .is_some_and(|name| name.starts_with("weights/"))
    });
    (store, shards.count())
}

#[test]
fn loading_a_file_takes_less_than_two_and_a_half_times_its_size() {
    let _alone = serial();
    for (layers, side) in SIZES {
        let file = chain(layers, side);
        let length = file.len();
        let (session, measured) = measure(|| {
            // In the count: a caller has the file in memory, and drops it when it is read.
            let file = file.clone();
            let parsed = Session::parse(&file, &twinfer::NoWeights).unwrap();
            drop(file);
            parsed.optimise().unwrap()
        });
        says("a file", length, &measured);
        drop(session);
    }
}

#[test]
fn loading_a_package_takes_less_than_two_and_a_half_times_its_size() {
    let _alone = serial();
    for (layers, side) in SIZES {
        let file = chain(layers, side);
        let (store, shards) = packed(&file);
        assert_eq!(shards > 0, file.len() > MIB);
        let (model, measured) = measure(|| {
            let mut package =
                Package::open_parts(&store, &"net".parse().unwrap(), Parts::Model).unwrap();
            package.take_model().unwrap()
        });
        says("a package", file.len(), &measured);
        drop(model);
    }
}

#[test]
fn a_model_that_is_dropped_leaves_nothing() {
    let _alone = serial();
    let (store, _) = packed(&chain(10, 512));
    let once = || {
        let mut package =
            Package::open_parts(&store, &"net".parse().unwrap(), Parts::Model).unwrap();
        let model = package.take_model().unwrap();
        let x = Tensor::from_vec(&[3, 512], values(3 * 512, 7)).unwrap();
        model.run(vec![("x".into(), x)]).unwrap();
    };
    // What the engine keeps for the life of the process (tables of kernels) comes with the first.
    once();
    let ((), measured) = measure(once);
    assert!(
        measured.kept < 64 << 10,
        "{} bytes are kept after the model is dropped",
        measured.kept
    );
}

/// `y = Relu(x)`: the engine computes it in the memory of its input, or in new memory.
fn rectifier() -> Session {
    let graph = [
        bytes(1, &node("Relu", &["x"], "y")),
        bytes(2, b"rectifier"),
        bytes(11, &value_info("x", 1 << 18)),
        bytes(12, &value_info("y", 1 << 18)),
    ]
    .concat();
    let session = Session::load(&model(&graph)).unwrap();
    session.run(input()).unwrap();
    session
}

fn input() -> Tensors {
    let x = Tensor::from_vec(&[1, 1 << 18], values(1 << 18, 3)).unwrap();
    vec![("x".into(), x)]
}

#[test]
fn an_input_is_copied_once_and_an_output_not_at_all() {
    let _alone = serial();
    let session = rectifier();
    let bytes = little_endian(&values(1 << 18, 3));

    // From borrowed bytes to a tensor: the one copy.
    let (tensor, measured) = measure(|| Tensor::from_slice(DType::F32, &[1, 1 << 18], &bytes));
    assert_eq!(measured.large, 1);
    let tensor = tensor.unwrap();
    let lies_at = tensor.as_bytes().unwrap().as_ptr();

    // From the tensor to the answer: the engine computes in place.
    let (values, measured) = measure(|| session.run(vec![("x".into(), tensor)]).unwrap());
    assert_eq!(measured.large, 0, "the run allocated as much as its input");
    let [(_, Value::Tensor(y))] = &values[..] else {
        panic!("{values:?}")
    };
    assert_eq!(y.as_bytes().unwrap().as_ptr(), lies_at);
    let (first, measured) = measure(|| y.view::<f32>().unwrap()[0]);
    assert_eq!((measured.large, first.is_sign_negative()), (0, false));

    // Bytes that a tensor took as they are, with any alignment: the one copy is in the run.
    let owned = Tensor::from_bytes(DType::F32, &[1, 1 << 18], bytes.clone()).unwrap();
    let (again, measured) = measure(|| session.run(vec![("x".into(), owned)]).unwrap());
    assert_eq!(measured.large, 1);
    assert_eq!(again, values);
}

#[test]
fn filling_a_tensor_copies_nothing() {
    let _alone = serial();
    let bytes = little_endian(&values(1 << 18, 3));
    let (tensor, measured) = measure(|| {
        Tensor::filled(DType::F32, &[1 << 18], bytes.len(), |memory| {
            memory.copy_from_slice(&bytes);
        })
    });
    assert_eq!(measured.large, 1);
    assert_eq!(tensor.unwrap().as_bytes().unwrap(), bytes);
}

#[test]
fn weights_that_are_equal_are_kept_once() {
    let _alone = serial();
    let same = values(1 << 18, 5);
    let weight = |name: &str| {
        bytes(
            5,
            &tensor(name, &[512, 512], &onnx::Elements::Raw(same.clone())),
        )
    };
    let graph = [
        bytes(1, &node("MatMul", &["x", "a"], "h")),
        bytes(1, &node("MatMul", &["h", "b"], "y")),
        bytes(2, b"twins"),
        weight("a"),
        weight("b"),
        bytes(11, &value_info("x", 512)),
        bytes(12, &value_info("y", 512)),
    ]
    .concat();
    let file = model(&graph);
    let (parsed, measured) = measure(|| Session::parse(&file, &twinfer::NoWeights).unwrap());
    assert!(measured.peak < 3 * MIB / 2, "{} bytes", measured.peak);
    parsed.optimise().unwrap();
}

#[test]
fn a_model_keeps_its_configuration_when_it_is_taken() {
    let _alone = serial();
    let (store, _) = packed(&chain(2, 512));
    let mut package = Package::open(&store, &"net".parse().unwrap()).unwrap();
    let whole = package.load().unwrap();
    let taken = package.take_model().unwrap();
    let x = || {
        vec![(
            "x".into(),
            Tensor::from_vec(&[1, 512], values(512, 9)).unwrap(),
        )]
    };
    assert_eq!(taken.run(x()).unwrap(), whole.run(x()).unwrap());
    let (config, other): (&ModelConfig, _) = (taken.config(), whole.config());
    assert_eq!(config, other);
    assert_eq!(taken.digest(), whole.digest());
    assert!(package.model_bytes().is_empty());
    assert_eq!(
        package.take_model().unwrap_err().code(),
        twinfer::ErrorCode::InvalidModel
    );
    assert!(package.self_test(&taken).is_ok());
}

/// `y = x · w` with a weight of `[40, 64]` in these forms: more than stays in the message.
fn product(weights: &[Vec<u8>], more_inputs: &[Vec<u8>]) -> twinfer::Result<Session> {
    let mut graph = bytes(1, &node("MatMul", &["x", "w"], "y"));
    graph.extend(bytes(2, b"product"));
    graph.extend(weights.iter().flat_map(|weight| bytes(5, weight)));
    graph.extend(bytes(11, &value_info("x", 40)));
    graph.extend(more_inputs.iter().flat_map(|input| bytes(11, input)));
    graph.extend(bytes(12, &value_info("y", 64)));
    Session::load(&model(&graph))
}

#[test]
fn weights_in_every_form_are_the_same() {
    let _alone = serial();
    let (right, wrong) = (values(40 * 64, 2), values(40 * 64, 8));
    let x = values(40, 5);
    let want: Vec<f32> = (0..64)
        .map(|column| {
            let terms = (0..40).map(|row| f64::from(x[row]) * f64::from(right[row * 64 + column]));
            terms.sum::<f64>() as f32
        })
        .collect();
    let form = |elements| tensor("w", &[40, 64], &elements);
    let raw = || form(onnx::Elements::Raw(right.clone()));
    let typed = form(onnx::Elements::Typed(right.clone()));
    let other = form(onnx::Elements::Raw(wrong));
    // Older files list weights among the inputs.
    let listed = [value_info("w", 64)];
    let forms = [
        ("raw", product(&[raw()], &[])),
        ("typed", product(&[typed], &[])),
        ("listed", product(&[raw()], &listed)),
        // The last of a name counts, as it does for the engine's own reader.
        ("twice", product(&[other, raw()], &[])),
    ];
    for (name, session) in forms {
        let session = session.unwrap_or_else(|e| panic!("{name}: {e}"));
        let inputs = &session.signature().inputs;
        assert_eq!(inputs.len(), 1, "{name}: {inputs:?}");
        let given = Tensor::from_vec(&[1, 40], x.clone()).unwrap();
        let values = session.run(vec![("x".into(), given)]).unwrap();
        let got = values[0].1.tensor().unwrap().to_vec::<f32>().unwrap();
        let close = got.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(close, "{name}: {got:?} instead of {want:?}");
    }
    let short = tensor("w", &[41, 64], &onnx::Elements::Raw(right.clone()));
    let error = product(&[short], &[]).unwrap_err();
    assert_eq!(error.code(), twinfer::ErrorCode::InvalidModel);
}
