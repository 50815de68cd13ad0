//! Node tables that are wrong, and the walk through one that is right.

use tract_onnx::pb::{AttributeProto, NodeProto, attribute_proto::AttributeType};
use tract_onnx::tract_hir::internal::{Tensor, tensor2};

use super::ensemble::{Adding, Ensemble};
use super::post::PostTransform;

fn ints(name: &str, values: &[i64]) -> AttributeProto {
    let r#type = AttributeType::Ints as i32;
    AttributeProto {
        name: name.into(),
        ints: values.to_vec(),
        r#type,
        ..Default::default()
    }
}

fn floats(name: &str, values: &[f32]) -> AttributeProto {
    let r#type = AttributeType::Floats as i32;
    AttributeProto {
        name: name.into(),
        floats: values.to_vec(),
        r#type,
        ..Default::default()
    }
}

fn strings(name: &str, values: &[&str]) -> AttributeProto {
    let strings = values.iter().map(|v| v.as_bytes().to_vec()).collect();
    let r#type = AttributeType::Strings as i32;
    AttributeProto {
        name: name.into(),
        strings,
        r#type,
        ..Default::default()
    }
}

/// One tree: feature 0 <= 1.5 ? (feature 1 > 0 ? 10 : 20) : 30, missing values go to "yes" at
/// the root.
fn tree() -> NodeProto {
    NodeProto {
        attribute: vec![
            ints("nodes_treeids", &[0; 5]),
            ints("nodes_nodeids", &[0, 1, 2, 3, 4]),
            ints("nodes_featureids", &[0, 1, 0, 0, 0]),
            floats("nodes_values", &[1.5, 0.0, 0.0, 0.0, 0.0]),
            strings(
                "nodes_modes",
                &["BRANCH_LEQ", "BRANCH_GT", "LEAF", "LEAF", "LEAF"],
            ),
            ints("nodes_truenodeids", &[1, 2, 0, 0, 0]),
            ints("nodes_falsenodeids", &[4, 3, 0, 0, 0]),
            ints("nodes_missing_value_tracks_true", &[1, 0, 0, 0, 0]),
            ints("target_treeids", &[0; 3]),
            ints("target_nodeids", &[2, 3, 4]),
            ints("target_ids", &[0; 3]),
            floats("target_weights", &[10.0, 20.0, 30.0]),
        ],
        ..Default::default()
    }
}

fn set(node: &mut NodeProto, attribute: AttributeProto) {
    node.attribute.retain(|a| a.name != attribute.name);
    node.attribute.push(attribute);
}

#[test]
fn rows_reach_the_leaf_that_the_conditions_say() {
    let ensemble = Ensemble::<f32>::read(&tree(), "target", 1).unwrap();
    let cases = [
        ([1.5, 1.0], 10.0),
        ([1.0, 0.0], 20.0),
        ([2.0, 5.0], 30.0),
        ([f32::NAN, 1.0], 10.0),
        ([0.0, f32::NAN], 20.0),
        ([f32::INFINITY, 0.0], 30.0),
    ];
    let scores = |input: &Tensor| {
        let adding = Adding {
            start: 0.0,
            add: |sum: f32, weight: f32| sum + weight,
        };
        ensemble.score(input, adding, |sums, scores| scores.copy_from_slice(sums))
    };
    // One row; some; more than go through a tree together, and not a multiple of those.
    for count in [1, 5, 8, 157] {
        let rows: Vec<_> = cases.iter().cycle().take(count).collect();
        let flat: Vec<f32> = rows.iter().flat_map(|(row, _)| row).copied().collect();
        let got = scores(&Tensor::from_shape(&[count, 2], &flat).unwrap()).unwrap();
        let want: Vec<f32> = rows.iter().map(|(_, value)| *value).collect();
        assert_eq!(got, Tensor::from_shape(&[count, 1], &want).unwrap());
    }
    let zeros = |columns: usize| Tensor::zero::<f32>(&[2, columns]).unwrap();
    assert!(scores(&zeros(1)).is_err(), "two features are used");
    assert_eq!(scores(&zeros(3)).unwrap(), tensor2(&[[20f32], [20.0]]));
    let none = Tensor::zero::<f32>(&[0, 2]).unwrap();
    assert_eq!(scores(&none).unwrap().shape(), [0, 1]);
}

#[test]
fn nodes_may_share_a_child() {
    // 0 <= 1.5 ? (feature 1 > 0 ? 10 : 20) : the same 20.
    let mut node = tree();
    set(&mut node, ints("nodes_falsenodeids", &[3, 3, 0, 0, 0]));
    assert!(Ensemble::<f32>::read(&node, "target", 1).is_ok());
    // Both ways of the root lead to the same branch.
    set(&mut node, ints("nodes_falsenodeids", &[1, 3, 0, 0, 0]));
    assert!(Ensemble::<f32>::read(&node, "target", 1).is_ok());
}

#[test]
fn node_tables_that_contradict_themselves_are_refused() {
    let cases: Vec<(&str, AttributeProto, &str)> = vec![
        (
            "cycle",
            ints("nodes_truenodeids", &[1, 0, 0, 0, 0]),
            "form a cycle",
        ),
        (
            "a branch of itself",
            ints("nodes_truenodeids", &[1, 1, 0, 0, 0]),
            "form a cycle",
        ),
        (
            "no such child",
            ints("nodes_falsenodeids", &[4, 9, 0, 0, 0]),
            "no child 9",
        ),
        (
            "negative feature",
            ints("nodes_featureids", &[0, -1, 0, 0, 0]),
            "negative feature",
        ),
        ("twice", ints("nodes_nodeids", &[0, 1, 2, 3, 3]), "twice"),
        (
            "short",
            ints("nodes_featureids", &[0, 1]),
            "different lengths",
        ),
        ("empty", ints("nodes_treeids", &[]), "needs 1 to"),
        (
            "mode",
            strings("nodes_modes", &["BRANCH_?", "LEAF", "LEAF", "LEAF", "LEAF"]),
            "node mode",
        ),
        ("target", ints("target_ids", &[0, 0, 7]), "not one of 1"),
        (
            "weight of a branch",
            ints("target_nodeids", &[2, 3, 1]),
            "not a leaf",
        ),
        (
            "weights",
            floats("target_weights", &[1.0]),
            "different lengths",
        ),
    ];
    for (what, attribute, words) in cases {
        let mut node = tree();
        set(&mut node, attribute);
        match Ensemble::<f32>::read(&node, "target", 1) {
            Ok(_) => panic!("{what}: accepted"),
            Err(error) => {
                let text = format!("{error:#}");
                assert!(text.contains(words), "{what}: {text}");
            }
        }
    }
}

#[test]
fn transforms_give_known_values() {
    let apply = |name: &str, scores: &[f32]| {
        let node = NodeProto {
            attribute: vec![AttributeProto {
                name: "post_transform".into(),
                s: name.as_bytes().to_vec(),
                r#type: AttributeType::String as i32,
                ..Default::default()
            }],
            ..Default::default()
        };
        let mut scores = scores.to_vec();
        PostTransform::read(&node).unwrap().apply(&mut scores);
        scores
    };
    let close = |got: Vec<f32>, want: &[f32]| {
        assert!(
            got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-6),
            "{got:?} {want:?}"
        );
    };
    close(apply("NONE", &[1.0, -2.0]), &[1.0, -2.0]);
    close(apply("LOGISTIC", &[0.0, 100.0, -100.0]), &[0.5, 1.0, 0.0]);
    close(apply("SOFTMAX", &[0.0, f32::ln(3.0)]), &[0.25, 0.75]);
    close(apply("SOFTMAX_ZERO", &[0.0, 2.0]), &[0.0, 1.0]);
    // scipy.stats.norm.ppf(0.975) = 1.95996; the approximation is good to 3 digits.
    assert!((apply("PROBIT", &[0.975])[0] - 1.95996).abs() < 5e-3);
}
