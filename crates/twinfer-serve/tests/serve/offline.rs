//! Rows without HTTP.

use serde_json::{Value as Json, json};
use twinfer::{ErrorCode, Model, Parameters};
use twinfer_package::Built;
use twinfer_serve::offline::{BatchAxis, Rows};

use crate::onnx_file::{Type, file, identity};

const FLOAT: u64 = 1;

fn model(onnx: Vec<u8>) -> Model {
    Built::from_model("m", "1.0.0", onnx)
        .unwrap()
        .load()
        .unwrap()
}

fn answers(rows: Rows<'_>, asked: &[Json], batch: usize) -> Vec<Json> {
    let asked = asked.iter().map(|row| rows.row(row.clone()).unwrap());
    let answers = rows.answer(asked.collect(), &Parameters::new(), batch);
    answers
        .into_iter()
        .map(|answer| Json::Object(answer.unwrap()))
        .collect()
}

#[test]
fn a_free_axis_takes_any_number_and_a_fixed_one_is_filled_up() {
    let free = model(identity(&Type::Tensor(FLOAT)));
    let fixed = model(identity(&Type::Fixed(FLOAT, 3)));
    assert_eq!(Rows::of(&free).batch_axis(), BatchAxis::Free);
    assert_eq!(Rows::of(&fixed).batch_axis(), BatchAxis::Fixed(3));
    let asked = [1.5, 2.5, 3.5, 4.5, 5.5].map(Json::from);
    let wanted = [1.5, 2.5, 3.5, 4.5, 5.5].map(|y| json!({ "y": y }));
    for batch in [1, 2, 3, 100] {
        assert_eq!(answers(Rows::of(&free), &asked, batch), wanted);
        assert_eq!(answers(Rows::of(&fixed), &asked, batch), wanted);
    }
}

#[test]
fn lines_are_rows_or_envelopes() {
    let model = model(identity(&Type::Tensor(FLOAT)));
    let rows = Rows::of(&model);
    let answer = |line: Json| {
        let asked = vec![rows.line(line).unwrap()];
        let mut answers = rows.answer(asked, &Parameters::new(), 4);
        Json::Object(answers.remove(0).unwrap())
    };
    assert_eq!(answer(json!(7)), json!({"y": 7.0}));
    assert_eq!(answer(json!({"x": 7})), json!({"y": 7.0}));
    // With an axis of rows of its own, as `predict` gives it.
    assert_eq!(
        answer(json!({"inputs": {"x": [7, 8]}})),
        json!({"y": [7.0, 8.0]})
    );
    for (bad, code) in [
        (json!("seven"), ErrorCode::InvalidInput),
        (json!({"z": 7}), ErrorCode::UnknownInput),
        (
            json!({"inputs": {"x": [7]}, "more": 1}),
            ErrorCode::InvalidRequest,
        ),
    ] {
        assert_eq!(rows.line(bad.clone()).unwrap_err().code(), code, "{bad}");
    }
    let unknown = Parameters::from_iter([("p".to_owned(), json!(1))]);
    assert_eq!(
        rows.check(&unknown).unwrap_err().code(),
        ErrorCode::UnknownParameter
    );
    assert!(rows.takes("x") && rows.takes("inputs") && !rows.takes("id"));
}

#[test]
fn rows_that_influence_each_other_are_found() {
    let float = Type::Tensor(FLOAT);
    for (op, same) in [("Softmax", false), ("Abs", true)] {
        let model = model(file("", op, None, &float, &float));
        let rows = Rows::of(&model);
        let asked = [1.5, -2.5, 3.5].map(|x| rows.row(json!(x)).unwrap());
        assert_eq!(rows.agree(&asked, &Parameters::new(), 4), same, "{op}");
    }
}
