//! `:classify` and `:regress`: `examples` of features, in TensorFlow's `Example`.

use bytes::Bytes;
use http::Response;
use serde_json::{Map, Value as Json};
use twinfer::{
    Dim, OutputStep, Parameters, Pipeline, Result, Signature as ModelSignature, ValueKind, bail,
    err,
};

use super::Signature;
use super::answer::{Shape, numbers, written};
use crate::loose::Numbers;
use crate::rows;
use crate::run::Running;

/// `{"results": […]}`: for each example its classes as `[label, score]`, or its number.
pub(super) fn results(
    model: &Running<'_>,
    mut fields: Map<String, Json>,
    is_class: bool,
) -> Result<Response<Bytes>> {
    let signature = Signature::of(model, &mut fields)?;
    let pipeline = match signature {
        Signature::Default => model.config().pipeline.as_ref(),
        Signature::Tensors => None,
    };
    // Before the model runs: what it cannot answer costs nothing.
    let output = output_of(model.signature(), pipeline, is_class)?;
    let rows = examples(model, pipeline, &mut fields)?;
    let answers = match pipeline {
        Some(_) => rows::predict(model, rows, &Parameters::new())?,
        None => rows::tensors(model, rows)?,
    };
    let one = |mut answer: Json| {
        if let Some(pipeline) = pipeline {
            answer = rows::without_row(pipeline, answer);
        }
        let value = match &mut answer {
            Json::Object(outputs) if pipeline.is_some() || outputs.contains_key(output) => {
                outputs.remove(output).unwrap_or_default()
            }
            alone => alone.take(),
        };
        match is_class {
            true => pairs(value),
            false => number(value),
        }
    };
    let results: Json = answers.into_iter().map(one).collect::<Result<_>>()?;
    let numbers = match numbers(model, pipeline, output) {
        // Labels stand among them.
        Numbers::Bare if is_class => Numbers::Plain,
        numbers => numbers,
    };
    Ok(written(
        "results",
        &[(None, &results, numbers)],
        Shape::Single,
    ))
}

/// The output with the classes, or with the number.
///
/// # Errors
/// `invalid_request` for a model that has none.
pub(super) fn output_of<'m>(
    signature: &'m ModelSignature,
    pipeline: Option<&'m Pipeline>,
    is_class: bool,
) -> Result<&'m str> {
    let output = match (is_class, pipeline) {
        (true, Some(pipeline)) => classes_of(pipeline),
        (true, None) => maps_of(signature),
        (false, Some(pipeline)) => number_of(pipeline),
        (false, None) => match &signature.outputs[..] {
            [only] if only.kind == ValueKind::Tensor => Some(only.name.as_str()),
            _ => None,
        },
    };
    let what = match is_class {
        true => "classes with scores",
        false => "one number for each row",
    };
    output.ok_or_else(|| {
        err!(
            InvalidRequest,
            "this model does not give {what}: use :predict"
        )
    })
}

fn classes_of(pipeline: &Pipeline) -> Option<&str> {
    let is_classes = |step: &&OutputStep| {
        matches!(
            step,
            OutputStep::Probabilities(_) | OutputStep::Classes(_) | OutputStep::Decision(_)
        )
    };
    pipeline
        .outputs
        .iter()
        .find(is_classes)
        .map(OutputStep::name)
}

fn maps_of(signature: &ModelSignature) -> Option<&str> {
    let maps = signature.outputs.iter().find(|o| o.kind == ValueKind::Maps);
    maps.map(|output| output.name.as_str())
}

fn number_of(pipeline: &Pipeline) -> Option<&str> {
    match &pipeline.outputs[..] {
        [step @ OutputStep::Tensor(_)] => Some(step.name()),
        _ => None,
    }
}

/// `[label, score]` of each class.
fn pairs(value: Json) -> Result<Json> {
    let pair = |class: Json| match class {
        Json::Object(mut class) => {
            let label = class.remove("label").unwrap_or_default();
            let score = class.remove("score").unwrap_or_default();
            Json::Array(vec![label, score])
        }
        other => other,
    };
    Ok(match value {
        // A decision, which is one class.
        Json::Object(class) if class.contains_key("label") && class.contains_key("score") => {
            Json::Array(vec![pair(Json::Object(class))])
        }
        Json::Object(scores) => {
            let scores = scores.into_iter();
            scores
                .map(|(label, score)| Json::Array(vec![label.into(), score]))
                .collect()
        }
        Json::Array(classes) => classes.into_iter().map(pair).collect(),
        _ => bail!(
            InvalidRequest,
            "this model gave no classes for an example: use :predict"
        ),
    })
}

fn number(value: Json) -> Result<Json> {
    let value = rows::single(value);
    let is_number = match &value {
        Json::Number(_) => true,
        Json::String(word) => twinfer::number_from_words(word).is_some(),
        _ => false,
    };
    if !is_number {
        bail!(
            InvalidRequest,
            "this model gives more than one number for an example: use :predict"
        );
    }
    Ok(value)
}

/// The examples, with the features of `context` in each.
fn examples(
    model: &Running<'_>,
    pipeline: Option<&Pipeline>,
    fields: &mut Map<String, Json>,
) -> Result<Vec<Json>> {
    let context = match fields.remove("context") {
        None => Map::new(),
        Some(Json::Object(context)) => context,
        Some(_) => bail!(InvalidRequest, "`context` must be an object of features"),
    };
    let examples = match fields.remove("examples") {
        Some(Json::Array(examples)) if !examples.is_empty() => examples,
        _ => bail!(
            InvalidRequest,
            "the request must have `examples`, a list of one object of features at least"
        ),
    };
    let one = |(at, example)| {
        let Json::Object(mut example) = example else {
            bail!(InvalidRequest, "example {at} must be an object of features");
        };
        for (name, value) in &context {
            if example.contains_key(name) {
                bail!(
                    InvalidRequest,
                    "example {at} has the feature {name:?} of `context`"
                );
            }
            example.insert(name.clone(), value.clone());
        }
        let shape = |name: &String, value: Json| match pipeline {
            Some(_) => rows::single(value),
            None => feature(model.signature(), name, value),
        };
        let features = example.into_iter().map(|(name, value)| {
            let value = shape(&name, value);
            (name, value)
        });
        Ok(Json::Object(features.collect()))
    };
    examples.into_iter().enumerate().map(one).collect()
}

/// A feature is a value or a list of values; an input without its first axis can be either.
fn feature(signature: &ModelSignature, name: &str, value: Json) -> Json {
    let shape = signature.input(name).and_then(|spec| spec.shape.as_deref());
    let rest = shape.map(<[Dim]>::len);
    match (rest, value) {
        (Some(1), value) => rows::single(value),
        (Some(2), value) if !value.is_array() => Json::Array(vec![value]),
        (_, value) => value,
    }
}
