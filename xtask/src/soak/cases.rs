//! What the host is asked: every golden example of its packages, in several forms.

use std::path::Path;

use serde_json::{Value, json};

use super::wire::{Answer, request};
use crate::base64;
use crate::compare::{Tolerance, brief, differences};
use crate::failure::Result;
use crate::golden::{self, Package};

/// A request with what must come of it.
pub struct Case {
    /// Which kind of request it is, for the table.
    pub kind: &'static str,
    /// Which one, for a message.
    pub name: String,
    /// The whole request.
    pub bytes: Vec<u8>,
    /// What must come of it.
    pub expect: Expect,
}

/// What must come of a request.
pub enum Expect {
    /// These outputs of the pipeline.
    Outputs(Value, Tolerance),
    /// These tensors.
    Tensors(Vec<Tensor>, Tolerance),
    /// An error with this status and code.
    Error(u16, &'static str),
    /// Only this status.
    Status(u16),
}

/// A tensor of a golden example.
pub struct Tensor {
    name: String,
    datatype: String,
    shape: Value,
    /// As JSON has it in the protocol.
    data: Vec<Value>,
    /// As it is binary; none for text.
    bytes: Option<Vec<u8>>,
}

impl Case {
    /// Judges an answer: what to count an error as that was asked for, nothing for a right answer, or what is wrong.
    pub fn check(&self, answer: &Answer) -> Result<Option<String>, String> {
        let text =
            || String::from_utf8_lossy(&answer.body[..answer.body.len().min(300)]).into_owned();
        let status = match self.expect {
            Expect::Error(status, _) | Expect::Status(status) => status,
            _ => 200,
        };
        if answer.status != status {
            return Err(format!(
                "{}: {} instead of {status}: {}",
                self.name,
                answer.status,
                text()
            ));
        }
        if matches!(self.expect, Expect::Status(_)) {
            return Ok(None);
        }
        let body: Value = serde_json::from_slice(&answer.body)
            .map_err(|e| format!("{}: {e}: {}", self.name, text()))?;
        let found = match &self.expect {
            Expect::Error(status, code) if body["code"] == *code => {
                return Ok(Some(format!("{status} {code}")));
            }
            Expect::Error(_, code) => {
                vec![format!("code {}, expected {code}", brief(&body["code"]))]
            }
            Expect::Outputs(expected, tolerance) => {
                differences(&body["outputs"], expected, *tolerance)
            }
            Expect::Tensors(tensors, tolerance) => tensors
                .iter()
                .flat_map(|tensor| tensor.differences(&body, *tolerance))
                .collect(),
            Expect::Status(_) => Vec::new(),
        };
        if found.is_empty() {
            return Ok(None);
        }
        Err(format!("{}: {}", self.name, found.join("; ")))
    }
}

impl Tensor {
    fn read(tensor: &Value) -> Option<Self> {
        let text = |name: &str| Some(tensor[name].as_str()?.to_owned());
        let datatype = text("dtype")?;
        let (data, bytes) = match tensor["data"]["base64"].as_str() {
            Some(base64) => {
                let bytes = base64::decode(base64)?;
                (numbers(&datatype, &bytes)?, Some(bytes))
            }
            None => (tensor["data"]["strings"].as_array()?.clone(), None),
        };
        Some(Self {
            name: text("name")?,
            datatype,
            shape: tensor["shape"].clone(),
            data,
            bytes,
        })
    }

    fn differences(&self, body: &Value, tolerance: Tolerance) -> Vec<String> {
        let outputs = body["outputs"].as_array().into_iter().flatten();
        let Some(found) = outputs
            .into_iter()
            .find(|output| output["name"] == self.name.as_str())
        else {
            return vec![format!("there is no output {}", self.name)];
        };
        let mut all = differences(&found["shape"], &self.shape, Tolerance::EXACT);
        all.extend(differences(
            &found["data"],
            &Value::from(self.data.clone()),
            tolerance,
        ));
        all
    }
}

/// Numbers as JSON has them in the protocol, with words for those that it has none for.
fn numbers(datatype: &str, bytes: &[u8]) -> Option<Vec<Value>> {
    match datatype {
        "FP32" => Some(
            bytes
                .as_chunks()
                .0
                .iter()
                .map(|four| float(f32::from_le_bytes(*four)))
                .collect(),
        ),
        "INT32" => Some(
            bytes
                .as_chunks()
                .0
                .iter()
                .map(|four| i32::from_le_bytes(*four).into())
                .collect(),
        ),
        "INT64" => Some(
            bytes
                .as_chunks()
                .0
                .iter()
                .map(|eight| i64::from_le_bytes(*eight).into())
                .collect(),
        ),
        _ => None,
    }
}

fn float(value: f32) -> Value {
    match value {
        _ if value.is_nan() => "NaN".into(),
        f32::INFINITY => "Infinity".into(),
        f32::NEG_INFINITY => "-Infinity".into(),
        // The number that single precision has, not the shortest text for it.
        _ => f64::from(value).into(),
    }
}

/// The good requests for every package of a registry folder; `tag`, where it is given, is asked for instead of
/// the version.
pub fn good(registry: &Path, model: &str, tag: Option<&str>) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for package in golden::packages(registry)? {
        if package.model != model {
            continue;
        }
        let place = format!(
            "/v2/models/{model}/versions/{}",
            tag.unwrap_or(&package.version)
        );
        for case in package.golden["cases"].as_array().into_iter().flatten() {
            cases.extend(forms(&package, &place, case));
        }
        break;
    }
    Ok(cases)
}

/// The forms in which one golden example can be asked for.
fn forms(package: &Package, place: &str, case: &Value) -> Vec<Case> {
    let tolerance = tolerance(case);
    let name = format!(
        "{}/{}",
        package.model,
        case["name"].as_str().unwrap_or_default()
    );
    let outputs = &case["expect"]["outputs"];
    let mut found = Vec::new();
    let mut add = |kind, bytes, expect| {
        found.push(Case {
            kind,
            name: format!("{name} ({kind})"),
            bytes,
            expect,
        });
    };
    if let (Some((body, content_type)), false) = (golden::wire(&case["input"]), outputs.is_null()) {
        let path = format!("{place}/predict{}", golden::query(&case["parameters"]));
        let kind = match content_type.as_str() {
            "application/json" => "record",
            "application/octet-stream" => "bytes",
            "audio/wav" => "audio",
            "text/plain" => "text",
            _ => "picture",
        };
        add(
            kind,
            request("POST", &path, &[("content-type", &content_type)], &body),
            Expect::Outputs(outputs.clone(), tolerance),
        );
        let envelope = json!({"inputs": case["input"], "parameters": case["parameters"].as_object().cloned().unwrap_or_default()});
        add(
            "envelope",
            json_request(&format!("{place}/predict"), &envelope),
            Expect::Outputs(outputs.clone(), tolerance),
        );
    }
    let read = |tensors: &Value| {
        tensors
            .as_array()
            .map(|all| all.iter().filter_map(Tensor::read).collect::<Vec<_>>())
    };
    if let (Some(given), Some(expected)) = (
        read(&case["input"]["tensors"]),
        read(&case["expect"]["tensors"]),
    ) {
        let path = format!("{place}/infer");
        add(
            "infer",
            json_request(&path, &infer(&given)),
            Expect::Tensors(expected, tolerance),
        );
        if let (Some(bytes), Some(expected)) =
            (binary(&path, &given), read(&case["expect"]["tensors"]))
        {
            add("binary infer", bytes, Expect::Tensors(expected, tolerance));
        }
    }
    found
}

/// How near the answer to a golden example must be.
pub fn tolerance(case: &Value) -> Tolerance {
    let of = |name: &str| case["tolerance"][name].as_f64();
    match (of("relative"), of("absolute")) {
        (None, None) => Tolerance::NATIVE,
        (relative, absolute) => Tolerance {
            relative: relative.unwrap_or(0.0),
            absolute: absolute.unwrap_or(0.0),
        },
    }
}

fn json_request(path: &str, body: &Value) -> Vec<u8> {
    request(
        "POST",
        path,
        &[("content-type", "application/json")],
        body.to_string().as_bytes(),
    )
}

fn infer(tensors: &[Tensor]) -> Value {
    let inputs = tensors
        .iter()
        .map(|t| json!({"name": t.name, "datatype": t.datatype, "shape": t.shape, "data": t.data}));
    json!({"id": "soak", "inputs": inputs.collect::<Vec<_>>()})
}

/// With the binary tensor extension; the answer is JSON.
fn binary(path: &str, tensors: &[Tensor]) -> Option<Vec<u8>> {
    let mut inputs = Vec::new();
    let mut data = Vec::new();
    for t in tensors {
        let bytes = t.bytes.as_ref()?;
        inputs.push(json!({"name": t.name, "datatype": t.datatype, "shape": t.shape, "parameters": {"binary_data_size": bytes.len()}}));
        data.extend(bytes);
    }
    let head = json!({"inputs": inputs}).to_string();
    let fields = [
        ("content-type", "application/octet-stream"),
        ("inference-header-content-length", &head.len().to_string()),
    ];
    Some(request(
        "POST",
        path,
        &fields,
        &[head.as_bytes(), &data].concat(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &Value) -> Answer {
        Answer {
            status,
            head: String::new(),
            body: body.to_string().into_bytes(),
        }
    }

    fn case(expect: Expect) -> Case {
        Case {
            kind: "test",
            name: "a case".into(),
            bytes: Vec::new(),
            expect,
        }
    }

    #[test]
    fn a_wrong_number_label_status_or_code_is_not_right() {
        let near = Tolerance {
            relative: 1e-5,
            absolute: 0.0,
        };
        let outputs = case(Expect::Outputs(json!({"label": "a", "p": 0.5}), near));
        assert_eq!(
            outputs.check(&answer(
                200,
                &json!({"outputs": {"label": "a", "p": 0.500001}})
            )),
            Ok(None)
        );
        for (status, body, said) in [
            (
                200,
                json!({"outputs": {"label": "a", "p": 0.51}}),
                "p: 0.51, expected 0.5",
            ),
            (200, json!({"outputs": {"label": "b", "p": 0.5}}), "label"),
            (200, json!({}), "outputs"),
            (503, json!({"code": "overloaded"}), "503 instead of 200"),
        ] {
            // What is missing is `null` where an object is expected.
            let found = outputs.check(&answer(status, &body)).unwrap_err();
            assert!(found.contains(said) || body == json!({}), "{found}");
        }
        let error = case(Expect::Error(404, "unknown_model"));
        assert_eq!(
            error.check(&answer(404, &json!({"code": "unknown_model"}))),
            Ok(Some("404 unknown_model".into()))
        );
        assert!(
            error
                .check(&answer(404, &json!({"code": "not_found"})))
                .is_err()
        );
        assert!(
            error
                .check(&answer(200, &json!({"code": "unknown_model"})))
                .is_err()
        );
    }

    #[test]
    fn golden_tensors_are_asked_for_and_compared_as_numbers() {
        // 1.5, NaN; 7.
        let given = json!([{"name": "X", "dtype": "FP32", "shape": [1, 2], "data": {"base64": "AADAPwAAwH8="}}]);
        let expected = json!([{"name": "y", "dtype": "INT64", "shape": [1], "data": {"base64": "BwAAAAAAAAA="}}]);
        let package = Package {
            model: "m".into(),
            version: "1.0.0".into(),
            golden: Value::Null,
        };
        let golden =
            json!({"name": "c", "input": {"tensors": given}, "expect": {"tensors": expected}});
        let cases = forms(&package, "/v2/models/m/versions/1.0.0", &golden);
        let kinds: Vec<_> = cases.iter().map(|case| case.kind).collect();
        assert_eq!(kinds, ["infer", "binary infer"]);
        let text = String::from_utf8_lossy(&cases[0].bytes).into_owned();
        assert!(text.contains("[1.5,\"NaN\"]"), "{text}");
        assert!(
            cases[1]
                .bytes
                .ends_with(&[0, 0, 0xc0, 0x3f, 0, 0, 0xc0, 0x7f])
        );
        let right = json!({"outputs": [{"name": "y", "shape": [1], "data": [7]}]});
        assert_eq!(cases[0].check(&answer(200, &right)), Ok(None));
        for wrong in [
            json!([{"name": "y", "shape": [1], "data": [8]}]),
            json!([{"name": "z", "shape": [1], "data": [7]}]),
            json!([]),
        ] {
            assert!(
                cases[0]
                    .check(&answer(200, &json!({"outputs": wrong})))
                    .is_err()
            );
        }
    }
}
