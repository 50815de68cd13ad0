//! Parts of ONNX files, for models that are written by hand.

use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, tensor_shape_proto, type_proto,
};

/// Codes of `TensorProto.DataType`.
pub const FLOAT: i32 = 1;
pub const UINT8: i32 = 2;
pub const INT8: i32 = 3;
pub const INT32: i32 = 6;
pub const INT64: i32 = 7;
pub const STRING: i32 = 8;
pub const BOOL: i32 = 9;

/// A tensor type; `-1` is an axis with a name, `-2` one without.
pub fn value(name: &str, code: i32, dims: &[i64]) -> ValueInfoProto {
    use tensor_shape_proto::{Dimension, dimension::Value};
    let dim = |&n: &i64| Dimension {
        value: match n {
            -1 => Some(Value::DimParam("n".into())),
            -2 => None,
            n => Some(Value::DimValue(n)),
        },
        ..Dimension::default()
    };
    let tensor = type_proto::Tensor {
        elem_type: code,
        shape: Some(TensorShapeProto {
            dim: dims.iter().map(dim).collect(),
        }),
    };
    ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(tensor)),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}

/// A node; names are separated by spaces, and `_` is a left-out input.
pub fn node(
    operator: &str,
    inputs: &str,
    outputs: &str,
    attributes: &[AttributeProto],
) -> NodeProto {
    let (domain, operator) = operator.rsplit_once(':').unwrap_or(("", operator));
    let names = |names: &str| {
        let names = names.split_whitespace();
        names.map(|n| n.replace('_', "")).collect::<Vec<_>>()
    };
    NodeProto {
        op_type: operator.into(),
        domain: domain.into(),
        input: names(inputs),
        output: names(outputs),
        attribute: attributes.to_vec(),
        ..NodeProto::default()
    }
}

pub fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: 2,
        i: value,
        ..AttributeProto::default()
    }
}

pub fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: 1,
        f: value,
        ..AttributeProto::default()
    }
}

pub fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: 7,
        ints: values.to_vec(),
        ..AttributeProto::default()
    }
}

pub fn floats(name: &str, values: &[f32]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: 6,
        floats: values.to_vec(),
        ..AttributeProto::default()
    }
}

pub fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: 3,
        s: value.as_bytes().to_vec(),
        ..AttributeProto::default()
    }
}

pub fn texts(name: &str, values: &[&str]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: 8,
        strings: values.iter().map(|s| s.as_bytes().to_vec()).collect(),
        ..AttributeProto::default()
    }
}

pub fn graph_attribute(name: &str, graph: GraphProto) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: 5,
        g: Some(graph),
        ..AttributeProto::default()
    }
}

/// An attribute that is taken from the call of a function.
pub fn reference(name: &str, of: &str, kind: i32) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        ref_attr_name: of.into(),
        r#type: kind,
        ..AttributeProto::default()
    }
}

pub fn integers(name: &str, dims: &[i64], values: &[i64]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: dims.to_vec(),
        data_type: INT64,
        int64_data: values.to_vec(),
        ..TensorProto::default()
    }
}

/// Small numbers that differ.
pub fn numbers(name: &str, dims: &[i64]) -> TensorProto {
    let count = dims.iter().product::<i64>() as usize;
    TensorProto {
        name: name.into(),
        dims: dims.to_vec(),
        data_type: FLOAT,
        float_data: (0..count).map(|i| (i % 7) as f32 * 0.5 - 1.0).collect(),
        ..TensorProto::default()
    }
}

pub fn small(name: &str, code: i32, dims: &[i64], values: &[i32]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: dims.to_vec(),
        data_type: code,
        int32_data: values.to_vec(),
        ..TensorProto::default()
    }
}

pub fn graph(
    inputs: Vec<ValueInfoProto>,
    nodes: Vec<NodeProto>,
    initializer: Vec<TensorProto>,
    outputs: Vec<ValueInfoProto>,
) -> GraphProto {
    GraphProto {
        name: "g".into(),
        input: inputs,
        node: nodes,
        initializer,
        output: outputs,
        ..GraphProto::default()
    }
}

pub fn import(domain: &str, version: i64) -> OperatorSetIdProto {
    OperatorSetIdProto {
        domain: domain.into(),
        version,
    }
}

pub fn model(opset: i64, graph: GraphProto) -> ModelProto {
    ModelProto {
        ir_version: 8,
        opset_import: vec![
            import("", opset),
            import("ai.onnx.ml", 3),
            import("com.microsoft", 1),
            import("local", 1),
        ],
        graph: Some(graph),
        ..ModelProto::default()
    }
}
