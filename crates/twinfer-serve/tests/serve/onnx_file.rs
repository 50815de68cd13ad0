//! Small ONNX files of a node, written field by field (onnx.proto): enough to see what goes in come out.

/// Elements of tensors, by the numbers of `TensorProto.DataType`.
pub enum Type {
    /// With one free axis.
    Tensor(u64),
    /// With one axis of this length.
    Fixed(u64, u64),
    /// With any axes.
    Unshaped(u64),
    /// The types of keys and of values.
    Map(u64, u64),
    Sequence(Box<Type>),
    Optional(Box<Type>),
}

/// `y = op(x)`, with an attribute of strings where there is one.
pub fn file(
    domain: &str,
    op: &str,
    strings: Option<(&str, &[&str])>,
    input: &Type,
    output: &Type,
) -> Vec<u8> {
    let attribute = strings.map_or_else(Vec::new, |(name, values)| {
        let values = values.iter().map(|value| field(9, value.as_bytes()));
        let values: Vec<u8> = values.collect::<Vec<_>>().concat();
        let strings = 8;
        field(5, &[text(1, name), values, number(20, strings)].concat())
    });
    let node = [
        text(1, "x"),
        text(2, "y"),
        text(4, op),
        attribute,
        text(7, domain),
    ];
    let graph = [
        field(1, &node.concat()),
        text(2, "g"),
        field(11, &[text(1, "x"), field(2, &kind(input))].concat()),
        field(12, &[text(1, "y"), field(2, &kind(output))].concat()),
    ];
    let opset = |domain: &str, version| field(8, &[text(1, domain), number(2, version)].concat());
    // The first versions that have all types.
    let opsets = [opset("", 25), opset("ai.onnx.ml", 1)].concat();
    [number(1, 13), field(7, &graph.concat()), opsets].concat()
}

/// `y = x`.
pub fn identity(of: &Type) -> Vec<u8> {
    file("", "Identity", None, of, of)
}

/// A scikit-learn `DictVectorizer` as skl2onnx exports it.
pub fn dict_vectorizer(words: &[&str]) -> Vec<u8> {
    const FLOAT: u64 = 1;
    const STRING: u64 = 8;
    file(
        "ai.onnx.ml",
        "DictVectorizer",
        Some(("string_vocabulary", words)),
        &Type::Map(STRING, FLOAT),
        &Type::Unshaped(FLOAT),
    )
}

fn kind(of: &Type) -> Vec<u8> {
    match of {
        Type::Tensor(element) => {
            let shape = field(2, &field(1, &text(2, "N")));
            field(1, &[number(1, *element), shape].concat())
        }
        Type::Fixed(element, length) => {
            let shape = field(2, &field(1, &number(1, *length)));
            field(1, &[number(1, *element), shape].concat())
        }
        Type::Unshaped(element) => field(1, &number(1, *element)),
        Type::Map(key, value) => {
            let value = field(2, &kind(&Type::Unshaped(*value)));
            field(5, &[number(1, *key), value].concat())
        }
        Type::Sequence(item) => field(4, &field(1, &kind(item))),
        Type::Optional(item) => field(9, &field(1, &kind(item))),
    }
}

fn text(key: u64, value: &str) -> Vec<u8> {
    field(key, value.as_bytes())
}

fn field(key: u64, bytes: &[u8]) -> Vec<u8> {
    [&varint(key << 3 | 2), &varint(bytes.len() as u64), bytes].concat()
}

fn number(key: u64, value: u64) -> Vec<u8> {
    [varint(key << 3), varint(value)].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}
