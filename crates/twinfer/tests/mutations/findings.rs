//! What mutations found, one by one.

use prost::Message;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, TensorProto};
use twinfer::{ErrorCode, Result, Session, Tensor};

use crate::build::{
    BOOL, FLOAT, INT64, graph, graph_attribute, int, integers, ints, model, node, numbers, value,
};
use crate::corpus::function;

/// Loads the model `nodes` of `x` (FP32) to `y`, and runs it on ones of a shape. What comes first
/// of the two errors.
fn tried(shape: &[usize], nodes: Vec<NodeProto>, initializers: Vec<TensorProto>) -> Result<Tensor> {
    let dims: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
    let (x, y) = (value("x", FLOAT, &dims), open("y"));
    let whole = model(17, graph(vec![x], nodes, initializers, vec![y]));
    let session = Session::load(&whole.encode_to_vec())?;
    let x = Tensor::from_vec(shape, vec![1f32; shape.iter().product()])?;
    let outputs = session.run(vec![("x".to_owned(), x)])?;
    outputs[0].1.tensor().cloned()
}

/// FP32 of any shape.
fn open(name: &str) -> tract_onnx::pb::ValueInfoProto {
    use tract_onnx::pb::type_proto::Value;
    let mut info = value(name, FLOAT, &[]);
    if let Some(Value::TensorType(tensor)) = info.r#type.as_mut().and_then(|t| t.value.as_mut()) {
        tensor.shape = None;
    }
    info
}

/// Ten functions, of which each calls the next one ten times: ten thousand million nodes.
#[test]
fn functions_that_grow_without_end() {
    let main = graph(
        vec![value("x", FLOAT, &[1])],
        vec![node("local:f0", "x", "y", &[])],
        vec![],
        vec![value("y", FLOAT, &[1])],
    );
    let mut whole = model(16, main);
    for level in 0..10 {
        let next = match level {
            9 => "Relu".into(),
            _ => format!("local:f{}", level + 1),
        };
        let calls = (0..10).map(|i| node(&next, &format!("v{i}"), &format!("v{}", i + 1), &[]));
        let body = function(&format!("f{level}"), "v0", "v10", calls.collect());
        whole.functions.push(body);
    }
    let error = Session::load(&ModelProto::encode_to_vec(&whole)).unwrap_err();
    assert_eq!(error.code(), ErrorCode::ModelTooLarge, "{error}");
}

/// The engine counted from 0 up to such an axis.
#[test]
fn axes_that_are_counted_to() {
    let layer_norm = |axis| vec![node("LayerNormalization", "x s", "y", &[int("axis", axis)])];
    tried(&[2, 3], layer_norm(1 << 40), vec![numbers("s", &[3])]).unwrap_err();
    tried(&[], layer_norm(-1), vec![numbers("s", &[])]).unwrap_err();
    tried(&[2, 3], layer_norm(-1), vec![numbers("s", &[3])]).unwrap();
    let one_hot = |axis| {
        vec![
            node("Cast", "x", "i", &[int("to", i64::from(INT64))]),
            node("OneHot", "i d v", "y", &[int("axis", axis)]),
        ]
    };
    let constants = || vec![integers("d", &[], &[4]), numbers("v", &[2])];
    tried(&[2], one_hot(i64::MAX), constants()).unwrap_err();
    let made = tried(&[2], one_hot(-1), constants()).unwrap();
    assert_eq!(made.shape(), [2, 4]);
}

/// The engine read the channels past the end of the shape.
#[test]
fn channels_that_are_not_there() {
    let normalised = || vec![node("BatchNormalization", "x s s s s", "y", &[])];
    tried(&[3], normalised(), vec![numbers("s", &[3])]).unwrap_err();
    tried(&[2, 3], normalised(), vec![numbers("s", &[3])]).unwrap();
}

/// The engine listed the places of the window.
#[test]
fn windows_of_any_size() {
    let pool = |size| {
        vec![node(
            "AveragePool",
            "x",
            "y",
            &[ints("kernel_shape", &[3, size])],
        )]
    };
    tried(&[1, 1, 4, 4], pool(1 << 33), vec![]).unwrap_err();
    tried(&[1, 1, 4, 4], pool(2), vec![]).unwrap();
    let mel = |bins| {
        let constants = ["b", "l", "r"].into_iter().zip([bins, 16, 8000]);
        let constants = constants.map(|(name, n)| integers(name, &[], &[n]));
        let limits = [numbers("lo", &[]), numbers("x1", &[])];
        let nodes = vec![
            node("MelWeightMatrix", "b l r lo x1", "m", &[]),
            node("Add", "m x", "y", &[]),
        ];
        tried(&[1], nodes, constants.chain(limits).collect())
    };
    mel(1 << 40).unwrap_err();
}

/// Loops that only their limit ends: by their number of turns, and one in another.
#[test]
fn loops_without_end() {
    fn body(nodes: Vec<NodeProto>) -> GraphProto {
        graph(
            vec![value("i", INT64, &[]), value("go", BOOL, &[]), open("v")],
            nodes,
            vec![],
            vec![value("go", BOOL, &[]), open("w")],
        )
    }
    let inner = body(vec![node("Identity", "v", "w", &[])]);
    let around = body(vec![node(
        "Loop",
        "m _ v",
        "w",
        &[graph_attribute("body", inner.clone())],
    )]);
    for (turns, body) in [(i64::MAX, inner), (1 << 12, around)] {
        let looped = node("Loop", "m _ x", "y", &[graph_attribute("body", body)]);
        let error = tried(&[2], vec![looped], vec![integers("m", &[], &[turns])]).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidInput, "{error}");
        assert!(error.to_string().contains("turns"), "{error}");
    }
}
