//! What a component is asked for a package, so that it enters what it needs for it.

use base64::Engine as _;
use hyper::Request;
use hyper::body::Bytes;
use serde_json::{Value as Json, json};
use twinfer::{Dim, Result, Signature, err};
use twinfer_package::{Golden, GoldenInput, Texts};

const TEXT: &str = "text/plain";
const JSON: &str = "application/json";
const BINARY: &str = "application/octet-stream";
/// A header of the protocol: how much of a binary body is JSON.
const HEADER_LENGTH: &str = "inference-header-content-length";

/// What browsers and proxies add.
const PROXIED: [(&str, &str); 12] = [
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64)"),
    ("accept", "application/json, text/plain;q=0.9, */*;q=0.8"),
    ("accept-language", "en-GB,en;q=0.5"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("origin", "https://app.example"),
    ("referer", "https://app.example/page"),
    ("cookie", "one=1; two=2"),
    ("x-request-id", "0af76519-16cd-43dd-8448-eb211c80319c"),
    ("x-forwarded-for", "192.0.2.60, 198.51.100.17"),
    ("x-forwarded-proto", "https"),
    (
        "traceparent",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ),
    ("tracestate", "vendor=value"),
];

/// One request.
#[derive(Clone)]
pub struct Ask {
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
    /// The golden example that it is: its answer is compared.
    pub golden: Option<String>,
}

impl Ask {
    fn get(path: impl Into<String>) -> Self {
        Self {
            method: "GET",
            path: path.into(),
            headers: Vec::new(),
            body: Bytes::new(),
            golden: None,
        }
    }

    fn post(path: String, kind: &str, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        Self {
            method: "POST",
            headers: vec![
                ("content-type", kind.to_owned()),
                ("content-length", body.len().to_string()),
            ],
            body,
            ..Self::get(path)
        }
    }

    /// What it is in messages.
    pub fn name(&self) -> String {
        match &self.golden {
            Some(golden) => golden.clone(),
            None => format!("{} {}", self.method, self.path),
        }
    }

    /// The request for an instance, as a small client sends it or as it comes through proxies.
    pub fn request(&self, proxied: bool) -> Result<Request<Bytes>> {
        let mut request = Request::builder()
            .method(self.method)
            .uri(format!("http://localhost{}", self.path))
            .header("host", "localhost");
        // A body that comes in pieces has no length.
        let known = self
            .headers
            .iter()
            .filter(|(name, _)| !proxied || *name != "content-length");
        for (name, value) in known {
            request = request.header(*name, value);
        }
        for (name, value) in PROXIED.iter().filter(|_| proxied) {
            request = request.header(*name, *value);
        }
        request
            .body(self.body.clone())
            .map_err(|e| err!(Internal, "{}: {e}", self.path))
    }
}

/// What is asked whatever the package.
pub fn anywhere() -> Vec<Ask> {
    let mut all: Vec<Ask> = [
        "/",
        "/v2",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models",
        "/v2/models/not-there",
        "/v2/models/not-there/ready",
        "/v2/models/Not%20a%20name/ready",
        "/v2/nothing",
    ]
    .map(Ask::get)
    .into();
    all.push(Ask {
        method: "DELETE",
        ..Ask::get("/v2/models")
    });
    // `abc` is the key of the settings that other hosts have while this is asked.
    for (path, name, value) in [
        ("/v2/models/a", "authorization", "Bearer abc"),
        ("/v2/repository/index", "x-api-key", "abc"),
        ("/v2/models/b", "x-api-key", "wrong"),
    ] {
        all.push(Ask {
            headers: vec![(name, value.into())],
            ..Ask::get(path)
        });
    }
    all.push(Ask::post(
        "/v2/models/not-there/predict".into(),
        JSON,
        "{\"inputs\": {}}",
    ));
    all
}

/// What is asked of a package: by its name, its version and its digest.
pub fn of_package(
    name: &str,
    version: &str,
    digest: &str,
    golden: Option<&Golden>,
    signature: Option<&Signature>,
) -> Result<Vec<Ask>> {
    let model = format!("/v2/models/{name}");
    let mut all = vec![
        Ask::get(format!("{model}/versions/0.0.999/ready")),
        Ask::get(format!("{model}/versions/not-there")),
        Ask::get(format!("{model}/predict")),
    ];
    for base in [
        model.clone(),
        format!("{model}/versions/{version}"),
        format!("{model}/versions/{digest}"),
    ] {
        all.push(Ask::get(&base));
        all.push(Ask::get(format!("{base}/ready")));
        for case in golden.iter().flat_map(|golden| &golden.cases) {
            let whole = json!({"inputs": case.input, "parameters": case.parameters});
            let mut ask = Ask::post(format!("{base}/predict"), JSON, whole.to_string());
            ask.golden = Some(format!("{base}: {}", case.name));
            all.push(ask);
            all.push(raw(&format!("{base}/predict"), &case.input)?);
        }
    }
    all.extend(mistakes(&format!("{model}/predict")));
    all.extend(mistakes(&format!("{model}/infer")));
    for case in golden.iter().flat_map(|golden| &golden.cases).take(1) {
        let mut odd = raw(&format!("{model}/predict?not_a_parameter=1"), &case.input)?;
        all.push(odd.clone());
        odd.headers.push(("content-encoding", "gzip".into()));
        all.push(odd);
        if let GoldenInput::Record(record) = &case.input {
            let path = format!("{model}/predict");
            for (column, _) in record.iter().take(1) {
                for wrong in [Json::Null, json!("text"), json!([1]), json!(1e300)] {
                    let mut changed = record.clone();
                    changed.insert(column.clone(), wrong);
                    all.push(Ask::post(path.clone(), JSON, json!(changed).to_string()));
                }
                let mut fewer = record.clone();
                fewer.remove(column);
                fewer.insert("not a column".into(), json!(1));
                all.push(Ask::post(path.clone(), JSON, json!(fewer).to_string()));
            }
        }
    }
    if let Some(signature) = signature {
        all.extend(tensors(&format!("{model}/infer"), signature));
    }
    Ok(all)
}

/// What is asked with an input of the caller's.
///
/// # Errors
/// `invalid_package` for one that is not base64.
pub fn of_input(name: &str, input: &GoldenInput) -> Result<Vec<Ask>> {
    let path = format!("/v2/models/{name}/predict");
    let whole = json!({"inputs": input}).to_string();
    let mut all = vec![Ask::post(path.clone(), JSON, whole), raw(&path, input)?];
    for (ask, how) in all.iter_mut().zip(["as JSON", "as it is"]) {
        ask.golden = Some(format!("--input {how}"));
    }
    Ok(all)
}

/// The input as a body of its own kind.
fn raw(path: &str, input: &GoldenInput) -> Result<Ask> {
    let decode = |text: Option<&String>| {
        base64::engine::general_purpose::STANDARD
            .decode(text.map_or("", String::as_str))
            .map_err(|e| err!(InvalidPackage, "a golden example is no base64: {e}"))
    };
    Ok(match input {
        GoldenInput::Picture(blob) => Ask::post(path.into(), BINARY, decode(blob.base64.as_ref())?),
        GoldenInput::Bytes(blob) => Ask::post(path.into(), BINARY, decode(blob.base64.as_ref())?),
        GoldenInput::Audio(blob) => Ask::post(path.into(), BINARY, decode(blob.base64.as_ref())?),
        GoldenInput::Text(Texts::One(text)) => Ask::post(path.into(), TEXT, text.clone()),
        GoldenInput::Text(texts) => {
            Ask::post(path.into(), JSON, json!({"text": texts}).to_string())
        }
        GoldenInput::Record(record) => Ask::post(path.into(), JSON, json!(record).to_string()),
        GoldenInput::Tensors(tensors) => {
            let body = json!({"inputs": {"tensors": tensors}}).to_string();
            Ask::post(path.into(), JSON, body)
        }
    })
}

/// Bodies that are wrong for every model, and a long one.
fn mistakes(path: &str) -> Vec<Ask> {
    let post = |kind: &str, body: &'static str| Ask::post(path.into(), kind, body);
    vec![
        post(JSON, ""),
        post(JSON, "{"),
        post(JSON, "[1, 2]"),
        post(JSON, "{\"inputs\": 5}"),
        post(JSON, "{\"inputs\": null}"),
        post(JSON, "{\"inputs\": {}, \"parameters\": null}"),
        post(JSON, "{\"inputs\": {}, \"parameters\": \"text\"}"),
        post(JSON, "{\"inputs\": {}, \"parameters\": {\"no\": [1]}}"),
        post(JSON, "{\"inputs\": {\"tensors\": []}}"),
        post(
            JSON,
            "{\"inputs\": [{\"name\": \"x\", \"shape\": [-1], \"datatype\": \"FP32\", \"data\": []}]}",
        ),
        post(JSON, "{\"inputs\": {\"base64\": \"?\"}}"),
        post(
            JSON,
            "\u{fffd}{\"a\": 1.5e3, \"b\": [true, false, null, -7, 0.1, \"\\u00e4\\n\"]}",
        ),
        post(
            JSON,
            "{\"a\": 1.5e3, \"b\": [true, false, null, -7, 0.1, \"\\u00e4\\n\"]}",
        ),
        post("text/plain", "text"),
        post("image/png", "\u{89}PNG no picture"),
        post(BINARY, "text"),
        Ask::post(path.into(), BINARY, vec![7u8; 4 << 20]),
        Ask::post(
            path.into(),
            JSON,
            format!("{{\"a\": \"{}\"}}", "long ".repeat(1 << 19)),
        ),
    ]
}

/// Tensors of zeros in the shapes of the signature: as JSON, as bytes, and of a wrong shape.
fn tensors(path: &str, signature: &Signature) -> Vec<Ask> {
    let (mut whole, mut parts, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
    let mut bytes = Vec::new();
    for input in &signature.inputs {
        let Some(size) = input.dtype.bits().map(|bits| bits.div_ceil(8)) else {
            return Vec::new();
        };
        let shape = input.shape.as_deref().unwrap_or_default();
        let shape: Vec<usize> = shape
            .iter()
            .map(|dim| match dim {
                Dim::Fixed(n) => *n,
                _ => 1,
            })
            .collect();
        let count: usize = shape.iter().product();
        let head = json!({"name": input.name, "datatype": input.dtype, "shape": shape});
        let with = |name: &str, value: Json| {
            let mut head = head.clone();
            if let Some(head) = head.as_object_mut() {
                head.insert(name.into(), value);
            }
            head
        };
        whole.push(with("data", json!(vec![0; count])));
        wrong.push(with("data", json!([0, 0])));
        parts.push(with(
            "parameters",
            json!({"binary_data_size": count * size}),
        ));
        bytes.extend(std::iter::repeat_n(0, count * size));
    }
    let plain = json!({"id": "1", "inputs": whole}).to_string();
    let head = json!({"inputs": parts, "parameters": {"binary_data_output": true}}).to_string();
    let mut binary = Ask::post(path.into(), BINARY, [head.as_bytes(), &bytes].concat());
    binary.headers.push((HEADER_LENGTH, head.len().to_string()));
    let mut short = Ask::post(path.into(), BINARY, head.as_bytes().to_vec());
    short.headers.push((HEADER_LENGTH, head.len().to_string()));
    let mut raw = Ask::post(path.into(), BINARY, bytes);
    raw.headers.push((HEADER_LENGTH, "0".into()));
    let wrong = json!({"inputs": wrong}).to_string();
    let asked = json!({"inputs": whole, "outputs": [{"name": "not there"}]}).to_string();
    vec![
        Ask::post(path.into(), JSON, plain),
        binary,
        short,
        raw,
        Ask::post(path.into(), JSON, wrong),
        Ask::post(path.into(), JSON, asked),
    ]
}
