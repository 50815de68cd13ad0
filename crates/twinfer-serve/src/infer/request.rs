//! What an infer request asks for.

use bytes::Bytes;
use http::request::Parts;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use twinfer::{DType, Dim, Error, Result, Signature, Tensor, TensorSpec, ValueKind, bail, err};

use super::binary::{tensor_from_binary, text};
use super::data::tensor_from_json;
use super::text::value_of;
use super::{HEADER_LENGTH, Wanted};

/// A request, read.
#[derive(Debug)]
pub(crate) struct InferRequest {
    pub(crate) id: Option<String>,
    pub(crate) inputs: Vec<(String, twinfer::Value)>,
    /// `None`: all of them.
    pub(crate) outputs: Option<Vec<Wanted>>,
    /// Whether outputs are binary unless one says otherwise.
    pub(crate) binary: bool,
}

/// Fields that other servers or newer clients add are ignored, as the protocol
/// allows.
#[derive(Deserialize)]
struct Json<'a> {
    id: Option<String>,
    #[serde(default)]
    parameters: Map<String, Value>,
    #[serde(borrow)]
    inputs: Vec<JsonInput<'a>>,
    outputs: Option<Vec<JsonOutput>>,
}

#[derive(Deserialize)]
struct JsonInput<'a> {
    name: String,
    shape: Vec<usize>,
    datatype: String,
    #[serde(default)]
    parameters: Map<String, Value>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct JsonOutput {
    name: String,
    #[serde(default)]
    parameters: Map<String, Value>,
}

pub(crate) fn decode(signature: &Signature, parts: &Parts, body: &Bytes) -> Result<InferRequest> {
    let (json, binary) = match header_length(parts)? {
        None => (&body[..], &[][..]),
        Some(0) => return raw(signature, body),
        Some(length) => body.split_at_checked(length).ok_or_else(|| {
            err!(
                InvalidRequest,
                "{HEADER_LENGTH} is {length}, but the body has only {} bytes",
                body.len()
            )
        })?,
    };
    let json: Json<'_> = object("the request", json)?;
    let default_binary = flag(&json.parameters, "binary_data_output")?.unwrap_or(false);
    let mut rest = binary;
    let inputs = json
        .inputs
        .iter()
        .map(|input| {
            let (name, tensor) = tensor(input, &mut rest)?;
            let value = value_of(signature, &name, tensor)?;
            Ok((name, value))
        })
        .collect::<Result<Vec<_>>>()?;
    if !rest.is_empty() {
        bail!(
            InvalidRequest,
            "{} bytes are left over behind the last binary tensor",
            rest.len()
        );
    }
    let outputs = match json.outputs {
        // An empty list asks for nothing in particular, so for everything.
        Some(outputs) if !outputs.is_empty() => Some(wanted(outputs, default_binary)?),
        _ => None,
    };
    Ok(InferRequest {
        id: json.id,
        inputs,
        outputs,
        binary: default_binary,
    })
}

/// Reads a JSON object of a known form.
///
/// # Errors
/// `invalid_json` for what is not JSON, `invalid_request` for another form.
pub(crate) fn object<'a, T: Deserialize<'a>>(what: &str, json: &'a [u8]) -> Result<T> {
    // serde would also take the fields of a struct from an array.
    let begins = json.iter().find(|byte| !byte.is_ascii_whitespace());
    let read = match begins {
        Some(b'{') => serde_json::from_slice(json),
        _ => Err(serde::de::Error::custom("expected an object")),
    };
    read.map_err(|error| match serde_json::from_slice::<IgnoredAny>(json) {
        Err(syntax) => {
            err!(
                InvalidJson,
                "{what} is not JSON: {syntax} (NaN and Infinity are strings in JSON)"
            )
        }
        Ok(_) if error.is_data() => err!(
            InvalidRequest,
            "{what} has not the form of the protocol: {error}"
        ),
        // Well-formed, but deeper than is followed.
        Ok(_) => err!(InvalidJson, "{what} cannot be read: {error}"),
    })
}

fn header_length(parts: &Parts) -> Result<Option<usize>> {
    let Some(value) = parts.headers.get(HEADER_LENGTH) else {
        return Ok(None);
    };
    let digits = value
        .to_str()
        .ok()
        .filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    match digits.and_then(|digits| digits.parse().ok()) {
        Some(length) => Ok(Some(length)),
        None => bail!(
            InvalidRequest,
            "{HEADER_LENGTH} must be a number of bytes, got {value:?}"
        ),
    }
}

fn tensor(input: &JsonInput<'_>, rest: &mut &[u8]) -> Result<(String, Tensor)> {
    let named = |e: Error| e.context(format!("input `{}`", input.name));
    let mut read = || {
        let Some(dtype) = DType::from_name(&input.datatype) else {
            bail!(
                WrongDtype,
                "there is no datatype {:?}; FP32, INT64, BYTES and so on are the protocol's names",
                input.datatype
            );
        };
        match (size(&input.parameters, "binary_data_size")?, input.data) {
            (Some(_), Some(_)) => {
                bail!(InvalidRequest, "it has both `data` and `binary_data_size`")
            }
            (None, None) => bail!(
                InvalidRequest,
                "it has neither `data` nor `binary_data_size`"
            ),
            (None, Some(data)) => tensor_from_json(dtype, &input.shape, data),
            (Some(size), None) => {
                let Some((bytes, tail)) = rest.split_at_checked(size) else {
                    bail!(
                        InvalidRequest,
                        "binary_data_size is {size}, but only {} bytes are left in the body",
                        rest.len()
                    );
                };
                *rest = tail;
                tensor_from_binary(dtype, &input.shape, bytes)
            }
        }
    };
    read()
        .map_err(named)
        .map(|tensor| (input.name.clone(), tensor))
}

fn wanted(outputs: Vec<JsonOutput>, default_binary: bool) -> Result<Vec<Wanted>> {
    let one = |output: JsonOutput| {
        let binary = flag(&output.parameters, "binary_data")
            .map_err(|e| e.context(format!("output `{}`", output.name)))?
            .unwrap_or(default_binary);
        Ok(Wanted {
            name: output.name,
            binary,
        })
    };
    outputs.into_iter().map(one).collect()
}

fn flag(parameters: &Map<String, Value>, name: &str) -> Result<Option<bool>> {
    match parameters.get(name) {
        None => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(*value)),
        Some(other) => bail!(
            InvalidParameter,
            "`{name}` must be true or false, got {other}"
        ),
    }
}

fn size(parameters: &Map<String, Value>, name: &str) -> Result<Option<usize>> {
    let Some(value) = parameters.get(name) else {
        return Ok(None);
    };
    match value.as_u64().and_then(|size| usize::try_from(size).ok()) {
        Some(size) => Ok(Some(size)),
        None => bail!(
            InvalidParameter,
            "`{name}` must be a number of bytes, got {value}"
        ),
    }
}

/// The whole body is the one input; its shape follows from the signature.
fn raw(signature: &Signature, body: &[u8]) -> Result<InferRequest> {
    let [input] = &signature.inputs[..] else {
        bail!(
            InvalidRequest,
            "a raw binary request needs a model with one input, this one has {}",
            signature.inputs.len()
        );
    };
    let tensor = match input.dtype {
        _ if input.kind != ValueKind::Tensor => Tensor::from_strings(&[1], vec![text(body, 0)?])?,
        // The one string is not preceded by its length.
        DType::String => Tensor::from_strings(&raw_shape(input, 1, 1)?, vec![text(body, 0)?])?,
        dtype => {
            let bits = dtype.bits().unwrap_or(8);
            let shape = raw_shape(input, body.len().saturating_mul(8), bits)?;
            Tensor::from_slice(dtype, &shape, body)?
        }
    };
    Ok(InferRequest {
        id: None,
        inputs: vec![(
            input.name.clone(),
            value_of(signature, &input.name, tensor)?,
        )],
        outputs: None,
        binary: true,
    })
}

/// The fixed axes as they are; the first free axis is the batch of 1, unless it
/// is the only one and the data is for more. One other free axis follows from
/// the amount of data.
fn raw_shape(input: &TensorSpec, bits: usize, element_bits: usize) -> Result<Vec<usize>> {
    let elements = bits / element_bits.max(1);
    let Some(dims) = &input.shape else {
        return Ok(vec![elements]);
    };
    let free: Vec<usize> = (0..dims.len())
        .filter(|&at| !matches!(dims[at], Dim::Fixed(_)))
        .collect();
    let mut shape: Vec<usize> = dims
        .iter()
        .map(|dim| if let Dim::Fixed(n) = dim { *n } else { 1 })
        .collect();
    let fixed = twinfer::element_count(&shape)?;
    match free[..] {
        [] => {}
        [at] | [_, at] if fixed > 0 && elements.is_multiple_of(fixed) => {
            shape[at] = elements / fixed
        }
        [_] | [_, _] => {}
        _ => bail!(
            InvalidRequest,
            "input `{}` has {} free axes: the shape of a raw binary request cannot be told from its size",
            input.name,
            free.len()
        ),
    }
    Ok(shape)
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinfer::ErrorCode;

    fn spec(shape: Option<Vec<Dim>>) -> TensorSpec {
        TensorSpec {
            name: "x".into(),
            kind: ValueKind::Tensor,
            dtype: DType::F32,
            shape,
            keys: None,
        }
    }

    fn signature(shape: Vec<Dim>) -> Signature {
        Signature {
            inputs: vec![spec(Some(shape))],
            optional: vec![],
            outputs: vec![],
        }
    }

    fn request(header: Option<&str>, body: &[u8]) -> Result<InferRequest> {
        let mut builder = http::Request::post("/");
        if let Some(header) = header {
            builder = builder.header(HEADER_LENGTH, header);
        }
        let (parts, ()) = builder.body(()).unwrap().into_parts();
        decode(
            &signature(vec![Dim::Fixed(1), Dim::Fixed(2)]),
            &parts,
            &Bytes::copy_from_slice(body),
        )
    }

    #[test]
    fn json_and_binary_give_the_same_tensor() {
        let json = request(None, br#"{"id":"7","inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[[1,2.5]]}]}"#).unwrap();
        let head = br#"{"id":"7","parameters":{"binary_data_output":true},"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}}],"outputs":[{"name":"a"},{"name":"b","parameters":{"binary_data":false}}]}"#;
        let mut body = head.to_vec();
        body.extend_from_slice(&1f32.to_le_bytes());
        body.extend_from_slice(&2.5f32.to_le_bytes());
        let binary = request(Some(&head.len().to_string()), &body).unwrap();
        assert_eq!(
            (json.inputs, json.id.as_deref(), json.binary),
            (binary.inputs, Some("7"), false)
        );
        let wanted: Vec<_> = binary
            .outputs
            .unwrap()
            .into_iter()
            .map(|w| (w.name, w.binary))
            .collect();
        assert_eq!(wanted, [("a".to_owned(), true), ("b".to_owned(), false)]);
    }

    #[test]
    fn malformed_requests_have_their_codes() {
        use ErrorCode::*;
        let input = |rest: &str| {
            format!(r#"{{"inputs":[{{"name":"x","shape":[1,2],"datatype":"FP32",{rest}}}]}}"#)
        };
        let cases: Vec<(Option<&str>, String, ErrorCode)> = vec![
            (None, "".into(), InvalidJson),
            (None, "{".into(), InvalidJson),
            (None, "[NaN]".into(), InvalidJson),
            (None, "[".repeat(100_000), InvalidJson),
            (None, "{}".into(), InvalidRequest),
            (None, "[]".into(), InvalidRequest),
            (None, r#"{"inputs":{}}"#.into(), InvalidRequest),
            (None, r#"{"id":7,"inputs":[]}"#.into(), InvalidRequest),
            (
                None,
                r#"{"inputs":[{"name":"x","shape":[-1],"datatype":"FP32","data":[]}]}"#.into(),
                InvalidRequest,
            ),
            (
                None,
                r#"{"inputs":[{"name":"x","shape":[1],"datatype":"float","data":[1]}]}"#.into(),
                WrongDtype,
            ),
            (
                None,
                r#"{"inputs":[{"name":"x","shape":[1],"datatype":"FP16","data":[1]}]}"#.into(),
                UnsupportedDtype,
            ),
            (None, input(r#""data":[1]"#), WrongShape),
            (None, input(r#""data":["a","b"]"#), InvalidInput),
            (None, input(r#""parameters":{}"#), InvalidRequest),
            (
                None,
                input(r#""data":[1,2],"parameters":{"binary_data_size":8}"#),
                InvalidRequest,
            ),
            (
                None,
                input(r#""parameters":{"binary_data_size":8}"#),
                InvalidRequest,
            ),
            (
                None,
                input(r#""parameters":{"binary_data_size":-1}"#),
                InvalidParameter,
            ),
            (None, input(r#""data":[1,2],"data":[1,2]"#), InvalidRequest),
            (Some("999"), "{}".into(), InvalidRequest),
            (Some("-1"), "{}".into(), InvalidRequest),
            (Some("99999999999999999999999"), "{}".into(), InvalidRequest),
            (Some("2"), "{}xx".into(), InvalidRequest),
            (Some("13"), r#"{"inputs":[]}xx"#.into(), InvalidRequest),
            (
                None,
                r#"{"parameters":{"binary_data_output":1},"inputs":[]}"#.into(),
                InvalidParameter,
            ),
        ];
        for (header, body, code) in cases {
            let error = request(header, body.as_bytes()).unwrap_err();
            assert_eq!(error.code(), code, "{header:?} {:.80}: {error}", body);
        }
    }

    #[test]
    fn the_shape_of_a_raw_request_follows_from_its_size() {
        let free = || Dim::Symbol("N".into());
        for (shape, bytes, expected) in [
            (Some(vec![Dim::Fixed(1), Dim::Fixed(2)]), 8, vec![1, 2]),
            (Some(vec![free(), Dim::Fixed(2)]), 8, vec![1, 2]),
            (Some(vec![free(), Dim::Fixed(2)]), 24, vec![3, 2]),
            (Some(vec![free(), Dim::Free]), 12, vec![1, 3]),
            (None, 12, vec![3]),
        ] {
            assert_eq!(raw_shape(&spec(shape), bytes * 8, 32).unwrap(), expected);
        }
        assert!(raw_shape(&spec(Some(vec![free(), Dim::Free, Dim::Free])), 96, 32).is_err());
        let whole = request(Some("0"), &[0, 0, 128, 63, 0, 0, 0, 64]).unwrap();
        assert_eq!(
            whole.inputs[0].1.tensor().unwrap().to_vec::<f32>().unwrap(),
            [1.0, 2.0]
        );
        assert!(whole.binary);
        assert_eq!(
            request(Some("0"), &[0; 7]).unwrap_err().code(),
            ErrorCode::WrongShape
        );
    }
}
