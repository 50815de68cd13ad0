//! The answer to an infer request.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde::ser::{Serialize, SerializeSeq, Serializer};
use serde_json::{Map, Value as Json};
use twinfer::{DType, Element, Model, Result, Tensor, Value, err, number_to_json, value_to_json};

use super::binary::{append_tensor, binary_size};
use super::{HEADER_LENGTH, Wanted};
use crate::reply;
use crate::timing::Call;

#[derive(serde::Serialize)]
struct Answer<'a> {
    model_name: &'a str,
    model_version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    parameters: Map<String, Json>,
    outputs: Vec<Output>,
}

#[derive(serde::Serialize)]
struct Output {
    name: String,
    datatype: &'static str,
    shape: Vec<usize>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    parameters: Map<String, Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Flat>,
}

pub(crate) fn encode(
    model: &Model,
    id: Option<String>,
    values: Vec<(Wanted, Value)>,
    call: Call,
) -> Result<Response<Bytes>> {
    let mut binary: Vec<Tensor> = Vec::new();
    let mut outputs = Vec::with_capacity(values.len());
    for (wanted, value) in values {
        let mut parameters = Map::new();
        let tensor = match value {
            Value::Tensor(tensor) => tensor,
            Value::Maps(maps) => {
                // The protocol has tensors only: the labels go beside them.
                parameters.insert(
                    "map_keys".into(),
                    Json::from(maps.keys.to_strings()).to_string().into(),
                );
                maps.values
            }
            Value::Sequence(_) | Value::Optional(_) => {
                let text = text_of(&value).map_err(|e| e.context(format!("`{}`", wanted.name)))?;
                parameters.insert("content_type".into(), "application/json".into());
                text
            }
        };
        let (datatype, shape) = (tensor.dtype().name(), tensor.shape().to_vec());
        let data = if wanted.binary {
            parameters.insert("binary_data_size".into(), binary_size(&tensor).into());
            binary.push(tensor);
            None
        } else {
            Some(Flat::of(tensor)?)
        };
        outputs.push(Output {
            name: wanted.name,
            datatype,
            shape,
            parameters,
            data,
        });
    }
    let config = model.config();
    let answer = Answer {
        model_name: &config.name,
        model_version: &config.version,
        id,
        parameters: parameters(model, call),
        outputs,
    };
    let json = serde_json::to_vec(&answer)
        .map_err(|e| err!(Internal, "the answer cannot be written as JSON: {e}"))?;
    if !binary.is_empty() {
        return Ok(with_binary(json, &binary));
    }
    Ok(reply::with_type(
        StatusCode::OK,
        "application/json",
        json.into(),
    ))
}

/// What is no tensor, as a tensor of one string: its JSON. So clients of the protocol read it like
/// any other output; `content_type` beside it says what it is.
fn text_of(value: &Value) -> Result<Tensor> {
    Tensor::from_strings(&[1], vec![value_to_json(value)?.to_string()])
}

/// Which package answered, how, and how long it took.
fn parameters(model: &Model, call: Call) -> Map<String, Json> {
    let mut parameters = Map::new();
    parameters.insert("digest".into(), model.digest().into());
    parameters.insert("mode".into(), "strict".into());
    if let Some(timing) = call.timing() {
        parameters.insert("load_ms".into(), timing.load_ms.into());
        parameters.insert("predict_ms".into(), timing.predict_ms.into());
    }
    parameters
}

/// The tensors are copied once, from where the engine left them into the body.
fn with_binary(json: Vec<u8>, binary: &[Tensor]) -> Response<Bytes> {
    let length = HeaderValue::from(json.len());
    let mut body = json;
    body.reserve_exact(binary.iter().map(binary_size).sum());
    for tensor in binary {
        append_tensor(tensor, &mut body);
    }
    let mut response = reply::with_type(StatusCode::OK, "application/octet-stream", body.into());
    response
        .headers_mut()
        .insert(HeaderName::from_static(HEADER_LENGTH), length);
    response
}

/// The elements of a tensor as one flat JSON array.
enum Flat {
    Tensor(Tensor),
    /// Types that have no number type of their own here.
    Values(Vec<Json>),
}

impl Flat {
    fn of(tensor: Tensor) -> Result<Self> {
        match tensor.dtype() {
            DType::Bool | DType::U8 | DType::U16 | DType::U32 | DType::U64 => {}
            DType::I8
            | DType::I16
            | DType::I32
            | DType::I64
            | DType::F32
            | DType::F64
            | DType::String => {}
            _ => {
                let mut flat = Vec::with_capacity(tensor.len());
                flatten(value_to_json(&Value::Tensor(tensor))?, &mut flat);
                return Ok(Self::Values(flat));
            }
        }
        Ok(Self::Tensor(tensor))
    }
}

fn flatten(value: Json, flat: &mut Vec<Json>) {
    match value {
        Json::Array(values) => values.into_iter().for_each(|value| flatten(value, flat)),
        other => flat.push(other),
    }
}

impl Serialize for Flat {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        fn all<T: Element + Serialize, S: Serializer>(
            tensor: &Tensor,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            tensor
                .view::<T>()
                .map_err(serde::ser::Error::custom)?
                .serialize(serializer)
        }
        let tensor = match self {
            Self::Values(values) => return values.serialize(serializer),
            Self::Tensor(tensor) => tensor,
        };
        match tensor.dtype() {
            DType::Bool => all::<bool, S>(tensor, serializer),
            DType::U8 => all::<u8, S>(tensor, serializer),
            DType::U16 => all::<u16, S>(tensor, serializer),
            DType::U32 => all::<u32, S>(tensor, serializer),
            DType::U64 => all::<u64, S>(tensor, serializer),
            DType::I8 => all::<i8, S>(tensor, serializer),
            DType::I16 => all::<i16, S>(tensor, serializer),
            DType::I32 => all::<i32, S>(tensor, serializer),
            DType::I64 => all::<i64, S>(tensor, serializer),
            DType::F32 => floats(tensor.view::<f32>(), serializer),
            DType::F64 => floats(tensor.view::<f64>(), serializer),
            _ => tensor.strings().unwrap_or_default().serialize(serializer),
        }
    }
}

/// Widened exactly; what JSON has no number for as text.
fn floats<T: Copy + Into<f64>, S: Serializer>(
    values: Result<Cow<'_, [T]>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let values = values.map_err(serde::ser::Error::custom)?;
    let mut sequence = serializer.serialize_seq(Some(values.len()))?;
    for &value in &*values {
        let value: f64 = value.into();
        if value.is_finite() {
            sequence.serialize_element(&value)?;
        } else {
            sequence.serialize_element(&number_to_json(value))?;
        }
    }
    sequence.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_tensor_is_the_text_of_its_json() {
        let tensor = Value::Tensor(Tensor::from_vec(&[2], vec![1.5f32, f32::NAN]).unwrap());
        let some = Value::Optional(Some(Box::new(tensor.clone())));
        let text = text_of(&Value::Sequence(vec![tensor, some, Value::Optional(None)])).unwrap();
        assert_eq!(text.shape(), [1]);
        assert_eq!(
            text.strings().unwrap(),
            [r#"[[1.5,"NaN"],[1.5,"NaN"],null]"#]
        );
    }

    #[test]
    fn elements_are_flat_and_exact() {
        let json = |tensor: Tensor| serde_json::to_string(&Flat::of(tensor).unwrap()).unwrap();
        let floats =
            Tensor::from_vec(&[2, 2], vec![0.1f32, f32::NAN, f32::INFINITY, -2.0]).unwrap();
        assert_eq!(
            json(floats),
            r#"[0.10000000149011612,"NaN","Infinity",-2.0]"#
        );
        assert_eq!(
            json(Tensor::from_vec(&[2], vec![i64::MIN, i64::MAX]).unwrap()),
            "[-9223372036854775808,9223372036854775807]"
        );
        assert_eq!(
            json(Tensor::from_vec(&[2], vec![true, false]).unwrap()),
            "[true,false]"
        );
        assert_eq!(
            json(Tensor::from_strings(&[1, 1], vec!["a\"".into()]).unwrap()),
            r#"["a\""]"#
        );
        assert_eq!(
            json(Tensor::from_bytes(DType::F16, &[1, 2], vec![0, 0x3c, 0, 0x7c]).unwrap()),
            r#"[1.0,"Infinity"]"#
        );
        assert!(Flat::of(Tensor::from_bytes(DType::Complex64, &[1], vec![0; 8]).unwrap()).is_err());
    }
}
