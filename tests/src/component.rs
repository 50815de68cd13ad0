//! Running the list over HTTP, against the component in its host.

use std::fmt::Write as _;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value as Json, json};
use twinfer::{DType, Parameters, Tensor};
use twinfer_package::{Blob, GoldenData, GoldenInput, GoldenTensor, Texts};

use crate::answer::{Answer, CaseResult, Failure, Results};
use crate::case::{Call, Case, Cases};
use crate::http::{Response, request};
use crate::wire;

/// Runs every case twice against one server and once against a second one, and the checks of
/// the protocol against the first.
///
/// # Errors
/// When a server does not answer at all. What it answers is a result.
pub fn run(address: &str, second: &str, cases: &Cases) -> io::Result<Results> {
    let mut results = Vec::with_capacity(cases.cases.len());
    for case in &cases.cases {
        let runs = [address, address, second]
            .into_iter()
            .map(|address| ask(address, case))
            .collect::<io::Result<_>>();
        results.push(CaseResult {
            id: case.id.clone(),
            runs: runs.map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", case.id)))?,
        });
    }
    for check in wire::CHECKS {
        let answer = error_of(&check.send(address)?);
        results.push(CaseResult {
            id: check.id.into(),
            runs: vec![Answer::Error(answer)],
        });
    }
    Ok(Results {
        place: "component".into(),
        results,
    })
}

fn ask(address: &str, case: &Case) -> io::Result<Answer> {
    let (name, version) = case
        .reference
        .split_once(':')
        .unwrap_or((&case.reference, ""));
    let path = format!("/v2/models/{name}/versions/{version}");
    match &case.call {
        Call::Predict { input, parameters } => predict(address, &path, input, parameters),
        Call::Run { tensors } => infer(address, &path, tensors),
    }
}

fn predict(
    address: &str,
    path: &str,
    input: &GoldenInput,
    parameters: &Parameters,
) -> io::Result<Answer> {
    let (content_type, body, query) = match input {
        GoldenInput::Picture(blob) => (blob.media_type.clone(), bytes(blob)?, query(parameters)),
        GoldenInput::Bytes(blob) => (None, bytes(blob)?, query(parameters)),
        GoldenInput::Audio(blob) => (blob.media_type.clone(), bytes(blob)?, query(parameters)),
        GoldenInput::Text(Texts::One(text)) => (
            Some("text/plain".into()),
            text.clone().into_bytes(),
            query(parameters),
        ),
        GoldenInput::Text(texts) => {
            let envelope = json!({ "inputs": { "text": texts }, "parameters": parameters });
            (
                Some("application/json".into()),
                envelope.to_string().into(),
                String::new(),
            )
        }
        GoldenInput::Record(record) if parameters.is_empty() => (
            Some("application/json".into()),
            json!(record).to_string().into(),
            String::new(),
        ),
        GoldenInput::Record(record) => {
            let envelope = json!({ "inputs": { "record": record }, "parameters": parameters });
            (
                Some("application/json".into()),
                envelope.to_string().into(),
                String::new(),
            )
        }
        GoldenInput::Tensors(_) => {
            return Err(invalid(
                "tensors as the input of a prediction have no form in this suite",
            ));
        }
    };
    let content_type = content_type.unwrap_or_else(|| "application/octet-stream".into());
    let answer = request(
        address,
        "POST",
        &format!("{path}/predict{query}"),
        &[("content-type", &content_type)],
        &body,
    )?;
    if answer.status != 200 {
        return Ok(Answer::Error(error_of(&answer)));
    }
    let mut json: Json = serde_json::from_slice(&answer.body)?;
    match json["outputs"].take() {
        Json::Object(outputs) => Ok(Answer::Outputs(outputs)),
        other => Err(invalid(&format!("`outputs` is {other}"))),
    }
}

fn bytes(blob: &Blob) -> io::Result<Vec<u8>> {
    blob.bytes().map_err(|e| invalid(e.message()))
}

/// Parameters as a query string.
fn query(parameters: &Map<String, Json>) -> String {
    let mut query = String::new();
    for (key, value) in parameters {
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        let _ = write!(
            query,
            "{}{}={}",
            if query.is_empty() { '?' } else { '&' },
            escape(key),
            escape(&value)
        );
    }
    query
}

fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(byte.into())
            }
            other => {
                let _ = write!(escaped, "%{other:02X}");
            }
        }
    }
    escaped
}

/// An inference with binary tensors both ways: the exact bytes.
pub(crate) fn infer(address: &str, path: &str, tensors: &[GoldenTensor]) -> io::Result<Answer> {
    let mut binary = Vec::new();
    let mut inputs = Vec::new();
    for tensor in tensors {
        let data = raw(&tensor.data)?;
        inputs.push(json!({
            "name": tensor.name,
            "datatype": tensor.dtype,
            "shape": tensor.shape,
            "parameters": { "binary_data_size": data.len() },
        }));
        binary.extend_from_slice(&data);
    }
    let mut body = json!({ "inputs": inputs, "parameters": { "binary_data_output": true } })
        .to_string()
        .into_bytes();
    let length = body.len().to_string();
    body.extend_from_slice(&binary);
    let headers = [
        ("content-type", "application/octet-stream"),
        ("inference-header-content-length", &length),
    ];
    let answer = request(address, "POST", &format!("{path}/infer"), &headers, &body)?;
    if answer.status != 200 {
        return Ok(Answer::Error(error_of(&answer)));
    }
    decode(&answer).map(Answer::Tensors)
}

fn raw(data: &GoldenData) -> io::Result<Vec<u8>> {
    match data {
        GoldenData::Base64(text) => STANDARD.decode(text).map_err(|e| invalid(&e.to_string())),
        GoldenData::Strings(strings) => {
            Ok(strings.iter().flat_map(|text| prefixed(text)).collect())
        }
    }
}

fn prefixed(text: &str) -> Vec<u8> {
    [&(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
}

fn decode(answer: &Response) -> io::Result<Vec<GoldenTensor>> {
    let length = answer
        .header("inference-header-content-length")
        .and_then(|text| text.parse().ok());
    let length: usize =
        length.ok_or_else(|| invalid("the answer to a binary request is not binary"))?;
    let json: Json = serde_json::from_slice(answer.body.get(..length).unwrap_or_default())?;
    let mut rest = answer.body.get(length..).unwrap_or_default();
    let mut tensors = Vec::new();
    for output in json["outputs"].as_array().into_iter().flatten() {
        let size = output["parameters"]["binary_data_size"]
            .as_u64()
            .and_then(|n| usize::try_from(n).ok())
            .unwrap_or(usize::MAX);
        let (data, tail) = rest
            .split_at_checked(size)
            .ok_or_else(|| invalid("a binary output is cut off"))?;
        rest = tail;
        let mut tensor = golden(output, data)?;
        if let Some(keys) = output["parameters"]["map_keys"].as_str() {
            tensor.keys = Some(serde_json::from_str(keys)?);
        }
        tensors.push(tensor);
    }
    if !rest.is_empty() {
        return Err(invalid("bytes are left over after the last output"));
    }
    Ok(tensors)
}

fn golden(output: &Json, data: &[u8]) -> io::Result<GoldenTensor> {
    let dtype: DType = serde_json::from_value(output["datatype"].clone())?;
    let shape: Vec<usize> = serde_json::from_value(output["shape"].clone())?;
    let tensor = match dtype {
        DType::String => Tensor::from_strings(&shape, split(data)?),
        dtype => Tensor::from_bytes(dtype, &shape, data.to_vec()),
    };
    let name = output["name"].as_str().unwrap_or_default();
    tensor
        .map(|tensor| GoldenTensor::from_tensor(name, &tensor))
        .map_err(|e| invalid(e.message()))
}

fn split(mut data: &[u8]) -> io::Result<Vec<String>> {
    let mut strings = Vec::new();
    while let Some((length, tail)) = data.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let (text, tail) = tail
            .split_at_checked(length)
            .ok_or_else(|| invalid("a string is cut off"))?;
        strings.push(String::from_utf8_lossy(text).into_owned());
        data = tail;
    }
    Ok(strings)
}

/// The code and text of an answer that is no success. An answer in another form than every
/// failure of ours has gets no code, and so is the expected one of no case.
fn error_of(answer: &Response) -> Failure {
    let json: Json = serde_json::from_slice(&answer.body).unwrap_or_default();
    let text = |key: &str| json[key].as_str().map(str::to_owned);
    let code = text("code").unwrap_or_else(|| format!("none (status {})", answer.status));
    Failure {
        code,
        message: text("error").unwrap_or_else(|| answer.text()),
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_sent_and_read_with_their_lengths() {
        let data = raw(&GoldenData::Strings(vec!["".into(), "é".into()])).unwrap();
        assert_eq!(data, b"\0\0\0\0\x02\0\0\0\xc3\xa9");
        assert_eq!(split(&data).unwrap(), ["", "é"]);
        assert!(split(b"\x09\0\0\0x").is_err());
    }

    #[test]
    fn parameters_are_escaped() {
        let parameters = json!({ "a b": "x&y", "n": 1 });
        assert_eq!(query(parameters.as_object().unwrap()), "?a%20b=x%26y&n=1");
    }
}
