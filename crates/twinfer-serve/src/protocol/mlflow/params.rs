//! The parameters of a call, by the list of them in the signature of the model.
//!
//! MLflow checks them and fills in their defaults, and then its flavors `onnx` and `sklearn` leave them
//! alone: so do we, but for those that the pipeline declares.
//!
//! Source: mlflow 3.17, `mlflow/models/utils.py` (`_enforce_params_schema`, `_enforce_param_datatype`),
//! `mlflow/types/schema.py` (`ParamSpec`).

use serde_json::Value as Json;
use twinfer::{MlflowParam, MlflowType, Model, Parameters, Result, bail, number_from_words};

/// Those that the pipeline of a model takes, of what a call gives.
///
/// # Errors
/// `invalid_parameter` for values of another type than the signature has, and for what is no object
/// where there is a list of parameters. Parameters that nobody declares are left out.
pub(super) fn of(model: &Model, given: Option<Json>) -> Result<Parameters> {
    let declared = match &model.config().pipeline {
        Some(pipeline) => &pipeline.parameters[..],
        None => &[],
    };
    let specs = model.config().mlflow.as_ref();
    let specs = specs.and_then(|mlflow| mlflow.params.as_deref());
    let given = match given {
        None | Some(Json::Null) => Parameters::new(),
        Some(Json::Object(given)) => given,
        // Nobody reads them: MLflow warns, and goes on.
        Some(_) if specs.is_none() && declared.is_empty() => return Ok(Parameters::new()),
        Some(other) => bail!(
            InvalidParameter,
            "Parameters must be a dictionary: `params` is an object, not {other}"
        ),
    };
    let mut parameters = match specs {
        Some(specs) => enforced(specs, &given)?,
        None => Parameters::new(),
    };
    // What a recipe declares beside the signature counts as well.
    for (name, value) in given {
        parameters.entry(name).or_insert(value);
    }
    parameters.retain(|name, value| {
        !value.is_null() && declared.iter().any(|parameter| parameter.name == *name)
    });
    Ok(parameters)
}

fn enforced(specs: &[MlflowParam], given: &Parameters) -> Result<Parameters> {
    let mut parameters = Parameters::new();
    let mut wrong = Vec::new();
    for spec in specs {
        let value = match given.get(&spec.name) {
            Some(value) if is_of(spec, value) => value.clone(),
            Some(value) => {
                let list = if spec.list { "a list of " } else { "" };
                wrong.push(format!(
                    "`{}` is {list}{}, and {value} cannot be converted to it safely",
                    spec.name,
                    spec.kind.name()
                ));
                continue;
            }
            None => spec.default.clone().unwrap_or_default(),
        };
        parameters.insert(spec.name.clone(), value);
    }
    if !wrong.is_empty() {
        bail!(
            InvalidParameter,
            "Invalid parameters found: {}",
            wrong.join("; ")
        );
    }
    Ok(parameters)
}

fn is_of(spec: &MlflowParam, value: &Json) -> bool {
    match (spec.list, value) {
        (true, Json::Array(items)) => items.iter().all(|item| is_scalar_of(spec.kind, item)),
        (true, _) => false,
        (false, value) => is_scalar_of(spec.kind, value),
    }
}

/// An integer is a float as well; nothing else is anything else.
fn is_scalar_of(kind: MlflowType, value: &Json) -> bool {
    match (kind, value) {
        (MlflowType::Object | MlflowType::Map, value) => value.is_object(),
        (_, Json::Null) | (MlflowType::Any, _) => true,
        (MlflowType::Boolean, value) => value.is_boolean(),
        (MlflowType::Integer | MlflowType::Long, Json::Number(number)) => !number.is_f64(),
        (MlflowType::Float | MlflowType::Double, Json::Number(_)) => true,
        // Bare in the request, and quoted since.
        (MlflowType::Float | MlflowType::Double, Json::String(text)) => {
            number_from_words(text).is_some()
        }
        (MlflowType::String, value) => value.is_string(),
        (MlflowType::Datetime, Json::String(text)) => is_time(text),
        _ => false,
    }
}

/// Whether a text begins as a date of ISO 8601 does: `2026`, `2026-11`, `2026-11-27T18:00`.
fn is_time(text: &str) -> bool {
    let is_part = |b: u8| b.is_ascii_digit() || b"-:.TZ +".contains(&b);
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    digits == 4 && text.bytes().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn types_are_those_of_the_signature() {
        use MlflowType::{Boolean, Datetime, Double, Float, Integer, Long, String};
        let spec = |kind, list| MlflowParam {
            name: "p".into(),
            kind,
            default: None,
            list,
        };
        for (kind, list, good) in [
            (Long, false, json!(1)),
            (Integer, false, json!(-1)),
            (Float, false, json!(1)),
            (Double, false, json!(1.5)),
            (Double, false, json!("NaN")),
            (String, false, json!("x")),
            (Boolean, false, json!(true)),
            (Datetime, false, json!("2026-11-27T18:00:00")),
            (Datetime, false, json!("2026-11")),
            (Long, false, json!(null)),
            (Double, true, json!([1, 2.5])),
            (String, true, json!([])),
        ] {
            assert!(is_of(&spec(kind, list), &good), "{kind:?} {good}");
        }
        for (kind, list, bad) in [
            (Long, false, json!(1.0)),
            (Long, false, json!(true)),
            (Long, false, json!("1")),
            (Double, false, json!("1.5")),
            (Double, false, json!(true)),
            (String, false, json!(1)),
            (Boolean, false, json!(1)),
            (Datetime, false, json!(5)),
            (Datetime, false, json!("soon")),
            (Long, false, json!([1])),
            (Double, true, json!(1.5)),
            (Double, true, json!([1, "x"])),
            (Double, true, json!([[1]])),
        ] {
            assert!(!is_of(&spec(kind, list), &bad), "{kind:?} {bad}");
        }
    }
}
