//! Products with constant weights: ours beside the engine's own.

use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cast::cast;
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::logic::comp_eq;
use tract_onnx::tract_core::ops::math::{add, max, mul};
use tract_onnx::tract_hir::internal::*;

use super::product::replace;

/// Numbers that are all different, and of both signs.
fn waves(shape: &[usize], seed: f32) -> Tensor {
    let count = shape.iter().product::<usize>();
    let values: Vec<f32> = (0..count)
        .map(|i| ((i as f32 + seed) * 0.37).sin())
        .collect();
    tensor1(&values).into_shape(shape).unwrap()
}

/// What follows a product: an operator, and the shape of its constant.
type Step<'a> = (TypedBinOp, &'a [usize]);

/// A product of an input with constant weights, and steps behind it.
fn model(axes: &str, rows: &[usize], weights: &[usize], steps: Vec<Step>) -> TypedModel {
    let mut model = TypedModel::default();
    let x = model.add_source("x", f32::fact(rows)).unwrap();
    let w = model.add_const("w", waves(weights, 5.0)).unwrap();
    let op = EinSum::new(axes.parse().unwrap(), DatumType::F32);
    let mut wire = model.wire_node("product", op, &[x, w]).unwrap();
    for (i, (op, shape)) in steps.into_iter().enumerate() {
        let konst = model.add_const(format!("c{i}"), waves(shape, 9.0));
        let inputs = [wire[0], konst.unwrap()];
        wire = model.wire_node(format!("step{i}"), op, &inputs).unwrap();
    }
    model.select_output_outlets(&wire).unwrap();
    model
}

/// The results, and which operators there are besides source and constants.
fn run(mut model: TypedModel, rows: &[usize], ours: bool) -> (Vec<usize>, Vec<f32>, Vec<String>) {
    if ours {
        replace(&mut model).unwrap();
    }
    let names = model.nodes.iter().map(|n| n.op.name().to_string());
    let names = names.filter(|n| n != "Source" && n != "Const").collect();
    model.declutter().unwrap();
    model.optimize().unwrap();
    let input = tvec!(waves(rows, 0.0).into_tvalue());
    let output = model.into_runnable().unwrap().run(input).unwrap();
    let values = output[0].try_as_plain_ram().unwrap();
    let values = values.as_slice::<f32>().unwrap().to_vec();
    (output[0].shape().to_vec(), values, names)
}

/// Whether ours gives what the engine gives; the operators of ours.
fn compare(
    axes: &str,
    rows: &[usize],
    weights: &[usize],
    steps: &dyn Fn() -> Vec<Step<'static>>,
) -> Vec<String> {
    let (shape, want, _) = run(model(axes, rows, weights, steps()), rows, false);
    let (same, got, names) = run(model(axes, rows, weights, steps()), rows, true);
    assert_eq!(same, shape);
    for (i, (got, want)) in got.iter().zip(&want).enumerate() {
        let near = (got - want).abs() <= 1e-5 * (10.0 + want.abs());
        assert!(
            near,
            "{axes} {rows:?} {weights:?}: {got} at {i}, not {want}"
        );
    }
    names
}

#[test]
fn any_number_of_rows_and_columns() {
    for rows in (1..=9).chain([150]) {
        for columns in (4..=9).chain([16, 17, 31, 40, 67]) {
            for taps in [1, 2, 5, 33] {
                let names = compare("mk,kn->mn", &[rows, taps], &[taps, columns], &Vec::new);
                // One tap is not an axis.
                let ours = if taps == 1 {
                    "EinSum"
                } else {
                    "TwinferProduct"
                };
                assert_eq!(names, [ours], "{rows} {columns} {taps}");
            }
        }
    }
    // More rows than the second-level cache holds.
    compare("mk,kn->mn", &[141, 1000], &[1000, 12], &Vec::new);
}

#[test]
fn any_notation_of_rows_and_weights() {
    for (axes, rows, weights) in [
        ("amk,kn->amn", &[2, 5, 6][..], &[6, 10][..]),
        ("amk,akn->amn", &[1, 5, 6], &[1, 6, 10]),
        ("amk,bkn->amn", &[3, 5, 6], &[1, 6, 10]),
        ("mk,nk->mn", &[5, 6], &[10, 6]),
        ("abmk,nk->abmn", &[2, 3, 4, 6], &[10, 6]),
        ("k,kn->n", &[6], &[6, 10]),
        ("mak,kn->amn", &[5, 1, 6], &[6, 10]),
    ] {
        let names = compare(axes, rows, weights, &Vec::new);
        assert_eq!(names, ["TwinferProduct"], "{axes}");
    }
}

#[test]
fn what_scales_shifts_or_limits_the_columns_is_part_of_it() {
    let steps = || -> Vec<Step> {
        vec![
            (add(), &[1, 1, 10]),
            (mul(), &[1, 1, 10]),
            (add(), &[1, 1, 1]),
            (max(), &[1, 1, 1]),
        ]
    };
    let names = compare("amk,kn->amn", &[2, 5, 6], &[6, 10], &steps);
    assert_eq!(names, ["TwinferProduct"]);
    let names = compare("amk,kn->amn", &[2, 5, 6], &[6, 10], &|| {
        vec![(add(), &[1, 5, 1]), (max(), &[1, 1, 1])]
    });
    assert_eq!(names, ["TwinferProduct", "Add", "Max"]);
}

#[test]
fn other_products_stay_the_engines() {
    for (axes, rows, weights) in [
        // A matrix for each element of the batch.
        ("amk,akn->amn", &[2, 5, 6][..], &[2, 6, 10][..]),
        // The sum is not over the last axis.
        ("akm,kn->amn", &[2, 6, 5], &[6, 10]),
        // The columns are not the last axis.
        ("amk,kn->anm", &[2, 5, 6], &[6, 10]),
        // The rows are in another order.
        ("amk,kn->man", &[2, 5, 6], &[6, 10]),
        // Too few columns.
        ("mk,kn->mn", &[5, 6], &[6, 3]),
        // Sums over two axes.
        ("mjk,jkn->mn", &[5, 2, 6], &[2, 6, 10]),
        // No sum.
        ("mk,kn->mkn", &[5, 6], &[6, 10]),
    ] {
        let names = compare(axes, rows, weights, &Vec::new);
        assert_eq!(names, ["EinSum"], "{axes}");
    }
    let mut both = TypedModel::default();
    let x = both.add_source("x", f32::fact([5, 6])).unwrap();
    let y = both.add_source("y", f32::fact([6, 10])).unwrap();
    let op = EinSum::new("mk,kn->mn".parse().unwrap(), DatumType::F32);
    let wire = both.wire_node("product", op, &[x, y]).unwrap();
    both.select_output_outlets(&wire).unwrap();
    replace(&mut both).unwrap();
    assert!(both.nodes.iter().all(|n| n.op.name() != "TwinferProduct"));
}

#[test]
fn a_result_that_is_used_twice_keeps_what_follows() {
    let mut model = model("mk,kn->mn", &[5, 6], &[6, 10], vec![(add(), &[1, 10])]);
    let product = model.node_by_name("product").unwrap().id.into();
    let output = model.output_outlets().unwrap()[0];
    model.select_output_outlets(&[output, product]).unwrap();
    replace(&mut model).unwrap();
    assert!(model.nodes.iter().any(|n| n.op.name() == "Add"));
}

/// The product of a comparison of integers with `keys` and weights, and what is left of it.
fn one_hot(keys: Tensor, ours: bool) -> (Vec<f32>, Vec<String>) {
    let mut model = TypedModel::default();
    let (dtype, taps) = (keys.datum_type(), keys.len());
    let x = model.add_source("x", dtype.fact([2, 5, 1])).unwrap();
    let keys = model.add_const("keys", keys).unwrap();
    let equal = TypedBinOp(comp_eq(), None);
    let equal = model.wire_node("equal", equal, &[x, keys]).unwrap();
    let floats = model.wire_node("floats", cast(DatumType::F32), &equal);
    let w = model.add_const("w", waves(&[taps, 10], 5.0)).unwrap();
    let op = EinSum::new("amk,kn->amn".parse().unwrap(), DatumType::F32);
    let inputs = [floats.unwrap()[0], w];
    let product = model.wire_node("product", op, &inputs).unwrap();
    let bias = model.add_const("b", waves(&[1, 1, 10], 9.0)).unwrap();
    let output = model.wire_node("sum", add(), &[product[0], bias]).unwrap();
    model.select_output_outlets(&output).unwrap();
    if ours {
        replace(&mut model).unwrap();
    }
    let names = model.nodes.iter().map(|n| n.op.name().to_string());
    let names = names.filter(|n| n != "Source" && n != "Const").collect();
    // Some have no key.
    let numbers = tensor1(&[0i64, 1, 6, 3, 3, -1, 7, 5, i64::from(i32::MIN), 2]);
    let numbers = numbers.cast_to_dt(dtype).unwrap().into_owned();
    let numbers = numbers.into_shape(&[2, 5, 1]).unwrap();
    let output = model.into_runnable().unwrap();
    let output = output.run(tvec!(numbers.into_tvalue())).unwrap();
    let values = output[0].try_as_plain_ram().unwrap();
    (values.as_slice::<f32>().unwrap().to_vec(), names)
}

#[test]
fn the_product_of_a_one_hot_is_a_table() {
    let in_order = tensor1(&[0i32, 1, 2, 3, 4, 5, 6]);
    let long = in_order.cast_to::<i64>().unwrap().into_owned();
    for keys in [in_order, long] {
        let keys = keys.into_shape(&[1, 1, 7]).unwrap();
        let (want, _) = one_hot(keys.clone(), false);
        let (got, names) = one_hot(keys, true);
        assert_eq!(names, ["TwinferLookup"]);
        assert_eq!(got, want);
    }
    let mixed = tensor1(&[1i32, 0, 2, 3, 4, 5, 6]);
    let mixed = mixed.into_shape(&[1, 1, 7]).unwrap();
    let (want, _) = one_hot(mixed.clone(), false);
    let (got, names) = one_hot(mixed, true);
    assert_eq!(names, ["Eq", "Cast", "TwinferProduct"]);
    for (got, want) in got.iter().zip(&want) {
        assert!((got - want).abs() < 1e-6);
    }
}
