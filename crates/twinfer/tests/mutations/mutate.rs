//! Seeded mutations of model files: of their bytes, and of what they say.

use prost::Message;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, tensor_shape_proto, type_proto,
};

/// SplitMix64 (Steele et al. 2014): a good spread from any seed.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    pub fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }
}

/// Numbers at which sizes, axes and indices break.
pub const INTEGERS: [i64; 20] = [
    0,
    1,
    -1,
    2,
    -2,
    3,
    5,
    7,
    8,
    64,
    1000,
    -1000,
    1 << 20,
    1 << 31,
    -(1 << 31),
    1 << 33,
    (1 << 53) + 1,
    i64::MAX,
    i64::MIN,
    i64::MAX / 8,
];

pub const FLOATS: [f32; 12] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    1e-30,
    1e9,
    3e38,
    -3e38,
    f32::NAN,
    f32::INFINITY,
    f32::NEG_INFINITY,
];

const TEXTS: [&str; 14] = [
    "",
    "linear",
    "cubic",
    "nearest",
    "reflect",
    "edge",
    "wrap",
    "SAME_UPPER",
    "VALID",
    "bidirectional",
    "i,->",
    "...ij,jk->...k",
    "\u{1f600}",
    "ii->i",
];

/// What the operators and attributes of mutated nodes are taken from.
pub struct Words {
    operators: Vec<(String, String)>,
    attributes: Vec<AttributeProto>,
}

impl Words {
    pub fn of(models: &[(String, Vec<u8>)]) -> Self {
        let mut words = Self {
            operators: Vec::new(),
            attributes: Vec::new(),
        };
        for (_, bytes) in models {
            if let Ok(model) = ModelProto::decode(&bytes[..]) {
                let nodes = model.graph.into_iter().flat_map(|g| g.node);
                for node in nodes {
                    words.operators.push((node.domain, node.op_type));
                    words.attributes.extend(node.attribute);
                }
            }
        }
        words.operators.sort();
        words.operators.dedup();
        words
    }
}

/// The model of a number, and what was done to it.
pub fn mutated(number: u64, models: &[(String, Vec<u8>)], words: &Words) -> (Vec<u8>, String) {
    let mut random = Random(number.wrapping_mul(0xd134_2543_de82_ef95));
    let (name, bytes) = &models[random.below(models.len())];
    let mut said = format!("{name}:");
    if random.below(6) == 0 {
        let mut bytes = bytes.clone();
        for _ in 0..=random.below(3) {
            said += &of_bytes(&mut bytes, &mut random);
        }
        return (bytes, said);
    }
    let Ok(mut model) = ModelProto::decode(&bytes[..]) else {
        return (bytes.clone(), said);
    };
    for _ in 0..=random.below(4) {
        said.push(' ');
        said += &of_model(&mut model, words, &mut random);
    }
    (model.encode_to_vec(), said)
}

fn of_bytes(bytes: &mut Vec<u8>, random: &mut Random) -> String {
    let at = random.below(bytes.len());
    match random.below(5) {
        0 => {
            bytes[at] ^= 1 << random.below(8);
            format!(" bit of byte {at}")
        }
        1 => {
            bytes[at] = random.next() as u8;
            format!(" byte {at}")
        }
        2 => {
            bytes.truncate(at.max(1));
            format!(" ends at {at}")
        }
        3 => {
            let end = (at + random.below(16)).min(bytes.len());
            bytes.drain(at..end);
            if bytes.is_empty() {
                bytes.push(0);
            }
            format!(" without {at}..{end}")
        }
        _ => {
            let end = (at + random.below(32)).min(bytes.len());
            let part = bytes[at..end].to_vec();
            let to = random.below(bytes.len());
            bytes.splice(to..to, part);
            format!(" {at}..{end} again at {to}")
        }
    }
}

fn of_model(model: &mut ModelProto, words: &Words, random: &mut Random) -> String {
    if random.below(20) == 0 {
        for import in &mut model.opset_import {
            import.version = random.pick(&[1, 5, 7, 9, 10, 11, 12, 13, 17, 18, 20, 21, 25, 99, -1]);
        }
        return "opsets".into();
    }
    if !model.functions.is_empty() && random.below(3) == 0 {
        let at = random.below(model.functions.len());
        let names = model.functions[at].input.clone();
        return of_nodes(&mut model.functions[at].node, &names, words, random);
    }
    match &mut model.graph {
        Some(graph) => of_graph(graph, words, random),
        None => "no graph".into(),
    }
}

fn of_graph(graph: &mut GraphProto, words: &Words, random: &mut Random) -> String {
    let inner = graph.node.iter_mut().flat_map(|n| &mut n.attribute);
    let mut inner: Vec<&mut GraphProto> = inner.filter_map(|a| a.g.as_mut()).collect();
    if !inner.is_empty() && random.below(2) == 0 {
        let at = random.below(inner.len());
        return format!("inside {}", of_graph(inner[at], words, random));
    }
    match random.below(8) {
        0 | 1 if !graph.initializer.is_empty() => {
            let at = random.below(graph.initializer.len());
            of_tensor(&mut graph.initializer[at], random)
        }
        2 => of_type(graph, random),
        3 if random.below(4) == 0 && !graph.output.is_empty() => {
            let names = names(graph);
            let at = random.below(graph.output.len());
            graph.output[at].name = random.pick(&names);
            format!("output {at} is {:?}", graph.output[at].name)
        }
        _ => {
            let names = names(graph);
            of_nodes(&mut graph.node, &names, words, random)
        }
    }
}

/// The names that values of a graph have.
fn names(graph: &GraphProto) -> Vec<String> {
    let inputs = graph.input.iter().map(|i| i.name.clone());
    let mut names: Vec<String> = inputs.collect();
    names.extend(graph.initializer.iter().map(|t| t.name.clone()));
    names.push(String::new());
    names
}

fn of_type(graph: &mut GraphProto, random: &mut Random) -> String {
    let count = graph.input.len() + graph.output.len();
    let at = random.below(count);
    let Some(info) = graph.input.iter_mut().chain(&mut graph.output).nth(at) else {
        return "no types".into();
    };
    let Some(type_proto::Value::TensorType(tensor)) =
        info.r#type.as_mut().and_then(|t| t.value.as_mut())
    else {
        return "no tensor type".into();
    };
    match (random.below(4), &mut tensor.shape) {
        (0, _) | (_, None) => {
            tensor.elem_type = random.below(28) as i32;
            format!("type of {} is {}", info.name, tensor.elem_type)
        }
        (1, shape) => {
            *shape = None;
            format!("{} has any shape", info.name)
        }
        (2, Some(shape)) if !shape.dim.is_empty() => {
            let at = random.below(shape.dim.len());
            shape.dim.remove(at);
            format!("{} without axis {at}", info.name)
        }
        (_, Some(shape)) => {
            let n = random.pick(&INTEGERS);
            let dim = tensor_shape_proto::Dimension {
                value: Some(tensor_shape_proto::dimension::Value::DimValue(n)),
                ..Default::default()
            };
            let at = random.below(shape.dim.len() + 1);
            match shape.dim.get_mut(at) {
                Some(place) => *place = dim,
                None => shape.dim.push(dim),
            }
            format!("axis {at} of {} is {n}", info.name)
        }
    }
}

fn of_tensor(tensor: &mut TensorProto, random: &mut Random) -> String {
    let name = tensor.name.clone();
    match random.below(6) {
        0 if !tensor.dims.is_empty() => {
            let at = random.below(tensor.dims.len());
            tensor.dims[at] = random.pick(&INTEGERS);
            format!("dims of {name} are {:?}", tensor.dims)
        }
        1 => {
            tensor.dims.push(random.pick(&[0, 1, 1, -1, 1 << 40]));
            format!("dims of {name} are {:?}", tensor.dims)
        }
        2 => {
            tensor.dims.pop();
            format!("dims of {name} are {:?}", tensor.dims)
        }
        3 => {
            tensor.data_type = random.below(28) as i32;
            format!("type of {name} is {}", tensor.data_type)
        }
        _ if !tensor.int64_data.is_empty() => {
            let at = random.below(tensor.int64_data.len());
            tensor.int64_data[at] = random.pick(&INTEGERS);
            format!("{name} is {:?}", tensor.int64_data)
        }
        _ if !tensor.float_data.is_empty() => {
            let at = random.below(tensor.float_data.len());
            tensor.float_data[at] = random.pick(&FLOATS);
            format!("{name}[{at}] is {}", tensor.float_data[at])
        }
        _ if tensor.data_type == 7 && tensor.raw_data.len() >= 8 => {
            let at = random.below(tensor.raw_data.len() / 8);
            let n = random.pick(&INTEGERS);
            tensor.raw_data[at * 8..at * 8 + 8].copy_from_slice(&n.to_le_bytes());
            format!("{name}[{at}] is {n}")
        }
        _ => {
            let half = tensor.raw_data.len() / 2;
            tensor.raw_data.truncate(half);
            tensor.int32_data.pop();
            format!("{name} is short")
        }
    }
}

fn of_nodes(
    nodes: &mut Vec<NodeProto>,
    names: &[String],
    words: &Words,
    random: &mut Random,
) -> String {
    if nodes.is_empty() {
        return "no nodes".into();
    }
    let at = random.below(nodes.len());
    let what = random.below(16);
    match what {
        0 => format!("without {}", nodes.remove(at).op_type),
        1 => {
            let to = random.below(nodes.len());
            nodes.swap(at, to);
            format!("nodes {at} and {to} swapped")
        }
        2 => {
            let mut again = nodes[at].clone();
            let said = format!("{} again", again.op_type);
            if random.below(2) == 0 {
                again.output.iter_mut().for_each(|o| o.push('2'));
            }
            nodes.push(again);
            said
        }
        _ => {
            let mut names = names.to_vec();
            names.extend(nodes.iter().flat_map(|n| n.output.clone()));
            of_node(&mut nodes[at], &names, words, random)
        }
    }
}

fn of_node(node: &mut NodeProto, names: &[String], words: &Words, random: &mut Random) -> String {
    let operator = node.op_type.clone();
    match random.below(12) {
        0 => {
            (node.domain, node.op_type) = random.pick(&words.operators);
            format!("{operator} is {}", node.op_type)
        }
        1 => {
            let attribute = random.pick(&words.attributes);
            let said = format!("{operator} has {}", attribute.name);
            node.attribute.push(attribute);
            said
        }
        2 if !node.input.is_empty() => {
            let at = random.below(node.input.len());
            node.input.remove(at);
            format!("{operator} without input {at}")
        }
        3 => {
            let name = random.pick(names);
            let said = format!("{operator} reads {name:?} too");
            node.input.push(name);
            said
        }
        4 | 5 if !node.input.is_empty() => {
            let at = random.below(node.input.len());
            node.input[at] = random.pick(names);
            format!("{operator} reads {:?} at {at}", node.input[at])
        }
        6 if node.input.len() > 1 => {
            let at = random.below(node.input.len() - 1);
            node.input.swap(at, at + 1);
            format!("{operator} inputs {at} swapped")
        }
        7 => {
            node.output.push("extra".into());
            if random.below(2) == 0 {
                node.output.remove(0);
            }
            format!("{operator} outputs {:?}", node.output)
        }
        _ if !node.attribute.is_empty() => {
            let at = random.below(node.attribute.len());
            if random.below(8) == 0 {
                return format!("{operator} without {}", node.attribute.remove(at).name);
            }
            format!(
                "{operator} {}",
                of_attribute(&mut node.attribute[at], random)
            )
        }
        _ => {
            let n = random.pick(&INTEGERS);
            let name = random.pick(&["axis", "keepdims", "group", "to", "axes"]);
            node.attribute.push(AttributeProto {
                name: name.into(),
                r#type: 2,
                i: n,
                ..AttributeProto::default()
            });
            format!("{operator} {name}={n}")
        }
    }
}

fn of_attribute(attribute: &mut AttributeProto, random: &mut Random) -> String {
    let name = attribute.name.clone();
    if random.below(12) == 0 {
        attribute.r#type = random.below(15) as i32;
        return format!("type of {name} is {}", attribute.r#type);
    }
    if let Some(tensor) = &mut attribute.t {
        return format!("{name}: {}", of_tensor(tensor, random));
    }
    attribute.i = random.pick(&INTEGERS);
    attribute.f = random.pick(&FLOATS);
    attribute.s = random.pick(&TEXTS).into();
    match random.below(4) {
        0 => attribute.ints.push(random.pick(&INTEGERS)),
        1 => {
            attribute.ints.pop();
            attribute.floats.pop();
            attribute.strings.pop();
        }
        _ => {
            let (ints, floats) = (attribute.ints.len(), attribute.floats.len());
            if let Some(n) = attribute.ints.get_mut(random.below(ints)) {
                *n = random.pick(&INTEGERS);
            }
            if let Some(x) = attribute.floats.get_mut(random.below(floats)) {
                *x = random.pick(&FLOATS);
            }
        }
    }
    format!(
        "{name}={}/{}/{:?}/{:?}",
        attribute.i,
        attribute.f,
        String::from_utf8_lossy(&attribute.s),
        attribute.ints.iter().take(12).collect::<Vec<_>>()
    )
}
