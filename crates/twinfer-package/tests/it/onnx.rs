//! Model files written field by field: large tensors, and everything that is wrong with them.

/// A field with bytes in it.
pub fn bytes(number: u64, value: &[u8]) -> Vec<u8> {
    let mut field = varint(number << 3 | 2);
    field.extend(varint(value.len() as u64));
    field.extend(value);
    field
}

/// A field with a number in it.
pub fn number(number: u64, value: u64) -> Vec<u8> {
    [varint(number << 3), varint(value)].concat()
}

pub fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// Where a tensor of the network has its elements.
#[derive(Clone)]
pub enum Elements {
    /// In `raw_data`.
    Raw(Vec<f32>),
    /// In `float_data`, packed.
    Typed(Vec<f32>),
    /// In another file: the entries of `external_data`.
    External(Vec<(&'static str, String)>),
}

pub fn little_endian(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// Numbers that are the same everywhere.
pub fn values(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).max(1);
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        })
        .collect()
}

/// A `TensorProto` of type FLOAT.
pub fn tensor(name: &str, dims: &[u64], elements: &Elements) -> Vec<u8> {
    let mut tensor: Vec<u8> = dims.iter().flat_map(|&d| number(1, d)).collect();
    tensor.extend(number(2, 1));
    match elements {
        Elements::Typed(values) => {
            tensor.extend(bytes(4, &little_endian(values)));
            tensor.extend(bytes(8, name.as_bytes()));
        }
        Elements::Raw(values) => {
            tensor.extend(bytes(8, name.as_bytes()));
            tensor.extend(bytes(9, &little_endian(values)));
        }
        Elements::External(entries) => {
            tensor.extend(bytes(8, name.as_bytes()));
            for (key, value) in entries {
                let pair = [bytes(1, key.as_bytes()), bytes(2, value.as_bytes())].concat();
                tensor.extend(bytes(13, &pair));
            }
            tensor.extend(number(14, 1));
        }
    }
    // A field of no schema: it must survive.
    tensor.extend(bytes(99, b"unknown"));
    tensor
}

pub fn value_info(name: &str, columns: u64) -> Vec<u8> {
    let axes = [bytes(1, &bytes(2, b"N")), bytes(1, &number(1, columns))].concat();
    let tensor = [number(1, 1), bytes(2, &axes)].concat();
    [bytes(1, name.as_bytes()), bytes(2, &bytes(1, &tensor))].concat()
}

pub fn node(kind: &str, inputs: &[&str], output: &str) -> Vec<u8> {
    let mut node: Vec<u8> = inputs.iter().flat_map(|i| bytes(1, i.as_bytes())).collect();
    node.extend(bytes(2, output.as_bytes()));
    node.extend(bytes(4, kind.as_bytes()));
    node
}

/// The network `y = (x · body) · head`: `x` is `[N, INPUTS]`, body `[INPUTS, HIDDEN]`, head
/// `[HIDDEN, OUTPUTS]`.
pub const INPUTS: usize = 40;
pub const HIDDEN: usize = 8192;
pub const OUTPUTS: usize = 3;

pub fn network(body: &Elements, head: &Elements) -> Vec<u8> {
    let graph = [
        bytes(1, &node("MatMul", &["x", "body"], "h")),
        bytes(1, &node("MatMul", &["h", "head"], "y")),
        bytes(2, b"network"),
        bytes(5, &tensor("body", &[INPUTS as u64, HIDDEN as u64], body)),
        bytes(5, &tensor("head", &[HIDDEN as u64, OUTPUTS as u64], head)),
        bytes(11, &value_info("x", INPUTS as u64)),
        bytes(12, &value_info("y", OUTPUTS as u64)),
        bytes(98, b"unknown"),
    ]
    .concat();
    model(&graph)
}

/// A `ModelProto` with this graph.
pub fn model(graph: &[u8]) -> Vec<u8> {
    [
        number(1, 8),
        bytes(2, b"by hand"),
        bytes(3, b"1"),
        bytes(7, graph),
        bytes(8, &number(2, 15)),
        bytes(97, b"unknown"),
    ]
    .concat()
}

pub fn body() -> Vec<f32> {
    values(INPUTS * HIDDEN, 1)
}

pub fn head(seed: u32) -> Vec<f32> {
    values(HIDDEN * OUTPUTS, seed)
}

/// The network with all weights in its file.
pub fn whole(seed: u32) -> Vec<u8> {
    network(&Elements::Raw(body()), &Elements::Raw(head(seed)))
}
