//! An input in JSON, for every kind of model.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use twinfer::{
    Audio, DType, Input, InputStep, Model, Parameters, Picture, Result, Signature, Tensor, bail,
    err, value_from_json,
};
use twinfer_package::{GoldenData, Texts};

use crate::infer::{object, tensor_from_json, value_of};

/// `{"inputs": {…}, "parameters": {…}}`, for every kind of model.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    #[serde(borrow)]
    inputs: Inputs<'a>,
    #[serde(default)]
    parameters: Parameters,
}

type Inputs<'a> = std::collections::BTreeMap<String, &'a RawValue>;

/// Binary content in JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Encoded {
    base64: String,
    #[serde(default, rename = "media_type")]
    _media_type: Option<String>,
}

/// A record, a text under its name, or the envelope.
///
/// # Errors
/// `invalid_json`, `invalid_request`, `unknown_input`, and those of tensors.
pub(crate) fn from_json(model: &Model, body: &[u8]) -> Result<(Input, Parameters)> {
    let fields: Inputs<'_> = object("the request", body)?;
    let step = model.config().pipeline.as_ref().map(|p| &p.input);
    if let Some(step @ InputStep::Text(_)) = step
        && fields.len() == 1
        && (fields.contains_key(step.name()) || fields.contains_key(step.kind()))
    {
        return Ok((from_inputs(model, &fields)?, Parameters::new()));
    }
    let is_record = matches!(step, Some(InputStep::Record(_)));
    if is_record && !is_envelope(model, |name| fields.contains_key(name)) {
        return Ok((
            Input::Record(object("the record", body)?),
            Parameters::new(),
        ));
    }
    let envelope: Envelope<'_> = object("the request", body)?;
    Ok((from_inputs(model, &envelope.inputs)?, envelope.parameters))
}

/// Whether an object with these names is the envelope. A record whose own column is called `inputs`
/// is still a record.
pub(crate) fn is_envelope(model: &Model, has: impl Fn(&str) -> bool) -> bool {
    let own = match model.config().pipeline.as_ref().map(|p| &p.input) {
        Some(InputStep::Record(step)) => step.columns.iter().any(|c| c.name == "inputs"),
        _ => false,
    };
    has("inputs") && !own
}

fn from_inputs(model: &Model, inputs: &Inputs<'_>) -> Result<Input> {
    let step = model.config().pipeline.as_ref().map(|p| &p.input);
    let is_step = |name: &String| step.is_some_and(|s| name == s.name() || name == s.kind());
    let signature = model.signature();
    let is_own = |name: &String| signature.inputs.iter().any(|spec| spec.name == *name);
    if !inputs.is_empty() && inputs.keys().all(|name| is_own(name) && !is_step(name)) {
        return own(signature, inputs);
    }
    let mut entries = inputs.iter();
    let (Some((name, value)), None) = (entries.next(), entries.next()) else {
        bail!(
            InvalidRequest,
            "`inputs` must have one entry, it has {}",
            inputs.len()
        );
    };
    if name == "tensors" {
        return tensors(signature, value);
    }
    let Some(step) = step else {
        let names: Vec<String> = (signature.inputs.iter())
            .map(|spec| format!("`{}`", spec.name))
            .collect();
        bail!(
            UnknownInput,
            "this model has no pipeline: it takes {} by name, or `tensors`, not `{name}`",
            names.join(", ")
        );
    };
    if name != step.name() && name != step.kind() {
        bail!(
            UnknownInput,
            "there is no input `{name}`; the model takes `{}`",
            step.name()
        );
    }
    match step {
        InputStep::Picture(_) => Ok(Input::Picture(Picture::Encoded(decode(name, value)?))),
        InputStep::Bytes(_) => Ok(Input::Bytes(decode(name, value)?)),
        InputStep::Audio(_) => Ok(Input::Audio(Audio::Encoded(decode(name, value)?))),
        InputStep::Text(_) => {
            let texts: Texts = serde_json::from_str(value.get()).map_err(|_| {
                err!(
                    InvalidRequest,
                    "input `{name}` must be a text, or a list of texts"
                )
            })?;
            Ok(texts.into())
        }
        InputStep::Record(_) => {
            let record = serde_json::from_str(value.get());
            record.map(Input::Record).map_err(|e| {
                err!(
                    InvalidRequest,
                    "input `{name}` must be an object of columns: {e}"
                )
            })
        }
    }
}

/// The model's own inputs as plain JSON.
fn own(signature: &Signature, inputs: &Inputs<'_>) -> Result<Input> {
    let mut values = Vec::with_capacity(inputs.len());
    for spec in &signature.inputs {
        if let Some(json) = inputs.get(&spec.name) {
            let json: Value = plain(&spec.name, json)?;
            values.push((spec.name.clone(), value_from_json(spec, &json)?));
        }
    }
    Ok(Input::Values(values))
}

fn plain(name: &str, json: &RawValue) -> Result<Value> {
    serde_json::from_str(json.get())
        .map_err(|e| err!(InvalidJson, "input `{name}` cannot be read: {e}"))
}

fn decode(name: &str, value: &RawValue) -> Result<Vec<u8>> {
    let encoded: Encoded = serde_json::from_str(value.get()).map_err(|e| {
        err!(
            InvalidRequest,
            "input `{name}` must be {{\"base64\": \"…\"}}: {e}"
        )
    })?;
    STANDARD
        .decode(&encoded.base64)
        .map_err(|e| err!(InvalidRequest, "input `{name}` is not base64: {e}"))
}

/// A tensor as in an infer request, or as in a golden example (`dtype`, and
/// `data` with base64 or strings), so that those can be sent as they are.
#[derive(Deserialize)]
struct NamedTensor<'a> {
    name: String,
    #[serde(alias = "dtype")]
    datatype: String,
    shape: Vec<usize>,
    #[serde(borrow)]
    data: &'a RawValue,
}

fn tensors(signature: &Signature, value: &RawValue) -> Result<Input> {
    let list: Vec<NamedTensor<'_>> = serde_json::from_str(value.get()).map_err(|e| {
        err!(
            InvalidRequest,
            "`tensors` must be a list of name, datatype, shape and data: {e}"
        )
    })?;
    let one = |tensor: NamedTensor<'_>| {
        let Some(dtype) = DType::from_name(&tensor.datatype) else {
            bail!(
                WrongDtype,
                "input `{}`: there is no datatype {:?}",
                tensor.name,
                tensor.datatype
            );
        };
        let read = tensor_data(dtype, &tensor.shape, tensor.data);
        let read = read.map_err(|e| e.context(format!("input `{}`", tensor.name)))?;
        let value = value_of(signature, &tensor.name, read)?;
        Ok((tensor.name, value))
    };
    list.into_iter()
        .map(one)
        .collect::<Result<_>>()
        .map(Input::Values)
}

fn tensor_data(dtype: DType, shape: &[usize], data: &RawValue) -> Result<Tensor> {
    if !data.get().starts_with('{') {
        return tensor_from_json(dtype, shape, data);
    }
    let data: GoldenData = serde_json::from_str(data.get()).map_err(|e| {
        err!(
            InvalidRequest,
            "`data` must be an array, or {{\"base64\": …}} or {{\"strings\": …}}: {e}"
        )
    })?;
    match data {
        GoldenData::Strings(strings) => Tensor::from_strings(shape, strings),
        GoldenData::Base64(text) => {
            let bytes = STANDARD
                .decode(&text)
                .map_err(|e| err!(InvalidRequest, "`data` is not base64: {e}"))?;
            Tensor::from_bytes(dtype, shape, bytes)
        }
    }
}
