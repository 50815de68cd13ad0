//! What is mutated: the model files of the other tests, and small models of everything that a graph
//! can have.

use std::path::PathBuf;

use prost::Message;
use tract_onnx::pb::{FunctionProto, ModelProto, NodeProto, TensorProto};

use crate::build::{
    BOOL, FLOAT, INT8, INT32, INT64, STRING, UINT8, float, floats, graph, graph_attribute, import,
    int, integers, ints, model, node, numbers, reference, small, text, texts, value,
};

/// Name and bytes of each; with a folder in `TWINFER_MUTATIONS_CORPUS`, of its models too.
pub fn models() -> Vec<(String, Vec<u8>)> {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let mut all = Vec::new();
    read(&data, &mut all);
    if let Some(folder) = std::env::var_os("TWINFER_MUTATIONS_CORPUS") {
        read(&PathBuf::from(folder), &mut all);
    }
    let own = own().into_iter();
    all.extend(own.map(|(name, model)| (name.to_owned(), model.encode_to_vec())));
    all
}

/// Larger files are mostly weights: mutations of them hit nothing else.
const MAX_FILE: u64 = 100_000;

fn read(folder: &PathBuf, into: &mut Vec<(String, Vec<u8>)>) {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    for file in files {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        if file.is_dir() {
            read(&file, into);
        } else if file.extension().is_some_and(|e| e == "onnx")
            && file.metadata().unwrap().len() <= MAX_FILE
        {
            into.push((name, std::fs::read(&file).unwrap()));
        }
    }
}

fn own() -> Vec<(&'static str, ModelProto)> {
    let mut all = plain();
    all.extend(shapes());
    all.extend(control());
    all.extend(functions());
    all.extend(others());
    all
}

/// Layers of networks.
fn plain() -> Vec<(&'static str, ModelProto)> {
    let x = || vec![value("x", FLOAT, &[-1, 2, 6, 6])];
    let y = || vec![value("y", FLOAT, &[-2, -2, -2, -2])];
    let convolution = graph(
        x(),
        vec![
            node(
                "Conv",
                "x w b",
                "a",
                &[
                    ints("kernel_shape", &[3, 3]),
                    ints("pads", &[1, 1, 1, 1]),
                    ints("strides", &[2, 2]),
                ],
            ),
            node(
                "BatchNormalization",
                "a s s m m",
                "c",
                &[float("epsilon", 1e-5)],
            ),
            node(
                "MaxPool",
                "c",
                "d",
                &[
                    ints("kernel_shape", &[2, 2]),
                    int("ceil_mode", 1),
                    ints("dilations", &[1, 1]),
                ],
            ),
            node(
                "AveragePool",
                "d",
                "e",
                &[ints("kernel_shape", &[1, 1]), int("count_include_pad", 1)],
            ),
            node(
                "ConvTranspose",
                "e t",
                "y",
                &[
                    ints("strides", &[2, 2]),
                    ints("output_padding", &[1, 0]),
                    int("group", 1),
                ],
            ),
        ],
        vec![
            numbers("w", &[3, 2, 3, 3]),
            numbers("b", &[3]),
            numbers("s", &[3]),
            small("m", FLOAT, &[3], &[]).with_floats(3),
            numbers("t", &[3, 2, 2, 2]),
        ],
        y(),
    );
    let recurrent = graph(
        vec![value("x", FLOAT, &[-1, 1, 3])],
        vec![
            node(
                "LSTM",
                "x w r b",
                "a h c",
                &[int("hidden_size", 2), text("direction", "forward")],
            ),
            node("Squeeze", "a one", "s", &[]),
            node(
                "GRU",
                "s w2 r2",
                "y",
                &[int("hidden_size", 2), int("linear_before_reset", 1)],
            ),
        ],
        vec![
            numbers("w", &[1, 8, 3]),
            numbers("r", &[1, 8, 2]),
            numbers("b", &[1, 16]),
            integers("one", &[1], &[1]),
            numbers("w2", &[1, 6, 2]),
            numbers("r2", &[1, 6, 2]),
        ],
        y(),
    );
    let attention = graph(
        vec![value("x", FLOAT, &[-1, 4, 8])],
        vec![
            node("LayerNormalization", "x g", "l", &[int("axis", -1)]),
            node("MatMul", "l w", "q", &[]),
            node("Transpose", "q", "k", &[ints("perm", &[0, 2, 1])]),
            node("MatMul", "q k", "p", &[]),
            node("Softmax", "p", "sm", &[int("axis", -1)]),
            node("Einsum", "sm q", "e", &[text("equation", "bij,bjk->bik")]),
            node(
                "TopK",
                "e two",
                "v i",
                &[int("axis", -1), int("largest", 1)],
            ),
            node(
                "ReduceMean",
                "v",
                "y",
                &[ints("axes", &[1]), int("keepdims", 0)],
            ),
            node("CumSum", "v axis", "z", &[int("exclusive", 1)]),
        ],
        vec![
            numbers("g", &[8]),
            numbers("w", &[8, 8]),
            integers("two", &[1], &[2]),
            integers("axis", &[], &[1]),
        ],
        vec![
            value("y", FLOAT, &[-2, -2]),
            value("z", FLOAT, &[-2, -2, -2]),
        ],
    );
    let quantised = graph(
        vec![value("x", FLOAT, &[2, 4])],
        vec![
            node("DynamicQuantizeLinear", "x", "q s z", &[]),
            node("MatMulInteger", "q w z wz", "i", &[]),
            node("QuantizeLinear", "x qs qz", "ql", &[int("axis", 1)]),
            node("QLinearMatMul", "ql qs qz w8 qs qz qs qz", "qm", &[]),
            node("DequantizeLinear", "qm qs qz", "y", &[int("axis", 1)]),
        ],
        vec![
            small("w", INT8, &[4, 2], &[1, -2, 3, -4, 5, -6, 7, -8]),
            small("wz", INT8, &[], &[1]),
            small("w8", UINT8, &[4, 2], &[1, 2, 3, 4, 5, 6, 7, 8]),
            numbers("qs", &[]),
            small("qz", UINT8, &[], &[128]),
        ],
        vec![value("y", FLOAT, &[-2, -2]), value("i", INT32, &[-2, -2])],
    );
    vec![
        ("convolution", model(15, convolution)),
        ("recurrent", model(14, recurrent)),
        ("attention", model(17, attention)),
        ("quantised", model(13, quantised)),
    ]
}

trait WithFloats {
    fn with_floats(self, count: usize) -> Self;
}

impl WithFloats for TensorProto {
    /// Values that a variance can have.
    fn with_floats(mut self, count: usize) -> Self {
        self.float_data = vec![1.0; count];
        self
    }
}

/// Shapes that are computed.
fn shapes() -> Vec<(&'static str, ModelProto)> {
    let computed = graph(
        vec![value("x", FLOAT, &[-1, 3, 4])],
        vec![
            node("Shape", "x", "sh", &[int("start", 0)]),
            node("Gather", "sh zero", "n", &[int("axis", 0)]),
            node("Unsqueeze", "n zero1", "n1", &[]),
            node("Concat", "n1 rest", "to", &[int("axis", 0)]),
            node("Reshape", "x to", "r", &[int("allowzero", 0)]),
            node("ConstantOfShape", "to", "c", &[]),
            node("Expand", "r big", "e", &[]),
            node("Range", "zero n one", "ra", &[]),
            node("Tile", "r tiles", "t", &[]),
            node("Pad", "t pads", "y", &[text("mode", "constant")]),
        ],
        vec![
            integers("zero", &[], &[0]),
            integers("one", &[], &[1]),
            integers("zero1", &[1], &[0]),
            integers("rest", &[1], &[-1]),
            integers("big", &[3], &[2, 1, 12]),
            integers("tiles", &[2], &[1, 2]),
            integers("pads", &[4], &[0, 1, 0, 1]),
        ],
        vec![
            value("y", FLOAT, &[-2, -2]),
            value("e", FLOAT, &[-2, -2, -2]),
            value("ra", INT64, &[-2]),
            value("c", FLOAT, &[-2, -2]),
        ],
    );
    let given = graph(
        vec![
            value("x", FLOAT, &[-2, -2]),
            value("s", INT64, &[-2]),
            value("i", INT64, &[-2]),
        ],
        vec![
            node("Reshape", "x s", "r", &[]),
            node("Expand", "x s", "e", &[]),
            node("ConstantOfShape", "s", "c", &[]),
            node("Gather", "x i", "g", &[int("axis", 0)]),
            node("ScatterElements", "x i2 x", "se", &[int("axis", 0)]),
            node("Reshape", "i two", "i2", &[]),
            node("OneHot", "i depth values", "o", &[int("axis", -1)]),
            node("GatherND", "x i2", "gn", &[]),
        ],
        vec![
            integers("two", &[2], &[-1, 1]),
            integers("depth", &[], &[4]),
            integers("values", &[2], &[0, 1]),
        ],
        vec![
            value("r", FLOAT, &[]),
            value("e", FLOAT, &[]),
            value("c", FLOAT, &[]),
            value("g", FLOAT, &[]),
            value("se", FLOAT, &[]),
            value("o", INT64, &[]),
            value("gn", FLOAT, &[]),
        ],
    );
    let resized = graph(
        vec![value("x", FLOAT, &[1, 1, 4, -1])],
        vec![
            node(
                "Resize",
                "x _ scales",
                "a",
                &[
                    text("mode", "linear"),
                    text("coordinate_transformation_mode", "half_pixel"),
                ],
            ),
            node(
                "Resize",
                "a _ _ sizes",
                "b",
                &[
                    text("mode", "cubic"),
                    float("cubic_coeff_a", -0.75),
                    int("exclude_outside", 1),
                ],
            ),
            node("Slice", "b st en ax sp", "c", &[]),
            node("Split", "c", "d e", &[int("axis", 3)]),
            node("DepthToSpace", "x1", "y", &[int("blocksize", 2)]),
            node("Concat", "d d d d", "x1", &[int("axis", 1)]),
            node(
                "GridSample",
                "x grid",
                "z",
                &[text("mode", "bilinear"), int("align_corners", 1)],
            ),
        ],
        vec![
            numbers("scales", &[4]).ones(),
            integers("sizes", &[4], &[1, 1, 8, 6]),
            integers("st", &[1], &[-1]),
            integers("en", &[1], &[i64::MIN]),
            integers("ax", &[1], &[2]),
            integers("sp", &[1], &[-2]),
            numbers("grid", &[1, 2, 2, 2]),
        ],
        vec![
            value("y", FLOAT, &[]),
            value("e", FLOAT, &[]),
            value("z", FLOAT, &[]),
        ],
    );
    vec![
        ("computed", model(18, computed)),
        ("given", model(16, given)),
        ("resized", model(17, resized)),
    ]
}

trait Ones {
    fn ones(self) -> Self;
}

impl Ones for TensorProto {
    fn ones(mut self) -> Self {
        self.float_data.fill(1.0);
        self
    }
}

fn control() -> Vec<(&'static str, ModelProto)> {
    let branch = |operator: &str| {
        graph(
            vec![],
            vec![node(operator, "x x", "b", &[])],
            vec![],
            vec![value("b", FLOAT, &[-2])],
        )
    };
    let choice = graph(
        vec![value("x", FLOAT, &[-1]), value("c", BOOL, &[])],
        vec![node(
            "If",
            "c",
            "y",
            &[
                graph_attribute("then_branch", branch("Add")),
                graph_attribute("else_branch", branch("Mul")),
            ],
        )],
        vec![],
        vec![value("y", FLOAT, &[-2])],
    );
    let body = graph(
        vec![
            value("i", INT64, &[]),
            value("go", BOOL, &[]),
            value("v", FLOAT, &[-2]),
        ],
        vec![
            node("Add", "v x", "v2", &[]),
            node("Identity", "go", "go2", &[]),
            node("ReduceSum", "v2", "s", &[int("keepdims", 0)]),
        ],
        vec![],
        vec![
            value("go2", BOOL, &[]),
            value("v2", FLOAT, &[-2]),
            value("s", FLOAT, &[]),
        ],
    );
    let looped = graph(
        vec![value("x", FLOAT, &[-1])],
        vec![node(
            "Loop",
            "m go x",
            "y all",
            &[graph_attribute("body", body)],
        )],
        vec![integers("m", &[], &[3]), small("go", BOOL, &[], &[1])],
        vec![value("y", FLOAT, &[-2]), value("all", FLOAT, &[-2])],
    );
    let step = graph(
        vec![value("s", FLOAT, &[2]), value("e", FLOAT, &[2])],
        vec![
            node("Add", "s e", "s2", &[]),
            node("Identity", "s2", "o", &[]),
        ],
        vec![],
        vec![value("s2", FLOAT, &[2]), value("o", FLOAT, &[2])],
    );
    let scanned = graph(
        vec![value("x", FLOAT, &[-1, 2])],
        vec![node(
            "Scan",
            "init x",
            "last all",
            &[
                graph_attribute("body", step),
                int("num_scan_inputs", 1),
                ints("scan_input_axes", &[0]),
                ints("scan_input_directions", &[1]),
            ],
        )],
        vec![numbers("init", &[2])],
        vec![value("last", FLOAT, &[2]), value("all", FLOAT, &[-2, 2])],
    );
    let sequences = graph(
        vec![value("x", FLOAT, &[-1, 2]), value("at", INT64, &[])],
        vec![
            node("SequenceConstruct", "x x", "s", &[]),
            node("SequenceInsert", "s x at", "s2", &[]),
            node("SequenceErase", "s2 at", "s3", &[]),
            node("SequenceAt", "s3 at", "a", &[]),
            node(
                "SplitToSequence",
                "x",
                "parts",
                &[int("axis", 0), int("keepdims", 0)],
            ),
            node(
                "ConcatFromSequence",
                "parts",
                "y",
                &[int("axis", 0), int("new_axis", 1)],
            ),
            node("SequenceLength", "s3", "n", &[]),
            node("Optional", "a", "op", &[]),
            node("OptionalHasElement", "op", "has", &[]),
        ],
        vec![],
        vec![
            value("a", FLOAT, &[]),
            value("y", FLOAT, &[]),
            value("n", INT64, &[]),
            value("has", BOOL, &[]),
        ],
    );
    vec![
        ("if", model(16, choice)),
        ("loop", model(13, looped)),
        ("scan", model(16, scanned)),
        ("sequences", model(18, sequences)),
    ]
}

pub fn function(name: &str, inputs: &str, outputs: &str, nodes: Vec<NodeProto>) -> FunctionProto {
    let names = |names: &str| names.split_whitespace().map(str::to_owned).collect();
    FunctionProto {
        name: Some(name.into()),
        domain: Some("local".into()),
        input: names(inputs),
        output: names(outputs),
        node: nodes,
        opset_import: vec![import("", 16), import("local", 1)],
        ..FunctionProto::default()
    }
}

fn functions() -> Vec<(&'static str, ModelProto)> {
    let main = graph(
        vec![value("x", FLOAT, &[-1, 3])],
        vec![node(
            "local:outer",
            "x",
            "y",
            &[float("alpha", 0.5), int("axis", 1)],
        )],
        vec![],
        vec![value("y", FLOAT, &[-2, -2])],
    );
    let mut whole = model(16, main);
    let inner = vec![
        node("LeakyRelu", "a", "b", &[reference("alpha", "alpha", 1)]),
        node("Softmax", "b", "c", &[reference("axis", "axis", 2)]),
    ];
    let outer = vec![
        node(
            "local:inner",
            "p",
            "q",
            &[reference("alpha", "alpha", 1), reference("axis", "axis", 2)],
        ),
        node("local:inner", "q", "r", &[int("axis", 0)]),
    ];
    whole.functions = vec![
        function("inner", "a", "c", inner),
        function("outer", "p", "r", outer),
    ];
    vec![("functions", whole)]
}

/// Strings, signals, classic models.
fn others() -> Vec<(&'static str, ModelProto)> {
    let words = graph(
        vec![value("t", STRING, &[-1])],
        vec![
            node(
                "StringNormalizer",
                "t",
                "u",
                &[
                    text("case_change_action", "LOWER"),
                    int("is_case_sensitive", 0),
                    texts("stopwords", &["the"]),
                ],
            ),
            node(
                "ai.onnx.ml:LabelEncoder",
                "u",
                "i",
                &[
                    texts("keys_strings", &["a", "b"]),
                    ints("values_int64s", &[0, 1]),
                    int("default_int64", -1),
                ],
            ),
            node(
                "TfIdfVectorizer",
                "i",
                "y",
                &[
                    text("mode", "TF"),
                    int("min_gram_length", 1),
                    int("max_gram_length", 2),
                    int("max_skip_count", 1),
                    ints("ngram_counts", &[0, 2]),
                    ints("ngram_indexes", &[0, 1, 2]),
                    ints("pool_int64s", &[0, 1, 0, 1]),
                ],
            ),
            node(
                "StringSplit",
                "t",
                "sp n",
                &[text("delimiter", " "), int("maxsplit", 3)],
            ),
        ],
        vec![],
        vec![
            value("y", FLOAT, &[-2]),
            value("sp", STRING, &[]),
            value("n", INT64, &[]),
        ],
    );
    let trees = graph(
        vec![value("x", FLOAT, &[-1, 2])],
        vec![
            node(
                "ai.onnx.ml:Scaler",
                "x",
                "s",
                &[floats("offset", &[0.5, 0.5]), floats("scale", &[2.0, 1.0])],
            ),
            node(
                "ai.onnx.ml:TreeEnsembleRegressor",
                "s",
                "t",
                &[
                    int("n_targets", 1),
                    ints("nodes_treeids", &[0, 0, 0]),
                    ints("nodes_nodeids", &[0, 1, 2]),
                    ints("nodes_featureids", &[1, 0, 0]),
                    texts("nodes_modes", &["BRANCH_LEQ", "LEAF", "LEAF"]),
                    floats("nodes_values", &[0.5, 0.0, 0.0]),
                    ints("nodes_truenodeids", &[1, 0, 0]),
                    ints("nodes_falsenodeids", &[2, 0, 0]),
                    ints("target_treeids", &[0, 0]),
                    ints("target_nodeids", &[1, 2]),
                    ints("target_ids", &[0, 0]),
                    floats("target_weights", &[1.0, -1.0]),
                ],
            ),
            node(
                "ai.onnx.ml:LinearClassifier",
                "s",
                "l p",
                &[
                    floats("coefficients", &[1.0, -1.0, 0.5, 0.25]),
                    floats("intercepts", &[0.0, 1.0]),
                    ints("classlabels_ints", &[3, 4]),
                    text("post_transform", "SOFTMAX"),
                ],
            ),
            node(
                "ai.onnx.ml:SVMRegressor",
                "s",
                "v",
                &[
                    floats("kernel_params", &[0.5, 0.0, 3.0]),
                    text("kernel_type", "RBF"),
                    int("n_supports", 2),
                    floats("support_vectors", &[1.0, 0.0, 0.0, 1.0]),
                    floats("coefficients", &[1.0, -1.0]),
                    floats("rho", &[0.1]),
                ],
            ),
        ],
        vec![],
        vec![
            value("t", FLOAT, &[-2, -2]),
            value("l", INT64, &[-2]),
            value("p", FLOAT, &[-2, -2]),
            value("v", FLOAT, &[-2, -2]),
        ],
    );
    let signals = graph(
        vec![
            value("x", FLOAT, &[1, -1, 1]),
            value("boxes", FLOAT, &[1, -1, 4]),
            value("scores", FLOAT, &[1, 1, -1]),
        ],
        vec![
            node("DFT", "x", "f", &[int("axis", 1), int("onesided", 0)]),
            node("HannWindow", "eight", "h", &[]),
            node("STFT", "x two h", "st", &[int("onesided", 1)]),
            node("MelWeightMatrix", "eight eight eight low high", "mel", &[]),
            node(
                "NonMaxSuppression",
                "boxes scores max iou",
                "nms",
                &[int("center_point_box", 0)],
            ),
            node("Unique", "x", "u", &[int("sorted", 1)]),
            node(
                "BlackmanWindow",
                "eight",
                "bl",
                &[int("output_datatype", 1)],
            ),
            node("Trilu", "boxes", "tri", &[int("upper", 0)]),
            node("RandomNormal", "", "rn", &[ints("shape", &[2, 3])]),
            node("EyeLike", "scores2", "eye", &[int("k", 1)]),
            node("Squeeze", "scores eye0", "scores2", &[]),
            node("CenterCropPad", "boxes crop", "ccp", &[ints("axes", &[1])]),
            node("Col2Im", "cols img blk", "im", &[]),
        ],
        vec![
            integers("eight", &[], &[8]),
            integers("two", &[], &[2]),
            numbers("low", &[]).ones(),
            small("high", FLOAT, &[], &[]).with_floats(1),
            integers("max", &[1], &[2]),
            numbers("iou", &[1]).ones(),
            integers("eye0", &[1], &[0]),
            integers("crop", &[1], &[3]),
            numbers("cols", &[1, 4, 4]),
            integers("img", &[2], &[4, 4]),
            integers("blk", &[2], &[2, 2]),
        ],
        ["f", "st", "mel", "u", "bl", "tri", "rn", "eye", "ccp", "im"]
            .map(|n| value(n, FLOAT, &[]))
            .into_iter()
            .chain([value("nms", INT64, &[-2, 3])])
            .collect(),
    );
    vec![
        ("words", model(20, words)),
        ("trees", model(15, trees)),
        ("signals", model(18, signals)),
    ]
}
