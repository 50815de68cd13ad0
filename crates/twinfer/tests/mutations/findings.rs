//! What mutations found, one by one.

use prost::Message;
use tract_onnx::pb::ModelProto;
use twinfer::{ErrorCode, Session};

use crate::corpus::{FLOAT, function, graph, model, node, value};

/// The error of a model that must not load.
fn refused(model: &ModelProto) -> (ErrorCode, String) {
    let error = Session::load(&model.encode_to_vec()).unwrap_err();
    (error.code(), error.to_string())
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
        whole
            .functions
            .push(function(&format!("f{level}"), "v0", "v10", calls.collect()));
    }
    let (code, text) = refused(&whole);
    assert_eq!(code, ErrorCode::ModelTooLarge, "{text}");
}
