//! Scores to labels.

use std::cmp::Ordering;

use serde_json::{Map, Value as Json, json};

use super::ShortAnswer;
use crate::json::elements_to_json;
use crate::{
    Activation, ClassesOutput, DType, DecisionOutput, Label, Maps, ModelConfig, Result, Tensor,
    Value, bail, err, number_to_json,
};

/// The values of the parameter of a [`DecisionOutput`].
pub(crate) const HIGH_CONFIDENCE: &str = "high_confidence";
pub(crate) const MEDIUM_CONFIDENCE: &str = "medium_confidence";
pub(crate) const BEST_GUESS: &str = "best_guess";

/// The label of the first row.
pub(crate) fn label(value: &Value) -> Result<Json> {
    let Value::Tensor(tensor) = value else {
        bail!(
            InvalidPackage,
            "the model output is maps, not labels; use the kind `probabilities`"
        )
    };
    let first = elements_to_json(tensor)?.into_iter().next();
    first.ok_or_else(|| err!(WrongShape, "the model gave no label: its output is empty"))
}

/// The probabilities of the first row.
pub(crate) fn probabilities(value: &Value) -> Result<Json> {
    let Value::Maps(Maps { keys, values }) = value else {
        bail!(
            InvalidPackage,
            "the model output is a tensor, not maps (ZipMap); use the kind `classes`"
        )
    };
    let keys = keys.to_strings();
    let numbers = elements_to_json(values)?;
    if numbers.len() < keys.len() {
        bail!(
            WrongShape,
            "the model gave no probabilities: its output is empty"
        );
    }
    Ok(Json::Object(keys.into_iter().zip(numbers).collect()))
}

/// The most probable classes, the best first; those of equal score in the order of the model.
pub(crate) fn classes(step: &ClassesOutput, value: &Value, config: &ModelConfig) -> Result<Json> {
    let mut scores = scores(value.tensor()?)?;
    let labels = labels(config, &step.labels, scores.len())?;
    activate(step.activation, &mut scores);
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| descending(scores[a], scores[b]));
    order.truncate(step.top_k as usize);
    let entry =
        |i: usize| json!({"label": labels[i].name, "score": number_to_json(scores[i].into())});
    Ok(order.into_iter().map(entry).collect())
}

/// The label that the model is sure enough of.
///
/// Scores that are not a number are never chosen.
pub(crate) fn decision(
    step: &DecisionOutput,
    value: &Value,
    mode: &str,
    config: &ModelConfig,
) -> Result<Json> {
    let scores = scores(value.tensor()?)?;
    let labels = labels(config, &step.labels, scores.len())?;
    let best = (0..scores.len())
        .filter(|&i| !scores[i].is_nan())
        .reduce(|best, i| if scores[i] > scores[best] { i } else { best });
    let Some(best) = best else {
        bail!(
            InvalidInput,
            "the model gave no number as score for any class; is the input finite?"
        )
    };
    let model_label = labels[best].name.as_str();
    // Widened, not the threshold narrowed: the reference compares doubles.
    let score = f64::from(scores[best]);
    let mut label = step
        .overwrite
        .get(model_label)
        .map_or(model_label, String::as_str);
    let mut reason = if label == model_label {
        "none"
    } else {
        "overwrite_map"
    };
    let threshold = match mode {
        BEST_GUESS => f64::NEG_INFINITY,
        MEDIUM_CONFIDENCE => step.threshold,
        _ => step
            .thresholds
            .get(model_label)
            .copied()
            .unwrap_or(step.threshold),
    };
    if score < threshold {
        let is_text = labels.iter().any(|known| known.name == label && known.text);
        label = if is_text {
            &step.low_confidence.text
        } else {
            &step.low_confidence.binary
        };
        reason = if label == model_label {
            "none"
        } else {
            "low_confidence"
        };
    }
    Ok(answer(label, number_to_json(score), model_label, reason))
}

/// The answer where the model was not asked.
pub(crate) fn short(answer: &ShortAnswer) -> Json {
    self::answer(&answer.label, json!(1.0), &answer.model_label, "none")
}

fn answer(label: &str, score: Json, model_label: &str, reason: &str) -> Json {
    let mut answer = Map::new();
    answer.insert("label".into(), label.into());
    answer.insert("score".into(), score);
    answer.insert("model_label".into(), model_label.into());
    answer.insert("overwrite_reason".into(), reason.into());
    Json::Object(answer)
}

/// The score vector of one input.
fn scores(tensor: &Tensor) -> Result<Vec<f32>> {
    if tensor.dtype() != DType::F32 {
        bail!(
            InvalidPackage,
            "scores must be FP32, the model gives {}",
            tensor.dtype()
        );
    }
    match tensor.shape() {
        [_] | [1, _] => tensor.to_vec(),
        [rows, _] => bail!(
            WrongShape,
            "this answer is for one input, the model gave the scores of {rows}; run the model with plain tensors for more"
        ),
        other => bail!(
            InvalidPackage,
            "scores must be [classes] or [1, classes], the model gives {other:?}"
        ),
    }
}

fn labels<'a>(config: &'a ModelConfig, key: &str, classes: usize) -> Result<&'a [Label]> {
    match config.labels.get(key) {
        Some(labels) if labels.len() >= classes => Ok(labels),
        Some(labels) => {
            bail!(
                InvalidPackage,
                "the model has {classes} classes, the list `{key}` only {} labels",
                labels.len()
            )
        }
        None => bail!(InvalidPackage, "there is no list of labels `{key}`"),
    }
}

fn activate(activation: Activation, scores: &mut [f32]) {
    match activation {
        Activation::None => {}
        Activation::Sigmoid => scores
            .iter_mut()
            .for_each(|x| *x = 1.0 / (1.0 + (-*x).exp())),
        Activation::Softmax => {
            let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let mut sum = 0.0;
            for score in scores.iter_mut() {
                *score = (*score - max).exp();
                sum += *score;
            }
            scores.iter_mut().for_each(|score| *score /= sum);
        }
    }
}

/// Larger numbers first, what is not a number last.
pub(crate) fn descending(a: f32, b: f32) -> Ordering {
    b.partial_cmp(&a)
        .unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}
