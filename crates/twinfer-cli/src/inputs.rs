//! What stands behind `--input NAME=VALUE`.

use std::fs;
use std::io::Read;

use serde_json::{Map, Value as Json};
use twinfer::{
    Audio, Input, InputStep, ModelConfig, Picture, Result, Signature, TensorSpec, Value, ValueKind,
    bail, err, value_from_json,
};

use crate::npy;

/// The input of a pipeline, or the tensors of the model.
///
/// # Errors
/// `unknown_input` for a name that is neither; `invalid_input`, `invalid_json`, `storage`
/// for what cannot be read.
pub fn for_pipeline(
    config: &ModelConfig,
    signature: &Signature,
    given: &[(String, String)],
) -> Result<Input> {
    let Some(pipeline) = &config.pipeline else {
        return values(signature, given).map(Input::Values);
    };
    let step = &pipeline.input;
    let is_tensor = |name: &str| signature.input(name).is_some();
    if let [(name, value)] = given
        && name == step.name()
    {
        return one(step, value).map_err(|e| e.context(format!("input `{name}`")));
    }
    if let InputStep::Text(_) = step
        && !given.is_empty()
        && given.iter().all(|(name, _)| name == step.name())
    {
        return given
            .iter()
            .map(|(_, value)| text(value))
            .collect::<Result<_>>()
            .map(Input::Text);
    }
    match given.iter().find(|(name, _)| !is_tensor(name)) {
        None => values(signature, given).map(Input::Values),
        Some((name, _)) if name == step.name() => {
            bail!(
                InvalidInput,
                "this model takes one input, `{name}` ({}); {} were given",
                step.kind(),
                given.len()
            )
        }
        Some((name, _)) => bail!(
            UnknownInput,
            "there is no input `{name}`; this model takes `{}` ({}), or the tensors {}",
            step.name(),
            step.kind(),
            names(signature)
        ),
    }
}

fn one(step: &InputStep, value: &str) -> Result<Input> {
    Ok(match step {
        InputStep::Picture(_) => Input::Picture(Picture::Encoded(content(value)?)),
        InputStep::Bytes(_) => Input::Bytes(content(value)?),
        InputStep::Audio(_) => Input::Audio(Audio::Encoded(content(value)?)),
        InputStep::Text(_) => Input::Text(vec![text(value)?]),
        InputStep::Record(_) => {
            let json = if value.trim_start().starts_with('{') {
                value.as_bytes().to_vec()
            } else {
                content(value)?
            };
            Input::Record(record(&json)?)
        }
    })
}

/// A text as it is; that of a file after `@`, and of standard input as `-`.
fn text(value: &str) -> Result<String> {
    if value != "-" && !value.starts_with('@') {
        return Ok(value.to_owned());
    }
    match Input::text_from_utf8(content(value)?)? {
        Input::Text(mut texts) => Ok(texts.pop().unwrap_or_default()),
        _ => Ok(String::new()),
    }
}

fn record(json: &[u8]) -> Result<Map<String, Json>> {
    match serde_json::from_slice(json) {
        Ok(Json::Object(record)) => Ok(record),
        Ok(other) => bail!(
            InvalidJson,
            "a record is a JSON object, like {{\"column\": 1.5}}; got {other}"
        ),
        Err(e) => bail!(InvalidJson, "the record is not JSON: {e}"),
    }
}

/// The inputs of the model itself: each a `.npy` file, or JSON, in a file or as it is.
///
/// # Errors
/// `invalid_input`, `unsupported_dtype` for files that are no tensors, `invalid_json`, `unknown_input`
/// for a name that the model does not have; those of [`value_from_json`].
pub fn values(signature: &Signature, given: &[(String, String)]) -> Result<Vec<(String, Value)>> {
    let read = |(name, value): &(String, String)| {
        let Some(spec) = signature.input(name) else {
            bail!(
                UnknownInput,
                "there is no input `{name}`; the model takes {}",
                names(signature)
            );
        };
        if value.starts_with(['[', '{']) || value == "null" {
            let value = json(value.as_bytes()).and_then(|json| value_from_json(spec, &json))?;
            return Ok((name.clone(), value));
        }
        let read = content(value).and_then(|file| from_file(spec, &file));
        Ok((
            name.clone(),
            read.map_err(|e| e.context(format!("input `{name}`, {value}")))?,
        ))
    };
    given.iter().map(read).collect()
}

/// A `.npy` file, or JSON: what is no tensor has no other form.
fn from_file(spec: &TensorSpec, file: &[u8]) -> Result<Value> {
    let first = file.iter().find(|byte| !byte.is_ascii_whitespace());
    match (spec.kind, first) {
        (ValueKind::Tensor, Some(b'[' | b'{')) => value_from_json(spec, &json(file)?),
        (ValueKind::Tensor, _) => npy::read(file, Some(spec.dtype)).map(Value::Tensor),
        _ if npy::is_npy(file) => bail!(
            InvalidInput,
            "a .npy file has a tensor, and the model takes another kind of value here: give JSON"
        ),
        _ => value_from_json(spec, &json(file)?),
    }
}

fn json(text: &[u8]) -> Result<Json> {
    serde_json::from_slice(text).map_err(|e| err!(InvalidJson, "this is not JSON: {e}"))
}

fn names(signature: &Signature) -> String {
    let all = signature.inputs.iter().chain(&signature.optional);
    all.map(|spec| format!("`{}`", spec.name))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The content of `FILE`, `@FILE`, or `-` for standard input.
fn content(value: &str) -> Result<Vec<u8>> {
    if value == "-" {
        let mut bytes = Vec::new();
        std::io::stdin()
            .lock()
            .read_to_end(&mut bytes)
            .map_err(|e| err!(Storage, "standard input: {e}"))?;
        return Ok(bytes);
    }
    let path = value.strip_prefix('@').unwrap_or(value);
    fs::read(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => err!(InvalidInput, "there is no file {path}"),
        _ => err!(Storage, "cannot read {path}: {e}"),
    })
}
