//! What the operators say to inputs that do not fit, and to shapes that ask for more memory than
//! their elements need. That they compute the right thing is for the backend tests of ONNX.

use tract_onnx::pb::{AttributeProto, NodeProto};

use super::super::inputs::Inputs;
use super::super::node::Node;
use crate::{Error, ErrorCode, Result, Tensor, Value};

fn run(domain: &str, node: &NodeProto, inputs: &[Option<Tensor>]) -> Result<Vec<Value>> {
    let make = super::find(domain, &node.op_type)
        .or_else(|| super::fallback(domain, &node.op_type))
        .unwrap();
    let kernel = make(&Node::new(node, 27))?.unwrap();
    let values: Vec<Option<Value>> = inputs
        .iter()
        .cloned()
        .map(|t| t.map(Value::Tensor))
        .collect();
    let values: Vec<Option<&Value>> = values.iter().map(Option::as_ref).collect();
    (kernel.0)(&Inputs(&values))
}

fn node(operator: &str, attributes: &[(&str, i64)]) -> NodeProto {
    let attribute = |(name, number): &(&str, i64)| AttributeProto {
        name: (*name).to_owned(),
        i: *number,
        ..AttributeProto::default()
    };
    NodeProto {
        op_type: operator.to_owned(),
        attribute: attributes.iter().map(attribute).collect(),
        output: (0..4).map(|at| at.to_string()).collect(),
        ..NodeProto::default()
    }
}

fn with_text(mut node: NodeProto, name: &str, text: &str) -> NodeProto {
    node.attribute.push(AttributeProto {
        name: name.to_owned(),
        s: text.as_bytes().to_vec(),
        ..AttributeProto::default()
    });
    node
}

/// Ones, or nothing for a shape without elements.
fn ones(shape: &[usize]) -> Option<Tensor> {
    let count = crate::element_count(shape).unwrap();
    Some(Tensor::from_vec(shape, vec![1f32; count]).unwrap())
}

fn ints(shape: &[usize], ints: &[i64]) -> Option<Tensor> {
    Some(Tensor::from_vec(shape, ints.to_vec()).unwrap())
}

fn code(result: Result<Vec<Value>>) -> Option<ErrorCode> {
    result.err().as_ref().map(Error::code)
}

fn floats(values: &[Value], index: usize) -> Vec<f32> {
    values[index].tensor().unwrap().to_vec().unwrap()
}

/// Two of them are more than any memory; one of them times a few is a product that still fits.
const LONG: usize = 1 << 40;

#[test]
fn attention_refuses_what_does_not_fit() {
    let wide = node("Attention", &[]);
    let packed = node("Attention", &[("q_num_heads", 2), ("kv_num_heads", 2)]);
    let some = || ones(&[1, 2, 3, 4]);
    for (node, inputs) in [
        (&wide, vec![ones(&[2, 4]), some(), some()]),
        (&wide, vec![ones(&[1, 2, 4]), some(), some()]),
        (&wide, vec![some(), ones(&[1, 2, 3, 5]), some()]),
        (&wide, vec![some(), some(), ones(&[1, 2, 4, 4])]),
        (&wide, vec![ones(&[1, 3, 3, 4]), some(), some()]),
        (&wide, vec![some(), some(), some(), ones(&[3, 4])]),
        (&wide, vec![some(), some(), some(), ones(&[2, 3])]),
        (&wide, vec![some(), some(), some(), ones(&[])]),
        (&wide, vec![some(), some(), some(), None, some()]),
        (
            &wide,
            vec![some(), some(), some(), None, ones(&[1, 1, 3, 4]), some()],
        ),
        (
            &wide,
            vec![
                some(),
                some(),
                some(),
                None,
                None,
                None,
                ints(&[2], &[1, 1]),
            ],
        ),
        (
            &packed,
            vec![ones(&[1, 3, 5]), ones(&[1, 3, 4]), ones(&[1, 3, 4])],
        ),
    ] {
        assert_eq!(
            code(run("", node, &inputs)),
            Some(ErrorCode::InvalidInput),
            "{inputs:?}"
        );
    }
    let inputs = vec![ones(&[1, 3, 4]), ones(&[1, 3, 4]), ones(&[1, 3, 4])];
    assert_eq!(code(run("", &wide, &inputs)), Some(ErrorCode::InvalidModel));
    let negative = node("Attention", &[("q_num_heads", -2)]);
    assert_eq!(
        code(run("", &negative, &inputs)),
        Some(ErrorCode::InvalidModel)
    );
}

#[test]
fn attention_over_axes_without_elements_asks_for_no_memory() {
    let node = node("Attention", &[("q_num_heads", 1), ("kv_num_heads", 1)]);
    for inputs in [
        // Nothing in a row: outputs would be as long as the axes say.
        [
            ones(&[1, 1, LONG, 0]),
            ones(&[1, 1, 1, 0]),
            ones(&[1, 1, 1, 4]),
        ],
        [
            ones(&[1, 1, 1, 4]),
            ones(&[1, 1, 0, 4]),
            ones(&[1, 1, 0, LONG]),
        ],
        [
            ones(&[1, LONG, 0]),
            ones(&[1, LONG, 0]),
            ones(&[1, LONG, 0]),
        ],
    ] {
        assert!(run("", &node, &inputs).is_err());
    }
    // No batch, and no query: nothing is to be computed, however long the other axes are.
    let none = [
        ones(&[0, LONG, 4, 8]),
        ones(&[0, 1, 2, 8]),
        ones(&[0, 1, 2, LONG]),
    ];
    let _ = run("", &node, &none);
    let none = [
        ones(&[1, LONG, 0, 2]),
        ones(&[1, 1, 2, 2]),
        ones(&[1, 1, 2, 2]),
    ];
    let made = run("", &node, &none).unwrap();
    assert_eq!(made[0].tensor().unwrap().shape(), [1, LONG, 0, 2]);
}

#[test]
fn a_causal_mask_counts_from_the_past_and_booleans_stay_finite() {
    let node = node("Attention", &[("is_causal", 1)]);
    let value =
        |rows: &[f32]| Some(Tensor::from_vec(&[1, 1, rows.len(), 1], rows.to_vec()).unwrap());
    let mask = Some(Tensor::from_vec(&[2, 3], vec![true; 6]).unwrap());
    let inputs = [
        value(&[0.0, 0.0]),
        value(&[0.0, 0.0]),
        value(&[3.0, 6.0]),
        mask,
        value(&[0.0]),
        value(&[1.0]),
    ];
    let made = run("", &node, &inputs).unwrap();
    // The first query sees the past and itself, the second one all.
    let sums = floats(&made, 0);
    let close = |(a, b): (&f32, f32)| (a - b).abs() < 1e-6;
    assert!(sums.iter().zip([2.0, 10.0 / 3.0]).all(close), "{sums:?}");
    assert_eq!(floats(&made, 2), [1.0, 3.0, 6.0]);
}

#[test]
fn losses_refuse_classes_that_are_not_there() {
    for operator in ["NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"] {
        let plain = node(operator, &[]);
        for class in [-1, 3, i64::MIN, i64::MAX] {
            let inputs = [ones(&[1, 3]), ints(&[1], &[class])];
            assert_eq!(
                code(run("", &plain, &inputs)),
                Some(ErrorCode::InvalidInput)
            );
            let ignoring = node(operator, &[("ignore_index", class)]);
            let made = run("", &with_text(ignoring, "reduction", "sum"), &inputs).unwrap();
            assert_eq!(floats(&made, 0), [0.0]);
        }
        for inputs in [
            [ones(&[3]), ints(&[1], &[0])],
            [ones(&[2, 3]), ints(&[1], &[0])],
            [ones(&[1, 3, 2]), ints(&[1], &[0])],
        ] {
            assert_eq!(
                code(run("", &plain, &inputs)),
                Some(ErrorCode::InvalidInput)
            );
        }
        let nothing = [ones(&[0, LONG, 2]), ints(&[0, 2], &[])];
        run("", &plain, &nothing).unwrap();
    }
}

#[test]
fn states_along_a_sequence_have_bounds() {
    let linear = node(
        "LinearAttention",
        &[("q_num_heads", 1), ("kv_num_heads", 1)],
    );
    let linear = with_text(linear, "update_rule", "linear");
    // A state is as large as keys times values, also where the sequence has no places.
    let empty = || ones(&[1, 0, 1 << 30]);
    assert!(run("", &linear, &[empty(), empty(), empty()]).is_err());
    let empty = || ones(&[0, 1, 1 << 40]);
    assert!(run("", &linear, &[empty(), empty(), empty()]).is_err());
    let gated = node(
        "LinearAttention",
        &[("q_num_heads", 1), ("kv_num_heads", 1)],
    );
    let some = || ones(&[1, 1, 2]);
    assert!(run("", &gated, &[some(), some(), some()]).is_err());
    let convolution = node("CausalConvWithState", &[]);
    for [input, weight] in [
        [ones(&[1, 0, 2]), ones(&[0, 1, LONG])],
        [ones(&[1, 1, 2]), ones(&[1, 1, 0])],
        [ones(&[1, 1, 0]), ones(&[1, 1, 2])],
        [ones(&[1, 1, 2]), ones(&[2, 1, 2])],
    ] {
        // An answer or an error, but no panic.
        let _ = run("", &convolution, &[input, weight]);
    }
}

#[test]
fn writes_stay_inside_of_a_cache() {
    let linear = node("TensorScatter", &[]);
    let circular = with_text(node("TensorScatter", &[]), "mode", "circular");
    let cache = || Some(Tensor::from_vec(&[1, 3, 1], vec![0f32; 3]).unwrap());
    for start in [-1, 2, i64::MAX, i64::MIN] {
        let inputs = [cache(), ones(&[1, 2, 1]), ints(&[1], &[start])];
        assert_eq!(
            code(run("", &linear, &inputs)),
            Some(ErrorCode::InvalidInput)
        );
        run("", &circular, &inputs).unwrap();
    }
    let made = run(
        "",
        &circular,
        &[cache(), ones(&[1, 2, 1]), ints(&[1], &[2])],
    )
    .unwrap();
    assert_eq!(floats(&made, 0), [1.0, 0.0, 1.0]);
    let texts = |texts: &[&str]| {
        let all = texts.iter().map(|&text| text.to_owned()).collect();
        Some(Tensor::from_strings(&[1, texts.len(), 1], all).unwrap())
    };
    let inputs = [texts(&["a", "b", "c"]), texts(&["x"]), ints(&[1], &[1])];
    let made = run("", &linear, &inputs).unwrap();
    assert_eq!(
        made[0].tensor().unwrap().strings().unwrap(),
        ["a", "x", "c"]
    );
}

#[test]
fn bits_of_another_number_are_refused() {
    let inputs = [ones(&[2])];
    assert_eq!(
        code(run("", &node("BitCast", &[("to", 11)]), &inputs)),
        Some(ErrorCode::InvalidInput)
    );
    for to in [8, 99, -1, i64::MAX] {
        let refused = run("", &node("BitCast", &[("to", to)]), &inputs);
        assert_eq!(code(refused), Some(ErrorCode::UnsupportedOperator));
    }
}

#[test]
fn optimizers_want_all_that_belongs_to_a_tensor() {
    let adagrad = node("Adagrad", &[]);
    let training = "ai.onnx.preview.training";
    for rest in [
        vec![],
        vec![ones(&[2])],
        vec![ones(&[2]), ones(&[2]), ones(&[1])],
    ] {
        let mut inputs = vec![ones(&[]), ints(&[], &[0])];
        inputs.extend(rest);
        assert!(run(training, &adagrad, &inputs).is_err());
    }
}

/// Zeros of UINT8.
fn bytes(shape: &[usize]) -> Option<Tensor> {
    let count = crate::element_count(shape).unwrap();
    Some(Tensor::from_vec(shape, vec![0u8; count]).unwrap())
}

const HUGE: usize = 1 << 40;

#[test]
fn products_of_integers_refuse_what_does_not_fit() {
    let product = node("MatMulInteger", &[]);
    for (a, b) in [
        (vec![2, 3], vec![2, 3]),
        (vec![], vec![3]),
        (vec![2, 1, 3], vec![3, 3, 1]),
        (vec![HUGE, 0], vec![0, HUGE]),
    ] {
        let result = run("", &product, &[bytes(&a), bytes(&b)]);
        assert!(result.is_err(), "{a:?} {b:?}");
    }
    for (a, b) in [(vec![HUGE, 0, 3], vec![3, 2]), (vec![2, 0], vec![0, 3])] {
        run("", &product, &[bytes(&a), bytes(&b)]).unwrap();
    }
    let zeros = [bytes(&[2, 3]), bytes(&[3, 4]), bytes(&[5])];
    assert_eq!(
        code(run("", &product, &zeros)),
        Some(ErrorCode::InvalidInput)
    );
    let floats = [ones(&[2, 3]), ones(&[3, 4])];
    let refused = code(run("", &product, &floats));
    assert_eq!(refused, Some(ErrorCode::UnsupportedDtype));
}

#[test]
fn convolutions_of_integers_refuse_what_does_not_fit() {
    let with = |name: &str, ints: &[i64]| {
        let mut conv = node("ConvInteger", &[]);
        conv.attribute.push(AttributeProto {
            name: name.to_owned(),
            ints: ints.to_vec(),
            ..AttributeProto::default()
        });
        conv
    };
    let input = [bytes(&[1, 1, 4, 4]), bytes(&[1, 1, 3, 3])];
    for (name, ints) in [
        ("pads", &[i64::MAX, i64::MAX, i64::MAX, i64::MAX][..]),
        ("pads", &[1 << 20, 1 << 20, 1 << 20, 1 << 20]),
        ("pads", &[-1, 0, 0, 0]),
        ("pads", &[1]),
        ("strides", &[0, 1]),
        ("strides", &[1]),
        ("dilations", &[i64::MAX, 1]),
        ("dilations", &[2, 2]),
    ] {
        let result = run("", &with(name, ints), &input);
        assert!(result.is_err(), "{name} {ints:?}");
    }
    let none = node("ConvInteger", &[("group", 0)]);
    assert_eq!(code(run("", &none, &input)), Some(ErrorCode::InvalidModel));
    let nothing = [bytes(&[0, 1, HUGE, 4]), bytes(&[1, 1, 3, 3])];
    run("", &node("ConvInteger", &[]), &nothing).unwrap();
}

#[test]
fn scales_that_do_not_fit_are_refused() {
    for (x, scale, block) in [
        (vec![2, 3], vec![2], 0),
        (vec![2, 3], vec![2, 3], 0),
        (vec![2, 3], vec![2, 1], 2),
        (vec![], vec![3], 0),
    ] {
        let quantize = node("QuantizeLinear", &[("block_size", block)]);
        let result = run("", &quantize, &[ones(&x), ones(&scale)]);
        assert_eq!(
            code(result),
            Some(ErrorCode::InvalidInput),
            "{x:?} {scale:?}"
        );
    }
    let nothing = [ones(&[HUGE, 3, 0]), ones(&[3])];
    run("", &node("QuantizeLinear", &[]), &nothing).unwrap();
    let negative = node("QuantizeLinear", &[("block_size", -1)]);
    let two = [ones(&[2]), ones(&[])];
    assert_eq!(
        code(run("", &negative, &two)),
        Some(ErrorCode::InvalidModel)
    );
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let to = |shape: &[i64]| {
        let inputs = [ones(&[0, HUGE, 3]), ints(&[shape.len()], shape)];
        run("", &node("Reshape", &[]), &inputs)
    };
    to(&[0, 0, -1]).unwrap();
    assert!(to(&[-1, -1]).is_err());
    assert!(to(&[-2, 0]).is_err());
    assert!(to(&[4]).is_err());
    let nothing = || ones(&[0, HUGE, 3]);
    run("", &node("Transpose", &[]), &[nothing()]).unwrap();
    run("", &node("Flatten", &[]), &[nothing()]).unwrap();
}

#[test]
fn casts_refuse_text_that_is_no_number() {
    let text = Tensor::from_strings(&[1], vec!["one".to_owned()]).unwrap();
    for dtype in [1, 7, 9, 11, 13, 17] {
        let result = run("", &node("Cast", &[("to", dtype)]), &[Some(text.clone())]);
        assert_eq!(code(result), Some(ErrorCode::InvalidInput), "{dtype}");
    }
    let unknown = run("", &node("Cast", &[("to", 99)]), &[Some(text)]);
    assert_eq!(code(unknown), Some(ErrorCode::UnsupportedDtype));
}
