//! The face model with our convolutions beside the engine's own.

use tract_onnx::prelude::*;

use super::conv::replace;

/// The outputs for one picture of waves, and how many nodes are convolutions of ours.
fn run(ours: bool) -> TractResult<(Vec<Vec<f32>>, usize)> {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../models/face-detector/version-RFB-320.onnx"
    );
    let mut model = onnx().model_for_path(file)?;
    let shape = [1, 3, 240, 320];
    model.set_input_fact(0, InferenceFact::dt_shape(DatumType::F32, shape))?;
    let mut model = model.into_typed()?;
    if ours {
        replace(&mut model)?;
    }
    let nodes = model.nodes.iter();
    let count = nodes.filter(|n| n.op.name() == "TwinferConv").count();
    model.declutter()?;
    model.optimize()?;
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|i| (i as f32 * 0.37).sin())
        .collect();
    let input = tensor1(&values).into_shape(&shape)?;
    let outputs = model.into_runnable()?.run(tvec!(input.into_tvalue()))?;
    let outputs = outputs
        .iter()
        .map(|o| Ok(o.try_as_plain_ram()?.as_slice::<f32>()?.to_vec()))
        .collect::<TractResult<_>>()?;
    Ok((outputs, count))
}

#[test]
fn the_face_model_answers_as_with_the_convolutions_of_the_engine() {
    let (want, none) = run(false).unwrap();
    let (got, all) = run(true).unwrap();
    assert_eq!((none, all), (0, 52));
    for (got, want) in got.iter().flatten().zip(want.iter().flatten()) {
        assert!(
            (got - want).abs() <= 1e-4 * (1.0 + want.abs()),
            "{got}, not {want}"
        );
    }
}
