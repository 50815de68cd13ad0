//! Inference in the WASI component: a host is started on a free port of this machine, asked
//! once in the Open Inference Protocol v2, and ended.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};
use twinfer::{
    DType, Error, ErrorCode, MapKeys, Maps, Result, Tensor, Value, bail, err, value_to_json,
};
use twinfer_host::{Host, HostConfig, LogLevel};
use twinfer_package::Reference;

use crate::host_error::host_error;

/// File name of the component.
const COMPONENT: &str = "twinfer_worker.wasm";
/// Where the build puts it, from the folder of the repository.
const BUILT: [&str; 2] = [
    "target/wasm32-wasip2/release",
    "target/wasm32-wasip2/wasm-dev",
];
/// The header of the protocol's binary extension.
const HEADER_LENGTH: &str = "inference-header-content-length";
/// What is added to the limits for the JSON beside the tensors.
const MARGIN: usize = 1 << 20;

/// The component: the one that was named, or where it usually is.
///
/// # Errors
/// `storage` when there is none.
pub fn find(named: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = named {
        if !path.is_file() {
            bail!(Storage, "there is no component {}", path.display());
        }
        return Ok(path.into());
    }
    let beside = std::env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.to_owned()));
    let folders = beside.into_iter().chain(BUILT.map(PathBuf::from));
    folders.map(|folder| folder.join(COMPONENT)).find(|path| path.is_file()).ok_or_else(|| {
        err!(Storage, "there is no {COMPONENT}: build it with `cargo xtask build`, or name it with --component FILE")
    })
}

/// Runs a model of a registry in the component.
///
/// # Errors
/// Those of the component, with their codes; `internal` when the host does not start or
/// answers in another form than that of the protocol.
pub fn infer(
    component: &Path,
    registry: &Path,
    model: &Reference,
    inputs: Vec<(String, Value)>,
) -> Result<Vec<(String, Output)>> {
    let (header, body) = encode(&inputs)?;
    let mut config = HostConfig::new(component, registry);
    config.listen.set_port(0);
    config.cache = crate::serve::user_cache();
    config.log_level = LogLevel::Error;
    // This is for people who debug a model on their own machine: what fits here may run.
    config.limits.max_instances = 1;
    config.limits.max_body = config.limits.max_body.max(body.len() + MARGIN);
    config.limits.max_response = 2 << 30;
    config.limits.max_memory = 4 << 30;
    config.limits.request_timeout = Duration::from_secs(600);
    config.limits.read_timeout = Duration::from_secs(600);
    config.env.push((
        "TWINFER_MAX_BODY".into(),
        config.limits.max_body.to_string(),
    ));
    let host = Host::start(config)
        .map_err(|e| host_error(e).context("the host of the component does not start"))?;
    let version = model
        .digest()
        .map(ToString::to_string)
        .or(model.tag().map(Into::into))
        .unwrap_or_default();
    let path = format!("/v2/models/{}/versions/{version}/infer", model.name());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let answer = runtime
        .map_err(|e| err!(Internal, "no runtime: {e}"))
        .and_then(|runtime| runtime.block_on(post(host.local_addr(), &path, header, body)));
    let ended = host
        .shutdown()
        .map_err(|e| host_error(e).context("the host of the component"));
    let values = decode(&answer?)?;
    ended.map(|()| values)
}

/// An output, in the form in which it can be written.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// A tensor.
    Tensor(Tensor),
    /// Maps that share their keys.
    Maps(Maps),
    /// A sequence or an optional, as JSON.
    Json(Json),
}

impl Output {
    /// The form of a value.
    ///
    /// # Errors
    /// Those of [`value_to_json`].
    pub fn of(value: Value) -> Result<Self> {
        Ok(match value {
            Value::Tensor(tensor) => Self::Tensor(tensor),
            Value::Maps(maps) => Self::Maps(maps),
            other => Self::Json(value_to_json(&other)?),
        })
    }
}

struct Answer {
    status: u16,
    header: Option<usize>,
    body: Bytes,
}

async fn post(
    address: std::net::SocketAddr,
    path: &str,
    header: usize,
    body: Vec<u8>,
) -> Result<Answer> {
    let network = |e: &dyn std::fmt::Display| err!(Network, "the host of the component: {e}");
    let stream = tokio::net::TcpStream::connect(address)
        .await
        .map_err(|e| network(&e))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| network(&e))?;
    // It ends with the connection; what goes wrong there comes out of the request too.
    tokio::spawn(connection);
    let request = hyper::Request::post(path)
        .header("host", address.to_string())
        .header("content-type", "application/octet-stream")
        .header(HEADER_LENGTH, header)
        .body(Full::new(Bytes::from(body)))
        .map_err(|e| network(&e))?;
    let response = sender
        .send_request(request)
        .await
        .map_err(|e| network(&e))?;
    let header = response
        .headers()
        .get(HEADER_LENGTH)
        .and_then(|v| v.to_str().ok()?.parse().ok());
    let status = response.status().as_u16();
    let body = response
        .into_body()
        .collect()
        .await
        .map_err(|e| network(&e))?
        .to_bytes();
    Ok(Answer {
        status,
        header,
        body,
    })
}

/// The request, and how much of it is JSON.
fn encode(inputs: &[(String, Value)]) -> Result<(usize, Vec<u8>)> {
    let mut binary = Vec::new();
    let mut list = Vec::new();
    for (name, value) in inputs {
        let before = binary.len();
        let text;
        let tensor = match value {
            Value::Tensor(tensor) => tensor,
            // The protocol has tensors only.
            other => {
                text = Tensor::from_strings(&[1], vec![value_to_json(other)?.to_string()])?;
                &text
            }
        };
        match (tensor.as_bytes(), tensor.strings()) {
            (Some(bytes), _) => binary.extend_from_slice(bytes),
            (None, strings) => {
                for string in strings.unwrap_or_default() {
                    let length = u32::try_from(string.len()).map_err(|_| {
                        err!(
                            InvalidInput,
                            "input `{name}` has a string of more than 4 GiB"
                        )
                    })?;
                    binary.extend_from_slice(&length.to_le_bytes());
                    binary.extend_from_slice(string.as_bytes());
                }
            }
        }
        list.push(json!({
            "name": name,
            "shape": tensor.shape(),
            "datatype": tensor.dtype(),
            "parameters": {"binary_data_size": binary.len() - before},
        }));
    }
    let mut body = json!({"inputs": list, "parameters": {"binary_data_output": true}})
        .to_string()
        .into_bytes();
    let header = body.len();
    body.extend_from_slice(&binary);
    Ok((header, body))
}

#[derive(Deserialize)]
struct Reply {
    outputs: Vec<ReplyOutput>,
}

#[derive(Deserialize)]
struct ReplyOutput {
    name: String,
    datatype: DType,
    shape: Vec<usize>,
    #[serde(default)]
    parameters: Map<String, Json>,
}

#[derive(Deserialize)]
struct ReplyError {
    error: String,
    code: String,
}

fn decode(answer: &Answer) -> Result<Vec<(String, Output)>> {
    let odd = |what: &dyn std::fmt::Display| {
        err!(
            Internal,
            "the component answered in an unexpected form: {what}"
        )
    };
    if answer.status != 200 {
        let reply: ReplyError = serde_json::from_slice(&answer.body)
            .map_err(|_| odd(&format_args!("status {}", answer.status)))?;
        let code = ErrorCode::ALL
            .iter()
            .copied()
            .find(|code| code.as_str() == reply.code);
        return Err(Error::new(code.unwrap_or(ErrorCode::Internal), reply.error));
    }
    let (json, mut rest) = answer
        .body
        .split_at_checked(answer.header.unwrap_or(answer.body.len()))
        .ok_or_else(|| odd(&"its header is longer than itself"))?;
    let reply: Reply = serde_json::from_slice(json).map_err(|e| odd(&e))?;
    let mut values = Vec::new();
    for output in reply.outputs {
        let size = output
            .parameters
            .get("binary_data_size")
            .and_then(Json::as_u64)
            .and_then(|n| usize::try_from(n).ok());
        let (bytes, tail) = size
            .and_then(|size| rest.split_at_checked(size))
            .ok_or_else(|| odd(&"it has no binary data"))?;
        rest = tail;
        let tensor = match output.datatype {
            DType::String => Tensor::from_strings(
                &output.shape,
                strings(bytes).ok_or_else(|| odd(&"malformed strings"))?,
            ),
            dtype => Tensor::from_slice(dtype, &output.shape, bytes),
        }?;
        let keys = output.parameters.get("map_keys").and_then(Json::as_str);
        let is_json = output.parameters.get("content_type") == Some(&"application/json".into());
        let value = match (keys, tensor.strings()) {
            (None, Some([text])) if is_json => {
                Output::Json(serde_json::from_str(text).map_err(|e| odd(&e))?)
            }
            (None, _) => Output::Tensor(tensor),
            (Some(keys), _) => Output::Maps(Maps {
                keys: MapKeys::Strings(serde_json::from_str(keys).map_err(|e| odd(&e))?),
                values: tensor,
            }),
        };
        values.push((output.name, value));
    }
    Ok(values)
}

/// Strings, each after its length.
fn strings(mut bytes: &[u8]) -> Option<Vec<String>> {
    let mut strings = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let (text, tail) =
            rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        strings.push(String::from_utf8(text.to_vec()).ok()?);
        bytes = tail;
    }
    bytes.is_empty().then_some(strings)
}
